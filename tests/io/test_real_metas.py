"""What is known of every real meta, against what is read from it.

The expected values are imec's data sheets and SpikeGLX's metadata guide, worked out by hand:
µV per bit = range / 2**bits / gain.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from raw_recordings import write_with_real_meta

from sluice.errors import InputError
from sluice.io import spikeglx
from sluice.io.check_spikeglx import check_spikeglx
from sluice.io.recording import channel_table, open_probe
from sluice.session import Stream

NP1_AP_UV = 1.2e6 / 2**10 / 500
NP1_LF_UV = 1.2e6 / 2**10 / 250
NP2_UV = 1.0e6 / 2**14 / 80  # prototypes: 14 bits over 1 V
NP2_COMMERCIAL_UV = 1.24e6 / 2**12 / 100  # 12 bits over 1.24 V
REFERENCES_3A = [36, 75, 112, 151, 188, 227, 264, 303, 340, 379]


@dataclass(frozen=True)
class Expected:
    probe_type: str
    gain_uv: float
    n_channels: int = 384
    n_sync: int = 1
    shanks: tuple = (0,)
    n_slots: int = 12  # AP channels that one ADC converts in turn
    cycles: int = 13  # conversions per sample; the last shift is (n_slots - 1) / cycles
    n_groups: int = 24
    references: tuple = ()
    rate_hz: float = 30000.0
    serial: str = ""
    is_aligned: bool = False

    @property
    def n_adcs(self):
        return self.n_channels // self.n_slots


def np1(serial, rate_hz=30000.0, **changes):
    return Expected(
        "NP1.0", NP1_AP_UV, references=(191,), serial=serial, rate_hz=rate_hz, **changes
    )


def np2(probe_type, gain_uv, serial, **changes):
    return Expected(
        probe_type, gain_uv, n_slots=16, cycles=16, n_groups=16, serial=serial, **changes
    )


NP24_PROTOTYPE = np2(
    "NP2.4", NP2_UV, "19011110513", shanks=(0, 1, 2, 3), references=(127,), rate_hz=29999.757983
)
NP21_PROTOTYPE = np2("NP2.1", NP2_UV, "19011116954", references=(127,))
QUAD_BASE = np2(
    "Quad Base", NP2_COMMERCIAL_UV, "23207214152", n_channels=1536, n_sync=4, shanks=(0, 1, 2, 3)
)
PHASE_3A = Expected("3A", NP1_AP_UV, references=tuple(REFERENCES_3A), serial="641251510")

TABLE = {
    "np2split__NP1_meta___spikeglx_ephysData_g0_t0.imec0.ap": np1("18005108181", 29999.757983),
    "np2split__NP21_meta___spikeglx_ephysData_g0_t0.imec0.ap": NP21_PROTOTYPE,
    "np2split__NP24_meta___spikeglx_ephysData_g0_t0.imec0.ap": NP24_PROTOTYPE,
    "np2split__NP2QB_meta___spikeglx_ephysData_g0_t0.imec0.ap": QUAD_BASE,
    "np2split___spikeglx_ephysData_g0_t0.imec0.ap": NP24_PROTOTYPE,
    "sample3A_g0_t0.imec.ap": PHASE_3A,
    "sample3A_g0_t0.imec.lf": Expected(
        "3A",
        NP1_LF_UV,
        references=tuple(REFERENCES_3A),
        serial="641251510",
        rate_hz=2500.0,
    ),
    "sample3A_short_g0_t0.imec.ap": PHASE_3A,
    "sample3B2_exported.imec0.ap": np1("17216703352", 29999.83625, n_channels=301),
    "sample3B_catgt.ap": np1("19051020361", 30000.37095, is_aligned=True),
    "sample3B_g0_t0.imec1.ap": np1("18005116811", 30000.390639481),
    "sample3B_g0_t0.imec1.lf": Expected(
        "NP1.0", NP1_LF_UV, references=(191,), serial="18005116811", rate_hz=2500.0325532900833
    ),
    "sample3B_version202304.ap": np1("20097916182"),
    "sampleNP2.1_g0_t0.imec.ap": NP21_PROTOTYPE,
    "sampleNP2.4_1shank_g0_t0.imec.ap": np2("NP2.4", NP2_UV, "20403308181", references=(127,)),
    "sampleNP2.4_4shanks_appVersion20230905.ap": np2(
        "NP2.4", NP2_COMMERCIAL_UV, "22420006883", shanks=(0, 1, 2, 3)
    ),
    "sampleNP2.4_4shanks_g0_t0.imec.ap": NP24_PROTOTYPE,
    "sampleNP2QB.imec.ap": QUAD_BASE,
}


@pytest.fixture(scope="module")
def metas(real_data):
    return real_data / "spikeglx_meta"


def place(metas, name, folder):
    """Put a real meta beside a small binary; an LF band has its AP band beside it."""
    band = name[-2:]
    device = "imec" if "3A" in name else "imec1" if "imec1" in name else ""
    frames = {}
    for b in {"ap", band}:
        source = metas / f"{name[:-2]}{b}.meta"
        new_name = ".".join(part for part in ("run_g0_t0", device, b) if part)
        frames[b] = write_with_real_meta(folder, source, name=new_name)
    return Stream("s", "probe", "probe00", str(folder), "spikeglx"), frames[band], band


def test_the_table_has_every_meta_of_a_probe(metas):
    names = {path.stem for path in metas.glob("*.meta")}
    assert names - set(TABLE) == {"sample3B_g0_t0.nidq"}


def test_the_meta_of_the_ni_board_is_no_probe(metas):
    assert spikeglx.parse_meta(metas / "sample3B_g0_t0.nidq.meta")["niSampRate"] == "30003.0003"
    with pytest.raises(InputError, match=r"nidq\.meta: the sampling rate is missing"):
        spikeglx.read_meta(metas / "sample3B_g0_t0.nidq.meta")


@pytest.mark.parametrize("name", TABLE)
def test_header(metas, name, tmp_path):
    expected = TABLE[name]
    _, _, band = place(metas, name, tmp_path)
    assert check_spikeglx(tmp_path) == []
    (file,) = spikeglx.find_files(tmp_path, band)
    meta = spikeglx.read_meta(file.meta)
    assert spikeglx.probe_type(meta) == expected.probe_type
    assert spikeglx.serial_of(meta) == expected.serial
    assert spikeglx.counts(meta) == (expected.n_channels, expected.n_channels + expected.n_sync)
    # LF metas of these versions have no map of contacts
    assert spikeglx.n_shanks(meta) == (None if band == "lf" else len(expected.shanks))


@pytest.mark.parametrize("name", TABLE)
def test_recording(metas, name, tmp_path):
    expected = TABLE[name]
    stream, frames, band = place(metas, name, tmp_path)
    recording = open_probe(stream, band)
    assert recording.get_num_segments() == 1
    assert recording.sampling_frequency == expected.rate_hz
    assert recording.dtype == np.int16
    assert np.array_equal(recording.get_traces(), frames[:, : expected.n_channels])
    channels = channel_table(recording)
    assert channels.channel_id.tolist() == [
        f"{band.upper()}{c}" for c in range(expected.n_channels)
    ]
    # the last digit of a double is all that two ways of writing the formula may differ by
    assert np.allclose(channels.gain_uv, expected.gain_uv, rtol=1e-12)
    assert tuple(np.unique(channels.shank)) == expected.shanks
    assert tuple(np.flatnonzero(channels.is_reference)) == expected.references


@pytest.mark.parametrize("name", TABLE)
def test_adc_layout(metas, name, tmp_path):
    expected = TABLE[name]
    stream, _, band = place(metas, name, tmp_path)
    channels = channel_table(open_probe(stream, band))
    channel = np.arange(expected.n_channels)
    slot = channel % (2 * expected.n_slots) // 2
    shift = np.zeros(channel.size) if expected.is_aligned else slot / expected.cycles
    assert np.allclose(channels.sample_shift, shift)
    group = channel % 24 if expected.n_groups == 24 else slot
    assert np.array_equal(channels.median_group, group)
    if expected.n_channels != 301:  # the part of a probe
        # of a pair of ADCs, the one for even and the one for odd channels
        per_group = expected.n_adcs // (2 if expected.n_groups == 24 else 1)
        assert set(np.bincount(group)) == {per_group}


@pytest.mark.parametrize("name", [name for name in TABLE if name.endswith("ap")])
def test_positions_are_those_of_the_map_in_the_meta(metas, name, tmp_path):
    stream, _, _ = place(metas, name, tmp_path)
    channels = channel_table(open_probe(stream))
    meta = spikeglx.parse_meta(metas / f"{name}.meta")
    if "snsGeomMap" in meta:
        # shank : µm from the shank's left edge : µm : used
        header, *entries = spikeglx.table(meta["snsGeomMap"])
        pitch_um = float(header.split(",")[2])
        shank, x_um, y_um, _ = np.array([e.split(":") for e in entries], dtype=float).T
        x_um = x_um + shank * pitch_um
    else:
        # shank : column : row : used; the numbers of columns and rows leave out the stagger
        entries = spikeglx.table(meta["snsShankMap"])[1:]
        shank, column, row, _ = np.array([e.split(":") for e in entries], dtype=float).T
        is_np1 = TABLE[name].n_groups == 24
        y_um = row * (20 if is_np1 else 15)
        stagger_um = np.where(row % 2 == 0, 16, 0) if is_np1 else 0
        x_um = column * 32 + stagger_um + shank * 250
    assert np.array_equal(channels.shank, shank)
    assert np.array_equal(channels.y_um, y_um)
    # x has another origin in the map
    assert np.ptp(channels.x_um - x_um) == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TABLE)
def test_same_as_spikeinterfaces_reader(metas, name, tmp_path):
    """Oracle: what neo and SpikeInterface can read of these is the same."""
    from spikeinterface.extractors.neoextractors.spikeglx import SpikeGLXRecordingExtractor

    stream, _, band = place(metas, name, tmp_path)
    meta = spikeglx.parse_meta(metas / f"{name}.meta")
    recorded_as = meta["fileName"].rpartition("/")[2].removesuffix(".bin")
    stream_id = ".".join(recorded_as.split(".")[-2:])
    try:
        other = SpikeGLXRecordingExtractor(tmp_path, stream_id=stream_id)
    except ValueError as error:
        # metas rewritten by ibl-neuropixel
        assert "NP24" in name or name.startswith(("np2split___", "sampleNP2.4_4shanks_g0"))
        assert "unique ids" in str(error)
        return
    recording = open_probe(stream, band)
    assert other.sampling_frequency == recording.sampling_frequency
    # neo gives the sync columns of a Quad Base probe with the channels
    n_channels = recording.get_num_channels()
    assert np.array_equal(other.get_traces()[:, :n_channels], recording.get_traces())
    assert np.allclose(other.get_channel_gains(), recording.get_channel_gains(), rtol=1e-6)
    assert np.array_equal(other.get_channel_locations(), recording.get_channel_locations())
    if not TABLE[name].is_aligned:
        shifts = recording.get_property("inter_sample_shift")
        assert np.allclose(other.get_property("inter_sample_shift"), shifts)
