"""Where the times of a camera's frames come from: the best of what its row names."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.io.camera_clock import choose_pin, load_camera_record
from sluice.io.pulses import load_edges, load_times
from sluice.video.alignment_words import alignment_numbers, alignment_words
from sluice.video.exposures import (
    frame_numbers,
    interval_of,
    pulse_numbers,
    without_delays,
)
from sluice.video.frame_pulses import align_frames
from sluice.video.pin_clock import fit_pins
from sluice.video.pulse_rate import rate_ratio_hint, require_rate
from sluice.video.time_doubts import (
    doubt_lost_frames,
    doubt_record,
    doubts_of_line,
    doubts_of_pulses,
)

# A camera's own clock runs differently from the DAQ's by less; a stated rate is less exact.
MAX_DRIFT = 1e-3


@dataclass(frozen=True)
class FoundTimes:
    """Times of the frames, and how they came about.

    Attributes
    ----------
    times_s : float64 array, shape (n_frames,)
    source : str
        ``frame_times``, ``pulses``, ``pins``, ``camera`` (its own clock) or ``video``.
    n_found : int
        Times, pulses or entries that the source has.
    n_dropped : int64 array, shape (n_frames,)
        Frames that the camera lost just before each: by its counter, else by pulses that no
        frame has and gaps of whole intervals, else by gaps of the clock. Without a counter a
        pause of the camera may look like lost frames.
    is_interpolated : bool array, shape (n_frames,)
        Frames without a time of their own.
    words : list of str
        What was done, one sentence each.
    numbers : dict
        For the summary: decided_by, n_pulses_before, drift_ppm, …
    difference : int
        Times beyond the frames that nothing accounts for; below 0: too few.
    uncertainty : int
        By how many frames all times may be shifted.
    pin : tuple of (bool array of shape (n_frames,), sluice.io.pulses.Edges) or None
        State of the pin and what it saw, where both are known.
    n_disagreements : int or None
        Frames before which counter and clock or pulses say different things.
    bounced_fraction : float or None
    """

    times_s: np.ndarray
    source: str
    n_found: int
    n_dropped: np.ndarray
    is_interpolated: np.ndarray
    words: list
    numbers: dict = field(default_factory=dict)
    difference: int = 0
    uncertainty: int = 0
    pin: tuple | None = None
    n_disagreements: int | None = None
    bounced_fraction: float | None = None

    @property
    def pin_pulses(self):
        """Pulses that the frames saw on the pin, and those sent to it meanwhile; or None."""
        if self.pin is None:
            return None
        states, edges = self.pin
        first, last = np.searchsorted(edges.select("rising"), self.times_s[[0, -1]])
        n_seen = int(np.count_nonzero(states[1:] & ~states[:-1]))
        return {"n_seen": n_seen, "n_sent": int(last - first)}

    @property
    def is_session_clock(self):
        """Whether the times are those of the DAQ."""
        return self.source in ("frame_times", "pulses", "pins")


def find_times(camera, info, pts_s, record, *, settings, name):
    """Find the times of all frames by the best source there is.

    In this order: times of frames, pulses (helped by the camera's own record), a pin with its
    pulses, the camera's own clock, the times of the video. The last two are not those of the
    session's clock.

    Parameters
    ----------
    camera : sluice.session.Camera
    info : sluice.video.video_info.VideoInfo
    pts_s : float64 array, shape (n_frames,)
        Presentation times of the video as recorded (s).
    record : sluice.io.camera_clock.CameraRecord
        See `load_record`.
    settings : dict
        ``video.camera_times``.
    name : str
        For messages.

    Returns
    -------
    FoundTimes

    Raises
    ------
    InputError
        A file that is named cannot be used.
    """
    found = _best_source(camera, info, pts_s, record, settings=settings, name=name)
    return doubt_lost_frames(doubt_record(found, record, info), info)


def _best_source(camera, info, pts_s, record, *, settings, name):
    """Times by the first source that the row names."""
    if record.camera_s is not None:
        _require_seconds(record.camera_s, info, camera.timestamps or camera.frame_data, name)
    if camera.frame_times:
        return _from_frame_times(camera, info, settings, name)
    if camera.gpio_pulses and record.pins is None:
        raise InputError(
            f"{name}: gpio_pulses is {camera.gpio_pulses}, but there is no file of the pins; "
            "expected gpio or frame_data in streams.tsv too. Name it, or leave gpio_pulses empty."
        )
    pin, pin_edges = None, None
    if camera.gpio_pulses:
        states = choose_pin(record.pins, camera.gpio_pin, camera.gpio or camera.frame_data, name)
        pin_edges = load_edges(
            camera.gpio_pulses,
            line=camera.gpio_line,
            name=name,
            bounce_s=settings["bounce_ms"] / 1e3,
        )
        pin = (states, pin_edges)
    if camera.ttl:
        return _from_pulses(camera, info, pts_s, record, pin, settings, name)
    if pin is not None:
        return _from_pins(camera, info, pts_s, record, pin, settings, name)
    return _from_camera(camera, info, pts_s, record, name)


def load_record(camera, info, *, settings, name):
    """Read the camera's own files; none where times of frames are given.

    Parameters
    ----------
    camera, info, settings, name
        See `find_times`.

    Returns
    -------
    sluice.io.camera_clock.CameraRecord
    """
    if camera.frame_times:
        nothing = dict.fromkeys(("timestamps", "frame_counter", "gpio", "frame_data"), "")
        camera = replace(camera, **nothing)
    return load_camera_record(
        camera, info.n_frames, max_difference=settings["max_frame_difference"], name=name
    )


def _require_seconds(times_s, info, source, name):
    """Refuse times that are in another unit, by the rate of the video."""
    if len(times_s) < 2:
        return
    hint = rate_ratio_hint(interval_of(times_s) * info.sampling_rate_hz)
    if hint:
        raise InputError(
            f"{name}: {source} has one time every {interval_of(times_s):.6g} and the video a frame "
            f"every {1 / info.sampling_rate_hz:.6g} s; expected seconds.{hint}"
        )


def _lost_by_clock(times_s):
    """Frames that a clock says are missing before each."""
    period_s = interval_of(times_s)
    numbers = frame_numbers(without_delays(times_s, period_s), period_s)
    return np.concatenate([[0], np.diff(numbers) - 1])


def _lost_by_counter(counter):
    return np.concatenate([[0], np.diff(counter) - 1])


def _from_frame_times(camera, info, settings, name):
    times_s = load_times(camera.frame_times, name)
    require_rate(times_s, info, camera.frame_times, name, what="time")
    found = align_frames(
        times_s,
        info.n_frames,
        settings=settings,
        name=name,
        source=camera.frame_times,
        what="times",
    )
    if found.decided_by == "number":
        # as many as frames: they are said to be the frames' times
        found = replace(found, uncertainty=0)
    return FoundTimes(
        times_s=found.times_s,
        source="frame_times",
        n_found=len(times_s),
        n_dropped=_lost_by_clock(found.times_s),
        is_interpolated=found.pulse < 0,
        words=[f"times are those of {camera.frame_times}", *alignment_words(found, "times")],
        numbers=alignment_numbers(found, len(times_s)),
        difference=found.surplus,
        uncertainty=found.uncertainty,
    )


def _from_pulses(camera, info, pts_s, record, pin, settings, name):
    edges = load_edges(
        camera.ttl, line=camera.ttl_line, name=name, bounce_s=settings["bounce_ms"] / 1e3
    )
    pulses_s = edges.select(camera.ttl_edge)
    what = "" if camera.ttl_line is None else f", line {camera.ttl_line}"
    source = f"{camera.ttl}{what} ({camera.ttl_edge} edges)"
    if not len(pulses_s):
        raise InputError(
            f"{name}: {camera.ttl}{what} has {len(edges.times_s)} edges, none of them "
            f"{camera.ttl_edge}; a file without polarity has rising edges alone. Correct ttl_edge "
            "in streams.tsv."
        )
    # a camera may keep every second exposure, which its counter shows
    every = 1.0 if record.counter is None else float(np.median(np.diff(record.counter)))
    require_rate(pulses_s, info, source, name, every=every)
    clock_s, is_own = record.camera_s, record.camera_s is not None
    if not is_own and _is_evidence(pts_s, pulses_s, info, settings):
        clock_s = pts_s
    found = align_frames(
        pulses_s,
        info.n_frames,
        counter=record.counter,
        camera_s=clock_s,
        is_own_clock=is_own,
        pin=pin,
        settings=settings,
        name=name,
        source=source,
    )
    # a camera may give no pulse for a frame that it loses: a gap of whole intervals, of both
    gaps = pulse_numbers(found.times_s, interval_of(found.times_s), only_whole=True)
    n_dropped = np.maximum(found.n_between, np.concatenate([[0], np.diff(gaps) - 1]))
    n_disagreements = None
    if record.counter is not None:
        n_dropped = _lost_by_counter(record.counter)
        gaps = np.concatenate([[0], np.diff(found.numbers) - 1])
        n_disagreements = int(((n_dropped != found.n_between) & (n_dropped != gaps)).sum())
    n_edges = len(edges.times_s) + edges.n_bounced
    has_losses = record.counter is not None or is_own
    doubt, doubt_words = doubts_of_pulses(found, len(pulses_s), pin, has_losses, settings)
    is_accounted = found.decided_by in ("pins", "jitter", "gaps") and not doubt
    return FoundTimes(
        times_s=found.times_s,
        source="pulses",
        n_found=len(pulses_s),
        n_dropped=n_dropped,
        is_interpolated=found.pulse < 0,
        words=[
            f"times are those of the pulses in {source}",
            *alignment_words(found, "pulses"),
            *doubt_words,
        ],
        numbers=alignment_numbers(found, len(pulses_s)),
        difference=-found.n_outside if is_accounted else found.surplus,
        uncertainty=max(found.uncertainty, doubt),
        pin=pin,
        n_disagreements=n_disagreements,
        bounced_fraction=(edges.n_bounced + found.n_extra) / n_edges,
    )


def _is_evidence(pts_s, pulses_s, info, settings):
    """Whether the video's own times may tell which pulses are its frames'."""
    if info.is_constant_rate or len(pts_s) < 2 or len(pulses_s) < 2:
        return False
    if not (np.diff(pts_s) > 0).all():
        return False
    ratio = interval_of(pts_s) / interval_of(pulses_s)
    return abs(ratio - 1) <= settings["max_rate_difference"]


def _from_pins(camera, info, pts_s, record, pin, settings, name):
    clock_s, clock = _clock_of(info, pts_s, record)
    max_drift = MAX_DRIFT if record.camera_s is not None else settings["max_rate_difference"]
    fit = fit_pins(clock_s, *pin, max_drift=max_drift, name=name, source=camera.gpio_pulses)
    n_dropped, n_disagreements = _losses(clock_s, record)
    has_losses = clock_s is not pts_s
    doubt, doubt_words = doubts_of_line(fit, pin, has_losses, settings)
    return FoundTimes(
        times_s=fit.times_s,
        source="pins",
        n_found=_n_entries(record, len(clock_s)),
        n_dropped=n_dropped,
        is_interpolated=_beyond_record(record, len(clock_s)),
        words=[
            f"times are those of {clock}, on a line through {fit.n_matched} of {fit.n_changes} "
            f"changes of the pin; they may all be early or late by {1e3 * fit.error_s:.2f} ms",
            *doubt_words,
        ],
        uncertainty=doubt,
        numbers={
            "decided_by": "pins",
            "n_matched": fit.n_matched,
            "n_changes": fit.n_changes,
            "clock_drift_ppm": fit.drift_ppm,
            "time_error_ms": 1e3 * fit.error_s,
        },
        pin=pin,
        n_disagreements=n_disagreements,
    )


def _clock_of(info, pts_s, record):
    """The camera's clock, or what stands for it, with its name."""
    if record.camera_s is not None:
        return record.camera_s, "the camera's clock"
    if record.counter is not None and info.is_constant_rate:
        numbers = record.counter - record.counter[0]
        return numbers / info.sampling_rate_hz, "the camera's counter over the rate"
    return pts_s, "the video"


def _losses(clock_s, record):
    """Frames lost before each, and how often counter and clock disagree."""
    by_clock = _lost_by_clock(clock_s)
    if record.counter is None:
        return by_clock, None
    by_counter = _lost_by_counter(record.counter)
    if record.camera_s is None:
        return by_counter, None
    return by_counter, int((by_clock != by_counter).sum())


def _n_entries(record, n_frames):
    return n_frames + record.clock_difference


def _beyond_record(record, n_frames):
    """Frames beyond the end of the camera's clock."""
    return np.arange(n_frames) >= _n_entries(record, n_frames)


def _from_camera(camera, info, pts_s, record, name):
    clock_s, clock = _clock_of(info, pts_s, record)
    if clock_s is pts_s and not (np.isfinite(pts_s).all() and (np.diff(pts_s) > 0).all()):
        raise InputError(
            f"{name}: the times in the video {Path(camera.path).name} do not ascend, and "
            "streams.tsv names no other; expected ttl, frame_times or timestamps. Name one."
        )
    n_dropped, n_disagreements = _losses(clock_s, record)
    return FoundTimes(
        times_s=clock_s - clock_s[0],
        source="video" if clock_s is pts_s else "camera",
        n_found=_n_entries(record, len(clock_s)),
        n_dropped=n_dropped,
        is_interpolated=_beyond_record(record, len(clock_s)),
        words=[
            f"no pulses: times are those of {clock}, from 0 at the first frame, and not on the "
            "session's clock"
        ],
        n_disagreements=n_disagreements,
    )
