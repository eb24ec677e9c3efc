"""Kill -9 in the middle of any step, run again: the results equal an undisturbed run."""

import json
import os
import signal
import subprocess
import time
from datetime import datetime

import pytest
from lab import SESSION
from results import hashes

STEPS = [
    "check_probe",
    "preprocess_probe",
    "sort_spikes",
    "clean_units",
    "unit_waveforms",
    "unit_metrics",
    "extract_lfp",
    "export_alf",
]


def seconds(lab, step):
    """How long a step took in a finished lab, by its record."""
    records = lab.results / "derived" / SESSION / "_sluice_run.records.jsonl"
    record = next(r for r in map(json.loads, records.read_text().splitlines()) if r["step"] == step)
    start, end = (datetime.fromisoformat(record[key]) for key in ("start", "end"))
    return (end - start).total_seconds()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_then_run_again(finished, finished_copy, step):
    """The step is forced to run, killed half way with everything around it, and run again."""
    lab = finished_copy
    process = subprocess.Popen(
        lab.command("--cores", 2, "--forcerun", step),
        cwd=lab.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (states := list((lab.results / "logs").rglob(f"{step}.state.json"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    time.sleep(seconds(finished, step) / 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert states[0].exists(), "the step was over before it was killed"
    assert lab.snakemake("--unlock").returncode == 0
    lab.run()
    assert hashes(lab.results) == hashes(finished.results)
    assert not list(lab.results.rglob(".part-*"))
    assert not list(lab.results.rglob("*.state.json"))
