"""Mean waveforms of the units, their features, and principal components of their spikes.

Follows Allen's ecephys_spike_sorting, mean_waveforms: 82 samples at 30 kHz, 20 of them
before the trough, mean and standard deviation over spikes drawn at random.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numba import njit, prange

from sluice.ephys.principal_components import common_components, nearest_good_channels, project
from sluice.ephys.traces import open_traces
from sluice.ephys.waveform_features import waveform_features
from sluice.errors import InputError

logger = logging.getLogger(__name__)

# Spikes whose windows are held at once: 256 × 82 samples × 384 channels int16 = 16 MB.
BATCH_SPIKES = 256
# Single-channel waveforms that the common principal components are found from.
BASIS_SPIKES = 10_000


def sample_spikes(samples, unit_rows, *, n_units, max_per_unit, first, last, seed):
    """Draw spikes of each unit at random.

    Each unit draws from a generator of its own, seeded with its row, so its draw does not
    depend on the spikes of other units.

    Parameters
    ----------
    samples : int64 (n_spikes,)
        Sample of each spike's trough, ascending.
    unit_rows : int (n_spikes,)
        Row of each spike's unit, 0 to `n_units` - 1.
    n_units : int
    max_per_unit : int
        Spikes drawn of a unit, without replacement; all where it has fewer.
    first, last : int
        Only spikes with ``first <= sample <= last`` are drawn: those whose whole window
        lies in the recording.
    seed : int

    Returns
    -------
    spike_index : int64 (n_drawn,)
        Rows of `samples`, ascending, so that windows are read in the order of the file.
    """
    inside = np.flatnonzero((samples >= first) & (samples <= last))
    # 16-bit numbers are sorted by radix, several times as fast as wider ones.
    rows = unit_rows[inside].astype(np.min_scalar_type(n_units))
    order = inside[np.argsort(rows, kind="stable")]
    bounds = np.searchsorted(unit_rows[order], np.arange(n_units + 1))
    drawn = []
    for unit in range(n_units):
        own = order[bounds[unit] : bounds[unit + 1]]
        if len(own) > max_per_unit:
            own = np.random.default_rng([seed, unit]).choice(own, max_per_unit, replace=False)
        drawn.append(own)
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)


def read_windows(traces, samples, *, n_before, n_after, batch=BATCH_SPIKES):
    """Read the traces around each spike, a batch of spikes at a time.

    Parameters
    ----------
    traces : int16 (n_samples, n_channels)
        Array or memmap.
    samples : int64 (n_spikes,)
        Ascending; every window must lie in the recording.
    n_before, n_after : int
        The window is ``[sample - n_before, sample + n_after)``.
    batch : int
        Spikes at a time.

    Yields
    ------
    part : slice
        Which spikes these are.
    windows : int16 (n_in_batch, n_before + n_after, n_channels)
        In bits. The same memory is used again for the next batch.
    """
    buffer = np.empty((batch, n_before + n_after, traces.shape[1]), np.int16)
    for start in range(0, len(samples), batch):
        if isinstance(traces, np.memmap):
            # A fresh map gives back the pages read so far; they would otherwise count as
            # memory of this process and grow with the recording.
            traces = np.memmap(traces.filename, traces.dtype, "r", shape=traces.shape)
        some = samples[start : start + batch]
        for i, sample in enumerate(some):
            buffer[i] = traces[sample - n_before : sample + n_after]
        yield slice(start, start + len(some)), buffer[: len(some)]


@njit(cache=True, nogil=True, parallel=True)
def _add_windows(windows, rows, sums, squares):
    """Add each window, and its square, to those of its unit; threads share out the samples."""
    n_spikes, n_samples, n_channels = windows.shape
    for sample in prange(n_samples):
        for spike in range(n_spikes):
            row = rows[spike]
            for channel in range(n_channels):
                bits = np.int64(windows[spike, sample, channel])
                sums[row, sample, channel] += np.int32(bits)
                squares[row, sample, channel] += bits * bits


def mean_waveforms(traces, samples, unit_rows, *, n_units, n_before, n_after, gain_uv):
    """Compute the mean waveform of each unit and its standard deviation over spikes.

    Sums are whole numbers (int32, squares int64) and exact for up to 10,000 spikes a unit,
    so the result depends neither on the order of the spikes nor on the number of threads.

    Differs from Allen: the first sample of the mean is not subtracted. Allen subtract it
    from the stored mean, after their features are computed, because their traces keep slow
    offsets; these traces have none, and the first sample's noise would be added to all.

    Parameters
    ----------
    traces : int16 (n_samples, n_channels)
        In bits.
    samples : int64 (n_spikes,)
        Sample of the trough, ascending, of the spikes to average.
    unit_rows : int (n_spikes,)
        Row of each spike's unit.
    n_units : int
    n_before, n_after : int
        Window in samples; the trough is sample `n_before` of the waveform.
    gain_uv : float
        µV per bit.

    Returns
    -------
    mean : float32 (n_units, n_before + n_after, n_channels)
        µV, troughs negative; NaN for a unit without spikes.
    std : float32 (n_units, n_before + n_after, n_channels)
        µV, population standard deviation (divided by n, as Allen's); NaN with fewer than
        two spikes.
    n_averaged : int64 (n_units,)
    """
    shape = (n_units, n_before + n_after, traces.shape[1])
    sums = np.zeros(shape, np.int32)
    squares = np.zeros(shape, np.int64)
    for part, windows in read_windows(traces, samples, n_before=n_before, n_after=n_after):
        _add_windows(windows, unit_rows[part], sums, squares)
    n_averaged = np.bincount(unit_rows, minlength=n_units)
    mean = np.full(shape, np.nan, np.float32)
    std = np.full(shape, np.nan, np.float32)
    for unit, n in enumerate(n_averaged):
        if n > 0:
            mean[unit] = sums[unit] * (gain_uv / n)
        if n > 1:
            # n Σx² - (Σx)² in whole numbers: no cancellation. At most 1e4² × 2^30 < 2^63.
            variance = n * squares[unit] - sums[unit].astype(np.int64) ** 2
            std[unit] = np.sqrt(variance) * (gain_uv / n)
    return mean, std, n_averaged


def spike_components(
    traces, samples, unit_rows, *, peak_channels, near_channels, n_before, n_after, gain_uv, seed
):
    """Find the common principal components and project spikes on them.

    Parameters
    ----------
    traces : int16 (n_samples, n_channels)
        In bits.
    samples : int64 (n_spikes,)
        Sample of the trough of the spikes to project, ascending.
    unit_rows : int (n_spikes,)
    peak_channels : int (n_units,)
    near_channels : int32 (n_units, n_near)
        See `nearest_good_channels`.
    n_before, n_after : int
        Window in samples.
    gain_uv : float
        µV per bit.
    seed : int
        For the draw of at most `BASIS_SPIKES` spikes that the components are found from.

    Returns
    -------
    components : float32 (3, n_before + n_after)
        See `common_components`.
    features : float32 (n_spikes, n_near, 3)
        See `project`, µV.
    """
    window = {"n_before": n_before, "n_after": n_after}
    chosen = np.arange(len(samples))
    if len(chosen) > BASIS_SPIKES:
        draw = np.random.default_rng(seed).choice(chosen, BASIS_SPIKES, replace=False)
        chosen = np.sort(draw)
    single = np.empty((len(chosen), n_before + n_after), np.float64)
    for part, windows in read_windows(traces, samples[chosen], **window):
        peaks = peak_channels[unit_rows[chosen[part]]]
        single[part] = windows[np.arange(len(windows)), :, peaks]
    components = common_components(single)
    features = np.empty((len(samples), near_channels.shape[1], len(components)), np.float32)
    for part, windows in read_windows(traces, samples, **window):
        features[part] = project(windows, near_channels[unit_rows[part]], components) * gain_uv
    return components, features


def unit_waveforms_file(
    *, traces, spikes, units, waveform_mean, waveform_std, waveform_metrics, pcs, settings
):
    """Compute mean waveforms, their features and principal components of one sorting.

    Parameters
    ----------
    traces : path
        Folder of the preprocessed probe, see `sluice.ephys.traces`.
    spikes, units : path
        ``spikes.pqt`` and ``units.tsv`` of `clean_units`.
    waveform_mean, waveform_std : path
        Written: ``.npy``, float32 µV (n_units, n_samples, n_channels), see `mean_waveforms`;
        row i belongs to row i of `units`.
    waveform_metrics : path
        Written: TSV, one row a unit, columns ``unit`` and
        `sluice.ephys.waveform_features.FEATURE_COLUMNS`.
    pcs : path
        Written: ``.npz`` with ``spike_index`` int64 (n_drawn,) rows of `spikes`, ``unit``
        int32 (n_drawn,), ``features`` float32 µV (n_drawn, n_near, 3), ``near_channels``
        int32 (n_units, n_near) padded with -1, ``units`` int32 (n_units,), ``components``
        float32 (3, n_samples).
    settings : dict
        Section ``ephys.unit_waveforms``.

    Raises
    ------
    InputError
        `spikes` and `units` are not of the same sorting.
    """
    recording, info, channels = open_traces(traces)
    samples, unit_rows, units = _load_sorting(spikes, units)
    peak_channels = units["peak_channel"].to_numpy(np.int64)
    n_before, n_after = (
        round(settings[name] * info.sampling_rate_hz / 1000) for name in ("ms_before", "ms_after")
    )
    window = {"n_before": n_before, "n_after": n_after, "gain_uv": info.gain_uv}
    draw = {
        "n_units": len(units),
        "first": n_before,
        "last": info.n_samples - n_after,
        "seed": settings["seed"],
    }

    drawn = sample_spikes(samples, unit_rows, max_per_unit=settings["max_spikes"], **draw)
    mean, std, n_averaged = mean_waveforms(
        recording, samples[drawn], unit_rows[drawn], n_units=len(units), **window
    )
    logger.info("mean waveforms of %d units over %d spikes", len(units), len(drawn))
    features = waveform_features(
        mean,
        std,
        channels,
        peak_channels=peak_channels,
        sampling_rate_hz=info.sampling_rate_hz,
        spread_range_um=settings["spread_range_um"],
        spread_threshold=settings["spread_threshold"],
    )
    features.insert(0, "unit", units["unit"])
    features["n_averaged"] = n_averaged

    drawn = sample_spikes(samples, unit_rows, max_per_unit=settings["max_spikes_for_pcs"], **draw)
    near = nearest_good_channels(channels, peak_channels, n_near=settings["n_near_channels"])
    components, projected = spike_components(
        recording,
        samples[drawn],
        unit_rows[drawn],
        peak_channels=peak_channels,
        near_channels=near,
        seed=settings["seed"],
        **window,
    )
    logger.info("principal components of %d spikes", len(drawn))

    _save(waveform_mean, np.save, mean)
    _save(waveform_std, np.save, std)
    features.to_csv(waveform_metrics, sep="\t", index=False)
    numbers = units["unit"].to_numpy(np.int32)
    _save(
        pcs,
        np.savez,
        spike_index=drawn,
        unit=numbers[unit_rows[drawn]],
        features=projected,
        near_channels=near,
        units=numbers,
        components=components,
    )


def _load_sorting(spikes, units):
    """Read the samples and rows of units of all spikes, and the table of units."""
    table = pd.read_csv(units, sep="\t")
    columns = pd.read_parquet(spikes, columns=["sample", "unit"])
    rows = pd.Index(table["unit"]).get_indexer(columns["unit"])
    if (rows < 0).any():
        unknown = columns["unit"].to_numpy()[rows < 0][0]
        raise InputError(
            f"{spikes} has spikes of unit {unknown}, which {units} does not list: they are not of "
            "the same sorting. Run clean_units again."
        )
    return columns["sample"].to_numpy(), rows, table


def _save(path, write, *arrays, **named):
    """Write with numpy to exactly this path; given a name it would add an extension."""
    with Path(path).open("wb") as file:
        write(file, *arrays, **named)
