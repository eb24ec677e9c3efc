"""What cameras embed: written as the camera does, read back; and a real camera's files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video.simulated_camera import embed, write_doubles, write_ssv

from sluice.errors import InputError
from sluice.io.embedded import (
    embedded_seconds,
    pin_states,
    read_counter,
    read_frame_data,
    read_pins,
    read_timestamps,
    unwrap_counter,
    unwrap_seconds,
)

NAME = "S bodyCamera"
# Half a tick of 24.576 MHz.
TICK_S = 0.5 / 24_576_000 + 1e-12


@pytest.mark.parametrize("is_clock_first", [False, True])
def test_timestamps_over_several_cycles(tmp_path, is_clock_first):
    """Five minutes, in which the clock starts again twice, and a break of 400 s."""
    camera_s = 120.0 + np.arange(9000) / 30.0
    camera_s[5000:] += 400.0
    path = write_ssv(tmp_path / "a.timestamps.ssv", camera_s, is_clock_first=is_clock_first)
    found = read_timestamps(path, NAME)
    np.testing.assert_allclose(found - found[0], camera_s - 120, atol=2 * TICK_S)


@given(st.floats(0, 127.999), st.lists(st.floats(1e-3, 100), min_size=1, max_size=50))
def test_a_clock_of_128_seconds(first, steps):
    """Any breaks below 128 s need no computer's clock."""
    seconds = np.cumsum([first, *steps])
    found = unwrap_seconds(embedded_seconds(embed(seconds)))
    np.testing.assert_allclose(found, seconds, atol=2 * TICK_S)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=20))
def test_a_counter_of_32_bits(first, steps):
    counter = np.cumsum([first, *steps])
    np.testing.assert_array_equal(unwrap_counter(counter % 2**32), counter)


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.array([2**32 - 2, 2**32 - 1, 1], np.uint32))
    assert np.diff(read_counter(tmp_path / "a.npy", NAME)).tolist() == [1, 2]
    np.save(tmp_path / "b.npy", np.array([0.5, 0.6, 0.8]))
    assert read_timestamps(tmp_path / "b.npy", NAME).tolist() == [0.5, 0.6, 0.8]
    np.save(tmp_path / "c.npy", np.array([0, 1, 1]))
    assert read_pins(tmp_path / "c.npy", NAME).tolist() == [[False], [True], [True]]
    np.save(tmp_path / "d.npy", np.eye(3, 2, dtype=bool))
    assert read_pins(tmp_path / "d.npy", NAME).shape == (3, 2)


def test_frame_data(tmp_path):
    camera_s = 100.0 + np.arange(3000) / 30.0
    camera_s[2000:] += 300.0
    host = 638_000_000_000_000_000 + np.rint((camera_s - 100) * 1e7).astype(np.int64)
    counter = (2**32 - 50 + np.arange(3000)) % 2**32
    pins = np.random.default_rng(0).random((3000, 4)) < 0.5
    word = (pins << np.arange(31, 27, -1)).sum(axis=1)
    path = write_doubles(tmp_path / "a.frameData.bin", host, embed(camera_s), counter, word)
    found_s, found_counter, found_pins = read_frame_data(path, NAME)
    np.testing.assert_allclose(found_s - found_s[0], camera_s - 100, atol=2 * TICK_S)
    np.testing.assert_array_equal(found_counter, 2**32 - 50 + np.arange(3000))
    np.testing.assert_array_equal(found_pins, pins)


def test_frame_data_of_a_camera_that_was_not_set_to_embed(tmp_path):
    zeros = np.zeros(50, np.int64)
    path = write_doubles(tmp_path / "a.frameData.bin", 638 * 10**15 + np.arange(50), *[zeros] * 3)
    found_s, counter, pins = read_frame_data(path, NAME)
    assert found_s is None and counter is None and not pins.any()


def test_real_timestamps(real_data):
    """A body camera at 30.2 Hz for 198.6 s; the ticks that IBL leaves out are worth having."""
    path = real_data / "camera" / "_iblrig_bodyCamera.timestamps.ssv"
    found = read_timestamps(path, NAME)
    assert found.shape == (6001,)
    intervals = np.diff(found)
    # the camera's crystal: 1.3 µs, and no frame lost
    assert intervals.std() < 2e-6
    assert intervals.min() > 0.033097 and intervals.max() < 0.033105
    # the computer's own times give the same duration to 0.03 %
    assert found[-1] - found[0] == pytest.approx(198.5612288, rel=3e-4)


