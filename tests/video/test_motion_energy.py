import json

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from video.camera_movies import (
    NAME,
    checks_of,
    info_of,
    measure,
    scene,
    settings_of,
    write_video,
)

from sluice.errors import InputError
from sluice.settings.camera_qc import MotionEnergy
from sluice.video.motion_energy import (
    beside_tail,
    clip_region,
    find_region,
    motion_energy_file,
    whisker_pad,
)
from sluice.video.pose import save_pose

SIDE, LEVEL, BEHIND = 20, 200, 50


def square(n_frames=20, step_px=3, height=60, width=120):
    """A square that moves to the right by so much from frame to frame."""
    frames = np.full((n_frames, height, width), BEHIND, np.uint8)
    for i, frame in enumerate(frames):
        frame[10 : 10 + SIDE, 5 + i * step_px : 5 + i * step_px + SIDE] = LEVEL
    return frames


def pose_of(path, n_frames, likelihood=1.0, **points):
    """Keypoints that stay where they are."""
    table = {}
    for point, (x, y) in points.items():
        table |= {f"{point}_x": np.full(n_frames, float(x)), f"{point}_y": np.full(n_frames, y)}
        table[f"{point}_likelihood"] = np.broadcast_to(likelihood, n_frames).astype(float)
    save_pose(pd.DataFrame(table), path)
    return path


def region_of(kind, pose=None, height=480, width=640, **changed):
    info = info_of(np.broadcast_to(np.uint8(0), (10, height, width)))
    settings = settings_of("motion_energy", **changed)
    return find_region(kind, info=info, pose=pose, settings=settings, name=NAME)


