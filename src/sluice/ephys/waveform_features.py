"""Features of a unit's mean waveform: shape on its peak channel, extent along the probe.

Definitions of Allen's ecephys_spike_sorting (mean_waveforms, waveform_metrics.py; Jia et al.
2019), with the column names of AllenSDK's unit table. Four corrections to the reference:

- Velocities. The reference looks up the troughs' sample numbers, counted in 82 samples, on
  an axis of 200, so its velocities are 82/199 = 0.412 of what they should be. Here trough
  times are times, on the finer grid.
- The finer grid's step is the window's length over its number of points. The reference
  divides by one point less, so its durations are 200/199 (0.5 %) too long.
- Distances come from the positions of the contacts. The reference counts 10 µm a channel,
  and, as it samples every second channel, its spread on Neuropixels 1.0 (a row every 20 µm)
  is half the extent.
- Channel 0 is a channel like any other; the reference leaves it out.
"""

import numpy as np
import pandas as pd
from scipy.signal import resample

from sluice.ephys.traces import GOOD

FEATURE_COLUMNS = {
    "snr": "peak-to-peak amplitude of the mean over twice the standard deviation of the "
    "residuals, on the peak channel (ratio, ≥ 0)",
    "waveform_duration": "trough to the following peak; from the peak to the following trough "
    "where the peak is larger (ms, ≥ 0)",
    "waveform_halfwidth": "width at half of the larger of trough and peak (ms, > 0)",
    "PT_ratio": "|peak / trough| (ratio, ≥ 0)",
    "repolarization_slope": "slope after the trough (V/s)",
    "recovery_slope": "slope after the peak that follows the trough (V/s)",
    "amplitude": "largest peak-to-peak amplitude of any contact looked at (µV, ≥ 0)",
    "spread": "extent along the probe over which the amplitude exceeds a fraction of the "
    "largest (µm, > 0)",
    "velocity_above": "slope of the trough's time over the position along the probe, above the "
    "peak channel: inverse velocity, positive where the spike travels towards the surface (s/m)",
    "velocity_below": "the same below the peak channel, negative where the spike travels "
    "towards the tip (s/m)",
    "n_averaged": "spikes that the mean waveform is taken over",
}

# The reference's grid: 200 points over 82 samples at 30 kHz; slopes are fitted over 20 points.
GRID_STEP_S = 82 / 30_000 / 200
SLOPE_POINTS = 20
# A row of contacts this many scaled median deviations from the middle of the spread is not
# part of it (Iglewicz and Hoaglin 1993; 0.6745 is the normal distribution's).
OUTLIER_SCORE = 1.5


