"""Double-counted spikes: known cases, an obvious twin, and what must hold for any spikes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys.duplicates import find_double_counted, units_in_reach

WINDOW = 4  # Allen's, at 30 kHz


def doubles(samples, rows, amplitudes, reach=None, window=WINDOW):
    rows = np.asarray(rows)
    reach = np.eye(rows.max() + 1, dtype=bool) if reach is None else reach
    return find_double_counted(
        np.asarray(samples, np.int64),
        rows,
        np.asarray(amplitudes, np.float32),
        reach,
        window_samples=window,
    )


def test_larger_spike_of_a_unit_is_kept():
    # Allen removes the earlier spike of each pair, here the larger one of the first.
    kept, lost = doubles([100, 103, 500, 503], [0, 0, 0, 0], [90, 40, 30, 80])
    assert kept.tolist() == [True, False, False, True]
    assert lost.tolist() == [[2]]


@pytest.mark.parametrize(("apart", "is_double"), [(0, True), (3, True), (4, False), (5, False)])
def test_window_is_strict(apart, is_double):
    kept, _ = doubles([100, 100 + apart], [0, 0], [2, 1])
    assert kept.tolist() == [True, not is_double]


def test_chain_keeps_both_ends():
    # The middle one is a double of the first; what is left of it cannot remove the last.
    kept, lost = doubles([100, 103, 106], [0, 0, 0], [30, 20, 10])
    assert kept.tolist() == [True, False, True]
    assert lost.tolist() == [[1]]


def test_largest_of_a_chain_removes_both_sides():
    kept, _ = doubles([100, 103, 106], [0, 0, 0], [10, 20, 15])
    assert kept.tolist() == [False, True, False]


def test_equal_spikes_keep_the_first():
    kept, _ = doubles([100, 101], [0, 0], [5, 5])
    assert kept.tolist() == [True, False]


def test_only_units_in_reach_share_spikes():
    reach = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    kept, lost = doubles([100, 101, 102], [0, 1, 2], [10, 20, 30], reach)
    assert kept.tolist() == [False, True, True]
    assert lost.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_no_spikes_and_no_window():
    kept, lost = find_double_counted(
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        np.zeros(0, np.float32),
        np.zeros((0, 0), bool),
        window_samples=WINDOW,
    )
    assert kept.shape == (0,)
    assert lost.shape == (0, 0)
    assert doubles([100, 100], [0, 0], [2, 1], window=0)[0].all()


def twin(samples, rows, amplitudes, reach, window):
    """The definition, word by word."""
    kept = [True] * len(samples)
    lost = np.zeros(reach.shape, int)
    by_size = sorted(range(len(samples)), key=lambda i: (-amplitudes[i], i))
    for rank, large in enumerate(by_size):
        for small in by_size[rank + 1 :]:
            same = abs(samples[large] - samples[small]) < window
            if kept[large] and kept[small] and same and reach[rows[large], rows[small]]:
                kept[small] = False
                lost[rows[small], rows[large]] += 1
    return kept, lost


@settings(derandomize=True, max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n_spikes=st.integers(1, 60), window=st.integers(0, 9))
def test_any_spikes(seed, n_spikes, window):
    rng = np.random.default_rng(seed)
    samples = np.sort(rng.integers(0, 120, n_spikes))
    rows = rng.integers(0, 4, n_spikes)
    amplitudes = rng.integers(1, 12, n_spikes).astype(np.float32)  # equal ones occur
    reach = rng.random((4, 4)) < 0.4
    reach = reach | reach.T | np.eye(4, dtype=bool)
    kept, lost = find_double_counted(samples, rows, amplitudes, reach, window_samples=window)
    slow_kept, slow_lost = twin(samples, rows, amplitudes, reach, window)
    assert kept.tolist() == slow_kept
    assert lost.tolist() == slow_lost.tolist()
    same = np.abs(samples[:, None] - samples) < window
    same &= reach[rows[:, None], rows] & ~np.eye(n_spikes, dtype=bool)
    assert not (same & kept & kept[:, None]).any(), "two of what is left are the same"
    for spike in np.flatnonzero(~kept):
        larger = kept & same[spike] & (amplitudes >= amplitudes[spike])
        assert larger.any(), "removed without a larger one that is left"
    assert lost.sum() == n_spikes - kept.sum()


def test_reach_is_a_distance_on_one_shank():
    positions = np.array([[0, 0], [0, 60], [0, 61], [30, 50], [0, 0]], float)
    reach = units_in_reach(positions, np.array([0, 0, 0, 0, 1]), radius_um=60)
    assert reach.tolist() == [
        [True, True, False, True, False],
        [True, True, True, True, False],
        [False, True, True, True, False],
        [True, True, True, True, False],
        [False, False, False, False, True],
    ]
