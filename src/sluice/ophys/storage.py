"""How pixels of any type are stored as int16 without loss, or with the least."""

from dataclasses import dataclass

import numpy as np

INT16 = np.iinfo(np.int16)
# Types whose values all fit as they are.
AS_THEY_ARE = ("int8", "uint8", "int16")
# Types that are written without knowing their range; see `shift_unsigned`.
STORED_AS_BITS = (*AS_THEY_ARE, "uint16")
CHUNK_BYTES = 16_000_000


@dataclass(frozen=True)
class Storage:
    """How intensities are stored: intensity = stored * scale + offset.

    Attributes
    ----------
    scale, offset : float
    max_error : float
        Largest difference between an intensity and what is restored of it; 0 if lossless.
    """

    scale: float = 1.0
    offset: float = 0.0
    max_error: float = 0.0


def choose_storage(low, high, *, is_integral):
    """Find scale and offset for intensities of a known range.

    Whole numbers within int16 are stored as they are; whole numbers whose range spans at most
    65,536 values are shifted; all others are spread over the range of int16, so that an
    intensity is off by half a step at most, 7.6e-6 of the range.

    Parameters
    ----------
    low, high : float
        Smallest and largest intensity of the movie.
    is_integral : bool
        Every intensity is a whole number.

    Returns
    -------
    Storage
    """
    if is_integral and low >= INT16.min and high <= INT16.max:
        return Storage()
    if is_integral and high - low <= INT16.max - INT16.min:
        return Storage(offset=float(low - INT16.min))
    scale = (float(high) - float(low)) / (INT16.max - INT16.min)
    return Storage(scale, float(low) - INT16.min * scale, scale / 2)


def to_stored(frames, storage):
    """Turn intensities into stored values.

    Parameters
    ----------
    frames : ndarray, any real type
    storage : Storage
        What does not fit, as frames that are missing may not, takes the nearest value.

    Returns
    -------
    int16 array
    """
    if storage == Storage() and frames.dtype.name in AS_THEY_ARE:
        return frames.astype(np.int16)
    stored = frames.astype(np.float64)
    if storage.offset:
        stored -= storage.offset
    if storage.scale != 1:
        stored /= storage.scale
    np.rint(stored, out=stored)
    np.nan_to_num(stored, copy=False, nan=0, posinf=INT16.max, neginf=INT16.min)
    np.clip(stored, INT16.min, INT16.max, out=stored)
    return stored.astype(np.int16)


def shift_unsigned(path):
    """Turn a file of uint16 bits into int16 values that are 32768 less, in place.

    An unsigned movie shows only at its end whether it goes beyond 32767. Taking 32768 from
    an unsigned value of 16 bits is turning its highest bit, whatever it stands for.

    Parameters
    ----------
    path : path
        Flat uint16 file.

    Returns
    -------
    Storage
        As which its int16 values are to be read.
    """
    with open(path, "r+b") as file:  # noqa: PTH123
        while True:
            start = file.tell()
            values = np.frombuffer(file.read(CHUNK_BYTES), np.uint16)
            if not values.size:
                return Storage(offset=32768.0)
            file.seek(start)
            file.write((values ^ np.uint16(0x8000)).data)
