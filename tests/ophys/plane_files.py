"""Files of a made-up plane, as the steps before `demix` write them."""

import numpy as np
import pandas as pd

from sluice.ophys.masks import make_masks, save_masks
from sluice.ophys.plane import PlaneInfo


def plane_info(shape, *, scale=1.0, offset=0.0, name="S/FOV_00", rate_hz=10.0):
    n_frames, height, width = shape
    return PlaneInfo(
        name=name,
        n_frames=n_frames,
        height=height,
        width=width,
        sampling_rate_hz=rate_hz,
        um_per_pixel=None,
        indicator="GCaMP6f",
        decay_s=0.7,
        scale=scale,
        offset=offset,
        source_dtype="int16",
    )


def masks_of(images, height, width):
    """Masks of (height, width) images of weights."""
    pixels = []
    for image in images:
        y, x = np.nonzero(image)
        pixels.append((y, x, np.asarray(image, float)[y, x]))
    return make_masks(pixels, height, width)


def disc(height, width, y, x, radius):
    rows, columns = np.mgrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def write_plane(
    folder, movie, masks, *, shifts=None, nonrigid_px=0.0, is_bad=False, is_missing=None, **facts
):
    """Write a plane; return the inputs of `demix_file`."""
    info = plane_info(movie.shape, **facts)
    movie.astype(np.int16).tofile(folder / "registered.bin")
    n_frames = len(movie)
    shifts = np.zeros((n_frames, 2)) if shifts is None else shifts
    is_missing = np.zeros(n_frames, bool) if is_missing is None else is_missing
    table = pd.DataFrame(shifts, columns=["y_px", "x_px"])
    table = table.assign(nonrigid_max_px=nonrigid_px, is_bad=is_bad)
    table.to_parquet(folder / "shifts.pqt")
    pd.DataFrame({"is_missing": is_missing}).to_parquet(folder / "frames.pqt")
    save_masks(masks, folder / "masks.npz")
    return {
        "registered": folder / "registered.bin",
        "frames": folder / "frames.pqt",
        "info": info,
        "masks": folder / "masks.npz",
        "shifts": folder / "shifts.pqt",
    }
