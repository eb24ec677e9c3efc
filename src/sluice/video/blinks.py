"""Blinks, told from a pupil out of sight and from a pupil that is unusually large."""

import numpy as np
from scipy.ndimage import binary_dilation

from sluice.runs import runs_of


def find_blinks(pupil_area, other_areas, *, z, dilation_frames, max_blink_frames):
    """Find the frames of blinks and those without a trustworthy pupil.

    Signs of a blink are Allen's (allensdk, eye_tracking_processing): an area that is unknown,
    or more than `z` standard deviations from the mean of its trace, and the frames around it.
    Allen calls all these frames likely blinks. Here only what ends within the time of a blink is
    one, as seconds without a pupil are of a closed eye, a whisker, a model that has lost it:

    - where the pupil's area is unknown for longer, it is not trusted, and it is no blink;
    - an area that is unusual for longer is no sign: a wide pupil is a wide pupil;
    - an eye's opening or a reflection that is unknown for longer is no sign, as the pupil may
      well be seen. One that never is known says nothing.

    Parameters
    ----------
    pupil_area : float array, shape (n_frames,)
        px², NaN where unknown.
    other_areas : list of float arrays, shape (n_frames,)
        Of the eye's opening and other things that a lid covers.
    z : float
        Standard deviations.
    dilation_frames : int
        Frames before and after signs that also count.
    max_blink_frames : float
        Longest blink, without the frames before and after.

    Returns
    -------
    is_blink : bool array, shape (n_frames,)
    is_doubtful : bool array, shape (n_frames,)
        Blinks, and frames in which the pupil is out of sight for longer.
    """
    longest = max_blink_frames + 2 * dilation_frames
    is_doubtful = _signs(pupil_area, z, dilation_frames, longest)
    for area in other_areas:
        if not np.isnan(area).all():
            signs = _signs(area, z, dilation_frames, longest)
            is_doubtful |= keep_runs(signs, at_most=longest)
    if np.isnan(pupil_area).all():
        return np.zeros(len(pupil_area), bool), np.ones(len(pupil_area), bool)
    return keep_runs(is_doubtful, at_most=longest), is_doubtful


def _signs(area, z, dilation_frames, max_frames):
    """Frames in which an area is unknown, or unusual for no longer than a blink."""
    is_unknown = np.isnan(area)
    if is_unknown.all():
        return is_unknown
    with np.errstate(invalid="ignore"):
        is_unusual = np.abs(area - np.nanmean(area)) > z * np.nanstd(area)
    around = np.ones(2 * dilation_frames + 1, bool)
    is_unusual = keep_runs(binary_dilation(is_unusual, around), at_most=max_frames)
    return binary_dilation(is_unknown, around) | is_unusual


def keep_runs(mask, *, at_most):
    """Only the runs of true frames that are no longer than so many.

    Parameters
    ----------
    mask : bool array, shape (n_frames,)
    at_most : float

    Returns
    -------
    bool array, shape (n_frames,)
    """
    edges = np.zeros(len(mask) + 1, np.int8)
    runs = runs_of(mask)
    runs = runs[runs[:, 1] - runs[:, 0] <= at_most]
    edges[runs[:, 0]], edges[runs[:, 1]] = 1, -1
    return np.cumsum(edges[:-1]) > 0
