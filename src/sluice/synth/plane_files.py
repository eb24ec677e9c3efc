"""Writes made-up imaging planes as microscopes do: TIFF, ScanImage, OME-TIFF, HDF5 or NWB."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from sluice.errors import UserError
from sluice.synth import plane_scanimage

FORMATS = ("tiff", "scanimage", "ome", "h5", "nwb")
DATASET = "mov"
_BLOCK_FRAMES = 25
_FLYBACK_PHOTONS = 5.0
_STRUCTURAL = 0.6
_START = "2026-01-15T12:00:00+00:00"


@dataclass(frozen=True)
class Volume:
    """Planes and channels as they follow each other in the files.

    Attributes
    ----------
    scenes : tuple of PlaneScene
        The planes, from above; all of one size, rate and type.
    n_flyback : int
        Images behind them that show nothing, while the objective goes back.
    n_channels, functional_channel : int
        In the other channels the cells shine without changing.
    """

    scenes: tuple
    n_flyback: int = 0
    n_channels: int = 1
    functional_channel: int = 0

    @property
    def n_planes(self):
        """Planes, flyback counted."""
        return len(self.scenes) + self.n_flyback

    @property
    def first(self):
        """The plane on top."""
        return self.scenes[0]

    def images(self, start, stop):
        """Yield images in the order of the files: channel fastest, then plane, then time."""
        for first in range(start, stop, _BLOCK_FRAMES):
            last = min(first + _BLOCK_FRAMES, stop)
            yield from self.block(first, last).reshape(-1, self.first.height, self.first.width)

    def block(self, start, stop):
        """Record all planes and channels of some frames.

        Returns
        -------
        array, shape (stop - start, n_planes, n_channels, height, width)
        """
        shape = (stop - start, self.n_planes, self.n_channels, self.first.height, self.first.width)
        out = np.empty(shape, self.first.settings.dtype)
        for channel, scenes in enumerate(self._channels):
            for k, scene in enumerate(scenes):
                out[:, k, channel] = scene.frames(start, stop)
        for k in range(len(self.scenes), self.n_planes):
            for t in range(start, stop):
                out[t - start, k] = self._flyback(t, k)
        return out

    @cached_property
    def _channels(self):
        """Scenes of each channel."""
        return [
            self.scenes
            if channel == self.functional_channel
            else [structural(scene, channel) for scene in self.scenes]
            for channel in range(self.n_channels)
        ]

    def _flyback(self, frame, plane):
        settings = self.first.settings
        rng = settings.rng(10**6, plane, frame)
        photons = rng.poisson(_FLYBACK_PHOTONS, (self.n_channels, *self.first.shape[1:]))
        return (photons * settings.photon_gain + settings.offset).astype(settings.dtype)


def structural(scene, channel):
    """The same plane in a channel of another colour, which no activity changes."""
    settings = replace(scene.settings, seed=(*scene.settings.entropy, 10**6 + channel))
    return replace(
        scene,
        settings=settings,
        brightness=scene.brightness * _STRUCTURAL,
        dff=np.zeros_like(scene.dff),
        neuropil=np.zeros_like(scene.neuropil),
    )


def write_imaging(
    folder,
    scenes,
    *,
    format="tiff",
    n_files=1,
    n_flyback=0,
    n_channels=1,
    functional_channel=0,
    volume_axis=False,
    indicator="GCaMP6s",
    depths_um=None,
    paired_planes=(),
    clock_offset_s=1.25,
    clock_ppm=30.0,
    z_stack=False,
    z_step_um=1.0,
    n_z=41,
    leave_out=(),
):
    """Write the raw files of one imaging session, and ``imaging.json``.

    Beside the movie are ``frame_times.npy``, float64 s of shape (n_frames,), or (n_frames,
    n_planes) for several, flyback counted: frame t of plane p was taken at
    ``clock_offset_s + (t + p / n_planes) / frame_rate_hz * (1 + clock_ppm * 1e-6)``; and, if
    asked for, ``z_stack/plane_00.tif`` … The same arguments give the same bytes, but for NWB,
    whose objects are given random names.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    scenes : PlaneScene or list of PlaneScene
        Planes from above, interleaved in the files; of one size, rate, length and type.
    format : str
        ``tiff``, ``scanimage``, ``ome``, ``h5`` or ``nwb``.
    n_files : int
        Files that follow each other.
    n_flyback : int
        Planes of flyback at the end of each volume.
    n_channels, functional_channel : int
        Channels; the cells' activity is in one of them.
    volume_axis : bool
        In HDF5, planes are the last axis (time, y, x, plane); in NWB they always are.
    indicator : str
    depths_um : list of float, optional
        Of the planes; 40 µm apart from 150 µm on by default.
    paired_planes : list of (int, int)
        Planes recorded simultaneously.
    clock_offset_s, clock_ppm : float
    z_stack : bool
    z_step_um : float
    n_z : int
        Planes of each z-stack.
    leave_out : tuple of str
        Keys that ``imaging.json`` is not to have.

    Returns
    -------
    list of Path
        Files of the movie.

    Raises
    ------
    UserError
        The planes do not fit together, or the format is none of those or cannot hold them.
    """
    folder = Path(folder)
    scenes = tuple(scenes) if isinstance(scenes, list | tuple) else (scenes,)
    volume = Volume(scenes, n_flyback, n_channels, functional_channel)
    _validate(volume, format, volume_axis)
    folder.mkdir(parents=True, exist_ok=True)
    clock = frame_clock(volume, clock_offset_s, clock_ppm)
    np.save(folder / "frame_times.npy", clock[:, 0] if volume.n_planes == 1 else clock)
    bounds = np.linspace(0, volume.first.n_frames, n_files + 1).astype(int)
    files = [
        _write_file(folder, volume, format, k, start, stop, clock, volume_axis)
        for k, (start, stop) in enumerate(pairwise(bounds.tolist()))
    ]
    depths_um = depths_um or [150.0 + 40.0 * k for k in range(len(scenes))]
    last = len(scenes) - 1
    facts = {
        "frame_rate_hz": volume.first.sampling_rate_hz,
        "n_planes": volume.n_planes,
        "n_channels": n_channels,
        "functional_channel": functional_channel,
        "flyback_planes": list(range(len(scenes), volume.n_planes)),
        "um_per_pixel": volume.first.settings.um_per_pixel,
        "indicator": indicator,
        "decay_s": volume.first.settings.decay_s,
        "depths_um": [depths_um[min(k, last)] for k in range(volume.n_planes)],
        "frame_times": "frame_times.npy",
        "paired_planes": [list(pair) for pair in paired_planes],
    }
    if format in ("h5", "nwb"):
        facts["dataset"] = DATASET
    if z_stack:
        stacks = write_z_stacks(folder / "z_stack", scenes, n_z, z_step_um)
        names = [path.relative_to(folder).as_posix() for path in stacks]
        facts["z_stack"] = [names[min(k, last)] for k in range(volume.n_planes)]
        facts["z_step_um"] = z_step_um
    facts = {key: value for key, value in facts.items() if key not in leave_out}
    (folder / "imaging.json").write_text(json.dumps(facts, indent=1) + "\n")
    return files


def frame_clock(volume, offset_s, ppm):
    """Time of every frame of every plane; see `write_imaging`.

    Returns
    -------
    float64 array, shape (n_frames, n_planes)
    """
    frame = np.arange(volume.first.n_frames)[:, None]
    part = np.arange(volume.n_planes) / volume.n_planes
    return offset_s + (frame + part) / volume.first.sampling_rate_hz * (1 + ppm * 1e-6)


def write_z_stacks(folder, scenes, n_planes, step_um):
    """Write a z-stack of each plane as a TIFF of the movie's type.

    Returns
    -------
    list of Path
    """
    from tifffile import imwrite

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for k, scene in enumerate(scenes):
        stack = scene.z_stack(n_planes, step_um)
        dtype = np.dtype(scene.settings.dtype)
        if dtype.kind in "iu":
            stack = np.clip(np.rint(stack), np.iinfo(dtype).min, np.iinfo(dtype).max)
        files.append(folder / f"plane_{k:02d}.tif")
        imwrite(files[-1], stack.astype(dtype), photometric="minisblack", software=None)
    return files


def _write_file(folder, volume, format, index, start, stop, clock, volume_axis):
    """Write frames `start` to `stop` of all planes and channels as one file."""
    if format == "h5":
        path = folder / f"movie_{index + 1:03d}.h5"
        _write_h5(path, volume, start, stop, volume_axis)
    elif format == "nwb":
        path = folder / f"movie_{index + 1:03d}.nwb"
        _write_nwb(path, volume, start, stop)
    elif format == "scanimage":
        path = folder / f"movie_00001_{index + 1:05d}.tif"
        _write_scanimage(path, volume, start, stop, clock)
    else:
        ending = "ome.tif" if format == "ome" else "tif"
        path = folder / f"movie_{index + 1:03d}.{ending}"
        _write_tiff(path, volume, start, stop, is_ome=format == "ome")
    return path


def _write_tiff(path, volume, start, stop, *, is_ome):
    from tifffile import TiffWriter

    scene = volume.first
    shape = (stop - start, volume.n_planes, volume.n_channels, *scene.shape[1:])
    metadata = None
    if is_ome:
        um = scene.settings.um_per_pixel
        metadata = {
            "axes": "TZCYX",
            "UUID": "12345678-1234-5678-1234-567812345678",
            "PhysicalSizeX": um,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": um,
            "PhysicalSizeYUnit": "µm",
            "TimeIncrement": 1 / scene.sampling_rate_hz,
            "TimeIncrementUnit": "s",
        }
    else:
        shape = (int(np.prod(shape[:3])), *shape[3:])
    with TiffWriter(path, bigtiff=True, ome=is_ome) as file:
        file.write(
            volume.images(start, stop),
            shape=shape,
            dtype=scene.settings.dtype,
            photometric="minisblack",
            metadata=metadata,
            software=None,
        )


def _write_scanimage(path, volume, start, stop, clock):
    scene, n_planes = volume.first, volume.n_planes
    settings = plane_scanimage.settings_text(
        height=scene.height,
        width=scene.width,
        frame_rate_hz=scene.sampling_rate_hz * n_planes,
        n_slices=len(volume.scenes),
        n_flyback=volume.n_flyback,
        n_channels=volume.n_channels,
        n_volumes=scene.n_frames,
        um_per_pixel=scene.settings.um_per_pixel,
        z_step_um=40.0,
    )
    times = (clock - clock[0, 0]).ravel()
    per_frame = n_planes * volume.n_channels
    plane_scanimage.write_scanimage(
        path,
        volume.images(start, stop),
        (stop - start) * per_frame,
        settings=settings,
        frame_times_s=lambda frame: times[frame],
        n_channels=volume.n_channels,
        first=start * per_frame,
    )


def _write_h5(path, volume, start, stop, volume_axis):
    import h5py

    scene = volume.first
    shape = ((stop - start) * volume.n_planes * volume.n_channels, *scene.shape[1:])
    if volume_axis:
        shape = (stop - start, *scene.shape[1:], volume.n_planes)
    with h5py.File(path, "w") as file:
        data = file.create_dataset(DATASET, shape, scene.settings.dtype)
        at = 0
        for first in range(start, stop, _BLOCK_FRAMES):
            block = volume.block(first, min(first + _BLOCK_FRAMES, stop))
            if volume_axis:
                block = np.moveaxis(block[:, :, 0], 1, -1)
            else:
                block = block.reshape(-1, *scene.shape[1:])
            data[at : at + len(block)] = block
            at += len(block)


def _write_nwb(path, volume, start, stop):
    """Write one series, whose axes NWB wants to be time, x, y and plane."""
    from datetime import datetime

    from hdmf.backends.hdf5 import H5DataIO
    from hdmf.data_utils import DataChunkIterator
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.ophys import OpticalChannel, TwoPhotonSeries

    scene, um = volume.first, volume.first.settings.um_per_pixel
    file = NWBFile(
        session_description="made-up imaging",
        identifier=path.stem,
        session_start_time=datetime.fromisoformat(_START),
    )
    plane = file.create_imaging_plane(
        name="ImagingPlane",
        optical_channel=OpticalChannel(name="green", description="made up", emission_lambda=520.0),
        description="made up",
        device=file.create_device("Microscope"),
        excitation_lambda=920.0,
        indicator="GCaMP6s",
        location="made up",
        imaging_rate=float(scene.sampling_rate_hz),
        grid_spacing=[um * 1e-6, um * 1e-6],
        grid_spacing_unit="meters",
    )

    def frames():
        for first in range(start, stop, _BLOCK_FRAMES):
            for planes in volume.block(first, min(first + _BLOCK_FRAMES, stop))[:, :, 0]:
                turned = planes.transpose(2, 1, 0)
                yield turned[..., 0] if volume.n_planes == 1 else turned

    shape = (stop - start, scene.width, scene.height)
    if volume.n_planes > 1:
        shape = (*shape, volume.n_planes)
    data = DataChunkIterator(
        frames(), maxshape=shape, dtype=np.dtype(scene.settings.dtype), buffer_size=_BLOCK_FRAMES
    )
    series = TwoPhotonSeries(
        name=DATASET,
        data=H5DataIO(data, maxshape=shape),
        imaging_plane=plane,
        rate=float(scene.sampling_rate_hz),
        starting_time=start / scene.sampling_rate_hz,
        unit="a.u.",
    )
    file.add_acquisition(series)
    with NWBHDF5IO(path, "w") as io:
        io.write(file)


def _validate(volume, format, volume_axis):
    if format not in FORMATS:
        raise UserError(f"format {format!r} is not one of {', '.join(FORMATS)}")
    if not volume.scenes:
        raise UserError("there is no plane to write")
    alike = {(s.shape, s.sampling_rate_hz, s.settings.dtype) for s in volume.scenes}
    if len(alike) > 1:
        raise UserError("planes of one recording need the same frames, size, rate and type")
    if volume.n_channels > 1 and (format == "nwb" or volume_axis):
        raise UserError("an array of (time, y, x, plane) holds one channel: write n_channels=1")
