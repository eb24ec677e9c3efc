"""Files of made-up planes, read back by other readers than the workflow's, hold the movie."""

import json

import h5py
import numpy as np
import pytest
import tifffile

from sluice.errors import UserError
from sluice.synth.plane import make_scene
from sluice.synth.plane_files import structural, write_imaging

SIZE = {"n_frames": 53, "height": 48, "width": 64, "n_cells": 3, "n_overlapping_pairs": 0}
RATE_HZ = 10.0


@pytest.fixture(scope="module")
def planes():
    return [make_scene(seed=k, **SIZE) for k in (1, 2)]


def _read_tiff(files):
    """All images of some files, one after the other."""
    images = []
    for path in files:
        with tifffile.TiffFile(path) as file:
            images += [page.asarray() for page in file.pages]
    return np.array(images)


@pytest.mark.parametrize("n_files", [1, 3])
@pytest.mark.parametrize("format", ["tiff", "scanimage", "ome"])
def test_tiff_files_hold_planes_and_channels_interleaved(planes, tmp_path, format, n_files):
    files = write_imaging(
        tmp_path,
        planes,
        format=format,
        n_files=n_files,
        n_flyback=1,
        n_channels=2,
        functional_channel=1,
    )
    assert len(files) == n_files
    images = _read_tiff(files)
    assert images.dtype == np.int16
    # the channel is fastest, then the plane
    images = images.reshape(53, 3, 2, 48, 64)
    for k, scene in enumerate(planes):
        np.testing.assert_array_equal(images[:, k, 1], scene.frames())
        np.testing.assert_array_equal(images[:, k, 0], structural(scene, 0).frames())
    # flyback shows nothing
    assert images[:, 2].mean() < 0.5 * images[:, :2].mean()
    facts = json.loads((tmp_path / "imaging.json").read_text())
    assert facts["n_planes"] == 3
    assert facts["flyback_planes"] == [2]
    assert facts["n_channels"] == 2
    assert facts["functional_channel"] == 1
    assert facts["frame_rate_hz"] == RATE_HZ


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
@pytest.mark.parametrize("format", ["tiff", "scanimage", "ome", "h5", "nwb"])
def test_one_plane_in_every_format_and_type(tmp_path, format, dtype):
    scene = make_scene(seed=3, dtype=dtype, **SIZE)
    files = write_imaging(tmp_path, scene, format=format, n_files=2)
    if format == "h5":
        parts = []
        for path in files:
            with h5py.File(path) as file:
                parts.append(file["mov"][()])
        images = np.concatenate(parts)
    elif format == "nwb":
        images = np.concatenate([_read_nwb(path) for path in files]).transpose(0, 2, 1)
    else:
        images = _read_tiff(files)
    assert images.dtype == dtype
    np.testing.assert_array_equal(images, scene.frames())


def _read_nwb(path):
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(path, "r") as io:
        series = io.read().acquisition["mov"]
        assert series.rate == RATE_HZ
        assert series.imaging_plane.grid_spacing[0] == pytest.approx(1e-6)
        return series.data[()]


def test_arrays_of_volumes_have_the_planes_last(planes, tmp_path):
    (path,) = write_imaging(tmp_path / "h5", planes, format="h5", volume_axis=True)
    with h5py.File(path) as file:
        images = file["mov"][()]
    (path,) = write_imaging(tmp_path / "nwb", planes, format="nwb")
    turned = _read_nwb(path)
    for k, scene in enumerate(planes):
        np.testing.assert_array_equal(images[..., k], scene.frames())
        np.testing.assert_array_equal(turned[..., k].transpose(0, 2, 1), scene.frames())


