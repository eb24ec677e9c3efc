"""Sessions, streams, their tables; where raw files are and how derived files are called."""

import re
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from sluice.errors import SettingsError

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


@dataclass(frozen=True)
class Plane:
    """One imaging plane of a session, as a row of `streams.tsv` describes it.

    What the row leaves empty is taken from the files and from ``imaging.json`` beside them.

    Attributes
    ----------
    session : str
        ``subject/date/number``.
    kind : str
        ``plane``.
    name : str
        ``FOV_00``, ``FOV_01``, … counted over all planes of the session.
    path : str
        Folder of the movie's files, or the one file.
    format : str
        ``tiff`` (plain, ScanImage, OME), ``h5`` or ``nwb``.
    plane, n_planes : int
        Which of how many interleaved planes, flyback frames counted as planes.
    channel, n_channels : int
        Which of how many interleaved channels; an empty `channel` is that of ``imaging.json``,
        else the first.
    sampling_rate_hz : float
        Frames of this plane a second.
    um_per_pixel : float
        Size of a pixel.
    indicator : str
        E.g. ``GCaMP6f``.
    decay_s : float
        Time constant of the indicator's decay, where the indicator is not a known one.
    dataset : str
        HDF5 dataset or NWB series that holds the movie.
    frame_times : str
        File of the frame clock (s): npy, or a table with a column ``time_s``. One time for each
        frame (the start of the volume), for each image of any plane or for each image; or an
        array with one column a plane, of its own times.
    z_stack : str
        File of a z-stack recorded around the plane, for z-drift.
    z_step_um : float
        From one plane of the z-stack to the next.
    paired_with : str
        Name of the plane recorded simultaneously, whose light leaks into this one.
    paired_planes : str
        All pairs of planes of the volume that are recorded simultaneously, e.g. ``0,1 2,3``, by
        which a frame's time follows from its volume's. Empty in a table: it is filled from
        `paired_with` of all rows and from ``imaging.json``.
    """

    session: str
    kind: str
    name: str
    path: str
    format: str
    plane: int = 0
    n_planes: int | None = None
    channel: int | None = None
    n_channels: int | None = None
    sampling_rate_hz: float | None = None
    um_per_pixel: float | None = None
    indicator: str = ""
    decay_s: float | None = None
    dataset: str = ""
    frame_times: str = ""
    z_stack: str = ""
    z_step_um: float | None = None
    paired_with: str = ""
    paired_planes: str = ""


