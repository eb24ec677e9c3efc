"""Metrics of one spike train: presence ratio, violations of the refractory period.

Spike times are sample indices (int64, ascending, 0 = first sample of the recording), so
that intervals are compared exactly, without the rounding of times in seconds.

The recording's own duration stands where the reference implementations take the time
between the first and the last spike of all units: a unit's metrics then do not depend on
which other units the sorter found. On a recording in which some unit fires within the
first and the last second the two differ by less than 2 s / duration; on a real one (15
units, 75 minutes) rates and violations differ by 0.01 %, and of 15 presence ratios none.
"""

import numpy as np


def equal_bins(n_samples, n_bins):
    """Return the edges of bins of equal length that cover a recording.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    n_bins : int

    Returns
    -------
    ndarray of float64, shape (n_bins + 1,)
        In samples.
    """
    return np.linspace(0, n_samples, n_bins + 1)


def full_bins(n_samples, bin_samples):
    """Return the edges of bins of a given length; the incomplete last one is left out.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    bin_samples : float

    Returns
    -------
    ndarray of float64, shape (n_bins + 1,)
        In samples; one edge only where the recording is shorter than a bin.
    """
    return np.arange(int(n_samples // bin_samples) + 1) * bin_samples


def presence_ratio(samples, edges):
    """Fraction of time bins in which the unit fires at all.

    Source: Allen ecephys_spike_sorting, quality_metrics, and ibllib, single_units; they
    differ in the bins:

    - ``presence_ratio`` (Allen): 100 equal bins over the recording. Allen's histogram has
      99 bins, whose count is divided by 100, so that no unit exceeds 0.99. We take 100 bins
      and divide by 100: a unit that is always there has 1, and the threshold of 0.95 means
      95 % of the time (Allen's: 95 of 99 bins, 96.0 %). On a real recording ours are 0.01
      larger (-0.01 to 0.02), and one unit of 15 moves from 0.94 to 0.95.
    - ``ibl_presence_ratio``: bins of 10 s. ibllib appends an empty bin where the last,
      incomplete one is longer than half a bin; we leave the incomplete bin out.

    A steady train that fires r times a bin on average has 1 - exp(-r): in a short recording,
    with its short bins, a slow unit looks absent.

    Parameters
    ----------
    samples : ndarray of int, shape (n_spikes,)
        Ascending.
    edges : ndarray, shape (n_bins + 1,)
        Of `equal_bins` or `full_bins`, in samples; a bin holds its left edge.

    Returns
    -------
    float
        0 to 1, no unit; NaN where there is no bin. A unit without spikes has 0.
    """
    if len(edges) < 2:
        return np.nan
    return np.mean(np.diff(np.searchsorted(samples, edges)) > 0)


def isi_violations(samples, *, sampling_rate_hz, duration_s, threshold_s=0.0015, min_isi_s=0.0):
    """Rate of contaminating spikes relative to the unit's own, from short intervals.

    With N spikes in T seconds, V of whose intervals are shorter than the refractory period
    τ, and none that can be shorter than τ₀ (double-counted spikes are removed, here once
    more: of two spikes τ₀ or less apart the later one):

    - ``isi_violations`` = (V / (2 N (τ - τ₀))) / (N / T); Hill et al. 2011 as in Allen
      ecephys_spike_sorting, ``isi_violations``. Also IBL's ``contamination``, which uses
      τ₀ = 0.1 ms.
    - ``isi_violations_corrected`` = 1 - sqrt(1 - V T / (N² (τ - τ₀))); cortex-lab
      sortingQuality (Llobet et al. 2022): the fraction of the spikes that are
      contamination, if that comes from many neurons (a Poisson process).

    A fraction c of Poisson contamination gives V ≈ N² (τ - τ₀) / T · (2 c - c²), so the
    first is c - c²/2 and the second c itself. They agree within 0.005 up to c = 0.1; at
    c = 0.5 the first is 0.375.

    The references count V for the corrected form before double-counted spikes between
    0 and τ₀ are removed, yet subtract τ₀; here both forms have the same N and V.

    Parameters
    ----------
    samples : ndarray of int, shape (n_spikes,)
        Ascending.
    sampling_rate_hz : float
    duration_s : float
        Length of the recording, T.
    threshold_s : float
        Refractory period τ; a shorter interval is a violation.
    min_isi_s : float
        τ₀; of two spikes this close or closer one is a double count.

    Returns
    -------
    ratio : float
        0 and more, no unit. Above 0.5 more violations than a Poisson train would have.
        NaN below 2 spikes.
    corrected : float
        0 to 1, no unit. NaN below 2 spikes and where there are more violations than in a
        Poisson train.
    """
    # Rounded, so that 1.5 ms at 30 kHz is 45 samples and not 45.00000000000001.
    threshold = round(threshold_s * sampling_rate_hz, 6)
    shortest = round(min_isi_s * sampling_rate_hz, 6)
    kept = samples[np.diff(samples, prepend=-np.inf) > shortest]
    if len(kept) < 2:
        return np.nan, np.nan
    n_violations = np.count_nonzero(np.diff(kept) < threshold)
    relative = n_violations * duration_s / (len(kept) ** 2 * (threshold_s - min_isi_s))
    corrected = 1 - np.sqrt(1 - relative) if relative <= 1 else np.nan
    return relative / 2, corrected


def contamination_alt(samples, *, sampling_rate_hz, refractory_s=0.0015):
    """Contamination by IBL's second formula, a root of a quadratic equation.

    The smaller absolute root of -x² + x + k = 0 with k = T V / (2 τ N²), V intervals shorter
    than τ and T the time between the unit's own first and last spike: (sqrt(1 + 4 k) - 1) / 2.

    Source: ibllib, ``contamination_alt``. Hill et al. 2011, from whom it is taken, have
    -x² + x - k: IBL's root is k - k² + … where Hill's is k + k² + …, so the column is too
    small by about 2 k². It is kept as IBL publishes it.

    Parameters
    ----------
    samples : ndarray of int, shape (n_spikes,)
        Ascending.
    sampling_rate_hz : float
    refractory_s : float
        τ.

    Returns
    -------
    float
        0 and more, no unit; NaN below 2 spikes.
    """
    n_spikes = len(samples)
    if n_spikes < 2:
        return np.nan
    refractory_samples = round(refractory_s * sampling_rate_hz, 6)
    n_violations = np.count_nonzero(np.diff(samples) < refractory_samples)
    span_s = (samples[-1] - samples[0]) / sampling_rate_hz
    k = span_s * n_violations / (2 * refractory_s * n_spikes**2)
    return (np.sqrt(1 + 4 * k) - 1) / 2
