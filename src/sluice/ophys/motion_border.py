"""The part of a plane that was in view all the time."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sluice.errors import InputError


@dataclass(frozen=True)
class MotionBorder:
    """Pixels along each edge that motion took out of view.

    Attributes
    ----------
    top, bottom, left, right : int
        Rows or columns, from the edge inwards.
    """

    top: int
    bottom: int
    left: int
    right: int

    def inside(self, height, width):
        """Mask of what was always in view: bool (height, width)."""
        mask = np.zeros((height, width), bool)
        mask[self.top : max(height - self.bottom, 0), self.left : max(width - self.right, 0)] = True
        return mask


def find_motion_border_of(table, *, max_shift_px):
    """Find how far registration pulled unknown pixels over the edges.

    A frame whose content lay lower (positive ``y_px``) was moved up, and its lowest rows are
    unknown; so ``bottom = max(y)``, ``top = -min(y)``, ``right = max(x)``, ``left = -min(x)``,
    each at least 0 and rounded up (Allen, ophys_etl: the same with the opposite sign, as its
    shifts are those that were applied). The shifts of a frame's blocks at the image's edge lie
    up to `nonrigid_max_px` around the mean of all, which is added on every side.

    Only good frames count: one that is missing or could not be registered says nothing about
    the plane, and would take a strip off it. Where every frame is bad, all count, as in
    `register_plane`. Mean shifts beyond `max_shift_px` are taken for failures of registration
    too, each axis by itself.

    Parameters
    ----------
    table : DataFrame
        ``shifts.pqt`` or its rows; columns y_px, x_px, nonrigid_max_px (NaN counts as 0, as
        after a rigid registration) and is_bad.
    max_shift_px : float

    Returns
    -------
    MotionBorder
    """
    is_bad = table["is_bad"].to_numpy(bool)
    good = table if is_bad.all() else table[~is_bad]
    spread = np.nan_to_num(good["nonrigid_max_px"].to_numpy(float))
    edges = []
    for name in ("y_px", "x_px"):
        shift = good[name].to_numpy(float)
        # NaN is not below the limit either
        kept = np.abs(shift) <= max_shift_px
        low = (shift - spread)[kept].min(initial=0)
        high = (shift + spread)[kept].max(initial=0)
        edges += [math.ceil(-low), math.ceil(high)]
    return MotionBorder(*edges)


def touches_border(masks, border):
    """Which ROIs have a pixel that was not always in view.

    Parameters
    ----------
    masks : Masks
    border : MotionBorder

    Returns
    -------
    bool array, shape (n_rois,)
    """
    outside = ~border.inside(masks.height, masks.width).ravel()
    found = np.zeros(len(masks), bool)
    rows = np.repeat(np.arange(len(masks)), np.diff(masks.weights.indptr))
    found[rows[outside[masks.weights.indices]]] = True
    return found


def load_shifts(path, info):
    """Read the shifts of all frames.

    Parameters
    ----------
    path : path
        ``shifts.pqt`` of `register_plane`.
    info : PlaneInfo

    Returns
    -------
    float64 array, shape (n_frames, 2)
        y and x (px).

    Raises
    ------
    InputError
        It has another number of frames than the movie.
    """
    shifts = pd.read_parquet(path, columns=["y_px", "x_px"]).to_numpy(np.float64)
    if len(shifts) != info.n_frames:
        raise InputError(
            f"{info.name}: {path} has {len(shifts)} rows; expected one for each of the "
            f"{info.n_frames} frames of the movie. Run register_plane again."
        )
    return shifts
