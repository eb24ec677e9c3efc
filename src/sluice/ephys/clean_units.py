"""From a sorter's output to measured units: aligned, without doubles, artifacts labelled."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from sluice import qc
from sluice.ephys.artifact_units import artifact_reasons
from sluice.ephys.duplicates import find_double_counted, units_in_reach
from sluice.ephys.measure_spikes import channels_within, measure_spikes, usable_channels
from sluice.ephys.traces import open_traces
from sluice.ephys.unit_waveforms import mean_waveforms, sample_spikes
from sluice.errors import InputError

logger = logging.getLogger(__name__)

SEED = 0  # of the draw of spikes for the templates
UNIT_COLUMNS = [
    "unit",
    "shank",
    "peak_channel",
    "n_spikes",
    "n_double_within",
    "n_double_between",
    "is_artifact",
    "artifact_reason",
    "sorter_label",
]


def find_peak_channels(templates_uv, shanks, channels):
    """Find the channel where each unit is largest.

    Parameters
    ----------
    templates_uv : ndarray of float32, shape (n_units, n_template_samples, n_channels)
    shanks : ndarray of int, shape (n_units,)
    channels : DataFrame
        Table of channels.

    Returns
    -------
    ndarray of int64, shape (n_units,)
        Largest peak-to-trough amplitude among the usable channels of the unit's shank.
    """
    allowed = usable_channels(channels) & (channels["shank"].to_numpy() == shanks[:, None])
    return np.where(allowed, np.ptp(templates_uv, axis=1), -1).argmax(axis=1)


def trough_offsets(waveforms_uv, *, at, max_shift):
    """Measure how far each unit's trough is from where its sorter says.

    Sorters mark a spike at different moments (a threshold crossing, a centre, a peak of
    either sign), but always at the same one for a unit.

    Parameters
    ----------
    waveforms_uv : ndarray of float32, shape (n_units, n_window)
        Mean waveform on the peak channel.
    at : int
        Where the trough should be.
    max_shift : int
        A trough farther away than this is no trough of this spike.

    Returns
    -------
    ndarray of int64, shape (n_units,)
        Trough minus `at`, in samples; 0 where the lowest sample is farther than `max_shift`.
    """
    if waveforms_uv.size == 0:
        return np.zeros(len(waveforms_uv), np.int64)
    offsets = waveforms_uv.argmin(axis=1) - at
    return np.where(np.abs(offsets) <= max_shift, offsets, 0)


def align_to_troughs(traces, samples, rows, shanks, channels, *, window, n_spikes, gain_uv):
    """Average each unit's spikes and move its spikes so that they are at its trough.

    Parameters
    ----------
    traces : ndarray of int16, shape (n_samples, n_channels)
    samples : ndarray of int64, shape (n_spikes,)
        Ascending.
    rows : ndarray of int64, shape (n_spikes,)
        Row of each spike's unit.
    shanks : ndarray of int, shape (n_units,)
    channels : DataFrame
        Table of channels.
    window : tuple of int
        Samples of the template before the trough, from the trough on, and the largest shift.
    n_spikes : int
        Spikes of a unit that are averaged, drawn at random.
    gain_uv : float

    Returns
    -------
    samples : ndarray of int64, shape (n_spikes,)
        Moved by the offset of the unit's mean trough, all spikes of a unit alike, within
        the recording; no longer ascending.
    templates_uv : ndarray of float32, shape (n_units, n_before + n_after, n_channels)
        Mean waveforms with the trough at ``n_before``; zeros for a unit whose spikes all
        lie too close to the ends of the recording.
    peak_channels : ndarray of int64, shape (n_units,)
    """
    n_before, n_after, max_shift = window
    wide = {"n_before": n_before + max_shift, "n_after": n_after + max_shift}
    drawn = sample_spikes(
        samples,
        rows,
        n_units=len(shanks),
        max_per_unit=n_spikes,
        first=wide["n_before"],
        last=len(traces) - wide["n_after"],
        seed=SEED,
    )
    means, _, _ = mean_waveforms(
        traces, samples[drawn], rows[drawn], n_units=len(shanks), gain_uv=gain_uv, **wide
    )
    means = np.nan_to_num(means)
    peak_channels = find_peak_channels(means, shanks, channels)
    at_peak = means[np.arange(len(shanks)), :, peak_channels]
    offsets = trough_offsets(at_peak, at=wide["n_before"], max_shift=max_shift)
    templates_uv = np.empty((len(shanks), n_before + n_after, len(channels)), np.float32)
    for unit, offset in enumerate(offsets):
        start = max_shift + offset
        templates_uv[unit] = means[unit, start : start + n_before + n_after]
        if offset:
            logger.info("unit row %d: trough %d samples off, spikes moved", unit, offset)
    moved = np.clip(samples + offsets[rows], 0, len(traces) - 1) if len(rows) else samples
    return moved, templates_uv, peak_channels


def label_artifacts(templates_uv, peak_channels, channels, *, trough, sampling_rate_hz, rules):
    """Judge every unit's template by Allen's three rules.

    Parameters
    ----------
    templates_uv : ndarray of float32, shape (n_units, n_template_samples, n_channels)
    peak_channels : ndarray of int64, shape (n_units,)
    channels : DataFrame
        Table of channels.
    trough : int
        Sample of the trough.
    sampling_rate_hz : float
    rules : dict
        ``ephys.clean_units.artifact_rules``.

    Returns
    -------
    list of str
        For each unit the rules that say artifact, joined by commas; see `artifact_reasons`.
    """
    positions_um = channels[["x_um", "y_um"]].to_numpy(np.float64)
    shank, usable = channels["shank"].to_numpy(), usable_channels(channels)
    labels = []
    for template, peak in zip(templates_uv, peak_channels, strict=True):
        own = np.flatnonzero(usable & (shank == shank[peak]))
        reasons = artifact_reasons(
            template[:, own],
            positions_um[own],
            int(np.searchsorted(own, peak)),
            trough,
            sampling_rate_hz=sampling_rate_hz,
            rules=rules,
        )
        labels.append(",".join(reasons))
    return labels


def clean_units(traces, info, channels, samples, rows, units, *, settings):
    """Align and measure the spikes of one sorting, remove doubles, label artifactual units.

    Parameters
    ----------
    traces : ndarray of int16, shape (n_samples, n_channels)
    info : TracesInfo
    channels : DataFrame
        Table of channels.
    samples : ndarray of int64, shape (n_spikes,)
        Ascending.
    rows : ndarray of int64, shape (n_spikes,)
        Row of each spike's unit in `units`.
    units : DataFrame
        ``unit``, ``shank``, ``sorter_label``.
    settings : dict
        Section ``ephys.clean_units``.

    Returns
    -------
    spikes, units : DataFrame
        See `clean_units_file`.
    templates_uv : ndarray of float32, shape (n_units, n_template_samples, n_channels)
    """
    rate_hz, shanks = info.sampling_rate_hz, units["shank"].to_numpy()
    n_before, n_after, max_shift, window_samples = (
        round(settings[name] * rate_hz / 1000)
        for name in ("ms_before", "ms_after", "max_shift_ms", "duplicate_window_ms")
    )
    samples, templates_uv, peaks = align_to_troughs(
        traces,
        samples,
        rows,
        shanks,
        channels,
        window=(n_before, n_after, max_shift),
        n_spikes=settings["n_template_spikes"],
        gain_uv=info.gain_uv,
    )
    order = np.lexsort((rows, samples))
    samples, rows = samples[order], rows[order]
    positions_um = channels[["x_um", "y_um"]].to_numpy(np.float64)
    amplitude_uv, depth_um = measure_spikes(
        traces,
        samples,
        rows,
        templates_uv=templates_uv,
        peak_channels=peaks,
        near_channels=channels_within(channels, peaks, radius_um=settings["near_radius_um"]),
        y_um=positions_um[:, 1],
        n_before=n_before,
        gain_uv=info.gain_uv,
    )
    reach = units_in_reach(positions_um[peaks], shanks, radius_um=settings["duplicate_radius_um"])
    kept, lost = find_double_counted(
        samples, rows, amplitude_uv, reach, window_samples=window_samples
    )
    reasons = label_artifacts(
        templates_uv,
        peaks,
        channels,
        trough=n_before,
        sampling_rate_hz=rate_hz,
        rules=settings["artifact_rules"],
    )
    units = units.assign(
        peak_channel=peaks,
        n_spikes=np.bincount(rows[kept], minlength=len(units)),
        n_double_within=np.diagonal(lost),
        n_double_between=lost.sum(axis=1) - np.diagonal(lost),
        is_artifact=[reason != "" for reason in reasons],
        artifact_reason=reasons,
    )
    spikes = pd.DataFrame(
        {
            "sample": samples[kept],
            "unit": units["unit"].to_numpy(np.int32)[rows[kept]],
            "amplitude_uv": amplitude_uv[kept],
            "depth_um": depth_um[kept],
        }
    )
    return spikes, units[UNIT_COLUMNS], templates_uv


def clean_units_file(
    *, traces, sorted_spikes, sorted_units, spikes, units, templates, checks, settings
):
    """Clean one sorting and write what is left; see `clean_units`.

    Parameters
    ----------
    traces : path
        Folder of the preprocessed probe, see `sluice.ephys.traces`.
    sorted_spikes, sorted_units : path
        ``spikes.pqt`` and ``units.tsv`` of `sort_spikes`.
    spikes : path
        Written: parquet, one row a spike, ascending: ``sample`` int64 (the trough, in
        samples of the traces), ``unit`` int32, ``amplitude_uv`` float32 and ``depth_um``
        float32 (see `measure_spikes`).
    units : path
        Written: TSV, one row a unit of `sorted_units`, none left out: ``unit``, ``shank``,
        ``peak_channel``, ``n_spikes`` (what is left; may be 0), ``n_double_within`` and
        ``n_double_between`` (spikes removed for a larger one of the same unit, of another),
        ``is_artifact``, ``artifact_reason`` (see `artifact_reasons`), ``sorter_label``.
    templates : path
        Written: ``.npy``, float32 µV (n_units, n_template_samples, n_channels), row i for
        row i of `units`.
    checks : path
        Written: JSON, see `sluice.qc`.
    settings : dict
        Section ``ephys.clean_units``.

    Raises
    ------
    InputError
        `sorted_spikes` and `sorted_units` are not of the same sorting.
    """
    recording, info, channels = open_traces(traces)
    samples, rows, table = _load_sorting(sorted_spikes, sorted_units)
    left, table, templates_uv = clean_units(
        recording, info, channels, samples, rows, table, settings=settings
    )
    left.to_parquet(spikes, index=False)
    table.to_csv(units, sep="\t", index=False)
    with Path(templates).open("wb") as file:  # np.save would add an extension to the name
        np.save(file, templates_uv)
    qc.save_checks(_checks(table, len(samples), settings["checks"]), checks)


def _load_sorting(spikes, units):
    """Samples and rows of units of all spikes, and the table of units."""
    table = pd.read_csv(units, sep="\t", keep_default_na=False)
    columns = pd.read_parquet(spikes, columns=["sample", "unit"])
    rows = pd.Index(table["unit"].astype(np.int64)).get_indexer(columns["unit"])
    if (rows < 0).any():
        unknown = columns["unit"].to_numpy()[rows < 0][0]
        raise InputError(
            f"{spikes} has spikes of unit {unknown}, which {units} does not list: they are not "
            "of the same sorting. Run sort_spikes again."
        )
    return columns["sample"].to_numpy(np.int64), rows, table


def _checks(units, n_sorted, thresholds):
    """Fractions of double-counted spikes and of artifactual units."""
    n_double = n_sorted - units["n_spikes"].sum()
    n_artifacts = int(units["is_artifact"].sum())
    return [
        qc.check(
            "double_counted_fraction",
            n_double / n_sorted if n_sorted else None,
            message=f"{n_double} of {n_sorted} spikes were counted twice",
            **thresholds["double_counted_fraction"],
        ),
        qc.check(
            "artifact_unit_fraction",
            n_artifacts / len(units) if len(units) else None,
            message=f"{n_artifacts} of {len(units)} units look like artifacts",
            **thresholds["artifact_unit_fraction"],
        ),
    ]
