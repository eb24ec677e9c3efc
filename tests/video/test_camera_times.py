"""The step from a row of the table to times, over all sources; a real camera; bad input."""

import json
import logging
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from video.simulated_camera import (
    RATE_HZ,
    embed,
    pin_signal,
    simulate,
    write_doubles,
    write_nidq,
    write_ssv,
)

from sluice.errors import InputError
from sluice.qc import load_checks
from sluice.session import Camera
from sluice.settings.camera_times import CameraTimes, CameraTimesChecks
from sluice.video.camera_times import camera_times_file
from sluice.video.video_info import VideoInfo

NAME = "M001/2026-11-20/001 leftCamera"
SAMPLE_S = 1 / 30_000 + 1e-9
JITTER_S = 0.0004
DROPPED = (24, 51, 107, 108, 141, 348, 477, 479, 519)


def video_info(n_frames, rate_hz=RATE_HZ, is_constant_rate=True, n_lost=0):
    return VideoInfo(
        name=NAME,
        n_frames=n_frames,
        height=48,
        width=64,
        sampling_rate_hz=rate_hz,
        duration_s=n_frames / rate_hz,
        is_constant_rate=is_constant_rate,
        source={"n_lost": n_lost},
        size_bytes=1,
        encoder="",
    )


class Result:
    def __init__(self, folder):
        self.times_s = np.load(folder / "times.npy")
        self.frames = pd.read_parquet(folder / "frames.pqt")
        self.summary = json.loads((folder / "times.json").read_text())
        self.checks = {one.name: one for one in load_checks(folder / "checks.json")}
        self.done = "; ".join(self.summary["done"])

    @property
    def not_passed(self):
        return {name for name, one in self.checks.items() if one.verdict != "PASS"}


def run(folder, n_frames, *, rate_hz=RATE_HZ, pts_s=None, is_constant_rate=None, **columns):
    n_lost = columns.pop("n_lost", 0)
    changes = {key: columns.pop(key) for key in list(columns) if key in CameraTimes.model_fields}
    if is_constant_rate is None:
        is_constant_rate = pts_s is None
    np.save(folder / "pts.npy", np.arange(n_frames) / rate_hz if pts_s is None else pts_s)
    camera = Camera("M001/2026-11-20/001", "camera", "leftCamera", "v.mp4", "video", **columns)
    camera_times_file(
        camera=camera,
        info=video_info(n_frames, rate_hz, is_constant_rate, n_lost),
        pts=folder / "pts.npy",
        times=folder / "times.npy",
        frames=folder / "frames.pqt",
        summary=folder / "times.json",
        checks=folder / "checks.json",
        settings=CameraTimes(**changes).model_dump(mode="json"),
        name=NAME,
    )
    return Result(folder)


def refuse(*args, **kwargs):
    with pytest.raises(InputError) as error:
        run(*args, **kwargs)
    text = str(error.value)
    assert text.startswith(NAME)
    return text


def save(path, values):
    np.save(path, values)
    return str(path)


def assert_result(found, sim, *, atol=SAMPLE_S):
    np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=atol)
    assert found.times_s.dtype == np.float64
    table = found.frames
    assert table["frame"].tolist() == list(range(sim.n_frames))
    np.testing.assert_array_equal(table["time_s"], found.times_s)
    np.testing.assert_array_equal(table["n_dropped_before"], sim.n_dropped)
    assert found.summary["n_dropped"] == sim.n_dropped.sum()
    assert dict(table.dtypes.astype(str)) == {
        "frame": "int64",
        "time_s": "float64",
        "counter": "Int64",
        "n_dropped_before": "int64",
        "is_interpolated": "bool",
    }


