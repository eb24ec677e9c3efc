"""Sessions, streams, their tables; where raw files are and how derived files are called."""

import re
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from sluice.errors import SettingsError

KINDS = ("probe",)
FORMATS = ("spikeglx", "openephys", "binary")
SESSION_COLUMNS = ("subject", "date", "number")
# What ONE accepts as parts of a session's path and as a collection.
NAME = re.compile(r"[\w.-]+")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
NUMBER = re.compile(r"\d{3}")


@dataclass(frozen=True)
class Stream:
    """One raw recording of a session, as a row of `streams.tsv` describes it.

    Attributes
    ----------
    session : str
        ``subject/date/number``, the session's name everywhere.
    kind : str
        ``probe`` so far.
    name : str
        Name of the stream within the session, e.g. ``probe00``.
    path : str
        Folder of the recording (SpikeGLX, Open Ephys) or the file (flat binary).
    format : str
        ``spikeglx``, ``openephys`` or ``binary``.
    stream_id : str
        Which stream of an Open Ephys folder; empty where the folder holds one probe.
    serial : str
        Serial number of the probe; empty where unknown. Must agree with the file.
    sampling_rate_hz, n_channels, dtype, gain_uv, geometry
        For a flat binary, whose file does not say: rate (Hz), channels, numpy dtype,
        µV per bit, and the contacts: either the path of a probeinterface JSON file or
        ``x,y`` pairs in µm separated by spaces (``x,y,shank`` for several shanks).
    """

    session: str
    kind: str
    name: str
    path: str
    format: str
    stream_id: str = ""
    serial: str = ""
    sampling_rate_hz: float | None = None
    n_channels: int | None = None
    dtype: str = ""
    gain_uv: float | None = None
    geometry: str = ""


def session_name(subject, date, number):
    """Name of a session: its ALF path ``subject/date/number``."""
    return f"{subject}/{date}/{number}"


def load_sessions(path):
    """Read the table of sessions.

    Parameters
    ----------
    path : str or Path
        ``sessions.tsv``: columns subject, date, number, and what else is known of a
        session (start_time with zone, species, sex, age, date_of_birth).

    Returns
    -------
    DataFrame of str
        Indexed by session name, in the order of the table.

    Raises
    ------
    SettingsError
        Everything that is wrong with the table, one line each.
    """
    table = _read_table(path, SESSION_COLUMNS)
    problems = []
    for row in table.to_dict("records"):
        name = session_name(*(row[c] for c in SESSION_COLUMNS))
        problems += [
            f"session {name}: {column} is {row[column]!r}; expected {expected}"
            for column, pattern, expected in (
                ("subject", NAME, "letters, digits, '_', '.' or '-'"),
                ("date", DATE, "YYYY-MM-DD"),
                ("number", NUMBER, "three digits, e.g. 001"),
            )
            if not pattern.fullmatch(row[column])
        ]
    names = [session_name(*row) for row in table[list(SESSION_COLUMNS)].to_numpy()]
    table.index = pd.Index(names, name="session")
    repeated = table.index[table.index.duplicated()].unique()
    problems += [f"session {n}: stands more than once; keep one row" for n in repeated]
    _raise_all(problems, path)
    return table


def load_streams(path, sessions):
    """Read the table of raw recordings.

    Parameters
    ----------
    path : str or Path
        ``streams.tsv``: columns as the attributes of `Stream`; others are ignored.
    sessions : sequence of str
        Names of the known sessions.

    Returns
    -------
    list of Stream

    Raises
    ------
    SettingsError
        Everything that is wrong with the table, one line each.
    """
    table = _read_table(path, ("session", "kind", "name", "path", "format"))
    problems, streams = [], []
    for row in table.to_dict("records"):
        found, stream = _read_stream(row)
        problems += [f"session {row['session']}, stream {row['name']}: {p}" for p in found]
        if row["session"] not in sessions:
            problems.append(
                f"session {row['session']}, stream {row['name']}: "
                "no such session in the table of sessions; add it or correct the name"
            )
        streams.append(stream)
    keys = pd.Series([f"session {r}, stream {n}" for r, n in table[["session", "name"]].to_numpy()])
    problems += [
        f"{key}: two streams of the session have this name; give each its own"
        for key in keys[keys.duplicated()].unique()
    ]
    _raise_all(problems, path)
    return streams


def _read_stream(row):
    """Turn one row into a Stream, with the problems found in it."""
    problems = []
    values = {f.name: row[f.name] for f in fields(Stream) if row.get(f.name)}
    for column, kind in (("sampling_rate_hz", float), ("n_channels", int), ("gain_uv", float)):
        if column in values:
            try:
                values[column] = kind(values[column])
            except ValueError:
                problems.append(f"{column} is {values.pop(column)!r}; expected a number")
    for column, allowed in (("kind", KINDS), ("format", FORMATS)):
        if row[column] not in allowed:
            problems.append(f"{column} is {row[column]!r}; expected {' or '.join(allowed)}")
    if not NAME.fullmatch(row["name"]):
        problems.append(f"name is {row['name']!r}; expected letters, digits, '_', '.' or '-'")
    if row["format"] == "binary":
        needed = ("sampling_rate_hz", "n_channels", "dtype", "gain_uv", "geometry")
        problems += [f"{c} is empty; a flat binary needs it" for c in needed if c not in values]
    blank = {"session": "", "kind": "", "name": "", "path": "", "format": ""}
    return problems, Stream(**{**blank, **values})


def _read_table(path, columns):
    """Read a TSV of text and make sure that the columns are there."""
    path = Path(path)
    if not path.is_file():
        raise SettingsError(
            f"{path}: no such table. `sluice scan RAW` writes it from a folder of raw data."
        )
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise SettingsError(
            f"{path}: column {', '.join(missing)} is missing; found {', '.join(table.columns)}. "
            "Columns are separated by tabs."
        )
    return table


def _raise_all(problems, path):
    if problems:
        lines = "\n".join(f"  - {p}" for p in problems)
        raise SettingsError(f"{len(problems)} problem(s) in {path}:\n{lines}")
