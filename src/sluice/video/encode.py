"""How ffmpeg is called to compress a video without losing a frame or its time."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from sluice.errors import InputError, UserError
from sluice.video.ffmpeg import TROUBLE, attempt, failure, ffmpeg_version, file_url, require_version
from sluice.video.frame_counts import (
    FRAME_FORMAT,
    Decoded,
    packet_output,
    read_frame_log,
    read_packet_log,
)
from sluice.video.video_source import demuxer_options

logger = logging.getLogger(__name__)

# Sound that MP4 can hold as it is.
IN_MP4 = ("aac", "ac3", "alac", "eac3", "flac", "mp3", "opus")
# What FLAC holds: 24 bits, and as many samples a second as fit into its blocks of 65535 samples
# and 105 ms of ffmpeg's encoder.
MAX_FLAC_HZ = 600_000
ROUNDED = re.compile(r"pcm_(f|[su](32|64))")
RESIZED = re.compile(r"Reconfiguring filter graph because video parameters.* (\d+)x(\d+)")
# A frame whose time is not later than that of the frame before is put one tick behind it.
ASCENDING = "setpts='if(isnan(PREV_OUTPTS),PTS,max(PTS,PREV_OUTPTS+1))'"
# The last column and row once more: both sizes must be even where colour has half of them.
PAD = "pad=w=ceil(iw/2)*2:h=ceil(ih/2)*2,fillborders=right={right}:bottom={bottom}:mode=smear"


@dataclass(frozen=True)
class Encoded:
    """What came of a compression.

    Attributes
    ----------
    decoded : Decoded
        Frames of the source that were given to the encoder, and its packets.
    encoder : str
        Version of ffmpeg and how the encoder was called.
    """

    decoded: Decoded
    encoder: str


def encoder_options(settings, *, device):
    """Options of the encoder.

    Parameters
    ----------
    settings : dict
        ``video.compress_video``.
    device : str
        ``cuda`` or ``cpu``.

    Returns
    -------
    dict
        By ffmpeg's names.
    """
    shared = {"g": settings["keyframe_interval"], "pix_fmt": settings["pixel_format"]}
    if settings["hardware"] and device == "cuda":
        # without a bit rate, 'cq' alone decides
        quality = {"rc": "vbr", "cq": settings["crf"], "b:v": 0}
        return {"c:v": "h264_nvenc", "preset": settings["hardware_preset"], **quality, **shared}
    return {
        "c:v": "libx264",
        "preset": settings["preset"],
        "crf": settings["crf"],
        # not those of the job, as x264's pixels depend on them
        "threads:v": settings["encoder_threads"],
        **shared,
    }


def video_filter(source, settings, *, white_level):
    """Filters between decoder and encoder.

    Levels are stretched to 8 bits, from 0 to the white level; colours follow BT.601, which
    OpenCV takes for granted; an odd width or height gets its last column or row once more, to
    the right and at the bottom, so that coordinates stay.

    Parameters
    ----------
    source : sluice.video.video_source.VideoSource
    settings : dict
        ``video.compress_video``.
    white_level : int or None
        Of a video of more than 8 bits, grey or RGB.

    Returns
    -------
    str
        For ``-vf``.
    """
    chain = []
    if white_level is not None:
        top = (1 << source.depth) - 1
        if source.n_components <= 2:
            chain.append(f"lut=y='clip(val*{top}/{white_level},0,{top})'")
        else:
            whites = ":".join(f"{c}imax={white_level / top!r}" for c in "rgb")
            chain.append(f"colorlevels={whites}")
    wanted = settings["pixel_format"]
    levels = settings["levels"]
    if levels == "source":
        levels = "full" if source.is_full_range else "limited"
    chain.append(f"scale=out_range={levels}:out_color_matrix=bt601:sws_dither=none")
    right, bottom = source.width % 2, source.height % 2
    if wanted == "yuv420p" and (right or bottom):
        # before colour is thinned out, so that its last column is not grey
        chain += ["format=yuv444p", PAD.format(right=right, bottom=bottom), "scale"]
    return ",".join([*chain, f"format={wanted}", ASCENDING])


def audio_options(source, settings, name):
    """Options of the sound, by ffmpeg's names; none where there is none or it is dropped.

    Sound is copied where MP4 can hold it. Samples as such (PCM) become FLAC, which loses nothing
    of 24 bits and has the highest rates of microphones for ultrasound; else AAC, which ends at
    48 kHz (96,000 samples a second).
    """
    if not source.audio or settings["audio"] == "drop":
        if source.audio:
            logger.info("%s: sound (%s) is left out", name, ", ".join(source.audio))
        return {}
    options = {"flags:a": "+bitexact"}
    for i, (codec, rate_hz) in enumerate(zip(source.audio, source.audio_rates_hz, strict=True)):
        if codec in IN_MP4:
            options[f"c:a:{i}"] = "copy"
            logger.info("%s: sound (%s) is copied", name, codec)
        elif codec.startswith("pcm_") and rate_hz <= MAX_FLAC_HZ:
            options[f"c:a:{i}"] = "flac"
            if ROUNDED.match(codec):
                logger.warning("%s: sound (%s) is stored as FLAC, rounded to 24 bits", name, codec)
            else:
                logger.info("%s: sound (%s) is stored as FLAC, without loss", name, codec)
        else:
            options[f"c:a:{i}"] = "aac"
            logger.warning(
                "%s: sound (%s, %d Hz) is stored as AAC, with a loss: it ends at 48 kHz; keep the "
                "original if sound matters",
                name,
                codec,
                rate_hz,
            )
    return options


def encode(source, video, folder, *, settings, device, threads, white_level, name):
    """Compress a video.

    Frames go from the decoder to the encoder one by one (``-fps_mode passthrough``) with the
    times of the source, in its own ticks (``-enc_time_base demux``). Nothing in the file tells
    when or on what machine it was made.

    Parameters
    ----------
    source : sluice.video.video_source.VideoSource
    video : path
        Is written, MP4.
    folder : path
        For temporary files.
    settings : dict
        ``video.compress_video``.
    device, threads
        Of the job.
    white_level : int or None
        See `video_filter`.
    name : str

    Returns
    -------
    Encoded

    Raises
    ------
    InputError
        No frame can be decoded, or frames change their size.
    UserError
        The GPU cannot encode.
    FfmpegError
        ffmpeg failed for another reason.
    """
    import ffmpeg

    version = ffmpeg_version()
    require_version(version)
    options = encoder_options(settings, device=device)
    if settings["hardware"] and device != "cuda":
        logger.info("%s: hardware is set, but the job has no GPU; libx264 encodes", name)
    sound = audio_options(source, settings, name)
    filters = video_filter(source, settings, white_level=white_level)
    frame_log, packet_log = Path(folder) / "frames.txt", Path(folder) / "packets.txt"
    given = ffmpeg.input(
        file_url(source.path),
        threads=threads,
        # a rotation that the file asks for is neither done nor passed on
        noautorotate=None,
        display_rotation=0,
        max_error_rate=1,  # damage is judged afterwards, with its numbers
        **demuxer_options(source),
    )
    streams = [given["V:0"], *([given[f"a:{i}"] for i in range(len(source.audio))] * bool(sound))]
    compressed = ffmpeg.output(
        *streams,
        file_url(video),
        format="mp4",
        **options,
        **sound,
        vf=filters,
        filter_threads=threads,
        fps_mode="passthrough",
        enc_time_base="demux",
        movflags="+faststart",
        fflags="+bitexact",
        map_metadata=-1,
        map_chapters=-1,
        # a track of sound far ahead of the frames must not end the run
        max_muxing_queue_size=1_000_000,
        **{"flags:v": "+bitexact"},
        **{"stats_enc_pre:v": str(frame_log), "stats_enc_pre_fmt:v": FRAME_FORMAT},
    )
    is_done, lines = attempt(
        compressed,
        packet_output(given["V:0"], packet_log),
        name=f"{name}: compressing {source.path.name}",
        n_frames=source.expected_frames,
    )
    if not is_done:
        has_frames = frame_log.is_file() and frame_log.stat().st_size > 0
        raise _explain(source, options, has_frames, lines, name)
    _require_one_size(source, lines, name)
    frames = read_frame_log(frame_log)
    trouble = [line for line in lines if TROUBLE.search(line)]
    called = " ".join(f"-{key} {value}" for key, value in options.items())
    decoded = Decoded(frames, read_packet_log(packet_log), trouble)
    return Encoded(decoded, f"ffmpeg {version} {called} -vf {filters}")


def _explain(source, options, has_frames, lines, name):
    """The exception for a compression that failed."""
    cause = failure(f"{name}: compressing {source.path.name}", lines)
    if isinstance(cause, OSError):
        return cause
    if options["c:v"] == "h264_nvenc" and any("nvenc" in line for line in lines):
        return UserError(
            f"{cause}\nThe GPU cannot encode this video (GPUs for computing alone, such as A100, "
            "H100 and H200, have no encoder). Set video.compress_video.hardware: false."
        )
    if not has_frames:
        return InputError(
            f"{name}: no frame of {source.path} can be decoded ({source.size_bytes} bytes, "
            f"{source.codec}). Copy it again; if nothing was recorded, leave the row out of the "
            f"table of streams.\n{cause}"
        )
    return cause


def _require_one_size(source, lines, name):
    """Frames that change their size would be stretched to that of the first."""
    size = str(source.width), str(source.height)
    for line in lines:
        found = RESIZED.search(line)
        if found and found.groups() != size:
            raise InputError(
                f"{name}: frames of {source.path} change their size, from {' x '.join(size)} to "
                f"{' x '.join(found.groups())}; expected one size. Split the file where the "
                "camera was set up anew."
            )
