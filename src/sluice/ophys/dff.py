"""Fluorescence relative to its baseline (dF/F)."""

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from sluice.median_filter import sliding_median, sliding_percentile, window_samples
from sluice.ophys.noise import noise_std, noise_window
from sluice.ophys.traces import batches, fill_gaps, require_traces
from sluice.qc import check, log_checks, save_checks

# Window of the baseline (s), by method.
WINDOW_S = {"window_median": 180.0, "inactive_median": 600.0, "maximin": 60.0}
# A ROI whose baseline is within the noise in more frames than this is counted by the check.
_SMALL_FRACTION = 0.1


def window_median(traces, *, window, padding="reflect"):
    """Baseline as the median of a sliding window (AllenSDK, compute_dff_windowed_median).

    The SDK's trace goes on as zeros beyond its ends, so that the baseline is half of what it
    should be at both and dF/F as large as 1 there: padding "constant" does the same.

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
    window : int
        Frames, odd.
    padding : str
        See `sliding_percentile`.

    Returns
    -------
    float64 array, shape (n_rois, n_frames)
        Unit of the traces; a number in every frame of a ROI that has any.
    """
    return fill_gaps(sliding_median(traces, window=window, padding=padding))


def inactive_median(traces, noise, *, window, percentile, n_noise, padding="reflect"):
    """Baseline as the median of the frames without activity (ophys_etl, modules/dff).

    Frames more than `n_noise` times the noise above a low percentile of the window are left
    out. Serves cells that are active in most frames, whose plain median is not a baseline.

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
    noise : float array, shape (n_rois,)
        Standard deviation, unit of the traces.
    window : int
        Frames, odd.
    percentile : float
    n_noise : float
    padding : str

    Returns
    -------
    float64 array, shape (n_rois, n_frames)
    """
    low = sliding_percentile(traces, window=window, percentile=percentile, padding=padding)
    is_active = traces > low + n_noise * noise[:, None]
    return window_median(np.where(is_active, np.nan, traces), window=window, padding=padding)


def maximin(traces, *, window, smooth_samples, padding="reflect"):
    """Baseline as the highest of the window's lowest values, after a Gaussian (suite2p).

    Lies below the middle of the noise. Gaps are filled in a straight line for the Gaussian.

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
    window : int
        Frames, odd.
    smooth_samples : float
        Standard deviation of the Gaussian, cut off at three of them.
    padding : str

    Returns
    -------
    float64 array, shape (n_rois, n_frames)
    """
    smooth = gaussian_filter1d(
        fill_gaps(np.array(traces, np.float64)), smooth_samples, axis=1, mode="nearest", truncate=3
    )
    low = sliding_percentile(smooth, window=window, percentile=0, padding=padding)
    return sliding_percentile(low, window=window, percentile=100, padding=padding)


def smallest_divisor(traces, noise):
    """The least that a trace is divided by: its noise, so that dF/F stays bounded.

    A trace without noise (made up, or rounded to a few values) is divided by no less than its
    standard deviation, which the sources, that divide by 0, do not know. Where that too is 0
    the trace is constant, F - F0 is 0, and 1 is returned.

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
    noise : float array, shape (n_rois,)

    Returns
    -------
    float64 array, shape (n_rois,)
        Above 0; NaN where the noise is.
    """
    found = np.array(noise, np.float64)
    for row in np.flatnonzero(found == 0):
        found[row] = np.nanstd(traces[row]) or 1.0
    return found


