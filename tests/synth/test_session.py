"""Made-up sessions are real SpikeGLX files, and their truth is what the files hold."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from sluice.synth.session import make_session

SHORT = {"duration_s": 2.0, "n_channels": 32, "n_units": 4}


def _meta(path):
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def _raw(path, n_channels):
    """All saved channels of a binary file, the sync channel last."""
    return np.fromfile(path, "<i2").reshape(-1, n_channels + 1)


@pytest.fixture(scope="module")
def two_probes(tmp_path_factory):
    return make_session(
        tmp_path_factory.mktemp("raw"), subject="Größe 1", n_probes=2, seed=3, **SHORT
    )


@pytest.fixture(scope="module")
def four_shanks(tmp_path_factory):
    return make_session(
        tmp_path_factory.mktemp("raw"),
        probe_type="NP2.4",
        n_channels=64,
        n_units=8,
        duration_s=1.0,
    )


def _truth(session, probe="probe00"):
    return json.loads((session.truth_folders[probe] / "truth.json").read_text())


def test_files_are_where_the_design_has_them(two_probes):
    found = {
        path.relative_to(two_probes.folder).as_posix()
        for path in two_probes.folder.rglob("*")
        if path.is_file()
    }
    run = "raw_ephys_data/{}/_spikeglx_ephysData_g0_t0.imec{}.{}.{}"
    expected = {
        run.format(f"probe0{i}", i, band, kind)
        for i in (0, 1)
        for band in ("ap", "lf")
        for kind in ("bin", "meta")
    }
    expected |= {
        f"raw_ephys_data/_spikeglx_ephysData_g0_t0.nidq.{kind}" for kind in ("bin", "meta")
    }
    expected |= {
        f"truth/probe0{i}/{name}"
        for i in (0, 1)
        for name in ("truth.json", "spikes.pqt", "units.tsv", "templates.npy")
    }
    assert found == expected
    assert two_probes.name == "Größe 1/2026-01-15/001"


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("band", "rate_hz", "n_samples"), [("ap", 30000, 60000), ("lf", 2500, 5000)]
)
def test_metas_tell_the_truth_about_their_files(two_probes, index, band, rate_hz, n_samples):
    name = f"_spikeglx_ephysData_g0_t0.imec{index}.{band}.bin"
    path = two_probes.probe_folders[f"probe0{index}"] / name
    meta = _meta(path.with_suffix(".meta"))
    assert int(meta["fileSizeBytes"]) == path.stat().st_size == 2 * 33 * n_samples
    assert meta["fileSHA1"] == hashlib.sha1(path.read_bytes()).hexdigest().upper()
    assert float(meta["imSampRate"]) == rate_hz
    assert float(meta["fileTimeSecs"]) == 2
    assert int(meta["nSavedChans"]) == 33


def test_spikeinterface_reads_np1(two_probes):
    from spikeinterface.extractors import read_spikeglx

    ap = read_spikeglx(two_probes.probe_folders["probe01"], stream_id="imec1.ap")
    assert ap.get_num_channels() == 32
    assert ap.sampling_frequency == 30000
    np.testing.assert_allclose(ap.get_channel_gains(), 1.2e6 / 1024 / 500)
    # Neuropixels 1.0: rows 20 µm apart, even ones 16 µm to the right; 12 channels a
    # converter, digitised one after the other in 13 cycles
    locations = ap.get_channel_locations()
    np.testing.assert_array_equal(locations[:4], [[16, 0], [48, 0], [0, 20], [32, 20]])
    np.testing.assert_array_equal(locations[-1], [32, 300])
    shifts = ap.get_property("inter_sample_shift")
    np.testing.assert_allclose(shifts[:26], np.r_[np.repeat(np.arange(12), 2), 0, 0] / 13)
    lf = read_spikeglx(two_probes.probe_folders["probe01"], stream_id="imec1.lf")
    assert lf.sampling_frequency == 2500
    np.testing.assert_allclose(lf.get_channel_gains(), 1.2e6 / 1024 / 250)
    np.testing.assert_array_equal(lf.get_channel_locations(), locations)


def test_spikeinterface_reads_four_shanks(four_shanks):
    from spikeinterface.extractors import read_spikeglx

    ap = read_spikeglx(four_shanks.probe_folders["probe00"], stream_id="imec0.ap")
    np.testing.assert_array_equal(ap.get_property("group"), np.repeat(np.arange(4), 16))
    np.testing.assert_allclose(ap.get_channel_gains(), 1.24e6 / 4096 / 100)
    locations = ap.get_channel_locations()
    np.testing.assert_array_equal(locations[:3], [[0, 0], [32, 0], [0, 15]])
    np.testing.assert_array_equal(locations[48], [750, 0])
    # channel 48 of the probe, the first of shank 1, is in slot (48 % 32) // 2 of 16
    assert ap.get_property("inter_sample_shift")[16] == 0.5
    surfaces = _truth(four_shanks)["shanks"]
    assert [s["shank"] for s in surfaces] == [0, 1, 2, 3]
    # 4 of 16 channels of each shank are outside
    assert [s["surface_channel"] for s in surfaces] == [11, 27, 43, 59]


def test_the_truth_has_the_geometry_of_the_files(four_shanks):
    from spikeinterface.extractors import read_spikeglx

    ap = read_spikeglx(four_shanks.probe_folders["probe00"], stream_id="imec0.ap")
    units = pd.read_csv(four_shanks.truth_folders["probe00"] / "units.tsv", sep="\t")
    contacts = ap.get_channel_locations()[units.peak_channel]
    # units lie within 5 µm of the contact they are largest on
    assert np.abs(units[["x_um", "y_um"]].to_numpy() - contacts).max() <= 5
    np.testing.assert_array_equal(ap.get_property("group")[units.peak_channel], units.shank)


@pytest.mark.parametrize(
    ("probe_type", "real"),
    [
        ("NP1.0", "sample3B_version202304.ap.meta"),
        ("NP2.4", "sampleNP2.4_4shanks_appVersion20230905.ap.meta"),
    ],
)
def test_metas_have_the_tables_of_real_ones(real_data, tmp_path, probe_type, real):
    session = make_session(
        tmp_path, probe_type=probe_type, n_channels=384, n_units=1, duration_s=0.1
    )
    made = _meta(next(session.probe_folders["probe00"].glob("*.ap.meta")))
    real = _meta(real_data / "spikeglx_meta" / real)
    # every key is one of SpikeGLX's
    assert set(made) - set(real) <= {"imChan0lfGain"}
    for key in ("~imroTbl", "~muxTbl", "snsSaveChanSubset", "acqApLfSy", "snsApLfSy", "imMaxInt"):
        assert made[key] == real[key], key
    # the last number is the order in SpikeGLX's graphs, which a user may choose
    names = [re.sub(r":\d+\)", ")", meta["~snsChanMap"]) for meta in (made, real)]
    assert names[0] == names[1]
    # the real probes are of other part numbers of the same geometry
    geometry = [re.findall(r"\(\d[^)]*\)", meta["~snsGeomMap"]) for meta in (made, real)]
    assert geometry[0] == geometry[1]


def test_sync_edges_follow_the_known_clock(two_probes):
    nidq = np.fromfile(next(two_probes.folder.glob("raw_ephys_data/*.nidq.bin")), "<i2")
    line = nidq.reshape(-1, 2)[:, 1] >> 3 & 1
    board_s = (np.flatnonzero(np.diff(line) == 1) + 1) / 30003.0003
    # edges at 0.5 s and 1.5 s, seen at the first sample after
    np.testing.assert_allclose(board_s, [0.5, 1.5], atol=1 / 30003)
    clocks = []
    for probe in ("probe00", "probe01"):
        truth = _truth(two_probes, probe)
        raw = _raw(next(two_probes.probe_folders[probe].glob("*.ap.bin")), 32)
        assert set(np.unique(raw[:, -1])) == {0, 64}
        edges = np.flatnonzero(np.diff(raw[:, -1]) == 64) + 1
        rate_hz = 30000 * (1 + truth["clock_ppm"] * 1e-6)
        expected = (np.array([0.5, 1.5]) + truth["clock_offset_s"]) * rate_hz
        assert np.all((edges - expected >= 0) & (edges - expected <= 1))
        lf = _raw(next(two_probes.probe_folders[probe].glob("*.lf.bin")), 32)
        np.testing.assert_array_equal(lf[:, -1], raw[::12, -1])
        clocks.append((truth["clock_ppm"], truth["clock_offset_s"]))
    assert clocks[0] != clocks[1]


def test_spikeinterface_reads_the_edges(two_probes):
    from spikeinterface.extractors import read_spikeglx_event

    events = read_spikeglx_event(two_probes.folder / "raw_ephys_data")
    times = np.sort(events.get_event_times(channel_id="nidq#XD3"))
    np.testing.assert_allclose(times, [0.5, 1.0, 1.5], atol=1e-4)


def test_truth_tables_fit_together(two_probes):
    folder = two_probes.truth_folders["probe00"]
    truth, units = _truth(two_probes), pd.read_csv(folder / "units.tsv", sep="\t")
    spikes = pd.read_parquet(folder / "spikes.pqt")
    assert spikes.dtypes.astype(str).to_dict() == {
        "sample": "int64",
        "unit": "int32",
        "amplitude_uv": "float32",
    }
    assert spikes["sample"].is_monotonic_increasing
    np.testing.assert_array_equal(np.bincount(spikes.unit), units.n_spikes)
    templates = np.load(folder / "templates.npy")
    assert templates.shape == (4, 90, 32)
    troughs = -templates[np.arange(4), 30, units.peak_channel]
    np.testing.assert_allclose(troughs, units.amplitude_uv, rtol=1e-4)
    np.testing.assert_allclose(units.snr, units.amplitude_uv / units.noise_uv, rtol=1e-4)
    assert units.presence_fraction.tolist() == [0.5, 1, 1, 1]
    # 6 of 32 channels are outside
    assert truth["surface_channel"] == 25
    assert truth["outside"] == list(range(26, 32))
    assert truth["shanks"] == [{"shank": 0, "surface_channel": 25, "surface_y_um": 240.0}]


def test_probes_differ_and_a_seed_repeats_every_byte(tmp_path, two_probes):
    again = make_session(tmp_path, subject="Größe 1", n_probes=2, seed=3, **SHORT)
    for path in two_probes.folder.rglob("*"):
        if path.is_file():
            other = again.folder / path.relative_to(two_probes.folder)
            assert other.read_bytes() == path.read_bytes(), path.name
    first, second = (
        _raw(next(two_probes.probe_folders[p].glob("*.ap.bin")), 32) for p in ("probe00", "probe01")
    )
    assert np.mean(first == second) < 0.2


def test_a_run_split_into_files_is_the_same_recording(tmp_path, two_probes):
    split = make_session(tmp_path, n_probes=2, n_files=3, seed=3, **SHORT)
    for band, every, n_samples in (("ap", 1, 60000), ("lf", 12, 5000)):
        whole = next(two_probes.probe_folders["probe00"].glob(f"*.{band}.bin"))
        paths = sorted(split.probe_folders["probe00"].glob(f"*.{band}.bin"))
        assert [re.search(r"_g0_(t\d)", p.name)[1] for p in paths] == ["t0", "t1", "t2"]
        assert b"".join(p.read_bytes() for p in paths) == whole.read_bytes()
        metas = [_meta(p.with_suffix(".meta")) for p in paths]
        firsts = [int(meta["firstSample"]) * every for meta in metas]
        assert firsts == [0, 19992, 39996]
        sizes = [int(meta["fileSizeBytes"]) for meta in metas]
        assert sizes == [p.stat().st_size for p in paths]
        assert sum(sizes) == 2 * 33 * n_samples


def test_spikeinterface_reads_the_split_run_as_segments(tmp_path):
    from spikeinterface.extractors import read_spikeglx

    split = make_session(tmp_path, n_files=2, **SHORT)
    ap = read_spikeglx(split.probe_folders["probe00"], stream_id="imec0.ap")
    assert [ap.get_num_samples(i) for i in range(2)] == [30000, 30000]


def test_compressed_files_hold_the_same_samples(tmp_path, two_probes):
    import mtscomp

    packed = make_session(tmp_path, n_probes=2, compress=True, seed=3, **SHORT)
    folder = packed.probe_folders["probe01"]
    assert not list(folder.glob("*.bin"))
    for band, n_channels in (("ap", 32), ("lf", 32)):
        cbin = next(folder.glob(f"*.{band}.cbin"))
        whole = _raw(next(two_probes.probe_folders["probe01"].glob(f"*.{band}.bin")), n_channels)
        reader = mtscomp.decompress(cbin, cbin.with_suffix(".ch"))
        np.testing.assert_array_equal(reader[:], whole)
        reader.close()
        assert cbin.with_suffix(".meta").is_file()


def test_a_subset_of_channels_is_named_as_such(tmp_path, four_shanks):
    meta = _meta(next(four_shanks.probe_folders["probe00"].glob("*.ap.meta")))
    assert meta["snsSaveChanSubset"] == "0:15,48:63,192:207,240:255,384"
    single = make_session(tmp_path, duration_s=0.1, n_channels=16, n_units=1)
    metas = {
        b: _meta(next(single.probe_folders["probe00"].glob(f"*.{b}.meta"))) for b in ("ap", "lf")
    }
    assert metas["ap"]["snsSaveChanSubset"] == "0:15,768"
    assert metas["lf"]["snsSaveChanSubset"] == "384:399,768"


def test_bad_channels_and_surface_can_be_found(tmp_path):
    """IBL's rule on the AP band and the fall of the LFP, by SpikeInterface and by hand."""
    import spikeinterface.preprocessing as spre
    from scipy.signal import periodogram
    from spikeinterface.extractors import read_spikeglx

    session = make_session(tmp_path, duration_s=10.0, n_units=9, seed=11)
    folder, truth = session.probe_folders["probe00"], _truth(session)
    ap = read_spikeglx(folder, stream_id="imec0.ap")
    _, labels = spre.detect_bad_channels(
        ap, method="coherence+psd", seed=0, num_random_chunks=15, job_kwargs={"progress_bar": False}
    )
    assert np.flatnonzero(labels == "dead").tolist() == truth["dead"]
    assert np.flatnonzero(labels == "noise").tolist() == truth["noisy"]
    assert np.flatnonzero(labels == "out").tolist() == truth["outside"]
    lf = read_spikeglx(folder, stream_id="imec0.lf").get_traces(return_in_uV=True)
    frequencies, power = periodogram(lf, 2500, axis=0)
    low = np.log10(power[(frequencies > 0) & (frequencies < 10)].mean(axis=0))
    live = np.setdiff1d(np.arange(48), truth["dead"])
    steepest = live[np.argmin(np.convolve(low[live], [1, 1, -1, -1], "valid")) + 1]
    assert abs(steepest - truth["surface_channel"]) <= 2
