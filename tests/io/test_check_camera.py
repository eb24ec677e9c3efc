import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video.made_up_videos import convert, scene, write_video

from sluice.io.check_camera import (
    camera_files,
    check_camera,
    timing_files,
    video_files,
    wheel_files,
)
from sluice.io.video_container import Container, count_empty_chunks, read_container
from sluice.session import Camera


@pytest.fixture
def camera(tmp_path):
    path = write_video(tmp_path / "left.avi", scene(12))
    return Camera("S1", "camera", "leftCamera", str(path), "video")


def problem(camera):
    (found,) = check_camera(camera)
    return found


def touch(path, content=b"x"):
    path.write_bytes(content)
    return str(path)


# --- containers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "options", "kind", "n_frames"),
    [
        ("a.avi", "mjpeg", (), "avi", 12),
        ("a.avi", "rawvideo", (), "avi", 12),
        ("a.mp4", "libx264", (), "mp4", 12),
        ("a.mp4", "libx264", ("-movflags", "+faststart"), "mp4", 12),
        ("a.mp4", "libx264", ("-movflags", "frag_keyframe+empty_moov"), "mp4", None),
        ("a.mov", "mjpeg", (), "mp4", 12),
        ("a.mkv", "ffv1", (), "matroska", None),
        ("a.y4m", "wrapped_avframe", (), "other", None),
        ("a.mjpeg", "mjpeg", (), "other", None),
        ("a.ts", "libx264", (), "other", None),
        ("a.h264", "libx264", (), "other", None),
        ("a.gif", "gif", (), "other", None),
        ("a.wmv", "wmv2", (), "other", None),
        ("a.flv", "flv", (), "other", None),
        ("a.mpg", "mpeg2video", (), "other", None),
        ("a.webm", "libvpx", (), "matroska", None),
    ],
)
def test_whatever_ffmpeg_writes_is_a_video(camera, tmp_path, name, codec, options, kind, n_frames):
    path = write_video(tmp_path / name, scene(12), codec=codec, options=options)
    found = read_container(path)
    assert (found.kind, found.n_frames, found.cut_short) == (kind, n_frames, "")
    assert check_camera(replace(camera, path=str(path))) == []


def test_sound_first_is_not_counted_as_frames(tmp_path):
    for suffix, codec, audio in (("avi", "mjpeg", "pcm_s16le"), ("mp4", "libx264", "aac")):
        sound = ("-map", "1:a", "-map", "0:v", "-c:a", audio)
        path = write_video(tmp_path / f"a.{suffix}", scene(12), codec=codec, sound=sound)
        assert read_container(path).n_frames == 12


def chunk(name, content, *, size=None):
    size = len(content) if size is None else size
    return struct.pack("<4sI", name, size) + content + b"\0" * (len(content) % 2)


def avi_header(n_first, n_all):
    """The header of an OpenDML AVI: avih counts the frames of the first RIFF chunk alone."""
    avih = struct.pack("<14I", 33333, 0, 0, 0, n_first, 0, 1, 0, 64, 48, 0, 0, 0, 0)
    strh = struct.pack(
        "<4s4sIHHIIIIIIII", b"vids", b"MJPG", 0, 0, 0, 0, 1, 30, 0, n_first, *[0] * 3
    )
    strl = chunk(b"LIST", b"strl" + chunk(b"strh", strh + bytes(8)))
    odml = chunk(b"LIST", b"odml" + chunk(b"dmlh", struct.pack("<I", n_all) + bytes(244)))
    return chunk(b"LIST", b"hdrl" + chunk(b"avih", avih) + strl + odml)