def test_a_good_camera_passes_all_checks(tmp_path, caplog):
    """A line of a nidq file with bounces, IBL's counter and timestamps, over all their wraps."""
    caplog.set_level(logging.INFO)
    sim = simulate(1200, start_s=0.5, jitter_s=2e-4, before=30, after=30, camera_start_s=120)
    bounces = sim.exposures_s[::300] + 2 / 30_000
    lines = {3: (sim.exposures_s, 0.004), 5: ([2.0], 0.1)}
    path = write_nidq(tmp_path, lines, sim.exposures_s[-1] + 1)
    rows = np.fromfile(path, np.uint16).reshape(-1, 2)
    rows[np.rint(bounces * 30_000).astype(int), 1] &= ~np.uint16(8)
    rows.tofile(path)
    found = run(
        tmp_path,
        sim.n_frames,
        ttl=path,
        ttl_line=3,
        timestamps=write_ssv(tmp_path / "a.ssv", sim.camera_s),
        frame_counter=write_doubles(tmp_path / "c.bin", sim.counter % 2**32),
    )
    assert_result(found, sim)
    np.testing.assert_array_equal(found.frames["counter"], sim.counter)
    assert not found.frames["is_interpolated"].any()
    assert found.not_passed == set()
    # every check there is
    assert set(found.checks) == set(CameraTimesChecks.model_fields)
    assert found.summary["source"] == "pulses" and found.summary["is_session_clock"]
    assert found.summary["decided_by"] == "jitter"
    assert (found.summary["n_pulses_before"], found.summary["n_pulses_after"]) == (30, 30)
    assert (found.summary["n_times"], found.summary["n_frames"]) == (1260, 1200)
    assert found.summary["clock_drift_ppm"] == pytest.approx(80, abs=1)
    # each bounce is a fall and a rise
    n_bounces = len(bounces)
    assert found.checks["camera_bounced_fraction"].value == pytest.approx(
        2 * n_bounces / (2 * 1260 + 2 * n_bounces)
    )
    assert "line 3 (rising edges)" in found.done
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("edge", ["rising", "falling", "both"])
def test_edges(tmp_path, edge):
    """The end of an exposure for its beginning, or a line that changes once for each exposure."""
    sim = simulate(dropped=DROPPED)
    starts = sim.exposures_s
    if edge == "both":
        times_s, polarity = starts, np.resize([1, -1], len(starts))
    else:
        times_s = np.stack([starts, starts + 0.003], axis=1).ravel()
        polarity = np.resize([1, -1], len(times_s))
    table = pd.DataFrame({"time_s": times_s, "polarity": polarity})
    table.to_csv(tmp_path / "ttl.tsv", sep="\t", index=False)
    found = run(
        tmp_path,
        sim.n_frames,
        ttl=str(tmp_path / "ttl.tsv"),
        ttl_edge=edge,
        frame_counter=save(tmp_path / "c.npy", sim.counter),
    )
    sim.exposures_s = sim.exposures_s + (0.003 if edge == "falling" else 0)
    assert_result(found, sim, atol=1e-9)
    assert found.not_passed == {"camera_dropped_fraction"}


def test_an_edge_that_the_file_does_not_have(tmp_path):
    text = refuse(
        tmp_path, 600, ttl=save(tmp_path / "p.npy", simulate().pulses_s), ttl_edge="falling"
    )
    assert "p.npy has 600 edges, none of them falling; a file without polarity has rising" in text


def test_a_line_without_edges(tmp_path):
    path = write_nidq(tmp_path, {2: ([0.1, 0.2], 0.01)}, 0.5)
    text = refuse(tmp_path, 600, ttl=path, ttl_line=4)
    assert "digital line 4 has no edge; lines that have: line 2 (4 edges)" in text


