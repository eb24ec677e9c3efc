"""What a camera writes about each of its frames: IBL's files, and npy.

FLIR (Point Grey) cameras embed a 32-bit time, a counter and the state of four pins into each
image; Bonsai saves them as IBL's ``.timestamps.ssv``, ``.frame_counter.bin``, ``.GPIO.bin`` or,
all in one, ``.frameData.bin`` (ibllib, raw_data_loaders).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.io.npy import load_npy

COUNTER_RANGE = 1 << 32
# The camera's clock starts again after so many seconds, as it has 7 bits for them.
CYCLE_S = 128.0
CYCLES_HZ = 8000
TICKS_OF_A_CYCLE = 3072
N_PINS = 4
FRAME_DATA_COLUMNS = 4
# 100 ns.
UTC_TICKS_HZ = 10_000_000


def embedded_seconds(values):
    """Turn the times that FLIR cameras embed into seconds, below 128.

    The highest 7 bits are seconds, the next 13 the cycles of 8 kHz since, the last 12 the ticks
    of 24.576 MHz since. IBL leaves the ticks out; with them the intervals of a real camera
    differ by 1.3 µs (standard deviation) rather than by 49 µs.

    Parameters
    ----------
    values : int array
        Of 32 bits.

    Returns
    -------
    float64 array
    """
    values = np.asarray(values, np.int64)
    cycles = ((values >> 12) & 0x1FFF) + (values & 0xFFF) / TICKS_OF_A_CYCLE
    return ((values >> 25) & 0x7F) + cycles / CYCLES_HZ


def unwrap_seconds(seconds, host_s=None):
    """Undo that a clock starts again every 128 s.

    Parameters
    ----------
    seconds : float64 array, shape (n_frames,)
        From 0, below 128.
    host_s : float64 array, shape (n_frames,), optional
        The computer's time of each frame, by which breaks of more than 128 s are seen.

    Returns
    -------
    float64 array, shape (n_frames,)
    """
    steps = np.diff(seconds)
    cycles = (steps < 0).astype(np.float64)
    if host_s is not None and len(host_s) > 1:
        cycles = np.maximum(np.rint((np.diff(host_s) - steps) / CYCLE_S), 0)
    return seconds + CYCLE_S * np.concatenate([[0.0], np.cumsum(cycles)])[: len(seconds)]


def unwrap_counter(values):
    """Undo that a counter of 32 bits starts again at 0.

    Parameters
    ----------
    values : int64 array, shape (n_frames,)

    Returns
    -------
    int64 array, shape (n_frames,)
    """
    # a step back by more than half of the range; a smaller one is an error of the counter
    n_wraps = np.cumsum(np.diff(values) < -(COUNTER_RANGE // 2))
    return values + COUNTER_RANGE * np.concatenate([[0], n_wraps])[: len(values)]


def pin_states(values):
    """State of the four pins, which are the four highest bits; pin 1 is the highest.

    Parameters
    ----------
    values : int array, shape (n_frames,)

    Returns
    -------
    bool array, shape (n_frames, 4)
    """
    bits = np.arange(31, 31 - N_PINS, -1)
    return (np.asarray(values, np.int64)[:, None] >> bits) & 1 == 1


def read_counter(path, name):
    """Read the number of each frame.

    Parameters
    ----------
    path : path
        ``.bin`` (float64) or npy.
    name : str

    Returns
    -------
    int64 array, shape (n_frames,)
        Strictly ascending; goes on beyond 2^32.

    Raises
    ------
    InputError
    """
    path = Path(path)
    if path.suffix == ".npy":
        values = _load_npy(path, name, (1,), "the number of each frame")
    else:
        values = _read_doubles(path, name)
    return check_counter(values, path, name)


def check_counter(values, path, name, *, column="frame_counter"):
    """Turn numbers of frames into ascending integers, or refuse them.

    Parameters
    ----------
    values : array, shape (n_frames,)
    path, name, column : path, str, str
        For messages; the column of streams.tsv that names the file.

    Returns
    -------
    int64 array, shape (n_frames,)
    """
    _require_whole(values, path, name)
    counter = unwrap_counter(np.asarray(values).astype(np.int64))
    if not (np.diff(counter) > 0).all():
        bad = int(np.flatnonzero(np.diff(counter) <= 0)[0])
        raise InputError(
            f"{name}: {path}: the counter does not ascend: {counter[bad]} at frame {bad} and "
            f"{counter[bad + 1]} at the next. It is no frame counter; leave {column} out in "
            "streams.tsv."
        )
    return counter


def read_pins(path, name):
    """Read the state of the pins at each frame.

    Parameters
    ----------
    path : path
        ``.bin`` (float64 that hold 32 bits) or npy of one or two axes (frames, pins).
    name : str

    Returns
    -------
    bool array, shape (n_frames, n_pins)
    """
    path = Path(path)
    if path.suffix == ".npy":
        states = _load_npy(path, name, (1, 2), "the state of the pins at each frame")
        return np.asarray(states != 0).reshape(len(states), -1)
    values = _read_doubles(path, name)
    _require_whole(values, path, name)
    if ((values < 0) | (values >= COUNTER_RANGE)).any():
        raise InputError(
            f"{name}: {path}: has values beyond 32 bits ({values.min():g} to {values.max():g}); "
            "expected the pins in the four highest. Name the camera's GPIO file."
        )
    return pin_states(values.astype(np.int64))


def read_timestamps(path, name):
    """Read the camera's own time of each frame.

    Parameters
    ----------
    path : path
        IBL's ``.ssv`` (a time of the computer as ISO text and one of the camera as an integer,
        in either order) or npy (s).
    name : str

    Returns
    -------
    float64 array, shape (n_frames,)
        Seconds of the camera's clock; strictly ascending.

    Raises
    ------
    InputError
    """
    path = Path(path)
    if path.suffix == ".npy":
        camera_s = _load_npy(path, name, (1,), "the time of each frame (s)").astype(np.float64)
    else:
        camera_s = _read_ssv(path, name)
    return check_clock(camera_s, path, name)


def check_clock(camera_s, path, name):
    """Refuse times of a camera that are not finite or do not ascend.

    Parameters
    ----------
    camera_s : float64 array, shape (n_frames,)
    path, name : path, str
        For messages.

    Returns
    -------
    float64 array, shape (n_frames,)
        `camera_s`.
    """
    if not np.isfinite(camera_s).all():
        bad = int(np.flatnonzero(~np.isfinite(camera_s))[0])
        raise InputError(
            f"{name}: {path}: the camera's time of frame {bad} is {camera_s[bad]}; expected "
            "seconds. Leave the file out in streams.tsv."
        )
    if not (np.diff(camera_s) > 0).all():
        bad = int(np.flatnonzero(np.diff(camera_s) <= 0)[0])
        raise InputError(
            f"{name}: {path}: the camera's times do not ascend: {camera_s[bad]:.6f} s at frame "
            f"{bad} and {camera_s[bad + 1]:.6f} s at the next. The file is damaged or cut short; "
            "copy it again, or leave it out in streams.tsv."
        )
    return camera_s


def read_frame_data(path, name):
    """Read IBL's file of all three: time, counter and pins of each frame.

    Each frame is four float64 that hold integers: the computer's time (100 ns since year 1),
    the camera's time, its counter and its pins. A time or a counter that never changes was not
    embedded: the camera was not set to.

    Parameters
    ----------
    path : path
        ``.frameData.bin``.
    name : str

    Returns
    -------
    camera_s : float64 array, shape (n_frames,), or None
    counter : int64 array, shape (n_frames,), or None
    pins : bool array, shape (n_frames, 4)

    Raises
    ------
    InputError
    """
    values = _read_doubles(path, name, columns=FRAME_DATA_COLUMNS)
    _require_whole(values, path, name)
    host, clock, counter, pins = values.astype(np.int64).T
    camera_s = unwrap_seconds(embedded_seconds(clock), (host - host[:1]) / UTC_TICKS_HZ)
    return (
        check_clock(camera_s, path, name) if (clock != clock[0]).any() else None,
        check_counter(counter, path, name, column="frame_data")
        if (counter != counter[0]).any()
        else None,
        pin_states(pins),
    )


def _require_file(path, name):
    if not Path(path).is_file():
        raise InputError(f"{name}: {path}: no such file; correct the path in streams.tsv.")


def _load_npy(path, name, n_axes, what):
    _require_file(path, name)
    try:
        values = load_npy(path)
    except ValueError as error:
        raise InputError(
            f"{name}: {path}: {error}; expected an npy of {what}. Export it again."
        ) from None
    if values.ndim not in n_axes or values.dtype.kind not in "biuf" or not len(values):
        raise InputError(
            f"{name}: {path}: has the shape {values.shape} and the type {values.dtype}; expected "
            f"numbers, {what}."
        )
    return values


def _read_doubles(path, name, columns=1):
    """Read float64, of one or several columns."""
    _require_file(path, name)
    n_bytes, row = Path(path).stat().st_size, 8 * columns
    if n_bytes == 0 or n_bytes % row:
        raise InputError(
            f"{name}: {path}: {n_bytes} bytes are not a whole number of frames of {row} bytes "
            "each, so the file is empty, was cut short or is another one. Copy it again, or leave "
            "it out in streams.tsv."
        )
    values = np.fromfile(path, "<f8")
    return values.reshape(-1, columns) if columns > 1 else values


def _require_whole(values, path, name):
    if np.asarray(values).dtype.kind == "f" and (np.abs(values) >= 2.0**63).any():
        raise InputError(
            f"{name}: {path}: holds numbers of more than 64 bits; expected the integers that the "
            "camera wrote. The file is damaged or another one: name the right one in streams.tsv."
        )
    if not np.isfinite(values).all() or (np.asarray(values) != np.rint(values)).any():
        raise InputError(
            f"{name}: {path}: holds numbers that are not whole; expected the integers that the "
            "camera wrote, as float64. Name the right file in streams.tsv."
        )


def _read_ssv(path, name):
    """Read pairs of the computer's and the camera's time."""
    _require_file(path, name)
    try:
        table = pd.read_csv(
            path, sep=r"\s+", header=None, dtype=str, names=["a", "b"], keep_default_na=False
        )
        if table.empty:
            raise pd.errors.EmptyDataError("has no lines")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name}: {path}: {error}; expected lines of the computer's time (ISO) and the "
            "camera's (an integer)."
        ) from None
    table = table.fillna("").astype(str)
    is_clock_first = table["a"].iloc[0].isdecimal() and not table["b"].iloc[0].isdecimal()
    clock, host = (table["a"], table["b"]) if is_clock_first else (table["b"], table["a"])
    is_good = clock.str.fullmatch(r"0*[0-9]{1,10}")
    times = pd.to_datetime(host, utc=True, format="ISO8601", errors="coerce")
    is_good &= times.notna()
    if not is_good.all():
        bad = int(np.flatnonzero(~is_good)[0])
        text = " ".join(table.iloc[bad].tolist())
        raise InputError(
            f"{name}: {path}: line {bad + 1} of {len(table)} is {text!r}; expected the computer's "
            "time (ISO) and the camera's (an integer). The file is damaged or cut short; copy it "
            "again, or leave it out in streams.tsv."
        )
    host_s = (times - times.iloc[0]).dt.total_seconds().to_numpy()
    return unwrap_seconds(embedded_seconds(clock.astype(np.int64).to_numpy()), host_s)
