"""HDF5 movies: a dataset of (time, y, x), or (time, y, x, plane)."""

from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.io.movie import Header, read_each


def open_file(path):
    """Open an HDF5 file for reading.

    Raises
    ------
    InputError
        It is no HDF5 file, or was cut short.
    """
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        if not Path(path).is_file():
            raise
        detail = str(error)
        if "truncated" in detail:
            raise InputError(f"{path}: the file was cut short ({detail}). Copy it again.") from None
        raise InputError(
            f"{path}: is no HDF5 file that can be read ({detail}). Copy it again, or correct the "
            "format in the table of streams."
        ) from None


def find_dataset(file, path, name):
    """Find the dataset that holds the movie.

    Parameters
    ----------
    file : h5py.File
    path : path
        For messages.
    name : str
        Dataset; if empty, the file must hold one alone that can be a movie.

    Returns
    -------
    h5py.Dataset

    Raises
    ------
    InputError
        There is no such dataset, several could be meant, or it is not a movie's shape.
    """
    import h5py

    found = {}

    def visit(key, item):
        if isinstance(item, h5py.Dataset) and item.ndim in (3, 4) and item.dtype.kind in "iuf":
            found[key] = item

    file.visititems(visit)
    listed = ", ".join(f"{key} {item.shape}" for key, item in found.items()) or "none"
    if name:
        dataset = file.get(name)
        if isinstance(dataset, h5py.Dataset) and dataset.name.strip("/") in found:
            return dataset
        raise InputError(
            f"{path}: dataset {name!r} is not a movie in this file; those with 3 or 4 axes are: "
            f"{listed}. Correct 'dataset' in imaging.json or in the table of streams."
        )
    if len(found) != 1:
        raise InputError(
            f"{path}: {len(found)} datasets could be the movie ({listed}); expected one with 3 "
            "axes (time, y, x) or 4 (time, y, x, plane). Name it under 'dataset' in imaging.json "
            "or in the table of streams."
        )
    return next(iter(found.values()))


def read_header(path, dataset):
    """Read the shape of the movie in an HDF5 file; a plain one says nothing else.

    Parameters
    ----------
    path : path
    dataset : str
        May be empty.

    Returns
    -------
    Header

    Raises
    ------
    InputError
        See `open_file` and `find_dataset`.
    """
    with open_file(path) as file:
        return shape_header(find_dataset(file, path, dataset))


def shape_header(data, *, is_transposed=False):
    """Header of a dataset from its shape and type alone."""
    y, x = (2, 1) if is_transposed else (1, 2)
    is_volume = data.ndim == 4
    return Header(
        data.shape[y],
        data.shape[x],
        data.dtype.newbyteorder("=").name,
        n_planes=data.shape[3] if is_volume else None,
        is_volume=is_volume,
    )


class H5Part:
    """The images of one dataset.

    Parameters
    ----------
    path : path
    dataset : str
        Path of the dataset within the file; may be empty if there is one alone.
    plane : int
        Which of the last axis, where the dataset has four.
    is_transposed : bool
        The axes are (time, x, y), as NWB has them.
    """

    def __init__(self, path, dataset, *, plane=0, is_transposed=False):
        self.path = str(path)
        self._plane, self._is_transposed = plane, is_transposed
        with open_file(path) as file:
            data = find_dataset(file, path, dataset)
            self._dataset = data.name
            header = shape_header(data, is_transposed=is_transposed)
            self.n_images, self.dtype = data.shape[0], data.dtype
        self.height, self.width = header.height, header.width

    def read(self, first, count, step):
        """Read images first, first + step, …; see `sluice.io.movie.Part`."""
        stop = first + (count - 1) * step + 1
        with open_file(self.path) as file:
            data = file[self._dataset]
            try:
                return self._cut(data, slice(first, stop, step)), {}
            except OSError:  # a damaged chunk: find out which images it has
                return read_each(
                    lambda i: self._cut(data, slice(i, i + 1))[0],
                    range(first, stop, step),
                    (self.height, self.width),
                    self.dtype,
                    (OSError,),
                )

    def _cut(self, data, images):
        cut = data[images] if data.ndim == 3 else data[images, :, :, self._plane]
        return np.ascontiguousarray(cut.swapaxes(1, 2)) if self._is_transposed else cut
