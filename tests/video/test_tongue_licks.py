import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from video.made_up_pose import checks_of, pose_table, seen

from sluice.errors import InputError
from sluice.settings.pupil import TongueLicks
from sluice.video.pose import save_pose
from sluice.video.tongue_licks import find_licks, merge_licks, tongue_licks_file

NAN = np.nan
HOW = {"min_frames": 2, "max_gap_frames": 1, "movement_std": 0.25, "retraction": 0.5}
POINTS = ["tongue_end_l", "tongue_end_r"]


def planted(seed, *, duration_s=60.0, bout=8, apart_s=0.13):
    """Times at which the tongue comes out: bouts of licks, as of a mouse."""
    rng = np.random.default_rng(seed)
    starts = np.arange(2.0, duration_s - 3, 4.0) + rng.uniform(0, 0.5)
    times = starts[:, None] + np.cumsum(rng.normal(apart_s, 0.01, (len(starts), bout)), axis=1)
    return np.sort(times.ravel())


def tongue(
    onsets, *, rate_hz, duration_s=60.0, out_s=0.065, stays=False, reach=25.0, noise=0.4, seed=0
):
    """Positions and likelihoods of both points of a tongue that comes out at onsets."""
    rng = np.random.default_rng(seed)
    times = 1.5 + np.arange(int(duration_s * rate_hz)) / rate_hz
    since = times - 1.5 - onsets[np.maximum(np.searchsorted(onsets, times - 1.5, "right") - 1, 0)]
    is_out = (since >= 0) & (since < out_s)
    out = np.where(is_out, np.sin(np.pi * np.clip(since / out_s, 0, 1)), 0) * reach
    xy = np.array([[300.0, 400], [312, 402]]) + out[:, None, None] * np.array([0.3, 0.9])
    xy += rng.normal(0, noise, xy.shape)
    if stays:  # in sight throughout each bout
        bout = np.convolve(is_out, np.ones(int(0.12 * rate_hz)))[: len(is_out)] > 0
        is_out = is_out | bout
    likelihood = np.where(is_out[:, None], 0.97, 0.03) + rng.uniform(-0.03, 0.03, (len(times), 2))
    return times, xy, likelihood


def assert_same_licks(found, truth, within):
    """Each planted lick once, and no other."""
    assert len(found) == len(truth)
    np.testing.assert_allclose(found, truth, atol=within, rtol=0)


@pytest.mark.parametrize("rate_hz", [60.0, 150.0])
def test_planted_licks_are_found_each_once(rate_hz):
    onsets = planted(0)
    times, xy, likelihood = tongue(onsets, rate_hz=rate_hz)
    found = find_licks(seen(xy, likelihood), times, **HOW)
    assert_same_licks(found.times, onsets + 1.5, within=1.01 / rate_hz)
    np.testing.assert_allclose(found.durations, 0.065, atol=1.01 / rate_hz)
    assert found.visible_fraction == pytest.approx(len(onsets) * 0.065 / 60, rel=0.1)


def ibl_licks(points, times):
    """IBL's way: every change of a coordinate beyond a quarter of the standard deviation."""
    events = []
    for trace in points.reshape(len(points), -1).T:
        change = np.diff(trace)
        events.append(np.flatnonzero(np.abs(change) > np.nanstd(change) / 4))
    return times[np.unique(np.concatenate(events))]


def test_ibl_finds_each_lick_several_times_and_we_find_the_first_of_them():
    onsets = planted(1)
    times, xy, likelihood = tongue(onsets, rate_hz=60.0)
    points = seen(xy, likelihood)
    theirs = ibl_licks(points, times)
    assert len(theirs) > 2 * len(onsets)
    found = find_licks(points, times, **HOW).times
    # IBL's time of a change is that of the frame before it
    assert np.isin(found, theirs).mean() > 0.9


@pytest.mark.parametrize("rate_hz", [100.0, 150.0])
def test_a_tongue_that_stays_in_sight_licks_as_it_comes_out_again(rate_hz):
    onsets = planted(2)
    times, xy, likelihood = tongue(onsets, rate_hz=rate_hz, stays=True)
    found = find_licks(seen(xy, likelihood), times, **HOW)
    # noise hides the beginning of a movement for a frame or two
    assert_same_licks(found.times, onsets + 1.5, within=0.02)
    in_one = find_licks(seen(xy, likelihood), times, **HOW | {"retraction": 100})
    assert len(in_one.times) < len(onsets) / 4


def test_a_point_lost_for_a_frame_does_not_make_two_licks():
    onsets = planted(3)
    times, xy, likelihood = tongue(onsets, rate_hz=150.0)
    whole = find_licks(seen(xy, likelihood), times, **HOW)
    first = np.searchsorted(times, whole.times)
    likelihood[first + 4] = 0.1
    likelihood[first + 6, 0] = 0.1
    found = find_licks(seen(xy, likelihood), times, **HOW)
    np.testing.assert_array_equal(found.times, whole.times)
    apart = find_licks(seen(xy, likelihood), times, **HOW | {"max_gap_frames": 0})
    assert len(apart.times) == 2 * len(onsets)


def test_flashes_of_one_frame_and_what_does_not_move_are_no_licks():
    times = np.arange(1000) / 60
    points = np.full((1000, 2, 2), NAN)
    onsets = np.arange(50, 900, 50)
    for frame in onsets:
        points[frame : frame + 4] = 300 + 8 * np.arange(4)[:, None, None]
    points[75] = 340  # one frame
    points[480:495] = 310.0  # a drop of water
    found = find_licks(points, times, **HOW)
    np.testing.assert_array_equal(found.times, times[onsets])


