"""What is true of a made-up video is what is drawn."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from sluice.errors import UserError
from sluice.synth.camera_behavior import CLOSED_S, CLOSING_S, LICK_S, OPENING_S
from sluice.synth.camera_geometry import POINTS, PUPIL_POINTS
from sluice.synth.camera_render import Renderer, ellipse_distance, render
from sluice.synth.camera_scene import make_camera_scene
from sluice.synth.camera_settings import FAULTS

SHORT = {"duration_s": 8.0}
# Shapes without what disturbs their measurement: noise and the reflected light.
CLEAN = {**SHORT, "noise_sd": 0.0, "has_glint": False}


@pytest.fixture(scope="module")
def scene():
    return make_camera_scene(seed=4, **SHORT)


@pytest.fixture(scope="module")
def clean():
    return make_camera_scene(seed=4, **CLEAN)


def _eye(scene, frame):
    """Frame's light without the lamp, in the window of an open eye; corner of the window."""
    renderer = Renderer(scene)
    pose = scene.pose.iloc[frame]
    left, right = sorted([pose.eye_corner_nasal_x, pose.eye_corner_temporal_x])
    scale = scene.settings.scale
    x0, x1 = int(left + 8 * scale), int(right - 8 * scale)
    y = pose.eye_corner_nasal_y
    y0, y1 = int(y - 17 * scale), int(y + 18 * scale)
    light = renderer.light(int(scene.shown[frame])) / renderer._lamp
    return light[y0:y1, x0:x1] / scene.states.light[scene.shown[frame]], (x0, y0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"width": 240, "height": 200},
        {"width": 100, "height": 90},
        {"is_mirrored": True},
        {"moved_from_frame": 0, "moved_px": (3.25, -2.5)},
    ],
    ids=["as it is", "large", "small", "mirrored", "moved"],
)
def test_the_dark_of_the_pupil_is_where_and_as_large_as_is_said(changes):
    # pupils of which all is in the window
    scene = make_camera_scene(seed=4, **CLEAN, **changes, pupil_diameter_px=(12.0, 24.0))
    truth = scene.frame_truth()
    open_frames = np.flatnonzero(truth.lid_closure == 0)[::17]
    assert len(open_frames) > 8
    for frame in open_frames.tolist():
        eye, (x0, y0) = _eye(scene, frame)
        row = truth.iloc[frame]
        y, x = np.mgrid[: eye.shape[0], : eye.shape[1]]
        # part of each pixel that is pupil, from the level of the ball at the pupil's edge
        far = np.hypot(x + x0 - row.pupil_x_px, y + y0 - row.pupil_y_px)
        ring = (far > row.pupil_diameter_px / 2 + 2) & (far < row.pupil_diameter_px / 2 + 4)
        part = np.clip((np.median(eye[ring]) - eye) / (np.median(eye[ring]) - 14), 0, 1)
        part[far > row.pupil_diameter_px / 2 + 2] = 0
        assert (part * x).sum() / part.sum() + x0 == pytest.approx(row.pupil_x_px, abs=0.1)
        assert (part * y).sum() / part.sum() + y0 == pytest.approx(row.pupil_y_px, abs=0.1)
        area = np.pi * row.pupil_semi_x_px * row.pupil_semi_y_px
        # 4 %: the ball around is not evenly grey
        assert part.sum() == pytest.approx(area, rel=0.04)
        assert row.pupil_diameter_px == pytest.approx(row.pupil_semi_x_px + row.pupil_semi_y_px)


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_points_of_the_pupil_lie_on_its_edge_and_are_called_by_their_side(is_mirrored):
    scene = make_camera_scene(seed=4, **CLEAN, is_mirrored=is_mirrored)
    truth, pose = scene.frame_truth(), scene.pose
    for frame in np.flatnonzero(truth.lid_closure == 0)[::40].tolist():
        row = truth.iloc[frame]
        image = cv2.resize(
            Renderer(scene).light(int(scene.shown[frame])), None, fx=8, fy=8,
            interpolation=cv2.INTER_CUBIC,
        )  # fmt: skip
        for point in PUPIL_POINTS:
            at = pose.loc[frame, [f"{point}_x", f"{point}_y"]].to_numpy(float)
            along = at - [row.pupil_x_px, row.pupil_y_px]
            along /= np.hypot(*along)
            # from dark to light along the line through the point
            steps = np.arange(-2.5, 2.6, 0.25)
            line = at + steps[:, None] * along
            # pixel (x, y) of the picture is the middle of 8 x 8
            sample = np.rint(line * 8 + 3.5).astype(int)
            levels = image[sample[:, 1], sample[:, 0]]
            half = (levels[:5].mean() + levels[-5:].mean()) / 2
            # sampled to a sixteenth of a pixel, each way; the ball outside is not evenly grey
            assert np.interp(half, levels[4:-4], steps[4:-4]) == pytest.approx(0, abs=0.25)
    where = {
        "pupil_right_r": (1, 0),
        "pupil_bottom_r": (0, 1),
        "pupil_left_r": (-1, 0),
        "pupil_top_r": (0, -1),
    }
    radius = truth.pupil_diameter_px / 2
    for point, side in where.items():
        for axis, sign in zip("xy", side, strict=True):
            off = (pose[f"{point}_{axis}"] - truth[f"pupil_{axis}_px"]) / radius
            # the head rolls by less than a degree; height and width differ by 5 %
            np.testing.assert_allclose(off, sign, atol=0.05)
    assert (pose.tongue_end_l_x < pose.tongue_end_r_x).all()
    nose_is_left = (pose.nose_tip_x < pose.eye_corner_nasal_x).all()
    assert nose_is_left != is_mirrored
    assert ((pose.eye_corner_nasal_x < pose.eye_corner_temporal_x) != is_mirrored).all()


