"""Time of motion energy beside decoding alone and beside a loop of OpenCV.

    python benchmarks/motion_energy.py [--video FILE] [--frames 1200] [--threads 2] [--repeats 3]

Without a video, one like that of IBL's left camera is made up: 1280 x 1024 px, 60 Hz, h264 with
crf 29, a textured scene with noise, in which a disk runs about and a wheel turns. A row a way,
with the fastest of some repeats: wall clock, and CPU time of this process and of ffmpeg.

decoding alone        ffmpeg to nowhere: nothing can be faster that looks at every frame
read_frames           grey frames in a buffer, nothing computed
motion energy         of the whole image, on these
motion_energy_file    the whole step: motion energy of two regions, brightness, focus, position,
                      files
OpenCV, integer       VideoCapture, cvtColor to grey, cv2.norm: the loop of a careful person
OpenCV, float         VideoCapture, cvtColor, numpy arrays as float64: np.abs(np.diff).mean(),
                      mean and standard deviation
"""

import argparse
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from sluice.settings.camera_qc import MotionEnergy
from sluice.video.ffmpeg import ffmpeg_exe
from sluice.video.frame_measures import mean_difference
from sluice.video.frames import read_frames
from sluice.video.motion_energy import motion_energy_file
from sluice.video.video_info import VideoInfo

HEIGHT, WIDTH = 1024, 1280
REGION = [320, 256, 400, 300]


