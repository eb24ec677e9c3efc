"""The device of a job, and leases of GPUs."""

import os
import subprocess
import sys

import pytest

from sluice import gpu
from sluice.errors import UserError


def test_no_gpu_given_is_the_cpu():
    with gpu.device(0) as device:
        assert device == "cpu"


def test_the_schedulers_choice_stands(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with gpu.device(1) as device:
        assert device == "cuda"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    """No job falls back to the CPU by itself."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="given a GPU but this machine shows none"), gpu.device(1):
        pass


HOLD = """
import sys, time
from pathlib import Path
from sluice import gpu
with gpu._lease([0, 1], Path(sys.argv[1]), 10) as index:
    print(index, flush=True)
    time.sleep(60)
"""


def test_two_jobs_lease_two_gpus_and_a_killed_job_frees_its_own(tmp_path):
    jobs = [
        subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        held = [int(job.stdout.readline()) for job in jobs]
        assert set(held) == {0, 1}
        with (
            pytest.raises(UserError, match="no GPU became free"),
            gpu._lease([0, 1], tmp_path, wait_s=0),
        ):
            pass
        jobs[0].kill()
        jobs[0].wait()
        with gpu._lease([0, 1], tmp_path, wait_s=10) as index:
            assert index == held[0]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()
