"""Pulses of the frames once both are numbered by exposures: readings, shift, assignment."""

from dataclasses import dataclass, replace

import numpy as np

from sluice.video.exposures import frame_numbers, pulse_numbers, time_at
from sluice.video.pulse_shift import (
    Frames,
    Pulses,
    by_gaps,
    by_jitter,
    by_pins,
    possible_shifts,
)

# Frames on either side of a gap by which its length is judged.
N_NEAR = 5
# A shift that was wrong may have hidden which numbers are; how often both are looked at again.
MAX_MENDINGS = 5
# More exposures than this many times the frames, and as many again, are no numbers of a camera.
MAX_EXPOSURES = 20
MIN_EXPOSURES = 1_000_000


@dataclass(frozen=True)
class Alignment:
    """Which pulse is that of each frame, and how it was found out.

    Attributes
    ----------
    pulse : int64 array, shape (n_frames,)
        Number of its pulse, among those given; -1 where it has none.
    times_s : float64 array, shape (n_frames,)
        The pulse's time; between pulses, and beyond them, by the camera's clock or by the
        numbers of the exposures.
    numbers : int64 array, shape (n_frames,)
        Of the frames' exposures, from 0.
    shift : int
        Exposures from the first pulse to the first frame.
    n_between : int64 array, shape (n_frames,)
        Pulses between that of the frame before and its own: frames that the camera lost.
    decided_by : str
        ``pins``, ``jitter``, ``gaps``, ``number`` (as many pulses as exposures) or ``rule`` (the
        setting).
    surplus : int
        Pulses beyond the exposures, those lost in gaps counted; below 0 if there are fewer.
    uncertainty : int
        By how many frames all times may be shifted.
    period_s : float
        Interval of the pulses.
    drift_ppm : float or None
        By how much faster the camera's clock runs.
    residual_s : float or None
        Standard deviation of the pulses against the camera's clock, interval by interval.
    n_apart : int
        Intervals by which pulses and the camera's clock part at the worst place.
    n_extra : int
        Pulses that were left out as less than half an interval behind another.
    """

    pulse: np.ndarray
    times_s: np.ndarray
    numbers: np.ndarray
    shift: int
    n_between: np.ndarray
    decided_by: str
    surplus: int
    uncertainty: int
    period_s: float
    drift_ppm: float | None = None
    residual_s: float | None = None
    n_apart: int = 0
    n_extra: int = 0

    @property
    def n_outside(self):
        """Frames before the first pulse, and behind the last."""
        known = np.flatnonzero(self.pulse >= 0)
        return int(known[0] + len(self.pulse) - 1 - known[-1])

    @property
    def n_without(self):
        """Frames that have no pulse."""
        return int(np.count_nonzero(self.pulse < 0))


def readings_of(pulses_s, n_frames, period_s, counter, clock_s, *, is_own_clock, max_lost):
    """Ways to number frames and pulses, the most trusted first.

    With the camera's clock all gaps are exposures. Without it those of whole intervals are,
    else those of at most `max_lost` whole intervals, else none: the others are pauses.

    Yields
    ------
    frames : Frames
    pulses : Pulses
    """
    if clock_s is not None:
        numbers = frame_numbers(clock_s, period_s)
        if counter is not None:
            # a pause is a gap of the clock, not of the counter
            steps = np.maximum(np.diff(counter), np.diff(numbers))
            numbers = np.concatenate([[0], np.cumsum(steps)])
        all_gaps = Pulses(pulses_s, pulse_numbers(pulses_s, period_s), period_s)
        yield Frames(numbers, clock_s), all_gaps
    if clock_s is None or counter is not None or not is_own_clock:
        counted = np.arange(n_frames) if counter is None else counter - counter[0]
        for most in (np.inf, max_lost, 0):
            numbers = pulse_numbers(pulses_s, period_s, only_whole=True, max_lost=most)
            yield Frames(counted), Pulses(pulses_s, numbers, period_s)


def most_exposures(n_frames):
    """Numbers of exposures beyond which they are no numbers of a camera."""
    return MAX_EXPOSURES * n_frames + MIN_EXPOSURES


def best_reading(readings, pin, settings):
    """The first reading that leaves few frames without a pulse, else the one that leaves fewest.

    Gaps of the pulses that a later reading takes for pauses may still be lost pulses: the times
    are as uncertain as the earlier ones say.
    """
    limit = settings["max_frame_difference"]
    best, uncertainty = None, 0
    for frames, pulses in readings:
        n_most = max(int(frames.numbers[-1]), int(pulses.numbers[-1]))
        if n_most > most_exposures(len(frames.numbers)):
            continue
        found = assign(frames, pulses, pin, settings)
        if found is None:
            continue
        if found.decided_by in ("rule", "number"):
            uncertainty = max(uncertainty, found.uncertainty)
            found = replace(found, uncertainty=uncertainty)
        if found.n_without <= limit:
            return found
        if best is None or found.n_without < best.n_without:
            best = found
    return best