def make_video(path, n_frames):
    """A textured scene with noise, a disk that runs in a circle, and a wheel that turns."""
    rng = np.random.default_rng(0)
    behind = cv2.resize(rng.uniform(40, 180, (64, 80)), (WIDTH, HEIGHT))
    behind += cv2.resize(rng.normal(0, 8, (HEIGHT // 4, WIDTH // 4)), (WIDTH, HEIGHT))
    # noise of a camera, drawn once and moved about
    noise = rng.normal(0, 3, (HEIGHT + 64, WIDTH + 64))
    wheel = cv2.resize(rng.uniform(20, 230, (60, 60)), (600, 600)).astype(np.float32)
    command = [ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "gray"]
    command += ["-s", f"{WIDTH}x{HEIGHT}", "-r", "60", "-i", "-", "-c:v", "libx264", "-crf", "29"]
    # as fast to decode as preset slow, and much faster to make; levels as compress_video's
    command += ["-preset", "faster", "-pix_fmt", "yuv420p", "-vf", "scale=out_range=full", path]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        for i in range(n_frames):
            x, y = rng.integers(0, 64, 2)
            frame = behind.copy()
            turn = cv2.getRotationMatrix2D((300, 300), 200 * np.sin(i / 30), 1)
            frame[424:, 640:1240] = cv2.warpAffine(wheel, turn, (600, 600))
            at = (int(400 + 250 * np.cos(i / 20)), int(450 + 250 * np.sin(i / 20)))
            cv2.circle(frame, at, 90, 220, -1)
            frame += noise[y : y + HEIGHT, x : x + WIDTH]
            process.stdin.write(np.clip(frame, 0, 255).astype(np.uint8).tobytes())
    if process.returncode:
        raise RuntimeError(f"ffmpeg ended with {process.returncode}")


def decode(path, info, threads):
    """Ffmpeg to nowhere."""
    command = [ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-threads", str(threads)]
    command += ["-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "null", "-"]
    subprocess.run(command, check=True)


def chunks(path, info, threads):
    """Grey frames, as the steps read them."""
    size = {"height": info.height, "width": info.width, "n_frames": info.n_frames}
    return read_frames(path, **size, threads=threads)


def read_only(path, info, threads):
    """Grey frames, and nothing with them."""
    for _ in chunks(path, info, threads):
        pass


def energy_only(path, info, threads):
    """Motion energy of the whole image, and nothing else."""
    energy, before = np.full(info.n_frames, np.nan), None
    for start, frames in chunks(path, info, threads):
        for i, frame in enumerate(frames, start - 1):
            if i >= 0:
                energy[i] = mean_difference(frame, before)
            before = frame
        before = before.copy()
    return energy


def whole_step(path, info, threads):
    """The step, with all it writes."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            key: Path(folder) / name
            for key, name in (
                ("energy", "energy.npy"),
                ("region", "region.json"),
                ("measures", "measures.pqt"),
                ("reference", "reference.npz"),
                ("checks", "checks.json"),
            )
        }
        motion_energy_file(
            video=path,
            info=info,
            **files,
            settings=MotionEnergy().model_dump(mode="json"),
            camera_region=REGION,
            threads=threads,
            name="benchmark",
        )
        return np.load(files["energy"])


def opencv_frames(path, threads):
    """Grey frames, as OpenCV's users read them."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    while True:
        is_read, frame = capture.read()
        if not is_read:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


def opencv_integer(path, info, threads):
    """Motion energy of the whole image, by OpenCV's own kernel."""
    energy, before = np.full(info.n_frames, np.nan), None
    for i, frame in enumerate(opencv_frames(path, threads)):
        if i:
            energy[i - 1] = cv2.norm(frame, before, cv2.NORM_L1) / frame.size
        before = frame
    return energy


def opencv_float(path, info, threads):
    """Motion energy, mean and standard deviation of the whole image in numpy."""
    energy, before = np.full(info.n_frames, np.nan), None
    mean, std = np.empty(info.n_frames), np.empty(info.n_frames)
    for i, frame in enumerate(opencv_frames(path, threads)):
        wide = frame.astype(np.float64)
        if i:
            energy[i - 1] = np.abs(wide - before).mean()
        mean[i], std[i] = wide.mean(), wide.std()
        before = wide
    return energy


def cpu_s():
    """CPU time of this process and of those it has waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def measure(ways, path, info, threads, repeats):
    """Fastest wall clock and least CPU time of each way; all ways in each turn."""
    walls, cpus = ({name: [] for name in ways} for _ in range(2))
    for _ in range(repeats):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), cpu_s()
            way(path, info, threads)
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(cpu_s() - cpu)
    return {name: (min(walls[name]), min(cpus[name])) for name in ways}


def facts(path):
    """Size, rate and number of frames of a video."""
    capture = cv2.VideoCapture(str(path))
    width, height = (
        int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    rate_hz, n_frames = capture.get(cv2.CAP_PROP_FPS), 0
    while capture.grab():
        n_frames += 1
    size = path.stat().st_size
    return VideoInfo(
        "benchmark", n_frames, height, width, rate_hz, n_frames / rate_hz, True, {}, size, ""
    )


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path)
    parser.add_argument("--frames", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.video
        if path is None:
            path = Path(folder) / "video.mp4"
            make_video(path, arguments.frames)
        info = facts(path)
        ways = {
            "decoding alone": decode,
            "read_frames": read_only,
            "motion energy": energy_only,
            "motion_energy_file": whole_step,
            "OpenCV, integer": opencv_integer,
            "OpenCV, float": opencv_float,
        }
        found = measure(ways, path, info, arguments.threads, arguments.repeats)
        differences = energy_only(path, info, 1) - opencv_float(path, info, 1)
    print(
        f"{info.n_frames} frames of {info.width} x {info.height} px, "
        f"{info.size_bytes / info.n_frames / 1e3:.1f} kB a frame, {arguments.threads} threads, "
        f"fastest of {arguments.repeats}"
    )
    print(
        f"largest difference of motion energy from OpenCV's: {np.nanmax(np.abs(differences)):.4f}"
    )
    alone, peer = found["decoding alone"][0], found["OpenCV, float"][0]
    print(
        f"{'':20}{'wall s':>8}{'CPU s':>8}{'frames/s':>10}{'x decoding':>12}{'OpenCV float x':>16}"
    )
    for name, (wall, cpu) in found.items():
        rate = info.n_frames / wall
        print(f"{name:20}{wall:8.2f}{cpu:8.2f}{rate:10.0f}{wall / alone:12.2f}{peer / wall:16.1f}")


if __name__ == "__main__":
    main()
