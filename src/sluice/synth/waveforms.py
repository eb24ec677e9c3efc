"""Shapes of extracellular spikes and how they spread over a probe's contacts."""

import numpy as np
from numba import njit

BEFORE_MS, AFTER_MS = 1.0, 2.0
OVERSAMPLING = 32


def spike_shape(trough_ms, trough_to_peak_ms, peak_ratio, *, sampling_rate_hz):
    """Shape of a spike at its largest contact: a trough, then a slower peak.

    Two half-Gaussians make the trough (the rise is 1.4 times slower than the fall) and a
    Gaussian the peak; a cosine taper brings both ends to zero. Scaled to a trough of -1 at
    time 0.

    Parameters
    ----------
    trough_ms : float
        Standard deviation of the falling half of the trough (ms).
    trough_to_peak_ms : float
        Time of the centre of the peak after the trough (ms).
    peak_ratio : float
        Height of the peak as a fraction of the trough's depth.
    sampling_rate_hz : float

    Returns
    -------
    shape : float32 array, shape (n_points,)
        Sampled `OVERSAMPLING` times finer than the recording, from `BEFORE_MS` before the
        trough to `AFTER_MS` after it.
    """
    step_ms = 1000 / sampling_rate_hz / OVERSAMPLING
    before = round(BEFORE_MS / step_ms)
    after = round(AFTER_MS / step_ms)
    # wider than needed: the minimum of the sum lies a little off the trough's centre
    time_ms = np.arange(-2 * before, after + before + 1) * step_ms
    width_ms = np.where(time_ms < 0, trough_ms, 1.4 * trough_ms)
    trough = np.exp(-0.5 * (time_ms / width_ms) ** 2)
    peak = np.exp(-0.5 * ((time_ms - trough_to_peak_ms) / (0.4 * trough_to_peak_ms)) ** 2)
    shape = peak_ratio * peak - trough
    lowest = int(np.argmin(shape))
    shape = shape[lowest - before : lowest + after + 1] / -shape[lowest]
    n_taper = round(0.25 / step_ms)
    taper = 0.5 - 0.5 * np.cos(np.pi * np.arange(n_taper) / n_taper)
    shape[:n_taper] *= taper
    shape[-n_taper:] *= taper[::-1]
    return shape.astype(np.float32)


def template_samples(sampling_rate_hz):
    """Count the samples of a template before the trough, and in all."""
    before = round(BEFORE_MS * sampling_rate_hz / 1000)
    return before, before + round(AFTER_MS * sampling_rate_hz / 1000)


@njit(cache=True, nogil=True)
def add_spikes(
    traces,
    start,
    times,
    units,
    scales_uv,
    shifts_um,
    shapes,
    positions_um,
    decays_um,
    speeds,
    contacts_um,
    gains,
    delays,
    sampling_rate_hz,
    reach_um,
):
    """Add spikes to a chunk of traces, in place.

    At distance r from the unit a spike is ``scale * exp(-(r - r0) / decay)`` high, with r0
    the distance to the contact the unit is largest on, and ``(|dy| - |dy0|) / speed`` late,
    with dy0 the height of the unit below that contact. A channel digitised a fraction d of a
    sample late sees the spike d samples early.

    Parameters
    ----------
    traces : float32 array, shape (n_samples, n_channels)
        µV; changed.
    start : int
        Sample of the recording at which the chunk begins.
    times : float64 array, shape (n_spikes,)
        Samples from the start of the recording, with fraction.
    units : int array, shape (n_spikes,)
    scales_uv, shifts_um : float array, shape (n_spikes,)
        Depth of the trough at the largest contact (µV); how far the tissue has moved
        towards the surface (µm).
    shapes : float32 array, shape (n_units, n_points)
        From `spike_shape`.
    positions_um : float array, shape (n_units, 5)
        x, y, distance from the probe's plane, r0, and ``|dy0|``.
    decays_um, speeds : float array, shape (n_units,)
        µm; µm per ms.
    contacts_um : float array, shape (n_channels, 2)
    gains : float array, shape (n_channels,)
        0 for channels that record no spikes.
    delays : float array, shape (n_channels,)
        Fraction of a sample.
    sampling_rate_hz, reach_um : float
        Contacts farther than `reach_um` along the probe get nothing.
    """
    n_samples, n_channels = traces.shape
    before = BEFORE_MS * sampling_rate_hz / 1000
    n_points = shapes.shape[1]
    for s in range(times.size):
        u = units[s]
        y = positions_um[u, 1] + shifts_um[s]
        for c in range(n_channels):
            dy = contacts_um[c, 1] - y
            dx = contacts_um[c, 0] - positions_um[u, 0]
            if gains[c] == 0 or abs(dy) > reach_um or abs(dx) > reach_um:
                continue
            r = np.sqrt(dx * dx + dy * dy + positions_um[u, 2] ** 2)
            height = gains[c] * scales_uv[s] * np.exp(-(r - positions_um[u, 3]) / decays_um[u])
            late = (abs(dy) - positions_um[u, 4]) / speeds[u] * sampling_rate_hz / 1000
            first = times[s] - delays[c] + late - before - start
            i = int(np.ceil(first))
            point = (i - first) * OVERSAMPLING
            if i < 0:
                point -= i * OVERSAMPLING
                i = 0
            while i < n_samples and point < n_points - 1:
                p = int(point)
                part = point - p
                traces[i, c] += height * ((1 - part) * shapes[u, p] + part * shapes[u, p + 1])
                point += OVERSAMPLING
                i += 1
