"""Made-up planes on disk, and the two steps that turn them into ROIs."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from sluice.ophys.masks import load_masks
from sluice.ophys.plane import PlaneInfo
from sluice.ophys.register_plane import register_plane_file
from sluice.ophys.segment_plane import segment_plane_file
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ophys"]
NAME = "M001/2026-11-20/001 FOV_00"


def plane_info(shape, rate_hz=10.0, **changed):
    facts = {
        "name": NAME,
        "n_frames": shape[0],
        "height": shape[1],
        "width": shape[2],
        "sampling_rate_hz": rate_hz,
        "um_per_pixel": 1.0,
        "indicator": "GCaMP6f",
        "decay_s": 0.7,
        "scale": 1.0,
        "offset": 0.0,
        "source_dtype": "int16",
    }
    return PlaneInfo(**{**facts, **changed})


def write_movie(folder, frames, missing=(), **facts):
    """Write ``movie.bin`` and ``frames.pqt``; return the PlaneInfo."""
    folder.mkdir(parents=True, exist_ok=True)
    frames.astype(np.int16).tofile(folder / "movie.bin")
    is_missing = np.zeros(len(frames), bool)
    is_missing[list(missing)] = True
    table = pd.DataFrame({"frame": np.arange(len(frames)), "is_missing": is_missing})
    table.to_parquet(folder / "frames.pqt", index=False)
    return plane_info(frames.shape, **facts)


def checks_of(path):
    return {c["name"]: c for c in json.loads(Path(path).read_text())}


def register(folder, info, **changed):
    """Run `register_plane_file`; return everything it wrote."""
    register_plane_file(
        movie=folder / "movie.bin",
        info=info,
        frames=folder / "frames.pqt",
        registered=folder / "registered.bin",
        shifts=folder / "shifts.pqt",
        images=folder / "images.npz",
        registration=folder / "registration.npz",
        checks=folder / "register_checks.json",
        figure=folder / "register_plane.png",
        settings={**SETTINGS["register_plane"], **changed},
        device="cpu",
    )
    table = pd.read_parquet(folder / "shifts.pqt")
    return SimpleNamespace(
        table=table,
        shifts_px=table[["y_px", "x_px"]].to_numpy(),
        movie=np.fromfile(folder / "registered.bin", np.int16).reshape(info.shape),
        images=dict(np.load(folder / "images.npz")),
        registration=dict(np.load(folder / "registration.npz")),
        checks=checks_of(folder / "register_checks.json"),
    )


def segment(folder, info, **changed):
    """Run `segment_plane_file` on what `register` wrote; return everything it wrote."""
    segment_plane_file(
        registered=folder / "registered.bin",
        info=info,
        registration=folder / "registration.npz",
        images=folder / "images.npz",
        rois=folder / "rois.pqt",
        masks=folder / "masks.npz",
        stat=folder / "stat.npy",
        detection=folder / "detection.npz",
        checks=folder / "segment_checks.json",
        figure=folder / "segment_plane.png",
        settings={**SETTINGS["segment_plane"], **changed},
        device="cpu",
    )
    return SimpleNamespace(
        table=pd.read_parquet(folder / "rois.pqt"),
        masks=load_masks(folder / "masks.npz"),
        stat=np.load(folder / "stat.npy", allow_pickle=True),
        detection=dict(np.load(folder / "detection.npz")),
        checks=checks_of(folder / "segment_checks.json"),
    )


def write_still(folder, frames, missing=(), **facts):
    """Write a movie that needs no registration as `register` would; return the PlaneInfo."""
    info = write_movie(folder, frames, missing, **facts)
    frames.astype(np.int16).tofile(folder / "registered.bin")
    n, height, width = frames.shape
    is_bad = np.zeros(n, bool)
    is_bad[list(missing)] = True
    np.savez(
        folder / "registration.npz",
        yrange=np.array([0, height]),
        xrange=np.array([0, width]),
        is_bad=is_bad,
        is_missing=is_bad,
        yoff=np.zeros(n, np.int64),
        xoff=np.zeros(n, np.int64),
        yoff1=np.zeros((n, 0), np.float32),
        xoff1=np.zeros((n, 0), np.float32),
        block_size=np.array([64, 64]),
        bidiphase=np.array(0),
        corrXY=np.ones(n),
    )
    mean = frames[~is_bad].mean(axis=0).astype(np.float32)
    np.savez(folder / "images.npz", mean=mean, max=mean, reference=mean)
    return info
