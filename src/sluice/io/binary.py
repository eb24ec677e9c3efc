"""Flat binaries: samples of all channels in turn, described by the table of streams."""

import json
from pathlib import Path

import numpy as np

from sluice.errors import InputError

SAMPLE_BYTES = 2


def check_binary(stream):
    """Say what is wrong with a flat binary, from its size and its row in the table.

    Parameters
    ----------
    stream : sluice.session.Stream

    Returns
    -------
    list of str
        One line a problem, each with the file, what was found and expected, and what to do.
    """
    path = Path(stream.path)
    if not path.is_file():
        return [f"{path}: no such file; correct the path in the table of streams"]
    if stream.dtype not in ("int16", "<i2"):
        return [
            f"{path}: dtype is {stream.dtype or '(empty)'}; expected int16 (little-endian). "
            "Convert the file, or correct the table of streams."
        ]
    for column in ("n_channels", "sampling_rate_hz", "gain_uv"):
        value = getattr(stream, column)
        if value is None or value <= 0:
            return [
                f"{path}: {column} is {value}; expected a number above 0, since a flat binary does "
                "not say it. Correct the table of streams."
            ]
    found, frame = path.stat().st_size, SAMPLE_BYTES * stream.n_channels
    if found == 0:
        return [f"{path}: is empty (0 bytes). Copy it again."]
    if found % frame:
        return [
            f"{path}: {found} bytes are not a whole number of frames of {frame} bytes "
            f"({stream.n_channels} channels); the file was cut short or n_channels is wrong. Copy "
            "it again, or correct the table of streams."
        ]
    try:
        read_geometry(stream)
    except InputError as error:
        return [str(error)]
    return []


def read_geometry(stream):
    """Read the contacts from the table of streams.

    Parameters
    ----------
    stream : sluice.session.Stream
        ``geometry`` is ``x,y`` or ``x,y,shank`` of each channel (µm), separated by spaces, or
        the path of a probeinterface JSON file of one probe.

    Returns
    -------
    positions_um : float array, shape (n_channels, 2)
        x and y of each channel of the file.
    shank : int array, shape (n_channels,)

    Raises
    ------
    InputError
        The contacts cannot be read, are not one per channel, or lie on each other.
    """
    if stream.geometry.endswith(".json"):
        positions, shank = _read_probe_file(Path(stream.geometry))
    else:
        positions, shank = _parse_pairs(stream.geometry)
    expected = stream.n_channels
    if expected is not None and len(positions) != expected:
        raise InputError(
            f"{stream.path}: geometry has {len(positions)} contacts, expected {expected} "
            "(n_channels). Correct the table of streams."
        )
    if len(np.unique(positions, axis=0)) != len(positions):
        raise InputError(
            f"{stream.path}: geometry has two contacts at the same place. Give each its own; a "
            "few µm apart will do for the wires of a tetrode."
        )
    return positions, shank


def _parse_pairs(text):
    """Read ``x,y`` or ``x,y,shank`` separated by spaces."""
    try:
        values = np.array([part.split(",") for part in text.split()], dtype=float)
    except ValueError:
        values = np.empty((0, 0))
    if values.ndim != 2 or values.shape[1] not in (2, 3):
        raise InputError(
            f"geometry is {text[:60]!r}; expected 'x,y' of each channel in µm separated by spaces "
            "('x,y,shank' for several shanks), or a probeinterface file *.json. Correct the table "
            "of streams."
        )
    shank = values[:, 2].astype(int) if values.shape[1] == 3 else np.zeros(len(values), dtype=int)
    return values[:, :2], shank


def _read_probe_file(path):
    """Read a probeinterface file; plain JSON, so that planning needs no heavy import."""
    try:
        probes = json.loads(path.read_text(encoding="utf-8"))["probes"]
        if len(probes) != 1:
            raise ValueError(f"{len(probes)} probes")
        probe = probes[0]
        positions = np.array(probe["contact_positions"], dtype=float)
        scale = {"um": 1.0, "mm": 1e3, "m": 1e6}[probe["si_units"]]
        wiring = np.array(probe.get("device_channel_indices") or range(len(positions)))
        names = np.array(probe.get("shank_ids") or [""] * len(positions)).astype(str)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is no probeinterface file of one probe ({error}). Write it with "
            "probeinterface.write_probeinterface, or correct the table of streams."
        ) from None
    # contacts in the order of the file's channels; those not connected have -1
    order = np.argsort(wiring, kind="stable")
    order = order[wiring[order] >= 0]
    _, shank = np.unique(names, return_inverse=True)
    return positions[order, :2] * scale, shank[order]
