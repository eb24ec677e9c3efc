"""Frames that a video has lost before it is compressed, and proof that none is lost by it."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sluice.io.video_container import count_empty_chunks
from sluice.video.ffmpeg import ERROR
from sluice.video.frame_counts import decode
from sluice.video.video_source import demuxer_options

logger = logging.getLogger(__name__)

# Times in the compressed video are those of the source to this (s).
MAX_TIME_ERROR_S = 1e-3
# Frames, and lines of ffmpeg, that a message lists.
N_LISTED = 10
N_SHOWN = 3
# How ffmpeg reports a frame of which the decoder made up a part.
REPAIRED = "corrupt decoded frame"
# Errors in what is no picture.
HARMLESS = re.compile(r"unable to decode APP fields|EXIF|SEI type \d+ size \d+ truncated")
# Who reports: the reader of the file; and all that stands before the words of a line.
READER = re.compile(r"^\[in#")
CONTEXT = re.compile(r"^(\[[^\]]*\] )+")
# What must be missing at the end, in longest intervals, before it is said.
MIN_MISSING = 1.5


@dataclass(frozen=True)
class Damage:
    """What is wrong with the frames of a source.

    Attributes
    ----------
    n_lost : int
        Frames that the file holds or counts, but that cannot be decoded. Where its header counts
        none but says how long it lasts: about as many as would fill the time that is missing.
    n_damaged : int
        That are decoded with errors.
    n_empty : int
        Frames of the header that were never recorded: AVI, see `count_empty_chunks`.
    n_errors : int
        Errors that ffmpeg reported and of which the frames are not known: all of the reader of
        the file, which may pass over frames, and, where no frame is lost or damaged, those of
        the decoder. 1 where it reported none for a file that ends before its header says.
    text : str
        All of it for a person; empty where nothing is wrong.
    """

    n_lost: int
    n_damaged: int
    n_empty: int
    n_errors: int
    text: str


def picture_errors(lines, *, audio=()):
    """Errors of the reader of a file and of the decoder of its frames.

    Parameters
    ----------
    lines : list of str
        Of ffmpeg.
    audio : sequence of str
        Codecs of the sound, whose errors are left out.

    Returns
    -------
    list of str
        Without errors in what is no picture: markers that cameras write into JPEG images, and
        remarks (SEI) in H.264 and H.265.
    """
    # decoders of sound are called as the codec, some with an ending: mp3float
    sound = ("[aist#", "[aost#", *(f"[{codec}" for codec in audio))
    return [
        line
        for line in lines
        if ERROR.search(line) and not HARMLESS.search(line) and not line.startswith(sound)
    ]


def missing_time(source, frames):
    """Time that the header says the frames last, beyond what they do.

    Only where the header counts no frames, its duration is that of the frames, and their times
    ascend. Frames as such may begin later than the file, with its sound.

    Parameters
    ----------
    source : sluice.video.video_source.VideoSource
    frames : sluice.video.frame_counts.Frames

    Returns
    -------
    missing_s : float
        0 where it is less than one and a half times the longest interval, as nothing says how
        long the last frame lasts.
    n_missing : int
        Frames that would fill it.
    """
    expected_s = source.frames_duration_s
    if source.container.n_frames or expected_s is None or len(frames) < 2:
        return 0.0, 0
    intervals_s = np.diff(frames.times_s)
    if not (intervals_s > 0).all():
        return 0.0, 0
    interval_s = float(np.median(intervals_s))
    longest_s = max(float(intervals_s.max()), 1 / source.rate_hz if source.rate_hz else 0.0)
    missing_s = expected_s - float(frames.times_s[-1]) - interval_s
    if missing_s < MIN_MISSING * longest_s:
        return 0.0, 0
    # ticks of a millisecond spoil a single interval, but not the mean
    return missing_s, round(missing_s / float(intervals_s.mean()))


def find_damage(source, decoded, folder, *, threads, name):
    """Find the frames that are lost, and those that the decoder repaired.

    Parameters
    ----------
    source : sluice.video.video_source.VideoSource
    decoded : sluice.video.frame_counts.Decoded
        With its packets.
    folder : path
        For temporary files.
    threads : int
    name : str

    Returns
    -------
    Damage
    """
    frames, packets = decoded.frames, decoded.packets
    header, n_empty = source.container.n_frames or 0, 0
    if source.container.kind == "avi" and header > packets.n:
        n_empty = count_empty_chunks(source.path)
        logger.info("%s: %d frames of the header were empty from the start", name, n_empty)
    n_lost = max(packets.n, header - n_empty) - len(frames)
    errors = picture_errors(decoded.trouble, audio=source.audio)
    damaged = np.empty(0, int)
    if n_lost or packets.n_corrupt or errors:
        for line in decoded.trouble[:N_LISTED]:
            logger.warning("%s: ffmpeg: %s", name, line)
        damaged = _damaged_frames(source, frames, folder, threads=threads, name=name)
    missing_s, n_missing = missing_time(source, frames)
    n_lost = max(0, n_lost) + n_missing
    # a frame that is filled up without an error is told, but not which
    n_damaged = max(len(damaged), sum(REPAIRED in line for line in decoded.trouble))
    if n_lost or n_damaged:
        errors = [line for line in errors if READER.search(line)]
    # a header that counts frames, all of which are there, is as good as the end of the file
    is_cut = bool(source.container.cut_short) and (n_lost > 0 or n_damaged > 0 or not header)
    if not (n_lost or n_damaged or errors or is_cut):
        return Damage(0, 0, n_empty, 0, "")
    parts = [
        f"{len(frames)} frames can be decoded, {packets.n} are in the file and "
        + (f"{header} in its header" if header else "its header counts none")
        + (f", of which {n_empty} are empty" if n_empty else "")
    ]
    if n_missing:
        lasts_s = source.frames_duration_s - missing_s
        parts.append(
            f"its header says that it lasts {source.frames_duration_s:.3f} s, its frames last "
            f"{lasts_s:.3f} s: about {n_missing} are missing"
        )
    if n_damaged:
        listed = ", ".join(map(str, damaged[:N_LISTED])) or "unknown"
        more = f" and {n_damaged - N_LISTED} more" if n_damaged > N_LISTED else ""
        parts.append(f"{n_damaged} are damaged (frames {listed}{more}, counted from 0)")
    if errors:
        parts.append(_errors_in_words(errors))
    if source.container.cut_short:
        parts.append(f"the file is cut short: {source.container.cut_short}")
    return Damage(n_lost, n_damaged, n_empty, len(errors) or int(is_cut), "; ".join(parts))


def _damaged_frames(source, frames, folder, *, threads, name):
    """Frames that a decoder which refuses every error does not give; counted from 0."""
    logger.info("%s: looking for damaged frames", name)
    whole = decode(
        source.path,
        folder,
        threads=threads,
        name=f"{name}: decoding {source.path.name}",
        is_strict=True,
        input_options=demuxer_options(source),
        n_frames=len(frames),
    ).frames
    return np.flatnonzero(~np.isin(frames.times_s, whole.times_s))


def _errors_in_words(errors):
    """How many errors there are, and the first ones without their levels and addresses."""
    shown = list(dict.fromkeys(CONTEXT.sub("", line) for line in errors))
    more = "" if len(shown) <= N_SHOWN else ", …"
    n_errors = f"{len(errors)} error" + "s" * (len(errors) > 1)
    return (
        f"ffmpeg reported {n_errors}, of which the frames are not known: "
        + ", ".join(shown[:N_SHOWN])
        + more
    )


def verify(video, frames, folder, *, threads, name):
    """Decode the finished file: every frame must be there, at its time.

    Without the deblocking filter, which changes pixels alone and costs a fifth of the time.

    Parameters
    ----------
    video : path
        That was compressed.
    frames : Frames
        That the encoder was given.
    folder : path
        For temporary files.
    threads : int
    name : str

    Raises
    ------
    RuntimeError
        A frame is missing or not at its time, or an error was found in the file.
    """
    decoded = decode(
        video,
        folder,
        threads=threads,
        name=f"{name}: verifying {Path(video).name}",
        input_options={"skip_loop_filter": "all"},
        n_frames=len(frames),
    )
    found = decoded.frames
    errors = [line for line in decoded.trouble if ERROR.search(line)]
    if len(found) != len(frames) or errors:
        raise RuntimeError(
            f"{name}: {len(frames)} frames were compressed, but {len(found)} can be decoded from "
            f"{video}: {'; '.join(errors[:N_LISTED]) or 'no error was reported'}"
        )
    error_s = np.abs((found.times_s - found.times_s[0]) - (frames.encoded_s - frames.encoded_s[0]))
    if error_s.max() >= MAX_TIME_ERROR_S:
        worst = int(error_s.argmax())
        raise RuntimeError(
            f"{name}: frame {worst} of {video} is {error_s[worst]:.6f} s from its time in the "
            f"source; expected less than {MAX_TIME_ERROR_S} s"
        )
    logger.info(
        "%s: all %d frames are there, their times within %.1e s", name, len(found), error_s.max()
    )
