"""Pair the ROIs of two sessions whose images lie over each other."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from sluice.ophys.join_cells import best_assignment
from sluice.ophys.rigid import apply, invert


@dataclass(frozen=True)
class RoiPairs:
    """ROIs of two sessions that are the same cell, ordered by `rows_a`.

    Attributes
    ----------
    rows_a, rows_b : int64 (n_pairs,)
        Rows of the ROIs; each at most once.
    distance_px, iou, cost : float64 (n_pairs,)
        Distance of the centroids, overlap of the masks (0 to 1), and
        ``distance / max_distance + 1 - iou`` (0 to 2).
    n_shared : (int, int)
        ROIs of each session whose centroid lies in the part that both show.
    """

    rows_a: np.ndarray
    rows_b: np.ndarray
    distance_px: np.ndarray
    iou: np.ndarray
    cost: np.ndarray
    n_shared: tuple


def move_masks(masks, matrix, shape):
    """Show the masks of session b where session a's pixels are.

    Parameters
    ----------
    masks : Masks
        Of session b.
    matrix : float64 (2, 3)
        From a to b.
    shape : (height, width)
        Of session a.

    Returns
    -------
    moved : int32 csr_array (n_rois, n_seen)
        1 where the pixel of b that is nearest to a pixel of a belongs to the ROI.
    seen : int64 (n_seen,)
        Pixels of a (``y * width + x``) that b shows.
    """
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    x_b, y_b = np.rint(apply(matrix, np.column_stack([x, y]))).astype(np.int64).T
    inside = (x_b >= 0) & (x_b < masks.width) & (y_b >= 0) & (y_b < masks.height)
    seen = np.flatnonzero(inside)
    moved = _binary(masks).tocsc()[:, y_b[seen] * masks.width + x_b[seen]]
    return csr_array(moved), seen


def _binary(masks):
    weights = masks.weights
    ones = np.ones(len(weights.data), np.int32)
    return csr_array((ones, weights.indices, weights.indptr), shape=weights.shape)


def overlaps(masks_a, masks_b, matrix, rows_a, rows_b):
    """Overlap (intersection over union) of pairs of masks after alignment.

    Only pixels that both sessions show count: a cell at the edge is cut in both alike.

    Parameters
    ----------
    masks_a, masks_b : Masks
    matrix : float64 (2, 3)
        From a to b.
    rows_a, rows_b : int (n_pairs,)

    Returns
    -------
    float64 (n_pairs,), 0 to 1
    """
    if not len(rows_a):
        return np.zeros(0)
    moved, seen = move_masks(masks_b, matrix, (masks_a.height, masks_a.width))
    fixed = csr_array(_binary(masks_a).tocsc()[:, seen])
    intersection = csr_array(fixed @ moved.T)[rows_a, rows_b]
    union = fixed.sum(axis=1)[rows_a] + moved.sum(axis=1)[rows_b] - intersection
    return intersection / np.maximum(union, 1)


def match_rois(masks_a, xy_a, masks_b, xy_b, matrix, *, max_distance_px, min_iou):
    """Pair the ROIs of two sessions.

    A pair's cost is ``distance / max_distance + 1 - IoU``; pairs further apart than the
    maximum are impossible. Chosen are the pairs with the largest sum of ``1 / (1 + cost)``.

    Source: Allen, ophys_nway_matching, whose default is the same sum. Its Hungarian option
    minimises the sum of costs with 999 for what is impossible: that first makes as many
    pairs as it can, and gives up a perfect pair for two poor ones. Here what is impossible
    is no pair at all, and the exact solver makes the result independent of the ROIs' order.

    Parameters
    ----------
    masks_a, masks_b : Masks
    xy_a, xy_b : float64 (n_rois, 2)
        Centroids, x before y (px); NaN where a mask is empty.
    matrix : float64 (2, 3)
        From a to b.
    max_distance_px, min_iou : float

    Returns
    -------
    RoiPairs
    """
    moved_xy = apply(invert(matrix), xy_b)
    known_a, known_b = (np.flatnonzero(np.isfinite(v).all(1)) for v in (xy_a, moved_xy))
    near = cKDTree(xy_a[known_a].reshape(-1, 2)).sparse_distance_matrix(
        cKDTree(moved_xy[known_b].reshape(-1, 2)), max_distance_px, output_type="ndarray"
    )
    rows_a, rows_b, distance = known_a[near["i"]], known_b[near["j"]], near["v"]
    iou = overlaps(masks_a, masks_b, matrix, rows_a, rows_b)
    cost = distance / max_distance_px + 1 - iou
    kept = np.flatnonzero(iou >= min_iou)
    kept = kept[np.lexsort((rows_b[kept], rows_a[kept]))]
    chosen = kept[best_assignment(rows_a[kept], rows_b[kept], 1 / (1 + cost[kept]))]
    n_shared = (
        _n_inside(apply(matrix, xy_a), masks_b),
        _n_inside(moved_xy, masks_a),
    )
    return RoiPairs(
        rows_a[chosen], rows_b[chosen], distance[chosen], iou[chosen], cost[chosen], n_shared
    )


def _n_inside(xy, masks):
    """Count points that lie in a frame."""
    x, y = xy.T
    inside = (x > -0.5) & (x < masks.width - 0.5) & (y > -0.5) & (y < masks.height - 0.5)
    return int(np.count_nonzero(inside))
