import json
from dataclasses import asdict

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from video.camera_movies import (
    NAME,
    RATE_HZ,
    checks_of,
    info_of,
    measure,
    scene,
    settings_of,
    write_times,
)

from sluice.errors import InputError
from sluice.figure_parts import thinned
from sluice.settings.camera_qc import CameraQcChecks
from sluice.video.camera_qc import camera_qc_file, load_seen, make_checks
from sluice.video.pose import save_pose
from sluice.video.qc_checks.picture import find_frozen, find_jumps
from sluice.video.qc_checks.registry import CHECKS
from sluice.video.qc_checks.seen import Seen
from sluice.video.qc_checks.wheel_lag import find_wheel_lag, load_wheel, wheel_speed

N_FRAMES = 480
ALWAYS = {
    "camera_brightness_low",
    "camera_brightness_high",
    "camera_brightness_std",
    "camera_brightness_jumps",
    "camera_black_fraction",
    "camera_frozen_fraction",
    "camera_focus",
    "camera_position_drift_percent",
}


def judge(folder, frames, *, times_s=None, pin_pulses=None, wheel=None, **given):
    """Measure a video and make the checks, without a figure."""
    files, info = measure(folder, frames, **given)
    times_s = np.arange(len(frames)) / RATE_HZ if times_s is None else times_s
    seen = load_seen(
        info=info,
        **vars(write_times(folder, times_s, pin_pulses=pin_pulses)),
        measures=files.measures,
        wheel=wheel,
        settings=settings_of("camera_qc"),
        name=NAME,
    )
    return {one.name: asdict(one) for one in make_checks(seen)}


def qc(folder, frames, *, more=None, **given):
    """Measure a video and run `camera_qc_file` on it; return its checks and the figure."""
    files, info = measure(folder, frames, **given)
    camera_qc_file(
        info=info,
        **vars(write_times(folder, np.arange(len(frames)) / RATE_HZ, pin_pulses=(3, 3))),
        **{key: path for key, path in vars(files).items() if key != "checks"},
        checks=folder / "qc.json",
        figure=folder / "camera_qc.png",
        settings=settings_of("camera_qc"),
        name=NAME,
        **(more or {}),
    )
    return checks_of(folder / "qc.json"), folder / "camera_qc.png"


def fired(checks):
    return {name for name, one in checks.items() if one["verdict"] != "PASS"}


def seen_of(rate_hz=RATE_HZ, *, lag=None, summary=None, **columns):
    """What the checks get, of measures that are written down."""
    n = len(columns["mean"])
    blank = {
        key: np.full(n, np.nan) for key in ("std", "energy", "focus", "sharpness", "wheel_energy")
    }
    for key in ("drift", "position"):
        blank |= {f"{key}_{part}": np.full(n, np.nan) for part in ("x_px", "y_px", "score")}
    blank["histogram_correlation"] = np.full(n, np.nan)
    measures = pd.DataFrame({"frame": np.arange(n), **blank, **columns})
    return Seen(
        info=info_of(np.broadcast_to(np.uint8(0), (n, 100, 200)), rate_hz),
        times_s=np.arange(n) / rate_hz,
        frames=pd.DataFrame(),
        summary=summary or {},
        measures=measures,
        settings=settings_of("camera_qc"),
        lag=lag,
    )


@pytest.fixture(scope="module")
def good():
    return scene(n_frames=N_FRAMES)


def dark(frames):
    return (frames * 0.12).astype(np.uint8)


def bright(frames):
    return np.clip(frames * 0.5 + 150, 0, 255).astype(np.uint8)


def black_at_times(frames):
    frames[200:206] //= 60
    return frames


def frozen(frames):
    frames[100:430] = frames[100]
    return frames


def blurred(frames):
    return np.array([cv2.blur(frame, (11, 11)) for frame in frames])


def knocked(frames):
    frames[300:] = np.roll(frames[300:], 14, axis=2)
    return frames


def flickering(frames):
    for start in range(0, len(frames), 40):
        frames[start : start + 3] += 15
    return frames


def lights_low(frames):
    frames[100:200] = frames[100:200] * 0.15
    return frames