def test_an_avi_of_5_gb_is_looked_through_in_no_time(camera, tmp_path):
    """Sparse: 5 RIFF chunks of 1 GB each."""
    path, gb = tmp_path / "big.avi", 1 << 30
    header = avi_header(2000, 9000)
    with path.open("wb") as file:
        for k in range(5):
            start = file.tell()
            file.write(struct.pack("<4sI4s", b"RIFF", gb - 8, b"AVIX" if k else b"AVI "))
            if k == 0:
                file.write(header)
            rest = start + gb - file.tell() - 8
            file.write(struct.pack("<4sI4s", b"LIST", rest, b"movi"))
            file.truncate(start + gb)
            file.seek(start + gb)
    found = read_container(path)
    assert (found.kind, found.n_frames, found.cut_short) == ("avi", 9000, "")
    big = replace(camera, path=str(path))
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        assert check_camera(big) == []
        taken.append(time.perf_counter() - start)
    # 0.2 ms on the machine that this was written on
    assert min(taken) < 3e-3
    with path.open("r+b") as file:
        file.truncate(3 * gb + 1000)
    assert read_container(path).cut_short == (
        f"it has {3 * gb + 1000} bytes, its header says {4 * gb}"
    )


def test_empty_chunks_are_counted_in_all_riff_chunks(tmp_path):
    frames = chunk(b"00dc", b"abc") + chunk(b"00dc", b"") + chunk(b"01wb", b"")
    first = b"AVI " + avi_header(2, 4) + chunk(b"LIST", b"movi" + frames)
    more = (
        b"AVIX" + chunk(b"LIST", b"movi" + chunk(b"LIST", b"rec " + frames)) + chunk(b"JUNK", b"")
    )
    path = tmp_path / "a.avi"
    path.write_bytes(chunk(b"RIFF", first + chunk(b"idx1", bytes(16))) + chunk(b"RIFF", more))
    assert count_empty_chunks(path) == 2
    assert read_container(path).n_frames == 4


def test_a_check_imports_nothing_heavy():
    code = "import sys, sluice.io.check_camera; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "pandas", "ffmpeg", "imageio_ffmpeg"} & set(done.stdout.split())


# --- videos that cannot be read -------------------------------------------------------------------


def test_a_missing_video(camera, tmp_path):
    missing = replace(camera, path=str(tmp_path / "no.avi"))
    assert problem(missing) == f"{tmp_path}/no.avi: no such file; correct the table of streams"


def test_an_empty_video(camera):
    touch(Path(camera.path), b"")
    assert problem(camera) == f"{camera.path}: is empty (0 bytes). Copy it again."


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"frame,time\n1,2\n", r"text ('frame,time\n1,2\n')"),
        ("größe\n".encode() * 200, "text ("),
        (bytes(9000), "zeros at its beginning"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(99), "a JPEG image"),
        (b"II*\0" + bytes(99), "a TIFF image"),
        (b"\x93NUMPY\x01\0" + bytes(99), "a numpy array"),
    ],
)
def test_what_is_no_video(camera, tmp_path, content, what):
    path = touch(tmp_path / "x.avi", content)
    found = problem(replace(camera, path=path))
    assert found.startswith(f"{path}: is {what}")
    assert "not a video; expected AVI, MP4 or another file that ffmpeg reads." in found


def test_an_mp4_that_was_not_closed(camera, tmp_path):
    path = write_video(tmp_path / "a.mp4", scene(12), codec="libx264")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    found = problem(replace(camera, path=str(path)))
    assert found.startswith(f"{path}: this MP4 has no index (box 'moov')")
    assert "the recording was not closed, or the copy is not whole" in found
    assert "repair it with a program such as untrunc" in found


def test_an_mp4_whose_index_is_cut(camera, tmp_path):
    path = write_video(tmp_path / "a.mp4", scene(12), codec="libx264")
    path.write_bytes(path.read_bytes()[:-10])
    assert "this MP4 has no index" in problem(replace(camera, path=str(path)))


