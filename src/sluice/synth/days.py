"""Makes made-up sessions on consecutive days: probes, planes and cameras."""

import datetime
from pathlib import Path

from sluice.synth.camera_project import make_labelled_project
from sluice.synth.camera_session import write_camera_session
from sluice.synth.plane_session import make_planes, paired, write_imaging_session
from sluice.synth.session import make_session

IMAGING_RATE_HZ = 30.0
# How the tissue lies on the following days, against the first.
SHIFT_PX = (5.0, -7.0)
ROTATION_DEG = 1.5
N_GONE, N_NEW = 3, 2
N_Z_STACK = 25
CAMERAS = ("leftCamera", "rightCamera")
# A video begins after the DAQ and ends before it.
CAMERA_MARGIN_S = 1.0
# Exposures that a camera loses, by its number.
LOST_FRAMES = (100,)
# Folder of the labelled project, beside the subjects.
POSE_PROJECT = "pose_project"


def make_days(
    raw,
    *,
    subject="M001",
    date="2026-11-20",
    number="001",
    seed=0,
    n_days=1,
    n_probes=1,
    n_planes=1,
    n_cameras=1,
    duration_s=60.0,
    crosstalk=0.0,
    image_format="tiff",
    plane_settings=None,
    camera_settings=None,
    **probe_settings,
):
    """Write sessions on consecutive days, with their truth.

    The first has the probes and the cameras, and a labelled DeepLabCut project of the animal
    lies in ``<raw>/pose_project``. All have the planes: the tissue lies a little elsewhere each
    day, some cells are gone, and on the second day some are new. With two or more days the table
    ``<raw>/containers.tsv`` says which planes show the same cells.

    Parameters
    ----------
    raw : path
    subject, date, number : str
        Of the first session; the others have the same number on the following dates.
    seed : int
    n_days, n_probes, n_planes, n_cameras : int
        No probes, no planes or no cameras with 0; at most 2 cameras, left and right.
    duration_s : float
        Of every recording.
    crosstalk : float
        Of simultaneously recorded planes; see `make_planes`.
    image_format : str
        See `write_imaging`.
    plane_settings : dict, optional
        See `sluice.synth.plane_settings.PlaneSettings`; at 30 Hz and of `duration_s` if not
        said otherwise.
    camera_settings : dict, optional
        See `write_camera_session`.
    **probe_settings
        See `make_session`.

    Returns
    -------
    list of Path
        Folders of the sessions.
    """
    names = [
        {
            "subject": subject,
            "date": (datetime.date.fromisoformat(date) + datetime.timedelta(day)).isoformat(),
            "number": number,
        }
        for day in range(n_days)
    ]
    if n_probes:
        probes = {"n_probes": n_probes, "duration_s": duration_s, **probe_settings}
        make_session(raw, **names[0], seed=seed, **probes)
    if n_cameras:
        settings = {"duration_s": duration_s - CAMERA_MARGIN_S, "dropped": LOST_FRAMES}
        settings |= camera_settings or {}
        seen = write_camera_session(
            raw, **names[0], cameras=CAMERAS[:n_cameras], seed=seed, **settings
        )
        make_labelled_project(Path(raw) / POSE_PROJECT, seen.scenes[CAMERAS[0]], seed=seed)
    if n_planes:
        settings = {"sampling_rate_hz": IMAGING_RATE_HZ, **(plane_settings or {})}
        settings.setdefault("n_frames", round(duration_s * settings["sampling_rate_hz"]))
        scenes = make_planes(seed=seed, n_planes=n_planes, crosstalk=crosstalk, **settings)
        pairs = paired(n_planes) if crosstalk else ()
        for day, name in enumerate(names):
            shown = [_on_day(scene, day) for scene in scenes]
            files = {"format": image_format, "paired_planes": pairs, "n_z": N_Z_STACK}
            write_imaging_session(raw, [shown], **name, z_stack=True, **files)
        if n_days > 1:
            _write_containers(Path(raw) / "containers.tsv", names, n_planes)
    return [Path(raw, *name.values()) for name in names]


def _on_day(scene, day):
    """See a plane on a later day."""
    if day == 0:
        return scene
    return scene.second_session(
        day,
        shift_px=tuple(day * px for px in SHIFT_PX),
        rotation_deg=day * ROTATION_DEG,
        n_gone=N_GONE,
        # those of later days would lie in the same gaps
        n_new=N_NEW if day == 1 else 0,
    )


def _write_containers(path, names, n_planes):
    lines = ["container\tsession\tplane"]
    for plane in range(n_planes):
        for name in names:
            container = f"{name['subject']}_FOV_{plane:02d}"
            lines.append(f"{container}\t{'/'.join(name.values())}\tFOV_{plane:02d}")
    path.write_text("\n".join(lines) + "\n")
