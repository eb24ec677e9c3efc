"""The time of every frame of a camera on the session's clock."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.io.pulses import require_ascending
from sluice.qc import check, log_checks, save_checks
from sluice.video.exposures import interval_of
from sluice.video.time_sources import find_times, load_record

logger = logging.getLogger(__name__)

MIN_FRAMES = 2
# An interval longer than this many median ones is a gap.
GAP = 1.5


def camera_times_file(*, camera, info, pts, times, frames, summary, checks, settings, name):
    """Give each frame of a video its time, and say which frames the camera lost.

    Parameters
    ----------
    camera : sluice.session.Camera
        Names the files that are read; see `sluice.video.time_sources.find_times`.
    info : sluice.video.video_info.VideoInfo
    pts : path
        ``frame_pts.npy``: presentation times of the source (s), float64 (n_frames,); read.
    times : path
        ``_ibl_leftCamera.times.npy``: seconds on the session's clock, float64 (n_frames,),
        finite and strictly ascending; written.
    frames : path
        ``frames.pqt``, one row a frame: frame (int64), time_s (float64), counter (Int64, as the
        camera counted, on beyond 2^32; missing where it did not), n_dropped_before (int64,
        frames that the camera lost just before this one), is_interpolated (bool, no time of its
        own); written.
    summary : path
        ``times.json``: source, is_session_clock, n_times, n_frames, what was done in words
        (done), and numbers, such as rate_hz, n_gaps, uncertainty_frames and, where a pin is
        compared with its pulses, pin_pulses (n_seen, n_sent); written.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``video.camera_times``.
    name : str
        How messages call the camera.

    Raises
    ------
    InputError
        A file that the row names cannot be used, or does not belong to the video.
    """
    pts_s = _load_pts(pts, info, name)
    record = load_record(camera, info, settings=settings, name=name)
    found = find_times(camera, info, pts_s, record, settings=settings, name=name)
    # what was measured ascends already; what was put between may not
    require_ascending(found.times_s, f"the times found ({found.source})", name, what="frame")
    np.save(times, np.asarray(found.times_s, np.float64))
    _table(found, record).to_parquet(frames, index=False)
    facts = _summary(found, record, info)
    Path(summary).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    judged = _checks(found, facts, record, info, settings)
    save_checks(judged, checks)
    is_warning = not found.is_session_clock or found.uncertainty or found.is_interpolated.any()
    for line in facts["done"]:
        logger.log(logging.WARNING if is_warning else logging.INFO, "%s: %s", name, line)
    log_checks(judged)


def _load_pts(pts, info, name):
    if info.n_frames < MIN_FRAMES:
        raise InputError(
            f"{name}: the video has {info.n_frames} frame; expected at least {MIN_FRAMES}. Leave "
            "the camera's row out of streams.tsv."
        )
    pts_s = np.load(pts)
    if pts_s.shape != (info.n_frames,):
        raise InputError(
            f"{name}: {pts} has the shape {pts_s.shape}; expected ({info.n_frames},). It was made "
            f"from another video: delete the folder {Path(pts).parent} and run again."
        )
    return pts_s


def _table(found, record):
    """One row a frame."""
    n_frames = len(found.times_s)
    counter = pd.array([pd.NA] * n_frames, dtype="Int64")
    if record.counter is not None:
        counter = pd.array(record.counter, dtype="Int64")
        counter[record.n_counted :] = pd.NA
    return pd.DataFrame(
        {
            "frame": np.arange(n_frames, dtype=np.int64),
            "time_s": found.times_s,
            "counter": counter,
            "n_dropped_before": found.n_dropped.astype(np.int64),
            "is_interpolated": found.is_interpolated,
        }
    )


def _summary(found, record, info):
    """What the checks and the report say of the times."""
    intervals = np.diff(found.times_s)
    period_s = interval_of(found.times_s)
    plain = intervals[intervals < GAP * period_s]
    done = [line for line in found.words if line]
    n_dropped = int(found.n_dropped.sum())
    if n_dropped:
        places = np.count_nonzero(found.n_dropped)
        done.append(f"the camera lost {n_dropped} frames in {places} places")
    for column, difference in record.differences.items():
        if difference:
            more = "more" if difference > 0 else "fewer"
            done.append(
                f"{column} has {abs(difference)} entries {more} than the video frames; the end is "
                + ("left out" if difference > 0 else "continued")
            )
    return {
        "source": found.source,
        "is_session_clock": found.is_session_clock,
        "n_times": found.n_found,
        "n_frames": info.n_frames,
        "done": done,
        "rate_hz": 1 / period_s,
        "jitter_fraction": float(plain.std() / period_s) if plain.size else None,
        "n_gaps": int(np.count_nonzero(intervals > GAP * period_s)),
        "n_dropped": n_dropped,
        "n_interpolated": int(found.is_interpolated.sum()),
        "uncertainty_frames": found.uncertainty,
        **({} if found.pin is None else {"pin_pulses": found.pin_pulses}),
        **found.numbers,
    }


def _checks(found, facts, record, info, settings):
    """Judge the times."""
    n_frames, n_dropped = info.n_frames, facts["n_dropped"]
    rows = [
        (
            "camera_clock_source",
            float(found.is_session_clock),
            f"source: {found.source}"
            + ("" if found.is_session_clock else "; not on the session's clock"),
        ),
        (
            "camera_frame_difference",
            abs(found.difference),
            f"{found.n_found} times found, {n_frames} frames, {n_dropped} lost by the camera",
        ),
        (
            "camera_alignment_uncertainty",
            found.uncertainty,
            f"decided by: {facts.get('decided_by', found.source)}",
        ),
        (
            "camera_dropped_fraction",
            n_dropped / (n_frames + n_dropped),
            f"{n_dropped} frames lost in {np.count_nonzero(found.n_dropped)} places",
        ),
        (
            "camera_rate_difference",
            abs(facts["rate_hz"] / info.sampling_rate_hz - 1),
            f"{facts['rate_hz']:.4f} Hz by the times, {info.sampling_rate_hz:.4f} Hz of the video",
        ),
        (
            "camera_time_jitter",
            facts["jitter_fraction"],
            "standard deviation of the intervals over the median one",
        ),
        (
            "camera_interpolated_fraction",
            facts["n_interpolated"] / n_frames,
            f"{facts['n_interpolated']} frames have no time of their own",
        ),
    ]
    if found.bounced_fraction is not None:
        message = "edges that follow another at once"
        rows.append(("camera_bounced_fraction", found.bounced_fraction, message))
    if record.differences:
        worst = max(record.differences.values(), key=abs)
        message = ", ".join(f"{column}: {n:+d}" for column, n in record.differences.items())
        rows.append(("camera_record_difference", abs(worst), message))
    if found.n_disagreements is not None:
        message = f"at {found.n_disagreements} of {n_frames} frames"
        rows.append(("camera_counter_disagreement", found.n_disagreements, message))
    units = {"camera_frame_difference": "frames", "camera_alignment_uncertainty": "frames"}
    return [
        check(key, value, unit=units.get(key, ""), message=message, **settings["checks"][key])
        for key, value, message in rows
    ]
