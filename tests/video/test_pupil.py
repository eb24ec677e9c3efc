from itertools import groupby

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter1d
from scipy.signal import savgol_filter
from video.made_up_pose import checks_of, on_ellipse, pose_table

from sluice.errors import InputError
from sluice.settings.pupil import FOUR_POINTS, Pupil, PupilCamera
from sluice.video.blinks import find_blinks, keep_runs
from sluice.video.pose import save_pose
from sluice.video.pupil import pupil_ellipse, pupil_file, pupil_four_points
from sluice.video.smoothing import local_polynomial, smooth_trace

NAN = np.nan
RATE_HZ = 100.0
PUPIL = [f"pupil_{k:02d}" for k in range(12)]
EYE = [f"eye_{k:02d}" for k in range(12)]
ELLIPSE = {"method": "ellipse", "points": PUPIL, "eye_points": EYE}
AROUND = np.arange(12) * np.pi / 6
# top, right, bottom, left in an image, whose y axis points down
FOUR = np.array([-0.5, 0, 0.5, 1]) * np.pi


def eye(
    seed, *, duration_s=60.0, blinks=(10.0, 25.03, 25.6, 41.5), noise=0.3, four=False, ratio=0.85
):
    """An eye with a pupil that waxes, wanes and moves, seen at an angle, and blinks.

    A lid comes down over 0.1 s and goes up again as fast: the eye's opening closes from above,
    points under it are unlikely and lie somewhere on the lid.
    """
    rng = np.random.default_rng(seed)
    n = int(duration_s * RATE_HZ)
    times = 3.2 + np.arange(n) / RATE_HZ

    def slow(std, sigma_s):
        trace = gaussian_filter1d(rng.normal(size=n), sigma_s * RATE_HZ, mode="wrap")
        return std * (trace - trace.mean()) / trace.std()

    radius = np.maximum(22 + slow(4, 1.5), 9)
    center = np.stack([320 + slow(4, 0.5), 240 + slow(2, 0.5)], axis=1)
    angles = FOUR if four else AROUND
    phi = 0.0 if four else 0.5
    points = np.array(
        [on_ellipse(c, (r, ratio * r), phi, angles) for c, r in zip(center, radius, strict=True)]
    )
    since = np.abs((times - 3.2)[:, None] - np.array([*blinks, np.inf]))
    closed = np.clip(1 - since.min(axis=1) / 0.1, 0, 1)
    opening = on_ellipse((320, 240), (70, 45), 0, AROUND)
    lid = 190 + closed * 100
    is_covered = points[..., 1] < lid[:, None]
    points[is_covered] = points[is_covered] + rng.normal(0, 15, (is_covered.sum(), 2))
    likelihood = np.where(is_covered, 0.3, 0.97) + rng.uniform(-0.02, 0.02, is_covered.shape)
    outline = np.repeat(opening[None], n, axis=0)
    outline[..., 1] = np.maximum(outline[..., 1], np.minimum(lid, 283)[:, None])
    points += rng.normal(0, noise, points.shape)
    outline += rng.normal(0, noise, outline.shape)
    table = pose_table(FOUR_POINTS if four else PUPIL, points, likelihood)
    if not four:
        others = pose_table(EYE, outline, np.full(outline.shape[:2], 0.95))
        table = pd.concat([table, others], axis=1)
    truth = {
        "diameter": 2 * radius,
        "center": center,
        "is_closed": closed > 0.5,
        "blinks": np.asarray(blinks) * RATE_HZ,
    }
    return table, times, truth


def run(folder, table, times, camera, **changes):
    folder.mkdir(exist_ok=True)
    save_pose(table, folder / "_ibl_eyeCamera.dlc.pqt")
    np.save(folder / "_ibl_eyeCamera.times.npy", times)
    (folder / "out").mkdir()
    pupil_file(
        pose=folder / "_ibl_eyeCamera.dlc.pqt",
        times=folder / "_ibl_eyeCamera.times.npy",
        features=folder / "out" / "_ibl_eyeCamera.features.pqt",
        checks=folder / "out" / "checks.json",
        settings=Pupil(**changes).model_dump(mode="json"),
        camera_settings=PupilCamera(**camera).model_dump(mode="json"),
        name="M001/2026-11-20/001 eyeCamera",
    )
    return pd.read_parquet(folder / "out" / "_ibl_eyeCamera.features.pqt"), checks_of(
        folder / "out" / "checks.json"
    )