def test_tongue_and_paw_are_where_is_said(clean):
    truth, pose = clean.frame_truth(), clean.pose
    renderer = Renderer(clean)
    out = int(np.argmax(clean.states.tongue[clean.exposures]))
    with_tongue = renderer.light(int(clean.exposures[out]))
    middle = (
        pose.loc[out, ["tongue_end_l_x", "tongue_end_r_x"]].mean(),
        pose.loc[out, ["tongue_end_l_y", "tongue_end_r_y"]].mean(),
    )
    x, y = np.rint(middle).astype(int)
    bright = with_tongue[y - 3 : y + 4, x - 3 : x + 4]
    # its end: bright on the side of the mouth, dark beyond
    assert bright.max() > 150
    assert bright.min() < 100
    assert truth.is_tongue_out[out]
    for frame in (5, 60, 110):
        light = renderer.light(int(clean.exposures[frame]))
        x, y = np.rint(pose.loc[frame, ["paw_l_x", "paw_l_y"]].to_numpy(float)).astype(int)
        # the dark mark on the paw's back
        around = light[y - 4 : y + 5, x - 4 : x + 5]
        dark = np.unravel_index(np.argmin(around), around.shape)
        assert np.abs(np.array(dark) - 4).max() <= 1


def test_blinks_cover_the_pupil(clean):
    truth, pose = clean.frame_truth(), clean.pose
    is_closed = truth.lid_closure > 0.99
    assert is_closed.sum() >= 3
    visible = pose[[f"{p}_visible" for p in PUPIL_POINTS]].to_numpy()
    assert not visible[is_closed].any()
    np.testing.assert_array_equal(truth.is_blink, ~visible.all(axis=1))
    renderer = Renderer(clean)
    for frame in np.flatnonzero(is_closed).tolist():
        x, y = int(truth.pupil_x_px[frame]), int(truth.pupil_y_px[frame])
        # no black where the pupil would be (14 times 1.08 of the lamp), but for the lids' edge
        patch = renderer.light(frame)[y - 4 : y + 5, x - 4 : x + 5]
        assert np.median(patch) > 60
    # lids close over 3 frames, stay for 3 to 6 and open over 4: all blinks are about 11 frames
    starts = np.flatnonzero(np.diff(truth.is_blink.astype(int)) == 1)
    stops = np.flatnonzero(np.diff(truth.is_blink.astype(int)) == -1)
    length_s = (stops - starts) / 30
    assert (length_s > CLOSED_S[0] + 0.05).all()
    assert (length_s < CLOSING_S + CLOSED_S[1] + OPENING_S).all()


def test_licks_are_seen_when_they_happen(scene):
    licks_s = scene.behavior.licks_s
    truth = scene.frame_truth()
    inside = ((licks_s[:, 0] < truth.time_s.to_numpy()[:, None]) & (
        truth.time_s.to_numpy()[:, None] < licks_s[:, 1])).any(axis=1)  # fmt: skip
    assert (inside | ~truth.is_tongue_out).all()
    n_frames = [
        truth.is_tongue_out[(truth.time_s > a) & (truth.time_s < b)].sum()
        for a, b in licks_s[licks_s[:, 1] < truth.time_s.iloc[-1]]
    ]
    # 3 or 4 frames, some of which the tongue is too far in
    assert min(n_frames) >= 2
    assert max(n_frames) <= np.ceil(LICK_S * 30)


