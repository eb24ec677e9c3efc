import json
import logging
import re
import struct
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video.made_up_videos import convert, frames_of, scene, write_video

from sluice.errors import InputError, UserError
from sluice.io.video_container import read_container
from sluice.qc import load_checks
from sluice.session import Camera
from sluice.settings.compress_video import CompressVideo
from sluice.video.compress_video import compress_video_file, measure_timing
from sluice.video.ffmpeg import FfmpegError, ffmpeg_exe
from sluice.video.frame_counts import decode, read_packet_log
from sluice.video.frame_loss import picture_errors, verify
from sluice.video.video_info import load_video_info
from sluice.video.video_source import find_white_level, frames_duration, read_source

NAME = "S1 leftCamera"
OUTPUTS = {
    "video": "_sluice_leftCamera.raw.mp4",
    "info": "video.json",
    "pts": "frame_pts.npy",
    "checks": "checks.json",
}


class Result:
    def __init__(self, folder):
        self.folder = folder
        self.video = folder / OUTPUTS["video"]
        self.info = load_video_info(folder / OUTPUTS["info"])
        self.pts = np.load(folder / OUTPUTS["pts"])
        self.checks = {one.name: one for one in load_checks(folder / OUTPUTS["checks"])}
        self.bytes = {key: (folder / name).read_bytes() for key, name in OUTPUTS.items()}

    def frames(self, colour=False):
        return frames_of(self.video, height=self.info.height, width=self.info.width, colour=colour)


@pytest.fixture
def run(tmp_path, caplog):
    """Compress a file, quickly unless `preset` is given."""
    caplog.set_level(logging.INFO, logger="sluice")

    def compress(path, *, rate_hz=None, device="cpu", threads=2, **changes):
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        compress_video_file(
            camera=Camera("S1", "camera", "leftCamera", str(path), "video", rate_hz),
            settings=CompressVideo(**{"preset": "veryfast"} | changes).model_dump(mode="json"),
            device=device,
            threads=threads,
            name=NAME,
            **{key: folder / name for key, name in OUTPUTS.items()},
        )
        return Result(folder)

    return compress


def count_by_opencv(path):
    """An independent count: OpenCV's own ffmpeg, frame by frame."""
    capture, n = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        n += 1
    return n


