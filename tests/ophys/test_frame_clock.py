"""Times of frames: files, differences of count, and clocks that are none."""

import numpy as np
import pytest

from sluice.errors import InputError
from sluice.ophys.frame_clock import (
    choose_times,
    fit_clock,
    frame_times,
    list_gaps,
    load_clock,
    n_steps,
    plane_phase,
)

N = 1000


def clock(n=N, rate_hz=10.0):
    return 2.5 + np.arange(n) / rate_hz


def fit(times, n_frames=N, max_difference=15):
    return fit_clock(times, n_frames, max_difference=max_difference, name="S FOV_00", source="t")


def test_equal_counts_are_taken_as_they_are():
    times, found = fit(clock())
    np.testing.assert_array_equal(times, clock())
    assert (found.difference, found.n_gaps) == (0, 0)
    assert found.rate_hz == pytest.approx(10)


@pytest.mark.parametrize("surplus", [1, 15])
def test_surplus_times_at_the_end_are_dropped(surplus):
    times, found = fit(clock(N + surplus))
    np.testing.assert_array_equal(times, clock())
    assert found.difference == surplus


@pytest.mark.parametrize("lost", [1, 15])
def test_missing_times_are_added_at_the_median_interval(lost):
    known = clock(N - lost)
    times, found = fit(known)
    np.testing.assert_array_equal(times[: N - lost], known)
    # to the rounding of times of about 100 s
    np.testing.assert_allclose(np.diff(times[N - lost - 1 :]), 0.1, atol=1e-12)
    assert (found.difference, found.n_gaps, found.filled) == (-lost, 0, ())


@pytest.mark.parametrize("gaps", [{100: 3}, {0: 1, 500: 2, N - 6: 4}])
def test_times_lost_within_the_recording_are_filled_where_they_are_missing(gaps):
    """A gap of n + 1 periods lacks n times; jitter of a tenth of a period does not matter."""
    true = clock() + np.random.default_rng(0).uniform(-0.005, 0.005, N)
    lost = np.concatenate([first + 1 + np.arange(n) for first, n in gaps.items()])
    times, found = fit(np.delete(true, lost))
    kept = np.setdiff1d(np.arange(N), lost)
    np.testing.assert_array_equal(times[kept], true[kept])
    # the jitter of the time itself and of its two neighbours
    np.testing.assert_allclose(times[lost], true[lost], atol=0.01)
    assert found.filled == tuple(gaps.items())
    assert (found.difference, found.n_gaps) == (-len(lost), len(gaps))


def test_gaps_that_do_not_explain_what_is_missing():
    known = clock(N - 3)
    known[500:] += 0.2
    with pytest.raises(InputError) as error:
        fit(known)
    text = str(error.value)
    assert (
        "the frame clock t has 997 times and the movie 1000 frames; its gaps stand for 2 time"
        in text
    )
    assert "not for the 3 that are missing (2 behind frame 499)" in text
    assert "leave frame_times out" in text


@pytest.mark.parametrize("n_times", [N + 1000, N - 16, N + 16, 0])
def test_beyond_the_tolerance_it_is_another_clock(n_times):
    with pytest.raises(InputError) as error:
        fit(clock(n_times))
    text = str(error.value)
    assert f"S FOV_00: the frame clock t has {n_times} times and the movie 1000 frames" in text
    assert "they may differ by 15 (ophys.import_plane.max_clock_difference)" in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_time_that_is_not_finite(value):
    times = clock()
    times[7] = value
    with pytest.raises(InputError, match=f"no finite time for frame 7 \\({value}\\)"):
        fit(times)


@pytest.mark.parametrize("step", [0.0, -0.5])
def test_times_that_do_not_increase(step):
    times = clock()
    times[7] = times[6] + step
    expected = rf"does not increase: {times[6]:.6f} s for frame 6 and {times[7]:.6f} s for the next"
    with pytest.raises(InputError, match=expected):
        fit(times)


def test_gaps_are_counted():
    times = clock()
    times[100:] += 0.049
    times[300:] += 0.2
    times[500:] += 10
    # the first is shorter than half a period
    assert fit(times)[1].n_gaps == 2


def test_files(tmp_path):
    times = clock(20)
    np.save(tmp_path / "a.npy", times.astype(np.float32))
    np.save(tmp_path / "b.npy", np.stack([times, times + 1], axis=1))
    (tmp_path / "c.tsv").write_text("frame\ttime_s\n0\t1.5\n1\t2.5\n")
    (tmp_path / "d.csv").write_text("time_s,frame\n1.5,0\n2.5,1\n")
    np.testing.assert_allclose(load_clock(tmp_path / "a.npy", 1, "S"), times, rtol=1e-6)
    np.testing.assert_array_equal(load_clock(tmp_path / "b.npy", 2, "S")[:, 1], times + 1)
    for name in ("c.tsv", "d.csv"):
        assert load_clock(tmp_path / name, 1, "S").tolist() == [1.5, 2.5]