def test_what_moves_with_the_wheel_moves_as_it_does(clean):
    # at rest nothing moves; the pad's motion grows with the wheel's speed
    wheel_rad = clean.behavior.wheel_rad(clean.times_s)
    speed = np.abs(np.diff(wheel_rad))
    frames = np.array(list(render(clean)), np.float64)
    pad = np.abs(np.diff(frames[:, 55:78, 38:72], axis=0)).mean(axis=(1, 2))
    assert np.corrcoef(speed, pad)[0, 1] > 0.8
    late = make_camera_scene(seed=4, **CLEAN, wheel_lag_s=0.2)
    frames = np.array(list(render(late)), np.float64)
    pad = np.abs(np.diff(frames[:, 55:78, 38:72], axis=0)).mean(axis=(1, 2))
    lags = np.arange(-10, 11)
    found = [np.corrcoef(speed[15:-15], np.roll(pad, -k)[15:-15])[0, 1] for k in lags]
    assert lags[np.argmax(found)] == 6


def test_times_follow_from_the_cameras_clock():
    scene = make_camera_scene(seed=1, duration_s=100.0, clock_ppm=200.0, jitter_s=0.0)
    np.testing.assert_allclose(scene.camera_s - scene.camera_s[0], np.arange(3000) / 30)
    # 200 ppm of 100 s are 20 ms
    end_s = scene.times_s[-1] - scene.times_s[0]
    assert end_s == pytest.approx(2999 / 30 - 0.02, abs=1e-4)
    jittery = make_camera_scene(seed=1, duration_s=100.0, jitter_s=1e-3)
    assert np.diff(jittery.times_s).std() == pytest.approx(np.sqrt(2) * 1e-3, rel=0.1)
    assert (np.diff(jittery.times_s) > 0).all()


@pytest.mark.parametrize("have_ttl", [True, False])
def test_dropped_frames_are_missing_but_counted(scene, have_ttl):
    dropped = (10, 11, 12, 100, 239)
    lossy = make_camera_scene(seed=4, **SHORT, dropped=dropped, dropped_have_ttl=have_ttl)
    truth = lossy.frame_truth()
    assert lossy.n_frames == 235
    # the last is after all that is in the video
    assert truth.n_dropped_before.sum() == 4
    assert truth.n_dropped_before[10] == 3
    assert len(lossy.ttl_s) == (240 if have_ttl else 235)
    # what is left is as it would have been
    keep = np.setdiff1d(np.arange(240), dropped)
    np.testing.assert_array_equal(lossy.times_s, scene.times_s[keep])
    for frame in (9, 10, 150):
        image = next(render(lossy, frame))
        np.testing.assert_array_equal(image, next(render(scene, int(lossy.exposures[frame]))))


def test_pulses_too_many_and_too_few(scene):
    many = make_camera_scene(seed=4, **SHORT, n_ttl_before=3, n_ttl_after=2)
    assert len(many.ttl_s) == 245
    np.testing.assert_array_equal(many.ttl_s[3:-2], scene.times_s)
    # jitter is 50 µs
    np.testing.assert_allclose(np.diff(many.ttl_s), 1 / 30, atol=5e-4)
    few = make_camera_scene(seed=4, **SHORT, n_ttl_lost_start=3, n_ttl_lost_end=2)
    np.testing.assert_array_equal(few.ttl_s, scene.times_s[3:-2])


def test_frozen_frames_are_the_same_picture():
    scene = make_camera_scene(seed=4, **SHORT, frozen=((50, 4),))
    frames = list(render(scene, 48, 56))
    same = [np.array_equal(a, b) for a, b in pairwise(frames)]
    assert same == [False, True, True, True, True, False, False]
    truth = scene.frame_truth()
    assert np.flatnonzero(truth.is_frozen).tolist() == [50, 51, 52, 53]
    # what is true is what the picture shows, at the time it was taken
    assert truth.pupil_x_px[50:54].nunique() == 1
    assert (np.diff(truth.time_s) > 0.03).all()


def test_brightness_is_as_asked(scene):
    def mean_level(frame=20, **changes):
        return next(render(make_camera_scene(seed=4, **SHORT, **changes), frame)).mean()

    normal = mean_level()
    # as cameras are set: neither dark nor bright
    assert 70 < normal < 150
    assert mean_level(brightness=0.5) == pytest.approx(normal / 2, rel=0.02)
    assert mean_level(**FAULTS["dark"]) < 20
    assert mean_level(**FAULTS["bright"]) > 205
    out = {"lights_out_s": ((0.5, 1.0),)}
    assert mean_level(**out) == pytest.approx(0.15 * normal, rel=0.03)
    assert mean_level(frame=14, **out) == pytest.approx(normal, rel=0.03)
    assert mean_level(frame=239, fade_to=0.3) == pytest.approx(0.3 * normal, rel=0.06)


