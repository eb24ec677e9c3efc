"""The job wrapper, in a real Snakemake run of a small workflow."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SNAKEFILE = """
import sys
sys.path.insert(0, {src!r})
configfile: "config.yaml"
rule step:
    input: raw="raw.txt"
    output:
        first="results/made/{{session}}/first.txt",
        folder=directory("results/made/{{session}}/folder"),
        checks="results/made/{{session}}/checks.json",
    log: "results/logs/{{session}}/step.log"
    params: settings=dict(factor=2), code="abc"
    wildcard_constraints: session=".+"
    script: "step.py"
"""
SCRIPT = """
import logging, os, subprocess, sys, time
from pathlib import Path
from sluice.errors import UserError
from sluice.job import job
from sluice.qc import check, save_checks

with job(snakemake) as step:
    print("from python", flush=True)
    logging.getLogger("sluice.ephys.step").info("from the log")
    subprocess.run(["echo", "from a child"])
    Path(step.output.first).write_text(Path(step.input.raw).read_text() * 2)
    Path(step.output.folder).mkdir()
    Path(step.output.folder, "inside.txt").write_text("x")
    save_checks([check("factor", 2, warning=1, fail=3)], step.output.checks)
    {body}
"""
SESSION = "M001/2026-11-20/001"


class Workflow:
    """A one-rule workflow in a folder; `body` runs at the end of its job."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "Snakefile").write_text(SNAKEFILE.format(src=str(ROOT / "src")))
        (folder / "config.yaml").write_text("results: results\n")
        (folder / "raw.txt").write_text("raw")
        self.work = folder / "results/made" / SESSION
        self.log = folder / "results/logs" / SESSION / "step.log"
        self.state = self.log.with_suffix(".state.json")
        self.records = folder / "results/derived" / SESSION / "_sluice_run.records.jsonl"

    def command(self, body):
        (self.folder / "step.py").write_text(SCRIPT.format(body=body))
        target = self.work.relative_to(self.folder) / "first.txt"
        return [sys.executable, "-m", "snakemake", "-c1", "--rerun-incomplete", str(target)]

    def run(self, body="pass", **kwargs):
        return subprocess.run(
            self.command(body), cwd=self.folder, capture_output=True, text=True, **kwargs
        )

    def left_behind(self):
        return sorted(p.name for p in self.work.rglob("*") if p.name != ".snakemake_timestamp")


@pytest.fixture
def workflow(tmp_path):
    return Workflow(tmp_path)


def test_outputs_record_and_log(workflow):
    run = workflow.run()
    assert run.returncode == 0, run.stderr
    assert workflow.left_behind() == ["checks.json", "first.txt", "folder", "inside.txt"]
    assert workflow.log.read_text() == "from python\nfrom the log\nfrom a child\n"
    assert not workflow.state.exists()
    (record,) = map(json.loads, workflow.records.read_text().splitlines())
    assert record["job"] == f"{SESSION} step"
    assert record["settings"] == {"settings": {"factor": 2}}
    (raw,) = record["inputs"]
    assert raw["sha256"] == hashlib.sha256(b"raw").hexdigest()
    first = next(o for o in record["outputs"] if o["name"] == "first")
    assert first["path"] == f"made/{SESSION}/first.txt"
    assert first["md5"] == hashlib.md5(b"rawraw").hexdigest()
    assert [c["verdict"] for c in record["checks"]] == ["WARNING"]
    assert record["peak_memory_bytes"] > 1e6
    assert record["code"]["packages"]["numpy"]


def test_a_second_run_replaces_the_record(workflow):
    workflow.run()
    (workflow.folder / "raw.txt").write_text("new")
    assert workflow.run().returncode == 0
    (record,) = map(json.loads, workflow.records.read_text().splitlines())
    assert record["inputs"][0]["sha256"] == hashlib.sha256(b"new").hexdigest()


def test_a_users_mistake_shows_no_traceback(workflow):
    run = workflow.run('raise UserError("raw.txt: found 3 bytes, expected 4; copy it again")')
    assert run.returncode != 0
    message = f"{SESSION} step: raw.txt: found 3 bytes, expected 4; copy it again"
    assert message in run.stderr
    assert "results/logs" in run.stderr
    assert "Traceback" not in workflow.log.read_text()
    assert message in workflow.log.read_text()
    assert workflow.left_behind() == []
    assert json.loads(workflow.state.read_text())["state"] == "failed"
    assert not workflow.records.exists()


def test_our_mistake_shows_its_traceback_in_the_log(workflow):
    run = workflow.run("1 / 0")
    assert run.returncode != 0
    assert "ZeroDivisionError: division by zero" in run.stderr
    assert "Traceback" in workflow.log.read_text()
    assert workflow.left_behind() == []


def test_an_output_that_was_not_written(workflow):
    run = workflow.run("Path(step.output.first).unlink()")
    assert "did not write its output first.txt" in run.stderr
    assert workflow.left_behind() == []


def test_a_full_disk(workflow):
    """A limit on file size stands for the full disk: the message names file and remedy."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    run = workflow.run('open(step.output.first, "wb").write(bytes(1_000_000))', preexec_fn=limit)
    assert run.returncode != 0
    assert "Make room or change `results`" in run.stderr
    assert "Traceback" not in workflow.log.read_text()
    assert workflow.left_behind() == []
    assert (workflow.folder / "raw.txt").read_text() == "raw"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_in_the_middle_then_run_again(workflow, number):
    """After a kill nothing stands under an output's name, and the next run completes."""
    process = subprocess.Popen(
        workflow.command("time.sleep(60)"),
        cwd=workflow.folder,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (workflow.work / ".part-step/checks.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        job = json.loads(workflow.state.read_text())["pid"]
        os.kill(job, number)
    process.wait()
    assert not (workflow.work / "first.txt").exists()
    if number == signal.SIGTERM:
        assert workflow.left_behind() == []
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--unlock"], cwd=workflow.folder, capture_output=True
    )
    run = workflow.run()
    assert run.returncode == 0, run.stderr
    assert workflow.left_behind() == ["checks.json", "first.txt", "folder", "inside.txt"]
    assert (workflow.work / "first.txt").read_text() == "rawraw"


@pytest.mark.parametrize("before", ["import cv2\n", ""])
def test_opencv_uses_the_cores_of_the_job(workflow, monkeypatch, before):
    """Whether a step loads it before its job begins or later."""
    monkeypatch.setitem(globals(), "SCRIPT", before + SCRIPT)
    run = workflow.run("import cv2; print('cores', cv2.getNumThreads())")
    assert run.returncode == 0, run.stderr
    assert "cores 1" in workflow.log.read_text()
