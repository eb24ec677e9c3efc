"""`snakemake --profile slurm` on a real Slurm."""

import sys
from pathlib import Path

import pytest
import slurm_sandbox
from results import hashes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(slurm_sandbox.missing()),
        reason=f"Slurm is not installed: {', '.join(slurm_sandbox.missing())} not found",
    ),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with slurm_sandbox.slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def run(lab, environment, *arguments):
    lab.command = lambda *parts: [
        sys.executable,
        str(Path(__file__).with_name("snakemake_fast_poll.py")),
        *map(str, parts),
    ]
    quick = ("--slurm-init-seconds-before-status-checks", 1, "--latency-wait", 5)
    return lab.snakemake("--profile", "slurm", *quick, *arguments, env=environment, timeout=600)


def test_small_session_through_slurm(slurm, lab, finished):
    """Every job goes through Slurm with what it asks for; results equal a local run's.

    The profile gives the sorter a GPU. Slurm grants one of its invented ones, which no
    PyTorch can use: the job has to say so and not fall back to the CPU. Told to use the CPU,
    the next run goes on where the first one ended.
    """
    first = run(lab, slurm, "--retries", 0)
    assert first.returncode != 0
    assert "sort_spikes: this job was given a GPU, but PyTorch" in first.stdout
    second = run(lab, slurm, "--set-resources", "sort_spikes:gpu=0")
    assert second.returncode == 0, second.stdout
    assert "rule check_probe" not in second.stdout
    assert hashes(lab.results) == hashes(finished.results)
    jobs = completed_jobs(Path(slurm["SLURM_CONF"]).with_name("jobcomp.txt"))
    assert [job["JobState"] for job in jobs if job["Partition"] == "gpu"] == ["FAILED"]
    states = [job["JobState"] for job in jobs if job["Partition"] == "cpu"]
    assert len(states) >= 8
    assert set(states) == {"COMPLETED"}


def completed_jobs(path):
    """Rows of Slurm's own list of completed jobs."""
    return [
        dict(part.split("=", 1) for part in line.split() if "=" in part)
        for line in path.read_text().splitlines()
    ]
