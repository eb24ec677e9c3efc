"""Diameter, area and place of the pupil, and blinks, from keypoints."""

import numpy as np
import pandas as pd

from sluice.median_filter import window_samples
from sluice.qc import check, log_checks, save_checks
from sluice.runs import runs_of
from sluice.settings.pupil import ELLIPSE_POINTS, MIN_LIKELIHOOD, MIN_POINTS
from sluice.video.blinks import find_blinks
from sluice.video.ellipse import fit_ellipses
from sluice.video.pose import load_pose, load_times, positions
from sluice.video.smoothing import smooth_trace

_SHAPE = [
    "pupilDiameter_raw",
    "pupil_x_px",
    "pupil_y_px",
    "pupil_semi_major_px",
    "pupil_semi_minor_px",
    "pupil_phi_rad",
    "pupil_area_px2",
    "fit_error_px",
]


def pupil_ellipse(points, *, min_points, max_extent=np.inf):
    """Measure a pupil by an ellipse through the points on its edge.

    Allen (allensdk, gaze_mapping and eye_tracking_processing): the pupil is a circle seen at an
    angle, so its radius is the half of the ellipse's longer axis.

    Parameters
    ----------
    points : float array, shape (n_frames, n_points, 2)
        x and y (px), NaN where unknown.
    min_points : int
        Frames with fewer known points are unknown (Allen: 6).
    max_extent : float
        See `fit_ellipses`.

    Returns
    -------
    DataFrame
        A row a frame, all NaN where there is no ellipse: pupilDiameter_raw (2 a), pupil_x_px
        and pupil_y_px of the centre, pupil_semi_major_px (a), pupil_semi_minor_px,
        pupil_phi_rad, pupil_area_px2 (π a²), fit_error_px (distance of the points from the
        ellipse, root mean square).
    """
    fit = fit_ellipses(points, min_points=min_points, max_extent=max_extent)
    columns = [
        2 * fit.semi_major,
        *fit.center.T,
        fit.semi_major,
        fit.semi_minor,
        fit.phi,
        np.pi * fit.semi_major**2,
        fit.error,
    ]
    return pd.DataFrame(dict(zip(_SHAPE, columns, strict=True)))


def pupil_four_points(points, *, min_points):
    """Measure a pupil by the distances between its top, right, bottom and left point.

    IBL (brainbox/behavior/dlc.py): the diameter is the median of up to six estimates, which
    are both distances across and, as if the pupil were a circle, the four between neighbours
    times √2.

    Parameters
    ----------
    points : float array, shape (n_frames, 4, 2)
        x and y (px) of the top, right, bottom and left point, NaN where unknown.
    min_points : int
        Frames with fewer known points are unknown (IBL: 2).

    Returns
    -------
    DataFrame
        Columns of `pupil_ellipse`, where the area is that of a circle, the centre is the middle
        of the distances across that are known, the axes are these distances (so NaN with fewer
        than four points), phi is the direction of the longer one, and fit_error_px is the
        standard deviation of the estimates of the diameter, NaN with a single one.
    """
    found = np.full((len(points), len(_SHAPE)), np.nan)
    rows = np.flatnonzero((~np.isnan(points).any(axis=2)).sum(axis=1) >= max(min_points, 2))
    if rows.size:
        found[rows] = _from_four(points[rows])
    return pd.DataFrame(found, columns=_SHAPE)