def test_frame_data_and_dropped_frames(tmp_path, caplog):
    """All that the camera wrote in one file, three frames longer than the video."""
    sim = simulate(dropped=DROPPED, after=3)
    kept = np.append(sim.kept, sim.kept[-1] + [1, 2, 3])
    camera_s = 117 + (sim.exposures_s[kept] - sim.exposures_s[0]) * 1.00008
    host = 638_000_000_000_000_000 + np.rint((camera_s - 117) * 1e7).astype(np.int64)
    counter = (2**32 - 100 + kept) % 2**32
    pins = np.zeros(len(kept), np.int64)
    path = write_doubles(tmp_path / "a.frameData.bin", host, embed(camera_s), counter, pins)
    ttl = save(tmp_path / "p.npy", sim.pulses_s)
    found = run(tmp_path, sim.n_frames, ttl=ttl, frame_data=path)
    assert_result(found, sim)
    assert "the camera lost 9 frames in 8 places" in found.done
    assert "frame_data (timestamps) has 3 entries more than the video frames; the" in found.done
    assert "3 pulses more than exposures, and nothing tells which: extra_pulses" in found.done
    assert found.not_passed == {
        "camera_dropped_fraction",
        "camera_alignment_uncertainty",
        "camera_frame_difference",
        "camera_record_difference",
    }
    assert found.checks["camera_alignment_uncertainty"].value == 3
    assert found.checks["camera_dropped_fraction"].value == pytest.approx(9 / 600)
    warned = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert any("extra_pulses decides" in line for line in warned)


def test_frames_without_pulses(tmp_path):
    """Pulses lost within and at the end, a counter that ends early."""
    sim = simulate(dropped=DROPPED, lost=(100, 101, 200, 598, 599))
    found = run(
        tmp_path,
        sim.n_frames,
        ttl=save(tmp_path / "p.npy", sim.pulses_s),
        timestamps=save(tmp_path / "t.npy", sim.camera_s),
        frame_counter=save(tmp_path / "c.npy", sim.counter[:-2]),
    )
    assert_result(found, sim)
    no_pulse = np.isin(sim.kept, (100, 101, 200, 598, 599))
    np.testing.assert_array_equal(found.frames["is_interpolated"], no_pulse)
    assert found.frames["counter"].isna().tolist() == [False] * (sim.n_frames - 2) + [True] * 2
    assert "2 pulses fewer than exposures: the last are taken to be missing" in found.done
    assert "2 frames at the ends have times at the median interval" in found.done
    assert "3 frames within have times between their neighbours'" in found.done
    assert "frame_counter has 2 entries fewer than the video frames; the end is cont" in found.done
    assert found.checks["camera_interpolated_fraction"].value == pytest.approx(5 / 591)


@pytest.mark.parametrize("columns", [("timestamps",), ("frame_counter",), ()])
def test_a_camera_that_gives_no_pulse_for_what_it_loses(tmp_path, columns):
    """Frames were lost where pulses and frames have one gap of whole intervals."""
    sim = simulate(dropped=DROPPED, lost=DROPPED)
    values = {"timestamps": sim.camera_s, "frame_counter": sim.counter}
    given = {column: save(tmp_path / f"{column}.npy", values[column]) for column in columns}
    found = run(tmp_path, sim.n_frames, ttl=save(tmp_path / "p.npy", sim.pulses_s), **given)
    assert_result(found, sim)
    assert not found.frames["is_interpolated"].any()
    # with the times of the pulses alone it might be otherwise
    unsure = set() if columns else {"camera_alignment_uncertainty"}
    assert found.not_passed == {"camera_dropped_fraction"} | unsure
    assert ("gaps of the pulses are taken for pauses" in found.done) == bool(unsure)


def test_times_of_frames_go_before_all_else(tmp_path):
    sim = simulate(dropped=DROPPED)
    (tmp_path / "f.csv").write_text("time_s\n" + "\n".join(f"{t:.9f}" for t in sim.times_s))
    found = run(
        tmp_path,
        sim.n_frames,
        frame_times=str(tmp_path / "f.csv"),
        ttl="nowhere.npy",
        timestamps="nowhere.ssv",
        gpio_pulses="nowhere.npy",
    )
    assert_result(found, sim, atol=1e-8)
    assert found.summary["source"] == "frame_times"
    assert found.not_passed == {"camera_dropped_fraction"}


def test_times_of_frames_that_are_not_as_many(tmp_path):
    sim = simulate(after=2)
    path = save(tmp_path / "f.npy", sim.pulses_s)
    found = run(tmp_path, 600, frame_times=path)
    assert_result(found, sim)
    assert found.summary["uncertainty_frames"] == 2
    assert found.not_passed == {"camera_alignment_uncertainty", "camera_frame_difference"}
    text = refuse(tmp_path, 580, frame_times=path)
    assert "f.npy has 602 times and the video 580 frames; they may differ by 15" in text


