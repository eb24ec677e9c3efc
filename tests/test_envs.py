"""The lock, the conda files and what is declared agree."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def lock():
    lines = (ROOT / "envs/requirements.lock").read_text().split()
    return dict((normal(line.split("==")[0]), line.split("==")[1]) for line in lines)


def test_the_lock_is_exact_and_names_no_address():
    for line in (ROOT / "envs/requirements.lock").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line


def test_everything_declared_is_locked(lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["test"]:
        assert normal(re.match(r"[A-Za-z0-9._-]+", requirement)[0]) in lock, requirement


def test_conda_files_have_the_versions_of_the_lock(lock):
    files = list((ROOT / "envs").glob("*.yaml"))
    assert files
    for path in files:
        *_, pip = yaml.safe_load(path.read_text())["dependencies"]
        for pin in pip["pip"]:
            name, version = pin.split("==")
            assert lock[normal(name)] == version, f"{path.name}: {pin}"


def imported(path):
    """Names of the packages a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


def test_everything_that_is_imported_is_declared():
    """A module of the package imports nothing that a fresh environment may lack."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {normal(re.match(r"[A-Za-z0-9._-]+", r)[0]) for r in project["dependencies"]}
    names = {
        "cv2": "opencv-python-headless",
        "ffmpeg": "ffmpeg-python",
        "one": "one-api",
        "skimage": "scikit-image",
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
    }
    for path in (ROOT / "src").rglob("*.py"):
        for module in set(imported(path)) - sys.stdlib_module_names - {"sluice"}:
            assert normal(names.get(module, module)) in declared, f"{path}: {module}"


def test_nothing_but_packaging_is_in_conflict():
    """Deeplabcut wants packaging>=26, snakemake <26; they work together all the same.

    When this fails because a line is gone, the override in pyproject.toml can go too.
    """
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
    )
    conflicts = checked.stdout.splitlines()
    assert conflicts and all(
        re.match(r"snakemake[\w-]* [\d.]+ has requirement packaging<26", line) for line in conflicts
    ), checked.stdout
