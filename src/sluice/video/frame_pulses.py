"""Which pulse belongs to which frame of a video."""

from dataclasses import replace

import numpy as np

from sluice.errors import InputError
from sluice.video.exposures import drop_extra, interval_of, pulse_numbers, without_delays
from sluice.video.pulse_assignment import assign, best_reading, most_exposures, readings_of
from sluice.video.pulse_rate import rate_ratio_hint
from sluice.video.pulse_shift import Frames, Pulses

# An interval longer than this many is a gap.
GAP = 1.5


def align_frames(
    pulses_s,
    n_frames,
    *,
    counter=None,
    camera_s=None,
    is_own_clock=True,
    pin=None,
    settings,
    name,
    source,
    what="pulses",
):
    """Give each frame of a video its pulse.

    As many pulses as frames, with intervals that agree with those of the camera, are taken one
    by one. Else pulses and frames are numbered by exposures. Frames lost by the camera are
    jumps of its counter, or gaps of its clock, and have pulses; pulses lost by the DAQ are gaps
    between pulses. Which pulse is the first frame's is told, in this order, by the pins, by the
    jitter that the intervals of both clocks have in common, by gaps that both have, or by the
    numbers alone: with as many pulses as exposures nothing is open; with up to
    ``max_frame_difference`` more the setting ``extra_pulses`` decides. IBL drops the first
    pulses in every such case, the AllenSDK the last.

    Parameters
    ----------
    pulses_s : float64 array, shape (n_pulses,)
        Ascending.
    n_frames : int
    counter : int64 array, shape (n_frames,), optional
    camera_s : float64 array, shape (n_frames,), optional
    is_own_clock : bool
        Whether `camera_s` is the camera's own clock, which must agree with the pulses; times of
        the video's file, which anything may have written, need not.
    pin : tuple of (bool array of shape (n_frames,), sluice.io.pulses.Edges), optional
        State of a pin and what it saw.
    settings : dict
        ``video.camera_times``.
    name, source, what : str
        For messages: the camera, where the pulses come from, and what they are called.

    Returns
    -------
    Alignment

    Raises
    ------
    InputError
        Pulses and frames do not belong together.
    """
    if len(pulses_s) < 2 or n_frames < 2:
        raise InputError(
            f"{name}: {source} has {len(pulses_s)} {what} and the video {n_frames} frames; two of "
            "each are needed. Check that the line is that of this camera."
        )
    period_s = interval_of(pulses_s)
    is_kept = drop_extra(pulses_s, period_s)
    kept_s, index = pulses_s[is_kept], np.flatnonzero(is_kept)
    period_s = interval_of(kept_s)
    slope, steady_s = 1.0, None
    if camera_s is not None:
        slope = _slope(camera_s, counter, kept_s, settings, name, source)
        # an interval of the pulses, on the camera's clock
        steady_s = without_delays(camera_s, interval_of(camera_s))
    clock_s = None if steady_s is None else slope * steady_s
    _require_near(kept_s, n_frames, period_s, clock_s, name, source, what)
    found = _one_by_one(kept_s, n_frames, period_s, counter, clock_s, pin, settings)
    if found is None:
        readings = list(
            readings_of(
                kept_s,
                n_frames,
                period_s,
                counter,
                clock_s,
                is_own_clock=is_own_clock,
                max_lost=settings["max_frame_difference"],
            )
        )
        found = best_reading(readings, pin, settings)
        if found is None:
            _refuse(*readings[0], pin, settings, name, source, what)
        has_record = counter is not None or (camera_s is not None and is_own_clock)
        _require_pulses(found, has_record, settings, name, source, what)
    is_known = found.pulse >= 0
    pulse = np.where(is_known, index[found.pulse], -1)
    found = replace(found, pulse=pulse, n_extra=int(len(pulses_s) - len(kept_s)))
    if steady_s is None or not is_own_clock:
        return found
    return _compare_clock(found, steady_s[is_known], slope)


def _compare_clock(found, steady_s, slope):
    """Add how the camera's clock runs against the pulses, and doubt pulses that it contradicts."""
    known_s = found.times_s[found.pulse >= 0]
    apart_s = np.abs(np.diff(known_s) - slope * np.diff(steady_s))
    n_apart = int(np.rint(apart_s.max() / found.period_s)) if len(apart_s) else 0
    # better than by the intervals: over the whole length
    slope = float(np.polyfit(steady_s - steady_s[0], known_s, 1)[0])
    steps_s = np.diff(known_s) - slope * np.diff(steady_s)
    return replace(
        found,
        drift_ppm=(1 / slope - 1) * 1e6,
        residual_s=float(np.std(steps_s) / np.sqrt(2)),
        n_apart=n_apart,
        uncertainty=max(found.uncertainty, n_apart),
    )


def _slope(camera_s, counter, pulses_s, settings, name, source):
    """Seconds of the pulses in one of the camera's clock; refuses clocks of other rates."""
    camera_period_s, period_s = interval_of(camera_s), interval_of(pulses_s)
    # a camera may keep every second exposure, which its counter shows
    whole = 1.0 if counter is None else float(np.median(np.diff(counter)))
    ratio = camera_period_s / period_s
    if abs(ratio / whole - 1) > settings["max_rate_difference"]:
        raise InputError(
            f"{name}: the camera's clock has one frame every {camera_period_s:.6g} s and {source} "
            f"one pulse every {period_s:.6g} s."
            + (rate_ratio_hint(ratio) or rate_ratio_hint(1 / ratio))
            + " Expected the same rate (video.camera_times.max_rate_difference is "
            f"{settings['max_rate_difference']:g}), both in seconds."
            + _count_hint(len(pulses_s), len(camera_s))
            + " Check that both are of this camera."
        )
    return whole / ratio


