import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from sluice.ephys.metrics.refractory import pair_lags, sliding_refractory_period
from sluice.synth.spikes import contaminate, spike_train

RATE_HZ = 30_000


def reference_train(rate_hz, n_spikes, dead_samples, seed, contamination):
    """The trains that `REFERENCE` was made from."""
    rng = np.random.default_rng(seed)
    own = np.cumsum(dead_samples + rng.exponential(30_000 / rate_hz, n_spikes)).astype(np.int64)
    foreign = rng.integers(0, own[-1], int(contamination * n_spikes))
    return np.sort(np.concatenate([own, foreign]))


# Output of slidingRP 1.1.1 (with phylib 2.7.1 and numpy 2.4.6), function slidingRP, for these
# trains: arguments of `reference_train`, max_confidence (%), min_contamination (%). The times
# given to it were (sample + 0.25) / 30000 s, so that its truncation gives the sample back.
REFERENCE = [
    ((5, 20000, 60, 0, 0), 100.0, 1.0),
    ((5, 20000, 60, 1, 0.05), 99.99998675535214, 5.0),
    ((5, 20000, 60, 2, 0.1), 49.562824673934735, 12.5),
    ((20, 20000, 75, 3, 0.2), 0.008612184378020693, 17.0),
    ((2, 500, 90, 4, 0), 55.33500049871647, 29.0),
    ((1, 107, 90, 5, 0), 6.946910418879426, np.nan),
    ((30, 30000, 45, 6, 0.02), 100.0, 2.5),
    ((10, 5000, 60, 7, 0.5), 3.6214752308083575e-07, 30.0),
    ((8, 8000, 120, 8, 0.12), 94.99407509242779, 9.0),
]


@pytest.mark.parametrize(("train", "confidence", "contamination"), REFERENCE)
def test_equals_the_reference_implementation(train, confidence, contamination):
    found = sliding_refractory_period(reference_train(*train), sampling_rate_hz=RATE_HZ)
    # Relative: the reference subtracts a probability from 1.
    assert found[0] == pytest.approx(confidence, rel=1e-6, abs=1e-9)
    assert found[1] == pytest.approx(contamination, nan_ok=True)


def slow_twin(samples):
    """Confidence for every refractory period and contamination, one by one."""
    n = len(samples)
    lags = np.array([b - a for i, a in enumerate(samples) for b in samples[i + 1 :]])
    rate = np.sum((lags >= 30_000) & (lags < 60_000)) / n
    best_at_ten, smallest = 0.0, np.nan
    for step in range(300):
        if (step + 0.5) / 30_000 <= 0.0005:
            continue
        observed = np.sum(lags <= step)
        for percent in np.arange(0.5, 35, 0.5):
            expected = rate * percent / 100 * (step + 1) / 30_000 * 2 * n
            confidence = 100 * (1 - poisson.cdf(observed, expected))
            if percent == 10:
                best_at_ten = max(best_at_ten, confidence)
            if confidence >= 90:
                smallest = np.nanmin([smallest, percent])
    return best_at_ten, smallest


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_a_slow_twin(seed):
    rng = np.random.default_rng(seed)
    samples = np.sort(rng.integers(0, 4 * RATE_HZ, 250 + 200 * seed))
    # Thinned, so that some confidence is reached.
    samples = samples[np.diff(samples, prepend=-1000) > 60]
    found = sliding_refractory_period(samples, sampling_rate_hz=RATE_HZ)
    confidence, contamination = slow_twin(samples)
    assert found[0] == pytest.approx(confidence, abs=1e-9)
    assert found[1] == pytest.approx(contamination, nan_ok=True)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 3000), max_size=60),
    st.integers(1, 300),
    st.integers(0, 1000),
    st.integers(0, 1000),
)
def test_pair_lags_equal_all_pairs(samples, n_lags, near, width):
    samples = np.sort(np.array(samples, np.int64))
    lags = np.array(
        [b - a for i, a in enumerate(samples) for b in samples[i + 1 :]], dtype=np.int64
    )
    near = near + 1
    counts, n_between = pair_lags(samples, n_lags, near, near + width)
    assert counts.tolist() == np.bincount(lags[lags < n_lags], minlength=n_lags).tolist()
    assert n_between == np.sum((lags >= near) & (lags < near + width))


@pytest.mark.parametrize("percent", [2, 5, 14, 20])
def test_planted_contamination_is_bounded(percent):
    # The metric counts c - c²/2 of c: pairs of two foreign spikes count once, not twice.
    # One hour of 20 Hz with 3 ms dead time has V = 2 c N² τ / T = 173 violations at 2 %, and
    # 90 % confidence lies 1.3 / sqrt(V) = 10 % above them, less at more contamination.
    rng = np.random.default_rng(percent)
    own = spike_train(20 * (1 - percent / 100), 3600, rng=rng, refractory_s=0.003)
    merged, is_foreign = contaminate(own, percent / 100, 3600, rng=rng, refractory_s=0)
    samples = (merged * RATE_HZ).astype(np.int64)
    confidence, contamination = sliding_refractory_period(samples, sampling_rate_hz=RATE_HZ)
    c = is_foreign.mean()
    pairs = 100 * (c - c**2 / 2)
    # With two standard deviations of V (15 %) either way; the best of many refractory periods
    # counts, which leans low. Rounded up to 0.5 %.
    assert 0.9 * pairs <= contamination <= 1.25 * pairs + 0.5
    assert (confidence > 90) == (percent < 10)


def test_clean_unit_is_trusted_the_more_the_longer():
    rng = np.random.default_rng(9)
    found = [
        sliding_refractory_period(
            (spike_train(5, duration_s, rng=rng, refractory_s=0.003) * RATE_HZ).astype(np.int64),
            sampling_rate_hz=RATE_HZ,
        )
        for duration_s in (20, 200, 2000)
    ]
    confidences = [confidence for confidence, _ in found]
    assert confidences == sorted(confidences)
    # 100 spikes say little: λ = 2 x 3 ms x 5 Hz x 0.1 x 100 = 0.3, so about 1 - exp(-0.3).
    assert confidences[0] == pytest.approx(26, abs=15)
    assert confidences[-1] > 99.9
    assert np.isnan(found[0][1])


def test_another_sampling_rate():
    # The same train sampled at 15 kHz: 150 steps instead of 300, about the same answer.
    samples = reference_train(8, 8000, 120, 8, 0.12)
    fine = sliding_refractory_period(samples, sampling_rate_hz=30_000)
    coarse = sliding_refractory_period(samples // 2, sampling_rate_hz=15_000)
    assert coarse[0] == pytest.approx(fine[0], abs=2)
    assert coarse[1] == pytest.approx(fine[1], abs=0.5)


def test_rates_that_are_not_round():
    samples = reference_train(5, 5000, 60, 0, 0)
    expected = sliding_refractory_period(samples, sampling_rate_hz=30_000)
    found = sliding_refractory_period(samples, sampling_rate_hz=30_000.06)
    assert found == pytest.approx(expected, rel=1e-4)


def test_few_spikes():
    none = sliding_refractory_period(np.array([], np.int64), sampling_rate_hz=RATE_HZ)
    assert np.isnan(none).all()
    # Spikes but no pairs 1 to 2 s apart: no rate, no confidence.
    confidence, contamination = sliding_refractory_period(
        np.array([0, 100]), sampling_rate_hz=RATE_HZ
    )
    assert confidence == 0
    assert np.isnan(contamination)
