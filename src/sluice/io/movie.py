"""A movie of one imaging plane, read lazily from one or several files of any format."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sluice.errors import InputError


@dataclass(frozen=True)
class Header:
    """What a file says of itself; None or empty where it does not.

    Attributes
    ----------
    height, width : int
        Rows (y) and columns (x) of an image.
    dtype : str
        Type of the pixels, e.g. ``uint16``.
    sampling_rate_hz : float
        Frames of one plane a second.
    raw_rate_hz : float
        Images of the file a second, where that is what the file says: divided by the planes
        and channels that are interleaved.
    playback_hz : float
        Images a second at which a program shows the file, which is no rate of recording.
    n_planes, n_channels : int
        Interleaved planes (flyback counted) and channels.
    flyback_planes : tuple of int
    um_per_pixel : tuple of float
        Along y and x.
    indicator : str
    order : str
        Axes that are interleaved, the fastest first: ``CZT``, ``ZCT``, … of planes (Z),
        channels (C) and time (T).
    is_volume : bool
        The planes are an axis of the data set and not interleaved with the images.
    has_times : bool
        The file holds the time of each image.
    start_s : float
        Time of the first image, where the file holds that and the rate alone.
    clock_origin : str
        What the file's times count from (ISO 8601), where it says so.
    start_time : str
        Start of the recording (ISO 8601), where the file says it with its time zone.
    problems : tuple of str
        What keeps the file from being read as a movie.
    """

    height: int
    width: int
    dtype: str
    sampling_rate_hz: float | None = None
    raw_rate_hz: float | None = None
    playback_hz: float | None = None
    n_planes: int | None = None
    n_channels: int | None = None
    flyback_planes: tuple[int, ...] = ()
    um_per_pixel: tuple[float, float] | None = None
    indicator: str = ""
    order: str = "CZT"
    is_volume: bool = False
    has_times: bool = False
    start_s: float | None = None
    clock_origin: str = ""
    start_time: str = ""
    problems: tuple[str, ...] = ()


class Part(Protocol):
    """The images of one file, in the order of the file."""

    path: str
    n_images: int
    height: int
    width: int
    dtype: np.dtype

    def read(self, first, count, step):
        """Images first, first + step, … and a dict of those that cannot be read."""


@dataclass
class Movie:
    """Frames of one plane and channel, over all files of the recording.

    Attributes
    ----------
    name : str
        How messages call the plane.
    parts : list of Part
        The files, in order.
    first, step : int
        Image of frame 0, counted over all files, and images from one frame to the next.
    n_frames, height, width : int
    dtype : numpy dtype
    sampling_rate_hz : float
    um_per_pixel : float or None
        Mean of both axes.
    indicator : str
    decay_s : float
    phase : float
        How far behind the start of its volume the plane is recorded, as a fraction of a frame.
    clock : sluice.ophys.frame_clock.FrameClock or None
    differences : list of sluice.io.plane_facts.Difference
        Where a person said something else than the file's header.
    unreadable : dict of int to str
        Frames that could not be decoded, with the reason; filled as frames are read. Such a
        frame is zeros.
    """

    name: str
    parts: list
    first: int
    step: int
    n_frames: int
    sampling_rate_hz: float
    um_per_pixel: float | None
    indicator: str
    decay_s: float
    phase: float = 0.0
    clock: object = None
    differences: list = field(default_factory=list)
    unreadable: dict = field(default_factory=dict)

    @property
    def height(self):
        """Rows of a frame."""
        return self.parts[0].height

    @property
    def width(self):
        """Columns of a frame."""
        return self.parts[0].width

    @property
    def dtype(self):
        """Type of the pixels, in this machine's byte order."""
        return np.dtype(self.parts[0].dtype).newbyteorder("=")

    @property
    def files(self):
        """(path, frames of this plane) of every file, in order."""
        starts = self._starts()
        return [
            (part.path, self._frame_at(stop) - self._frame_at(start))
            for part, start, stop in zip(self.parts, starts[:-1], starts[1:], strict=True)
        ]

    def _starts(self):
        """First image of each file, counted over all, and the end."""
        return np.cumsum([0] + [part.n_images for part in self.parts]).tolist()

    def _frame_at(self, image):
        """First frame that lies at or behind an image."""
        return min(max(0, -(-(image - self.first) // self.step)), self.n_frames)

    def frames(self, start, stop):
        """Read frames of this plane and channel.

        Parameters
        ----------
        start, stop : int

        Returns
        -------
        ndarray of `dtype`, shape (stop - start, height, width)
            As recorded; zeros where a frame cannot be decoded, see `unreadable`.
        """
        stop = min(stop, self.n_frames)
        out = np.empty((max(0, stop - start), self.height, self.width), self.dtype)
        starts = self._starts()
        for part, part_start, part_stop in zip(self.parts, starts[:-1], starts[1:], strict=True):
            a = max(start, self._frame_at(part_start))
            b = min(stop, self._frame_at(part_stop))
            if a < b:
                image = self.first + a * self.step - part_start
                out[a - start : b - start], bad = part.read(image, b - a, self.step)
                for i, reason in bad.items():
                    self.unreadable[a + i] = f"{part.path}: {reason}"
        return out


def interleaving(order, plane, channel, n_planes, n_channels, n_images):
    """Where the frames of a plane and channel lie among the images of a recording.

    Parameters
    ----------
    order : str
        Axes, the fastest first; see `Header.order`.
    plane, channel, n_planes, n_channels, n_images : int

    Returns
    -------
    first, step : int
        Frame t is image ``first + t * step``.
    """
    index = {"Z": plane, "C": channel, "T": 0}
    size = {"Z": n_planes, "C": n_channels, "T": n_images // (n_planes * n_channels)}
    first, stride, step = 0, 1, 1
    for axis in order:
        first += index[axis] * stride
        if axis == "T":
            step = stride
        stride *= size[axis]
    return first, step


def require_equal_parts(parts, name):
    """Make sure that the files of one movie have the same size and type.

    Raises
    ------
    InputError
        Names the first file that differs, and both sizes.
    """
    first = parts[0]
    for part in parts[1:]:
        if (part.height, part.width) != (first.height, first.width):
            raise InputError(
                f"{name}: {part.path} has images of {part.height} x {part.width} pixels, expected "
                f"{first.height} x {first.width} as in {first.path}. Files of one movie have one "
                "size; keep each recording in a folder of its own, or name its files under "
                "'files' in imaging.json."
            )
        if np.dtype(part.dtype).newbyteorder("=") != np.dtype(first.dtype).newbyteorder("="):
            raise InputError(
                f"{name}: {part.path} has pixels of type {np.dtype(part.dtype).name}, expected "
                f"{np.dtype(first.dtype).name} as in {first.path}. Export all files of the movie "
                "in the same way."
            )


def read_each(read_one, indices, shape, dtype, errors):
    """Read images one by one, so that a damaged one does not take the others with it.

    Parameters
    ----------
    read_one : callable
        From the index of an image to its pixels.
    indices : sequence of int
    shape : tuple of int
    dtype : dtype
    errors : tuple of exception types
        What reading of a damaged image raises.

    Returns
    -------
    images : ndarray, shape (len(indices), *shape)
    bad : dict of int to str
        Position in `indices` of each damaged image, and why.
    """
    images, bad = np.zeros((len(indices), *shape), dtype), {}
    for i, index in enumerate(indices):
        try:
            images[i] = read_one(index)
        except errors as error:
            bad[i] = f"image {index}: {type(error).__name__}: {error}"
    return images, bad
