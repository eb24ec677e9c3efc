"""How much two traces tell of each other, and the neuropil's share at which it is least."""

import numpy as np
from numba import njit, prange

from sluice.ophys.traces import batches

_N_BINS = 100
_STEP = 0.01
_N_STEPS = 200


def fit_by_mutual_information(measured, neuropil):
    """The r at which Fm - r Fn tells least of the neuropil.

    Of r = 0, 0.01 … 1.99 the one with the smallest normalised mutual information of Fm - r Fn
    and Fn, with 100 equal bins each (AIND, aind-ophys-extraction).

    Parameters
    ----------
    measured, neuropil : float array, shape (n_rois, n_frames)

    Returns
    -------
    float64 array, shape (n_rois,)
        NaN where no frame has both.
    """
    found = np.full(len(measured), np.nan)
    for rows in batches(len(measured)):
        _fit_rows(
            np.ascontiguousarray(measured[rows], dtype=np.float64),
            np.ascontiguousarray(neuropil[rows], dtype=np.float64),
            found[rows],
        )
    return found


@njit(cache=True, nogil=True, parallel=True)
def _fit_rows(measured, neuropil, found):
    for i in prange(measured.shape[0]):
        is_number = ~np.isnan(measured[i] + neuropil[i])
        fm, fn = measured[i][is_number], neuropil[i][is_number]
        if fm.size == 0:
            continue
        bins = np.empty(fm.size, np.int64)
        _bin(fn, bins)
        best = np.inf
        other = np.empty_like(bins)
        for k in range(_N_STEPS):
            _bin(fm - k * _STEP * fn, other)
            information = normalised_information(other, bins)
            if information < best:
                best, found[i] = information, k * _STEP


@njit(cache=True, nogil=True)
def _bin(samples, bins):
    """Number of each sample's bin; the highest sample is in the last."""
    lowest = samples.min()
    width = (samples.max() - lowest) / _N_BINS
    for i in range(samples.size):
        k = int((samples[i] - lowest) / width) if width > 0 else 0
        bins[i] = min(k, _N_BINS - 1)


@njit(cache=True, nogil=True)
def normalised_information(a, b):
    """(H(a) + H(b)) / H(a, b): 1 where they share nothing, 2 where they are the same.

    Parameters
    ----------
    a, b : int64 array, shape (n,)
        Bins, 0 to 99.
    """
    joint = np.zeros((_N_BINS, _N_BINS))
    for i in range(a.size):
        joint[a[i], b[i]] += 1
    both = _entropy(joint.ravel(), a.size)
    if both == 0:
        return 1.0
    return (_entropy(joint.sum(axis=0), a.size) + _entropy(joint.sum(axis=1), a.size)) / both


@njit(cache=True, nogil=True)
def _entropy(counts, n):
    total = 0.0
    for count in counts:
        if count > 0:
            total -= count / n * np.log(count / n)
    return total