def times_of(path):
    """Times of the frames (s), by ffmpeg's showinfo."""
    done = subprocess.run(
        [
            *(ffmpeg_exe(), "-hide_banner", "-i", str(path), "-fps_mode", "passthrough"),
            *("-enc_time_base", "demux", "-vf", "showinfo", "-f", "null", "-"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return np.array([float(t) for t in re.findall(r"pts_time:([\d.]+)", done.stderr)])


# --- what goes in comes out -----------------------------------------------------------------


def test_every_frame_of_a_grey_video_comes_back(run, tmp_path):
    frames = scene(90)
    source = write_video(tmp_path / "a.avi", frames, rate_hz=60, codec="rawvideo")
    before = source.read_bytes(), source.stat().st_mtime_ns
    result = run(source)
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert count_by_opencv(result.video) == 90
    found = result.frames()
    assert found.shape == frames.shape
    # the square is where it was in each frame: none is repeated, missing or out of order
    for t in range(90):
        errors = np.abs(found.astype(int) - frames[t]).mean(axis=(1, 2))
        assert np.argmin(errors) in {t, *np.flatnonzero((np.arange(90) - t) % 26 == 0)}
        assert errors[t] < 4
    info = result.info
    assert (info.n_frames, info.height, info.width, info.name) == (90, 48, 64, NAME)
    assert info.sampling_rate_hz == pytest.approx(60)
    assert info.duration_s == pytest.approx(1.5)
    assert info.is_constant_rate
    assert info.size_bytes == result.video.stat().st_size
    assert info.encoder.startswith("ffmpeg ")
    assert "-c:v libx264 -preset veryfast -crf 29 -threads:v 4" in info.encoder
    assert str(tmp_path) not in info.encoder
    assert info.source == {
        "codec": "rawvideo",
        "pixel_format": "gray",
        "height": 48,
        "width": 64,
        "n_frames_header": 90,
        "n_packets": 90,
        "n_decoded": 90,
        "n_lost": 0,
        "n_damaged": 0,
        "n_empty": 0,
        "n_errors": 0,
        "duration_s": 1.5,
        "rate_hz": 60.0,
        "rotation_deg": 0.0,
        "white_level": None,
        "size_bytes": source.stat().st_size,
        "has_audio": False,
    }
    np.testing.assert_allclose(result.pts, np.arange(90) / 60, atol=1e-12)
    assert result.pts.dtype == np.float64
    assert {one.verdict for one in result.checks.values()} == {"PASS"}
    assert result.checks["video_size_ratio"].value > 10


@pytest.mark.parametrize("levels", ["source", "full", "limited"])
@pytest.mark.parametrize("codec", ["rawvideo", "mjpeg"])
def test_grey_levels_come_back(run, tmp_path, levels, codec):
    # every level from 0 to 255, in patches that survive compression
    patches = np.kron(np.arange(256).reshape(16, 16), np.ones((16, 16))).astype(np.uint8)
    source = write_video(tmp_path / "a.avi", np.repeat(patches[None], 8, axis=0), codec=codec)
    result = run(source, levels=levels, preset="slow")
    by_opencv = cv2.VideoCapture(str(result.video)).read()[1]
    for picture in (result.frames()[0], by_opencv[..., 1]):
        found = picture.reshape(16, 16, 16, 16).transpose(0, 2, 1, 3)[..., 4:12, 4:12]
        error = np.median(found, axis=(2, 3)).ravel() - np.arange(256)
        assert np.abs(error).max() <= (2 if levels == "limited" else 1)


@pytest.mark.parametrize("levels", ["source", "full"])
def test_a_source_of_limited_levels(run, tmp_path, levels):
    patches = np.kron(np.arange(256).reshape(16, 16), np.ones((16, 16))).astype(np.uint8)
    source = write_video(
        tmp_path / "a.mkv",
        np.repeat(patches[None], 4, axis=0),
        codec="ffv1",
        filters="scale=out_range=limited,format=yuv420p",
    )
    result = run(source, levels=levels, crf=10)
    described = subprocess.run(
        [ffmpeg_exe(), "-i", result.video], capture_output=True, text=True
    ).stderr
    assert ("(tv" in described) == (levels == "source")
    error = result.frames()[0].astype(int) - frames_of(source, height=256, width=256)[0]
    assert np.abs(error).max() <= 2


def test_colour_stays_colour(run, tmp_path):
    frames = scene(20, colour=True)
    source = write_video(
        tmp_path / "a.avi", frames, codec="rawvideo", options=("-pix_fmt", "bgr24")
    )
    result = run(source, crf=17)
    found = result.frames(colour=True)
    # colour has half the resolution
    assert np.abs(found.astype(int) - frames).mean() < 4
    square = found[0, 13:19, 3:9].mean(axis=(0, 1))
    np.testing.assert_allclose(square, 255 * np.array([0.95, 0.8, 0.6]), atol=6)
    assert result.info.source["pixel_format"] == "bgr24"
    by_opencv = cv2.VideoCapture(str(result.video)).read()[1]
    np.testing.assert_allclose(by_opencv[13:19, 3:9].mean(axis=(0, 1))[::-1], square, atol=3)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("size", [(33, 64), (48, 101), (33, 101)])
def test_odd_sizes_are_padded_and_coordinates_stay(run, tmp_path, caplog, size, colour):
    frames = scene(6, *size, colour=colour)
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1")
    result = run(source, crf=12)
    height, width = size
    assert (result.info.height, result.info.width) == (height + height % 2, width + width % 2)
    assert (result.info.source["height"], result.info.source["width"]) == size
    found = result.frames(colour).astype(int)
    assert np.abs(found[:, :height, :width] - frames).mean() < 3
    # the last column and row once more
    assert np.abs(found[:, :height, -1] - frames[:, :, -1]).mean() < 8
    assert np.abs(found[:, -1, :width] - frames[:, -1]).mean() < 8
    assert "the last column or row is stored twice" in caplog.text


def test_444_keeps_odd_sizes(run, tmp_path):
    frames = scene(4, 33, 51, colour=True)
    result = run(write_video(tmp_path / "a.mkv", frames, codec="ffv1"), pixel_format="yuv444p")
    assert (result.info.height, result.info.width) == (33, 51)
    assert result.frames(colour=True).shape == frames.shape


# --- 16 bits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("top", "white"), [(200, 255), (1000, 1023), (3800, 4095), (65535, 65535)])
def test_fewer_bits_in_16_do_not_come_out_black(run, tmp_path, caplog, top, white, colour):
    frames = scene(8, colour=colour, dtype=np.uint16, top=top)
    options = ("-pix_fmt", "gbrp16le") if colour else ()
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", options=options)
    result = run(source, crf=10)
    assert result.info.source["white_level"] == white
    assert f"16 bits; the brightest pixel is {frames.max()}, white is {white}" in caplog.text
    expected = np.rint(frames / white * 255)
    assert np.abs(result.frames(colour) - expected).mean() < 2.5


def test_the_brightest_pixel_may_be_where_an_edit_hides_it(run, tmp_path):
    frames = scene(60, dtype=np.uint16, top=1000)
    frames[14] = frames[14] * 3
    options = ("-level", "1", "-g", "12", "-pix_fmt", "gray16le")
    plain = write_video(tmp_path / "plain.mov", frames, codec="ffv1", options=options)
    source = tmp_path / "a.mov"
    # a cut at frame 18 without new compression keeps the frames from 12 on, hidden
    command = [ffmpeg_exe(), "-loglevel", "error", "-ss", "0.6", "-i", plain, "-c", "copy"]
    subprocess.run([*command, source], check=True)
    result = run(source)
    assert result.info.n_frames == 48
    assert result.info.source["white_level"] == 4095


def test_a_failed_search_for_white_is_an_error(run, tmp_path, monkeypatch):
    """Half of the pixels are no reason to choose a level."""
    path = write_video(tmp_path / "a.mkv", scene(4, dtype=np.uint16), codec="ffv1")
    source = read_source(path, name=NAME)
    fake = tmp_path / "fake-ffmpeg"
    fake.write_text("#!/bin/sh\nprintf '\\001\\000'\necho '[error] no more' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(fake))
    with pytest.raises(FfmpegError, match=rf"{NAME}: looking for white in a.mkv(?s:.*)no more"):
        find_white_level(source, threads=1, name=NAME)


def test_the_white_level_can_be_given(run, tmp_path):
    frames = scene(8, dtype=np.uint16, top=4000)
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1")
    result = run(source, crf=10, white_level=2000)
    assert result.info.source["white_level"] == 2000
    assert np.abs(result.frames() - np.rint(frames / 2000 * 255).clip(0, 255)).mean() < 2


def test_a_format_of_12_bits_is_taken_at_its_word(run, tmp_path):
    frames = scene(8, dtype=np.uint16, top=65535)
    options = ("-pix_fmt", "gray12le")
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", options=options)
    result = run(source, crf=10)
    assert result.info.source["pixel_format"] == "gray12le"
    assert result.info.source["white_level"] == 4095
    assert np.abs(result.frames() - np.rint(frames / 65535 * 255)).mean() < 2
    with pytest.raises(InputError, match=r"white_level is 5000, but .*a.mkv has 12 bits"):
        run(source, white_level=5000)


# --- times ------------------------------------------------------------------------------------


def vary(path, expression, *, n_frames=40, container_options=()):
    """A video whose frames have the times of an expression of N, in s."""
    frames = scene(n_frames)
    plain = write_video(path.with_name("plain.mkv"), frames, codec="mjpeg")
    # packets are given new times, so that no encoder interferes
    return convert(
        plain, path, "-c", "copy", "-bsf:v", f"setts=ts='{expression}/TB'", *container_options
    )


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_a_varying_rate_is_kept(run, tmp_path, suffix):
    options = ("-video_track_timescale", "90000") if suffix == "mov" else ()
    source = vary(
        tmp_path / f"a.{suffix}", "(N/30+0.011*mod(N,3)+3*gte(N,20))", container_options=options
    )
    frame = np.arange(40)
    truth = frame / 30 + 0.011 * (frame % 3) + 3 * (frame >= 20)
    result = run(source)
    # ticks of the file: 1 ms in mkv
    np.testing.assert_allclose(result.pts, truth, atol=6e-4)
    np.testing.assert_allclose(result.pts, times_of(source), atol=1e-9 + 1e-6)
    in_mp4 = times_of(result.video)
    assert np.abs(in_mp4 - in_mp4[0] - result.pts).max() < 1e-3
    assert count_by_opencv(result.video) == 40
    assert not result.info.is_constant_rate
    assert result.info.sampling_rate_hz == pytest.approx(1 / np.median(np.diff(truth)), rel=0.03)
    one = result.checks["video_varying_interval_fraction"]
    assert (one.value, one.verdict) == (pytest.approx(14 / 39), "WARNING")
    assert one.message == "the frame rate varies"


def test_ticks_of_a_millisecond_are_no_varying_rate(run, tmp_path):
    result = run(write_video(tmp_path / "a.mkv", scene(50), rate_hz=30))
    assert result.info.is_constant_rate
    # a single interval is 33 or 34 ms: 30.3 or 29.4 Hz
    assert result.info.sampling_rate_hz == pytest.approx(30, rel=1e-3)


def test_the_table_of_streams_corrects_the_rate(run, tmp_path):
    source = write_video(tmp_path / "a.avi", scene(30), rate_hz=25)
    result = run(source, rate_hz=60.0)
    assert result.info.sampling_rate_hz == 60
    assert result.info.duration_s == 0.5
    # the source's own times stay what they are
    np.testing.assert_allclose(result.pts, np.arange(30) / 25, atol=1e-12)
    one = result.checks["video_rate_difference"]
    assert (one.value, one.verdict) == (pytest.approx(1 - 25 / 60), "WARNING")
    assert "60.0000 Hz in the table of streams, which is used, 25.0000 Hz by the video" in (
        one.message
    )


def video_with_times(path, times_ms):
    """An mkv whose frames have these times; they are put in by hand, as no muxer would."""
    write_video(path, scene(len(times_ms)), rate_hz=25)
    content = bytearray(path.read_bytes())
    # the beginning of a cluster with its time; track 1, time within the cluster, a key frame
    clusters = list(
        re.finditer(rb"\x1f\x43\xb6\x75.{1,8}?\xe7[\x81\x82](.{1,2}?)\xa3", content, re.S)
    )
    frames = list(re.finditer(rb"\x81(..)\x80\xff\xd8", content, re.S))
    assert len(frames) == len(times_ms)
    for n, frame in enumerate(frames):
        cluster = [c for c in clusters if c.start() < frame.start()][-1]
        start_ms = int.from_bytes(cluster[1], "big")
        assert start_ms + int.from_bytes(frame[1], "big") == 40 * n
        content[frame.start(1) : frame.end(1)] = (times_ms[n] - start_ms).to_bytes(
            2, "big", signed=True
        )
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "times_ms",
    [
        [40 * (n - (n == 10)) for n in range(40)],  # the same time twice
        [40 * (n - 15 * (n >= 20)) for n in range(40)],  # a clock that starts again
        [2000] * 40,  # a clock that stands still
    ],
)
def test_times_that_do_not_ascend_drop_no_frame(run, tmp_path, times_ms):
    source = video_with_times(tmp_path / "a.mkv", times_ms)
    result = run(source, rate_hz=25.0)
    assert result.info.n_frames == 40
    assert count_by_opencv(result.video) == 40
    np.testing.assert_allclose(result.pts, (np.array(times_ms) - times_ms[0]) / 1e3, atol=1e-9)
    assert (np.diff(times_of(result.video)) > 0).all()
    one = result.checks["video_disordered_time_fraction"]
    assert one.value == pytest.approx((np.diff(result.pts) <= 0).mean())
    assert one.value > 0
    assert one.verdict != "PASS"
    frames = scene(40)
    assert np.abs(result.frames().astype(int) - frames).mean(axis=(1, 2)).max() < 5


def test_times_that_tell_no_rate(run, tmp_path):
    source = video_with_times(tmp_path / "a.mkv", [0, 0, 0])
    # as its header says
    assert run(source).info.sampling_rate_hz == 25


def test_frames_without_a_time_get_that_of_their_neighbours(run, tmp_path):
    # H.264 with B frames in AVI, which stores no order of showing
    options = ("-bf", "2", "-pix_fmt", "yuv420p")
    source = write_video(tmp_path / "a.avi", scene(30), codec="libx264", options=options)
    result = run(source)
    assert result.info.n_frames == 30
    np.testing.assert_allclose(result.pts, np.arange(30) / 30, atol=1e-9)
    message = result.checks["video_disordered_time_fraction"].message
    assert message == "30 frames have no time of their own"


def test_empty_chunks_of_an_avi_are_no_frames(run, tmp_path):
    # ffmpeg fills gaps with them when it writes AVI
    plain = write_video(tmp_path / "plain.avi", scene(20))
    source = convert(plain, tmp_path / "a.avi", "-c", "copy", "-bsf:v", "setts=ts='N+5*gte(N,10)'")
    assert read_container(source).n_frames == 25
    result = run(source)
    assert result.info.n_frames == count_by_opencv(result.video) == 20
    np.testing.assert_allclose(np.diff(result.pts)[9], 6 / 30)
    one = result.checks["video_header_frame_difference"]
    assert (one.value, one.verdict) == (5, "WARNING")
    assert one.message == "25 frames in the header, 20 found; 5 were never recorded"
    assert result.info.source["n_empty"] == 5
    # and where it is cut as well
    begin, n_bytes = frame_places(source)[22]
    cut(source, begin + n_bytes)
    with pytest.raises(InputError, match="18 are in the file and 25 in its header, of which 5 are"):
        run(source)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(2, 300), st.floats(1, 500), st.sampled_from([1e-6, 1e-4, 1e-3]))
def test_rounding_to_ticks_is_no_varying_rate(n, rate_hz, tick_s):
    times_s = np.rint(np.arange(n) / rate_hz / tick_s) * tick_s
    found = measure_timing(times_s + 7, tick_s=tick_s, max_difference=0.1)
    assert found.varying_fraction == 0
    assert found.times_s[0] == 0
    if found.rate_hz is not None:  # frames closer than a tick
        error_s = abs(1 / found.rate_hz - 1 / rate_hz) * (n - 1)
        assert error_s <= tick_s * 1.01


def test_one_frame_has_no_interval():
    found = measure_timing(np.array([3.0]), tick_s=0.1, max_difference=0.1)
    assert (found.rate_hz, found.varying_fraction, found.disordered_fraction) == (None, 0, 0)


# --- sound, rotation, edits --------------------------------------------------------------------


def described(path):
    """What ffmpeg says of a file."""
    return subprocess.run([ffmpeg_exe(), "-i", path], capture_output=True, text=True).stderr


def sound_of(path):
    """The samples of a file's sound, 64-bit float."""
    command = [ffmpeg_exe(), "-loglevel", "error", "-i", path, "-vn", "-c:a", "pcm_f64le", "-f"]
    done = subprocess.run([*command, "f64le", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float64)


@pytest.mark.parametrize(
    ("suffix", "codec", "becomes", "level", "said"),
    [
        ("mp4", "aac", "aac", "INFO", "sound (aac) is copied"),
        ("avi", "pcm_s16le", "flac", "INFO", "sound (pcm_s16le) is stored as FLAC, without loss"),
        ("mkv", "pcm_s24le", "flac", "INFO", "sound (pcm_s24le) is stored as FLAC, without loss"),
        ("mkv", "pcm_f32le", "flac", "WARNING", "stored as FLAC, rounded to 24 bits"),
        ("mkv", "wmav2", "aac", "WARNING", "sound (wmav2, 44100 Hz) is stored as AAC, with a"),
    ],
)
def test_sound_is_kept(run, tmp_path, caplog, suffix, codec, becomes, level, said):
    video = "libx264" if suffix == "mp4" else "mjpeg"
    source = write_video(tmp_path / f"a.{suffix}", scene(30), codec=video, sound=("-c:a", codec))
    result = run(source)
    (record,) = (one for one in caplog.records if said in one.getMessage())
    assert record.levelname == level
    assert result.info.n_frames == 30
    assert result.info.source["has_audio"]
    assert f"Audio: {becomes}" in described(result.video)
    if becomes == "flac":
        np.testing.assert_array_equal(sound_of(result.video), sound_of(source))
    result = run(source, audio="drop")
    assert "Audio" not in described(result.video)
    assert f"sound ({codec}) is left out" in caplog.text
    assert result.info.n_frames == 30


@pytest.mark.parametrize("rate_hz", [195312, 250000])
def test_ultrasound_is_kept_to_the_last_bit(run, tmp_path, rate_hz):
    """Mice sing at 50 to 100 kHz; AAC ends at 48."""
    plain = write_video(tmp_path / "plain.avi", scene(30))
    tone = f"sine=frequency=80000:sample_rate={rate_hz}:duration=1"
    source = tmp_path / "a.avi"
    command = [ffmpeg_exe(), "-loglevel", "error", "-i", plain, "-f", "lavfi", "-i", tone]
    subprocess.run([*command, "-c:v", "copy", "-c:a", "pcm_s16le", source], check=True)
    result = run(source)
    assert f"Audio: flac (fLaC / 0x43614C66), {rate_hz} Hz" in described(result.video)
    sound = sound_of(result.video)
    np.testing.assert_array_equal(sound, sound_of(source))
    assert np.argmax(np.abs(np.fft.rfft(sound))) == pytest.approx(80000, abs=2)


def test_sound_that_flac_cannot_hold_is_told(run, tmp_path, caplog):
    sound = ("-ar", "700000", "-c:a", "pcm_s16le")
    source = write_video(tmp_path / "a.avi", scene(30), sound=sound)
    result = run(source)
    assert "Audio: aac" in described(result.video)
    assert (
        "sound (pcm_s16le, 700000 Hz) is stored as AAC, with a loss: it ends at 48 kHz"
        in caplog.text
    )


def test_a_rotation_is_neither_done_nor_passed_on(run, tmp_path, caplog):
    plain = write_video(tmp_path / "plain.mp4", scene(10), codec="libx264")
    source = tmp_path / "a.mp4"
    command = [ffmpeg_exe(), "-loglevel", "error", "-display_rotation", "90", "-i", plain]
    subprocess.run([*command, "-c", "copy", source], check=True)
    result = run(source)
    assert "turn it by 90 degrees; it is not turned" in caplog.text
    assert result.info.source["rotation_deg"] == 90
    assert (result.info.height, result.info.width) == (48, 64)
    # OpenCV turns by itself what asks for it
    assert cv2.VideoCapture(str(result.video)).read()[1].shape == (48, 64, 3)
    assert np.abs(result.frames().astype(int) - scene(10)).mean() < 5


def test_frames_that_an_edit_list_hides_are_kept(run, tmp_path):
    options = ("-g", "12", "-bf", "2")
    plain = write_video(tmp_path / "plain.mp4", scene(60), codec="libx264", options=options)
    source = tmp_path / "a.mp4"
    # a cut without new compression starts at the key frame and hides what lies before it
    command = [ffmpeg_exe(), "-loglevel", "error", "-ss", "0.55", "-i", plain, "-c", "copy"]
    subprocess.run([*command, source], check=True)
    n_frames = read_container(source).n_frames
    shown = frames_of(source, height=48, width=64)
    assert len(shown) < n_frames
    assert run(source).info.n_frames == n_frames


# --- the same bytes ----------------------------------------------------------------------------


def test_the_same_video_gives_the_same_bytes(run, tmp_path):
    source = write_video(
        tmp_path / "a.avi", scene(60, colour=True), sound=("-c:a", "pcm_s16le"), rate_hz=50
    )
    first = run(source, preset="slow")
    # the job's threads are those of the decoder and of filters, which change nothing
    for threads in (2, 1, 3, 8):
        assert run(source, preset="slow", threads=threads).bytes == first.bytes
    # those of x264 do
    assert run(source, preset="slow", encoder_threads=1).bytes["video"] != first.bytes["video"]


def test_nothing_is_written_beside_the_outputs(run, tmp_path):
    source = write_video(tmp_path / "a.avi", scene(12))
    result = run(source)
    assert sorted(p.name for p in result.folder.iterdir()) == sorted(OUTPUTS.values())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.avi", "out"]


def test_the_index_comes_first(run, tmp_path):
    content = run(write_video(tmp_path / "a.avi", scene(12))).bytes["video"]
    assert content.index(b"moov") < content.index(b"mdat")


def test_paths_with_colons_spaces_and_dashes(run, tmp_path):
    folder = tmp_path / "-a b:c %d"
    folder.mkdir()
    assert run(write_video(folder / "x.avi", scene(12))).info.n_frames == 12


# --- the GPU -----------------------------------------------------------------------------------


def test_hardware_without_a_gpu_in_the_job_is_told(run, tmp_path, caplog):
    source = write_video(tmp_path / "a.avi", scene(12, 160, 160))
    result = run(source, hardware=True)
    assert "hardware is set, but the job has no GPU; libx264 encodes" in caplog.text
    assert "libx264" in result.info.encoder


def test_a_gpu_that_cannot_encode_is_an_error(run, tmp_path):
    source = write_video(tmp_path / "a.avi", scene(12, 160, 160))
    try:
        result = run(source, hardware=True, device="cuda")
    except UserError as error:
        assert "The GPU cannot encode this video" in str(error)
        assert "Set video.compress_video.hardware: false" in str(error)
    else:  # on a machine with an encoder
        assert "h264_nvenc" in result.info.encoder


def test_a_gpu_is_not_used_unasked(run, tmp_path):
    result = run(write_video(tmp_path / "a.avi", scene(12)), device="cuda")
    assert "libx264" in result.info.encoder


# --- damage ------------------------------------------------------------------------------------


def cut(path, n_bytes):
    content = path.read_bytes()
    path.write_bytes(content[:n_bytes])
    return path


def frame_places(path):
    """Where the content of each frame of an AVI begins, and its length."""
    content = path.read_bytes()
    position, places = content.index(b"movi") + 4, []
    while content[position : position + 4] == b"00dc":
        n_bytes = int.from_bytes(content[position + 4 : position + 8], "little")
        places.append((position + 8, n_bytes))
        position += 8 + n_bytes + n_bytes % 2
    return places


def test_an_mjpeg_avi_cut_short(run, tmp_path, caplog):
    source = write_video(tmp_path / "a.avi", scene(30, colour=True))
    begin, n_bytes = frame_places(source)[20]
    size = source.stat().st_size
    cut(source, begin + n_bytes // 2)
    # the last frame is decoded all the same, its lower half made up
    with pytest.raises(InputError) as error:
        run(source)
    text = str(error.value)
    assert text.startswith(f"{NAME}: {source} is not whole: ")
    assert "21 frames can be decoded, 21 are in the file and 30 in its header" in text
    assert "1 are damaged (frames 20, counted from 0)" in text
    assert f"it has {begin + n_bytes // 2} bytes, its header says {size}" in text
    assert "set video.compress_video.allow_damage: true" in text
    # told before anything is compressed
    assert "its frames are counted" in caplog.text
    assert "compressing" not in caplog.text
    result = run(source, allow_damage=True)
    assert result.info.n_frames == count_by_opencv(result.video) == 21
    assert (result.info.source["n_lost"], result.info.source["n_damaged"]) == (9, 1)
    lost, damaged = (result.checks[f"video_{what}_frames"] for what in ("lost", "damaged"))
    assert (lost.value, lost.verdict) == (9, "FAIL")
    assert (damaged.value, damaged.verdict) == (1, "FAIL")
    assert "30 in its header" in lost.message


def test_a_raw_avi_cut_short(run, tmp_path):
    source = write_video(tmp_path / "a.avi", scene(30), codec="rawvideo")
    begin, n_bytes = frame_places(source)[12]
    cut(source, begin + n_bytes - 1)
    with pytest.raises(
        InputError, match="12 frames can be decoded, 13 are in the file and 30 in its header; the f"
    ):
        run(source)
    assert run(source, allow_damage=True).info.n_frames == 12


def test_a_whole_number_of_frames_of_a_cut_avi(run, tmp_path):
    """Nothing that is left is damaged; only the header knows."""
    source = write_video(tmp_path / "a.avi", scene(30), codec="rawvideo")
    begin, n_bytes = frame_places(source)[12]
    cut(source, begin + n_bytes)
    with pytest.raises(InputError, match="13 frames can be decoded, 13 are in the file and 30 in"):
        run(source)


def test_an_avi_that_was_never_closed(run, tmp_path):
    """A program that is killed leaves a header without sizes and counts."""
    source = tmp_path / "a.avi"
    frames = scene(30)
    command = [ffmpeg_exe(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s"]
    command += ["64x48", "-r", "30", "-i", "-", "-c:v", "mjpeg", "-f", "avi", "pipe:1"]
    done = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=True)
    source.write_bytes(done.stdout)
    result = run(source)
    assert result.info.n_frames == 30
    one = result.checks["video_header_frame_difference"]
    assert (one.value, one.verdict) == (30, "WARNING")
    # what follows the frames is an index; the last frame lies right before it
    begin, n_bytes = frame_places(source)[25]
    cut(source, begin + n_bytes // 2)
    with pytest.raises(InputError, match=r"1 are damaged \(frames 25, counted from 0\)"):
        run(source)


@pytest.mark.parametrize("faststart", [True, False])
def test_an_mp4_cut_short(run, tmp_path, faststart):
    options = ("-movflags", "+faststart") if faststart else ()
    source = write_video(tmp_path / "a.mp4", scene(60), codec="libx264", options=options)
    size = source.stat().st_size
    cut(source, size * 2 // 3)
    if not faststart:
        with pytest.raises(InputError, match=r"S1 leftCamera: .*a.mp4: this MP4 has no index"):
            run(source)
        return
    with pytest.raises(InputError, match=r"frames can be decoded, .* and 60 in its header"):
        run(source)
    result = run(source, allow_damage=True)
    assert 10 < result.info.n_frames < 60
    assert result.info.n_frames == count_by_opencv(result.video)
    assert result.info.source["n_lost"] == 60 - result.info.n_frames


@pytest.mark.parametrize("codec", ["mjpeg", "libx264"])
def test_errors_in_the_middle_are_found(run, tmp_path, codec):
    frames = scene(40, 96, 128, colour=True)
    source = write_video(tmp_path / "a.avi", frames, codec=codec, options=("-bf", "0"))
    places = frame_places(source)
    content = bytearray(source.read_bytes())
    for frame in (11, 30):
        begin, n_bytes = places[frame]
        middle = begin + n_bytes // 2
        content[middle : begin + n_bytes - 4] = b"\xa5" * (n_bytes - n_bytes // 2 - 4)
    source.write_bytes(content)
    # H.264 fills up the second one without an error, so that its number is not known
    numbers = "11, 30" if codec == "mjpeg" else "11"
    with pytest.raises(InputError, match=rf"2 are damaged \(frames {numbers}, counted from 0\)"):
        run(source)
    result = run(source, allow_damage=True)
    # a damaged frame is kept: those behind it stay in their places
    assert result.info.n_frames == 40
    assert result.checks["video_damaged_frames"].value == 2
    assert result.checks["video_lost_frames"].value == 0


def test_a_frame_that_cannot_be_decoded_leaves_a_gap_in_the_times(run, tmp_path):
    source = write_video(tmp_path / "a.avi", scene(30))
    begin, n_bytes = frame_places(source)[7]
    content = bytearray(source.read_bytes())
    content[begin : begin + n_bytes] = bytes(n_bytes)
    source.write_bytes(content)
    with pytest.raises(InputError, match="29 frames can be decoded, 30 are in the file and 30 in"):
        run(source)
    result = run(source, allow_damage=True)
    assert result.info.n_frames == 29
    np.testing.assert_allclose(result.pts, np.delete(np.arange(30), 7) / 30, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "mjpeg"), ("a.mkv", "libx264"), ("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9")],
)
def test_a_matroska_file_cut_short(run, tmp_path, caplog, name, codec):
    """What is left of it is decoded without an error, and no header counts its frames."""
    options = ("-g", "10")
    source = write_video(tmp_path / name, scene(150), codec=codec, options=options)
    assert run(source).info.n_frames == 150
    size = source.stat().st_size
    cut(source, size * 2 // 3)
    caplog.clear()
    with pytest.raises(InputError) as error:
        run(source)
    text = str(error.value)
    assert text.startswith(f"{NAME}: {source} is not whole: ")
    assert f"it has {size * 2 // 3} bytes, its header says {size}" in text
    assert re.search(r"its header says that it lasts 5.000 s, its frames last 3\.\d+ s", text)
    assert "File ended prematurely" in text
    assert "set video.compress_video.allow_damage: true" in text
    # told before anything is compressed
    assert "compressing" not in caplog.text
    result = run(source, allow_damage=True)
    n_frames = result.info.n_frames
    assert 90 < n_frames < 115
    assert n_frames == count_by_opencv(result.video)
    assert result.info.source["n_lost"] == pytest.approx(
        # H.264 gives out the last frames before those that are shown between them
        150 - n_frames,
        abs=3 if codec == "libx264" else 1,
    )
    assert result.checks["video_lost_frames"].verdict == "FAIL"
    assert result.checks["video_reading_errors"].verdict == "FAIL"


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [("a.wmv", "wmv2", ("-c:a", "wmav2")), ("a.flv", "flv", ("-ar", "44100", "-c:a", "aac"))],
)
def test_only_the_length_tells_that_it_is_cut(run, tmp_path, name, codec, sound):
    """Its duration may be that of the sound, and packets of 3200 bytes are whole."""
    source = write_video(tmp_path / name, scene(60), codec=codec, sound=sound)
    size = source.stat().st_size
    cut(source, size - 3200 * 6)
    with pytest.raises(InputError, match=rf"is not whole: .*its header says {size}; expected"):
        run(source)
    result = run(source, allow_damage=True)
    assert 20 < result.info.n_frames < 60
    assert result.checks["video_reading_errors"].verdict == "FAIL"


@pytest.mark.parametrize("n_bytes", [1, 100])
def test_a_matroska_file_that_lacks_only_its_index(run, tmp_path, n_bytes):
    source = write_video(tmp_path / "a.mkv", scene(60), codec="ffv1")
    cut(source, source.stat().st_size - n_bytes)
    with pytest.raises(InputError, match=r"is not whole: .*60 frames can be decoded, 60 are in"):
        run(source)
    assert run(source, allow_damage=True).info.n_frames == 60


def test_a_header_that_knows_of_more_time(run, tmp_path):
    """Where the end is missing but the file's length is as its header says."""
    source = write_video(tmp_path / "a.mkv", scene(60), codec="mjpeg", rate_hz=30)
    content = bytearray(source.read_bytes())
    # the element Duration, of 8 bytes, in ms
    place = content.index(b"\x44\x89\x88") + 3
    assert struct.unpack_from(">d", content, place) == (2000,)
    for duration_ms, n_lost in ((2040, 0), (2400, 12)):
        struct.pack_into(">d", content, place, duration_ms)
        # the same once more for the stream alone
        text = f"00:00:0{duration_ms / 1000:.9f}".encode()
        where = content.index(b"00:00:02.")
        content[where : where + len(text)] = text
        source.write_bytes(content)
        if not n_lost:
            assert run(source).info.n_frames == 60
            continue
        with pytest.raises(
            InputError,
            match=r"its header says that it lasts 2.400 s, its frames last 2.000 s: about 12 are",
        ):
            run(source)
        assert run(source, allow_damage=True).info.source["n_lost"] == n_lost


def test_sound_may_be_longer_than_the_frames(run, tmp_path):
    plain = write_video(tmp_path / "plain.mkv", scene(30))
    source = tmp_path / "a.mkv"
    command = [ffmpeg_exe(), "-loglevel", "error", "-i", plain, "-f", "lavfi", "-i"]
    command += ["sine=duration=4", "-c:v", "copy", "-c:a", "flac", source]
    subprocess.run(command, check=True)
    assert {one.verdict for one in run(source).checks.values()} == {"PASS"}


def test_a_duration_is_the_time_of_the_end(run, tmp_path):
    """Where Matroska begins later than at 0, alone or after the sound."""
    plain = write_video(tmp_path / "plain.mkv", scene(30))
    late = convert(plain, tmp_path / "late.mkv", "-c", "copy", "-output_ts_offset", "95000")
    assert run(late).info.n_frames == 30
    # and cut, with the length of its only segment unknown
    content = bytearray(late.read_bytes())
    place = content.index(b"\x18\x53\x80\x67") + 4
    content[place : place + 8] = b"\x01" + b"\xff" * 7
    late.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"says that it lasts 1.000 s, its frames last 0\.\d+ s"):
        run(late)
    behind = tmp_path / "behind.mkv"
    command = [ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", "sine=duration=6"]
    command += ["-itsoffset", "4", "-i", plain, "-map", "1:v", "-map", "0:a", "-c:v", "copy"]
    subprocess.run([*command, "-c:a", "flac", behind], check=True)
    assert run(behind).info.n_frames == 30


def test_a_pause_at_the_end_is_none_lost(run, tmp_path):
    # the last frame may last as long as the longest before it
    source = vary(tmp_path / "a.mkv", "(N/30+2*gte(N,20)+2*gte(N,39))")
    assert run(source).info.n_frames == 40
    content = bytearray(source.read_bytes())
    place = content.index(b"\x44\x89\x88") + 3
    (duration_ms,) = struct.unpack_from(">d", content, place)
    for more_ms, is_whole in ((2000, True), (4000, False)):
        struct.pack_into(">d", content, place, duration_ms + more_ms)
        # that of the stream would go before
        source.write_bytes(content.replace(b"DURATION", b"duration"))
        if is_whole:
            assert run(source).info.n_frames == 40
        else:
            with pytest.raises(InputError, match=r"is not whole: 40 frames .*its header says that"):
                run(source)


def test_the_duration_of_a_cover_is_not_that_of_the_frames():
    text = """Input #0, matroska,webm, from 'file:a.mkv':
  Duration: 00:00:09.00, start: 1.000000, bitrate: 1 kb/s
  Stream #0:0: Video: png, rgb24, 64x48 (attached pic)
    Metadata:
      DURATION        : 00:00:07.000000000
  Stream #0:1(eng): Video: mjpeg, yuvj420p, 64x48, 30 fps
    Metadata:
      DURATION        : 00:00:05.000000000
  Stream #0:2: Audio: vorbis, 44100 Hz
"""
    assert frames_duration(text) == 4.0
    # of the whole file, which may be that of the sound
    assert frames_duration(text.replace("DURATION", "x")) is None
    assert frames_duration(text.replace("matroska,webm", "mpegts")) is None
    assert frames_duration(text.replace("05.0", "xx")) is None
    alone = text[: text.index("  Stream")] + "  Stream #0:0: Video: mjpeg, 30 fps\n"
    assert frames_duration(alone) == 8.0
    assert frames_duration(alone.replace("00:00:09.00", "N/A")) is None


def zero(path, begin, n_bytes):
    content = bytearray(path.read_bytes())
    content[begin : begin + n_bytes] = bytes(n_bytes)
    path.write_bytes(content)
    return path


def test_frames_that_a_hole_in_the_file_swallows(run, tmp_path):
    """The reader goes on behind the hole; neither packets nor times tell how many are gone."""
    source = write_video(tmp_path / "a.mkv", scene(150), codec="ffv1")
    size = source.stat().st_size
    zero(source, size // 2, size // 20)
    with pytest.raises(InputError) as error:
        run(source)
    text = str(error.value)
    assert "its header counts none" in text
    assert re.search(r"ffmpeg reported \d+ errors?, of which the frames are not known", text)
    assert "invalid as first byte of an EBML number" in text
    result = run(source, allow_damage=True)
    assert result.info.n_frames < 150
    one = result.checks["video_reading_errors"]
    assert one.verdict == "FAIL"
    assert one.value == result.info.source["n_errors"] > 0
    assert "EBML number" in one.message


def test_an_error_that_tells_no_frame(run, tmp_path):
    """FFV1 gives out a frame whose checksum is wrong, even to a strict reader."""
    source = write_video(tmp_path / "a.avi", scene(30), codec="ffv1", options=("-level", "3"))
    begin, n_bytes = frame_places(source)[11]
    content = bytearray(source.read_bytes())
    content[begin + n_bytes - 1] ^= 0xFF
    source.write_bytes(content)
    with pytest.raises(InputError, match=r"is not whole: 30 frames .*slice CRC mismatch"):
        run(source)
    result = run(source, allow_damage=True)
    assert result.checks["video_reading_errors"].verdict == "FAIL"
    assert result.info.n_frames == 30


def test_errors_in_what_is_no_picture_are_none(run, tmp_path, caplog):
    """Cameras write markers into JPEG images that ffmpeg cannot read."""
    plain = write_video(tmp_path / "a.mjpeg", scene(10)).read_bytes()
    marker = b"\xff\xe1" + (20).to_bytes(2, "big") + b"Exif\0\0II*\0" + b"\xff" * 8
    assert len(marker) == 22
    images = [b"\xff\xd8" + image for image in plain.split(b"\xff\xd8")[1:]]
    source = tmp_path / "b.mjpeg"
    source.write_bytes(b"".join(image[:2] + marker + image[2:] for image in images))
    result = run(source)
    assert result.info.n_frames == 10
    assert {one.verdict for one in result.checks.values()} <= {"PASS", "WARNING"}
    assert result.checks["video_reading_errors"].verdict == "PASS"


@pytest.mark.parametrize(
    ("line", "is_error"),
    [
        ("[ffv1 @ 0x55] [error] slice CRC mismatch 74C99DA8!at 2.5 seconds", True),
        ("[in#0/matroska,webm @ 0x55] [error] File ended prematurely", True),
        ("[vist#0:0/wmv2 @ 0x55] [dec:wmv2 @ 0x55] [warning] corrupt decoded frame", False),
        ("[mjpeg @ 0x55] [error] unable to decode APP fields: Invalid data found", False),
        ("[h264 @ 0x55] [error] SEI type 5 size 900 truncated at 20", False),
        ("[aist#0:1/aac @ 0x55] [dec:aac @ 0x55] [error] Error submitting packet", False),
        ("[aac @ 0x55] [error] channel element 0.0 is not allocated", False),
        ("[mp3float @ 0x55] [error] Header missing", False),
    ],
)
def test_which_lines_are_errors_of_the_frames(line, is_error):
    assert picture_errors([line], audio=("aac", "mp3")) == ([line] if is_error else [])


@pytest.mark.parametrize(
    ("name", "codec", "options", "sound"),
    [
        ("a.ts", "libx264", ("-bf", "3"), ("-c:a", "aac")),
        ("a.h264", "libx264", (), ()),
        ("a.mpg", "mpeg2video", ("-bf", "2"), ("-c:a", "mp2")),
        ("a.webm", "libvpx", (), ()),
        ("a.flv", "flv", (), ("-ar", "44100", "-c:a", "aac")),
        ("a.mkv", "libx264", ("-x264-params", "open-gop=1:keyint=8", "-bf", "2"), ()),
        ("a.mkv", "mjpeg", (), ("-c:a", "libopus")),
        ("hevc.mp4", "libx265", ("-x265-params", "log-level=none"), ()),
        ("a.wmv", "wmv2", (), ("-c:a", "wmav2")),
        ("b.wmv", "wmv2", (), ()),
        ("a.m2ts", "libx264", ("-bf", "3"), ("-c:a", "ac3")),
        ("a.y4m", "wrapped_avframe", ("-pix_fmt", "yuv420p"), ()),
        ("a.gif", "gif", (), ()),
        ("frag.mp4", "libx264", ("-movflags", "frag_keyframe+empty_moov"), ()),
    ],
)
def test_a_good_file_raises_no_alarm(run, tmp_path, name, codec, options, sound):
    frames = scene(40, 96, 128, colour=True)
    source = write_video(tmp_path / name, frames, codec=codec, options=options, sound=sound)
    result = run(source, preset="ultrafast")
    assert result.info.n_frames == 40
    for key in ("lost_frames", "damaged_frames", "reading_errors"):
        assert result.checks[f"video_{key}"].verdict == "PASS"


def test_frames_that_change_their_size(run, tmp_path):
    parts = []
    for size in ((48, 64), (96, 64)):
        parts.append(write_video(tmp_path / "part.mjpeg", scene(10, *size)).read_bytes())
    source = tmp_path / "a.mjpeg"
    source.write_bytes(b"".join(parts))
    with pytest.raises(InputError, match="change their size, from 64 x 48 to 64 x 96"):
        run(source)


def test_zero_frames(run, tmp_path):
    plain = write_video(tmp_path / "plain.avi", scene(5))
    source = convert(plain, tmp_path / "a.avi", "-c", "copy", "-frames:v", "0")
    with pytest.raises(InputError, match=rf"{NAME}: .*a.avi has no frame that can be decoded"):
        run(source)
    source = convert(plain, tmp_path / "a.mkv", "-c", "copy", "-frames:v", "0")
    with pytest.raises(InputError, match=rf"{NAME}: .*a.mkv has no video that ffmpeg can read"):
        run(source)
    raw = write_video(tmp_path / "raw.avi", scene(5), codec="rawvideo")
    source = convert(raw, tmp_path / "b.avi", "-c", "copy", "-frames:v", "0")
    with pytest.raises(InputError, match=rf"{NAME}: .*b.avi.* no frame|no frame of .*b.avi"):
        run(source)


def test_sound_alone(run, tmp_path):
    command = [ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", "sine=duration=1"]
    subprocess.run([*command, tmp_path / "a.mp4"], check=True)
    with pytest.raises(InputError, match=r"a.mp4 has no video that ffmpeg can read"):
        run(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; correct the table of streams"),
        (b"", r"is empty \(0 bytes\). Copy it again."),
        (b"frame,time\n0,1\n" * 50, r"is text \('frame,time\\n0,1"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, not a video"),
        (bytes(4096), "is zeros at its beginning, not a video"),
        (bytes(range(1, 256)) * 9, "has no video that ffmpeg can read"),
    ],
)
def test_what_is_no_video(run, tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.avi").write_bytes(content)
    with pytest.raises(InputError, match=f"{NAME}: .*a.avi.*{message}"):
        run(tmp_path / "a.avi")


def test_packets_of_a_log_are_counted(tmp_path):
    log = tmp_path / "packets.txt"
    log.write_text(
        "#tb 0: 1/30\n#media_type 0: video\n"
        "0,  0,  0,  1,  900, 0x9939decb\n"
        "0,  1,  1,  1,    0, 0x00000000\n"
        "0,  2,  2,  1,  800, 0x7b2da683, F=0x0\n"
        "0,  3,  3,  1,   48, 0x7b2da683, F=0x3\n"
    )
    found = read_packet_log(log)
    assert (found.n, found.n_corrupt) == (3, 1)
    assert read_packet_log(tmp_path / "none").n == 0


def test_a_frame_that_compression_loses_is_found(tmp_path):
    """What ffmpeg never does, as far as is known."""
    video = write_video(tmp_path / "a.mp4", scene(30), codec="libx264")
    found = decode(video, tmp_path, threads=1, name=NAME).frames
    verify(video, found, tmp_path, threads=1, name=NAME)
    one_more = replace(
        found,
        times_s=np.append(found.times_s, 1.0),
        encoded_s=np.append(found.encoded_s, 1.0),
    )
    with pytest.raises(RuntimeError, match="31 frames were compressed, but 30 can be decoded"):
        verify(video, one_more, tmp_path, threads=1, name=NAME)
    late = found.encoded_s.copy()
    late[20] += 0.002
    with pytest.raises(RuntimeError, match=r"frame 20 of .*a.mp4 is 0.002000 s from its time"):
        verify(video, replace(found, encoded_s=late), tmp_path, threads=1, name=NAME)
    content = bytearray(video.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 200] = b"\xa5" * 200
    video.write_bytes(content)
    with pytest.raises(RuntimeError, match="30 frames were compressed, but"):
        verify(video, found, tmp_path, threads=1, name=NAME)


# --- real data ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_real_open_field_video(run, real_data, caplog):
    source = real_data / "pose" / "openfield" / "videos" / "m3v1mp4.mp4"
    result = run(source, preset="ultrafast")
    info = result.info
    assert info.n_frames == 2330
    assert info.source["n_frames_header"] == info.source["n_packets"] == 2330
    assert count_by_opencv(result.video) == count_by_opencv(source) == 2330
    assert info.is_constant_rate
    np.testing.assert_allclose(result.pts, np.arange(2330) / info.sampling_rate_hz, atol=1e-3)
    verdicts = {one.verdict for one in result.checks.values()}
    assert "FAIL" not in verdicts
    facts = json.loads(result.bytes["info"])
    assert facts["source"]["size_bytes"] == source.stat().st_size
