import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video.camera_movies import NAME, write_video

from sluice.errors import InputError
from sluice.video import frames as frames_module
from sluice.video.frames import read_frames

REAL = "pose/openfield/videos/m3v1mp4.mp4"
N_REAL = 2330
# A video whose luma is the first plane, from 16 to 235, without loss.
LIMITED = {"codec": ("libx264", "-qp", "0"), "pixels": "yuv420p"}
FULL = {"codec": ("libx264", "-qp", "0", "-color_range", "pc"), "pixels": "yuvj420p"}


def noise(n=7, height=46, width=61, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width), np.uint8)


def read_all(path, like, **given):
    given = {"height": like.shape[1], "width": like.shape[2], "n_frames": len(like), **given}
    parts = [(start, part.copy()) for start, part in read_frames(path, **given)]
    starts = np.cumsum([0] + [len(part) for _, part in parts[:-1]])
    assert [start for start, _ in parts] == list(starts)
    return np.concatenate([part for _, part in parts])


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    movie = noise()
    return write_video(tmp_path_factory.mktemp("grey") / "a.mkv", movie), movie


@settings(max_examples=5, deadline=None)
@given(chunk=st.integers(1, 9))
def test_all_frames_come_as_they_are_whatever_the_chunks(grey, chunk):
    path, movie = grey
    np.testing.assert_array_equal(read_all(path, movie, chunk_frames=chunk), movie)


@pytest.mark.parametrize("n", [1, 2])
def test_short_videos(tmp_path, n):
    movie = noise(n)
    path = write_video(tmp_path / "a.mkv", movie)
    np.testing.assert_array_equal(read_all(path, movie), movie)


@pytest.mark.parametrize("how", [LIMITED, FULL])
def test_luma_comes_in_the_full_range(tmp_path, how):
    # with chroma of half the size no side is odd
    movie = noise(height=46, width=60)
    movie[0, :, :30], movie[0, :, 30:] = 0, 255
    path = write_video(tmp_path / "a.mp4", movie, **how)
    found = read_all(path, movie)
    # 220 levels hold 256: an encoder and a decoder that round are off by 1 together
    assert np.abs(found.astype(int) - movie).max() <= 1
    assert (found[0, :, :30] == 0).all() and (found[0, :, 30:] == 255).all()


def test_grey_of_colours_is_luma(tmp_path):
    movie = np.random.default_rng(1).integers(0, 256, (3, 46, 61, 3), np.uint8)
    path = write_video(tmp_path / "a.mkv", movie, pixels="gbrp")
    luma = movie @ [0.299, 0.587, 0.114]
    # ffmpeg's weights have 15 bits, and it goes through 16 to 235
    assert np.abs(read_all(path, movie) - luma).max() <= 2


def test_sixteen_bits_become_eight(tmp_path):
    movie = np.random.default_rng(1).integers(0, 65536, (3, 46, 61), np.uint16)
    path = write_video(tmp_path / "a.mkv", movie, pixels="gray16le")
    assert np.abs(read_all(path, movie).astype(float) - movie / 257).max() <= 1


def test_frames_at_irregular_times_are_each_given_once(tmp_path):
    movie = noise()
    path = write_video(tmp_path / "a.mkv", movie, filters="setpts=PTS+5*mod(N\\,3)/TB/60")
    np.testing.assert_array_equal(read_all(path, movie), movie)


def test_names_of_files_may_look_like_options_or_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    movie = noise(2)
    write_video(tmp_path / "a.mkv", movie).rename("-y:a%02d.mkv")
    np.testing.assert_array_equal(read_all(Path("-y:a%02d.mkv"), movie), movie)


def test_real_frames_are_those_of_opencv(real_data):
    path = real_data / REAL
    capture, worst, n_frames = cv2.VideoCapture(str(path)), 0, 0
    for start, part in read_frames(path, height=480, width=640, n_frames=N_REAL, threads=2):
        for i, frame in enumerate(part, start):
            assert capture.grab()
            if i % 40 == 0:
                other = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2GRAY)
                worst = max(worst, int(cv2.absdiff(frame, other).max()))
            n_frames += 1
    assert n_frames == N_REAL and not capture.grab()
    # OpenCV goes through colours
    assert worst <= 2


def test_chunks_are_bounded(tmp_path, monkeypatch):
    movie = noise(20)
    path = write_video(tmp_path / "a.mkv", movie)
    monkeypatch.setattr(frames_module, "CHUNK_BYTES", 5 * movie[0].nbytes)
    sizes = [len(part) for _, part in read_frames(path, height=46, width=61, n_frames=20)]
    assert sizes == [5, 5, 5, 5]
    monkeypatch.setattr(frames_module, "CHUNK_BYTES", 1)
    parts = [part for _, part in read_frames(path, height=46, width=61, n_frames=20)]
    assert len(parts) == 20
    # one buffer is used again and again
    assert all(np.shares_memory(part, parts[0]) for part in parts)


def children():
    return {
        pid
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    }


@pytest.mark.parametrize("how", ["close", "raise"])
def test_ffmpeg_is_ended_where_the_caller_stops(tmp_path, how):
    movie = noise(300, 200, 300)
    path = write_video(tmp_path / "a.mkv", movie)
    before = children()
    reader = read_frames(path, height=200, width=300, n_frames=300, chunk_frames=1)
    next(reader)
    assert children() - before
    if how == "close":
        reader.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            reader.throw(KeyboardInterrupt)
    assert not children() - before


def test_an_ffmpeg_that_is_killed_is_not_a_short_video(tmp_path):
    movie = noise(300, 200, 300)
    path = write_video(tmp_path / "a.mkv", movie)
    before = children()
    reader = read_frames(path, height=200, width=300, n_frames=300, chunk_frames=1)
    next(reader)
    for pid in children() - before:
        os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(RuntimeError, match="ended by signal 9"):
        for _ in reader:
            pass


@pytest.mark.parametrize("expected", [5, 6, 8, 40])
def test_another_number_of_frames(grey, expected):
    path, movie = grey
    message = f"{NAME}: .*a.mkv has 7 frames; expected {expected}.*compress_video"
    with pytest.raises(InputError, match=message):
        read_all(path, movie, n_frames=expected, name=NAME)


def test_another_size(grey):
    path, movie = grey
    with pytest.raises(InputError, match=r"frames of .*a.mkv are 61 x 46 px; expected 46 x 61"):
        read_all(path, movie.swapaxes(1, 2), name=NAME)


def test_no_frames(grey):
    path, movie = grey
    with pytest.raises(ValueError, match="a video of 0 frames"):
        read_all(path, movie, n_frames=0)


def test_not_a_video(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(InputError, match=r"a.mp4 is not a video that ffmpeg can read"):
        read_all(path, noise())


def test_a_video_cut_short(tmp_path):
    movie = noise(60)
    path = write_video(tmp_path / "a.mkv", movie)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"a.mkv has \d+ frames; expected 60"):
        read_all(path, movie)