def compute_dff(traces, *, sampling_rate_hz, settings):
    """dF/F = (F - F0) / max(F0, noise), its baseline and its noise.

    With `detrend`, min(median of a short window, 2.5 times the noise of dF/F) is subtracted
    (AllenSDK): a response longer than half of the window loses as much, and on made-up movies
    all transients were 5 to 15 % smaller. It is off by default, as in ophys_etl, where `events`
    does it for itself. A NaN frame is NaN in dF/F and is left out of everything else.

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
        Corrected fluorescence, intensity as recorded.
    sampling_rate_hz : float
    settings : dict
        ``ophys.dff``.

    Returns
    -------
    dff, baseline : float32 array, shape (n_rois, n_frames)
        The baseline has a number in every frame, and is not raised to the noise.
    DataFrame
        A row a ROI: roi; noise_dff (of dF/F, before it is detrended); noise (of the trace, its
        unit); n_small_baseline_frames (frames whose baseline is not above the noise);
        skewness of dF/F. NaN where nothing can be said.
    """
    window_s = settings["window_s"] or WINDOW_S[settings["method"]]
    windows = {
        "baseline": window_samples(window_s, sampling_rate_hz),
        "noise": noise_window(settings["noise_window_s"], sampling_rate_hz),
        "detrend": window_samples(settings["detrend_window_s"], sampling_rate_hz, at_least=3),
    }
    dff, baseline = np.empty(traces.shape, np.float32), np.empty(traces.shape, np.float32)
    tables = []
    for rows in batches(len(traces)):
        one = np.array(traces[rows], np.float64)
        noise = noise_std(one, window=windows["noise"])
        floor = smallest_divisor(one, noise)[:, None]
        f0 = _baseline(one, noise, windows["baseline"], settings)
        is_small = (f0 <= floor) & ~np.isnan(one)
        one -= f0
        one /= np.maximum(f0, floor)
        noise_dff = noise_std(one, window=windows["noise"])
        if settings["detrend"]:
            drift = sliding_median(one, window=windows["detrend"], padding=settings["padding"])
            one -= np.minimum(drift, settings["detrend_max_noise"] * noise_dff[:, None])
        dff[rows], baseline[rows] = one, f0
        tables.append(_table(rows, one, noise, noise_dff, is_small))
    return dff, baseline, pd.concat(tables or [_table(slice(0, 0), *_NOTHING)], ignore_index=True)


def _baseline(traces, noise, window, settings):
    method, padding = settings["method"], settings["padding"]
    if method == "window_median":
        return window_median(traces, window=window, padding=padding)
    if method == "maximin":
        return maximin(
            traces, window=window, smooth_samples=settings["smooth_samples"], padding=padding
        )
    return inactive_median(
        traces,
        noise,
        window=window,
        percentile=settings["inactive_percentile"],
        n_noise=settings["inactive_noise"],
        padding=padding,
    )


def _table(rows, dff, noise, noise_dff, is_small):
    return pd.DataFrame(
        {
            "roi": np.arange(rows.start, rows.start + len(dff), dtype=np.int64),
            "noise_dff": noise_dff,
            "noise": noise,
            "n_small_baseline_frames": is_small.sum(axis=1, dtype=np.int64),
            "skewness": np.array([_skewness(row[~np.isnan(row)]) for row in dff], float),
        }
    )


def _skewness(samples):
    rest = samples - samples.mean() if samples.size else samples
    squares = rest * rest
    variance = squares.mean() if samples.size else 0.0
    return float(np.mean(squares * rest) / variance**1.5) if variance > 0 else np.nan


_NOTHING = (np.empty((0, 0)), np.empty(0), np.empty(0), np.empty((0, 0), bool))


def dff_file(*, corrected, info, dff, baseline, rois, checks, settings, name):
    """Compute dF/F of one plane's ROIs.

    Parameters
    ----------
    corrected : path
        ``corrected.npy`` (n_rois, n_frames), read.
    info : PlaneInfo
    dff, baseline, rois, checks : path
        ``dff.npy``, ``baseline.npy``, ``rois.pqt``, ``checks.json``, written.
    settings : dict
        ``ophys.dff``.
    name : str
        How messages call the plane.

    Raises
    ------
    InputError
        The traces are not of this plane.
    """
    traces = np.load(corrected)
    require_traces(traces, corrected, info, name)
    found, f0, table = compute_dff(
        traces, sampling_rate_hz=info.sampling_rate_hz, settings=settings
    )
    np.save(dff, found)
    np.save(baseline, f0)
    table.to_parquet(rois, index=False)
    n_frames = np.count_nonzero(~np.isnan(found), axis=1)
    judged = _checks(table, n_frames, settings)
    save_checks(judged, checks)
    log_checks(judged)


def _checks(table, n_frames, settings):
    """Judge what was found."""
    n, n_defined = len(table), int(np.count_nonzero(n_frames))
    n_small = int((table["n_small_baseline_frames"] > _SMALL_FRACTION * n_frames).sum())
    rows = [
        (
            "dff_undefined_fraction",
            (n - n_defined) / n if n else None,
            f"{n - n_defined} of {n} ROIs have no dF/F",
        ),
        (
            "dff_small_baseline_fraction",
            n_small / n_defined if n_defined else None,
            f"{n_small} of {n_defined} ROIs have a baseline within the noise in more than a "
            "tenth of the frames: dim, or too much neuropil subtracted",
        ),
        (
            "dff_noise_median",
            float(table["noise_dff"].median()) if n_defined else None,
            "noise of dF/F, median of the ROIs",
        ),
    ]
    return [
        check(key, value, message=message, **settings["checks"][key])
        for key, value, message in rows
    ]