def test_a_video_that_is_only_cut_short_is_left_to_compress_video(camera, tmp_path):
    content = (tmp_path / "left.avi").read_bytes()
    (tmp_path / "left.avi").write_bytes(content[: len(content) * 2 // 3])
    assert check_camera(camera) == []
    assert "its header says" in read_container(camera.path).cut_short
    options = ("-movflags", "+faststart")
    path = write_video(tmp_path / "a.mp4", scene(12), codec="libx264", options=options)
    path.write_bytes(path.read_bytes()[:-100])
    assert check_camera(replace(camera, path=str(path))) == []
    assert "its box 'mdat' ends at" in read_container(path).cut_short


@pytest.mark.parametrize("part", [0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "b.mp4", "a.mkv"])
def test_a_file_cut_anywhere_never_breaks_the_check(camera, tmp_path, name, part):
    options = ("-movflags", "+faststart") if name == "b.mp4" else ()
    path = write_video(tmp_path / name, scene(12), codec="libx264", options=options)
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(part * len(content)))])
    for line in check_camera(replace(camera, path=str(path))):
        assert line.startswith(str(path))


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    options = ("-movflags", "+faststart")
    paths = [
        write_video(folder / "a.avi", scene(4)),
        write_video(folder / "a.mp4", scene(4), codec="libx264"),
        write_video(folder / "b.mp4", scene(4), codec="libx264", options=options),
    ]
    return folder / "damaged", [path.read_bytes() for path in paths]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_damage_anywhere_never_breaks_the_check(whole_files, which, seed):
    path, contents = whole_files
    rng = np.random.default_rng(seed)
    content = bytearray(contents[which])
    # headers are at the beginning, or at the end
    places = rng.integers(0, 1200, rng.integers(1, 12))
    for place in np.where(rng.random() < 0.5, places, len(content) - 1 - places):
        content[int(place) % len(content)] = rng.choice([0, 1, 255, rng.integers(256)])
    path.write_bytes(content)
    for line in check_camera(Camera("S1", "camera", "leftCamera", str(path), "video")):
        assert line.startswith(str(path))
    if content[:4] == b"RIFF":
        assert count_empty_chunks(path) >= 0


def test_an_avi_without_video_or_frames(camera, tmp_path):
    (tmp_path / "a.avi").write_bytes(chunk(b"RIFF", b"AVI " + avi_header(0, 0)))
    found = problem(replace(camera, path=str(tmp_path / "a.avi")))
    assert "this AVI ends before its first frame" in found
    command = ("-vn", "-c:a", "pcm_s16le")
    sound = write_video(tmp_path / "s.avi", scene(3), sound=("-c:a", "pcm_s16le"))
    path = convert(sound, tmp_path / "b.avi", *command)
    found = problem(replace(camera, path=str(path)))
    assert "the header of this AVI describes no video" in found


# --- what stands beside it ------------------------------------------------------------------------

SIDE_FILES = ("ttl", "timestamps", "frame_counter", "gpio", "frame_data", "gpio_pulses")


def test_all_files_are_listed(camera, tmp_path):
    names = {column: f"{column}.npy" for column in SIDE_FILES} | {"frame_data": "a.frameData.bin"}
    full = replace(camera, **{c: touch(tmp_path / n) for c, n in names.items()})
    (tmp_path / "alf").mkdir()
    wheel = [tmp_path / "alf" / f"_ibl_wheel.{what}.npy" for what in ("position", "timestamps")]
    for path in wheel:
        touch(path)
    for wheel_cell in ("alf", "alf/_ibl_", "alf/_ibl_wheel"):
        full = replace(full, wheel=str(tmp_path / wheel_cell))
        assert check_camera(full) == []
        assert camera_files(full) == [
            tmp_path / "left.avi",
            *(tmp_path / n for n in names.values()),
            *wheel,
        ]
        # each step depends on what it reads, and on nothing else
        assert video_files(full) == [tmp_path / "left.avi"]
        assert timing_files(full) == [tmp_path / n for n in names.values()]
        assert wheel_files(full) == wheel
    # times that are known are used alone
    times = touch(tmp_path / "times.npy")
    known = replace(full, frame_times=times, ttl=str(tmp_path / "none"), ttl_edge="?")
    assert check_camera(known) == []
    assert camera_files(known) == [tmp_path / "left.avi", tmp_path / "times.npy", *wheel]
    assert timing_files(known) == [tmp_path / "times.npy"]


def test_a_video_alone_has_no_other_files(camera):
    assert video_files(camera) == camera_files(camera) == [Path(camera.path)]
    assert timing_files(camera) == wheel_files(camera) == []


META = {
    "nSavedChans": 9,
    "snsMnMaXaDw": "0,0,8,1",
    "niXDBytes1": 1,
    "niSampRate": 30000,
    "fileSizeBytes": 1800,
}


