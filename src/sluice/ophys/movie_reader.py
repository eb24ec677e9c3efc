"""A movie that suite2p's functions can slice as an array, read from its file piece by piece."""

import numpy as np

from sluice.ophys.plane import read_frames


class MovieReader:
    """Frames of a movie file by slices of consecutive frames.

    suite2p's functions take ``shape`` and slices of whole frames, which its own `BinaryFile`
    gives from a memory map, so that memory seems to grow with the movie.

    Parameters
    ----------
    path : path
    info : PlaneInfo
    """

    dtype = np.dtype(np.int16)

    def __init__(self, path, info):
        self._path, self._info = path, info

    @property
    def shape(self):
        """(n_frames, height, width)."""
        return self._info.shape

    def __len__(self):
        return self._info.n_frames

    def __getitem__(self, frames):
        start, stop, step = frames.indices(len(self))
        if step != 1:
            raise IndexError("frames are read in order: the step has to be 1")
        return read_frames(self._path, self._info, start, stop)
