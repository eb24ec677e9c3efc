"""Files of a made-up camera are those of a real one, and the truth beside them is theirs."""

import datetime
import hashlib
import json
from dataclasses import fields

import cv2
import numpy as np
import pandas as pd
import pytest

from sluice.errors import InputError, UserError
from sluice.session import Camera
from sluice.synth.camera_files import camera_clock, write_records, write_video
from sluice.synth.camera_geometry import POINTS
from sluice.synth.camera_render import render
from sluice.synth.camera_scene import make_camera_scene
from sluice.synth.camera_session import make_scenes, write_camera_session
from sluice.synth.camera_truth import find_blinks, load_camera_truth
from sluice.synth.session import make_session
from sluice.synth.spikeglx import NIDQ_RATE_HZ, add_pulses, write_nidq

DROPPED = (50, 51, 120)
SHORT = {"duration_s": 6.0, "dropped": DROPPED}
NIDQ = "raw_ephys_data/_spikeglx_ephysData_g0_t0.nidq.bin"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    cameras = ("leftCamera", "rightCamera")
    return write_camera_session(raw, subject="Größe 1", cameras=cameras, seed=3, **SHORT)


def _decoded(path):
    """All frames of a video as OpenCV decodes them."""
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1][:, :, 0])
    return np.array(frames)


def _line(path, line):
    """One digital line of a nidq file."""
    return np.fromfile(path, "<i2").reshape(-1, 2)[:, 1] >> line & 1


def _edges_s(level, rising=True):
    return (np.flatnonzero(np.diff(level) == (1 if rising else -1)) + 1) / NIDQ_RATE_HZ


def test_files_are_where_the_design_has_them(session):
    found = {
        path.relative_to(session.folder).as_posix()
        for path in session.folder.rglob("*")
        if path.is_file()
    }
    expected = {NIDQ, NIDQ.replace(".bin", ".meta"), "raw_video_data/cameras.json"}
    expected |= {f"raw_behavior_data/_ibl_wheel.{x}.npy" for x in ("position", "timestamps")}
    for camera in ("leftCamera", "rightCamera"):
        ends = ("raw.avi", "frame_counter.bin", "GPIO.bin", "timestamps.ssv")
        expected |= {f"raw_video_data/_iblrig_{camera}.{end}" for end in ends}
        names = ("truth.json", "frames.pqt", "pose.pqt", "blinks.tsv", "licks.npy", "ttl.npy")
        expected |= {f"truth/{camera}/{name}" for name in names}
    assert found == expected
    assert session.name == "Größe 1/2026-01-15/001"


def test_what_the_files_cannot_say_stands_in_cameras_json(session):
    folder = session.folder / "raw_video_data"
    cameras = json.loads((folder / "cameras.json").read_text())
    assert list(cameras) == ["leftCamera", "rightCamera"]
    for row in cameras.values():
        assert row.keys() <= {field.name for field in fields(Camera)}
        for key in ("ttl", "gpio_pulses", "wheel"):
            assert (folder / row[key]).exists()
    assert cameras["leftCamera"]["ttl_line"] == 4
    assert cameras["rightCamera"]["ttl_line"] == 6
    assert cameras["leftCamera"]["gpio_line"] == 5


# the worst is that a grey of full range is taken for one of 16 to 235, or the other way round
@pytest.mark.parametrize(
    ("kind", "suffix", "width", "bias", "sd"),
    [
        ("rawvideo", "avi", 160, 0, 0),
        ("rawvideo", "avi", 161, 0, 0),
        ("mjpeg", "avi", 160, 0.1, 3),
        ("mjpeg", "avi", 161, 0.1, 3),
        ("h264", "mp4", 160, 0.6, 3),  # with halved colour it has no odd widths
    ],
)
def test_videos_hold_the_frames_that_were_drawn(tmp_path, kind, suffix, width, bias, sd):
    scene = make_camera_scene(duration_s=2.0, dropped=(7,), width=width)
    path = tmp_path / f"a.{suffix}"
    write_video(scene, path, kind=kind)
    decoded, drawn = _decoded(path).astype(float), np.array(list(render(scene)), float)
    assert decoded.shape == drawn.shape == (59, 128, width)
    assert abs((decoded - drawn).mean()) <= bias
    assert (decoded - drawn).std() <= sd
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(30)
    again = tmp_path / f"b.{suffix}"
    write_video(scene, again, kind=kind)
    assert path.read_bytes() == again.read_bytes()