def runs(mask):
    """First and last frame of each run, the slow way."""
    found = []
    for value, group in groupby(enumerate(mask), key=lambda pair: pair[1]):
        frames = [frame for frame, _ in group]
        if value:
            found.append((frames[0], frames[-1]))
    return found


def correlation(a, b):
    both = np.isfinite(a) & np.isfinite(b)
    return np.corrcoef(a[both], b[both])[0, 1]


@pytest.mark.parametrize("method", ["ellipse", "four_points"])
def test_the_true_pupil_is_found(tmp_path, method):
    four = method == "four_points"
    table, times, truth = eye(0, four=four, ratio=1.0 if four else 0.85)
    camera = {"method": method} if four else ELLIPSE
    found, checks = run(tmp_path, table, times, camera)
    assert len(found) == len(table)
    np.testing.assert_array_equal(found["time_s"], times)
    is_open = ~found["is_blink"].to_numpy()
    raw, smooth = found["pupilDiameter_raw"].to_numpy(), found["pupilDiameter_smooth"].to_numpy()
    assert correlation(raw[is_open], truth["diameter"][is_open]) > 0.98
    assert correlation(smooth, truth["diameter"]) > 0.99
    # 0.3 px of noise on every point
    assert np.nanmedian(np.abs(raw - truth["diameter"])) < 0.5
    assert np.nanmedian(np.abs(smooth - truth["diameter"])) < 0.25
    center = found[["pupil_x_px", "pupil_y_px"]].to_numpy()
    assert np.nanmedian(np.linalg.norm(center - truth["center"], axis=1)) < 0.5
    area = np.pi / 4 * truth["diameter"] ** 2
    assert np.nanmedian(np.abs(found["pupil_area_px2"] / area - 1)) < 0.03
    assert found["pupilDiameter_smooth"].isna().mean() < 0.05
    assert {one.verdict for one in checks.values()} == {"PASS"}
    assert set(checks) == {
        "pupil_unknown_fraction",
        "pupil_diameter_std",
        "pupil_snr",
        "pupil_fit_error",
        "pupil_blink_rate_hz",
    } | (set() if four else {"pupil_eye_unknown_fraction"})


def test_a_tilted_pupil_has_its_axes_and_angle(tmp_path):
    table, times, _ = eye(1)
    found, _ = run(tmp_path, table, times, ELLIPSE)
    seen = found[~found["is_blink"]]
    assert (seen["pupil_semi_minor_px"] / seen["pupil_semi_major_px"]).median() == pytest.approx(
        0.85, abs=0.01
    )
    assert seen["pupil_phi_rad"].median() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(seen["pupilDiameter_raw"], 2 * seen["pupil_semi_major_px"])
    # a circle seen at an angle: Allen's area is that of the circle
    np.testing.assert_allclose(seen["pupil_area_px2"], np.pi * seen["pupil_semi_major_px"] ** 2)
    assert seen["eye_area_px2"].median() == pytest.approx(np.pi * 70 * 45, rel=0.02)
    # two coordinates of noise, of which the part across the edge counts, less what 5 numbers fit
    assert seen["fit_error_px"].median() == pytest.approx(0.3 * np.sqrt(7 / 12), rel=0.15)


@pytest.mark.parametrize("method", ["ellipse", "four_points"])
def test_planted_blinks_are_found_within_two_frames(tmp_path, method):
    four = method == "four_points"
    table, times, truth = eye(2, four=four)
    found, checks = run(tmp_path, table, times, {"method": method} if four else ELLIPSE)
    found_runs, closed = runs(found["is_blink"]), runs(truth["is_closed"])
    assert len(found_runs) == len(closed) == 4
    for (first, last), (true_first, true_last), middle in zip(
        found_runs, closed, truth["blinks"], strict=True
    ):
        # the lid takes ten frames from touching the pupil to closing; the run goes on both sides
        assert abs((first + last) / 2 - middle) <= 2
        assert first <= true_first + 2
        assert last >= true_last - 2
        assert last - first < 26
    assert checks["pupil_blink_rate_hz"].value == pytest.approx(4 / 60, rel=0.01)
    is_blink = found["is_blink"]
    assert found.loc[is_blink, "pupilDiameter_smooth"].isna().all()


def test_blinks_are_filled_where_that_is_asked_for(tmp_path):
    table, times, truth = eye(3)
    found, _ = run(tmp_path, table, times, ELLIPSE, fill_blinks=True)
    smooth = found["pupilDiameter_smooth"]
    assert smooth.notna().all()
    assert correlation(smooth, truth["diameter"]) > 0.99


