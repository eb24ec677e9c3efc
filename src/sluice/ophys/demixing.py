"""Separation of overlapping ROIs, frame by frame, and signs that it went wrong."""

from dataclasses import dataclass

import numpy as np

# Values of the matrices that are solved at once.
MAX_VALUES = 4_000_000
# Singular values below this fraction of the largest are zero: far above rounding in float64,
# far below what masks that differ by a pixel give.
SINGULAR = 1e-10


@dataclass(frozen=True)
class Coupled:
    """A group of ROIs that overlap, and what its masks alone say.

    Attributes
    ----------
    rois : int64 array, shape (n_members,)
    pairs : int64 array, shape (n_pairs,)
        Which of the plane's pairs are of the group.
    members : int64 array, shape (n_pairs, 2)
        The ROIs of each of these pairs, as places in `rois`.
    is_dependent : bool
        Masks of the group depend linearly on each other.
    """

    rois: np.ndarray
    pairs: np.ndarray
    members: np.ndarray
    is_dependent: bool


def couple(groups, pairs, n_pixels, n_shared):
    """Prepare groups for `demix`: everything that is the same in all frames, once.

    Parameters
    ----------
    groups : list of int array
        ROIs of each group, ascending, see `overlap_groups`.
    pairs : int array, shape (n_pairs, 2)
    n_pixels : int array, shape (n_rois,)
    n_shared : int array, shape (n_pairs,)
        Pixels that each pair shares.

    Returns
    -------
    list of Coupled
    """
    group_of = np.full(len(n_pixels), -1)
    for k, rois in enumerate(groups):
        group_of[rois] = k
    # both ROIs of a pair are of one group
    group_of_pair = group_of[pairs[:, 0]]
    order = np.argsort(group_of_pair, kind="stable")
    bounds = np.searchsorted(group_of_pair[order], np.arange(len(groups) + 1))
    found = []
    for k, rois in enumerate(groups):
        rows = order[bounds[k] : bounds[k + 1]]
        members = np.searchsorted(rois, pairs[rows])
        dependent = _is_dependent(n_pixels[rois], n_shared[rows], members)
        found.append(Coupled(rois, rows, members, dependent))
    return found


