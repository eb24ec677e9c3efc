"""The table of containers: what is read and every mistake at once."""

import pytest

from sluice.containers import Container, load_containers
from sluice.errors import SettingsError
from sluice.session import Plane, Stream

HEADER = "container\tsession\tplane\n"
DAYS = [f"M001/2026-11-{day}/001" for day in (20, 21, 22)]
PLANES = [Plane(day, "plane", f"FOV_0{k}", "x", "tiff") for day in DAYS for k in (0, 1)]


def write(path, *rows, header=HEADER):
    path.write_text(header + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def problems(path, planes=PLANES):
    with pytest.raises(SettingsError) as error:
        load_containers(path, planes)
    return str(error.value)


def test_rows_become_containers_in_their_order(tmp_path):
    rows = [("b", DAYS[2], "FOV_00"), ("a", DAYS[0], "FOV_01"), ("b", DAYS[0], "FOV_01")]
    path = write(tmp_path / "a.tsv", *rows, ("a", DAYS[1], "FOV_01"))
    assert load_containers(path, PLANES) == [
        Container("b", ((DAYS[2], "FOV_00"), (DAYS[0], "FOV_01"))),
        Container("a", ((DAYS[0], "FOV_01"), (DAYS[1], "FOV_01"))),
    ]


def test_no_table_no_containers(tmp_path):
    assert load_containers(None, PLANES) == []
    assert load_containers(write(tmp_path / "empty.tsv"), PLANES) == []


def test_other_columns_are_ignored(tmp_path):
    rows = [("a", DAYS[0], "FOV_00", "good"), ("a", DAYS[1], "FOV_00", "")]
    path = write(tmp_path / "a.tsv", *rows, header="container\tsession\tplane\tnote\n")
    assert len(load_containers(path, PLANES)) == 1


def test_a_table_that_is_missing_or_without_columns(tmp_path):
    assert "no such table" in problems(tmp_path / "none.tsv")
    assert "set containers to null" in problems(tmp_path / "none.tsv")
    path = write(tmp_path / "a.tsv", header="container\tday\n")
    assert "column session, plane is missing; found container, day" in problems(path)


def test_every_mistake_at_once(tmp_path):
    path = write(
        tmp_path / "a.tsv",
        ("ok", DAYS[0], "FOV_00"),
        ("ok", "M002/2026-11-20/001", "FOV_00"),
        ("ok", DAYS[1], "FOV_07"),
        ("../up", DAYS[0], "FOV_00"),
        ("../up", DAYS[1], "FOV_00"),
        ("twice", DAYS[0], "FOV_00"),
        ("twice", DAYS[0], "FOV_00"),
        ("twice", DAYS[1], "FOV_00"),
        ("alone", DAYS[0], "FOV_00"),
        ("depths", DAYS[0], "FOV_00"),
        ("depths", DAYS[0], "FOV_01"),
        ("depths", DAYS[1], "FOV_01"),
        ("", DAYS[0], "FOV_00"),
        ("", DAYS[1], "FOV_00"),
    )
    text = problems(path)
    assert "7 problem(s)" in text
    assert (
        "container ok, session M002/2026-11-20/001: no such session with a plane in the table "
        "of streams; add it to the tables of sessions and streams, or correct the name"
    ) in text
    assert "plane 'FOV_07' is not in the table of streams, which has FOV_00, FOV_01" in text
    assert "container '../up': expected a name of letters" in text
    assert "container '': expected a name of letters" in text
    assert f"container twice, session {DAYS[0]}: a row stands more than once; keep one" in text
    assert "container alone: has one session only; expected two or more" in text
    assert f"container depths, session {DAYS[0]}: has planes FOV_00, FOV_01; expected one" in text


def test_a_probe_is_no_plane(tmp_path):
    path = write(tmp_path / "a.tsv", ("a", "S", "FOV_00"), ("a", DAYS[0], "FOV_00"))
    streams = [*PLANES, Stream("S", "probe", "FOV_00", "x", "spikeglx")]
    assert "container a, session S: no such session with a plane" in problems(path, streams)
