"""Metrics of the sizes of one unit's spikes: what is missing below the threshold."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

MISSED_SPIKES_PER_BIN = 10
MISSED_MIN_BINS = 50


def _missing_above_mirror(density):
    """Sum of a smoothed density above the mirror image of its lower end.

    If the distribution was symmetric, and cut off at its lower end, what lies beyond the
    point on the upper flank that is as high as the lower end equals what was cut off.
    """
    peak = np.argmax(density)
    mirror = peak + np.argmin(np.abs(density[peak:] - density[0]))
    return density[mirror:].sum()


def amplitude_cutoff(amplitudes_uv):
    """Spikes missed below the threshold, as a fraction of the detected ones.

    Histogram of 500 bins, smoothed with a Gaussian of 3 bins; the upper tail beyond the
    height of the lowest bin mirrors what is missing below it. At most 0.5.

    Source: Allen ecephys_spike_sorting, ``amplitude_cutoff`` (after Hill et al. 2011).
    Assumes a symmetric distribution that does not drift. The tail is divided by the
    detected spikes and not by all: a fraction m missing of all gives m / (1 - m), 0.11 for
    m = 0.1 and 0.43 for m = 0.3. SpikeInterface's ``amplitude_cutoff`` is another number:
    100 bins, the last bin as high as the lowest, divided by all.

    It is noisy: for a complete Gaussian distribution it is 0.085 ± 0.135 (mean ± standard
    deviation) with 100 spikes, 0.041 ± 0.075 with 200, 0.015 ± 0.027 with 500; for 10 %
    missing (0.111) it is 0.277 ± 0.152 with 200, 0.201 ± 0.132 with 500, 0.134 ± 0.053 with
    2,000 and 0.119 ± 0.018 with 10,000.

    Parameters
    ----------
    amplitudes_uv : ndarray, shape (n_spikes,)
        Sizes of the spikes, positive; any unit.

    Returns
    -------
    float
        0 to 0.5, no unit. NaN without spikes or where all have one size.
    """
    if len(amplitudes_uv) == 0 or np.ptp(amplitudes_uv) == 0:
        return np.nan
    counts, _ = np.histogram(amplitudes_uv, 500)
    density = gaussian_filter1d(counts / len(amplitudes_uv), 3)
    return min(_missing_above_mirror(density), 0.5)


def missed_spikes_est(amplitudes_uv):
    """Spikes missed below the threshold, IBL's estimate.

    As `amplitude_cutoff`, with 10 spikes a bin, a Gaussian of 4 bins, and the tail divided by
    the sum of the smoothed histogram.

    Source: ibllib, ``missed_spikes_est``, with the parameters of ``METRICS_PARAMS``.

    Parameters
    ----------
    amplitudes_uv : ndarray, shape (n_spikes,)
        Sizes of the spikes, positive; any unit.

    Returns
    -------
    float
        0 to 0.5, no unit. NaN with 500 spikes or fewer (IBL's minimum), or one size only.
    """
    n_spikes = len(amplitudes_uv)
    if n_spikes <= MISSED_SPIKES_PER_BIN * MISSED_MIN_BINS or np.ptp(amplitudes_uv) == 0:
        return np.nan
    counts, _ = np.histogram(amplitudes_uv, n_spikes // MISSED_SPIKES_PER_BIN)
    density = gaussian_filter1d(counts / n_spikes, 4)
    return min(_missing_above_mirror(density) / density.sum(), 0.5)


def noise_cutoff(amplitudes_uv):
    """How far the low end of the amplitude histogram stands above its upper tail.

    Histogram of 99 bins from 0 to the largest amplitude. Of the bins from the peak on that
    hold spikes, the upper half is the upper tail, with mean m and standard deviation s of
    its counts (empty bins left out). With h the count of the second bin from below that
    holds spikes: (h - m) / s. Large values mean that the distribution is cut off by the
    threshold. No shape is assumed.

    Source: ibllib, ``noise_cutoff`` (quantile_length 0.25, n_bins 100). IBL's docstring
    also requires h > 10 % of the peak for a failure, but its label uses the number alone;
    so do we. SpikeInterface's ``noise_cutoff`` is another number (low quantile, no zero
    start).

    Parameters
    ----------
    amplitudes_uv : ndarray, shape (n_spikes,)
        Sizes of the spikes, positive; any unit.

    Returns
    -------
    float
        Any number, in standard deviations. NaN below 2 spikes, where fewer than 2 bins hold
        spikes, or where all bins of the upper tail hold the same number.
    """
    if len(amplitudes_uv) < 2:
        return np.nan
    counts, _ = np.histogram(amplitudes_uv, 99, range=(0, amplitudes_uv.max()))
    filled = counts[counts > 0]
    if len(filled) < 2:
        return np.nan
    peak = np.argmax(counts)
    # The last bin is left out of the number of bins in the upper half, as in the reference.
    n_upper = np.count_nonzero(counts[peak:-1])
    tail = counts[int(np.ceil(0.5 * n_upper + peak)) :]
    tail = tail[tail > 0]
    if len(tail) == 0 or tail.std() == 0:
        return np.nan
    return (filled[1] - tail.mean()) / tail.std()


def amp_median(amplitudes_uv):
    """Median of the amplitudes on a decibel scale.

    10^(median(20 log10 a) / 20): the median for an odd number of spikes, the geometric mean
    of the two middle ones for an even number.

    Source: ibllib, ``quick_unit_metrics``, whose ``amp_median`` is in volts; here µV.

    Parameters
    ----------
    amplitudes_uv : ndarray, shape (n_spikes,)
        Sizes of the spikes (µV), positive.

    Returns
    -------
    float
        µV, above 0. NaN without spikes.
    """
    n_spikes = len(amplitudes_uv)
    if n_spikes == 0:
        return np.nan
    lower, upper = (n_spikes - 1) // 2, n_spikes // 2
    middle = np.partition(amplitudes_uv, (lower, upper))
    return np.sqrt(float(middle[lower]) * float(middle[upper]))


def amp_std_db(amplitudes_uv):
    """Spread of the amplitudes on a decibel scale.

    Standard deviation (n - 1) of 20 log10 a. Source: ibllib, ``quick_unit_metrics``,
    ``amp_std_dB``.

    Parameters
    ----------
    amplitudes_uv : ndarray, shape (n_spikes,)
        Sizes of the spikes, positive; any unit.

    Returns
    -------
    float
        dB, 0 and more. NaN below 2 spikes.
    """
    if len(amplitudes_uv) < 2:
        return np.nan
    return np.std(20 * np.log10(amplitudes_uv, dtype=np.float64), ddof=1)
