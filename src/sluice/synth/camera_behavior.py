"""What a made-up mouse does before a camera, as a function of time.

Everything is drawn once for the whole session, so that several cameras see the same animal at
the same moment. Lengths are in pixels of a frame of 160 x 128.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

GRID_HZ = 200.0
# Drawn for that long before and after the session.
MARGIN_S = 2.0
# A blink: the lid comes down, stays and goes up.
CLOSING_S, OPENING_S = 0.10, 0.13
CLOSED_S = (0.10, 0.20)
BLINK_EVERY_S = (3.0, 7.0)
# A lick lasts 3 or 4 frames at 30 Hz; they come at 5.5 Hz in bouts.
LICK_S, LICK_PERIOD_S = 0.12, 0.18
LICKS_PER_BOUT = (3, 7)
BOUT_EVERY_S = (3.0, 6.0)
# The tongue is seen where it is out farther than this part of its length.
TONGUE_SEEN = 0.25
WHEEL_EVERY_S = (0.9, 2.4)
WHEEL_RAD = (0.6, 2.4)
WHEEL_MOVE_S = (0.35, 0.8)
# An event is over before the next one begins.
EVENT_S = (0.15, 0.6)
EVENT_EVERY_S = (0.8, 2.5)
HEAD_SD_PX = 0.6
HEAD_SD_DEG = 0.35
# The head goes up and down with each breath: nothing is ever quite at rest.
BREATH_PX, BREATH_HZ = 0.5, 2.7
GAZE_PX = (3.0, 1.5)


@dataclass(frozen=True)
class Behavior:
    """What the animal does.

    Attributes
    ----------
    duration_s : float
    blinks_s : float64 array, shape (n_blinks, 2)
        From the first movement of the lid to the last.
    closed_s : float64 array, shape (n_blinks,)
        How long the lid stays down.
    licks_s : float64 array, shape (n_licks, 2)
        From the moment that the tongue leaves the mouth until it is back.
    events_s : float64 array, shape (n_events, 2)
        Start and stop of pulses of some device (a speaker, say), which a pin of the cameras sees.
    wheel_moves : float64 array, shape (n_moves, 3)
        Start (s), duration (s), angle (rad, signed) of each turn of the wheel.
    grid_s : float64 array, shape (n_grid,)
        Times of the traces.
    traces : dict of str to float64 array, shape (n_grid,)
        pupil (-1 smallest to 1 largest), gaze_x and gaze_y (pixels), head_x and head_y (pixels),
        head_deg (degrees), tongue_deg (degrees), paw (pixels), light (relative).
    """

    duration_s: float
    blinks_s: np.ndarray
    closed_s: np.ndarray
    licks_s: np.ndarray
    events_s: np.ndarray
    wheel_moves: np.ndarray
    grid_s: np.ndarray
    traces: dict

    def trace(self, name, times_s):
        """Value of one of the traces at some times."""
        return np.interp(times_s, self.grid_s, self.traces[name])

    def lid_closure(self, times_s):
        """How far the lid is down: 0 open to 1 closed.

        Parameters
        ----------
        times_s : float array, shape (n_times,)

        Returns
        -------
        float64 array, shape (n_times,)
        """
        times_s = np.asarray(times_s, np.float64)
        if not len(self.blinks_s):
            return np.zeros(times_s.shape)
        which = np.clip(np.searchsorted(self.blinks_s[:, 0], times_s, "right") - 1, 0, None)
        since_s = times_s - self.blinks_s[which, 0]
        closing = smooth_step(since_s / CLOSING_S)
        return closing - smooth_step((since_s - CLOSING_S - self.closed_s[which]) / OPENING_S)

    def tongue(self, times_s):
        """How far the tongue is out: 0 in the mouth to 1.

        Parameters
        ----------
        times_s : float array, shape (n_times,)

        Returns
        -------
        float64 array, shape (n_times,)
            ``sin(pi u)`` over a lick, u from 0 to 1.
        """
        times_s = np.asarray(times_s, np.float64)
        if not len(self.licks_s):
            return np.zeros(times_s.shape)
        which = np.clip(np.searchsorted(self.licks_s[:, 0], times_s, "right") - 1, 0, None)
        part = (times_s - self.licks_s[which, 0]) / LICK_S
        return np.where((part > 0) & (part < 1), np.sin(np.pi * np.clip(part, 0, 1)), 0.0)

    def wheel_rad(self, times_s):
        """Position of the wheel: the sum of its turns, each of a smooth speed.

        Parameters
        ----------
        times_s : float array, shape (n_times,)

        Returns
        -------
        float64 array, shape (n_times,)
        """
        times_s = np.asarray(times_s, np.float64)
        position = np.zeros(times_s.shape)
        for start_s, duration_s, angle in self.wheel_moves:
            position += angle * smooth_step((times_s - start_s) / duration_s)
        return position


def make_behavior(entropy, duration_s):
    """Draw what the animal does.

    Parameters
    ----------
    entropy : tuple of int
        Seed.
    duration_s : float
        Of the session; what is drawn lies between its start and its end.

    Returns
    -------
    Behavior
    """
    rngs = [np.random.default_rng((*entropy, k)) for k in range(5)]
    starts_s = _renewal(rngs[0], duration_s, BLINK_EVERY_S, first_s=1.0)
    closed_s = rngs[0].uniform(*CLOSED_S, len(starts_s))
    blinks_s = np.column_stack([starts_s, starts_s + CLOSING_S + closed_s + OPENING_S])
    keep = blinks_s[:, 1] < duration_s - 0.2
    licks_s = _draw_licks(rngs[1], duration_s)
    starts_s = _renewal(rngs[4], duration_s - 1.5, EVENT_EVERY_S, first_s=1.2)
    events_s = np.column_stack([starts_s, starts_s + rngs[4].uniform(*EVENT_S, len(starts_s))])
    moves = _draw_wheel(rngs[2], duration_s)
    grid_s = np.arange(-MARGIN_S, duration_s + MARGIN_S, 1 / GRID_HZ)
    traces = _draw_traces(rngs[3], grid_s)
    return Behavior(
        duration_s, blinks_s[keep], closed_s[keep], licks_s, events_s, moves, grid_s, traces
    )


def smooth_step(part):
    """Rise from 0 to 1 with part from 0 to 1, at first and at last with no speed."""
    part = np.clip(part, 0, 1)
    return part * part * (3 - 2 * part)


def _renewal(rng, duration_s, every_s, first_s):
    """Times that follow each other at random distances."""
    steps = rng.uniform(*every_s, int(duration_s / every_s[0]) + 2)
    # so that even a short session has one
    steps[0] = first_s + rng.uniform(0, 0.5)
    times_s = np.cumsum(steps)
    return times_s[times_s < duration_s]


def _draw_licks(rng, duration_s):
    """Start and stop of each lick."""
    starts_s = []
    for bout_s in _renewal(rng, duration_s, BOUT_EVERY_S, first_s=1.5):
        starts_s += [bout_s + k * LICK_PERIOD_S for k in range(rng.integers(*LICKS_PER_BOUT))]
    starts_s = np.array([s for s in starts_s if s + LICK_S < duration_s - 0.2])
    return np.column_stack([starts_s, starts_s + LICK_S])


def _draw_wheel(rng, duration_s):
    """Start, duration and angle of each turn of the wheel."""
    starts_s = _renewal(rng, duration_s, WHEEL_EVERY_S, first_s=0.8)
    n = len(starts_s)
    angle = rng.uniform(*WHEEL_RAD, n) * rng.choice([-1, 1], n)
    return np.column_stack([starts_s, rng.uniform(*WHEEL_MOVE_S, n), angle])


def _draw_traces(rng, grid_s):
    """Slow traces; see `Behavior`."""
    n = len(grid_s)

    def slow(width_s, sd=1.0):
        """Gaussian noise of a standard deviation, filtered by a Gaussian of that width."""
        width = width_s * GRID_HZ
        noise = gaussian_filter1d(rng.standard_normal(n), width, mode="reflect")
        return sd * noise * np.sqrt(2 * np.sqrt(np.pi) * width)

    def jumping(size):
        """Steps about every second, as of eyes: they last 50 ms."""
        n_steps = int((grid_s[-1] - grid_s[0]) / 0.4) + 2
        at_s = grid_s[0] + np.cumsum(rng.uniform(0.4, 2.0, n_steps))
        levels = rng.uniform(-size, size, n_steps + 1)
        return gaussian_filter1d(levels[np.searchsorted(at_s, grid_s)], 0.015 * GRID_HZ)

    return {
        "pupil": np.tanh(slow(1.2)),
        "gaze_x": jumping(GAZE_PX[0]),
        "gaze_y": jumping(GAZE_PX[1]),
        "head_x": HEAD_SD_PX * 2 * np.tanh(slow(0.8) / 2),
        "head_y": HEAD_SD_PX * 2 * np.tanh(slow(0.8) / 2)
        + BREATH_PX * np.sin(2 * np.pi * BREATH_HZ * grid_s),
        "head_deg": HEAD_SD_DEG * 2 * np.tanh(slow(1.0) / 2),
        "tongue_deg": 8 * np.tanh(slow(0.4)),
        "paw": 3 * np.tanh(slow(1.0)),
        "light": 1 + 0.01 * np.tanh(slow(2.0)),
    }