def _from_four(points):
    """Columns of `_SHAPE` for frames with at least two known points."""
    across = points[:, [0, 1]] - points[:, [2, 3]]
    lengths = np.linalg.norm(across, axis=2)
    neighbours = np.linalg.norm(points - np.roll(points, -1, axis=1), axis=2)
    estimates = np.column_stack([lengths, np.sqrt(2) * neighbours])
    diameter = np.nanmedian(estimates, axis=1)
    n_estimates = (~np.isnan(estimates)).sum(axis=1)
    error = np.where(n_estimates > 1, np.nanstd(estimates, axis=1), np.nan)
    middles = (points[:, [0, 1]] + points[:, [2, 3]]) / 2
    n_middles = (~np.isnan(lengths)).sum(axis=1)[:, None]
    center = np.nansum(middles, axis=1) / np.where(n_middles, n_middles, np.nan)
    longer = np.where((lengths[:, 0] > lengths[:, 1])[:, None], across[:, 0], across[:, 1])
    phi = np.arctan2(longer[:, 1], longer[:, 0])
    # a direction and its opposite are the same axis
    phi = (phi + np.pi / 2) % np.pi - np.pi / 2
    semi_axes = lengths / 2
    return np.column_stack(
        [
            diameter,
            center,
            semi_axes.max(axis=1),
            semi_axes.min(axis=1),
            np.where(np.isnan(lengths).any(axis=1), np.nan, phi),
            np.pi * (diameter / 2) ** 2,
            error,
        ]
    )


def measure_pupil(table, camera):
    """Measure pupil, eye and reflection in every frame.

    Parameters
    ----------
    table : DataFrame
        Keypoints, see `sluice.video.pose`.
    camera : dict
        ``video.pupil.cameras`` of this camera.

    Returns
    -------
    DataFrame
        See `pupil_ellipse`; and eye_area_px2, reflection_x_px, reflection_y_px and
        reflection_area_px2 where points of these are named. Theirs are areas of ellipses (π a b).
    """
    method = camera["method"]
    least = camera["min_likelihood"]
    likelihood = MIN_LIKELIHOOD[method] if least is None else least
    n_least = camera["min_points"] or MIN_POINTS[method]
    edge = positions(table, camera["points"], min_likelihood=likelihood)
    if method == "ellipse":
        found = pupil_ellipse(edge, min_points=n_least, max_extent=camera["max_extent"])
    else:
        found = pupil_four_points(edge, min_points=n_least)
    n_least = max(n_least, ELLIPSE_POINTS)
    for key in ("eye", "reflection"):
        names = camera[f"{key}_points"]
        if not names:
            continue
        outline = positions(table, names, min_likelihood=likelihood)
        fit = fit_ellipses(
            outline, min_points=min(n_least, len(names)), max_extent=camera["max_extent"]
        )
        if key == "reflection":
            found["reflection_x_px"], found["reflection_y_px"] = fit.center.T
        found[f"{key}_area_px2"] = np.pi * fit.semi_major * fit.semi_minor
    return found


def find_pupil(table, times, *, camera, settings):
    """Measure the pupil in every frame, find blinks, and smooth the diameter.

    Parameters
    ----------
    table : DataFrame
        Keypoints, see `sluice.video.pose`.
    times : float64 array, shape (n_frames,)
        s, ascending. Only their median interval counts: windows are of frames.
    camera : dict
        ``video.pupil.cameras`` of this camera.
    settings : dict
        ``video.pupil``.

    Returns
    -------
    DataFrame
        See `pupil_file`.
    """
    # a single frame is as long as one likes
    interval_s = float(np.median(np.diff(times))) if len(times) > 1 else np.inf
    found = measure_pupil(table, camera)
    others = [found[key].to_numpy() for key in ("eye_area_px2",) if key in found]
    is_blink, is_doubtful = find_blinks(
        found["pupil_area_px2"].to_numpy(),
        others,
        z=settings["blink_z"],
        dilation_frames=settings["blink_dilation_frames"],
        max_blink_frames=settings["max_blink_s"] / interval_s,
    )
    raw = found["pupilDiameter_raw"].to_numpy()
    order = settings["smooth_order"]
    smooth = smooth_trace(
        np.where(is_doubtful, np.nan, raw),
        window=window_samples(
            settings["smooth_window_s"], 1 / interval_s, at_least=order + 1 + order % 2
        ),
        order=order,
        outlier_std=settings["outlier_std"],
        max_gap_frames=int(settings["max_gap_s"] / interval_s),
    )
    if not settings["fill_blinks"]:
        smooth[is_blink] = np.nan
    found.insert(0, "time_s", times)
    found.insert(2, "pupilDiameter_smooth", smooth)
    found["is_blink"] = is_blink
    return found