def write_nidq(path, n_bytes=1800, **changes):
    """A nidq file of zeros; by its .meta it has 100 rows of 8 analogue columns and 8 lines."""
    path.write_bytes(bytes(n_bytes))
    values = META | changes
    text = "".join(f"{key}={value}\n" for key, value in values.items() if value is not None)
    path.with_suffix(".meta").write_text(text)
    return str(path)


def test_a_nidq_file_needs_its_companions_and_a_line(camera, tmp_path):
    nidq = replace(camera, ttl=touch(tmp_path / "r_g0_t0.nidq.cbin"), ttl_line=3)
    found = check_camera(nidq)
    assert [line.split(":")[0] for line in found] == [
        str(tmp_path / "r_g0_t0.nidq.meta"),
        str(tmp_path / "r_g0_t0.nidq.ch"),
    ]
    assert "r_g0_t0.nidq.cbin, named as ttl, cannot be read without" in found[0]
    write_nidq(tmp_path / "r_g0_t0.nidq.cbin", 700)
    meta, chunks = (str(tmp_path / f"r_g0_t0.nidq.{end}") for end in ("meta", "ch"))
    Path(chunks).write_text('{"chunk_offsets": [0, 300, 700], "chunk_bounds": [0, 60, 100]}')
    assert check_camera(nidq) == []
    assert [str(p) for p in camera_files(nidq)] == [camera.path, nidq.ttl, meta, chunks]
    assert "ttl_line is empty; a nidq file has many digital lines" in problem(
        replace(nidq, ttl_line=None)
    )
    assert "ttl_line is -1; expected a whole number from 0" in problem(replace(nidq, ttl_line=-1))
    assert [str(p) for p in timing_files(nidq)] == [nidq.ttl, meta, chunks]
    # the same file for the pin, once
    both = replace(nidq, gpio_pulses=nidq.ttl, gpio=touch(tmp_path / "a.GPIO.bin"))
    assert "gpio_line is empty" in problem(both)
    assert len(camera_files(replace(both, gpio_line=2))) == 5


def test_a_nidq_file_must_be_as_long_as_its_meta_says(camera, tmp_path):
    nidq = replace(camera, ttl=write_nidq(tmp_path / "r_t0.nidq.bin", 1798), ttl_line=3)
    assert problem(nidq) == (
        f"{nidq.ttl}: 1798 bytes, but r_t0.nidq.meta says 1800 (fileSizeBytes), so it was cut "
        "short or is of another .meta. Copy both again."
    )
    write_nidq(tmp_path / "r_t0.nidq.bin")
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        assert check_camera(nidq) == []
        taken.append(time.perf_counter() - start)
    assert min(taken) < 3e-3
    # a file that is named twice is judged once
    both = replace(nidq, gpio=touch(tmp_path / "a.GPIO.bin"), gpio_pulses=nidq.ttl, gpio_line=4)
    assert check_camera(both) == []
    write_nidq(tmp_path / "r_t0.nidq.bin", 18)
    assert "18 bytes, but r_t0.nidq.meta says 1800" in problem(both)


def test_a_compressed_nidq_file_must_be_as_long_as_its_ch_says(camera, tmp_path):
    nidq = replace(camera, ttl=write_nidq(tmp_path / "r_t0.nidq.cbin", 600), ttl_line=3)
    chunks = tmp_path / "r_t0.nidq.ch"
    chunks.write_text('{"chunk_offsets": [0, 300, 700], "chunk_bounds": [0, 60, 100]}')
    assert problem(nidq) == (
        f"{nidq.ttl}: 600 bytes, but r_t0.nidq.ch says 700, so it was cut short or is of another "
        ".ch. Copy both again."
    )
    for text in ("{", "[]", '{"chunk_offsets": []}', '{"chunk_offsets": ["a"]}', "\0"):
        chunks.write_text(text)
        assert problem(nidq) == f"{chunks}: is no header of mtscomp. Copy it again."


