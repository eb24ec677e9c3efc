"""Frames that a video has lost before it is compressed, and proof that none is lost by it."""

import logging
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
# How ffmpeg reports a frame of which the decoder made up a part.
REPAIRED = "corrupt decoded frame"


@dataclass(frozen=True)
class Damage:
    """What is wrong with the frames of a source.

    Attributes
    ----------
    n_lost : int
        Frames that the file holds or counts, but that cannot be decoded.
    n_damaged : int
        That are decoded with errors.
    n_empty : int
        Frames of the header that were never recorded: AVI, see `count_empty_chunks`.
    text : str
        All of it for a person; empty where nothing is wrong.
    """

    n_lost: int
    n_damaged: int
    n_empty: int
    text: str


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
    errors = [line for line in decoded.trouble if ERROR.search(line)]
    damaged = np.empty(0, int)
    if n_lost or packets.n_corrupt or errors:
        for line in decoded.trouble[:N_LISTED]:
            logger.warning("%s: ffmpeg: %s", name, line)
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
        damaged = np.flatnonzero(~np.isin(frames.times_s, whole.times_s))
    n_lost = max(0, n_lost)
    # a frame that is filled up without an error is told, but not which
    n_damaged = max(len(damaged), sum(REPAIRED in line for line in decoded.trouble))
    if not n_lost and not n_damaged:
        return Damage(0, 0, n_empty, "")
    parts = [
        f"{len(frames)} frames can be decoded, {packets.n} are in the file and "
        + (f"{header} in its header" if header else "its header counts none")
        + (f", of which {n_empty} are empty" if n_empty else "")
    ]
    if n_damaged:
        listed = ", ".join(map(str, damaged[:N_LISTED])) or "unknown"
        more = f" and {n_damaged - N_LISTED} more" if n_damaged > N_LISTED else ""
        parts.append(f"{n_damaged} are damaged (frames {listed}{more}, counted from 0)")
    if source.container.cut_short:
        parts.append(f"the file is cut short: {source.container.cut_short}")
    return Damage(n_lost, n_damaged, n_empty, "; ".join(parts))


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
