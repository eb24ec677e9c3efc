"""Recordings of imaging planes: their files, what is known of them from where, and what is wrong.

What a row of the table of streams says wins over ``imaging.json``, which wins over the header
of the file. Row and ``imaging.json`` are written by people: where they disagree on the rate, the
planes or the channels, that is a problem to be solved by a person. The header is written by the
microscope and cannot be corrected: where it differs, that is told and not refused.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from sluice.errors import InputError
from sluice.io.imaging_json import NAME, read_imaging_json
from sluice.io.movie import Header
from sluice.io.movie_headers import header_of, list_folder
from sluice.ophys.indicators import KNOWN, decay_of

SUFFIXES = {
    "tiff": (".tif", ".tiff", ".btf", ".tf8"),
    "h5": (".h5", ".hdf5"),
    "nwb": (".nwb",),
}
MAX_RATE_DIFFERENCE = 0.01
SOURCES = ("the table of streams", NAME)
RATE = "the rate (frames of one plane a second)"


@dataclass(frozen=True)
class Difference:
    """What a person and the header of the file say of the rate, the planes or the channels.

    Attributes
    ----------
    what : str
    source : str
        Where the person said it.
    stated, of_file : float or int
        The first is used.
    path : str
        The file.
    """

    what: str
    source: str
    stated: float
    of_file: float
    path: str

    @property
    def is_rate(self):
        """Whether it is about the rate; else about planes or channels."""
        return self.what == RATE

    @property
    def fraction(self):
        """How far the stated rate is from the header's, as a fraction of this."""
        return abs(self.stated / self.of_file - 1)

    @property
    def is_difference(self):
        """Whether they differ by more than rounding."""
        if self.is_rate:
            return self.fraction > MAX_RATE_DIFFERENCE
        return self.stated != self.of_file

    def __str__(self):
        return (
            f"{self.what} is {self.stated:g} in {self.source}, which is used, and "
            f"{self.of_file:g} in the header of {self.path}"
        )


@dataclass
class Imaging:
    """What is known of one plane before any image is read.

    Attributes
    ----------
    files : list of Path
        Of the movie, in order.
    header : Header or None
        Of the first file.
    n_planes, n_channels, channel : int
        Interleaved planes and channels, and the channel to read, counted from 0.
    flyback_planes : tuple of int
    sampling_rate_hz : float or None
        None where only a clock says it.
    um_per_pixel : tuple of float or None
        Along y and x.
    indicator : str
    decay_s : float or None
    dataset : str
    frame_times, z_stack : Path or None
    z_step_um, depth_um : float or None
    paired_planes : list of list of int
    others : list of Path
        Files beside the movie that it is read with: ``imaging.json`` and the clock.
    differences : list of Difference
        What is said by a person and by the header, alike or not.
    problems : list of str
        Why it cannot be read; empty if it can.
    """

    files: list = field(default_factory=list)
    header: Header | None = None
    n_planes: int = 1
    n_channels: int = 1
    channel: int = 0
    flyback_planes: tuple = ()
    sampling_rate_hz: float | None = None
    um_per_pixel: tuple | None = None
    indicator: str = ""
    decay_s: float | None = None
    dataset: str = ""
    frame_times: Path | None = None
    z_stack: Path | None = None
    z_step_um: float | None = None
    depth_um: float | None = None
    paired_planes: list = field(default_factory=list)
    others: list = field(default_factory=list)
    differences: list = field(default_factory=list)
    problems: list = field(default_factory=list)

    def partner(self, plane):
        """Index of the plane recorded together with one; None if there is none."""
        pairs = [pair for pair in self.paired_planes if plane in pair]
        return next((a if b == plane else b for a, b in pairs), None)


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
        found.problems.append(f"{path}: no such file or folder; correct the table of streams")
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
            problems.append(f"{file}: no such file; correct 'files' in {folder / NAME}")
            continue
        if not size:
            problems.append(f"{file}: is empty (0 bytes). Copy it again.")
    return problems


def _movie_files(found, plane, facts, folder):
    """Files of the movie in a folder, without those named for something else."""
    if "files" in facts:
        return [folder / name for name in facts["files"]]
    suffixes = SUFFIXES[plane.format]
    stacks = facts.get("z_stack", [])
    others = {folder / name for name in ([stacks] if isinstance(stacks, str) else stacks)}
    others |= {found.z_stack, found.frame_times}
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
                f"{file}: no such file; it is named as {key}. Correct {NAME} or the table of "
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
    found.flyback_planes = tuple(facts.get("flyback_planes", header.flyback_planes))
    found.indicator = plane.indicator or facts.get("indicator", "") or header.indicator
    found.decay_s = plane.decay_s or facts.get("decay_s") or decay_of(found.indicator)
    found.z_step_um = plane.z_step_um or facts.get("z_step_um")
    depths = facts.get("depths_um", [])
    found.depth_um = depths[plane.plane] if plane.plane < len(depths) else None
    found.paired_planes = facts.get("paired_planes", [])
    _check_merged(found, plane, folder)


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


def fill_rows(planes):
    """Write into rows what other steps than `import_plane` need of ``imaging.json``.

    Parameters
    ----------
    planes : list of sluice.session.Plane
        Rows that can be read; of one table, as pairs are looked up among them.

    Returns
    -------
    list of sluice.session.Plane
        With z_stack, z_step_um and paired_with, where they are known.
    """
    names = {(p.session, p.path, p.plane): p.name for p in planes}
    filled = []
    for plane in planes:
        found = inspect(plane)
        other = found.partner(plane.plane)
        filled.append(
            replace(
                plane,
                z_stack=str(found.z_stack or ""),
                z_step_um=found.z_step_um,
                paired_with=plane.paired_with or names.get((plane.session, plane.path, other), ""),
            )
        )
    return filled
