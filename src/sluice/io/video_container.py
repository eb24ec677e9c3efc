"""What the header of a video file counts, and whether it is whole.

ffmpeg reads these files as well, but does not say what their headers count. Nothing but headers
is read, so that many GB take a millisecond, and nothing heavy is imported. AVI: RIFF, with the
further RIFF chunks that OpenDML (AVI 2.0) adds every GB. MP4 and QuickTime: ISO/IEC 14496-12.
Others count no frames, but say how long the file is: Matroska and WebM (RFC 9559), ASF (WMV;
Microsoft, Advanced Systems Format, 2012), and FLV as ffmpeg writes it.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from sluice.errors import InputError

JPEG = b"\xff\xd8\xff"
# Beginnings of files that are no videos, but that lie beside them.
OTHERS = {
    b"\x89PNG": "a PNG image",
    JPEG: "a JPEG image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a numpy array",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF",
    b"PAR1": "a parquet table",
}
# Formats that ffmpeg reads and that begin with text.
TEXTS = (b"YUV4MPEG2", b"FLV", b"OggS", b"DKIF", b".RMF", b"GIF8")
BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"moof", b"styp"}
HEAD_BYTES = 512
ASF_HEAD_BYTES = 1 << 16
# No file is longer.
MAX_BYTES = 1 << 60
# What a header has until its file is closed; ffmpeg's is the largest number.
UNWRITTEN_BYTES = (0, 0xFFFFFFFF)
UNWRITTEN_FRAMES = 1 << 30
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# A double in the data of an FLV's first tag: length and text of its name, and its type.
FLV_SIZE = b"\0\x08filesize\0"
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
# JPEG images one after the other, without anything around them.
BARE_JPEG = (".mjpeg", ".mjpg")


@dataclass(frozen=True)
class Container:
    """What a video file says of itself.

    Attributes
    ----------
    kind : str
        ``avi``, ``mp4`` (QuickTime too), ``matroska`` (WebM too) or ``other``, of which at most
        the length is known here.
    n_frames : int or None
        Frames that the header counts; None where it does not.
    cut_short : str
        Where the file ends before what it begins does: in words; else empty.
    """

    kind: str
    n_frames: int | None = None
    cut_short: str = ""


def read_container(path):
    """Read what the header of a video file counts.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Container

    Raises
    ------
    InputError
        The file is missing, empty or no video, it has no frames at all, or it is an MP4 without
        the index that its frames are found by.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; correct the table of streams")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path}: is empty (0 bytes). Copy it again.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _read_avi(file, path, size)
        if head[4:8] in BOXES:
            return _read_mp4(file, path, size)
    if head[:4] == EBML:
        return Container("matroska", cut_short=_short_of(_matroska_end(head), size))
    if head[:16] == ASF:
        return Container("other", cut_short=_short_of(_asf_end(path), size))
    if head[:3] == b"FLV":
        return Container("other", cut_short=_short_of(_flv_end(head), size))
    found = _no_video(head)
    if found and not (head.startswith(JPEG) and path.suffix.lower() in BARE_JPEG):
        raise InputError(
            f"{path}: is {found}, not a video; expected AVI, MP4 or another file that ffmpeg "
            "reads. Correct the path in the table of streams."
        )
    return Container("other")


def _short_of(end, size):
    """Whether a file ends before its header says, in words; else empty."""
    if end is None or end <= size:
        return ""
    return f"it has {size} bytes, its header says {end}"


def _asf_end(path):
    """Length of an ASF by its file properties, one of the first objects of its header."""
    with path.open("rb") as file:
        head = file.read(ASF_HEAD_BYTES)
    place = 30
    while place + 92 <= len(head):
        if head[place : place + 16] == ASF_PROPERTIES:
            (n_bytes,) = struct.unpack_from("<Q", head, place + 40)
            # of a broadcast nothing is known; nor where the header was not closed
            return n_bytes if n_bytes and not head[place + 88] & 1 else None
        place += max(24, struct.unpack_from("<Q", head, place + 16)[0])
    return None


