"""Recordings of imaging planes: their files, what is known of them from where, and what is wrong.

What a row of the table of streams says wins over ``imaging.json``, which wins over the header
of the file. Row and ``imaging.json`` are written by people: where they disagree on the rate, the
planes or the channels, that is a problem to be solved by a person. The header is written by the
microscope and cannot be corrected: where it differs, that is told and not refused.
"""

import re
from dataclasses import replace
from pathlib import Path

from sluice.errors import InputError
from sluice.io.imaging_json import NAME, read_imaging_json
from sluice.io.movie_headers import dead_link, header_of, list_folder
from sluice.io.plane_facts import MAX_RATE_DIFFERENCE, RATE, Difference, Imaging
from sluice.ophys.indicators import KNOWN, decay_of

SUFFIXES = {
    "tiff": (".tif", ".tiff", ".btf", ".tf8"),
    "h5": (".h5", ".hdf5"),
    "nwb": (".nwb",),
}
SOURCES = ("the table of streams", NAME)
PAIRS = re.compile(r"\d+,\d+( \d+,\d+)*")


def inspect(plane):
    """Collect what is known of a plane from its row, ``imaging.json`` and the first header.

    Parameters
    ----------
    plane : sluice.session.Plane

    Returns
    -------
    Imaging
        With every problem that can be found without reading images or walking through pages.
    """
    path, found = Path(plane.path), Imaging()
    if not path.exists():
        found.problems.append(
            dead_link(path) or f"{path}: no such file or folder; correct the table of streams"
        )
        return found
    folder = path if path.is_dir() else path.parent
    facts, problems = read_imaging_json(folder)
    found.problems += problems
    _find_side_files(found, plane, facts, folder)
    found.files = [path] if path.is_file() else _movie_files(found, plane, facts, folder)
    if not found.files:
        return found
    damaged = _file_problems(found.files, folder)
    if damaged:
        found.problems += damaged
        return found
    found.dataset = plane.dataset or facts.get("dataset", "")
    try:
        found.header = header_of(found.files[0], plane.format, found.dataset)
    except InputError as error:
        found.problems.append(str(error))
        return found
    found.problems += found.header.problems
    _merge(found, plane, facts, folder)
    return found


def _file_problems(files, folder):
    """Why some files cannot hold a movie."""
    # a folder may hold one file a frame: it is asked for all sizes at once
    sizes, problems = list_folder(folder), []
    for file in files:
        size = sizes.get(file)
        try:
            size = file.stat().st_size if size is None else size
        except FileNotFoundError:
            problems.append(
                dead_link(file) or f"{file}: no such file; correct 'files' in {folder / NAME}"
            )
            continue
        if not size:
            problems.append(f"{file}: is empty (0 bytes). Copy it again.")
    return problems


def _movie_files(found, plane, facts, folder):
    """Files of the movie in a folder, without those named for something else."""
    if "files" in facts:
        return [folder / name for name in facts["files"]]
    suffixes = SUFFIXES[plane.format]
    others = {found.z_stack, found.frame_times, *side_files(facts, folder)}
    files = [
        file
        for file in list_folder(folder)
        if file.suffix.lower() in suffixes and file not in others and not file.name.startswith(".")
    ]
    if not files:
        names = ", ".join(sorted(file.name for file in folder.iterdir())[:5]) or "nothing"
        found.problems.append(
            f"{folder}: holds no movie (*{', *'.join(suffixes)}); found {names}. Copy the files "
            "there, or correct path and format in the table of streams."
        )
    return files


def side_files(facts, folder):
    """List the files that ``imaging.json`` names for something else than the movie.

    Parameters
    ----------
    facts : dict
        See `read_imaging_json`.
    folder : Path

    Returns
    -------
    set of Path
    """
    stacks = facts.get("z_stack", [])
    names = [stacks] if isinstance(stacks, str) else [*stacks]
    return {folder / name for name in [*names, facts.get("frame_times", "")] if name}


