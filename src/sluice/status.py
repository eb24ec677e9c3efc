"""Which session has come how far: done, running, to do, failed, left out."""

import json
import os
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sluice.record import load_records

PROBE_STEPS = ("check_probe", "preprocess_probe", "extract_lfp")
SORTER_STEPS = ("sort_spikes", "clean_units", "unit_waveforms", "unit_metrics", "export_alf")
STEPS = ("check_probe", "preprocess_probe", *SORTER_STEPS, "compare_sorters", "extract_lfp")


@dataclass(frozen=True)
class JobState:
    """State of one job: done, running, failed or to do, with its log and message."""

    name: str
    step: str
    state: str
    log: Path
    message: str = ""


def expected_jobs(session, probe, sorters):
    """Yield (step, wildcards) of every job the settings ask for on one probe."""
    for step in PROBE_STEPS:
        yield step, (session, probe)
    for sorter in sorters:
        for step in SORTER_STEPS:
            yield step, (session, probe, sorter)
    if len(sorters) > 1:
        yield "compare_sorters", (session, probe)


def job_states(plan, settings):
    """State of every job of the plan, from the records, the files and the logs.

    Parameters
    ----------
    plan : sluice.plan.Plan
    settings : dict
        Validated settings.

    Returns
    -------
    dict of str to list of JobState
        By session.
    """
    results = Path(settings["results"])
    sorters = list(settings["ephys"]["sort_spikes"]["sorters"])
    states = {session: [] for session in plan.sessions}
    for session, probe in plan.probes:
        recorded = {
            r["job"]: r
            for r in load_records(results / "derived" / session / "_sluice_run.records.jsonl")
        }
        for step, parts in expected_jobs(session, probe, sorters):
            name = " ".join([*parts, step])
            log = results.joinpath("logs", *parts, f"{step}.log")
            state, message = _state(recorded.get(name), log, results)
            states[session].append(JobState(name, step, state, log, message))
    return states


def format_status(plan, settings):
    """Table of sessions by steps, then every failed job with its log, then what is left out."""
    states = job_states(plan, settings)
    steps = [s for s in STEPS if any(j.step == s for jobs in states.values() for j in jobs)]
    rows = [["session", *steps]]
    for session, jobs in states.items():
        rows.append([session, *(_cell([j.state for j in jobs if j.step == s]) for s in steps)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    failed = [j for jobs in states.values() for j in jobs if j.state == "failed"]
    if failed:
        lines += ["", "failed:"]
        lines += [f"  {j.name}: {j.message}\n    log: {j.log}" for j in failed]
    if plan.left_out:
        lines += ["", "left out:"]
        lines += [f"  {s.session} {s.name}: {why}" for s, why in plan.left_out]
    return "\n".join(lines)


def _cell(states):
    """Sum up one step of one session: one word, with counts where jobs differ."""
    counts = Counter(states)
    if len(counts) <= 1:
        return next(iter(counts), "-")
    return ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))


def _state(job_record, log, results):
    """State of one job and its message."""
    marker = log.with_suffix(".state.json")
    if marker.exists():
        noted = json.loads(marker.read_text())
        if noted["state"] == "failed":
            return "failed", noted["message"]
        if _is_alive(noted):
            return "running", f"since {noted['started']} on {noted['host']}"
        return "to do", "was killed; runs again"
    if job_record and all((results / o["path"]).exists() for o in job_record["outputs"]):
        return "done", ""
    return "to do", ""


def _is_alive(noted):
    """Tell whether the process still runs; on another machine it is taken to."""
    if noted["host"] != socket.gethostname():
        return True
    try:
        os.kill(noted["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
