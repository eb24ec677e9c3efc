import json
from types import SimpleNamespace

import numpy as np
import one.alf.io as alfio
import pandas as pd
import pytest
from ephys.probe_signals import (
    AP_UV,
    LF_UV,
    RATE_HZ,
    channel_table,
    make_probe,
    neuropixels_table,
    recording_of,
)
from one.alf.spec import is_valid

from sluice.ephys.check_probe import check_probe_file
from sluice.ephys.traces import CHANNEL_COLUMNS, load_channels
from sluice.errors import InputError
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ephys"]["check_probe"]
IBL_FILES = [
    "_iblqc_ephysChannels.apRMS.npy",
    "_iblqc_ephysChannels.labels.npy",
    "_iblqc_ephysChannels.rawSpikeRates.npy",
    "_iblqc_ephysSaturation.samples.pqt",
    "_iblqc_ephysSpectralDensityAP.freqs.npy",
    "_iblqc_ephysSpectralDensityAP.power.npy",
    "_iblqc_ephysSpectralDensityLF.freqs.npy",
    "_iblqc_ephysSpectralDensityLF.power.npy",
    "_iblqc_ephysTimeRmsAP.rms.npy",
    "_iblqc_ephysTimeRmsAP.timestamps.npy",
    "_iblqc_ephysTimeRmsLF.rms.npy",
    "_iblqc_ephysTimeRmsLF.timestamps.npy",
    "_sluice_ephysGaps.samples.pqt",
]


def run(folder, probe, *, rate_hz=RATE_HZ, max_int=512, **changed):
    """Run the step; return everything it wrote."""
    gain_uv = probe.table["gain_uv"].to_numpy()
    check_probe_file(
        recording=recording_of(probe.ap, rate_hz, gain_uv),
        lf_recording=None if probe.lf is None else recording_of(probe.lf, 2500.0, LF_UV),
        channels_table=probe.table,
        channels=folder / "channels.tsv",
        surface=folder / "surface.json",
        checks=folder / "checks.json",
        figure=folder / "check_probe.png",
        alf_folder=folder / "alf",
        settings={**SETTINGS, **changed},
        name="S/probe00",
        max_int=max_int,
        lf_max_int=max_int,
    )
    return SimpleNamespace(
        channels=load_channels(folder / "channels.tsv"),
        surfaces=json.loads((folder / "surface.json").read_text())["shanks"],
        checks={c["name"]: c for c in json.loads((folder / "checks.json").read_text())},
        folder=folder,
    )


def where(channels, label):
    return np.flatnonzero(channels["label"] == label).tolist()