def test_a_pupil_out_of_sight_for_seconds_is_unknown_and_no_blink(tmp_path):
    table, times, _ = eye(4, blinks=(10.0,))
    columns = [f"{point}_likelihood" for point in PUPIL]
    table.loc[2000:2399, columns] = 0.2
    found, checks = run(tmp_path, table, times, ELLIPSE, fill_blinks=True)
    assert found.loc[2000:2399, "pupilDiameter_smooth"].isna().all()
    assert found.loc[2000:2399, "pupil_x_px"].isna().all()
    assert len(runs(found["is_blink"])) == 1
    assert not found.loc[1500:3000, "is_blink"].any()
    # the smooth trace begins again just after it
    assert found.loc[2405:2900, "pupilDiameter_smooth"].notna().all()
    assert "in 400 of them not for a blink" in checks["pupil_unknown_fraction"].message


def test_one_wild_frame_is_left_out_of_the_smooth_trace(tmp_path):
    table, times, _ = eye(5, blinks=())
    columns = [f"{point}_x" for point in PUPIL]
    wild = table.copy()
    middle = table.loc[3000, columns].mean()
    wild.loc[3000, columns] = middle + 1.5 * (table.loc[3000, columns] - middle)
    camera = {"method": "ellipse", "points": PUPIL}
    whole, _ = run(tmp_path / "a", table, times, camera)
    found, _ = run(tmp_path / "b", wild, times, camera, blink_z=50)
    assert found.loc[3000, "pupilDiameter_raw"] > whole.loc[3000, "pupilDiameter_raw"] + 8
    np.testing.assert_allclose(
        found["pupilDiameter_smooth"], whole["pupilDiameter_smooth"], atol=0.1
    )


def test_likelihood_zero_throughout(tmp_path):
    table, times, _ = eye(6)
    table[[c for c in table if c.endswith("likelihood")]] = 0.0
    found, checks = run(tmp_path, table, times, ELLIPSE)
    assert not found["is_blink"].any()
    assert found.drop(columns=["time_s", "is_blink"]).isna().all(axis=None)
    assert checks["pupil_unknown_fraction"].verdict == "FAIL"
    assert checks["pupil_unknown_fraction"].value == 1
    assert checks["pupil_eye_unknown_fraction"].verdict == "FAIL"
    for key in ("pupil_diameter_std", "pupil_snr", "pupil_fit_error", "pupil_blink_rate_hz"):
        assert checks[key].value is None or np.isnan(checks[key].value)
        assert checks[key].verdict == "WARNING"


def test_an_eye_that_is_never_tracked_takes_no_pupil_away(tmp_path):
    table, times, truth = eye(7)
    table[[f"{point}_likelihood" for point in EYE]] = 0.0
    found, checks = run(tmp_path, table, times, ELLIPSE)
    assert correlation(found["pupilDiameter_smooth"], truth["diameter"]) > 0.99
    assert len(runs(found["is_blink"])) == 4
    assert checks["pupil_eye_unknown_fraction"].verdict == "FAIL"
    assert checks["pupil_unknown_fraction"].verdict == "PASS"


def test_points_that_come_and_go_and_a_lid_over_the_top(tmp_path):
    table, times, truth = eye(16, blinks=(), noise=0.5)
    rng = np.random.default_rng(16)
    columns = [f"{point}_likelihood" for point in PUPIL]
    lost = rng.random((len(table), 12)) < 0.1
    # half of the time a drooping lid hides the top: neighbours, whose positions are anywhere
    lost[3000:, 8:11] = True
    table[columns] = np.where(lost, 0.4, 0.95)
    xy = table[[f"{point}_{part}" for point in PUPIL for part in ("x", "y")]]
    wrong = np.repeat(lost, 2, axis=1)
    table[xy.columns] = xy + np.where(wrong, rng.normal(0, 20, wrong.shape), 0)
    found, checks = run(tmp_path, table, times, ELLIPSE)
    raw, smooth = found["pupilDiameter_raw"], found["pupilDiameter_smooth"]
    assert correlation(raw, truth["diameter"]) > 0.98
    assert correlation(smooth, truth["diameter"]) > 0.99
    n_known = 12 - lost.sum(axis=1)
    assert raw[n_known < 6].isna().all()
    assert raw[n_known >= 6].notna().mean() > 0.99
    assert checks["pupil_unknown_fraction"].verdict == "PASS"


