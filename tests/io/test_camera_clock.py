"""The camera's own files against the frames of its video."""

import numpy as np
import pytest
from video.simulated_camera import write_doubles

from sluice.errors import InputError
from sluice.io.camera_clock import choose_pin, fit_length, load_camera_record
from sluice.session import Camera

NAME = "S bodyCamera"


def camera(**columns):
    return Camera("S", "camera", "bodyCamera", "a.mp4", "video", **columns)


def load(n_frames, **columns):
    return load_camera_record(camera(**columns), n_frames, max_difference=15, name=NAME)


def test_nothing():
    record = load(100)
    assert (record.camera_s, record.counter, record.pins, record.n_counted) == (None,) * 3 + (0,)
    assert record.differences == {}


@pytest.mark.parametrize("surplus", [-15, -2, 0, 3, 15])
def test_lengths_that_differ_a_little(tmp_path, surplus):
    """The end of what is longer is left out; what is shorter goes on as it was."""
    n = 500 + surplus
    np.save(tmp_path / "t.npy", 7 + np.arange(n) / 30)
    path = write_doubles(tmp_path / "c.bin", 16_000_000 + np.arange(n))
    record = load(500, timestamps=str(tmp_path / "t.npy"), frame_counter=path)
    np.testing.assert_array_equal(record.counter, 16_000_000 + np.arange(500))
    np.testing.assert_allclose(record.camera_s, 7 + np.arange(500) / 30, rtol=1e-12)
    assert record.n_counted == min(n, 500)
    assert record.differences == {"timestamps": surplus, "frame_counter": surplus}


def test_files_of_another_camera(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(6001) / 30)
    with pytest.raises(InputError) as error:
        load(510, timestamps=str(tmp_path / "t.npy"))
    text = str(error.value)
    assert "t.npy has 6001 entries and the video 510 frames; they may differ by 15" in text
    assert "is of another camera or session" in text
    assert "correct timestamps in streams.tsv" in text


def test_the_file_of_all_three_is_called_by_its_name(tmp_path):
    n = 30
    clock = (np.arange(n) << 25) + 5
    path = write_doubles(tmp_path / "a.frameData.bin", np.arange(n), clock, np.arange(n), [0] * n)
    record = load(28, frame_data=path)
    assert record.differences == {
        "frame_data (timestamps)": 2,
        "frame_data (frame_counter)": 2,
        "frame_data (gpio)": 2,
    }
    assert record.clock_difference == 2
    with pytest.raises(InputError, match=r"a.frameData.bin has 30 .* correct frame_data in stream"):
        load(10, frame_data=path)


def test_a_real_camera(real_data):
    folder = real_data / "camera"
    record = load(
        509,
        frame_counter=str(folder / "_iblrig_bodyCamera.frame_counter.bin"),
        gpio=str(folder / "_iblrig_bodyCamera.GPIO.bin"),
    )
    assert record.differences == {"frame_counter": 1, "gpio": 1}
    assert record.counter.shape == (509,) and record.pins.shape == (509, 4)
    # the only pin that changes need not be named
    np.testing.assert_array_equal(choose_pin(record.pins, None, "f", NAME), record.pins[:, 3])
    # the timestamps beside them are of a longer recording
    with pytest.raises(InputError, match="has 6001 entries and the video 509 frames"):
        load(509, timestamps=str(folder / "_iblrig_bodyCamera.timestamps.ssv"))


def test_states_stay_beyond_the_end():
    states = np.array([[False, True], [True, True]])
    assert fit_length(states, 4).tolist() == [[False, True], *[[True, True]] * 3]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (None, r"which pin is not said, and those that change are: pin 1 \(2 changes\), pin 3"),
        (
            2,
            r"pin 2 never changes; those that change are: pin 1 \(2 changes\), pin 3 \(1 changes\)",
        ),
        (4, "there is no pin 4; the file has the pins 1 to 3"),
        (0, "there is no pin 0"),
    ],
)
def test_pins_that_are_none(number, expected):
    pins = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1]], bool)
    with pytest.raises(InputError, match=expected):
        choose_pin(pins, number, "a.GPIO.bin", NAME)
