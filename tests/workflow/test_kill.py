"""Kill -9 in the middle of any step, run again: the results equal an undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import datetime

import pytest
from lab import SESSION, copy_of
from results import hashes

STEPS = {
    "finished": [
        "check_probe",
        "preprocess_probe",
        "sort_spikes",
        "clean_units",
        "unit_waveforms",
        "unit_metrics",
        "extract_lfp",
        "export_alf",
    ],
    "finished_planes": [
        "import_plane",
        "register_plane",
        "segment_plane",
        "demix",
        "neuropil",
        "dff",
        "events",
        "label_rois",
        "plane_qc",
        "export_alf_plane",
    ],
    "finished_cameras": [
        "compress_video",
        "track_pose",
        "motion_energy",
    ],
}


def records(lab):
    path = lab.results / "derived" / SESSION / "_sluice_run.records.jsonl"
    return {r["step"]: r for r in map(json.loads, path.read_text().splitlines())}


def go_back_before(lab, step):
    """Take the lab back to where the step and all that follow from it have not run."""
    follow = {step}
    for name, record in records(lab).items():  # in the order of running
        made = {o["path"] for s in follow for o in records(lab)[s]["outputs"]}
        if made & {i["path"] for i in record["inputs"]}:
            follow.add(name)
    for name in follow:
        for output in records(lab)[name]["outputs"]:
            path = lab.results / output["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def kill_in(lab, step, after_s):
    """Kill a run some time after the step began; tell whether the step was still running."""
    process = subprocess.Popen(
        lab.command("--cores", 2),
        cwd=lab.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (states := list((lab.results / "logs").rglob(f"{step}.state.json"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert lab.snakemake("--unlock").returncode == 0
    return states[0].exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "step"), [(state, step) for state, steps in STEPS.items() for step in steps]
)
def test_killed_then_run_again(request, tmp_path, state, step):
    """The step is killed half way with everything around it, and the run repeated."""
    finished = request.getfixturevalue(state)
    lab = copy_of(finished, tmp_path)
    record = records(lab)[step]
    start, end = (datetime.fromisoformat(record[key]) for key in ("start", "end"))
    # on a machine that is less busy now than it was then, the step is over sooner
    for part in (3, 10, 100):
        go_back_before(lab, step)
        if kill_in(lab, step, (end - start).total_seconds() / part):
            break
    else:
        pytest.fail("the step was over before it was killed")
    lab.run()
    assert hashes(lab.results) == hashes(finished.results)
    assert not list(lab.results.rglob(".part-*"))
    assert not list(lab.results.rglob("*.state.json"))
