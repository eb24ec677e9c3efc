"""Numbers of exposures: what times of frames or of pulses say of how many lie between them."""

import numpy as np

# Gaps of so many intervals at most, and as near as this to whole ones, tell of the interval.
MAX_STEPS = 10
NEARLY_WHOLE = 0.4
# A gap stands for exposures that were lost if it is as near as this to whole intervals.
WHOLE = 0.2
# More pulses than this part of all are no spikes, but pulses at intervals that vary.
MAX_EXTRA = 0.05
# Frames that follow each other by less than this part of an interval: the first was late.
ENVELOPE = 0.75


def interval_of(times_s):
    """Mean interval between exposures, short gaps counted as the intervals they stand for.

    More exact than the median, which knows only the steps of a clock of whole samples, and in
    which the jitter of each time counts: over neighbouring intervals it cancels.

    Parameters
    ----------
    times_s : float64 array, shape (n,)
        Ascending, at least two.

    Returns
    -------
    float
        Seconds.
    """
    intervals = np.diff(times_s)
    # one of them: the middle between an interval and a gap would be neither
    steps = intervals / np.quantile(intervals, 0.5, method="lower")
    whole = np.rint(steps)
    is_usual = (np.abs(steps - whole) < NEARLY_WHOLE) & (whole <= MAX_STEPS)
    return float(intervals[is_usual].sum() / whole[is_usual].sum())


def drop_extra(times_s, period_s):
    """Leave out pulses less than half an interval behind the one before.

    If they are more than a twentieth, the intervals are not regular and all pulses remain.

    Parameters
    ----------
    times_s : float64 array, shape (n,)
    period_s : float

    Returns
    -------
    bool array, shape (n,)
        What remains.
    """
    is_kept = np.ones(len(times_s), bool)
    if (np.diff(times_s) >= period_s / 2).all():
        return is_kept
    last = -np.inf
    for i, time in enumerate(times_s.tolist()):
        is_kept[i] = time - last >= period_s / 2
        last = time if is_kept[i] else last
    return is_kept if is_kept.mean() >= 1 - MAX_EXTRA else np.ones(len(times_s), bool)


def pulse_numbers(pulses_s, period_s, *, only_whole=False, max_lost=np.inf):
    """Number each pulse, counting those that are missing in gaps.

    Parameters
    ----------
    pulses_s : float64 array, shape (n_pulses,)
        Ascending.
    period_s : float
    only_whole : bool
        Take a gap that is no whole number of intervals for a pause, of one interval.
    max_lost : float
        Take a gap of more missing pulses for a pause too.

    Returns
    -------
    int64 array, shape (n_pulses,)
        From 0, strictly ascending.
    """
    steps = np.diff(pulses_s) / period_s
    whole = np.maximum(np.rint(steps), 1)
    if only_whole:
        whole = np.where(np.abs(steps - whole) < WHOLE, whole, 1)
    whole = np.where(whole - 1 <= max_lost, whole, 1)
    return np.concatenate([[0], np.cumsum(whole)]).astype(np.int64)


def without_delays(camera_s, period_s):
    """Take back the delays of frames that were delivered late.

    A frame may be delivered late, never early, so one that is followed too soon was late: it is
    set to three quarters of an interval before the next. A computer's times of frames have such
    delays; a camera's own clock has none and does not change.

    Parameters
    ----------
    camera_s : float64 array, shape (n_frames,)
    period_s : float

    Returns
    -------
    float64 array, shape (n_frames,)
    """
    ramp = ENVELOPE * period_s * np.arange(len(camera_s))
    return np.minimum.accumulate((camera_s - ramp)[::-1])[::-1] + ramp


def frame_numbers(camera_s, period_s):
    """Number each frame by the camera's clock, counting those that the camera lost.

    Parameters
    ----------
    camera_s : float64 array, shape (n_frames,)
        Without delays.
    period_s : float
        Between exposures.

    Returns
    -------
    int64 array, shape (n_frames,)
        From 0, strictly ascending.
    """
    whole = np.maximum(np.rint(np.diff(camera_s) / period_s), 1)
    return np.concatenate([[0], np.cumsum(whole)]).astype(np.int64)


def resolution_of(times_s):
    """Step of a clock: the least by which two intervals differ, to 0.1 µs.

    Parameters
    ----------
    times_s : float64 array, shape (n,)

    Returns
    -------
    float
        Seconds; 0 where all intervals are the same.
    """
    intervals = np.unique(np.rint(np.diff(times_s) * 1e7))
    return float(np.diff(intervals).min()) * 1e-7 if len(intervals) > 1 else 0.0


def time_at(x, known_x, known_s, slope):
    """Times in a straight line between those that are known, and at a slope beyond them.

    Parameters
    ----------
    x : float array, shape (n,)
        Time on another clock, or number of the exposure; ascending.
    known_x, known_s : float arrays, shape (n_known,)
        Ascending.
    slope : float
        Seconds a unit of x.

    Returns
    -------
    float64 array, shape (n,)
    """
    x = np.asarray(x, np.float64)
    times_s = np.interp(x, known_x, known_s)
    times_s = np.where(x < known_x[0], known_s[0] + slope * (x - known_x[0]), times_s)
    return np.where(x > known_x[-1], known_s[-1] + slope * (x - known_x[-1]), times_s)
