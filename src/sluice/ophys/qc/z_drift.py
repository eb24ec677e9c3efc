"""Drift along z: where in a z-stack the movie lies, from start to end."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from sluice.errors import InputError


@dataclass(frozen=True)
class ZDrift:
    """Where in the z-stack the movie lies over time.

    Attributes
    ----------
    drift_um : float or None
        From start to end, positive towards later planes; None where not measured.
    range_um : float or None
        Largest minus smallest depth over the blocks; None where not measured.
    correlation : float64 array, shape (n_blocks + 2, n_planes)
        Of the blocks, then of the start and the end, with each plane.
    position : float64 array, shape (n_blocks + 2,)
        Plane of the best match, between planes too; NaN where nothing matches.
    peak : float64 array, shape (n_blocks + 2,)
        Correlation there.
    message, range_message : str
    """

    drift_um: float | None
    range_um: float | None
    correlation: np.ndarray
    position: np.ndarray
    peak: np.ndarray
    message: str
    range_message: str


def load_z_stack(z_stack, info, z_step_um):
    """Load a z-stack and average the frames of each plane.

    Parameters
    ----------
    z_stack : path, or array
        TIFF file. (n_planes, height, width), or (n_planes, n_frames, height, width).
    info : PlaneInfo
    z_step_um : float or None

    Returns
    -------
    float32 array, shape (n_planes, height, width)

    Raises
    ------
    InputError
        The stack does not fit the plane, or the distance of its planes is unknown.
    """
    called = "the z-stack"
    if isinstance(z_stack, str | Path):
        import tifffile

        called = f"the z-stack {z_stack}"
        try:
            z_stack = tifffile.imread(z_stack)
        except (OSError, ValueError, tifffile.TiffFileError) as error:
            raise InputError(
                f"{info.name}: {called} cannot be read ({error}); expected a TIFF of "
                "planes x height x width. Correct z_stack in streams.tsv or leave it empty."
            ) from error
    stack = np.asarray(z_stack)
    shape = (info.height, info.width)
    if stack.ndim not in (3, 4) or stack.shape[-2:] != shape or len(stack) < 3:
        raise InputError(
            f"{info.name}: {called} has the shape {stack.shape}; expected at least 3 planes of "
            f"{shape[0]} x {shape[1]} pixels, as the movie has. Give the stack of this plane's "
            "field, or leave z_stack empty in streams.tsv."
        )
    if not z_step_um or not z_step_um > 0:
        raise InputError(
            f"{info.name}: {called} has no distance between its planes (z_step_um is "
            f"{z_step_um}). Put it in streams.tsv, in µm."
        )
    return (stack.mean(axis=1) if stack.ndim == 4 else stack).astype(np.float32)


def phase_shift(image, reference, *, max_shift_px):
    """Find by how much an image is shifted against a reference, by phase correlation.

    Parameters
    ----------
    image, reference : float array, shape (height, width)
    max_shift_px : int

    Returns
    -------
    dy, dx : int
        ``image[y, x]`` shows ``reference[y - dy, x - dx]``.
    """
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])
    spectra = [np.fft.rfft2((i - i.mean()) * window) for i in (image, reference)]
    cross = spectra[0] * np.conj(spectra[1])
    size = np.abs(cross)
    cross = np.where(size > 1e-9 * size.max(), cross / np.where(size > 0, size, 1), 0)
    # a little smoothing: the peak of a real image is not one pixel
    fy, fx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])
    cross *= np.exp(-2 * (np.pi * 1.5) ** 2 * (fy**2 + fx**2))
    surface = np.fft.irfft2(cross, s=image.shape)
    dy, dx = (np.fft.fftfreq(n, 1 / n).round().astype(int) for n in image.shape)
    near = (np.abs(dy) <= max_shift_px)[:, None] & (np.abs(dx) <= max_shift_px)
    y, x = np.unravel_index(np.where(near, surface, -np.inf).argmax(), surface.shape)
    return int(dy[y]), int(dx[x])


def plane_correlations(images, stack, mask, *, smooth_px, max_shift_px):
    """Correlate images with each plane of a stack, after smoothing and alignment.

    The images are of one registered movie and so lie alike: each plane is aligned once,
    with their mean (aind-ophys-movie-qc aligns each image with the maximum projection, its
    finer version each plane). Pearson's r of the pixels that both have inside the border.

    Parameters
    ----------
    images : float array, shape (n_images, height, width)
        NaN images give NaN.
    stack : float array, shape (n_planes, height, width)
    mask : bool array, shape (height, width)
        Pixels of the images to use.
    smooth_px : float
        Standard deviation of the Gaussian.
    max_shift_px : int

    Returns
    -------
    float64 array, shape (n_images, n_planes)
    """
    r = np.full((len(images), len(stack)), np.nan)
    known = np.isfinite(images).all(axis=(1, 2))
    if not known.any():
        return r
    mean = images[known].mean(axis=0)
    smooth = {i: gaussian_filter(images[i], smooth_px) for i in np.flatnonzero(known)}
    for p, plane in enumerate(stack):
        dy, dx = phase_shift(mean, plane, max_shift_px=max_shift_px)
        valid = mask.copy()
        if dy:
            valid[slice(0, dy) if dy > 0 else slice(dy, None)] = False
        if dx:
            valid[:, slice(0, dx) if dx > 0 else slice(dx, None)] = False
        target = np.roll(gaussian_filter(plane, smooth_px), (dy, dx), (0, 1))[valid]
        for i, image in smooth.items():
            r[i, p] = _pearson(image[valid], target)
    return r


def _pearson(a, b):
    a, b = a - a.mean(dtype=float), b - b.mean(dtype=float)
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else np.nan


def best_plane(correlation):
    """Place of the maximum, by a parabola through it and its neighbours.

    Parameters
    ----------
    correlation : float array, shape (n_planes,)

    Returns
    -------
    position : float
        In planes; NaN where the correlations are NaN. A whole number at both ends.
    peak : float
        The largest correlation.
    """
    if not np.isfinite(correlation).all():
        return np.nan, np.nan
    i = int(correlation.argmax())
    if not 0 < i < len(correlation) - 1:
        return float(i), float(correlation[i])
    before, top, after = correlation[i - 1 : i + 2]
    bend = before - 2 * top + after
    return i + (0.5 * (before - after) / bend if bend < 0 else 0.0), float(top)


def z_drift(images, stack, mask, *, z_step_um, smooth_px, max_shift_px, min_correlation):
    """Measure the drift along z of a movie against a z-stack.

    Parameters
    ----------
    images : float array, shape (n_blocks + 2, height, width)
        Mean images of the blocks, then of the start and of the end.
    stack : float array, shape (n_planes, height, width)
    mask : bool array, shape (height, width)
    z_step_um : float
    smooth_px, max_shift_px
        See `plane_correlations`.
    min_correlation : float
        Below this an image lies nowhere in the stack.

    Returns
    -------
    ZDrift
    """
    r = plane_correlations(images, stack, mask, smooth_px=smooth_px, max_shift_px=max_shift_px)
    found = [best_plane(row) for row in r]
    position, peak = (np.array(column) for column in zip(*found, strict=True))
    valid = peak >= min_correlation
    drift_um = range_um = None
    if valid[-2:].all():
        drift_um = float((position[-1] - position[-2]) * z_step_um)
        message = f"from {position[-2] * z_step_um:.1f} to {position[-1] * z_step_um:.1f} µm"
        message += " of the stack" + _at_the_end(position[-2:], len(stack))
    else:
        low = np.nanmin(peak[-2:]) if np.isfinite(peak[-2:]).any() else np.nan
        message = (
            f"the start or the end matches no plane of the z-stack (correlation {low:.2f}, "
            f"at least {min_correlation:g} needed)"
        )
    blocks = valid[:-2]
    if blocks.sum() >= 2:
        places = position[:-2][blocks]
        range_um = float(np.ptp(places) * z_step_um)
        range_message = f"{blocks.sum()} of {blocks.size} stretches of the movie placed"
        range_message += _at_the_end(places, len(stack))
    else:
        range_message = "fewer than two stretches of the movie match the z-stack"
    return ZDrift(drift_um, range_um, r, position, peak, message, range_message)


def _at_the_end(places, n_planes):
    if (places <= 0).any() or (places >= n_planes - 1).any():
        return "; at an end of the stack, so that it may be more"
    return ""
