"""Quality metrics of every unit of a sorting, and Allen's and IBL's labels."""

import itertools
import logging

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from sluice.ephys.metrics import amplitudes, drift, refractory, spike_trains
from sluice.ephys.metrics.columns import METRIC_COLUMNS
from sluice.ephys.metrics.figure import save_figure
from sluice.ephys.metrics.labels import allen_pass, ibl_label
from sluice.ephys.metrics.pc_space import PcSample, cluster_metrics, silhouette_scores
from sluice.ephys.traces import load_channels
from sluice.errors import InputError
from sluice.qc import check, log_checks, save_checks

logger = logging.getLogger(__name__)

FIGURE = "unit_metrics.png"
# Columns of one spike train's metrics, in the order of `METRIC_COLUMNS`.
SPIKE_COLUMNS = (
    "firing_rate",
    "presence_ratio",
    "isi_violations",
    "isi_violations_corrected",
    "amplitude_cutoff",
    "max_drift",
    "cumulative_drift",
    "ibl_presence_ratio",
    "ibl_contamination",
    "ibl_contamination_alt",
    "ibl_max_confidence",
    "ibl_min_contamination",
    "ibl_missed_spikes_est",
    "ibl_noise_cutoff",
    "ibl_amp_median_uv",
    "ibl_amp_std_db",
    "ibl_drift_um_per_hour",
)


def group_by_unit(spike_units, units):
    """Bring the spikes of each unit together, keeping their order in time.

    Parameters
    ----------
    spike_units : ndarray of int, shape (n_spikes,)
        Unit of each spike.
    units : ndarray of int, shape (n_units,)
        Every unit once, in any order.

    Returns
    -------
    order : ndarray of int64, shape (n_spikes,)
        ``column[order]`` holds the spikes of the first unit, then those of the second, …
    bounds : ndarray of int64, shape (n_units + 1,)
        Spikes of unit i are ``bounds[i]`` to ``bounds[i + 1]`` of these.

    Raises
    ------
    InputError
        A spike belongs to a unit that is not listed, or there are more than 65,535 units.
    """
    if len(units) > np.iinfo(np.uint16).max:
        raise InputError(
            f"the sorting has {len(units)} units; at most 65,535 can be measured. "
            "Raise the sorter's detection threshold."
        )
    rows = pd.Index(units).get_indexer(spike_units)
    if (rows < 0).any():
        raise InputError(
            f"spikes of unit {spike_units[rows < 0][0]}, which the table of units does not list: "
            "spikes.pqt and units.tsv are not of the same sorting. Run clean_units again."
        )
    # 16-bit numbers are sorted by radix, five times as fast as wider ones.
    rows = rows.astype(np.uint16)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(units)))])
    return np.argsort(rows, kind="stable"), bounds


