"""Movies of every type, with frames missing, saturated, or not counted by the clock."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile

from sluice.errors import InputError
from sluice.ophys.frame_measures import find_saturation, measure_frames
from sluice.ophys.import_plane import import_plane_file
from sluice.ophys.plane import load_plane, read_frames
from sluice.qc import load_checks
from sluice.session import Plane
from sluice.settings import validate_settings
from sluice.synth.plane import make_scene

T, H, W, RATE = 40, 16, 12, 8.0
OUTPUTS = {"movie": "movie.bin", "info": "plane.json", "frames": "frames.pqt", "checks": "c.json"}


def signal(shape=(T, H, W), dtype="int16", high=3000):
    return np.random.default_rng(4).integers(1, high, shape).astype(dtype)


@pytest.fixture
def run(tmp_path):
    """Write a movie and run the step; what it wrote comes back."""

    def run(content, clock=None, facts=None, write=None, row=None, **settings):
        raw, out = tmp_path / "raw", tmp_path / "out"
        for folder in (raw, out):
            folder.mkdir(exist_ok=True)
        facts = {"frame_rate_hz": RATE, "indicator": "GCaMP6f"} | (facts or {})
        if clock is not None:
            np.save(raw / "t.npy", clock)
            facts["frame_times"] = "t.npy"
        (raw / "imaging.json").write_text(json.dumps(facts))
        if write is None:
            tifffile.imwrite(raw / "a.tif", content, photometric="minisblack")
        else:
            write(raw / "a.tif", content)
        paths = {key: out / name for key, name in OUTPUTS.items()}
        import_plane_file(
            plane=Plane("M1/2026-01-15/001", "plane", "FOV_00", str(raw), "tiff", **(row or {})),
            settings=defaults() | settings,
            name="S FOV_00",
            **paths,
        )
        info = load_plane(paths["info"])
        stored = read_frames(paths["movie"], info, 0, info.n_frames)
        table = pd.read_parquet(paths["frames"])
        checks = {one.name: one for one in load_checks(paths["checks"])}
        return info, stored, table, checks

    return run


def defaults():
    return validate_settings({})["ophys"]["import_plane"]


def restore(info, stored):
    return stored * info.scale + info.offset


def verdicts(checks):
    return {name: one.verdict for name, one in checks.items() if one.verdict != "PASS"}


def test_an_int16_movie_is_kept_to_the_bit(run):
    movie = signal()
    info, stored, table, checks = run(movie)
    np.testing.assert_array_equal(stored, movie)
    assert (info.name, info.shape, info.source_dtype) == ("S FOV_00", (T, H, W), "int16")
    assert (info.scale, info.offset, info.um_per_pixel) == (1, 0, None)
    assert (info.sampling_rate_hz, info.indicator, info.decay_s) == (RATE, "GCaMP6f", 0.4)
    assert table.dtypes.astype(str).to_dict() == {
        "frame": "int64",
        "time_s": "float64",
        "mean": "float64",
        "n_saturated": "int64",
        "is_missing": "bool",
    }
    assert table["frame"].tolist() == list(range(T))
    np.testing.assert_allclose(table["time_s"], np.arange(T) / RATE)
    np.testing.assert_allclose(table["mean"], movie.mean(axis=(1, 2)))
    assert not table["is_missing"].any()
    assert not table["n_saturated"].any()
    # a movie of 40 frames is short; there is no clock to judge
    assert verdicts(checks) == {"n_frames": "FAIL"}
    assert "clock_gap_fraction" not in checks


@pytest.mark.parametrize(
    ("dtype", "high", "offset"),
    [
        ("uint8", 255, 0),
        ("int8", 127, 0),
        ("uint16", 32768, 0),
        ("uint16", 65536, 32768),
        ("int32", 30000, 0),
        ("uint32", 30000, 0),
        ("float32", 30000, 0),
        ("float64", 30000, 0),
        ("int32", 65536, None),
        ("float32", 65536, None),
    ],
)
def test_whole_numbers_of_any_type_are_lossless(run, dtype, high, offset):
    movie = signal(dtype=dtype, high=high)
    # both ends of the range
    movie[5, 0, :2] = 1, high - 1
    info, stored, table, checks = run(movie)
    np.testing.assert_array_equal(restore(info, stored), movie.astype(float))
    assert info.scale == 1
    assert info.source_dtype == dtype
    assert offset in (None, info.offset)
    np.testing.assert_allclose(table["mean"], movie.mean(axis=(1, 2), dtype=float))
    assert checks["conversion_error"].value == 0


def test_negative_int32(run):
    movie = signal(dtype="int32") - 40000
    info, stored, _, _ = run(movie)
    np.testing.assert_array_equal(restore(info, stored), movie)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_floats_are_off_by_half_a_step_at_most(run, caplog, scale):
    movie = (np.random.default_rng(0).normal(5, 1, (T, H, W)) * scale).astype("float32")
    info, stored, table, checks = run(movie)
    span = float(movie.max()) - float(movie.min())
    assert info.scale == pytest.approx(span / 65535)
    # half a step, and the rounding of float32
    assert np.abs(restore(info, stored) - movie).max() <= info.scale / 2 + 1e-6 * scale
    assert (stored.min(), stored.max()) == (-32768, 32767)
    np.testing.assert_allclose(table["mean"], movie.mean(axis=(1, 2)), rtol=1e-6)
    # 7.6e-6 of a range of about eight standard deviations
    assert checks["conversion_error"].value == pytest.approx(6e-5, rel=0.2)
    assert checks["conversion_error"].verdict == "PASS"
    assert "float32 is stored as int16 in steps of" in caplog.text


def test_an_outlier_that_spoils_the_resolution_is_told(run):
    movie = np.random.default_rng(0).normal(5, 1, (T, H, W)).astype("float32")
    movie[3, 2, 1] = 1e6
    _, _, _, checks = run(movie)
    assert checks["conversion_error"].verdict == "FAIL"
    assert checks["conversion_error"].value == pytest.approx(1e6 / 65535 / 2, rel=0.05)


def test_saturation_is_found_by_its_end_of_the_range(run):
    """A digitiser of 12 bits: what is beyond 4095 is 4095, in a growing part of the frames."""
    movie = signal(shape=(T, 64, 64), high=3000)
    n_pixels = np.minimum(np.arange(T) * 40, 1100)
    for t in range(T):
        movie[t].ravel()[: n_pixels[t]] = 4095
    _, _, table, checks = run(movie)
    np.testing.assert_array_equal(table["n_saturated"], n_pixels)
    one = checks["saturated_pixels"]
    assert (one.value, one.verdict) == (1100, "FAIL")
    assert one.message == "at 4095 or beyond within the first 40 frames"
    _, _, _, checks = run(movie, saturation_frames=22)
    # 21 x 40 pixels
    assert (checks["saturated_pixels"].value, checks["saturated_pixels"].verdict) == (
        840,
        "WARNING",
    )


def test_a_made_up_movie_that_is_saturated_and_one_that_is_not():
    options = {"seed": 5, "n_frames": 60, "height": 96, "width": 96, "n_cells": 3}
    for n_saturated_px, expected in ((0, None), (900, 1500.0)):
        scene = make_scene(**options, n_saturated_px=n_saturated_px, saturation_level=1500)
        measures = measure_frames(scene.frames(0, 60))
        level, n = find_saturation(measures, "int16", level=None, min_saturated_pixels=100)
        assert level == expected
        assert (n.mean() > 800) == bool(n_saturated_px)


def test_noise_is_not_saturated():
    """Photon noise, coarse and fine: the largest value is shared by few pixels."""
    rng = np.random.default_rng(1)
    for movie in (rng.poisson(1.0, (300, 64, 64)), rng.normal(1000, 100, (300, 64, 64))):
        measures = measure_frames(movie.astype(np.int16))
        level, n = find_saturation(measures, "int16", level=None, min_saturated_pixels=100)
        assert level is None
        assert not n.any()


def test_the_largest_of_the_type_is_saturated_however_rare(run):
    movie = signal(dtype="uint16", high=60000)
    movie[7, 3, 3:5] = 65535
    _, _, table, checks = run(movie)
    assert table["n_saturated"].tolist() == [2 * (t == 7) for t in range(T)]
    assert checks["saturated_pixels"].value == 2


def test_a_level_from_the_settings(run):
    movie = signal()
    _, _, table, checks = run(movie, saturation_level=2000)
    np.testing.assert_array_equal(table["n_saturated"], (movie >= 2000).sum(axis=(1, 2)))
    assert checks["saturated_pixels"].value == (movie.max(axis=0) >= 2000).sum()


def test_darkness_is_subtracted_later_and_not_from_what_is_measured_here(run):
    movie = signal()
    info, stored, table, _ = run(movie, dark_level=40.0)
    np.testing.assert_array_equal(restore(info, stored), movie - 40.0)
    np.testing.assert_allclose(table["mean"], movie.mean(axis=(1, 2)))


def test_blank_frames_are_named(run, caplog):
    movie = signal()
    movie[[3, 17]] = 0
    movie[30] = 4095
    _, stored, table, checks = run(movie)
    np.testing.assert_array_equal(stored, movie)
    assert np.flatnonzero(table["is_missing"]).tolist() == [3, 17, 30]
    assert "S FOV_00: blank (all pixels the same): frames 3, 17, 30" in caplog.text
    one = checks["missing_frame_fraction"]
    assert (one.value, one.verdict) == (3 / T, "FAIL")
    assert one.message == "blank (all pixels the same): frames 3, 17, 30"
    # a blank bright frame says nothing of saturation
    assert not table["n_saturated"].any()


def test_many_missing_frames_are_counted(run):
    movie = signal()
    movie[:25] = 7
    _, _, _, checks = run(movie)
    assert checks["missing_frame_fraction"].message.endswith(
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 15 more"
    )


def test_frames_that_cannot_be_decoded_are_named(run, caplog):
    """Pages 5 and 6 of a compressed file are overwritten."""
    movie = signal(dtype="float32") / 7

    def write(path, content):
        with tifffile.TiffWriter(path) as file:
            for image in content:
                file.write(image, contiguous=False, compression="zlib", metadata=None)
        with tifffile.TiffFile(path) as file:
            places = [(p.dataoffsets[0], p.databytecounts[0]) for p in file.pages]
        content = bytearray(path.read_bytes())
        for start, size in places[5:7]:
            content[start : start + size] = bytes(size)
        path.write_bytes(content)

    info, stored, table, checks = run(movie, write=write)
    assert np.flatnonzero(table["is_missing"]).tolist() == [5, 6]
    assert np.isnan(table["mean"][5:7]).all()
    assert "cannot be decoded: frames 5, 6 (" in caplog.text
    assert "image 5" in checks["missing_frame_fraction"].message
    kept = ~table["is_missing"].to_numpy()
    # the zeros in their place do not widen the range
    assert info.offset - 32768 * info.scale == pytest.approx(movie[kept].min(), rel=1e-6)
    np.testing.assert_allclose(restore(info, stored)[kept], movie[kept], atol=info.scale)


def test_frames_with_pixels_that_are_no_numbers(run, caplog):
    movie = np.random.default_rng(0).normal(5, 1, (T, H, W)).astype("float32")
    movie[4, 0, 0] = np.nan
    movie[9, 3, 3] = np.inf
    info, stored, table, _ = run(movie)
    assert np.flatnonzero(table["is_missing"]).tolist() == [4, 9]
    assert np.flatnonzero(table["mean"].isna()).tolist() == [4, 9]
    assert "pixels that are not finite: frames 4, 9" in caplog.text
    kept = ~table["is_missing"].to_numpy()
    np.testing.assert_allclose(restore(info, stored)[kept], movie[kept], atol=info.scale)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_a_movie_of_zeros(run, dtype):
    with pytest.raises(InputError) as error:
        run(np.zeros((T, H, W), dtype))
    text = str(error.value)
    assert "S FOV_00: the movie has no signal in any of its 40 frames: blank (all pixels" in text
    assert "Check the shutter, the channel and the files" in text


def test_a_movie_that_cannot_be_decoded_at_all(run):
    """As where the decoder is not installed: the reason is told."""

    def write(path, content):
        with tifffile.TiffWriter(path) as file:
            for image in content:
                file.write(image, contiguous=False, compression="zlib", metadata=None)
        with tifffile.TiffFile(path) as file:
            places = [page.tags["Compression"].valueoffset for page in file.pages]
        content = bytearray(path.read_bytes())
        for place in places:
            content[place : place + 2] = (33333).to_bytes(2, "little")
        path.write_bytes(content)

    with pytest.raises(InputError) as error:
        run(signal(), write=write)
    text = str(error.value)
    assert "no signal in any of its 40 frames: cannot be decoded: frames 0, 1, 2" in text
    assert "and 30 more" in text
    assert "33333" in text


def test_a_movie_of_50_frames_and_of_5(run):
    _, _, _, checks = run(signal((50, H, W)))
    one = checks["n_frames"]
    assert (one.value, one.verdict, one.message) == (50, "FAIL", "6.2 s")
    assert run(signal((200, H, W)))[3]["n_frames"].verdict == "WARNING"
    assert run(signal((1000, H, W)))[3]["n_frames"].verdict == "PASS"
    with pytest.raises(
        InputError, match="S FOV_00: the movie has 5 frames; at least 10 are needed"
    ):
        run(signal((5, H, W)))


def test_a_clock_that_fits(run):
    clock = 3 + np.arange(T) / RATE * 1.001
    _, _, table, checks = run(signal(), clock)
    np.testing.assert_array_equal(table["time_s"], clock)
    assert verdicts(checks) == {"n_frames": "FAIL"}
    assert checks["clock_rate_difference"].value == pytest.approx(0.001, rel=0.01)


def test_times_lost_within_the_recording(run, caplog):
    """Three at frame 11: those behind it keep theirs."""
    clock = 3 + np.arange(T) / RATE
    _, _, table, checks = run(signal(), np.delete(clock, [11, 12, 13]))
    # filled at equal distances, to rounding
    np.testing.assert_allclose(table["time_s"], clock, atol=1e-12)
    assert (
        "S FOV_00: the clock lacks 3 times, for which it has gaps; they are filled" in caplog.text
    )
    one = checks["clock_frame_difference"]
    assert (one.value, one.verdict) == (3, "WARNING")
    assert one.message == "37 times of the clock, 40 frames; filled: 3 behind frame 10"
    assert checks["clock_gap_fraction"].verdict == "FAIL"


@pytest.mark.parametrize("index", [0, 3])
def test_interleaved_planes_without_a_clock_follow_each_other(run, caplog, index):
    """Four planes in two pairs: the second pair comes half a frame later."""
    movie = signal((T * 4, H, W))
    caplog.set_level("INFO")
    table = run(movie, facts={"n_planes": 4}, row={"plane": index})[2]
    np.testing.assert_allclose(table["time_s"], (np.arange(T) + index / 4) / RATE)
    assert f"and {index / 4 / RATE:.6f} s for the place of the plane" in caplog.text
    pairs = {"n_planes": 4, "paired_planes": [[0, 1], [2, 3]]}
    table = run(movie, facts=pairs, row={"plane": index})[2]
    np.testing.assert_allclose(table["time_s"], (np.arange(T) + index // 2 / 2) / RATE)


def test_a_clock_of_volumes_and_one_of_images(run):
    movie = signal((T * 4, H, W))
    true = 3 + (np.arange(T) + 0.75) / RATE
    for n_times, rate in ((T, RATE), (4 * T, 4 * RATE)):
        clock = 3 + np.arange(n_times) / rate
        _, _, table, checks = run(movie, clock, facts={"n_planes": 4}, row={"plane": 3})
        np.testing.assert_allclose(table["time_s"], true)
        assert verdicts(checks) == {"n_frames": "FAIL"}


def test_a_header_that_is_wrong_is_told(run, caplog):
    """The file says 10 Hz and one channel, imaging.json 2.5 Hz and two."""

    def write(path, content):
        tifffile.imwrite(
            path,
            content.astype("uint16"),
            ome=True,
            metadata={"axes": "TYX", "TimeIncrement": 0.1},
            photometric="minisblack",
        )

    movie = signal((T * 4, H, W))
    _, _, _, checks = run(movie, write=write, facts={"frame_rate_hz": 10.05})
    assert checks["rate_header_difference"].verdict == "PASS"
    assert checks["rate_header_difference"].value == pytest.approx(0.005)
    assert checks["rate_header_difference"].message == "as the file's header says"
    facts = {"frame_rate_hz": 2.5, "n_channels": 2}
    info, _, _, checks = run(movie, write=write, facts=facts)
    assert (info.sampling_rate_hz, info.n_frames) == (2.5, 2 * T)
    one = checks["rate_header_difference"]
    assert (one.value, one.verdict) == (pytest.approx(0.75), "WARNING")
    assert "is 2.5 in imaging.json, which is used, and 10 in the header of" in one.message
    assert checks["layout_header_differences"].verdict == "WARNING"
    assert "S FOV_00: n_channels is 2 in imaging.json, which is used, and 1 in" in caplog.text


def test_fewer_images_than_the_header_counts_are_told(run, caplog):
    """Nothing of the file is cut short, yet a fifth of what its header counts is not there."""

    def write(path, content):
        text = f"ImageJ=1.53t\nimages={T + 10}\nframes={T + 10}\n"
        with tifffile.TiffWriter(path) as file:
            for image in content:
                file.write(image, description=text, metadata=None, contiguous=False)

    info, _, _, checks = run(signal(), write=write)
    assert info.n_frames == T
    one = checks["layout_header_differences"]
    assert (one.value, one.verdict) == (1, "WARNING")
    expected = f"the number of images is {T} in the files' pages, which is used, and {T + 10} in"
    assert expected in one.message
    assert f"S FOV_00: {expected}" in caplog.text


@pytest.mark.parametrize(
    ("n_times", "message"),
    [
        (T + 1, "S FOV_00: the last 1 times of the clock are dropped"),
        (T - 1, "S FOV_00: the clock lacks 1 times at the end; they are added at the median"),
    ],
)
def test_a_clock_that_differs_by_1(run, caplog, n_times, message):
    _, _, table, checks = run(signal(), np.arange(n_times) / RATE)
    np.testing.assert_allclose(table["time_s"], np.arange(T) / RATE)
    assert message in caplog.text
    one = checks["clock_frame_difference"]
    assert (one.value, one.verdict) == (1, "WARNING")
    assert one.message == f"{n_times} times of the clock, 40 frames"


def test_a_clock_that_differs_by_1000(run):
    with pytest.raises(InputError) as error:
        run(signal(), np.arange(T + 1000) / RATE)
    text = str(error.value)
    assert "S FOV_00: the frame clock" in text
    assert "t.npy has 1040 times and the movie 40 frames; they may differ by 15" in text


def test_a_clock_of_another_rate_and_with_gaps(run):
    """As if the planes of the clock were not those of the movie."""
    clock = np.arange(T) / RATE / 3
    clock[20:] += 1
    _, _, _, checks = run(signal(), clock)
    assert checks["clock_rate_difference"].verdict == "FAIL"
    assert checks["clock_rate_difference"].message == "24.0000 Hz by the clock, 8.0000 Hz stated"
    one = checks["clock_gap_fraction"]
    assert (one.value, one.verdict) == (1 / (T - 1), "FAIL")


def test_a_file_cut_short(run):
    def write(path, content):
        tifffile.imwrite(path, content, photometric="minisblack")
        # tifffile leaves 16 unused bytes behind the last page
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 20)

    with pytest.raises(InputError, match=r"S FOV_00: .*a\.tif: the file was cut short"):
        run(signal(), write=write)


def test_planes_of_one_file(run, tmp_path):
    movie = signal((T * 2 + 1, H, W))
    with pytest.raises(InputError, match="81 images in 1 file"):
        run(movie, facts={"n_planes": 2})
    info, stored, _, _ = run(movie, facts={"n_planes": 2}, drop_incomplete_volume=True)
    assert info.n_frames == T
    np.testing.assert_array_equal(stored, movie[:-1:2])


def test_the_same_movie_gives_the_same_bytes(run, tmp_path):
    contents = []
    for _ in range(2):
        run(signal(), np.arange(T) / RATE)
        contents.append([(tmp_path / "out" / name).read_bytes() for name in OUTPUTS.values()])
    assert contents[0] == contents[1]


def test_measures_are_those_of_each_frame():
    """The slow twin goes frame by frame."""
    frames = signal((9, 5, 4), "uint16", 12)
    frames[3] = 5
    found = measure_frames(frames, saturation_level=8)
    for t, frame in enumerate(frames):
        assert found.mean[t] == pytest.approx(frame.mean())
        assert (found.low[t], found.high[t]) == (frame.min(), frame.max())
        assert found.n_at_high[t] == (frame == frame.max()).sum()
        assert found.n_at_level[t] == (frame >= 8).sum()
        assert found.is_missing[t] == (t == 3)


def test_a_longer_movie_needs_no_more_memory(tmp_path):
    """Peak of a process: 64 MB and 256 MB of pixels, which are turned in the file at the end."""
    peaks = []
    for n_frames in (512, 2048):
        raw = tmp_path / str(n_frames)
        raw.mkdir()
        with h5py.File(raw / "a.h5", "w") as file:
            data = file.create_dataset("mov", (n_frames, 256, 256), "uint16")
            block = signal((64, 256, 256), "uint16", 60000)
            for start in range(0, n_frames, 64):
                data[start : start + 64] = block
        facts = {"frame_rate_hz": 10, "indicator": "GCaMP6f"}
        (raw / "imaging.json").write_text(json.dumps(facts))
        paths = {key: str(raw / name) for key, name in OUTPUTS.items()}
        code = (
            "import resource\n"
            "from sluice.ophys.import_plane import import_plane_file\n"
            "from sluice.session import Plane\n"
            f"plane = Plane('S', 'plane', 'FOV_00', {str(raw)!r}, 'h5')\n"
            f"import_plane_file(plane=plane, settings={defaults()!r}, name='S', **{paths!r})\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) / 1024)
    # measures of 1536 more frames are kilobytes; the rest is what the allocator leaves
    assert peaks[1] < peaks[0] + 20


def test_the_real_clip(real_data, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    source = real_data / "two_photon" / "movie_100x100x100.h5"
    (raw / "movie.h5").write_bytes(source.read_bytes())
    facts = {"frame_rate_hz": 10, "indicator": "GCaMP6f", "dataset": "data"}
    (raw / "imaging.json").write_text(json.dumps(facts))
    paths = {key: tmp_path / name for key, name in OUTPUTS.items()}
    plane = Plane("M1/2026-01-15/001", "plane", "FOV_00", str(raw), "h5")
    import_plane_file(plane=plane, settings=defaults(), name="real", **paths)
    info = load_plane(paths["info"])
    with h5py.File(source) as file:
        np.testing.assert_array_equal(
            read_frames(paths["movie"], info, 0, info.n_frames), file["data"][()]
        )
    assert info.shape == (100, 100, 100)
    checks = {one.name: one.verdict for one in load_checks(paths["checks"])}
    assert checks == {
        "n_frames": "FAIL",
        "missing_frame_fraction": "PASS",
        "saturated_pixels": "PASS",
        "conversion_error": "PASS",
    }
