"""The fewest calcium events that explain a trace, found exactly.

Calcium c decays by g a frame down to a floor e and jumps at a penalty:

    minimise  ½ Σ (y_t - c_t)² + L · (number of t with c_t ≠ max(g c_{t-1}, e))
    over c with c_1 ≥ e and c_t ≥ max(g c_{t-1}, e), or, where drops are allowed, c_t ≥ e

(Jewell and Witten 2018; Jewell, Hocking, Fearnhead and Witten 2020). At the floor a silent cell
stays for nothing, and numbers stay in range.

Let V_t(a) be the least cost of the frames up to t with c_t = a. Then, for a > e,

    V_t(a) = ½ (y_t - a)² + min( V_{t-1}(a / g),  L + min over b ≤ a / g of V_{t-1}(b) )

where with drops the last minimum is over all b. V is made of parabolas, each on an interval. The
last term is a staircase of constants; only the parts of it below V survive, and what is above it
is pruned. V_t(e) is a number of its own, the least of V_{t-1} over [e, e / g]. Every constant
that survives begins a stretch of calcium, which remembers its first frame, the b it jumps from
and the stretch that b belongs to, so the best path is read backwards from the least of V_T.
"""

import numpy as np
from numba import njit, prange

# Columns of a parabola: where it begins (it ends where the next one begins), and its terms.
_LOW, _SQUARE, _LINEAR, _CONSTANT = 0, 1, 2, 3
# Columns of a stretch of calcium: first frame, calcium of the frame before, number of the
# stretch before, and whether it is a decay after a jump or a rest at the floor.
_FRAME, _BEFORE, _PARENT, _IS_REST = 0, 1, 2, 3
# Of the best place to jump from: its cost, its calcium, its stretch, and the number of the
# stretch that begins with the jump, or -1 while there is none.
_COST, _AT, _OWNER, _JUMP = 0, 1, 2, 3

# Costs are brought back to about 0 after so many frames, as large ones take digits away.
_REBASE = 1024

# From one penalty to the next before the right one is enclosed.
_FACTOR = 1.5


@njit(cache=True, nogil=True)
def solve_l0(trace, decay, penalty, floor, allow_drops):
    """Fit calcium with the fewest events; exact.

    Parameters
    ----------
    trace : float64 array, shape (n_frames,)
        dF/F. A NaN frame is not fitted, and nothing jumps there.
    decay : float
        Calcium of a frame over that of the frame before, between 0 and 1.
    penalty : float
        Cost of an event, above 0, unit of `trace` squared.
    floor : float
        Least calcium, above 0.
    allow_drops : bool

    Returns
    -------
    calcium : float64 array, shape (n_frames,)
    events : float64 array, shape (n_frames,)
        c_t - decay · c_{t-1} where calcium jumps, else 0. The first frame has none.
    cost : float
        The minimum.
    """
    old, old_owners = np.zeros((16, 4)), np.zeros(16, np.int64)
    new, new_owners = np.zeros((16, 4)), np.zeros(16, np.int64)
    stretches = np.zeros((2 * trace.size + 64, 4))
    stretches[:2, _PARENT] = -1
    stretches[1, _IS_REST] = 1
    n_stretches, n, rest_owner = 2, 1, 1
    old[0, _LOW] = floor
    rest, shift = _fit(old, 1, trace[0], 0.0, floor), 0.0
    best, entry = np.empty(4), np.empty(4)
    for t in range(1, trace.size):
        if 3 * n + 3 > len(new):
            new, new_owners = np.zeros((6 * n, 4)), np.zeros(6 * n, np.int64)
        if n_stretches + 2 * n + 4 > len(stretches):
            stretches = np.concatenate((stretches, np.zeros_like(stretches)))
        cost = np.inf if np.isnan(trace[t]) else penalty
        n, n_stretches, rest, rest_owner = _advance(
            old, old_owners, n, new, new_owners, stretches, n_stretches,
            t, decay, cost, floor, allow_drops, rest, rest_owner, best, entry,
        )  # fmt: skip
        rest = _fit(new, n, trace[t], rest, floor)
        old, new, old_owners, new_owners = new, old, new_owners, old_owners
        if t % _REBASE == 0:
            old[:n, _CONSTANT] -= rest
            shift += rest
            rest = 0.0
    _start(best, rest, floor, rest_owner)
    for i in range(n):
        _lower(best, old, old_owners, i, old[i, _LOW], _end(old, i, n))
    calcium, events = _read_back(trace.size, decay, floor, best, stretches)
    return calcium, events, best[_COST] + shift


@njit(cache=True, nogil=True)
def _fit(parabolas, n, sample, rest, floor):
    """Add a frame's misfit to parabolas, in place, and to the cost at the floor, returned."""
    if np.isnan(sample):
        return rest
    for i in range(n):
        parabolas[i, _SQUARE] += 0.5
        parabolas[i, _LINEAR] -= sample
        parabolas[i, _CONSTANT] += 0.5 * sample * sample
    return rest + 0.5 * (sample - floor) ** 2