def test_real_times(real_data, tmp_path):
    """2600 times of a camera at 60 Hz, taken as they are."""
    path = str(real_data / "camera" / "camera_times.npy")
    found = run(tmp_path, 2600, rate_hz=60.0, frame_times=path)
    np.testing.assert_array_equal(found.times_s, np.load(path).astype(np.float64))
    assert found.summary["rate_hz"] == pytest.approx(60.0, abs=0.1)
    assert found.summary["n_dropped"] == 0 and found.summary["n_gaps"] == 0
    assert found.not_passed == set()


def test_a_real_camera_without_pulses(real_data, tmp_path):
    """Its own clock: 30.21 Hz, where the video's header says 30; labelled as what it is."""
    path = str(real_data / "camera" / "_iblrig_bodyCamera.timestamps.ssv")
    found = run(tmp_path, 6000, rate_hz=30.0, timestamps=path)
    assert found.summary["source"] == "camera" and not found.summary["is_session_clock"]
    assert found.summary["rate_hz"] == pytest.approx(30.21087, abs=1e-4)
    assert (found.times_s[0], found.summary["n_dropped"]) == (0.0, 0)
    assert found.summary["jitter_fraction"] < 1e-4
    assert "times are those of the camera's clock, from 0 at the first frame, and not" in found.done
    # the record has a frame more than the video, which may lack any
    assert found.not_passed == {"camera_clock_source", "camera_alignment_uncertainty"}
    assert found.checks["camera_clock_source"].verdict == "WARNING"
    assert found.checks["camera_rate_difference"].value == pytest.approx(0.00703, abs=1e-4)


def test_a_real_camera_with_made_up_pulses(real_data, tmp_path):
    """The real counter and pins against pulses and a pin's edges put where it exposed."""
    folder = real_data / "camera"
    pins = np.fromfile(folder / "_iblrig_bodyCamera.GPIO.bin") > 0
    times_s = 12.0 + np.arange(510 + 700) / 30.21
    true_s = times_s[400:910]
    changed = np.flatnonzero(np.diff(pins.astype(int))) + 1
    edges_s = true_s[changed] - 0.4 / 30.21
    table = pd.DataFrame({"time_s": edges_s, "polarity": np.where(pins[changed], 1, -1)})
    table.to_csv(tmp_path / "audio.tsv", sep="\t", index=False)
    found = run(
        tmp_path,
        510,
        rate_hz=30.0,
        ttl=save(tmp_path / "p.npy", times_s),
        frame_counter=str(folder / "_iblrig_bodyCamera.frame_counter.bin"),
        gpio=str(folder / "_iblrig_bodyCamera.GPIO.bin"),
        gpio_pin=4,
        gpio_pulses=str(tmp_path / "audio.tsv"),
    )
    np.testing.assert_allclose(found.times_s, true_s, atol=1e-9)
    assert found.summary["decided_by"] == "pins"
    assert (found.summary["n_pulses_before"], found.summary["n_pulses_after"]) == (400, 300)
    assert found.frames["counter"].tolist() == list(range(16696704, 16696704 + 510))
    n_seen = int(np.count_nonzero(pins[changed]))
    assert found.summary["pin_pulses"] == {"n_seen": n_seen, "n_sent": n_seen}
    assert found.not_passed == set()


