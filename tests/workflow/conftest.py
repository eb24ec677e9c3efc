"""Labs in every state: empty, with a session, with everything done."""

import shutil

import pytest
from lab import Lab, clone, copy_of, new_lab

from sluice.synth.camera_geometry import PUPIL_POINTS
from sluice.synth.days import make_days
from sluice.synth.session import make_session


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Raw data of one small session: one probe, 10 s, made once."""
    folder = tmp_path_factory.mktemp("Rohdaten für sluice")
    make_session(
        folder,
        subject="M001",
        date="2026-11-20",
        number="001",
        duration_s=12,
        n_channels=32,
        n_units=4,
        seed=1,
    )
    return folder


@pytest.fixture(scope="session")
def scanned(tmp_path_factory, raw):
    """A lab whose tables list the small session; do not change it."""
    return new_lab(tmp_path_factory.mktemp("scanned") / "lab", raw)


@pytest.fixture
def lab(tmp_path, scanned):
    """A lab whose tables list the small session, in which nothing has run."""
    return copy_of(scanned, tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, raw):
    """A lab in which everything has run; do not change it, `copy_of` it."""
    lab = new_lab(tmp_path_factory.mktemp("finished") / "lab ü 1", raw)
    lab.run()
    return lab


@pytest.fixture
def finished_copy(tmp_path, finished):
    """A copy of the finished lab, results and Snakemake's records included."""
    return copy_of(finished, tmp_path)


@pytest.fixture
def empty_clone(tmp_path):
    """A clone as git makes it, without any session."""
    clone(tmp_path / "clone")
    return Lab(tmp_path / "clone")


@pytest.fixture
def raw_of_two(tmp_path, raw):
    """Raw data of two equal sessions, M001 and M002."""
    for subject in ("M001", "M002"):
        shutil.copytree(raw / "M001", tmp_path / "two" / subject)
    return tmp_path / "two"


@pytest.fixture(scope="session")
def raw_planes(tmp_path_factory):
    """Raw data of two days on which the same cells were imaged, and their container."""
    folder = tmp_path_factory.mktemp("films ü")
    small = {"sampling_rate_hz": 10.0, "height": 96, "width": 96, "n_cells": 12}
    make_days(
        folder, n_days=2, n_probes=0, n_cameras=0, duration_s=120, seed=2, plane_settings=small
    )
    return folder


@pytest.fixture(scope="session")
def scanned_planes(tmp_path_factory, raw_planes):
    """A lab whose tables list the two days; do not change it."""
    lab = new_lab(tmp_path_factory.mktemp("scanned") / "lab ü 2", raw_planes)
    lab.configure(containers=str(raw_planes / "containers.tsv"))
    return lab


@pytest.fixture
def planes_lab(tmp_path, scanned_planes):
    """A lab whose tables list the two days, in which nothing has run."""
    return copy_of(scanned_planes, tmp_path)


@pytest.fixture(scope="session")
def finished_planes(tmp_path_factory, scanned_planes):
    """A lab in which the two days' imaging has run; do not change it."""
    lab = copy_of(scanned_planes, tmp_path_factory.mktemp("finished planes"))
    lab.run()
    return lab


VIDEO = {
    "track_pose": {"cameras": {"leftCamera": "face"}},
    "pupil": {"cameras": {"leftCamera": {"method": "ellipse", "points": PUPIL_POINTS}}},
    "tongue_licks": {"cameras": ["leftCamera"]},
}
# A net that learns little in the few seconds a test has: these tests are about the workflow.
QUICK = {"net_type": "resnet10t", "output_stride": 32, "epochs": 3, "crop_px": 128}


@pytest.fixture(scope="session")
def raw_cameras(tmp_path_factory):
    """Raw data of one session of two cameras, and a labelled project of their animal."""
    folder = tmp_path_factory.mktemp("videos ü")
    make_days(folder, n_probes=0, n_planes=0, n_cameras=2, duration_s=11, seed=3)
    return folder


@pytest.fixture(scope="session")
def scanned_cameras(tmp_path_factory, raw_cameras):
    """A lab whose tables list the cameras, one of them tracked; do not change it."""
    lab = new_lab(tmp_path_factory.mktemp("scanned") / "lab ü 3", raw_cameras)
    model = {"project": str(raw_cameras / "pose_project"), "train": QUICK}
    lab.configure(video={"pose_models": {"face": model}, **VIDEO})
    return lab


@pytest.fixture
def cameras_lab(tmp_path, scanned_cameras):
    """A lab whose tables list the cameras, in which nothing has run."""
    return copy_of(scanned_cameras, tmp_path)


@pytest.fixture(scope="session")
def finished_cameras(tmp_path_factory, scanned_cameras):
    """A lab in which the cameras' stage has run; do not change it."""
    lab = copy_of(scanned_cameras, tmp_path_factory.mktemp("finished cameras"))
    lab.run()
    return lab
