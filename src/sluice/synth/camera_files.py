"""Writes a made-up behaviour video and what a camera leaves beside it, as IBL's rigs do.

Beside ``_iblrig_leftCamera.raw.avi``, one entry a frame of the video:

``_iblrig_leftCamera.frame_counter.bin``
    float64: number of the exposure as the camera counts them, a uint32 that starts anywhere.
``_iblrig_leftCamera.GPIO.bin``
    float64 that holds a uint32: pins 1 to 4 are its bits 31 to 28.
``_iblrig_leftCamera.timestamps.ssv``
    The computer's time as text, and the camera's own clock as a uint32: 7 bits of seconds, 13
    of cycles (8000 a second) and 12 of the offset in a cycle (3072 a cycle). It starts again
    after 128 s.
``_iblrig_leftCamera.frameData.bin``
    All of that in one, float64 of shape (n_frames, 4): the computer's time in 100 ns since the
    year 1, the camera's clock, counter and pins.

Formats of Teledyne FLIR's Chameleon3 (its register reference: CYCLE_TIME) and of
ibllib/io/raw_data_loaders.py and ibllib/time.py.
"""

import datetime
import subprocess
from pathlib import Path

import numpy as np

from sluice.errors import UserError
from sluice.synth.camera_render import render

# ffmpeg's options for each kind of video, and the file's suffix.
VIDEOS = {
    "mjpeg": (["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"], ".avi"),
    "rawvideo": (["-c:v", "rawvideo", "-pix_fmt", "gray"], ".avi"),
    "h264": (["-c:v", "libx264", "-crf", "12", "-preset", "fast", "-pix_fmt", "yuv420p"], ".mp4"),
}
RECORDS = ("frame_counter", "timestamps", "GPIO")
GPIO_PIN = 4
CYCLES_PER_S, OFFSETS_PER_CYCLE, WRAP_S = 8000, 3072, 128
TICKS_PER_S = 10_000_000


def write_video(scene, path, *, kind="mjpeg"):
    """Draw a scene into a video.

    Parameters
    ----------
    scene : CameraScene
    path : path
        With the suffix of the kind: ``.avi`` or ``.mp4``.
    kind : str
        ``mjpeg``, ``rawvideo`` (grey, nothing lost) or ``h264``.

    Raises
    ------
    UserError
        There is no such kind.
    RuntimeError
        ffmpeg failed; what it said is in the message.
    """
    if kind not in VIDEOS:
        raise UserError(f"video {kind!r}: expected {', '.join(VIDEOS)}")
    write_frames(
        render(scene),
        path,
        options=VIDEOS[kind][0],
        width=scene.settings.width,
        height=scene.settings.height,
        sampling_rate_hz=scene.settings.sampling_rate_hz,
    )


def write_frames(frames, path, *, options, width, height, sampling_rate_hz):
    """Encode grey frames with ffmpeg.

    Parameters
    ----------
    frames : iterable of uint8 array, shape (height, width)
    path : path
    options : list of str
        Codec and its options.
    width, height : int
    sampling_rate_hz : float
        Rate in the file's header.

    Raises
    ------
    RuntimeError
        ffmpeg failed; what it said is in the message.
    """
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-nostdin", "-v", "error"]
    command += ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}"]
    command += ["-r", f"{sampling_rate_hz:.10g}", "-i", "pipe:0"]
    # one thread and no version or date in the file: the same bytes each time
    command += [*options, "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    process = subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for frame in frames:
            process.stdin.write(frame.tobytes())
    except BrokenPipeError:
        # ffmpeg has ended; what it says is told below
        pass
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{path}: ffmpeg failed:\n{said.decode(errors='replace')}")


def write_records(scene, folder, *, name, start_time, records=RECORDS):
    """Write what the camera says of each frame; see the module.

    Parameters
    ----------
    scene : CameraScene
    folder : path
        Exists already.
    name : str
        ``leftCamera``.
    start_time : datetime.datetime
        With zone: the computer's time at 0 s of the session's clock.
    records : sequence of str
        Which files: ``frame_counter``, ``timestamps``, ``GPIO``, ``frameData``.

    Returns
    -------
    list of Path

    Raises
    ------
    UserError
        There is no such record.
    """
    folder = Path(folder)
    counter, gpio, camera = frame_counter(scene), gpio_words(scene), camera_clock(scene)
    delay_s = computer_delay_s(scene)
    files = []
    for record in records:
        path = folder / f"_iblrig_{name}.{record}.{'ssv' if record == 'timestamps' else 'bin'}"
        if record == "frame_counter":
            counter.astype("<f8").tofile(path)
        elif record == "GPIO":
            gpio.astype("<f8").tofile(path)
        elif record == "timestamps":
            arrival_s = scene.times_s + delay_s
            rows = [
                f"{_iso_time(start_time, s)} {c} "
                for s, c in zip(arrival_s.tolist(), camera.tolist(), strict=True)
            ]
            path.write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")
        elif record == "frameData":
            since = start_time - datetime.datetime(1, 1, 1, tzinfo=start_time.tzinfo)
            start = round(since.total_seconds()) * TICKS_PER_S
            ticks = start + np.rint((scene.times_s + delay_s) * TICKS_PER_S).astype(np.int64)
            np.column_stack([ticks, camera, counter, gpio]).astype("<f8").tofile(path)
        else:
            raise UserError(f"record {record!r}: expected {', '.join((*RECORDS, 'frameData'))}")
        files.append(path)
    return files


def frame_counter(scene):
    """Number of each frame as the camera counts, int64 array of shape (n_frames,)."""
    start = int(scene.settings.rng(scene.settings.day, 12).integers(1000, 2**24))
    return start + scene.exposures


def gpio_words(scene):
    """State of the camera's pins in each frame, int64 array of shape (n_frames,)."""
    edges_s = scene.behavior.events_s.ravel()
    is_high = np.searchsorted(edges_s, scene.times_s, "right") % 2 == 1
    return is_high.astype(np.int64) << (32 - GPIO_PIN)


def camera_clock(scene):
    """The camera's clock at each frame as the words it writes, int64 array (n_frames,).

    The clock starts anywhere, at a time of its own.
    """
    start_s = scene.settings.rng(scene.settings.day, 13).uniform(0, WRAP_S)
    offsets = np.floor((scene.camera_s + start_s) * CYCLES_PER_S * OFFSETS_PER_CYCLE)
    cycles, offset = np.divmod(offsets.astype(np.int64), OFFSETS_PER_CYCLE)
    seconds, cycle = np.divmod(cycles, CYCLES_PER_S)
    return ((seconds % WRAP_S) << 25) | (cycle << 12) | offset


def computer_delay_s(scene):
    """How long after its exposure each frame reaches the computer, float64 array (n_frames,)."""
    rng = scene.settings.rng(scene.settings.day, 14)
    return 0.012 + np.minimum(rng.exponential(0.001, scene.n_frames), 0.01)


def _iso_time(start_time, time_s):
    """Time of day with 100 ns, as Bonsai writes it."""
    ticks = round(time_s * TICKS_PER_S)
    at = start_time + datetime.timedelta(seconds=ticks // TICKS_PER_S)
    zone = at.strftime("%z")
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ticks % TICKS_PER_S:07d}{zone[:3]}:{zone[3:]}"