@dataclass(frozen=True)
class Camera:
    """One behaviour video of a session, as a row of `streams.tsv` describes it.

    Files of times are in seconds on the session's clock, that of the DAQ. A file of pulses is
    npy (times of rising edges), a table (tsv, csv) with columns ``time_s`` and ``polarity`` (1
    rising, -1 falling; without it all are rising), or SpikeGLX's ``.nidq.bin`` or
    ``.nidq.cbin``, of which a digital line is read.

    Attributes
    ----------
    session : str
        ``subject/date/number``.
    kind : str
        ``camera``.
    name : str
        ``leftCamera``, ``rightCamera``, ``bodyCamera``, ``eyeCamera``, …
    path : str
        The video.
    format : str
        ``video``: whatever ffmpeg reads.
    sampling_rate_hz : float
        Frames a second, where the video's header is wrong.
    frame_times : str
        Times of the frames, where something else has found them: npy, or a table with a column
        ``time_s``. Nothing below is read then.
    ttl, ttl_line, ttl_edge
        Pulses of the camera, one for each exposure: file, digital line of a nidq file,
        and which edges are exposures: ``rising``, ``falling`` or ``both``.
    timestamps : str
        The camera's own clock for each frame: IBL's ``.timestamps.ssv``, or npy (s).
    frame_counter : str
        Number of each frame as the camera counted it: IBL's ``.frame_counter.bin``, or npy.
    gpio, gpio_pin
        State of the camera's pins at each frame: IBL's ``.GPIO.bin``, or npy (bool or int, 1
        or 2 dimensions: frames, pins); and which pin, from 1 (IBL's order: the highest bit).
    frame_data : str
        IBL's ``.frameData.bin``: timestamps, frame counter and pins in one.
    gpio_pulses, gpio_line
        What that pin saw, on the session's clock: file, and digital line of a nidq file.
    wheel : str
        Position of the wheel (rad): a table with columns ``time_s`` and ``position_rad``, or the
        folder or common beginning of ``*wheel.position.npy`` and ``*wheel.timestamps.npy``.
    """

    session: str
    kind: str
    name: str
    path: str
    format: str
    sampling_rate_hz: float | None = None
    frame_times: str = ""
    ttl: str = ""
    ttl_line: int | None = None
    ttl_edge: str = "rising"
    timestamps: str = ""
    frame_counter: str = ""
    gpio: str = ""
    gpio_pin: int | None = None
    frame_data: str = ""
    gpio_pulses: str = ""
    gpio_line: int | None = None
    wheel: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of stream: the class of its rows, its formats, what its names look like."""

    row: type
    formats: tuple[str, ...]
    name: re.Pattern
    name_expected: str


KINDS = {
    "probe": Kind(
        Stream, ("spikeglx", "openephys", "binary"), NAME, "letters, digits, '_', '.' or '-'"
    ),
    "plane": Kind(
        Plane, ("tiff", "h5", "nwb"), re.compile(r"FOV_\d\d"), "FOV_ and two digits, e.g. FOV_00"
    ),
    "camera": Kind(
        Camera,
        ("video",),
        re.compile(r"[a-z][A-Za-z0-9]*Camera"),
        "a word in lower case and Camera, e.g. leftCamera",
    ),
}
# Columns that hold numbers, whatever the kind.
NUMBERS = {
    "sampling_rate_hz": float,
    "n_channels": int,
    "gain_uv": float,
    "plane": int,
    "n_planes": int,
    "channel": int,
    "um_per_pixel": float,
    "decay_s": float,
    "z_step_um": float,
    "ttl_line": int,
    "gpio_pin": int,
    "gpio_line": int,
}


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
        ``streams.tsv``: columns as the attributes of `Stream`, `Plane` and `Camera`; others are
        ignored.
    sessions : sequence of str
        Names of the known sessions.

    Returns
    -------
    list of Stream, Plane or Camera

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
    problems += _pair_problems(streams)
    _raise_all(problems, path)
    return streams


def _pair_problems(streams):
    """Planes said to be recorded together with one that is not there."""
    planes = {(s.session, s.name) for s in streams if isinstance(s, Plane)}
    return [
        f"session {s.session}, stream {s.name}: paired_with is {s.paired_with!r}; "
        + ("expected another plane" if s.paired_with == s.name else "the session has no such plane")
        for s in streams
        if isinstance(s, Plane)
        and s.paired_with
        and (s.paired_with == s.name or (s.session, s.paired_with) not in planes)
    ]


def _range_problems(values):
    """Numbers of a plane or a camera that cannot be."""
    problems = []
    for column in ("sampling_rate_hz", "um_per_pixel", "decay_s", "z_step_um"):
        value = values.get(column, 1.0)
        # not "value <= 0": NaN is none either
        if not 0 < value < float("inf"):
            problems.append(f"{column} is {value:g}; expected a number above 0")
    for column, least in (("ttl_line", 0), ("gpio_pin", 1), ("gpio_line", 0)):
        if values.get(column, least) < least:
            problems.append(f"{column} is {values[column]}; expected a whole number from {least}")
    for one, count in (("plane", "n_planes"), ("channel", "n_channels")):
        index, n = values.get(one, 0), values.get(count)
        if n is not None and n < 1:
            problems.append(f"{count} is {n}; expected a whole number from 1")
        elif index < 0 or (n is not None and index >= n):
            last = "" if n is None else f" to {n - 1}, as {count} is {n}"
            problems.append(f"{one} is {index}; expected a whole number from 0{last}")
    return problems


def _read_stream(row):
    """Turn one row into a Stream, Plane or Camera, with the problems found in it."""
    if row["kind"] not in KINDS:
        problem = f"kind is {row['kind']!r}; expected {' or '.join(KINDS)}"
        return [problem], None
    kind, problems = KINDS[row["kind"]], []
    values = {f.name: row[f.name] for f in fields(kind.row) if row.get(f.name)}
    for column in NUMBERS.keys() & values.keys():
        try:
            values[column] = NUMBERS[column](values[column])
        except ValueError:
            problems.append(f"{column} is {values.pop(column)!r}; expected a number")
    if row["format"] not in kind.formats:
        problems.append(f"format is {row['format']!r}; expected {' or '.join(kind.formats)}")
    if not kind.name.fullmatch(row["name"]):
        problems.append(f"name is {row['name']!r}; expected {kind.name_expected}")
    if row["format"] == "binary":
        needed = ("sampling_rate_hz", "n_channels", "dtype", "gain_uv", "geometry")
        problems += [f"{c} is empty; a flat binary needs it" for c in needed if c not in values]
    if kind.row is not Stream:
        problems += _range_problems(values)
    blank = {"session": "", "kind": "", "name": "", "path": "", "format": ""}
    return problems, kind.row(**{**blank, **values})


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