def spike_metrics(samples, amplitudes_uv, depths_um, *, n_samples, sampling_rate_hz, settings):
    """Compute the metrics of one unit that need its spikes' times, sizes and depths only.

    Parameters
    ----------
    samples : ndarray of int64, shape (n_spikes,)
        Ascending sample indices in the recording.
    amplitudes_uv : ndarray, shape (n_spikes,)
        Sizes of the spikes (µV), positive; spikes for which this is not so have no known
        size and are left out of the metrics of amplitudes.
    depths_um : ndarray, shape (n_spikes,)
        Positions along the probe (µm); likewise where not finite.
    n_samples : int
        Length of the recording.
    sampling_rate_hz : float
    settings : dict
        ``ephys.unit_metrics``.

    Returns
    -------
    dict of str to float
        `SPIKE_COLUMNS`, see `sluice.ephys.metrics.columns`; NaN where the unit has too few
        spikes.
    """
    duration_s = n_samples / sampling_rate_hz
    rate = {"sampling_rate_hz": sampling_rate_hz}
    values = dict.fromkeys(SPIKE_COLUMNS, np.nan)
    values["firing_rate"] = len(samples) / duration_s
    values["presence_ratio"] = spike_trains.presence_ratio(
        samples, spike_trains.equal_bins(n_samples, settings["presence_bins"])
    )
    values["ibl_presence_ratio"] = spike_trains.presence_ratio(
        samples,
        spike_trains.full_bins(n_samples, settings["ibl_presence_bin_s"] * sampling_rate_hz),
    )
    if len(samples) >= settings["min_spikes"]:
        values["isi_violations"], values["isi_violations_corrected"] = spike_trains.isi_violations(
            samples,
            duration_s=duration_s,
            threshold_s=settings["isi_threshold_ms"] / 1000,
            min_isi_s=settings["min_isi_ms"] / 1000,
            **rate,
        )
        refractory_s = settings["ibl_refractory_ms"] / 1000
        values["ibl_contamination"], _ = spike_trains.isi_violations(
            samples,
            duration_s=duration_s,
            threshold_s=refractory_s,
            min_isi_s=settings["ibl_min_isi_ms"] / 1000,
            **rate,
        )
        values["ibl_contamination_alt"] = spike_trains.contamination_alt(
            samples, refractory_s=refractory_s, **rate
        )
        values["ibl_max_confidence"], values["ibl_min_contamination"] = (
            refractory.sliding_refractory_period(
                samples,
                contamination_percent=settings["contamination_percent"],
                confidence_percent=settings["confidence_percent"],
                **rate,
            )
        )
    known = amplitudes_uv[amplitudes_uv > 0].astype(np.float64)
    if len(known) >= settings["min_spikes"]:
        values["ibl_amp_median_uv"] = amplitudes.amp_median(known)
        values["ibl_amp_std_db"] = amplitudes.amp_std_db(known)
        values["ibl_missed_spikes_est"] = amplitudes.missed_spikes_est(known)
    if len(known) >= settings["min_spikes_amplitudes"]:
        values["amplitude_cutoff"] = amplitudes.amplitude_cutoff(known)
        values["ibl_noise_cutoff"] = amplitudes.noise_cutoff(known)
    placed = np.isfinite(depths_um)
    values["max_drift"], values["cumulative_drift"] = drift.drift(
        samples[placed],
        depths_um[placed],
        interval_samples=settings["drift_interval_s"] * sampling_rate_hz,
        n_samples=n_samples,
        min_spikes=settings["drift_min_spikes"],
    )
    if np.count_nonzero(placed) >= settings["min_spikes"]:
        values["ibl_drift_um_per_hour"] = drift.depth_path(depths_um[placed], duration_s=duration_s)
    return values


def unit_metrics_file(
    *,
    spikes,
    units,
    waveform_metrics,
    pcs,
    channels,
    metrics,
    checks,
    figure,
    n_samples,
    sampling_rate_hz,
    settings,
):
    """Measure every unit of a sorting and label it.

    Parameters
    ----------
    spikes, units : path
        ``spikes.pqt`` and ``units.tsv`` of `clean_units`.
    waveform_metrics, pcs : path
        ``waveform_metrics.tsv`` (its column ``snr``) and ``pcs.npz`` of `unit_waveforms`.
    channels : path
        ``channels.tsv``.
    metrics : path
        Written: one row a unit, columns `METRIC_COLUMNS`, in the order of the table of units.
    checks, figure : path
        Written: JSON, PNG.
    n_samples : int
        Length of the recording.
    sampling_rate_hz : float
    settings : dict
        ``ephys.unit_metrics``.

    Raises
    ------
    InputError
        The files are not of the same sorting.
    """
    unit_table = pd.read_csv(units, sep="\t")
    numbers = unit_table["unit"].to_numpy(np.int32)
    order, bounds = group_by_unit(_column(spikes, "unit"), numbers)
    # One column at a time: those of a long recording are hundreds of megabytes each.
    columns = {
        name: _column(spikes, name)[order] for name in ("sample", "amplitude_uv", "depth_um")
    }
    del order

    table = pd.DataFrame({"unit": numbers, "n_spikes": np.diff(bounds).astype(np.int64)})
    rows = [
        spike_metrics(
            *(columns[name][start:stop] for name in ("sample", "amplitude_uv", "depth_um")),
            n_samples=n_samples,
            sampling_rate_hz=sampling_rate_hz,
            settings=settings,
        )
        for start, stop in itertools.pairwise(bounds)
    ]
    del columns
    for name in SPIKE_COLUMNS:
        table[name] = np.array([row[name] for row in rows], np.float64)
    logger.info("%d units, %d spikes measured", len(table), bounds[-1])

    table["snr"] = _snr(waveform_metrics, numbers)
    sample = _load_pcs(pcs, unit_table, load_channels(channels), table["n_spikes"].to_numpy())
    # The matrices are small: threads make their products slower, and could round differently.
    with threadpool_limits(limits=1):
        separation = cluster_metrics(
            sample,
            n_channels=settings["n_channels"],
            n_neighbors=settings["n_neighbors"],
            max_spikes=settings["max_spikes_for_neighbors"],
        )
        separation["silhouette_score"] = silhouette_scores(
            sample, max_spikes=settings["silhouette_spikes"]
        )
    table = table.assign(**separation)
    table["allen_pass"] = allen_pass(table, **settings["allen"])
    table["ibl_label"], table["ibl_bitwise_fail"] = ibl_label(table, **settings["ibl"])

    table[list(METRIC_COLUMNS)].to_parquet(metrics, index=False)
    kept = table[~unit_table["is_artifact"].to_numpy(bool)]
    found = unit_checks(kept, settings["checks"])
    save_checks(found, checks)
    log_checks(found)
    save_figure(figure, kept, settings)