def test_five_points_of_twelve_are_too_few(tmp_path):
    table, times, _ = eye(8, duration_s=2, blinks=())
    table.loc[50:59, [f"{point}_likelihood" for point in PUPIL[:6]]] = 0.1
    table.loc[90:99, [f"{point}_likelihood" for point in PUPIL[:7]]] = 0.1
    found, _ = run(tmp_path, table, times, ELLIPSE)
    assert np.flatnonzero(found["pupilDiameter_raw"].isna()).tolist() == list(range(90, 100))


@pytest.mark.parametrize("n_frames", [0, 1, 2, 5])
@pytest.mark.parametrize("method", ["ellipse", "four_points"])
def test_hardly_any_frames(tmp_path, n_frames, method):
    four = method == "four_points"
    table, times, _ = eye(9, duration_s=1, blinks=(), four=four)
    found, checks = run(
        tmp_path,
        table[:n_frames],
        times[:n_frames],
        {"method": method} if four else ELLIPSE,
    )
    assert len(found) == n_frames
    assert found["pupilDiameter_raw"].notna().all()
    assert not found["is_blink"].any()
    assert found["is_blink"].dtype == bool
    assert found.drop(columns="is_blink").dtypes.eq(np.float64).all()
    if n_frames == 0:
        assert {one.verdict for one in checks.values()} == {"WARNING"}


def test_reflection_and_columns(tmp_path):
    table, times, _ = eye(10, duration_s=3, blinks=())
    rng = np.random.default_rng(10)
    spot = on_ellipse((330, 235), (5, 4), 0, AROUND) + rng.normal(0, 0.1, (300, 12, 2))
    names = [f"cr_{k:02d}" for k in range(12)]
    table = pd.concat([table, pose_table(names, spot, np.ones((300, 12)))], axis=1)
    found, _ = run(tmp_path, table, times, ELLIPSE | {"reflection_points": names})
    assert found.columns.tolist() == [
        "time_s",
        "pupilDiameter_raw",
        "pupilDiameter_smooth",
        "pupil_x_px",
        "pupil_y_px",
        "pupil_semi_major_px",
        "pupil_semi_minor_px",
        "pupil_phi_rad",
        "pupil_area_px2",
        "fit_error_px",
        "eye_area_px2",
        "reflection_x_px",
        "reflection_y_px",
        "reflection_area_px2",
        "is_blink",
    ]
    np.testing.assert_allclose(found["reflection_x_px"], 330, atol=0.2)
    np.testing.assert_allclose(found["reflection_area_px2"], np.pi * 20, rtol=0.1)


def test_the_same_every_time(tmp_path):
    table, times, _ = eye(11, duration_s=5)
    run(tmp_path / "a", table, times, ELLIPSE)
    run(tmp_path / "b", table, times, ELLIPSE)
    for path in (tmp_path / "a" / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "out" / path.name).read_bytes()


def test_points_that_the_model_has_not(tmp_path):
    table, times, _ = eye(12, duration_s=1)
    with pytest.raises(
        InputError,
        match=r"M001/2026-11-20/001 eyeCamera: the pose model has no point pupil_top_r, "
        r"pupil_right_r, pupil_bottom_r, pupil_left_r; .*dlc.pqt has pupil_00, pupil_01",
    ):
        run(tmp_path, table, times, {})


def test_times_of_another_video(tmp_path):
    table, times, _ = eye(13, duration_s=1)
    with pytest.raises(
        InputError,
        match=r"eyeCamera: .*times.npy has times of shape \(99,\), .*dlc.pqt has 100 frames; "
        "expected one time a frame",
    ):
        run(tmp_path, table, times[:-1], ELLIPSE)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({"points": FOUR_POINTS[:3]}, r"four_points needs 4 points .* found 3"),
        ({"points": [*FOUR_POINTS[:3], FOUR_POINTS[0]]}, "names a point or camera twice"),
        ({"method": "ellipse"}, "ellipse needs 6 points, found 4"),
        (ELLIPSE | {"min_points": 4}, "min_points of at least 5, found 4"),
        (ELLIPSE | {"eye_points": EYE[:3]}, "ellipse of eye_points needs 5 points or none"),
        (ELLIPSE | {"min_likelihood": 80}, "less than or equal to 1"),
    ],
)
def test_settings_that_cannot_work(camera, message):
    with pytest.raises(ValidationError, match=message):
        PupilCamera(**camera)


