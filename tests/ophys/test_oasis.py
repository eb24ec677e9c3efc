import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.made_up_traces import calcium
from scipy.optimize import nnls

from sluice.ophys.oasis import oasis_events, solve_oasis


def slow_deconvolution(trace, decay, penalty):
    """The convex problem by a general solver; the penalty is put into the samples."""
    n = trace.size
    kernel = np.tril(decay ** np.subtract.outer(np.arange(n), np.arange(n)).clip(0))
    # Kᵀ (y - shift) = Kᵀ y - penalty
    return nnls(kernel, trace - np.linalg.solve(kernel.T, np.full(n, penalty)))[0]


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.sampled_from([0.3, 0.7, 0.95]),
    st.sampled_from([0.0, 0.01, 0.3]),
)
def test_equals_a_general_solver(seed, n_frames, decay, penalty):
    rng = np.random.default_rng(seed)
    trace = rng.normal(rng.integers(-1, 2), 1, n_frames)
    fitted, events = solve_oasis(trace, decay, penalty, 0.0)
    expected = slow_deconvolution(trace, decay, penalty)
    found = fitted - decay * np.concatenate([[0], fitted[:-1]])
    np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(events[1:], found[1:], atol=1e-12)
    assert events[0] == 0


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.95]), st.sampled_from([0.0, 0.3]))
def test_with_gaps_it_is_optimal_too(seed, decay, penalty):
    rng = np.random.default_rng(seed)
    trace = rng.normal(0.5, 1, 40)
    trace[1:][rng.random(39) < 0.3] = np.nan
    fitted, events = solve_oasis(trace, decay, penalty, 0.0)
    rises = fitted - decay * np.concatenate([[0], fitted[:-1]])
    kernel = np.tril(decay ** np.subtract.outer(np.arange(40), np.arange(40)).clip(0))
    slope = penalty - kernel.T @ np.nan_to_num(trace - fitted)
    # Karush, Kuhn and Tucker: no rise would pay, and those there are pay exactly
    assert rises.min() > -1e-12
    assert slope.min() > -1e-9
    assert np.abs(slope * rises).max() < 1e-9
    assert not events[np.isnan(trace)].any()


def test_smallest_rise():
    rng = np.random.default_rng(0)
    trace = calcium(2000, [300, 900, 1500], 1.0, rate_hz=10.0, decay_s=0.7)
    trace += rng.normal(0, 0.1, 2000)
    decay = np.exp(-1 / 7)
    many = solve_oasis(trace, decay, 0.0, 0.0)[1]
    few = solve_oasis(trace, decay, 0.0, 0.5)[1]
    assert np.count_nonzero(many) > 100
    assert np.flatnonzero(few).tolist() == [300, 900, 1500]
    assert few[few > 0].min() >= 0.5


def test_rows_and_gaps():
    traces = np.random.default_rng(1).normal(size=(4, 50))
    traces[1], traces[2, :10], traces[3, 20] = np.nan, np.nan, np.nan
    events = oasis_events(traces, decay=0.8, penalty=0.0, min_event=0.0)
    np.testing.assert_array_equal(np.isnan(events), np.isnan(traces))
    np.testing.assert_array_equal(events[0], solve_oasis(traces[0], 0.8, 0.0, 0.0)[1])
    assert events[2, 10] == 0
    assert oasis_events(traces[:0], decay=0.8, penalty=0, min_event=0).shape == (0, 50)


@pytest.mark.parametrize("n_frames", [1, 2])
def test_one_or_two_frames(n_frames):
    assert solve_oasis(np.ones(n_frames), 0.5, 0.0, 0.0)[1].tolist() == [0, 0.5][:n_frames]