@pytest.mark.parametrize("clock", ["timestamps", "frame_counter", "video"])
def test_a_pin_without_pulses_of_frames(tmp_path, clock):
    """The pin and the camera's clock alone: within 0.5 ms over 400 pulses."""
    dropped = () if clock == "video" else range(50, 20_000, 333)
    sim = simulate(20_000, dropped=dropped)
    rises, falls, states = pin_signal(sim.times_s)
    table = pd.DataFrame(
        {
            "time_s": np.concatenate([rises, falls]),
            "polarity": np.repeat([1, -1], [len(rises), len(falls)]),
        }
    ).sort_values("time_s")
    table.to_csv(tmp_path / "g.tsv", sep="\t", index=False)
    columns = {
        "timestamps": {"timestamps": save(tmp_path / "t.npy", sim.camera_s)},
        "frame_counter": {"frame_counter": save(tmp_path / "c.npy", sim.counter)},
        "video": {},
    }[clock]
    found = run(
        tmp_path,
        sim.n_frames,
        gpio=save(tmp_path / "g.npy", states),
        gpio_pulses=str(tmp_path / "g.tsv"),
        **columns,
    )
    assert_result(found, sim, atol=0.0005)
    assert found.summary["source"] == "pins" and found.summary["is_session_clock"]
    assert found.summary["time_error_ms"] < 0.5
    assert "changes of the pin; they may all be early or late by" in found.done
    assert found.not_passed <= {"camera_dropped_fraction"}


def pin_columns(folder, sim, *, quiet_from=None, seed=0):
    """Columns of a pin that saw irregular pulses, as files."""
    rises, falls, seen = pin_signal(sim.times_s[:quiet_from], seed=seed)
    seen = np.concatenate([seen, np.zeros(sim.n_frames - len(seen), bool)])
    table = pd.DataFrame(
        {
            "time_s": np.concatenate([rises, falls]),
            "polarity": np.repeat([1, -1], [len(rises), len(falls)]),
        }
    ).sort_values("time_s")
    table.to_csv(folder / "pin.tsv", sep="\t", index=False)
    return {"gpio": save(folder / "pin.npy", seen), "gpio_pulses": str(folder / "pin.tsv")}


@pytest.mark.parametrize("n_lost", [1, 10, 40])
@pytest.mark.parametrize("part", [0.35, 0.65, 0.9])
def test_lost_frames_that_only_the_pin_shows(tmp_path, n_lost, part):
    """Pulses of all exposures, no counter and no clock: most changes agree, those behind do not."""
    first = int(3600 * part)
    sim = simulate(3600, dropped=range(first, first + n_lost))
    found = run(
        tmp_path,
        sim.n_frames,
        ttl=save(tmp_path / "p.npy", sim.pulses_s),
        **pin_columns(tmp_path, sim),
    )
    wrong = np.abs(found.times_s - sim.times_s).max() * RATE_HZ
    assert wrong == pytest.approx(n_lost, abs=0.01)
    assert found.summary["uncertainty_frames"] == n_lost
    assert {"camera_alignment_uncertainty", "camera_frame_difference"} <= found.not_passed
    assert f"changes of the pin are seen up to {n_lost} frames beside their edges" in found.done


@pytest.mark.parametrize("n_lost", [2, 10, 40])
@pytest.mark.parametrize("part", [0.35, 0.65, 0.9])
def test_lost_frames_of_a_video_that_has_a_pin_alone(tmp_path, n_lost, part):
    """Whether the line follows one side or lies between both."""
    first = int(3600 * part)
    sim = simulate(3600, dropped=range(first, first + n_lost))
    found = run(tmp_path, sim.n_frames, **pin_columns(tmp_path, sim))
    assert np.abs(found.times_s - sim.times_s).max() * RATE_HZ > n_lost / 3
    assert found.checks["camera_alignment_uncertainty"].value >= n_lost / 3
    assert "camera_alignment_uncertainty" in found.not_passed


@pytest.mark.parametrize("columns", [(), ("ttl",), ("ttl", "frame_counter"), ("timestamps",)])
@pytest.mark.parametrize("seed", range(4))
def test_good_pins_are_not_doubted(tmp_path, columns, seed):
    has_losses = "frame_counter" in columns or "timestamps" in columns
    sim = simulate(
        7200,
        seed=seed,
        before=30,
        after=300,
        jitter_s=1e-4,
        dropped=range(100, 7000, 999) if has_losses else (),
    )
    values = {"ttl": sim.pulses_s, "frame_counter": sim.counter, "timestamps": sim.camera_s}
    given = {key: save(tmp_path / f"{key}.npy", values[key]) for key in columns}
    found = run(tmp_path, sim.n_frames, **given, **pin_columns(tmp_path, sim, seed=seed))
    assert found.not_passed == set()
    assert np.abs(found.times_s - sim.times_s).max() < 0.001


