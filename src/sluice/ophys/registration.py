"""Registration of frames to a reference image: suite2p's phase correlation, and the warp.

Shifts are where the content of a frame lies from its place in the reference: y down, x to the
right, in px. Registering moves the frame back by that much.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sluice.ophys.suite2p_settings import import_suite2p

logger = logging.getLogger(__name__)

MIN_BLOCK_PX = 32
# How far, in standard deviations of noise, the correlation peak of a block must be expected to
# stand out. Blocks of noise have less than 3; those of a movie so dark that blocks jitter by
# 1 px have 9.
MIN_BLOCK_CLARITY = 5.0
# Frames whose spectra are held at once; those of 512 x 512 px are 5 MB each.
SPECTRUM_BATCH = 10


def fit_blocks(height, width, block_size_px):
    """Height and width of the blocks of the non-rigid registration.

    suite2p needs two blocks or more along each axis and fails with one (suite2p#1251). An axis
    no longer than `block_size_px` gets blocks of half its length, so three of them.

    Parameters
    ----------
    height, width, block_size_px : int

    Returns
    -------
    tuple of int, or None
        (block height, block width); None where a block would be smaller than 32 px.
    """
    sizes = tuple(block_size_px if n > block_size_px else n // 2 for n in (height, width))
    return sizes if min(sizes) >= MIN_BLOCK_PX else None


def block_weights(starts, stops, size_px):
    """Weights that interpolate values of blocks along one axis to its pixels.

    Linear between the centres of blocks, constant outside.

    Parameters
    ----------
    starts, stops : sequence of int
        Extent of each block, ascending.
    size_px : int

    Returns
    -------
    float32 array, shape (size_px, n_blocks)
        Rows sum to 1.
    """
    centres = (np.asarray(starts, float) + np.asarray(stops) - 1) / 2
    unit = np.eye(len(centres))
    pixels = np.arange(size_px)
    return np.stack([np.interp(pixels, centres, row) for row in unit], 1).astype(np.float32)


def fill_blocks(shifts_px, is_empty):
    """Give blocks without structure the mean shift of the blocks around them.

    Parameters
    ----------
    shifts_px : float32 array, shape (n_frames, 2, rows, columns)
    is_empty : bool array, shape (rows, columns)
        Where all are, no block moves.

    Returns
    -------
    float32 array, shape (n_frames, 2, rows, columns)
        Empty blocks have the mean over those that are not and are nearest, diagonals included.
    """
    filled = shifts_px.copy()
    full = np.argwhere(~is_empty)
    for row, column in np.argwhere(is_empty):
        if len(full) == 0:
            filled[:, :, row, column] = 0
            continue
        distance = np.abs(full - (row, column)).max(axis=1)
        y, x = full[distance == distance.min()].T
        filled[:, :, row, column] = shifts_px[:, :, y, x].mean(axis=2)
    return filled


def limit_px(shape, settings):
    """Largest rigid shift that is searched for: whole pixels, one at least."""
    return max(1, round(settings["max_shift_fraction"] * min(shape)))


@dataclass(frozen=True)
class Registrar:
    """A reference image made ready for phase correlation; see `make_registrar`.

    Attributes
    ----------
    filters : tuple
        Of suite2p's `compute_filters_and_norm`.
    blocks : list of (start, stop) pairs along each axis, or None
        (rows, columns); None for rigid registration.
    max_shift_fraction, max_nonrigid_px, nonrigid_snr
        Settings of ``ophys.register_plane``.
    device : torch.device
    empty_blocks : bool array, shape (n_blocks,), or None
        Blocks without structure, e.g. in a vessel; they take the shifts of their neighbours.
    """

    filters: tuple
    blocks: Any
    max_shift_fraction: float
    max_nonrigid_px: int
    nonrigid_snr: float
    device: Any
    empty_blocks: Any = None

    def rigid(self, frames):
        """Find the shift of each whole frame.

        Parameters
        ----------
        frames : int16 array, shape (n_frames, height, width)

        Returns
        -------
        shifts_px : int64 array, shape (n_frames, 2)
        correlation : float64 array, shape (n_frames,)
            Peak of the phase correlation.
        clarity : float64 array, shape (n_frames,)
            How far the peak stands above the median of the correlations at all shifts that
            are searched, in robust standard deviations (1.4826 MAD). Peaks of noise are
            below 7.
        """
        from suite2p.registration import rigid

        mul, offset, reference = self.filters[:3]
        y, x, peak, everywhere = rigid.phasecorr(
            self._clip(frames), reference, mul, offset, self.max_shift_fraction, 0, return_cc=True
        )
        shifts_px = np.stack([y.cpu().numpy(), x.cpu().numpy()], 1)
        peak = peak.cpu().numpy().astype(np.float64)
        above = everywhere.reshape(len(frames), -1)
        middle = np.median(above, axis=1)
        spread = 1.4826 * np.median(np.abs(above - middle[:, None]), axis=1)
        clarity = (peak - middle) / np.maximum(spread, np.finfo(np.float32).tiny)
        return shifts_px, peak, clarity.astype(np.float64)

    def nonrigid(self, frames, shifts_px):
        """Find the shift of each block on top of that of the frame.

        Parameters
        ----------
        frames : int16 array, shape (n_frames, height, width)
        shifts_px : int64 array, shape (n_frames, 2)

        Returns
        -------
        float32 array, shape (n_frames, 2, n_block_rows, n_block_columns)
            px, in steps of 0.1 px.
        """
        import torch
        from suite2p.registration import nonrigid

        mul, offset, reference, blocks = self.filters[3:7]
        rolled = np.stack(
            [np.roll(f, (-y, -x), (0, 1)) for f, (y, x) in zip(frames, shifts_px, strict=True)]
        )
        with torch.no_grad():
            y, x = nonrigid.phasecorr(
                self._clip(rolled),
                blocks,
                mul,
                offset,
                reference,
                self.nonrigid_snr,
                self.max_nonrigid_px,
            )[:2]
        found = np.stack([y.cpu().numpy(), x.cpu().numpy()], 1)
        found = found.reshape(len(frames), 2, *blocks[2])
        if self.empty_blocks is None:
            return found
        return fill_blocks(found, self.empty_blocks.reshape(blocks[2]))

    def _clip(self, frames):
        """Frames on the device, clipped to the range of the reference."""
        import torch

        low, high = self.filters[-2:]
        if np.isfinite(low):
            frames = np.clip(frames, low, high)
        return torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)

    def warp(self, frames, shifts_px, block_shifts_px=None):
        """Move frames back by their shifts.

        Whole pixels without, bilinear interpolation with shifts of blocks. Values are rounded
        to the nearest int16; suite2p cuts off the fraction, which takes half a bit off every
        pixel. What moves in over an edge repeats the frame's own edge; suite2p brings in the
        opposite edge.

        Parameters
        ----------
        frames : int16 array, shape (n_frames, height, width)
        shifts_px : int64 array, shape (n_frames, 2)
        block_shifts_px : float32 array, shape (n_frames, 2, rows, columns), optional

        Returns
        -------
        int16 array, shape (n_frames, height, width)
        """
        if block_shifts_px is None:
            return _move(frames, shifts_px)
        import torch
        from torch.nn.functional import grid_sample

        _, height, width = frames.shape
        rows, columns = (
            torch.from_numpy(block_weights(*np.transpose(extents), n)).to(self.device)
            for extents, n in zip(self.blocks, (height, width), strict=True)
        )
        field = torch.from_numpy(block_shifts_px).to(self.device)
        field = torch.einsum("yi,ncij,xj->ncyx", rows, field, columns)
        field += torch.from_numpy(shifts_px.astype(np.float32)).to(self.device)[:, :, None, None]
        y = torch.arange(height, dtype=torch.float32, device=self.device)[:, None] + field[:, 0]
        x = torch.arange(width, dtype=torch.float32, device=self.device) + field[:, 1]
        # grid_sample counts from -1 to 1 between the centres of the outermost pixels, x first
        grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)
        moved = grid_sample(
            torch.from_numpy(frames).to(self.device).float()[:, None],
            grid,
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return torch.round(moved[:, 0]).to(torch.int16).cpu().numpy()


def _move(frames, shifts_px):
    """Move frames by whole pixels; edges are repeated."""
    _, height, width = frames.shape
    moved = np.empty_like(frames)
    for frame, (y, x), out in zip(frames, shifts_px, moved, strict=True):
        rows = np.clip(np.arange(height) + y, 0, height - 1)
        columns = np.clip(np.arange(width) + x, 0, width - 1)
        out[:] = frame[rows[:, None], columns]
    return moved


def make_registrar(reference, *, settings, device, blocks_px, frames=None):
    """Prepare a reference image.

    The spectra of its blocks are not suite2p's: see `_block_spectra`.

    Parameters
    ----------
    reference : float32 array, shape (height, width)
        Stored values.
    settings : dict
        ``ophys.register_plane``.
    device : str
        ``cpu`` or ``cuda``.
    blocks_px : tuple of int or None
        Of `fit_blocks`; None for rigid registration.
    frames : int16 array, shape (n_frames, height, width), optional
        Some frames, evenly over the movie and none missing, which say what of the blocks'
        spectra is image and what is noise; without them all counts alike.

    Returns
    -------
    Registrar
    """
    import_suite2p()
    import torch
    from suite2p.registration.register import compute_filters_and_norm

    device = torch.device(device)
    filters = compute_filters_and_norm(
        reference,
        norm_frames=settings["clip_intensity"],
        spatial_smooth=settings["smooth_sigma_px"],
        spatial_taper=settings["taper_px"],
        block_size=blocks_px,
        device=device,
    )
    blocks = None
    if blocks_px is not None:
        yblock, xblock, (_, n_columns) = filters[6][:3]
        blocks = (np.array(yblock[::n_columns]), np.array(xblock[:n_columns]))
    registrar = Registrar(
        filters=filters,
        blocks=blocks,
        max_shift_fraction=limit_px(reference.shape, settings) / min(reference.shape),
        max_nonrigid_px=settings["max_nonrigid_px"],
        nonrigid_snr=settings["nonrigid_snr"],
        device=device,
    )
    if blocks is None:
        return registrar
    spectra, empty_blocks = _block_spectra(registrar, reference, frames)
    filters = (*filters[:5], spectra, *filters[6:])
    if empty_blocks.any():
        logger.info("%d of %d blocks have no structure", empty_blocks.sum(), len(empty_blocks))
    return replace(registrar, filters=filters, empty_blocks=empty_blocks)


def _block_spectra(registrar, reference, frames):
    """What the spectra of a frame's blocks are multiplied with in the phase correlation.

    suite2p multiplies the frame with a taper, but not the reference, whose edges then pull
    the peak: where the image is smooth, by up to 0.3 px in blocks of 32 px. And phase
    correlation gives all frequencies the same weight, also those that hold nothing but noise,
    which in a smooth image are most: the peak then jitters by tenths of a pixel from frame to
    frame, which a search for ROIs takes for activity at every edge of the image. So the
    reference is tapered as the frames are, and each frequency is weighted with the coherence
    of frames and reference, sqrt(S / (S + N)) for image and noise of the powers S and N.
    Squared, it takes the jitter down further, but finds true shifts less well.

    Returns
    -------
    spectra : complex64 tensor, shape (n_blocks, block_height, block_width)
    is_empty : bool array, shape (n_blocks,)
        The peak is expected to be less than `MIN_BLOCK_CLARITY`: for weights w and a coherence
        c of each frequency, sum(w c) / sqrt(sum(w^2) / 2). No block without `frames`.
    """
    import torch

    image = _spectra_of_blocks(registrar, registrar._clip(reference[None]))[0]
    phases = image.conj() / (image.abs() + 1e-5)
    # suite2p's spectra have the size of its Gaussian
    found = phases * registrar.filters[5].abs()
    is_empty = np.zeros(len(found), bool)
    n = 0 if frames is None else len(frames)
    if n > 1:
        cross, power = torch.zeros_like(image), torch.zeros_like(image.real)
        for start in range(0, n, SPECTRUM_BATCH):
            some = frames[start : start + SPECTRUM_BATCH]
            spectra = _spectra_of_blocks(
                registrar, registrar._clip(_move(some, registrar.rigid(some)[0]))
            )
            cross += (spectra * phases).sum(dim=0)
            power += (spectra.abs() ** 2).sum(dim=0)
        squared = cross.abs() ** 2 / (n * power + 1e-5)
        # chance alone gives 1 / n
        coherence = ((squared - 1 / n) / (1 - 1 / n)).clamp(0, 1).sqrt()
        found = found * coherence
        weights = found.abs()
        noise = (weights**2).sum(dim=(1, 2)).div(2).sqrt()
        peak = (weights * coherence).sum(dim=(1, 2))
        is_empty = (peak < MIN_BLOCK_CLARITY * noise).cpu().numpy()
    return found.to(torch.complex64), is_empty


def _spectra_of_blocks(registrar, frames):
    """Spectra of the tapered blocks, (n_frames, n_blocks, block_height, block_width)."""
    import torch

    mul, offset, _, (rows, columns, *_) = registrar.filters[3:7]
    blocks = [
        frames[:, y[0] : y[1], x[0] : x[1]].float() for y, x in zip(rows, columns, strict=True)
    ]
    return torch.fft.fft2(torch.stack(blocks, 1) * mul + offset)
