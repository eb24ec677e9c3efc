"""Frames of a video as arrays, decoded by ffmpeg and read from a pipe, a few at a time."""

import contextlib
import logging
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.video.ffmpeg import ffmpeg_exe, file_url, running

logger = logging.getLogger(__name__)

# Of a chunk. Small, so that ffmpeg decodes the next frames meanwhile and does not wait.
CHUNK_BYTES = 8_000_000
PIPE_BYTES = 1 << 20
# Of what ffmpeg says in a message.
SAID_CHARACTERS = 500
# Formats whose first plane is the luma, 8 bits: it is taken as it is, which costs a fifth of
# ffmpeg's conversion to grey.
LUMA_PLANE = re.compile(r"yuvj?4\d\dp")
STREAM = re.compile(
    r"Video: .*?, (?P<format>[a-z]\w+)(?:\((?P<range>tv|pc)?.*?\))?, .*?"
    r"(?P<width>\d+)x(?P<height>\d+)"
)


def read_frames(path, *, height, width, n_frames, chunk_frames=None, threads=1, name=None):
    """Decode all frames of a video to grey, some at a time, in one pass.

    Each frame of the video is given once, whatever its time. Grey is the luma in the full range:
    the luma of most videos goes from 16 (black) to 235 (white), which becomes 0 to 255, rounded
    to the nearest. OpenCV goes through colours instead, and differs from it by 1, by 2 at most
    where no colour is out of range.

    The next frames are decoded while the caller works on these.

    Parameters
    ----------
    path : path
    height, width : int
        Of the video (px).
    n_frames : int
        Frames it must have.
    chunk_frames : int, optional
        Frames at a time; by default as many as make 8 MB, one at least.
    threads : int
        Of ffmpeg.
    name : str, optional
        How messages call the camera; by default the file.

    Yields
    ------
    start : int
        Number of the first of these frames.
    frames : uint8 array, shape (n, height, width)
        The array is used again for the next ones: copy what is to be kept.

    Raises
    ------
    InputError
        The video cannot be decoded, or has another size or number of frames.
    """
    path, name = Path(path), name or Path(path).name
    if n_frames < 1:
        raise ValueError(f"a video of {n_frames} frames has none to read")
    frame_bytes = height * width
    chunk_frames = min(chunk_frames or max(1, CHUNK_BYTES // frame_bytes), n_frames)
    pixels, is_full_range = _require_size(path, height, width, name)
    command = _command(path, pixels, is_full_range, threads)
    buffer = np.empty((chunk_frames, height, width), np.uint8)
    with _decoder(command) as decoder:
        for start in range(0, n_frames, chunk_frames):
            frames = buffer[: n_frames - start]
            n_bytes = decoder.fill(frames)
            if n_bytes < frames.nbytes:
                decoder.finish(name, path)
                raise _wrong_count(name, path, start + n_bytes // frame_bytes, n_frames)
            yield start, frames
        n_bytes = sum(iter(lambda: decoder.fill(buffer), 0))
        decoder.finish(name, path)
        if n_bytes:
            raise _wrong_count(name, path, n_frames + n_bytes // frame_bytes, n_frames)


class _Decoder:
    """A running ffmpeg whose output is read."""

    def __init__(self, process, errors):
        self.process, self.errors = process, errors

    def fill(self, frames):
        """Read until the array is full or the video ends; return the number of bytes read."""
        view, n_bytes = memoryview(frames).cast("B"), 0
        while n_bytes < len(view):
            n = self.process.stdout.readinto(view[n_bytes:])
            if not n:
                break
            n_bytes += n
        return n_bytes

    def said(self):
        """The end of what ffmpeg wrote to its error stream."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()[-SAID_CHARACTERS:]

    def finish(self, name, path):
        """Wait for the end; fail if ffmpeg did."""
        code = self.process.wait()
        said = self.said()
        if code < 0:
            raise RuntimeError(f"{name}: ffmpeg was ended by signal {-code} while it read {path}")
        if code:
            raise InputError(
                f"{name}: ffmpeg could not decode {path} (exit status {code}): "
                f"{said or 'no message'}. Run compress_video again."
            )
        if said:
            logger.warning("%s: ffmpeg says of %s: %s", name, path.name, said)


@contextlib.contextmanager
def _decoder(command):
    """Run ffmpeg; it is ended whatever happens, also where the caller reads no further."""
    with (
        tempfile.TemporaryFile() as errors,
        running(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            pipesize=PIPE_BYTES,
        ) as process,
    ):
        yield _Decoder(process, errors)


def _require_size(path, height, width, name):
    """Return the pixel format of a video and whether its range is the full one.

    Frames arrive without any header, so a video of another size would give a wrong picture.
    """
    run = subprocess.run(
        [ffmpeg_exe(), "-hide_banner", "-nostdin", "-i", file_url(path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    found = STREAM.search(run.stderr)
    if found is None:
        said = run.stderr.strip()[-SAID_CHARACTERS:]
        raise InputError(
            f"{name}: {path} is not a video that ffmpeg can read: {said}. Run compress_video again."
        )
    if (int(found["height"]), int(found["width"])) != (height, width):
        raise InputError(
            f"{name}: the frames of {path} are {found['width']} x {found['height']} px; expected "
            f"{width} x {height}. It is not the video that was compressed: run "
            "compress_video again."
        )
    pixels = found["format"]
    return pixels, found["range"] == "pc" or pixels.startswith("yuvj")


def _command(path, pixels, is_full_range, threads):
    """How ffmpeg is called."""
    is_plane = LUMA_PLANE.fullmatch(pixels) is not None
    filters = ["extractplanes=y" if is_plane else "scale=out_range=full,format=gray"]
    if is_plane and not is_full_range:
        filters.append("lut=c0='clip((val-16)*255/219+0.5,0,255)'")
    return [
        ffmpeg_exe(),
        *("-nostdin", "-loglevel", "error", "-threads", str(threads), "-i", file_url(path)),
        *("-map", "0:v:0", "-fps_mode", "passthrough", "-vf", ",".join(filters)),
        *("-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"),
    ]


def _wrong_count(name, path, found, expected):
    return InputError(
        f"{name}: {path} has {found} frames; expected {expected}, as many as were found when it "
        "was compressed. Run compress_video again."
    )
