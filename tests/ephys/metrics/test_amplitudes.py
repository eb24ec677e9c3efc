import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from spikeinterface.metrics.quality import misc_metrics as peer

from sluice.ephys.metrics.amplitudes import (
    amp_median,
    amp_std_db,
    amplitude_cutoff,
    missed_spikes_est,
    noise_cutoff,
)
from sluice.synth.spikes import spike_amplitudes


@pytest.mark.parametrize("missed", [0.0, 0.02, 0.05, 0.1, 0.2, 0.3])
def test_planted_missed_fraction_is_recovered(missed):
    rng = np.random.default_rng(1)
    amplitudes_uv = spike_amplitudes(50_000, 100, rng=rng, relative_sd=0.15, missed_fraction=missed)
    cutoff = amplitude_cutoff(amplitudes_uv)
    # The metric is missed by detected: m / (1 - m). Over 200 draws of 10,000 spikes the
    # standard deviation of m so found is at most 0.026 (at 0.3), its bias at most 0.011; with
    # five times the spikes 0.012. Bias and three of these: 0.05.
    assert cutoff / (1 + cutoff) == pytest.approx(missed, abs=0.05)
    assert missed_spikes_est(amplitudes_uv) == pytest.approx(missed / (1 - missed), abs=0.08)


def test_reference_bias_is_the_denominator():
    # The mean over draws is m / (1 - m) and not m: 0.25 for 20 % (with noise that raises it
    # by 0.01 to 0.02); 20 draws have a standard error of 0.01.
    rng = np.random.default_rng(2)
    found = [
        amplitude_cutoff(spike_amplitudes(10_000, 100, rng=rng, missed_fraction=0.2))
        for _ in range(20)
    ]
    assert 0.24 < np.mean(found) < 0.30


def test_spikeinterface_divides_by_all_spikes():
    rng = np.random.default_rng(3)
    amplitudes_uv = spike_amplitudes(100_000, 100, rng=rng, missed_fraction=0.1)
    theirs = peer.amplitude_cutoff(amplitudes_uv, 500, 3, 5)
    ours = amplitude_cutoff(amplitudes_uv)
    # They take the last bin as high as the lowest, we the nearest in height: a few bins
    # apart, each with 0.2 % of the spikes.
    assert ours / (1 + ours) == pytest.approx(theirs, abs=0.02)
    assert ours > theirs


def test_half_missing_is_the_most():
    rng = np.random.default_rng(4)
    amplitudes_uv = spike_amplitudes(20_000, 100, rng=rng, missed_fraction=0.7)
    assert amplitude_cutoff(amplitudes_uv) == 0.5
    assert missed_spikes_est(amplitudes_uv) == 0.5


def allen_twin(amplitudes_uv):
    """Allen's definition step by step."""
    density, edges = np.histogram(amplitudes_uv, 500, density=True)
    smooth = gaussian_filter1d(density, 3)
    peak = int(np.argmax(smooth))
    distances = [abs(smooth[i] - smooth[0]) for i in range(peak, 500)]
    start = peak + distances.index(min(distances))
    width = edges[1] - edges[0]
    return min(0.5, sum(smooth[i] * width for i in range(start, 500)))


def ibl_missed_twin(amplitudes_uv):
    n_bins = int(len(amplitudes_uv) / 10)
    smooth = gaussian_filter1d(np.histogram(amplitudes_uv, n_bins, density=True)[0], 4)
    peak = int(np.argmax(smooth))
    start = peak + int(np.argmin(np.abs(smooth[peak:] - smooth[0])))
    return min(0.5, sum(smooth[start:]) / sum(smooth))


def ibl_noise_twin(amplitudes_uv):
    """IBL's definition, bin by bin."""
    edges = np.linspace(0, max(amplitudes_uv), 100)
    counts = [
        sum(1 for a in amplitudes_uv if low <= a and (a < high or (i == 98 and a <= high)))
        for i, (low, high) in enumerate(itertools.pairwise(edges))
    ]
    peak = counts.index(max(counts))
    n_upper = sum(1 for c in counts[peak:-1] if c > 0)
    tail = [c for c in counts[int(np.ceil(n_upper * 0.5 + peak)) :] if c > 0]
    filled = [c for c in counts if c > 0]
    if len(filled) < 2 or not tail or np.std(tail) == 0:
        return np.nan
    return (filled[1] - np.mean(tail)) / np.std(tail)


