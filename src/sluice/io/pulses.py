"""Pulses on the session's clock: tables of edges, and digital lines of a SpikeGLX nidq file."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.io.npy import load_npy
from sluice.io.spikeglx import SAMPLE_BYTES, parse_meta

# Rows of a nidq file that are read at once: with 10 columns 20 MB.
CHUNK_ROWS = 1 << 20
WORD_BITS = 16
# Bytes of the digital lines that were recorded, of either port.
BYTE_KEYS = ("niXDBytes1", "niXDBytes2")
# What mtscomp writes to a .ch and needs to read it.
HEADER_KEYS = (
    *("n_channels", "sample_rate", "dtype", "chunk_offsets", "chunk_bounds", "chunk_order"),
    *("do_time_diff", "do_spatial_diff"),
)


@dataclass(frozen=True)
class Edges:
    """Edges of one line.

    Attributes
    ----------
    times_s : float64 array, shape (n_edges,)
        On the session's clock, ascending.
    polarity : int8 array, shape (n_edges,)
        1 rising, -1 falling.
    n_bounced : int
        Edges that were left out as bounces.
    """

    times_s: np.ndarray
    polarity: np.ndarray
    n_bounced: int = 0

    def select(self, edge):
        """Times of the ``rising``, the ``falling`` or ``both`` edges."""
        if edge == "both":
            return self.times_s
        return self.times_s[self.polarity == (1 if edge == "rising" else -1)]


def load_edges(path, *, line, name, bounce_s=0.0):
    """Read the edges of a line.

    Parameters
    ----------
    path : path
        npy (times of rising edges, s), a table (tsv, csv) with a column ``time_s`` and maybe
        ``polarity``, or SpikeGLX's ``.nidq.bin`` or ``.nidq.cbin``.
    line : int or None
        Digital line of a nidq file, counted from 0 over all its words.
    name : str
        For messages.
    bounce_s : float
        See `join_bounces`.

    Returns
    -------
    Edges
        At least one.

    Raises
    ------
    InputError
        It cannot be read, is cut short, has no such line, or the line has no edge.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{name}: {path}: no such file; correct the path in streams.tsv.")
    if path.suffix in (".bin", ".cbin"):
        times_s, polarity = _read_nidq(path, line, name)
    else:
        times_s, polarity = _read_table(path, name)
    if not times_s.size:
        raise InputError(
            f"{name}: {path} has no pulse; expected one for each exposure. Name the file of this "
            "camera in streams.tsv, or leave its column empty."
        )
    require_ascending(times_s, path, name, what="edge")
    return join_bounces(times_s, polarity, bounce_s=bounce_s)


