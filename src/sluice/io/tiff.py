"""TIFF movies: plain, BigTIFF, ImageJ, OME and ScanImage.

The chain of pages is walked here and not by a library, because a file that was cut short
must be told from a short movie. Plain pages are read straight from the file; compressed,
tiled or packed ones are decoded by tifffile.
"""

import json
import os
import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.io.movie import read_each

WIDTH, HEIGHT, BITS, COMPRESSION, DESCRIPTION = 256, 257, 258, 259, 270
STRIP_OFFSETS, SAMPLES, STRIP_BYTES, PREDICTOR, TILE_OFFSETS = 273, 277, 279, 317, 324
SAMPLE_FORMAT = 339
FORMATS = {1: "u", 2: "i", 3: "f"}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8}
CODES = {1: "B", 3: "H", 4: "I", 16: "Q"}
PEEK = 1024


@dataclass(frozen=True)
class _Layout:
    """How directories of pages are written: the byte order and the width of a pointer."""

    byteorder: str
    count: str
    pointer: str
    first: int

    @property
    def count_size(self):
        return struct.calcsize(self.count)

    @property
    def pointer_size(self):
        return struct.calcsize(self.pointer)

    @property
    def entry_size(self):
        return 4 + 2 * self.pointer_size


@dataclass(frozen=True)
class _Page:
    """One page: its image, and where the pixels lie."""

    height: int
    width: int
    dtype: str
    samples: int
    # first byte of the pixels; -1 if they must be decoded
    offset: int
    # end of the last byte that the page says it has
    end: int


def _short(path, detail):
    return InputError(
        f"{path}: the file was cut short ({detail}). Copy it again from the microscope's computer."
    )


def _read_layout(fd, path):
    head = os.pread(fd, 16, 0)
    byteorder = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(byteorder + "H", head[2:4])[0] if byteorder and len(head) >= 4 else 0
    if version not in (42, 43):
        raise InputError(
            f"{path}: is no TIFF file (it starts with {head[:4]!r}). Copy it again, or correct the "
            "format in the table of streams."
        )
    if len(head) < (8 if version == 42 else 16):
        raise _short(path, f"{len(head)} bytes")
    if version == 43:
        first = struct.unpack(byteorder + "Q", head[8:16])[0]
        return _Layout(byteorder, byteorder + "Q", byteorder + "Q", first)
    first = struct.unpack(byteorder + "I", head[4:8])[0]
    return _Layout(byteorder, byteorder + "H", byteorder + "I", first)


def _read_directory(fd, layout, offset, file_size, path, index):
    """Entries of a page's directory as {tag: (type, count, position of the value)}, and the next.

    A page's directory and pixels that end beyond the file mean that it was cut short.
    """
    block = os.pread(fd, PEEK, offset)
    if offset + layout.count_size > file_size or len(block) < layout.count_size:
        raise _short(
            path, f"page {index} should be at byte {offset}, the file has {file_size} bytes"
        )
    (n,) = struct.unpack_from(layout.count, block)
    size = layout.count_size + n * layout.entry_size + layout.pointer_size
    if offset + size > file_size:
        raise _short(
            path,
            f"the directory of page {index} ends at byte {offset + size}, the file has "
            f"{file_size} bytes",
        )
    if size > len(block):
        block = os.pread(fd, size, offset)
    (following,) = struct.unpack_from(layout.pointer, block, size - layout.pointer_size)
    return block, n, following


def _values(fd, layout, block, position):
    """Values of a directory's entry, inline or elsewhere in the file."""
    _, kind = struct.unpack_from(layout.byteorder + "HH", block, position)
    (count,) = struct.unpack_from(layout.pointer, block, position + 4)
    size = SIZES.get(kind, 1) * count
    at = position + 4 + layout.pointer_size
    raw = block[at : at + size]
    if size > layout.pointer_size:
        (pointer,) = struct.unpack_from(layout.pointer, block, at)
        raw = os.pread(fd, size, pointer)
    if kind not in CODES:
        return raw
    n = len(raw) // SIZES[kind]
    return struct.unpack(f"{layout.byteorder}{n}{CODES[kind]}", raw[: n * SIZES[kind]])


