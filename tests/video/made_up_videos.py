"""Small videos with known pixels, written by ffmpeg."""

import subprocess

import numpy as np

from sluice.video.ffmpeg import ffmpeg_exe


def scene(n_frames=30, height=48, width=64, *, seed=0, colour=False, dtype=np.uint8, top=None):
    """Smooth light and a bright square that goes to the right, with a little noise.

    Returns an array (n_frames, height, width), with colours (…, 3), from 0 to `top`, by
    default all that the type holds.
    """
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max if top is None else top
    y, x = np.mgrid[:height, :width]
    frames = np.empty((n_frames, height, width, 3), np.float64)
    for t in range(n_frames):
        for c in range(3):
            frames[t, ..., c] = 0.3 + 0.2 * np.sin(x / 20 + c) * np.cos(y / 15 - c)
        left = t * 2 % (width - 12)
        frames[t, 10:22, left : left + 12] = [0.95, 0.8, 0.6]
    frames += rng.normal(0, 0.01, (n_frames, height, width, 1))
    frames = frames if colour else frames[..., 0]
    return np.rint(frames.clip(0, 1) * top).astype(dtype)


def write_video(path, frames, *, codec="mjpeg", rate_hz=30, options=(), sound=(), filters=""):
    """Write frames as a video.

    Grey of 8 or 16 bits or RGB by shape and type. `options` go before the file's name; `sound`
    are those of a tone, e.g. ``("-c:a", "aac")``.
    """
    pixels = {(3, 1): "gray", (3, 2): "gray16le", (4, 1): "rgb24", (4, 2): "rgb48le"}
    height, width = frames.shape[1:3]
    command = [
        *(ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo"),
        *("-pix_fmt", pixels[frames.ndim, frames.itemsize], "-s", f"{width}x{height}"),
        *("-r", str(rate_hz), "-i", "pipe:0"),
    ]
    if sound:
        command += ["-f", "lavfi", "-i", f"sine=duration={len(frames) / rate_hz}", *sound]
    if filters:
        command += ["-vf", filters]
    quality = ("-q:v", "2") if codec == "mjpeg" else ()
    command += ["-c:v", codec, *quality, "-fps_mode", "passthrough", *options, str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


def convert(source, path, *options):
    """Let ffmpeg make a file of another."""
    command = [ffmpeg_exe(), "-y", "-loglevel", "error", "-i", str(source), *options, str(path)]
    subprocess.run(command, check=True)
    return path


def frames_of(path, *, height, width, colour=False):
    """All frames of a video as ffmpeg decodes them, grey or RGB."""
    done = subprocess.run(
        [
            *(ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-fps_mode", "passthrough"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24" if colour else "gray", "pipe:1"),
        ],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, *([3] * colour))
