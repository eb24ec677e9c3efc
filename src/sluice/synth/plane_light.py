"""Renders the light of a made-up imaging plane, frame by frame, and records it."""

import numpy as np
from numba import njit


def record(light, settings, rng):
    """Turn expected photons into a recorded image.

    Parameters
    ----------
    light : float32 array, shape (height, width)
        Photons expected in each pixel.
    settings : PlaneSettings
    rng : Generator

    Returns
    -------
    array of ``settings.dtype``, shape (height, width)
    """
    value = rng.poisson(light) * settings.photon_gain + settings.offset
    if settings.read_noise:
        value += settings.read_noise * rng.standard_normal(light.shape, dtype=np.float32)
    dtype = np.dtype(settings.dtype)
    if dtype.kind in "iu":
        value = np.clip(np.rint(value), np.iinfo(dtype).min, None)
    return np.minimum(value, settings.ceiling).astype(dtype)


@njit(cache=True, nogil=True)
def render_light(
    levels,
    level,
    level_fraction,
    modes,
    mode_traces,
    indptr,
    pixels,
    weights,
    cell_light,
    factor,
    shift_y,
    shift_x,
    out,
):
    """Add up a plane's light on a canvas larger than the field, and read it where it moved to.

    A value between the pixels is read by cubic convolution (Keys 1981, a = -1/2): third order,
    exact at whole pixels.

    Parameters
    ----------
    levels : float32 array, shape (n_levels, rows, columns)
        Resting light of all but the cells at equally spaced depths.
    level, level_fraction : int64 and float32 array, shape (n_frames,)
        Depth of a frame: so far from `level` to the next.
    modes : float32 array, shape (n_modes, rows, columns)
    mode_traces : float32 array, shape (n_frames, n_modes)
        Changing light: the sum of modes times traces.
    indptr, pixels, weights : int64, int64 and float32 arrays
        Shapes of the cells as CSR on the flat canvas.
    cell_light : float32 array, shape (n_frames, n_cells)
    factor : float32 array, shape (n_frames,)
        All light is multiplied by it.
    shift_y, shift_x : float64 array, shape (n_frames, height)
        How far the content of each row of a frame lies from its place.
    out : float32 array, shape (n_frames, height, width)
        Filled with photons per pixel and frame, none negative.
    """
    n_frames, height, width = out.shape
    rows, columns = levels.shape[1:]
    pad_y, pad_x = (rows - height) // 2, (columns - width) // 2
    canvas = np.empty(rows * columns, np.float32)
    row = np.empty(columns, np.float32)
    flat_levels = levels.reshape(levels.shape[0], rows * columns)
    flat_modes = modes.reshape(modes.shape[0], rows * columns)
    for t in range(n_frames):
        low = flat_levels[level[t]]
        high = flat_levels[min(level[t] + 1, levels.shape[0] - 1)]
        part = level_fraction[t]
        for p in range(canvas.size):
            canvas[p] = low[p] + part * (high[p] - low[p])
        for k in range(modes.shape[0]):
            mode, value = flat_modes[k], mode_traces[t, k]
            for p in range(canvas.size):
                canvas[p] += value * mode[p]
        for c in range(cell_light.shape[1]):
            value = cell_light[t, c]
            for j in range(indptr[c], indptr[c + 1]):
                canvas[pixels[j]] += value * weights[j]
        for y in range(height):
            y_from = y + pad_y - shift_y[t, y]
            x_from = pad_x - shift_x[t, y]
            y_first, x_first = int(np.floor(y_from)), int(np.floor(x_from))
            a, b, c_, d = _cubic(y_from - y_first)
            top = (y_first - 1) * columns
            for x in range(columns):
                p = top + x
                row[x] = (
                    a * canvas[p]
                    + b * canvas[p + columns]
                    + c_ * canvas[p + 2 * columns]
                    + d * canvas[p + 3 * columns]
                )
            a, b, c_, d = _cubic(x_from - x_first)
            for x in range(width):
                p = x + x_first - 1
                value = a * row[p] + b * row[p + 1] + c_ * row[p + 2] + d * row[p + 3]
                out[t, y, x] = max(value * factor[t], np.float32(0))


@njit(cache=True, nogil=True)
def _cubic(x):
    """Weights of the four samples around a point `x` after the second; their sum is 1."""
    x = np.float32(x)
    half = np.float32(0.5)
    square = x * x
    cube = square * x
    return (
        half * (-cube + 2 * square - x),
        half * (3 * cube - 5 * square + 2),
        half * (-3 * cube + 4 * square + x),
        half * (cube - square),
    )
