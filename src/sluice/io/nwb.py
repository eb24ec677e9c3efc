"""NWB movies: a TwoPhotonSeries with its imaging plane.

Read through h5py, as planning looks at every file and pynwb takes a second to import. A
test writes its files with pynwb.
"""

from dataclasses import replace
from datetime import datetime

import numpy as np

from sluice.errors import InputError
from sluice.io import h5

# Timestamps that the rate is measured on.
N_TIMES = 1001
UNIT_UM = {
    "meters": 1e6,
    "meter": 1e6,
    "m": 1e6,
    "millimeters": 1e3,
    "mm": 1e3,
    "micrometers": 1.0,
    "microns": 1.0,
    "um": 1.0,
    "µm": 1.0,
}


def read_header(path, series):
    """Read shape, rate, pixel size and indicator of a series.

    Parameters
    ----------
    path : path
    series : str
        Name of the TwoPhotonSeries, or its path in the file; may be empty if there is one.

    Returns
    -------
    Header
        With a rate measured on the first thousand timestamps, where the series has them.

    Raises
    ------
    InputError
        The file cannot be read, or the series is not there or holds no images.
    """
    with h5.open_file(path) as file:
        group = _find_series(file, path, series)
        data = _data(group, path)
        header = h5.shape_header(data, is_transposed=True)
        plane = group.get("imaging_plane")
        has_times = "timestamps" in group
        start_time = _start_time(_text(file.get("session_start_time")))
        origin = _start_time(_text(file.get("timestamps_reference_time")))
        header = replace(
            header,
            raw_rate_hz=_rate(group, plane),
            has_times=has_times,
            start_s=None if has_times else _starting_time(group),
            clock_origin=origin or start_time,
            start_time=start_time,
        )
        if plane is None:
            return header
        return replace(
            header,
            um_per_pixel=_pixel_size(plane),
            indicator=_text(plane.get("indicator")),
        )


def read_timestamps(path, series):
    """Read the time of each image of a series.

    Parameters
    ----------
    path : path
    series : str

    Returns
    -------
    float64 array, shape (n_times,)
        Seconds from the file's reference time, not checked.

    Raises
    ------
    InputError
        The series has none, as the first file of the movie has.
    """
    with h5.open_file(path) as file:
        group = _find_series(file, path, series)
        if "timestamps" not in group:
            raise InputError(
                f"{path}: series {group.name.rsplit('/', 1)[-1]} has no timestamps, which the "
                "first file of the movie has. Name a clock under 'frame_times' in imaging.json."
            )
        return group["timestamps"][()].astype(np.float64)


def open_part(path, series, *, plane=0):
    """Open the images of a series.

    NWB orders the axes of an image series as time, x, y (and z): the images are turned, so
    that they have rows along y as everywhere else. Files whose writer ignored this come out
    mirrored along the diagonal.

    Parameters
    ----------
    path : path
    series : str
    plane : int
        Which of the last axis, where the data have four.

    Returns
    -------
    sluice.io.h5.H5Part
    """
    with h5.open_file(path) as file:
        name = _data(_find_series(file, path, series), path).name
    return h5.H5Part(path, name, plane=plane, is_transposed=True)


def find_series(path):
    """Names of the series of two-photon images in a file.

    Parameters
    ----------
    path : path

    Returns
    -------
    list of str
        In the order of their names.
    """
    with h5.open_file(path) as file:
        return list(_all_series(file))


def _all_series(file):
    import h5py

    found = {}

    def visit(key, item):
        if isinstance(item, h5py.Group) and _text(item.attrs.get("neurodata_type")) in (
            "TwoPhotonSeries",
            "OnePhotonSeries",
        ):
            name = key.rsplit("/", 1)[-1]
            found[key if name in found else name] = item

    for top, group in file.items():
        # the schema that pynwb puts into each file has a thousand items
        if top != "specifications" and isinstance(group, h5py.Group):
            group.visititems(lambda key, item, top=top: visit(f"{top}/{key}", item))
    return found


def _find_series(file, path, name):
    found = _all_series(file)
    listed = ", ".join(found) or "none"
    if name:
        if name in found:
            return found[name]
        for group in found.values():
            if group.name.strip("/") == name.strip("/"):
                return group
        raise InputError(
            f"{path}: has no series {name!r}; those there are: {listed}. Correct 'dataset' in "
            "imaging.json or in the table of streams."
        )
    if len(found) != 1:
        raise InputError(
            f"{path}: {len(found)} series of two-photon images ({listed}); expected one. Name it "
            "under 'dataset' in imaging.json or in the table of streams."
        )
    return next(iter(found.values()))


def _data(group, path):
    data = group.get("data")
    if "external_file" in group or data is None or data.ndim not in (3, 4):
        raise InputError(
            f"{path}: series {group.name.rsplit('/', 1)[-1]} holds no images of its own (shape "
            f"{None if data is None else data.shape}; they may be in other files). Point the row "
            "of streams.tsv to those files."
        )
    return data


def _rate(group, plane):
    """Images of the series a second: of its clock, its start, or its imaging plane."""
    if "timestamps" in group and len(group["timestamps"]) > 1:
        period = np.median(np.diff(group["timestamps"][:N_TIMES].astype(np.float64)))
        return float(1 / period) if period > 0 else None
    rate = group["starting_time"].attrs.get("rate") if "starting_time" in group else None
    if rate is None and plane is not None and "imaging_rate" in plane:
        rate = plane["imaging_rate"][()]
    return float(rate) if rate is not None and rate > 0 else None


def _starting_time(group):
    """Time of the first image (s); None where the series does not say it."""
    value = float(group["starting_time"][()]) if "starting_time" in group else np.nan
    return value if np.isfinite(value) else None


def _start_time(text):
    """Start with its time zone, this machine's if it names none; empty if it is no time."""
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return (start if start.tzinfo else start.astimezone()).isoformat()


def _pixel_size(plane):
    """Size of a pixel along y and x (µm); `grid_spacing` is in the order x, y."""
    spacing = plane.get("grid_spacing")
    if spacing is None:
        return None
    scale = UNIT_UM.get(_text(spacing.attrs.get("unit", "meters")))
    values = np.ravel(spacing[()])
    if scale is None or len(values) < 2:
        return None
    return float(values[1] * scale), float(values[0] * scale)


def _text(value):
    """Text of a dataset or an attribute; empty if there is none."""
    if value is None:
        return ""
    value = value[()] if hasattr(value, "shape") and not isinstance(value, str) else value
    return value.decode() if isinstance(value, bytes) else str(value)
