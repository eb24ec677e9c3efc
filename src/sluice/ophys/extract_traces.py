"""Sums of pixels over masks, frame by frame."""

import numpy as np
from numba import njit, prange

from sluice.ophys.plane import frame_chunks


def sum_pixels(frames, members):
    """Sum the pixels of each frame over each set of pixels.

    The sums are integers and so exact, whatever the number of threads.

    Parameters
    ----------
    frames : int16 array, shape (n_frames, height, width)
    members : csr_array, shape (n_sets, height * width)
        Pixels of each set; values are not used.

    Returns
    -------
    int64 array, shape (n_sets, n_frames)
    """
    sums = np.empty((len(frames), members.shape[0]), np.int64)
    flat = frames.reshape(len(frames), members.shape[1])
    _sum_pixels(flat, members.indptr, members.indices, sums)
    return sums.T


@njit(cache=True, nogil=True, parallel=True)
def _sum_pixels(frames, indptr, indices, sums):
    for t in prange(frames.shape[0]):
        frame = frames[t]
        for k in range(len(indptr) - 1):
            total = 0
            for i in range(indptr[k], indptr[k + 1]):
                total += frame[indices[i]]
            sums[t, k] = total


def to_intensity(sums, n_pixels, info):
    """Turn sums of stored values into sums of intensities.

    Parameters
    ----------
    sums : int64 array, shape (n_sets, n_frames)
    n_pixels : int array, shape (n_sets,)
    info : PlaneInfo

    Returns
    -------
    float64 array, shape (n_sets, n_frames)
        Intensity as recorded.
    """
    return sums * info.scale + (n_pixels * info.offset)[:, None]


def divide_by_size(sums, n_pixels):
    """Turn sums into means; NaN for an empty set: (n_sets, n_frames)."""
    sizes = np.where(n_pixels > 0, n_pixels, np.nan)
    return sums / sizes[:, None]


def mean_traces(read, info, masks):
    """Compute the mean intensity over each mask, in one read of a movie.

    Parameters
    ----------
    read : callable
        Gives stored values, int16 (stop - start, height, width), of ``read(start, stop)``.
    info : PlaneInfo
    masks : Masks
        Which pixels; weights are not used.

    Returns
    -------
    float32 array, shape (n_masks, n_frames)
        Intensity as recorded; NaN for an empty mask.
    """
    n_pixels = np.diff(masks.weights.indptr)
    traces = np.empty((len(masks), info.n_frames), np.float32)
    for start, stop in frame_chunks(info):
        sums = sum_pixels(read(start, stop), masks.weights)
        traces[:, start:stop] = divide_by_size(to_intensity(sums, n_pixels, info), n_pixels)
    return traces
