"""Labs in every state: empty, with a session, with everything done."""

import shutil

import pytest
from lab import Lab, clone, new_lab

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
    shutil.copytree(scanned.folder, tmp_path / "lab", symlinks=True)
    return Lab(tmp_path / "lab")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, raw):
    """A lab in which everything has run; do not change it, `copy_of` it."""
    lab = new_lab(tmp_path_factory.mktemp("finished") / "lab ü 1", raw)
    lab.run()
    return lab


@pytest.fixture
def finished_copy(tmp_path, finished):
    """A copy of the finished lab, results and Snakemake's records included."""
    shutil.copytree(finished.folder, tmp_path / "lab", symlinks=True)
    return Lab(tmp_path / "lab")


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
