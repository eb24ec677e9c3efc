"""Find imaging planes below a session: its ``raw_imaging_data_NN`` folders."""

import re
from dataclasses import asdict, replace

from sluice.errors import InputError
from sluice.io.check_plane import SUFFIXES, inspect, side_files
from sluice.io.imaging import open_movie
from sluice.io.imaging_json import read_imaging_json
from sluice.io.movie_headers import natural_order
from sluice.ophys.indicators import decay_of
from sluice.session import Plane

FOLDER = re.compile(r"raw_imaging_data(?:_(\d+))?")
# What is written of a plane besides the fields of Plane.
FOUND_COLUMNS = [
    "duration_s",
    "size_bytes",
    "height",
    "width",
    "n_frames",
    "depth_um",
    "field_of_view",
]


def describe_planes(session, folder):
    """List the imaging planes of a session.

    Planes are named FOV_00, FOV_01, … over all folders, flyback planes left out. A recording
    that cannot be read has one row, so that planning the workflow says what is wrong with it.

    Parameters
    ----------
    session : str
    folder : Path
        Folder of the session.

    Returns
    -------
    list of (dict, str)
        Row of each plane, columns as `Plane` and `FOUND_COLUMNS`; and the start of its
        recording, empty where the file does not say it.
    """
    described = []
    for raw in _imaging_folders(folder):
        for recording in _recordings(session, raw):
            described += _describe(recording, raw, first=len(described))
    return described


def _imaging_folders(folder):
    """Folders of raw movies, by number."""
    found = [path for path in folder.iterdir() if path.is_dir() and FOLDER.fullmatch(path.name)]
    return sorted(found, key=lambda path: (int(FOLDER.fullmatch(path.name)[1] or 0), path.name))


def _recordings(session, folder):
    """One plane for each recording in a folder, still without number: several NWB series may be."""
    facts, _ = read_imaging_json(folder)
    files = [folder / name for name in facts.get("files", [])] or _other_files(facts, folder)
    suffixes = {path.suffix.lower() for path in files}
    formats = [key for key, known in SUFFIXES.items() if suffixes & set(known)]
    file_format = formats[0] if formats else "tiff"
    plane = Plane(session, "plane", "", str(folder), file_format)
    if file_format != "nwb" or "dataset" in facts:
        return [plane]
    from sluice.io.nwb import find_series

    first = next(path for path in files if path.suffix.lower() in SUFFIXES["nwb"])
    # its row says that it is not there
    if not first.is_file():
        return [plane]
    try:
        series = find_series(first)
    except InputError:
        return [plane]
    return [replace(plane, dataset=name) for name in series] if len(series) > 1 else [plane]


def _other_files(facts, folder):
    """Files of a folder that may be the movie, in natural order."""
    named = side_files(facts, folder)
    files = [p for p in folder.iterdir() if p not in named and not p.name.startswith(".")]
    return sorted(files, key=natural_order)


def _describe(recording, folder, first):
    """Rows of the planes of one recording; the first of them is number `first`."""
    found = inspect(recording)
    planes = [p for p in range(found.n_planes) if p not in found.flyback_planes] or [0]
    names = {plane: f"FOV_{first + i:02d}" for i, plane in enumerate(planes)}
    rows, measured = [], None
    for index, name in names.items():
        plane = replace(recording, plane=index, name=name)
        found = inspect(plane)
        row = asdict(plane) | {"field_of_view": folder.name}
        if found.problems:
            rows.append((row, ""))
            continue
        # all planes have the same frames
        measured = _measure(plane, found) if measured is None else measured
        rows.append((row | _facts(found, index, names) | measured, found.header.start_time))
    return rows


def _facts(found, index, names):
    """What is known of a plane, as its row says it."""
    size = found.um_per_pixel
    return {
        "n_planes": found.n_planes,
        "channel": found.channel,
        "n_channels": found.n_channels,
        "sampling_rate_hz": found.sampling_rate_hz,
        "um_per_pixel": None if size is None else sum(size) / 2,
        "indicator": found.indicator,
        # not where the indicator says it: another one may be written in its place
        "decay_s": None if found.decay_s == decay_of(found.indicator) else found.decay_s,
        "dataset": found.dataset,
        "frame_times": str(found.frame_times or ""),
        "z_stack": str(found.z_stack or ""),
        "z_step_um": found.z_step_um,
        "depth_um": found.depth_um,
        "paired_with": names.get(found.partner(index), ""),
        "height": found.header.height,
        "width": found.header.width,
        "size_bytes": sum(file.stat().st_size for file in found.files),
    }


def _measure(plane, found):
    """Frames and length of a movie; nothing where a file is damaged, which its job reports."""
    try:
        movie = open_movie(plane, drop_incomplete_volume=True, with_clock=False)
    except InputError:
        return {}
    rate_hz = movie.sampling_rate_hz
    return {
        "n_frames": movie.n_frames,
        "duration_s": round(movie.n_frames / rate_hz, 3),
        "sampling_rate_hz": rate_hz if found.sampling_rate_hz else None,
    }
