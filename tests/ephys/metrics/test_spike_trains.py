import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spikeinterface.metrics.quality import misc_metrics as peer

from sluice.ephys.metrics.spike_trains import (
    contamination_alt,
    equal_bins,
    full_bins,
    isi_violations,
    presence_ratio,
)
from sluice.synth.spikes import contaminate, spike_train

RATE_HZ = 30_000
HOUR_S = 3600.0
HOUR = int(HOUR_S * RATE_HZ)

trains = st.lists(st.integers(0, 20_000), max_size=60).map(lambda x: np.sort(np.array(x, np.int64)))


def to_samples(times_s):
    return (np.asarray(times_s) * RATE_HZ).astype(np.int64)


@pytest.mark.parametrize("present", [1.0, 0.8, 0.5, 0.03])
def test_planted_presence_is_recovered(present):
    rng = np.random.default_rng(1)
    times_s = spike_train(5, HOUR_S, rng=rng, present_s=[(0, present * HOUR_S)])
    # 5 Hz x 36 s a bin: an empty bin while the unit is there has probability e^-180. What
    # is left is the bin in which it goes, which counts as present.
    ratio = presence_ratio(to_samples(times_s), equal_bins(HOUR, 100))
    assert present <= ratio <= present + 0.01


def test_always_present_is_one_where_allen_has_099():
    samples = np.arange(0, HOUR, RATE_HZ)
    assert presence_ratio(samples, equal_bins(HOUR, 100)) == 1.0
    bins, _ = np.histogram(samples, np.linspace(samples[0], samples[-1], 100))
    assert np.sum(bins > 0) / 100 == 0.99


def test_presence_of_slow_units_in_short_bins():
    # 60 s: bins of 0.6 s. A steady 2 Hz train misses exp(-1.2) = 30 % of them.
    rng = np.random.default_rng(2)
    ratios = [
        presence_ratio(
            to_samples(spike_train(2, 60, rng=rng, refractory_s=0)), equal_bins(60 * RATE_HZ, 100)
        )
        for _ in range(50)
    ]
    # 5,000 bins with probability 0.70: standard error 0.0065, four of them.
    assert np.mean(ratios) == pytest.approx(1 - np.exp(-1.2), abs=0.026)


def test_ibl_bins_leave_the_incomplete_one_out():
    # 25 s: two bins of 10 s; the spike at 24 s lies in none.
    edges = full_bins(25 * RATE_HZ, 10 * RATE_HZ)
    assert edges.tolist() == [0, 300_000, 600_000]
    assert presence_ratio(to_samples([1, 24]), edges) == 0.5


def test_presence_without_bins_or_spikes():
    assert np.isnan(presence_ratio(np.array([5]), full_bins(9 * RATE_HZ, 10 * RATE_HZ)))
    assert presence_ratio(np.array([], np.int64), equal_bins(HOUR, 100)) == 0


@settings(derandomize=True, max_examples=40, deadline=None)
@given(trains, st.integers(1, 30))
def test_presence_equals_a_histogram_and_spikeinterface(samples, n_bins):
    edges = equal_bins(20_001, n_bins)
    ours = presence_ratio(samples, edges)
    filled = [np.any((samples >= a) & (samples < b)) for a, b in itertools.pairwise(edges)]
    assert ours == np.mean(filled)
    assert ours == peer.presence_ratio(samples, bin_edges=edges)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_planted_contamination_is_recovered(fraction):
    rng = np.random.default_rng(3)
    own = spike_train(20 * (1 - fraction), HOUR_S, rng=rng, refractory_s=0.003)
    # Without a refractory period of its own: many neurons, which the formulas are for.
    merged, is_foreign = contaminate(own, fraction, HOUR_S, rng=rng, refractory_s=0)
    ratio, corrected = isi_violations(
        to_samples(merged), sampling_rate_hz=RATE_HZ, duration_s=HOUR_S
    )
    truth = is_foreign.mean()
    n = len(merged)
    expected = (2 * truth - truth**2) * n**2 * 0.0015 / HOUR_S
    # Four standard deviations of the Poisson number of violations, and 4 % for pairs with a
    # third spike between them (20 Hz x 1.5 ms = 3 %) and for times cut to samples (1 %).
    tolerance = 4 * np.sqrt(expected) / expected + 0.04 if expected else 0
    assert ratio == pytest.approx(truth - truth**2 / 2, rel=tolerance, abs=1e-12)
    # d corrected / d V = 1 / (1 - corrected) of that.
    assert corrected == pytest.approx(truth, rel=tolerance / (1 - truth) + 0.01, abs=1e-12)


