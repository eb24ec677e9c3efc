"""What is compared with the truth of a made-up video is judged rightly."""

import shutil
import subprocess
from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest

from sluice.errors import InputError
from sluice.synth.camera_session import write_camera_session
from sluice.synth.camera_truth import load_camera_truth
from sluice.synth.compare_camera import (
    compare_blinks,
    compare_camera,
    compare_camera_files,
    compare_licks,
    format_camera_comparison,
)

N = 297


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    return write_camera_session(raw, seed=3, duration_s=10.0, dropped=(50, 51, 120))


@pytest.fixture(scope="module")
def truth(session):
    return load_camera_truth(session.truth_folders["leftCamera"])


def _perfect(truth):
    """Results without an error, as arguments of `compare_camera`."""
    pose = truth.pose[[c for c in truth.pose if not c.endswith("_visible")]].copy()
    for point in truth.facts["points"]:
        visible = truth.pose[f"{point}_visible"]
        pose[f"{point}_likelihood"] = visible.astype(float)
        # nobody knows where it is
        pose.loc[~visible, [f"{point}_x", f"{point}_y"]] = 0.0
    is_blink = truth.frames.is_blink
    diameter = truth.frames.pupil_diameter_px.where(~is_blink)
    features = pd.DataFrame(
        {"pupilDiameter_raw": diameter, "pupilDiameter_smooth": diameter, "is_blink": is_blink}
    )
    return {
        "n_decoded": N,
        "size_bytes": N * 160 * 128 // 20,
        "times_s": truth.frames.time_s.to_numpy(),
        "n_dropped_before": truth.frames.n_dropped_before.to_numpy(),
        "pose": pose,
        "features": features,
        "licks_s": truth.licks_s.mean(axis=1),
    }


def test_perfect_results_pass(truth):
    comparison = compare_camera(truth, **_perfect(truth), name="s leftCamera")
    summary = comparison.summary
    assert summary["passed"], summary["failed"]
    assert summary["times_smaller"] == pytest.approx(20, rel=1e-3)
    assert (summary["n_frames"], summary["n_dropped"]) == (N, 3)
    assert summary["max_time_error_frames"] == summary["pose_error_px"] == 0
    assert summary["pupil_correlation"] == pytest.approx(1)
    assert summary["pupil_slope"] == pytest.approx(1)
    for key in ("blink_recall", "blink_precision", "lick_recall", "lick_precision", "pupil_known"):
        assert summary[key] == 1
    points = comparison.points.set_index("point")
    assert points.index.tolist() == truth.facts["points"]
    assert (points.median_px == 0).all()
    assert (points.likely_visible == 1).all()
    assert points.likely_hidden["tongue_end_l"] == 0
    assert np.isnan(points.likely_hidden["nose_tip"])
    text = format_camera_comparison(comparison)
    assert text.startswith("s leftCamera, against the truth:")
    assert "297 frames of 297, 3 lost by the camera" in text
    assert "1 correlation of the pupil's diameter (asked for: at least 0.98)" in text
    assert text.endswith("  as it should be")


def test_what_was_not_asked_for_is_not_compared(truth):
    results = {**_perfect(truth), "pose": None, "features": None, "licks_s": None}
    comparison = compare_camera(truth, **results)
    assert comparison.summary["passed"]
    assert not comparison.points.size
    text = format_camera_comparison(comparison)
    for key in ("pose_error_px", "pupil_correlation", "blink_recall", "lick_precision"):
        assert f"not compared: {key}" in text


def _late(results):
    results["times_s"] = results["times_s"] + np.eye(1, N, 40)[0] * 0.6 / 30


def _unknown_time(results):
    results["times_s"] = np.where(np.arange(N) == 40, np.nan, results["times_s"])


def _large(results):
    results["size_bytes"] = N * 160 * 128 // 9


def _one_more_dropped(results):
    results["n_dropped_before"] = results["n_dropped_before"] + np.eye(1, N, 7, dtype=int)[0]


def _far_points(results):
    results["pose"] = results["pose"].copy()
    columns = [c for c in results["pose"] if c.endswith("_x")]
    results["pose"][columns] += 2.1


def _one_point_missing(results):
    results["pose"] = results["pose"].drop(columns="paw_l_x")


def _noisy_pupil(results):
    features = results["features"].copy()
    features["pupilDiameter_raw"] += np.random.default_rng(0).normal(0, 3, N)
    results["features"] = features


def _lost_pupil(results):
    features = results["features"].copy()
    features.loc[:100, "pupilDiameter_raw"] = np.nan
    results["features"] = features


@pytest.mark.parametrize(
    ("spoil", "failed"),
    [
        (lambda results: results.update(n_decoded=N - 1), ["n_frames_off"]),
        (_large, ["times_smaller"]),
        (_late, ["max_time_error_frames"]),
        (_unknown_time, ["max_time_error_frames"]),
        (_one_more_dropped, ["n_dropped_wrong"]),
        (_far_points, ["pose_error_px"]),
        (_one_point_missing, ["pose_error_px"]),
        (_noisy_pupil, ["pupil_correlation"]),
        (_lost_pupil, ["pupil_known"]),
        (lambda results: results.update(licks_s=np.zeros(0)), ["lick_recall"]),
        (lambda results: results.update(times_s=results["times_s"][1:]), ["max_time_error_frames"]),
        (
            lambda results: results.update(n_dropped_before=results["n_dropped_before"][1:]),
            ["n_dropped_wrong"],
        ),
        (lambda results: results.update(pose=results["pose"][1:]), ["pose_error_px"]),
    ],
)
def test_what_is_wrong_is_found_out(truth, spoil, failed):
    results = _perfect(truth)
    spoil(results)
    comparison = compare_camera(truth, **results)
    assert comparison.summary["failed"] == failed
    assert not comparison.summary["passed"]
    assert format_camera_comparison(comparison).endswith("NOT as it should be")