def load_times(path, name):
    """Read times: npy of one axis, or a table with a column ``time_s``.

    Parameters
    ----------
    path : path
    name : str

    Returns
    -------
    float64 array, shape (n_times,)
        Seconds; finite and ascending.

    Raises
    ------
    InputError
        It cannot be read as such.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{name}: {path}: no such file; correct the path in streams.tsv.")
    times_s, _ = _read_table(path, name)
    require_ascending(times_s, path, name, what="frame")
    return times_s


def require_ascending(times_s, path, name, *, what):
    """Refuse times that are not finite or do not ascend.

    Parameters
    ----------
    times_s : float array
    path, name, what : path, str, str
        For the message: where they are from, the camera, and what has one time each.
    """
    if not np.isfinite(times_s).all():
        bad = int(np.flatnonzero(~np.isfinite(times_s))[0])
        raise InputError(
            f"{name}: {path}: the time of {what} {bad} is {times_s[bad]}; expected seconds. "
            "Export the times again."
        )
    if not (np.diff(times_s) > 0).all():
        bad = int(np.flatnonzero(np.diff(times_s) <= 0)[0])
        raise InputError(
            f"{name}: {path}: times do not ascend: {times_s[bad]:.6f} s for {what} {bad} and "
            f"{times_s[bad + 1]:.6f} s for the next. Export the times again."
        )


def join_bounces(times_s, polarity, *, bounce_s):
    """Take edges that follow each other at once for one.

    Edges each closer than `bounce_s` to the one before are one group. Where edges alternate,
    a group of an odd number is one change of level, at its first edge; one of an even number
    is a short pulse, of which the first and the last edge remain. Where all are rising, the
    first remains.

    Parameters
    ----------
    times_s : float64 array, shape (n_edges,)
        Ascending.
    polarity : int8 array, shape (n_edges,)
    bounce_s : float

    Returns
    -------
    Edges
    """
    if times_s.size < 2 or bounce_s <= 0:
        return Edges(times_s, polarity)
    is_first = np.concatenate([[True], np.diff(times_s) >= bounce_s])
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], times_s.size) - 1
    # the level is another before the group than behind it if its ends are of one polarity
    is_short_pulse = polarity[first] != polarity[last]
    kept = np.union1d(first, last[is_short_pulse])
    return Edges(times_s[kept], polarity[kept], int(times_s.size - kept.size))


def _read_table(path, name):
    """Times and polarity of an npy or a table; not checked."""
    expected = "an npy of times (s), or a tsv or csv with a column time_s"
    try:
        if path.suffix == ".npy":
            times_s = np.asarray(load_npy(path), np.float64)
            if times_s.ndim != 1:
                raise ValueError(f"has the shape {times_s.shape}")
            return times_s, np.ones(times_s.size, np.int8)
        table = pd.read_csv(path, sep="," if path.suffix == ".csv" else "\t")
        if "time_s" not in table:
            raise ValueError(f"its columns are {', '.join(map(str, table.columns))}")
        times_s = table["time_s"].to_numpy(np.float64)
        if "polarity" not in table:
            return times_s, np.ones(times_s.size, np.int8)
        polarity = table["polarity"].to_numpy(np.float64)
        if not np.isin(polarity, (-1, 1)).all():
            found = ", ".join(f"{v:g}" for v in np.unique(polarity)[:5])
            raise ValueError(f"polarity has the values {found}; expected 1 and -1")
        return times_s, polarity.astype(np.int8)
    except (ValueError, TypeError, EOFError) as error:
        raise InputError(f"{name}: {path}: {error}; expected {expected}.") from None


def _read_nidq(path, line, name):
    """Edges of a digital line; the file is read in pieces.

    Digital words are the last columns of a row; line 16 w + b is bit b of word w (SpikeGLX,
    metadata guide: snsMnMaXaDw, niXDBytes1, niXDBytes2). Sample i was taken at
    i / niSampRate.
    """
    meta, meta_path = _nidq_meta(path, name)
    n_columns, n_words = int(meta["nSavedChans"]), int(meta["snsMnMaXaDw"].split(",")[3])
    n_bytes = sum(int(meta.get(key) or 0) for key in BYTE_KEYS)
    n_lines = min(8 * n_bytes or WORD_BITS * n_words, WORD_BITS * n_words)
    if n_lines == 0:
        raise InputError(
            f"{name}: {meta_path}: no digital line was saved (snsMnMaXaDw={meta['snsMnMaXaDw']}); "
            "the pulses of the camera are not in this file. Name another one in streams.tsv, or "
            "leave its column empty."
        )
    if line is not None and not 0 <= line < n_lines:
        raise InputError(
            f"{name}: {path}: digital line {line} does not exist; the file has the lines 0 to "
            f"{n_lines - 1}. Correct the line in streams.tsv."
        )
    counts, samples, levels = np.zeros(n_lines, np.int64), [], []
    previous, start = None, 0
    for rows in _rows(path, n_columns, name):
        words = rows[:, n_columns - n_words :].view(np.uint16)
        if previous is not None:
            words = np.concatenate([previous, words])
        changes = words[1:] ^ words[:-1]
        changed = np.flatnonzero(changes.any(axis=1))
        # which bits changed, at the few samples where any did
        for one in range(n_lines):
            word, bit = divmod(one, WORD_BITS)
            is_edge = (changes[changed, word] >> bit) & 1 == 1
            counts[one] += is_edge.sum()
            if one == line:
                at = changed[is_edge] + 1
                samples.append(at + start - (previous is not None))
                levels.append((words[at, word] >> bit) & 1)
        previous = words[-1:].copy()
        start += len(rows)
    if line is None or counts[line] == 0:
        _refuse_line(path, line, counts, name)
    times_s = np.concatenate(samples) / float(meta["niSampRate"])
    return times_s, np.where(np.concatenate(levels) == 1, 1, -1).astype(np.int8)


def _refuse_line(path, line, counts, name):
    """Say that the line has no edges or is not named, and which lines have edges."""
    found = ", ".join(f"line {i} ({n} edges)" for i, n in enumerate(counts) if n)
    what = "which digital line is not said" if line is None else f"digital line {line} has no edge"
    raise InputError(
        f"{name}: {path}: {what}; lines that have: {found or 'none'}. Give the line of the camera "
        "in streams.tsv, or check its cable."
    )


def _nidq_meta(path, name):
    """Meta of a nidq file, with the keys that are needed."""
    meta_path = path.with_suffix(".meta")
    if not meta_path.is_file():
        raise InputError(
            f"{name}: {path}: its .meta is missing; expected {meta_path.name} beside it. Copy it "
            "from the acquisition computer: without it rate and lines are unknown."
        )
    meta = parse_meta(meta_path)
    for key in ("nSavedChans", "snsMnMaXaDw", "niSampRate", "fileSizeBytes"):
        if key not in meta:
            raise InputError(
                f"{name}: {meta_path}: no line '{key}='; expected that of a nidq file. Copy it "
                "again, or name the nidq file in streams.tsv."
            )
    try:
        counts = [int(n) for n in meta["snsMnMaXaDw"].split(",")]
        is_good = len(counts) == 4 and sum(counts) == int(meta["nSavedChans"]) > 0
        is_good &= 0 < float(meta["niSampRate"]) < np.inf and int(meta["fileSizeBytes"]) >= 0
        is_good &= all(int(meta.get(key) or 0) >= 0 for key in BYTE_KEYS)
    except ValueError:
        is_good = False
    if not is_good:
        keys = ("snsMnMaXaDw", "nSavedChans", "niSampRate", "fileSizeBytes", *BYTE_KEYS)
        found = ", ".join(f"{key}={meta[key]}" for key in keys if key in meta)
        raise InputError(
            f"{name}: {meta_path}: {found}; expected whole numbers, four counts that add up "
            "to nSavedChans, and a rate above 0. Copy the .meta again."
        )
    return meta, meta_path


def _rows(path, n_columns, name):
    """Yield the rows of a nidq file, int16, some at a time."""
    meta = parse_meta(path.with_suffix(".meta"))
    expected = int(meta["fileSizeBytes"])
    if path.suffix == ".cbin":
        yield from _compressed_rows(path, n_columns, expected, name)
        return
    found = path.stat().st_size
    if found != expected:
        raise InputError(
            f"{name}: {path}: {found} bytes, but its .meta says {expected} (fileSizeBytes), so it "
            "was cut short or is of another .meta. Copy both again."
        )
    n_rows = found // (SAMPLE_BYTES * n_columns)
    for start in range(0, n_rows, CHUNK_ROWS):
        n = min(CHUNK_ROWS, n_rows - start)
        flat = np.fromfile(
            path, np.int16, count=n * n_columns, offset=SAMPLE_BYTES * start * n_columns
        )
        yield flat.reshape(-1, n_columns)


def _compressed_rows(path, n_columns, expected, name):
    """The same of a ``.cbin``, by mtscomp."""
    import mtscomp

    chunks = path.with_suffix(".ch")
    if not chunks.is_file():
        raise InputError(
            f"{name}: {path}: its .ch is missing; expected {chunks.name} beside it. Copy it from "
            "where the .cbin was made."
        )
    try:
        header = json.loads(chunks.read_text(encoding="utf-8"))
        if not isinstance(header, dict):
            raise ValueError(f"it holds a {type(header).__name__}")
        missing = [key for key in HEADER_KEYS if key not in header]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
        n_bytes, n_rows = header["chunk_offsets"][-1], header["chunk_bounds"][-1]
        is_good = header["n_channels"] == n_columns and header["dtype"] == "int16"
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"{name}: {chunks}: is no header of mtscomp ({error}). Copy it again."
        ) from None
    found = path.stat().st_size
    if found != n_bytes or not is_good or n_rows * n_columns * SAMPLE_BYTES != expected:
        raise InputError(
            f"{name}: {path}: {found} bytes; its .ch says {n_bytes}, with {n_rows} rows of "
            f"{header['n_channels']} columns of {header['dtype']}, and its .meta {expected} bytes "
            f"uncompressed of {n_columns} columns. It was cut short or is of another .ch or "
            ".meta. Copy them again."
        )
    reader = mtscomp.Reader(cache_size=2)
    reader.open(path, chunks)
    for start in range(0, n_rows, CHUNK_ROWS):
        # a copy, contiguous: the reader gives out parts of the chunks that it keeps
        yield np.ascontiguousarray(reader[start : min(start + CHUNK_ROWS, n_rows)])
    reader.close()
