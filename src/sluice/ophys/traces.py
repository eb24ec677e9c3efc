"""What the steps that work on traces share."""

from pathlib import Path

import numpy as np

from sluice.errors import InputError

_BATCH_ROIS = 32


def require_traces(traces, path, info, name, *, n_rois=None):
    """Stop where traces do not have a row a ROI and a column a frame of the plane.

    Parameters
    ----------
    traces : array
    path : path
        Where they come from.
    info : PlaneInfo
    name : str
    n_rois : int, optional
        Rows wanted; any number by default.
    """
    rows = "any number of" if n_rois is None else n_rois
    if traces.ndim != 2 or traces.shape[1] != info.n_frames or n_rois not in (None, len(traces)):
        raise InputError(
            f"{name}: the traces in {Path(path).name} are of shape {traces.shape}; expected "
            f"{rows} ROIs of {info.n_frames} frames. They were made from another movie: delete "
            f"the folder {Path(path).parent} and run again."
        )


def batches(n_rois):
    """Split ROIs so that float64 copies of some traces at a time, not of all, are held.

    Yields
    ------
    slice
    """
    for start in range(0, n_rois, _BATCH_ROIS):
        yield slice(start, start + _BATCH_ROIS)


def fill_gaps(traces):
    """Fill NaNs in a straight line between their neighbours, in place.

    Beyond the first and last number their value goes on; a row without any stays NaN.

    Parameters
    ----------
    traces : float64 array, shape (n_rois, n_frames)

    Returns
    -------
    float64 array
        `traces`.
    """
    for row in traces:
        is_gap = np.isnan(row)
        if is_gap.any() and not is_gap.all():
            places = np.flatnonzero(~is_gap)
            row[is_gap] = np.interp(np.flatnonzero(is_gap), places, row[places])
    return traces
