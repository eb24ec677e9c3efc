"""The ophys stage as a whole: what comes out, what runs again, what goes on without a plane."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from lab import SESSION, Lab, clone, copy_of, new_lab
from one.alf.io import load_object
from results import hashes

from sluice.synth.days import make_days
from sluice.synth.plane import make_scene

SECOND = "M001/2026-11-21/001"
STEPS = {
    "import_plane",
    "register_plane",
    "segment_plane",
    "demix",
    "neuropil",
    "dff",
    "events",
    "label_rois",
    "plane_qc",
    "export_alf_plane",
}
TARGETS = {"all", "ophys"}
CONTAINER = "M001_FOV_00"


def checks(lab, session, step, plane="FOV_00"):
    path = lab.results / "work" / session / plane / step / "checks.json"
    return {check["name"]: check for check in json.loads(path.read_text())}


def movie(folder, session=SESSION):
    (path,) = (folder / session / "raw_imaging_data_00").glob("*.tif")
    return path


@pytest.fixture
def raw_copy(tmp_path, raw_planes):
    """A copy of the two days, to be damaged."""
    shutil.copytree(raw_planes, tmp_path / "raw")
    return tmp_path / "raw"


def lab_of(tmp_path, raw):
    lab = new_lab(tmp_path / "lab", raw)
    lab.configure(containers=str(raw / "containers.tsv"))
    return lab


def test_targets(planes_lab):
    assert planes_lab.planned("ophys") - {"ophys"} == STEPS | {"match_cells"}
    assert planes_lab.planned("all") - {"all"} == STEPS | {"match_cells"}
    planes_lab.configure(ophys={"segment_plane": {"keep_suite2p_folder": True}})
    assert planes_lab.planned("ophys") - {"ophys"} == STEPS | {"export_suite2p"}


def test_one_session_alone_leaves_its_container(planes_lab):
    """Cells are matched when all sessions of the container are worked on."""
    done = planes_lab.snakemake("-n", "--config", f"only={SECOND}")
    assert done.returncode == 0, done.stdout
    assert "rule import_plane" in done.stdout
    assert "match_cells" not in done.stdout
    assert "left out" not in done.stdout


def test_a_gpu_goes_to_suite2p_alone(planes_lab):
    out = planes_lab.snakemake("-n", "--profile", "profiles/gpu").stdout
    jobs = out.split("\nrule ")[1:]
    assert {j.split(":")[0] for j in jobs if "gpu=1" in j} == {"register_plane", "segment_plane"}


@pytest.mark.slow
def test_everything_is_there(finished_planes):
    """Promised files, one record a job, ONE's objects, the status, no half-written output."""
    lab = finished_planes
    derived = lab.results / "derived"
    for session in (SESSION, SECOND):
        records = (derived / session / "_sluice_run.records.jsonl").read_text().splitlines()
        assert {json.loads(line)["step"] for line in records} == STEPS
        for step in STEPS - {"export_alf_plane"}:
            assert checks(lab, session, step), step
    records = derived / "containers" / CONTAINER / "_sluice_run.records.jsonl"
    (record,) = map(json.loads, records.read_text().splitlines())
    assert (record["step"], record["container"]) == ("match_cells", CONTAINER)
    assert not list(lab.results.rglob(".part-*"))
    mpci = load_object(derived / SESSION / "alf/FOV_00", "mpci")
    assert mpci["ROIDff"].shape == mpci["ROIActivityF"].shape
    cells = pd.read_parquet(derived / "containers" / CONTAINER / "_sluice_cells.table.pqt")
    assert cells.groupby("cell_id").size().max() == 2
    status = lab.sluice("status").stdout
    header, *rows = status.splitlines()
    assert header.split()[0] == "session" and "plane_qc" in header
    assert [row.split()[0] for row in rows] == [SESSION, SECOND, "container"]
    assert "to do" not in status and "failed" not in status


