"""What a TIFF file says of itself: ScanImage, OME, ImageJ, or nothing but its size."""

import html
import re
from dataclasses import replace

import numpy as np

from sluice.errors import InputError
from sluice.io.movie import Header

MICRON = {"um", "µm", "μm", "micron", "microns", "micrometer", "\\u00b5m"}
LENGTH_UM = {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6} | dict.fromkeys(MICRON, 1.0)
TIME_S = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0}
INFINITE = float("inf")
PAGE_TIME = re.compile(r"^frameTimestamps_sec\s*=\s*\[?\s*([-+.\deE]+)", re.MULTILINE)


def read_header(path):
    """Read what the first page and the header of a TIFF file say; no other page is looked at.

    Parameters
    ----------
    path : path

    Returns
    -------
    Header

    Raises
    ------
    InputError
        It is no TIFF file, or its first page cannot be read.
    """
    import struct

    from tifffile import TiffFile, TiffFileError

    try:
        with TiffFile(path, _multifile=False) as file:
            return _read(file, path)
    except (TiffFileError, struct.error, IndexError) as error:
        raise InputError(
            f"{path}: is no TIFF file that can be read ({error}). Copy it again, or correct the "
            "format in the table of streams."
        ) from None


def _read(file, path):
    page = file.pages.first
    header = Header(page.imagelength, page.imagewidth, str(page.dtype))
    if page.samplesperpixel != 1:
        problem = (
            f"{path}: is a colour picture ({page.samplesperpixel} values a pixel); expected grey "
            "values. Export one channel, without a colour map drawn in."
        )
        return replace(header, problems=(problem,))
    if file.is_scanimage:
        return _scanimage(header, file, path)
    if file.is_ome:
        return _ome(header, file.ome_metadata)
    if file.is_imagej:
        return _imagej(header, file.imagej_metadata, page)
    return header


def _scanimage_facts(file):
    """ScanImage's frame data and regions, from the file's header or from its first page."""
    from tifffile import matlabstr2py

    meta = file.scanimage_metadata or {}
    facts = meta.get("FrameData") or {}
    if not facts:
        # classic TIFF: ScanImage 2016 and later has them in Software, before that in the page
        page = file.pages.first
        text = page.software if page.software.startswith("SI.") else page.description
        facts = matlabstr2py(text)
    # a text of one line is no dict
    facts = facts if isinstance(facts, dict) else {}
    facts = {re.sub(r"^scanimage\.SI\d*\.", "SI.", key): value for key, value in facts.items()}
    regions = meta.get("RoiGroups", {}).get("imagingRoiGroup") or {}
    return facts, regions.get("rois") or []


def _scanimage(header, file, path):
    """Facts of a ScanImage file (BigTIFF and classic, 5.x to 2023)."""
    facts, regions = _scanimage_facts(file)
    problems = ()
    if isinstance(regions, list) and len(regions) > 1:
        problems = (
            f"{path}: holds {len(regions)} regions (mROI) one above the other in each image; "
            "expected one. Split them first, each into a folder of its own.",
        )
    saved = facts.get("SI.hChannels.channelSave", 1)
    n_planes, n_flyback = _scanimage_planes(facts)
    rate = facts.get("SI.hRoiManager.scanVolumeRate" if n_planes > 1 else _FRAME_RATE)
    if n_planes > 1 and not _is_positive(rate) and _is_positive(facts.get(_FRAME_RATE)):
        rate = facts[_FRAME_RATE] / n_planes
    # the rates are those of the scanner: so many of its frames are averaged into one that is saved
    averaged = facts.get("SI.hScan2D.logAverageFactor")
    n_averaged = averaged if _is_positive(averaged) else 1
    description = file.pages.first.description
    start_time = _scanimage_start(description)
    return replace(
        header,
        sampling_rate_hz=float(rate / n_averaged) if _is_positive(rate) else None,
        n_planes=n_planes,
        n_channels=len(saved) if isinstance(saved, list | tuple) else 1,
        flyback_planes=tuple(range(n_planes - n_flyback, n_planes)),
        um_per_pixel=_scanimage_pixel(facts.get("SI.hRoiManager.imagingFovUm"), header),
        has_times=PAGE_TIME.search(description) is not None,
        clock_origin=start_time,
        start_time=start_time,
        problems=problems,
    )


_FRAME_RATE = "SI.hRoiManager.scanFrameRate"


def page_times(part):
    """Read the time of each image of a ScanImage file, which its page's description has.

    Parameters
    ----------
    part : sluice.io.tiff.TiffPart

    Returns
    -------
    float64 array, shape (n_images,)
        Seconds from the start of the acquisition; NaN where a page says none.
    """
    found = [PAGE_TIME.search(text) for text in part.descriptions()]
    times_s = np.full(part.n_images, np.nan)
    times_s[: len(found)] = [_number(match[1]) if match else np.nan for match in found]
    return times_s