def test_scanimage_header_says_what_is_there(planes, tmp_path):
    files = write_imaging(tmp_path, planes, format="scanimage", n_files=2, n_flyback=1)
    with tifffile.TiffFile(files[1]) as file:
        assert file.is_scanimage
        assert file.is_bigtiff
        facts = file.scanimage_metadata["FrameData"]
        assert "imagingRoiGroup" in file.scanimage_metadata["RoiGroups"]
        # the same text is every image's software
        assert file.pages[4].software.startswith("SI.")
        description = file.pages[4].description
    assert facts["SI.hRoiManager.scanVolumeRate"] == RATE_HZ
    assert facts["SI.hRoiManager.scanFrameRate"] == 3 * RATE_HZ
    assert facts["SI.hStackManager.numSlices"] == 2
    assert facts["SI.hFastZ.numFramesPerVolume"] == 3
    assert facts["SI.hFastZ.numDiscardFlybackFrames"] == 1
    assert facts["SI.hChannels.channelSave"] == 1
    assert facts["SI.hRoiManager.imagingFovUm"][0] == [-32, -24]
    # images go on to be counted over files: 26 volumes of three in the first
    assert "frameNumbers = 83\n" in description


def test_ome_header_says_what_is_there(planes, tmp_path):
    (path,) = write_imaging(tmp_path, planes, format="ome")
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.series[0].axes == "TZYX"
        assert file.series[0].shape == (53, 2, 48, 64)
        assert 'TimeIncrement="0.1"' in file.ome_metadata
        assert 'PhysicalSizeX="1.0"' in file.ome_metadata


def test_frame_clock_has_the_offset_and_drift_asked_for(planes, tmp_path):
    write_imaging(tmp_path / "one", planes[0], clock_offset_s=2.5, clock_ppm=100.0)
    clock = np.load(tmp_path / "one" / "frame_times.npy")
    assert clock.shape == (53,)
    np.testing.assert_allclose(clock, 2.5 + np.arange(53) / RATE_HZ * 1.0001, atol=1e-12)
    write_imaging(tmp_path / "two", planes, n_flyback=1)
    clock = np.load(tmp_path / "two" / "frame_times.npy")
    assert clock.shape == (53, 3)
    # one image follows the other
    np.testing.assert_allclose(np.diff(clock.ravel()), 1 / 30, rtol=1e-4)


def test_z_stacks_are_written_beside_the_movie(planes, tmp_path):
    files = write_imaging(tmp_path, planes, n_flyback=1, z_stack=True, n_z=11, z_step_um=2.0)
    facts = json.loads((tmp_path / "imaging.json").read_text())
    # flyback has none of its own; the list has one for each plane all the same
    assert len(facts["z_stack"]) == 3
    assert facts["z_step_um"] == 2.0
    # the folder of the movie holds no other TIFF
    assert sorted(tmp_path.glob("*.tif")) == files
    for scene, name in zip(planes, facts["z_stack"], strict=False):
        stack = tifffile.imread(tmp_path / name)
        assert stack.shape == (11, 48, 64)
        np.testing.assert_array_equal(stack, np.rint(scene.z_stack(11, 2.0)).astype(np.int16))


@pytest.mark.parametrize("format", ["tiff", "scanimage", "ome", "h5"])
def test_same_arguments_same_bytes(planes, tmp_path, format):
    twice = [
        write_imaging(tmp_path / str(k), planes, format=format, z_stack=True, n_z=3)
        for k in range(2)
    ]
    for a, b in zip(*twice, strict=True):
        assert a.read_bytes() == b.read_bytes()
    names = ["frame_times.npy", "imaging.json", "z_stack/plane_01.tif"]
    for name in names:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_keys_can_be_left_out_and_pairs_named(planes, tmp_path):
    leave_out = ("decay_s", "frame_times")
    write_imaging(tmp_path, planes, leave_out=leave_out, paired_planes=[(0, 1)])
    facts = json.loads((tmp_path / "imaging.json").read_text())
    assert "decay_s" not in facts
    assert "frame_times" not in facts
    assert facts["paired_planes"] == [[0, 1]]
    assert facts["indicator"] == "GCaMP6s"


def test_what_cannot_be_written_is_refused(planes, tmp_path):
    with pytest.raises(UserError, match="format 'avi' is not one of tiff, scanimage, ome"):
        write_imaging(tmp_path, planes, format="avi")
    with pytest.raises(UserError, match="there is no plane"):
        write_imaging(tmp_path, [])
    other = make_scene(seed=1, **{**SIZE, "n_frames": 20})
    with pytest.raises(UserError, match="need the same frames, size, rate and type"):
        write_imaging(tmp_path, [planes[0], other])
    with pytest.raises(UserError, match="holds one channel"):
        write_imaging(tmp_path, planes, format="nwb", n_channels=2)
