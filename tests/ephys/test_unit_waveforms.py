"""Mean waveforms, the sampling of spikes, and the whole step on planted spikes."""

import numba
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys import unit_waveforms as uw
from sluice.ephys.traces import CHANNEL_COLUMNS, TracesInfo, save_channels, save_traces_info
from sluice.ephys.waveform_features import FEATURE_COLUMNS
from sluice.errors import InputError
from sluice.settings import validate_settings

RATE_HZ = 30_000.0
GAIN_UV = 0.25


def sampled(samples, rows, **options):
    defaults = {"n_units": 3, "max_per_unit": 5, "first": 20, "last": 900, "seed": 0}
    return uw.sample_spikes(samples, rows, **{**defaults, **options})


@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_spikes=st.integers(0, 60), maximum=st.integers(1, 12))
def test_sampled_spikes(seed, n_spikes, maximum):
    rng = np.random.default_rng(seed)
    samples = np.sort(rng.integers(0, 1000, n_spikes))
    rows = rng.integers(0, 3, n_spikes)
    drawn = sampled(samples, rows, max_per_unit=maximum)
    assert (np.diff(drawn) > 0).all()
    inside = (samples >= 20) & (samples <= 900)
    assert inside[drawn].all()
    available = np.bincount(rows[inside], minlength=3)
    assert np.bincount(rows[drawn], minlength=3).tolist() == np.minimum(available, maximum).tolist()


def test_sampling_is_seeded_and_by_unit():
    samples = np.arange(100, 800)
    rows = np.arange(700) % 2
    drawn = sampled(samples, rows)
    np.testing.assert_array_equal(drawn, sampled(samples, rows))
    assert not np.array_equal(drawn, sampled(samples, rows, seed=1))
    # A third unit's spikes do not change what the others draw.
    more_samples = np.append(samples, [850, 860])
    more = sampled(more_samples, np.append(rows, [2, 2]))
    np.testing.assert_array_equal(more[:-2], drawn)


def test_sampling_is_uniform():
    counts = np.zeros(50)
    for seed in range(400):
        counts[sampled(np.arange(50) + 20, np.zeros(50, int), n_units=1, seed=seed)] += 1
    # Each of 50 spikes is drawn 400 × 5 / 50 = 40 times, sd 6; five of them.
    assert np.abs(counts - 40).max() < 30


def slow_mean(traces, samples, rows, n_units, n_before, n_after, gain_uv):
    """Mean and standard deviation of slices, unit by unit."""
    shape = (n_units, n_before + n_after, traces.shape[1])
    mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
    for unit in range(n_units):
        slices = [traces[s - n_before : s + n_after] * gain_uv for s in samples[rows == unit]]
        if slices:
            mean[unit] = np.mean(slices, axis=0)
        if len(slices) > 1:
            std[unit] = np.std(slices, axis=0)
    return mean, std


@settings(derandomize=True, max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_spikes=st.integers(0, 40), n_units=st.integers(1, 5))
def test_mean_equals_the_slow_twin(seed, n_spikes, n_units):
    rng = np.random.default_rng(seed)
    traces = rng.integers(-32768, 32768, (300, 7)).astype(np.int16)
    samples = np.sort(rng.integers(4, 300 - 9 + 1, n_spikes))  # windows overlap, edges included
    rows = rng.integers(0, n_units, n_spikes)
    window = {"n_units": n_units, "n_before": 4, "n_after": 9, "gain_uv": 2.34375}
    mean, std, n_averaged = uw.mean_waveforms(traces, samples, rows, **window)
    slow = slow_mean(traces, samples, rows, **window)
    assert mean.dtype == std.dtype == np.float32
    # float32 keeps 7 digits of values up to 77,000 µV.
    np.testing.assert_allclose(mean, slow[0], rtol=2e-7, atol=0.01)
    np.testing.assert_allclose(std, slow[1], rtol=2e-7, atol=0.01)
    assert n_averaged.tolist() == np.bincount(rows, minlength=n_units).tolist()


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_windows_do_not_depend_on_the_batch(tmp_path, batch):
    rng = np.random.default_rng(0)
    data = rng.integers(-1000, 1000, (500, 3)).astype(np.int16)
    data.tofile(tmp_path / "traces.bin")
    traces = np.memmap(tmp_path / "traces.bin", np.int16, "r", shape=data.shape)
    samples = np.array([5, 6, 6, 100, 250, 251, 495])
    read = np.empty((7, 10, 3), np.int16)
    for part, windows in uw.read_windows(traces, samples, n_before=5, n_after=5, batch=batch):
        read[part] = windows
    np.testing.assert_array_equal(read, [data[s - 5 : s + 5] for s in samples])


