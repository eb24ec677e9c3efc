"""Spike sorting of one probe: every shank on its own, with any sorter of SpikeInterface."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from sluice import qc
from sluice.ephys.measure_spikes import usable_channels
from sluice.ephys.sorters import require_cuda, run_sorter, sorter_parameters, use_cores
from sluice.ephys.traces import load_traces_info, open_traces
from sluice.errors import InputError

logger = logging.getLogger(__name__)

# Large files that sorters leave behind and that the traces make superfluous.
SCRATCH = ("*.dat", "*.raw", "traces_cached_*")
UNIT_COLUMNS = ["unit", "shank", "sorter_unit", "sorter_label"]


def open_recording(folder):
    """Open preprocessed traces as a recording of SpikeInterface.

    Parameters
    ----------
    folder : path
        See `sluice.ephys.traces`.

    Returns
    -------
    recording : spikeinterface.BaseRecording
        All channels, in bits, with the probe attached; channel ids are row numbers.
    channels : DataFrame
        Table of channels.
    """
    import probeinterface
    import spikeinterface.core as si

    _, info, channels = open_traces(folder)
    recording = si.BinaryRecordingExtractor(
        [Path(folder) / "traces.bin"],
        sampling_frequency=info.sampling_rate_hz,
        dtype="int16",
        num_channels=info.n_channels,
        gain_to_uV=info.gain_uv,
        offset_to_uV=0.0,
        is_filtered=True,
    )
    probe = probeinterface.Probe(ndim=2, si_units="um")
    probe.set_contacts(
        channels[["x_um", "y_um"]].to_numpy(np.float64),
        shapes="circle",
        shape_params={"radius": 5},
        shank_ids=channels["shank"].astype(str),
    )
    probe.set_device_channel_indices(np.arange(info.n_channels))
    recording.set_probe(probe)
    return recording, channels


def shank_whitening(folder, chosen, gain_uv):
    """Cut one shank out of the workflow's whitening matrix.

    Parameters
    ----------
    folder : path
        Folder of the traces, with ``whitening.npy``.
    chosen : ndarray of int, shape (n_chosen,)
        Channels that are sorted.
    gain_uv : float
        µV per bit of the traces.

    Returns
    -------
    ndarray of float32, shape (n_chosen, n_chosen)
        whitened = matrix @ traces in bits.

    Raises
    ------
    InputError
        The whitened channels are made of others than these too.
    """
    path = Path(folder) / "whitening.npy"
    matrix = np.load(path)[chosen]
    others = np.delete(matrix, chosen, axis=1)
    if np.any(others):
        raise InputError(
            f"{path} mixes the {len(chosen)} good channels of a shank with "
            f"{np.count_nonzero(others.any(axis=0))} channels that are bad or of another shank; "
            "it was made for another table of channels. Run preprocess_probe again."
        )
    return matrix[:, chosen] * np.float32(gain_uv)


def require_two_batches(traces, n_samples, rate_hz, parameters):
    """Raise an InputError where Kilosort 4 cannot take its whitening from the recording.

    It leaves the last batch out; with nothing left it whitens with NaN.
    """
    from kilosort.parameters import DEFAULT_SETTINGS

    batch = parameters.get("batch_size", DEFAULT_SETTINGS["batch_size"])
    if n_samples < 2 * batch:
        raise InputError(
            f"{traces}: found {n_samples / rate_hz:.2f} s; Kilosort 4 needs two batches of "
            f"{batch} samples ({2 * batch / rate_hz:.2f} s) to whiten. Set ephys.sort_spikes."
            "sorters.kilosort4.batch_size lower, or ephys.preprocess_probe.whiten: workflow"
        )


def as_tables(sorting, n_samples, *, shank, first_unit):
    """Number the units of one shank's sorting.

    Parameters
    ----------
    sorting : spikeinterface.BaseSorting or None
        None where nothing was found.
    n_samples : int
        Length of the recording; spikes outside it are left out.
    shank : int
    first_unit : int
        Number of the first unit.

    Returns
    -------
    spikes : DataFrame
        ``sample`` int64, ``unit`` int32; not ordered.
    units : DataFrame
        ``unit``, ``shank``, ``sorter_unit`` (name in the sorter's own files),
        ``sorter_label`` (Kilosort's ``good`` or ``mua``, empty for other sorters), in the
        sorter's order; units without spikes left out.
    """
    samples, numbers, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], []
    labels = None if sorting is None else sorting.get_property("KSLabel")
    for i, unit in enumerate([] if sorting is None else sorting.unit_ids):
        train = np.asarray(sorting.get_unit_spike_train(unit), np.int64)
        train = train[(train >= 0) & (train < n_samples)]
        if len(train):
            number = first_unit + len(rows)
            rows.append((number, shank, str(unit), "" if labels is None else str(labels[i])))
            samples.append(train)
            numbers.append(np.full(len(train), number, np.int32))
    spikes = pd.DataFrame({"sample": np.concatenate(samples), "unit": np.concatenate(numbers)})
    return spikes, pd.DataFrame(rows, columns=UNIT_COLUMNS)


def sort_shanks(traces, sorter, parameters, folder, *, whiten, motion, device, n_threads, settings):
    """Sort each shank of a probe that has good channels; see `sort_spikes_file`.

    Returns
    -------
    spikes, units : DataFrame
        As `as_tables` gives them, of all shanks, spikes by sample and unit.
    """
    recording, channels = open_recording(traces)
    info = load_traces_info(Path(traces) / "traces.json")
    n_samples, rate_hz = recording.get_num_samples(), recording.sampling_frequency
    whitens = sorter == "kilosort4" and whiten == "workflow"
    if sorter == "kilosort4" and not whitens:
        require_two_batches(traces, n_samples, rate_hz, parameters)
    usable = usable_channels(channels)
    if not usable.any():
        raise InputError(
            f"{traces}: none of {len(channels)} channels is good, so there is nothing to sort. "
            "Look at the figure of check_probe and at its thresholds."
        )
    found_spikes, found_units = [], []
    for shank in np.unique(channels["shank"]):
        chosen = np.flatnonzero(usable & (channels["shank"].to_numpy() == shank))
        if len(chosen) == 0:
            logger.warning("shank %d has no good channel and is not sorted", shank)
            continue
        correct_drift = motion == "sorter" and len(chosen) >= settings["min_channels_for_drift"]
        logger.info("shank %d: %d channels, drift correction %s", shank, len(chosen), correct_drift)
        merged = sorter_parameters(
            sorter,
            parameters,
            device=device,
            correct_drift=correct_drift,
            n_threads=n_threads,
            median_subtracted=info.median_subtracted,
        )
        gain_uv = recording.get_channel_gains()[0]
        sorting = run_sorter(
            recording.select_channels(recording.channel_ids[chosen]),
            sorter,
            merged,
            folder / f"shank{shank}",
            whitening=shank_whitening(traces, chosen, gain_uv) if whitens else None,
        )
        first_unit = sum(map(len, found_units))
        spikes, units = as_tables(sorting, n_samples, shank=int(shank), first_unit=first_unit)
        found_spikes.append(spikes)
        found_units.append(units)
    spikes = pd.concat(found_spikes, ignore_index=True)
    spikes = spikes.sort_values(["sample", "unit"], kind="stable", ignore_index=True)
    return spikes, pd.concat(found_units, ignore_index=True)


def sort_spikes_file(
    *,
    traces,
    sorter,
    parameters,
    whiten,
    motion,
    device,
    n_threads,
    spikes,
    units,
    sorter_output,
    checks,
    settings,
):
    """Sort one probe, each shank on its own good channels.

    Kilosort 4 gets the workflow's whitening if `whiten` says so, and then neither filters
    nor whitens; every other sorter gets the traces as they are and does to them what its
    own parameters say, since SpikeInterface's sorters expect unwhitened traces. The traces
    are median-subtracted and filtered already, so Kilosort 4 subtracts no median.

    Parameters
    ----------
    traces : path
        Folder of the preprocessed probe, see `sluice.ephys.traces`.
    sorter : str
        SpikeInterface's name.
    parameters : dict
        The user's parameters that differ from SpikeInterface's defaults.
    whiten : str
        ``workflow`` or ``sorter``: ``ephys.preprocess_probe.whiten``.
    motion : str
        ``ephys.preprocess_probe.motion``; the sorter corrects for drift only where it is
        ``sorter`` and the shank has enough channels.
    device : str
        ``cuda`` or ``cpu``.
    n_threads : int
        Cores of this job.
    spikes : path
        Written: parquet, ``sample`` int64 ascending, ``unit`` int32.
    units : path
        Written: TSV, one row a unit, see `as_tables`; numbered from 0 by shank and the
        sorter's own number.
    sorter_output : path
        Written: folder with SpikeInterface's folder of each shank (``shank0`` ...). It
        holds logs with times in them; all else written here is the same every time.
    checks : path
        Written: JSON, see `sluice.qc`.
    settings : dict
        Section ``ephys.sort_spikes``.

    Raises
    ------
    UserError
        Sorter not available, its parameters wrong, no GPU where one was given.
    InputError
        No good channel, or a recording too short for Kilosort's whitening.
    SorterError
        The sorter failed.
    """
    if device == "cuda":
        require_cuda()
    if sorter == "kilosort4":
        use_cores(n_threads, device)
    folder = Path(sorter_output).absolute()
    folder.mkdir()
    found_spikes, found_units = sort_shanks(
        traces,
        sorter,
        parameters,
        folder,
        whiten=whiten,
        motion=motion,
        device=device,
        n_threads=n_threads,
        settings=settings,
    )
    for pattern in SCRATCH:
        for file in folder.rglob(pattern):
            file.unlink()
    found_spikes.to_parquet(spikes, index=False)
    found_units.to_csv(units, sep="\t", index=False)
    units_found = qc.check(
        "units_found",
        len(found_units),
        message=f"{sorter} found {len(found_units)} units with {len(found_spikes)} spikes",
        **settings["checks"]["units_found"],
    )
    qc.save_checks([units_found], checks)