def demix(sums, pair_sums, n_pixels, groups):
    """Separate the traces of ROIs that share pixels.

    Allen (AllenSDK demixer): with the sum ``w_i`` of a frame over ROI i of ``n_i`` pixels, the
    light of ROI j is spread over its pixels as the frame is, ``W_j = mask_j frame n_j / w_j``,
    and the traces x solve ``sum_j (mask_i . W_j) x_j = w_i`` in each frame. The matrix is
    ``S_ij n_j / S_jj``, where ``S_ij`` is the sum of the frame over the pixels that i and j
    share; so sums over ROIs and over pairs are all that is needed. ROIs that share no pixel
    are not coupled, and each group of overlapping ROIs is solved by itself: the same solution
    as that of all at once. A ROI without overlap is its mean, unchanged.

    Differences from Allen:

    - A frame in which a ROI's sum is 0 has no solution for the ROI's group; there the traces
      are NaN. Allen gives up the frame for all ROIs of the plane and leaves zeros, which look
      like transients.
    - Masks of a group that depend on each other (one is the sum of others) make the matrix
      singular in every frame; this is found from the masks, and the solution of least norm is
      taken. Allen leaves it to whether rounding makes the solver notice.

    The method takes intensity 0 for darkness: with an offset it subtracts too much or little.

    Parameters
    ----------
    sums : float64 array, shape (n_rois, n_frames)
        Sum of the intensity over each ROI.
    pair_sums : float64 array, shape (n_pairs, n_frames)
        The same over the pixels that each pair shares.
    n_pixels : int array, shape (n_rois,)
    groups : list of Coupled
        See `couple`.

    Returns
    -------
    float64 array, shape (n_rois, n_frames)
        Mean intensity over the ROI's pixels; NaN where undefined and for empty ROIs.
    """
    traces = sums / np.where(n_pixels > 0, n_pixels, np.nan)[:, None]
    n_frames = sums.shape[1]
    for group in groups:
        rois, rows = group.rois, group.pairs
        at_once = max(1, MAX_VALUES // len(rois) ** 2)
        for start in range(0, n_frames, at_once):
            stop = min(start + at_once, n_frames)
            traces[rois, start:stop] = _demix_group(
                sums[rois, start:stop],
                pair_sums[rows, start:stop],
                n_pixels[rois],
                group.members,
                group.is_dependent,
            )
    return traces


def _is_dependent(n_pixels, n_shared, members):
    """Tell whether masks of a group depend linearly on each other.

    They do where the matrix of shared pixels, the product of the masks with themselves, has
    not full rank; where it has, the matrix of a frame has too, unless pixels are 0 or less.
    """
    shared = np.diag(n_pixels.astype(np.float64))
    shared[members[:, 0], members[:, 1]] = shared[members[:, 1], members[:, 0]] = n_shared
    return np.linalg.matrix_rank(shared, rtol=SINGULAR) < len(shared)


def _demix_group(sums, pair_sums, n_pixels, members, dependent):
    """Solve one group: (n_members, n_frames)."""
    n_members, n_frames = sums.shape
    shared = np.zeros((n_frames, n_members, n_members))
    diagonal = np.arange(n_members)
    shared[:, diagonal, diagonal] = sums.T
    shared[:, members[:, 0], members[:, 1]] = pair_sums.T
    shared[:, members[:, 1], members[:, 0]] = pair_sums.T
    traces = np.full((n_frames, n_members), np.nan)
    defined = np.all(np.isfinite(sums) & (sums != 0), axis=0)
    if defined.any():
        weights = n_pixels[:, None] / sums[:, defined]
        matrices = shared[defined] * weights.T[:, None, :]
        traces[defined] = _solve(matrices, sums[:, defined].T, dependent)
    return traces.T


def _solve(matrices, values, dependent):
    """Solve the system of each frame: (n_frames, n_members)."""
    if dependent:
        return (np.linalg.pinv(matrices, rcond=SINGULAR) @ values[:, :, None])[:, :, 0]
    try:
        return np.linalg.solve(matrices, values[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        if len(values) == 1:
            return np.linalg.lstsq(matrices[0], values[0], rcond=SINGULAR)[0][None]
    # one frame in which pixels of 0 or less happen to make it singular: each by itself
    return np.concatenate(
        [_solve(matrices[t : t + 1], values[t : t + 1], dependent) for t in range(len(values))]
    )


def find_negative_transients(traces, *, window_frames, length_frames, n_std):
    """Find ROIs whose trace falls far below its own mean for a while.

    `length_frames` frames in a row lie below the mean of the last `window_frames` minus
    `n_std` times their standard deviation, the frame itself included (Allen, AllenSDK
    find_negative_transients_threshold: 500, 10, 3). Too much of a neighbour was subtracted.
    The frames of the first window are compared with that window as a whole. Allen puts the
    window's mean before the start instead: the deviation there is next to nothing, and any
    trace that starts a little low is taken for a negative transient.
    Frames that are NaN are left out, as if they had not been recorded.

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
    window_frames, length_frames : int
    n_std : float

    Returns
    -------
    bool array, shape (n_rois,)
    """
    found = np.zeros(len(traces), bool)
    for roi, trace in enumerate(traces):
        values = trace[np.isfinite(trace)].astype(np.float64)
        if values.size >= length_frames:
            low = _is_low(values - values.mean(), window_frames, n_std)
            run = np.cumsum(np.concatenate([[0], low]))
            found[roi] = np.any(run[length_frames:] - run[:-length_frames] == length_frames)
    return found


def _is_low(values, window_frames, n_std):
    n = min(window_frames, values.size)
    total, squares = (np.cumsum(np.append(0, values**power)) for power in (1, 2))
    first = n - 1  # windows by their last frame; those before the first take the first
    mean, square = (
        np.concatenate([np.full(first, window[0]), window])
        for window in ((sums[n:] - sums[:-n]) / n for sums in (total, squares))
    )
    std = np.sqrt(np.maximum(square - mean**2, 0))
    # a constant stretch has no deviation; rounding of the sums must not make it low
    return values < mean - n_std * std - 1e-9 * np.ptp(values)


def find_negative_baselines(traces):
    """Find ROIs whose mean plus one standard deviation is below 0 (Allen, AllenSDK demixer).

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
        NaN frames are left out.

    Returns
    -------
    bool array, shape (n_rois,)
    """
    some = np.isfinite(traces).any(axis=1)
    found = np.zeros(len(traces), bool)
    if some.any():
        valid = traces[some].astype(np.float64)
        found[some] = np.nanmean(valid, axis=1) + np.nanstd(valid, axis=1) < 0
    return found