def test_more_spikes_than_a_batch():
    rng = np.random.default_rng(0)
    traces = rng.integers(-500, 500, (5000, 2)).astype(np.int16)
    samples = np.sort(rng.integers(3, 4990, 2 * uw.BATCH_SPIKES + 5))
    rows = rng.integers(0, 2, len(samples))
    window = {"n_units": 2, "n_before": 3, "n_after": 4, "gain_uv": 1.0}
    mean, std, _ = uw.mean_waveforms(traces, samples, rows, **window)
    slow = slow_mean(traces, samples, rows, **window)
    np.testing.assert_allclose(mean, slow[0], rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(std, slow[1], rtol=1e-6, atol=1e-4)


def test_sums_are_exact_at_full_scale():
    """10,000 spikes, the most the settings allow, all at the end of the int16 range."""
    traces = np.full((40, 1), -32768, np.int16)
    samples = np.full(10_000, 20)
    mean, std, _ = uw.mean_waveforms(
        traces, samples, np.zeros(10_000, int), n_units=1, n_before=2, n_after=3, gain_uv=1.0
    )
    assert (mean == -32768).all()
    assert (std == 0).all()


def test_result_does_not_depend_on_threads():
    rng = np.random.default_rng(0)
    traces = rng.integers(-500, 500, (2000, 9)).astype(np.int16)
    samples = np.sort(rng.integers(10, 1980, 300))
    rows = rng.integers(0, 4, 300)
    arguments = (traces, samples, rows)
    window = {"n_units": 4, "n_before": 5, "n_after": 9, "gain_uv": 1.0}
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    one = uw.mean_waveforms(*arguments, **window)
    numba.set_num_threads(before)
    for a, b in zip(one, uw.mean_waveforms(*arguments, **window), strict=True):
        np.testing.assert_array_equal(a, b)


# --- the whole step -----------------------------------------------------------------------


def channel_table(n_channels):
    """Neuropixels 1.0 layout."""
    channel = np.arange(n_channels)
    table = pd.DataFrame(dict.fromkeys(CHANNEL_COLUMNS, 0), index=channel)
    table["channel"] = channel
    table["channel_id"] = [f"AP{i}" for i in channel]
    table["x_um"] = np.array([43.0, 11.0, 59.0, 27.0])[channel % 4]
    table["y_um"] = channel // 2 * 20.0
    table["is_reference"] = False
    return table


def planted_waveform(channels, peak_channel, amplitude_uv, velocity_s_m):
    """Spike of one unit on all channels (µV): trough at sample 20, travelling upwards."""
    offset = (channels["y_um"] - channels["y_um"][peak_channel]).to_numpy()
    across = (channels["x_um"] - channels["x_um"][peak_channel]).to_numpy()
    time_ms = (np.arange(82) - 20)[:, None] / 30 - velocity_s_m * offset * 1e-3
    shape = -np.exp(-0.5 * (time_ms / 0.1) ** 2)
    shape += 0.35 * np.exp(-0.5 * ((time_ms - 0.5) / 0.15) ** 2)
    return amplitude_uv * shape * np.exp(-np.hypot(offset, across) / 60.0)


def make_sorting(folder, *, units, noise_uv=8.0, seconds=4, n_channels=48, spikes_each=100):
    """Write traces with planted spikes, and the tables of clean_units.

    `units` maps a unit's number to (peak channel, amplitude in µV, velocity in s/m).
    """
    rng = np.random.default_rng(3)
    channels = channel_table(n_channels)
    n_samples = int(seconds * RATE_HZ)
    traces_uv = rng.normal(0, noise_uv, (n_samples, n_channels))
    # No two spikes overlap, so that the truth of each mean waveform is known.
    free = rng.permutation(np.arange(100, n_samples - 100, 90))
    table = []
    for number, (peak, amplitude_uv, velocity_s_m) in units.items():
        waveform = planted_waveform(channels, peak, amplitude_uv, velocity_s_m)
        own, free = free[:spikes_each], free[spikes_each:]
        for sample in own:
            traces_uv[sample - 20 : sample + 62] += waveform
            table.append((sample, number))
    spikes = pd.DataFrame(table, columns=["sample", "unit"]).astype(
        {"sample": np.int64, "unit": np.int32}
    )
    spikes = spikes.sort_values("sample", kind="stable", ignore_index=True)
    spikes["amplitude_uv"] = np.float32(100)
    spikes["depth_um"] = np.float32(0)
    traces = folder / "preprocess_probe"
    traces.mkdir(parents=True)
    np.round(traces_uv / GAIN_UV).astype(np.int16).tofile(traces / "traces.bin")
    save_traces_info(TracesInfo(RATE_HZ, n_samples, n_channels, GAIN_UV), traces)
    save_channels(channels, traces / "channels.tsv")
    spikes.to_parquet(folder / "spikes.pqt", index=False)
    pd.DataFrame(
        {
            "unit": list(units),
            "shank": 0,
            "peak_channel": [unit[0] for unit in units.values()],
            "n_spikes": [int((spikes["unit"] == unit).sum()) for unit in units],
            "is_artifact": False,
        }
    ).to_csv(folder / "units.tsv", sep="\t", index=False)
    return spikes


NAMES = {
    "waveform_mean": "mean.part",  # the wrapper hands out names without the final extension
    "waveform_std": "std.part",
    "waveform_metrics": "metrics.part",
    "pcs": "pcs.part",
}


def run_step(folder, out, **changed):
    out.mkdir()
    section = validate_settings({"ephys": {"unit_waveforms": changed}})["ephys"]["unit_waveforms"]
    paths = {key: out / name for key, name in NAMES.items()}
    uw.unit_waveforms_file(
        traces=folder / "preprocess_probe",
        spikes=folder / "spikes.pqt",
        units=folder / "units.tsv",
        settings=section,
        **paths,
    )
    assert sorted(p.name for p in out.iterdir()) == sorted(NAMES.values())
    mean, std = np.load(paths["waveform_mean"]), np.load(paths["waveform_std"])
    with np.load(paths["pcs"]) as file:
        pcs = dict(file)
    return mean, std, pd.read_csv(paths["waveform_metrics"], sep="\t"), pcs


UNITS = {4: (20, 200.0, 1.5), 7: (31, 120.0, -1.0), 11: (8, 300.0, 0.0)}


@pytest.fixture(scope="module")
def sorting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sorting")
    return folder, make_sorting(folder, units=UNITS)


@pytest.fixture(scope="module")
def result(sorting, tmp_path_factory):
    return run_step(sorting[0], tmp_path_factory.mktemp("out") / "a")


def test_default_window_is_allens(result):
    mean, std, _, _ = result
    assert mean.shape == std.shape == (3, 82, 48)
    for unit, (peak, _, _) in enumerate(UNITS.values()):
        assert mean[unit, :, peak].argmin() == 20


def test_planted_waveforms_come_back(result):
    mean, std, table, _ = result
    channels = channel_table(48)
    for unit, (peak, amplitude_uv, velocity) in enumerate(UNITS.values()):
        truth = planted_waveform(channels, peak, amplitude_uv, velocity)
        # Noise of 8 µV over 100 spikes is 0.8 µV; the largest of 3936 values is below 5 sd.
        assert np.abs(mean[unit] - truth).max() < 4.0
    # Standard deviations of 100 spikes scatter by 7 %, their median over 11,808 hardly does.
    assert np.median(std) == pytest.approx(8.0, rel=0.02)
    assert table["n_averaged"].tolist() == [100, 100, 100]


def test_features_of_planted_spikes(result):
    _, _, table, _ = result
    assert table.columns.tolist() == ["unit", *FEATURE_COLUMNS]
    assert table["unit"].tolist() == list(UNITS)
    table = table.set_index("unit")
    # The noise moves a peak of 0.15 ms width by some points of the 14 µs grid.
    assert table["waveform_duration"].to_numpy() == pytest.approx(0.5, abs=0.06)
    assert table["PT_ratio"].to_numpy() == pytest.approx(0.35, abs=0.02)
    # Half of a Gaussian's 0.235 ms, less where the peak after it begins.
    assert table["waveform_halfwidth"].to_numpy() == pytest.approx(0.235, abs=0.03)
    # Trough times of rows down to 12 % of the amplitude carry the noise of the mean. The
    # reference's error would make 1.5 into 0.62 and -1 into -0.41.
    for side in ("velocity_above", "velocity_below"):
        assert table[side].to_numpy() == pytest.approx([1.5, -1.0, 0.0], abs=0.25)
    # exp(-d / 60) > 0.12 up to 127 µm: 13 rows of 20 µm, or a row more or less at each end.
    # Unit 11 is 80 µm from the end of the probe: 11 rows.
    assert table["spread"].to_numpy() == pytest.approx([260, 260, 220], abs=41)
    truth = np.array([200, 120, 300]) * np.ptp(planted_waveform(channel_table(4), 0, 1.0, 0)[:, 0])
    # The noise of the mean, 0.8 µV, at both extremes.
    assert table["amplitude"].to_numpy() == pytest.approx(truth, abs=4.0)
    assert table["snr"].to_numpy() == pytest.approx(truth / 16, rel=0.05)


def test_components_of_planted_spikes(result, sorting):
    _, _, _, pcs = result
    spikes = sorting[1]
    assert {name: array.dtype.name for name, array in pcs.items()} == {
        "spike_index": "int64",
        "unit": "int32",
        "features": "float32",
        "near_channels": "int32",
        "units": "int32",
        "components": "float32",
    }
    assert pcs["features"].shape == (300, 32, 3)
    assert pcs["near_channels"].shape == (3, 32)
    assert pcs["units"].tolist() == list(UNITS)
    np.testing.assert_array_equal(spikes["unit"][pcs["spike_index"]], pcs["unit"])
    assert pcs["near_channels"][:, 0].tolist() == [20, 31, 8]
    # The first feature on the peak channel follows the unit's amplitude.
    for unit, (_, amplitude_uv, _) in UNITS.items():
        first = np.median(pcs["features"][pcs["unit"] == unit, 0, 0])
        shape = planted_waveform(channel_table(48), 20, 1.0, 0.0)[:, 20]
        # A component fits a unit's own shape within a few per cent.
        assert first == pytest.approx(amplitude_uv * np.linalg.norm(shape), rel=0.1)


def test_features_are_projections_of_the_traces(result, sorting):
    folder, spikes = sorting
    _, _, _, pcs = result
    traces = np.fromfile(folder / "preprocess_probe" / "traces.bin", np.int16).reshape(-1, 48)
    assert len(pcs["features"]) > uw.BATCH_SPIKES  # more than a batch
    for row, sample in enumerate(spikes["sample"][pcs["spike_index"]]):
        near = pcs["near_channels"][list(UNITS).index(pcs["unit"][row])]
        slow = (pcs["components"] @ (traces[sample - 20 : sample + 62, near] * GAIN_UV)).T
        np.testing.assert_allclose(pcs["features"][row], slow, rtol=1e-4, atol=0.01)


def test_same_input_gives_the_same_bytes(sorting, tmp_path):
    for name in "ab":
        run_step(sorting[0], tmp_path / name, max_spikes=20, max_spikes_for_pcs=10)
    for name in NAMES.values():
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_settings_limit_the_spikes(sorting, tmp_path):
    _, _, table, pcs = run_step(
        sorting[0], tmp_path / "a", max_spikes=20, max_spikes_for_pcs=10, n_near_channels=5
    )
    assert table["n_averaged"].tolist() == [20, 20, 20]
    assert pcs["features"].shape == (30, 5, 3)


def test_units_with_no_one_and_edge_spikes(tmp_path):
    make_sorting(tmp_path, units={0: (5, 100.0, 0.0)}, seconds=0.2, n_channels=16, spikes_each=2)
    last = 6000 - 62  # the last sample whose window lies in the recording
    spikes = pd.DataFrame(
        {
            "sample": np.array([3, 19, 20, 3000, last, last + 1, 5999], np.int64),
            "unit": np.array([1, 3, 3, 2, 3, 3, 1], np.int32),
        }
    )
    spikes.to_parquet(tmp_path / "spikes.pqt", index=False)
    pd.DataFrame({"unit": [0, 1, 2, 3], "peak_channel": 5}).to_csv(
        tmp_path / "units.tsv", sep="\t", index=False
    )
    mean, std, table, pcs = run_step(tmp_path, tmp_path / "a")
    # No spike; spikes at the edges only; one spike; two inside, two too near to an edge.
    assert table["n_averaged"].tolist() == [0, 0, 1, 2]
    assert np.isnan(mean).all(axis=(1, 2)).tolist() == [True, True, False, False]
    assert np.isnan(std).all(axis=(1, 2)).tolist() == [True, True, True, False]
    assert table["snr"].isna().tolist() == [True, True, True, False]
    assert table["waveform_duration"].isna().tolist() == [True, True, False, False]
    assert pcs["spike_index"].tolist() == [2, 3, 4]


def test_empty_sorting(tmp_path):
    make_sorting(tmp_path, units={}, seconds=0.1)
    mean, std, table, pcs = run_step(tmp_path, tmp_path / "a")
    assert mean.shape == std.shape == (0, 82, 48)
    assert mean.dtype == np.float32
    assert table.columns.tolist() == ["unit", *FEATURE_COLUMNS]
    assert len(table) == 0
    assert pcs["features"].shape == (0, 32, 3)
    assert pcs["near_channels"].shape == (0, 32)
    assert pcs["spike_index"].dtype == np.int64
    assert pcs["unit"].dtype == pcs["units"].dtype == np.int32


def test_spikes_of_an_unknown_unit_are_refused(tmp_path):
    make_sorting(tmp_path, units={4: (5, 100.0, 0.0)}, seconds=0.3, spikes_each=5)
    pd.DataFrame({"unit": [3], "peak_channel": [5]}).to_csv(
        tmp_path / "units.tsv", sep="\t", index=False
    )
    with pytest.raises(InputError, match=r"spikes of unit 4, which .*units.tsv does not list"):
        run_step(tmp_path, tmp_path / "a")