@pytest.fixture(scope="module")
def probe():
    """64 channels of NP1.0, 18 outside, two dead, two noisy; saturation and a gap."""
    table = neuropixels_table(64)
    table.loc[30, "is_reference"] = True
    outside = np.arange(64) > 45
    made = make_probe(
        table, seconds=10.5, outside=outside, dead=(12, 30, 33), noisy=(20, 38), seed=4
    )
    made.ap[45000:75000] = 511
    made.ap[:, 33] = -7
    made.ap[150000:153000] = 0
    made.lf[45000 // 12 : 75000 // 12] = 511
    return made


@pytest.fixture(scope="module")
def found(probe, tmp_path_factory):
    return run(tmp_path_factory.mktemp("check_probe"), probe)


def test_labels_are_the_truth(found):
    assert list(found.channels) == list(CHANNEL_COLUMNS)
    # 33 is constant, 30 a reference contact; neither goes through the detection
    assert where(found.channels, 1) == [12, 30, 33]
    assert where(found.channels, 2) == [20, 38]
    assert where(found.channels, 3) == list(range(46, 64))


def test_rms_is_in_microvolts(found):
    good = found.channels["label"] == 0
    # 6 µV thermal and 8 µV common, 2 % of the power below 300 Hz; rounding to 2.3 µV adds 0.7
    expected = np.sqrt((6**2 + 8**2) * 0.98 + AP_UV**2 / 12)
    np.testing.assert_allclose(found.channels["rms_uv"][good], expected, rtol=0.02)


def test_surface_is_the_truth(found):
    (row,) = found.surfaces
    assert row["shank"] == 0
    assert abs(row["surface_channel"] - 45) <= 2
    assert row["surface_y_um"] == found.channels["y_um"][row["surface_channel"]]


def test_checks_count_the_truth(found):
    checks = found.checks
    # the reference contact is not counted
    assert checks["dead_channel_fraction"]["value"] == pytest.approx(2 / 63)
    assert checks["noisy_channel_fraction"]["value"] == pytest.approx(2 / 63)
    assert checks["bad_channel_fraction"]["value"] == pytest.approx(4 / 63)
    assert checks["outside_channel_fraction"]["value"] == pytest.approx(18 / 63)
    # a second, and the sample at which it steps back
    assert checks["saturated_fraction"]["value"] == pytest.approx(30001 / 315000)
    assert checks["saturated_fraction"]["verdict"] == "FAIL"
    assert checks["gap_fraction"]["value"] == pytest.approx(3000 / 315000)
    assert checks["gap_fraction"]["verdict"] == "WARNING"
    assert checks["ap_rms_uv"]["verdict"] == checks["lf_rms_uv"]["verdict"] == "PASS"
    assert checks["ap_rms_uv"]["figure"] == "check_probe.png"
    # the rest is 120 µV of field and 40 µV of reference
    assert checks["lf_rms_uv"]["value"] == pytest.approx(np.hypot(120, 40), rel=0.3)


def test_alf_files_are_valid_and_agree(found):
    folder = found.folder / "alf"
    names = sorted(path.name for path in folder.iterdir())
    assert names == IBL_FILES
    assert all(is_valid(name) for name in names)
    for name in {tuple(name.split(".")[0].split("_")[1:]) for name in names}:
        bunch = alfio.load_object(folder, name[1], namespace=name[0])
        assert alfio.check_dimensions(bunch) == 0
    spans = pd.read_parquet(folder / "_iblqc_ephysSaturation.samples.pqt")
    assert spans.to_numpy().tolist() == [[45000, 75001]]
    gaps = pd.read_parquet(folder / "_sluice_ephysGaps.samples.pqt")
    assert gaps.to_numpy().tolist() == [[150000, 153000]]


def test_alf_files_are_in_volts(found):
    folder = found.folder / "alf"
    rms = np.load(folder / "_iblqc_ephysChannels.apRMS.npy")
    assert rms.shape == (64, 2)
    np.testing.assert_allclose(rms[:, 1] * 1e6, found.channels["rms_uv"], rtol=1e-5)
    over_time = np.load(folder / "_iblqc_ephysTimeRmsLF.rms.npy")
    assert over_time.shape == (4, 64)
    power = np.load(folder / "_iblqc_ephysSpectralDensityAP.power.npy")
    # the density over all frequencies is the variance
    width_hz = RATE_HZ / 1024
    good = (found.channels["label"] == 0).to_numpy()
    variance = power[:, good].sum(axis=0) * width_hz
    np.testing.assert_allclose(np.sqrt(variance), rms[good, 0], rtol=0.03)


def test_figure_is_drawn(found):
    from matplotlib.image import imread

    picture = imread(found.folder / "check_probe.png")
    assert picture.shape[0] > 600 and picture.shape[1] > 1000
    # the colours of dead and noisy channels and of the outside are in it
    flat = np.round(picture[..., :3] * 255).reshape(-1, 3)
    for colour in ((0x22, 0x22, 0x22), (0xD1, 0x49, 0x5B), (0xE9, 0xA2, 0x3B)):
        assert (flat == colour).all(axis=1).any()


def test_same_input_same_bytes(found, probe, tmp_path):
    again = run(tmp_path, probe)
    for path in sorted(found.folder.rglob("*.*")):
        assert path.read_bytes() == (again.folder / path.relative_to(found.folder)).read_bytes()


def test_four_shanks_without_lf_band(tmp_path):
    # 32 contacts a shank: 15 rows of 15 µm; the brain ends at 135 µm on every one of them
    table = neuropixels_table(128, "NP2014", 4)
    outside = table["y_um"].to_numpy() > 135
    dead, noisy = (8, 75), (40, 105)
    made = make_probe(table, seconds=4, outside=outside, dead=dead, noisy=noisy, two_bands=False)
    found = run(tmp_path, made, surface_reference_um=45.0, surface_min_outside_um=60.0)
    assert tuple(where(found.channels, 1)) == dead
    assert tuple(where(found.channels, 2)) == noisy
    for k, row in enumerate(found.surfaces):
        assert row["shank"] == k
        # within two rows of contacts, 30 µm
        assert abs(row["surface_y_um"] - 135) <= 30
        assert found.channels["shank"][row["surface_channel"]] == k
    # the same files as of a probe with two bands
    assert sorted(path.name for path in (tmp_path / "alf").iterdir()) == IBL_FILES
    assert np.load(tmp_path / "alf" / "_iblqc_ephysTimeRmsLF.rms.npy").shape == (4, 128)
    assert found.checks["lf_rms_uv"]["value"] == pytest.approx(np.hypot(120, 40), rel=0.3)


def test_a_probe_all_in_the_brain_says_so(tmp_path):
    found = run(tmp_path, make_probe(neuropixels_table(48), seconds=4, seed=2))
    assert found.surfaces[0]["surface_channel"] is None
    assert found.surfaces[0]["message"] == "no channel outside the brain"
    assert (found.channels["label"] == 0).all()


def test_tetrode(tmp_path):
    geometry = np.array([[0, 0, 0], [50, 0, 0], [0, 50, 0], [50, 50, 0]])
    rng = np.random.default_rng(0)
    bits = rng.normal(0, [50, 60, 5, 40], (60000, 4)).astype(np.int16)
    probe = SimpleNamespace(table=channel_table(geometry, 0.195), ap=bits, lf=None)
    found = run(tmp_path, probe, rate_hz=15000.0, max_int=None)
    assert where(found.channels, 1) == [2]
    assert "too little depth" in found.surfaces[0]["message"]
    # nothing is known of the full scale but that it is int16
    assert found.checks["saturated_fraction"]["value"] == 0


def test_real_tetrode(tmp_path, real_data):
    folder = real_data / "locust_tetrode"
    bits = np.fromfile(folder / "locust_trial_01.raw", np.int16).reshape(-1, 4)
    geometry = np.array([[0, 0, 0], [50, 0, 0], [0, 50, 0], [50, 50, 0]])
    probe = SimpleNamespace(table=channel_table(geometry, 0.1), ap=bits, lf=None)
    found = run(tmp_path, probe, rate_hz=15000.0, max_int=None)
    assert (found.channels["label"] == 0).all()
    assert found.checks["gap_fraction"]["value"] == 0


def dead_probe(bits):
    return SimpleNamespace(table=neuropixels_table(bits.shape[1]), ap=bits, lf=None)


def test_all_channels_constant_is_refused(tmp_path):
    with pytest.raises(InputError) as error:
        run(tmp_path, dead_probe(np.zeros((60000, 32), np.int16)))
    message = str(error.value)
    assert "S/probe00: none of its 32 channels can be used" in message
    assert "32 are dead (32 of them constant)" in message
    assert "streams.tsv" in message
    assert not list(tmp_path.iterdir())


def test_all_channels_noisy_is_refused(tmp_path):
    bits = np.random.default_rng(0).normal(0, 40, (60000, 32)).astype(np.int16)
    with pytest.raises(InputError, match=r"0 are dead .* and 32 noisy; at least one good"):
        run(tmp_path, dead_probe(bits))


def test_lf_band_with_other_channels_is_refused(tmp_path, probe):
    other = SimpleNamespace(table=probe.table, ap=probe.ap[:60000], lf=probe.lf[:5000, :32])
    with pytest.raises(InputError, match="the LF band has 32 channels, the AP band 64"):
        run(tmp_path, other)


def test_lf_band_of_another_length_is_refused(tmp_path, probe):
    other = SimpleNamespace(table=probe.table, ap=probe.ap[:60000], lf=probe.lf[:4000])
    with pytest.raises(InputError, match=r"LF band lasts 1.600 s, the AP band 2.000 s; expected"):
        run(tmp_path, other)


def test_a_recording_too_short_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"lasts 0.003 s; at least 0.2 s"):
        run(tmp_path, dead_probe(np.ones((100, 32), np.int16)))


def test_bad_channels_none_still_finds_the_constant_one(tmp_path, probe):
    short = SimpleNamespace(table=probe.table, ap=probe.ap[200000:260000], lf=None)
    found = run(tmp_path, short, bad_channels="none")
    assert where(found.channels, 1) == [30, 33]
    assert where(found.channels, 2) == where(found.channels, 3) == []