def fading(frames):
    gain = np.linspace(1.2, 0.6, len(frames))[:, None, None]
    return np.clip(frames * gain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (None, set()),
        (dark, {"camera_brightness_low"}),
        (bright, {"camera_brightness_high"}),
        (black_at_times, {"camera_black_fraction"}),
        (frozen, {"camera_frozen_fraction"}),
        (blurred, {"camera_focus"}),
        (knocked, {"camera_position_drift_percent"}),
        (flickering, {"camera_brightness_jumps"}),
        (lights_low, {"camera_brightness_jumps"}),
        (fading, {"camera_brightness_std"}),
    ],
)
def test_each_fault_fires_its_check_alone(tmp_path, good, spoil, expected):
    frames = good.copy() if spoil is None else spoil(good.copy())
    checks = judge(tmp_path, frames)
    assert set(checks) == ALWAYS
    assert fired(checks) == expected, checks


def test_a_black_video_is_black_and_nothing_else(tmp_path):
    checks = judge(tmp_path, np.full((400, 60, 80), 2, np.uint8))
    assert checks["camera_black_fraction"]["verdict"] == "FAIL"
    assert fired(checks) == {"camera_black_fraction"}
    # nothing can be said of no frame
    assert set(checks) == {
        "camera_black_fraction",
        "camera_frozen_fraction",
        "camera_brightness_jumps",
    }


def test_the_position_is_that_of_the_first_picture_that_shows_something(tmp_path, good):
    frames = knocked(good.copy())
    frames[:60] = 1
    found = judge(tmp_path, frames)
    assert fired(found) == {"camera_black_fraction", "camera_position_drift_percent"}
    assert found["camera_position_drift_percent"]["value"] == 100 * 14 / 160


@pytest.mark.parametrize(("shift_px", "verdict"), [(0, "PASS"), (20, "WARNING"), (30, "FAIL")])
def test_a_camera_that_is_not_where_it_was_in_a_good_session(tmp_path, good, shift_px, verdict):
    reference = np.roll(good[0], shift_px, axis=1)
    assert cv2.imwrite(str(tmp_path / "good.png"), reference)
    checks = judge(tmp_path, good, reference_frame=tmp_path / "good.png")
    assert set(checks) == ALWAYS | {"camera_position_percent"}
    found = checks["camera_position_percent"]
    assert (found["value"], found["verdict"]) == (100 * shift_px / 160, verdict)
    assert fired(checks) == ({"camera_position_percent"} if shift_px else set())


@pytest.mark.parametrize("n", [1, 2])
def test_short_videos(tmp_path, good, n):
    checks, figure = qc(tmp_path, good[:n])
    expected = ALWAYS - {"camera_position_drift_percent"}
    if n == 1:
        expected -= {"camera_brightness_jumps"}
    assert set(checks) == expected | {"camera_pin_pulse_difference"}
    assert not fired(checks) and cv2.imread(str(figure)) is not None
    assert all(one["figure"] == "camera_qc.png" for one in checks.values())


def wheel_of(speed, times_s):
    """Position of a wheel that turns at these speeds from each time to the next."""
    return np.append(0, np.cumsum(speed * np.diff(times_s)))


def turning(rng, n, rate_hz=RATE_HZ):
    """Speeds (rad/s) of a wheel that is turned now and then."""
    speed = np.zeros(n)
    for start in range(20, n - 60, 70):
        length = rng.integers(20, 45)
        speed[start : start + length] = 4 * rng.uniform(0.5, 1) * np.hanning(length)
    return speed


@pytest.mark.parametrize("lag", [-3, 0, 3])
def test_a_lag_against_the_wheel_is_found(tmp_path, lag):
    rng = np.random.default_rng(1)
    speed = turning(rng, 999)
    frames = scene(n_frames=1000, speed=1.5 * speed)
    true_s = np.arange(1000) / RATE_HZ
    np.save(tmp_path / "_ibl_wheel.timestamps.npy", true_s)
    np.save(tmp_path / "_ibl_wheel.position.npy", wheel_of(speed, true_s))
    checks = judge(
        *(tmp_path / "video", frames),
        times_s=true_s + lag / RATE_HZ,
        wheel=tmp_path,
        wheel_region=[0, 85, 160, 25],
    )
    found = checks["camera_wheel_lag_frames"]
    assert found["value"] == pytest.approx(abs(lag), abs=0.35)
    assert found["verdict"] == ("FAIL" if lag else "PASS")
    assert ("late" if lag > 0 else "early") in found["message"] or not lag
    assert fired(checks) == ({"camera_wheel_lag_frames"} if lag else set())


