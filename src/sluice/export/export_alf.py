"""Export one sorting of one probe as an ALF collection, ``alf/<probe>/<sorter>``.

Names, units and shapes as IBL's own collections (phylib's EphysAlfCreator, ONE's dataset
types), so that ONE, brainbox and IBL's viewers read them. Every unit is a row of clusters and
of templates, artifacts too; a cluster's number is its row.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.ephys.traces import load_channels
from sluice.ephys.waveform_features import FEATURE_COLUMNS
from sluice.errors import InputError
from sluice.export.alf import cluster_uuids, nearest_channels, take_channels, validate_collection

V_PER_UV = 1e-6
# Channels that waveforms are stored of, phylib's n_closest_channels for IBL.
N_NEAR = 32
# A table without rows does not tell the types of its columns.
UNIT_DTYPES = {
    "unit": np.int64,
    "shank": np.int64,
    "peak_channel": np.int64,
    "n_spikes": np.int64,
    "n_double_within": np.int64,
    "n_double_between": np.int64,
    "is_artifact": bool,
    "artifact_reason": str,
    "sorter_label": str,
}
FEATURE_DTYPES = dict.fromkeys(FEATURE_COLUMNS, np.float64) | {
    "unit": np.int64,
    "n_averaged": np.int64,
}


def spikes_object(spikes, unit_rows, *, n_units, sampling_rate_hz):
    """Build ``spikes.*``.

    Parameters
    ----------
    spikes : DataFrame
        ``spikes.pqt`` of `clean_units`.
    unit_rows : int (n_spikes,)
        Row of each spike's unit.
    n_units : int
    sampling_rate_hz : float

    Returns
    -------
    dict of str to ndarray, each (n_spikes,)
        ``times`` float64, s from the start of the recording on the probe's own clock;
        ``samples`` int64; ``clusters`` and ``templates`` (the same: nothing is merged or
        split after sorting), uint16 as phylib's, int32 beyond 65,536 units; ``amps`` float32,
        V; ``depths`` float32, µm from the tip.
    """
    dtype = np.uint16 if n_units <= 1 << 16 else np.int32
    samples = spikes["sample"].to_numpy(np.int64)
    return {
        "times": samples / sampling_rate_hz,
        "samples": samples,
        "clusters": unit_rows.astype(dtype),
        "templates": unit_rows.astype(dtype),
        "amps": (spikes["amplitude_uv"].to_numpy(np.float64) * V_PER_UV).astype(np.float32),
        "depths": spikes["depth_um"].to_numpy(np.float32),
    }


def clusters_object(mean_uv, peak_channels, near_channels, spikes, y_um, *, sampling_rate_hz):
    """Build ``clusters.*`` but metrics and uuids.

    Parameters
    ----------
    mean_uv : float32 (n_units, n_samples, n_channels)
        Mean waveforms of `unit_waveforms`, NaN for a unit without any.
    peak_channels : int (n_units,)
    near_channels : int32 (n_units, n_near)
        See `nearest_channels`.
    spikes : dict
        See `spikes_object`.
    y_um : float (n_channels,)
    sampling_rate_hz : float

    Returns
    -------
    dict of str to ndarray, n_units rows each
        ``amps`` float64, V, mean over the unit's spikes, NaN without any; ``channels`` int64,
        row of channels where the unit is largest; ``depths`` float64, µm, that channel's;
        ``peakToTrough`` float64, ms, time of the highest minus that of the lowest sample of
        the mean waveform on that channel (phylib's: negative where the peak comes first);
        ``waveforms`` float32, V (n_units, n_samples, n_near) and ``waveformsChannels`` int32
        (n_units, n_near).
    """
    n_units = len(peak_channels)
    single = mean_uv[np.arange(n_units), :, peak_channels]
    if n_units:
        samples = (single.argmax(axis=1) - single.argmin(axis=1)).astype(np.float64)
    else:
        samples = np.zeros(0)
    samples[np.isnan(single).any(axis=1)] = np.nan
    n_spikes = np.bincount(spikes["clusters"], minlength=n_units)
    amps = np.bincount(spikes["clusters"], weights=spikes["amps"], minlength=n_units)
    return {
        "amps": np.divide(amps, n_spikes, out=np.full(n_units, np.nan), where=n_spikes > 0),
        "channels": peak_channels,
        "depths": y_um[peak_channels],
        "peakToTrough": samples / sampling_rate_hz * 1e3,
        "waveforms": take_channels(mean_uv, near_channels) * np.float32(V_PER_UV),
        "waveformsChannels": near_channels,
    }


def templates_object(templates_uv, near_channels):
    """Build ``templates.*``.

    Returns
    -------
    dict of str to ndarray, n_units rows each
        ``amps`` float64, V, peak to peak on the largest channel; ``waveforms`` float32, V
        (n_units, n_template_samples, n_near) and ``waveformsChannels`` int32.
    """
    amplitude_uv = np.ptp(templates_uv, axis=1).max(axis=1, initial=0)
    return {
        "amps": amplitude_uv.astype(np.float64) * V_PER_UV,
        "waveforms": take_channels(templates_uv, near_channels) * np.float32(V_PER_UV),
        "waveformsChannels": near_channels,
    }


def channels_object(channels):
    """Build ``channels.*``.

    Returns
    -------
    dict of str to ndarray, n_channels rows each
        ``localCoordinates`` float64 (n_channels, 2), µm across and along the probe;
        ``rawInd`` int64, column in the raw file; ``labels`` int64, 0 good, 1 dead, 2 noisy,
        3 outside the brain.
    """
    return {
        "localCoordinates": channels[["x_um", "y_um"]].to_numpy(np.float64),
        "rawInd": channels["channel"].to_numpy(np.int64),
        "labels": channels["label"].to_numpy(np.int64),
    }


def metrics_table(units, *others):
    """Put everything that is known of the units into one table.

    Parameters
    ----------
    units : DataFrame
        ``units.tsv`` of `clean_units`.
    *others : DataFrame
        Tables of the same units, column ``unit`` and others. A column that another table
        before it has as well is left out.

    Returns
    -------
    DataFrame
        One row a unit, in the order of `units`: ``cluster_id`` (the row), then the columns of
        `units` and of the others.
    """
    table = units.copy()
    for other in others:
        new = other.columns.difference(table.columns, sort=False)
        table = table.merge(other[["unit", *new]], on="unit", how="left", validate="one_to_one")
    table.insert(0, "cluster_id", np.arange(len(table), dtype=np.int64))
    return table


def export_alf_file(
    *,
    channels,
    spikes,
    units,
    templates,
    waveform_mean,
    waveform_metrics,
    metrics,
    sampling_rate_hz,
    session,
    probe,
    sorter,
    folder,
):
    """Write one sorting as an ALF collection and check that ONE can read it.

    Parameters
    ----------
    channels : path
        ``channels.tsv`` of the probe.
    spikes, units, templates : path
        ``spikes.pqt``, ``units.tsv``, ``templates.npy`` of `clean_units`.
    waveform_mean, waveform_metrics : path
        ``waveform_mean.npy``, ``waveform_metrics.tsv`` of `unit_waveforms`.
    metrics : path
        ``metrics.pqt`` of `unit_metrics`.
    sampling_rate_hz : float
    session : str
        Name of the session, ``subject/date/number``.
    probe, sorter : str
        Names; the collection is ``alf/<probe>/<sorter>``.
    folder : path
        Written: the collection's files: ``spikes``, ``clusters``, ``templates`` and
        ``channels`` as the functions above describe them, ``clusters.metrics.pqt``
        (`metrics_table`), ``clusters.uuids.csv`` (`cluster_uuids`), and, for a probe with
        more than one shank, ``_sluice_channels.shanks.npy`` int64 (n_channels,).

    Raises
    ------
    InputError
        The files are not of the same sorting.
    """
    folder, channels = Path(folder), load_channels(channels)
    units = pd.read_csv(units, sep="\t", keep_default_na=False, dtype=UNIT_DTYPES)
    spikes, unit_rows = _load_spikes(spikes, units)
    templates_uv = _load_waveforms(templates, units, channels)
    mean_uv = _load_waveforms(waveform_mean, units, channels)
    features = pd.read_csv(waveform_metrics, sep="\t", dtype=FEATURE_DTYPES)
    table = metrics_table(
        units,
        _of_units(pd.read_parquet(metrics), metrics, units),
        _of_units(features, waveform_metrics, units),
    )
    identifiers = cluster_uuids(
        f"{session}/{probe}/{sorter}", units["unit"], spikes["sample"].to_numpy(), unit_rows
    )
    peak_channels = units["peak_channel"].to_numpy()
    near = nearest_channels(channels, peak_channels, n_near=N_NEAR)
    rate = {"sampling_rate_hz": sampling_rate_hz}

    objects = {"spikes": spikes_object(spikes, unit_rows, n_units=len(units), **rate)}
    objects["clusters"] = clusters_object(
        mean_uv, peak_channels, near, objects["spikes"], channels["y_um"].to_numpy(), **rate
    )
    objects["templates"] = templates_object(templates_uv, near)
    objects["channels"] = channels_object(channels)
    if channels["shank"].nunique() > 1:
        objects["_sluice_channels"] = {"shanks": channels["shank"].to_numpy(np.int64)}
    folder.mkdir()
    for name, attributes in objects.items():
        for attribute, array in attributes.items():
            np.save(folder / f"{name}.{attribute}.npy", array)
    table.to_parquet(folder / "clusters.metrics.pqt", index=False)
    (folder / "clusters.uuids.csv").write_text("\n".join(["uuids", *identifiers]) + "\n")
    validate_collection(folder, f"alf/{probe}/{sorter}")


def describe_probes_file(*, probes, description):
    """Write ``alf/probes.description.json`` of a session.

    Parameters
    ----------
    probes : list of dict
        One a probe: ``label`` (its name, as in the collection), ``model``, ``serial``
        (number) and ``raw_file_name``; IBL's keys, all of them and no others.
    description : path
        Written.
    """
    keys = {"label", "model", "serial", "raw_file_name"}
    for probe in probes:
        if set(probe) != keys:
            raise ValueError(f"a probe is described by {sorted(keys)}, found {sorted(probe)}")
    Path(description).write_text(json.dumps(probes, indent=1) + "\n")


def _load_spikes(path, units):
    """Read the spikes, and the row of `units` of each."""
    spikes = pd.read_parquet(path)
    rows = pd.Index(units["unit"]).get_indexer(spikes["unit"])
    if (rows < 0).any():
        unknown = spikes["unit"].to_numpy()[rows < 0][0]
        raise InputError(
            f"{path} has spikes of unit {unknown}, which the table of units does not list: they "
            "are not of the same sorting. Run clean_units again."
        )
    return spikes, rows


def _load_waveforms(path, units, channels):
    """Read waveforms (n_units, n_samples, n_channels)."""
    waveforms = np.load(path)
    if (waveforms.shape[0], waveforms.shape[2]) != (len(units), len(channels)):
        raise InputError(
            f"{path} has {waveforms.shape[0]} units on {waveforms.shape[2]} channels, the sorting "
            f"{len(units)} on {len(channels)}: they are not of the same sorting. Delete it and "
            "run the workflow again."
        )
    return waveforms


def _of_units(table, path, units):
    """Make sure that a table has the units of the sorting."""
    if sorted(table["unit"]) != sorted(units["unit"]):
        raise InputError(
            f"{path} has {len(table)} units, the sorting {len(units)}, and they are not the same "
            "ones. Delete it and run the workflow again."
        )
    return table
