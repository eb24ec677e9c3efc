"""Opening the movie of one imaging plane, whatever its format."""

import numpy as np

from sluice.errors import InputError
from sluice.io.check_plane import inspect
from sluice.io.imaging_json import NAME
from sluice.io.movie import Movie, interleaving, require_equal_parts
from sluice.io.movie_clock import find_clock
from sluice.io.plane_facts import Difference
from sluice.ophys.frame_clock import plane_phase


def open_movie(plane, *, name="", drop_incomplete_volume=False, with_clock=True):
    """Open the movie of one plane and channel, without reading its frames.

    Parameters
    ----------
    plane : sluice.session.Plane
    name : str
        How messages call it; session and plane by default.
    drop_incomplete_volume : bool
        Leave out the images behind the last whole volume instead of refusing them.
    with_clock : bool
        Read the times of its frames, which ScanImage writes into each page; they are read all
        the same where nothing else says the rate.

    Returns
    -------
    Movie

    Raises
    ------
    InputError
        The files cannot be read or do not fit together; see `check_plane`. Besides: a file
        was cut short, the files differ in size, or the images are no whole number of volumes.
    """
    name = name or f"{plane.session} {plane.name}"
    found = inspect(plane)
    if found.problems:
        raise InputError(f"{name}: " + " ".join(found.problems))
    parts = [_open_part(file, plane, found, name) for file in found.files]
    require_equal_parts(parts, name)
    n_planes = 1 if found.header.is_volume else found.n_planes
    index = 0 if found.header.is_volume else plane.plane
    n_images = sum(part.n_images for part in parts)
    n_frames = _whole_volumes(found, n_planes, n_images, name, drop_incomplete_volume)
    order = found.header.order
    if order[-1] != "T" and len(parts) > 1:
        raise InputError(
            f"{name}: the images are in the order {order} over {len(parts)} files; expected time "
            "last where there are several. Export the movie again, time last or as one file."
        )
    n_whole = n_frames * n_planes * found.n_channels
    first, step = interleaving(order, index, found.channel, n_planes, found.n_channels, n_whole)
    phase = plane_phase(plane.plane, found.n_planes, found.paired_planes)
    clock = None
    if with_clock or found.sampling_rate_hz is None:
        clock = find_clock(
            plane,
            found,
            parts,
            first=first,
            step=step,
            n_frames=n_frames,
            phase=phase,
            name=name,
        )
    return Movie(
        name=name,
        parts=parts,
        first=first,
        step=step,
        n_frames=n_frames,
        sampling_rate_hz=found.sampling_rate_hz or _clock_rate(clock, name),
        um_per_pixel=None if found.um_per_pixel is None else float(np.mean(found.um_per_pixel)),
        indicator=found.indicator,
        decay_s=float(found.decay_s),
        phase=phase,
        clock=clock,
        differences=[*found.differences, *_missing_images(parts)],
    )


def _missing_images(parts):
    """Where files have fewer images than their headers count, though none was cut short.

    That is no error: a header is written before the recording is stopped early.
    """
    n_all = sum(part.n_images for part in parts)
    short = []
    for part in parts:
        n_stated = getattr(part, "n_stated", 0)
        n_images = n_all if n_stated and part.n_stated_files > 1 else part.n_images
        if n_images < n_stated:
            short.append((n_images, n_stated, part.path))
    if not short:
        return []
    # the first; the others are of the same recording
    n_images, n_stated, path = short[0]
    return [
        Difference("the number of images", "the files' pages", n_images, n_stated, path),
    ]


def _clock_rate(clock, name):
    """Rate by the frame clock, where nothing else says it."""
    times_s = clock.selected_s
    if len(times_s) < 2 or not np.median(np.diff(times_s)) > 0:
        raise InputError(
            f"{name}: {clock.source} has {len(times_s)} times, which give no rate, and nothing "
            f"else says it. Give 'frame_rate_hz' in {NAME}."
        )
    return float(1 / np.median(np.diff(times_s)))


def _whole_volumes(found, n_planes, n_images, name, drop_incomplete_volume):
    """Frames of each plane; images that are left over are an error unless told otherwise."""
    n_frames, n_left = divmod(n_images, n_planes * found.n_channels)
    if n_left and not (drop_incomplete_volume and n_frames):
        raise InputError(
            f"{name}: {n_images} images in {len(found.files)} file(s) are no whole number of "
            f"volumes of {n_planes} planes x {found.n_channels} channels ({n_left} are left over): "
            "a plane or a file is missing, or the recording stopped within a volume. Correct "
            "n_planes and n_channels; or, if it stopped, set "
            "ophys.import_plane.drop_incomplete_volume."
        )
    return n_frames


def _open_part(file, plane, found, name):
    try:
        if plane.format == "tiff":
            from sluice.io.tiff import TiffPart

            return TiffPart(file)
        index = plane.plane if found.header.is_volume else 0
        if plane.format == "h5":
            from sluice.io.h5 import H5Part

            return H5Part(file, found.dataset, plane=index)
        from sluice.io.nwb import open_part

        return open_part(file, found.dataset, plane=index)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