def test_settings_of_cameras_by_name():
    found = Pupil(cameras={"leftCamera": {}, "eyeCamera": ELLIPSE}).model_dump(mode="json")
    assert found["cameras"]["leftCamera"]["points"] == FOUR_POINTS
    assert found["cameras"]["eyeCamera"]["method"] == "ellipse"
    assert Pupil().cameras == {}


@pytest.mark.parametrize("ratio", [1.0, 0.75])
def test_the_fit_error_of_four_points_is_as_the_settings_say(ratio):
    points = on_ellipse((50, 40), (20, 20 * ratio), 0, FOUR)
    one = pupil_four_points(points[None], min_points=2).iloc[0]
    error = {1.0: 0.0, 0.75: 0.08}[ratio]
    assert one["fit_error_px"] / one["pupilDiameter_raw"] == pytest.approx(error, abs=0.01)


# --- measures of one frame ---


def ibl_diameter(points):
    """IBL's way, for one frame."""
    top, right, bottom, left = points
    pairs = [(top, left), (top, right), (bottom, left), (bottom, right)]
    diameters = [np.linalg.norm(top - bottom), np.linalg.norm(left - right)]
    diameters += [np.linalg.norm(a - b) * 2**0.5 for a, b in pairs]
    known = [one for one in diameters if one == one]
    return np.median(known) if known else NAN


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_four_points_diameter_is_ibls(seed, part):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 100, (30, 4, 2))
    points[rng.random((30, 4)) < part] = NAN
    found = pupil_four_points(points, min_points=2)
    expected = [ibl_diameter(one) for one in points]
    np.testing.assert_allclose(found["pupilDiameter_raw"], expected)
    n_known = (~np.isnan(points[..., 0])).sum(axis=1)
    assert found.loc[n_known >= 3, "pupil_x_px"].notna().all()
    np.testing.assert_array_equal(found["pupil_phi_rad"].notna(), n_known == 4)
    assert pupil_four_points(points, min_points=4)["pupilDiameter_raw"][n_known < 4].isna().all()


def test_four_points_of_an_ellipse():
    points = on_ellipse((50, 40), (12, 10), 0, FOUR)
    found = pupil_four_points(points[None], min_points=2).iloc[0]
    assert found["pupil_x_px"] == pytest.approx(50)
    assert found["pupil_y_px"] == pytest.approx(40)
    assert found["pupil_semi_major_px"] == pytest.approx(12)
    assert found["pupil_semi_minor_px"] == pytest.approx(10)
    assert found["pupil_phi_rad"] == pytest.approx(0, abs=1e-9)
    # between the axes, four of six estimates are their quadratic mean
    assert found["pupilDiameter_raw"] == pytest.approx(2 * np.sqrt((144 + 100) / 2))
    circle = pupil_four_points(on_ellipse((50, 40), (9, 9), 0, FOUR)[None], min_points=2).iloc[0]
    assert circle["fit_error_px"] == pytest.approx(0, abs=1e-9)
    assert circle["pupil_area_px2"] == pytest.approx(81 * np.pi)


def test_a_circle_as_an_ellipse():
    found = pupil_ellipse(on_ellipse((50, 40), (9, 9), 0, AROUND)[None], min_points=6).iloc[0]
    assert found["pupilDiameter_raw"] == pytest.approx(18)
    assert found["fit_error_px"] == pytest.approx(0, abs=1e-6)


# --- blinks ---

BLINKS = {"z": 3.0, "dilation_frames": 2, "max_blink_frames": 30}


def area(n=2000, seed=0):
    return 1500 + 100 * gaussian_filter1d(np.random.default_rng(seed).normal(size=n), 20) / 0.1


def test_short_gaps_are_blinks_with_two_frames_around():
    pupil = area()
    pupil[100:110] = NAN
    pupil[500:501] = NAN
    is_blink, is_doubtful = find_blinks(pupil, [], **BLINKS)
    assert runs(is_blink) == [(98, 111), (498, 502)]
    np.testing.assert_array_equal(is_blink, is_doubtful)


def test_at_few_frames_a_second_a_blink_is_still_found():
    """The frames around do not count for its length."""
    pupil = area()
    pupil[100:103] = NAN
    is_blink, _ = find_blinks(pupil, [], z=3.0, dilation_frames=2, max_blink_frames=4)
    assert runs(is_blink) == [(98, 104)]


