"""Masks of the neuropil around each ROI."""

import numpy as np
from scipy.ndimage import maximum_filter

from sluice.ophys.masks import make_masks

GROW_PX = 5


def make_neuropil_masks(binary, inside, *, method, ring_px, gap_px, min_pixels):
    """Make the mask of the neuropil around each ROI.

    - ``ring`` (Allen, AllenSDK create_neuropil_mask): the ROI dilated `ring_px` times with a
      3x3 square, minus all ROIs.
    - ``grown`` (suite2p): the ROI is dilated by `gap_px`, which are left out, and from there
      by 5 px at a time until at least `min_pixels` are found, or the plane is full. suite2p
      leaves out only the brighter half of the pixels of ROIs and grows a rectangle; here all
      pixels of ROIs are left out and the ROI's own shape grows.

    Both lie inside the motion border.

    Parameters
    ----------
    binary : Masks
        ROIs.
    inside : bool array, shape (height, width)
        What was always in view.
    method : str
    ring_px, gap_px, min_pixels : int

    Returns
    -------
    Masks
        Weight 1. A ROI without neuropil, and one without pixels, has an empty mask.
    """
    free = inside.copy()
    free.ravel()[binary.weights.indices] = False
    pixels = []
    for roi in range(len(binary)):
        y, x, _ = binary.pixels(roi)
        if y.size == 0:
            found = np.zeros((2, 0), np.int64)
        elif method == "ring":
            found = _around(y, x, free, ring_px)
        else:
            found = _grown(y, x, free, gap_px, min_pixels)
        pixels.append((*found, np.ones(found.shape[1])))
    return make_masks(pixels, binary.height, binary.width)


def _around(y, x, free, outer_px, gap_px=-1):
    """Free pixels up to `outer_px` and beyond `gap_px` from a ROI: int (2, n), y and x.

    Dilating n times with a 3x3 square is the maximum over a square of 2n + 1 pixels.
    """
    low = np.maximum([y.min() - outer_px, x.min() - outer_px], 0)
    high = np.minimum([y.max() + outer_px + 1, x.max() + outer_px + 1], free.shape)
    window = np.zeros(high - low, bool)
    window[y - low[0], x - low[1]] = True
    near = maximum_filter(window, 2 * outer_px + 1, mode="constant")
    if gap_px >= 0:
        near &= ~maximum_filter(window, 2 * gap_px + 1, mode="constant")
    near &= free[low[0] : high[0], low[1] : high[1]]
    return np.array(np.nonzero(near)) + low[:, None]


def _grown(y, x, free, gap_px, min_pixels):
    outer_px, largest = gap_px, max(free.shape)
    found = np.zeros((2, 0), np.int64)
    while found.shape[1] < min_pixels and outer_px < largest:
        outer_px += GROW_PX
        found = _around(y, x, free, outer_px, gap_px)
    return found
