"""The truth written beside a made-up imaging session is that of its scenes."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from sluice.synth.plane import make_scene
from sluice.synth.plane_session import make_planes, paired, write_imaging_session
from sluice.synth.plane_truth import load_shapes, load_truth

SIZE = {"n_frames": 300, "height": 64, "width": 80, "n_cells": 5, "n_overlapping_pairs": 1}


@pytest.fixture(scope="module")
def fields():
    return [make_planes(seed=1, n_planes=2, crosstalk=0.15, **SIZE), make_planes(seed=2, **SIZE)]


@pytest.fixture(scope="module")
def session(fields, tmp_path_factory):
    return write_imaging_session(tmp_path_factory.mktemp("raw"), fields, number="002")


def test_planes_are_counted_over_the_session(fields, session):
    assert session.name == "SYN001/2026-01-15/002"
    names = [folder.name for folder in session.imaging_folders]
    assert names == ["raw_imaging_data_00", "raw_imaging_data_01"]
    assert list(session.truth_folders) == ["FOV_00", "FOV_01", "FOV_02"]
    first = tifffile.imread(session.imaging_folders[0] / "movie_001.tif")
    np.testing.assert_array_equal(first[1::2], fields[0][1].frames())
    places = [
        (load_truth(folder).facts["field"], load_truth(folder).facts["plane"])
        for folder in session.truth_folders.values()
    ]
    assert places == [(0, 0), (0, 1), (1, 0)]


def test_truth_is_that_of_the_scene(fields, session):
    scenes = [scene for scenes in fields for scene in scenes]
    for scene, folder in zip(scenes, session.truth_folders.values(), strict=True):
        truth = load_truth(folder)
        np.testing.assert_array_equal(truth.dff, scene.dff)
        np.testing.assert_array_equal(truth.shifts_px, scene.shifts_px)
        np.testing.assert_array_equal(truth.masks.toarray().reshape(scene.masks.shape), scene.masks)
        np.testing.assert_allclose(truth.cells[["y_px", "x_px"]], scene.centres_px, rtol=1e-5)
        assert truth.cells.cell_id.tolist() == scene.cell_ids.tolist()
        assert truth.cells.is_overlapped.sum() == 2
        assert truth.cells.n_pixels.tolist() == (scene.masks >= 0.5).sum(axis=(1, 2)).tolist()
        for k in range(scene.n_cells):
            events = truth.events[truth.events.cell == k]
            assert events.frame.tolist() == scene.event_frames[k].tolist()
            assert events.amplitude.tolist() == scene.event_amplitudes[k].tolist()
            assert truth.cells.n_isolated[k] == events.is_isolated.sum()
        np.testing.assert_array_equal(np.load(folder / "neuropil.npy"), scene.neuropil_light())


def test_isolated_events_stand_alone(session):
    truth = load_truth(session.truth_folders["FOV_00"])
    assert truth.events.is_isolated.any()
    for _, events in truth.events.groupby("cell"):
        times_s = events.frame.to_numpy() / 10
        for time_s, is_isolated in zip(times_s, events.is_isolated, strict=True):
            apart = np.delete(times_s, np.searchsorted(times_s, time_s)) - time_s
            near = ((apart > -2.1 - 1e-9) & (apart < 0)) | ((apart > 0) & (apart < 1.0 + 1e-9))
            assert is_isolated == (not near.any())


def test_planes_of_a_field_move_together_and_leak_in_pairs(fields):
    first, second = fields[0]
    np.testing.assert_array_equal(first.shifts_px, second.shifts_px)
    assert not np.array_equal(first.dff, second.dff)
    added = first.light(0, 20) - first.own_light(0, 20)
    np.testing.assert_allclose(added, 0.15 * second.own_light(0, 20), atol=1e-4)
    assert paired(5) == [(0, 1), (2, 3)]
    alone = make_planes(seed=1, n_planes=3, crosstalk=0.1, **SIZE)[2]
    assert alone.settings.crosstalk is None


def test_same_arguments_same_bytes(fields, session, tmp_path):
    again = write_imaging_session(tmp_path, fields, number="002")
    files = sorted(path for path in session.folder.rglob("*") if path.is_file())
    assert len(files) == 2 * 3 + 3 * 7
    for path in files:
        other = again.folder / path.relative_to(session.folder)
        assert path.read_bytes() == other.read_bytes(), path


def test_settings_are_in_the_truth(tmp_path):
    scene = make_scene(
        seed=(5, 1),
        n_epileptic=2,
        missing_frames=(7, 3),
        intensity_steps=((50, 1.2),),
        saturation_level=4095,
        z_drift_um=4.0,
        **SIZE,
    ).second_session(1, shift_px=(1.0, -2.0), rotation_deg=3.0)
    session = write_imaging_session(tmp_path, [[scene]])
    facts = json.loads((session.truth_folders["FOV_00"] / "truth.json").read_text())
    assert facts["missing_frames"] == [3, 7]
    assert facts["intensity_steps"] == [[50, 1.2]]
    assert facts["saturation_level"] == 4095
    assert facts["shift_px"] == [1.0, -2.0]
    assert facts["rotation_deg"] == 3.0
    assert facts["epileptic_frames"] == scene.epileptic_frames.tolist()
    assert facts["neuropil_r"] == 0.7


def test_plane_without_cells_has_empty_truth(tmp_path):
    session = write_imaging_session(
        tmp_path, [make_planes(n_cells=0, n_frames=10, height=48, width=48)]
    )
    truth = load_truth(session.truth_folders["FOV_00"])
    assert truth.dff.shape == (0, 10)
    assert truth.masks.shape == (0, 48 * 48)
    assert len(truth.cells) == len(truth.events) == 0
    assert pd.api.types.is_bool_dtype(truth.events.is_isolated)
    assert load_shapes(session.truth_folders["FOV_00"] / "masks.npz").nnz == 0