def find_lag(lag_frames, *, seed=0, keep=None, noise=0.3, wheel_rate_hz=250.0, n=6000, **changed):
    """Lag found of motion energy that follows a wheel this late, with frames left out."""
    rng = np.random.default_rng(seed)
    grid_s = np.arange(n) / RATE_HZ
    position = wheel_of(turning(rng, n - 1), grid_s)
    wheel_s = np.arange(0, grid_s[-1], 1 / wheel_rate_hz)
    wheel = np.interp(wheel_s, grid_s, position)
    times_s = grid_s if keep is None else grid_s[keep]
    speed = wheel_speed(times_s - lag_frames / RATE_HZ, grid_s, position)
    energy = np.append(2 + np.nan_to_num(speed) + rng.normal(0, noise, len(speed)), np.nan)
    return find_wheel_lag(
        times_s,
        energy,
        wheel_s,
        wheel,
        sampling_rate_hz=RATE_HZ,
        settings=settings_of("camera_qc", **changed),
    )


@hypothesis_settings(max_examples=15, deadline=None)
@given(st.floats(-12, 12), st.integers(0, 20))
def test_lags_are_found_to_a_fraction_of_a_frame(lag, seed):
    found = find_lag(lag, seed=seed)
    assert found.lag_frames == pytest.approx(lag, abs=0.3)
    assert len(found.lags_frames) == len(found.correlation)
    assert found.lags_frames[0] == -30 and found.lags_frames[-1] == 30


def test_lost_frames_do_no_harm_to_the_lag():
    keep = np.random.default_rng(0).random(6000) > 0.1
    assert find_lag(3, keep=keep).lag_frames == pytest.approx(3, abs=0.3)


def test_what_does_not_follow_the_wheel_has_no_lag():
    found = find_lag(0, noise=1000)
    assert found.lag_frames is None and found.message.startswith("no ")
    late = find_lag(45)
    assert late.lag_frames is None and "within 0.5 s" in late.message
    checks = make_checks(seen_of(mean=np.full(10, 100.0), lag=late))
    lag = next(one for one in checks if one.name == "camera_wheel_lag_frames")
    assert lag.value is None and lag.verdict == "WARNING"


@pytest.mark.parametrize(
    "changed", [{"min_wheel_rate_hz": 61}, {"min_wheel_moving_s": 99}, {"min_wheel_speed_rad_s": 9}]
)
def test_too_little_to_tell_a_lag(changed):
    assert find_lag(3, **changed) is None


def test_a_wheel_that_was_recorded_at_another_time():
    n = 600
    times_s = np.arange(n) / RATE_HZ
    far_s = times_s + 1000
    assert (
        find_wheel_lag(
            times_s,
            np.ones(n),
            far_s,
            wheel_of(turning(np.random.default_rng(0), n - 1), far_s),
            sampling_rate_hz=RATE_HZ,
            settings=settings_of("camera_qc"),
        )
        is None
    )


def test_speeds_of_the_wheel():
    speed = wheel_speed(np.array([-1.0, 0, 1, 3, 5]), np.array([0, 1.0, 4]), np.array([0, 2.0, -1]))
    np.testing.assert_allclose(speed, [np.nan, 2, 1, np.nan])


@pytest.mark.parametrize("how", ["folder", "beginning", "tsv", "csv", "pqt"])
def test_wheels_are_read(tmp_path, how):
    times_s, position = np.array([0.0, 1, 2, 3]), np.array([0, np.nan, 1, 2])
    table = pd.DataFrame({"time_s": times_s, "position_rad": position})
    path = tmp_path
    if how in ("folder", "beginning"):
        np.save(tmp_path / "_ibl_wheel.timestamps.npy", times_s)
        np.save(tmp_path / "_ibl_wheel.position.npy", position)
        if how == "beginning":
            path = tmp_path / "_ibl_wheel"
            np.save(tmp_path / "_other_wheel.position.npy", position)
    else:
        path = tmp_path / f"wheel.{how}"
        if how == "pqt":
            table.to_parquet(path)
        else:
            table.to_csv(path, sep={"tsv": "\t", "csv": ","}[how], index=False)
    found = load_wheel(path, name=NAME)
    np.testing.assert_array_equal(found[0], [0, 2, 3])
    np.testing.assert_array_equal(found[1], [0, 1, 2])


