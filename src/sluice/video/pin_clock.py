"""Times of frames from a pin alone: when frames saw it change, and when the DAQ did."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from sluice.errors import InputError
from sluice.video.exposures import interval_of
from sluice.video.pulse_shift import transitions

# Changes from which, and how many behind each, the search tries all edges.
N_STARTS = 4
N_TRIED = 40
# Ways to match that are followed to both ends.
N_FOLLOWED = 20
# Changes that a match must have, and the part of all changes.
MIN_MATCHED = 3
MIN_MATCHED_FRACTION = 0.5
# What a second way to match may have of the best one's.
MAX_OTHER = 0.75


@dataclass(frozen=True)
class PinFit:
    """A straight line from the camera's clock to that of the pulses.

    Attributes
    ----------
    times_s : float64 array, shape (n_frames,)
    n_matched, n_changes : int
        Changes of the pin that were found among the edges, and all.
    n_known : int
        Changes between the first edge and the last.
    drift_ppm : float
        By how much faster the camera's clock runs.
    margin_s : float
        By as much all times may be early or late before an edge lies between other frames than
        those that saw it; below 0: by as much one does already.
    error_s : float
        By as much the time of a frame may be wrong: of the first or last on any other line that
        puts as many edges between their frames, or `margin_s`.
    """

    times_s: np.ndarray
    n_matched: int
    n_changes: int
    n_known: int
    drift_ppm: float
    margin_s: float
    error_s: float


def fit_pins(camera_s, states, edges, *, max_drift, name, source):
    """Times of the frames on the clock of the edges.

    An edge lies between the last frame that did not see it and the first that did. Changes and
    edges are matched one after the other by the time since the one before, whatever short pulses
    no frame saw. Of all lines t = a + b c that put every edge between its two frames the one is
    taken that keeps the largest distance from both.

    Parameters
    ----------
    camera_s : float64 array, shape (n_frames,)
        The camera's clock (s), from anywhere; ascending.
    states : bool array, shape (n_frames,)
        Of the pin.
    edges : sluice.io.pulses.Edges
        What it saw.
    max_drift : float
        By how much the clocks may differ in rate, as a fraction.
    name, source : str
        For messages: the camera, and where the edges come from.

    Returns
    -------
    PinFit

    Raises
    ------
    InputError
        Too few changes are found among the edges, or as well in several ways.
    """
    changed, polarity = transitions(states)
    is_known = np.isin(polarity, edges.polarity)
    changed, polarity = changed[is_known], polarity[is_known]
    period_s = interval_of(camera_s)
    middle_s = (camera_s[changed] + camera_s[changed - 1]) / 2
    matched = _match(_Signal(middle_s, polarity, edges, period_s, max_drift))
    n_matched = np.count_nonzero(matched >= 0)
    if n_matched < max(MIN_MATCHED, MIN_MATCHED_FRACTION * len(changed)):
        raise InputError(
            f"{name}: {n_matched} of the {len(changed)} changes of the camera's pin are found in "
            f"{source} ({len(edges.times_s)} edges) without doubt; expected {MIN_MATCHED} and half "
            "of them. Check gpio_pin and gpio_pulses in streams.tsv, or leave gpio_pulses empty."
        )
    kept = matched >= 0
    start_s, edge_s = camera_s[0], edges.times_s[matched[kept]]
    early_s, late_s = camera_s[changed[kept] - 1] - start_s, camera_s[changed[kept]] - start_s
    ends_s = camera_s[[0, -1]] - start_s
    offset, slope, margin, error = _line(early_s, late_s, edge_s, max_drift, ends_s)
    times_s = offset + slope * (camera_s - start_s)
    seen_s = times_s[changed]
    is_within = (seen_s > edges.times_s[0] - period_s) & (seen_s < edges.times_s[-1] + period_s)
    return PinFit(
        times_s=times_s,
        n_matched=int(n_matched),
        n_changes=len(changed),
        n_known=int(np.count_nonzero(is_within | kept)),
        drift_ppm=(1 / slope - 1) * 1e6,
        margin_s=margin,
        error_s=max(abs(margin), error),
    )


class _Signal:
    """Changes of the pin and edges, of which those of one polarity can be looked up by time."""

    def __init__(self, middle_s, polarity, edges, period_s, max_drift):
        self.middle_s, self.polarity = middle_s.tolist(), polarity.tolist()
        self.edge_s, self.edge_polarity = edges.times_s, edges.polarity
        self.period_s, self.max_drift = period_s, max_drift
        index = {sign: np.flatnonzero(edges.polarity == sign) for sign in (-1, 1)}
        self._of = {sign: (edges.times_s[i].tolist(), i.tolist()) for sign, i in index.items()}

    def __len__(self):
        return len(self.middle_s)

    def nearest(self, sign, time_s, tolerance_s):
        """Edge of a polarity next to a time, or None if none is near enough."""
        times, index = self._of[sign]
        after = bisect_left(times, time_s)
        near = [i for i in (after - 1, after) if 0 <= i < len(times)]
        best = min(near, key=lambda i: abs(times[i] - time_s), default=None)
        if best is None or abs(times[best] - time_s) > tolerance_s:
            return None
        return index[best]

    def follow(self, first, edge, changes):
        """Match changes one after the other, from one pair on, forwards or backwards."""
        pairs = {first: edge}
        last_change, last_edge = first, edge
        for i in changes:
            waited_s = self.middle_s[i] - self.middle_s[last_change]
            # either change may have been anywhere between two frames
            tolerance_s = self.period_s + self.max_drift * abs(waited_s)
            expected_s = float(self.edge_s[last_edge]) + waited_s
            found = self.nearest(self.polarity[i], expected_s, tolerance_s)
            if found is not None and (found - last_edge) * (i - last_change) > 0:
                pairs[i] = last_edge = found
                last_change = i
        return pairs


def _match(signal):
    """Edge of each change, -1 where there is none; all -1 if it is not clear."""
    n = len(signal)
    nothing = np.full(n, -1)
    starts = np.unique(np.linspace(0, n - 1, N_STARTS + 1).astype(int)[:-1]) if n else []
    tried = [
        (first, edge, len(signal.follow(first, edge, range(first + 1, min(n, first + N_TRIED)))))
        for first in map(int, starts)
        for edge in np.flatnonzero(signal.edge_polarity == signal.polarity[first]).tolist()
    ]
    if not tried:
        return nothing
    tried.sort(key=lambda one: -one[2])
    good = [one for one in tried if one[2] >= MAX_OTHER * tried[0][2]][:N_FOLLOWED]
    ways = []
    for first, edge, _ in good:
        pairs = signal.follow(first, edge, range(first + 1, n))
        ways.append(pairs | signal.follow(first, edge, range(first - 1, -1, -1)))
    best = max(ways, key=len)
    # another start of the same way shares its pairs
    others = [len(way) for way in ways if not (way.items() & best.items())]
    if others and max(others) > MAX_OTHER * len(best):
        return nothing
    nothing[list(best)] = list(best.values())
    return nothing


def _line(early_s, late_s, edge_s, max_drift, ends_s):
    """The line that puts edges furthest inside their frames, and how far others part from it.

    Returns
    -------
    offset, slope : float
    margin : float
        By how much edges are inside (s); below 0: outside.
    error : float
        By how much any other line that has them inside, or no further outside, parts from it at
        either of `ends_s` (s).
    """
    offset = float(np.mean(edge_s - (early_s + late_s) / 2))
    # maximise m over (a, b, m): a + b early + m <= edge <= a + b late - m, as corrections of the
    # line of slope 1, so that the numbers are of one size
    scale = max(float(late_s[-1] - early_s[0]), 1e-9)
    above, below = edge_s - (offset + early_s), edge_s - (offset + late_s)
    ones = np.ones_like(edge_s)
    rows = np.concatenate(
        [
            np.stack([ones, early_s / scale, ones], axis=1),
            np.stack([-ones, -late_s / scale, ones], axis=1),
        ]
    )
    limits, most = np.concatenate([above, -below]), max_drift * scale

    def solve(costs, least_margin):
        bounds = [(None, None), (-most, most), (least_margin, None)]
        return linprog(costs, A_ub=rows, b_ub=limits, bounds=bounds, method="highs").x

    da, db, margin = solve([0, 0, -1], None)
    errors = []
    for x in ends_s / scale:
        for sign in (-1, 1):
            # a hair below the best, so that rounding leaves a solution
            other = solve([sign, sign * x, 0], min(0.0, margin) - 1e-9)
            errors.append(abs(other[0] - da + x * (other[1] - db)))
    return offset + float(da), 1 + float(db) / scale, float(margin), float(max(errors))
