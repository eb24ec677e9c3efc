"""What is wrong with the files of a camera, found before anything runs."""

import json
import math
from pathlib import Path

from sluice.errors import InputError
from sluice.io.spikeglx import parse_meta
from sluice.io.video_container import read_container

# Columns of a row that name one file; times that something else has found replace the others.
TIMING = ("ttl", "timestamps", "frame_counter", "gpio", "frame_data", "gpio_pulses")
EDGES = ("rising", "falling", "both")
# Files of pulses, with the column that says which of their digital lines it is.
LINES = {"ttl": "ttl_line", "gpio_pulses": "gpio_line"}
NIDQ = (".nidq.bin", ".nidq.cbin")
TABLES = (".npy", ".tsv", ".csv")
# Endings of the other files that a reader knows, see `sluice.io.pulses` and `sluice.io.embedded`.
ENDINGS = {
    "frame_times": TABLES,
    "timestamps": (".ssv", ".npy"),
    "frame_counter": (".bin", ".npy"),
    "gpio": (".bin", ".npy"),
    "frame_data": (".bin",),
}
# Pins of a FLIR camera; an array may have any number of them.
N_PINS = 4
# What a digital word of a nidq file holds, and the lines of its .meta that are needed.
WORD_BITS = 16
NIDQ_KEYS = ("nSavedChans", "snsMnMaXaDw", "niSampRate", "fileSizeBytes")
BYTE_KEYS = ("niXDBytes1", "niXDBytes2")
WHEEL = ("wheel.position.npy", "wheel.timestamps.npy")


def check_camera(camera):
    """Say what is wrong with the files of a camera, from sizes and headers alone.

    A video that is cut short is not refused here, as `compress_video` counts what is left of
    it; only one in which nothing can be found is. Starts no process and imports nothing heavy.

    Parameters
    ----------
    camera : sluice.session.Camera

    Returns
    -------
    list of str
        One line a problem, each with the file, what was found and expected, and what to do.
    """
    problems = []
    try:
        read_container(camera.path)
    except InputError as error:
        problems.append(str(error))
    rate_hz = camera.sampling_rate_hz
    # not "value <= 0": NaN is none either
    if rate_hz is not None and not 0 < rate_hz < float("inf"):
        problems.append(
            f"{camera.path}: sampling_rate_hz is {rate_hz:g}; expected a number above 0"
        )
    for column in _columns(camera):
        path = Path(getattr(camera, column))
        problems += _check_file(column, path) or _check_ending(column, path)
    if not camera.frame_times:
        problems += _check_pulses(camera)
        problems += _check_pins(camera)
    if camera.wheel:
        problems += _check_wheel(camera.wheel)
    return problems


def camera_files(camera):
    """List all files that a camera is read from.

    Parameters
    ----------
    camera : sluice.session.Camera
        One without problems (see `check_camera`).

    Returns
    -------
    list of Path
        `video_files`, `timing_files` and `wheel_files`, each once.
    """
    files = [*video_files(camera), *timing_files(camera), *wheel_files(camera)]
    return list(dict.fromkeys(files))


def video_files(camera):
    """List the files that `compress_video` reads.

    Parameters
    ----------
    camera : sluice.session.Camera

    Returns
    -------
    list of Path
        The video.
    """
    return [Path(camera.path)]


def timing_files(camera):
    """List the files that `camera_times` reads, besides what `compress_video` wrote.

    Parameters
    ----------
    camera : sluice.session.Camera
        One without problems (see `check_camera`).

    Returns
    -------
    list of Path
        Files of times, pulses, pins and counters, and what belongs to them: ``.meta`` of a nidq
        file, ``.ch`` of a compressed one. Each once; none where the row names none.
    """
    files = []
    for column in _columns(camera):
        path = Path(getattr(camera, column))
        files += [path, *_companions(path)]
    return list(dict.fromkeys(files))


