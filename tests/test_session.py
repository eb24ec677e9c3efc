"""The tables of sessions and streams: what is read and every mistake at once."""

import pytest

from sluice.errors import SettingsError
from sluice.session import load_sessions, load_streams

SESSIONS = "subject\tdate\tnumber\tspecies\n"
STREAMS = (
    "session\tkind\tname\tpath\tformat\tsampling_rate_hz\tn_channels\tdtype\tgain_uv\tgeometry\n"
)
SESSION = "M001/2026-11-20/001"


def write(path, *lines):
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_rows_become_sessions_and_streams(tmp_path):
    """Numbers keep their zeros; empty cells take the default; extra columns are kept."""
    sessions = load_sessions(
        write(tmp_path / "a", SESSIONS, "M001\t2026-11-20\t001\tMus musculus\n")
    )
    assert list(sessions.index) == [SESSION]
    assert sessions.loc[SESSION, "number"] == "001"
    rows = [
        f"{SESSION}\tprobe\tprobe00\traw/größe a\tspikeglx\t\t\t\t\t\n",
        f"{SESSION}\tprobe\ttetrode\tx.raw\tbinary\t15000\t4\tint16\t0.1\t0,0 0,10 10,0 10,10\n",
    ]
    probe, tetrode = load_streams(write(tmp_path / "b", STREAMS, *rows), sessions.index)
    assert probe.path == "raw/größe a"
    assert probe.sampling_rate_hz is None
    assert (tetrode.sampling_rate_hz, tetrode.n_channels, tetrode.gain_uv) == (15000.0, 4, 0.1)


def test_a_session_twice(tmp_path):
    row = "M001\t2026-11-20\t001\t\n"
    with pytest.raises(SettingsError, match=f"session {SESSION}: stands more than once"):
        load_sessions(write(tmp_path / "a", SESSIONS, row, row))


def test_every_mistake_in_a_session(tmp_path):
    with pytest.raises(SettingsError) as error:
        load_sessions(write(tmp_path / "a", SESSIONS, "M 1\t20.11.2026\t1\t\n"))
    text = str(error.value)
    assert "3 problem(s)" in text
    assert "date is '20.11.2026'; expected YYYY-MM-DD" in text
    assert "number is '1'; expected three digits" in text


def test_two_probes_with_one_name(tmp_path):
    row = f"{SESSION}\tprobe\tprobe00\traw\tspikeglx\t\t\t\t\t\n"
    with pytest.raises(SettingsError, match="probe00: two streams of the session have this name"):
        load_streams(write(tmp_path / "a", STREAMS, row, row), [SESSION])


def test_every_mistake_in_a_stream(tmp_path):
    row = "M002/2026-11-20/001\tprobe\tprobe00\traw\tbinary\tfast\t4\t\t\t\n"
    # what the other columns of an unknown kind should hold is not known
    unknown = f"{SESSION}\tprobes\tprobe00\traw\tzarr\tfast\t\t\t\t\n"
    with pytest.raises(SettingsError) as error:
        load_streams(write(tmp_path / "a", STREAMS, row, unknown), [SESSION])
    text = str(error.value)
    assert "no such session in the table of sessions" in text
    assert f"session {SESSION}, stream probe00: kind is 'probes'; expected probe or plane" in text
    assert "zarr" not in text
    assert "sampling_rate_hz is 'fast'; expected a number" in text
    assert "geometry is empty; a flat binary needs it" in text


def test_a_table_that_is_missing_or_without_columns(tmp_path):
    with pytest.raises(SettingsError, match="no such table"):
        load_sessions(tmp_path / "none.tsv")
    with pytest.raises(SettingsError, match="column date, number is missing"):
        load_sessions(write(tmp_path / "a", "subject\nM001\n"))


PLANES = (
    "session\tkind\tname\tpath\tformat\tplane\tn_planes\tchannel\tn_channels\tsampling_rate_hz"
    "\tum_per_pixel\tindicator\tdecay_s\tpaired_with\tgain_uv\n"
)


def plane_row(name="FOV_00", values="0\t2\t0\t1\t10.5\t0.8\tGCaMP6f\t\t\t", session=SESSION):
    return f"{session}\tplane\t{name}\traw\ttiff\t{values}\n"


def test_rows_become_planes(tmp_path):
    """A column of another kind of stream is no attribute of a plane."""
    rows = [
        plane_row(values="0\t2\t1\t2\t10.5\t0.8\tGCaMP6f\t\tFOV_01\t"),
        plane_row("FOV_01", "\t\t\t\t\t\t\t\t\t2.34"),
    ]
    first, second = load_streams(write(tmp_path / "a", PLANES, *rows), [SESSION])
    assert (first.plane, first.n_planes, first.channel, first.n_channels) == (0, 2, 1, 2)
    assert (first.sampling_rate_hz, first.um_per_pixel, first.decay_s) == (10.5, 0.8, None)
    assert (first.indicator, first.paired_with) == ("GCaMP6f", "FOV_01")
    # nothing is made up
    assert (second.plane, second.n_planes, second.sampling_rate_hz) == (0, None, None)
    # an empty channel is not channel 0, which would win over imaging.json
    assert second.channel is None
    (third,) = load_streams(write(tmp_path / "b", PLANES, plane_row()), [SESSION])
    assert third.channel == 0
    assert not hasattr(second, "gain_uv")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("plane0", "\t" * 9, "name is 'plane0'; expected FOV_ and two digits, e.g. FOV_00"),
        ("FOV_00", "2\t2" + "\t" * 8, "plane is 2; expected a whole number from 0 to 1"),
        ("FOV_00", "-1" + "\t" * 9, "plane is -1; expected a whole number from 0"),
        ("FOV_00", "0\t0" + "\t" * 8, "n_planes is 0; expected a whole number from 1"),
        ("FOV_00", "0\t1\t3\t2" + "\t" * 6, "channel is 3; expected a whole number from 0 to 1"),
        ("FOV_00", "\t\t\t\t0" + "\t" * 5, "sampling_rate_hz is 0; expected a number above 0"),
        ("FOV_00", "\t\t\t\tnan" + "\t" * 5, "sampling_rate_hz is nan; expected a number above"),
        ("FOV_00", "\t" * 5 + "-0.8" + "\t" * 4, "um_per_pixel is -0.8; expected a number above 0"),
        ("FOV_00", "\t" * 7 + "inf" + "\t" * 2, "decay_s is inf; expected a number above 0"),
        ("FOV_00", "1.5" + "\t" * 9, "plane is '1.5'; expected a number"),
        ("FOV_00", "\t" * 8 + "FOV_07\t", "paired_with is 'FOV_07'; the session has no such plane"),
        ("FOV_00", "\t" * 8 + "FOV_00\t", "paired_with is 'FOV_00'; expected another plane"),
    ],
)
def test_mistakes_in_a_plane(tmp_path, name, values, message):
    row = plane_row(name, values)
    with pytest.raises(SettingsError) as error:
        load_streams(write(tmp_path / "a", PLANES, row), [SESSION])
    assert f"session {SESSION}, stream {name}: {message}" in str(error.value)


def test_a_pair_lies_in_one_session(tmp_path):
    """A plane of the same name in another session is none of this one."""
    other = "M001/2026-11-21/001"
    rows = [
        plane_row(values="\t" * 8 + "FOV_01\t"),
        plane_row("FOV_01", "\t" * 9, session=other),
    ]
    with pytest.raises(SettingsError, match="the session has no such plane"):
        load_streams(write(tmp_path / "a", PLANES, *rows), [SESSION, other])
