"""Masks of ROIs: which pixels belong to each, and how strongly."""

import hashlib
import itertools
import uuid
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

# Version 3, which ONE takes for an identifier; it does not take version 5.
ROI_NAMESPACE = uuid.uuid3(uuid.NAMESPACE_URL, "sluice/rois")


@dataclass(frozen=True)
class Masks:
    """Masks of all ROIs of a plane.

    Attributes
    ----------
    weights : float32 csr_array, shape (n_rois, height * width)
        Weight of each pixel, positive; columns are ``y * width + x``.
    height, width : int
    """

    weights: csr_array
    height: int
    width: int

    def __len__(self):
        return self.weights.shape[0]

    def pixels(self, roi):
        """Rows, columns and weights of one ROI's pixels: y, x (int), weight (float32)."""
        start, stop = self.weights.indptr[roi : roi + 2]
        y, x = np.divmod(self.weights.indices[start:stop], self.width)
        return y, x, self.weights.data[start:stop]

    def image(self, roi):
        """Mask of one ROI as bool (height, width)."""
        image = np.zeros((self.height, self.width), bool)
        y, x, _ = self.pixels(roi)
        image[y, x] = True
        return image


def make_masks(pixels, height, width):
    """Make masks from lists of pixels.

    Parameters
    ----------
    pixels : sequence of (y, x, weight)
        One a ROI; arrays of equal length. May be empty, as may be a ROI.
    height, width : int

    Returns
    -------
    Masks
    """
    sizes = [len(y) for y, _, _ in pixels]
    rows = np.repeat(np.arange(len(pixels)), sizes)
    y, x, weight = (
        np.concatenate([np.asarray(p[i]) for p in pixels]) if pixels else np.zeros(0)
        for i in range(3)
    )
    columns = y.astype(np.int64) * width + x.astype(np.int64)
    weights = csr_array(
        (weight.astype(np.float32), (rows, columns)), shape=(len(pixels), height * width)
    )
    weights.sort_indices()
    return Masks(weights, height, width)


def save_masks(masks, path):
    """Write masks as npz: ``indptr``, ``indices``, ``data`` of the CSR matrix, ``shape``."""
    with open(path, "wb") as file:  # noqa: PTH123 - savez would add .npz to another name
        np.savez_compressed(
            file,
            indptr=masks.weights.indptr,
            indices=masks.weights.indices,
            data=masks.weights.data,
            shape=np.array([len(masks), masks.height, masks.width]),
        )


def load_masks(path):
    """Read masks written by `save_masks`."""
    with np.load(path) as file:
        n_rois, height, width = (int(n) for n in file["shape"])
        weights = csr_array(
            (file["data"], file["indices"], file["indptr"]), shape=(n_rois, height * width)
        )
    return Masks(weights, height, width)


def mask_digests(masks):
    """Identity of ROIs: SHA-256 of their pixels, wherever they stand in the file.

    Parameters
    ----------
    masks : Masks
        Weights are not used.

    Returns
    -------
    list of str
        One a ROI; ROIs with the very same pixels have the same.
    """
    found = []
    for start, stop in itertools.pairwise(masks.weights.indptr):
        pixels = np.sort(masks.weights.indices[start:stop]).astype("<i8")
        found.append(hashlib.sha256(pixels.tobytes()).hexdigest())
    return found


def roi_uuids(masks, name):
    """Name each ROI by a UUID that says what it is, not when it was found.

    Made of the plane and of the pixels of the mask: the same ROI has the same identifier
    however the ROIs are ordered, and a new segmentation gives new ones.

    Parameters
    ----------
    masks : Masks
    name : str
        Of the plane: ``session/plane``.

    Returns
    -------
    list of str
        UUIDs of version 3, one a ROI. Of several ROIs with the very same pixels, the second
        is told from the first by its place among them.
    """
    seen, names = {}, []
    for digest in mask_digests(masks):
        seen[digest] = seen.get(digest, -1) + 1
        names.append(str(uuid.uuid3(ROI_NAMESPACE, f"{name}/{digest}/{seen[digest]}")))
    return names