def test_real_counter_and_pins(real_data):
    """510 frames, none lost, of which six saw pin 4."""
    counter = read_counter(real_data / "camera" / "_iblrig_bodyCamera.frame_counter.bin", NAME)
    np.testing.assert_array_equal(counter, 16696704 + np.arange(510))
    pins = read_pins(real_data / "camera" / "_iblrig_bodyCamera.GPIO.bin", NAME)
    assert pins.shape == (510, 4)
    assert pins.sum(axis=0).tolist() == [0, 0, 0, 6]


def test_pins_are_the_highest_bits():
    assert pin_states(np.array([1 << 31, 1 << 28, 0])).tolist() == [
        [True, False, False, False],
        [False, False, False, True],
        [False] * 4,
    ]


@pytest.mark.parametrize("read", [read_counter, read_pins, read_frame_data])
def test_a_binary_file_cut_short(tmp_path, read):
    write_doubles(tmp_path / "a.bin", *[np.arange(10)] * 4)
    with (tmp_path / "a.bin").open("r+b") as handle:
        handle.truncate(101)
    expected = r"S bodyCamera: .*a\.bin: 101 bytes are not a whole number of frames .*cut short"
    with pytest.raises(InputError, match=expected):
        read(tmp_path / "a.bin", NAME)
    with pytest.raises(InputError, match=r"b\.bin: no such file"):
        read(tmp_path / "b.bin", NAME)


def test_numbers_that_are_none(tmp_path):
    np.array([1.0, 2.5]).tofile(tmp_path / "a.bin")
    with pytest.raises(InputError, match="holds numbers that are not whole"):
        read_counter(tmp_path / "a.bin", NAME)
    write_doubles(tmp_path / "b.bin", [5, 6, 6, 7])
    with pytest.raises(InputError, match="counter does not ascend: 6 at frame 1 and 6 at the next"):
        read_counter(tmp_path / "b.bin", NAME)
    write_doubles(tmp_path / "c.bin", [2**33, 0])
    with pytest.raises(InputError, match="has values beyond 32 bits"):
        read_pins(tmp_path / "c.bin", NAME)
    write_doubles(tmp_path / "e.bin", [1, 2e300])
    for read in (read_counter, read_pins):
        with pytest.raises(InputError, match=r"e\.bin: holds numbers of more than 64 bits"):
            read(tmp_path / "e.bin", NAME)
    columns = [np.arange(3), 5 << np.arange(3), [4, 4, 5], np.zeros(3)]
    path = write_doubles(tmp_path / "f.frameData.bin", *columns)
    with pytest.raises(InputError, match=r"frameData\.bin: .*; leave frame_data out in streams"):
        read_frame_data(path, NAME)
    (tmp_path / "g.npy").write_bytes(b"rubbish of some length")
    with pytest.raises(
        InputError, match=r"g\.npy: is no npy file .*; expected an npy of the number"
    ):
        read_counter(tmp_path / "g.npy", NAME)
    np.save(tmp_path / "d.npy", np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"shape \(4, 2\).*expected numbers, the number of each"):
        read_counter(tmp_path / "d.npy", NAME)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text[:-16], "line 100 of 100 is '2026-01-15T12:00:.*' *; expected"),
        (lambda text: text[:-8] + " \n", "times do not ascend: .* at frame 98 and .* at the next"),
        (lambda text: text[:-2] + "0" * 40 + " \n", "line 100 of 100 is '2026.*0{40}'; expected"),
        (lambda text: "", "; expected lines of the computer's time"),
        (lambda text: "1\n2\n", "line 1 of 2 is '1 '; expected the computer's time"),
        (lambda text: "time camera\n" + text, "line 1 of 101 is 'time camera'; expected"),
    ],
)
def test_damaged_timestamps(tmp_path, change, expected):
    path = tmp_path / "a.timestamps.ssv"
    write_ssv(path, 3.0 + np.arange(100) / 30.0)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=expected):
        read_timestamps(path, NAME)


def test_times_that_are_none(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1.0, np.nan, 2.0]))
    with pytest.raises(InputError, match="camera's time of frame 1 is nan; expected seconds"):
        read_timestamps(tmp_path / "a.npy", NAME)
    np.save(tmp_path / "a.npy", np.array([1.0, 1.0, 2.0]))
    with pytest.raises(InputError, match=r"do not ascend: 1\.000000 s at frame 0 and 1\.000000 s"):
        read_timestamps(tmp_path / "a.npy", NAME)
