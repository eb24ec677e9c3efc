"""The video stage as a whole: what comes out, what runs again, what goes on without a camera."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from lab import SESSION, copy_of, new_lab
from one.alf.io import load_object
from results import hashes

from sluice.export.alf import validate_collection

EVERY = {"compress_video", "camera_times", "motion_energy", "camera_qc"}
TRACKED = {"train_pose", "track_pose", "pupil", "tongue_licks"}
TARGETS = {"all", "video"}
ALF = "results/derived/" + SESSION + "/alf"


def records(lab, owner=SESSION):
    path = lab.results / "derived" / owner / "_sluice_run.records.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def raw_copy(tmp_path, raw_cameras):
    """A copy of the raw data, to be damaged."""
    shutil.copytree(raw_cameras, tmp_path / "raw")
    return tmp_path / "raw"


def test_targets(cameras_lab):
    assert cameras_lab.planned("video") - {"video"} == EVERY | TRACKED
    assert cameras_lab.planned("all") - {"all"} == EVERY | TRACKED
    cameras_lab.configure()
    assert cameras_lab.planned("video") - {"video"} == EVERY


def test_a_gpu_goes_to_the_pose_alone(cameras_lab):
    out = cameras_lab.snakemake("-n", "--profile", "profiles/gpu").stdout
    jobs = out.split("\nrule ")[1:]
    assert {j.split(":")[0] for j in jobs if "gpu=1" in j} == {"train_pose", "track_pose"}


@pytest.mark.slow
def test_everything_is_there(finished_cameras, raw_cameras):
    """Promised files, one record a job, ONE's objects, the status, no half-written output."""
    lab = finished_cameras
    steps = [r["step"] for r in records(lab)]
    assert set(steps) == (EVERY | TRACKED) - {"train_pose"}
    assert sorted(steps) == sorted([*EVERY, *EVERY, "track_pose", "pupil", "tongue_licks"])
    (trained,) = records(lab, "pose_models/face")
    assert (trained["step"], trained["model"]) == ("train_pose", "face")
    assert {c["name"] for c in trained["checks"]} >= {"pose_train_error_px", "pose_test_error_px"}
    compressed = next(r for r in records(lab) if r["job"].endswith("leftCamera compress_video"))
    assert next(c for c in compressed["checks"] if c["name"] == "video_lost_frames")["value"] == 0
    assert not list(lab.results.rglob(".part-*"))
    evaluation = lab.results / "derived/pose_models/face/evaluation.tsv"
    assert len(pd.read_csv(evaluation, sep="\t")) > 2
    status = lab.sluice("status").stdout
    assert "to do" not in status and "failed" not in status
    assert "pose model face" in status and "camera_qc" in status


@pytest.mark.slow
def test_one_loads_a_camera(finished_cameras, tmp_path):
    """Valid ALF; everything of a camera has one row a frame, as many as the truth has."""
    lab = finished_cameras
    alf = lab.results / "derived" / SESSION / "alf"
    validate_collection(alf, "alf")
    left = load_object(alf, "leftCamera")
    n = len(left["times"])
    assert 280 <= n <= 300
    assert set(left) == {"times", "dlc", "dlcFiltered", "features", "ROIMotionEnergy"}
    assert all(len(value) == n for value in left.values())
    assert set(load_object(alf, "rightCamera")) == {"times", "ROIMotionEnergy"}
    assert {"pupilDiameter_raw", "pupilDiameter_smooth"} <= set(left["features"].columns)
    assert load_object(alf, "licks")["times"].ndim == 1


@pytest.mark.slow
def test_raw_videos_are_left_as_they_are(finished_cameras, raw_cameras):
    """What the records say was read is still there, to the byte."""
    read = {i["path"]: i for r in records(finished_cameras) for i in r["inputs"]}
    videos = sorted(raw_cameras.rglob("*.avi"))
    assert len(videos) == 2
    for video in videos:
        described = read[str(video.resolve())]
        assert video.stat().st_size == described["size"]
        assert video.stat().st_mtime_ns == described["mtime_ns"]


