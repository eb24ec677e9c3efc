import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sluice.ophys.shifts import (
    clip_shifts,
    fill_shifts,
    find_bad_frames,
    find_frames_without_picture,
    undo_bidirectional,
    valid_range,
)

whole_px = st.integers(-20, 20).map(float)


@pytest.mark.parametrize("phase_px", [-3, -1, 0, 2])
def test_bidirectional_phase_moves_every_other_line(phase_px):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 999, (3, 9, 12)).astype(np.int16)
    before = frames.copy()
    found = undo_bidirectional(frames, phase_px)
    for y in range(9):
        for x in range(12):
            inside = y % 2 == 1 and 0 <= x - phase_px < 12
            source = x - phase_px if inside else x
            np.testing.assert_array_equal(found[:, y, x], before[:, y, source])
    np.testing.assert_array_equal(frames, before)


def slow_clip(shifts_px, is_clear, shape_px, window, fraction):
    """Median by median, over the series continued by its end values."""
    half = window // 2
    padded = np.concatenate([shifts_px[:1]] * half + [shifts_px] + [shifts_px[-1:]] * half)
    clipped, out = np.zeros(len(shifts_px), bool), shifts_px.copy()
    for t in range(len(shifts_px)):
        for axis in range(2):
            median = np.sort(padded[t : t + window, axis])[half]
            far = abs(shifts_px[t, axis] - median) > fraction * shape_px[axis]
            if far and not is_clear[t]:
                out[t, axis], clipped[t] = median, True
    return out, clipped


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            arrays(float, (n, 2), elements=whole_px), arrays(bool, n), st.sampled_from([1, 3, 9])
        )
    )
)
def test_clipping_equals_the_slow_twin(drawn):
    shifts_px, is_clear, window = drawn
    options = {"shape_px": (100, 200), "window": window, "outlier_fraction": 0.05}
    found = clip_shifts(shifts_px, is_clear, **options)
    slow = slow_clip(shifts_px, is_clear, (100, 200), window, 0.05)
    np.testing.assert_array_equal(found[0], slow[0])
    np.testing.assert_array_equal(found[1], slow[1])


def test_a_jump_is_replaced_and_a_drift_is_not():
    shifts_px = np.zeros((300, 2))
    shifts_px[:, 0] = np.linspace(-20, 20, 300).round()
    shifts_px[100, 1] = 30
    shifts_px[200, 1] = -30
    is_clear = np.zeros(300, bool)
    is_clear[200] = True
    found, clipped = clip_shifts(
        shifts_px, is_clear, shape_px=(512, 512), window=31, outlier_fraction=0.05
    )
    # the second jump has a clear peak: the plane did move
    assert np.flatnonzero(clipped).tolist() == [100]
    assert found[100].tolist() == [shifts_px[100, 0], 0]
    np.testing.assert_array_equal(np.delete(found, 100, 0), np.delete(shifts_px, 100, 0))


def test_a_missing_frame_takes_the_place_between_its_neighbours():
    shifts_px = np.array([[9.0, 9], [2, -4], [99, 99], [99, 99], [5, -1], [7, 7]])
    is_missing = np.array([1, 0, 1, 1, 0, 0], bool)
    found = fill_shifts(shifts_px, is_missing)
    assert found.tolist() == [[2, -4], [2, -4], [3, -3], [4, -2], [5, -1], [7, 7]]


def test_frames_that_jump_correlate_badly_or_reach_the_limit_are_bad():
    rng = np.random.default_rng(0)
    shifts_px = rng.integers(-1, 2, (1000, 2)).astype(float)
    correlation = rng.uniform(0.09, 0.11, 1000)
    # 4 px is about 4 mean distances: bad where the correlation is a hundredth
    shifts_px[10], correlation[10] = (4, 0), 0.001
    shifts_px[20] = (4, 0)
    shifts_px[30] = (0, -13)
    is_clear = np.zeros(1000, bool)
    bad = find_bad_frames(shifts_px, correlation, is_clear, limit_px=13, ratio=1.0)
    assert np.flatnonzero(bad).tolist() == [10, 30]
    # a clear peak is at the right place, however far; at the limit it may lie beyond
    bad = find_bad_frames(shifts_px, correlation, ~is_clear, limit_px=13, ratio=1.0)
    assert np.flatnonzero(bad).tolist() == [30]


def test_frames_without_a_picture_correlate_far_below_the_others():
    rng = np.random.default_rng(1)
    correlation = np.r_[rng.uniform(0.05, 0.07, 500), rng.uniform(0.03, 0.04, 500)]
    is_clear = np.ones(1000, bool)
    dark = np.r_[7, 100:110, 600:800, 999]
    correlation[dark], is_clear[dark] = 0.0036, False
    # far below the others, but at a place that noise does not find
    correlation[300] = 0.025
    low = find_frames_without_picture(correlation, is_clear, ratio=0.3)
    # 600 to 800: longer than the running median, which is as low there
    np.testing.assert_array_equal(np.flatnonzero(low), dark)
    assert not find_frames_without_picture(correlation, is_clear, ratio=0.0).any()
    # a plane that dims by more than that, slowly, is seen all the time
    fading = np.geomspace(0.1, 0.005, 1000)
    assert not find_frames_without_picture(fading, np.ones(1000, bool), ratio=0.3).any()
    for nothing in (np.zeros(20), np.full(20, -0.01)):
        assert not find_frames_without_picture(nothing, np.zeros(20, bool), ratio=0.3).any()


def test_one_small_movement_in_a_still_movie_is_not_bad():
    shifts_px = np.zeros((1500, 2))
    shifts_px[700] = 1
    is_clear = np.zeros(1500, bool)
    options = {"limit_px": 13, "ratio": 1.0}
    assert not find_bad_frames(shifts_px, np.ones(1500), is_clear, **options).any()
    assert not find_bad_frames(shifts_px[:10], np.zeros(10), is_clear[:10], **options).any()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(16, 40),
    st.lists(st.tuples(st.integers(-70, 70), st.integers(0, 20)), min_size=1, max_size=8),
)
def test_the_valid_range_is_what_every_part_of_every_frame_has_seen(size, extents):
    # tenths of a pixel, as suite2p gives them
    low = np.array([a / 10 for a, _ in extents])
    high = np.array([(a + b) / 10 for a, b in extents])
    start, stop = valid_range(low, high, size)
    rows = np.arange(size)
    seen = [
        all(0 <= p + s <= size - 1 for ends in zip(low, high, strict=True) for s in ends)
        for p in rows
    ]
    np.testing.assert_array_equal((rows >= start) & (rows < stop), seen)


def test_the_valid_range_is_never_empty():
    assert valid_range(np.array([-10.0]), np.array([10.0]), 16) == (8, 9)
