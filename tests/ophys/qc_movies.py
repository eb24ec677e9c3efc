"""Made-up movies as `plane_qc` finds them: files of the steps before it."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd

from sluice.ophys.crosstalk import PairedPlane
from sluice.ophys.masks import make_masks, save_masks
from sluice.ophys.plane import PlaneInfo
from sluice.ophys.plane_qc import plane_qc_file
from sluice.settings import validate_settings
from sluice.synth.plane import make_scene

SETTINGS = validate_settings({})["ophys"]["plane_qc"]
SETTINGS["crosstalk_pairs"] = 200
# The whole field of real tissue changes by some per cent; few cells and little motion, so
# that a movie of 64 px is quick.
QUIET = {
    "seed": 1,
    "n_frames": 800,
    "height": 96,
    "width": 96,
    "n_cells": 12,
    "neuropil_sd": 0.03,
    "motion_px": 1.0,
}


def scene_of(**changed):
    return make_scene(**{**QUIET, **changed})


def plane_info(frames, *, rate_hz=10.0, scale=1.0, offset=0.0, decay_s=0.7, name="S FOV_00"):
    return PlaneInfo(name, *frames.shape, rate_hz, 1.0, "GCaMP6s", decay_s, scale, offset, "int16")


def registered_frames(frames, shifts_px):
    """Move each frame back by its shift, rounded, as rigid registration does."""
    moves = -np.rint(shifts_px).astype(int)
    return np.stack([np.roll(f, m, (0, 1)) for f, m in zip(frames, moves, strict=True)])


def write_plane(
    folder,
    frames,
    *,
    shifts_px=None,
    info=None,
    level=np.inf,
    masks=(),
    is_missing=None,
    is_bad=None,
    time_s=None,
    bidiphase=0,
):
    """Write what import, registration and segmentation of these frames leave behind."""
    folder.mkdir(exist_ok=True, parents=True)
    n = len(frames)
    info = plane_info(frames) if info is None else info
    shifts_px = np.zeros((n, 2)) if shifts_px is None else shifts_px
    is_missing = np.zeros(n, bool) if is_missing is None else is_missing
    is_bad = np.zeros(n, bool) if is_bad is None else is_bad
    registered = registered_frames(frames, shifts_px)
    frames.astype(np.int16).tofile(folder / "movie.bin")
    registered.astype(np.int16).tofile(folder / "registered.bin")
    pd.DataFrame(
        {
            "frame": np.arange(n),
            "time_s": np.arange(n) / info.sampling_rate_hz if time_s is None else time_s,
            "mean": frames.mean(axis=(1, 2)),
            "n_saturated": (frames >= level).sum(axis=(1, 2)),
            "is_missing": is_missing,
        }
    ).to_parquet(folder / "frames.pqt")
    rounded = np.rint(shifts_px)
    pd.DataFrame(
        {
            "y_px": rounded[:, 0],
            "x_px": rounded[:, 1],
            "correlation": 0.1,
            "nonrigid_max_px": 0.0,
            "is_clipped": False,
            "is_bad": is_bad,
        }
    ).to_parquet(folder / "shifts.pqt")
    np.savez(folder / "registration.npz", bidiphase=np.array(bidiphase))
    images = (registered.mean(axis=0), registered.max(axis=0), registered[0])
    np.savez(
        folder / "images.npz",
        **dict(
            zip(
                ("mean", "max", "reference"),
                (i * info.scale + info.offset for i in images),
                strict=True,
            )
        ),
    )
    pixels = [(*np.nonzero(m), np.ones(np.count_nonzero(m))) for m in masks]
    save_masks(make_masks(pixels, info.height, info.width), folder / "masks.npz")
    np.save(folder / "dff.npy", np.zeros((len(pixels), n), np.float32))
    return info


def write_scene(folder, scene, **changed):
    frames = scene.frames()
    return write_plane(
        folder,
        frames,
        info=plane_info(frames, rate_hz=scene.sampling_rate_hz),
        shifts_px=scene.shifts_px,
        level=scene.settings.ceiling,
        masks=scene.masks >= 0.5,
        **changed,
    )


def paired_plane(folder, info):
    return PairedPlane(folder / "movie.bin", info, np.zeros(info.n_frames, bool))


def run_qc(folder, info, *, settings=SETTINGS, **given):
    """Run the step on a folder of `write_plane`; return checks and metrics."""
    out = {
        "checks": folder / "checks.json",
        "metrics": folder / "metrics.json",
        "figure": folder / "plane_qc.png",
    }
    plane_qc_file(
        registered=folder / "registered.bin",
        movie=folder / "movie.bin",
        frames=folder / "frames.pqt",
        info=info,
        shifts=folder / "shifts.pqt",
        registration=folder / "registration.npz",
        images=folder / "images.npz",
        masks=folder / "masks.npz",
        dff=folder / "dff.npy",
        settings=settings,
        name=info.name,
        **out,
        **given,
    )
    checks = {c["name"]: c for c in json.loads(out["checks"].read_text())}
    return SimpleNamespace(checks=checks, metrics=json.loads(out["metrics"].read_text()))
