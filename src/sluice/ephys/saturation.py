"""Saturation, gaps, constant channels and RMS over time, in one pass over a raw band."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from sluice.ephys.traces import chunk_bounds
from sluice.runs import runs_of

BLOCK_SAMPLES = 2048


@dataclass(frozen=True)
class Scan:
    """What one pass over all samples of a band found.

    Attributes
    ----------
    saturated : ndarray of int64, shape (n_intervals, 2)
        First sample and first sample after each run of saturated samples, ascending.
    gaps : ndarray of int64, shape (n_gaps, 2)
        The same for runs in which every channel is exactly zero.
    constant : ndarray of bool, shape (n_channels,)
        True where a channel never changes outside the gaps.
    saturated_fraction : ndarray of float64, shape (n_channels,)
        Fraction of all samples at which a channel is near the end of its range.
    rms_bits : ndarray of float32, shape (n_windows, n_channels)
        Standard deviation within each window, in bits; gaps left out, NaN in a window
        that is all gap.
    window_times_s : ndarray of float64, shape (n_windows,)
        Middle of each window, seconds from the first sample.
    """

    saturated: np.ndarray
    gaps: np.ndarray
    constant: np.ndarray
    saturated_fraction: np.ndarray
    rms_bits: np.ndarray
    window_times_s: np.ndarray


@njit(cache=True, nogil=True, parallel=True)
def _scan_chunk(traces, previous, level_bits, step_bits, crowd):
    """Flag samples (1 saturated, 2 all zero) and sum up the channels of one chunk."""
    n_samples, n_channels = traces.shape
    n_blocks = (n_samples + BLOCK_SAMPLES - 1) // BLOCK_SAMPLES
    flags = np.zeros(n_samples, np.uint8)
    lowest = np.full((n_blocks, n_channels), np.iinfo(np.int32).max, np.int32)
    highest = np.full((n_blocks, n_channels), np.iinfo(np.int32).min, np.int32)
    totals = np.zeros((n_blocks, n_channels), np.int64)
    squares = np.zeros((n_blocks, n_channels), np.int64)
    n_beyond = np.zeros((n_blocks, n_channels), np.int64)
    for block in prange(n_blocks):
        for t in range(block * BLOCK_SAMPLES, min((block + 1) * BLOCK_SAMPLES, n_samples)):
            row = traces[t]
            before = traces[t - 1] if t > 0 else previous
            beyond, jumping, bits = 0, 0, 0
            for c in range(n_channels):
                value = np.int32(row[c])
                beyond += abs(value) > level_bits[c]
                jumping += abs(value - np.int32(before[c])) > step_bits[c]
                bits |= value
            if beyond > crowd or jumping > crowd:
                flags[t] |= 1
            if bits == 0:
                flags[t] |= 2
                continue
            for c in range(n_channels):
                value = np.int32(row[c])
                lowest[block, c] = min(lowest[block, c], value)
                highest[block, c] = max(highest[block, c], value)
                totals[block, c] += value
                squares[block, c] += np.int64(value) * value
            if beyond:
                for c in range(n_channels):
                    n_beyond[block, c] += abs(np.int32(row[c])) > level_bits[c]
    return flags, lowest, highest, totals, squares, n_beyond


def _join(runs):
    """Concatenate runs of consecutive chunks; runs that touch become one."""
    runs = np.concatenate([np.empty((0, 2), np.int64), *runs])
    new = np.ones(len(runs), bool)
    new[1:] = runs[1:, 0] != runs[:-1, 1]
    last = np.roll(new, -1)
    return np.column_stack([runs[new, 0], runs[last, 1]])


def scan_recording(
    recording,
    *,
    max_int,
    gain_uv,
    counted,
    level,
    slope_v_per_s,
    channel_fraction,
    min_gap_s,
    window_s,
):
    """Read every sample of a band once and find saturation, gaps and constant channels.

    A sample is saturated where more than `channel_fraction` of the channels are beyond
    `level` of the full scale, or where more than that fraction changed faster than
    `slope_v_per_s` since the sample before (IBL, ibldsp, saturation). IBL divides the step
    between two samples by the sampling rate and compares with 1e-8: a step of 300 µV at
    30 kHz, which is 9 V/s; it is written as that speed here so that it holds at other
    rates. IBL flags the sample before a fast step, this function the one after.

    A gap is a run of samples at which all channels are exactly zero, as CatGT and
    Open Ephys fill missing data; gaps are left out of every other measure.

    Parameters
    ----------
    recording : BaseRecording
        Integer traces, one segment.
    max_int : int
        Full scale in bits: samples range from -max_int to max_int - 1.
    gain_uv : ndarray of float, shape (n_channels,)
        µV per bit.
    counted : ndarray of bool, shape (n_channels,)
        Channels that count for saturation; reference contacts should not.
    level : float
        Fraction of the full scale beyond which a channel is near its end.
    slope_v_per_s : float
        Fastest plausible change of the voltage, V/s.
    channel_fraction : float
        A sample is saturated beyond this fraction of the counted channels.
    min_gap_s : float
        Shorter runs of zeros are not gaps: with few channels they happen by chance.
    window_s : float
        Length of the windows of the RMS over time; also the length of a chunk, so that
        memory depends on it and on the number of channels only.

    Returns
    -------
    Scan
    """
    rate_hz = recording.sampling_frequency
    n_samples, n_channels = recording.get_num_samples(), recording.get_num_channels()
    never = np.iinfo(np.int32).max
    level_bits = np.where(counted, level * max_int, never).astype(np.float32)
    step_bits = np.where(counted, slope_v_per_s * 1e6 / rate_hz / gain_uv, never)
    step_bits = step_bits.astype(np.float32)
    lowest, highest = np.full(n_channels, never), np.full(n_channels, -never)
    n_beyond = np.zeros(n_channels, np.int64)
    saturated, zeros, rms_bits, times_s = [], [], [], []
    previous = None
    for start, stop in chunk_bounds(n_samples, max(1, round(window_s * rate_hz))):
        traces = np.ascontiguousarray(recording.get_traces(start_frame=start, end_frame=stop))
        previous = traces[0] if previous is None else previous
        flags, low, high, totals, squares, beyond = _scan_chunk(
            traces, previous, level_bits, step_bits, channel_fraction * counted.sum()
        )
        previous = traces[-1].copy()
        lowest = np.minimum(lowest, low.min(axis=0))
        highest = np.maximum(highest, high.max(axis=0))
        n_beyond += beyond.sum(axis=0)
        saturated.append(runs_of((flags & 1) > 0) + start)
        zeros.append(runs_of((flags & 2) > 0) + start)
        n_valid = np.count_nonzero((flags & 2) == 0)
        rms_bits.append(_standard_deviation(totals.sum(axis=0), squares.sum(axis=0), n_valid))
        times_s.append((start + stop) / 2 / rate_hz)
    gaps = _join(zeros)
    return Scan(
        saturated=_join(saturated),
        gaps=gaps[np.diff(gaps, axis=1)[:, 0] >= min_gap_s * rate_hz],
        constant=lowest >= highest,
        saturated_fraction=n_beyond / n_samples,
        rms_bits=np.array(rms_bits, np.float32),
        window_times_s=np.array(times_s),
    )


def _standard_deviation(totals, squares, n):
    """Standard deviation from sums over `n` samples; NaN where there is none."""
    if n == 0:
        return np.full(len(totals), np.nan)
    return np.sqrt(np.maximum(squares / n - (totals / n) ** 2, 0))
