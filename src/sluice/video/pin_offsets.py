"""Whether frames saw a pin change when the DAQ did, from the first change to the last.

One shift for the whole video hides frames that were lost where neither counter nor clock tell of
them: behind the loss all changes are early by the same number of frames.
"""

from dataclasses import dataclass

import numpy as np

from sluice.video.exposures import interval_of
from sluice.video.pulse_shift import transitions

# Part of an interval by which an edge may lie on the other side of a frame.
TOLERANCE = 0.1
# Changes that another offset must explain, at either end of the video, before it is believed;
# within the video, where the offset has to come back, twice as many.
COST = 2.5
# Part of the changes that may be seen a frame early or late all over the video before an offset
# of one frame says nothing: the pin is then read in the middle of the exposure.
MAX_NEXT = 0.1
# The first and the last change must lie in this part of the video at either end.
NEAR_END = 0.1
# Cells of the table of changes and offsets.
MAX_CELLS = 40_000_000


@dataclass(frozen=True)
class PinComparison:
    """How changes of a pin lie to their edges at given times of the frames.

    Attributes
    ----------
    n_changes : int
        Between the first edge and the last.
    n_agreeing : int
        Changes with an edge where there should be one.
    n_off : int
        By how many frames the changes of the worst stretch are off.
    first_off : int
        Frame of the first change that is; -1 if none.
    n_lone : int
        Changes one after the other, at most, that have no edge where there should be one.
    is_open_before, is_open_behind : bool
        Whether no change near that end of the video agrees, so that frames that were lost there
        would not be seen.
    """

    n_changes: int
    n_agreeing: int
    n_off: int
    first_off: int
    n_lone: int
    is_open_before: bool
    is_open_behind: bool


def compare_pin(times_s, states, edges, *, max_offset):
    """Compare every change of a pin with its edge.

    An edge is seen by the first frame that follows it. Each change may be off by some frames;
    the offsets are those that give most changes an edge, where each step from one offset to
    another costs as much as 2.5 changes (the path of least cost, by dynamic programming).

    Parameters
    ----------
    times_s : float64 array, shape (n_frames,)
        Times of the frames, on the clock of the edges; ascending, at least two.
    states : bool array, shape (n_frames,)
    edges : sluice.io.pulses.Edges
    max_offset : int
        Offsets that are tried, in frames, either way.

    Returns
    -------
    PinComparison
    """
    changed, polarity = transitions(states)
    period_s = interval_of(times_s)
    span_s = edges.times_s[[0, -1]] + [-period_s, period_s]
    seen_s = times_s[changed]
    # of changes before the first edge and behind the last the DAQ knows nothing
    is_known = np.isin(polarity, edges.polarity) & (seen_s > span_s[0]) & (seen_s < span_s[1])
    is_last_known = is_known[[0, -1]] if len(changed) else np.zeros(2, bool)
    changed, polarity = changed[is_known], polarity[is_known]
    if not len(changed):
        return PinComparison(0, 0, 0, -1, 0, True, True)
    max_offset = int(max(2, min(max_offset, MAX_CELLS // (2 * len(changed)))))
    is_seen = _is_seen(times_s, period_s, changed, polarity, edges, max_offset)
    offsets = _path(is_seen) - max_offset
    zero, rows = max_offset, np.arange(len(changed))
    is_on = is_seen[rows, zero + offsets]
    # edges that are next to where the path has them
    is_next = is_seen[rows, np.maximum(zero + offsets - 1, 0)]
    is_next |= is_seen[rows, np.minimum(zero + offsets + 1, 2 * max_offset)]
    if np.count_nonzero(is_next & ~is_on) > max(2, MAX_NEXT * len(changed)):
        offsets[np.abs(offsets) == 1] = 0
        is_on |= is_next
    is_agreeing = (offsets == 0) & is_on
    is_off = offsets != 0
    n_near, n_frames = NEAR_END * len(times_s), len(times_s)
    return PinComparison(
        n_changes=len(changed),
        n_agreeing=int(is_agreeing.sum()),
        n_off=int(np.abs(offsets).max()),
        first_off=int(changed[np.argmax(is_off)]) if is_off.any() else -1,
        n_lone=_longest_run(~is_on & ~is_next),
        is_open_before=not (is_last_known[0] and is_agreeing[0] and changed[0] <= n_near),
        is_open_behind=not (
            is_last_known[1] and is_agreeing[-1] and n_frames - changed[-1] <= n_near
        ),
    )


def _longest_run(is_true):
    """How many follow each other at most."""
    ends = np.flatnonzero(np.diff(np.concatenate([[0], is_true.astype(np.int8), [0]])))
    return int((ends[1::2] - ends[::2]).max(initial=0))


def _is_seen(times_s, period_s, changed, polarity, edges, max_offset):
    """Whether a change, so many frames later, would have its edge: (n_changes, n_offsets)."""
    beyond = period_s * np.arange(1, max_offset + 2)
    grid_s = np.concatenate([times_s[0] - beyond[::-1], times_s, times_s[-1] + beyond])
    is_seen = np.zeros((len(changed), 2 * max_offset + 1), bool)
    for sign in (-1, 1):
        edge_s = edges.times_s[edges.polarity == sign]
        near_s = edge_s[:, None] + TOLERANCE * period_s * np.array([-1, 0, 1])
        frames = np.unique(np.searchsorted(grid_s, near_s.ravel())) - (max_offset + 1)
        of_sign = np.flatnonzero(polarity == sign)
        low = np.searchsorted(frames, changed[of_sign] - max_offset)
        high = np.searchsorted(frames, changed[of_sign] + max_offset, side="right")
        for i, first, last in zip(of_sign.tolist(), low.tolist(), high.tolist(), strict=True):
            is_seen[i, frames[first:last] - changed[i] + max_offset] = True
    return is_seen


def _path(is_seen):
    """Column of each row along the path with the most cells that are true, steps at a cost."""
    n, n_columns = is_seen.shape
    gain = np.zeros(n_columns)
    comes_from = np.empty(n, np.int64)
    has_stepped = np.zeros((n, n_columns), bool)
    for i in range(n):
        best = int(np.argmax(gain))
        # of several the middle one, which is no offset
        best = n_columns // 2 if gain[n_columns // 2] == gain[best] else best
        comes_from[i] = best
        has_stepped[i] = gain < gain[best] - COST
        gain = np.maximum(gain, gain[best] - COST) + is_seen[i]
    column = int(np.argmax(gain))
    column = n_columns // 2 if gain[n_columns // 2] == gain[column] else column
    path = np.empty(n, np.int64)
    for i in range(n - 1, -1, -1):
        path[i] = column
        if has_stepped[i, column]:
            column = int(comes_from[i])
    return path
