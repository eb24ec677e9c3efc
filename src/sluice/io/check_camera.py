"""What is wrong with the files of a camera, found before anything runs."""

from pathlib import Path

from sluice.errors import InputError
from sluice.io.video_container import read_container

# Columns of a row that name one file; times that something else has found replace the others.
TIMING = ("ttl", "timestamps", "frame_counter", "gpio", "frame_data", "gpio_pulses")
EDGES = ("rising", "falling", "both")
# Files of pulses, with the column that says which of their digital lines it is.
LINES = {"ttl": "ttl_line", "gpio_pulses": "gpio_line"}
NIDQ = (".nidq.bin", ".nidq.cbin")
TABLES = (".npy", ".tsv", ".csv")
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
        problems += _check_file(column, Path(getattr(camera, column)))
    if not camera.frame_times:
        problems += _check_pulses(camera)
    if camera.wheel:
        problems += _check_wheel(camera.wheel)
    return problems


def camera_files(camera):
    """List the files that a camera is read from.

    Parameters
    ----------
    camera : sluice.session.Camera
        One without problems (see `check_camera`).

    Returns
    -------
    list of Path
        The video, its timing files and what belongs to them: ``.meta`` of a nidq file, ``.ch``
        of a compressed one; position and times of the wheel. Each once.
    """
    files = [Path(camera.path)]
    for column in _columns(camera):
        path = Path(getattr(camera, column))
        files += [path, *_companions(path)]
    if camera.wheel:
        files += _wheel_files(camera.wheel)
    return list(dict.fromkeys(files))


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
    if camera.ttl_edge not in EDGES:
        problems.append(
            f"{camera.path}: ttl_edge is {camera.ttl_edge!r}; expected rising, falling or both"
        )
    return problems


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
