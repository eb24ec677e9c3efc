"""Runs of true samples."""

import numpy as np


def runs_of(mask):
    """Find the runs of true samples.

    Parameters
    ----------
    mask : ndarray of bool, shape (n_samples,)

    Returns
    -------
    ndarray of int64, shape (n_runs, 2)
        First sample and first sample after each run, ascending.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return edges.reshape(-1, 2).astype(np.int64)