def _find_shift(frames, pulses, pin, settings):
    """Exposure of the first frame, counted from the first pulse, and what says so."""
    limit = settings["max_frame_difference"]
    shifts = possible_shifts(frames, pulses, limit)
    if len(shifts) == 0:
        return None, ""
    found = None if pin is None else by_pins(frames, pulses, shifts, *pin)
    if found is not None:
        return found, "pins"
    found = by_jitter(frames, pulses, shifts, min_ratio=settings["min_evidence_ratio"])
    if found is not None:
        return found, "jitter"
    # numbers that were taken from the pulses themselves have their gaps
    found = None if frames.is_borrowed else by_gaps(frames, pulses, shifts)
    if found is not None:
        return found, "gaps"
    surplus = surplus_of(frames, pulses)
    if abs(surplus) > limit:
        return None, ""
    if surplus == 0:
        return 0, "number"
    return (surplus if settings["extra_pulses"] == "first" and surplus > 0 else 0), "rule"


def surplus_of(frames, pulses):
    """Exposures that pulses have beyond those of the frames, or lack."""
    return int(pulses.numbers[-1] - frames.numbers[-1])


def _pulse_of(frames, pulses, shift):
    """Number of the pulse of each frame, -1 where there is none."""
    wanted = frames.numbers + shift
    at = np.minimum(np.searchsorted(pulses.numbers, wanted), len(pulses.numbers) - 1)
    return np.where(pulses.numbers[at] == wanted, at, -1)


def assign(frames, pulses, pin, settings):
    """Find the shift, and give all frames their pulses and times.

    Parameters
    ----------
    frames : sluice.video.pulse_shift.Frames
    pulses : sluice.video.pulse_shift.Pulses
    pin, settings
        See `sluice.video.frame_pulses.align_frames`.

    Returns
    -------
    Alignment or None
        None where nothing tells where the pulses of the frames begin.
    """
    shift, decided_by = _find_shift(frames, pulses, pin, settings)
    if shift is None:
        return None
    pulse = _pulse_of(frames, pulses, shift)
    has_clock = frames.camera_s is not None and not frames.is_borrowed
    for _ in range(MAX_MENDINGS if has_clock else 0):
        mended = _mend_pauses(frames, pulses, pulse)
        if mended is frames:
            break
        # the shift was that of one side of a pause, it need not have been the first
        frames = mended
        shift, decided_by = _find_shift(frames, pulses, pin, settings)
        if shift is None:
            return None
        pulse = _pulse_of(frames, pulses, shift)
    surplus = surplus_of(frames, pulses)
    return Alignment(
        pulse,
        _times(frames, pulses, pulse),
        frames.numbers,
        shift,
        _n_between(frames, pulses, shift),
        decided_by,
        surplus,
        abs(surplus) if decided_by == "rule" else 0,
        pulses.period_s,
    )


def _times(frames, pulses, pulse):
    """Times of the pulses, and between and beyond them by the clock or by the numbers."""
    is_known = pulse >= 0
    if np.count_nonzero(is_known) < 2:
        return np.full(len(pulse), np.nan)
    known_s = pulses.times_s[pulse[is_known]]
    if frames.camera_s is None:
        x, slope = frames.numbers.astype(np.float64), pulses.period_s
    else:
        x = frames.camera_s - frames.camera_s[0]
        slope = float(np.polyfit(x[is_known], known_s, 1)[0])
    times_s = time_at(x, x[is_known], known_s, slope)
    times_s[is_known] = known_s
    return times_s


def _n_between(frames, pulses, shift):
    """Pulses between those of successive frames."""
    wanted = frames.numbers + shift
    first = np.searchsorted(pulses.numbers, wanted[:-1], side="right")
    return np.concatenate([[0], np.searchsorted(pulses.numbers, wanted[1:]) - first])


def _mend_pauses(frames, pulses, pulse):
    """Correct numbers behind gaps that are no whole number of intervals.

    Both clocks round such a gap, one maybe up and the other down. Then all frames behind it are
    late, or early, by a whole interval against the camera's clock.
    """
    gaps = np.flatnonzero(np.diff(frames.numbers) > 1)
    late_s = np.where(pulse >= 0, pulses.times_s[pulse] - frames.camera_s, np.nan)
    corrections = np.zeros(len(pulse), np.int64)
    for gap in gaps.tolist():
        before, behind = late_s[max(0, gap + 1 - N_NEAR) : gap + 1], late_s[gap + 1 :][:N_NEAR]
        if np.isfinite(before).any() and np.isfinite(behind).any():
            step = np.rint((np.nanmedian(behind) - np.nanmedian(before)) / pulses.period_s)
            room = frames.numbers[gap + 1] - frames.numbers[gap] - 1
            corrections[gap + 1] = min(int(step), int(room))
    if not corrections.any():
        return frames
    return replace(frames, numbers=frames.numbers - np.cumsum(corrections))
