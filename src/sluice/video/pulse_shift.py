"""Which pulse is that of the video's first frame: what pins, jitter and gaps say.

The exposures are numbered twice: the pulses from the first pulse on, the frames from the first
frame on. The shift is what the second numbers lack.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import correlate

from sluice.video.exposures import resolution_of

# Deviations of intervals are cut off at so many standard deviations: one odd pulse is no proof.
CLIP = 5.0
MIN_INTERVALS = 30
# Jitter is seen by a clock if its standard deviation is at least so many steps of the clock.
MIN_STEPS = 2.0
# Standard errors of a variance, see `by_jitter`.
MIN_ERRORS = 6.0
# Frames without a pulse and pulses without a frame that any other shift has more.
MIN_GAP_MARGIN = 6
# Largest part of the transitions' votes that another shift may have, neighbours left out.
MAX_OTHER_VOTES = 0.75
MAX_VOTES_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Frames:
    """The frames as the camera numbered and timed them.

    Attributes
    ----------
    numbers : int64 array, shape (n_frames,)
        Of the exposures, from 0.
    camera_s : float64 array, shape (n_frames,), or None
        On the camera's clock, in seconds of the pulses' clock but for an offset.
    is_borrowed : bool
        Whether the numbers are those of the pulses, one for each frame.
    """

    numbers: np.ndarray
    camera_s: np.ndarray | None = None
    is_borrowed: bool = False


@dataclass(frozen=True)
class Pulses:
    """Pulses and the numbers of their exposures, from 0.

    Attributes
    ----------
    times_s : float64 array, shape (n_pulses,)
    numbers : int64 array, shape (n_pulses,)
    period_s : float
    """

    times_s: np.ndarray
    numbers: np.ndarray
    period_s: float


def possible_shifts(frames, pulses, max_outside):
    """Shifts at which at most so many frames lie before the first or behind the last pulse.

    Parameters
    ----------
    frames : Frames
    pulses : Pulses
    max_outside : int

    Returns
    -------
    int64 array
        Ascending, may be empty.
    """
    n, end = len(frames.numbers), int(pulses.numbers[-1])
    allowed = min(max_outside, n - 2)
    shifts = np.arange(-frames.numbers[allowed], end - frames.numbers[n - 1 - allowed] + 1)
    before = np.searchsorted(frames.numbers, -shifts)
    behind = n - np.searchsorted(frames.numbers, end - shifts, side="right")
    return shifts[before + behind <= allowed]


def _sums(of_pulses, of_frames, shifts):
    """Sum over all exposures e of of_frames[e] * of_pulses[e + shift], for each shift."""
    full = correlate(of_pulses, of_frames, mode="full", method="fft")
    return full[shifts + len(of_frames) - 1]


def _spread(numbers, values):
    """Values at their exposure numbers, 0 elsewhere."""
    out = np.zeros(int(numbers[-1]) + 1)
    out[numbers] = values
    return out


def _interval_deviations(times_s, numbers, period_s):
    """Deviation of each plain interval at the exposure that ends it, and where there is one."""
    is_plain = np.diff(numbers) == 1
    deviations = np.where(is_plain, np.diff(times_s) - period_s, 0.0)
    if is_plain.any():
        deviations[is_plain] -= np.median(deviations[is_plain])
        scale = np.sqrt(np.mean(np.minimum(deviations**2, np.median(deviations**2) * 25)))
        deviations = np.clip(deviations, -CLIP * scale, CLIP * scale)
    ends = numbers[1:]
    return _spread(ends, deviations), _spread(ends, is_plain.astype(float))


def _is_seen(times_s):
    """Whether a clock is fine enough to see the jitter of its own intervals."""
    intervals = np.diff(times_s)
    # the middle two thirds, so that gaps do not count as jitter
    low, high = np.quantile(intervals, [1 / 6, 5 / 6])
    return (high - low) / 2 >= MIN_STEPS * resolution_of(times_s) > 0


def by_jitter(frames, pulses, shifts, *, min_ratio):
    """The shift at which intervals of the camera's clock fit those of the pulses.

    The mean square of their differences must be `min_ratio` times and 6 standard errors of its
    logarithm, sqrt(2 / n), lower than at any other shift. A camera that is timed by a crystal
    has no jitter that both clocks would see, and nothing is found; nor where intervals vary by
    less than two steps of either clock, as rounding makes patterns that fit anywhere.

    Parameters
    ----------
    frames : Frames
    pulses : Pulses
    shifts : int64 array, shape (n_shifts,)
    min_ratio : float

    Returns
    -------
    int or None
    """
    if frames.camera_s is None or len(shifts) < 2 or len(frames.numbers) < MIN_INTERVALS:
        return None
    if not (_is_seen(frames.camera_s) and _is_seen(pulses.times_s)):
        return None
    x, is_x = _interval_deviations(frames.camera_s, frames.numbers, pulses.period_s)
    y, is_y = _interval_deviations(pulses.times_s, pulses.numbers, pulses.period_s)
    n = _sums(is_y, is_x, shifts)
    squares = _sums(is_y, x * x, shifts) - 2 * _sums(y, x, shifts) + _sums(y * y, is_x, shifts)
    is_enough = n > MIN_INTERVALS
    if not is_enough.any() or not squares[is_enough].max() > 0:
        return None
    # the sums are exact to rounding of the largest
    floor = 1e-12 * squares[is_enough].max()
    mean = np.where(is_enough, np.maximum(squares, floor) / np.maximum(n, 1), np.inf)
    best, second = np.argsort(mean, kind="stable")[:2]
    needed = max(np.log(min_ratio), MIN_ERRORS * np.sqrt(2 / n[best]))
    return int(shifts[best]) if np.log(mean[second] / mean[best]) > needed else None


def by_gaps(frames, pulses, shifts):
    """The shift at which gaps of the frames and of the pulses fall together.

    Frames without a pulse and pulses, from the first frame to the last, without a frame must be
    6 fewer than at any other shift: three gaps that both have.

    Parameters
    ----------
    frames : Frames
    pulses : Pulses
    shifts : int64 array, shape (n_shifts,)

    Returns
    -------
    int or None
    """
    if len(shifts) < 2:
        return None
    has_pulse = _spread(pulses.numbers, 1.0)
    n_both = np.rint(_sums(has_pulse, _spread(frames.numbers, 1.0), shifts))
    n_pulses = np.searchsorted(
        pulses.numbers, shifts + frames.numbers[-1], side="right"
    ) - np.searchsorted(pulses.numbers, shifts)
    n_alone = len(frames.numbers) + n_pulses - 2 * n_both
    best, second = np.argsort(n_alone, kind="stable")[:2]
    return int(shifts[best]) if n_alone[second] - n_alone[best] >= MIN_GAP_MARGIN else None


def transitions(states):
    """Frames at which a pin has changed, and to what.

    Parameters
    ----------
    states : bool array, shape (n_frames,)

    Returns
    -------
    frames : int64 array, shape (n_changes,)
        The first with the new state.
    polarity : int8 array, shape (n_changes,)
        1 or -1.
    """
    changed = np.flatnonzero(states[1:] != states[:-1]) + 1
    return changed, np.where(states[changed], 1, -1).astype(np.int8)


def by_pins(frames, pulses, shifts, states, edges):
    """The shift at which frames saw the pin change when the DAQ did.

    An edge is seen by the first frame whose pulse follows it (as in ibllib, align_with_audio),
    so each pair of a change and an edge of the same polarity has a shift at which they would be
    the same. The shift with the most pairs must have at least two and half of the changes,
    more than its neighbours, and any other at most three quarters of them. Pulses too short for
    a frame to see, and changes without a pulse, do no harm.

    Parameters
    ----------
    frames : Frames
    pulses : Pulses
    shifts : int64 array, shape (n_shifts,)
    states : bool array, shape (n_frames,)
        Of the pin.
    edges : sluice.io.pulses.Edges
        What the pin saw, on the clock of the pulses.

    Returns
    -------
    int or None
    """
    changed, polarity = transitions(states)
    if not len(changed) or not len(shifts):
        return None
    n_votes = int(shifts[-1] - shifts[0]) + 1
    votes = np.zeros(n_votes, np.int64)
    at = np.searchsorted(pulses.times_s, edges.times_s)
    is_inside = (at > 0) & (at < len(pulses.times_s))
    for sign in (-1, 1):
        cells = pulses.numbers[at[is_inside & (edges.polarity == sign)]]
        seen = frames.numbers[changed[polarity == sign]]
        step = max(1, MAX_VOTES_AT_ONCE // max(1, len(cells)))
        for start in range(0, len(seen), step):
            found = (cells[None, :] - seen[start : start + step, None]).ravel() - shifts[0]
            found = found[(found >= 0) & (found < n_votes)]
            votes += np.bincount(found, minlength=n_votes)
    votes = votes[shifts - shifts[0]]
    best = int(np.argmax(votes))
    near = [i for i in (best - 1, best + 1) if 0 <= i < len(votes)]
    others = np.delete(votes, [best, *near])
    n_seen = np.count_nonzero(np.isin(polarity, edges.polarity))
    is_clear = votes[best] >= max(2, n_seen / 2) and all(votes[i] < votes[best] for i in near)
    is_clear &= not len(others) or others.max() <= MAX_OTHER_VOTES * votes[best]
    return int(shifts[best]) if is_clear else None
