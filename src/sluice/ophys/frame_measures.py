"""Intensity, range and saturation of frames, before anything rescales them."""

from dataclasses import dataclass

import numpy as np


@dataclass
class FrameMeasures:
    """What is measured of each frame before anything rescales it.

    Attributes
    ----------
    mean : float64 array, shape (n_frames,)
        Of the pixels (intensity of the file). NaN where one of them is not finite.
    low, high : float64 arrays, shape (n_frames,)
        Smallest and largest pixel; NaN or infinite where one of them is.
    n_at_high : int64 array, shape (n_frames,)
        Pixels that have the largest value of their frame.
    n_at_level : int64 array, shape (n_frames,)
        Pixels at or beyond the level of saturation that was given; 0 without one.
    is_missing : bool array, shape (n_frames,)
        All pixels are the same, or one of them is not finite.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_at_high: np.ndarray
    n_at_level: np.ndarray
    is_missing: np.ndarray


def measure_frames(frames, *, saturation_level=None):
    """Measure intensity and range of each frame.

    Parameters
    ----------
    frames : ndarray, shape (n_frames, height, width), any real type
        As recorded.
    saturation_level : float or None

    Returns
    -------
    FrameMeasures
    """
    pixels = frames.reshape(len(frames), -1)
    mean = pixels.mean(axis=1, dtype=np.float64)
    high, low = pixels.max(axis=1), pixels.min(axis=1)
    n_at_level = np.zeros(len(pixels), np.int64)
    if saturation_level is not None:
        n_at_level = np.count_nonzero(pixels >= saturation_level, axis=1)
    is_missing = high == low
    if frames.dtype.kind == "f":
        # the largest value of a frame with a NaN is NaN
        is_finite = np.isfinite(high) & np.isfinite(low)
        is_missing |= ~is_finite
        mean[~is_finite] = np.nan
    return FrameMeasures(
        mean=mean,
        low=low.astype(np.float64),
        high=high.astype(np.float64),
        n_at_high=np.count_nonzero(pixels == high[:, None], axis=1),
        n_at_level=n_at_level,
        is_missing=is_missing,
    )


def join_measures(pieces):
    """Put the measures of consecutive chunks together."""
    names = FrameMeasures.__dataclass_fields__
    return FrameMeasures(**{n: np.concatenate([getattr(p, n) for p in pieces]) for n in names})


def find_saturation(measures, dtype, *, level, min_saturated_pixels):
    """Find the level of saturation, and the saturated pixels of each frame.

    Files do not say where the range of their digitiser ends: many have 12 or 14 bits, or
    an offset is subtracted from 16. So the largest value of the movie is taken, if it is the
    largest of the data type or if at least `min_saturated_pixels` have exactly it: noise
    reaches its largest value a few times, light beyond the range gives that value each time.

    Parameters
    ----------
    measures : FrameMeasures
        Of the whole movie.
    dtype : dtype
        Type of the pixels in the file.
    level : float or None
        Level from the settings; None to find it.
    min_saturated_pixels : int

    Returns
    -------
    level : float or None
        None where nothing is saturated.
    n_saturated : int64 array, shape (n_frames,)
        0 in missing frames.
    """
    usable = ~measures.is_missing
    if level is not None:
        return level, np.where(usable, measures.n_at_level, 0)
    high = measures.high[usable].max()
    n_saturated = np.where(usable & (measures.high == high), measures.n_at_high, 0)
    is_end = np.dtype(dtype).kind in "iu" and high == np.iinfo(dtype).max
    if is_end or n_saturated.sum() >= min_saturated_pixels:
        return float(high), n_saturated
    return None, np.zeros_like(n_saturated)