def test_a_tongue_already_out_in_the_first_frame_is_no_lick():
    times = np.arange(40) / 60
    points = np.full((40, 1, 2), NAN)
    points[:5] = np.arange(5)[:, None, None] * 9.0
    points[20:25] = np.arange(5)[:, None, None] * 9.0
    np.testing.assert_array_equal(find_licks(points, times, **HOW).times, times[[20]])


@pytest.mark.parametrize("n_frames", [0, 1, 2])
def test_hardly_any_frames(n_frames):
    times = np.arange(n_frames) / 60
    found = find_licks(np.ones((n_frames, 2, 2)), times, **HOW)
    assert found.times.shape == found.durations.shape == (0,)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 80), st.floats(0, 1), st.integers(0, 3))
def test_whatever_is_seen_licks_are_ascending_frames_of_a_seen_tongue(seed, n, part, max_gap):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 10, (n, 2, 2)).round()
    points[rng.random((n, 2)) > part] = NAN
    times = np.cumsum(rng.uniform(0.001, 0.1, n))
    found = find_licks(points, times, **HOW | {"max_gap_frames": max_gap})
    assert np.isin(found.times, times).all()
    assert (np.diff(found.times) > 0).all()
    assert (found.durations > 0).all()


def slow_merge(times, refractory_s):
    kept = []
    for time in sorted(t for one in times for t in one):
        if all(time - t >= refractory_s for t in kept):
            kept.append(time)
    return kept


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 400).map(lambda t: t / 64)), max_size=3))
def test_merged_licks_are_those_of_the_slow_twin(times):
    found, n_cameras = merge_licks([np.sort(one) for one in times], refractory_s=5 / 64)
    assert found.tolist() == slow_merge(times, 5 / 64)
    assert found.dtype == np.float64
    assert ((n_cameras >= 1) & (n_cameras <= len(times))).all()


def run(folder, cameras, **changes):
    """Licks and checks of cameras: name to (times, xy, likelihood)."""
    poses, all_times = {}, {}
    for camera, (times, xy, likelihood) in cameras.items():
        poses[camera] = folder / f"{camera}.dlc.pqt"
        all_times[camera] = folder / f"{camera}.times.npy"
        save_pose(pose_table(POINTS, xy, likelihood), poses[camera])
        np.save(all_times[camera], times)
    (folder / "out").mkdir()
    tongue_licks_file(
        poses=poses,
        times=all_times,
        licks=folder / "out" / "licks.times.npy",
        checks=folder / "out" / "checks.json",
        settings=TongueLicks(**changes).model_dump(mode="json"),
        name="M001/2026-11-20/001",
    )
    return np.load(folder / "out" / "licks.times.npy"), checks_of(folder / "out" / "checks.json")


def test_two_cameras_see_the_same_licks(tmp_path):
    onsets = planted(4)
    cameras = {
        "leftCamera": tongue(onsets, rate_hz=60.0, seed=1),
        "rightCamera": tongue(onsets[len(onsets) // 4 :], rate_hz=150.0, seed=2),
    }
    found, checks = run(tmp_path, cameras)
    assert found.dtype == np.float64
    assert_same_licks(found, onsets + 1.5, within=1.01 / 60)
    assert (np.diff(found) >= 0.05).all()
    assert checks["tongue_lick_number"].value == len(onsets)
    assert checks["tongue_lick_lone_fraction"].value == pytest.approx(0.25, abs=0.02)
    assert checks["tongue_lick_rate_hz"].value == pytest.approx(len(onsets) / 60, rel=0.01)
    assert {one.verdict for one in checks.values()} == {"PASS"}


def test_the_spout_taken_for_the_tongue_fails(tmp_path):
    times, xy, _ = tongue(planted(5), rate_hz=60.0)
    found, checks = run(tmp_path, {"leftCamera": (times, xy, np.ones(xy.shape[:2]))})
    assert checks["tongue_lick_visible_fraction"].verdict == "FAIL"
    assert len(found) == 0
    assert "tongue_lick_lone_fraction" not in checks


def test_a_tongue_that_is_never_seen(tmp_path):
    times, xy, likelihood = tongue(planted(6), rate_hz=60.0)
    found, checks = run(tmp_path, {"leftCamera": (times, xy, 0 * likelihood)})
    assert found.shape == (0,)
    assert checks["tongue_lick_number"].verdict == "WARNING"
    assert checks["tongue_lick_visible_fraction"].value == 0
    assert checks["tongue_lick_duration_s"].value is None


def test_an_empty_video(tmp_path):
    empty = np.empty(0), np.empty((0, 2, 2)), np.empty((0, 2))
    found, checks = run(tmp_path, {"leftCamera": empty})
    assert found.shape == (0,)
    assert {one.verdict for one in checks.values()} == {"WARNING"}


def test_points_that_the_model_has_not(tmp_path):
    with pytest.raises(
        InputError,
        match=r"M001/2026-11-20/001 leftCamera: the pose model has no point tongue; "
        r".*leftCamera.dlc.pqt has tongue_end_l, tongue_end_r. Did you mean",
    ):
        run(tmp_path, {"leftCamera": tongue(planted(7), rate_hz=60.0)}, points=["tongue"])


def test_times_of_another_video(tmp_path):
    times, xy, likelihood = tongue(planted(8), rate_hz=60.0)
    with pytest.raises(
        InputError,
        match=r"leftCamera: .*times.npy has times of shape \(3590,\), .*dlc.pqt has 3600 frames",
    ):
        run(tmp_path, {"leftCamera": (times[10:], xy, likelihood)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cameras": ["leftCamera", "leftCamera"]}, "names a point or camera twice"),
        ({"points": []}, "at least 1 item"),
        ({"retraction": 0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_work(changes, message):
    with pytest.raises(ValidationError, match=message):
        TongueLicks(**changes)
