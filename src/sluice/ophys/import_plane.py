"""A movie as recorded becomes one flat file with its facts and the times of its frames."""

import logging

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.io.imaging import open_movie
from sluice.ophys.frame_clock import frame_times, list_gaps
from sluice.ophys.frame_measures import find_saturation, join_measures, measure_frames
from sluice.ophys.plane import PlaneInfo, save_plane
from sluice.ophys.storage import (
    INT16,
    STORED_AS_BITS,
    Storage,
    choose_storage,
    shift_unsigned,
    to_stored,
)
from sluice.qc import check, log_checks, save_checks

logger = logging.getLogger(__name__)

# suite2p refuses shorter movies.
MIN_FRAMES = 10
# Of pixels as float64, so that a chunk stays small whatever its type.
CHUNK_BYTES = 64_000_000
# Missing frames that a message lists.
N_LISTED = 10


def import_plane_file(*, plane, movie, info, frames, checks, settings, name="plane"):
    """Write the movie of one plane as flat int16, with its facts and the time of each frame.

    Everything is measured on the pixels as recorded. int16 and 8-bit movies are stored as
    they are, and uint16 too unless it goes beyond 32767: then 32768 less. 32-bit and float
    movies are read twice, first for their range; see `storage.choose_storage`. suite2p halves
    unsigned and 32-bit movies instead, which loses a bit and cuts what is still too large.

    A blank frame (all pixels the same), one that cannot be decoded, and one with pixels that
    are not finite stay in the movie, so that frames and times keep together, and are marked
    as missing.

    Parameters
    ----------
    plane : sluice.session.Plane
    movie : path
        ``movie.bin``, int16, shape (n_frames, height, width); written.
    info : path
        ``plane.json``; written.
    frames : path
        ``frames.pqt``, one row a frame: frame (int64), time_s (float64), mean (float64,
        intensity of the file; NaN if it cannot be read), n_saturated (int64, pixels),
        is_missing (bool); written.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``ophys.import_plane``.
    name : str
        How messages call the plane.

    Raises
    ------
    InputError
        The files cannot be read or are cut short, the movie is shorter than 10 frames or
        shows nothing, or the frame clock is not that of the movie.
    """
    source = open_movie(plane, name=name, drop_incomplete_volume=settings["drop_incomplete_volume"])
    _describe(source)
    if source.n_frames < MIN_FRAMES:
        raise InputError(
            f"{name}: the movie has {source.n_frames} frames; at least {MIN_FRAMES} are needed. "
            "Copy the files again, or leave the plane's row out of streams.tsv."
        )
    # before the movie is read, which takes long
    times_s, clock = _times(source, settings, name)
    storage, error, measures, peak = _convert(source, movie, settings, name)
    level, n_saturated = find_saturation(
        measures,
        source.dtype,
        level=settings["saturation_level"],
        min_saturated_pixels=settings["min_saturated_pixels"],
    )
    for line in _missing_lines(source, measures):
        logger.warning("%s: %s", name, line)
    pd.DataFrame(
        {
            "frame": np.arange(source.n_frames),
            "time_s": times_s,
            "mean": measures.mean,
            "n_saturated": n_saturated.astype(np.int64),
            "is_missing": measures.is_missing,
        }
    ).to_parquet(frames, index=False)
    save_plane(
        PlaneInfo(
            name=name,
            n_frames=source.n_frames,
            height=source.height,
            width=source.width,
            sampling_rate_hz=float(source.sampling_rate_hz),
            um_per_pixel=source.um_per_pixel,
            indicator=source.indicator,
            decay_s=source.decay_s,
            scale=storage.scale,
            offset=storage.offset - settings["dark_level"],
            source_dtype=source.dtype.name,
        ),
        info,
    )
    found = [
        *_movie_checks(source, measures, peak, level, settings),
        check(
            "conversion_error",
            error,
            message=f"stored in steps of {storage.scale:.4g}" if error else "stored without loss",
            **settings["checks"]["conversion_error"],
        ),
        *_clock_checks(source, clock, settings),
        *_header_checks(source, settings),
    ]
    save_checks(found, checks)
    log_checks(found)