def _is_positive(value):
    return isinstance(value, int | float) and 0 < value < INFINITE


def _scanimage_planes(facts):
    """Images of a volume, and how many at its end belong to the flyback of the objective.

    A fast stack steps through its planes once a volume. ``hFastZ.numFramesPerVolume`` counts
    the flyback; where a later version counts it apart, the larger number is taken.
    """
    is_fast = facts.get("SI.hFastZ.enable") or (
        facts.get("SI.hStackManager.enable")
        and facts.get("SI.hStackManager.stackMode", "fast") == "fast"
    )
    if not is_fast:
        return 1, 0
    candidates = (
        facts.get("SI.hFastZ.numFramesPerVolume"),
        facts.get("SI.hStackManager.numFramesPerVolumeWithFlyback"),
        facts.get("SI.hStackManager.numFramesPerVolume"),
        facts.get("SI.hStackManager.actualNumSlices"),
        facts.get("SI.hStackManager.numSlices"),
    )
    n_planes = max((int(n) for n in candidates[:2] if _is_positive(n)), default=0) or next(
        (int(n) for n in candidates[2:] if _is_positive(n)), 1
    )
    flyback = facts.get("SI.hFastZ.numDiscardFlybackFrames")
    n_flyback = int(flyback) if _is_positive(flyback) else 0
    return n_planes, min(n_flyback, n_planes - 1)


def _scanimage_pixel(corners, header):
    """Size of a pixel from the corners of the field of view (µm, x and y)."""
    try:
        xs, ys = zip(*[(float(x), float(y)) for x, y in corners], strict=True)
    except (TypeError, ValueError):
        return None
    size = (max(ys) - min(ys)) / header.height, (max(xs) - min(xs)) / header.width
    return size if min(size) > 0 else None


def _scanimage_start(description):
    """Start of the acquisition as ISO 8601 in this machine's time zone; empty if unknown."""
    from datetime import datetime, timedelta

    found = re.search(r"^epoch\s*=\s*\[([^\]]*)\]", description, re.MULTILINE)
    try:
        *day, seconds = (float(part) for part in re.split(r"[\s,]+", found[1].strip()))
        moment = datetime(*(int(part) for part in day)) + timedelta(seconds=seconds)
    except (TypeError, ValueError, OverflowError):
        return ""
    return moment.astimezone().isoformat()


def _ome(header, xml):
    """Facts of the first image of an OME-TIFF."""
    found = re.search(r"<(?:\w+:)?Pixels\b([^>]*)>", xml)
    if not found:
        return header
    facts = {key: html.unescape(text) for key, text in re.findall(r'(\w+)="([^"]*)"', found[1])}
    size = {axis: int(facts.get(f"Size{axis}", 1)) for axis in "ZCT"}
    pixel = tuple(
        _number(facts.get(f"PhysicalSize{axis}"))
        * LENGTH_UM.get(facts.get(f"PhysicalSize{axis}Unit", "µm").lower(), 0)
        for axis in "YX"
    )
    step = _number(facts.get("TimeIncrement")) * TIME_S.get(facts.get("TimeIncrementUnit", "s"), 0)
    # a movie that its writer called a stack says nothing about planes
    is_stack = size["T"] == 1 and size["Z"] > 1
    return replace(
        header,
        sampling_rate_hz=1 / step if step > 0 else None,
        n_planes=None if is_stack else size["Z"],
        n_channels=None if is_stack and size["C"] == 1 else size["C"],
        um_per_pixel=pixel if min(pixel) > 0 else None,
        order="CZT" if is_stack else facts.get("DimensionOrder", "XYCZT")[2:],
    )


def _imagej(header, facts, page):
    """Facts of an ImageJ stack."""
    facts = facts or {}
    frames, slices = int(facts.get("frames", 1)), int(facts.get("slices", 1))
    step = _number(facts.get("finterval")) * TIME_S.get(str(facts.get("tunit", "s")), 0)
    # set by whoever looked at the movie, and no rate of recording
    playback_hz = _number(facts.get("fps"))
    pixel = None
    if str(facts.get("unit", "")).lower() in MICRON:
        # pixels a unit, as a fraction
        (nx, dx), (ny, dy) = page.tags.valueof(282, (0, 1)), page.tags.valueof(283, (0, 1))
        pixel = (dy / ny, dx / nx) if nx and ny else None
    return replace(
        header,
        sampling_rate_hz=1 / step if step > 0 else None,
        playback_hz=playback_hz if playback_hz > 0 else None,
        # "slices" is also what ImageJ calls the frames of a movie that it was not told of
        n_planes=slices if frames > 1 else None,
        n_channels=int(facts["channels"]) if "channels" in facts else None,
        um_per_pixel=pixel,
    )


def _number(text):
    """A number, or 0 where there is none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return 0.0
