"""Every way in which a SpikeGLX recording can be unreadable, and the message it gives."""

import json

import pytest
from raw_recordings import SERIAL, compress, np1_meta, write_meta, write_probe, write_spikeglx

from sluice.io.check_spikeglx import check_spikeglx

AP = "run_g0_t0.imec0.ap"
LF = "run_g0_t0.imec0.lf"


@pytest.fixture
def probe(tmp_path):
    """A folder with spaces and non-ASCII letters that holds a good recording."""
    folder = tmp_path / "Maus Nr 3 – été" / "probe00"
    write_probe(folder)
    assert check_spikeglx(folder) == []
    assert check_spikeglx(folder, serial=SERIAL) == []
    return folder


def only_problem(folder, *parts, **kwargs):
    """The recording has one problem, whose message holds all of the parts."""
    problems = check_spikeglx(folder, **kwargs)
    assert len(problems) == 1, problems
    for part in parts:
        assert str(part) in problems[0]


def edit_meta(path, **changes):
    lines = dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines())
    write_meta(path, lines | changes)


def test_folder_missing(tmp_path):
    only_problem(tmp_path / "none", "none: no such folder", "table of streams")


def test_folder_empty(tmp_path):
    only_problem(tmp_path, tmp_path, "no AP recording", "expected *.ap.bin or *.ap.cbin")


def test_meta_missing(probe):
    (probe / f"{AP}.meta").unlink()
    only_problem(probe, probe / f"{AP}.bin", "its .meta is missing", f"{AP}.meta", "Copy it")


def test_binary_missing(probe):
    (probe / f"{LF}.bin").unlink()
    only_problem(probe, probe / f"{LF}.meta", "is missing; expected", f"{LF}.bin")


def test_zero_length(probe):
    (probe / f"{AP}.bin").write_bytes(b"")
    only_problem(probe, f"{AP}.bin: is empty (0 bytes); expected 7920 bytes", "Copy it again")


def test_cut_within_a_frame(probe):
    path = probe / f"{AP}.bin"
    path.write_bytes(path.read_bytes()[:-3])
    only_problem(probe, path, "7917 bytes", "frames of 66 bytes (33 channels)", "cut short", "7920")


def test_cut_between_frames(probe):
    path = probe / f"{AP}.bin"
    path.write_bytes(path.read_bytes()[:-66])
    only_problem(probe, path, "7854 bytes, but its .meta says 7920 (fileSizeBytes)", "Copy it")


def test_sampling_rate_missing(probe):
    path = probe / f"{AP}.meta"
    text = path.read_text(encoding="utf-8").replace("imSampRate=30000\n", "")
    path.write_text(text, encoding="utf-8")
    only_problem(probe, path, "the sampling rate is missing", "imSampRate")


def test_serial_is_not_the_tables(probe):
    problems = check_spikeglx(probe, serial="999")
    # the AP and the LF meta, each named
    assert len(problems) == 2
    assert f"{AP}.meta: is of another probe: serial number {SERIAL}, expected 999" in problems[0]
    assert "the table of streams" in problems[0]


def test_lf_meta_of_another_probe(probe):
    edit_meta(probe / f"{LF}.meta", imDatPrb_sn="777")
    only_problem(
        probe, f"{LF}.meta: is of another probe: serial number 777, expected {SERIAL}", f"{AP}.meta"
    )


def test_meta_written_for_another_device(probe):
    edit_meta(probe / f"{AP}.meta", fileName="D:/run_g0/run_g0_imec1/run_g0_t0.imec1.ap.bin")
    only_problem(probe, f"{AP}.meta: is of another probe: it was written for imec1", "imec0")


def test_meta_of_the_other_band(probe):
    lf = (probe / f"{LF}.meta").read_text(encoding="utf-8")
    (probe / f"{AP}.meta").write_text(lf.replace("imec0.lf", "imec0.ap"), encoding="utf-8")
    only_problem(probe, f"{AP}.meta", "has no channel of the AP band", "another file")


def test_channel_counts_that_disagree(probe):
    edit_meta(probe / f"{AP}.meta", snsApLfSy="384,0,1")
    only_problem(probe, f"{AP}.meta", "snsApLfSy=384,0,1 is 385 channels, but nSavedChans=33")
    edit_meta(probe / f"{AP}.meta", snsApLfSy="32")
    only_problem(probe, "snsApLfSy is '32'; expected three counts")
    edit_meta(probe / f"{AP}.meta", snsApLfSy="32,0,1", snsSaveChanSubset="0:10")
    only_problem(probe, "snsSaveChanSubset lists 11 channels, but nSavedChans=33")


def test_files_of_several_probes(probe):
    write_probe(probe, device="imec1")
    only_problem(probe, "files of several probes (imec0, imec1)", "stream_id")
    assert check_spikeglx(probe, device="imec1") == []
    only_problem(probe, "no AP recording of imec2", device="imec2")


def test_files_of_several_runs(probe):
    write_probe(probe, run="other_g0_t0")
    only_problem(probe, "files of several runs (other, run)", "its own folder")


def test_catgt_output_beside_what_it_was_made_from(probe):
    write_spikeglx(probe, np1_meta(32), name="run_g0_tcat.imec0.ap")
    only_problem(probe, "both CatGT's output (tcat) and the files", "keep either")


def test_files_of_a_run_that_cannot_be_joined(probe):
    write_spikeglx(probe, np1_meta(16), name="run_g0_t1.imec0.ap")
    only_problem(probe, "run_g0_t1.imec0.ap.meta: nSavedChans differs from that of", f"{AP}.meta")


def test_several_problems_are_all_named(probe):
    (probe / f"{AP}.bin").write_bytes(b"")
    edit_meta(probe / f"{LF}.meta", imSampRate="-1")
    problems = check_spikeglx(probe)
    assert len(problems) == 2
    assert "is empty" in problems[0]
    assert "imSampRate is '-1'" in problems[1]


class TestCompressed:
    @pytest.fixture
    def packed(self, probe):
        compress(probe / f"{AP}.bin", 33)
        assert check_spikeglx(probe) == []
        return probe

    def edit_header(self, folder, **changes):
        path = folder / f"{AP}.ch"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def test_header_missing(self, packed):
        (packed / f"{AP}.ch").unlink()
        only_problem(packed, f"{AP}.cbin: its .ch is missing", f"{AP}.ch", "decompressed")

    def test_header_is_no_json(self, packed):
        (packed / f"{AP}.ch").write_text("{")
        only_problem(packed, f"{AP}.ch: is no header of mtscomp", "Copy it again")

    def test_cut_short(self, packed):
        path = packed / f"{AP}.cbin"
        size = path.stat().st_size
        path.write_bytes(path.read_bytes()[:-1])
        only_problem(packed, path, f"{size - 1} bytes, but its .ch says {size}", "cut short")

    def test_other_number_of_channels(self, packed):
        self.edit_header(packed, n_channels=32)
        only_problem(packed, f"{AP}.ch: 32 channels of int16, but the .meta says 33")

    def test_other_length(self, packed):
        edit_meta(packed / f"{AP}.meta", fileSizeBytes="66")
        only_problem(packed, f"{AP}.ch: 120 samples of 33 channels are 7920 bytes", "says 66")
