"""Finding sessions and recordings in a folder of raw data."""

import json
import os
import time
from datetime import datetime

import h5py
import numpy as np
import pytest
import tifffile
from raw_recordings import np1_meta, write_openephys, write_probe, write_spikeglx

from sluice.errors import InputError
from sluice.io.check_stream import problem_of
from sluice.scan import STREAM_COLUMNS, scan, write_tables
from sluice.session import Plane, load_sessions, load_streams
from sluice.synth.plane import make_scene
from sluice.synth.plane_files import write_imaging


@pytest.fixture
def raw(tmp_path):
    """A folder of raw data with a space and letters beyond ASCII in its name."""
    folder = tmp_path / "Rohdaten – été 1"
    folder.mkdir()
    return folder


def ephys(raw, session="M1/2026-01-15/001"):
    folder = raw / session / "raw_ephys_data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def imaging(raw, number=0, session="M1/2026-01-15/001"):
    folder = raw / session / f"raw_imaging_data_{number:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_movie(folder, n=12, **facts):
    content = {"frame_rate_hz": 10, "indicator": "GCaMP6f"} | facts
    (folder / "imaging.json").write_text(json.dumps(content))
    images = np.arange(n * 6 * 5, dtype=np.int16).reshape(n, 6, 5)
    tifffile.imwrite(folder / "a.tif", images, photometric="minisblack")


