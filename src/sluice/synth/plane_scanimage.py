"""Writes BigTIFF files with the header of ScanImage, the program of many two-photon microscopes.

Made from the format's description: the file begins with the settings that do not vary, as
``SI.name = value`` lines, and the regions as JSON; each image has its number and time in its
description, and points to the settings as its software and to the regions as its artist.
"""

import json
import struct
from pathlib import Path

import numpy as np

_MAGIC, _VERSION = 0x07030301, 4
_HEADER_BYTES = 32
_ASCII, _SHORT, _LONG, _LONG8 = 2, 3, 4, 16
_FORMATS = {"u": 1, "i": 2, "f": 3}
_N_TAGS = 15
_IFD_BYTES = 8 + 20 * _N_TAGS + 8
_DESCRIPTION_BYTES = 512


def settings_text(
    *,
    height,
    width,
    frame_rate_hz,
    n_slices,
    n_flyback,
    n_channels,
    n_volumes,
    um_per_pixel,
    z_step_um,
):
    """Write down a microscope's settings as ScanImage does.

    Parameters
    ----------
    height, width : int
    frame_rate_hz : float
        Images of one channel a second, of all planes together.
    n_slices, n_flyback : int
        Planes of a volume, and images thrown away while the objective goes back.
    n_channels : int
        Channels saved.
    n_volumes : int
    um_per_pixel, z_step_um : float

    Returns
    -------
    str
    """
    per_volume = n_slices + n_flyback
    is_volume = per_volume > 1
    half_x, half_y = um_per_pixel * width / 2, um_per_pixel * height / 2
    zs = np.arange(n_slices) * z_step_um
    facts = {
        "LINE_FORMAT_VERSION": 1,
        "VERSION_MAJOR": 2023,
        "VERSION_MINOR": 1,
        "acqState": "'grab'",
        "hChannels.channelSave": _column(range(1, n_channels + 1)),
        "hChannels.channelsActive": _column(range(1, n_channels + 1)),
        "hFastZ.enable": _truth(is_volume),
        "hFastZ.numDiscardFlybackFrames": n_flyback,
        "hFastZ.numFramesPerVolume": per_volume,
        "hFastZ.numVolumes": n_volumes,
        "hRoiManager.imagingFovUm": f"[{-half_x:g} {-half_y:g};{half_x:g} {-half_y:g};"
        f"{half_x:g} {half_y:g};{-half_x:g} {half_y:g}]",
        "hRoiManager.linesPerFrame": height,
        "hRoiManager.mroiEnable": "false",
        "hRoiManager.pixelsPerLine": width,
        "hRoiManager.scanFramePeriod": f"{1 / frame_rate_hz:.9g}",
        "hRoiManager.scanFrameRate": f"{frame_rate_hz:.9g}",
        "hRoiManager.scanVolumeRate": f"{frame_rate_hz / per_volume:.9g}",
        "hRoiManager.scanZoomFactor": 2,
        "hScan2D.bidirectional": "true",
        "hStackManager.actualNumSlices": n_slices,
        "hStackManager.actualNumVolumes": n_volumes,
        "hStackManager.enable": _truth(is_volume),
        "hStackManager.framesPerSlice": 1 if is_volume else n_volumes,
        "hStackManager.numFramesPerVolume": n_slices,
        "hStackManager.numFramesPerVolumeWithFlyback": per_volume,
        "hStackManager.numSlices": n_slices,
        "hStackManager.numVolumes": n_volumes,
        "hStackManager.stackMode": "'fast'",
        "hStackManager.stackZStepSize": f"{z_step_um:g}",
        "hStackManager.zs": "[" + " ".join(f"{z:g}" for z in zs) + "]",
    }
    return "\n".join(f"SI.{name} = {value}" for name, value in facts.items())


def write_scanimage(path, images, n_images, *, settings, frame_times_s, n_channels, first=0):
    """Write one file.

    Parameters
    ----------
    path : Path
    images : iterable of array, shape (height, width)
        All of one type: int16, uint16 or float32.
    n_images : int
        How many there are.
    settings : str
        See `settings_text`.
    frame_times_s : callable
        From the number of a frame, counted over all files from 0, to its time. The images of
        all channels of a frame have one time.
    n_channels : int
    first : int
        Images in earlier files.
    """
    regions = json.dumps({"RoiGroups": {"imagingRoiGroup": {"rois": {"name": "Default"}}}})
    texts = [settings.encode() + b"\0", regions.encode() + b"\0"]
    start = _HEADER_BYTES + sum(map(len, texts))
    gap = -start % 8
    with Path(path).open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, start + gap))
        file.write(struct.pack("<IIII", _MAGIC, _VERSION, *map(len, texts)))
        file.write(b"".join(texts) + b"\0" * gap)
        at = start + gap
        for k, image in enumerate(images):
            image = np.ascontiguousarray(image)
            size = _IFD_BYTES + _DESCRIPTION_BYTES + image.nbytes
            size += -size % 8
            frame = (first + k) // n_channels
            text = _description(frame, frame_times_s(frame))
            following = at + size if k + 1 < n_images else 0
            page = _directory(image, at, texts, following) + text + image.tobytes()
            file.write(page + b"\0" * (size - len(page)))
            at += size


def _directory(image, at, texts, following):
    """One page's directory; the description and the pixels come right behind it."""
    height, width = image.shape
    description = at + _IFD_BYTES
    tags = [
        (256, _LONG, 1, width),
        (257, _LONG, 1, height),
        (258, _SHORT, 1, 8 * image.itemsize),
        (259, _SHORT, 1, 1),
        (262, _SHORT, 1, 1),
        (270, _ASCII, _DESCRIPTION_BYTES, description),
        (273, _LONG8, 1, description + _DESCRIPTION_BYTES),
        (274, _SHORT, 1, 1),
        (277, _SHORT, 1, 1),
        (278, _LONG, 1, height),
        (279, _LONG8, 1, image.nbytes),
        (284, _SHORT, 1, 1),
        (305, _ASCII, len(texts[0]), _HEADER_BYTES),
        (315, _ASCII, len(texts[1]), _HEADER_BYTES + len(texts[0])),
        (339, _SHORT, 1, _FORMATS[image.dtype.kind]),
    ]
    entries = b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
    return struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", following)


def _description(frame, time_s):
    text = (
        f"frameNumbers = {frame + 1}\n"
        "acquisitionNumbers = 1\n"
        f"frameNumberAcquisition = {frame + 1}\n"
        f"frameTimestamps_sec = {time_s:.9f}\n"
        "acqTriggerTimestamps_sec = 0.000000000\n"
        "nextFileMarkerTimestamps_sec = -1\n"
        "endOfAcquisition = 0\n"
        "endOfAcquisitionMode = 0\n"
        "dcOverVoltage = 0\n"
        "epoch = [2026  1 15 12  0  0.000]\n"
    )
    return text.encode().ljust(_DESCRIPTION_BYTES, b"\0")


def _column(values):
    values = list(values)
    return str(values[0]) if len(values) == 1 else "[" + ";".join(map(str, values)) + "]"


def _truth(value):
    return "true" if value else "false"
