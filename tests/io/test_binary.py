"""Flat binaries and the contacts their row in the table gives."""

import json
from dataclasses import replace

import numpy as np
import probeinterface
import pytest

from sluice.errors import InputError
from sluice.io.binary import check_binary, read_geometry
from sluice.session import Stream


@pytest.fixture
def stream(tmp_path):
    path = tmp_path / "Tetrode – été.raw"
    np.zeros((5, 4), np.int16).tofile(path)
    stream = Stream(
        "s", "probe", "t", str(path), "binary",
        sampling_rate_hz=15000.0, n_channels=4, dtype="int16", gain_uv=1.0,
        geometry="0,0 10,0 0,10 10,10",
    )  # fmt: skip
    assert check_binary(stream) == []
    return stream


def only_problem(stream, *parts):
    problems = check_binary(stream)
    assert len(problems) == 1, problems
    for part in parts:
        assert part in problems[0]


def test_missing_empty_and_cut_short(stream):
    only_problem(replace(stream, path=stream.path + "x"), "no such file", "table of streams")
    with open(stream.path, "ab") as file:  # noqa: PTH123
        file.write(b"x")
    only_problem(stream, "41 bytes", "frames of 8 bytes (4 channels)", "n_channels is wrong")
    with open(stream.path, "wb"):  # noqa: PTH123
        pass
    only_problem(stream, "is empty (0 bytes)")


@pytest.mark.parametrize("dtype", ["uint16", "float32", "", "nonsense"])
def test_other_types_of_samples(stream, dtype):
    only_problem(replace(stream, dtype=dtype), f"dtype is {dtype or '(empty)'}; expected int16")


@pytest.mark.parametrize("column", ["n_channels", "sampling_rate_hz", "gain_uv"])
@pytest.mark.parametrize("value", [None, 0, -1])
def test_what_the_file_does_not_say(stream, column, value):
    only_problem(
        replace(stream, **{column: value}), f"{column} is {value}; expected a number above"
    )


@pytest.mark.parametrize("geometry", ["", "0 1 2 3", "0,0 a,b", "0,0 1,1,0 2,2 3,3"])
def test_contacts_that_cannot_be_read(stream, geometry):
    only_problem(replace(stream, geometry=geometry), "expected 'x,y' of each channel in µm")


def test_wrong_number_of_contacts(stream):
    only_problem(
        replace(stream, geometry="0,0 10,0 0,10"),
        "geometry has 3 contacts, expected 4 (n_channels)",
    )


def test_contacts_on_each_other(stream):
    only_problem(replace(stream, geometry="0,0 10,0 0,10 0,0"), "two contacts at the same place")


def test_probeinterface_file(stream, tmp_path):
    """Contacts come in the order of the channels that they are wired to."""
    probe = probeinterface.Probe(ndim=2, si_units="um")
    probe.set_contacts([[0, 0], [0, 20], [100, 0], [100, 20]], shank_ids=["a", "a", "b", "b"])
    probe.set_device_channel_indices([3, 2, 1, 0])
    path = tmp_path / "Sonde.json"
    probeinterface.write_probeinterface(path, probe)
    positions, shank = read_geometry(replace(stream, geometry=str(path)))
    assert positions.tolist() == [[100, 20], [100, 0], [0, 20], [0, 0]]
    assert shank.tolist() == [1, 1, 0, 0]


def test_probeinterface_file_in_mm_without_wiring(stream, tmp_path):
    path = tmp_path / "p.json"
    probe = {"si_units": "mm", "contact_positions": [[0, 0], [0.02, 0], [0, 0.02], [0.1, 0.1]]}
    path.write_text(json.dumps({"specification": "probeinterface", "probes": [probe]}))
    positions, shank = read_geometry(replace(stream, geometry=str(path)))
    assert np.allclose(positions, [[0, 0], [20, 0], [0, 20], [100, 100]])
    assert not shank.any()


def test_probe_file_that_cannot_be_read(stream, tmp_path):
    path = tmp_path / "p.json"
    missing = replace(stream, geometry=str(path))
    only_problem(missing, "p.json: is no probeinterface file", "No such file")
    path.write_text(json.dumps({"probes": [{}, {}]}))
    with pytest.raises(InputError, match=r"p\.json: is no probeinterface file.*2 probes"):
        read_geometry(missing)