def _flv_end(head):
    """Length of an FLV by its first tag."""
    place = head.find(FLV_SIZE)
    if place < 0 or place + len(FLV_SIZE) + 8 > len(head):
        return None
    (n_bytes,) = struct.unpack_from(">d", head, place + len(FLV_SIZE))
    return int(n_bytes) if 0 < n_bytes < MAX_BYTES else None


def _matroska_end(head):
    """Length of a Matroska file by its only segment."""
    place = _ebml_end(head, 4)
    if place is None or head[place : place + 4] != SEGMENT:
        return None
    return _ebml_end(head, place + 4)


def _ebml_end(head, place):
    """Where an EBML element ends, by its size at a place; None where that is not known.

    The zeros before the first one bit of a size say how many bytes it has; all ones stand for
    a size that was not known when the header was written.
    """
    n_bytes = 9 - head[place].bit_length() if place < len(head) else 9
    if n_bytes > 8 or place + n_bytes > len(head):
        return None
    bits = (1 << 7 * n_bytes) - 1
    value = int.from_bytes(head[place : place + n_bytes], "big") & bits
    return None if value == bits else place + n_bytes + value


def _no_video(head):
    """What a file is that is certainly no video; empty if it may be one."""
    for begin, what in OTHERS.items():
        if head.startswith(begin):
            return what
    if head.startswith(TEXTS):
        return ""
    if not head.strip(b"\0"):
        return "zeros at its beginning"
    if all(byte >= 32 or byte in b"\t\r\n\f\v\b" for byte in head) and _is_utf8(head):
        return f"text ({head[:20].decode('utf-8', 'replace')!r})"
    return ""


def _is_utf8(head):
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # a letter that the end of the piece cuts is none
        return error.start > len(head) - 4
    return True


def _read_avi(file, path, size):
    """Go from one RIFF chunk to the next; the first has the header."""
    counts, has_movi, position, cut_short = {}, False, 0, ""
    while position + 12 <= size:
        file.seek(position)
        name, n_bytes, _ = struct.unpack("<4sI4s", file.read(12))
        if name != b"RIFF":
            break
        end = position + 8 + n_bytes
        if n_bytes in UNWRITTEN_BYTES:  # the size is written when a recording is closed
            end = size
        elif end > size:
            cut_short = f"it has {size} bytes, its header says {end}"
            end = size
        has_movi |= _walk_riff(file, position + 12, end, counts)
        position = end + n_bytes % 2
    if b"strh" not in counts:
        raise InputError(
            f"{path}: the header of this AVI describes no video ({size} bytes); the file was cut "
            "short or has sound alone. Copy it again, or correct the path in the table of streams."
        )
    if not has_movi:
        raise InputError(
            f"{path}: this AVI ends before its first frame ({size} bytes). Copy it again; if "
            "nothing was recorded, leave the row out of the table of streams."
        )
    n_frames = counts.get(b"dmlh") or counts[b"strh"] or counts.get(b"avih", 0)
    # what stands there until the recording is closed
    n_frames = 0 if n_frames >= UNWRITTEN_FRAMES else n_frames
    return Container("avi", n_frames, cut_short)


def count_empty_chunks(path):
    """Count the frames of an AVI that have a place in the file but no content.

    Programs write them where the camera gave no frame in time. They stand in the header's count,
    and readers pass over them. Goes from frame to frame, a second for some 100,000.

    Parameters
    ----------
    path : str or Path
        Of an AVI.

    Returns
    -------
    int
    """
    path = Path(path)
    size, n_empty, position = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            head = file.read(12)
            name, n_bytes = struct.unpack("<4sI", head[:8])
            if name in (b"RIFF", b"LIST"):
                # their content is walked through like what is outside
                is_frames = name == b"RIFF" or head[8:12] in (b"movi", b"rec ")
                position += 12 if is_frames else 8 + n_bytes + n_bytes % 2
                continue
            n_empty += name[2:] in (b"dc", b"db") and n_bytes == 0
            position += 8 + n_bytes + n_bytes % 2
    return n_empty


