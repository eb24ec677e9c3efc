import os
from dataclasses import replace

import numpy as np
import pytest
from ophys.suite2p_planes import SETTINGS, segment, write_still

from sluice.ophys.export_suite2p import export_suite2p_file
from sluice.ophys.suite2p_settings import suite2p_settings
from sluice.synth.plane import make_scene

NAMES = ("stat", "iscell", "F", "Fneu", "spks", "ops", "db", "settings")
OUTPUTS = ("reg_outputs", "detect_outputs")
# A bin of 10 frames divides suite2p's batches of 500, so that its bins are ours.
CHANGED = {"bin_s": 1.0}


def export(source, info, folder, **changed):
    export_suite2p_file(
        registered=source / "registered.bin",
        info=info,
        registration=source / "registration.npz",
        images=source / "images.npz",
        detection=source / "detection.npz",
        rois=source / "rois.pqt",
        stat=source / "stat.npy",
        folder=folder / "suite2p",
        final_folder=folder / "elsewhere",
        settings={**SETTINGS["segment_plane"], **changed},
        register_settings=SETTINGS["register_plane"],
        device="cpu",
    )
    place = folder / "suite2p" / "plane0"
    return place, {n: np.load(place / f"{n}.npy", allow_pickle=True) for n in (*NAMES, *OUTPUTS)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plane")
    scene = make_scene(seed=5, n_frames=1000, height=96, width=100, n_cells=12, motion_px=0.0)
    info = write_still(folder, scene.frames())
    found = segment(folder, info, **CHANGED)
    place, files = export(folder, info, folder / "out", **CHANGED)
    return folder, info, found, place, files


def test_the_gui_finds_what_it_reads(exported):
    _, info, found, place, files = exported
    n = len(found.table)
    stat, ops = files["stat"], files["ops"].item()
    assert files["F"].shape == files["Fneu"].shape == files["spks"].shape == (n, 1000)
    assert files["iscell"].shape == (n, 2)
    for key in ("ypix", "xpix", "lam", "med", "npix", "radius", "overlap", "footprint", "snr"):
        assert all(key in roi for roi in stat), key
    # what suite2p's gui/io.py and gui/views.py and roiextractors take from ops
    assert (ops["nframes"], ops["Ly"], ops["Lx"]) == info.shape
    assert (ops["fs"], ops["tau"]) == (10.0, 0.7)
    assert ops["meanImg"].shape == ops["meanImgE"].shape == ops["refImg"].shape == (96, 100)
    (top, bottom), (left, right) = ops["yrange"], ops["xrange"]
    assert ops["Vcorr"].shape == ops["max_proj"].shape == (bottom - top, right - left)
    assert len(ops["diameter"]) == 2
    assert ops["registration"]["nonrigid"] is True
    assert ops["registration"]["block_size"] == [64, 64]
    assert "date_proc" not in ops
    np.testing.assert_array_equal(files["iscell"][:, 1], found.table["soma_probability"])
    np.testing.assert_array_equal(files["iscell"][:, 0], files["iscell"][:, 1] > 0.5)
    # where the folder will stand, not where it is written
    assert ops["reg_file"] == str(place.parents[1] / "elsewhere" / "plane0" / "data.bin")


def test_suite2p_itself_joins_the_folder(exported):
    _, _, found, place, files = exported
    from suite2p import io

    joined = io.combined(str(place.parent), save=False)
    stat, traces = joined[0], joined[3]
    assert len(stat) == len(found.table)
    np.testing.assert_array_equal(traces, files["F"])


def test_the_movie_is_linked_not_copied_and_a_second_export_replaces(exported):
    folder, info, _, place, _ = exported
    assert (place / "data.bin").samefile(folder / "registered.bin")
    before = {p.name: p.read_bytes() for p in place.glob("*.npy")}
    export(folder, info, folder / "out", **CHANGED)
    assert {p.name: p.read_bytes() for p in place.glob("*.npy")} == before


def test_the_folder_is_that_of_suite2ps_own_pipeline(exported, tmp_path):
    folder, info, _, _, files = exported
    import suite2p
    import torch

    filled = suite2p_settings({**SETTINGS["segment_plane"], **CHANGED}, info, device="cpu")
    filled["detection"]["bin_size"] = 10
    outputs = {"yrange": [0, 96], "xrange": [0, 100], "badframes": np.zeros(1000, bool)}
    np.save(tmp_path / "reg_outputs.npy", outputs)
    with suite2p.io.BinaryFile(96, 100, str(folder / "registered.bin")) as movie:
        theirs = suite2p.pipeline(
            str(tmp_path),
            movie,
            run_registration=False,
            settings=filled,
            device=torch.device("cpu"),
        )
    _, _, stat, traces, neuropil, _, _, spikes, iscell, *_ = theirs
    assert len(stat) == len(files["stat"])
    for ours, roi in zip(files["stat"], stat, strict=True):
        for key in ("ypix", "xpix", "overlap"):
            np.testing.assert_array_equal(ours[key], roi[key])
        for key in ("lam", "npix_norm", "compact", "aspect_ratio", "radius", "skew", "std", "snr"):
            np.testing.assert_allclose(ours[key], roi[key], rtol=1e-3, err_msg=key)
    np.testing.assert_allclose(files["F"], traces, rtol=1e-5)
    np.testing.assert_allclose(files["Fneu"], neuropil, rtol=1e-5)
    # float32 sums in other batches
    np.testing.assert_allclose(files["spks"], spikes, rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(files["iscell"], iscell, atol=1e-3)


def test_traces_and_images_are_intensities_as_recorded(exported, tmp_path):
    folder, info, _, _, files = exported
    # a movie of unsigned numbers above 32767 is stored 32768 lower
    info = replace(info, scale=0.5, offset=32768.0)
    for name in ("registered.bin", "registration.npz"):
        (tmp_path / name).symlink_to(folder / name)
    with np.load(folder / "images.npz") as images:
        np.savez(tmp_path / "images.npz", **{k: 0.5 * v + 32768 for k, v in images.items()})
    segment(tmp_path, info, **CHANGED)
    place, scaled = export(tmp_path, info, tmp_path / "out", **CHANGED)
    for name in ("F", "Fneu"):
        assert scaled[name].dtype == np.float32
        np.testing.assert_allclose(scaled[name], 0.5 * files[name] + 32768, rtol=1e-6)
    # suite2p takes a baseline off first: spikes are half as high, but for float32 at 32768
    assert np.abs(scaled["spks"] - 0.5 * files["spks"]).max() < 0.05
    ops, plain = scaled["ops"].item(), files["ops"].item()
    for name in ("meanImg", "max_proj", "meanImg_crop"):
        np.testing.assert_allclose(ops[name], 0.5 * plain[name] + 32768, rtol=1e-5)
    # filtered, and scaled from 0 to 1
    np.testing.assert_allclose(ops["meanImgE"], plain["meanImgE"], atol=1e-2)
    # images.npz is float32: where half a stored value is rounded it is off by one
    assert np.abs(ops["refImg"].astype(int) - plain["refImg"]).max() <= 1
    assert (ops["sluice_scale"], ops["sluice_offset"]) == (0.5, 32768.0)
    assert (place / "data.bin").read_bytes() == (folder / "registered.bin").read_bytes()


def test_a_plane_without_rois_is_exported_empty(tmp_path):
    frames = np.random.default_rng(0).normal(500, 30, (60, 64, 64))
    info = write_still(tmp_path, frames)
    segment(tmp_path, info)
    _, files = export(tmp_path, info, tmp_path / "out")
    assert files["stat"].shape == (0,)
    assert files["iscell"].shape == (0, 2)
    assert files["F"].shape == files["Fneu"].shape == files["spks"].shape == (0, 60)


def test_the_movie_is_copied_where_it_cannot_be_linked(exported, tmp_path, monkeypatch):
    folder, info, _, _, _ = exported

    def refuse(*_):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    place, _ = export(folder, info, tmp_path, **CHANGED)
    assert (place / "data.bin").read_bytes() == (folder / "registered.bin").read_bytes()
    assert not (place / "data.bin").samefile(folder / "registered.bin")
