"""What the ophys steps hand to each other about one imaging plane: its facts and its frames."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class PlaneInfo:
    """Facts of one imaging plane, written by `import_plane` and read by every later step.

    Attributes
    ----------
    name : str
        Session and plane, for messages, e.g. ``M001/2026-11-20/001 FOV_00``.
    n_frames, height, width : int
        Shape of the movie: frames, rows (y, downwards), columns (x).
    sampling_rate_hz : float
        Frames of this plane a second.
    um_per_pixel : float or None
        Size of a pixel, the mean of both axes; None where nothing says it.
    indicator : str
        E.g. ``GCaMP6f``.
    decay_s : float
        Time constant of the indicator's decay.
    scale, offset : float
        Intensity as recorded, minus what is recorded in darkness where the settings say
        it, = stored int16 value * scale + offset.
    source_dtype : str
        Type of the pixels in the raw files.
    """

    name: str
    n_frames: int
    height: int
    width: int
    sampling_rate_hz: float
    um_per_pixel: float | None
    indicator: str
    decay_s: float
    scale: float
    offset: float
    source_dtype: str

    @property
    def shape(self):
        """(n_frames, height, width)."""
        return self.n_frames, self.height, self.width


def save_plane(info, path):
    """Write the facts of a plane as JSON."""
    Path(path).write_text(json.dumps(asdict(info), indent=1) + "\n")


def load_plane(path):
    """Read the facts of a plane written by `save_plane`."""
    return PlaneInfo(**json.loads(Path(path).read_text()))


def read_frames(path, info, start, stop):
    """Read frames through a plain file, so that memory does not grow with the movie.

    A memory map counts every page it has touched; a file read into a new array does not.

    Parameters
    ----------
    path : path
    info : PlaneInfo
    start, stop : int

    Returns
    -------
    int16 array, shape (stop - start, height, width)
        Stored values.
    """
    stop = min(stop, info.n_frames)
    n_pixels = info.height * info.width
    frames = np.fromfile(path, np.int16, (stop - start) * n_pixels, offset=start * n_pixels * 2)
    return frames.reshape(-1, info.height, info.width)


def frame_chunks(info, *, chunk_bytes=64_000_000):
    """Split a movie into chunks of bounded size.

    Parameters
    ----------
    info : PlaneInfo
    chunk_bytes : int
        Size of a chunk as float32, at most, unless one frame is larger.

    Yields
    ------
    start, stop : int
    """
    n = max(1, chunk_bytes // (4 * info.height * info.width))
    for start in range(0, info.n_frames, n):
        yield start, min(start + n, info.n_frames)