def _count_hint(n_pulses, n_frames):
    """What a ratio of pulses to frames looks like, as a sentence; empty if like nothing known."""
    if 0.9 < n_pulses / (2 * n_frames) < 1.1:
        return " Two for each frame: if each exposure has two edges, name one kind in ttl_edge."
    if 0.9 < 2 * n_pulses / n_frames < 1.1:
        return " One for every two frames: if both edges are exposures, set ttl_edge to both."
    return ""


def _require_near(pulses_s, n_frames, period_s, clock_s, name, source, what):
    """Refuse a pulse so far from the others that no camera has exposed all the time between."""
    n_most = most_exposures(n_frames)
    steps_s = np.diff(pulses_s)
    if steps_s.sum() / period_s <= n_most:
        return
    # the camera's clock may know of such a break
    if clock_s is not None and np.ptp(clock_s) / period_s > n_most:
        return
    gap = int(np.argmax(steps_s))
    # the few on one side of the gap are the odd ones
    odd = gap + 1 if gap + 1 >= len(pulses_s) / 2 else gap
    raise InputError(
        f"{name}: {source}: of the {len(pulses_s)} {what} number {odd} (from 0) is at "
        f"{pulses_s[odd]:.6g} s, {steps_s[gap]:.6g} s from its neighbour, where the video has a "
        f"frame every {period_s:.6g} s; expected at most {n_most} intervals in all. It is no pulse "
        "of this video, or a break of that length: leave out what is not of the video."
    )


def _one_by_one(pulses_s, n_frames, period_s, counter, clock_s, pin, settings):
    """One pulse a frame, where they are as many and nothing speaks against it; else None."""
    if len(pulses_s) != n_frames:
        return None
    steps = np.diff(pulses_s)
    if clock_s is not None and (np.abs(steps - np.diff(clock_s)) >= period_s / 2).any():
        return None
    # a camera may give a pulse for saved frames alone: then gaps are where the counter jumps
    if clock_s is None and counter is not None:
        lost = np.diff(counter) > 1
        if (steps[lost] <= GAP * period_s).any():
            return None
    numbers = pulse_numbers(pulses_s, period_s)
    if numbers[-1] > most_exposures(n_frames):
        # a break of which the clock knows: of one interval, for frames and pulses alike
        limit = settings["max_frame_difference"]
        numbers = pulse_numbers(pulses_s, period_s, max_lost=limit)
    frames = Frames(numbers, clock_s, is_borrowed=True)
    found = assign(frames, Pulses(pulses_s, numbers, period_s), pin, settings)
    if found is None or found.shift != 0:
        return None
    if found.decided_by == "number" and clock_s is None:
        # short gaps of whole intervals where the counter, if any, goes on may be lost pulses,
        # for which there are as many elsewhere
        limit = settings["max_frame_difference"]
        gaps = np.diff(pulse_numbers(pulses_s, period_s, only_whole=True, max_lost=limit)) - 1
        n_open = int(gaps.sum() if counter is None else gaps[np.diff(counter) == 1].sum())
        found = replace(found, uncertainty=min(n_open, limit))
    return found


def _require_pulses(found, has_record, settings, name, source, what):
    """Refuse pulses that too many of the frames do not have."""
    n_frames, n_most = len(found.pulse), settings["max_frame_difference"]
    limit = f"{n_most} (video.camera_times.max_frame_difference)"
    # what the camera itself says of lost pulses may be believed further
    if has_record:
        share = settings["max_interpolated_fraction"]
        limit += f", or {share:g} of the frames (max_interpolated_fraction)"
        n_most = max(n_most, share * n_frames)
    # no more than is measured
    if found.n_without > min(n_most, n_frames / 2):
        raise InputError(
            f"{name}: {found.n_without} of the {n_frames} frames have none of the {what} in "
            f"{source}; expected at most {limit}. Check that the line, the counter and the "
            "timestamps are all of this camera."
        )


def _refuse(frames, pulses, pin, settings, name, source, what):
    """Say by how many pulses and frames differ, and what that looks like."""
    limit = settings["max_frame_difference"]
    n_frames, n_pulses = len(frames.numbers), len(pulses.numbers)
    n_lost = int(frames.numbers[-1]) + 1 - n_frames
    n_gaps = int(pulses.numbers[-1]) + 1 - n_pulses
    details = [
        text
        for is_true, text in (
            (n_lost, f"the camera lost {n_lost} more"),
            (n_gaps, f"{n_gaps} {what} are missing in gaps"),
            (pin is not None, "the pins do not say where the video begins"),
        )
        if is_true
    ]
    raise InputError(
        f"{name}: {source} has {n_pulses} {what} and the video {n_frames} frames"
        + (f" ({'; '.join(details)})" if details else "")
        + f"; they may differ by {limit} (video.camera_times.max_frame_difference), unless pins "
        "or the camera's clock show which belong together."
        + _count_hint(n_pulses, n_frames)
        + " Check that the line is that of this camera and that the video was not cut short; or "
        "give timestamps, frame_counter or gpio in streams.tsv."
    )
