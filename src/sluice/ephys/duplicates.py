"""Spikes that were counted twice: by one unit, or by two units of the same place."""

import numpy as np
from numba import njit


def units_in_reach(positions_um, shanks, *, radius_um):
    """Tell which units are near enough to have counted the same spike.

    Allen's ecephys_spike_sorting (kilosort_postprocessing) takes units less than 5
    channels apart, which is up to 40 µm along a Neuropixels 1.0 probe; a distance holds
    for other probes too.

    Parameters
    ----------
    positions_um : ndarray of float, shape (n_units, 2)
        x and y of each unit's peak channel.
    shanks : ndarray of int, shape (n_units,)
    radius_um : float
        Largest distance.

    Returns
    -------
    ndarray of bool, shape (n_units, n_units)
        True on the diagonal.
    """
    distance = np.hypot(*(positions_um[:, None] - positions_um[None]).transpose(2, 0, 1))
    return (distance <= radius_um) & (shanks[:, None] == shanks[None])


@njit(cache=True, nogil=True)
def _remove_smaller(order, samples, rows, reach, window, kept, lost):
    """Let each spike, the largest first, remove the smaller ones it makes double."""
    for spike in order:
        if not kept[spike]:
            continue
        for step in (-1, 1):
            other = spike + step
            while 0 <= other < len(samples) and abs(samples[other] - samples[spike]) < window:
                if kept[other] and reach[rows[spike], rows[other]]:
                    kept[other] = False
                    lost[rows[other], rows[spike]] += 1
                other += step


def find_double_counted(samples, unit_rows, amplitudes_uv, reach, *, window_samples):
    """Keep the largest of the spikes that are one and the same.

    Two spikes are one if they are less than `window_samples` apart and of the same unit or
    of two units in reach of each other. Spikes are taken from the largest to the smallest
    (equal ones by their order), and each one kept removes all smaller ones that are the
    same as it. So no two spikes that are left are the same, and each one removed is the
    same as a larger one that is left.

    Allen's reference removes the earlier spike within a unit and the later one between
    units, whatever their size; the larger one is more likely the real one, since a double
    is often a template fitted to what another one left over.

    Parameters
    ----------
    samples : ndarray of int64, shape (n_spikes,)
        Ascending.
    unit_rows : ndarray of int64, shape (n_spikes,)
    amplitudes_uv : ndarray of float32, shape (n_spikes,)
        Positive.
    reach : ndarray of bool, shape (n_units, n_units)
        Symmetric, true on the diagonal; see `units_in_reach`.
    window_samples : int
        Allen: 4 at 30 kHz, so spikes 0 to 3 samples apart are the same.

    Returns
    -------
    kept : ndarray of bool, shape (n_spikes,)
    lost : ndarray of int64, shape (n_units, n_units)
        Spikes of unit i removed for a larger one of unit j; within a unit on the diagonal.
    """
    kept = np.ones(len(samples), bool)
    lost = np.zeros(reach.shape, np.int64)
    order = np.argsort(-amplitudes_uv, kind="stable")
    _remove_smaller(order, samples, unit_rows, reach, window_samples, kept, lost)
    return kept, lost
