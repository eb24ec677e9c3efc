"""Writes the imaging of a made-up session: raw files, and the truth beside them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.synth import plane_activity
from sluice.synth.plane import make_scene
from sluice.synth.plane_files import write_imaging
from sluice.synth.plane_tissue import ROI_LEVEL

_CELL_COLUMNS = [
    "cell",
    "cell_id",
    "y_px",
    "x_px",
    "z_um",
    "radius_y_px",
    "radius_x_px",
    "n_pixels",
    "is_overlapped",
    "photons",
    "n_events",
    "n_isolated",
]
_SCALARS = (
    "n_frames",
    "height",
    "width",
    "sampling_rate_hz",
    "um_per_pixel",
    "decay_s",
    "rise_s",
    "neuropil_r",
    "photon_gain",
    "offset",
    "read_noise",
    "dtype",
    "bleaching",
    "z_drift_um",
    "n_saturated_px",
    "motion_px",
    "nonrigid_px",
)


@dataclass(frozen=True)
class ImagingSession:
    """What `write_imaging_session` wrote.

    Attributes
    ----------
    name : str
        ``<subject>/<date>/<number>``.
    folder : Path
        ``<raw>/<subject>/<date>/<number>``.
    imaging_folders : list of Path
        ``raw_imaging_data_00`` …, one a field of view.
    truth_folders : dict of str to Path
        Plane's name (``FOV_00``, counted over the session) to the folder of its truth.
    """

    name: str
    folder: Path
    imaging_folders: list
    truth_folders: dict


def make_planes(*, seed=0, n_planes=1, crosstalk=0.0, **plane_settings):
    """Make up planes of one field of view.

    Parameters
    ----------
    seed : int
    n_planes : int
        Each has cells of its own; they move together.
    crosstalk : float
        Part of the light of plane 1 that leaks into plane 0, of 0 into 1, of 3 into 2, …: the
        planes are recorded in pairs. A last one without a partner is left alone.
    **plane_settings
        See `sluice.synth.plane_settings.PlaneSettings`.

    Returns
    -------
    list of PlaneScene
    """
    entropy = seed if isinstance(seed, tuple) else (seed,)
    scenes = [make_scene(seed=(*entropy, k), **plane_settings) for k in range(n_planes)]
    scenes = [scene.moving_like(scenes[0]) for scene in scenes]
    if not crosstalk:
        return scenes
    mixed = list(scenes)
    for first, second in paired(n_planes):
        mixed[first] = scenes[first].with_crosstalk(scenes[second], crosstalk)
        mixed[second] = scenes[second].with_crosstalk(scenes[first], crosstalk)
    return mixed


def paired(n_planes):
    """Say which planes are recorded simultaneously: 0 and 1, 2 and 3 and so on."""
    return [(k, k + 1) for k in range(0, n_planes - 1, 2)]


def write_imaging_session(
    raw, fields, *, subject="SYN001", date="2026-01-15", number="001", **imaging
):
    """Write the raw files of a session's imaging, and its truth.

    Raw files go to ``<raw>/<subject>/<date>/<number>/raw_imaging_data_NN/``, one folder a
    field of view (see `sluice.synth.plane_files.write_imaging`), the truth of each plane to
    ``…/<number>/truth/FOV_NN/`` (see `write_plane_truth`).

    Parameters
    ----------
    raw : path
    fields : list of (list of PlaneScene)
        The planes of each field of view, from above.
    subject, date, number : str
    **imaging
        See `write_imaging`: `format`, `n_files`, `z_stack`, …

    Returns
    -------
    ImagingSession
    """
    folder = Path(raw) / subject / date / number
    imaging_folders, truth_folders = [], {}
    for k, scenes in enumerate(fields):
        imaging_folders.append(folder / f"raw_imaging_data_{k:02d}")
        write_imaging(imaging_folders[-1], scenes, **imaging)
        for plane, scene in enumerate(scenes):
            name = f"FOV_{len(truth_folders):02d}"
            truth_folders[name] = folder / "truth" / name
            write_plane_truth(scene, truth_folders[name], field=k, plane=plane)
    return ImagingSession(f"{subject}/{date}/{number}", folder, imaging_folders, truth_folders)


def write_plane_truth(scene, folder, **more):
    """Write what is true of a plane.

    ``truth.json``
        Settings, and where the tissue lay in this session.
    ``cells.tsv``
        One row a cell: `cell` (0, 1, …), `cell_id` (the same in every session), centre, depth,
        half axes, `n_pixels`, whether it overlaps another, light at rest, number of events and
        of those that no other disturbs.
    ``masks.npz``
        Shapes as CSR: ``indptr``, ``indices`` (``y * width + x``), ``data``, and ``shape``
        (n_cells, height, width). Pixels of a cell are those >= 0.5.
    ``dff.npy``
        float32, shape (n_cells, n_frames).
    ``events.pqt``
        One row an event: `cell`, `frame` of the onset, `amplitude` (dF/F), `is_isolated`: no
        other onset in three decay times before and 1 s after.
    ``shifts.npy``
        float64 pixels, shape (n_frames, 2): y and x.
    ``neuropil.npy``
        float64 photons per pixel, shape (n_cells, n_frames), around each cell.

    Parameters
    ----------
    scene : PlaneScene
    folder : path
        Made if it is not there.
    **more
        Further entries of ``truth.json``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    truth = {**_facts(scene), **more}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    cells_table(scene).to_csv(
        folder / "cells.tsv", sep="\t", index=False, float_format="%.6g", lineterminator="\n"
    )
    cell, pixel = np.nonzero(scene.masks.reshape(scene.n_cells, scene.height * scene.width))
    with (folder / "masks.npz").open("wb") as file:
        np.savez_compressed(
            file,
            indptr=np.searchsorted(cell, np.arange(scene.n_cells + 1)),
            indices=pixel,
            data=scene.masks[scene.masks > 0],
            shape=np.array(scene.masks.shape),
        )
    np.save(folder / "dff.npy", scene.dff)
    events_table(scene).to_parquet(folder / "events.pqt", index=False)
    np.save(folder / "shifts.npy", scene.shifts_px)
    np.save(folder / "neuropil.npy", scene.neuropil_light())