@pytest.fixture
def in_new_york(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_session_with_probe_folders(raw, in_new_york):
    for i in range(2):
        changes = {"imDatPrb_sn": f"1800511000{i}", "device": f"imec{i}"}
        write_probe(ephys(raw) / f"probe0{i}", n_channels=48, n_samples=3000, **changes)
    (ephys(raw) / "_spikeglx_ephysData_g0_t0.nidq.bin").touch()
    (ephys(raw) / "_spikeglx_ephysData_g0_t0.nidq.meta").touch()
    sessions, streams = scan(raw)
    assert sessions.to_dict("records") == [
        {
            "subject": "M1",
            "date": "2026-01-15",
            "number": "001",
            "start_time": "2026-01-15T12:00:00-05:00",
            "species": "",
            "sex": "",
            "age": "",
            "date_of_birth": "",
        }
    ]
    assert list(streams) == STREAM_COLUMNS
    assert streams.name.tolist() == ["probe00", "probe01"]
    first = streams.iloc[0]
    assert first.session == "M1/2026-01-15/001"
    assert (first.kind, first.format, first.stream_id) == ("probe", "spikeglx", "")
    assert first.path == str(ephys(raw) / "probe00")
    assert first.serial == "18005110000"
    assert (first.probe_type, first.n_channels) == ("NP1.0", 48)
    assert (first.sampling_rate_hz, first.duration_s) == (30000, 0.1)
    assert first.size_bytes == 3000 * 49 * 2


def test_daylight_saving_time_is_that_of_the_recordings_day(raw, in_new_york):
    write_probe(ephys(raw) / "probe00", fileCreateTime="2026-07-01T09:30:00")
    assert scan(raw)[0].start_time[0] == "2026-07-01T09:30:00-04:00"


def test_start_is_the_earliest_and_not_that_of_catgt(raw):
    write_probe(ephys(raw) / "probe00", fileCreateTime="2026-01-15T12:00:05")
    changes = {
        "fileCreateTime": "2026-03-01T08:00:00",
        "fileCreateTime_original": "2026-01-15T12:00:03",
    }
    write_probe(ephys(raw) / "probe01", **changes)
    start = datetime.fromisoformat(scan(raw)[0].start_time[0])
    assert start == datetime(2026, 1, 15, 12, 0, 3).astimezone()


def test_start_time_that_is_none(raw):
    write_probe(ephys(raw) / "probe00", fileCreateTime="yesterday")
    assert scan(raw)[0].start_time[0] == ""


def test_tables_can_be_read_by_the_workflow(raw, tmp_path):
    for subject, number in (("M1", "001"), ("M1", "2"), ("Käthe", "001")):
        write_probe(ephys(raw, f"{subject}/2026-01-15/{number}") / "probe00")
    paths = tmp_path / "sessions.tsv", tmp_path / "streams.tsv"
    write_tables(raw, *paths)
    sessions = load_sessions(paths[0])
    # numbers have three digits in the table, whatever the folder is called
    assert list(sessions.index) == [
        "Käthe/2026-01-15/001",
        "M1/2026-01-15/001",
        "M1/2026-01-15/002",
    ]
    streams = load_streams(paths[1], list(sessions.index))
    assert [s.n_channels for s in streams] == [32, 32, 32]
    assert [problem_of(s) for s in streams] == ["", "", ""]


def test_unreadable_recordings_are_listed(raw, tmp_path):
    (ephys(raw) / "probe00").mkdir()
    write_probe(ephys(raw) / "probe01")
    (ephys(raw) / "probe01" / "run_g0_t0.imec0.ap.meta").unlink()
    write_probe(ephys(raw) / "probe02", snsApLfSy="nonsense")
    write_probe(ephys(raw) / "probe03")
    _, streams = scan(raw)
    assert streams.name.tolist() == ["probe00", "probe01", "probe02", "probe03"]
    assert streams.n_channels.isna().tolist() == [True, True, True, False]
    paths = tmp_path / "sessions.tsv", tmp_path / "streams.tsv"
    write_tables(raw, *paths)
    found = load_streams(paths[1], ["M1/2026-01-15/001"])
    assert [bool(problem_of(s)) for s in found] == [True, True, True, False]


def test_spikeglx_run_folders(raw):
    for device in ("imec1", "imec0"):
        write_probe(ephys(raw) / "run_g0" / f"run_g0_{device}", device=device)
    (ephys(raw) / "run_g0" / "run_g0_t0.nidq.bin").touch()
    _, streams = scan(raw)
    assert streams.name.tolist() == ["probe00", "probe01"]
    assert streams.path.tolist() == [
        str(ephys(raw) / "run_g0" / f"run_g0_imec{i}") for i in range(2)
    ]
    assert streams.stream_id.tolist() == ["", ""]


def test_gates_of_a_run_are_one_recording(raw):
    for gate in (0, 1):
        folder = ephys(raw) / f"run_g{gate}" / f"run_g{gate}_imec0"
        write_probe(folder, n_samples=240, run=f"run_g{gate}_t0")
    _, streams = scan(raw)
    assert streams[["name", "path", "stream_id"]].to_numpy().tolist() == [
        ["probe00", str(ephys(raw)), "imec0"]
    ]
    assert streams.duration_s[0] == 0.016  # 2 x 240 samples at 30 kHz


@pytest.mark.parametrize("folder", [".", "run_g0"])
def test_files_of_several_probes_in_one_folder(raw, folder):
    for device in ("imec0", "imec1"):
        write_probe(ephys(raw) / folder, device=device)
    _, streams = scan(raw)
    assert streams.name.tolist() == ["probe00", "probe01"]
    assert streams.stream_id.tolist() == ["imec0", "imec1"]
    assert streams.n_channels.tolist() == [32, 32]


def test_phase_3a_has_no_number(raw):
    write_spikeglx(ephys(raw), np1_meta(8, device="imec"), name="run_g0_t0.imec.ap")
    _, streams = scan(raw)
    assert streams.name.tolist() == ["probe00"]


def test_openephys(raw):
    write_openephys(ephys(raw) / "Record Node 101", probes="AB", n_samples=300)
    _, streams = scan(raw)
    assert streams.name.tolist() == ["probe00", "probe01"]
    assert streams.stream_id.tolist() == [
        f"Record Node 101#Neuropix-PXI-100.Probe{p}-AP" for p in "AB"
    ]
    assert streams.path.tolist() == [str(ephys(raw) / "Record Node 101" / "experiment1")] * 2
    first = streams.iloc[0]
    assert (first.format, first.serial) == ("openephys", "18005110001")
    assert (first.probe_type, first.n_shanks, first.n_channels) == ("NP1.0", 1, 384)
    assert (first.duration_s, first.size_bytes) == (0.01, 300 * 384 * 2)


def test_openephys_recorded_twice_and_again(raw):
    """A second Record Node has the same data; a second folder has other data."""
    for node in (101, 102):
        write_openephys(ephys(raw) / "2026-01-15_12-00-00" / f"Record Node {node}")
    write_openephys(ephys(raw) / "2026-01-15_13-00-00" / "Record Node 101")
    _, streams = scan(raw)
    assert streams.name.tolist() == ["probe00", "probe00_2"]
    assert ["12-00-00/Record Node 101" in streams.path[0], "13-00-00" in streams.path[1]] == [
        True,
        True,
    ]


def test_openephys_in_a_probe_folder(raw):
    write_openephys(ephys(raw) / "probe07" / "Record Node 101")
    (ephys(raw) / "probe08").mkdir()
    (ephys(raw) / "probe08" / "structure.oebin").write_text("broken")
    _, streams = scan(raw)
    assert streams.name.tolist() == ["probe07", "probe08"]
    assert streams.format.tolist() == ["openephys"] * 2
    assert streams.n_channels.isna().tolist() == [False, True]


def test_session_without_recordings_is_listed(raw):
    ephys(raw)
    (raw / "M2" / "2026-01-15" / "001" / "raw_video_data").mkdir(parents=True)
    sessions, streams = scan(raw)
    assert sessions.subject.tolist() == ["M1", "M2"]
    assert list(streams) == STREAM_COLUMNS
    assert streams.empty


def test_no_folder_and_no_session(raw):
    with pytest.raises(InputError, match="none: no such folder; expected a folder of raw data"):
        scan(raw / "none")
    write_probe(raw / "M1" / "today" / "001" / "raw_ephys_data" / "probe00")
    with pytest.raises(InputError) as error:
        scan(raw)
    for part in (str(raw), "no session in it", "<subject>/<YYYY-MM-DD>/<number>/raw_ephys_data/"):
        assert part in str(error.value)


def test_tables_with_rows_are_not_overwritten(raw, tmp_path):
    write_probe(ephys(raw) / "probe00")
    sessions, streams = tmp_path / "sessions.tsv", tmp_path / "streams.tsv"
    # tables as they come with the workflow
    sessions.write_text("# a comment\nsubject\tdate\tnumber\n", encoding="utf-8")
    streams.write_text("session\tkind\tname\tpath\tformat\n", encoding="utf-8")
    write_tables(raw, sessions, streams)
    text = sessions.read_text(encoding="utf-8")
    sessions.write_text(text.replace("M1\t", "M1 by hand\t"), encoding="utf-8")
    before = sessions.read_bytes(), streams.read_bytes()
    with pytest.raises(InputError, match=r"sessions\.tsv and .*streams\.tsv: has rows already.*"):
        write_tables(raw, sessions, streams)
    assert (sessions.read_bytes(), streams.read_bytes()) == before
    write_tables(raw, sessions, streams, overwrite=True)
    assert sessions.read_text(encoding="utf-8") == text


def test_same_folder_gives_same_tables(raw, tmp_path):
    for number in ("003", "001", "002"):
        write_probe(ephys(raw, f"M1/2026-01-15/{number}") / "probe00")
    tables = []
    for i in range(2):
        paths = tmp_path / f"a{i}.tsv", tmp_path / f"b{i}.tsv"
        write_tables(raw, *paths)
        tables.append([path.read_bytes() for path in paths])
    assert tables[0] == tables[1]


def test_relative_folder_gives_absolute_paths(raw, monkeypatch):
    write_probe(ephys(raw) / "probe00")
    monkeypatch.chdir(raw.parent)
    _, streams = scan(raw.name)
    assert os.path.isabs(streams.path[0])  # noqa: PTH117


def test_planes_are_counted_over_all_folders_without_flyback(raw):
    facts = {
        "n_planes": 3,
        "flyback_planes": [0],
        "n_channels": 2,
        "functional_channel": 1,
        "um_per_pixel": [1, 2],
        "depths_um": [0, 150, 190],
        "paired_planes": [[1, 2]],
        "frame_times": "t.npy",
        "z_stack": ["z0.tif", "z1.tif", "z2.tif"],
        "z_step_um": 1.5,
    }
    write_movie(imaging(raw), 60, **facts)
    np.save(imaging(raw) / "t.npy", np.zeros((10, 3)))
    for k in range(3):
        tifffile.imwrite(imaging(raw) / f"z{k}.tif", np.ones((4, 7), np.int16))
    # the tenth folder comes after the second
    write_movie(imaging(raw, 10), 5)
    write_movie(imaging(raw, 2), 30, indicator="jRGECO1a", decay_s=0.6)
    write_probe(ephys(raw) / "probe00")
    _, streams = scan(raw)
    assert list(streams) == STREAM_COLUMNS
    assert streams.name.tolist() == ["probe00", "FOV_00", "FOV_01", "FOV_02", "FOV_03"]
    planes = streams[streams.kind == "plane"].reset_index(drop=True)
    assert planes.plane.tolist() == [1, 2, 0, 0]
    assert planes.n_planes.tolist() == [3, 3, 1, 1]
    assert planes.channel.tolist() == [1, 1, 0, 0]
    assert planes.n_channels.tolist() == [2, 2, 1, 1]
    assert planes.sampling_rate_hz.tolist() == [10, 10, 10, 10]
    assert planes.n_frames.tolist() == [10, 10, 30, 5]
    assert planes.duration_s.tolist() == [1, 1, 3, 0.5]
    assert planes.depth_um.tolist()[:2] == [150, 190]
    assert planes.paired_with.tolist() == ["FOV_01", "FOV_00", "", ""]
    assert planes.field_of_view.tolist() == [
        "raw_imaging_data_00",
        "raw_imaging_data_00",
        "raw_imaging_data_02",
        "raw_imaging_data_10",
    ]
    first = planes.iloc[0]
    assert (first.kind, first.format, first.path) == ("plane", "tiff", str(imaging(raw)))
    assert (first.height, first.width, first.um_per_pixel, first.z_step_um) == (6, 5, 1.5, 1.5)
    assert first.frame_times == str(imaging(raw) / "t.npy")
    assert first.z_stack == str(imaging(raw) / "z1.tif")
    assert first.size_bytes == (imaging(raw) / "a.tif").stat().st_size
    # the decay of a known indicator is not written beside it
    assert planes.decay_s.isna().tolist() == [True, True, False, True]
    assert planes.decay_s[2] == 0.6


def test_planes_can_be_read_by_the_workflow(raw, tmp_path):
    scenes = [make_scene(seed=k, n_frames=12, height=64, width=64, n_cells=1) for k in range(2)]
    formats = {"tiff": "tiff", "scanimage": "tiff", "ome": "tiff", "h5": "h5", "nwb": "nwb"}
    for k, file_format in enumerate(formats):
        write_imaging(imaging(raw, k), scenes, format=file_format, n_flyback=1)
    paths = tmp_path / "sessions.tsv", tmp_path / "streams.tsv"
    sessions, _ = write_tables(raw, *paths)
    planes = load_streams(paths[1], ["M1/2026-01-15/001"])
    assert all(isinstance(plane, Plane) for plane in planes)
    assert [plane.name for plane in planes] == [f"FOV_{k:02d}" for k in range(10)]
    assert [plane.format for plane in planes[::2]] == list(formats.values())
    assert [problem_of(plane) for plane in planes] == [""] * 10
    # ScanImage and NWB say when they started
    assert datetime.fromisoformat(sessions.start_time[0]).year == 2026
    before = paths[1].read_bytes()
    write_tables(raw, *paths, overwrite=True)
    assert paths[1].read_bytes() == before


def test_scanimage_without_imaging_json_lacks_its_indicator_only(raw):
    scene = make_scene(seed=1, n_frames=12, height=64, width=64, n_cells=1)
    write_imaging(imaging(raw), [scene, scene], format="scanimage", n_flyback=1)
    (imaging(raw) / "imaging.json").unlink()
    _, streams = scan(raw)
    assert streams.plane.tolist() == [0, 1]
    row = {field: streams[field][0] for field in ("session", "kind", "name", "path", "format")}
    assert problem_of(Plane(**row, indicator="GCaMP6s")) == ""
    assert "the indicator is not known" in problem_of(Plane(**row))


def test_series_of_an_nwb_file_are_planes(raw):
    with h5py.File(imaging(raw) / "a.nwb", "w") as file:
        for name in ("plane0", "plane1"):
            series = file.create_group(f"acquisition/{name}")
            series.attrs["neurodata_type"] = "TwoPhotonSeries"
            series["data"] = np.ones((20, 5, 6), np.int16)
    facts = {"frame_rate_hz": 10, "indicator": "GCaMP6f"}
    (imaging(raw) / "imaging.json").write_text(json.dumps(facts))
    _, streams = scan(raw)
    assert streams.name.tolist() == ["FOV_00", "FOV_01"]
    assert streams.dataset.tolist() == ["plane0", "plane1"]
    assert streams.n_frames.tolist() == [20, 20]


def test_movies_that_cannot_be_read_are_listed(raw, tmp_path):
    imaging(raw, 0)
    (imaging(raw, 1) / "a.tif").write_bytes(b"no TIFF")
    write_movie(imaging(raw, 2))
    (imaging(raw, 2) / "imaging.json").write_text("{")
    write_movie(imaging(raw, 3))
    with (imaging(raw, 3) / "a.tif").open("r+b") as file:
        file.truncate(600)
    write_movie(imaging(raw, 4), 12, n_planes=2)
    paths = tmp_path / "sessions.tsv", tmp_path / "streams.tsv"
    _, streams = write_tables(raw, *paths)
    assert streams.name.tolist() == [f"FOV_{k:02d}" for k in range(6)]
    assert streams.n_frames.isna().tolist() == [True] * 4 + [False] * 2
    found = [problem_of(plane) for plane in load_streams(paths[1], ["M1/2026-01-15/001"])]
    # how a file was cut short is for the job to say, which walks through its pages
    assert [bool(problem) for problem in found] == [True, True, True, False, False, False]
    assert "found nothing" in found[0]
    assert "is no TIFF file" in found[1]
    assert "is no JSON" in found[2]


def test_a_z_stack_does_not_say_what_the_movie_is(raw):
    folder = imaging(raw)
    with h5py.File(folder / "movie.h5", "w") as file:
        file["mov"] = np.ones((20, 5, 6), np.int16)
    for name in ("zstack.tif", ".hidden.tif"):
        tifffile.imwrite(folder / name, np.ones((8, 5, 6), np.int16))
    facts = {"frame_rate_hz": 10, "indicator": "GCaMP6f", "z_stack": "zstack.tif"}
    (folder / "imaging.json").write_text(json.dumps(facts))
    _, streams = scan(raw)
    assert (streams.format.tolist(), streams.n_frames.tolist()) == (["h5"], [20])


def test_series_are_those_of_the_file_that_is_named(raw):
    """Another one that comes before it, or none at all, does not matter."""
    folder = imaging(raw)
    facts = {"frame_rate_hz": 10, "indicator": "GCaMP6f", "files": ["movie.nwb"]}
    (folder / "imaging.json").write_text(json.dumps(facts))
    _, streams = scan(raw)
    assert streams.name.tolist() == ["FOV_00"]
    row = {field: streams[field][0] for field in ("session", "kind", "name", "path", "format")}
    assert f"{folder / 'movie.nwb'}: no such file" in problem_of(Plane(**row))
    for name, series in (("a.nwb", ["x", "y"]), ("movie.nwb", ["plane0", "plane1", "plane2"])):
        with h5py.File(folder / name, "w") as file:
            for one in series:
                group = file.create_group(f"acquisition/{one}")
                group.attrs["neurodata_type"] = "TwoPhotonSeries"
                group["data"] = np.ones((20, 5, 6), np.int16)
    _, streams = scan(raw)
    assert streams.dataset.tolist() == ["plane0", "plane1", "plane2"]