@pytest.mark.parametrize(
    ("times_s", "position", "message"),
    [
        ([0, 1, 1], [0, 1, 2], "3 known positions whose times do not ascend"),
        ([0, 1], [0, np.nan], "1 known positions; expected two or more"),
        ([0, 1, 2], [0, 1], r"times of shape \(3,\) and positions of shape \(2,\)"),
    ],
)
def test_wheels_that_cannot_be(tmp_path, times_s, position, message):
    np.save(tmp_path / "wheel.timestamps.npy", np.array(times_s, float))
    np.save(tmp_path / "wheel.position.npy", np.array(position, float))
    with pytest.raises(InputError, match=message):
        load_wheel(tmp_path, name=NAME)


def test_wheels_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match=r"0 files a\*wheel.timestamps.npy in .*; expected one"):
        load_wheel(tmp_path / "a", name=NAME)
    (tmp_path / "wheel.tsv").write_text("time\tposition_rad\n0\t1\n")
    with pytest.raises(InputError, match=r"has the columns time, position_rad; .*time_s missing"):
        load_wheel(tmp_path / "wheel.tsv", name=NAME)
    np.save(tmp_path / "wheel.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"wheel.npy is one array; expected a table"):
        load_wheel(tmp_path / "wheel.npy", name=NAME)


@pytest.mark.parametrize(
    ("pulses", "verdict"), [((40, 40), "PASS"), ((38, 40), "WARNING"), ((40, 46), "FAIL")]
)
def test_pulses_of_the_pin(tmp_path, good, pulses, verdict):
    checks = judge(tmp_path, good[:60], pin_pulses=pulses)
    found = checks["camera_pin_pulse_difference"]
    assert found["verdict"] == verdict and found["message"] == "{} were seen, {} sent".format(
        *pulses
    )
    assert fired(checks) == (set() if verdict == "PASS" else {"camera_pin_pulse_difference"})


def test_brightness_varies_between_jumps():
    mean = np.array([100, 104, 100, 104, 60, 64, 60, 64, 5, 5, 62.0])
    found = {one.name: one for one in make_checks(seen_of(mean=mean))}
    # what follows black frames is of the stretch before them
    rest = np.array([-2, 2, -2, 2, -2, 2, -2, 2, 0])
    assert found["camera_brightness_std"].value == pytest.approx(rest.std())
    assert "2 stretches" in found["camera_brightness_std"].message


def test_jumps_to_and_from_black_are_black_frames():
    seen = seen_of(mean=np.array([100, 100, 5, 5, 100, 115, 115, 104, 90.0]))
    assert list(find_jumps(seen)) == [5, 7, 8]
    found = {one.name: one for one in make_checks(seen)}
    assert found["camera_brightness_jumps"].message == "at 0.08, 0.12, 0.13 s"
    assert found["camera_black_fraction"].message == "2 of 9 frames, from 0.03 to 0.05 s"


def slow_frozen(energy, is_black, least, level):
    """Runs of still steps, short breaks in them forgiven, frame by frame."""
    still = [step < level for step in energy]
    i = 0
    while i < len(still):
        if not still[i]:
            end = i
            while end < len(still) and not still[end]:
                end += 1
            if i > 0 and end < len(still) and end - i <= 4:
                still[i:end] = [True] * (end - i)
            i = end
        i += 1
    still = [one and not (is_black[k] or is_black[k + 1]) for k, one in enumerate(still)]
    runs, start = [], None
    for k, one in enumerate([*still, False]):
        if one and start is None:
            start = k
        if not one and start is not None:
            if k + 1 - start >= least:
                runs.append([start, k + 1])
            start = None
    return runs


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 0.0, 1.0]), st.booleans()), min_size=1, max_size=80
    )
)
def test_frozen_stretches_are_the_slow_ones(steps):
    energy = np.array([step for step, _ in steps] + [np.nan])
    is_black = np.array([False] + [step and black for step, black in steps])
    # 5 s are 10 frames
    seen = seen_of(2.0, mean=np.where(is_black, 0.0, 100.0), energy=energy)
    assert find_frozen(seen).tolist() == slow_frozen(energy[:-1], is_black, 10, 0.02)