@pytest.mark.parametrize("column", ["ttl", "gpio_pulses"])
@pytest.mark.parametrize(
    ("changes", "n_lines"),
    [
        ({}, 8),
        ({"niXDBytes1": None}, 16),
        ({"niXDBytes1": 2, "niXDBytes2": 1, "snsMnMaXaDw": "0,0,7,2"}, 24),
    ],
)
def test_a_line_that_the_file_does_not_have(camera, tmp_path, column, changes, n_lines):
    path = write_nidq(tmp_path / "r_t0.nidq.bin", **changes)
    line = "ttl_line" if column == "ttl" else "gpio_line"
    full = replace(camera, gpio=touch(tmp_path / "a.GPIO.bin"), **{column: path})
    assert check_camera(replace(full, **{line: n_lines - 1})) == []
    assert problem(replace(full, **{line: n_lines})) == (
        f"{path}: {line} is {n_lines}, but the file has the digital lines 0 to {n_lines - 1}. "
        "Correct the table of streams."
    )


def test_a_nidq_file_without_digital_lines(camera, tmp_path):
    path = write_nidq(tmp_path / "r_t0.nidq.bin", snsMnMaXaDw="0,0,9,0")
    assert problem(replace(camera, ttl=path, ttl_line=0)) == (
        f"{path}: no digital line was saved (snsMnMaXaDw=0,0,9,0), so that pulses are not in it. "
        "Name another file in the table of streams, or empty the cell."
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"fileSizeBytes": None},
        {"snsMnMaXaDw": None},
        {"snsMnMaXaDw": "0,0,8"},
        {"snsMnMaXaDw": "a,0,8,1"},
        {"nSavedChans": 3},
        {"niXDBytes1": "x"},
        {"niXDBytes1": -1},
        {"niSampRate": 0},
        {"niSampRate": "nan"},
    ],
)
def test_a_meta_that_is_none_of_a_nidq_file(camera, tmp_path, changes):
    path = write_nidq(tmp_path / "r_t0.nidq.bin", **changes)
    found = problem(replace(camera, ttl=path, ttl_line=0))
    assert found.startswith(f"{tmp_path}/r_t0.nidq.meta: ")
    assert "expected that of a nidq file" in found
    assert next(iter(changes)) in found


def test_pulses_of_a_pin_need_its_states(camera, tmp_path):
    pulses = replace(camera, gpio_pulses=touch(tmp_path / "pulses.npy"))
    assert problem(pulses) == (
        f"{tmp_path}/pulses.npy: is named as gpio_pulses, but no file has the states of the pin; "
        "expected gpio or frame_data too. Correct the table of streams."
    )
    for column in ("gpio", "frame_data"):
        path = touch(tmp_path / "a.bin")
        assert check_camera(replace(pulses, **{column: path})) == []
    # where times are known, none of this is read
    assert check_camera(replace(pulses, frame_times=touch(tmp_path / "times.npy"))) == []


@pytest.mark.parametrize("pin", [-1, 0, 5])
def test_a_pin_that_is_none(camera, tmp_path, pin):
    full = replace(camera, gpio=touch(tmp_path / "a.GPIO.bin"), gpio_pin=pin)
    assert problem(full) == (
        f"{full.gpio}: gpio_pin is {pin}; expected 1 to 4. Correct the table of streams."
    )
    data = replace(camera, frame_data=touch(tmp_path / "a.frameData.bin"), gpio_pin=pin)
    assert f"gpio_pin is {pin}; expected 1 to 4" in problem(data)
    # an array may have any number of them
    array = replace(camera, gpio=touch(tmp_path / "a.npy"), gpio_pin=pin)
    assert check_camera(array) == ([] if pin == 5 else [problem(array)])
    assert check_camera(replace(full, gpio_pin=4)) == []


@pytest.mark.parametrize(
    ("column", "name", "expected"),
    [
        ("frame_times", "a.ssv", "npy, tsv or csv"),
        ("frame_times", "a.mat", "npy, tsv or csv"),
        ("timestamps", "a.csv", "ssv or npy"),
        ("timestamps", "a.mat", "ssv or npy"),
        ("frame_counter", "a.csv", "bin or npy"),
        ("gpio", "a.ssv", "bin or npy"),
        ("frame_data", "a.npy", "bin"),
    ],
)
def test_an_ending_that_nothing_reads(camera, tmp_path, column, name, expected):
    path = touch(tmp_path / name)
    assert problem(replace(camera, **{column: path})) == (
        f"{path}: is named as {column}; expected {expected}. Correct the table of streams."
    )


