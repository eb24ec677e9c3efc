"""Names and metas of SpikeGLX files."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_recordings import np1_meta, write_meta, write_spikeglx

from sluice.errors import InputError
from sluice.io import spikeglx


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("run_g0_t0.imec0.ap.bin", ("run", "0", "0", "imec0", "ap", "bin")),
        ("my run_g12_t3.imec1.lf.meta", ("my run", "12", "3", "imec1", "lf", "meta")),
        ("run_g0_tcat.imec0.ap.cbin", ("run", "0", "cat", "imec0", "ap", "cbin")),
        ("run_g0_tcat.exported.imec0.ap.bin", ("run", "0", "cat", "imec0", "ap", "bin")),
        ("3A_g0_t0.imec.ap.ch", ("3A", "0", "0", "imec", "ap", "ch")),
        (
            "_spikeglx_ephysData_g0_t0.imec0.ap.1f2a3b4c-0000-4111-8222-333344445555.cbin",
            ("_spikeglx_ephysData", "0", "0", "imec0", "ap", "cbin"),
        ),
        ("Mäuse_1.5mm_g0_t0.imec0.ap.bin", ("Mäuse_1.5mm", "0", "0", "imec0", "ap", "bin")),
        ("renamed.ap.meta", ("renamed", None, None, None, "ap", "meta")),
    ],
)
def test_file_names(name, expected):
    match = spikeglx.FILE_NAME.fullmatch(name)
    parts = ("run", "gate", "trigger", "device", "band", "suffix")
    assert tuple(match[part] for part in parts) == expected


@pytest.mark.parametrize(
    "name", ["run_g0_t0.nidq.bin", "run_g0_t0.obx0.obx.bin", "run_g0_t0.imec0.ap.bin.part", "x.csv"]
)
def test_other_files_are_not_taken(name):
    assert spikeglx.FILE_NAME.fullmatch(name) is None


def test_files_are_ordered_by_gate_and_trigger_as_numbers(tmp_path):
    for part in ("g0_t10", "g0_t2", "g1_t0", "g0_t0"):
        write_spikeglx(tmp_path, np1_meta(4), name=f"run_{part}.imec0.ap")
    found = spikeglx.find_files(tmp_path, "ap")
    assert [(f.gate, f.trigger) for f in found] == [(0, 0), (0, 2), (0, 10), (1, 0)]
    assert spikeglx.find_files(tmp_path, "lf") == []


def test_one_probe_of_a_run_folder_is_found_by_its_device(tmp_path):
    for gate in (0, 1):
        for device in ("imec0", "imec1"):
            folder = tmp_path / f"run_g{gate}" / f"run_g{gate}_{device}"
            write_spikeglx(folder, np1_meta(4), name=f"run_g{gate}_t0.{device}.ap")
    found = spikeglx.find_files(tmp_path, "ap", device="imec1")
    assert [(f.gate, f.device) for f in found] == [(0, "imec1"), (1, "imec1")]


def test_binary_is_preferred_to_its_compressed_copy(tmp_path):
    write_spikeglx(tmp_path, np1_meta(4))
    (tmp_path / "run_g0_t0.imec0.ap.cbin").touch()
    (tmp_path / "run_g0_t0.imec0.ap.ch").touch()
    (file,) = spikeglx.find_files(tmp_path, "ap")
    assert file.data.suffix == ".bin"
    assert file.chunks is None


def test_two_copies_of_one_file_are_an_error(tmp_path):
    write_spikeglx(tmp_path, np1_meta(4))
    (tmp_path / "run_g0_t0.imec0.ap.11111111-2222-3333-4444-555555555555.bin").touch()
    with pytest.raises(InputError, match=r"a second \.bin of the same recording.*Keep one"):
        spikeglx.find_files(tmp_path, "ap")


def test_meta_keys_and_values(tmp_path):
    path = tmp_path / "a.ap.meta"
    write_meta(path, np1_meta(4, fileSizeBytes=10, userNotes="a=b, c"))
    meta = spikeglx.read_meta(path)
    assert meta["imSampRate"] == "30000"
    assert meta["imroTbl"].startswith("(0,384)(0 0 0 500 250 1)")
    # a value may hold the sign that ends a key
    assert meta["userNotes"] == "a=b, c"


def test_meta_in_a_windows_code_page(tmp_path):
    path = tmp_path / "a.ap.meta"
    write_meta(path, np1_meta(4, fileSizeBytes=10, userNotes="Käfig 3"), encoding="cp1252")
    assert spikeglx.read_meta(path)["userNotes"] == "Käfig 3"


def test_missing_sampling_rate_names_file_and_key(tmp_path):
    path = tmp_path / "a.ap.meta"
    meta = np1_meta(4, fileSizeBytes=10)
    del meta["imSampRate"]
    write_meta(path, meta)
    with pytest.raises(InputError) as error:
        spikeglx.read_meta(path)
    for part in (str(path), "the sampling rate is missing", "'imSampRate='", "copy it again"):
        assert part in str(error.value)


@pytest.mark.parametrize("key", ["nSavedChans", "snsApLfSy", "imroTbl", "fileSizeBytes"])
def test_missing_key_names_file_and_key(tmp_path, key):
    path = tmp_path / "a.ap.meta"
    meta = np1_meta(4, fileSizeBytes=10)
    meta.pop(key, None) or meta.pop(f"~{key}")
    write_meta(path, meta)
    with pytest.raises(InputError, match=f"a.ap.meta: no line '{key}='"):
        spikeglx.read_meta(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("imSampRate", "0"), ("imSampRate", "fast"), ("nSavedChans", "4.5"), ("imAiRangeMax", "nan")],
)
def test_value_that_is_no_positive_number(tmp_path, key, value):
    path = tmp_path / "a.ap.meta"
    write_meta(path, np1_meta(4, fileSizeBytes=10) | {key: value})
    with pytest.raises(InputError, match=f"a.ap.meta: {key} is '{value}'; expected a number above"):
        spikeglx.read_meta(path)


@settings(derandomize=True, max_examples=30)
@given(st.sets(st.integers(0, 400), min_size=1))
def test_saved_channels_reads_ranges(channels):
    channels = sorted(channels)
    # written as single numbers, and as ranges of the longest runs
    single = {"snsSaveChanSubset": ",".join(map(str, channels))}
    runs = []
    for channel in channels:
        if runs and runs[-1][1] == channel - 1:
            runs[-1][1] = channel
        else:
            runs.append([channel, channel])
    ranges = {"snsSaveChanSubset": ",".join(f"{a}:{b}" for a, b in runs)}
    assert spikeglx.saved_channels(single) == channels
    assert spikeglx.saved_channels(ranges) == channels


def test_saved_channels_of_all_and_of_a_split_shank():
    assert spikeglx.saved_channels({"snsSaveChanSubset": "all", "nSavedChans": "3"}) == [0, 1, 2]
    split = {"snsSaveChanSubset": "0:2", "snsSaveChanSubset_orig": "48:49,384"}
    assert spikeglx.saved_channels(split) == [48, 49, 384]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ({}, False),
        ({"catGTCmdline0": "<CatGT -ap -gblcar>"}, True),
        ({"catGTCmdline0": "<CatGT -ap -no_tshift>"}, False),
        ({"catTVals": "0,799"}, False),
    ],
)
def test_time_aligned_by_catgt(commands, expected):
    assert spikeglx.is_time_aligned(np1_meta(4) | commands) is expected
