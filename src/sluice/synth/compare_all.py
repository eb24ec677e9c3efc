"""Compares everything the workflow made of made-up sessions with the truth."""

from pathlib import Path

import pandas as pd

from sluice.errors import InputError
from sluice.synth.compare import compare_session, format_comparison
from sluice.synth.compare_camera import compare_camera_files, format_camera_comparison
from sluice.synth.compare_cells import compare_cells, format_cells_comparison
from sluice.synth.compare_plane import compare_plane_files, format_plane_comparison


def compare_all(raw, settings, plan):
    """Compare probes, planes, cameras and containers with the truth.

    Parameters
    ----------
    raw : path
        Folder that `make_days` wrote to.
    settings : dict
        Validated settings.
    plan : sluice.plan.Plan

    Returns
    -------
    passed : bool
    text : str
        For a person.

    Raises
    ------
    InputError
        A session is not a made-up one, or the workflow has not finished it.
    """
    results = Path(settings["results"])
    parts = []
    for session in plan.sessions:
        if not (Path(raw) / session / "truth").is_dir():
            raise InputError(
                f"{Path(raw) / session / 'truth'}: no truth found; only sessions made by "
                "`sluice synth` can be compared"
            )
    for session in dict.fromkeys(session for session, _ in plan.probes):
        for sorter in settings["ephys"]["sort_spikes"]["sorters"]:
            comparison = compare_session(raw, results, session, sorter)
            parts.append((comparison.summary["passed"], format_comparison(comparison)))
    true_cells = {}
    for session, plane in plan.planes:
        comparison = compare_plane_files(
            Path(raw) / session / "truth" / plane,
            results / "work" / session / plane,
            name=f"{session} {plane}",
        )
        true_cells[session, plane] = comparison.cells
        parts.append((comparison.summary["passed"], format_plane_comparison(comparison)))
    for session, camera in plan.cameras:
        comparison = compare_camera_files(
            Path(raw) / session / "truth" / camera,
            results,
            session,
            camera,
            required=_asked_of(camera, settings["video"]),
        )
        parts.append((comparison.summary["passed"], format_camera_comparison(comparison)))
    for container, members in plan.containers.items():
        table = results / "derived" / "containers" / container / "_sluice_cells.table.pqt"
        if not table.is_file():
            raise InputError(f"{table}: not found. Has the workflow finished it?")
        comparison = compare_cells(
            pd.read_parquet(table),
            {member: true_cells[member] for member in members},
            container=container,
        )
        parts.append((comparison.summary["passed"], format_cells_comparison(comparison)))
    return all(passed for passed, _ in parts), "\n\n".join(text for _, text in parts)


def _asked_of(camera, video):
    """What the settings ask of a camera beyond its video and times."""
    asked = {
        "pose": video["track_pose"]["cameras"],
        "pupil": video["pupil"]["cameras"],
        "licks": video["tongue_licks"]["cameras"],
    }
    return [what for what, cameras in asked.items() if camera in cameras]