def test_allens_flags_are_all_of_ours_where_nothing_lasts():
    pupil, opening = area(seed=1), area(seed=2)
    pupil[300:312] = NAN
    opening[296:316] = 20
    opening[900:905] = NAN
    unusual = [np.abs(one - np.nanmean(one)) > 3 * np.nanstd(one) for one in (pupil, opening)]
    signs = unusual[0] | unusual[1] | np.isnan(pupil) | np.isnan(opening)
    allen = np.convolve(signs, np.ones(5))[2:-2] > 0
    np.testing.assert_array_equal(find_blinks(pupil, [opening], **BLINKS)[0], allen)


def test_a_long_gap_is_doubtful_and_no_blink_with_its_edges():
    pupil, opening = area(seed=3), np.full(2000, 9000.0)
    pupil[700:800] = NAN
    opening[690:703] = 100  # closing
    opening[1500:1600] = NAN  # the eye alone: no loss
    is_blink, is_doubtful = find_blinks(pupil, [opening], **BLINKS)
    assert not is_blink.any()
    assert runs(is_doubtful) == [(688, 801)]


def test_a_wide_pupil_is_not_a_blink():
    pupil = np.full(20000, 1500.0) + np.random.default_rng(4).normal(0, 20, 20000)
    pupil[5000:5200] *= 3  # two seconds of arousal
    pupil[5100:5110] = NAN
    assert (np.abs(pupil - np.nanmean(pupil)) > 3 * np.nanstd(pupil)).sum() == 190
    is_blink, is_doubtful = find_blinks(pupil, [], **BLINKS)
    assert runs(is_blink) == runs(is_doubtful) == [(5098, 5111)]


def test_nothing_is_known_or_nothing_changes():
    nothing = np.full(50, NAN)
    is_blink, is_doubtful = find_blinks(nothing, [np.ones(50)], **BLINKS)
    assert not is_blink.any()
    assert is_doubtful.all()
    is_blink, is_doubtful = find_blinks(np.ones(50), [nothing], **BLINKS)
    assert not is_blink.any()
    assert not is_doubtful.any()
    assert find_blinks(np.empty(0), [], **BLINKS)[0].shape == (0,)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(0, 8))
def test_runs_that_are_kept(mask, at_most):
    expected = np.zeros(len(mask), bool)
    for first, last in runs(mask):
        expected[first : last + 1] = last - first < at_most
    np.testing.assert_array_equal(keep_runs(np.array(mask, bool), at_most=at_most), expected)


# --- smoothing ---


def slow_polynomial(trace, window, order):
    half, found = window // 2, np.full(len(trace), NAN)
    for t in np.flatnonzero(~np.isnan(trace)):
        near = np.arange(max(0, t - half), min(len(trace), t + half + 1))
        near = near[~np.isnan(trace[near])]
        if len(near) > order and len(near) >= window / 4:
            found[t] = np.polyval(np.polyfit(near - t, trace[near], order), 0)
    return found


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 120),
    st.sampled_from([5, 9, 31]),
    st.integers(0, 4),
    st.floats(0, 1),
)
def test_the_polynomial_is_its_slow_twins(seed, n, window, order, part):
    rng = np.random.default_rng(seed)
    trace = 40 + rng.normal(0, 5, n)
    trace[rng.random(n) < part] = NAN
    np.testing.assert_allclose(
        local_polynomial(trace, window=window, order=order),
        slow_polynomial(trace, window, order),
        rtol=1e-6,
    )


def test_without_gaps_it_is_savitzky_and_golay():
    trace = np.random.default_rng(14).normal(40, 3, 500)
    np.testing.assert_allclose(
        local_polynomial(trace, window=31, order=3)[15:-15],
        savgol_filter(trace, 31, 3)[15:-15],
        rtol=1e-9,
    )


def test_smoothing_keeps_long_gaps_and_fills_short_ones():
    t = np.arange(600)
    trace = 40 + 0.01 * t
    trace[100:120], trace[300:321], trace[:5] = NAN, NAN, NAN
    trace[450] += 30
    trace += np.random.default_rng(15).normal(0, 0.1, 600)
    found = smooth_trace(trace, window=31, order=3, outlier_std=5, max_gap_frames=20)
    assert np.flatnonzero(np.isnan(found)).tolist() == [*range(5), *range(300, 321)]
    is_known = ~np.isnan(found)
    # at the ends of gaps a cubic follows the noise
    np.testing.assert_allclose(found[is_known], (40 + 0.01 * t)[is_known], atol=0.3)


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match="must be odd and above 3 frames, not 30"):
        local_polynomial(np.zeros(9), window=30, order=3)
