"""ALF collections as IBL's ONE reads them: names, references between objects, validation."""

import hashlib
import itertools
import uuid
from pathlib import Path

import numpy as np
from one.alf.io import check_dimensions, load_object
from one.alf.path import filename_parts, rel_path_parts

# Version 3, which ONE takes for an identifier; it does not take version 5.
CLUSTER_NAMESPACE = uuid.uuid3(uuid.NAMESPACE_URL, "sluice/clusters")


def nearest_channels(channels, peak_channels, *, n_near):
    """Choose the channels that the waveforms of each unit are stored of.

    As phylib's EphysAlfCreator: the channels nearest to the peak channel, those of its own
    shank first. A shank with fewer than `n_near` is filled up with channels of the other
    shanks, nearest first, so that every index is a channel.

    Parameters
    ----------
    channels : DataFrame
        Table of channels, see `sluice.ephys.traces.CHANNEL_COLUMNS`.
    peak_channels : int (n_units,)
    n_near : int

    Returns
    -------
    near_channels : int32 (n_units, min(n_near, n_channels))
        By distance from the peak channel, equal distances by index.
    """
    position = channels[["x_um", "y_um"]].to_numpy(np.float64)
    shank = channels["shank"].to_numpy()
    near = np.empty((len(peak_channels), min(n_near, len(channels))), np.int32)
    for row, peak in enumerate(peak_channels):
        distance = np.hypot(*(position - position[peak]).T)
        near[row] = np.lexsort((distance, shank != shank[peak]))[: near.shape[1]]
    return near


def take_channels(waveforms, channels):
    """Pick some channels of each unit's waveform.

    Parameters
    ----------
    waveforms : (n_units, n_samples, n_channels)
    channels : int (n_units, n_near)

    Returns
    -------
    (n_units, n_samples, n_near)
    """
    return np.take_along_axis(waveforms, channels[:, None, :], axis=2)


def cluster_uuids(name, units, samples, unit_rows):
    """Name each cluster by a UUID that says what it is, not when it was made.

    Made of where the cluster comes from and of its spikes: the same sorting gives the same
    identifiers, and a new sorting, whose unit 5 is another neuron, gives new ones.

    Parameters
    ----------
    name : str
        Of the sorting: ``session/probe/sorter``.
    units : int (n_units,)
        Numbers of the units.
    samples : int64 (n_spikes,)
        Samples of all spikes, ascending.
    unit_rows : int (n_spikes,)
        Row of `units` of each spike.

    Returns
    -------
    list of str
        UUIDs of version 3, one a unit.
    """
    order = np.argsort(unit_rows, kind="stable")
    bounds = np.searchsorted(unit_rows[order], np.arange(len(units) + 1))
    samples = samples[order].astype("<i8")
    digests = (
        hashlib.sha256(samples[start:stop].tobytes()).hexdigest()
        for start, stop in itertools.pairwise(bounds)
    )
    return [
        str(uuid.uuid3(CLUSTER_NAMESPACE, f"{name}/{unit}/{digest}"))
        for unit, digest in zip(units, digests, strict=True)
    ]


def validate_collection(folder, collection):
    """Check that a folder is what ONE expects of an ALF collection.

    Every file name and its path within the session are valid ALF; the files of an object have
    the same number of rows, in ONE's view and strictly; an attribute that is named like another
    object, and ``waveformsChannels``, hold rows of that object (ALF's relational model); times
    and samples are finite, not negative and ascending.

    Parameters
    ----------
    folder : path
    collection : str
        Where the folder will stand in the session, e.g. ``alf/probe00/kilosort4``.

    Raises
    ------
    one.alf.exceptions.ALFInvalid
        A path is not ALF.
    ValueError
        What else is wrong, with the name of the file.
    """
    names = sorted(path.name for path in Path(folder).iterdir())
    for name in names:
        rel_path_parts(f"{collection}/{name}", assert_valid=True)
    found = sorted({filename_parts(name)[1] for name in names})
    objects = {name: load_object(folder, name) for name in found}
    n_rows = {}
    for name, attributes in objects.items():
        rows = {np.shape(value)[0] for value in attributes.values()}
        if check_dimensions(attributes) != 0 or len(rows) != 1:
            shapes = ", ".join(f"{key} {np.shape(value)}" for key, value in attributes.items())
            raise ValueError(f"{folder}: the files of {name} differ in rows: {shapes}")
        n_rows[name] = rows.pop()
    for name, attributes in objects.items():
        for key, value in attributes.items():
            referred = "channels" if key == "waveformsChannels" else key
            if referred in n_rows and not _within(value, n_rows[referred]):
                raise ValueError(
                    f"{folder}: {name}.{key} points outside the {n_rows[referred]} rows of "
                    f"{referred}"
                )
            if key in ("times", "samples") and not _valid_times(value):
                raise ValueError(f"{folder}: {name}.{key} must be finite, ≥ 0 and ascending")


def _within(rows, n):
    return rows.size == 0 or (rows.min() >= 0 and rows.max() < n)


def _valid_times(times):
    return np.isfinite(times).all() and (times >= 0).all() and (np.diff(times) >= 0).all()
