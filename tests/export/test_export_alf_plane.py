"""The ALF collection of an imaging plane, as ONE sees it."""

import numpy as np
import pandas as pd
import pytest
import sparse
from one.alf.cache import make_parquet_db
from one.api import One

from sluice.errors import InputError
from sluice.export.export_alf_plane import FRAME_QC, export_alf_plane_file, frame_qc
from sluice.ophys.masks import make_masks, save_masks
from sluice.ophys.plane import PlaneInfo

SESSION = "M001/2026-11-20/001"
COLLECTION = "alf/FOV_03"
TRACES = ("raw", "neuropil", "demixed", "corrected", "dff", "events")
FILES = {
    "_sluice_mpci.ROIActivityCorrected.npy",
    "_sluice_mpci.ROIActivityDemixed.npy",
    "_sluice_mpci.ROIDff.npy",
    "_sluice_mpci.ROIEvents.npy",
    "_sluice_mpci.shifts.npy",
    "_sluice_mpciMaxImage.images.npy",
    "_sluice_mpciROIs.isValid.npy",
    "_sluice_mpciROIs.metrics.pqt",
    "_sluice_mpciROIs.neuropilR.npy",
    "_sluice_mpciROIs.neuropilRError.npy",
    "_sluice_mpciROIs.traceMasks.sparse_npz",
    "mpci.ROIActivityF.npy",
    "mpci.ROINeuropilActivityF.npy",
    "mpci.badFrames.npy",
    "mpci.mpciFrameQC.npy",
    "mpci.times.npy",
    "mpciFrameQC.names.tsv",
    "mpciMeanImage.images.npy",
    "mpciROITypes.names.tsv",
    "mpciROIs.cellClassifier.npy",
    "mpciROIs.masks.sparse_npz",
    "mpciROIs.mpciROITypes.npy",
    "mpciROIs.neuropilMasks.sparse_npz",
    "mpciROIs.stackPos.npy",
    "mpciROIs.uuids.csv",
}


