"""NWB movies, written by pynwb."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from sluice.errors import InputError
from sluice.io.nwb import find_series, open_part, read_header, read_timestamps

T, H, W = 20, 12, 10


def movie(shape=(T, H, W)):
    return np.random.default_rng(3).integers(0, 3000, shape).astype(np.uint16)


def write(path, series=None, *, spacing=(0.8e-6, 1.2e-6), unit="meters", rate=None):
    """Write images of axes (time, y, x[, plane]) in NWB's order, time, x, y."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.ophys import OpticalChannel, TwoPhotonSeries

    file = NWBFile("a test", "a", datetime(2026, 1, 15, 12, tzinfo=UTC))
    options = {} if spacing is None else {"grid_spacing": spacing, "grid_spacing_unit": unit}
    plane = file.create_imaging_plane(
        name="ImagingPlane",
        optical_channel=OpticalChannel(name="green", description="green", emission_lambda=520.0),
        description="",
        device=file.create_device("Microscope"),
        excitation_lambda=920.0,
        indicator="jGCaMP8s",
        location="V1",
        imaging_rate=rate,
        **options,
    )
    for name, (images, times) in (series or {"movie": (movie(), {"rate": 7.5})}).items():
        turned = images.swapaxes(1, 2)
        file.add_acquisition(
            TwoPhotonSeries(name=name, data=turned, imaging_plane=plane, unit="n.a.", **times)
        )
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def test_a_series_says_what_is_needed(tmp_path):
    path = write(tmp_path / "a.nwb")
    header = read_header(path, "")
    assert (header.height, header.width, header.dtype) == (H, W, "uint16")
    assert header.raw_rate_hz == 7.5
    # along y and x, where the file has x and y
    assert header.um_per_pixel == pytest.approx((1.2, 0.8))
    assert header.indicator == "jGCaMP8s"
    assert (header.has_times, header.start_s) == (False, 0)
    assert datetime.fromisoformat(header.start_time) == datetime(2026, 1, 15, 12, tzinfo=UTC)
    part = open_part(path, "movie")
    np.testing.assert_array_equal(part.read(3, 4, 2)[0], movie()[3:11:2])


def test_pynwb_reads_the_same(tmp_path):
    from pynwb import NWBHDF5IO

    path = write(tmp_path / "a.nwb")
    with NWBHDF5IO(path, "r") as io:
        expected = io.read().acquisition["movie"].data[:].swapaxes(1, 2)
    np.testing.assert_array_equal(open_part(path, "").read(0, T, 1)[0], expected)


def test_planes_as_the_last_axis(tmp_path):
    volume = movie((T, H, W, 2))
    path = write(tmp_path / "a.nwb", {"movie": (volume, {"rate": 5.0})})
    header = read_header(path, "")
    assert (header.n_planes, header.is_volume, header.height, header.width) == (2, True, H, W)
    found, _ = open_part(path, "", plane=1).read(0, T, 1)
    np.testing.assert_array_equal(found, volume[..., 1])


def test_timestamps_are_a_clock(tmp_path):
    times = 3 + np.arange(T) / 4
    path = write(tmp_path / "a.nwb", {"movie": (movie(), {"timestamps": times})})
    header = read_header(path, "")
    assert (header.has_times, header.start_s) == (True, None)
    np.testing.assert_array_equal(read_timestamps(path, ""), times)
    assert header.raw_rate_hz == 4


def test_a_header_reads_few_of_the_timestamps(tmp_path):
    """The rate is that of the first thousand, which is one chunk of hours of them."""
    path = write(tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        del file["acquisition/movie/starting_time"]
        times = np.arange(5000) / 4
        times[1001:] = np.nan
        file["acquisition/movie/timestamps"] = times
    assert read_header(path, "").raw_rate_hz == 4


@pytest.mark.parametrize("start", [100.0, 0.0])
def test_a_series_says_when_it_starts(tmp_path, start):
    times = {"rate": 7.5, "starting_time": start}
    path = write(tmp_path / "a.nwb", {"movie": (movie(), times)})
    header = read_header(path, "")
    assert (header.start_s, header.raw_rate_hz) == (start, 7.5)
    assert datetime.fromisoformat(header.clock_origin) == datetime(2026, 1, 15, 12, tzinfo=UTC)


def test_a_file_without_the_timestamps_of_the_others(tmp_path):
    path = write(tmp_path / "a.nwb")
    with pytest.raises(InputError, match=r"a\.nwb: series movie has no timestamps"):
        read_timestamps(path, "")


def test_the_rate_of_the_imaging_plane(tmp_path):
    path = write(tmp_path / "a.nwb", rate=9.0)
    with h5py.File(path, "r+") as file:
        del file["acquisition/movie/starting_time"]
    assert read_header(path, "").raw_rate_hz == 9


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        ((0.5, 0.25), "micrometers", (0.25, 0.5)),
        ((1.0, 1.0), "pixels", None),
        (None, "", None),
        ((1e-3, 2e-3, 3e-3), "mm", (2.0, 1.0)),
    ],
)
def test_pixel_sizes(tmp_path, spacing, unit, expected):
    header = read_header(write(tmp_path / "a.nwb", spacing=spacing, unit=unit), "")
    assert header.um_per_pixel == (expected if expected is None else pytest.approx(expected))


def test_several_series(tmp_path):
    series = {name: (movie(), {"rate": 7.5}) for name in ("plane1", "plane0")}
    path = write(tmp_path / "a.nwb", series)
    assert find_series(path) == ["plane0", "plane1"]
    with pytest.raises(InputError, match=r"2 series of two-photon images \(plane0, plane1\)"):
        read_header(path, "")
    for name in ("plane1", "acquisition/plane1"):
        assert read_header(path, name).height == H
    with pytest.raises(InputError) as error:
        read_header(path, "movie")
    assert f"{path}: has no series 'movie'; those there are: plane0, plane1" in str(error.value)


def test_a_series_without_images(tmp_path):
    path = write(tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        file["acquisition/movie/external_file"] = np.array([b"movie.tif"])
    with pytest.raises(InputError, match="series movie holds no images of its own"):
        open_part(path, "")


def test_cut_short(tmp_path):
    path = write(tmp_path / "a.nwb")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1000)
    with pytest.raises(InputError, match=r"a\.nwb: the file was cut short"):
        read_header(path, "")