def cells_table(scene):
    """Make the table of a plane's cells; see `write_plane_truth`.

    Returns
    -------
    DataFrame
    """
    pixels = scene.masks >= ROI_LEVEL
    n_cover = pixels.sum(axis=0)
    rows = []
    for k, cell in enumerate(scene.cells):
        isolated = plane_activity.isolated_events(scene.event_frames[k], scene.settings)
        rows.append(
            {
                "cell": k,
                "cell_id": cell.cell_id,
                "y_px": scene.centres_px[k, 0],
                "x_px": scene.centres_px[k, 1],
                "z_um": cell.z_um,
                "radius_y_px": cell.radius_y_px,
                "radius_x_px": cell.radius_x_px,
                "n_pixels": int(pixels[k].sum()),
                "is_overlapped": bool((n_cover[pixels[k]] > 1).any()),
                "photons": cell.photons,
                "n_events": len(isolated),
                "n_isolated": int(isolated.sum()),
            }
        )
    return pd.DataFrame(rows, columns=_CELL_COLUMNS)


def events_table(scene):
    """Make the table of a plane's events; see `write_plane_truth`.

    Returns
    -------
    DataFrame
        Ordered by cell, then frame.
    """
    counts = [len(frames) for frames in scene.event_frames]
    isolated = [plane_activity.isolated_events(f, scene.settings) for f in scene.event_frames]
    return pd.DataFrame(
        {
            "cell": np.repeat(np.arange(scene.n_cells), counts).astype(np.int64),
            "frame": np.concatenate([[], *scene.event_frames]).astype(np.int64),
            "amplitude": np.concatenate([[], *scene.event_amplitudes]).astype(np.float64),
            "is_isolated": np.concatenate([[], *isolated]).astype(bool),
        }
    )


def _facts(scene):
    settings = scene.settings
    level = settings.ceiling
    return {
        "seed": list(settings.entropy),
        **{name: getattr(settings, name) for name in _SCALARS},
        "saturation_level": None if np.isinf(level) else int(level),
        "intensity_steps": [list(step) for step in settings.intensity_steps],
        "missing_frames": sorted(settings.missing_frames),
        "epileptic_frames": scene.epileptic_frames.tolist(),
        "crosstalk": 0.0 if settings.crosstalk is None else settings.crosstalk[1],
        "shift_px": list(scene.pose.shift_px),
        "rotation_deg": scene.pose.rotation_deg,
    }
