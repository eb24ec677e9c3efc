"""The times of the frames of a plane, and how well they fit the frames."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.io.movie import interleaving

# An interval longer than this many periods is a gap: at least one frame is not there.
GAP_PERIODS = 1.5
# Gaps that a message lists.
N_LISTED = 10


@dataclass(frozen=True)
class FrameClock:
    """Times as a clock gave them, and which of them are those of a plane's frames.

    Attributes
    ----------
    times_s : float64 array, shape (n_times,)
        Not checked.
    source : str
        The file they come from.
    n_expected : int
        Times that the movie should have.
    unit : str
        What has one time each: ``frames`` (of this plane, or whole volumes), ``steps`` of the
        volume, or ``images``.
    first, step : int
        Frame t was taken at time ``first + t * step``.
    phase : float
        How far behind that time, as a fraction of the interval between frames; see
        `plane_phase`. 0 where the clock has times of the plane's own.
    accepted : str
        Numbers of times that would have been accepted, for a message.
    """

    times_s: np.ndarray
    source: str
    n_expected: int
    unit: str = "frames"
    first: int = 0
    step: int = 1
    phase: float = 0.0
    accepted: str = ""

    @property
    def selected_s(self):
        """Times of this plane alone, as they are."""
        return self.times_s[self.first :: self.step]


@dataclass(frozen=True)
class ClockFit:
    """How the frame clock fits the frames.

    Attributes
    ----------
    n_times, n_frames : int
        Times of the clock, and frames (or images, see `unit`) that should have one.
    rate_hz : float
        One over the median interval between frames of the plane.
    n_gaps : int
        Intervals longer than 1.5 periods, those that were filled included.
    filled : tuple of (int, int)
        Gaps that were filled: the frame (or image) before each, and how many times were put in.
    unit : str
        See `FrameClock`.
    """

    n_times: int
    n_frames: int
    rate_hz: float
    n_gaps: int
    filled: tuple[tuple[int, int], ...] = ()
    unit: str = "frames"

    @property
    def difference(self):
        """Times beyond the frames; below 0 if there are fewer times."""
        return self.n_times - self.n_frames


def plane_phase(plane, n_planes, pairs=()):
    """How far behind the start of its volume a plane is recorded, as a fraction of a frame.

    The planes of a volume follow each other in steps of equal length, flyback counted. Planes
    that are recorded at once share a step, wherever their images lie in the file: 8 planes in
    4 pairs take 4 steps.

    Parameters
    ----------
    plane, n_planes : int
    pairs : sequence of (int, int)
        Planes recorded simultaneously.

    Returns
    -------
    float
        From 0, below 1.
    """
    steps = _steps(n_planes, pairs)
    return steps.index(_leader(plane, pairs)) / len(steps)


def n_steps(n_planes, pairs=()):
    """How many steps a volume takes; see `plane_phase`.

    Parameters
    ----------
    n_planes : int
    pairs : sequence of (int, int)

    Returns
    -------
    int
    """
    return len(_steps(n_planes, pairs))


def _leader(plane, pairs):
    """The first of the planes that are recorded together with one."""
    return min([plane, *(min(pair) for pair in pairs if plane in pair)])


def _steps(n_planes, pairs):
    """First plane of each step of a volume."""
    return sorted({_leader(p, pairs) for p in range(n_planes)})


def load_clock(path, n_planes, name):
    """Read the times of a movie.

    Parameters
    ----------
    path : path
        npy of one or two axes; or a table (tsv, csv) with a column ``time_s``.
    n_planes : int
        Columns of an array with one a plane.
    name : str
        For messages.

    Returns
    -------
    float64 array, shape (n_times,) or (n_frames, n_planes)
        Seconds, not checked.

    Raises
    ------
    InputError
        It cannot be read as such.
    """
    path = Path(path)
    expected = "an npy of one time a frame (s), or a tsv or csv with a column time_s"
    try:
        if path.suffix == ".npy":
            times = np.load(path, allow_pickle=False)
        else:
            table = pd.read_csv(path, sep="," if path.suffix == ".csv" else "\t")
            if "time_s" not in table:
                raise ValueError(f"its columns are {', '.join(map(str, table.columns))}")
            times = table["time_s"].to_numpy()
        times = np.asarray(times, np.float64)
    except (ValueError, TypeError, EOFError) as error:
        raise InputError(f"{name}: {path}: {error}; expected {expected}.") from None
    if times.ndim == 1 or (times.ndim == 2 and times.shape[1] == n_planes):
        return times
    raise InputError(
        f"{name}: {path}: has the shape {times.shape}; expected (frames,), (images,) or (frames, "
        f"{n_planes}), one column for each of the {n_planes} planes."
    )


def choose_times(
    times_s,
    *,
    source,
    name,
    order,
    plane,
    channel,
    n_planes,
    n_channels,
    n_frames,
    n_images,
    phase,
    n_steps=None,
):
    """Find out what a clock has counted, and which of its times are a plane's.

    An array with one column a plane is told by its shape. A list has a time for each frame
    (the start of each volume, to which `phase` is added), for each step of the volume where
    planes are recorded at once, for each image of any plane, or for each image, channels
    counted, as pulses of most microscopes have; whichever number is nearest.

    Parameters
    ----------
    times_s : float64 array, shape (n_times,) or (n_frames, n_planes)
    source, name : str
        For messages: where the clock comes from, and the plane.
    order : str
        How the images follow each other; see `sluice.io.movie.Header.order`.
    plane, channel, n_planes, n_channels : int
    n_frames : int
        Of the plane.
    n_images : int
        Of all planes and channels; more than whole volumes have where the recording stopped
        within one.
    phase : float
        See `plane_phase`.
    n_steps : int
        See `n_steps`; as many as planes by default.

    Returns
    -------
    FrameClock
    """
    if times_s.ndim == 2:
        return FrameClock(times_s[:, plane], source, n_frames)
    n_whole = n_frames * n_planes * n_channels
    # of several that are the same number the first is meant
    ways = {n_frames: ("a frame", "frames", 0, 1, phase)}
    if n_steps is not None and n_steps < n_planes:
        step_of_plane = round(phase * n_steps)
        ways.setdefault(
            n_frames * n_steps, ("a step of the volume", "steps", step_of_plane, n_steps, 0.0)
        )
    planes_alone = interleaving(order.replace("C", ""), plane, 0, n_planes, 1, n_frames * n_planes)
    ways.setdefault(
        -(-n_images // n_channels), ("an image of any plane", "images", *planes_alone, 0.0)
    )
    all_images = interleaving(order, plane, channel, n_planes, n_channels, n_whole)
    ways.setdefault(n_images, ("an image", "images", *all_images, 0.0))
    nearest = min(ways, key=lambda n: abs(n - len(times_s)))
    _, unit, first, step, phase = ways[nearest]
    accepted = ", ".join(f"{n} (one {way[0]})" for n, way in ways.items()) if len(ways) > 1 else ""
    return FrameClock(times_s, source, nearest, unit, first, step, phase, accepted)


def frame_times(clock, n_frames, *, max_difference, name):
    """Give each frame of a plane its time.

    Times are brought to the number that is expected (`fit_clock`) before those of the plane are
    taken from among them, as one that is missing moves all that follow to another plane. Where
    the number is right, the plane's times alone are looked at: images of two channels may have
    one time, and a pause for flyback is none between the frames of a plane.

    Parameters
    ----------
    clock : FrameClock
    n_frames : int
    max_difference : int
    name : str
        For messages.

    Returns
    -------
    times_s : float64 array, shape (n_frames,)
    fit : ClockFit

    Raises
    ------
    InputError
        See `fit_clock`.
    """
    options = {"max_difference": max_difference, "name": name, "source": clock.source}
    n_times, filled = len(clock.times_s), ()
    times_s = clock.times_s
    if n_times != clock.n_expected:
        times_s, whole = fit_clock(
            times_s, clock.n_expected, unit=clock.unit, accepted=clock.accepted, **options
        )
        filled = whole.filled
    times_s, fit = fit_clock(
        times_s[clock.first :: clock.step][:n_frames], n_frames, accepted=clock.accepted, **options
    )
    fit = replace(
        fit,
        n_times=n_times,
        n_frames=clock.n_expected,
        n_gaps=fit.n_gaps + len(filled),
        filled=filled,
        unit=clock.unit,
    )
    return times_s + clock.phase / fit.rate_hz, fit


def fit_clock(clock_s, n_frames, *, max_difference, name, source, unit="frames", accepted=""):
    """Bring the times of a clock to the number of frames.

    As many times as frames are taken as they are. Up to `max_difference` surplus times at the
    end are dropped: a clock goes on for a moment after the last frame is saved. As many may be
    missing: where gaps of the clock, each of a whole number of median intervals, stand for
    exactly those, they are filled with times at equal distances; where there is no gap, times
    are added at the end, one median interval after the other. Allen drops up to 15 surplus
    times of its cameras, and refuses what is missing.

    Parameters
    ----------
    clock_s : float64 array, shape (n_times,)
    n_frames : int
    max_difference : int
    name, source : str
        For messages: the plane, and where the clock comes from.
    unit : str
        What is counted.
    accepted : str
        Other numbers of times that would do, for the message.

    Returns
    -------
    times_s : float64 array, shape (n_frames,)
    fit : ClockFit

    Raises
    ------
    InputError
        Times are not finite or do not increase, there are fewer than two, the numbers differ
        by more, or there are gaps that do not stand for what is missing.
    """
    n_times = len(clock_s)
    if abs(n_times - n_frames) > max_difference or n_times < 2:
        expected = f"expected {accepted}, of which it" if accepted else "they"
        raise InputError(
            f"{name}: the frame clock {source} has {n_times} times and the movie {n_frames} "
            f"{unit}; {expected} may differ by {max_difference} (ophys.import_plane."
            "max_clock_difference). Check that all files of the movie are there, that n_planes "
            "is right, and that the clock is that of this movie."
        )
    _require_increase(clock_s, name, source, unit.removesuffix("s"))
    intervals = np.diff(clock_s)
    period = float(np.median(intervals))
    is_gap = intervals > GAP_PERIODS * period
    n_missing, filled = max(0, n_frames - n_times), ()
    times_s = clock_s[:n_frames]
    if n_missing and is_gap.any():
        lost = np.where(is_gap, np.rint(intervals / period) - 1, 0).astype(np.int64)
        places = np.arange(n_times) + np.concatenate([[0], np.cumsum(lost)])
        filled = tuple((int(places[i]), int(lost[i])) for i in np.flatnonzero(is_gap))
        if lost.sum() != n_missing:
            raise InputError(
                f"{name}: the frame clock {source} has {n_times} times and the movie {n_frames} "
                f"{unit}; its gaps stand for {lost.sum()} times, not for the {n_missing} that are "
                f"missing ({list_gaps(filled, unit)}). Export the clock again; or leave "
                "frame_times out, so that times are those of the movie's file or follow from the "
                "rate."
            )
        times_s = np.interp(np.arange(n_frames), places, clock_s)
    elif n_missing:
        times_s = np.concatenate([clock_s, clock_s[-1] + period * np.arange(1, n_missing + 1)])
    return times_s, ClockFit(n_times, n_frames, 1 / period, int(is_gap.sum()), filled, unit)


def list_gaps(filled, unit):
    """Say where gaps are: how many times are missing behind which.

    Parameters
    ----------
    filled : sequence of (int, int)
    unit : str
        What has one time each, see `FrameClock`.

    Returns
    -------
    str
    """
    one = unit.removesuffix("s")
    text = ", ".join(f"{n} behind {one} {i}" for i, n in filled[:N_LISTED])
    return text + (f" and {len(filled) - N_LISTED} more gaps" if len(filled) > N_LISTED else "")


def _require_increase(clock_s, name, source, unit):
    """Refuse times that are no clock's."""
    remedy = "Export the clock again, or name another one under 'frame_times' in imaging.json."
    if not np.isfinite(clock_s).all():
        bad = int(np.flatnonzero(~np.isfinite(clock_s))[0])
        raise InputError(
            f"{name}: the frame clock {source} has no finite time for {unit} {bad} "
            f"({clock_s[bad]}). {remedy}"
        )
    intervals = np.diff(clock_s)
    if not (intervals > 0).all():
        bad = int(np.flatnonzero(intervals <= 0)[0])
        raise InputError(
            f"{name}: the frame clock {source} does not increase: {clock_s[bad]:.6f} s for {unit} "
            f"{bad} and {clock_s[bad + 1]:.6f} s for the next. {remedy}"
        )