def test_files_that_are_no_clock(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 3)))
    with pytest.raises(
        InputError, match=r"S: .*a\.npy: has the shape \(20, 3\); expected \(frames,"
    ):
        load_clock(tmp_path / "a.npy", 2, "S")
    (tmp_path / "b.tsv").write_text("frame\ttime\n0\t1\n")
    with pytest.raises(InputError, match=r"b\.tsv: its columns are frame, time; expected an npy"):
        load_clock(tmp_path / "b.tsv", 1, "S")
    (tmp_path / "c.tsv").write_text("time_s\nsoon\n")
    with pytest.raises(InputError, match=r"c\.tsv: could not convert"):
        load_clock(tmp_path / "c.tsv", 1, "S")
    for content in (b"", b"text", b"\x93NUMPY"):
        (tmp_path / "d.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"d\.npy: .*expected an npy of one time a frame"):
            load_clock(tmp_path / "d.npy", 1, "S")
    (tmp_path / "e.csv").write_text("")
    with pytest.raises(InputError, match=r"e\.csv"):
        load_clock(tmp_path / "e.csv", 1, "S")


def times_of(times, plane, n_frames=100, channel=0, n_planes=4, n_channels=2, pairs=(), n_left=0):
    """Times of a plane of a movie of planes and channels, the channel fastest."""
    found = choose_times(
        np.asarray(times),
        source="t",
        name="S",
        order="CZT",
        plane=plane,
        channel=channel,
        n_planes=n_planes,
        n_channels=n_channels,
        n_frames=n_frames,
        n_images=n_frames * n_planes * n_channels + n_left,
        phase=plane_phase(plane, n_planes, pairs),
        n_steps=n_steps(n_planes, pairs),
    )
    return frame_times(found, n_frames, max_difference=15, name="S")


@pytest.mark.parametrize("plane", [0, 3])
def test_a_clock_of_frames_of_planes_and_of_images(plane):
    """A volume a second; plane 3 of 4 comes 0.75 s behind its start."""
    true = 5 + np.arange(100) + plane / 4
    for times in (
        5 + np.arange(100.0),
        5 + np.arange(400) / 4,
        np.stack([5 + np.arange(100) + p / 4 for p in range(4)], axis=1),
    ):
        found, fit = times_of(times, plane)
        np.testing.assert_allclose(found, true, atol=1e-9)
        assert (fit.difference, fit.n_gaps) == (0, 0)
        assert fit.rate_hz == pytest.approx(1)
    for channel in range(2):
        found, _ = times_of(5 + np.arange(800) / 8, plane, channel=channel)
        np.testing.assert_allclose(found, true + channel / 8, atol=1e-9)


def test_images_of_both_channels_may_have_one_time():
    found, _ = times_of(np.repeat(np.arange(400) / 4, 2), 1, channel=1)
    np.testing.assert_allclose(found, np.arange(100) + 0.25)


def test_a_pulse_lost_among_those_of_images():
    """Filled before the planes are told apart, or all later frames take the wrong pulse."""
    times = np.delete(np.arange(400) / 4, 101)
    found, fit = times_of(times, 3)
    np.testing.assert_allclose(found, np.arange(100) + 0.75, atol=1e-9)
    assert (fit.difference, fit.unit, fit.filled) == (-1, "images", ((100, 1),))
    found, fit = times_of(np.arange(403) / 4, 3)
    np.testing.assert_allclose(found, np.arange(100) + 0.75)
    assert fit.difference == 3
    # pulses of a volume that was not finished
    found, fit = times_of(np.arange(803) / 8, 3, n_left=3)
    np.testing.assert_allclose(found, np.arange(100) + 0.75)
    assert fit.difference == 0


def test_a_pause_between_volumes_is_no_gap():
    """The objective goes back for as long as two images take."""
    times = (np.arange(100)[:, None] * 6 + np.arange(4)).ravel() / 10
    found, fit = times_of(times, 2)
    np.testing.assert_allclose(found, np.arange(100) * 0.6 + 0.2)
    assert fit.n_gaps == 0
    assert fit.rate_hz == pytest.approx(1 / 0.6)


def test_lengths_that_are_accepted_are_told():
    with pytest.raises(InputError) as error:
        times_of(np.arange(250.0), 1)
    text = str(error.value)
    assert "S: the frame clock t has 250 times and the movie 100 frames" in text
    assert "expected 100 (one a frame), 400 (one an image of any plane), 800 (one an image)" in text


@pytest.mark.parametrize(
    ("n_planes", "pairs", "phases"),
    [
        (1, [], [0]),
        (4, [], [0, 0.25, 0.5, 0.75]),
        (4, [[0, 1], [2, 3]], [0, 0, 0.5, 0.5]),
        (4, [[0, 2], [1, 3]], [0, 0.5, 0, 0.5]),
        (3, [[1, 2]], [0, 0.5, 0.5]),
    ],
)
def test_planes_recorded_at_once_share_their_part_of_a_frame(n_planes, pairs, phases):
    assert [plane_phase(p, n_planes, pairs) for p in range(n_planes)] == phases


def test_gaps_are_told_in_what_was_counted():
    assert list_gaps(((100, 1), (200, 3)), "images") == "1 behind image 100, 3 behind image 200"
    times = np.arange(400) / 4
    with pytest.raises(InputError, match="2 behind image 100"):
        times_of(np.delete(times, [101, 102, 399]), 3)


@pytest.mark.parametrize("pairs", [[[0, 4], [1, 5], [2, 6], [3, 7]], [[0, 1], [2, 3]]])
def test_a_clock_of_the_steps_of_a_volume(pairs):
    """Planes recorded at once have one pulse together."""
    n = n_steps(8, pairs)
    assert n == 8 - len(pairs)
    times = 5 + np.arange(100 * n) / n
    for plane in range(8):
        expected = 5 + np.arange(100) + plane_phase(plane, 8, pairs)
        for clock, difference in ((times, 0), (np.delete(times, 50), -1)):
            found, fit = times_of(clock, plane, n_planes=8, n_channels=1, pairs=pairs)
            np.testing.assert_allclose(found, expected, atol=1e-9)
            assert (fit.difference, fit.unit) == (difference, "steps")
    with pytest.raises(InputError, match=rf"{100 * n} \(one a step of the volume\)"):
        times_of(np.arange(250.0), 1, n_planes=8, n_channels=1, pairs=pairs)
