"""Which ROIs share pixels: pairs, groups, duplicates, unions."""

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from sluice.ophys.masks import Masks


def binarize_masks(masks, *, quantile):
    """Keep the pixels of each ROI that are not among its weakest.

    A pixel belongs to the ROI where its weight is at least the quantile of the ROI's weights
    (Allen, ophys_etl binarize_roi_mask). A weight equal to the quantile stays, so that a ROI
    of equal weights keeps all its pixels.

    Parameters
    ----------
    masks : Masks
    quantile : float
        0–1.

    Returns
    -------
    Masks
        Weight 1.
    """
    weights = masks.weights
    kept = np.zeros(weights.nnz, bool)
    for start, stop in zip(weights.indptr[:-1], weights.indptr[1:], strict=True):
        values = weights.data[start:stop]
        if values.size:
            kept[start:stop] = values >= np.quantile(values, quantile)
    indptr = np.concatenate([[0], np.cumsum(kept)])[weights.indptr]
    return Masks(
        csr_array(
            (np.ones(indptr[-1], np.float32), weights.indices[kept], indptr), shape=weights.shape
        ),
        masks.height,
        masks.width,
    )


def count_shared(binary):
    """Count the pixels that each pair of ROIs shares.

    Parameters
    ----------
    binary : Masks
        Weight 1.

    Returns
    -------
    int64 csr_array, shape (n_rois, n_rois)
        Symmetric; on the diagonal the sizes of the ROIs.
    """
    ones = binary.weights.astype(np.int64)
    return csr_array(ones @ ones.T)


def overlap_fraction(binary):
    """Fraction of each ROI's pixels that other ROIs have too; NaN for an empty ROI."""
    indices, indptr = binary.weights.indices, binary.weights.indptr
    n_rois_there = np.bincount(indices, minlength=binary.weights.shape[1])
    is_shared = np.concatenate([[0], np.cumsum(n_rois_there[indices] > 1)])
    sizes = np.diff(indptr)
    return np.where(sizes > 0, np.diff(is_shared[indptr]) / np.maximum(sizes, 1), np.nan)


def find_duplicates(shared, *, threshold):
    """Find ROIs with nearly the mask of another one.

    Of two ROIs whose intersection over union exceeds `threshold` the smaller one is the
    duplicate, or the later one if they are equal. (Allen, AllenSDK label_unions_and_duplicates:
    the same measure and threshold 0.9, and the earlier one is labelled.) A duplicate makes no
    other ROI a duplicate.

    Parameters
    ----------
    shared : csr_array, shape (n_rois, n_rois)
        `count_shared`.
    threshold : float

    Returns
    -------
    bool array, shape (n_rois,)
    """
    sizes = shared.diagonal()
    found = np.zeros(len(sizes), bool)
    for roi in _largest_first(sizes):
        others, n_shared = _row(shared, roi)
        overlap = n_shared / (sizes[roi] + sizes[others] - n_shared)
        first = (sizes[others] > sizes[roi]) | ((sizes[others] == sizes[roi]) & (others < roi))
        found[roi] = np.any((overlap > threshold) & first & ~found[others])
    return found


def find_unions(binary, shared, is_duplicate, *, fraction):
    """Find ROIs that are two or more others taken together.

    A ROI is a union where at least two others lie in it, each with more than `fraction` of its
    pixels, and together they cover more than `fraction` of the ROI. Allen (AllenSDK MaskSet,
    0.7) tries all pairs; here all that lie in the ROI count together, so a union of three is
    found too. The largest ROI is judged first, and a union is no part of another one: so a
    cell does not become a union of the union and a fragment. Duplicates are left out.

    Parameters
    ----------
    binary : Masks
    shared : csr_array, shape (n_rois, n_rois)
        `count_shared`.
    is_duplicate : bool array, shape (n_rois,)
    fraction : float

    Returns
    -------
    bool array, shape (n_rois,)
    """
    sizes = shared.diagonal()
    found = np.zeros(len(sizes), bool)
    indptr, indices = binary.weights.indptr, binary.weights.indices
    for roi in _largest_first(sizes):
        if is_duplicate[roi]:
            continue
        others, n_shared = _row(shared, roi)
        parts = others[
            (n_shared > fraction * sizes[others]) & ~is_duplicate[others] & ~found[others]
        ]
        if len(parts) < 2:
            continue
        together = np.concatenate([indices[indptr[p] : indptr[p + 1]] for p in parts])
        n_covered = np.isin(indices[indptr[roi] : indptr[roi + 1]], together).sum()
        found[roi] = n_covered > fraction * sizes[roi]
    return found


def overlapping_pairs(shared, is_left_out):
    """List the pairs of ROIs that share pixels.

    Parameters
    ----------
    shared : csr_array, shape (n_rois, n_rois)
        `count_shared`.
    is_left_out : bool array, shape (n_rois,)

    Returns
    -------
    int64 array, shape (n_pairs, 2)
        The lower index first.
    """
    pairs = coo_array(shared)
    i, j = pairs.coords
    kept = (i < j) & (pairs.data > 0) & ~is_left_out[i] & ~is_left_out[j]
    pairs = np.stack([i[kept], j[kept]], axis=1).astype(np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def overlap_groups(pairs, n_rois):
    """Join overlapping pairs to groups.

    Parameters
    ----------
    pairs : int64 array, shape (n_pairs, 2)
    n_rois : int

    Returns
    -------
    list of int64 array
        ROIs of each group of two or more that are linked by overlaps.
    """
    if not len(pairs):
        return []
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n_rois, n_rois))
    _, labels = connected_components(graph, directed=False)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    return [group.astype(np.int64) for group in members if len(group) > 1]


def axis_ratio(binary):
    """Minor over major axis of each ROI, from the second moments of its pixels.

    1 is a disc, 0 a line; a pixel counts as a square, so a single one has 1. NaN for an empty
    ROI.

    Parameters
    ----------
    binary : Masks

    Returns
    -------
    float64 array, shape (n_rois,)
    """
    ratio = np.full(len(binary), np.nan)
    for roi in range(len(binary)):
        y, x, _ = binary.pixels(roi)
        if y.size:
            moments = np.cov(np.stack([y, x]), bias=True) + np.eye(2) / 12
            small, large = np.linalg.eigvalsh(moments)
            ratio[roi] = np.sqrt(small / large)
    return ratio


def _row(shared, roi):
    """Other ROIs that share pixels with this one, and how many."""
    start, stop = shared.indptr[roi : roi + 2]
    others, n_shared = shared.indices[start:stop], shared.data[start:stop]
    kept = (others != roi) & (n_shared > 0)
    return others[kept], n_shared[kept]


def _largest_first(sizes):
    return np.lexsort((np.arange(len(sizes)), -sizes))