def make_inputs(folder, *, n_rois=4, n_frames=30, height=20, width=24):
    """Write what the ophys steps write."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    info = PlaneInfo("x", n_frames, height, width, 10.0, 0.8, "GCaMP6f", 0.4, 1.0, 0.0, "int16")
    frames = pd.DataFrame({"frame": np.arange(n_frames), "time_s": 2.5 + np.arange(n_frames) / 10})
    frames["mean"], frames["n_saturated"], frames["is_missing"] = 100.0, 0, False
    frames.loc[3, "is_missing"] = True
    frames.to_parquet(folder / "frames")
    shifts = pd.DataFrame(rng.normal(size=(n_frames, 2)), columns=["y_px", "x_px"])
    shifts["correlation"], shifts["nonrigid_max_px"] = 0.1, 0.0
    shifts["is_clipped"] = shifts["is_bad"] = False
    shifts.loc[5, "is_clipped"] = True
    shifts.to_parquet(folder / "shifts")
    with (folder / "images").open("wb") as file:
        images = dict.fromkeys(("mean", "max", "reference"), np.ones((height, width), np.float32))
        np.savez(file, **images)
    pixels = [(np.array([i, i, i + 1]), np.array([i, i + 1, i]), np.ones(3)) for i in range(n_rois)]
    for name in ("masks", "roi_masks", "neuropil_masks"):
        save_masks(make_masks(pixels, height, width), folder / name)
    for name in TRACES:
        np.save(folder / f"{name}.npy", rng.normal(size=(n_rois, n_frames)).astype(np.float32))
    rois = pd.DataFrame({"roi": np.arange(n_rois), "y_px": 1.4, "x_px": 2.6})
    rois["soma_probability"], rois["r"], rois["error"] = 0.9, 0.7, 0.1
    rois["is_soma"], rois["is_valid"] = True, False
    rois.to_parquet(folder / "rois")
    inputs = {n: folder / n for n in ("frames", "shifts", "images", "masks", "rois")}
    inputs["info"], inputs["roi_masks"] = info, folder / "roi_masks"
    inputs["neuropil_masks"] = folder / "neuropil_masks"
    return inputs | {name: folder / f"{name}.npy" for name in TRACES}


def export(tmp_path, **sizes):
    inputs = make_inputs(tmp_path / "inputs", **sizes)
    folder = tmp_path / "derived" / SESSION / COLLECTION
    folder.parent.mkdir(parents=True)
    export_alf_plane_file(**inputs, session=SESSION, plane="FOV_03", folder=folder)
    return inputs, folder


@pytest.mark.parametrize("n_rois", [4, 1, 0])
def test_one_loads_every_object(tmp_path, n_rois):
    inputs, folder = export(tmp_path, n_rois=n_rois)
    assert {path.name for path in folder.iterdir()} == FILES
    root = tmp_path / "derived"
    make_parquet_db(root, hash_files=False)
    one = One(cache_dir=root, mode="local")
    (eid,) = one.search()
    mpci = one.load_object(eid, "mpci", collection=COLLECTION)
    raw = np.load(inputs["raw"])
    # ONE flattens a single column
    np.testing.assert_array_equal(np.reshape(mpci["ROIActivityF"], raw.T.shape), raw.T)
    np.testing.assert_allclose(mpci["times"][:2], [2.5, 2.6])
    assert mpci["mpciFrameQC"].tolist()[:6] == [0, 0, 0, 1, 0, 4]
    assert mpci["badFrames"].sum() == 1
    rois = one.load_object(eid, "mpciROIs", collection=COLLECTION)
    assert rois["masks"].shape == (n_rois, 20, 24)
    assert rois["stackPos"].reshape(-1, 3).tolist() == [[1, 3, 3]] * n_rois
    if n_rois == 4:
        assert np.argwhere(rois["masks"][1].todense()).tolist() == [[1, 1], [1, 2], [2, 1]]
        assert rois["uuids"].nunique() == 4
    types = one.load_object(eid, "mpciROITypes", collection=COLLECTION)
    assert list(types["names"]["roi_labels"]) == ["no cell", "cell"]


def test_masks_are_pydata_sparse(tmp_path):
    _, folder = export(tmp_path)
    masks = sparse.load_npz(folder / "mpciROIs.masks.sparse_npz")
    assert isinstance(masks, sparse.GCXS)
    assert masks.dtype == np.float32


def test_same_inputs_same_bytes(tmp_path):
    _, first = export(tmp_path / "a")
    _, second = export(tmp_path / "b")
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_gravest_fault_of_a_frame_counts():
    frames = pd.DataFrame({"n_saturated": [0, 0, 50, 50, 0, 50], "is_missing": [0, 1, 0, 1, 0, 0]})
    shifts = pd.DataFrame({"is_clipped": [0, 1, 1, 1, 1, 0], "is_bad": [0, 1, 0, 0, 1, 1]})
    found = frame_qc(frames, shifts, n_pixels=1000)
    bad = "badly registered"
    expected = ["ok", "missing", "saturated", "missing", bad, bad]
    assert [FRAME_QC[i] for i in found] == expected


def test_inputs_of_two_runs(tmp_path):
    inputs = make_inputs(tmp_path / "inputs")
    arguments = {"session": SESSION, "plane": "FOV_03"}
    pd.read_parquet(inputs["rois"]).iloc[:2].to_parquet(inputs["rois"])
    with pytest.raises(InputError, match="a table has 2 ROIs, expected 4"):
        export_alf_plane_file(**inputs, **arguments, folder=tmp_path / "one")
    inputs = make_inputs(tmp_path / "again")
    np.save(inputs["dff"], np.zeros((4, 29), np.float32))
    with pytest.raises(InputError, match=r"dff.npy has traces of shape \(4, 29\)"):
        export_alf_plane_file(**inputs, **arguments, folder=tmp_path / "two")