@pytest.mark.slow
def test_what_runs_again(finished_cameras, tmp_path):
    lab = copy_of(finished_cameras, tmp_path)
    before = hashes(lab.results)
    assert lab.planned() == set()
    assert "Nothing to be done" in lab.run().stdout
    assert hashes(lab.results) == before
    settings = lab.settings()

    def planned(**changes):
        video = {
            step: {**settings["video"].get(step, {}), **changes.get(step, {})}
            for step in {*settings["video"], *changes}
        }
        lab.configure(**{**settings, "video": video})
        return lab.planned() - TARGETS

    seen = {"pupil", "tongue_licks", "camera_qc"}
    assert planned(camera_qc={"checks": {"camera_focus": {"warning": 9, "fail": 1}}}) == {
        "camera_qc"
    }
    assert planned(pupil={"blink_z": 4}) == {"pupil", "camera_qc"}
    assert planned(motion_energy={"regions": {"rightCamera": [8, 8, 32, 32]}}) == {
        "motion_energy",
        "camera_qc",
    }
    assert planned(track_pose={"filter_frames": 7}) == {"track_pose", *seen}
    assert planned(compress_video={"crf": 23}) == EVERY | {"track_pose", *seen}
    lab.configure(**settings)
    # what times the frames, or the wheel, does not compress the video again
    table = lab.folder / "config/streams.tsv"
    rows = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    rows.assign(ttl_edge="falling").to_csv(table, sep="\t", index=False)
    assert lab.planned() - TARGETS == {"camera_times", *seen}
    rows.assign(wheel="").to_csv(table, sep="\t", index=False)
    assert lab.planned() - TARGETS == {"camera_qc"}


@pytest.mark.slow
def test_a_named_snapshot_is_used_as_it_is(finished_cameras, tmp_path):
    """The trained model named by its snapshot gives the same keypoints, without training."""
    lab = copy_of(finished_cameras, tmp_path)
    trained = finished_cameras.results / "derived/pose_models/face/project"
    (snapshot,) = trained.rglob("*.pt")
    before = pd.read_parquet(lab.results / "derived" / SESSION / "alf/_ibl_leftCamera.dlc.pqt")
    settings = lab.settings()
    model = {"project": str(trained), "snapshot": str(snapshot)}
    settings["video"]["pose_models"]["face"] = model
    lab.configure(**settings)
    shutil.rmtree(lab.results / "derived/pose_models")
    lab.run()
    assert not (lab.results / "derived/pose_models").exists()
    after = pd.read_parquet(lab.results / "derived" / SESSION / "alf/_ibl_leftCamera.dlc.pqt")
    pd.testing.assert_frame_equal(before, after)
    model["snapshot"] = "missing.pt"
    lab.configure(**settings)
    done = lab.snakemake("-n")
    assert done.returncode != 0
    assert "face.snapshot: missing.pt is not found" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (
            {"track_pose": {"cameras": {"leftCamera": "face"}}},
            "video.track_pose: leftCamera names model 'face'; video.pose_models: none is given",
        ),
        (
            {"tongue_licks": {"cameras": ["leftCamera"]}},
            "video.tongue_licks: leftCamera is not tracked",
        ),
        (
            {"motion_energy": {"regions": {"leftCamera": "whisker_pad"}}},
            "video.motion_energy: leftCamera is not tracked",
        ),
        (
            {"pose_models": {"face": {"project": "nowhere"}}},
            "video.pose_models.face.project: nowhere is not found",
        ),
        ({"pose_models": {"a b": {"project": "x"}}}, "'a b' cannot be a name"),
        ({"pose_models": {"face": {"projct": "x"}}}, "did you mean 'project'?"),
    ],
)
def test_settings_that_cannot_be(cameras_lab, video, message):
    cameras_lab.configure(video=video)
    done = cameras_lab.snakemake("-n")
    assert done.returncode != 0
    assert message in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_video_cut_short_stops_its_camera_alone(tmp_path, raw_copy):
    """The message names the file; the other camera runs."""
    (path,) = raw_copy.rglob("*leftCamera.raw.avi")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    lab = new_lab(tmp_path / "lab", raw_copy)
    done = lab.snakemake("--cores", 2)
    message = next(line for line in done.stdout.splitlines() if "compress_video: " in line)
    assert f"{SESSION} leftCamera compress_video: " in message
    assert path.name in message and "cut short" in done.stdout
    assert "Traceback" not in done.stdout
    alf = lab.results / "derived" / SESSION / "alf"
    assert np.load(alf / "_ibl_rightCamera.times.npy").size
    assert not (alf / "_ibl_leftCamera.times.npy").exists()
    assert "failed:" in lab.sluice("status").stdout


def test_a_video_that_cannot_be_planned_is_left_out(tmp_path, raw_copy):
    """Empty: said before anything runs; the other camera is planned."""
    (path,) = raw_copy.rglob("*leftCamera.raw.avi")
    path.write_bytes(b"")
    lab = new_lab(tmp_path / "lab", raw_copy)
    done = lab.snakemake("-n")
    assert done.returncode == 0, done.stdout
    (notice,) = [line for line in done.stdout.splitlines() if "left out" in line]
    assert f"{SESSION} leftCamera" in notice and path.name in notice
    assert "camera=rightCamera" in done.stdout and "camera=leftCamera" not in done.stdout
