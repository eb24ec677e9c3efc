"""Images that a made-up movie is mixed from."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from sluice.synth import plane_tissue

_DEEP_LIGHT = 0.7
# Middles of the regions whose neuropil changes by itself, as parts of the height and width.
REGIONS = ((-0.3, -0.3), (-0.3, 0.3), (0.3, -0.3), (0.3, 0.3), (0.0, 0.0))


@dataclass(frozen=True)
class Canvas:
    """Images that a movie is mixed from, larger than the field by the same border all around.

    Attributes
    ----------
    levels : float32 array, shape (n_levels, rows, columns)
        Light at rest of all but the cells, at equally spaced depths; photons per pixel.
    first_z_um, z_step_um : float
        Depth of the first, and from one to the next.
    modes : float32 array, shape (n_modes, rows, columns)
        Light of the neuropil of the whole field and of regions, to be multiplied by its
        relative change.
    indptr, pixels : int64 array
    weights : float32 array
        Shapes of the cells as CSR; columns are pixels of the flat canvas.
    """

    levels: np.ndarray
    first_z_um: float
    z_step_um: float
    modes: np.ndarray
    indptr: np.ndarray
    pixels: np.ndarray
    weights: np.ndarray


def make_canvas(settings, tissue, pose, cells, z_um, *, pad):
    """Draw the images of a plane at some equally spaced depths.

    Parameters
    ----------
    settings : PlaneSettings
    tissue : Tissue
    pose : Pose
    cells : sequence of Cell
    z_um : float array, shape (n_levels,)
    pad : int
        Pixels that the canvas is larger than the field on each side.

    Returns
    -------
    Canvas
    """
    shape = (settings.height + 2 * pad, settings.width + 2 * pad)
    patches = [plane_tissue.cell_patch(cell, pose, shape) for cell in cells]
    taken = plane_tissue.displacement(patches, shape)
    # parts of the height and width from the middle, continued over the border
    y, x = (
        (np.arange(n) - (n - 1) / 2) / size
        for n, size in zip(shape, (settings.height, settings.width), strict=True)
    )
    y, x = y[:, None], x[None, :]
    smooth = settings.neuropil_photons * (1 - 0.4 * (y**2 + x**2))
    smooth = smooth * (1 - (1 - settings.neuropil_r) * taken)
    regions = [np.exp(-0.5 * ((y - y0) ** 2 + (x - x0) ** 2) / 0.4**2) for y0, x0 in REGIONS]
    deep = [(cell, *plane_tissue.cell_patch(cell, pose, shape)) for cell in _visible(tissue, z_um)]
    levels = np.empty((len(z_um), *shape), np.float32)
    for level, z in zip(levels, z_um, strict=True):
        level[:] = smooth * (1 + (1 - taken) * tissue.texture(z, pose, shape))
        for cell, window, patch in deep:
            photons = _DEEP_LIGHT * cell.photons * plane_tissue.axial(z - cell.z_um)
            level[window] += np.float32(photons) * patch
    if settings.n_saturated_px:
        levels += _bright_patch(settings, taken, pad)
    indptr, pixels, weights = _sparse(patches, shape)
    return Canvas(
        levels=levels,
        first_z_um=float(z_um[0]),
        z_step_um=float(z_um[1] - z_um[0]) if len(z_um) > 1 else 1.0,
        modes=np.stack([smooth, *(smooth * region for region in regions)]).astype(np.float32),
        indptr=indptr,
        pixels=pixels,
        weights=weights,
    )


def _visible(tissue, z_um):
    """Deep cells that come near enough to one of the depths to be seen."""
    return [
        cell
        for cell in tissue.deep_cells
        if np.abs(np.asarray(z_um) - cell.z_um).min() < 4 * plane_tissue.AXIAL_SD_UM
    ]


def _bright_patch(settings, taken, pad):
    """Draw a disc far too bright to record, where the fewest cells are."""
    inner = taken[pad : pad + settings.height, pad : pad + settings.width]
    radius = np.sqrt(settings.n_saturated_px / np.pi)
    reach = int(np.ceil(radius)) + 1
    free = gaussian_filter(inner, radius)
    free[:reach] = free[-reach:] = np.inf
    free[:, :reach] = free[:, -reach:] = np.inf
    y0, x0 = np.unravel_index(np.argmin(free), free.shape)
    y, x = np.indices(taken.shape)
    distance = np.hypot(y - y0 - pad, x - x0 - pad)
    # exactly as many pixels as asked for
    disc = np.zeros(taken.size, np.float32)
    disc[np.argsort(distance, axis=None, kind="stable")[: settings.n_saturated_px]] = 1
    # what a float movie cannot saturate at is as bright as in uint16
    level = min(settings.ceiling, 65535)
    photons = 1.5 * (level - settings.offset) / settings.photon_gain
    return np.float32(photons) * disc.reshape(taken.shape)


def draw_shapes(cells, pose, shape):
    """Draw the shapes of all cells.

    Parameters
    ----------
    cells : sequence of Cell
    pose : Pose
    shape : (int, int)
        Rows and columns of the images.

    Returns
    -------
    float32 array, shape (n_cells, rows, columns)
    """
    shapes = np.zeros((len(cells), *shape), np.float32)
    for image, cell in zip(shapes, cells, strict=True):
        window, patch = plane_tissue.cell_patch(cell, pose, shape)
        image[window] = patch
    return shapes


def _sparse(patches, shape):
    """Turn patches into CSR over the flat canvas: indptr, pixels, weights."""
    pixels, weights = [], []
    for (rows, columns), patch in patches:
        y, x = np.nonzero(patch)
        pixels.append((y + rows.start) * shape[1] + x + columns.start)
        weights.append(patch[y, x])
    indptr = np.cumsum([0, *(len(p) for p in pixels)])
    flat = (np.concatenate(parts) if parts else np.zeros(0) for parts in (pixels, weights))
    return tuple(
        array.astype(dtype)
        for array, dtype in zip((indptr, *flat), (np.int64, np.int64, np.float32), strict=True)
    )
