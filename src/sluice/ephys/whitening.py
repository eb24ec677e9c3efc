"""Whitening by each channel's nearest neighbours (Kilosort's ``whiteningLocal``)."""

import numpy as np

BATCH_SAMPLES = 65536  # Kilosort's batch, 2.18 s at 30 kHz
_PIECE = 8192  # samples of a batch that are float64 at one time


def batch_bounds(n_samples, *, every=25, at_least=10):
    """Choose the batches a covariance is taken over.

    Kilosort takes every 25th batch of 65536 samples. A recording of less than
    ``every * at_least`` batches (9 minutes at 30 kHz by default) takes them more often,
    so that there are `at_least` of them or, below that length, all.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    every : int
        One batch of this many.
    at_least : int
        Batches wanted from a short recording.

    Returns
    -------
    list of (start, stop)
        In samples. The last, incomplete batch is left out unless it is the only one.
    """
    n_batches = max(n_samples // BATCH_SAMPLES, 1)
    step = min(every, max(n_batches // at_least, 1))
    starts = range(0, n_batches * BATCH_SAMPLES, step * BATCH_SAMPLES)
    return [(start, min(start + BATCH_SAMPLES, n_samples)) for start in starts]


def mean_covariance(batches):
    """Average the covariance of the channels over batches.

    Each batch loses the mean of each channel first, as in Kilosort. The sums are sums of
    integers below 2^53 in float64 and therefore exact: the result depends neither on the
    number of threads nor on the order of summation.

    Parameters
    ----------
    batches : iterable of int16, shape (n_samples, n_channels)

    Returns
    -------
    covariance : float64, shape (n_channels, n_channels)
        In bits².
    """
    total, n_batches = 0.0, 0
    for batch in batches:
        products, sums = 0.0, 0.0
        for start in range(0, len(batch), _PIECE):
            piece = batch[start : start + _PIECE].astype(np.float64)
            products = products + piece.T @ piece
            sums = sums + piece.sum(axis=0)
        total = total + (products - np.outer(sums, sums) / len(batch)) / len(batch)
        n_batches += 1
    return total / n_batches


def whitening_matrix(covariance, positions_um, shank, usable, *, n_neighbors=32, epsilon=1e-6):
    """Find the matrix that whitens each channel with its nearest neighbours.

    For each channel j the covariance of the `n_neighbors` usable channels of its shank that
    are nearest to it, j itself included, is taken apart, ``C = E D E'``, and the row of j
    in ``E (D + ε)^(-1/2) E'`` is its row of the matrix (Kilosort 2 ``whiteningLocal``,
    Kilosort 4 ``whitening_local``). Whitened channels have unit variance.

    Kilosort's ε is 1e-6 in the square of whatever unit the traces come in, so its result
    changes with the gain, if only a little. Here ε is relative, `epsilon` times the mean
    variance of the usable channels: traces in another unit give the same whitened traces.

    Parameters
    ----------
    covariance : float64, shape (n_channels, n_channels)
        In the square of some unit.
    positions_um : float, shape (n_channels, 2)
        Position of each channel, across and along the probe.
    shank : int, shape (n_channels,)
        Shanks are whitened apart.
    usable : bool, shape (n_channels,)
        Channels that take part. The rows and columns of the others are zero: they are zero
        in the whitened traces and no other channel depends on them.
    n_neighbors : int
        All usable channels of the shank where it has no more than this.
    epsilon : float

    Returns
    -------
    matrix : float32, shape (n_channels, n_channels)
        ``whitened = traces @ matrix.T``, traces in the unit of `covariance`.
    """
    matrix = np.zeros(covariance.shape, dtype=np.float32)
    added = epsilon * np.diag(covariance)[usable].mean()
    for j in np.flatnonzero(usable):
        candidates = np.flatnonzero(usable & (shank == shank[j]))
        distances = ((positions_um[candidates] - positions_um[j]) ** 2).sum(axis=1)
        distances[candidates == j] = -1  # first, whatever else lies at the same place
        near = candidates[np.argsort(distances, kind="stable")[:n_neighbors]]
        values, vectors = np.linalg.eigh(covariance[np.ix_(near, near)])
        # Rounding can leave an eigenvalue of a degenerate covariance just below zero.
        weights = (np.maximum(values, 0) + added) ** -0.5
        matrix[j, near] = (vectors[0] * weights) @ vectors.T
    return matrix


def condition_number(matrix, usable):
    """Ratio of the largest to the smallest singular value of a whitening matrix.

    How much more the weakest combination of channels is amplified than the strongest. IBL
    (iblsorter) warns above 50.

    Parameters
    ----------
    matrix : float32, shape (n_channels, n_channels)
    usable : bool, shape (n_channels,)

    Returns
    -------
    float
        At least 1.
    """
    return float(np.linalg.cond(matrix[np.ix_(usable, usable)]))