def _entries(layout, block, n):
    """Tag, type, count, value or pointer, and position of each entry of a directory."""
    start, size = layout.count_size, layout.entry_size
    code = layout.byteorder + "HH" + 2 * layout.pointer[-1]
    entries = struct.iter_unpack(code, block[start : start + n * size])
    return [(*entry, start + i * size) for i, entry in enumerate(entries)]


def _read_page(fd, layout, block, n, path, index, file_size):
    """Interpret a page's directory."""
    places = {}
    for tag, kind, count, pointer, position in _entries(layout, block, n):
        places[tag] = position
        size = SIZES.get(kind, 1) * count
        if size > layout.pointer_size and pointer + size > file_size:
            raise _short(
                path,
                f"the header of page {index} ends at byte {pointer + size}, the file has "
                f"{file_size} bytes",
            )

    def values(tag, default):
        return _values(fd, layout, block, places[tag]) if tag in places else default

    height, width = values(HEIGHT, (0,))[0], values(WIDTH, (0,))[0]
    bits, samples = values(BITS, (1,))[0], values(SAMPLES, (1,))[0]
    kind = FORMATS.get(values(SAMPLE_FORMAT, (1,))[0])
    if kind is None or not height or not width:
        raise InputError(
            f"{path}: page {index} is no image of real numbers ({height} x {width} pixels, "
            f"{bits} bits). Export the movie as grey values of 8, 16 or 32 bits."
        )
    stored_bits = next((b for b in (8, 16, 32, 64) if bits <= b), 64)
    dtype = np.dtype(f"{layout.byteorder}{kind}{stored_bits // 8}")
    is_plain = (
        values(COMPRESSION, (1,))[0] == 1
        and bits == stored_bits
        and TILE_OFFSETS not in places
        and values(PREDICTOR, (1,))[0] == 1
    )
    starts = values(STRIP_OFFSETS, None) or values(TILE_OFFSETS, (0,))
    sizes = values(STRIP_BYTES, None) or values(325, (0,))
    if len(starts) != len(sizes):
        # some writers leave out the sizes of plain pages
        sizes = (height * width * samples * bits // 8,) + (0,) * (len(starts) - 1)
    follows = all(a + b == c for a, b, c in zip(starts, sizes, starts[1:], strict=False))
    n_bytes = height * width * dtype.itemsize * samples
    offset = starts[0] if is_plain and follows else -1
    end = max(a + b for a, b in zip(starts, sizes, strict=True))
    if offset >= 0:
        end = offset + n_bytes
    return _Page(height, width, dtype.str, samples, offset, end)


def _virtual_images(description):
    """Images that a file holds one after the other behind a single directory.

    ImageJ writes movies beyond 4 GB so, and tifffile's ``truncate``.
    """
    if description.startswith("ImageJ="):
        found = re.search(r"^images=(\d+)", description, re.MULTILINE)
        return int(found[1]) if found else 1
    if description.startswith('{"shape":'):
        try:
            facts = json.loads(description)
        except ValueError:
            return 1
        return prod(facts["shape"][:-2]) if facts.get("truncated") else 1
    return 1


def _stated_images(description, height, width):
    """Images that the first page's description counts, and in how many files they are.

    0 where it counts none. What ScanImage counts is the plan and not the file.
    """
    if description.startswith("ImageJ="):
        return _virtual_images(description), 1
    if description.startswith('{"shape":'):
        try:
            return prod(json.loads(description)["shape"]) // (height * width), 1
        except (ValueError, KeyError, TypeError):
            return 0, 1
    pixels = re.search(r"<(?:\w+:)?Pixels\b([^>]*)>", description)
    if not pixels:
        return 0, 1
    sizes = re.findall(r'\bSize[ZCT]="(\d+)"', pixels[1])
    n_files = len(set(re.findall(r'\bFileName="([^"]*)"', description)))
    return prod(int(size) for size in sizes), max(1, n_files)


class TiffPart:
    """The pages of one TIFF file.

    Attributes
    ----------
    n_images : int
    n_stated : int
        Images that the header counts; 0 where it counts none.
    n_stated_files : int
        Over how many files the header says that these are spread.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        It is no TIFF, was cut short, holds colours, or pages of different size.
    """

    def __init__(self, path):
        self.path = str(path)
        pages, self._directories, description = self._walk()
        first = pages[0]
        self.height, self.width, self.dtype = first.height, first.width, np.dtype(first.dtype)
        self._bytes = self.height * self.width * self.dtype.itemsize
        self._offsets = np.array([page.offset for page in pages], np.int64)
        n_virtual = _virtual_images(description)
        if n_virtual > len(pages) == 1 and first.offset >= 0:
            self._offsets = first.offset + self._bytes * np.arange(n_virtual)
            found = Path(path).stat().st_size
            if self._offsets[-1] + self._bytes > found:
                whole = (found - first.offset) // self._bytes
                raise _short(path, f"its header says {n_virtual} images, {whole} are there")
        self.n_images = len(self._offsets)
        self.n_stated, self.n_stated_files = _stated_images(description, self.height, self.width)

    def _walk(self):
        """All pages of the chain, where they are described, and the first one's description."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            layout, file_size = _read_layout(fd, self.path), os.fstat(fd).st_size
            pages, seen, at, description = [], {}, layout.first, ""
            while at:
                if at in seen:
                    raise InputError(
                        f"{self.path}: page {len(pages)} leads back to an earlier one; the file is "
                        "damaged. Copy it again."
                    )
                seen[at] = None
                index = len(pages)
                block, n, following = _read_directory(fd, layout, at, file_size, self.path, index)
                page = _read_page(fd, layout, block, n, self.path, index, file_size)
                if not pages:
                    description = _description(fd, layout, block, n)
                    first = page
                self._check_page(page, first, index, file_size)
                pages.append(page)
                at = following
        finally:
            os.close(fd)
        if not pages:
            raise InputError(f"{self.path}: holds no page. Copy it again.")
        return pages, list(seen), description

    def _check_page(self, page, first, index, file_size):
        if page.samples != 1:
            raise InputError(
                f"{self.path}: page {index} is a colour picture ({page.samples} values a pixel); "
                "expected grey values. Export one channel, without a colour map drawn in."
            )
        if (page.height, page.width, page.dtype) != (first.height, first.width, first.dtype):
            raise InputError(
                f"{self.path}: page {index} has {page.height} x {page.width} pixels of type "
                f"{np.dtype(page.dtype).name}, expected {first.height} x {first.width} of "
                f"{np.dtype(first.dtype).name} as page 0. Keep each plane or movie in its own file."
            )
        if page.end > file_size:
            raise _short(
                self.path,
                f"page {index} ends at byte {page.end}, the file has {file_size} bytes",
            )

    def descriptions(self):
        """Yield the text of each page's ImageDescription; empty where there is none."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            layout, file_size = _read_layout(fd, self.path), os.fstat(fd).st_size
            for index, at in enumerate(self._directories):
                block, n, _ = _read_directory(fd, layout, at, file_size, self.path, index)
                yield _description(fd, layout, block, n)
        finally:
            os.close(fd)

    def read(self, first, count, step):
        """Read images first, first + step, …; see `sluice.io.movie.Part`."""
        offsets = self._offsets[first : first + (count - 1) * step + 1 : step]
        if (offsets < 0).any():
            return self._decode(range(first, first + count * step, step))
        images = np.empty((count, self.height, self.width), self.dtype)
        with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123
            view = memoryview(images).cast("B")
            if (np.diff(offsets) == self._bytes).all():
                self._fill(file, offsets[0], view)
            else:
                for i, offset in enumerate(offsets):
                    self._fill(file, offset, view[i * self._bytes : (i + 1) * self._bytes])
        return images, {}

    def _fill(self, file, offset, view):
        file.seek(int(offset))
        done = 0
        # one call gives 2 GB at most
        while done < len(view):
            n = file.readinto(view[done:])
            if not n:
                raise _short(self.path, f"it ends at byte {offset + done}")
            done += n

    def _decode(self, indices):
        from tifffile import TiffFile, TiffPage

        with TiffFile(self.path, _multifile=False) as file:

            def decode(index):
                # straight to the page: by its number tifffile would walk through the chain again
                file.filehandle.seek(self._directories[index])
                return TiffPage(file, index).asarray()

            shape = (self.height, self.width)
            # decoders raise what they like; any of it means that this page is damaged
            return read_each(decode, indices, shape, self.dtype, (Exception,))


def _description(fd, layout, block, n):
    """Text of a page's ImageDescription."""
    for tag, *_, position in _entries(layout, block, n):
        if tag == DESCRIPTION:
            raw = _values(fd, layout, block, position)
            return bytes(raw).split(b"\0")[0].decode("utf-8", "replace")
    return ""
