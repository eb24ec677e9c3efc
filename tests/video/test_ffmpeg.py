import errno
import logging
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import ffmpeg
import numpy as np
import pytest
from video.made_up_videos import scene, write_video

from sluice.errors import UserError
from sluice.video.ffmpeg import (
    FfmpegError,
    failure,
    ffmpeg_exe,
    ffmpeg_version,
    file_url,
    progress_text,
    require_version,
    run,
    running,
)
from sluice.video.frame_counts import read_frame_log


def to_null(path, **options):
    return ffmpeg.output(ffmpeg.input(file_url(path), **options), "-", format="null")


def test_the_wheels_ffmpeg_runs():
    assert "ffmpeg" in Path(ffmpeg_exe()).name
    require_version(ffmpeg_version())


def test_a_users_own_ffmpeg_is_taken(monkeypatch, tmp_path):
    own = tmp_path / "my-ffmpeg"
    own.symlink_to(ffmpeg_exe())
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(own))
    assert ffmpeg_exe() == str(own)
    assert run(to_null(write_video(tmp_path / "a.avi", scene(3))), name="S")


def test_a_variable_that_names_no_program(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"IMAGEIO_FFMPEG_EXE is .*none, which is no program"):
        ffmpeg_exe()


@pytest.mark.parametrize("version", ["5.1.6", "n4.4.2-0ubuntu0.22.04.1", "6.0"])
def test_an_old_ffmpeg_is_refused(version):
    with pytest.raises(UserError, match=rf"version {version}; 6.1 or newer is needed. Unset IM"):
        require_version(version)


@pytest.mark.parametrize("version", ["6.1", "n9.0.2-17-g2a571b6068", "N-119638-g1ed3a3f", "10.0"])
def test_a_newer_ffmpeg_is_taken(version):
    require_version(version)


def test_progress_and_log(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="sluice")
    source = write_video(tmp_path / "a.avi", scene(40))
    # as fast as a camera: 1.3 s
    lines = run(to_null(source, re=None), name="S1: reading", n_frames=40, every_s=0.5)
    assert any("Input #0, avi" in line for line in lines)
    said = [r.getMessage() for r in caplog.records]
    assert len(said) >= 2
    assert said[0].startswith("S1: reading: ")
    assert " s left" in said[0]
    assert said[-1].startswith("S1: reading: 40 of 40 frames (100 %), ")


def test_progress_in_words():
    assert progress_text({"frame": "1200"}, 15.0, 5000) == (
        "1200 of 5000 frames (24 %), 80.0 frames/s, 48 s left"
    )
    assert progress_text({"frame": "30"}, 2.0, None) == "30 frames, 15.0 frames/s"
    assert progress_text({"frame": "N/A"}, 0.0, 10) == "0 of 10 frames (0 %), 0.0 frames/s"
    assert progress_text({}, 1.0, 10) == "0 of 10 frames (0 %), 0.0 frames/s"


def test_a_failure_says_why(tmp_path):
    (tmp_path / "a.avi").write_text("no video")
    with pytest.raises(FfmpegError, match=r"S1: reading: ffmpeg failed:\n(?s:.*)Invalid data"):
        run(to_null(tmp_path / "a.avi"), name="S1: reading")


def test_a_full_disk_is_one():
    error = failure("S1: compressing", ["[error] x", "[out#0] [error] No space left on device"])
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_found(tmp_path):
    source = write_video(tmp_path / "a.avi", scene(40))
    stream = ffmpeg.output(
        ffmpeg.input(str(source)), "/dev/full", format="rawvideo", pix_fmt="gray"
    )
    with pytest.raises(OSError, match="No space left on device") as error:
        run(stream, name="S1")
    assert error.value.errno == errno.ENOSPC


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_the_child_ends_with_the_block(error):
    with pytest.raises(error), running(["sleep", "60"]) as process:
        raise error
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_ended_job_leaves_no_ffmpeg(tmp_path, how):
    """As in the workflow's jobs, SIGTERM becomes SystemExit; kill -9 is left to Linux."""
    source = write_video(tmp_path / "a.avi", scene(900))
    code = (
        "import signal, sys, ffmpeg\n"
        "from sluice.video.ffmpeg import file_url, run\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n"
        f"stream = ffmpeg.output(ffmpeg.input(file_url({str(source)!r}), re=None), '-', "
        "format='null')\n"
        "run(stream, name='S')\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as job:
        children = wait_for(lambda: children_of(job.pid))
        job.send_signal(how)
        assert job.wait(10) != 0
    # at once, of 30 s
    wait_for(lambda: not any(is_running(child) for child in children))


def is_running(pid):
    """Whether a process is there, and not only its exit status that nobody has read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(ask, *, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ask():
            return found
        time.sleep(0.05)
    raise TimeoutError


def test_a_path_is_never_an_option_or_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "x.avi", scene(2)).rename(tmp_path / "-y:z.avi")
    assert file_url("-y:z.avi") == f"file:{tmp_path}/-y:z.avi"
    run(to_null("-y:z.avi"), name="S")


def test_frames_of_a_log(tmp_path):
    log = tmp_path / "frames.txt"
    log.write_text("0 1/30 0 1/30\n-9223372036854775808 1/30 1 1/30\n5 1/30 5 1001/30000\n")
    frames = read_frame_log(log)
    assert len(frames) == 3
    assert frames.times_s.tolist() == [0, 1 / 30, 5 / 30]
    assert frames.encoded_s.tolist() == [0, 1 / 30, 5 * 1001 / 30000]
    assert (frames.tick_s, frames.n_without_time) == (1 / 30, 1)
    assert len(read_frame_log(tmp_path / "none")) == 0


def test_a_long_log_takes_little_memory(tmp_path):
    """A day at 100 frames a second is 9 million lines."""
    n_frames, log = 50_000, tmp_path / "frames.txt"
    log.write_text("".join(f"{512 * i} 1/15360 {512 * i} 1/15360\n" for i in range(n_frames)))
    tracemalloc.start()
    frames = read_frame_log(log)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # two float64 a frame, of which one array may be copied while it grows
    assert peak / n_frames < 48
    np.testing.assert_array_equal(frames.times_s, 512 * np.arange(n_frames) * 1 / 15360)
    np.testing.assert_array_equal(frames.encoded_s, frames.times_s)
