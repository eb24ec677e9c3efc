"""A lab: a clone of the workflow with a small made-up session, to run snakemake in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SESSION = "M001/2026-11-20/001"
CLONED = ("Snakefile", "config", "envs", "profiles", "slurm", "src", "workflow")
# A sorter that needs seconds, not minutes: these tests are about the workflow.
SORTERS = {"spykingcircus2": {}}


def clone(folder):
    """Copy what a git clone would hold."""
    folder.mkdir(parents=True)
    for name in CLONED:
        source = ROOT / name
        if source.is_symlink():
            (folder / name).symlink_to(source.readlink())
        elif source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)


class Lab:
    """A clone with raw data, tables and settings."""

    def __init__(self, folder):
        self.folder = folder
        self.results = folder / "results"

    def configure(self, **settings):
        """Write config.yaml; nested settings as dicts."""
        path = self.folder / "config/config.yaml"
        path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")

    def settings(self):
        """Settings as `configure` wrote them."""
        path = self.folder / "config/config.yaml"
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    def command(self, *arguments):
        return [sys.executable, "-m", "snakemake", *map(str, arguments)]

    def snakemake(self, *arguments, **kwargs):
        """Run snakemake; all it prints is in `stdout`, since dry runs and real ones differ."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **kwargs,
        )

    def run(self, *arguments, **kwargs):
        """Run the workflow on two cores; it must succeed."""
        done = self.snakemake("--cores", 2, *arguments, **kwargs)
        assert done.returncode == 0, done.stdout
        return done

    def planned(self, *arguments):
        """Rules a run would execute now, each once."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stdout
        return planned_rules(done.stdout)

    def sluice(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "sluice.cli", *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(self.folder / "src")},
        )


def copy_of(lab, tmp_path):
    """A copy of a lab in any state, results and Snakemake's records included."""
    shutil.copytree(lab.folder, tmp_path / "lab", symlinks=True)
    return Lab(tmp_path / "lab")


def planned_rules(dry_run):
    """Names of the rules in a dry run's output."""
    words = (line.split() for line in dry_run.splitlines())
    return {w[1].rstrip(":") for w in words if len(w) == 2 and w[0] in ("rule", "localrule")}


def new_lab(folder, raw):
    """Clone the workflow and scan raw data into its tables."""
    clone(folder)
    lab = Lab(folder)
    scan = lab.sluice("scan", raw, "--overwrite")
    assert scan.returncode == 0, scan.stderr
    lab.configure(ephys={"sort_spikes": {"sorters": SORTERS}})
    return lab
