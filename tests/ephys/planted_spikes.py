"""Preprocessed traces with planted spikes: known times, amplitudes and places."""

import numpy as np
import pandas as pd

from sluice.ephys.traces import CHANNEL_COLUMNS, TracesInfo, save_channels, save_traces_info

RATE_HZ = 30_000.0
GAIN_UV = 0.25


def neuropixels_1(n_channels):
    """Positions of the lowest contacts of a Neuropixels 1.0 probe (µm)."""
    channel = np.arange(n_channels)
    return np.column_stack([np.array([16, 48, 0, 32])[channel % 4], channel // 2 * 20.0])


def spike(positions_um, at_um, *, peak_uv, n_before=20, n_after=62, rate_hz=RATE_HZ, width_ms=0.1):
    """A spike's waveform on every channel: smaller, later and broader away from the cell.

    Returns float64 (n_before + n_after, n_channels), trough of `-peak_uv` at `n_before` on
    the nearest channel.
    """
    distance = np.hypot(*(positions_um - np.asarray(at_um)).T)
    farther = distance - distance.min()
    ms = (np.arange(-n_before, n_after) * 1000 / rate_hz)[:, None] - farther / 400
    width = width_ms * (1 + farther / 100)
    shape = -np.exp(-((ms / width) ** 2) / 2) + 0.3 * np.exp(-(((ms - 0.5) / 0.25) ** 2) / 2)
    return peak_uv * np.exp(-farther / 30) * shape / -shape[n_before, distance.argmin()]


def channel_table(positions_um, shanks=0):
    """Table of good channels."""
    table = pd.DataFrame({name: 0 for name in CHANNEL_COLUMNS}, index=range(len(positions_um)))
    table["channel"] = range(len(table))
    table["channel_id"] = [f"AP{i}" for i in range(len(table))]
    table["x_um"], table["y_um"] = np.asarray(positions_um, float).T
    table["shank"] = shanks
    table["is_reference"] = False
    table["rms_uv"] = 10.0
    return table


def plant(n_samples, spikes, *, noise_uv=0.0, n_channels=None, seed=0):
    """Add waveforms at their times to noise.

    `spikes` is a list of (waveform, n_before, samples, scales). Returns float64 µV.
    """
    n_channels = n_channels or spikes[0][0].shape[1]
    traces = np.random.default_rng(seed).normal(0, 1, (n_samples, n_channels)) * noise_uv
    for waveform, n_before, samples, scales in spikes:
        for sample, scale in zip(samples, np.broadcast_to(scales, len(samples)), strict=True):
            start = sample - n_before
            first, last = max(0, start), min(n_samples, start + len(waveform))
            traces[first:last] += scale * waveform[first - start : last - start]
    return traces


def as_bits(traces_uv):
    return np.round(traces_uv / GAIN_UV).astype(np.int16)


def save_traces(folder, traces_uv, channels, rate_hz=RATE_HZ):
    """Write a traces folder as `preprocess_probe` does."""
    folder.mkdir()
    as_bits(traces_uv).tofile(folder / "traces.bin")
    save_traces_info(TracesInfo(rate_hz, *traces_uv.shape, GAIN_UV), folder)
    save_channels(channels, folder / "channels.tsv")
    return folder


def save_sorting(folder, samples, unit, n_units, shanks=0):
    """Write ``spikes.pqt`` and ``units.tsv`` as `sort_spikes` does; returns both paths."""
    table = pd.DataFrame({"sample": np.asarray(samples, np.int64), "unit": np.int32(unit)})
    table.sort_values(["sample", "unit"]).to_parquet(folder / "spikes.pqt", index=False)
    units = pd.DataFrame({"unit": np.arange(n_units), "shank": shanks, "sorter_label": ""})
    units.to_csv(folder / "units.tsv", sep="\t", index=False)
    return folder / "spikes.pqt", folder / "units.tsv"
