"""One answer for all formats, and how long it takes."""

import json
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import tifffile
from raw_recordings import compress, write_openephys, write_probe

from sluice.errors import InputError
from sluice.io.check_stream import problem_of, raw_files
from sluice.session import Plane, Stream


def stream(path, file_format="spikeglx", **changes):
    return Stream("s", "probe", "probe00", str(path), file_format, **changes)


def plane(path, file_format="tiff", **changes):
    return Plane("s", "plane", "FOV_00", str(path), file_format, **changes)


def write_movies(folder, **facts):
    """A movie in each format that needs no slow import, with its imaging.json."""
    images = np.arange(10 * 6 * 5, dtype=np.int16).reshape(10, 6, 5)
    for file_format in ("tiff", "h5", "nwb"):
        (folder / file_format).mkdir(parents=True)
        content = {"frame_rate_hz": 10, "indicator": "GCaMP6f"} | facts
        (folder / file_format / "imaging.json").write_text(json.dumps(content))
    tifffile.imwrite(folder / "tiff" / "a.tif", images, photometric="minisblack")
    with h5py.File(folder / "h5" / "a.h5", "w") as file:
        file["mov"] = images
    with h5py.File(folder / "nwb" / "a.nwb", "w") as file:
        series = file.create_group("acquisition/movie")
        series.attrs["neurodata_type"] = "TwoPhotonSeries"
        series["data"] = images


def names(paths):
    return sorted(path.name for path in paths)


def test_readable_recordings_of_every_format(tmp_path):
    write_probe(tmp_path / "glx")
    assert problem_of(stream(tmp_path / "glx")) == ""
    write_openephys(tmp_path / "oe")
    assert problem_of(stream(tmp_path / "oe", "openephys")) == ""
    np.zeros(4, np.int16).tofile(tmp_path / "x.raw")
    flat = {"sampling_rate_hz": 1.0, "n_channels": 1, "dtype": "int16", "gain_uv": 1.0}
    assert problem_of(stream(tmp_path / "x.raw", "binary", geometry="0,0", **flat)) == ""


def test_movies_of_every_format(tmp_path):
    write_movies(tmp_path)
    for file_format, name in (("tiff", "a.tif"), ("h5", "a.h5"), ("nwb", "a.nwb")):
        row = plane(tmp_path / file_format, file_format)
        assert problem_of(row) == ""
        assert names(raw_files(row)) == [name, "imaging.json"]


def test_movies_that_cannot_be_read(tmp_path):
    """All problems of a plane at once, in one text."""
    write_movies(tmp_path, frame_rate=3, indicator="GCaMP9")
    (tmp_path / "tiff" / "imaging.json").write_text('{"frame_rate": 3, "indicator": "GCaMP9"}')
    text = problem_of(plane(tmp_path / "tiff"))
    assert "'frame_rate' is no key of this file; did you mean 'frame_rate_hz'?" in text
    assert "the frame rate is not known" in text
    assert "indicator 'GCaMP9' is not known" in text
    with pytest.raises(InputError, match="GCaMP9"):
        raw_files(plane(tmp_path / "tiff"))
    (tmp_path / "h5" / "a.h5").write_bytes(b"no HDF5")
    assert "is no HDF5 file" in problem_of(plane(tmp_path / "h5", "h5"))
    assert "has no series 'x'" in problem_of(plane(tmp_path / "nwb", "nwb", dataset="x"))


def test_problems_are_joined(tmp_path):
    write_probe(tmp_path)
    for band in ("ap", "lf"):
        (tmp_path / f"run_g0_t0.imec0.{band}.meta").unlink()
    assert problem_of(stream(tmp_path)).count("its .meta is missing") == 2


def test_arguments_reach_the_check(tmp_path):
    write_probe(tmp_path / "glx")
    assert "expected 7" in problem_of(stream(tmp_path / "glx", serial="7"))
    assert "of imec5" in problem_of(stream(tmp_path / "glx", stream_id="imec5"))
    write_openephys(tmp_path / "oe", with_settings=False)
    assert "settings.xml: is missing" in problem_of(stream(tmp_path / "oe", "openephys"))
    assert problem_of(stream(tmp_path / "oe", "openephys", geometry="0,0")) == ""


def test_unknown_format(tmp_path):
    assert "format is 'intan'; expected spikeglx" in problem_of(stream(tmp_path, "intan"))


def test_disk_errors_are_problems_too(tmp_path, monkeypatch):
    write_probe(tmp_path)

    def fail(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("sluice.io.spikeglx.parse_meta", fail)
    assert problem_of(stream(tmp_path)) == (
        f"{tmp_path}: Permission denied; check the disk and the rights to read"
    )


def test_raw_files(tmp_path):
    write_probe(tmp_path / "glx")
    compress(tmp_path / "glx" / "run_g0_t0.imec0.ap.bin", 33)
    (tmp_path / "glx" / "notes.txt").touch()
    assert names(raw_files(stream(tmp_path / "glx"))) == [
        "run_g0_t0.imec0.ap.cbin",
        "run_g0_t0.imec0.ap.ch",
        "run_g0_t0.imec0.ap.meta",
        "run_g0_t0.imec0.lf.bin",
        "run_g0_t0.imec0.lf.meta",
    ]
    write_openephys(tmp_path / "oe")
    assert names(raw_files(stream(tmp_path / "oe", "openephys"))) == [
        "continuous.dat",
        "continuous.dat",
        "settings.xml",
        "structure.oebin",
    ]
    with pytest.raises(InputError, match="no such folder"):
        raw_files(stream(tmp_path / "none"))


def test_a_probe_is_checked_within_2_ms(real_data, tmp_path):
    """The fastest of many runs, since other work on the machine only adds to it."""
    folder = real_data / "spikeglx_meta"
    for band in ("ap", "lf"):
        meta = (folder / f"sample3B_g0_t0.imec1.{band}.meta").read_bytes()
        (tmp_path / f"run_g0_t0.imec1.{band}.meta").write_bytes(meta)
        # sparse, of the length the meta gives
        with (tmp_path / f"run_g0_t0.imec1.{band}.bin").open("wb") as file:
            file.truncate({"ap": 19045367880, "lf": 1587113990}[band])
    probe = stream(tmp_path)
    assert problem_of(probe) == ""
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        problem_of(probe)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2e-3


def test_a_long_movie_is_checked_within_10_ms(tmp_path):
    """One header, however many pages there are; the fastest of several runs."""
    write_movies(tmp_path)
    with tifffile.TiffWriter(tmp_path / "tiff" / "a.tif") as file:
        for _ in range(3000):
            file.write(np.ones((8, 8), np.int16), contiguous=False, metadata=None)
    for file_format in ("tiff", "h5", "nwb"):
        row = plane(tmp_path / file_format, file_format)
        assert problem_of(row) == ""
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            problem_of(row)
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 10e-3


def test_planning_imports_no_reader():
    """Half a second for each import would be paid whenever Snakemake is started."""
    code = (
        "import sys, sluice.io.check_stream;"
        "print([m for m in ('spikeinterface', 'probeinterface', 'neo', 'h5py', "
        "'tifffile', 'pynwb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
