"""Zero-phase high-pass filter of many channels, in chunks of any length."""

import numpy as np
from numba import njit, prange

_STEPS = 4  # samples filtered per visit to a channel's state, which then stays in registers
_WIDTH = 32


def highpass_sos(cutoff_hz, order, sampling_rate_hz):
    """Butterworth high-pass filter in second-order sections.

    Parameters
    ----------
    cutoff_hz : float
        -3 dB point of one pass; the forward and backward pass together have -6 dB there.
    order : int
        Order of one pass.
    sampling_rate_hz : float

    Returns
    -------
    sos : float64, shape (n_sections, 6)
        As `scipy.signal.butter` gives it.

    Raises
    ------
    ValueError
        The cutoff is not between 0 and half the sampling rate.
    """
    from scipy.signal import butter

    return butter(order, cutoff_hz, btype="highpass", fs=sampling_rate_hz, output="sos")


def settling_samples(sos, remainder=1e-6):
    """Samples after which a filter has forgotten where it began.

    Parameters
    ----------
    sos : float64, shape (n_sections, 6)
    remainder : float
        What may be left of the slowest mode. A millionth of the largest int16 value is
        0.03 bits, which rounding hides.

    Returns
    -------
    n : int
    """
    from scipy.signal import sos2zpk

    slowest = np.abs(sos2zpk(sos)[1]).max()
    return int(np.ceil(np.log(remainder) / np.log(slowest)))


def filter_both_ways(traces, sos, *, scale=None, first=0, stop=None):
    """Filter forwards and backwards, as `scipy.signal.sosfiltfilt` does.

    Same padding as scipy's default (odd extension at both ends, three times the number of
    coefficients) and same initial state. The state of the filter is float64, so that
    cutoffs far below the sampling rate keep their precision; between the passes values are
    float32.

    Parameters
    ----------
    traces : int16, shape (n_samples, n_channels)
        C-contiguous, longer than the padding.
    sos : float64, shape (n_sections, 6)
    scale : float32, shape (n_channels,), optional
        Factor applied to each channel before it is rounded; 1 if not given.
    first, stop : int
        Samples that are wanted; the others serve as margin. By default all.

    Returns
    -------
    filtered : int16, shape (stop - first, n_channels)
        Rounded to the nearest integer (halves to even), set to the nearest limit of int16
        where it does not fit.
    n_clipped : int
        Values that did not fit.

    Raises
    ------
    ValueError
        Too few samples for the padding.
    """
    from scipy.signal import sosfilt_zi

    n_samples, n_channels = traces.shape
    padding = padding_samples(sos)
    if n_samples <= padding:
        raise ValueError(f"{n_samples} samples; the filter needs more than {padding}")
    if scale is None:
        scale = np.ones(n_channels, dtype=np.float32)
    if stop is None:
        stop = n_samples
    filtered = np.empty((stop - first, n_channels), dtype=np.int16)
    n_clipped = _filter_both_ways(traces, sos, sosfilt_zi(sos), padding, scale, first, filtered)
    return filtered, int(n_clipped)


def filtered_blocks(blocks, sos, *, scale=None):
    """Filter a stream of blocks as if it were one array.

    Each block is filtered with a margin on both sides in which the filter settles
    (`settling_samples`); the ends of the recording are padded as `filter_both_ways` does.
    The result equals that of the whole recording but for values that lie within about 1e-6
    of the middle between two integers.

    Parameters
    ----------
    blocks : iterable of int16, shape (n_block, n_channels)
        One after the other.
    sos : float64, shape (n_sections, 6)
    scale : float32, shape (n_channels,), optional

    Yields
    ------
    filtered : int16, shape (n_any, n_channels)
        Together as many samples as came in.
    n_clipped : int
        Values of this block that did not fit int16.
    """
    margin = max(settling_samples(sos), padding_samples(sos) + 1)
    known, n_done = None, 0  # samples that are still needed; how many of them were yielded
    for block in blocks:
        known = block if known is None else np.concatenate([known, block])
        stop = len(known) - margin
        if stop <= n_done:
            continue
        yield filter_both_ways(known, sos, scale=scale, first=n_done, stop=stop)
        drop = max(stop - margin, 0)
        known, n_done = known[drop:], stop - drop
    if known is not None:
        yield filter_both_ways(known, sos, scale=scale, first=n_done)


