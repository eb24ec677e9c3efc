"""Time of `compress_video` beside plain ffmpeg with the same options.

    python benchmarks/compress_video.py [--seconds 20] [--threads 2] [--runs 3] [--video FILE …]

A made-up video of 640 x 480 px at 60 Hz, MJPEG in AVI, of smooth light, a moving spot and the
noise of a sensor; and videos of your own. Plain ffmpeg: one command with the same encoder, preset,
crf, threads and pixel format, which proves nothing. Ours: the whole step, and of that the
compression alone, which also notes every frame and packet; the rest is nearly all the decoding of
the finished file. The runs alternate, so that a busy machine is busy for both. CPU time is of all
processes. The first run, which reads the file into memory, is not counted.
"""

import argparse
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from sluice.session import Camera
from sluice.settings.compress_video import CompressVideo
from sluice.video.compress_video import compress_video_file
from sluice.video.encode import encode
from sluice.video.ffmpeg import ffmpeg_exe
from sluice.video.video_source import read_source

RATE_HZ = 60


def make_video(path, duration_s):
    """Write the made-up video; ffmpeg makes the JPEG images."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    light = 90 + 40 * np.sin(x / 90) * np.cos(y / 70)
    noise = rng.normal(0, 3, (16, 480, 640))
    command = [
        *(ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "gray"),
        *("-s", "640x480", "-r", str(RATE_HZ), "-i", "pipe:0", "-c:v", "mjpeg", "-q:v", "3"),
        str(path),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        for t in range(round(duration_s * RATE_HZ)):
            centre = 320 + 200 * np.sin(t / 50), 240 + 150 * np.cos(t / 37)
            spot = 100 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 1800)
            frame = light + spot + noise[rng.integers(16)]
            process.stdin.write(frame.clip(0, 255).astype(np.uint8).tobytes())


def run_plain(path, folder, settings, threads):
    """One plain ffmpeg."""
    subprocess.run(
        [
            *(ffmpeg_exe(), "-y", "-nostdin", "-loglevel", "error", "-threads", str(threads)),
            *("-i", str(path), "-c:v", "libx264", "-preset", settings["preset"]),
            *("-crf", str(settings["crf"]), "-threads", str(threads), "-pix_fmt", "yuv420p"),
            *("-fps_mode", "passthrough", "-movflags", "+faststart", "-an"),
            str(folder / "plain.mp4"),
        ],
        check=True,
    )


def run_step(path, folder, settings, threads):
    """The whole step."""
    compress_video_file(
        camera=Camera("S1", "camera", "leftCamera", str(path), "video"),
        video=folder / "ours.mp4",
        info=folder / "video.json",
        pts=folder / "pts.npy",
        checks=folder / "checks.json",
        settings=settings,
        threads=threads,
    )


def run_encode(path, folder, settings, threads):
    """The compression alone."""
    encode(
        read_source(path, name="S1"),
        folder / "alone.mp4",
        folder,
        settings=settings,
        device="cpu",
        threads=threads,
        white_level=None,
        name="S1",
    )


def cpu_s():
    """CPU seconds of this process and its finished children."""
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def measure(path, folder, options):
    """Seconds and CPU seconds of each way and run."""
    settings = CompressVideo(
        preset=options.preset, encoder_threads=options.threads, audio="drop"
    ).model_dump(mode="json")
    ways = {
        "plain ffmpeg": run_plain,
        "sluice, compression alone": run_encode,
        "sluice, with verification": run_step,
    }
    taken = {name: [] for name in ways}
    for run in range(options.runs + 1):
        for name, one in ways.items():
            wall, cpu = time.perf_counter(), cpu_s()
            one(path, folder, settings, options.threads)
            if run:
                taken[name].append((time.perf_counter() - wall, cpu_s() - cpu))
    return taken


def report(path, taken, folder, options):
    """Print the table of one video."""
    size = path.stat().st_size / 1e6
    done = subprocess.run([ffmpeg_exe(), "-i", path], capture_output=True, text=True, check=False)
    what = re.search(r"Video: (\w+).*?, (\d+x\d+)", done.stderr)
    print(
        f"\n{path.name} ({what[1]}, {what[2]}, {size:.0f} MB), preset {options.preset}, "
        f"{options.threads} threads, {options.runs} runs"
    )
    print(f"{'':28}{'best s':>8}{'median s':>10}{'CPU s':>8}{'ratio':>8}{'CPU ratio':>11}")
    plain = np.median(taken["plain ffmpeg"], axis=0)
    for name, runs in taken.items():
        wall, cpu = np.median(runs, axis=0)
        print(
            f"{name:28}{min(runs)[0]:8.2f}{wall:10.2f}{cpu:8.2f}{wall / plain[0]:8.3f}"
            f"{cpu / plain[1]:11.3f}"
        )
    sizes = [(folder / f"{name}.mp4").stat().st_size / 1e6 for name in ("plain", "ours")]
    print(f"size: plain {sizes[0]:.2f} MB, ours {sizes[1]:.2f} MB")


def main():
    """Print one table a video."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--preset", default="slow")
    parser.add_argument("--video", type=Path, action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_video(folder / "made_up.avi", options.seconds)
        for path in [folder / "made_up.avi", *options.video]:
            report(path, measure(path, folder, options), folder, options)
    print("ratio: time over that of plain ffmpeg, medians")


if __name__ == "__main__":
    main()
