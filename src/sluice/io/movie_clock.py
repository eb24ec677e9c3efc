"""The clock of a movie: a file beside it, or the times that its own files hold."""

from datetime import datetime

import numpy as np

from sluice.errors import InputError
from sluice.io.imaging_json import NAME
from sluice.io.movie_headers import header_of
from sluice.ophys.frame_clock import FrameClock, choose_times, load_clock, n_steps


def find_clock(plane, found, parts, *, first, step, n_frames, phase, name):
    """Find the times of a plane's frames.

    A clock beside the movie is taken before the times that ScanImage writes into each page or
    that an NWB series has, and these before the start of an NWB series, to which the frames'
    number over the rate is added.

    Parameters
    ----------
    plane : sluice.session.Plane
    found : sluice.io.plane_facts.Imaging
    parts : list of sluice.io.movie.Part
        The opened files.
    first, step, n_frames : int
        Images of the plane's frames; see `sluice.io.movie.Movie`.
    phase : float
        See `sluice.ophys.frame_clock.plane_phase`.
    name : str
        For messages.

    Returns
    -------
    sluice.ophys.frame_clock.FrameClock or None

    Raises
    ------
    InputError
        The clock cannot be read, or a file starts before the one before it has ended.
    """
    n_images = sum(part.n_images for part in parts)
    if found.frame_times is not None:
        # a volume on an axis of its own is a single image of the file
        n_together = found.n_planes if found.header.is_volume else 1
        return choose_times(
            load_clock(found.frame_times, found.n_planes, name),
            source=str(found.frame_times),
            name=name,
            order="CZT" if found.header.is_volume else found.header.order,
            plane=plane.plane,
            channel=found.channel,
            n_planes=found.n_planes,
            n_channels=found.n_channels,
            n_frames=n_frames,
            n_images=n_images * n_together,
            phase=phase,
            n_steps=n_steps(found.n_planes, found.paired_planes),
        )
    source = str(found.files[0])
    if found.header.has_times:
        times_s = _times_in_files(plane, found, parts)
        late = phase if found.header.is_volume else 0.0
        return FrameClock(times_s, source, n_images, "images", first, step, late)
    if found.header.start_s is not None:
        times_s = _times_from_starts(plane, found, parts, first, step, n_frames, name)
        return FrameClock(times_s, source, n_frames, phase=phase)
    return None


def _headers(plane, found):
    """Header of each file, the first of which is known."""
    return [
        found.header,
        *(header_of(file, plane.format, found.dataset) for file in found.files[1:]),
    ]


def _seconds_between(first, later):
    """From what the times of the first file count from to that of a later one; 0 if unknown."""
    if not (first.clock_origin and later.clock_origin):
        return 0.0
    origins = [datetime.fromisoformat(header.clock_origin) for header in (first, later)]
    return (origins[1] - origins[0]).total_seconds()


def _times_in_files(plane, found, parts):
    """Times of all images of all files, counted from what those of the first count from."""
    pieces = []
    for header, part in zip(_headers(plane, found), parts, strict=True):
        if plane.format == "tiff":
            from sluice.io.tiff_header import page_times

            times_s = page_times(part)
        else:
            from sluice.io.nwb import read_timestamps

            times_s = read_timestamps(part.path, found.dataset)
        pieces.append(times_s + _seconds_between(found.header, header))
    return np.concatenate(pieces)


def _times_from_starts(plane, found, parts, first, step, n_frames, name):
    """Start of each volume: that of its file, and its number within the file over the rate."""
    images_a_frame = found.n_channels * (1 if found.header.is_volume else found.n_planes)
    rate_hz = found.sampling_rate_hz
    bounds = np.cumsum([0] + [part.n_images for part in parts])
    # of the image that would be the first of all, had it been recorded without a break
    zero_s, end_s = np.zeros(len(parts)), None
    for k, header in enumerate(_headers(plane, found)):
        before_s = bounds[k] / images_a_frame / rate_hz
        if header.start_s is None:
            # a later file that says nothing follows the one before it
            zero_s[k] = zero_s[k - 1]
        else:
            start_s = header.start_s + _seconds_between(found.header, header)
            # half a frame is rounding
            if end_s is not None and start_s < end_s - 0.5 / rate_hz:
                raise InputError(
                    f"{name}: {parts[k].path} starts at {start_s:.6f} s, before the file before it "
                    f"ends ({end_s:.6f} s at {rate_hz:g} frames of one plane a second). Correct "
                    f"the order of the files or the rate, or name a clock under 'frame_times' in "
                    f"{NAME}."
                )
            zero_s[k] = start_s - before_s
        end_s = zero_s[k] + bounds[k + 1] / images_a_frame / rate_hz
    frame = np.arange(n_frames)
    file = np.searchsorted(bounds, first + frame * step, side="right") - 1
    return zero_s[file] + frame / rate_hz
