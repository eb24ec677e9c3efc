"""Keypoints of a camera: their table, their positions, and positions filtered over time.

A table of keypoints has one row a frame and, for each point in the model's order, the columns
``<point>_x``, ``<point>_y`` (px, origin the centre of the top left pixel) and
``<point>_likelihood`` (0 to 1), as IBL's ``_ibl_leftCamera.dlc.pqt``.
"""

import difflib

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sluice.errors import InputError
from sluice.median_filter import sliding_median

PARTS = ("x", "y", "likelihood")


def columns_of(points):
    """Columns of a table of these points, in order."""
    return [f"{point}_{part}" for point in points for part in PARTS]


def point_names(table):
    """Names of the points of a table, in its order.

    Parameters
    ----------
    table : DataFrame

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        The columns are not an x, a y and a likelihood for each point, in this order.
    """
    return _names(list(table.columns))


def _names(columns):
    names = [str(column).removesuffix("_x") for column in columns[::3]]
    if len(set(names)) < len(names) or columns != columns_of(names):
        raise ValueError(
            f"the columns {columns} are not <point>_x, <point>_y, <point>_likelihood for each point"
        )
    return names


def save_pose(table, path):
    """Write a table of keypoints as parquet.

    Parameters
    ----------
    table : DataFrame
        See the module.
    path : path

    Raises
    ------
    ValueError
        The table is not one of keypoints.
    """
    point_names(table)
    table.to_parquet(path, index=False)


def load_pose(path, points=None, *, name="pose"):
    """Read keypoints written by `save_pose`.

    Parameters
    ----------
    path : path
    points : list of str, optional
        Only these points are read, in this order; all by default.
    name : str
        How messages call the camera.

    Returns
    -------
    DataFrame
        See the module.

    Raises
    ------
    InputError
        Points are not in the file: those it has are listed.
    """
    columns = pq.read_schema(path).names
    if points is None:
        _names(columns)
        return pd.read_parquet(path)
    require_points(_names(columns), points, path=path, name=name)
    return pd.read_parquet(path, columns=columns_of(points))


def require_points(found, points, *, path, name):
    """Fail where wanted points are not among those that were found.

    Parameters
    ----------
    found, points : list of str
        Those of the model and those that are wanted.
    path : path
        Where they were looked for.
    name : str
        How messages call the camera.

    Raises
    ------
    InputError
        Names the points that are absent, near names, and those that are there.
    """
    absent = [point for point in points if point not in found]
    if not absent:
        return
    near = [difflib.get_close_matches(point, found, n=1) for point in absent]
    hints = [f"'{one[0]}' for '{point}'" for point, one in zip(absent, near, strict=True) if one]
    raise InputError(
        f"{name}: the pose model has no point {', '.join(absent)}; {path} has "
        f"{', '.join(found) or 'no points'}."
        + (f" Did you mean {', '.join(hints)}?" if hints else "")
        + " Name points of the model in the settings, or use another model."
    )


def likelihoods(table, points):
    """Likelihoods of points.

    Parameters
    ----------
    table : DataFrame
        See the module.
    points : list of str

    Returns
    -------
    float64 array, shape (n_frames, n_points)
    """
    return table[[f"{point}_likelihood" for point in points]].to_numpy(np.float64)


def positions(table, points, *, min_likelihood):
    """Positions of points where they are known.

    IBL sets points with a likelihood below 0.9 to NaN (brainbox/behavior/dlc.py), Allen leaves
    out those of 0.8 or less.

    Parameters
    ----------
    table : DataFrame
        See the module.
    points : list of str
    min_likelihood : float
        0 to 1. A point below it is unknown; so is one without a likelihood or without a
        finite position.

    Returns
    -------
    float64 array, shape (n_frames, n_points, 2)
        x and y (px), both NaN where the point is unknown.
    """
    coordinates = [f"{point}_{part}" for point in points for part in ("x", "y")]
    found = table[coordinates].to_numpy(np.float64, copy=True)
    found = found.reshape(len(table), len(points), 2)
    is_known = likelihoods(table, points) >= min_likelihood
    is_known &= np.isfinite(found).all(axis=2)
    found[~is_known] = np.nan
    return found