def test_frames_of_the_video_are_counted(session):
    for camera, scene in session.scenes.items():
        assert len(_decoded(session.video_files[camera])) == scene.n_frames == 177
        folder = session.folder / "raw_video_data"
        counter = np.fromfile(folder / f"_iblrig_{camera}.frame_counter.bin")
        # as a real one: whole numbers below 2^32 that start anywhere
        assert (counter == counter.astype(np.uint32)).all()
        assert counter[0] > 0
        np.testing.assert_array_equal(np.flatnonzero(np.diff(counter) > 1), [49, 117])
        np.testing.assert_array_equal(counter - counter[0], scene.exposures)


def test_pulses_are_on_the_boards_lines(session):
    path = session.folder / NIDQ
    meta = dict(r.split("=", 1) for r in path.with_suffix(".meta").read_text().splitlines())
    assert meta["fileSHA1"] == hashlib.sha1(path.read_bytes()).hexdigest().upper()
    assert meta["typeImEnabled"] == "0"
    for camera, line in (("leftCamera", 4), ("rightCamera", 6)):
        pulses_s = _edges_s(_line(path, line))
        exposure_s = session.scenes[camera].exposure_s
        assert len(pulses_s) == 180
        # to the first sample after
        assert (pulses_s - exposure_s >= 0).all()
        assert (pulses_s - exposure_s < 1 / NIDQ_RATE_HZ).all()
        np.testing.assert_array_equal(
            np.load(session.truth_folders[camera] / "ttl.npy"), exposure_s
        )
    # the square wave of the sync is there all the same
    np.testing.assert_allclose(_edges_s(_line(path, 3)), 0.5 + np.arange(7), atol=1e-4)


def test_pins_saw_the_events_of_the_board(session):
    path = session.folder / NIDQ
    level = _line(path, 5)
    events = json.loads((session.truth_folders["leftCamera"] / "truth.json").read_text())[
        "events_s"
    ]
    assert len(events) >= 2
    np.testing.assert_allclose(_edges_s(level), np.array(events)[:, 0], atol=1e-4)
    np.testing.assert_allclose(_edges_s(level, rising=False), np.array(events)[:, 1], atol=1e-4)
    for camera, scene in session.scenes.items():
        file = session.folder / "raw_video_data" / f"_iblrig_{camera}.GPIO.bin"
        words = np.fromfile(file).astype(np.uint32)
        # pin 4 is bit 28, as in the file of a real camera
        assert set(words) == {0, 2**28}
        at = np.rint(scene.times_s * NIDQ_RATE_HZ).astype(int)
        assert (level[at] == words >> 28).mean() > 0.99


def test_records_look_as_those_of_a_real_camera(session, real_data):
    real = (real_data / "camera" / "_iblrig_bodyCamera.timestamps.ssv").read_bytes().splitlines()
    file = session.folder / "raw_video_data" / "_iblrig_leftCamera.timestamps.ssv"
    made = file.read_bytes().splitlines()

    def shape(row):
        return "".join("0" if c.isdigit() else c for c in row.decode())

    time, _, end = shape(made[0]).replace("+", "-").split(" ")
    assert [time, end] == [shape(real[0]).split(" ")[0], shape(real[0]).split(" ")[2]]


def test_the_cameras_own_clock_can_be_read_back():
    # past the 128 s after which it starts again
    scene = make_camera_scene(duration_s=140.0, sampling_rate_hz=10.0, clock_ppm=100.0)
    words = camera_clock(scene)
    assert words.max() < 2**32
    assert ((words & 0xFFF) < 3072).all()
    assert ((words >> 12 & 0x1FFF) < 8000).all()
    seconds = (words >> 25) + ((words >> 12 & 0x1FFF) + (words & 0xFFF) / 3072) / 8000
    seconds += 128 * np.concatenate([[0], np.cumsum(np.diff(seconds) < 0)])
    # to an offset of 41 ns
    np.testing.assert_allclose(seconds - seconds[0], scene.camera_s - scene.camera_s[0], atol=1e-7)


def test_the_computer_gets_frames_after_they_were_taken(session):
    scene = session.scenes["leftCamera"]
    file = session.folder / "raw_video_data" / "_iblrig_leftCamera.timestamps.ssv"
    texts = [row.split(" ")[0] for row in file.read_text().splitlines()]
    at = pd.to_datetime(pd.Series(texts)) - pd.Timestamp("2026-01-15T12:00:00Z")
    late_s = at.dt.total_seconds().to_numpy() - scene.times_s
    assert late_s.min() > 0.011
    assert late_s.max() < 0.024


