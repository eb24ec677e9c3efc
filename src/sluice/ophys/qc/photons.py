"""Photons: what one is worth, how many a pixel and a ROI see, what they let one detect."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from sluice.ophys.extract_traces import divide_by_size, sum_pixels, to_intensity
from sluice.ophys.plane import read_frames
from sluice.ophys.qc.sampling import intensity
from sluice.ophys.shifts import undo_bidirectional

# What changes over more than this (Gaussian, px) is no noise of photons.
SMOOTH_PX = 3.0
MIN_PAIRS = 20
BATCH_BYTES = 32_000_000
# Standard errors beyond this fraction: not measured.
MAX_ERROR = 0.1


@dataclass(frozen=True)
class PhotonTransfer:
    """Mean and noise of each pixel.

    Attributes
    ----------
    mean, variance : float32 array, shape (height, width)
        Intensity as recorded, and its variance from frame to frame; NaN where not measured.
    n_pairs : int
        Pairs of frames that they come from.
    """

    mean: np.ndarray
    variance: np.ndarray
    n_pairs: int


@dataclass(frozen=True)
class PhotonGain:
    """What a photon is worth.

    Attributes
    ----------
    gain : float or None
        Intensity a photon; None where it cannot be measured.
    background : float or None
        Intensity where no photon arrives; None where it cannot be measured.
    gain_error, background_error : float
        Standard errors; NaN where nothing was fitted.
    used : bool array, shape (height, width)
        Pixels that the line was fitted to.
    message : str
        Why it cannot be measured, or empty.
    """

    gain: float | None
    background: float | None
    gain_error: float
    background_error: float
    used: np.ndarray
    message: str = ""


def photon_transfer(movie, info, pairs, shifts, *, bidiphase):
    """Measure mean and noise of each pixel from pairs of consecutive raw frames.

    The noise is half the mean squared difference of the two frames of a pair, so that
    activity and drift, which are slower than a frame, hardly count (the reference takes the
    variance over time, where they do). What remains of them is smooth: neuropil, flicker of
    the laser, the onset of an event over its cell. So the difference, smoothed by a Gaussian,
    is subtracted from it; the part of the noise that goes with it is known and made up for.

    Raw frames, moved by whole pixels: interpolation between pixels, as in a registered
    movie, averages noise away. Both frames of a pair move alike. Odd lines are put in place
    first, as in the registered movie: else what is measured of a pixel is of its neighbour.

    Parameters
    ----------
    movie : path
        ``movie.bin``.
    info : PlaneInfo
    pairs : int array, shape (n_pairs,)
        First frames of the pairs.
    shifts : DataFrame
        ``shifts.pqt``; columns y_px, x_px.
    bidiphase : int
        Offset of every other line (px), see `undo_bidirectional`.

    Returns
    -------
    PhotonTransfer
    """
    shape = (info.height, info.width)
    if len(pairs) < MIN_PAIRS:
        nothing = np.full(shape, np.nan, np.float32)
        return PhotonTransfer(nothing, nothing, len(pairs))
    moved = np.rint(shifts[["y_px", "x_px"]].to_numpy(float)[pairs]).astype(int)
    total, variance = np.zeros(shape), np.zeros(shape)
    for t, (dy, dx) in zip(pairs, moved, strict=True):
        pair = undo_bidirectional(read_frames(movie, info, t, t + 2), bidiphase)
        pair = intensity(pair, info)
        step = pair[1] - pair[0]
        step -= gaussian_filter(step, SMOOTH_PX)
        total += _moved(pair.mean(axis=0), -dy, -dx)
        variance += _moved(step**2, -dy, -dx)
    impulse = np.zeros((41, 41))
    impulse[20, 20] = 1
    kept = np.sum((impulse - gaussian_filter(impulse, SMOOTH_PX)) ** 2)
    n = len(pairs)
    return PhotonTransfer(
        (total / n).astype(np.float32), (variance / (2 * n * kept)).astype(np.float32), n
    )


def _moved(image, dy, dx):
    """Image moved by whole pixels, rolled at the edges (they are left out later)."""
    return np.roll(image, (dy, dx), (0, 1))


def photon_gain(transfer, mask, *, percentiles):
    """Fit what a photon is worth, and the intensity without light.

    The noise of photons grows with their number: variance = gain * mean + offset, and the
    background is where it vanishes, ``-offset / gain`` (aind-ophys-movie-qc). Differences
    from the reference, which fits plain least squares to the pixels whose mean and variance
    both lie within percentiles 3 to 90:

    - only the mean is cut: cutting what is fitted flattens the line;
    - pixels are weighted by 1 / variance², as the error of a variance grows with it;
    - movement within a pixel adds its squared gradient times the variance of the movement:
      the squared gradients along y and x are fitted along with the mean;
    - pixels more than 4 standard deviations off (those of active cells) are dropped, and
      the line is fitted again.

    Parameters
    ----------
    transfer : PhotonTransfer
    mask : bool array, shape (height, width)
        Pixels inside the border and never saturated.
    percentiles : (float, float)
        Pixels whose mean lies within are used.

    Returns
    -------
    PhotonGain
    """
    mean, variance = transfer.mean.astype(float), transfer.variance.astype(float)
    used = mask & np.isfinite(mean) & (variance > 0)

    def fail(message):
        return PhotonGain(None, None, np.nan, np.nan, used, message)

    if transfer.n_pairs < MIN_PAIRS:
        return fail(f"{transfer.n_pairs} pairs of still frames; at least {MIN_PAIRS} are needed")
    if used.sum() < 100:
        return fail("fewer than 100 pixels have any noise")
    low, high = np.percentile(mean[used], percentiles)
    used &= (mean >= low) & (mean <= high)
    if high <= low or used.sum() < 100:
        return fail("all pixels are equally bright")
    used, coefficients, covariance = _fit_line(mean, variance, used)
    gain, offset = coefficients[:2]
    gain_error = float(np.sqrt(covariance[0, 0]))
    if not (gain > 0 and gain_error < MAX_ERROR * gain):
        return fail("the noise does not grow with the brightness as that of photons does")
    # background = -offset / gain, by propagation of errors
    slope = np.array([offset / gain**2, -1 / gain])
    background = -offset / gain
    background_error = float(np.sqrt(slope @ covariance[:2, :2] @ slope))
    light = mean[used].mean() - background
    if not (light > 0 and background_error < MAX_ERROR * light):
        return PhotonGain(
            float(gain),
            None,
            gain_error,
            background_error,
            used,
            "the brightness of the pixels differs too little to find the background",
        )
    return PhotonGain(float(gain), float(background), gain_error, background_error, used)


def _fit_line(mean, variance, used):
    """Weighted least squares with rejection: pixels used, coefficients, their covariance."""
    gradients = [g**2 for g in np.gradient(np.where(np.isfinite(mean), mean, 0))]
    columns = [0, 1]
    weights = np.ones(np.count_nonzero(used))
    for _ in range(5):
        m, v = mean[used], variance[used]
        design = np.stack([m, np.ones_like(m), *(g[used] for g in gradients)], axis=1)
        if len(weights) != len(v):
            weights = np.ones(len(v))
        for _ in range(3):
            coefficients = np.zeros(4)
            columns = [0, 1, 2, 3]
            # movement only adds noise: a negative share is left out
            while True:
                coefficients[:] = 0
                coefficients[columns] = _solve(design[:, columns], v, weights)
                negative = [c for c in columns if c > 1 and coefficients[c] < 0]
                if not negative:
                    break
                columns = [c for c in columns if c not in negative]
            expected = np.maximum(design @ coefficients, 0.05 * v.mean())
            weights = 1 / expected**2
        off = (v - expected) / expected
        limit = 4 * 1.4826 * np.median(np.abs(off - np.median(off)))
        keep = np.abs(off - np.median(off)) <= limit
        if keep.all() or keep.sum() < 100:
            break
        used = used.copy()
        used[used] = keep
        weights = weights[keep]
    design = design[:, columns]
    residual = (v - design @ coefficients[columns]) * np.sqrt(1 / expected**2)
    noise = residual @ residual / max(1, len(v) - len(columns))
    covariance = noise * np.linalg.pinv((design / expected[:, None] ** 2).T @ design)
    return used, coefficients, covariance


def _solve(design, values, weights):
    root = np.sqrt(weights)
    # columns of like size: squared gradients and ones differ by orders of magnitude
    size = np.maximum(np.abs(design).max(axis=0), 1e-300)
    return np.linalg.lstsq(design / size * root[:, None], values * root, rcond=None)[0] / size


@dataclass(frozen=True)
class RoiPhotons:
    """Light of each ROI.

    Attributes
    ----------
    photons : float64 array, shape (n_rois,)
        Photons a frame from all pixels of the ROI at its baseline; NaN where not measured.
    d_prime : float64 array, shape (n_rois,)
    """

    photons: np.ndarray
    d_prime: np.ndarray


def mask_baselines(registered, info, masks, frames):
    """Baseline of masks: the median over sampled frames of the mean of their pixels.

    Most frames of a ROI hold no event, and a median is not drawn down by noise as a low
    percentile is.

    Parameters
    ----------
    registered : path
        ``registered.bin``.
    info : PlaneInfo
    masks : Masks
        Weights are not used.
    frames : int array, shape (n_sampled,)

    Returns
    -------
    float64 array, shape (n_masks,)
        Intensity as recorded; NaN for an empty mask or without frames.
    """
    if len(masks) == 0 or len(frames) == 0:
        return np.full(len(masks), np.nan)
    n_pixels = np.diff(masks.weights.indptr)
    # many frames at once, as each call starts threads, but never the movie
    n_batch = max(1, BATCH_BYTES // (2 * info.height * info.width))
    sums = [
        sum_pixels(
            np.concatenate(
                [read_frames(registered, info, t, t + 1) for t in frames[i : i + n_batch]]
            ),
            masks.weights,
        )
        for i in range(0, len(frames), n_batch)
    ]
    means = divide_by_size(to_intensity(np.concatenate(sums, axis=1), n_pixels, info), n_pixels)
    return np.median(means, axis=1)


def roi_photons(baseline, neuropil, n_pixels, gain, *, sampling_rate_hz, dff, decay_s):
    """Photons and detectability of each ROI.

    Photons a frame are ``n_pixels * (baseline - background) / gain``. The reference sums
    the intensity of the pixels and subtracts one background, not one for each pixel.

    d' (Wilt et al. 2013, Neuron, as in aind-ophys-movie-qc): how far a transient of `dff` of
    the cell's own light stands out of shot noise. With B photons a second of the cell and N
    of the neuropil in its pixels, ``corrected = dff * B / (B + N)`` and ``d' = corrected *
    sqrt((B + N) * decay_s / 2)``. N is as bright as the neuropil around the ROI, B the rest;
    the reference takes blobs of a mean image as it has no ROIs.

    Parameters
    ----------
    baseline, neuropil : float array, shape (n_rois,)
        Mean intensity of the ROI's pixels and of those around it, as recorded.
    n_pixels : int array, shape (n_rois,)
    gain : PhotonGain
    sampling_rate_hz : float
    dff : float
        Size of the transient.
    decay_s : float
        Its decay.

    Returns
    -------
    RoiPhotons
    """
    if gain.gain is None or gain.background is None:
        nothing = np.full(len(baseline), np.nan)
        return RoiPhotons(nothing, nothing.copy())
    photons = n_pixels * (baseline - gain.background) / gain.gain
    around = n_pixels * (neuropil - gain.background) / gain.gain
    total = photons * sampling_rate_hz
    cell = np.clip(photons - np.maximum(around, 0), 0, None) * sampling_rate_hz
    with np.errstate(divide="ignore", invalid="ignore"):
        d_prime = np.where(total > 0, dff * cell / total * np.sqrt(total * decay_s / 2), 0.0)
    d_prime[np.isnan(total) | np.isnan(cell)] = np.nan
    return RoiPhotons(photons, d_prime)


def noise_level(dff, sampling_rate_hz):
    """Noise of each dF/F trace: the median absolute step from frame to frame, a root of rate.

    Rupprecht et al. (2021, Nature Neuroscience): ``100 * median(|dff[t+1] - dff[t]|) /
    sqrt(rate)``, which makes movies of different rates comparable.

    Parameters
    ----------
    dff : float array, shape (n_rois, n_frames)
    sampling_rate_hz : float

    Returns
    -------
    float64 array, shape (n_rois,)
        % / sqrt(Hz); NaN where a ROI has no two consecutive values.
    """
    out = np.full(len(dff), np.nan)
    for roi, trace in enumerate(dff):
        steps = np.abs(np.diff(trace.astype(float)))
        steps = steps[np.isfinite(steps)]
        if len(steps):
            out[roi] = 100 * np.median(steps) / np.sqrt(sampling_rate_hz)
    return out