def wheel_files(camera):
    """List the files that `camera_qc` reads the wheel from.

    Parameters
    ----------
    camera : sluice.session.Camera
        One without problems (see `check_camera`).

    Returns
    -------
    list of Path
        A table, or position and times; none where the row names no wheel.
    """
    return _wheel_files(camera.wheel) if camera.wheel else []


def _columns(camera):
    """Columns whose files are read."""
    columns = ("frame_times",) if camera.frame_times else TIMING
    return [column for column in columns if getattr(camera, column)]


def _is_nidq(path):
    return path.name.endswith(NIDQ)


def _companions(path):
    """Files without which a nidq file cannot be read."""
    if not _is_nidq(path):
        return []
    chunks = [path.with_suffix(".ch")] if path.suffix == ".cbin" else []
    return [path.with_suffix(".meta"), *chunks]


def _check_file(column, path):
    """A file that a row names must be there and hold something."""
    if not path.is_file():
        return [
            f"{path}: no such file; it is named as {column}. Correct the table of streams, or "
            "empty the cell."
        ]
    if path.stat().st_size == 0:
        return [
            f"{path}: is empty (0 bytes); it is named as {column}. Copy it again, or empty the "
            "cell of the table of streams."
        ]
    return [
        f"{file}: no such file; {path.name}, named as {column}, cannot be read without. Copy it "
        "from where that was recorded."
        for file in _companions(path)
        if not file.is_file()
    ]


def _check_ending(column, path):
    """A file must be of a type that its reader knows."""
    endings = ENDINGS.get(column)
    if endings is None or path.suffix in endings:
        return []
    *first, last = (ending[1:] for ending in endings)
    expected = f"{', '.join(first)} or {last}" if first else last
    return [f"{path}: is named as {column}; expected {expected}. Correct the table of streams."]


def _check_pins(camera):
    """Pulses of a pin need its states, and its number must be one."""
    problems = []
    states = camera.gpio or camera.frame_data
    if camera.gpio_pulses and not states:
        problems.append(
            f"{camera.gpio_pulses}: is named as gpio_pulses, but no file has the states of the "
            "pin; expected gpio or frame_data too. Correct the table of streams."
        )
    pin = camera.gpio_pin
    if pin is not None and states:
        is_array = states.endswith(".npy")
        if pin < 1 or (pin > N_PINS and not is_array):
            expected = "a whole number from 1" if is_array else f"1 to {N_PINS}"
            problems.append(
                f"{states}: gpio_pin is {pin}; expected {expected}. Correct the table of streams."
            )
    return problems


def _check_pulses(camera):
    """Which line and which edges are the pulses, and whether a file can hold pulses."""
    problems = []
    for column, line_column in LINES.items():
        if not getattr(camera, column):
            continue
        path, line = Path(getattr(camera, column)), getattr(camera, line_column)
        if not _is_nidq(path) and path.suffix not in TABLES:
            problems.append(
                f"{path}: is named as {column}; expected npy, tsv, csv, .nidq.bin or .nidq.cbin. "
                "Correct the table of streams."
            )
        elif _is_nidq(path) and line is None:
            problems.append(
                f"{path}: {line_column} is empty; a nidq file has many digital lines. Put the "
                "number of that of the camera, counted from 0, in the table of streams."
            )
        elif line is not None and line < 0:
            problems.append(f"{path}: {line_column} is {line}; expected a whole number from 0")
        elif _is_nidq(path) and not _check_file(column, path):
            problems += _check_nidq(path, line, line_column)
    if camera.ttl_edge not in EDGES:
        problems.append(
            f"{camera.path}: ttl_edge is {camera.ttl_edge!r}; expected rising, falling or both"
        )
    # a file that is named for both has its faults once
    return list(dict.fromkeys(problems))