def filter_pose(table, *, window_frames, min_likelihood, max_gap_frames=0):
    """Filter the positions of every point over time: median of those known in a window.

    DeepLabCut's ``filterpredictions`` takes the median of 5 frames by default, of all positions
    whatever their likelihood, and of zeros beyond both ends. Here a position below the
    likelihood takes part in no median and is NaN itself, and at both ends the window has fewer
    frames. x and y are filtered each for itself.

    Parameters
    ----------
    table : DataFrame
        See the module.
    window_frames : int
        Frames of the window, odd, centred; 1 filters nothing.
    min_likelihood : float
        Positions below it are unknown; see `positions`.
    max_gap_frames : int
        Unknown positions of at most this many frames in a row are filled in a straight line
        between the filtered ones on both sides; 0 fills none. Longer gaps, and those at the
        beginning and the end, stay NaN.

    Returns
    -------
    DataFrame
        The same columns; the likelihoods are those of the table, so filled positions are
        those with a low likelihood.
    """
    if window_frames < 1 or window_frames % 2 == 0:
        raise ValueError(f"the window must be an odd number of frames, not {window_frames}")
    points = point_names(table)
    known = positions(table, points, min_likelihood=min_likelihood)
    traces = known.reshape(len(table), 2 * len(points)).T
    # numbers are not made up beyond the ends
    beyond = ((0, 0), (window_frames // 2,) * 2)
    padded = np.pad(traces, beyond, constant_values=np.nan)
    filtered = sliding_median(padded, window=window_frames)
    filtered = filtered[:, window_frames // 2 : filtered.shape[1] - window_frames // 2]
    filtered[np.isnan(traces)] = np.nan
    found = table.copy()
    coordinates = [f"{point}_{part}" for point in points for part in ("x", "y")]
    found[coordinates] = fill_short_gaps(filtered, max_gap_frames=max_gap_frames).T
    return found


def fill_short_gaps(traces, *, max_gap_frames):
    """Fill short gaps of traces in a straight line.

    Parameters
    ----------
    traces : float64 array, shape (n_traces, n_frames)
        NaN where unknown.
    max_gap_frames : int
        Gaps of more frames stay, and so do those at the beginning and the end.

    Returns
    -------
    float64 array, shape (n_traces, n_frames)
    """
    found = np.array(traces, np.float64)
    frames = np.arange(found.shape[1])
    for trace in found:
        is_known = ~np.isnan(trace)
        at = np.flatnonzero(is_known)
        if not at.size or at.size == trace.size:
            continue
        # where the next known frame lies, and the one before it
        following = np.searchsorted(at, frames)
        is_inside = (following > 0) & (following < at.size) & ~is_known
        inside = np.flatnonzero(is_inside)
        after = following[inside]
        is_short = at[after] - at[after - 1] - 1 <= max_gap_frames
        short = inside[is_short]
        trace[short] = np.interp(short, at, trace[at])
    return found


def load_times(path, n_frames, *, pose, name):
    """Read the times of frames, which must be as many as the rows of their keypoints.

    Parameters
    ----------
    path : path
        Written by `camera_times`: float64 (n_frames,), s.
    n_frames : int
        Rows of the keypoints.
    pose : path
        Where these are.
    name : str
        How messages call the camera.

    Returns
    -------
    float64 array, shape (n_frames,)

    Raises
    ------
    InputError
        There are more or fewer.
    """
    times = np.load(path)
    if times.shape != (n_frames,):
        raise InputError(
            f"{name}: {path} has times of shape {times.shape}, {pose} has {n_frames} frames; "
            "expected one time a frame. Make both again from the same video."
        )
    return times
