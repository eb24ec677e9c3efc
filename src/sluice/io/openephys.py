"""Open Ephys binary folders: which streams they hold and what is wrong with them.

The GUI writes, for each Record Node, experiment and recording, a folder per stream::

    Record Node 101/settings.xml
    Record Node 101/experiment1/recording1/structure.oebin
    Record Node 101/experiment1/recording1/continuous/Neuropix-PXI-100.ProbeA-AP/continuous.dat

Older versions have no Record Node folder. A probe with an LF band has a stream for each
band, ``…-AP`` and ``…-LFP``. Only sizes and headers are looked at here.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sluice.errors import InputError

SAMPLE_BYTES = 2
NOT_NEURAL = re.compile(r".*(ADC|AUX|SYNC).*|(AI|DI)\d+")
NEUROPIXELS = re.compile(r"<(NP_PROBE|NEUROPIXELSV)")
SERIAL = re.compile(r'probe_?serial_?number="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True)
class OpenEphysStream:
    """One neural stream of one experiment.

    Attributes
    ----------
    node : str
        Name of the Record Node; empty in folders of older versions.
    experiment : Path
        Folder of the experiment.
    name : str
        Name of the stream's folder, e.g. ``Neuropix-PXI-100.ProbeA-AP``.
    short_name : str
        The name the GUI shows, e.g. ``ProbeA-AP``.
    band : str
        ``ap`` or ``lf``.
    folders : tuple of Path
        The stream's folder in each recording, in their order.
    sampling_rate_hz : float
    n_columns : int
        Channels in the file, those that are not neural among them.
    channels : tuple of str
        Names of the neural channels, which come first in the file.
    bit_uv : tuple of float
        µV per bit of each neural channel.
    """

    node: str
    experiment: Path
    name: str
    short_name: str
    band: str
    folders: tuple
    sampling_rate_hz: float
    n_columns: int
    channels: tuple
    bit_uv: tuple

    @property
    def full_name(self):
        """Name by which the stream is told from those of other Record Nodes (as neo's)."""
        return f"{self.node}#{self.name}" if self.node else self.name

    @property
    def data(self):
        """The binary files, one per recording."""
        return [folder / "continuous.dat" for folder in self.folders]

    @property
    def headers(self):
        """The structure.oebin of each recording."""
        return [folder.parents[1] / "structure.oebin" for folder in self.folders]

    @property
    def settings(self):
        """The settings.xml of the experiment."""
        number = self.experiment.name.removeprefix("experiment")
        name = "settings.xml" if number == "1" else f"settings_{number}.xml"
        return self.experiment.parent / name

    @property
    def n_samples(self):
        """Samples of all recordings together, by the files' sizes."""
        frame = SAMPLE_BYTES * self.n_columns
        return sum(path.stat().st_size // frame for path in self.data)


def find_streams(folder):
    """List the neural streams below a folder.

    Parameters
    ----------
    folder : str or Path
        Folder of any level: session, Record Node, experiment or recording.

    Returns
    -------
    list of OpenEphysStream
        By Record Node, experiment and name.

    Raises
    ------
    InputError
        A structure.oebin cannot be read, or recordings of one experiment differ.
    """
    folder = Path(folder)
    found = {}
    for header in sorted(folder.rglob("structure.oebin"), key=_recording_order):
        for stream in _read_header(header):
            key = (stream.node, stream.experiment, stream.name)
            found[key] = _join(found[key], stream) if key in found else stream
    return [found[key] for key in sorted(found)]


def _recording_order(header):
    """By experiment, then by the number of the recording."""
    digits = re.sub(r"\D", "", header.parent.name)
    return header.parents[1], int(digits or 0)


def _read_header(path):
    """Read the neural streams of one structure.oebin."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["continuous"]
        return [stream for entry in entries if (stream := _stream(path, entry)) is not None]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is no header of Open Ephys' binary format ({error!r}). Copy it again "
            "from the acquisition computer."
        ) from None


def _stream(header, entry):
    """Turn one entry of ``continuous`` into a stream; None if nothing in it is neural."""
    channels = entry["channels"]
    names = [channel["channel_name"] for channel in channels]
    neural = [not NOT_NEURAL.fullmatch(name) for name in names]
    if "NI-DAQ" in entry["source_processor_name"] or not any(neural):
        return None
    n_neural = sum(neural)
    if not all(neural[:n_neural]):
        raise InputError(
            f"{header}: the channels of {entry['folder_name']} are mixed with others (ADC, AUX, "
            "SYNC); expected the neural ones first. Export the stream as a flat binary."
        )
    name = entry["folder_name"].rstrip("/")
    short_name = entry.get("stream_name", name.rpartition(".")[2])
    is_lf = short_name.endswith("-LFP") or names[0].upper().startswith("LF")
    node = header.parents[2].name
    return OpenEphysStream(
        node=node if node.startswith("Record Node") else "",
        experiment=header.parents[1],
        name=name,
        short_name=short_name,
        band="lf" if is_lf else "ap",
        folders=(header.parent / "continuous" / name,),
        sampling_rate_hz=float(entry["sample_rate"]),
        n_columns=len(channels),
        channels=tuple(names[:n_neural]),
        bit_uv=tuple(float(c["bit_volts"]) for c in channels[:n_neural]),
    )


def _join(first, other):
    """Add another recording of the same experiment to a stream."""
    joined = OpenEphysStream(**{**vars(first), "folders": first.folders + other.folders})
    if joined != OpenEphysStream(**{**vars(other), "folders": joined.folders}):
        raise InputError(
            f"{other.headers[0]}: {other.name} has other channels, gains or another rate than in "
            f"{first.headers[0]}. Give each recording its own row in the table of streams."
        )
    return joined


def select(folder, band, *, stream_id=""):
    """Find one probe's stream.

    Parameters
    ----------
    folder : str or Path
    band : str
        ``ap`` or ``lf``. The LF stream of a probe is that of the same Record Node and
        experiment whose name ends in ``-LFP`` where the AP stream's ends in ``-AP``.
    stream_id : str
        Name of the AP stream: ``ProbeA-AP``, ``Neuropix-PXI-100.ProbeA-AP``, or with the
        Record Node ``Record Node 101#Neuropix-PXI-100.ProbeA-AP``. May be empty where the
        folder holds one.

    Returns
    -------
    OpenEphysStream or None
        None where the probe has no LF stream.

    Raises
    ------
    InputError
        There is no such stream, or more than one.
    """
    streams = find_streams(folder)
    matching = [
        s
        for s in streams
        if s.band == "ap" and stream_id in ("", s.short_name, s.name, s.full_name)
    ]
    if len(matching) != 1:
        names = ", ".join(f"{s.full_name} of {s.experiment}" for s in matching or streams)
        wanted = f"one neural AP stream named {stream_id}" if stream_id else "one neural AP stream"
        raise InputError(
            f"{folder}: expected {wanted}, found {len(matching)} ({names or 'no streams at all'}). "
            "Give its name in the stream_id column of the table of streams; of several "
            "experiments, give the folder of one as the path."
        )
    ap = matching[0]
    if band == "ap":
        return ap
    if not ap.name.endswith("-AP"):
        return None
    key = (ap.node, ap.experiment, ap.name.removesuffix("-AP") + "-LFP")
    return next((s for s in streams if (s.node, s.experiment, s.name) == key), None)


def check_openephys(folder, *, stream_id="", serial="", has_geometry=False):
    """Say what is wrong with a probe's recording, from sizes and headers alone.

    Parameters
    ----------
    folder : str or Path
    stream_id : str
        See `select`.
    serial : str
        Serial number that the settings must name; empty for any.
    has_geometry : bool
        The table of streams gives the contacts, so that the settings need not.

    Returns
    -------
    list of str
        One line a problem, each with the file, what was found and expected, and what to do.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return [f"{folder}: no such folder; correct the path in the table of streams"]
    try:
        ap = select(folder, "ap", stream_id=stream_id)
        lf = select(folder, "lf", stream_id=stream_id)
    except InputError as error:
        return [str(error)]
    problems = _check_settings(ap, serial, has_geometry)
    for stream in (ap, lf) if lf else (ap,):
        for path in stream.data:
            problems += _check_data(path, stream)
    return problems


def _check_settings(stream, serial, has_geometry):
    """The settings must describe the probe, unless the table gives its contacts."""
    path = stream.settings
    if not path.is_file():
        if has_geometry:
            return []
        return [
            f"{path}: is missing; expected the settings Open Ephys wrote for this experiment. Copy "
            "it, or give the contacts in the geometry column of the table of streams."
        ]
    text = path.read_text(encoding="utf-8", errors="replace")
    if not has_geometry and not NEUROPIXELS.search(text):
        return [
            f"{path}: describes no Neuropixels probe, so the contacts of {stream.full_name} are "
            "unknown. Give them in the geometry column of the table of streams."
        ]
    serials = SERIAL.findall(text)
    if serial and serial not in serials:
        return [
            f"{path}: is of another probe: serial numbers {', '.join(serials) or '(none)'}, "
            f"expected {serial} (the table of streams). Copy the settings of that experiment, or "
            "correct the table."
        ]
    return []


def _check_data(path, stream):
    """A binary must have whole frames, and as many as its sample numbers."""
    if not path.is_file():
        return [f"{path}: is missing. Copy it from the acquisition computer."]
    found, frame = path.stat().st_size, SAMPLE_BYTES * stream.n_columns
    if found == 0:
        return [f"{path}: is empty (0 bytes). Copy it again."]
    if found % frame:
        return [
            f"{path}: {found} bytes are not a whole number of frames of {frame} bytes "
            f"({stream.n_columns} channels); the file was cut short. Copy it again."
        ]
    # sample_numbers.npy since version 0.6, timestamps.npy before
    numbers = path.with_name("sample_numbers.npy")
    numbers = numbers if numbers.is_file() else path.with_name("timestamps.npy")
    if numbers.is_file():
        expected = np.load(numbers, mmap_mode="r").shape[0]
        if found // frame != expected:
            return [
                f"{path}: {found // frame} samples, but {numbers.name} beside it has {expected}; "
                "one of them was cut short. Copy both again."
            ]
    return []


def acquisition_channels(names, n_acquired):
    """Read the acquisition numbers of a Neuropixels probe's channels from their names.

    The GUI calls them CH0 to CH383, older versions CH1 (AP1) to CH384. Their order in the
    file is another one where a channel map was used.

    Parameters
    ----------
    names : sequence of str
    n_acquired : int
        Channels that the probe acquires.

    Returns
    -------
    int array, shape (n_channels,), or None
        0-based; None where a subset does not show whether the names begin at 0 or 1.
    """
    digits = [re.search(r"\d+$", name) for name in names]
    if not all(digits):
        return None
    numbers = np.array([int(match[0]) for match in digits])
    if numbers.min() == 0 and numbers.max() < n_acquired:
        return numbers
    if numbers.max() == n_acquired:
        return numbers - 1
    return None
