"""Edges of tables and of nidq files: made, read back, and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video.simulated_camera import write_nidq

from sluice.errors import InputError
from sluice.io import pulses
from sluice.io.pulses import join_bounces, load_edges, load_times

NAME = "S leftCamera"


def load(path, line=None, **kwargs):
    return load_edges(path, line=line, name=NAME, **kwargs)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("n_analogue", [0, 1, 3])
def test_a_digital_line_is_read(tmp_path, monkeypatch, compress, n_analogue):
    """Times to the sample, in pieces that do not divide the file, edges at their seams included."""
    monkeypatch.setattr(pulses, "CHUNK_ROWS", 1000)
    times_s = 0.02 + np.arange(40) / 100.0
    # a rise at the first sample of a piece
    times_s[5] = 2000 / 30_000
    path = write_nidq(
        tmp_path,
        {2: (times_s, 0.004), 7: ([0.1], 0.2)},
        0.5,
        compress=compress,
        n_analogue=n_analogue,
    )
    edges = load(path, 2)
    np.testing.assert_allclose(edges.select("rising"), np.sort(times_s), atol=0.5 / 30_000)
    np.testing.assert_allclose(
        edges.select("falling"), np.sort(times_s) + 0.004, atol=0.5 / 30_000 + 1e-9
    )
    assert len(edges.select("both")) == 80
    assert load(path, 7).times_s == pytest.approx([0.1, 0.3])


def test_the_second_word_and_a_line_that_is_high_from_the_start(tmp_path):
    path = write_nidq(tmp_path, {17: ([0.0, 0.1], 0.05), 15: ([0.02], 0.01)}, 0.2)
    edges = load(path, 17)
    # no edge at the first sample: nothing has changed yet
    np.testing.assert_allclose(edges.times_s, [0.05, 0.1, 0.15])
    np.testing.assert_array_equal(edges.polarity, [-1, 1, -1])
    np.testing.assert_allclose(load(path, 15).times_s, [0.02, 0.03])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            3,
            r"digital line 3 has no edge; lines that have: line 2 \(80 edges\), line 7 \(2 edges\)",
        ),
        (None, r"which digital line is not said; lines that have: line 2 \(80 edges\)"),
        (16, "digital line 16 does not exist; the file has the lines 0 to 15"),
        (-1, "digital line -1 does not exist"),
    ],
)
def test_lines_without_edges(tmp_path, line, expected):
    times_s = 0.02 + np.arange(40) / 100.0
    path = write_nidq(tmp_path, {2: (times_s, 0.004), 7: ([0.1], 0.2)}, 0.5)
    with pytest.raises(InputError, match=f"{NAME}: .*nidq.bin: {expected}"):
        load(path, line)


def test_a_nidq_file_without_digital_lines(tmp_path):
    path = write_nidq(tmp_path, {0: ([0.1], 0.1)}, 0.3)
    meta = tmp_path / "run_g0_t0.nidq.meta"
    text = meta.read_text().replace("snsMnMaXaDw=0,0,1,1", "snsMnMaXaDw=0,0,2,0")
    meta.write_text(text.replace("niXDBytes1=2\n", ""))
    with pytest.raises(InputError, match=r"no digital line was saved \(snsMnMaXaDw=0,0,2,0\)"):
        load(path, 0)


@pytest.mark.parametrize("compress", [False, True])
def test_a_nidq_file_cut_short(tmp_path, compress):
    path = write_nidq(tmp_path, {0: ([0.1], 0.1)}, 0.3, compress=compress)
    with Path(path).open("r+b") as handle:
        handle.truncate(1001)
    with pytest.raises(InputError, match=r"1001 bytes.*was cut short or is of another .*again"):
        load(path, 0)


def test_a_nidq_file_without_what_belongs_to_it(tmp_path):
    path = write_nidq(tmp_path, {0: ([0.1], 0.1)}, 0.3, compress=True)
    header = json.loads((tmp_path / "run_g0_t0.nidq.ch").read_text())
    (tmp_path / "run_g0_t0.nidq.ch").write_text("{}")
    with pytest.raises(InputError, match="is no header of mtscomp"):
        load(path, 0)
    for found, expected in (
        ([1, 2], "it holds a list"),
        (header | {"chunk_offsets": 7}, "is no header of mtscomp"),
        ({key: header[key] for key in header if key != "sample_rate"}, "it has no sample_rate"),
    ):
        (tmp_path / "run_g0_t0.nidq.ch").write_text(json.dumps(found))
        with pytest.raises(InputError, match=expected):
            load(path, 0)
    (tmp_path / "run_g0_t0.nidq.ch").unlink()
    with pytest.raises(InputError, match=r"its \.ch is missing; expected run_g0_t0\.nidq\.ch"):
        load(path, 0)
    meta = tmp_path / "run_g0_t0.nidq.meta"
    good = meta.read_text()
    meta.write_text(good.replace("niSampRate=30000.0", "niSampRate=0"))
    with pytest.raises(
        InputError, match=r"niSampRate=0, .*; expected whole numbers, four counts .* rate above 0"
    ):
        load(path, 0)
    meta.write_text(good.replace("niXDBytes1=2", "niXDBytes1=abc"))
    with pytest.raises(InputError, match="niXDBytes1=abc; expected whole numbers"):
        load(path, 0)
    meta.write_text(good.replace("snsMnMaXaDw", "snsApLfSy"))
    with pytest.raises(InputError, match="no line 'snsMnMaXaDw='; expected that of a nidq file"):
        load(path, 0)
    meta.unlink()
    with pytest.raises(InputError, match=r"its \.meta is missing; expected run_g0_t0\.nidq\.meta"):
        load(path, 0)


def test_the_keys_of_a_real_meta(real_data, tmp_path):
    """A made-up recording with the real meta of a nidq: 8 lines, at 30003.0003 Hz."""
    meta = (real_data / "spikeglx_meta" / "sample3B_g0_t0.nidq.meta").read_text()
    rows = np.zeros((3000, 2), np.int16)
    rows[1000:2000, 1] = 1 << 7
    rows.tofile(tmp_path / "a.nidq.bin")
    meta = meta.replace("fileSizeBytes=98945268", f"fileSizeBytes={rows.nbytes}")
    (tmp_path / "a.nidq.meta").write_text(meta)
    edges = load(tmp_path / "a.nidq.bin", 7)
    np.testing.assert_allclose(edges.times_s, np.array([1000, 2000]) / 30003.0003)
    with pytest.raises(InputError, match="the file has the lines 0 to 7"):
        load(tmp_path / "a.nidq.bin", 8)


def test_tables(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1.0, 2.0, 3.5]))
    (tmp_path / "b.tsv").write_text("time_s\tpolarity\n1\t1\n1.5\t-1\n2\t1\n")
    (tmp_path / "c.csv").write_text("n,time_s\n0,1\n1,1.5\n")
    assert load(tmp_path / "a.npy").select("rising").tolist() == [1.0, 2.0, 3.5]
    edges = load(tmp_path / "b.tsv")
    assert edges.select("rising").tolist() == [1.0, 2.0]
    assert edges.select("falling").tolist() == [1.5]
    assert edges.select("both").tolist() == [1.0, 1.5, 2.0]
    assert load(tmp_path / "c.csv").select("rising").tolist() == [1.0, 1.5]
    assert load_times(tmp_path / "c.csv", NAME).tolist() == [1.0, 1.5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("frame\tt\n0\t1\n", "its columns are frame, t; expected an npy of times"),
        ("time_s\n1\nx\n", "could not convert .*; expected an npy of times"),
        ("time_s\tpolarity\n1\t1\n2\t0\n", "polarity has the values 0, 1; expected 1 and -1"),
        ("time_s\n1\n1\n", "times do not ascend: 1.000000 s for edge 0 and 1.000000 s for the"),
        ("time_s\n1\n\n3\nnan\n", "the time of edge 2 is nan; expected seconds"),
        ("time_s\n", "has no pulse; expected one for each exposure"),
    ],
)
def test_tables_that_are_none(tmp_path, text, expected):
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(InputError, match=f"a.tsv:? {expected}"):
        load(tmp_path / "a.tsv")


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"a\.npy: no such file; correct the path in streams"):
        load(tmp_path / "a.npy")
    for found, expected in (
        (b"\x93NUMPY", "is damaged or cut short"),
        (b"", "is empty"),
        (b"time_s", "is no npy file .it begins with b'time_s'."),
        (b"PK\x03\x04ab", "is no npy file"),
    ):
        (tmp_path / "a.npy").write_bytes(found)
        with pytest.raises(InputError, match=rf"a\.npy: {expected}.*; expected an npy of") as error:
            load(tmp_path / "a.npy")
        assert "unsafe" not in str(error.value) and "pickle" not in str(error.value)
    np.save(tmp_path / "a.npy", np.array([None, 1.0]), allow_pickle=True)
    with pytest.raises(InputError, match="holds objects of Python, not numbers; expected"):
        load(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"has the shape \(3, 2\)"):
        load_times(tmp_path / "a.npy", NAME)


def test_bounces():
    """A rise and a fall that bounce are one edge each, a short pulse remains a pulse."""
    times_s = np.array([1.0, 1.00005, 1.0001, 1.5, 1.5001, 1.5002, 2.0, 2.0001, 3.0])
    polarity = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1], np.int8)
    edges = join_bounces(times_s, polarity, bounce_s=0.0002)
    assert edges.times_s.tolist() == [1.0, 1.5, 2.0, 2.0001, 3.0]
    assert edges.polarity.tolist() == [1, -1, 1, -1, 1]
    assert edges.n_bounced == 4
    assert join_bounces(times_s, polarity, bounce_s=0).n_bounced == 0


@given(
    st.lists(st.integers(1, 10), min_size=1, max_size=60),
    st.integers(1, 6),
)
def test_bounces_against_a_slow_twin(steps, bounce):
    """One edge after the other, by the level before and behind each group."""
    times = np.cumsum(steps).astype(float)
    polarity = np.resize(np.array([1, -1], np.int8), len(times))
    groups = [[0]]
    for i in range(1, len(times)):
        if times[i] - times[i - 1] < bounce:
            groups[-1].append(i)
        else:
            groups.append([i])
    kept = [i for g in groups for i in ([g[0]] if len(g) % 2 else [g[0], g[-1]])]
    edges = join_bounces(times, polarity, bounce_s=bounce)
    np.testing.assert_array_equal(edges.times_s, times[kept])
    # the line goes up and down in turn as before
    assert (np.diff(edges.polarity) != 0).all()