def _check_nidq(path, line, line_column):
    """A nidq file must be as long as it was recorded, and have the line."""
    meta_path = path.with_suffix(".meta")
    meta = parse_meta(meta_path)
    fault = _fault_of_meta(meta)
    if fault:
        return [
            f"{meta_path}: {fault}; expected that of a nidq file. Copy it again, or correct the "
            "table of streams."
        ]
    problems = []
    found = path.stat().st_size
    if path.suffix == ".cbin":
        problems += _check_chunks(path, found)
    elif found != int(meta["fileSizeBytes"]):
        problems.append(
            f"{path}: {found} bytes, but {meta_path.name} says {meta['fileSizeBytes']} "
            "(fileSizeBytes), so it was cut short or is of another .meta. Copy both again."
        )
    n_lines = _count_lines(meta)
    if n_lines == 0:
        problems.append(
            f"{path}: no digital line was saved (snsMnMaXaDw={meta['snsMnMaXaDw']}), so that "
            "pulses are not in it. Name another file in the table of streams, or empty the cell."
        )
    elif line >= n_lines:
        problems.append(
            f"{path}: {line_column} is {line}, but the file has the digital lines 0 to "
            f"{n_lines - 1}. Correct the table of streams."
        )
    return problems


def _fault_of_meta(meta):
    """What is wrong with the .meta of a nidq file; empty if nothing is."""
    missing = [key for key in NIDQ_KEYS if key not in meta]
    if missing:
        return f"no line '{missing[0]}='"
    try:
        counts = [int(n) for n in meta["snsMnMaXaDw"].split(",")]
        is_good = len(counts) == 4 and sum(counts) == int(meta["nSavedChans"]) > 0
        is_good &= 0 < float(meta["niSampRate"]) < math.inf and int(meta["fileSizeBytes"]) >= 0
        is_good &= all(int(meta.get(key) or 0) >= 0 for key in BYTE_KEYS)
    except ValueError:
        is_good = False
    keys = (*NIDQ_KEYS, *BYTE_KEYS)
    return "" if is_good else ", ".join(f"{key}={meta[key]}" for key in keys if key in meta)


def _count_lines(meta):
    """Digital lines of a nidq file, as `sluice.io.pulses` counts them."""
    n_words = int(meta["snsMnMaXaDw"].split(",")[3])
    n_bytes = sum(int(meta.get(key) or 0) for key in BYTE_KEYS)
    return min(8 * n_bytes or WORD_BITS * n_words, WORD_BITS * n_words)


def _check_chunks(path, found):
    """A compressed nidq file must be as long as its .ch says."""
    chunks = path.with_suffix(".ch")
    try:
        expected = int(json.loads(chunks.read_text(encoding="utf-8"))["chunk_offsets"][-1])
    except (ValueError, KeyError, IndexError, TypeError):
        return [f"{chunks}: is no header of mtscomp. Copy it again."]
    if found == expected:
        return []
    return [
        f"{path}: {found} bytes, but {chunks.name} says {expected}, so it was cut short or is of "
        f"another {chunks.suffix}. Copy both again."
    ]


def _wheel_files(wheel):
    """Table of the wheel, or its files in a folder or behind a common beginning of names."""
    path = Path(wheel)
    if path.is_file():
        return [path]
    folder, begin = (path, "") if path.is_dir() else (path.parent, path.name)
    return [
        file
        for end in WHEEL
        for file in sorted(folder.glob("*"))
        if _belongs(file.name, begin, end)
    ]


def _belongs(name, begin, end):
    return name.startswith(begin) and name.endswith(end)


def _check_wheel(wheel):
    """The wheel must be one table, or one file of positions and one of times."""
    path = Path(wheel)
    if path.is_file():
        return _check_file("wheel", path)
    files = _wheel_files(wheel)
    problems = []
    for end in WHEEL:
        found = [file for file in files if file.name.endswith(end)]
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            problems.append(
                f"{path}: {len(found)} files *{end} for the wheel (found {names}); expected 1. "
                "Correct wheel in the table of streams: a table, a folder, or the common "
                "beginning of both files."
            )
        elif not found[0].stat().st_size:
            problems += _check_file("wheel", found[0])
    return problems
