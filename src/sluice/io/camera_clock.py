"""What a camera wrote about its own frames, brought to the frames of its video."""

from dataclasses import dataclass, field

import numpy as np

from sluice.errors import InputError
from sluice.io.embedded import read_counter, read_frame_data, read_pins, read_timestamps


@dataclass(frozen=True)
class CameraRecord:
    """The camera's own clock, counter and pins; None what there is not.

    Attributes
    ----------
    camera_s : float64 array, shape (n_frames,), or None
        Time of each frame (s) on a clock that starts anywhere and drifts.
    counter : int64 array, shape (n_frames,), or None
        Number of each frame as the camera counted.
    n_counted : int
        Frames that the file of the counter has an entry for; the others follow one by one.
    pins : bool array, shape (n_frames, n_pins), or None
    differences : dict of str to int
        Entries beyond the frames of the video (below 0: too few), by the column of streams.tsv
        that names the file; of ``frame_data`` with what it is: ``frame_data (gpio)``.
    clock_difference : int
        The same of the clock alone.
    """

    camera_s: np.ndarray | None = None
    counter: np.ndarray | None = None
    n_counted: int = 0
    pins: np.ndarray | None = None
    differences: dict = field(default_factory=dict)
    clock_difference: int = 0


def load_camera_record(camera, n_frames, *, max_difference, name):
    """Read the files of the camera that a row of streams.tsv names.

    They are often some frames longer than the video (ibllib says the same and takes it that the
    video lacks its last frames, as we do), or shorter: then the clock goes on at its median
    interval, the counter by one, and the pins stay.

    Parameters
    ----------
    camera : sluice.session.Camera
    n_frames : int
        Of the video.
    max_difference : int
        Frames by which a file may be longer or shorter.
    name : str
        For messages.

    Returns
    -------
    CameraRecord

    Raises
    ------
    InputError
        A file cannot be read, or is of another video by its length.
    """
    found = {}
    if camera.frame_data:
        values = read_frame_data(camera.frame_data, name)
        found = {
            key: (one, camera.frame_data, "frame_data")
            for key, one in zip(("camera_s", "counter", "pins"), values, strict=True)
            if one is not None
        }
    # a file of its own goes before the one of all three
    readers = (
        ("camera_s", camera.timestamps, read_timestamps),
        ("counter", camera.frame_counter, read_counter),
        ("pins", camera.gpio, read_pins),
    )
    columns = {"camera_s": "timestamps", "counter": "frame_counter", "pins": "gpio"}
    found |= {key: (read(path, name), path, columns[key]) for key, path, read in readers if path}
    differences, record = {}, {}
    for key, (values, path, column) in found.items():
        difference = len(values) - n_frames
        if abs(difference) > max_difference or len(values) < 2:
            raise InputError(
                f"{name}: {path} has {len(values)} entries and the video {n_frames} frames; they "
                f"may differ by {max_difference} (video.camera_times.max_frame_difference). It "
                f"is of another camera or session, or the video was cut short: correct "
                f"{column} in streams.tsv, or leave it empty."
            )
        # the three of one file are told apart
        one = f"frame_data ({columns[key]})" if column == "frame_data" else column
        differences[one] = difference
        record[key] = fit_length(values, n_frames)
    n_counted = min(n_frames, len(found["counter"][0])) if "counter" in found else 0
    return CameraRecord(
        **record,
        n_counted=n_counted,
        differences=differences,
        clock_difference=len(found["camera_s"][0]) - n_frames if "camera_s" in found else 0,
    )


def fit_length(values, n_frames):
    """Cut the end off, or let the last frames follow as the others did.

    Parameters
    ----------
    values : array, shape (n,) or (n, n_pins)
        Times (float) or numbers (int), which go on at their median step; states (bool) stay.
    n_frames : int

    Returns
    -------
    array, shape (n_frames,) or (n_frames, n_pins)
    """
    n_missing = n_frames - len(values)
    if n_missing <= 0:
        return values[:n_frames]
    if values.dtype == bool:
        return np.concatenate([values, np.repeat(values[-1:], n_missing, axis=0)])
    step = np.median(np.diff(values)).astype(values.dtype)
    return np.concatenate([values, values[-1] + step * np.arange(1, n_missing + 1)])


def choose_pin(pins, number, path, name):
    """Take the pin that is named, or the only one that ever changes.

    Parameters
    ----------
    pins : bool array, shape (n_frames, n_pins)
    number : int or None
        From 1, as IBL counts them.
    path, name : str
        For messages.

    Returns
    -------
    bool array, shape (n_frames,)

    Raises
    ------
    InputError
        There is no such pin, it never changes, or none is named and several change.
    """
    n_changes = np.count_nonzero(pins[1:] != pins[:-1], axis=0)
    listed = ", ".join(f"pin {i + 1} ({n} changes)" for i, n in enumerate(n_changes) if n)
    if number is None:
        if np.count_nonzero(n_changes) != 1:
            raise InputError(
                f"{name}: {path}: which pin is not said, and those that change are: "
                f"{listed or 'none'}. Give gpio_pin in streams.tsv, or leave gpio_pulses empty."
            )
        return pins[:, np.argmax(n_changes)]
    if not 1 <= number <= pins.shape[1]:
        raise InputError(
            f"{name}: {path}: there is no pin {number}; the file has the pins 1 to "
            f"{pins.shape[1]}. Correct gpio_pin in streams.tsv."
        )
    if n_changes[number - 1] == 0:
        raise InputError(
            f"{name}: {path}: pin {number} never changes; those that change are: "
            f"{listed or 'none'}. Correct gpio_pin in streams.tsv, or leave gpio_pulses empty."
        )
    return pins[:, number - 1]
