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


def test_small_session_through_slurm(slurm, lab, finished):
    """Same results as a local run; every job went through Slurm with what it asked for."""
    lab.command = lambda *arguments: [
        sys.executable,
        str(Path(__file__).with_name("snakemake_fast_poll.py")),
        *map(str, arguments),
    ]
    done = lab.snakemake(
        "--profile",
        "slurm",
        "--slurm-init-seconds-before-status-checks",
        1,
        "--latency-wait",
        5,
        "--slurm-keep-successful-logs",
        env=slurm,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    assert hashes(lab.results) == hashes(finished.results)
    jobs = completed_jobs(Path(slurm["SLURM_CONF"]).with_name("jobcomp.txt"))
    assert len(jobs) >= 9
    assert all(job["JobState"] == "COMPLETED" for job in jobs)
    partitions = [job["Partition"] for job in jobs]
    assert partitions.count("gpu") == 1  # sort_spikes
    assert partitions.count("cpu") == len(jobs) - 1


def completed_jobs(path):
    """Rows of Slurm's own list of completed jobs."""
    return [
        dict(part.split("=", 1) for part in line.split() if "=" in part)
        for line in path.read_text().splitlines()
    ]