def test_pupil_of_another_length_fails(truth):
    results = _perfect(truth)
    comparison = compare_camera(truth, **{**results, "features": results["features"][1:]})
    assert {"pupil_correlation", "pupil_known"} <= set(comparison.summary["failed"])


def test_the_first_frames_losses_are_not_compared(truth):
    results = _perfect(truth)
    results["n_dropped_before"] = results["n_dropped_before"] + 5 * np.eye(1, N, dtype=int)[0]
    assert compare_camera(truth, **results).summary["passed"]


def test_blinks_may_be_off_by_two_frames(truth):
    true = truth.frames.is_blink.to_numpy()
    n = len(truth.blinks)
    assert n >= 2
    for frames, right in ((2, 1), (3, 0)):
        found = compare_blinks(truth, np.roll(true, frames))
        assert (found["blink_recall"], found["blink_precision"]) == (right, right)
    # wider by 2 on each side, as flags that are dilated
    wide = np.convolve(true, np.ones(5), "same") > 0
    assert compare_blinks(truth, wide)["blink_recall"] == 1
    # one too many, one missing
    more = true.copy()
    more[2:4] = True
    assert compare_blinks(truth, more)["blink_precision"] == pytest.approx(n / (n + 1))
    fewer = true.copy()
    fewer[: truth.blinks.stop[0]] = False
    found = compare_blinks(truth, fewer)
    assert found["blink_recall"] == pytest.approx((n - 1) / n)
    assert found["blink_precision"] == 1


def test_licks_found_twice_count_once(truth):
    n = len(truth.licks_s)
    twice = np.sort(np.concatenate([truth.licks_s[:, 0], truth.licks_s[:, 1]]))
    found = compare_licks(truth, twice)
    assert (found["lick_recall"], found["lick_precision"]) == (1, 1)
    assert (found["n_licks"], found["n_licks_found"]) == (n, 2 * n)
    found = compare_licks(truth, np.concatenate([truth.licks_s[1:, 0], [0.1]]))
    assert found["lick_recall"] == pytest.approx((n - 1) / n)
    assert found["lick_precision"] == pytest.approx((n - 1) / n)


def test_nothing_to_find_and_nothing_found(truth):
    results = _perfect(truth)
    none = replace(truth, blinks=truth.blinks[:0], licks_s=truth.licks_s[:0])
    features = results["features"].assign(is_blink=False)
    found_nothing = {**results, "features": features, "licks_s": np.zeros(0)}
    assert compare_camera(none, **found_nothing).summary["passed"]
    failed = compare_camera(none, **results).summary["failed"]
    assert failed == ["blink_precision", "lick_precision"]
    assert compare_camera(truth, **found_nothing).summary["failed"] == [
        "blink_recall",
        "lick_recall",
    ]


def test_files_of_the_workflow_are_read(session, truth, tmp_path):
    name, folder = session.name, session.truth_folders["leftCamera"]
    derived, work = tmp_path / "derived" / name, tmp_path / "work" / name / "leftCamera"
    results = _perfect(truth)
    (derived / "alf").mkdir(parents=True)
    (derived / "raw_video_data").mkdir()
    (work / "camera_times").mkdir(parents=True)

    def compare(**more):
        return compare_camera_files(folder, tmp_path, name, "leftCamera", **more)

    with pytest.raises(InputError, match=r"_sluice_leftCamera.raw.mp4: not found. Is this a"):
        compare()
    video = derived / "raw_video_data" / "_sluice_leftCamera.raw.mp4"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    options = ["-c:v", "libx264", "-crf", "29", "-fps_mode", "passthrough"]
    subprocess.run([*ffmpeg, "-i", session.video_files["leftCamera"], *options, video], check=True)
    np.save(derived / "alf" / "_ibl_leftCamera.times.npy", results["times_s"])
    frames = pd.DataFrame({"n_dropped_before": results["n_dropped_before"]})
    frames.to_parquet(work / "camera_times" / "frames.pqt")
    comparison = compare()
    assert comparison.summary["passed"], comparison.summary["failed"]
    assert comparison.name == "SYN001/2026-01-15/001 leftCamera"
    assert comparison.summary["n_decoded"] == N
    assert comparison.summary["times_smaller"] > 50
    assert "pose_error_px" not in comparison.summary
    with pytest.raises(InputError, match=r"_ibl_leftCamera.dlc.pqt: not found"):
        compare(required=("pose",))
    results["pose"].to_parquet(derived / "alf" / "_ibl_leftCamera.dlc.pqt")
    results["features"].to_parquet(derived / "alf" / "_ibl_leftCamera.features.pqt")
    np.save(derived / "alf" / "licks.times.npy", results["licks_s"])
    comparison = compare(required=("pose", "pupil", "licks"), name="a")
    assert comparison.name == "a"
    assert comparison.summary["passed"], comparison.summary["failed"]
    assert comparison.summary["lick_recall"] == 1
    shutil.copy(work / "camera_times" / "frames.pqt", video)
    with pytest.raises(InputError, match=r"raw.mp4: OpenCV cannot open it; expected a video"):
        compare()