def padding_samples(sos):
    """Samples that scipy's `sosfiltfilt` adds at each end by default."""
    n_vanishing = min((sos[:, 2] == 0).sum(), (sos[:, 5] == 0).sum())
    return int(3 * (2 * len(sos) + 1 - n_vanishing))


@njit(inline="always", fastmath={"contract", "nsz"})
def _advance(values, first, second, sos):
    """Filter `_STEPS` samples of all channels in place (transposed direct form II)."""
    for s in range(len(sos)):
        b0, b1, b2 = sos[s, 0], sos[s, 1], sos[s, 2]
        a1, a2 = sos[s, 4], sos[s, 5]
        for c in range(values.shape[1]):
            p, q = first[s, c], second[s, c]
            for k in range(_STEPS):
                x = values[k, c]
                y = b0 * x + p
                p = b1 * x - a1 * y + q
                q = b2 * x - a2 * y
                values[k, c] = y
            first[s, c] = p
            second[s, c] = q


@njit(nogil=True, cache=True)
def _one_way(buffer, start, direction, n_rows, sos, zi):
    """Filter `n_rows` rows in place from `start` on, upwards (1) or downwards (-1).

    Up to `_STEPS` - 1 rows beyond are overwritten with nonsense.
    """
    width = buffer.shape[1]
    values = np.empty((_STEPS, width), zi.dtype)
    first = np.empty((len(sos), width), zi.dtype)  # the two delayed values of each section
    second = np.empty((len(sos), width), zi.dtype)
    for s in range(len(sos)):
        for c in range(width):
            first[s, c] = zi[s, 0] * buffer[start, c]
            second[s, c] = zi[s, 1] * buffer[start, c]
    for t in range(0, n_rows, _STEPS):
        for k in range(_STEPS):
            for c in range(width):
                values[k, c] = buffer[start + direction * (t + k), c]
        _advance(values, first, second, sos)
        for k in range(_STEPS):
            for c in range(width):
                buffer[start + direction * (t + k), c] = values[k, c]


@njit(nogil=True, cache=True, parallel=True)
def _filter_both_ways(traces, sos, zi, padding, scale, first, filtered):
    """Fill `filtered`; return how many values were set to a limit."""
    n_samples, n_channels = traces.shape
    n_rows = n_samples + 2 * padding
    low, high = np.float32(-32768), np.float32(32767)
    n_clipped = 0
    for block in prange((n_channels + _WIDTH - 1) // _WIDTH):
        left = block * _WIDTH
        width = min(_WIDTH, n_channels - left)
        buffer = np.empty((n_rows + _STEPS, width), np.float32)
        for t in range(padding):
            for c in range(width):
                twice_first = 2 * np.float32(traces[0, left + c])
                twice_last = 2 * np.float32(traces[n_samples - 1, left + c])
                buffer[t, c] = twice_first - traces[padding - t, left + c]
                buffer[n_rows - padding + t, c] = twice_last - traces[n_samples - 2 - t, left + c]
        for t in range(n_samples):
            for c in range(width):
                buffer[padding + t, c] = traces[t, left + c]
        _one_way(buffer, 0, 1, n_rows, sos, zi)
        _one_way(buffer, n_rows - 1, -1, n_rows - padding - first, sos, zi)
        for t in range(len(filtered)):
            for c in range(width):
                value = np.rint(buffer[padding + first + t, c] * scale[left + c])
                fitting = min(max(value, low), high)
                n_clipped += value != fitting
                filtered[t, left + c] = np.int16(fitting)
    return n_clipped
