"""SpikeGLX recordings: which files they are made of and what is wrong with them.

A probe's folder holds, for each band (``ap``, ``lf``), one or several files of one run::

    NAME_g0_t0.imec0.ap.bin  + NAME_g0_t0.imec0.ap.meta
    NAME_g0_t0.imec0.ap.cbin + NAME_g0_t0.imec0.ap.ch + NAME_g0_t0.imec0.ap.meta

IBL's names (``_spikeglx_ephysData_g0_t0.imec0.ap.cbin``) and ONE's, with a UUID before the
suffix (another one in each file of a recording), are the same to us. Files are told from
their names on disk; the name inside the meta is the one they had when recorded.

`sluice.io.check_spikeglx` says what is wrong with them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from sluice.errors import InputError

BANDS = ("ap", "lf")
SAMPLE_BYTES = 2
FILE_NAME = re.compile(
    r"(?P<run>.+?)(?:_g(?P<gate>\d+))?(?:_t(?P<trigger>\d+|cat))?(?:\.exported)?"
    r"(?:\.(?P<device>imec\d*))?\.(?P<band>ap|lf)(?:\.stream)?"
    r"(?:\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?\.(?P<suffix>bin|cbin|ch|meta)"
)
COUNTS = ("nSavedChans", "fileSizeBytes")
NUMBERS = (*COUNTS, "imSampRate", "imAiRangeMax")
TEXTS = ("snsApLfSy", "snsSaveChanSubset", "imroTbl")

# imDatPrb_type of SpikeGLX's metadata guide, and imec's part numbers as Open Ephys gives them.
PROBE_TYPES = {
    "NP1.0": ("0", "NP1000", "NP1001", "PRB_1_2_0480_2", "PRB_1_4_0480_1", "PRB_1_4_0480_1_C"),
    "NP2.1": ("21", "2000", "2003", "2004", "NP2000", "NP2003", "NP2004", "PRB2_1_2_0640_0"),
    "NP2.4": ("24", "2010", "2013", "2014", "NP2010", "NP2013", "NP2014", "PRB2_4_2_0640_0"),
    "Quad Base": ("2020", "2021", "NP2020", "NP2021"),
}


@dataclass(frozen=True)
class SpikeGlxFile:
    """One file of a run, in one band, with what belongs to it.

    Attributes
    ----------
    run : str
        Name of the run.
    gate, trigger : int
        Numbers of the gate and the trigger; -1 where the name has none, and for CatGT's
        ``tcat``.
    is_catgt : bool
        True for the output of CatGT, which has joined a run's files already.
    device : str
        ``imec0``, ``imec1``, …; ``imec`` on phase 3A; empty where the name has none.
    band : str
        ``ap`` or ``lf``.
    data, meta, chunks : Path or None
        The ``.bin`` or ``.cbin``, the ``.meta``, and the ``.ch`` of a ``.cbin``.
    """

    run: str
    gate: int
    trigger: int
    is_catgt: bool
    device: str
    band: str
    data: Path | None = None
    meta: Path | None = None
    chunks: Path | None = None

    @property
    def name(self):
        """Any of its paths, to name it in a message."""
        return self.data or self.meta or self.chunks

    @property
    def paths(self):
        """All of its paths that exist."""
        return [path for path in (self.data, self.chunks, self.meta) if path is not None]


def find_files(folder, band, *, device=""):
    """List the files of a recording in the order in which they were recorded.

    Parameters
    ----------
    folder : str or Path
        Folder of one probe.
    band : str
        ``ap`` or ``lf``.
    device : str
        ``imec0``, … to take one probe's files from a folder of several, its subfolders
        included (a run that has one folder per gate, or none per probe).

    Returns
    -------
    list of SpikeGlxFile
        By gate and trigger. Of a ``.bin`` and a ``.cbin`` of the same recording, the
        ``.bin`` is taken: it is the original and the faster to read.

    Raises
    ------
    InputError
        Two files stand for the same part of the recording.
    """
    folder = Path(folder)
    found = {}
    for path in sorted(folder.rglob("*") if device else folder.iterdir()):
        match = FILE_NAME.fullmatch(path.name)
        if match and match["band"] == band and device in ("", match["device"]):
            key = (match["run"], match["gate"], match["trigger"], match["device"])
            _put(found.setdefault(key, {}), match["suffix"], path)
    files = [_file(key, band, parts) for key, parts in found.items()]
    return sorted(files, key=lambda f: (f.device, f.run, f.gate, f.trigger))


def _put(parts, suffix, path):
    """Remember a path by its suffix, of which a recording has one."""
    if suffix in parts:
        raise InputError(
            f"{path}: a second .{suffix} of the same recording; the first is {parts[suffix]}. "
            "Keep one of them in the folder."
        )
    parts[suffix] = path


def _file(key, band, parts):
    run, gate, trigger, device = key
    is_compressed = "bin" not in parts and ("cbin" in parts or "ch" in parts)
    return SpikeGlxFile(
        run=run,
        gate=-1 if gate is None else int(gate),
        trigger=-1 if trigger in (None, "cat") else int(trigger),
        is_catgt=trigger == "cat",
        device=device or "",
        band=band,
        data=parts.get("cbin" if is_compressed else "bin"),
        meta=parts.get("meta"),
        chunks=parts.get("ch") if is_compressed else None,
    )


def parse_meta(path):
    """Read a ``.meta`` file, whatever it is of, without judging it.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to str
        The value of each key; the ``~`` before the names of tables is left out (files that
        ibl-neuropixel has rewritten have none).
    """
    raw = Path(path).read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        # SpikeGLX on Windows writes paths and notes in the machine's own code page
        text = raw.decode("cp1252", errors="replace")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lstrip("~"): value.strip() for key, _, value in pairs}


def read_meta(path):
    """Read the ``.meta`` file of a probe's AP or LF band.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to str
        As `parse_meta`. The keys that every reader needs are there, and those that are
        numbers can be read as positive numbers.

    Raises
    ------
    InputError
        A key is missing or is not a positive number; the message names both file and key.
    """
    meta = parse_meta(path)
    for key in NUMBERS + TEXTS:
        if key not in meta:
            what = "the sampling rate is missing: " if key == "imSampRate" else ""
            raise InputError(
                f"{path}: {what}no line '{key}='. Expected the .meta that SpikeGLX wrote "
                "beside the recording; copy it again, or mend the line if the run crashed "
                "before SpikeGLX finished it."
            )
    for key in NUMBERS:
        if not _is_positive(meta[key], int if key in COUNTS else float):
            raise InputError(
                f"{path}: {key} is {meta[key]!r}; expected a number above 0. Copy the .meta "
                "again from the acquisition computer."
            )
    return meta


def _is_positive(text, kind):
    try:
        return 0 < kind(text) < float("inf")
    except ValueError:
        return False


def counts(meta):
    """Numbers of neural and of all channels in the file a meta belongs to.

    Parameters
    ----------
    meta : dict
        See `read_meta`.

    Returns
    -------
    n_neural : int
        Channels of the AP or LF band. They come first in the file.
    n_saved : int
        Those and the sync channels (four of them on a Quad Base probe).
    """
    ap, lf, _ = (int(n) for n in meta["snsApLfSy"].split(","))
    return ap + lf, int(meta["nSavedChans"])


def saved_channels(meta):
    """Acquisition numbers of the channels in the file, in the file's order.

    The AP channels are numbered first, then the LF channels, then sync. Where
    ibl-neuropixel has split a probe's shanks into files of their own, the numbers before
    the split are taken (``snsSaveChanSubset_orig``).

    Returns
    -------
    list of int
    """
    text = meta.get("snsSaveChanSubset_orig", meta["snsSaveChanSubset"])
    if text == "all":
        return list(range(int(meta["nSavedChans"])))
    channels = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        channels += range(int(first), int(last or first) + 1)
    return channels


def table(text):
    """Split a table of a meta, ``(header)(entry)(entry)…``, into its parts."""
    return re.findall(r"\(([^()]*)\)", text)


def serial_of(meta):
    """Serial number of the probe; empty where the meta has none."""
    return meta.get("imDatPrb_sn") or meta.get("imProbeSN", "")


def probe_type(meta):
    """Name of the kind of probe: 3A, NP1.0, NP2.1, NP2.4, Quad Base, or imec's number."""
    if "imProbeOpt" in meta:
        return "3A"
    number = meta.get("imDatPrb_type", "")
    return probe_name(number) or meta.get("imDatPrb_pn", "") or number


def probe_name(number):
    """Name of the kind of probe of a type or part number; empty for others."""
    return next((name for name, numbers in PROBE_TYPES.items() if number in numbers), "")


def is_time_aligned(meta):
    """Whether CatGT has already shifted every channel by its delay within the sample.

    It does so unless told ``-no_tshift`` (CatGT's manual; since version 1.8, April 2021).
    """
    commands = [text for key, text in meta.items() if key.startswith("catGTCmdline")]
    return bool(commands) and not any("-no_tshift" in text for text in commands)


def duration_s(meta):
    """Length of one file in seconds, by the size its meta gives."""
    n_bytes, n_channels = (int(meta[key]) for key in ("fileSizeBytes", "nSavedChans"))
    return n_bytes / SAMPLE_BYTES / n_channels / float(meta["imSampRate"])


def n_shanks(meta):
    """Number of shanks the file has channels of; None if the meta has no map of contacts."""
    maps = meta.get("snsGeomMap") or meta.get("snsShankMap")
    if not maps:
        return None
    return len({entry.split(":")[0] for entry in table(maps)[1:]})
