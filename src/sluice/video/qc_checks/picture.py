"""Checks of the pictures: brightness, black and frozen frames, focus."""

import numpy as np

from sluice.runs import runs_of
from sluice.video.qc_checks.seen import Measured

# IBL asks for three quarters of its sampled frames within its bounds (ibllib/qc/camera.py).
WITHIN_PERCENT = 75
# Part of the frames that may be less sharp, e.g. those in which everything moves.
UNSHARP_PERCENT = 5
# Frames with less of the median contrast say nothing of the focus.
USUAL_CONTRAST = 0.5
# Frames in a row that may differ within a frozen stretch: a key frame and those that follow it.
KEY_FRAMES = 4
# Places that a message lists.
N_LISTED = 5


def brightness_low(seen):
    """Mean grey level that three quarters of the frames exceed; black frames are left out.

    IBL (check_brightness) asks for three quarters of its sampled frames between 40 and 200, of a
    part of the picture; here it is all frames, the whole picture, and each side for itself.
    """
    mean = _bright_means(seen)
    if not len(mean):
        return None
    low = np.percentile(mean, 100 - WITHIN_PERCENT)
    return Measured(low, f"mean of the frames from {mean.min():.1f} to {mean.max():.1f}")


def brightness_high(seen):
    """Mean grey level that three quarters of the frames stay below; black frames are left out."""
    mean = _bright_means(seen)
    if not len(mean):
        return None
    high = np.percentile(mean, WITHIN_PERCENT)
    return Measured(high, f"mean of the frames from {mean.min():.1f} to {mean.max():.1f}")


def brightness_std(seen):
    """Standard deviation of the mean grey level over the frames between jumps.

    Light that is switched is judged by `brightness_jumps`, so that the mean of each stretch
    between jumps is taken away first; IBL takes that of all sampled frames. Black frames are
    left out.
    """
    mean = seen.measures["mean"].to_numpy()
    is_bright = ~seen.is_black
    if not is_bright.any():
        return None
    jumps = find_jumps(seen)
    stretch = np.searchsorted(jumps, np.arange(len(mean)), side="right")[is_bright]
    counts = np.bincount(stretch)
    means = np.bincount(stretch, mean[is_bright]) / np.maximum(counts, 1)
    rest = mean[is_bright] - means[stretch]
    within = f" within {np.count_nonzero(counts)} stretches between jumps" if len(jumps) else ""
    return Measured(rest.std(), f"of the means of the frames{within}")


def brightness_jumps(seen):
    """Times that the mean grey level jumps from one frame to the next, black frames left out."""
    jumps = find_jumps(seen)
    if len(seen.is_black) < 2:
        return None
    return Measured(len(jumps), _list_times(seen, jumps) if len(jumps) else "no jump")


def find_jumps(seen):
    """Frames that are much brighter or darker than the one before.

    Parameters
    ----------
    seen : Seen

    Returns
    -------
    int64 array
    """
    mean = seen.measures["mean"].to_numpy()
    is_jump = np.abs(np.diff(mean)) > seen.settings["jump_levels"]
    is_jump &= ~(seen.is_black[1:] | seen.is_black[:-1])
    return np.flatnonzero(is_jump) + 1


def black_fraction(seen):
    """Part of the frames that are black: no light, or a lens that is covered."""
    n_black = int(seen.is_black.sum())
    runs = runs_of(seen.is_black)
    message = "no frame is black"
    if n_black:
        message = f"{n_black} of {len(seen.is_black)} frames, {_list_runs(seen, runs)}"
    return Measured(n_black / len(seen.is_black), message)


def find_frozen(seen):
    """Stretches in which nothing moves: the camera repeats one picture.

    In a compressed video the same picture comes out a little different, most at key frames, so
    that these are skipped; and noise alone is compressed away, so that what shows nothing alive
    looks frozen too.

    Parameters
    ----------
    seen : Seen

    Returns
    -------
    int64 array, shape (n_stretches, 2)
        First frame and first frame after each stretch. Black frames are in none.
    """
    is_still = seen.measures["energy"].to_numpy()[:-1] < seen.settings["frozen_levels"]
    for first, end in runs_of(~is_still):
        if first > 0 and end < len(is_still) and end - first <= KEY_FRAMES:
            is_still[first:end] = True
    is_still &= ~(seen.is_black[1:] | seen.is_black[:-1])
    runs = runs_of(is_still)
    # a frame that is the same as the next one, and the last of these
    runs[:, 1] += 1
    least = max(2, round(seen.settings["frozen_s"] * seen.info.sampling_rate_hz))
    return runs[runs[:, 1] - runs[:, 0] >= least]


def frozen_fraction(seen):
    """Part of the frames in stretches in which nothing moves; black ones are not counted."""
    runs = find_frozen(seen)
    n_frozen = int((runs[:, 1] - runs[:, 0]).sum())
    message = f"{n_frozen} of {len(seen.is_black)} frames, {_list_runs(seen, runs)}"
    return Measured(n_frozen / len(seen.is_black), message if n_frozen else "never")


def focus(seen):
    """Sharpness that 19 of 20 frames exceed.

    See `sluice.video.frame_measures.sharpness`. Black frames are left out, and those that have
    less than half of the usual contrast: rounding to whole grey levels blurs them. IBL asks that
    its measure, which depends on what is seen, is above 100 in 20 frames, or that another one is
    above 6.
    """
    table = seen.measures[~seen.is_black].dropna(subset="sharpness")
    table = table[table["std"] >= USUAL_CONTRAST * table["std"].median()]
    if not len(table):
        return None
    value = np.percentile(table["sharpness"], UNSHARP_PERCENT)
    median = table["focus"].median()
    return Measured(value, f"{len(table)} frames; IBL's variance of the Laplacian {median:.0f}")


def _bright_means(seen):
    return seen.measures["mean"].to_numpy()[~seen.is_black]


def _list_times(seen, frames):
    """When some frames are."""
    text = "at " + ", ".join(f"{seen.times_s[i]:.2f}" for i in frames[:N_LISTED]) + " s"
    return text + (f" and {len(frames) - N_LISTED} more" if len(frames) > N_LISTED else "")


def _list_runs(seen, runs):
    """From when to when some stretches are."""
    listed = [f"{seen.times_s[a]:.2f} to {seen.times_s[b - 1]:.2f}" for a, b in runs[:N_LISTED]]
    text = "from " + ", ".join(listed) + " s"
    return text + (f" and {len(runs) - N_LISTED} more" if len(runs) > N_LISTED else "")