def snr(mean, std):
    """Compute Allen's signal-to-noise ratio on one channel.

    ``(max - min of the mean) / (2 × standard deviation of the residuals)``, the residuals
    being all samples of all averaged spikes minus the mean waveform; their variance is the
    mean over samples of the variance over spikes.

    Parameters
    ----------
    mean, std : float (n_samples,)
        µV; `std` is the population standard deviation.

    Returns
    -------
    float
        NaN where `std` is (fewer than two spikes); infinite without any noise.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.ptp(mean) / (2 * np.sqrt(np.mean(np.square(std, dtype=np.float64))))


def upsample(waveform, sampling_rate_hz):
    """Resample waveforms by Fourier interpolation to the grid features are measured on.

    Parameters
    ----------
    waveform : float (n_samples, ...)
    sampling_rate_hz : float

    Returns
    -------
    waveform : float64 (n_points, ...)
        200 points for Allen's window of 82 samples at 30 kHz.
    step_s : float
        Time between points.
    """
    duration_s = len(waveform) / sampling_rate_hz
    n_points = max(len(waveform), round(duration_s / GRID_STEP_S))
    waveform = resample(np.asarray(waveform, np.float64), n_points, axis=0)
    return waveform, duration_s / n_points


def duration_ms(waveform, step_s):
    """Time from the trough to the largest peak after it.

    Where the peak is larger than the trough: from the peak to the lowest trough after it.
    """
    extreme = _extreme(waveform)
    after = waveform[extreme:]
    other = after.argmax() if waveform[extreme] <= 0 else after.argmin()
    return float(other * step_s * 1e3)


def halfwidth_ms(waveform, step_s):
    """Width at half of the trough, or of the peak where that is larger.

    From the first point of the window beyond the half to the first point after the extreme
    that is back, as in the reference; NaN where one of them is missing.
    """
    extreme = _extreme(waveform)
    beyond = waveform / waveform[extreme] > 0.5
    before, back = np.flatnonzero(beyond[:extreme]), np.flatnonzero(~beyond[extreme:])
    if len(before) == 0 or len(back) == 0:
        return np.nan
    return float((extreme + back[0] - before[0]) * step_s * 1e3)


def pt_ratio(waveform):
    """Ratio of the largest to the smallest value, without sign."""
    return float(abs(waveform.max() / waveform.min()))


def slopes_v_s(waveform, step_s):
    """Slopes of repolarization and recovery.

    The waveform is turned so that its largest deflection is negative. Repolarization is the
    slope of a straight line through the 20 points (0.27 ms) from that deflection on, recovery
    that through the 20 points from the following peak on, or as many as there are.

    Parameters
    ----------
    waveform : float (n_points,)
        µV.
    step_s : float

    Returns
    -------
    repolarization_slope, recovery_slope : float
        V/s; NaN where fewer than two points remain.
    """
    trough = np.abs(waveform).argmax()
    turned = -np.sign(waveform[trough]) * waveform
    peak = trough + turned[trough:].argmax()
    times_s = np.arange(SLOPE_POINTS) * step_s
    parts = (turned[first : first + SLOPE_POINTS] for first in (trough, peak))
    return tuple(_slope(times_s[: len(part)], part * 1e-6) for part in parts)


def sites_along_probe(channels, peak_channel, *, range_um):
    """Choose one contact of each row along the probe, near a unit's peak channel.

    Parameters
    ----------
    channels : DataFrame
        Table of channels, see `sluice.ephys.traces.CHANNEL_COLUMNS`.
    peak_channel : int
    range_um : float
        Rows at most this far from the peak channel's.

    Returns
    -------
    sites : int64 (n_rows,)
        Good channels of the peak channel's shank by position along the probe, of each row
        the one nearest across the probe to the peak channel (the lower index of two as
        near). The peak channel is always one of them.
    """
    offset_x = np.abs(channels["x_um"] - channels["x_um"][peak_channel])
    offset_y = channels["y_um"] - channels["y_um"][peak_channel]
    usable = (channels["label"] == GOOD) & ~channels["is_reference"].astype(bool)
    usable &= (channels["shank"] == channels["shank"][peak_channel]) & (offset_y.abs() <= range_um)
    usable[peak_channel] = True
    sites = pd.DataFrame({"row": offset_y.round(1), "across": offset_x})[usable]
    sites.loc[peak_channel, "across"] = -1.0  # first of its row whatever else is there
    sites = sites.sort_values(["row", "across"], kind="stable").drop_duplicates("row")
    return sites.index.to_numpy(np.int64)


def spatial_features(amplitude_uv, trough_s, y_um, peak_site, *, spread_threshold):
    """Extent of a unit along the probe and the velocity of its spike's trough.

    Parameters
    ----------
    amplitude_uv : float (n_sites,)
        Peak-to-peak amplitude, one site a row of contacts, by position along the probe.
    trough_s : float (n_sites,)
        Time of the trough.
    y_um : float (n_sites,)
        Position along the probe, strictly ascending towards the surface.
    peak_site : int
        Site of the unit's peak channel.
    spread_threshold : float
        Fraction of the largest amplitude that a row must exceed to belong to the spread.

    Returns
    -------
    spread : float
        µm: the rows above the threshold, outliers left out, each counted with half the way
        to its two neighbours; NaN with a single row.
    velocity_above, velocity_below : float
        s/m: least-squares slope of the time of the trough over `y_um` among those rows, from
        the peak channel upwards and downwards, the peak channel included; NaN where there is
        none beside it.
    """
    above = np.flatnonzero(amplitude_uv > spread_threshold * amplitude_uv.max())
    if len(above) > 1:
        deviation = np.abs(y_um[above] - np.median(y_um[above]))
        above = above[0.6745 * deviation <= OUTLIER_SCORE * np.median(deviation)]
    spread = float(np.gradient(y_um)[above].sum()) if len(y_um) > 1 else np.nan
    upper, lower = above[above >= peak_site], above[above <= peak_site]
    velocity_above, velocity_below = (
        _slope(y_um[side] * 1e-6, trough_s[side]) for side in (upper, lower)
    )
    return spread, velocity_above, velocity_below


def waveform_features(
    mean, std, channels, *, peak_channels, sampling_rate_hz, spread_range_um, spread_threshold
):
    """Compute all features of all units.

    Parameters
    ----------
    mean, std : float32 (n_units, n_samples, n_channels)
        µV, see `sluice.ephys.unit_waveforms.mean_waveforms`.
    channels : DataFrame
        Table of channels, see `sluice.ephys.traces.CHANNEL_COLUMNS`.
    peak_channels : int (n_units,)
    sampling_rate_hz : float
    spread_range_um : float
        See `sites_along_probe`.
    spread_threshold : float
        See `spatial_features`.

    Returns
    -------
    DataFrame
        One row a unit, columns `FEATURE_COLUMNS` but ``n_averaged``; all NaN for a unit whose
        mean is NaN or zero on its peak channel.
    """
    columns = [name for name in FEATURE_COLUMNS if name != "n_averaged"]
    rows = []
    for unit, peak_channel in enumerate(peak_channels):
        if not np.any(np.nan_to_num(mean[unit, :, peak_channel])):
            rows.append({})
            continue
        sites = sites_along_probe(channels, peak_channel, range_um=spread_range_um)
        peak_site = int(np.flatnonzero(sites == peak_channel)[0])
        waveform, step_s = upsample(mean[unit][:, sites], sampling_rate_hz)
        single = waveform[:, peak_site]
        repolarization, recovery = slopes_v_s(single, step_s)
        amplitude_uv = np.ptp(mean[unit][:, sites], axis=0)
        spread, velocity_above, velocity_below = spatial_features(
            amplitude_uv,
            waveform.argmin(axis=0) * step_s,
            channels["y_um"].to_numpy(np.float64)[sites],
            peak_site,
            spread_threshold=spread_threshold,
        )
        rows.append(
            {
                "snr": snr(mean[unit, :, peak_channel], std[unit, :, peak_channel]),
                "waveform_duration": duration_ms(single, step_s),
                "waveform_halfwidth": halfwidth_ms(single, step_s),
                "PT_ratio": pt_ratio(single),
                "repolarization_slope": repolarization,
                "recovery_slope": recovery,
                "amplitude": float(amplitude_uv.max()),
                "spread": spread,
                "velocity_above": velocity_above,
                "velocity_below": velocity_below,
            }
        )
    return pd.DataFrame(rows, columns=columns, dtype=np.float64)


def _extreme(waveform):
    """Index of the peak where it exceeds the trough's magnitude, else of the trough."""
    trough, peak = waveform.argmin(), waveform.argmax()
    return peak if waveform[peak] > abs(waveform[trough]) else trough


def _slope(x, y):
    """Least-squares slope of y over x; NaN with fewer than two points."""
    if len(x) < 2:
        return np.nan
    x = x - x.mean()
    return float((x @ (y - y.mean())) / (x @ x))