def test_all_records_in_one_file(tmp_path):
    scene = make_camera_scene(duration_s=3.0)
    start = datetime.datetime.fromisoformat("2026-01-15T12:00:00+00:00")
    records = ("frame_counter", "GPIO", "frameData")
    files = write_records(scene, tmp_path, name="leftCamera", start_time=start, records=records)
    counter, gpio, all_in_one = (np.fromfile(path) for path in files)
    rows = all_in_one.reshape(-1, 4)
    np.testing.assert_array_equal(rows[:, 2], counter)
    np.testing.assert_array_equal(rows[:, 3], gpio)
    # frames arrive up to 10 ms late
    np.testing.assert_allclose(np.diff(rows[:, 0]) / 1e7, 1 / 30, atol=0.012)
    # 100 ns since the year 1, which a float64 holds to 13 µs
    at = datetime.datetime(1, 1, 1) + datetime.timedelta(microseconds=int(rows[0, 0]) // 10)
    assert at.isoformat().startswith("2026-01-15T12:00:00.41")
    with pytest.raises(UserError, match="record 'pins': expected frame_counter, timestamps"):
        write_records(scene, tmp_path, name="a", start_time=start, records=("pins",))


def test_the_wheel_is_that_of_the_video(session):
    folder = session.folder / "raw_behavior_data"
    times_s = np.load(folder / "_ibl_wheel.timestamps.npy")
    position = np.load(folder / "_ibl_wheel.position.npy")
    scene = session.scenes["leftCamera"]
    at = np.interp(scene.exposure_s, times_s, position)
    np.testing.assert_allclose(at, scene.states.wheel_rad, atol=2e-3)
    assert np.ptp(position) > 0.5
    assert times_s[-1] > scene.times_s[-1]


def test_the_truth_is_that_of_the_scene(session):
    for camera, folder in session.truth_folders.items():
        scene, truth = session.scenes[camera], load_camera_truth(folder)
        pd.testing.assert_frame_equal(truth.frames, scene.frame_truth())
        pd.testing.assert_frame_equal(truth.pose, scene.pose)
        assert truth.facts["points"] == list(POINTS)
        assert truth.facts["dropped"] == list(DROPPED)
        assert truth.facts["n_frames"] == 177
        blinks = np.zeros(177, bool)
        for row in truth.blinks.itertuples():
            blinks[row.start : row.stop] = True
        np.testing.assert_array_equal(blinks, truth.frames.is_blink)
        assert len(truth.licks_s) >= 3
    with pytest.raises(InputError, match=r"truth.json: not found. Is this a session made"):
        load_camera_truth(session.folder)


def test_cameras_see_the_same_animal_from_two_sides(session):
    left, right = session.scenes.values()
    assert left.behavior is right.behavior
    np.testing.assert_allclose(
        left.frame_truth().pupil_diameter_px, right.frame_truth().pupil_diameter_px, atol=0.02
    )
    assert right.settings.is_mirrored
    assert not np.array_equal(left.times_s, right.times_s)
    # on another day the same one does something else
    again = make_scenes(["leftCamera"], seed=3, day=1, **SHORT)["leftCamera"]
    assert again.settings.entropy == left.settings.entropy
    assert not np.array_equal(again.behavior.licks_s, left.behavior.licks_s)


def test_the_same_arguments_give_the_same_bytes(session, tmp_path):
    cameras = ("leftCamera", "rightCamera")
    again = write_camera_session(tmp_path, subject="Größe 1", cameras=cameras, seed=3, **SHORT)
    for path in sorted(session.folder.rglob("*.*")):
        other = again.folder / path.relative_to(session.folder)
        assert path.read_bytes() == other.read_bytes(), path


def test_pulses_are_added_to_the_board_of_a_session_with_probes(tmp_path):
    name = {"subject": "SYN001", "date": "2026-01-15", "number": "001"}
    probes = {"n_channels": 16, "n_units": 2, "duration_s": 4.0}
    folder = make_session(tmp_path, **name, seed=1, **probes).folder
    before = np.fromfile(folder / NIDQ, "<i2").reshape(-1, 2)
    with pytest.raises(UserError, match=r"digital line 4: .* do not fit into the 4 s of .*nidq"):
        write_camera_session(tmp_path, **name, duration_s=5.0)
    write_camera_session(tmp_path, **name, duration_s=3.0)
    after = np.fromfile(folder / NIDQ, "<i2").reshape(-1, 2)
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    np.testing.assert_array_equal(after[:, 1] & 0b1111, before[:, 1])
    assert len(_edges_s(_line(folder / NIDQ, 4))) == 90
    # once more, shorter: the pulses of before are gone
    write_camera_session(tmp_path, **name, duration_s=2.0)
    assert len(_edges_s(_line(folder / NIDQ, 4))) == 60


def test_a_board_with_pulses_is_one_without_and_pulses_added(tmp_path):
    pulses = {4: (np.array([0.1, 0.2]), 0.01), 0: (np.array([0.3]), np.array([0.2]))}
    for name in "abc":
        (tmp_path / name).mkdir()
    a = write_nidq(tmp_path / "a", 1.0, seed=5, pulses=pulses)
    b = write_nidq(tmp_path / "b", 1.0, seed=5)
    c = write_nidq(tmp_path / "c", 1.0, seed=5, pulses={})
    assert b.read_bytes() == c.read_bytes()
    assert b.with_suffix(".meta").read_bytes() == c.with_suffix(".meta").read_bytes()
    add_pulses(b, pulses)
    assert a.read_bytes() == b.read_bytes()
    assert a.with_suffix(".meta").read_bytes() == b.with_suffix(".meta").read_bytes()
    assert _line(a, 4).sum() == pytest.approx(0.02 * NIDQ_RATE_HZ, abs=2)
    assert _line(a, 0).sum() == pytest.approx(0.2 * NIDQ_RATE_HZ, abs=1)
    for line in (3, 8):
        with pytest.raises(UserError, match=f"digital line {line}: expected one of 0 to 7 but 3"):
            add_pulses(a, {line: (np.array([0.1]), 0.01)})
    with pytest.raises(UserError, match=r"from -0.1 to -0.09 s do not fit into the 1 s"):
        add_pulses(a, {4: (np.array([-0.1]), 0.01)})


def test_pulses_in_files_of_their_own(tmp_path):
    written = write_camera_session(tmp_path, ttl="npy", wheel=False, duration_s=4.0)
    folder = written.folder / "raw_video_data"
    row = json.loads((folder / "cameras.json").read_text())["leftCamera"]
    assert "wheel" not in row
    assert not (written.folder / "raw_ephys_data").exists()
    scene = written.scenes["leftCamera"]
    np.testing.assert_array_equal(np.load(folder / row["ttl"]), scene.ttl_s)
    table = pd.read_csv(folder / row["gpio_pulses"], sep="\t")
    np.testing.assert_allclose(table.time_s, scene.behavior.events_s.ravel(), atol=1e-6)
    assert set(table.polarity[::2]) == {1}
    bare = write_camera_session(
        tmp_path, number="002", ttl="none", gpio=False, records=(), wheel=False, duration_s=2.0
    )
    row = json.loads((bare.folder / "raw_video_data" / "cameras.json").read_text())
    assert row == {"leftCamera": {"sampling_rate_hz": 30.0}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cameras": ()}, "cameras none: expected 1 to 6 different ones"),
        ({"cameras": ("leftCamera", "leftCamera")}, "expected 1 to 6 different ones"),
        ({"of_camera": {"bodyCamera": {}}}, "settings of bodyCamera: no such camera"),
        ({"video": "gif"}, "video 'gif': expected mjpeg, rawvideo, h264"),
        ({"ttl": "csv"}, "ttl 'csv': expected nidq, npy, none"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        write_camera_session(tmp_path, duration_s=2.0, **arguments)
    assert not list(tmp_path.iterdir())


def test_one_camera_can_have_settings_of_its_own(tmp_path):
    own = {"bodyCamera": {"sampling_rate_hz": 60.0, "width": 120, "height": 96}}
    written = write_camera_session(
        tmp_path, cameras=("leftCamera", "bodyCamera"), of_camera=own, duration_s=2.0
    )
    assert _decoded(written.video_files["bodyCamera"]).shape == (120, 96, 120)
    assert len(_edges_s(_line(written.folder / NIDQ, 6))) == 120


def test_stretches_of_frames():
    blinks = find_blinks([True, False, True, True, False, True])
    assert blinks.to_numpy().tolist() == [[0, 1], [2, 4], [5, 6]]
    assert not len(find_blinks(np.zeros(4, bool)))