@njit(cache=True, nogil=True)
def _start(best, cost, at, owner):
    best[_COST], best[_AT], best[_OWNER], best[_JUMP] = cost, at, owner, -1


@njit(cache=True, nogil=True)
def _end(parabolas, i, n):
    return parabolas[i + 1, _LOW] if i + 1 < n else np.inf


@njit(cache=True, nogil=True)
def _value(parabola, at):
    return (parabola[_SQUARE] * at + parabola[_LINEAR]) * at + parabola[_CONSTANT]


@njit(cache=True, nogil=True)
def _lowest_at(parabola, low, high):
    """Where a parabola is lowest between two places."""
    if parabola[_SQUARE] == 0:  # no frame fitted so far
        return low
    return min(max(-0.5 * parabola[_LINEAR] / parabola[_SQUARE], low), high)


@njit(cache=True, nogil=True)
def _reaches(parabola, level, sign):
    """Where a parabola reaches a level left (-1) or right (1) of its lowest place."""
    square, linear = parabola[_SQUARE], parabola[_LINEAR]
    if square == 0:
        return sign * np.inf
    middle = -0.5 * linear / square
    height = level - (parabola[_CONSTANT] + 0.5 * linear * middle)
    return middle + sign * np.sqrt(max(height, 0.0) / square)


@njit(cache=True, nogil=True)
def _lower(best, parabolas, owners, i, low, high):
    """Make a parabola's lowest place between two the best one, if it is."""
    at = _lowest_at(parabolas[i], low, high)
    cost = _value(parabolas[i], at)
    if cost < best[_COST]:
        _start(best, cost, at, owners[i])


@njit(cache=True, nogil=True)
def _advance(
    old, old_owners, n, new, new_owners, stretches, n_stretches,
    t, decay, penalty, floor, allow_drops, rest, rest_owner, best, entry,
):  # fmt: skip
    """The parabolas of V_t without the misfit of frame t, and V_t at the floor."""
    growth = 1 / decay
    edge = floor * growth  # calcium below it falls to the floor
    _start(entry, rest, floor, rest_owner)
    _start(best, rest, floor, rest_owner)
    if allow_drops:
        for i in range(n):
            _lower(best, old, old_owners, i, old[i, _LOW], _end(old, i, n))
    m = 0
    for i in range(n):
        low, high = old[i, _LOW], _end(old, i, n)
        if low < edge:
            _lower(entry, old, old_owners, i, low, min(high, edge))
        first = max(low, edge)
        # jumps from further left are cheaper than the parabola below `begin`
        begin, end = first, high
        at = _lowest_at(old[i], low, high)
        bottom = _value(old[i], at)
        level = best[_COST] + penalty
        if bottom > level:
            begin = high
        elif first < at and _value(old[i], first) > level:
            begin = min(max(_reaches(old[i], level, -1.0), first), at)
        if begin > first and high > edge:
            m, n_stretches = _jump(
                new, new_owners, m, first * decay, penalty, best, stretches, n_stretches, t
            )
        if bottom < best[_COST]:
            _start(best, bottom, at, old_owners[i])
        # jumps, from here or from further left, are cheaper above `end`
        level = best[_COST] + penalty
        if begin < high and at < high and (high == np.inf or _value(old[i], high) > level):
            end = min(max(_reaches(old[i], level, 1.0), at), high)
        if begin < end and high > edge:
            new[m, _LOW] = begin * decay
            new[m, _SQUARE] = old[i, _SQUARE] * growth * growth
            new[m, _LINEAR] = old[i, _LINEAR] * growth
            new[m, _CONSTANT] = old[i, _CONSTANT]
            new_owners[m] = old_owners[i]
            m += 1
        if begin < high and end < high and high > edge:
            m, n_stretches = _jump(
                new, new_owners, m, max(end, first) * decay, penalty, best,
                stretches, n_stretches, t,
            )  # fmt: skip
    if allow_drops and best[_COST] + penalty < entry[_COST]:
        entry[:] = best
        entry[_COST] += penalty
    if entry[_OWNER] != rest_owner:
        rest_owner, n_stretches = _begin(stretches, n_stretches, t, entry, 1)
    return m, n_stretches, entry[_COST], rest_owner


@njit(cache=True, nogil=True)
def _begin(stretches, n_stretches, t, best, is_rest):
    """Begin a stretch of calcium; its number, and how many there are."""
    stretches[n_stretches, _FRAME] = t
    stretches[n_stretches, _BEFORE] = best[_AT]
    stretches[n_stretches, _PARENT] = best[_OWNER]
    stretches[n_stretches, _IS_REST] = is_rest
    return n_stretches, n_stretches + 1