def test_a_pin_that_is_quiet_at_the_end(tmp_path):
    """Pulses behind the video may be those of frames that it lost there, or not: it is said."""
    sim = simulate(3600, after=40)
    pin = pin_columns(tmp_path, sim, quiet_from=2400)
    ttl = save(tmp_path / "p.npy", sim.pulses_s)
    found = run(tmp_path, sim.n_frames, ttl=ttl, **pin)
    assert_result(found, sim)
    assert found.summary["uncertainty_frames"] == 40
    assert "no change of the pin near the end of the video agrees: the 40 pulses" in found.done
    # a counter would show them
    counter = save(tmp_path / "c.npy", sim.counter)
    found = run(tmp_path, sim.n_frames, ttl=ttl, frame_counter=counter, **pin)
    assert found.not_passed == set()
    found = run(tmp_path, sim.n_frames, **pin)
    assert found.not_passed == {"camera_alignment_uncertainty"}


def test_a_video_of_another_rate_than_it_says(tmp_path):
    """0.2 % beside the clock of the pin: its header is not exact, or it lost frames."""
    sim = simulate(7200, rate_hz=RATE_HZ * 1.002)
    pin = pin_columns(tmp_path, sim)
    found = run(tmp_path, sim.n_frames, **pin)
    assert found.summary["clock_drift_ppm"] == pytest.approx(2000, abs=5)
    assert found.checks["camera_alignment_uncertainty"].value == 1
    assert "ppm beside the pin's clock; expected at most 1000" in found.done
    assert run(tmp_path, sim.n_frames, max_pin_drift_ppm=3000, **pin).not_passed == set()


@pytest.mark.parametrize("n_lost", [1, 2])
@pytest.mark.parametrize(
    "columns", [("timestamps",), ("frame_counter",), ("timestamps", "frame_counter")]
)
def test_a_video_that_lacks_a_frame_of_the_record(tmp_path, columns, n_lost):
    """The record and the pulses have all frames: those behind the missing one are early."""
    full = simulate(jitter_s=JITTER_S)
    values = {"timestamps": full.camera_s, "frame_counter": full.counter}
    given = {key: save(tmp_path / f"{key}.npy", values[key]) for key in columns}
    ttl = save(tmp_path / "p.npy", full.pulses_s)
    found = run(tmp_path, 600 - n_lost, ttl=ttl, **given)
    assert found.summary["uncertainty_frames"] == n_lost
    assert "camera_alignment_uncertainty" in found.not_passed
    # as many pulses as frames need no record
    found = run(tmp_path, 600, ttl=ttl, **given)
    assert found.not_passed == set()
    longer = {
        key: save(tmp_path / f"{key}.npy", np.append(values[key], values[key][-1] + 1))
        for key in columns
    }
    assert run(tmp_path, 600, ttl=ttl, **longer).summary["uncertainty_frames"] == 0


def test_frames_that_could_not_be_decoded(tmp_path):
    sim = simulate()
    found = run(tmp_path, 600, ttl=save(tmp_path / "p.npy", sim.pulses_s), n_lost=2)
    assert found.summary["uncertainty_frames"] == 2
    assert found.not_passed == {"camera_alignment_uncertainty"}
    assert "2 frames of the source could not be decoded" in found.done