@pytest.mark.slow
def test_results_agree_with_the_truth(finished_planes, raw_planes):
    """Even on this small movie the cells are found and matched as they were planted."""
    lab = finished_planes
    shown = lab.sluice("compare", raw_planes)
    assert "cells found" in shown.stdout
    assert "precision 1.000" in shown.stdout
    assert shown.returncode == 0, shown.stdout + shown.stderr


@pytest.mark.slow
def test_what_runs_again(finished_planes, tmp_path):
    lab = copy_of(finished_planes, tmp_path)
    before = hashes(lab.results)
    assert lab.planned() == set()
    assert "Nothing to be done" in lab.run().stdout
    assert hashes(lab.results) == before
    settings = lab.settings()

    def planned(**ophys):
        lab.configure(**settings, ophys=ophys)
        return lab.planned() - TARGETS

    late = {"label_rois", "export_alf_plane", "match_cells"}
    assert planned(match_cells={"only": "all"}) == {"match_cells"}
    assert planned(plane_qc={"checks": {"snr": {"warning": 3, "fail": 2}}}) == {"plane_qc"}
    assert planned(events={"method": "oasis"}) == {"events", *late}
    assert planned(dff={"window_s": 60}) == {"dff", "events", "plane_qc", *late}
    assert planned(neuropil={"method": "fixed"}) == {
        *("neuropil", "dff", "events", "plane_qc"),
        *late,
    }
    assert planned(segment_plane={"keep_suite2p_folder": True}) == {"export_suite2p"}


@pytest.mark.slow
def test_a_movie_cut_short_stops_its_plane_alone(tmp_path, raw_copy):
    """The message names the file; the other day runs; the container is left out of it."""
    path = movie(raw_copy)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10_000)
    lab = lab_of(tmp_path, raw_copy)
    done = lab.snakemake("--cores", 2)
    assert f"{SESSION} FOV_00 import_plane: " in done.stdout
    message = next(line for line in done.stdout.splitlines() if "import_plane: " in line)
    assert path.name in message and "cut short" in message
    assert "Traceback" not in done.stdout
    assert (lab.results / "derived" / SECOND / "alf/FOV_00/mpci.times.npy").is_file()
    assert not (lab.results / "derived" / SESSION / "alf").exists()
    assert "failed:" in lab.sluice("status").stdout


def test_a_movie_that_cannot_be_planned_is_left_out(tmp_path, raw_copy):
    """No rate: said before anything runs; the container is not matched and says why."""
    path = raw_copy / SESSION / "raw_imaging_data_00" / "imaging.json"
    facts = json.loads(path.read_text())
    del facts["frame_rate_hz"], facts["frame_times"]
    path.write_text(json.dumps(facts))
    lab = lab_of(tmp_path, raw_copy)
    done = lab.snakemake("-n")
    assert done.returncode == 0, done.stdout
    notices = [line for line in done.stdout.splitlines() if "left out" in line]
    assert len(notices) == 2
    assert f"{SESSION} FOV_00" in notices[0] and "rate" in notices[0]
    assert f"container {CONTAINER}: {SESSION} FOV_00 cannot be read" in notices[1]
    assert f"session={SECOND}" in done.stdout and f"session={SESSION}" not in done.stdout
    assert notices[1].split("left out: ")[1] in lab.sluice("status").stdout


