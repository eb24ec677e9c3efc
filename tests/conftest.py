"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data():
    """Folder of small real recordings; the test is skipped where it is absent."""
    folder = Path(os.environ.get("SLUICE_REAL_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip("no real recordings: set SLUICE_REAL_DATA to the folder that holds them")
    return folder
