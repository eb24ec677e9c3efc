"""Zero-phase decimation in stages, exact across chunks."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numba import njit, prange
from scipy.signal import firwin, kaiserord

STOP_DB = 80.0
PASSED = 0.8
READ_SAMPLES = 65536


@dataclass(frozen=True)
class Decimator:
    """FIR filters and factors of the stages.

    Attributes
    ----------
    stages : list of (ndarray of float32, int)
        Symmetric filter of odd length, and the factor after it.
    factor : int
        Product of the factors.
    margin_samples : int
        Input samples that an output sample needs on each side of its own.
    """

    stages: list
    factor: int
    margin_samples: int


def stage_factors(factor):
    """Split a factor into stages of at most 6 (or a larger prime).

    The last stage has the sharp filter, so it runs at the lowest rate that can be had: its
    factor is the smallest prime.
    """
    smallest = next((p for p in range(2, factor + 1) if factor % p == 0), 1)
    rest, factors = factor // smallest, []
    for size in (6, 5, 4, 3, 2):
        while rest % size == 0:
            factors.append(size)
            rest //= size
    return [size for size in (rest, *factors, smallest) if size > 1]


def design_decimator(sampling_rate_hz, factor):
    """Design the filters that bring a rate down by an integer factor.

    Each stage is a symmetric FIR low-pass (Kaiser window), which delays nothing when read
    around its middle, so that the result is zero-phase and does not depend on how the
    recording is cut into chunks. Up to 0.8 of the final Nyquist frequency the gain is 1
    within 1e-3; what would fold into the final band from above is 80 dB down. Allen
    (AllenSDK, lfp_subsampling) filters forward and backward with a Chebyshev filter of
    order 8, which reaches 0.8 of the Nyquist frequency too but has no finite length.

    Parameters
    ----------
    sampling_rate_hz : float
    factor : int
        1 gives no stages.

    Returns
    -------
    Decimator
    """
    final_nyquist_hz = sampling_rate_hz / factor / 2
    passed_hz = PASSED * final_nyquist_hz
    stages, margin, done = [], 0, 1
    for size in stage_factors(factor):
        rate_hz = sampling_rate_hz / done
        stopped_hz = rate_hz / size - final_nyquist_hz
        n_taps, beta = kaiserord(STOP_DB, (stopped_hz - passed_hz) / (rate_hz / 2))
        n_taps |= 1
        taps = firwin(
            n_taps, (passed_hz + stopped_hz) / 2, window=("kaiser", beta), fs=rate_hz
        ).astype(np.float32)
        stages.append((taps, size))
        margin += (n_taps // 2) * done
        done *= size
    return Decimator(stages, factor, margin)


@njit(cache=True, nogil=True, parallel=True)
def _decimate_stage(traces, taps, factor):
    """Filter and keep every `factor`-th sample, where the filter fits in entirely."""
    n_samples, n_channels = traces.shape
    n_out = (n_samples - len(taps)) // factor + 1
    out = np.zeros((n_out, n_channels), np.float32)
    for j in prange(n_out):
        for k in range(len(taps)):
            weight = taps[k]
            row = traces[j * factor + k]
            for c in range(n_channels):
                out[j, c] += weight * row[c]
    return out


def decimate_valid(traces, decimator):
    """Decimate where all samples that are needed are there.

    Parameters
    ----------
    traces : ndarray of float32, shape (n_samples, n_channels)
        C-contiguous. Output sample k is at input sample ``margin_samples + k * factor``.
    decimator : Decimator

    Returns
    -------
    ndarray of float32, shape ((n_samples - 2 * margin_samples - 1) // factor + 1, n_channels)
    """
    return reduce(lambda found, stage: _decimate_stage(found, *stage), decimator.stages, traces)


def decimated_blocks(recording, channels, gain_uv, decimator, read_samples=READ_SAMPLES):
    """Read a recording in chunks and decimate it.

    Output sample k lies at input sample ``k * factor``, from 0 to the last one that exists.
    Before the first and after the last sample the recording is taken to go on at that value.

    Parameters
    ----------
    recording : BaseRecording
        One segment.
    channels : ndarray of int, shape (n_chosen,)
        Indices of the channels to read.
    gain_uv : ndarray of float, shape (n_chosen,)
        µV per bit.
    decimator : Decimator
    read_samples : int
        Input samples read at a time; the result does not depend on it.

    Yields
    ------
    ndarray of float32, shape (n_block, n_chosen)
        µV.
    """
    factor, margin = decimator.factor, decimator.margin_samples
    n_in = recording.get_num_samples()
    n_out = -(-n_in // factor)
    ids = recording.channel_ids[channels]
    gain_uv = np.asarray(gain_uv, np.float32)
    step = max(1, read_samples // factor)
    for first in range(0, n_out, step):
        last = min(first + step, n_out) - 1
        start, stop = first * factor - margin, last * factor + margin + 1
        traces = recording.get_traces(
            start_frame=max(start, 0), end_frame=min(stop, n_in), channel_ids=ids
        )
        traces = traces.astype(np.float32, order="C")
        traces *= gain_uv
        missing = (max(-start, 0), max(stop - n_in, 0))
        if any(missing):
            traces = np.pad(traces, (missing, (0, 0)), mode="edge")
        yield decimate_valid(traces, decimator)