def test_contamination_by_one_neuron():
    # Its own spikes keep their distance too: c - c² instead of c - c²/2.
    rng = np.random.default_rng(4)
    own = spike_train(14, HOUR_S, rng=rng, refractory_s=0.003)
    merged, is_foreign = contaminate(own, 0.3, HOUR_S, rng=rng, refractory_s=0.003)
    ratio, _ = isi_violations(to_samples(merged), sampling_rate_hz=RATE_HZ, duration_s=HOUR_S)
    c = is_foreign.mean()
    # About 900 violations: 3.3 % a standard deviation, three of them, and the 4 % of above.
    assert ratio == pytest.approx(c - c**2, rel=0.14)


def test_interval_of_exactly_the_refractory_period_is_no_violation():
    at = np.array([0, 45, 10_000])
    below = np.array([0, 44, 10_000])
    call = {"sampling_rate_hz": RATE_HZ, "duration_s": 1.0, "threshold_s": 0.0015}
    assert isi_violations(at, **call)[0] == 0
    # One violation: 1 x 1 s / (2 x 3² x 1.5 ms).
    assert isi_violations(below, **call)[0] == pytest.approx(1 / (2 * 9 * 0.0015))


def test_double_counted_spikes_are_left_out():
    samples = np.array([0, 0, 4, 1000, 2000])
    call = {"sampling_rate_hz": RATE_HZ, "duration_s": 1.0}
    # 4 samples are 0.133 ms: one spike with 0.166 ms, two without.
    assert isi_violations(samples, min_isi_s=0.000166, **call) == (0, 0)
    assert isi_violations(samples, **call)[0] == pytest.approx(1 / (2 * 16 * 0.0015))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(trains, st.sampled_from([0.0, 0.0001, 0.000166]))
def test_isi_violations_equal_a_loop(samples, min_isi_s):
    kept = [s for i, s in enumerate(samples) if i == 0 or s - samples[i - 1] > min_isi_s * RATE_HZ]
    ratio, corrected = isi_violations(
        samples, sampling_rate_hz=RATE_HZ, duration_s=0.7, min_isi_s=min_isi_s
    )
    if len(kept) < 2:
        assert np.isnan(ratio) and np.isnan(corrected)
        return
    violations = sum(b - a < 45 for a, b in itertools.pairwise(kept))
    n, tau = len(kept), 0.0015 - min_isi_s
    assert ratio == pytest.approx(violations / (2 * n * tau) / (n / 0.7))
    inside = 1 - violations * 0.7 / (n**2 * tau)
    assert (
        corrected == pytest.approx(1 - np.sqrt(inside), abs=1e-12)
        if inside >= 0
        else np.isnan(corrected)
    )


def test_isi_violations_equal_spikeinterface_without_double_counts():
    rng = np.random.default_rng(5)
    samples = np.unique(rng.integers(0, 600 * RATE_HZ, 6000))
    ours, _ = isi_violations(samples, sampling_rate_hz=RATE_HZ, duration_s=600.0)
    # Half a sample less than 1.5 ms: their times in seconds round 45 samples either way.
    theirs, _, _ = peer.isi_violations([samples / RATE_HZ], 600.0, isi_threshold_s=44.5 / RATE_HZ)
    assert ours == pytest.approx(theirs * 44.5 / 45)


def test_contamination_alt_is_the_smaller_root():
    rng = np.random.default_rng(6)
    samples = np.sort(rng.integers(0, 600 * RATE_HZ, 6000))
    n, span_s = len(samples), np.ptp(samples) / RATE_HZ
    k = span_s * np.sum(np.diff(samples) < 45) / (2 * 0.0015 * n**2)
    expected = np.min(np.abs(np.roots([-1, 1, k])))
    assert contamination_alt(samples, sampling_rate_hz=RATE_HZ) == pytest.approx(expected)


@pytest.mark.parametrize("samples", [[], [7]])
def test_no_interval_no_number(samples):
    samples = np.array(samples, np.int64)
    call = {"sampling_rate_hz": RATE_HZ}
    assert np.isnan(isi_violations(samples, duration_s=1.0, **call)).all()
    assert np.isnan(contamination_alt(samples, **call))


def test_more_violations_than_a_poisson_train_have_no_corrected_value():
    ratio, corrected = isi_violations(
        np.arange(0, 30_000, 30), sampling_rate_hz=RATE_HZ, duration_s=100.0
    )
    assert ratio > 0.5
    assert np.isnan(corrected)
