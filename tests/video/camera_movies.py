"""Made-up videos, written without loss, and the files that steps before would have made."""

import json
import subprocess
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd

from sluice.settings.camera_qc import CameraQc, MotionEnergy
from sluice.video.ffmpeg import ffmpeg_exe
from sluice.video.motion_energy import motion_energy_file
from sluice.video.video_info import VideoInfo

NAME = "M001/2026-11-20/001 leftCamera"
RATE_HZ = 60.0


def write_video(path, frames, *, codec=("ffv1",), pixels="gray", rate_hz=RATE_HZ, filters=None):
    """Encode grey (n, height, width) or colour (n, height, width, 3) frames; 16 bits are kept."""
    frames = np.ascontiguousarray(frames)
    given = "rgb24" if frames.ndim == 4 else {1: "gray", 2: "gray16le"}[frames.itemsize]
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    command = [ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", given]
    command += ["-s", size, "-r", str(rate_hz), "-i", "-"]
    command += ["-vf", filters] if filters else []
    command += ["-fps_mode", "passthrough", "-c:v", *codec, "-pix_fmt", pixels, path]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


def info_of(frames, rate_hz=RATE_HZ, **changed):
    facts = {
        "name": NAME,
        "n_frames": len(frames),
        "height": frames.shape[1],
        "width": frames.shape[2],
        "sampling_rate_hz": rate_hz,
        "duration_s": len(frames) / rate_hz,
        "is_constant_rate": True,
        "source": {},
        "size_bytes": 0,
        "encoder": "",
    }
    return VideoInfo(**{**facts, **changed})


def settings_of(section, **changed):
    model = {"motion_energy": MotionEnergy, "camera_qc": CameraQc}[section]
    return model(**changed).model_dump(mode="json")


def checks_of(path):
    return {one["name"]: one for one in json.loads(path.read_text())}


def texture(rng, height=120, width=160):
    """Something to see, with sharp edges: grey levels about 60 to 180."""
    coarse = cv2.resize(rng.uniform(70, 170, (height // 12, width // 12)), (width, height))
    fine = cv2.resize(
        rng.uniform(-25, 25, (height // 3, width // 3)), (width, height), None, 0, 0, 0
    )
    return np.clip(coarse + fine, 0, 255)


def scene(seed=0, n_frames=480, height=120, width=160, speed=None):
    """An animal, a bright square, that moves to and fro before a texture, and noise.

    speed, shape (n_frames - 1,), is how far it moves from each frame to the next (px).
    """
    rng = np.random.default_rng(seed)
    behind = texture(rng, height, width)
    if speed is None:
        speed = 1 + np.sin(np.arange(n_frames - 1) / 9)
    path = np.concatenate([[0.0], np.cumsum(speed)])
    span = width - 40
    at = 5 + np.abs((path + span) % (2 * span) - span)
    frames = np.empty((n_frames, height, width), np.uint8)
    for frame, x in zip(frames, at, strict=True):
        picture = behind.copy()
        left = round(x)
        picture[height - 35 : height - 10, left : left + 25] = 215
        frame[:] = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255)
    return frames


def measure(folder, frames, *, rate_hz=RATE_HZ, pose=None, settings=None, **given):
    """Run `motion_energy_file` on frames; return its files, and the info."""
    folder.mkdir(parents=True, exist_ok=True)
    video = write_video(folder / "video.mkv", frames, rate_hz=rate_hz)
    files = SimpleNamespace(
        energy=folder / "leftCamera.ROIMotionEnergy.npy",
        region=folder / "region.json",
        measures=folder / "measures.pqt",
        reference=folder / "reference.npz",
        checks=folder / "checks.json",
    )
    info = info_of(frames, rate_hz)
    motion_energy_file(
        video=video,
        info=info,
        pose=pose,
        **vars(files),
        settings=settings or settings_of("motion_energy"),
        threads=1,
        name=NAME,
        **given,
    )
    return files, info


def write_times(folder, times_s, n_dropped=None, pin_pulses=None):
    """What `camera_times` writes."""
    files = SimpleNamespace(
        times=folder / "_ibl_leftCamera.times.npy",
        frames=folder / "frames.pqt",
        summary=folder / "times.json",
    )
    n_frames = len(times_s)
    np.save(files.times, times_s)
    pd.DataFrame(
        {
            "frame": np.arange(n_frames),
            "time_s": times_s,
            "counter": pd.array([pd.NA] * n_frames, dtype="Int64"),
            "n_dropped_before": np.zeros(n_frames, np.int64) if n_dropped is None else n_dropped,
            "is_interpolated": np.zeros(n_frames, bool),
        }
    ).to_parquet(files.frames, index=False)
    summary = {"source": "pulses", "n_times": n_frames, "n_frames": n_frames, "done": []}
    if pin_pulses:
        summary["pin_pulses"] = dict(zip(("n_seen", "n_sent"), pin_pulses, strict=True))
    files.summary.write_text(json.dumps(summary))
    return files
