"""Which session has come how far: done, running, to do, failed, left out."""

import json
import os
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sluice.record import load_records, records_path, shared_folders

PROBE_STEPS = ("check_probe", "preprocess_probe", "extract_lfp")
SORTER_STEPS = ("sort_spikes", "clean_units", "unit_waveforms", "unit_metrics", "export_alf")
PLANE_STEPS = (
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
)
CAMERA_STEPS = ("compress_video", "camera_times", "motion_energy", "camera_qc")
# Outputs the rules mark temporary: a job whose others are there is done without them.
TEMPORARY = {"traces", "movie", "registered"}
STEPS = (
    "check_probe",
    "preprocess_probe",
    *SORTER_STEPS,
    "compare_sorters",
    "extract_lfp",
    *PLANE_STEPS,
    "export_suite2p",
    "match_cells",
    "train_pose",
    "compress_video",
    "camera_times",
    "track_pose",
    "pupil",
    "tongue_licks",
    "motion_energy",
    "camera_qc",
)


@dataclass(frozen=True)
class JobState:
    """State of one job: done, running, failed or to do, with its log and message."""

    name: str
    step: str
    state: str
    log: Path
    message: str = ""


def expected_jobs(plan, settings):
    """Yield (owner, step, wildcards) of every job the settings ask for.

    The owner is the session, or the container or pose model that several share.
    """
    sorters = list(settings["ephys"]["sort_spikes"]["sorters"])
    for session, probe in plan.probes:
        for step in PROBE_STEPS:
            yield session, step, {"session": session, "probe": probe}
        for sorter in sorters:
            for step in SORTER_STEPS:
                yield session, step, {"session": session, "probe": probe, "sorter": sorter}
        if len(sorters) > 1:
            yield session, "compare_sorters", {"session": session, "probe": probe}
    keeps_suite2p = settings["ophys"]["segment_plane"]["keep_suite2p_folder"]
    for session, plane in plan.planes:
        for step in [*PLANE_STEPS, *["export_suite2p"] * keeps_suite2p]:
            yield session, step, {"session": session, "plane": plane}
    for container in plan.containers:
        yield f"container {container}", "match_cells", {"container": container}
    yield from _video_jobs(plan, settings["video"])


def _video_jobs(plan, settings):
    """Jobs of cameras and of the pose models they use."""
    asked = {
        "track_pose": settings["track_pose"]["cameras"],
        "pupil": settings["pupil"]["cameras"],
        "tongue_licks": settings["tongue_licks"]["cameras"],
    }
    licked, models = set(), set()
    for session, camera in plan.cameras:
        key = {"session": session, "camera": camera}
        for step in CAMERA_STEPS:
            yield session, step, key
        for step in ("track_pose", "pupil"):
            if camera in asked[step]:
                yield session, step, key
        if camera in asked["tongue_licks"]:
            licked.add(session)
        if camera in asked["track_pose"]:
            models.add(asked["track_pose"][camera])
    for session in sorted(licked):
        yield session, "tongue_licks", {"session": session}
    for model in sorted(models):
        if not settings["pose_models"][model]["snapshot"]:
            yield f"pose model {model}", "train_pose", {"model": model}


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
        By session, container and pose model.
    """
    results = Path(settings["results"])
    states = {session: [] for session in plan.sessions}
    recorded = {}
    for owner, step, wildcards in expected_jobs(plan, settings):
        path = records_path(results, wildcards)
        if path not in recorded:
            recorded[path] = {r["job"]: r for r in load_records(path)}
        name = " ".join([*wildcards.values(), step])
        folders = wildcards.values() if "session" in wildcards else shared_folders(wildcards)
        log = results.joinpath("logs", *folders, f"{step}.log")
        temporary = _temporary(recorded[path].values())
        state, message = _state(recorded[path].get(name), log, results, temporary)
        states.setdefault(owner, []).append(JobState(name, step, state, log, message))
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
    if plan.left_out or plan.unmatched:
        lines += ["", "left out:"]
        lines += [f"  {s.session} {s.name}: {why}" for s, why in plan.left_out]
        lines += [f"  container {name}: {why}" for name, why in plan.unmatched]
    return "\n".join(lines)


def _cell(states):
    """Sum up one step of one session: one word, with counts where jobs differ."""
    counts = Counter(states)
    if len(counts) <= 1:
        return next(iter(counts), "-")
    return ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))


def _state(job_record, log, results, temporary=frozenset()):
    """State of one job and its message; `temporary` are paths that need not be there."""
    marker = log.with_suffix(".state.json")
    if marker.exists():
        noted = json.loads(marker.read_text())
        if noted["state"] == "failed":
            return "failed", noted["message"]
        if _is_alive(noted):
            return "running", f"since {noted['started']} on {noted['host']}"
        return "to do", "was killed; runs again"
    if job_record:
        lasting = [o["path"] for o in job_record["outputs"] if o["name"] not in TEMPORARY]
        # of what other jobs made: gone when one of them failed since
        made = [i["path"] for i in job_record["inputs"] if not Path(i["path"]).is_absolute()]
        needed = {*lasting, *made} - temporary
        if all((results / path).exists() for path in needed):
            return "done", ""
    return "to do", ""


def _temporary(records):
    """Paths of outputs that the rules mark temporary."""
    outputs = [o for record in records for o in record["outputs"]]
    return {o["path"] for o in outputs if o["name"] in TEMPORARY}


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