def test_every_check_has_thresholds_and_the_other_way_round():
    assert [one.name for one in CHECKS] == list(CameraQcChecks.model_fields)


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.integers(1, 9000), st.integers(0, 99))
def test_thinned_traces_keep_their_peaks(n, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n)
    values[rng.random(n) < 0.2] = np.nan
    values[rng.integers(n)], values[rng.integers(n)] = -50, 50
    places = thinned(values[: n - n % max(1, -(-n // 2000))])
    assert (np.diff(places) >= 0).all()
    assert np.nanmax(values[places]) == np.nanmax(values[: places.max() + 1])


def test_the_figure_with_everything(tmp_path, good):
    rng = np.random.default_rng(0)
    n, times_s = N_FRAMES, np.arange(N_FRAMES) / RATE_HZ
    diameter = 20 + np.sin(times_s) + rng.normal(0, 0.3, n)
    is_blink = np.zeros(n, bool)
    is_blink[100:110] = True
    features = tmp_path / "features.pqt"
    pd.DataFrame(
        {
            "time_s": times_s,
            "pupilDiameter_raw": diameter,
            "pupilDiameter_smooth": np.where(is_blink, np.nan, 20 + np.sin(times_s)),
            "is_blink": is_blink,
        }
    ).to_parquet(features)
    points = {"nose_tip": (40, 60), "pupil_top_r": (90, 40)}
    pose = tmp_path / "pose.pqt"
    save_pose(
        pd.DataFrame(
            {
                f"{point}_{key}": np.full(n, float(value))
                for point, at in points.items()
                for key, value in zip(("x", "y", "likelihood"), (*at, 1), strict=True)
            }
        ),
        pose,
    )
    wheel = tmp_path / "wheel.csv"
    speed = turning(rng, n - 1)
    pd.DataFrame({"time_s": times_s, "position_rad": wheel_of(speed, times_s)}).to_csv(wheel)
    assert cv2.imwrite(str(tmp_path / "good.png"), good[0])
    given = {
        "pose": pose,
        "camera_region": "whisker_pad",
        "reference_frame": tmp_path / "good.png",
        "more": {"pose": pose, "features": features, "wheel": wheel},
    }
    frames = black_at_times(good.copy())
    checks, figure = qc(tmp_path, frames, **given)
    first = figure.read_bytes()
    # the same input gives the same bytes
    again, figure = qc(tmp_path, frames, **given)
    assert figure.read_bytes() == first and again == checks


@pytest.mark.parametrize("which", ["times", "frames", "measures", "energy", "features"])
def test_tables_of_another_length(tmp_path, good, which):
    files, info = measure(tmp_path, good[:20])
    times = write_times(tmp_path, np.arange(20) / RATE_HZ)
    given = {**vars(files), **vars(times)}
    if which == "features":
        given["features"] = tmp_path / "features.pqt"
        pd.DataFrame({"time_s": np.arange(19.0)}).to_parquet(given["features"])
    elif which in ("times", "energy"):
        np.save(given[which], np.load(given[which])[:19])
    else:
        pd.read_parquet(given[which])[:19].to_parquet(given[which])
    with pytest.raises(InputError, match=f"{given[which].name} has 19 rows; expected .* the 20"):
        camera_qc_file(
            info=info,
            **{**given, "checks": tmp_path / "qc.json"},
            figure=tmp_path / "camera_qc.png",
            settings=settings_of("camera_qc"),
            name=NAME,
        )


def test_the_real_video(real_data, tmp_path):
    """A mouse in an open field: bright, sharp, and the camera stands still."""
    from sluice.video.motion_energy import motion_energy_file

    n = 2330
    info = info_of(np.broadcast_to(np.uint8(0), (n, 480, 640)), 30.0)
    keys = ("energy.npy", "region", "measures", "reference.npz")
    files = {key.split(".")[0]: tmp_path / key for key in keys}
    motion_energy_file(
        video=real_data / "pose/openfield/videos/m3v1mp4.mp4",
        info=info,
        **files,
        checks=tmp_path / "energy.json",
        settings=settings_of("motion_energy"),
        threads=2,
        name=NAME,
    )
    camera_qc_file(
        info=info,
        **vars(write_times(tmp_path, np.arange(n) / 30)),
        **files,
        checks=tmp_path / "qc.json",
        figure=tmp_path / "camera_qc.png",
        settings=settings_of("camera_qc"),
        name=NAME,
    )
    assert not fired(checks_of(tmp_path / "qc.json"))
    assert json.loads((tmp_path / "region").read_text())["kind"] == "whole"