@pytest.mark.parametrize("column", ["frame_times", "ttl"])
@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda t: np.round(t * 30_000), "They look like samples of a DAQ at about 30000 Hz"),
        (lambda t: t * 1000, "They look like milliseconds"),
        (lambda t: t[0] + 2 * (t - t[0]), "Is it every second"),
        (lambda t: t[0] + (t - t[0]) / 2, "Are there two for each frame?"),
        (lambda t: t[0] + (t - t[0]) * 5, "Check that they are of this camera"),
    ],
)
def test_as_many_times_of_another_rate(tmp_path, column, change, hint):
    path = save(tmp_path / "a.npy", change(simulate().times_s))
    text = refuse(tmp_path, 600, **{column: path})
    assert "and the video a frame every 0.0166667 s; expected seconds" in text and hint in text


def test_every_second_exposure_is_no_other_rate(tmp_path):
    """The camera's counter says so."""
    sim = simulate(dropped=range(1, 600, 2))
    found = run(
        tmp_path,
        300,
        rate_hz=RATE_HZ / 2,
        ttl=save(tmp_path / "p.npy", sim.pulses_s),
        frame_counter=save(tmp_path / "c.npy", sim.counter),
    )
    np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=SAMPLE_S)


@pytest.mark.parametrize(("odd", "time_s"), [(599, 1e9), (0, -1e9)])
@pytest.mark.parametrize("column", ["frame_times", "ttl"])
def test_one_pulse_far_from_all_others(tmp_path, column, odd, time_s):
    times_s = simulate().times_s
    times_s[odd] = time_s
    text = refuse(tmp_path, 600, **{column: save(tmp_path / "a.npy", times_s)})
    assert f"number {odd} (from 0) is at {time_s:.6g} s, 1e+09 s from its neighbour" in text


def test_a_break_of_days_of_which_the_clock_knows(tmp_path):
    sim = simulate(pauses=((300, 432_000.011),))
    found = run(
        tmp_path,
        600,
        ttl=save(tmp_path / "p.npy", sim.pulses_s),
        timestamps=save(tmp_path / "t.npy", sim.camera_s),
    )
    np.testing.assert_array_equal(found.times_s, sim.pulses_s)


def test_pins_without_their_file(tmp_path):
    text = refuse(tmp_path, 600, gpio_pulses=save(tmp_path / "p.npy", np.arange(9.0)))
    assert "but there is no file of the pins; expected gpio or frame_data in streams.tsv" in text


def test_nothing_but_the_video(tmp_path, caplog):
    """Its own times, gaps and all, which are not the session's: said, and judged."""
    pts_s = (simulate(dropped=DROPPED).times_s - 31.7).round(3)
    found = run(tmp_path, 591, pts_s=pts_s)
    np.testing.assert_array_equal(found.times_s, pts_s)
    assert found.summary["source"] == "video" and not found.summary["is_session_clock"]
    assert found.summary["n_dropped"] == 9
    assert found.not_passed == {"camera_clock_source", "camera_dropped_fraction"}
    assert found.checks["camera_clock_source"].verdict == "WARNING"
    assert "no pulses: times are those of the video" in found.done
    assert "not on the session's clock" in caplog.text


def test_the_video_helps_the_pulses(tmp_path):
    """Of variable rate, it shows which frames were lost."""
    sim = simulate(dropped=DROPPED, after=1)
    pts_s = (sim.times_s - sim.times_s[0]).round(3)
    ttl = save(tmp_path / "p.npy", sim.pulses_s)
    assert_result(run(tmp_path, 591, pts_s=pts_s, ttl=ttl), sim)
    # of constant rate it cannot
    found = run(tmp_path, 591, ttl=ttl)
    assert found.summary["uncertainty_frames"] == 10
    assert found.checks["camera_alignment_uncertainty"].verdict == "FAIL"


def test_a_counter_that_contradicts_the_pulses(tmp_path):
    """It says that three frames were lost where the pulses are as many as frames."""
    sim = simulate()
    counter = sim.counter.copy()
    counter[300:] += 3
    found = run(
        tmp_path,
        600,
        ttl=save(tmp_path / "p.npy", sim.pulses_s),
        timestamps=save(tmp_path / "t.npy", sim.camera_s),
        frame_counter=save(tmp_path / "c.npy", counter),
    )
    np.testing.assert_array_equal(found.times_s, sim.pulses_s)
    assert found.checks["camera_counter_disagreement"].value == 1
    assert "camera_counter_disagreement" in found.not_passed


