"""Noise of fluorescence traces that hardly depends on the cell's activity."""

import numpy as np

from sluice.median_filter import sliding_median, window_samples

# Standard deviation of a normal distribution over its median absolute deviation.
_SD_PER_MAD = 1.4826

# With fewer samples in the window a sample is too often its own median, and the noise is
# found too small: by 36 % with 5 samples, by 14 % with 11 (white noise).
_MIN_WINDOW = 11


def noise_window(window_s, sampling_rate_hz):
    """Odd samples of the noise's window, at least 11 whatever the rate."""
    return window_samples(window_s, sampling_rate_hz, at_least=_MIN_WINDOW)


def noise_std(traces, *, window, padding="reflect"):
    """Standard deviation of the noise of each trace.

    The slow part is taken away by a sliding median. Samples above 1.5 times the depth of the
    lowest one are transients and are left out, then those beyond 2.5 robust standard
    deviations; what remains gives the answer, 1.4826 times the median absolute deviation
    (AllenSDK, brain_observatory.dff.noise_std). The SDK's window is 31 samples at every rate
    and its trace goes on as zeros; here the window is a time and the trace is mirrored.

    Parameters
    ----------
    traces : float array, shape (n_traces, n_samples)
    window : int
        Samples of the sliding median, odd.
    padding : str
        See `median_filter.sliding_percentile`.

    Returns
    -------
    float64 array, shape (n_traces,)
        Unit of the traces. 0 for a trace without noise, NaN for one without a number.
    """
    traces = np.asarray(traces, dtype=np.float64)
    found = np.full(len(traces), np.nan)
    rest = traces - sliding_median(traces, window=window, padding=padding)
    for row, samples in enumerate(rest):
        samples = samples[~np.isnan(samples)]
        if samples.size == 0:
            continue
        samples = samples[samples < 1.5 * abs(samples.min())]
        samples = samples[np.abs(samples) < 2.5 * _robust_std(samples)]
        found[row] = _robust_std(samples)
    return found


def _robust_std(samples):
    if samples.size == 0:  # nothing but equal samples
        return 0.0
    return _SD_PER_MAD * _median(np.abs(samples - _median(samples)))


def _median(samples):
    """Median of numbers; a tenth of the time of np.median, which looks for NaNs too."""
    k = samples.size // 2
    parts = np.partition(samples, k)
    return parts[k] if samples.size % 2 else (parts[k] + parts[:k].max()) / 2