def pupil_file(*, pose, times, features, checks, settings, camera_settings, name):
    """Measure the pupil in one camera's video.

    Parameters
    ----------
    pose : path
        ``_ibl_leftCamera.dlc.pqt``, keypoints as the model gave them, read.
    times : path
        ``_ibl_leftCamera.times.npy``, float64 (n_frames,), s on the session's clock, read.
    features : path
        ``_ibl_leftCamera.features.pqt``, written. A row a frame, NaN where unknown: time_s;
        pupilDiameter_raw and pupilDiameter_smooth (px, IBL's names); pupil_x_px, pupil_y_px,
        pupil_semi_major_px, pupil_semi_minor_px, pupil_phi_rad, pupil_area_px2, fit_error_px,
        see `pupil_ellipse` and `pupil_four_points`; eye_area_px2, reflection_x_px,
        reflection_y_px and reflection_area_px2 where their points are named; is_blink (bool).
        In blinks what was measured stays in all but the smoothed diameter.
    checks : path
        ``checks.json``, written.
    settings : dict
        ``video.pupil``.
    camera_settings : dict
        ``video.pupil.cameras`` of this camera.
    name : str
        How messages call the camera.

    Raises
    ------
    InputError
        Points that the model has not, or times of another number of frames.
    """
    points = [
        point for key in ("", "eye_", "reflection_") for point in camera_settings[f"{key}points"]
    ]
    # a point may be of two outlines
    table = load_pose(pose, list(dict.fromkeys(points)), name=name)
    at = load_times(times, len(table), pose=pose, name=name)
    found = find_pupil(table, at, camera=camera_settings, settings=settings)
    found.to_parquet(features, index=False)
    judged = _checks(found, settings["checks"])
    save_checks(judged, checks)
    log_checks(judged)


def _checks(found, thresholds):
    """Judge what was found."""
    n, raw = len(found), found["pupilDiameter_raw"]
    is_blink = found["is_blink"].to_numpy()
    n_unknown, n_blinks = int(raw.isna().sum()), len(runs_of(is_blink))
    n_out_of_sight = int((raw.isna() & ~is_blink).sum())
    known = raw[~is_blink].dropna()
    duration_s = found["time_s"].iloc[-1] - found["time_s"].iloc[0] if n > 1 else None
    rows = [
        (
            "pupil_unknown_fraction",
            n_unknown / n if n else None,
            "",
            f"no diameter in {n_unknown} of {n} frames, in {n_out_of_sight} of them not for a "
            "blink: below the likelihood, too few points, or no ellipse",
        ),
        (
            "pupil_diameter_std",
            float(known.std(ddof=0) / known.median()) if len(known) else None,
            "",
            f"median diameter {known.median():.1f} px" if len(known) else "no diameter is known",
        ),
        ("pupil_snr", _snr(found), "", "smoothed diameter over what smoothing takes away"),
        (
            "pupil_fit_error",
            float((found["fit_error_px"] / raw).median()) if n else None,
            "",
            "fit_error_px over the diameter, median of the frames",
        ),
        (
            "pupil_blink_rate_hz",
            n_blinks / duration_s if duration_s and n_unknown < n else None,
            "Hz",
            f"{n_blinks} blinks, in {int(is_blink.sum())} of {n} frames",
        ),
    ]
    if "eye_area_px2" in found:
        n_eye = int(found["eye_area_px2"].isna().sum())
        message = f"no area of the eye in {n_eye} of {n} frames"
        rows.append(("pupil_eye_unknown_fraction", n_eye / n if n else None, "", message))
    return [
        check(key, value, unit=unit, message=message, **thresholds[key])
        for key, value, unit, message in rows
    ]


def _snr(found):
    """Variance of the smoothed diameter over that of its difference from the raw one (IBL)."""
    smooth = found["pupilDiameter_smooth"]
    noise = (smooth - found["pupilDiameter_raw"])[~found["is_blink"]].dropna()
    variance = float(noise.var(ddof=0)) if len(noise) else 0.0
    return float(smooth[noise.index].var(ddof=0)) / variance if variance > 0 else None
