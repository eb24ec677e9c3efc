from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.made_up_traces import calcium
from scipy.optimize import nnls

from sluice.ophys.l0 import find_penalty, l0_events, solve_l0


def cost_of(trace, fitted, decay, penalty, floor, allow_drops):
    """Cost of calcium as it is defined; stops where a constraint is broken."""
    expected = np.maximum(decay * fitted[:-1], floor)
    assert np.all(fitted >= floor * (1 - 1e-9))
    if not allow_drops:
        assert np.all(fitted[1:] >= expected * (1 - 1e-9))
    n_jumps = np.count_nonzero(~np.isclose(fitted[1:], expected, rtol=1e-9, atol=0))
    return 0.5 * np.nansum((trace - fitted) ** 2) + penalty * n_jumps


def cost_of_best_jumps(trace, decay, penalty):
    """Try every set of jumps up: the rest is a least-squares problem without negatives."""
    n = trace.size
    kernel = np.tril(decay ** np.subtract.outer(np.arange(n), np.arange(n)).clip(0))
    known = ~np.isnan(trace)
    best = np.inf
    for n_jumps in range(n):
        for jumps in combinations(range(1, n), n_jumps):
            columns = kernel[known][:, [0, *jumps]]
            best = min(best, penalty * n_jumps + 0.5 * nnls(columns, trace[known])[1] ** 2)
    return best


def cost_of_segments(trace, decay, penalty):
    """Dynamic program over where the last segment began, for jumps up and down; O(T²)."""
    known, trace = ~np.isnan(trace), np.nan_to_num(trace)
    best = [-penalty]
    for stop in range(1, trace.size + 1):
        costs = []
        for start in range(stop):
            shape = decay ** np.arange(stop - start) * known[start:stop]
            part = trace[start:stop]
            size = max(shape @ part / max(shape @ shape, 1e-300), 0)
            costs.append(best[start] + penalty + 0.5 * np.sum((part - size * shape) ** 2))
        best.append(min(costs))
    return best[-1]


def cost_on_a_grid(trace, decay, penalty, floor, allow_drops, *, fine=40, highest=30.0):
    """Dynamic program over calcium of floor · decay^(-k / fine), which decay leaves on the grid."""
    n = int(np.ceil(np.log(highest / floor) / -np.log(decay) * fine))
    grid = floor * decay ** (-np.arange(n) / fine)
    cost = np.zeros(n)
    reach = np.minimum(np.arange(n) + fine, n - 1)
    for t, sample in enumerate(trace):
        if t > 0:
            least = np.full(n, cost.min()) if allow_drops else np.minimum.accumulate(cost)[reach]
            decayed = np.full(n, np.inf)
            decayed[: n - fine] = cost[fine:]
            decayed[0] = cost[: fine + 1].min()
            cost = np.minimum(decayed, least + penalty)
        if not np.isnan(sample):
            cost = cost + 0.5 * (sample - grid) ** 2
    return cost.min()


@st.composite
def problems(draw, longest):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    trace = rng.normal(size=draw(st.integers(1, longest))) * draw(st.sampled_from([0.3, 1, 3]))
    trace = np.maximum(trace, -2.0) + draw(st.sampled_from([-1, 0, 1]))
    trace[rng.random(trace.size) < draw(st.sampled_from([0, 0, 0.25]))] = np.nan
    decay = draw(st.sampled_from([0.3, 0.7, 0.9, 0.98]))
    return trace, decay, draw(st.sampled_from([0.01, 0.1, 1.0]))


@settings(derandomize=True, max_examples=80, deadline=None)
@given(problems(8))
def test_jumps_up_are_the_best_of_all_sets_of_jumps(problem):
    trace, decay, penalty = problem
    fitted, _, cost = solve_l0(trace, decay, penalty, 1e-12, False)
    assert cost == pytest.approx(cost_of_best_jumps(trace, decay, penalty), rel=1e-8, abs=1e-8)
    assert cost == pytest.approx(cost_of(trace, fitted, decay, penalty, 1e-12, False), abs=1e-8)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(problems(50))
def test_jumps_up_and_down_are_those_of_the_slow_program(problem):
    trace, decay, penalty = problem
    fitted, _, cost = solve_l0(trace, decay, penalty, 1e-12, True)
    assert cost == pytest.approx(cost_of_segments(trace, decay, penalty), rel=1e-8, abs=1e-8)
    assert cost == pytest.approx(cost_of(trace, fitted, decay, penalty, 1e-12, True), abs=1e-8)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(problems(100), st.sampled_from([1e-4, 0.01, 0.1, 1.0]), st.booleans())
