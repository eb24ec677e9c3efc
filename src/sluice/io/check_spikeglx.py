"""What is wrong with a SpikeGLX recording, from the sizes and headers of its files alone."""

import json
import re
from pathlib import Path

from sluice.errors import InputError
from sluice.io.spikeglx import (
    BANDS,
    SAMPLE_BYTES,
    find_files,
    read_meta,
    saved_channels,
    serial_of,
)

# What must not differ between the files of one run, since they are joined end to end.
SAME_IN_A_RUN = ("nSavedChans", "snsApLfSy", "snsSaveChanSubset", "imSampRate", "imroTbl")


def check_spikeglx(folder, *, device="", serial=""):
    """Say what is wrong with a probe's recording, from sizes and headers alone.

    Parameters
    ----------
    folder : str or Path
        Folder of the probe.
    device : str
        As in `find_files`.
    serial : str
        Serial number that the probe must have; empty for any.

    Returns
    -------
    list of str
        One line a problem, each with the file, what was found and expected, and what to do.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return [f"{folder}: no such folder; correct the path in the table of streams"]
    try:
        files = {band: find_files(folder, band, device=device) for band in BANDS}
    except InputError as error:
        return [str(error)]
    if not files["ap"]:
        of = f" of {device}" if device else ""
        return [f"{folder}: no AP recording{of}; expected *.ap.bin or *.ap.cbin with its .ap.meta"]
    problems = _check_names(files["ap"] + files["lf"])
    if problems:
        return problems
    metas = {}
    for file in files["ap"] + files["lf"]:
        try:
            metas[file] = _check_file(file)
        except InputError as error:
            problems.append(str(error))
    return problems + _check_run(metas) + _check_probe(metas, serial)


def _check_names(files):
    """All files must be of one probe and of one run, each part once."""
    devices = sorted({f.device for f in files})
    if len(devices) > 1:
        return [
            f"{files[0].name.parent}: files of several probes ({', '.join(devices)}); put one of "
            "these names in the stream_id column of the table of streams"
        ]
    runs = sorted({f.run for f in files})
    if len(runs) > 1:
        return [
            f"{files[0].name.parent}: files of several runs ({', '.join(runs)}); expected one. "
            "Give each run its own folder and its own row in the table of streams."
        ]
    for band in BANDS:
        of_band = [f for f in files if f.band == band]
        if len(of_band) > 1 and any(f.is_catgt for f in of_band):
            return [
                f"{files[0].name.parent}: both CatGT's output (tcat) and the files it was made "
                "from; keep either in the folder"
            ]
    return []


def _check_file(file):
    """Return the meta of one file, or raise InputError with what is wrong with the file."""
    if file.meta is None:
        raise InputError(
            f"{file.name}: its .meta is missing; expected {file.name.stem}.meta beside it. "
            "Copy it from the acquisition computer: without it rate and gains are unknown."
        )
    if file.data is None:
        raise InputError(
            f"{file.meta}: the recording it describes is missing; expected "
            f"{file.meta.stem}.bin or .cbin beside it. Copy it there, or take the .meta away."
        )
    meta = read_meta(file.meta)
    _check_channels(file, meta)
    if file.data.suffix == ".cbin":
        _check_compressed_size(file, meta)
    else:
        _check_size(file, meta)
    return meta


def _check_channels(file, meta):
    """The channel counts of a meta must agree with each other and with the band."""
    entries = meta["snsApLfSy"].split(",")
    if len(entries) != 3 or not all(n.strip().isdigit() for n in entries):
        raise InputError(
            f"{file.meta}: snsApLfSy is {meta['snsApLfSy']!r}; expected three counts, e.g. "
            "384,0,1. Copy the .meta again from the acquisition computer."
        )
    n_ap, n_lf, n_sync = (int(n) for n in entries)
    n_saved = int(meta["nSavedChans"])
    if n_ap + n_lf + n_sync != n_saved:
        raise InputError(
            f"{file.meta}: snsApLfSy={meta['snsApLfSy']} is {n_ap + n_lf + n_sync} channels, but "
            f"nSavedChans={n_saved}. Copy the .meta again from the acquisition computer."
        )
    if n_ap + n_lf == 0 or (file.band == "ap" and n_ap == 0):
        raise InputError(
            f"{file.meta}: snsApLfSy={meta['snsApLfSy']} has no channel of the "
            f"{file.band.upper()} band; is it the .meta of another file? Copy the right one."
        )
    if len(saved_channels(meta)) != n_saved:
        raise InputError(
            f"{file.meta}: snsSaveChanSubset lists {len(saved_channels(meta))} channels, but "
            f"nSavedChans={n_saved}. Copy the .meta again from the acquisition computer."
        )
    recorded_as = re.search(r"\.(imec\d+)\.(?:ap|lf)", meta.get("fileName", ""))
    if recorded_as and file.device not in ("", "imec", recorded_as[1]):
        raise InputError(
            f"{file.meta}: is of another probe: it was written for {recorded_as[1]} (fileName), "
            f"the file is called {file.device}. Copy the .meta of {file.device}."
        )


def _check_size(file, meta):
    """A binary must have whole frames, and as many as its meta says."""
    found, expected = file.data.stat().st_size, int(meta["fileSizeBytes"])
    frame = SAMPLE_BYTES * int(meta["nSavedChans"])
    if found == 0:
        raise InputError(
            f"{file.data}: is empty (0 bytes); expected {expected} bytes. Copy it again."
        )
    if found % frame:
        raise InputError(
            f"{file.data}: {found} bytes are not a whole number of frames of {frame} bytes "
            f"({meta['nSavedChans']} channels), so the file was cut short or is not of this "
            f".meta; expected {expected} bytes. Copy it again."
        )
    if found != expected:
        raise InputError(
            f"{file.data}: {found} bytes, but its .meta says {expected} (fileSizeBytes). Copy "
            "it again, or correct fileSizeBytes if the file was shortened on purpose."
        )


def _check_compressed_size(file, meta):
    """A compressed file must be as long as its header says, and hold what the meta says."""
    if file.chunks is None:
        raise InputError(
            f"{file.data}: its .ch is missing; expected {file.data.stem}.ch beside it. It "
            "cannot be decompressed without; copy it from where the .cbin was made."
        )
    try:
        header = json.loads(file.chunks.read_text(encoding="utf-8"))
        n_samples, n_bytes = header["chunk_bounds"][-1], header["chunk_offsets"][-1]
        n_channels, dtype = header["n_channels"], header["dtype"]
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"{file.chunks}: is no header of mtscomp ({error!r}); expected JSON with "
            "chunk_bounds, chunk_offsets, n_channels and dtype. Copy it again."
        ) from None
    found, expected = file.data.stat().st_size, int(meta["fileSizeBytes"])
    if found != n_bytes:
        raise InputError(
            f"{file.data}: {found} bytes, but its .ch says {n_bytes} (chunk_offsets), so it was "
            "cut short or is of another .ch. Copy both again."
        )
    if dtype != "int16" or n_channels != int(meta["nSavedChans"]):
        raise InputError(
            f"{file.chunks}: {n_channels} channels of {dtype}, but the .meta says "
            f"{meta['nSavedChans']} (nSavedChans) and SpikeGLX writes int16. Copy the .ch and "
            ".meta that belong to the .cbin."
        )
    if n_samples * n_channels * SAMPLE_BYTES != expected:
        raise InputError(
            f"{file.chunks}: {n_samples} samples of {n_channels} channels are "
            f"{n_samples * n_channels * SAMPLE_BYTES} bytes, but the .meta says {expected} "
            "(fileSizeBytes). Copy the .ch and .meta that belong to the .cbin."
        )


def _check_run(metas):
    """The files of one band are joined, so they must have the same channels and rate."""
    problems = []
    for band in BANDS:
        first, *others = [f for f in metas if f.band == band] or [None]
        for file in others:
            problems += [
                f"{file.meta}: {key} differs from that of {first.meta}; the files of a run must "
                "be of the same channels and rate. Keep one of them in the folder."
                for key in SAME_IN_A_RUN
                if metas[file][key] != metas[first][key]
            ][:1]
    return problems


def _check_probe(metas, serial):
    """All metas must be of one probe, and of the one that is named."""
    problems = []
    for file, meta in metas.items():
        found = serial_of(meta)
        expected, source = serial, "the table of streams"
        if not expected:
            first = next(iter(metas))
            expected, source = serial_of(metas[first]), first.meta
        if found != expected:
            problems.append(
                f"{file.meta}: is of another probe: serial number {found or '(none)'}, expected "
                f"{expected or '(none)'} ({source}). Copy the .meta of that probe, or correct "
                "the table of streams."
            )
    return problems
