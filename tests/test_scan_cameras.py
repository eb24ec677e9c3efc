"""Finding behaviour videos in a folder of raw data."""

import json

import cv2
import numpy as np
import pytest

from sluice.errors import InputError, SettingsError
from sluice.io.check_stream import problem_of, raw_files
from sluice.scan import scan, write_tables
from sluice.scan_cameras import camera_name
from sluice.session import Camera, load_sessions, load_streams

SESSION = "M1/2026-01-15/001"


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "Rohdaten – été 1" / SESSION / "raw_video_data"
    folder.mkdir(parents=True)
    return folder


def write_video(path, n_frames=5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for i in range(n_frames):
        writer.write(np.full((48, 64, 3), 10 * i, np.uint8))
    writer.release()


def cameras_of(videos):
    rows = scan(videos.parents[3])[1]
    return rows[rows["kind"] == "camera"].set_index("name")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("_iblrig_leftCamera.raw.avi", "leftCamera"),
        ("_iblrig_leftCamera.raw.mp4", "leftCamera"),
        ("leftCamera.mp4", "leftCamera"),
        ("left.avi", "leftCamera"),
        ("Eye.avi", "eyeCamera"),
        ("Face cam-2 ü.avi", "faceCam2Camera"),
        ("2026-01-15_body.avi", "bodyCamera"),
        ("LeftCAMERA.AVI", "leftCamera"),
        ("001.avi", "videoCamera"),
        ("_iblrig_leftCamera.raw.1f6f9c5a-0a2b-4c3d-8e4f-5a6b7c8d9e0f.avi", "leftCamera"),
    ],
)
def test_name_of_a_camera(file, name):
    assert camera_name(file) == name


def test_a_video_and_what_lies_beside_it(videos):
    write_video(videos / "_iblrig_leftCamera.raw.avi")
    beside = {
        "timestamps": "_iblrig_leftCamera.timestamps.ssv",
        "frame_counter": "_iblrig_leftCamera.frame_counter.bin",
        "gpio": "_iblrig_leftCamera.GPIO.bin",
    }
    for name in [*beside.values(), "_iblrig_rightCamera.GPIO.bin"]:
        (videos / name).write_bytes(b"12345678")
    row = cameras_of(videos).loc["leftCamera"]
    assert row["format"] == "video"
    assert row["path"] == str(videos / "_iblrig_leftCamera.raw.avi")
    for column, name in beside.items():
        assert row[column] == str(videos / name)
    assert (row["height"], row["width"], row["n_frames"]) == (48, 64, 5)
    assert row["duration_s"] == pytest.approx(0.2)
    assert not row["ttl"]


def test_what_cameras_json_says(videos):
    write_video(videos / "left.avi")
    (videos / "pulses.npy").write_bytes(b"x")
    facts = {"leftCamera": {"ttl": "pulses.npy", "sampling_rate_hz": 60, "gpio_pin": 2}}
    (videos / "cameras.json").write_text(json.dumps(facts))
    row = cameras_of(videos).loc["leftCamera"]
    assert row["ttl"] == str(videos / "pulses.npy")
    assert (row["sampling_rate_hz"], row["gpio_pin"]) == (60, 2)


def test_the_tables_can_be_read_by_the_workflow(videos, tmp_path):
    write_video(videos / "left.avi")
    (videos / "left.bad.avi").write_bytes(b"")
    sessions, streams = tmp_path / "sessions.tsv", tmp_path / "streams.tsv"
    write_tables(videos.parents[3], sessions, streams)
    bad, good = sorted(
        load_streams(streams, list(load_sessions(sessions).index)), key=lambda c: c.name
    )
    assert (good.name, bad.name) == ("leftCamera", "leftBadCamera")
    assert isinstance(good, Camera) and good.ttl_edge == "rising" and good.ttl_line is None
    assert not problem_of(good)
    assert raw_files(good) == [videos / "left.avi"]
    assert "is empty" in problem_of(bad)


def test_two_videos_of_one_camera_have_two_names(videos):
    write_video(videos / "leftCamera.raw.avi")
    for name in ("leftCamera.raw.mkv", "left.mkv", "left_camera.mkv"):
        write_video(videos / name)
    cameras = {"leftCamera", "leftAviCamera", "leftMkvCamera", "leftMkv1Camera"}
    assert set(cameras_of(videos).index) == cameras


def test_what_has_the_name_of_the_video_or_of_the_camera_is_beside_it(videos):
    write_video(videos / "left.avi")
    write_video(videos / "Face cam.avi")
    for name in ("left.TTL.npy", "leftCamera.times.csv", "Face cam.timestamps.npy"):
        (videos / name).write_bytes(b"x")
    rows = cameras_of(videos)
    left, face = rows.loc["leftCamera"], rows.loc["faceCamCamera"]
    assert (left["ttl"], left["frame_times"]) == tuple(
        str(videos / name) for name in ("left.TTL.npy", "leftCamera.times.csv")
    )
    assert face["timestamps"] == str(videos / "Face cam.timestamps.npy")
    assert not face["ttl"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cameras.json: is no JSON"),
        ("[]", "one entry a camera"),
        ('{"leftCamera": 3}', "one entry a camera"),
        ('{"leftCamera": {"tll": "x"}}', "leftCamera: 'tll' is no key"),
        ('{"leftCamera": {"ttl": 3}}', "ttl is 3; expected text"),
        ('{"leftCamera": {"ttl_line": "3"}}', "ttl_line is '3'; expected a number"),
        ('{"eyeCamera": {}}', "eyeCamera is no camera of the folder; found leftCamera"),
    ],
)
def test_cameras_json_that_is_wrong(videos, text, message):
    write_video(videos / "left.avi")
    (videos / "cameras.json").write_text(text)
    with pytest.raises(InputError, match=message):
        cameras_of(videos)


def test_numbers_of_a_row_that_cannot_be(tmp_path):
    columns = "session\tkind\tname\tpath\tformat\tsampling_rate_hz\tttl_line"
    row = f"{SESSION}\tcamera\tLeft\tx.avi\tavi\t-1\t-2"
    (tmp_path / "streams.tsv").write_text(f"{columns}\n{row}\n")
    with pytest.raises(SettingsError) as error:
        load_streams(tmp_path / "streams.tsv", [SESSION])
    for text in (
        "name is 'Left'; expected a word in lower case and Camera",
        "format is 'avi'; expected video",
        "sampling_rate_hz is -1; expected a number above 0",
        "ttl_line is -2; expected a whole number from 0",
    ):
        assert text in str(error.value)
