"""Checks of where the camera looks."""

import numpy as np

from sluice.video.qc_checks.seen import Measured


def shift_percent(measures, key, info, *, min_score):
    """Shifts of the picture in percent of its size.

    Parameters
    ----------
    measures : DataFrame
        ``measures.pqt``.
    key : str
        ``position`` (against the reference frame) or ``drift`` (against the beginning).
    info : VideoInfo
    min_score : float
        Pictures that resemble the reference less have no known position.

    Returns
    -------
    frames : int64 array, shape (n,)
        Frames for which the position was looked for.
    percent : float64 array, shape (n,)
        Of the width or of the height, the larger; NaN where it is not known.
    """
    rows = measures[measures[f"{key}_score"].notna()]
    x = rows[f"{key}_x_px"].abs() / info.width
    y = rows[f"{key}_y_px"].abs() / info.height
    percent = 100 * np.maximum(x, y).where(rows[f"{key}_score"] >= min_score)
    return rows["frame"].to_numpy(), percent.to_numpy()


def position(seen):
    """Shift against a frame of a session in which the camera was placed well.

    IBL (check_position): median shift of its sampled frames below 10 % of the frame, WARNING
    below 15 %. IBL divides the shift along x by the height and that along y by the width, and
    lets a good correlation of the histograms make up for a shift; here that is said only.
    """
    measures = seen.measures
    _, percent = _shifts(seen, "position")
    if not len(percent):
        return None
    message = f"histograms correlate by {measures['histogram_correlation'].median():.2f}"
    if np.isnan(percent).all():
        return Measured(None, f"nothing in the video resembles the reference frame; {message}")
    return Measured(np.nanmedian(percent), f"median over the video; {message}")


def position_drift(seen):
    """Largest shift against the beginning of the video, of what is seen without what moves."""
    frames, percent = _shifts(seen, "drift")
    if len(percent) < 2:
        return None
    # the first is the reference itself
    if np.isnan(percent[1:]).all():
        return Measured(None, "nothing later in the video resembles its beginning")
    worst = int(np.nanargmax(percent))
    n_unknown = int(np.isnan(percent).sum())
    message = f"at {seen.times_s[frames[worst]]:.1f} s"
    if n_unknown:
        message += f"; not known in {n_unknown} of {len(percent)} parts of the video"
    return Measured(percent[worst], message)


def _shifts(seen, key):
    return shift_percent(
        seen.measures, key, seen.info, min_score=seen.settings["min_position_score"]
    )
