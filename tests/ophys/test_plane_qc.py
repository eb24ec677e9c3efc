import json
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from ophys.qc_movies import (
    SETTINGS,
    paired_plane,
    plane_info,
    registered_frames,
    run_qc,
    scene_of,
    write_plane,
    write_scene,
)

from sluice.errors import InputError
from sluice.ophys import plane
from sluice.ophys.shifts import undo_bidirectional

DECAY = np.exp(-np.arange(0, 800, 5) / 32)
FADING = 1 - 0.45 * (1 - DECAY)
# Each step multiplies what was left.
FAST_BLEACHING = tuple((5 * i, FADING[i] / FADING[i - 1]) for i in range(1, 160))

# What each movie is made of, and the checks that it must not pass.
MOVIES = {
    "normal": ({}, set()),
    "brighter": ({"intensity_steps": ((400, 1.3),)}, {"intensity_drift_percent"}),
    "dimmer": ({"intensity_steps": ((600, 0.7),)}, {"intensity_drift_percent"}),
    # light lost all the time is both
    "bleaching": ({"bleaching": 0.5}, {"intensity_drift_percent", "bleaching_percent"}),
    # and light lost in the first seconds is no drift
    "bleaching at first": ({"intensity_steps": FAST_BLEACHING}, {"bleaching_percent"}),
    "saturated": ({"n_saturated_px": 100, "saturation_level": 3000}, {"saturated_pixels_per_512"}),
    "z-drift": ({"z_drift_um": 8.0}, {"z_drift_um", "z_range_um"}),
    "epilepsy": ({"n_epileptic": 4}, {"epileptiform_events"}),
    "dim": (
        {"cell_photons": (0.1, 0.2), "neuropil_photons": 0.06},
        # the offset of 30 is most of what is recorded
        {"background_fraction", "snr", "photons_per_pixel", "photons_per_roi", "d_prime"},
    ),
    "crosstalk": ({}, {"crosstalk"}),
}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Make the plane recorded at the same time as all others: its scene, and its files."""
    folder = tmp_path_factory.mktemp("other")
    scene = scene_of(seed=7)
    return scene, paired_plane(folder, write_scene(folder, scene))


@pytest.mark.parametrize("name", MOVIES)
def test_each_check_fires_on_the_movie_made_for_it_and_on_no_other(tmp_path, other, name):
    changed, fires = MOVIES[name]
    scene, paired = other
    if name == "crosstalk":
        changed = {"crosstalk": (scene, 0.25)}
    made = scene_of(**changed)
    info = write_scene(tmp_path, made)
    found = run_qc(tmp_path, info, z_stack=made.z_stack(), z_step_um=1.0, paired=paired)
    assert list(found.checks) == list(SETTINGS["checks"])
    fired = {key for key, c in found.checks.items() if c["verdict"] != "PASS"}
    assert fired == fires, {key: found.checks[key] for key in fired ^ fires}
    values = {key: c["value"] for key, c in found.checks.items()}
    assert None not in values.values()
    if name == "brighter":
        assert values["intensity_drift_percent"] == pytest.approx(30, abs=3)
    if name == "bleaching":
        assert values["bleaching_percent"] == pytest.approx(50, abs=5)
    if name == "z-drift":
        # between the middles of the first and the last tenth
        assert values["z_drift_um"] == pytest.approx(0.9 * 8, abs=1)
    if name == "epilepsy":
        times_s = found.metrics["epilepsy"]["event_times_s"]
        np.testing.assert_allclose(np.multiply(times_s, 10), made.epileptic_frames, atol=1)
    if name == "crosstalk":
        assert values["crosstalk"] == pytest.approx(0.25, abs=0.06)


def test_photons_of_a_scene_are_those_it_was_made_of(tmp_path):
    scene = scene_of()
    found = run_qc(tmp_path, write_scene(tmp_path, scene)).metrics["photons"]
    assert found["gain"] == pytest.approx(12, rel=0.1)
    # a tenth of the light of a pixel
    assert found["background"] == pytest.approx(30, abs=0.1 * 12 * 25)
    light = registered_frames(scene.light(), scene.shifts_px)
    assert found["photons_per_pixel"] == pytest.approx(light.mean(), rel=0.1)
    masks = scene.masks >= 0.5
    truth = [np.median(light[:, mask].sum(axis=1)) for mask in masks]
    np.testing.assert_allclose(found["photons_per_roi"], truth, rtol=0.1)
    assert len(found["d_prime"]) == len(masks)


def test_checks_do_not_depend_on_the_scale_of_stored_values(tmp_path):
    scene = scene_of(n_frames=400)
    frames = scene.frames()
    results = []
    for i, (scale, offset) in enumerate([(1.0, 0.0), (0.5, 4000.0)]):
        info = plane_info(frames, scale=scale, offset=offset)
        masks = scene.masks >= 0.5
        write_plane(tmp_path / str(i), frames, info=info, shifts_px=scene.shifts_px, masks=masks)
        found = run_qc(tmp_path / str(i), info)
        results.append({key: c["value"] for key, c in found.checks.items()})
        if offset:
            assert found.checks["background_fraction"]["verdict"] == "FAIL"
        del results[-1]["background_fraction"]
    # an intensity of 4000 without light would hide every change of it
    assert results[0] == pytest.approx(results[1], rel=0.02)


def test_files_and_their_bytes(tmp_path):
    scene = scene_of(n_frames=300)
    info = write_scene(tmp_path, scene)
    np.save(tmp_path / "dff.npy", scene.dff)
    written = []
    for _ in range(2):
        found = run_qc(tmp_path, info, z_stack=scene.z_stack(), z_step_um=2.0)
        names = ("checks.json", "metrics.json", "plane_qc.png")
        written.append([(tmp_path / name).read_bytes() for name in names])
    assert written[0] == written[1]
    assert all(c["figure"] == "plane_qc.png" for c in found.checks.values())
    assert found.metrics["z_drift"]["z_step_um"] == 2
    assert len(found.metrics["photons"]["noise_percent_per_root_hz"]) == scene.n_cells
    # nothing in it that is not JSON
    json.loads(written[0][1], parse_constant=pytest.fail)


def test_checks_of_what_was_not_recorded_are_not_there(tmp_path):
    found = run_qc(tmp_path, write_plane(tmp_path, np.ones((60, 32, 32))))
    assert not {"z_drift_um", "z_range_um", "crosstalk"} & set(found.checks)
    assert found.metrics["z_drift"] is None
    assert found.metrics["crosstalk"] is None


def test_a_dark_movie_without_rois_gives_warnings_only(tmp_path):
    info = write_plane(tmp_path, np.zeros((200, 48, 40)))
    stack = np.random.default_rng(0).random((7, 48, 40))
    found = run_qc(
        tmp_path, info, z_stack=stack, z_step_um=1.0, paired=paired_plane(tmp_path, info)
    )
    unmeasured = {key for key, c in found.checks.items() if c["value"] is None}
    assert unmeasured == set(found.checks) - {"saturated_pixels_per_512"}
    assert all(found.checks[key]["verdict"] == "WARNING" for key in unmeasured)
    assert all(found.checks[key]["message"] for key in unmeasured)


def test_without_rois_all_else_is_measured(tmp_path):
    scene = scene_of(n_cells=0, n_overlapping_pairs=0, n_frames=400)
    found = run_qc(tmp_path, write_scene(tmp_path, scene))
    unmeasured = {key for key, c in found.checks.items() if c["value"] is None}
    assert {"photons_per_roi", "d_prime"} <= unmeasured
    assert found.checks["intensity_drift_percent"]["verdict"] == "PASS"


@pytest.mark.parametrize("offset", [2000, -200])
def test_the_offset_of_a_detector_is_found_and_said_to_change_dff(tmp_path, offset):
    scene = scene_of(n_frames=400)
    frames = scene.frames() - round(scene.settings.offset) + offset
    info = write_plane(tmp_path, frames, shifts_px=scene.shifts_px, masks=scene.masks >= 0.5)
    found = run_qc(tmp_path, info).checks["background_fraction"]
    light = np.median(frames.mean(axis=0)) - offset
    # of events of a size of 1: how much smaller or larger dF/F comes out
    truth = 1 - light / (light + offset)
    assert found["value"] == pytest.approx(abs(truth), rel=0.1)
    assert found["verdict"] == "FAIL"
    size = "small" if offset > 0 else "large"
    assert f"dF/F is about {100 * found['value']:.0f} % too {size}." in found["message"]


def test_a_detector_without_an_offset(tmp_path):
    info = write_scene(tmp_path, scene_of(n_frames=400, offset=0.0))
    found = run_qc(tmp_path, info).checks["background_fraction"]
    # the error of the background that the photon gain finds
    assert found["value"] < 0.05
    assert found["verdict"] == "PASS"


OF_LIGHT = ("intensity_drift_percent", "bleaching_percent", "snr", "epileptiform_events")


def test_the_background_that_was_used_is_said(tmp_path):
    scene = scene_of(n_frames=400)
    found = run_qc(tmp_path / "a", write_scene(tmp_path / "a", scene))
    background = found.metrics["photons"]["background"]
    for key in OF_LIGHT:
        assert found.checks[key]["message"].endswith(f"; above a background of {background:.4g}")
    # without noise there is no photon gain
    found = run_qc(tmp_path / "b", write_plane(tmp_path / "b", np.full((60, 40, 40), 9)))
    assert found.metrics["photons"]["gain"] is None
    for key in OF_LIGHT:
        message = found.checks[key]["message"]
        assert message.endswith("; no photon gain: background taken as 0")
    assert found.checks["background_fraction"]["value"] is None
    assert "100 pixels" in found.checks["background_fraction"]["message"]


def test_times_are_those_of_the_frames(tmp_path):
    made = scene_of(n_epileptic=4)
    # a clock that starts late and runs slower than the header says
    time_s = 100 + np.arange(800) / 8
    info = write_scene(tmp_path, made, time_s=time_s)
    found = run_qc(tmp_path, info, z_stack=made.z_stack(), z_step_um=1.0).metrics
    np.testing.assert_allclose(
        found["epilepsy"]["event_times_s"], time_s[made.epileptic_frames], atol=0.125
    )
    # five blocks of 160 frames
    expected = (time_s[0:800:160] + time_s[159:800:160]) / 2
    np.testing.assert_allclose(found["z_drift"]["time_s"], expected)


def test_odd_lines_are_put_in_place_before_photons_are_counted(tmp_path):
    scene = scene_of(n_frames=400)
    frames = scene.frames()
    recorded = undo_bidirectional(frames, -3)
    # a border as wide as the lines moved, where nothing is lost
    shifts_px = np.zeros((400, 2))
    shifts_px[[10, 20]] = 4, -4
    photons = []
    for name, movie, phase in (("a", frames, 0), ("b", recorded, 3), ("c", recorded, 0)):
        info = write_plane(
            tmp_path / name,
            movie,
            shifts_px=shifts_px,
            masks=scene.masks >= 0.5,
            bidiphase=phase,
        )
        found = run_qc(tmp_path / name, info)
        photons.append(found.metrics["photons"])
    for key in ("gain", "background", "photons_per_pixel"):
        # lines are smoothed over what was lost beyond the border
        assert photons[1][key] == pytest.approx(photons[0][key], rel=0.01)
    assert photons[2]["gain"] != photons[1]["gain"]


@pytest.mark.parametrize("n_frames", [1, 2, 49, 50, 51])
def test_short_movies(tmp_path, n_frames):
    rng = np.random.default_rng(0)
    frames = rng.poisson(20, (n_frames, 40, 40)) * 10
    stack = rng.random((5, 40, 40))
    found = run_qc(tmp_path, write_plane(tmp_path, frames), z_stack=stack, z_step_um=1.0)
    measured = found.checks["intensity_drift_percent"]["value"] is not None
    assert measured == (n_frames >= 50)


def test_missing_and_bad_frames_do_not_count(tmp_path):
    scene = scene_of(n_frames=400)
    frames = scene.frames()
    lost = np.zeros(400, bool)
    lost[[0, 45, 46, 200, 390]] = True
    bad = np.roll(lost, 7)
    spoilt = frames.copy()
    spoilt[lost] = 0
    spoilt[bad] = 30000
    values = []
    for i, movie in enumerate([frames, spoilt]):
        info = write_plane(
            tmp_path / str(i), movie, shifts_px=scene.shifts_px, is_missing=lost, is_bad=bad
        )
        found = run_qc(tmp_path / str(i), info, z_stack=scene.z_stack(), z_step_um=1.0)
        values.append({key: c["value"] for key, c in found.checks.items()})
    assert values[0] == values[1]


def test_a_movie_whose_frames_are_all_missing(tmp_path):
    info = write_plane(tmp_path, np.zeros((100, 32, 32)), is_missing=np.ones(100, bool))
    found = run_qc(tmp_path, info)
    assert found.checks["intensity_drift_percent"]["message"].startswith("no usable frame")


def test_the_saturated_count_is_for_a_plane_of_512_pixels(tmp_path):
    frames = np.full((60, 64, 64), 10)
    frames[:, 3, 4:7] = 1000
    found = run_qc(tmp_path, write_plane(tmp_path, frames, level=1000))
    assert found.checks["saturated_pixels_per_512"]["value"] == 3 * 64
    assert "3 of 4096 pixels" in found.checks["saturated_pixels_per_512"]["message"]


def test_memory_does_not_grow_with_the_movie(tmp_path, monkeypatch):
    chunks = plane.frame_chunks
    monkeypatch.setattr(
        "sluice.ophys.qc.sampling.frame_chunks", lambda info: chunks(info, chunk_bytes=1_000_000)
    )
    rng = np.random.default_rng(0)
    peaks = []
    for n_frames in (200, 800):
        frames = rng.poisson(20, (n_frames, 64, 64)).astype(np.int16)
        info = write_plane(tmp_path / str(n_frames), frames)
        tracemalloc.start()
        run_qc(tmp_path / str(n_frames), info, settings={**SETTINGS, "max_sampled_frames": 100})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # the movie grows by 5 MB as stored and 10 MB as float32
    assert peaks[1] - peaks[0] < 1_000_000


def test_a_table_of_another_movie_is_refused(tmp_path):
    info = write_plane(tmp_path, np.ones((60, 32, 32)))
    table = pd.read_parquet(tmp_path / "shifts.pqt")
    table.iloc[:50].to_parquet(tmp_path / "shifts.pqt")
    with pytest.raises(InputError, match=r"S FOV_00: .*shifts.pqt has 50 rows; expected .* 60"):
        run_qc(tmp_path, info)


def test_a_stack_or_a_paired_plane_that_does_not_fit_is_refused(tmp_path):
    info = write_plane(tmp_path, np.ones((60, 32, 32)))
    tifffile.imwrite(tmp_path / "z.tif", np.zeros((5, 30, 32), np.uint16))
    with pytest.raises(InputError, match="planes of 32 x 32 pixels"):
        run_qc(tmp_path, info, z_stack=tmp_path / "z.tif", z_step_um=1.0)
    with pytest.raises(InputError, match="recorded at once"):
        wrong = plane_info(np.empty((61, 32, 32)))
        run_qc(tmp_path, info, paired=paired_plane(tmp_path, wrong))


def test_a_real_movie(real_data, tmp_path):
    with h5py.File(real_data / "two_photon" / "movie_100x100x100.h5") as file:
        frames = file["data"][:].astype(np.int16)
    info = write_plane(tmp_path, frames, info=plane_info(frames, rate_hz=31.0, decay_s=0.4))
    found = run_qc(tmp_path, info)
    assert found.metrics["n_used_frames"] == 100
    # three seconds of an active field: its brightness says nothing, but no check breaks
    assert found.checks["epileptiform_events"]["value"] == 0
    assert found.checks["saturated_pixels_per_512"]["value"] == 0
    # a plain line through the noise of all pixels: its gain is known to a tenth
    noise = (np.diff(frames.astype(float), axis=0) ** 2).mean(axis=0) / 2
    slope, offset = np.polyfit(frames.mean(axis=0).ravel(), noise.ravel(), 1)
    assert found.metrics["photons"]["gain"] == pytest.approx(slope, rel=0.15)
    assert found.metrics["photons"]["background"] == pytest.approx(-offset / slope, rel=0.1)