def test_energy_of_a_moving_square(tmp_path):
    frames = square()
    files, _ = measure(tmp_path, frames)
    energy = np.load(files.energy)
    assert energy.dtype == np.float32 and energy.shape == (20,)
    expected = np.float32(2 * 3 * SIDE * (LEVEL - BEHIND) / frames[0].size)
    assert (energy[:-1] == expected).all() and np.isnan(energy[-1])
    table = pd.read_parquet(files.measures)
    assert list(table["frame"]) == list(range(20))
    np.testing.assert_allclose(table["mean"], frames.mean(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(table["std"], frames.std(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(table["energy"][:-1], expected, rtol=1e-6)
    assert table[["wheel_energy", "position_score", "histogram_correlation"]].isna().all(axis=None)
    found = json.loads(files.region.read_text())
    assert found == {
        "x": 0,
        "y": 0,
        "width": 120,
        "height": 60,
        "kind": "whole",
        "clipped_fraction": 0.0,
        "known_fraction": None,
    }
    assert {key: one["verdict"] for key, one in checks_of(files.checks).items()} == {
        "energy_region_clipped_fraction": "PASS",
        "energy_zero_fraction": "PASS",
    }


def test_energy_of_regions(tmp_path):
    frames = square()
    # the square enters the region with its right edge in frame 12 and fills it from frame 18
    files, _ = measure(
        tmp_path, frames, camera_region=[60, 10, 20, 20], wheel_region=[0, 40, 120, 20]
    )
    wide = frames[:, 10:30, 60:80].astype(float)
    expected = np.append(np.abs(np.diff(wide, axis=0)).mean(axis=(1, 2)), np.nan)
    np.testing.assert_allclose(np.load(files.energy), expected, rtol=1e-6)
    assert (expected[:11] == 0).all() and (expected[12:18] > 0).all()
    table = pd.read_parquet(files.measures)
    # below the square
    assert (table["wheel_energy"][:-1] == 0).all() and np.isnan(table["wheel_energy"].iloc[-1])
    assert (table["energy"][:-1] > 0).all()


@pytest.mark.parametrize("n", [1, 2])
def test_short_videos(tmp_path, n):
    files, _ = measure(tmp_path, square(n))
    energy = np.load(files.energy)
    assert len(energy) == n and np.isnan(energy[-1])
    assert ("energy_zero_fraction" in checks_of(files.checks)) == (n > 1)
    table = pd.read_parquet(files.measures)
    assert table["drift_score"].notna().sum() == 1 and table["drift_x_px"].max() == 0


def test_nothing_that_moves_is_said(tmp_path):
    files, _ = measure(tmp_path, square(step_px=0))
    found = checks_of(files.checks)["energy_zero_fraction"]
    assert found["verdict"] == "FAIL" and found["message"] == "19 of 19 frames"


def test_the_same_video_gives_the_same_bytes(tmp_path):
    frames = scene(n_frames=60)
    first, _ = measure(tmp_path / "a", frames)
    second, _ = measure(tmp_path / "b", frames)
    for key, path in vars(first).items():
        assert path.read_bytes() == getattr(second, key).read_bytes(), key


def test_the_region_of_the_whisker_pad_is_ibls():
    # nose and pupil 120 px apart along x, 50 along y: 130 px
    assert whisker_pad((100, 200), (220, 250)) == (160 - 32.5, 225, 65, 130 / 3)
    # image of IBL's body camera
    assert beside_tail((400, 300), 512) == (160, 180, 240, 210)


@pytest.mark.parametrize("likelihood", [1.0, [0.9] * 6 + [0.1] * 4])
def test_points_place_the_whisker_pad(tmp_path, likelihood):
    pose = pose_of(tmp_path / "a.pqt", 10, likelihood, nose_tip=(100, 200), pupil_top_r=(220, 250))
    found = region_of("whisker_pad", pose)
    assert (found.x, found.y, found.width, found.height) == (127, 225, 65, 43)
    assert found.known_fraction == np.mean(np.broadcast_to(likelihood, 10) == np.max(likelihood))
    assert found.clipped_fraction == 0 and found.box == (127, 225, 65, 43)


def test_unlikely_positions_take_no_part(tmp_path):
    table = pd.read_parquet(
        pose_of(tmp_path / "a.pqt", 10, nose_tip=(100, 200), pupil_top_r=(220, 250))
    )
    table.loc[3, ["nose_tip_x", "nose_tip_likelihood"]] = 600, 0.89
    table.loc[5, "pupil_top_r_y"] = np.nan
    save_pose(table, tmp_path / "b.pqt")
    found = region_of("whisker_pad", tmp_path / "b.pqt")
    assert found.box == (127, 225, 65, 43) and found.known_fraction == 0.9


def test_the_first_point_of_the_pupil_that_is_ever_likely_counts(tmp_path):
    table = pd.read_parquet(
        pose_of(
            *(tmp_path / "a.pqt", 10),
            nose_tip=(100, 200),
            pupil_top_r=(0, 0),
            pupil_right_r=(220, 250),
            pupil_bottom_r=(9, 9),
        )
    )
    table["pupil_top_r_likelihood"] = 0.5
    save_pose(table, tmp_path / "b.pqt")
    assert region_of("whisker_pad", tmp_path / "b.pqt").box == (127, 225, 65, 43)


def test_a_stray_point_places_nothing(tmp_path):
    """One likely frame of one pupil point, far off, against another that is always likely."""
    points = {"nose_tip": (95, 260), "pupil_top_r": (600, 20), "pupil_left_r": (225, 233)}
    table = pd.read_parquet(pose_of(tmp_path / "a.pqt", 10, **points))
    alone = table.drop(columns=[c for c in table if c.startswith("pupil_top_r")])
    table["pupil_top_r_likelihood"] = [1.0] + [0.0] * 9
    save_pose(table, tmp_path / "a.pqt")
    save_pose(alone, tmp_path / "b.pqt")
    found = region_of("whisker_pad", tmp_path / "a.pqt")
    assert found.box == region_of("whisker_pad", tmp_path / "b.pqt").box
    assert found.known_fraction == 1


def test_the_tail_places_the_body(tmp_path):
    pose = pose_of(tmp_path / "a.pqt", 10, tail_start=(400, 300))
    assert region_of("body", pose, height=512).box == (160, 180, 240, 210)


@pytest.mark.parametrize(
    ("kind", "points", "message"),
    [
        ("whisker_pad", {"nose": (1, 1)}, "has no point nose_tip, pupil_top_r, .*'nose' for"),
        (
            "whisker_pad",
            {"nose_tip": (1, 1)},
            "no point pupil_top_r, .*, pupil_bottom_r; .*nose_tip",
        ),
        ("body", {"nose_tip": (1, 1)}, "no point tail_start"),
        (
            "whisker_pad",
            {"nose_tip": (9, 9), "pupil_top_r": (9, 9)},
            "no pixel within the image of 640 x 480 px. Look at the keypoints",
        ),
        (
            "whisker_pad",
            {"nose_tip": (9, 700), "pupil_top_r": (99, 700)},
            r"whisker_pad: x, y, width, height 31.5, 700.0, 45.0, 30.0\) has no pixel",
        ),
    ],
)
def test_points_that_place_nothing(tmp_path, kind, points, message):
    pose = pose_of(tmp_path / "a.pqt", 10, **points)
    with pytest.raises(InputError, match=message):
        region_of(kind, pose)


def test_points_that_are_never_likely(tmp_path):
    points = {"nose_tip": (9, 9), "pupil_top_r": (99, 9), "pupil_left_r": (99, 9)}
    pose = pose_of(tmp_path / "a.pqt", 10, 0.0, **points)
    message = r"nose_tip in .*a.pqt is never likely; expected a likelihood of 0.9 in some of the 10"
    with pytest.raises(InputError, match=message):
        region_of("whisker_pad", pose)
    table = pd.read_parquet(pose).assign(nose_tip_likelihood=1.0)
    save_pose(table, pose)
    with pytest.raises(InputError, match=r"pupil_top_r and pupil_left_r in .* are never likely"):
        region_of("whisker_pad", pose)


def test_a_camera_that_is_not_tracked():
    with pytest.raises(InputError, match="whisker_pad is placed by keypoints, and this camera is"):
        region_of("whisker_pad")


def test_a_region_outside_the_image(tmp_path):
    with pytest.raises(InputError, match=r"no pixel within the image .*Correct it in motion_ene"):
        region_of([640, 0, 10, 10])
    found = region_of([600, 470, 80, 20])
    assert found.box == (600, 470, 40, 10) and found.clipped_fraction == 0.75


def test_a_region_that_is_cut_is_said(tmp_path):
    files, _ = measure(tmp_path, square(), camera_region=[110, 0, 20, 20])
    found = checks_of(files.checks)["energy_region_clipped_fraction"]
    assert (found["value"], found["verdict"]) == (0.5, "WARNING")
    with pytest.raises(InputError, match=r"region of the wheel \[120, 0, 5, 5\] has no pixel"):
        measure(tmp_path, square(), wheel_region=[120, 0, 5, 5])


@hypothesis_settings(max_examples=200)
@given(
    st.tuples(*[st.floats(-50, 100)] * 2, *[st.floats(-3, 120)] * 2),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_clipped_regions_are_what_is_in_the_image(box, height, width):
    (x, y, columns, rows), fraction = clip_region(box, height=height, width=width)
    left, top, right, bottom = np.floor([*box]).astype(int)
    wanted = {
        (i, j)
        for i in range(left, left + right)
        for j in range(top, top + bottom)
        if 0 <= i < width and 0 <= j < height
    }
    assert {(i, j) for i in range(x, x + columns) for j in range(y, y + rows)} == wanted
    assert 0 <= fraction <= 1
    n = max(right, 0) * max(bottom, 0)
    assert fraction == pytest.approx(1 - len(wanted) / n if n else 1)


def test_the_position_is_measured_against_the_beginning_and_a_reference(tmp_path):
    frames = scene(n_frames=200)
    shifted = frames.copy()
    shifted[100:] = np.roll(frames[100:], (2, -6), axis=(1, 2))
    good = np.roll(frames[0], (0, 10), axis=(0, 1))
    assert cv2.imwrite(str(tmp_path / "good.png"), good)
    files, _ = measure(tmp_path, shifted, reference_frame=tmp_path / "good.png")
    table = pd.read_parquet(files.measures).dropna(subset="drift_score")
    assert len(table) == 10 and (table["drift_score"] > 0.6).all()
    assert list(table["drift_x_px"]) == [0] * 5 + [-6] * 5
    assert list(table["drift_y_px"]) == [0] * 5 + [2] * 5
    assert list(table["position_x_px"]) == [-10] * 5 + [-16] * 5
    # the same grey levels
    assert (table["histogram_correlation"] > 0.9).all()
    with np.load(files.reference) as found:
        assert found["pictures"].shape == (3, 120, 160) and found["factor"] == 1
        np.testing.assert_array_equal(found["pictures"][0], shifted[0])
        assert list(found["frames"]) == [0, 98, 199]
        np.testing.assert_array_equal(found["reference_frame"], good)


def test_another_video_than_that_of_the_info(tmp_path):
    with pytest.raises(InputError, match="has 20 frames; expected 21"):
        frames = square()
        video = write_video(tmp_path / "a.mkv", frames)
        keys = ("energy", "region", "measures", "reference", "checks")
        motion_energy_file(
            video=video,
            info=info_of(square(21)),
            **{key: tmp_path / key for key in keys},
            settings=settings_of("motion_energy"),
            threads=1,
            name=NAME,
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"regions": {"leftCamera": "nose"}}, "whisker_pad"),
        ({"regions": {"leftCamera": [0, 0, 5]}}, "at least 4"),
        ({"regions": {"leftCamera": [0, 0, 5, 0]}}, "leftCamera: .* is not a region"),
        ({"wheel_regions": {"leftCamera": [-1, 0, 5, 5]}}, "x and y from 0"),
        ({"pupil_points": []}, "at least 1"),
    ],
)
def test_settings_that_cannot_be(given, message):
    with pytest.raises(ValidationError, match=message):
        MotionEnergy(**given)


def test_a_real_video(real_data, tmp_path):
    path = real_data / "pose/openfield/videos/m3v1mp4.mp4"
    frames = np.broadcast_to(np.uint8(0), (2330, 480, 640))
    keys = ("energy.npy", "region", "measures", "reference", "checks")
    files = {key.split(".")[0]: tmp_path / key for key in keys}
    motion_energy_file(
        video=path,
        info=info_of(frames, 30.0),
        **files,
        settings=settings_of("motion_energy"),
        threads=2,
        name=NAME,
    )
    table, energy = pd.read_parquet(files["measures"]), np.load(files["energy"])
    capture, before = cv2.VideoCapture(str(path)), None
    for i in range(50):
        frame = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY).astype(float)
        # OpenCV goes through colours: a grey level differs by 1 at most here and there
        assert table["mean"][i] == pytest.approx(frame.mean(), abs=0.5)
        if i:
            assert energy[i - 1] == pytest.approx(np.abs(frame - before).mean(), abs=0.05)
        before = frame
    # a mouse runs about in an arena that stands still
    moved = table[["drift_x_px", "drift_y_px"]].dropna().abs()
    assert len(moved) == 10 and moved.max(axis=None) <= 6
    assert table["sharpness"].min() > 3
    assert {one["verdict"] for one in checks_of(files["checks"]).values()} == {"PASS"}
