"""Spike trains with known rate, refractory period, contamination, presence and missed spikes.

Every function is pure: what is random comes from the generator `rng` it is given.
"""

import numpy as np


def spike_train(rate_hz, duration_s, *, rng, refractory_s=0.002, present_s=None):
    """Draw the spike times of a Poisson neuron with a dead time.

    Intervals are the refractory period plus an exponential whose mean makes up the rate.

    Parameters
    ----------
    rate_hz : float
        Mean rate while the neuron is present; below ``1 / refractory_s``.
    duration_s : float
    rng : numpy.random.Generator
    refractory_s : float
        No interval is shorter (s).
    present_s : list of (start, stop), optional
        Spans in which the neuron fires (s, within 0..`duration_s`); all of it where not given.

    Returns
    -------
    times_s : float64 array, shape (n_spikes,)
        Ascending, seconds from the start of the recording.

    Raises
    ------
    ValueError
        The rate cannot be reached with this refractory period.
    """
    if rate_hz * refractory_s >= 1:
        raise ValueError(
            f"{rate_hz} Hz cannot be reached with a refractory period of {refractory_s} s"
        )
    free_s = 1 / rate_hz - refractory_s
    expected = rate_hz * duration_s
    # enough intervals that the train ends beyond the recording in all but absurd cases
    intervals = []
    total = -refractory_s
    while total < duration_s:
        block = refractory_s + rng.exponential(free_s, int(expected + 6 * expected**0.5) + 10)
        intervals.append(block)
        total += block.sum()
    # the first spike owes no refractory period to the start of the recording
    times_s = np.cumsum(np.concatenate(intervals)) - refractory_s
    times_s = times_s[times_s < duration_s]
    if present_s is None:
        return times_s
    keep = np.zeros(times_s.size, bool)
    for start, stop in present_s:
        keep |= (times_s >= start) & (times_s < stop)
    return times_s[keep]


def contaminate(times_s, fraction, duration_s, *, rng, refractory_s=0.002):
    """Merge the spikes of a second, independent neuron into a train.

    Parameters
    ----------
    times_s : float array, shape (n_spikes,)
        Ascending (s).
    fraction : float
        Share of the merged train that comes from the second neuron, 0 to below 1.
    duration_s : float
    rng : numpy.random.Generator
    refractory_s : float
        Of the second neuron (s).

    Returns
    -------
    merged_s : float64 array, shape (n_spikes + n_foreign,)
        Ascending (s).
    is_foreign : bool array, same shape
        True for spikes of the second neuron.
    """
    rate_hz = times_s.size / duration_s * fraction / (1 - fraction)
    if rate_hz == 0:
        return np.array(times_s, float), np.zeros(times_s.size, bool)
    foreign = spike_train(rate_hz, duration_s, rng=rng, refractory_s=refractory_s)
    merged = np.concatenate([times_s, foreign])
    order = np.argsort(merged, kind="stable")
    return merged[order], order >= times_s.size


def spike_amplitudes(n_spikes, mean_uv, *, rng, relative_sd=0.1, missed_fraction=0.0):
    """Amplitudes of a unit's spikes, with the smallest ones missed.

    Amplitudes are normal; a detection threshold at the `missed_fraction` quantile removes the
    ones below it, as a sorter does with a unit close to the noise.

    Parameters
    ----------
    n_spikes : int
        Number of spikes that are left.
    mean_uv : float
        Mean of the whole distribution, the missed spikes included (µV).
    rng : numpy.random.Generator
    relative_sd : float
        Standard deviation as a fraction of the mean.
    missed_fraction : float
        Fraction of the neuron's spikes that fell below the threshold, 0 to below 1.

    Returns
    -------
    amplitudes_uv : float64 array, shape (n_spikes,)
    """
    from scipy.stats import norm

    quantile = rng.uniform(missed_fraction, 1, n_spikes)
    # 0 would be minus infinity
    return mean_uv * (1 + relative_sd * norm.ppf(np.maximum(quantile, 1e-12)))
