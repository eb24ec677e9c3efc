"""Raw probe recordings of every format as SpikeInterface recordings.

All formats are read by one small class over SpikeInterface's `BaseRecording`, and probes by
probeinterface. SpikeInterface's readers of these formats are used in the tests alone, which
assert that what they can read is the same here. They cannot read all of it (0.105.3 with neo
0.14.6): a Quad Base probe gives 1540 columns for its 1536 channels, and metas that
ibl-neuropixel has rewritten, names with spaces and names with UUIDs fail.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from spikeinterface.core import BaseRecording, BaseRecordingSegment, concatenate_recordings

from sluice.ephys.traces import CHANNEL_COLUMNS
from sluice.errors import InputError
from sluice.io import neuropixels, openephys, spikeglx
from sluice.io.binary import read_geometry
from sluice.io.check_stream import problem_of, raw_files

RAW_COLUMNS = list(CHANNEL_COLUMNS)[:9]


def open_probe(stream, band="ap"):
    """Open a probe's recording.

    Parameters
    ----------
    stream : sluice.session.Stream
    band : str
        ``ap`` or ``lf``.

    Returns
    -------
    spikeinterface.core.BaseRecording or None
        One segment of int16, as in the file: the files of one run end to end (whatever time
        passed between them is not filled), the neural channels in the file's order, without
        sync. Has a probe, gains, and the properties ``median_group``,
        ``inter_sample_shift`` and ``is_reference``; SpikeGLX's full scale in bits is its
        annotation ``max_int``. None if the LF band is asked for and
        the recording has none, as is normal for Neuropixels 2.0 and flat binaries.

    Raises
    ------
    InputError
        The recording cannot be read; see `sluice.io.check_stream.problem_of`.
    """
    if problem := problem_of(stream):
        raise InputError(problem)
    if stream.format == "spikeglx":
        return _open_spikeglx(stream, band)
    if stream.format == "openephys":
        return _open_openephys(stream, band)
    return _open_binary(stream) if band == "ap" else None


def channel_table(recording):
    """Describe the channels of a recording opened by `open_probe`.

    Parameters
    ----------
    recording : spikeinterface.core.BaseRecording

    Returns
    -------
    DataFrame
        One row a channel, in the recording's order; the first columns of
        `sluice.ephys.traces.CHANNEL_COLUMNS`, up to ``is_reference``.
    """
    positions_um = recording.get_channel_locations()
    columns = {
        "channel": np.arange(recording.get_num_channels()),
        "channel_id": recording.channel_ids.astype(str),
        "x_um": positions_um[:, 0],
        "y_um": positions_um[:, 1],
        "shank": recording.get_property("shank"),
        "gain_uv": recording.get_channel_gains(),
        "median_group": recording.get_property("median_group"),
        "sample_shift": recording.get_property("inter_sample_shift"),
        "is_reference": recording.get_property("is_reference"),
    }
    return pd.DataFrame(columns)[RAW_COLUMNS]


def describe_probe(stream):
    """Say what a probe is, with IBL's keys of ``probes.description.json``.

    Parameters
    ----------
    stream : sluice.session.Stream

    Returns
    -------
    dict of str
        ``label``, ``model`` (imec's part), ``serial`` and ``raw_file_name``; empty where
        neither the file nor the table says it.
    """
    about = open_probe(stream).get_probe().annotations
    return {
        "label": stream.name,
        "model": str(about.get("part_number") or about.get("model_name") or ""),
        "serial": str(about.get("serial_number") or stream.serial),
        "raw_file_name": raw_files(stream)[0].name,
    }


class RawRecording(BaseRecording):
    """One file of interleaved int16 samples, whose first columns are the channels.

    Parameters
    ----------
    file_path : str or Path
        A binary without header, or a ``.cbin``.
    n_columns : int
        Columns of the file, sync and others included.
    sampling_frequency : float
        Hz.
    channel_ids : list of str
        Names of the first columns; the others are left out.
    gain_to_uv : list of float
        µV per bit of each channel.
    properties : dict of str to list
        SpikeInterface's properties of the channels. Given here rather than set later, so that
        they reach SpikeInterface's worker processes.
    header_path : str or Path, optional
        The ``.ch`` of a ``.cbin``.
    """

    def __init__(
        self,
        file_path,
        n_columns,
        sampling_frequency,
        channel_ids,
        gain_to_uv,
        properties,
        header_path=None,
    ):
        super().__init__(sampling_frequency, list(channel_ids), np.dtype("int16"))
        if header_path:
            rows = _CompressedRows(file_path, header_path)
        else:
            rows = _Rows(file_path, n_columns)
        self.add_recording_segment(_Segment(rows, sampling_frequency, len(channel_ids)))
        self.set_channel_gains(np.asarray(gain_to_uv))
        self.set_channel_offsets(0.0)
        for key, values in properties.items():
            self.set_property(key, np.asarray(values))
        self._kwargs = {
            "file_path": str(Path(file_path).absolute()),
            "n_columns": n_columns,
            "sampling_frequency": sampling_frequency,
            "channel_ids": channel_ids,
            "gain_to_uv": gain_to_uv,
            "properties": properties,
            "header_path": str(Path(header_path).absolute()) if header_path else None,
        }


class _Segment(BaseRecordingSegment):
    def __init__(self, rows, sampling_frequency, n_channels):
        super().__init__(sampling_frequency=sampling_frequency)
        self._rows = rows
        self._n_channels = n_channels

    def get_num_samples(self):
        return self._rows.n_rows

    def get_traces(self, start_frame=None, end_frame=None, channel_indices=None):
        traces = self._rows.read(start_frame, end_frame)[:, : self._n_channels]
        return traces if channel_indices is None else traces[:, channel_indices]


class _Rows:
    """Rows of a flat binary, read rather than mapped: what was read is not kept in memory."""

    def __init__(self, path, n_columns):
        self._path = path
        self._n_columns = n_columns
        self.n_rows = Path(path).stat().st_size // (2 * n_columns)

    def read(self, start, stop):
        rows = np.fromfile(
            self._path,
            dtype=np.int16,
            count=(stop - start) * self._n_columns,
            offset=2 * start * self._n_columns,
        )
        return rows.reshape(-1, self._n_columns)


class _CompressedRows:
    """Rows of a ``.cbin``; two of its chunks of a second each are kept for the next call."""

    def __init__(self, path, header_path):
        import mtscomp

        self._reader = mtscomp.Reader(cache_size=2)
        self._reader.open(path, header_path)
        self.n_rows = self._reader.n_samples

    def read(self, start, stop):
        # a copy: the reader gives out parts of the chunks that it keeps
        return self._reader[start:stop].copy()


def _open_spikeglx(stream, band):
    files = spikeglx.find_files(stream.path, band, device=stream.stream_id)
    if not files:
        return None
    path = files[0].meta
    meta = spikeglx.read_meta(path)
    probe = neuropixels.read_probe(meta, path)
    n_neural, n_saved = spikeglx.counts(meta)
    n_acquired = probe.get_contact_count()
    # LF channels are numbered after the AP channels
    channels = np.array(spikeglx.saved_channels(meta)[:n_neural])
    channels = np.where(channels >= n_acquired, channels - n_acquired, channels)
    if channels.max() >= n_acquired:
        raise InputError(
            f"{path}: snsSaveChanSubset names channel {channels.max()} of a probe that has "
            f"{n_acquired} (imroTbl). Copy the .meta again from the acquisition computer."
        )
    ap_meta = spikeglx.read_meta(
        spikeglx.find_files(stream.path, "ap", device=stream.stream_id)[0].meta
    )
    references = neuropixels.references(ap_meta, probe)
    median_group, shift = neuropixels.multiplexing(probe, channels)
    if spikeglx.is_time_aligned(meta):
        shift = np.zeros_like(shift)
    recording = _describe(
        [(file.data, file.chunks) for file in files],
        n_columns=n_saved,
        sampling_rate_hz=float(meta["imSampRate"]),
        channel_ids=[f"{band.upper()}{channel}" for channel in channels],
        gains_uv=neuropixels.bit_uv(meta, probe, band, path)[channels],
        probe=probe.get_slice(channels),
        median_group=median_group,
        shift=shift,
        is_reference=np.isin(channels, references),
    )
    recording.annotate(max_int=neuropixels.max_int(meta, probe))
    return recording


def _open_openephys(stream, band):
    found = openephys.select(stream.path, band, stream_id=stream.stream_id)
    if found is None:
        return None
    n_channels = len(found.channels)
    probe = _plain_probe(stream) if stream.geometry else _read_openephys_probe(found)
    if probe.get_contact_count() != n_channels:
        raise InputError(
            f"{found.data[0]}: {n_channels} neural channels, but {probe.get_contact_count()} "
            f"contacts in {'the table of streams' if stream.geometry else found.settings}. "
            "Give the contacts of the recorded channels in the geometry column."
        )
    n_acquired = probe.annotations.get("num_readout_channels", 0)
    channels = openephys.acquisition_channels(found.channels, n_acquired)
    median_group, shift = neuropixels.multiplexing(probe, channels)
    references = neuropixels.catalogue_references(probe.annotations.get("part_number"))
    is_reference = np.zeros(n_channels, bool) if channels is None else np.isin(channels, references)
    return _describe(
        [(path, None) for path in found.data],
        n_columns=found.n_columns,
        sampling_rate_hz=found.sampling_rate_hz,
        channel_ids=list(found.channels),
        gains_uv=np.array(found.bit_uv),
        probe=probe,
        median_group=median_group,
        shift=shift,
        is_reference=is_reference,
    )


def _read_openephys_probe(found):
    import probeinterface

    try:
        return probeinterface.read_openephys_neuropixels(found.settings, stream_name=found.name)
    # probeinterface raises Exception itself
    except Exception as error:
        raise InputError(
            f"{found.settings}: no contacts for {found.full_name} ({error}). Give them in the "
            "geometry column of the table of streams."
        ) from error


def _open_binary(stream):
    probe = _plain_probe(stream)
    nothing = np.zeros(stream.n_channels)
    return _describe(
        [(stream.path, None)],
        n_columns=stream.n_channels,
        sampling_rate_hz=stream.sampling_rate_hz,
        channel_ids=[str(channel) for channel in range(stream.n_channels)],
        gains_uv=np.full(stream.n_channels, stream.gain_uv),
        probe=probe,
        median_group=nothing.astype(int),
        shift=nothing,
        is_reference=nothing.astype(bool),
    )


def _plain_probe(stream):
    """Build a probe of the contacts in the table of streams."""
    from probeinterface import Probe

    positions_um, shank = read_geometry(stream)
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions_um, shapes="circle", shape_params={"radius": 1}, shank_ids=shank)
    return probe


def _describe(
    files,
    *,
    n_columns,
    sampling_rate_hz,
    channel_ids,
    gains_uv,
    probe,
    median_group,
    shift,
    is_reference,
):
    """Join the files of a run and attach what is known of their channels."""
    probe.set_device_channel_indices(np.arange(len(channel_ids)))
    # lists of plain numbers, since SpikeInterface writes them to JSON
    properties = {
        "shank": _shanks(probe).tolist(),
        "median_group": median_group.tolist(),
        "inter_sample_shift": shift.tolist(),
        "is_reference": is_reference.tolist(),
    }
    parts = [
        RawRecording(
            data, n_columns, sampling_rate_hz, channel_ids, gains_uv.tolist(), properties, header
        )
        for data, header in files
    ]
    recording = parts[0] if len(parts) == 1 else concatenate_recordings(parts)
    recording.set_probe(probe, group_mode="by_shank" if probe.shank_ids is not None else "auto")
    return recording


def _shanks(probe):
    """Shank of each contact as a number; probes of one shank do not name it."""
    if probe.shank_ids is None:
        return np.zeros(probe.get_contact_count(), dtype=int)
    return np.array([int(name or 0) for name in probe.shank_ids])
