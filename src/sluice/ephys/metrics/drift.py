"""Movement of one unit along the probe."""

import itertools

import numpy as np


def drift(samples, depths_um, *, interval_samples, n_samples, min_spikes=10):
    """How far the unit's median depth moves over the recording.

    Median depth of the spikes in consecutive intervals, where an interval has enough of
    them. ``max_drift`` is the range of these medians; ``cumulative_drift`` is the sum of the
    absolute steps between neighbouring intervals.

    Source: Allen ecephys_spike_sorting, ``calculate_drift_metrics``. There depths are
    channel numbers weighted with squared first components x 10 µm, here they are the spikes'
    own depths in µm on the real geometry; intervals start with the recording instead of
    with the first spike; an interval holds its left edge instead of neither edge; numbers
    are not rounded to 0.01 µm; and a unit with one interval, for which the reference gives 0,
    has NaN. As in the reference a step over an interval with too few spikes is not counted.

    Parameters
    ----------
    samples : ndarray of int, shape (n_spikes,)
        Ascending.
    depths_um : ndarray, shape (n_spikes,)
        Position along the probe (µm).
    interval_samples : float
        Length of an interval; the last one may be shorter.
    n_samples : int
        Length of the recording.
    min_spikes : int
        An interval with fewer spikes has no median.

    Returns
    -------
    max_drift : float
        µm, 0 and more. NaN where fewer than two intervals have enough spikes.
    cumulative_drift : float
        µm, 0 and more. NaN where no two neighbouring intervals have enough spikes.
    """
    n_intervals = int(np.ceil(n_samples / interval_samples))
    edges = np.searchsorted(samples, np.arange(n_intervals + 1) * interval_samples)
    medians = np.array(
        [
            np.median(depths_um[start:stop]) if stop - start >= min_spikes else np.nan
            for start, stop in itertools.pairwise(edges)
        ]
    )
    known = medians[np.isfinite(medians)]
    steps = np.abs(np.diff(medians))
    steps = steps[np.isfinite(steps)]
    return (
        np.ptp(known) if len(known) > 1 else np.nan,
        steps.sum() if len(steps) else np.nan,
    )


def depth_path(depths_um, *, duration_s):
    """Way that the unit's depth goes from spike to spike, per hour.

    Σ|Δdepth| / T · 3600. Source: ibllib, ``drift``. It grows with the number of spikes and
    with the noise of their depths, and says little about movement of the probe; kept
    because IBL publishes it.

    Parameters
    ----------
    depths_um : ndarray, shape (n_spikes,)
        Position along the probe (µm), spikes in order of time.
    duration_s : float
        Length of the recording.

    Returns
    -------
    float
        µm per hour, 0 and more. NaN below 2 spikes.
    """
    if len(depths_um) < 2:
        return np.nan
    return np.abs(np.diff(depths_um.astype(np.float64))).sum() / duration_s * 3600
