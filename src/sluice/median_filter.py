"""Median and percentile of a window that slides along a trace, whatever its length.

The samples of a trace are ranked once. A bit set over the ranks holds what is in the window,
and a pointer stays at the wanted one: as a sample comes and a sample goes the pointer moves by
at most a few neighbours. So the work per sample does not grow with the window, where sorting
or selecting in every window, as `scipy.signal.medfilt` does, grows with it.
"""

import numpy as np
from numba import njit, prange, types
from numba.extending import intrinsic

# How a trace goes on beyond its ends; names as those of scipy.ndimage.
PADDINGS = {"reflect": 0, "nearest": 1, "constant": 2}

_DIGIT_BITS = 11
_N_DIGITS = 6  # 6 x 11 bits cover a float64


def window_samples(window_s, sampling_rate_hz, *, at_least=1):
    """Odd number of samples in a window: rounded, and one more where that is even.

    Parameters
    ----------
    window_s, sampling_rate_hz : float
    at_least : int
        Smallest answer, odd.

    Returns
    -------
    int
        E.g. 101 for 3.333 s at 30 Hz, as the AllenSDK and ophys_etl have it.
    """
    n = round(window_s * sampling_rate_hz)
    return max(n + 1 - n % 2, at_least)


def sliding_percentile(traces, *, window, percentile, padding="reflect"):
    """Percentile of the samples around each sample; NaNs are left out.

    Equals ``np.nanpercentile`` of every window, so values between two samples are
    interpolated linearly. (``scipy.ndimage.percentile_filter`` takes the lower sample.)

    Parameters
    ----------
    traces : float32 or float64 array, shape (n_traces, n_samples)
    window : int
        Samples of the window, odd, centred. It may be longer than the trace.
    percentile : float
        0 to 100; 0 and 100 are the minimum and the maximum.
    padding : {"reflect", "nearest", "constant"}
        How a trace goes on beyond its ends: mirrored (the last sample twice), its last
        sample for ever, or zeros.

    Returns
    -------
    float64 array, shape (n_traces, n_samples)
        NaN where a window holds no number. A NaN sample gets the
        percentile of those around it.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"the window must be an odd number of samples, not {window}")
    if not 0 <= percentile <= 100:
        raise ValueError(f"a percentile is between 0 and 100, not {percentile}")
    # one type only, as every type is compiled anew
    found = np.empty(traces.shape)
    if traces.size:
        traces = np.ascontiguousarray(traces, dtype=np.float64)
        _percentile_rows(traces, window // 2, percentile / 100, PADDINGS[padding], found)
    return found


def sliding_median(traces, *, window, padding="reflect"):
    """Median of the samples around each sample; see `sliding_percentile`."""
    return sliding_percentile(traces, window=window, percentile=50.0, padding=padding)


@intrinsic
def _lowest_bit(typing_context, word):
    """Place of the lowest bit of a word that is not 0."""

    def code(context, builder, signature, arguments):
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), code


@intrinsic
def _leading_zeros(typing_context, word):
    """Zeros above the highest bit of a word that is not 0."""

    def code(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), code


@njit(cache=True, nogil=True, parallel=True)
def _percentile_rows(traces, half, quantile, padding, found):
    for i in prange(traces.shape[0]):
        percentile_row(traces[i], half, quantile, padding, found[i])


@njit(cache=True, nogil=True)
def percentile_row(trace, half, quantile, padding, found):
    """Percentile of one trace's sliding window; see `sliding_percentile`.

    Parameters
    ----------
    trace : float64 array, shape (n_samples,)
    half : int
        Samples on either side of the middle of the window.
    quantile : float
    padding : int
        Of `PADDINGS`.
    found : float64 array, shape (n_samples,)
        Written.
    """
    padded = _pad(trace, half, padding)
    ranks, values = _rank(padded)
    bits, words, groups = _empty_set(values.size)
    n_inside = 0
    at, below = -1, 0  # the pointer's rank and how many in the window lie below it
    window = 2 * half + 1
    for i in range(padded.size):
        new = ranks[i]
        if new >= 0:
            _add(bits, words, groups, new)
            n_inside += 1
            if at < 0:
                at, below = new, 0
            below += new < at  # no branch: nobody can guess it
        if i >= window:
            old = ranks[i - window]
            if old >= 0:
                n_inside -= 1
                below -= old < at
                if old == at:  # move before it goes
                    at = _next(bits, words, groups, old)
                    if at < 0:
                        at = _previous(bits, words, groups, old)
                        below -= 1
                _remove(bits, words, groups, old)
        if i < window - 1:
            continue
        if n_inside == 0:
            found[i - window + 1] = np.nan
            continue
        place = quantile * (n_inside - 1)
        wanted = int(place)
        while below < wanted:
            at = _next(bits, words, groups, at)
            below += 1
        while below > wanted:
            at = _previous(bits, words, groups, at)
            below -= 1
        value = values[at]
        part = place - wanted
        if part > 0:
            value += part * (values[_next(bits, words, groups, at)] - value)
        found[i - window + 1] = value


@njit(cache=True, nogil=True)
def _pad(trace, half, padding):
    n = trace.size
    padded = np.zeros(n + 2 * half)
    padded[half : half + n] = trace
    if padding == 1:
        padded[:half] = trace[0]
        padded[half + n :] = trace[-1]
    elif padding == 0:
        for i in range(half):
            # mirrored again and again where the window is longer than the trace
            place = i % (2 * n)
            if place >= n:
                place = 2 * n - 1 - place
            padded[half - 1 - i] = trace[place]
            padded[half + n + i] = trace[n - 1 - place]
    return padded


@njit(cache=True, nogil=True)
def _rank(trace):
    """Rank of every sample (-1 for NaN; equal samples by time) and the sorted samples.

    A radix sort of the floats' bits, which, with all bits of the negative ones and the sign
    of the others turned, are in the order of the numbers.
    """
    ranks = np.full(trace.size, -1, np.int32)
    order = np.flatnonzero(~np.isnan(trace)).astype(np.int32)
    n = order.size
    keys = trace[order].view(np.uint64)
    counts = np.zeros((_N_DIGITS, 1 << _DIGIT_BITS), np.int64)
    sign, mask = np.uint64(1 << 63), np.uint64((1 << _DIGIT_BITS) - 1)
    for i in range(n):
        keys[i] = ~keys[i] if keys[i] & sign else keys[i] | sign
        for digit in range(_N_DIGITS):
            counts[digit, (keys[i] >> np.uint64(_DIGIT_BITS * digit)) & mask] += 1
    other_keys, other_order = np.empty_like(keys), np.empty_like(order)
    for digit in range(_N_DIGITS):
        shift = np.uint64(_DIGIT_BITS * digit)
        if n == 0 or counts[digit, (keys[0] >> shift) & mask] == n:
            continue  # all the same, as the low bits of what was float32
        start = 0
        for k in range(counts.shape[1]):
            count = counts[digit, k]
            counts[digit, k] = start
            start += count
        for i in range(n):
            k = (keys[i] >> shift) & mask
            place = counts[digit, k]
            counts[digit, k] = place + 1
            other_keys[place], other_order[place] = keys[i], order[i]
        keys, other_keys = other_keys, keys
        order, other_order = other_order, order
    for i in range(n):
        ranks[order[i]] = i
    return ranks, trace[order]


@njit(cache=True, nogil=True)
def _empty_set(n):
    """Bits of n ranks, of the words of these that are not 0, and of the words of those."""
    n_words = (n >> 6) + 1
    n_groups = (n_words >> 6) + 1
    return (
        np.zeros(n_words, np.uint64),
        np.zeros(n_groups, np.uint64),
        np.zeros((n_groups >> 6) + 1, np.uint64),
    )


@njit(cache=True, nogil=True)
def _bit(place):
    return np.uint64(1) << np.uint64(place & 63)


@njit(cache=True, nogil=True)
def _add(bits, words, groups, rank):
    bits[rank >> 6] |= _bit(rank)
    words[rank >> 12] |= _bit(rank >> 6)
    groups[rank >> 18] |= _bit(rank >> 12)


@njit(cache=True, nogil=True)
def _remove(bits, words, groups, rank):
    bits[rank >> 6] &= ~_bit(rank)
    if bits[rank >> 6] == 0:
        words[rank >> 12] &= ~_bit(rank >> 6)
        if words[rank >> 12] == 0:
            groups[rank >> 18] &= ~_bit(rank >> 12)


@njit(cache=True, nogil=True)
def _lowest(word, place):
    return (place << 6) + np.int64(_lowest_bit(word))


@njit(cache=True, nogil=True)
def _highest(word, place):
    return (place << 6) + 63 - np.int64(_leading_zeros(word))


@njit(cache=True, nogil=True)
def _above(level, place):
    """First bit of a level above a place in the same word, or -1."""
    word = level[place >> 6] & ~((_bit(place) << np.uint64(1)) - np.uint64(1))
    return _lowest(word, place >> 6) if word else -1


@njit(cache=True, nogil=True)
def _under(level, place):
    """Last bit of a level below a place in the same word, or -1."""
    word = level[place >> 6] & (_bit(place) - np.uint64(1))
    return _highest(word, place >> 6) if word else -1


@njit(cache=True, nogil=True)
def _next(bits, words, groups, rank):
    """Smallest rank of the set above `rank`, or -1."""
    found = _above(bits, rank)
    if found >= 0:
        return found
    word = _above(words, rank >> 6)
    if word < 0:
        group = _above(groups, rank >> 12)
        k = rank >> 18
        while group < 0:
            k += 1
            if k == groups.size:
                return -1
            if groups[k]:
                group = _lowest(groups[k], k)
        word = _lowest(words[group], group)
    return _lowest(bits[word], word)


@njit(cache=True, nogil=True)
def _previous(bits, words, groups, rank):
    """Largest rank of the set below `rank`, or -1."""
    found = _under(bits, rank)
    if found >= 0:
        return found
    word = _under(words, rank >> 6)
    if word < 0:
        group = _under(groups, rank >> 12)
        k = rank >> 18
        while group < 0:
            k -= 1
            if k < 0:
                return -1
            if groups[k]:
                group = _highest(groups[k], k)
        word = _highest(words[group], group)
    return _highest(bits[word], word)