def test_with_a_floor_it_is_a_little_better_than_a_fine_grid(problem, floor, allow_drops):
    trace, decay, penalty = problem
    decay = min(decay, 0.9)  # a finer step would make the grid large
    fitted, _, cost = solve_l0(trace, decay, penalty, floor, allow_drops)
    expected = cost_of(trace, fitted, decay, penalty, floor, allow_drops)
    assert cost == pytest.approx(expected, rel=1e-8, abs=1e-8)
    on_grid = cost_on_a_grid(trace, decay, penalty, floor, allow_drops)
    assert cost <= on_grid + 1e-9
    # calcium on the grid is off by up to 1.5 %, squared and over a hundred frames
    assert cost >= on_grid * 0.98 - 1e-3


def test_long_silence_costs_nothing_and_long_traces_lose_no_digits():
    rng = np.random.default_rng(0)
    frames = np.array([1000, 30000, 30010, 59000])
    truth = calcium(60000, frames, [1.0, 2.0, 1.0, 0.5], rate_hz=30.0, decay_s=0.5)
    trace = truth + rng.normal(0, 0.05, truth.size)
    decay = np.exp(-1 / 15)
    fitted, events, cost = solve_l0(trace, decay, 0.2, 1e-4, False)
    assert np.flatnonzero(events).tolist() == frames.tolist()
    np.testing.assert_allclose(events[frames], [1, 2, 1, 0.5], atol=0.1)
    assert cost == pytest.approx(cost_of(trace, fitted, decay, 0.2, 1e-4, False), rel=1e-10)


def test_gaps_hold_no_event_and_calcium_decays_across():
    truth = calcium(400, [50, 150, 260], 1.0, rate_hz=10.0, decay_s=2.0)
    trace = truth.copy()
    trace[:20], trace[100:145], trace[145:160] = np.nan, np.nan, np.nan
    trace[255:262] = np.nan
    fitted, events, _ = solve_l0(trace, np.exp(-1 / 20), 0.01, 1e-4, False)
    # events inside a gap are seen at its end, smaller
    assert np.flatnonzero(events).tolist() == [50, 160, 262]
    np.testing.assert_allclose(fitted[50:100], truth[50:100], atol=2e-3)
    assert not events[np.isnan(trace)].any()


def test_the_penalty_is_the_smallest_that_leaves_no_small_event():
    rng = np.random.default_rng(1)
    truth = calcium(5000, rng.integers(0, 5000, 60), rng.gamma(3, 0.2, 60), rate_hz=30, decay_s=0.5)
    trace = truth + rng.normal(0, 0.1, 5000)
    decay = np.exp(-1 / 15)
    events, penalty = find_penalty(trace, decay, 0.25, 1e-4, 0.02, 1e-4, False)
    assert events[events > 0].min() >= 0.25
    again = solve_l0(trace, decay, penalty, 1e-4, False)[1]
    np.testing.assert_array_equal(events, again)
    smaller = solve_l0(trace, decay, penalty / 1.03, 1e-4, False)[1]
    assert smaller[smaller > 0].min() < 0.25


def test_the_penalty_goes_down_to_the_least_where_nothing_is_small():
    trace = calcium(300, [100, 200], 5.0, rate_hz=10.0, decay_s=0.5)
    events, penalty = find_penalty(trace, np.exp(-0.2), 0.1, 1e-4, 0.05, 1e-4, False)
    assert penalty == 1e-4
    assert np.flatnonzero(events).tolist() == [100, 200]


def test_traces_without_events_or_numbers():
    traces = np.zeros((4, 50))
    traces[1], traces[2], traces[3, 5:] = -1, np.nan, np.nan
    events, penalty = l0_events(
        traces,
        decay=0.8,
        smallest=np.array([0.0, 1.0, np.nan, 0.1]),
        min_penalty=1e-4,
        tolerance=0.05,
    )
    np.testing.assert_array_equal(np.isnan(events), np.isnan(traces))
    assert np.nansum(np.abs(events)) == 0
    np.testing.assert_array_equal(penalty, [1e-4, 1e-4, np.nan, 1e-4])
    assert l0_events(traces[:0], decay=0.8, smallest=np.zeros(0), min_penalty=1e-4, tolerance=0.05)[
        0
    ].shape == (0, 50)