def _find_side_files(found, plane, facts, folder):
    """Resolve the clock and the z-stack, and make sure that they are there."""
    stack = facts.get("z_stack", "")
    if isinstance(stack, list):
        stack = stack[plane.plane] if plane.plane < len(stack) else ""
    found.frame_times = _resolve(plane.frame_times, facts.get("frame_times", ""), folder)
    found.z_stack = _resolve(plane.z_stack, stack, folder)
    found.others = [folder / NAME] if (folder / NAME).is_file() else []
    for key in ("frame_times", "z_stack"):
        file = getattr(found, key)
        if file is None:
            continue
        if not file.is_file():
            found.problems.append(
                dead_link(file)
                or f"{file}: no such file; it is named as {key}. Correct {NAME} or the table of "
                "streams."
            )
        elif key == "frame_times":
            found.others.append(file)


def _resolve(in_row, in_json, folder):
    """A file named in the row, as it is or beside the movie; or in imaging.json, beside it."""
    if in_row:
        path = Path(in_row)
        return path if path.is_absolute() or path.is_file() else folder / path
    return folder / in_json if in_json else None


def _merge(found, plane, facts, folder):
    """Bring row, imaging.json and header together."""
    header = found.header
    for key in ("n_planes", "n_channels"):
        value = _settle(
            found, plane, key, getattr(plane, key), facts.get(key), getattr(header, key)
        )
        setattr(found, key, value or 1)
    found.sampling_rate_hz = _settle(
        found,
        plane,
        RATE,
        plane.sampling_rate_hz,
        facts.get("frame_rate_hz"),
        _header_rate(found, header),
    )
    size = plane.um_per_pixel or facts.get("um_per_pixel") or header.um_per_pixel
    found.um_per_pixel = (
        None if size is None else tuple(size) if isinstance(size, list | tuple) else (size, size)
    )
    found.channel = facts.get("functional_channel", 0) if plane.channel is None else plane.channel
    # a header that counts other planes says nothing of these
    is_same = header.n_planes == found.n_planes
    of_file = header.flyback_planes if is_same else ()
    found.flyback_planes = tuple(facts.get("flyback_planes", of_file))
    found.indicator = plane.indicator or facts.get("indicator", "") or header.indicator
    found.decay_s = plane.decay_s or facts.get("decay_s") or decay_of(found.indicator)
    found.z_step_um = plane.z_step_um or facts.get("z_step_um")
    depths = facts.get("depths_um", [])
    found.depth_um = depths[plane.plane] if plane.plane < len(depths) else None
    found.paired_planes = facts.get("paired_planes", [])
    if plane.paired_planes:
        found.paired_planes = _read_pairs(found, plane)
    _check_merged(found, plane, folder)


def _read_pairs(found, plane):
    """Pairs of planes as the row has them."""
    if not PAIRS.fullmatch(plane.paired_planes):
        found.problems.append(
            f"{plane.path}: paired_planes is {plane.paired_planes!r} in the table of streams; "
            "expected pairs of planes, e.g. '0,1 2,3', or nothing"
        )
        return []
    return [[int(p) for p in pair.split(",")] for pair in plane.paired_planes.split()]


def _header_rate(found, header):
    """Frames of one plane a second as the header says it; None where it counts other planes."""
    if header.raw_rate_hz:
        n_images = found.n_channels * (1 if header.is_volume else found.n_planes)
        return header.raw_rate_hz / n_images
    return header.sampling_rate_hz if header.n_planes in (None, found.n_planes) else None


def _settle(found, plane, what, of_row, of_json, of_file):
    """Take the first value that is known; note where others differ from it."""
    known = [(s, v) for s, v in zip(SOURCES, (of_row, of_json), strict=True) if v is not None]
    if not known:
        return of_file
    source, stated = known[0]
    tolerance = MAX_RATE_DIFFERENCE if what == RATE else 0
    for other, value in known[1:]:
        if abs(value - stated) > tolerance * stated:
            found.problems.append(
                f"{plane.path}: {what} is {stated:g} in {source} and {value:g} in {other}; "
                "correct the one that is wrong, or empty the cell of the table"
            )
    if what == "n_planes" and found.header.is_volume and stated != of_file:
        found.problems.append(
            f"{plane.path}: n_planes is {stated:g} in {source}, but the images of "
            f"{found.files[0]} have {of_file:g} planes; correct n_planes"
        )
    elif of_file is not None:
        file = str(found.files[0])
        found.differences.append(Difference(what, source, stated, of_file, file))
    return stated


