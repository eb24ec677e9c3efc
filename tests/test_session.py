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
    row = "M002/2026-11-20/001\tprobes\tprobe00\traw\tbinary\tfast\t4\t\t\t\n"
    with pytest.raises(SettingsError) as error:
        load_streams(write(tmp_path / "a", STREAMS, row), [SESSION])
    text = str(error.value)
    assert "no such session in the table of sessions" in text
    assert "kind is 'probes'; expected probe" in text
    assert "sampling_rate_hz is 'fast'; expected a number" in text
    assert "geometry is empty; a flat binary needs it" in text


def test_a_table_that_is_missing_or_without_columns(tmp_path):
    with pytest.raises(SettingsError, match="no such table"):
        load_sessions(tmp_path / "none.tsv")
    with pytest.raises(SettingsError, match="column date, number is missing"):
        load_sessions(write(tmp_path / "a", "subject\nM001\n"))