def test_a_file_cut_short_is_seen_by_its_header(camera, tmp_path):
    for name, codec in (
        ("a.wmv", "wmv2"),
        ("a.flv", "flv"),
        ("a.mkv", "mjpeg"),
        ("a.webm", "libvpx"),
    ):
        path = write_video(tmp_path / name, scene(30), codec=codec)
        assert read_container(path).cut_short == ""
        content = path.read_bytes()
        for size in (len(content) - 1, len(content) // 2):
            path.write_bytes(content[:size])
            assert read_container(path).cut_short == (
                f"it has {size} bytes, its header says {len(content)}"
            )
            assert check_camera(replace(camera, path=str(path))) == []
    # one that is written while it is shown knows no length
    command = ("-c", "copy", "-f", "matroska", "-live", "1")
    path.write_bytes(content)
    live = convert(path, tmp_path / "live.mkv", *command)
    assert read_container(live) == Container("matroska")
    # a copy that stopped within the header itself
    for whole in (path, tmp_path / "b.wmv", tmp_path / "b.flv"):
        if whole != path:
            codec = {".wmv": "wmv2", ".flv": "flv"}[whole.suffix]
            content = write_video(whole, scene(3), codec=codec).read_bytes()
        for size in range(16, 500):
            whole.write_bytes(content[:size])
            assert read_container(whole).kind in ("matroska", "other")
    # a stream of which nobody knew how long it would be
    properties = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
    content = bytearray(write_video(tmp_path / "live.wmv", scene(3), codec="wmv2").read_bytes())
    content[content.index(properties) + 88] |= 1
    (tmp_path / "live.wmv").write_bytes(content[:-50])
    assert read_container(tmp_path / "live.wmv").cut_short == ""


@pytest.mark.parametrize("column", [*SIDE_FILES, "frame_times"])
def test_a_side_file_that_is_missing_or_empty(camera, tmp_path, column):
    path = tmp_path / "x.npy"
    if column == "gpio_pulses":
        camera = replace(camera, gpio=touch(tmp_path / "a.GPIO.bin"))
    assert problem(replace(camera, **{column: str(path)})) == (
        f"{path}: no such file; it is named as {column}. Correct the table of streams, or empty "
        "the cell."
    )
    touch(path, b"")
    assert f"{path}: is empty (0 bytes); it is named as {column}." in problem(
        replace(camera, **{column: str(path)})
    )


def test_gpio_without_pulses_is_fine(camera, tmp_path):
    assert check_camera(replace(camera, gpio=touch(tmp_path / "a.GPIO.bin"), gpio_pin=4)) == []


def test_pulses_of_an_unknown_type(camera, tmp_path):
    found = problem(replace(camera, ttl=touch(tmp_path / "a.mat")))
    assert "is named as ttl; expected npy, tsv, csv, .nidq.bin or .nidq.cbin" in found


def test_an_edge_that_is_none(camera):
    assert problem(replace(camera, ttl_edge="up")) == (
        f"{camera.path}: ttl_edge is 'up'; expected rising, falling or both"
    )


@pytest.mark.parametrize("rate_hz", [0.0, -3.0, float("nan"), float("inf")])
def test_a_rate_that_cannot_be(camera, rate_hz):
    assert "sampling_rate_hz is" in problem(replace(camera, sampling_rate_hz=rate_hz))


def test_a_wheel_that_is_not_there(camera, tmp_path):
    found = check_camera(replace(camera, wheel=str(tmp_path / "no" / "wheel")))
    assert len(found) == 2
    assert "0 files *wheel.position.npy for the wheel (found none); expected 1" in found[0]
    touch(tmp_path / "a.wheel.position.npy")
    touch(tmp_path / "a.wheel.timestamps.npy")
    touch(tmp_path / "b.wheel.position.npy")
    found = problem(replace(camera, wheel=str(tmp_path)))
    assert "2 files *wheel.position.npy" in found
    table = touch(tmp_path / "wheel.tsv")
    assert check_camera(replace(camera, wheel=table)) == []
    assert str(camera_files(replace(camera, wheel=table))[1]) == table