def _check_merged(found, plane, folder):
    """Add what is still missing or out of range."""
    where, said = plane.path, f"{folder / NAME} or the table of streams"
    header = found.header
    if found.sampling_rate_hz is None and found.frame_times is None and not header.has_times:
        unused = (
            f" (the header says {header.sampling_rate_hz:g} Hz, but for {header.n_planes} planes)"
            if header.sampling_rate_hz
            else ""
        )
        if header.playback_hz:
            unused = f" (ImageJ's fps, {header.playback_hz:g}, is the speed at which it is played)"
        found.problems.append(
            f"{where}: the frame rate is not known, neither from the file{unused} nor from "
            "imaging.json, the table or a frame clock; a rate is never assumed. Give "
            f"'frame_rate_hz' in {folder / NAME}, or sampling_rate_hz in the table of streams."
        )
    if plane.plane >= found.n_planes:
        found.problems.append(
            f"{where}: plane {plane.plane} is missing; there are {found.n_planes} planes, counted "
            f"from 0. Correct n_planes in {said}."
        )
    elif plane.plane in found.flyback_planes:
        found.problems.append(
            f"{where}: plane {plane.plane} is recorded during flyback and shows no tissue. Leave "
            "its row out, or correct 'flyback_planes'."
        )
    if found.channel >= found.n_channels:
        found.problems.append(
            f"{where}: channel {found.channel} is missing; there are {found.n_channels} channels, "
            f"counted from 0. Correct n_channels in {said}."
        )
    if found.decay_s is None:
        name = f"indicator {found.indicator!r}" if found.indicator else "the indicator"
        found.problems.append(
            f"{where}: {name} is not known, so its decay is not either. Known are {KNOWN}; for "
            f"another give 'decay_s' (s) in {said}."
        )


def check_plane(plane):
    """Say what is wrong with the recording of a plane, from sizes and one header.

    Parameters
    ----------
    plane : sluice.session.Plane

    Returns
    -------
    list of str
        One line a problem, each with the file, what was found and expected, and what to do.
    """
    return inspect(plane).problems


def plane_files(plane):
    """List the files that a plane is read from, and those beside it that say how."""
    found = inspect(plane)
    return [*found.files, *found.others]


def fill_rows(planes, *, listed=None):
    """Write into rows what other rows and ``imaging.json`` say, for the steps to have it.

    Parameters
    ----------
    planes : list of sluice.session.Plane
        Rows that can be read; of one table, as pairs are looked up among them.
    listed : list of sluice.session.Plane
        All rows of the table, those included that cannot be read: their planes were recorded
        all the same. `planes` by default.

    Returns
    -------
    list of sluice.session.Plane
        With z_stack, z_step_um, paired_with and paired_planes, where they are known.
    """
    names = {(p.session, p.path, p.plane): p.name for p in planes}
    of_rows = _pairs_of_rows(planes if listed is None else listed)
    filled = []
    for plane in planes:
        found = inspect(plane)
        other = found.partner(plane.plane)
        pairs = of_rows.get(_volume(plane), set())
        named = {p for pair in pairs for p in pair}
        # what rows say wins
        pairs = pairs | {tuple(p) for p in found.paired_planes if named.isdisjoint(p)}
        filled.append(
            replace(
                plane,
                z_stack=str(found.z_stack or ""),
                z_step_um=found.z_step_um,
                paired_with=plane.paired_with or names.get((plane.session, plane.path, other), ""),
                paired_planes=" ".join(f"{a},{b}" for a, b in sorted(pairs)),
            )
        )
    return filled


def _volume(plane):
    """What planes of one volume have in common."""
    return plane.session, plane.path, plane.dataset


def _pairs_of_rows(planes):
    """Pairs of indices of planes of each volume, as rows name them."""
    by_name = {(p.session, p.name): p for p in planes}
    pairs = {}
    for plane in planes:
        other = by_name.get((plane.session, plane.paired_with))
        # planes in files of their own are not interleaved
        if other and _volume(other) == _volume(plane) and other.plane != plane.plane:
            pair = tuple(sorted((plane.plane, other.plane)))
            pairs.setdefault(_volume(plane), set()).add(pair)
    return pairs
