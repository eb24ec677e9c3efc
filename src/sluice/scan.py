"""Find the sessions and recordings in a folder of raw data and write the two tables.

Looked for, below ``<raw>/<subject>/<date>/<number>/raw_ephys_data``:

- a folder per probe with SpikeGLX files (``probe00/*.ap.bin``), named by the folder;
- SpikeGLX's own run folders (``NAME_g0/NAME_g0_imec0/``), or its files without folders;
  the probes are named probe00, probe01, … by imec number;
- Open Ephys binary folders (anything with a ``structure.oebin`` below it), named by the
  probe folder they are in, or probe00, probe01, … in the order of their streams.

And folders ``raw_imaging_data_NN`` with two-photon movies, see `sluice.scan_imaging`, and
``raw_video_data`` with behaviour videos, see `sluice.scan_cameras`.

A recording that cannot be read is listed all the same: planning the workflow finds the
problem again, says so and leaves it out.
"""

import re
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path

import pandas as pd

from sluice.errors import InputError
from sluice.io import openephys, spikeglx
from sluice.io.check_stream import problem_of
from sluice.scan_cameras import describe_cameras
from sluice.scan_imaging import FOUND_COLUMNS as PLANE_COLUMNS
from sluice.scan_imaging import describe_planes
from sluice.session import DATE, KINDS, Stream, session_name

SESSION_COLUMNS = [
    "subject",
    "date",
    "number",
    "start_time",
    "species",
    "sex",
    "age",
    "date_of_birth",
]
# What is written of a recording besides the fields of its kind.
FOUND_COLUMNS = ["probe_type", "n_shanks", *PLANE_COLUMNS]
STREAM_COLUMNS = list(
    dict.fromkeys([f.name for kind in KINDS.values() for f in fields(kind.row)] + FOUND_COLUMNS)
)
WHOLE_NUMBERS = [
    "n_channels",
    "n_shanks",
    "size_bytes",
    "plane",
    "n_planes",
    "channel",
    "height",
    "width",
    "n_frames",
    "ttl_line",
    "gpio_pin",
    "gpio_line",
]
NUMBER = re.compile(r"\d{1,3}")
PROBE_FOLDER = re.compile(r"probe.*", re.IGNORECASE)
RUN_FOLDER = re.compile(r".*_g\d+(_imec\d+)?")
LAYOUT = "<subject>/<YYYY-MM-DD>/<number>/raw_ephys_data/, raw_imaging_data_00/ or raw_video_data/"


def scan(raw):
    """List the sessions and recordings in a folder of raw data.

    Parameters
    ----------
    raw : str or Path

    Returns
    -------
    sessions : DataFrame
        One row a session, columns `SESSION_COLUMNS`. ``start_time`` is that of the first
        SpikeGLX, ScanImage or NWB file, in this machine's time zone unless the file names
        another; what files do not say is empty.
    streams : DataFrame
        One row a probe, imaging plane or camera, columns `STREAM_COLUMNS`.

    Raises
    ------
    InputError
        There is no such folder, or no session in it.
    """
    raw = Path(raw).absolute()
    if not raw.is_dir():
        raise InputError(f"{raw}: no such folder; expected a folder of raw data with {LAYOUT}")
    sessions, streams = [], []
    for folder in _session_folders(raw):
        subject, date, number = folder.parts[-3:]
        key = {"subject": subject, "date": date, "number": f"{int(number):03d}"}
        name = session_name(**key)
        found = [_describe(name, *probe) for probe in _probes(folder / "raw_ephys_data")]
        found += describe_planes(name, folder)
        found += describe_cameras(name, folder)
        starts = [start for _, start in found if start]
        earliest = min(starts, key=datetime.fromisoformat, default="")
        sessions.append({**key, "start_time": earliest})
        streams += [row for row, _ in found]
    if not sessions:
        raise InputError(
            f"{raw}: no session in it; expected folders {LAYOUT}. For another layout write the "
            "two tables by hand."
        )
    sessions = pd.DataFrame(sessions).reindex(columns=SESSION_COLUMNS).fillna("")
    streams = pd.DataFrame(streams).reindex(columns=STREAM_COLUMNS)
    return sessions, streams.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def write_tables(raw, sessions_path, streams_path, *, overwrite=False):
    """Write ``sessions.tsv`` and ``streams.tsv`` for a folder of raw data.

    Parameters
    ----------
    raw : str or Path
    sessions_path, streams_path : str or Path
    overwrite : bool
        Replace tables that have rows. Tables without any are replaced anyway.

    Returns
    -------
    sessions, streams : DataFrame
        As `scan`.

    Raises
    ------
    InputError
        See `scan`; or a table has rows, which may have been completed by hand. Nothing is
        written then.
    """
    filled = [str(path) for path in (sessions_path, streams_path) if _has_rows(path)]
    if filled and not overwrite:
        raise InputError(
            f"{' and '.join(filled)}: has rows already, which are not overwritten without being "
            "told. Move it away, or scan again with --overwrite."
        )
    sessions, streams = scan(raw)
    sessions.to_csv(sessions_path, sep="\t", index=False)
    streams.to_csv(streams_path, sep="\t", index=False)
    return sessions, streams


def _has_rows(path):
    path = Path(path)
    if not path.exists():
        return False
    lines = path.read_text(encoding="utf-8").splitlines()
    return sum(bool(line.strip()) and not line.startswith("#") for line in lines) > 1


def _session_folders(raw):
    """Folders ``subject/date/number``, sorted."""
    return [
        number
        for subject in sorted(raw.iterdir())
        if subject.is_dir()
        for date in sorted(subject.iterdir())
        if date.is_dir() and DATE.fullmatch(date.name)
        for number in sorted(date.iterdir())
        if number.is_dir() and NUMBER.fullmatch(number.name)
    ]


