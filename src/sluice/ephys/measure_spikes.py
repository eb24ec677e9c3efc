"""Amplitude and depth of every spike, from one pass over the traces."""

import numpy as np
from numba import njit, prange

from sluice.ephys.traces import GOOD, chunk_bounds

CHUNK_SAMPLES = 30_000  # 23 MB of 384 channels; the results do not depend on it


def usable_channels(channels):
    """Tell which channels carry signal of the brain.

    Parameters
    ----------
    channels : DataFrame
        Table of channels, see `sluice.ephys.traces.CHANNEL_COLUMNS`.

    Returns
    -------
    ndarray of bool, shape (n_channels,)
        Labelled good and no reference contact.
    """
    return (channels["label"] == GOOD).to_numpy() & ~channels["is_reference"].to_numpy(bool)


def channels_within(channels, peak_channels, *, radius_um):
    """Find the usable channels around each unit's peak channel, on its shank.

    Parameters
    ----------
    channels : DataFrame
        Table of channels.
    peak_channels : ndarray of int, shape (n_units,)
    radius_um : float
        Largest distance from the peak channel, across and along the probe.

    Returns
    -------
    ndarray of int32, shape (n_units, n_near)
        In the order of the table, padded with -1; `n_near` is the largest number found.
    """
    position = channels[["x_um", "y_um"]].to_numpy(np.float64)
    shank = channels["shank"].to_numpy()
    usable = usable_channels(channels)
    found = [
        np.flatnonzero(
            usable
            & (shank == shank[peak])
            & (np.hypot(*(position - position[peak]).T) <= radius_um)
        )
        for peak in peak_channels
    ]
    near = np.full((len(found), max(map(len, found), default=0)), -1, np.int32)
    for row, chosen in enumerate(found):
        near[row, : len(chosen)] = chosen
    return near


@njit(cache=True, nogil=True, parallel=True)
def _measure_chunk(chunk, at, units, near, templates, peaks, y_um, scale, depth):
    """Fit the templates to the spikes of one chunk.

    `at` is the first sample of each spike's window within the chunk, which may lie before
    its begin or end behind its end: only the samples there are used.
    """
    n_near, n_window = templates.shape[1:]
    for spike in prange(len(at)):
        unit = units[spike]
        begin = max(0, -at[spike])
        end = min(n_window, len(chunk) - at[spike])
        product = 0.0
        energy = 0.0
        weighted = 0.0
        weights = 0.0
        for i in range(n_near):
            channel = near[unit, i]
            if channel < 0:
                break
            alike = 0.0
            for t in range(begin, end):
                value = np.float32(chunk[at[spike] + t, channel])
                product += value * templates[unit, i, t]
                energy += templates[unit, i, t] * templates[unit, i, t]
                alike += value * peaks[unit, t]
            if alike > 0:
                weighted += alike * alike * y_um[channel]
                weights += alike * alike
        scale[spike] = product / energy if energy > 0 else 0.0
        depth[spike] = weighted / weights if weights > 0 else np.nan


def measure_spikes(
    traces,
    samples,
    unit_rows,
    *,
    templates_uv,
    peak_channels,
    near_channels,
    y_um,
    n_before,
    gain_uv,
    chunk_samples=CHUNK_SAMPLES,
):
    """Measure amplitude and depth of every spike.

    The amplitude is the unit's peak-to-trough amplitude on its peak channel, times how
    large the spike is against the unit's template: the least-squares factor
    <trace, template> / <template, template> over the near channels and the window. It has
    the meaning of IBL's ``spikes.amps`` (template scale × template amplitude) but does not
    depend on the sorter; Kilosort 4's own amplitudes are norms of whitened features and
    cannot be used for an amplitude cutoff. A fit averages the noise out that the
    peak-to-trough of a single spike would collect.

    The depth is the centre of mass of the near channels, each weighted with the square of
    its projection on the waveform of the unit's peak channel, negative projections as
    zero: Allen's and IBL's depth from the first principal component, with the unit's own
    waveform in the component's place. (Weights from each channel's peak-to-peak would pull
    towards the middle of the channels, since noise has a peak-to-peak too.)

    Parameters
    ----------
    traces : ndarray of int16, shape (n_samples, n_channels)
        Array or memmap, in bits.
    samples : ndarray of int64, shape (n_spikes,)
        Sample of each spike's trough, ascending.
    unit_rows : ndarray of int64, shape (n_spikes,)
        Row of each spike's unit in the arrays below.
    templates_uv : ndarray of float32, shape (n_units, n_template_samples, n_channels)
        µV, the trough at sample `n_before`.
    peak_channels : ndarray of int64, shape (n_units,)
    near_channels : ndarray of int32, shape (n_units, n_near)
        See `channels_within`; padded with -1.
    y_um : ndarray of float64, shape (n_channels,)
        Position along the probe.
    n_before : int
        Samples of the template before the trough.
    gain_uv : float
        µV per bit.
    chunk_samples : int
        Samples read at a time; memory is proportional to it.

    Returns
    -------
    amplitude_uv : ndarray of float32, shape (n_spikes,)
        Positive; 0 where the traces are not at all like the template.
    depth_um : ndarray of float32, shape (n_spikes,)
        The peak channel's where no near channel is like the template.
    """
    scale = np.zeros(len(samples), np.float32)
    depth_um = np.zeros(len(samples), np.float32)
    if len(samples) == 0:
        return scale, depth_um
    n_window = templates_uv.shape[1]
    rows = np.arange(len(peak_channels))
    near_templates = np.ascontiguousarray(
        templates_uv[rows[:, None], :, np.maximum(near_channels, 0)], np.float32
    )
    peak_waveforms = templates_uv[rows, :, peak_channels].astype(np.float32)
    for start, stop in chunk_bounds(len(traces), chunk_samples):
        first, last = np.searchsorted(samples, (start, stop))
        if first == last:
            continue
        begin = max(0, start - n_before)
        chunk = read_samples(traces, begin, min(len(traces), stop + n_window - n_before))
        _measure_chunk(
            chunk,
            samples[first:last] - n_before - begin,
            unit_rows[first:last],
            near_channels,
            near_templates,
            peak_waveforms,
            y_um,
            scale[first:last],
            depth_um[first:last],
        )
    amplitude_uv = np.maximum(scale * gain_uv, 0) * np.ptp(peak_waveforms, axis=1)[unit_rows]
    unlike = np.isnan(depth_um)
    depth_um[unlike] = y_um[peak_channels[unit_rows[unlike]]]
    return amplitude_uv.astype(np.float32), depth_um


def read_samples(traces, start, stop):
    """Copy consecutive samples into memory.

    A memmap is mapped anew, so that the pages read do not stay with this process: they
    would count as its memory and grow with the recording.
    """
    if isinstance(traces, np.memmap):
        traces = np.memmap(traces.filename, traces.dtype, "r", shape=traces.shape)
    return np.array(traces[start:stop])