def unit_checks(table, thresholds):
    """Judge the units of a sorting that are not artifacts.

    Parameters
    ----------
    table : DataFrame
        Rows of ``metrics.pqt``.
    thresholds : dict
        ``ephys.unit_metrics.checks``.

    Returns
    -------
    list of Check
    """
    n_units = len(table)
    allen, ibl = table["allen_pass"], table["ibl_label"] == 1
    measured = [
        ("units_found", n_units, "", f"{n_units} units found that are not artifacts"),
        (
            "allen_pass_fraction",
            allen.mean() if n_units else None,
            "",
            f"{allen.sum()} of {n_units} units pass Allen's default filter",
        ),
        (
            "ibl_pass_fraction",
            ibl.mean() if n_units else None,
            "",
            f"{ibl.sum()} of {n_units} units meet all of IBL's criteria",
        ),
        (
            "median_firing_rate_hz",
            table["firing_rate"].median() if n_units else None,
            "Hz",
            "median firing rate of the units found",
        ),
    ]
    return [
        check(name, value, unit=unit, message=message, figure=FIGURE, **thresholds[name])
        for name, value, unit, message in measured
    ]


def _column(spikes, name):
    """One column of the table of spikes."""
    return pd.read_parquet(spikes, columns=[name])[name].to_numpy()


def _snr(waveform_metrics, numbers):
    """Signal-to-noise ratio of each unit, from the table of waveform features."""
    features = pd.read_csv(waveform_metrics, sep="\t").set_index("unit")
    if not np.array_equal(np.sort(features.index), np.sort(numbers)):
        raise InputError(
            f"{waveform_metrics} has {len(features)} units, the sorting {len(numbers)}, and they "
            "are not the same ones. Run unit_waveforms again."
        )
    return features["snr"].reindex(numbers).to_numpy(np.float64)


def _load_pcs(path, unit_table, channels, n_spikes):
    """Read the principal components; rows of units as in the table of units."""
    numbers = unit_table["unit"].to_numpy(np.int32)
    with np.load(path) as pcs:
        if not np.array_equal(pcs["units"], numbers):
            raise InputError(
                f"{path} has {len(pcs['units'])} units, the sorting {len(numbers)}, and they are "
                "not the same ones. Run unit_waveforms again."
            )
        order, bounds = group_by_unit(pcs["unit"], numbers)
        return PcSample(
            features=pcs["features"],
            spikes_of=[order[a:b] for a, b in itertools.pairwise(bounds)],
            near_channels=pcs["near_channels"],
            peak_channels=unit_table["peak_channel"].to_numpy(np.int64),
            n_spikes=n_spikes,
            positions_um=channels[["x_um", "y_um"]].to_numpy(np.float64),
        )