def _describe(source):
    """Log what is read."""
    logger.info(
        "%d frames of %d x %d pixels (%s) at %.4f Hz, %s (decay %.3f s)",
        source.n_frames,
        source.height,
        source.width,
        source.dtype.name,
        source.sampling_rate_hz,
        source.indicator or "indicator not named",
        source.decay_s,
    )
    for path, n_frames in source.files:
        logger.info("%s: %d frames", path, n_frames)


def _times(source, settings, name):
    """Time of each frame, by the frame clock or by the rate."""
    late_s = source.phase / source.sampling_rate_hz
    if source.clock is None:
        logger.info(
            "no frame clock: the time of a frame is its number over the rate, and %.6f s for the "
            "place of the plane in its volume",
            late_s,
        )
        return np.arange(source.n_frames) / source.sampling_rate_hz + late_s, None
    times_s, fit = frame_times(
        source.clock, source.n_frames, max_difference=settings["max_clock_difference"], name=name
    )
    logger.info("times are those of %s", source.clock.source)
    if source.clock.phase:
        logger.info(
            "the clock has one time a volume; the plane is recorded %.6f s behind it",
            source.clock.phase / fit.rate_hz,
        )
    if fit.difference > 0:
        logger.warning("%s: the last %d times of the clock are dropped", name, fit.difference)
    elif fit.filled:
        logger.warning(
            "%s: the clock lacks %d times, for which it has gaps; they are filled with times at "
            "equal distances: %s",
            name,
            -fit.difference,
            list_gaps(fit.filled, fit.unit),
        )
    elif fit.difference < 0:
        logger.warning(
            "%s: the clock lacks %d times at the end; they are added at the median interval",
            name,
            -fit.difference,
        )
    return times_s, fit


