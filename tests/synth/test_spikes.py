"""Made-up spike trains have the rate, gaps and losses they were asked to have."""

import numpy as np
import pytest

from sluice.synth.spikes import contaminate, spike_amplitudes, spike_train


def _rng(seed=0):
    return np.random.default_rng(seed)


def test_rate_and_refractory_period():
    times = spike_train(20.0, 1000.0, rng=_rng(), refractory_s=0.003)
    # 20000 spikes; with the dead time the count is less variable than Poisson's (SD 141),
    # so three of its SDs are ample
    assert times.size == pytest.approx(20000, abs=420)
    intervals = np.diff(times)
    assert intervals.min() >= 0.003
    # an exponential with 0.047 s mean lies below 1 ms beyond the dead time in 2.1 % of cases
    assert np.mean(intervals < 0.004) == pytest.approx(0.021, abs=0.004)
    assert times.min() >= 0
    assert times.max() < 1000


def test_intervals_are_memoryless_after_the_dead_time():
    intervals = np.diff(spike_train(10.0, 5000.0, rng=_rng(1), refractory_s=0.002)) - 0.002
    # an exponential's SD equals its mean; 50000 intervals give 1 %
    assert intervals.std() / intervals.mean() == pytest.approx(1, abs=0.03)


def test_presence_leaves_the_rate_within_the_span():
    times = spike_train(10.0, 1000.0, rng=_rng(), present_s=[(100, 200), (400, 600)])
    inside = ((times >= 100) & (times < 200)) | ((times >= 400) & (times < 600))
    assert inside.all()
    # 3000 expected, three SDs of a Poisson count
    assert times.size == pytest.approx(3000, abs=165)
    assert np.sum(times < 200) == pytest.approx(1000, abs=95)


def test_a_rate_beyond_the_refractory_period_is_refused():
    with pytest.raises(ValueError, match="600 Hz cannot be reached with a refractory"):
        spike_train(600, 1.0, rng=_rng(), refractory_s=0.002)


def test_the_same_generator_gives_the_same_train():
    first, second = (spike_train(5.0, 60.0, rng=_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_contamination_is_the_share_of_the_foreign_train():
    own = spike_train(10.0, 2000.0, rng=_rng())
    merged, foreign = contaminate(own, 0.2, 2000.0, rng=_rng(1))
    # 5000 of 25000; SD of the foreign count 71, i.e. 0.0023 of the share
    assert foreign.mean() == pytest.approx(0.2, abs=0.007)
    assert np.all(np.diff(merged) >= 0)
    np.testing.assert_array_equal(merged[~foreign], own)
    # independent of each other: the trains violate each other's dead time as often as chance
    # has it, 2 * rate * rate * 2 ms * T = 2 * 10 * 2.5 * .002 * 2000 = 200, SD 14
    violations = np.sum((np.diff(merged) < 0.002) & (np.diff(foreign.astype(int)) != 0))
    assert violations == pytest.approx(200, abs=45)


def test_no_contamination_leaves_the_train():
    own = spike_train(10.0, 10.0, rng=_rng())
    merged, foreign = contaminate(own, 0.0, 10.0, rng=_rng(1))
    np.testing.assert_array_equal(merged, own)
    assert not foreign.any()


def test_missed_spikes_cut_the_amplitudes_at_their_quantile():
    whole = spike_amplitudes(200_000, 100.0, rng=_rng(), relative_sd=0.1)
    cut = spike_amplitudes(200_000, 100.0, rng=_rng(1), relative_sd=0.1, missed_fraction=0.3)
    # standard error of mean and SD 0.02 µV
    assert whole.mean() == pytest.approx(100, abs=0.1)
    assert whole.std() == pytest.approx(10, abs=0.1)
    # the 30 % quantile of a normal lies 0.5244 SD below its mean
    assert cut.min() == pytest.approx(100 - 5.244, abs=0.01)
    # and what is left of the whole distribution has the same density
    assert np.quantile(cut, 0.5) == pytest.approx(np.quantile(whole, 0.65), abs=0.1)