def test_a_container_with_a_session_that_is_not_there(planes_lab):
    table = planes_lab.folder / "containers.tsv"
    table.write_text(
        f"container\tsession\tplane\nC\t{SESSION}\tFOV_00\nC\tM009/2026-11-20/001\tFOV_00\n"
    )
    planes_lab.configure(containers=str(table))
    done = planes_lab.snakemake("-n")
    assert done.returncode != 0
    assert "container C, session M009/2026-11-20/001: no such session" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_plane_without_cells_stops_nothing(tmp_path, raw_planes):
    """Valid empty files, a WARNING, and the container is still made."""
    raw = tmp_path / "raw"
    shutil.copytree(raw_planes, raw)
    empty = make_scene(seed=5, n_frames=300, height=96, width=96, n_cells=0)
    tifffile.imwrite(movie(raw, SECOND), empty.frames(), photometric="minisblack")
    folder = raw / SECOND / "raw_imaging_data_00"
    facts = json.loads((folder / "imaging.json").read_text())
    del facts["frame_times"]
    (folder / "imaging.json").write_text(json.dumps(facts))
    lab = lab_of(tmp_path, raw)
    lab.run()
    assert checks(lab, SECOND, "segment_plane")["rois_found"]["verdict"] != "PASS"
    alf = lab.results / "derived" / SECOND / "alf/FOV_00"
    assert np.load(alf / "mpci.ROIActivityF.npy").shape == (300, 0)
    cells = pd.read_parquet(
        lab.results / "derived/containers" / CONTAINER / "_sluice_cells.table.pqt"
    )
    assert set(cells.session) == {SESSION}


@pytest.mark.slow
def test_paired_planes_of_a_microscope(tmp_path):
    """ScanImage: two simultaneous planes and flyback; crosstalk is measured and removed."""
    raw = tmp_path / "raw"
    small = {"sampling_rate_hz": 10.0, "height": 96, "width": 96, "n_cells": 12}
    make_days(
        raw,
        n_probes=0,
        n_planes=2,
        n_cameras=0,
        duration_s=150,
        crosstalk=0.2,
        image_format="scanimage",
        plane_settings=small,
    )
    lab = new_lab(tmp_path / "lab", raw)
    lab.configure(ophys={"demix": {"crosstalk": "unmix"}})
    lab.run()
    for plane in ("FOV_00", "FOV_01"):
        assert checks(lab, SESSION, "plane_qc", plane)["crosstalk"]["verdict"] != "PASS"
        found = checks(lab, SESSION, "demix", plane)["crosstalk_fraction"]["value"]
        assert abs(found - 0.2) < 0.06  # few events in a minute


@pytest.mark.slow
def test_real_clip(tmp_path, real_data):
    """The real clip of 100 frames goes through every rule and gives ROIs."""
    clone(tmp_path / "lab")
    lab = Lab(tmp_path / "lab")
    folder = tmp_path / "raw" / SESSION / "raw_imaging_data_00"
    folder.mkdir(parents=True)
    shutil.copy(real_data / "two_photon/movie_100x100x100.h5", folder)
    facts = {"frame_rate_hz": 31.0, "indicator": "GCaMP6f", "um_per_pixel": 0.78}
    (folder / "imaging.json").write_text(json.dumps(facts))
    lab.sluice("scan", tmp_path / "raw", "--overwrite")
    lab.configure(ophys={"segment_plane": {"keep_suite2p_folder": True}})
    lab.run()
    alf = lab.results / "derived" / SESSION / "alf/FOV_00"
    dff = np.load(alf / "_sluice_mpci.ROIDff.npy")
    assert dff.shape[0] == 100 and dff.shape[1] >= 10
    assert np.isfinite(dff).all()
    assert np.isfinite(np.load(alf / "_sluice_mpci.ROIEvents.npy")).all()
    with h5py.File(folder / "movie_100x100x100.h5") as file:
        mean = file["data"][:].mean(axis=0)
    kept = lab.results / "work" / SESSION / "FOV_00/export_suite2p/suite2p/plane0"
    ops = np.load(kept / "ops.npy", allow_pickle=True).item()
    assert Path(ops["save_path"]) == kept and Path(ops["reg_file"]).is_file()
    assert np.load(kept / "F.npy").shape == dff.T.shape
    found = np.load(alf / "mpciMeanImage.images.npy")
    assert np.corrcoef(mean.ravel(), found.ravel())[0, 1] > 0.8  # motion blurs the raw mean
