"""Streams of Open Ephys folders and what can be wrong with them."""

import json
import shutil

import numpy as np
import pytest
from raw_recordings import write_openephys

from sluice.io import openephys

AP = "Neuropix-PXI-100.ProbeA-AP"
LFP = "Neuropix-PXI-100.ProbeA-LFP"


@pytest.fixture
def folder(tmp_path):
    """A good recording in a folder with spaces and letters beyond ASCII."""
    folder = tmp_path / "Aufnahme – été"
    write_openephys(folder / "Record Node 101")
    assert openephys.check_openephys(folder) == []
    assert openephys.check_openephys(folder, stream_id="ProbeA-AP", serial="18005110001") == []
    return folder


def recording(folder):
    return folder / "Record Node 101" / "experiment1" / "recording1"


def only_problem(folder, *parts, **kwargs):
    problems = openephys.check_openephys(folder, **kwargs)
    assert len(problems) == 1, problems
    for part in parts:
        assert str(part) in problems[0]


def edit_header(folder, edit):
    path = recording(folder) / "structure.oebin"
    header = json.loads(path.read_text())
    edit(header["continuous"])
    path.write_text(json.dumps(header))


def test_streams_that_are_not_neural_are_left_out(folder):
    found = openephys.find_streams(folder)
    assert [(s.full_name, s.band) for s in found] == [
        (f"Record Node 101#{AP}", "ap"),
        (f"Record Node 101#{LFP}", "lf"),
    ]


def test_streams_of_an_ni_board_are_left_out_whatever_their_channels_are_called(folder):
    edit_header(
        folder, lambda entries: [c.update(channel_name="reward") for c in entries[0]["channels"]]
    )
    assert len(openephys.find_streams(folder)) == 2


@pytest.mark.parametrize("stream_id", ["", "ProbeA-AP", AP, f"Record Node 101#{AP}"])
def test_stream_by_each_of_its_names(folder, stream_id):
    assert openephys.select(folder, "ap", stream_id=stream_id).name == AP
    assert openephys.select(folder, "lf", stream_id=stream_id).name == LFP


def test_auxiliary_channels_of_a_stream_are_left_out(folder):
    def add(entries):
        channels = entries[1]["channels"]
        channels += [dict(channels[0], channel_name=n) for n in ("ADC1", "AUX2", "AP_SYNC")]

    edit_header(folder, add)
    (stream, _) = openephys.find_streams(folder)
    assert len(stream.channels) == 384
    assert stream.n_columns == 387


def test_neural_channels_behind_others(folder):
    edit_header(folder, lambda entries: entries[1]["channels"][0].update(channel_name="ADC1"))
    only_problem(folder, f"channels of {AP}/ are mixed with others", "flat binary")


def test_probe_without_an_lf_band(tmp_path):
    write_openephys(tmp_path)
    for path in (tmp_path / "experiment1" / "recording1",):
        header = json.loads((path / "structure.oebin").read_text())
        # as Neuropixels 2.0 are called
        header["continuous"] = [header["continuous"][1] | {"stream_name": "ProbeA"}]
        header["continuous"][0]["folder_name"] = "Neuropix-PXI-100.ProbeA/"
        (path / "structure.oebin").write_text(json.dumps(header))
    assert openephys.select(tmp_path, "ap", stream_id="ProbeA").band == "ap"
    assert openephys.select(tmp_path, "lf", stream_id="ProbeA") is None


def test_folder_missing_or_without_recording(tmp_path):
    only_problem(tmp_path / "none", "no such folder")
    only_problem(tmp_path, "expected one neural AP stream, found 0 (no streams at all)")


def test_two_probes_need_a_name(tmp_path):
    write_openephys(tmp_path, probes="AB")
    only_problem(tmp_path, "expected one neural AP stream, found 2", "ProbeB-AP", "stream_id")
    assert openephys.check_openephys(tmp_path, stream_id="ProbeB-AP") == []
    only_problem(tmp_path, "named ProbeC-AP, found 0", "ProbeA-AP", stream_id="ProbeC-AP")


def test_two_record_nodes_need_a_name(folder):
    shutil.copytree(folder / "Record Node 101", folder / "Record Node 102")
    only_problem(folder, "found 2", "Record Node 102#", stream_id="ProbeA-AP")
    assert openephys.check_openephys(folder, stream_id=f"Record Node 102#{AP}") == []


def test_header_that_cannot_be_read(folder):
    path = recording(folder) / "structure.oebin"
    path.write_text("{}")
    only_problem(folder, f"{path}: is no header", "Copy it again")


def test_data_missing_empty_and_cut_short(folder):
    path = recording(folder) / "continuous" / AP / "continuous.dat"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    only_problem(folder, f"{path}: {len(data) - 1} bytes", "frames of 768 bytes (384 channels)")
    path.write_bytes(data[:-768])
    only_problem(folder, f"{path}: 59 samples, but sample_numbers.npy beside it has 60")
    path.write_bytes(b"")
    only_problem(folder, f"{path}: is empty (0 bytes)")
    path.unlink()
    only_problem(folder, f"{path}: is missing")


def test_recordings_of_one_experiment_that_differ(tmp_path):
    write_openephys(tmp_path, recordings=2)
    path = tmp_path / "experiment1" / "recording2" / "structure.oebin"
    path.write_text(path.read_text().replace("30000.0", "20000.0"))
    only_problem(tmp_path, f"{path}: ", "has other channels, gains or another rate", "its own row")


def test_settings_missing_or_without_probe(folder):
    path = folder / "Record Node 101" / "settings.xml"
    path.write_text("<SETTINGS/>")
    only_problem(folder, f"{path}: describes no Neuropixels probe", "geometry column")
    path.unlink()
    only_problem(folder, f"{path}: is missing", "geometry column")
    assert openephys.check_openephys(folder, has_geometry=True) == []


def test_serial_is_not_the_tables(folder):
    only_problem(
        folder, "settings.xml: is of another probe", "18005110001", "expected 999", serial="999"
    )


def test_settings_of_later_experiments(tmp_path):
    write_openephys(tmp_path)
    (tmp_path / "experiment1").rename(tmp_path / "experiment3")
    (stream, _) = openephys.find_streams(tmp_path)
    assert stream.settings == tmp_path / "settings_3.xml"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["CH0", "CH3", "CH383"], [0, 3, 383]),
        (["AP1", "AP384"], [0, 383]),
        (["CH5", "CH6"], None),
        (["CH0", "reward"], None),
        (["CH0", "CH400"], None),
    ],
)
def test_acquisition_channels(names, expected):
    found = openephys.acquisition_channels(names, 384)
    assert expected is None if found is None else np.array_equal(found, expected)