@pytest.mark.parametrize("seed", range(5))
def test_equal_step_by_step_twins(seed):
    rng = np.random.default_rng(seed)
    amplitudes_uv = rng.gamma(20 + 10 * seed, 5, 1000 + 300 * seed)
    amplitudes_uv = amplitudes_uv[amplitudes_uv > np.quantile(amplitudes_uv, 0.05 * seed)]
    assert amplitude_cutoff(amplitudes_uv) == pytest.approx(allen_twin(amplitudes_uv))
    assert missed_spikes_est(amplitudes_uv) == pytest.approx(ibl_missed_twin(amplitudes_uv))
    assert noise_cutoff(amplitudes_uv) == pytest.approx(ibl_noise_twin(amplitudes_uv))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.floats(1, 500, width=32), min_size=2, max_size=40))
def test_noise_cutoff_equals_its_twin_on_anything(values):
    amplitudes_uv = np.array(values, np.float64)
    assert noise_cutoff(amplitudes_uv) == pytest.approx(
        ibl_noise_twin(amplitudes_uv), nan_ok=True, rel=1e-9
    )


def test_noise_cutoff_tells_a_cut_distribution():
    rng = np.random.default_rng(5)
    whole = spike_amplitudes(20_000, 100, rng=rng, relative_sd=0.15)
    cut = spike_amplitudes(20_000, 100, rng=rng, relative_sd=0.15, missed_fraction=0.3)
    # IBL's threshold is 5. A whole distribution ends in nothing below, so that its second
    # bin is no higher than the tail; a cut one starts near its peak.
    assert noise_cutoff(whole) < 1
    assert noise_cutoff(cut) > 5


def test_doubling_all_amplitudes_changes_nothing_but_the_median():
    rng = np.random.default_rng(6)
    amplitudes_uv = rng.normal(80, 10, 3001)
    for metric in (amplitude_cutoff, missed_spikes_est, noise_cutoff):
        assert metric(2 * amplitudes_uv) == pytest.approx(metric(amplitudes_uv))
    assert amp_std_db(2 * amplitudes_uv) == pytest.approx(amp_std_db(amplitudes_uv))
    assert amp_median(2 * amplitudes_uv) == 2 * amp_median(amplitudes_uv)


def test_median_on_a_decibel_scale():
    assert amp_median(np.array([30.0, 10.0, 1000.0])) == pytest.approx(30)
    # Even number: the geometric mean of the two in the middle, 40 x 90 = 60².
    assert amp_median(np.array([90.0, 10.0, 40.0, 1000.0])) == pytest.approx(60)
    rng = np.random.default_rng(7)
    amplitudes_uv = rng.lognormal(4, 0.3, 1000)
    decibel = 20 * np.log10(amplitudes_uv)
    assert amp_median(amplitudes_uv) == pytest.approx(10 ** (np.median(decibel) / 20))
    assert amp_std_db(amplitudes_uv) == pytest.approx(np.std(decibel, ddof=1))


def test_too_few_spikes_have_no_number():
    none, one = np.array([]), np.array([50.0])
    for metric in (amplitude_cutoff, missed_spikes_est, noise_cutoff, amp_std_db):
        assert np.isnan(metric(none))
        assert np.isnan(metric(one))
    assert np.isnan(amp_median(none))
    rng = np.random.default_rng(8)
    assert np.isnan(missed_spikes_est(rng.normal(80, 10, 500)))
    assert np.isfinite(missed_spikes_est(rng.normal(80, 10, 501)))


def test_one_size_only():
    same = np.full(1000, 80.0)
    for metric in (amplitude_cutoff, missed_spikes_est, noise_cutoff):
        assert np.isnan(metric(same))