@pytest.mark.parametrize("column", ["frame_times", "ttl", "timestamps"])
@pytest.mark.parametrize(("factor", "unit"), [(1e3, "milliseconds"), (1e9, "nanoseconds")])
def test_other_units(tmp_path, column, factor, unit):
    path = save(tmp_path / "a.npy", simulate().times_s * factor)
    text = refuse(tmp_path, 600, **{column: path})
    assert "a.npy" in text and "has one time every" in text
    assert f"They look like {unit}; convert them to seconds." in text


@pytest.mark.parametrize("column", ["frame_times", "ttl"])
def test_files_of_times_that_are_none(tmp_path, column):
    (tmp_path / "a.tsv").write_text("frame\tseconds\n0\t1.5\n")
    text = refuse(tmp_path, 600, **{column: str(tmp_path / "a.tsv")})
    assert "its columns are frame, seconds; expected an npy of times (s), or a tsv or csv" in text
    times_s = simulate().times_s
    times_s[7] = times_s[6]
    text = refuse(tmp_path, 600, **{column: save(tmp_path / "a.npy", times_s)})
    assert "times do not ascend: 31.800000 s for" in text
    assert "no such file" in refuse(tmp_path, 600, **{column: str(tmp_path / "b.npy")})


def test_timestamps_of_another_camera(real_data, tmp_path):
    path = str(real_data / "camera" / "_iblrig_bodyCamera.timestamps.ssv")
    text = refuse(tmp_path, 510, rate_hz=30.0, timestamps=path)
    assert "has 6001 entries and the video 510 frames; they may differ by 15" in text
    # as many, but of another rate
    ttl = save(tmp_path / "p.npy", np.arange(6001) / 60)
    text = refuse(tmp_path, 6001, rate_hz=60.0, timestamps=path, ttl=ttl)
    assert "6001 pulses" in text or "Expected the same rate" in text


def test_fewer_and_more_pulses_than_frames(tmp_path):
    ttl = save(tmp_path / "p.npy", simulate().pulses_s)
    for n_frames in (585, 600, 615):
        found = run(tmp_path, n_frames, ttl=ttl)
        assert len(found.times_s) == n_frames and (np.diff(found.times_s) > 0).all()
        assert found.checks["camera_frame_difference"].value == abs(600 - n_frames)
    for n_frames in (584, 616):
        text = refuse(tmp_path, n_frames, ttl=ttl)
        assert f"has 600 pulses and the video {n_frames} frames; they may differ by 15" in text
    assert "may differ by 2 (video" in refuse(tmp_path, 597, ttl=ttl, max_frame_difference=2)


def test_a_video_that_is_none(tmp_path):
    assert "the video has 1 frame; expected at least 2" in refuse(tmp_path, 1)
    text = refuse(tmp_path, 600, pts_s=np.zeros(500))
    assert "pts.npy has the shape (500,); expected (600,)" in text
    text = refuse(tmp_path, 600, pts_s=np.zeros(600))
    assert "the times in the video v.mp4 do not ascend, and streams.tsv names no other" in text


def test_the_same_input_gives_the_same_bytes(tmp_path):
    sim = simulate(dropped=DROPPED, after=3, jitter_s=3e-4)
    written = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        ttl, clock = save(tmp_path / "p.npy", sim.pulses_s), save(tmp_path / "t.npy", sim.camera_s)
        run(folder, sim.n_frames, ttl=ttl, timestamps=clock)
        written.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert written[0] == written[1]


def test_every_column_of_the_row_is_known():
    """A column that is added must be thought of here."""
    assert {one.name for one in fields(Camera)} == {
        *("session", "kind", "name", "path", "format", "sampling_rate_hz", "frame_times", "ttl"),
        *("ttl_line", "ttl_edge", "timestamps", "frame_counter", "gpio", "gpio_pin"),
        *("frame_data", "gpio_pulses", "gpio_line", "wheel"),
    }
