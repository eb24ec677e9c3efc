"""A behaviour video becomes a small one, with every frame accounted for."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.qc import check, log_checks, save_checks
from sluice.video.encode import encode
from sluice.video.frame_counts import decode
from sluice.video.frame_loss import find_damage, verify
from sluice.video.video_info import VideoInfo, save_video_info
from sluice.video.video_source import demuxer_options, find_white_level, read_source

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """What the source's own times tell.

    Attributes
    ----------
    times_s : float64 array, shape (n_frames,)
        The first is 0.
    rate_hz : float or None
        Frames a second; None where the times do not tell.
    varying_fraction, disordered_fraction : float
        Intervals that differ from the median; frames that are not later than the one before.
    """

    times_s: np.ndarray
    rate_hz: float | None
    varying_fraction: float
    disordered_fraction: float


def compress_video_file(
    *, camera, video, info, pts, checks, settings, device="cpu", threads=1, name="camera"
):
    """Compress the video of a camera to H.264 in MP4, and prove that every frame is in it.

    Three counts are compared: frames that the decoder gave to the encoder, packets that the
    source holds, and frames that are decoded from the finished file; what the source's header
    claims is noted beside them. Decoders hide damage: where there is any sign of it, the source
    is decoded once more by a decoder that refuses every frame with an error, and the frames
    that are missing then are the damaged ones. Any error beyond that, of the reader of the file
    or of the decoder, means that the file is not whole, though not which frames it is about.
    Where a header counts no frames (Matroska, FLV, ASF) but says how long they last, its
    duration is compared with their times. What no count, duration, length, checksum or error
    tells is not found: damage to MJPEG or raw video that leaves valid code; and the end of a
    stream without a header (MPEG, H.264, MJPEG alone) that is cut between two frames, or of an
    MP4 in fragments that is cut between two of them.

    Times: a frame keeps its time in the source, to less than a millisecond (proved as well).
    A frame whose time is not later than that of the frame before cannot be stored with it; in
    the compressed video it is one tick of the source's clock later, and `pts` has the source's
    time. A frame without any time gets the one that ffmpeg derives from its neighbours.

    Pixels: yuv420p, in the range of levels that the source has (`levels`), marked in the
    file; colours by BT.601, which OpenCV takes for granted. A video of more than 8 bits is
    stretched so that `white_level` becomes 255. An odd width or height gets its last column or
    row twice, at the right or the bottom, so that coordinates stay. Interlaced frames stay as
    they are; a rotation that the file asks of players is neither done nor passed on, so that
    every reader sees the pixels where the camera had them.

    The same source and settings give the same bytes, whatever the job's threads (not on a GPU).
    The source is opened for reading alone.

    Parameters
    ----------
    camera : sluice.session.Camera
    video : path
        ``_sluice_leftCamera.raw.mp4``; written.
    info : path
        ``video.json``, see `VideoInfo`; written. Its `source` also has n_damaged, n_lost,
        n_empty, n_errors (see `Damage`), rotation_deg, white_level (None where levels are as they
        were), rate_hz (of the header).
    pts : path
        ``frame_pts.npy``, float64, shape (n_frames,), s: the source's own times, the first
        is 0; written. Ascending, unless a check says that they are not.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``video.compress_video``.
    device : str
        ``cuda`` or ``cpu``.
    threads : int
        Of ffmpeg's decoder and filters; those of x264 are a setting.
    name : str
        How messages call the camera.

    Raises
    ------
    InputError
        No video, no frames, frames of several sizes; or, unless `allow_damage`, frames that
        are cut off, lost or damaged.
    UserError
        The GPU of the job cannot encode.
    """
    source = read_source(camera.path, name=name)
    _describe(source, name)
    white_level = _white_level(source, settings, threads, name)
    with tempfile.TemporaryDirectory() as folder:
        if source.container.cut_short and not settings["allow_damage"]:
            _count_first(source, folder, settings, threads, name)
        encoded = encode(
            source,
            video,
            folder,
            settings=settings,
            device=device,
            threads=threads,
            white_level=white_level,
            name=name,
        )
        decoded = encoded.decoded
        damage = find_damage(source, decoded, folder, threads=threads, name=name)
        _require_whole(source, decoded, damage, settings, name)
        verify(video, decoded.frames, folder, threads=threads, name=name)
    timing = measure_timing(
        decoded.frames.times_s,
        tick_s=decoded.frames.tick_s,
        max_difference=settings["max_interval_difference"],
    )
    made = _make_info(
        camera, source, encoded, damage, timing, video, settings, white_level=white_level, name=name
    )
    save_video_info(made, info)
    np.save(pts, timing.times_s)
    found = _checks(camera, source, made, damage, timing, decoded, settings)
    save_checks(found, checks)
    log_checks(found)


def _describe(source, name):
    """Log what is read."""
    logger.info(
        "%s: %s, %s, %d x %d px, %s, %d bytes, %s frames by its header",
        name,
        source.path,
        source.codec,
        source.width,
        source.height,
        source.pixel_format,
        source.size_bytes,
        "unknown" if source.container.n_frames is None else source.container.n_frames,
    )
    if source.n_video_streams > 1:
        logger.warning("%s: the first of %d videos is used", name, source.n_video_streams)
    if source.rotation_deg:
        logger.warning(
            "%s: the file asks players to turn it by %g degrees; it is not turned",
            name,
            source.rotation_deg,
        )
    if source.width % 2 or source.height % 2:
        logger.info(
            "%s: the last column or row is stored twice, as sizes must be even; coordinates stay",
            name,
        )


def _white_level(source, settings, threads, name):
    """Level that becomes white, where levels are to be stretched; else None."""
    is_deep = 8 < source.depth <= 16 and (source.n_components <= 2 or source.is_rgb)
    top = (1 << source.depth) - 1
    if not is_deep:
        if settings["white_level"]:
            logger.info("%s: white_level is for grey or RGB of 9 to 16 bits; not used", name)
        return None
    level = settings["white_level"]
    if level is None and source.depth == 16:
        level, highest = find_white_level(source, threads=threads, name=name)
        logger.info("%s: 16 bits; the brightest pixel is %d, white is %d", name, highest, level)
    level = level or top
    if level > top:
        raise InputError(
            f"{name}: video.compress_video.white_level is {level}, but {source.path} has "
            f"{source.depth} bits ({source.pixel_format}); expected at most {top}."
        )
    return level


def _count_first(source, folder, settings, threads, name):
    """Refuse a file that is cut short before hours go into its compression."""
    logger.info("%s: cut short: %s; its frames are counted", name, source.container.cut_short)
    decoded = decode(
        source.path,
        folder,
        threads=threads,
        name=f"{name}: counting {source.path.name}",
        count_packets=True,
        input_options=demuxer_options(source) | {"max_error_rate": 1},
        n_frames=source.expected_frames,
    )
    damage = find_damage(source, decoded, folder, threads=threads, name=name)
    _require_whole(source, decoded, damage, settings, name)


def _require_whole(source, decoded, damage, settings, name):
    """Refuse damage that is not allowed, and a file without a frame."""
    if not len(decoded.frames):
        raise InputError(
            f"{name}: no frame of {source.path} can be decoded; {decoded.packets.n} are in the "
            "file. Copy it again; if nothing was recorded, leave the row out of the table of "
            "streams."
        )
    if not damage.text:
        return
    if not settings["allow_damage"]:
        raise InputError(
            f"{name}: {source.path} is not whole: {damage.text}; expected every frame. Copy it "
            "again; if this is all there is, set video.compress_video.allow_damage: true, and "
            "the frames that can be decoded are kept."
        )
    logger.warning("%s: %s is not whole, which is allowed: %s", name, source.path, damage.text)


def measure_timing(times_s, *, tick_s, max_difference):
    """Find the frame rate and how even the frames are, by their own times.

    The rate of evenly spaced frames is that of all of them, ``(n - 1) / (last - first)``, as
    ticks of a millisecond would spoil a single interval; else it is 1 / median interval.

    Parameters
    ----------
    times_s : float64 array, shape (n_frames,)
    tick_s : float
        Length of a tick of the clock.
    max_difference : float
        See `max_interval_difference` of the settings.

    Returns
    -------
    Timing
    """
    times_s = times_s - times_s[:1]
    intervals = np.diff(times_s)
    if not len(intervals):
        return Timing(times_s, None, 0.0, 0.0)
    median = float(np.median(intervals))
    # ticks are no binary fractions
    allowed = max_difference * median + 1.001 * tick_s
    varying = float((np.abs(intervals - median) > allowed).mean())
    disordered = float((intervals <= 0).mean())
    if median <= 0:
        return Timing(times_s, None, varying, disordered)
    rate_hz = 1 / median if varying else len(intervals) / float(times_s[-1])
    return Timing(times_s, rate_hz, varying, disordered)


def _make_info(camera, source, encoded, damage, timing, video, settings, *, white_level, name):
    """Collect the facts of the compressed video."""
    rate_hz = camera.sampling_rate_hz or timing.rate_hz or source.rate_hz
    n_frames = len(encoded.decoded.frames)
    if not rate_hz:
        raise InputError(
            f"{name}: the frame rate of {source.path} is not known: its times do not ascend, and "
            "its header has none. Give sampling_rate_hz in the table of streams."
        )
    is_padded = settings["pixel_format"] == "yuv420p"
    return VideoInfo(
        name=name,
        n_frames=n_frames,
        height=source.height + (source.height % 2) * is_padded,
        width=source.width + (source.width % 2) * is_padded,
        sampling_rate_hz=float(rate_hz),
        duration_s=n_frames / float(rate_hz),
        is_constant_rate=timing.varying_fraction == 0,
        source={
            "codec": source.codec,
            "pixel_format": source.pixel_format,
            "height": source.height,
            "width": source.width,
            "n_frames_header": source.container.n_frames,
            "n_packets": encoded.decoded.packets.n,
            "n_decoded": n_frames,
            "n_lost": damage.n_lost,
            "n_damaged": damage.n_damaged,
            "n_empty": damage.n_empty,
            "n_errors": damage.n_errors,
            "duration_s": source.duration_s,
            "rate_hz": source.rate_hz,
            "rotation_deg": source.rotation_deg,
            "white_level": white_level,
            "size_bytes": source.size_bytes,
            "has_audio": bool(source.audio),
        },
        size_bytes=Path(video).stat().st_size,
        encoder=encoded.encoder,
    )


def _checks(camera, source, info, damage, timing, decoded, settings):
    """Judge what was found."""
    thresholds = settings["checks"]
    header = source.container.n_frames

    def judge(key, value, message, unit=""):
        return check(key, value, unit=unit, message=message, **thresholds[key])

    found = [
        judge("video_lost_frames", damage.n_lost, damage.text or "none is lost", "frames"),
        judge("video_damaged_frames", damage.n_damaged, damage.text or "none", "frames"),
        judge("video_reading_errors", damage.n_errors, damage.text or "none"),
        judge(
            "video_size_ratio",
            source.size_bytes / info.size_bytes,
            f"{source.size_bytes} bytes became {info.size_bytes}",
        ),
        judge(
            "video_varying_interval_fraction",
            timing.varying_fraction,
            "frames are equally spaced" if info.is_constant_rate else "the frame rate varies",
        ),
        judge(
            "video_disordered_time_fraction",
            timing.disordered_fraction,
            f"{decoded.frames.n_without_time} frames have no time of their own",
        ),
    ]
    if header is not None:
        found.append(
            judge(
                "video_header_frame_difference",
                abs(header - info.n_frames),
                f"{header} frames in the header, {info.n_frames} found"
                + (f"; {damage.n_empty} were never recorded" if damage.n_empty else ""),
                "frames",
            )
        )
    if camera.sampling_rate_hz and timing.rate_hz:
        found.append(
            judge(
                "video_rate_difference",
                abs(timing.rate_hz / camera.sampling_rate_hz - 1),
                f"{camera.sampling_rate_hz:.4f} Hz in the table of streams, which is used, "
                f"{timing.rate_hz:.4f} Hz by the video",
            )
        )
    return found
