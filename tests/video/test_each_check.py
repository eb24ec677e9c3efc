"""Each check of cameras fires on the made-up video that is to fail it, and on no other."""

import json

import pandas as pd
import pytest

from sluice.scan_cameras import describe_cameras
from sluice.session import Camera
from sluice.settings.camera_qc import CameraQc, MotionEnergy
from sluice.settings.camera_times import CameraTimes
from sluice.settings.compress_video import CompressVideo
from sluice.settings.pupil import Pupil, PupilCamera
from sluice.synth.camera_geometry import PUPIL_POINTS
from sluice.synth.camera_session import write_camera_session
from sluice.synth.camera_settings import FAULTS
from sluice.video.camera_qc import camera_qc_file
from sluice.video.camera_times import camera_times_file
from sluice.video.compress_video import compress_video_file
from sluice.video.motion_energy import motion_energy_file
from sluice.video.pose import save_pose
from sluice.video.pupil import pupil_file
from sluice.video.video_info import load_video_info

DURATION_S = 30
# Fault: checks that are not PASS. Of lost frames all that count them may speak.
EXPECTED = {
    "none": set(),
    "dark": {"camera_brightness_low"},
    "bright": {"camera_brightness_high"},
    "brightness_jump": {"camera_brightness_jumps"},
    "out_of_focus": {"camera_focus"},
    "moved": {"camera_position_drift_percent"},
    "frozen": {"camera_frozen_fraction"},
    "wheel_lag": {"camera_wheel_lag_frames"},
    "pupil_blocked": {"pupil_unknown_fraction"},
    "dropped": {"camera_dropped_fraction"},
    # pulses before and after the video are common, and which they are is known
    "ttl_before": set(),
    "ttl_after": set(),
    "ttl_lost_start": {"camera_frame_difference", "camera_interpolated_fraction"},
    "ttl_lost_end": {"camera_frame_difference", "camera_interpolated_fraction"},
}


def settings_of(section, **changes):
    return section(**changes).model_dump(mode="json")


def true_pose(session, path):
    """The true keypoints as a perfect tracker would give them: hidden points are unlikely."""
    pose = pd.read_parquet(session.truth_folders["leftCamera"] / "pose.pqt")
    table = {}
    for point in PUPIL_POINTS:
        table[f"{point}_x"], table[f"{point}_y"] = pose[f"{point}_x"], pose[f"{point}_y"]
        table[f"{point}_likelihood"] = pose[f"{point}_visible"].map({True: 0.99, False: 0.02})
    save_pose(pd.DataFrame(table), path)


def judge(folder, fault):
    """Run the steps on a video with one fault; names of the checks that are not PASS."""
    session = write_camera_session(
        folder / "raw", seed=2, duration_s=DURATION_S, **FAULTS.get(fault, {})
    )
    ((row, _),) = describe_cameras(session.name, session.folder)
    camera = Camera(**{key: row[key] for key in Camera.__dataclass_fields__})
    out = {
        name: folder / name
        for name in (
            *("video.mp4", "video.json", "frame_pts.npy", "times.npy", "frames.pqt"),
            *("times.json", "energy.npy", "region.json", "measures.pqt", "reference.npz"),
            *("pose.pqt", "features.pqt", "qc.png"),
        )
    }
    checks = {step: folder / f"{step}.checks.json" for step in ("video", "times", "energy")}
    checks |= {step: folder / f"{step}.checks.json" for step in ("pupil", "qc")}
    compress_video_file(
        camera=camera,
        video=out["video.mp4"],
        info=out["video.json"],
        pts=out["frame_pts.npy"],
        checks=checks["video"],
        settings=settings_of(CompressVideo),
    )
    info = load_video_info(out["video.json"])
    camera_times_file(
        camera=camera,
        info=info,
        pts=out["frame_pts.npy"],
        times=out["times.npy"],
        frames=out["frames.pqt"],
        summary=out["times.json"],
        checks=checks["times"],
        settings=settings_of(CameraTimes),
        name="camera",
    )
    motion_energy_file(
        video=out["video.mp4"],
        info=info,
        energy=out["energy.npy"],
        region=out["region.json"],
        measures=out["measures.pqt"],
        reference=out["reference.npz"],
        checks=checks["energy"],
        settings=settings_of(MotionEnergy),
        threads=1,
        name="camera",
    )
    true_pose(session, out["pose.pqt"])
    pupil_file(
        pose=out["pose.pqt"],
        times=out["times.npy"],
        features=out["features.pqt"],
        checks=checks["pupil"],
        settings=settings_of(Pupil),
        camera_settings=settings_of(PupilCamera, method="ellipse", points=list(PUPIL_POINTS)),
        name="camera",
    )
    camera_qc_file(
        info=info,
        frames=out["frames.pqt"],
        times=out["times.npy"],
        summary=out["times.json"],
        measures=out["measures.pqt"],
        energy=out["energy.npy"],
        region=out["region.json"],
        reference=out["reference.npz"],
        features=out["features.pqt"],
        wheel=camera.wheel,
        checks=checks["qc"],
        figure=out["qc.png"],
        settings=settings_of(CameraQc),
        name="camera",
    )
    found = [check for path in checks.values() for check in json.loads(path.read_text())]
    assert len({check["name"] for check in found}) == len(found)
    # of a pupil that is never seen there is no diameter to be judged
    assert fault == "pupil_blocked" or all(check["value"] is not None for check in found)
    fired = [c for c in found if c["verdict"] != "PASS" and c["value"] is not None]
    return {check["name"] for check in fired}


@pytest.mark.slow
@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_is_found_by_its_check_alone(tmp_path, fault):
    assert judge(tmp_path, fault) == EXPECTED[fault]