def _probes(ephys):
    """Yield (name, format, path, stream_id) of every probe of a session."""
    if not ephys.is_dir():
        return
    elsewhere, open_ephys = [path for path in ephys.iterdir() if path.is_file()], []
    for folder in sorted(path for path in ephys.iterdir() if path.is_dir()):
        is_probe = PROBE_FOLDER.fullmatch(folder.name)
        if any(folder.rglob("structure.oebin")):
            if is_probe:
                yield from _openephys_probes([folder], folder.name)
            else:
                open_ephys.append(folder)
        elif is_probe or (_devices(folder.iterdir()) and not RUN_FOLDER.fullmatch(folder.name)):
            yield from _folder_probes(folder)
        else:
            elsewhere += folder.rglob("*")
    yield from _openephys_probes(open_ephys, "probe")
    for device, folders in _devices(elsewhere).items():
        # one folder holds it all, or it is spread over several (one per gate)
        path = folders.pop() if len(folders) == 1 else ephys
        is_alone = path != ephys and len(_devices(path.iterdir())) == 1
        yield _probe_name(device), "spikeglx", path, "" if is_alone else device


def _devices(paths):
    """Folders that hold SpikeGLX files of a probe, by the probe's device (imec0, …)."""
    found = {}
    for path in paths:
        match = spikeglx.FILE_NAME.fullmatch(path.name)
        if match:
            found.setdefault(match["device"] or "", set()).add(path.parent)
    return dict(sorted(found.items()))


def _probe_name(device):
    """probe00 for imec0 (and for the unnumbered device of phase 3A)."""
    return f"probe{int(device.removeprefix('imec') or 0):02d}"


def _folder_probes(folder):
    """A folder is a probe, unless it holds several."""
    devices = _devices(folder.iterdir())
    if len(devices) < 2:
        yield folder.name, "spikeglx", folder, ""
    else:
        for device in devices:
            yield f"{folder.name}_{device}", "spikeglx", folder, device


def _openephys_probes(folders, name):
    """Neural AP streams below some folders; of one that several Record Nodes wrote, the first."""
    parts = {}
    for folder in folders:
        try:
            streams = openephys.find_streams(folder)
        except InputError:
            # listed, so that planning the workflow says what is wrong with it
            yield folder.name, "openephys", folder, ""
            continue
        for stream in streams:
            if stream.band == "ap":
                root = stream.experiment.parents[1 if stream.node else 0]
                part = parts.setdefault((root, stream.experiment.name), {})
                part.setdefault(stream.name, stream)
    for number, part in enumerate(parts.values(), 1):
        # later experiments, and later folders of the session
        suffix = f"_{number}" if number > 1 else ""
        is_named = name != "probe" and len(part) == 1
        for i, stream in enumerate(part.values()):
            called = (
                name if is_named else f"{name}{i:02d}" if name == "probe" else f"{name}_{i:02d}"
            )
            yield called + suffix, "openephys", stream.experiment, stream.full_name


def _describe(session, name, file_format, path, stream_id):
    """Row of a recording, and its start time, from what its files say of themselves."""
    stream = Stream(session, "probe", name, str(path), file_format, stream_id)
    found, start = {}, ""
    # one that cannot be read stays in the table: planning the workflow names the problem
    if not problem_of(stream):
        if file_format == "spikeglx":
            found, start = _describe_spikeglx(path, stream_id)
        else:
            found = _describe_openephys(path, stream_id)
    return asdict(stream) | found, start


def _describe_spikeglx(path, device):
    files = spikeglx.find_files(path, "ap", device=device)
    metas = [spikeglx.read_meta(file.meta) for file in files]
    meta = metas[0]
    n_neural, _ = spikeglx.counts(meta)
    found = {
        "serial": spikeglx.serial_of(meta),
        "sampling_rate_hz": float(meta["imSampRate"]),
        "n_channels": n_neural,
        "probe_type": spikeglx.probe_type(meta),
        "n_shanks": spikeglx.n_shanks(meta),
        "duration_s": round(sum(spikeglx.duration_s(meta) for meta in metas), 3),
        "size_bytes": sum(file.data.stat().st_size for file in files),
    }
    return found, _start_time(meta)


def _start_time(meta):
    """Start of a SpikeGLX recording with this machine's time zone; empty if unknown."""
    # CatGT puts the time of its own run in the first place
    text = meta.get("fileCreateTime_original") or meta.get("fileCreateTime", "")
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        return ""


def _describe_openephys(path, stream_id):
    stream = openephys.select(path, "ap", stream_id=stream_id)
    found = {
        "sampling_rate_hz": stream.sampling_rate_hz,
        "n_channels": len(stream.channels),
        "duration_s": round(stream.n_samples / stream.sampling_rate_hz, 3),
        "size_bytes": sum(data.stat().st_size for data in stream.data),
    }
    return found | _describe_openephys_probe(stream)


def _describe_openephys_probe(stream):
    """Type, serial number and shanks of the probe, where the settings describe one."""
    if not stream.settings.is_file():
        return {}
    from probeinterface import has_neuropixels_probes, read_openephys_neuropixels

    if not has_neuropixels_probes(stream.settings, stream_name=stream.name):
        return {}
    probe = read_openephys_neuropixels(stream.settings, stream_name=stream.name, raise_error=False)
    if probe is None:
        return {}
    number = probe.annotations["part_number"]
    return {
        "serial": probe.serial_number,
        "probe_type": spikeglx.probe_name(number) or number,
        "n_shanks": 1 if probe.shank_ids is None else len(set(probe.shank_ids)),
    }