def test_out_of_focus_moved_and_blocked(scene):
    sharp = next(render(scene, 20))
    blurred = next(render(make_camera_scene(seed=4, **SHORT, blur_px=4.0), 20))
    assert sharp.mean() == pytest.approx(blurred.mean(), abs=1)

    def sharpness(image):
        return cv2.Laplacian(cv2.GaussianBlur(image.astype(float), (0, 0), 1), cv2.CV_64F).var()

    assert sharpness(sharp) > 20 * sharpness(blurred)
    moved = make_camera_scene(seed=4, **SHORT, moved_from_frame=30, moved_px=(6.0, -4.0))
    np.testing.assert_array_equal(next(render(moved, 29)), next(render(scene, 29)))
    for axis, px in (("x", 6), ("y", -4)):
        off = moved.pose[f"nose_tip_{axis}"] - scene.pose[f"nose_tip_{axis}"]
        np.testing.assert_allclose(off, np.where(np.arange(240) < 30, 0, px), atol=1e-9)
    image = next(render(moved, 30))[8:-20, 20:-20].astype(float)
    other = next(render(scene, 30))[12:-16, 14:-26].astype(float)
    assert np.corrcoef(image.ravel(), other.ravel())[0, 1] > 0.98
    blocked = make_camera_scene(seed=4, **SHORT, is_blocked=True)
    assert not blocked.pose[[f"{p}_visible" for p in PUPIL_POINTS]].to_numpy().any()
    truth = blocked.frame_truth()
    x, y = int(truth.pupil_x_px[20]), int(truth.pupil_y_px[20])
    assert next(render(blocked, 20))[y - 6 : y + 6, x - 6 : x + 6].min() > 80


def test_points_stay_in_the_picture(scene):
    visible = scene.pose[[f"{p}_visible" for p in POINTS]]
    always = ["eye_corner_nasal", "eye_corner_temporal", "nose_tip", "paw_l"]
    assert visible[[f"{p}_visible" for p in always]].all().all()
    assert visible.any().all()
    # someone who moves the camera loses some
    far = make_camera_scene(seed=4, **SHORT, moved_from_frame=0, moved_px=(-40.0, 0.0))
    assert not far.pose.nose_tip_visible.any()


def test_the_same_seed_is_the_same_animal(scene):
    again = make_camera_scene(seed=4, **SHORT)
    np.testing.assert_array_equal(next(render(scene, 100)), next(render(again, 100)))
    # frames do not depend on those drawn before
    np.testing.assert_array_equal(next(render(scene, 100)), list(render(scene, 97, 101))[3])
    other_day = scene.another_day(1)
    assert not np.allclose(other_day.states.pupil_px, scene.states.pupil_px)
    # the wall behind is the same on all days
    frames = [np.mean(list(render(s, 0, 60)), axis=0)[:25, :60] for s in (scene, other_day)]
    assert np.corrcoef(frames[0].ravel(), frames[1].ravel())[0, 1] > 0.95
    stranger = make_camera_scene(seed=5, **SHORT)
    frame = np.mean(list(render(stranger, 0, 60)), axis=0)[:25, :60]
    assert np.corrcoef(frames[0].ravel(), frame.ravel())[0, 1] < 0.9


def test_distance_of_an_ellipse_is_right_near_its_edge():
    angle = np.linspace(0, 2 * np.pi, 50)
    for off in (-0.5, 0.0, 0.5):
        normal = np.column_stack([np.cos(angle) / 12, np.sin(angle) / 9])
        normal /= np.hypot(*normal.T)[:, None]
        x, y = (np.column_stack([12 * np.cos(angle), 9 * np.sin(angle)]) + off * normal).T
        np.testing.assert_allclose(ellipse_distance(x, y, 12, 9), off, atol=0.02)
    assert ellipse_distance(np.zeros(1), np.zeros(1), 12, 9)[0] == -9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration_s": 0.01}, "less than 2 frames; make it longer"),
        ({"dropped": (240,)}, r"frame\(s\) \[240\] .* expected 0 to 239"),
        ({"frozen": ((230, 20),)}, r"frame\(s\) \[249\]"),
        ({"frozen": ((0, 2),)}, "the first frame has none before it"),
        ({"dropped": tuple(range(239))}, "fewer than 2 of 240 frames are left"),
        ({"pupil_diameter_px": (20.0, 60.0)}, "the eye is no larger"),
        ({"width": 40}, "frame of 40 x 128: expected at least 80 x 64"),
        ({"n_ttl_before": 40}, "start later"),
    ],
)
def test_contradicting_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_camera_scene(**{**SHORT, **changes})
