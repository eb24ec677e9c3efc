"""ffmpeg, of the PyPI wheel imageio-ffmpeg, run so that it says where it is and ends with us."""

import ctypes
import errno
import functools
import logging
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from sluice.errors import UserError

logger = logging.getLogger(__name__)

# The first versions with all options that are used: -stats_enc_pre is of 6.0, -enc_time_base
# demux of 6.1.
OLDEST = (6, 1)
PROGRESS_S = 5.0
PR_SET_PDEATHSIG = 1  # of Linux, sys/prctl.h
# Lines of a failed run that its message shows.
N_SHOWN = 12
TROUBLE = re.compile(r"\[(warning|error|fatal|panic)\]")
ERROR = re.compile(r"\[(error|fatal|panic)\]")


class FfmpegError(RuntimeError):
    """ffmpeg ended with an error."""


def ffmpeg_exe():
    """Path of ffmpeg: that of the environment variable IMAGEIO_FFMPEG_EXE, else of the wheel.

    Raises
    ------
    UserError
        The variable names no program, or the wheel has none for this machine.
    """
    import imageio_ffmpeg

    try:
        exe = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise UserError(
            f"no ffmpeg was found ({error}). Install imageio-ffmpeg again, which ships it, or set "
            "IMAGEIO_FFMPEG_EXE to an ffmpeg of version 6.1 or newer."
        ) from None
    if shutil.which(exe) is None:
        raise UserError(
            f"IMAGEIO_FFMPEG_EXE is {exe}, which is no program. Unset it, so that the ffmpeg of "
            "the wheel imageio-ffmpeg is used, or correct it."
        )
    return exe


def ffmpeg_version(exe=None):
    """Version of ffmpeg as its first line says it, e.g. ``9.0.2-17-g2a571b6068``."""
    done = subprocess.run(
        [exe or ffmpeg_exe(), "-version"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[2]


def require_version(version):
    """Refuse an ffmpeg that is too old; a version without numbers is a recent one, of git.

    Raises
    ------
    UserError
    """
    found = re.match(r"n?(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) < OLDEST:
        raise UserError(
            f"ffmpeg is of version {version}; 6.1 or newer is needed. Unset IMAGEIO_FFMPEG_EXE, "
            "so that the one of the wheel imageio-ffmpeg is used, or name a newer one in it."
        )


def file_url(path):
    """Name of a file for ffmpeg, which takes ``a:b`` for a protocol and ``-a`` for an option."""
    return f"file:{Path(path).absolute()}"


@contextmanager
def running(command, **popen):
    """Run a program that does not outlive the block, whatever ends it.

    Parameters
    ----------
    command : list of str
    **popen
        As of `subprocess.Popen`.

    Yields
    ------
    subprocess.Popen
        Killed where the block ends by an exception, Ctrl-C and the SIGTERM of a job included;
        waited for otherwise.
    """
    process = subprocess.Popen(command, **popen)
    try:
        yield process
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def run(*outputs, name, n_frames=None, every_s=PROGRESS_S):
    """Run one ffmpeg, show how far it is, and return what it wrote to its log.

    Parameters
    ----------
    *outputs : ffmpeg.nodes.OutputStream
        Of ffmpeg-python. Files that exist are overwritten.
    name : str
        What is done to what, for messages: ``S1 leftCamera: compressing a.avi``.
    n_frames : int or None
        Frames that are expected, for the fraction that is done.
    every_s : float
        From one line of progress to the next (s).

    Returns
    -------
    list of str
        Lines, each with its level in brackets; info and what is more serious.

    Raises
    ------
    FfmpegError
        ffmpeg failed; with the last of its errors.
    OSError
        The disk is full.
    """
    done, lines = attempt(*outputs, name=name, n_frames=n_frames, every_s=every_s)
    if not done:
        raise failure(name, lines)
    return lines


def attempt(*outputs, name, n_frames=None, every_s=PROGRESS_S):
    """Run ffmpeg as `run` does, without raising where it fails.

    Returns
    -------
    is_done : bool
        Whether it ended without an error.
    list of str
    """
    import ffmpeg

    stream = ffmpeg.merge_outputs(*outputs) if len(outputs) > 1 else outputs[0]
    stream = stream.global_args(
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "repeat+level+info"),
        *("-progress", "pipe:1", "-stats_period", str(min(1.0, every_s))),
    )
    command = stream.overwrite_output().compile(cmd=ffmpeg_exe())
    # a file, since a second pipe that nobody reads would stop ffmpeg
    with tempfile.TemporaryFile() as log:
        ending = {"preexec_fn": _end_with_parent()} if sys.platform == "linux" else {}
        with running(command, stdout=subprocess.PIPE, stderr=log, text=True, **ending) as process:
            _follow(process.stdout, name, n_frames, every_s)
        log.seek(0)
        lines = log.read().decode("utf-8", errors="replace").splitlines()
    return process.returncode == 0, lines


def _end_with_parent():
    """Make what a new process calls so that Linux kills it when its parent is gone.

    After kill -9 nothing of ours can end ffmpeg, which would go on for hours. One that writes
    into a pipe ends by itself; one that writes a file does not.
    """
    prctl = ctypes.CDLL(None).prctl
    return functools.partial(prctl, PR_SET_PDEATHSIG, signal.SIGKILL)


def _follow(progress, name, n_frames, every_s):
    """Log a line every few seconds until ffmpeg ends."""
    started = shown = time.monotonic()
    values = {}
    for line in progress:
        key, _, value = line.strip().partition("=")
        values[key] = value
        now = time.monotonic()
        # 'progress' is the last key of a block
        if key == "progress" and (now - shown >= every_s or value == "end"):
            shown = now
            logger.info("%s: %s", name, progress_text(values, now - started, n_frames))


def progress_text(values, elapsed_s, n_frames):
    """Say how far ffmpeg is.

    Parameters
    ----------
    values : dict of str
        One block of ``-progress``.
    elapsed_s : float
    n_frames : int or None

    Returns
    -------
    str
        ``1200 of 5000 frames (24 %), 80.0 frames/s, 48 s left``
    """
    frame = values.get("frame", "0")
    n_done = int(frame) if frame.isdigit() else 0
    rate_hz = n_done / elapsed_s if elapsed_s > 0 else 0.0
    if not n_frames:
        return f"{n_done} frames, {rate_hz:.1f} frames/s"
    text = f"{n_done} of {n_frames} frames ({100 * n_done / n_frames:.0f} %), "
    text += f"{rate_hz:.1f} frames/s"
    if rate_hz and n_done < n_frames:
        text += f", {(n_frames - n_done) / rate_hz:.0f} s left"
    return text


def failure(name, lines):
    """Make the exception for a run that failed; the full disk has its own.

    Parameters
    ----------
    name : str
    lines : list of str

    Returns
    -------
    Exception
    """
    if any("No space left on device" in line for line in lines):
        return OSError(errno.ENOSPC, "No space left on device, says ffmpeg", name)
    shown = [line for line in lines if ERROR.search(line)] or lines
    text = "\n".join(shown[-N_SHOWN:])
    return FfmpegError(f"{name}: ffmpeg failed:\n{text}")
