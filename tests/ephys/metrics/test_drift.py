import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys.metrics.drift import depth_path, drift

RATE_HZ = 30_000
HOUR = 3600 * RATE_HZ
INTERVAL = 100 * RATE_HZ


def steady(n_spikes, rng):
    return np.sort(rng.integers(0, HOUR, n_spikes))


def test_planted_ramp():
    rng = np.random.default_rng(1)
    samples = steady(36_000, rng)
    depths_um = 500 + 50 * samples / HOUR + rng.normal(0, 5, len(samples))
    max_drift, cumulative = drift(samples, depths_um, interval_samples=INTERVAL, n_samples=HOUR)
    # 36 intervals: the medians of the first and last are 35/36 of the ramp apart. 1,000
    # spikes each: a median is good to 1.25 x 5 / sqrt(1000) = 0.2 µm; three of them, twice.
    assert max_drift == pytest.approx(50 * 35 / 36, abs=1.2)
    # A monotonous path: the steps add up to the range, and noise adds little (steps are 1.4
    # µm, their noise 0.28 µm: hardly ever backwards).
    assert cumulative == pytest.approx(max_drift, abs=1)


def test_planted_back_and_forth():
    samples = np.arange(0, HOUR, RATE_HZ)
    depths_um = np.where((samples // INTERVAL) % 2 == 0, 100.0, 110.0)
    found = drift(samples, depths_um, interval_samples=INTERVAL, n_samples=HOUR)
    assert found == (10, 350)  # 36 intervals: 35 steps of 10 µm


def test_step_over_an_interval_without_spikes_is_not_counted():
    samples = np.concatenate([np.arange(20), 2 * INTERVAL + np.arange(20)])
    depths_um = np.repeat([100.0, 130.0], 20)
    max_drift, cumulative = drift(
        samples, depths_um, interval_samples=INTERVAL, n_samples=3 * INTERVAL
    )
    assert max_drift == 30
    assert np.isnan(cumulative)


def test_min_spikes_of_an_interval():
    samples = np.concatenate([np.arange(10), INTERVAL + np.arange(9)])
    depths_um = np.repeat([100.0, 130.0], [10, 9])
    call = {"interval_samples": INTERVAL, "n_samples": 2 * INTERVAL}
    assert np.isnan(drift(samples, depths_um, **call)).all()
    assert drift(samples, depths_um, min_spikes=9, **call) == (30, 30)


@pytest.mark.parametrize("n_spikes", [0, 5, 500])
def test_one_interval_has_no_drift(n_spikes):
    samples = np.arange(n_spikes)
    found = drift(samples, samples * 1.0, interval_samples=INTERVAL, n_samples=INTERVAL)
    assert np.isnan(found).all()


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 999), st.floats(0, 100)), max_size=80),
    st.integers(50, 1200),
    st.integers(1, 5),
)
def test_equals_a_loop(spikes, interval, min_spikes):
    spikes = sorted(spikes)
    samples = np.array([s for s, _ in spikes], np.int64)
    depths_um = np.array([d for _, d in spikes], np.float64)
    found = drift(
        samples, depths_um, interval_samples=interval, n_samples=1000, min_spikes=min_spikes
    )
    medians = []
    for start in range(0, 1000, interval):
        inside = [d for s, d in spikes if start <= s < start + interval]
        medians.append(np.median(inside) if len(inside) >= min_spikes else None)
    known = [m for m in medians if m is not None]
    steps = [abs(b - a) for a, b in itertools.pairwise(medians) if a is not None and b is not None]
    expected = (
        max(known) - min(known) if len(known) > 1 else np.nan,
        sum(steps) if steps else np.nan,
    )
    assert found == pytest.approx(expected, nan_ok=True)


def test_depth_path():
    # 0, 10, 0, 10 µm in half an hour: 30 µm, 60 an hour.
    assert depth_path(np.array([0.0, 10, 0, 10], np.float32), duration_s=1800) == 60
    assert np.isnan(depth_path(np.array([1.0]), duration_s=1800))