def _chunks(source):
    """Yield (start, frames) of bounded size."""
    n = max(1, CHUNK_BYTES // (8 * source.height * source.width))
    for start in range(0, source.n_frames, n):
        yield start, source.frames(start, start + n)


def _measure(source, start, frames, settings):
    """Measures of a chunk; frames that could not be decoded are missing, without intensity."""
    measures = measure_frames(frames, saturation_level=settings["saturation_level"])
    bad = [i - start for i in source.unreadable if start <= i < start + len(frames)]
    measures.is_missing[bad] = True
    measures.mean[bad] = np.nan
    return measures


def _convert(source, path, settings, name):
    """Write the movie; return how it is stored, with what error, its measures and its peak.

    The error is a fraction of the standard deviation within a frame. The peak of each pixel is
    over the first `saturation_frames` frames, missing ones left out.
    """
    dtype = source.dtype.name
    pieces, peak = [], None
    storage, error = Storage(), 0.0
    if dtype not in STORED_AS_BITS:
        storage, error = _find_storage(source, settings, name)
    with open(path, "wb") as file:  # noqa: PTH123
        for start, frames in _chunks(source):
            measures = _measure(source, start, frames, settings)
            pieces.append(measures)
            early = frames[: max(0, settings["saturation_frames"] - start)]
            early = early[~measures.is_missing[: len(early)]]
            if len(early):
                high = early.max(axis=0)
                peak = high if peak is None else np.maximum(peak, high)
            stored = frames if dtype == "uint16" else to_stored(frames, storage)
            file.write(np.ascontiguousarray(stored).data)
            logger.info("%d of %d frames", start + len(frames), source.n_frames)
    measures = join_measures(pieces)
    _require_signal(source, measures, name)
    if dtype == "uint16" and np.nanmax(measures.high) > INT16.max:
        storage = shift_unsigned(path)
    return storage, error, measures, peak


def _find_storage(source, settings, name):
    """Read the whole movie for its range and its noise, missing frames left out."""
    pieces, deviations, is_integral = [], [], True
    for start, frames in _chunks(source):
        measures = _measure(source, start, frames, settings)
        pieces.append(measures)
        usable = np.flatnonzero(~measures.is_missing)
        # one frame of a chunk says how much its pixels differ
        deviations += [float(frames[i].std(dtype=np.float64)) for i in usable[:1]]
        if is_integral and frames.dtype.kind == "f":
            is_integral = all((frames[i] == np.rint(frames[i])).all() for i in usable)
    measures = join_measures(pieces)
    _require_signal(source, measures, name)
    usable = ~measures.is_missing
    storage = choose_storage(
        measures.low[usable].min(), measures.high[usable].max(), is_integral=is_integral
    )
    if storage.max_error:
        logger.warning(
            "%s: %s is stored as int16 in steps of %.4g; an intensity is off by %.4g at most",
            name,
            source.dtype.name,
            storage.scale,
            storage.max_error,
        )
    return storage, storage.max_error / float(np.median(deviations))


def _require_signal(source, measures, name):
    if measures.is_missing.all():
        raise InputError(
            f"{name}: the movie has no signal in any of its {source.n_frames} frames: "
            f"{'; '.join(_missing_lines(source, measures))}. Check the shutter, the channel and "
            "the files; if it is useless, leave the plane's row out of streams.tsv."
        )


def _list(frames):
    """Numbers of frames for a message."""
    text = ", ".join(str(i) for i in frames[:N_LISTED])
    return text + (f" and {len(frames) - N_LISTED} more" if len(frames) > N_LISTED else "")


def _missing_lines(source, measures):
    """One line for each way in which frames are missing."""
    unreadable = sorted(source.unreadable)
    missing = np.setdiff1d(np.flatnonzero(measures.is_missing), unreadable)
    is_blank = measures.low[missing] == measures.high[missing]
    lines = []
    if is_blank.any():
        lines.append(f"blank (all pixels the same): frames {_list(missing[is_blank])}")
    if not is_blank.all():
        lines.append(f"pixels that are not finite: frames {_list(missing[~is_blank])}")
    if unreadable:
        first = source.unreadable[unreadable[0]]
        lines.append(f"cannot be decoded: frames {_list(unreadable)} ({first})")
    return lines


def _movie_checks(source, measures, peak, level, settings):
    """Judge the length, missing frames and saturation."""
    thresholds = settings["checks"]
    lines = _missing_lines(source, measures)
    n_saturated = 0 if level is None or peak is None else int((peak >= level).sum())
    n_early = min(settings["saturation_frames"], source.n_frames)
    return [
        check(
            "n_frames",
            source.n_frames,
            unit="frames",
            message=f"{source.n_frames / source.sampling_rate_hz:.1f} s",
            **thresholds["n_frames"],
        ),
        check(
            "missing_frame_fraction",
            float(measures.is_missing.mean()),
            message="; ".join(lines) or "no frame is missing",
            **thresholds["missing_frame_fraction"],
        ),
        check(
            "saturated_pixels",
            n_saturated,
            unit="pixels",
            message="no value is the end of the range"
            if level is None
            else f"at {level:g} or beyond within the first {n_early} frames",
            **thresholds["saturated_pixels"],
        ),
    ]


def _clock_checks(source, clock, settings):
    """Judge the frame clock, where there is one."""
    if clock is None:
        return []
    thresholds = settings["checks"]
    return [
        check(
            "clock_frame_difference",
            abs(clock.difference),
            unit=clock.unit,
            message=f"{clock.n_times} times of the clock, {clock.n_frames} {clock.unit}"
            + (f"; filled: {list_gaps(clock.filled, clock.unit)}" if clock.filled else ""),
            **thresholds["clock_frame_difference"],
        ),
        check(
            "clock_rate_difference",
            abs(clock.rate_hz / source.sampling_rate_hz - 1),
            message=f"{clock.rate_hz:.4f} Hz by the clock, {source.sampling_rate_hz:.4f} Hz stated",
            **thresholds["clock_rate_difference"],
        ),
        check(
            "clock_gap_fraction",
            clock.n_gaps / max(1, source.n_frames - 1),
            message=f"{clock.n_gaps} intervals longer than 1.5 of the median",
            **thresholds["clock_gap_fraction"],
        ),
    ]


def _header_checks(source, settings):
    """Judge how far what a person said, or the pages show, is from what the header says."""
    thresholds, found = settings["checks"], []
    stated = [one for one in source.differences if one.is_difference]
    for one in stated:
        logger.warning("%s: %s", source.name, one)
    for name, is_rate in (("rate_header_difference", True), ("layout_header_differences", False)):
        compared = [one for one in source.differences if one.is_rate == is_rate]
        if not compared:
            continue
        value = compared[0].fraction if is_rate else sum(one.is_difference for one in compared)
        message = "; ".join(str(one) for one in compared if one in stated)
        found.append(
            check(name, value, message=message or "as the file's header says", **thresholds[name])
        )
    return found