@njit(cache=True, nogil=True)
def _jump(new, new_owners, m, low, penalty, best, stretches, n_stretches, t):
    """Add the constant of a jump from the best place, unless it is the one that goes on."""
    if best[_JUMP] < 0:
        best[_JUMP], n_stretches = _begin(stretches, n_stretches, t, best, 0)
    if m > 0 and new_owners[m - 1] == best[_JUMP]:
        return m, n_stretches
    new[m, _LOW], new[m, _SQUARE], new[m, _LINEAR] = low, 0, 0
    new[m, _CONSTANT] = best[_COST] + penalty
    new_owners[m] = int(best[_JUMP])
    return m + 1, n_stretches


@njit(cache=True, nogil=True)
def _read_back(n_frames, decay, floor, best, stretches):
    """Calcium and events of the best path, from its last calcium and stretch."""
    calcium, events = np.empty(n_frames), np.zeros(n_frames)
    last, value, k = n_frames - 1, best[_AT], int(best[_OWNER])
    while k >= 0:
        first = int(stretches[k, _FRAME])
        is_rest = stretches[k, _IS_REST] == 1
        for t in range(last, first - 1, -1):
            calcium[t] = floor if is_rest else value
            value /= decay
        before, k = stretches[k, _BEFORE], int(stretches[k, _PARENT])
        decayed = decay * before
        # falling to the floor is no event, but for rounding
        if k >= 0 and not (is_rest and decayed <= floor * (1 + 1e-9)):
            events[first] = calcium[first] - decayed
        last, value = first - 1, before
    return calcium, events


@njit(cache=True, nogil=True)
def _smallest(events):
    """Smallest size of an event; infinite where there is none."""
    smallest = np.inf
    for event in events:
        if event != 0:
            smallest = min(smallest, abs(event))
    return smallest


@njit(cache=True, nogil=True)
def find_penalty(trace, decay, smallest, min_penalty, tolerance, floor, allow_drops):
    """Find the smallest penalty that leaves no event below a size, and its events.

    An event of size s that is left to decay alone lowers the cost by s² / (2 (1 - g²)), so the
    search begins at the penalty at which this is no gain for the smallest size wanted. From
    there the penalty changes by factors of 1.5 and is then halved in between, until two
    penalties that differ by `tolerance` enclose the answer. (Allen begins at 0.1 for every
    cell and changes it by steps.) Where more than one penalty divides the good from the bad,
    one of them is found.

    Parameters
    ----------
    trace, decay, floor, allow_drops
        See `solve_l0`.
    smallest : float
        Smallest event allowed.
    min_penalty : float
        No smaller one is tried.
    tolerance : float
        Relative.

    Returns
    -------
    events : float64 array, shape (n_frames,)
    penalty : float
    """
    tried = max(min_penalty, 0.5 * smallest**2 / (1 - decay**2))
    good, bad, events = np.inf, 0.0, np.zeros(0)
    while True:
        found = solve_l0(trace, decay, tried, floor, allow_drops)[1]
        if _smallest(found) < smallest:
            bad = tried
        else:
            good, events = tried, found
        if good == np.inf:
            tried = bad * _FACTOR
        elif good <= max(min_penalty, bad * (1 + tolerance)):
            return events, good
        elif bad == 0:
            tried = max(good / _FACTOR, min_penalty)
        else:
            tried = np.sqrt(good * bad)


@njit(cache=True, nogil=True, parallel=True)
def _rows(traces, decay, smallest, min_penalty, tolerance, floor, allow_drops, events, penalty):
    for i in prange(traces.shape[0]):
        if np.isnan(smallest[i]):
            events[i], penalty[i] = np.nan, np.nan
            continue
        found, penalty[i] = find_penalty(
            traces[i], decay, smallest[i], min_penalty, tolerance, floor, allow_drops
        )
        events[i] = np.where(np.isnan(traces[i]), np.nan, found)


def l0_events(traces, *, decay, smallest, min_penalty, tolerance, allow_drops=False, floor=1e-4):
    """Find each ROI's events at the smallest penalty that leaves no small ones.

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
        dF/F around 0 where the cell is silent.
    decay : float
        Calcium of a frame over that of the frame before.
    smallest : float array, shape (n_rois,)
        Smallest event; NaN where a ROI has no trace.
    min_penalty, tolerance
        See `find_penalty`.
    allow_drops : bool
    floor : float
        Least calcium (Allen: 1e-4).

    Returns
    -------
    events : float64 array, shape (n_rois, n_frames)
        Size of the jump at its frame, else 0; NaN where the trace is.
    penalty : float64 array, shape (n_rois,)
    """
    traces = np.ascontiguousarray(traces, dtype=np.float64)
    events, penalty = np.empty(traces.shape), np.full(len(traces), np.nan)
    if traces.size:
        smallest = np.asarray(smallest, np.float64)
        _rows(traces, decay, smallest, min_penalty, tolerance, floor, allow_drops, events, penalty)
    return events, penalty