def _walk_riff(file, position, end, counts):
    """Collect the counts of the header; return whether the list of frames is there."""
    has_movi = False
    while position + 8 <= end:
        file.seek(position)
        head = file.read(12)
        if len(head) < 8:
            break
        name, n_bytes = struct.unpack("<4sI", head[:8])
        if name == b"LIST" and head[8:12] in (b"hdrl", b"strl", b"odml"):
            has_movi |= _walk_riff(file, position + 12, min(end, position + 8 + n_bytes), counts)
        elif name == b"LIST" and head[8:12] == b"movi":
            # what lies behind the frames is their index
            return True
        elif name in (b"avih", b"strh", b"dmlh"):
            file.seek(position + 8)
            _read_count(name, file.read(min(n_bytes, 56)), counts)
        position += 8 + n_bytes + n_bytes % 2
    return has_movi


def _read_count(name, data, counts):
    """Frames by one chunk of the header: dwTotalFrames, or dwLength of the first video stream."""
    offset = {b"avih": 16, b"strh": 32, b"dmlh": 0}[name]
    if len(data) < offset + 4 or (name == b"strh" and data[:4] != b"vids"):
        return
    counts.setdefault(name, struct.unpack_from("<I", data, offset)[0])


def _read_mp4(file, path, size):
    """Find the index, ``moov``, among the boxes of the file."""
    cut_short = ""
    for name, begin, end in _boxes(file, 0, size):
        if end > size:
            cut_short = f"it has {size} bytes, its box {name.decode('latin-1')!r} ends at {end}"
        if name == b"moov" and end <= size:
            n_frames = _count_samples(file, begin, end)
            return Container("mp4", n_frames, cut_short or _cut_behind(file, end, size))
    raise InputError(
        f"{path}: this MP4 has no index (box 'moov'), so that its frames cannot be found: the "
        f"recording was not closed, or the copy is not whole ({cut_short or f'{size} bytes'}). "
        "Copy it again; if the original is the same, repair it with a program such as untrunc and "
        "an intact recording of the same camera, and name the repaired file in the table of "
        "streams."
    )


def _cut_behind(file, position, size):
    """Whether a box behind the index goes beyond the file; of fragments, the last is found."""
    for name, _, end in _boxes(file, position, size, limit=64):
        if end > size:
            return f"it has {size} bytes, its box {name.decode('latin-1')!r} ends at {end}"
    return ""


def _boxes(file, position, end, limit=None):
    """Yield name, begin of the content and end of the boxes between two places."""
    n_seen = 0
    while position + 8 <= end and (limit is None or n_seen < limit):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:  # a damaged length led beyond the file
            return
        n_bytes, name = struct.unpack(">I4s", head)
        begin = position + 8
        if n_bytes == 1:
            large = file.read(8)
            if len(large) < 8:
                return
            n_bytes, begin = struct.unpack(">Q", large)[0], position + 16
        elif n_bytes == 0:  # to the end of the file
            n_bytes = end - position
        if n_bytes < begin - position:
            return
        yield name, begin, position + n_bytes
        position += n_bytes
        n_seen += 1


def _find(file, begin, end, name):
    """Content of the first box of a name."""
    for found, start, stop in _boxes(file, begin, end):
        if found == name:
            return start, stop
    return None


def _count_samples(file, begin, end):
    """Frames of the first video track; None in a file of fragments, whose index counts none."""
    if _find(file, begin, end, b"mvex"):
        return None
    for name, *track in _boxes(file, begin, end):
        media = _find(file, *track, b"mdia") if name == b"trak" else None
        handler = media and _find(file, *media, b"hdlr")
        if not handler:
            continue
        file.seek(handler[0] + 8)
        if file.read(4) != b"vide":
            continue
        place = media
        for inner in (b"minf", b"stbl"):
            place = place and _find(file, *place, inner)
        sizes = place and (_find(file, *place, b"stsz") or _find(file, *place, b"stz2"))
        if not sizes:
            return None
        file.seek(sizes[0] + 8)
        count = file.read(4)
        return struct.unpack(">I", count)[0] if len(count) == 4 else None
    return None
