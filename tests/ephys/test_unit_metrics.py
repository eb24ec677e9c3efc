import hashlib
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys.metrics.columns import METRIC_COLUMNS
from sluice.ephys.traces import CHANNEL_COLUMNS, save_channels
from sluice.ephys.unit_metrics import (
    SPIKE_COLUMNS,
    group_by_unit,
    spike_metrics,
    unit_metrics_file,
)
from sluice.errors import InputError, SettingsError
from sluice.settings import validate_settings
from sluice.synth.spikes import contaminate, spike_amplitudes, spike_train

RATE_HZ = 30_000
DURATION_S = 1800.0
N_SAMPLES = int(RATE_HZ * DURATION_S)
SETTINGS = validate_settings({})["ephys"]["unit_metrics"]
OUTPUTS = {"metrics": "metrics.pqt", "checks": "checks.json", "figure": "unit_metrics.png"}


def train(rng, rate_hz=10.0, *, contamination=0.0, present=1.0, missed=0.0, amplitude_uv=100.0):
    """One unit: samples and amplitudes."""
    own = spike_train(
        rate_hz * (1 - contamination),
        DURATION_S,
        rng=rng,
        refractory_s=0.003,
        present_s=[(0, present * DURATION_S)],
    )
    times_s, _ = contaminate(own, contamination, DURATION_S, rng=rng, refractory_s=0)
    sizes = spike_amplitudes(len(times_s), amplitude_uv, rng=rng, missed_fraction=missed)
    return (times_s * RATE_HZ).astype(np.int64), sizes


def write_sorting(folder, units, *, artifacts=()):
    """Files of a sorting of units {number: (samples, amplitudes)} on one small probe."""
    rng = np.random.default_rng(99)
    n_channels, n_near = 32, 16
    index = np.arange(n_channels)
    channels = pd.DataFrame(0, index=index, columns=list(CHANNEL_COLUMNS))
    channels["channel"], channels["channel_id"] = index, [f"AP{i}" for i in index]
    channels["x_um"], channels["y_um"] = 16.0 * (index % 2), 20.0 * (index // 2)
    channels["is_reference"] = False
    save_channels(channels, folder / "channels.tsv")
    positions = channels[["x_um", "y_um"]].to_numpy()

    numbers = np.array(list(units), np.int32)
    spikes = pd.DataFrame(
        {
            "sample": np.concatenate([np.zeros(0, np.int64), *(s for s, _ in units.values())]),
            "unit": np.repeat(numbers, [len(s) for s, _ in units.values()]),
            "amplitude_uv": np.concatenate([np.zeros(0), *(a for _, a in units.values())]),
        }
    ).astype({"amplitude_uv": np.float32})
    peaks = (3 * np.arange(len(numbers))) % n_channels
    depth = dict(zip(numbers, positions[peaks, 1], strict=True))
    spikes["depth_um"] = (
        spikes["unit"].map(depth).astype(float) + rng.normal(0, 3, len(spikes))
    ).astype(np.float32)
    spikes = spikes.sort_values("sample", kind="stable", ignore_index=True)
    spikes.to_parquet(folder / "spikes.pqt")
    table = pd.DataFrame({"unit": numbers, "shank": 0, "peak_channel": peaks})
    table["n_spikes"] = [len(s) for s, _ in units.values()]
    table["is_artifact"] = [number in artifacts for number in numbers]
    table.to_csv(folder / "units.tsv", sep="\t", index=False)
    waveforms = pd.DataFrame({"unit": numbers, "snr": 4.0 + np.arange(len(numbers))})
    waveforms.to_csv(folder / "waveform_metrics.tsv", sep="\t", index=False)

    drawn = np.sort(
        np.concatenate(
            [np.zeros(0, int)]
            + [np.flatnonzero(spikes["unit"] == number)[:200] for number in numbers]
        )
    )
    distance = np.hypot(*(positions[peaks][:, None] - positions).T).T
    near = np.argsort(distance, axis=1, kind="stable")[:, :n_near].astype(np.int32)
    rows = {number: row for row, number in enumerate(numbers)}
    row = np.array([rows[number] for number in spikes["unit"].to_numpy()[drawn]], int)
    centre = 60 * np.exp(-np.take_along_axis(distance, near, axis=1) / 40)
    features = centre[row][:, :, None] + rng.normal(0, 10, (len(drawn), n_near, 3))
    with (folder / "pcs.npz").open("wb") as file:
        np.savez(
            file,
            spike_index=drawn,
            unit=spikes["unit"].to_numpy(np.int32)[drawn],
            features=features.astype(np.float32),
            near_channels=near,
            units=numbers,
        )


def run(folder, *, n_samples=N_SAMPLES, **changed):
    unit_metrics_file(
        spikes=folder / "spikes.pqt",
        units=folder / "units.tsv",
        waveform_metrics=folder / "waveform_metrics.tsv",
        pcs=folder / "pcs.npz",
        channels=folder / "channels.tsv",
        n_samples=n_samples,
        sampling_rate_hz=RATE_HZ,
        settings={**SETTINGS, **changed},
        **{name: folder / file for name, file in OUTPUTS.items()},
    )
    return pd.read_parquet(folder / "metrics.pqt").set_index("unit")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A sorting with known faults; unit numbers are not in order and not consecutive."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(7)
    units = {
        12: train(rng),
        3: train(rng, contamination=0.1),
        40: train(rng, contamination=0.3),
        5: train(rng, present=0.6),
        8: train(rng, missed=0.2),
        21: train(rng, amplitude_uv=30),
        30: (np.sort(rng.integers(0, N_SAMPLES, 9)), np.full(9, 80.0)),
        31: (np.zeros(0, np.int64), np.zeros(0)),
    }
    write_sorting(folder, units, artifacts=(40,))
    return folder, units, run(folder)


def test_every_column_is_listed_and_within_its_range(planted):
    folder, units, _table = planted
    written = pd.read_parquet(folder / "metrics.pqt")
    assert list(written) == list(METRIC_COLUMNS)
    assert written["unit"].tolist() == list(units)
    for name, metric in METRIC_COLUMNS.items():
        values = written[name].astype(float).dropna()
        assert values.between(metric.low, metric.high).all(), name
        assert metric.description and metric.source, name
    assert written.dtypes.astype(str).to_dict() == {
        **dict.fromkeys(METRIC_COLUMNS, "float64"),
        "unit": "int32",
        "n_spikes": "int64",
        "allen_pass": "bool",
        "ibl_bitwise_fail": "uint8",
    }
    assert set(SPIKE_COLUMNS) < set(METRIC_COLUMNS)


def test_planted_faults_are_recovered(planted):
    _, units, table = planted
    good = table.loc[12]
    assert good["firing_rate"] == pytest.approx(len(units[12][0]) / DURATION_S)
    assert good["presence_ratio"] == 1
    assert good["isi_violations"] == 0
    # 18,000 spikes: 0.119 ± 0.018 for 10 % missing at 10,000 spikes, 0.000 ± 0.001 for none.
    assert good["amplitude_cutoff"] < 0.01
    assert good["ibl_max_confidence"] > 99
    # N² 1.33 ms / T · 2c = 48 and 120 violations: 15 and 9 %, three of them.
    assert table.loc[3, "isi_violations_corrected"] == pytest.approx(0.1, rel=0.45)
    assert table.loc[40, "isi_violations_corrected"] == pytest.approx(0.3, rel=0.3)
    assert table.loc[40, "ibl_min_contamination"] >= 20
    # 60 of 100 bins, and the one in which the unit goes.
    assert 0.6 <= table.loc[5, "presence_ratio"] <= 0.61
    cutoff = table.loc[8, "amplitude_cutoff"]
    # As in test_amplitudes: standard deviation 0.026 at 10,000 spikes, bias 0.01.
    assert cutoff / (1 + cutoff) == pytest.approx(0.2, abs=0.08)
    # Normal amplitudes with 10 %: the median is good to 1.25 x 3 / sqrt(18,000) = 0.03 µV.
    assert table.loc[21, "ibl_amp_median_uv"] == pytest.approx(30, abs=0.1)
    assert table["snr"].tolist() == [4, 5, 6, 7, 8, 9, 10, 11]


def test_labels_follow_the_faults(planted):
    _, _, table = planted
    assert table["allen_pass"].to_dict() == {
        12: True,
        3: True,  # 0.095 is below 0.5
        40: True,
        5: False,  # presence
        8: False,  # amplitude cutoff
        21: True,
        30: False,
        31: False,
    }
    # 40: contaminated; 8: cut off; 21: small; 30 and 31: nothing known.
    assert table["ibl_bitwise_fail"].loc[[12, 40, 8, 21, 30, 31]].tolist() == [0, 1, 2, 4, 7, 7]
    assert table["ibl_label"].loc[[12, 40, 30]].tolist() == [1, 2 / 3, 0]


def test_too_few_spikes_give_nan(planted):
    _, _, table = planted
    known = ["n_spikes", "firing_rate", "presence_ratio", "ibl_presence_ratio", "snr"]
    labels = ["allen_pass", "ibl_label", "ibl_bitwise_fail"]
    measured = table.drop(columns=known + labels)
    assert measured.loc[[30, 31]].isna().all(axis=None)
    assert table.loc[31, known[:-1]].tolist() == [0, 0, 0, 0]
    # Its own spikes are too few; those of units around the others are enough.
    assert table.drop(index=[30, 31]).notna().all(axis=None)


def test_minimum_for_amplitudes():
    rng = np.random.default_rng(3)
    samples, sizes = train(rng, rate_hz=1)
    call = {"n_samples": N_SAMPLES, "sampling_rate_hz": RATE_HZ, "settings": SETTINGS}
    depth = np.zeros(200)
    enough = spike_metrics(samples[:200], sizes[:200], depth, **call)
    few = spike_metrics(samples[:200], np.append(sizes[:199], np.nan), depth, **call)
    for name in ("amplitude_cutoff", "ibl_noise_cutoff"):
        assert np.isfinite(enough[name])
        assert np.isnan(few[name])
    assert np.isfinite(few["ibl_amp_median_uv"])


def test_spikes_without_a_depth_are_left_out_of_drift():
    rng = np.random.default_rng(4)
    samples, sizes = train(rng)
    depth = 100 + 0.01 * np.arange(len(samples))
    call = {"n_samples": N_SAMPLES, "sampling_rate_hz": RATE_HZ, "settings": SETTINGS}
    whole = spike_metrics(samples, sizes, depth, **call)
    some = spike_metrics(samples, sizes, np.where(np.arange(len(depth)) % 2, depth, np.nan), **call)
    assert some["max_drift"] == pytest.approx(whole["max_drift"], rel=0.01)


def test_checks_leave_artifacts_out(planted):
    folder, _, _ = planted
    found = {check["name"]: check for check in json.loads((folder / "checks.json").read_text())}
    assert found["units_found"]["value"] == 7  # 40 is an artifact
    assert found["units_found"]["verdict"] == "PASS"
    assert found["allen_pass_fraction"]["value"] == pytest.approx(3 / 7)
    assert found["allen_pass_fraction"]["message"] == "3 of 7 units pass Allen's default filter"
    assert found["ibl_pass_fraction"]["value"] == pytest.approx(3 / 7)
    assert found["median_firing_rate_hz"]["value"] == pytest.approx(10, abs=0.5)
    assert (folder / found["units_found"]["figure"]).read_bytes()[:4] == b"\x89PNG"


def test_a_unit_does_not_depend_on_the_others(planted, tmp_path):
    _, units, table = planted
    write_sorting(tmp_path, {12: units[12]})
    alone = run(tmp_path)
    for name in SPIKE_COLUMNS:
        if "drift" not in name:  # depths have noise from the generator
            assert alone.loc[12, name] == table.loc[12, name], name


def test_same_input_same_bytes(planted, tmp_path):
    folder, units, _ = planted
    write_sorting(tmp_path, units, artifacts=(40,))
    run(tmp_path)
    for file in OUTPUTS.values():
        hashes = [
            hashlib.sha256((place / file).read_bytes()).hexdigest() for place in (folder, tmp_path)
        ]
        assert hashes[0] == hashes[1], file


def test_no_units(tmp_path):
    write_sorting(tmp_path, {})
    table = run(tmp_path)
    assert len(table) == 0
    written = pd.read_parquet(tmp_path / "metrics.pqt")
    assert list(written) == list(METRIC_COLUMNS)
    assert str(written["unit"].dtype) == "int32"
    assert str(written["allen_pass"].dtype) == "bool"
    assert str(written["ibl_bitwise_fail"].dtype) == "uint8"
    checks = {check["name"]: check for check in json.loads((tmp_path / "checks.json").read_text())}
    assert checks["units_found"]["verdict"] == "FAIL"
    assert checks["allen_pass_fraction"]["value"] is None
    assert checks["allen_pass_fraction"]["verdict"] == "WARNING"
    assert (tmp_path / "unit_metrics.png").stat().st_size > 0


def test_only_artifacts_fail(tmp_path):
    rng = np.random.default_rng(5)
    write_sorting(tmp_path, {0: train(rng)}, artifacts=(0,))
    run(tmp_path)
    checks = json.loads((tmp_path / "checks.json").read_text())
    assert checks[0]["verdict"] == "FAIL"


def test_spikes_of_an_unlisted_unit(tmp_path):
    rng = np.random.default_rng(6)
    write_sorting(tmp_path, {4: train(rng), 9: train(rng)})
    units = pd.read_csv(tmp_path / "units.tsv", sep="\t")
    units[units["unit"] == 4].to_csv(tmp_path / "units.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="spikes of unit 9, which the table of units does not"):
        run(tmp_path)
    assert not (tmp_path / "metrics.pqt").exists()


@pytest.mark.parametrize("file", ["waveform_metrics.tsv", "pcs.npz"])
def test_files_of_another_sorting(tmp_path, file):
    rng = np.random.default_rng(6)
    (tmp_path / "other").mkdir()
    write_sorting(tmp_path, {4: train(rng), 9: train(rng)})
    write_sorting(tmp_path / "other", {4: train(rng)})
    (tmp_path / "other" / file).replace(tmp_path / file)
    with pytest.raises(InputError, match=r"has 1 units, the sorting 2, .* Run unit_waveforms"):
        run(tmp_path)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=60), st.permutations(list(range(7))))
def test_group_by_unit_keeps_time_order(spike_units, units):
    spike_units, units = np.array(spike_units, np.int32), np.array(units, np.int32)
    order, bounds = group_by_unit(spike_units, units)
    assert len(bounds) == 8
    for i, unit in enumerate(units):
        assert (
            order[bounds[i] : bounds[i + 1]].tolist()
            == np.flatnonzero(spike_units == unit).tolist()
        )


def test_too_many_units():
    with pytest.raises(InputError, match=r"has 65536 units; at most 65,535"):
        group_by_unit(np.zeros(0, np.int32), np.arange(65_536))


def test_double_counts_must_be_shorter_than_the_refractory_period():
    for wrong in ({"isi_threshold_ms": 0.1}, {"ibl_min_isi_ms": 2.0}):
        with pytest.raises(SettingsError, match="must be less than"):
            validate_settings({"ephys": {"unit_metrics": wrong}})


def test_real_sorting(real_data):
    """Kilosort's output of a real Neuropixels recording: 15 units, 75 minutes."""
    folder = real_data / "sorting_np1"
    samples = np.load(folder / "spike_times.npy").ravel().astype(np.int64)
    unit_of = np.load(folder / "spike_clusters.npy").ravel()
    sizes = np.load(folder / "amplitudes.npy").ravel()
    order = np.argsort(samples, kind="stable")
    samples, unit_of, sizes = samples[order], unit_of[order], sizes[order]
    numbers = np.unique(unit_of)
    n_samples = int(4475.95 * RATE_HZ)
    by_unit, bounds = group_by_unit(unit_of, numbers)
    rows = []
    for start, stop in itertools.pairwise(bounds):
        mine = by_unit[start:stop]
        rows.append(
            spike_metrics(
                samples[mine],
                sizes[mine],
                np.linspace(0, 10, stop - start),
                n_samples=n_samples,
                sampling_rate_hz=RATE_HZ,
                settings=SETTINGS,
            )
        )
    table = pd.DataFrame(rows)
    assert len(table) == 15
    assert bounds[-1] == 94_565
    n_spikes = np.diff(bounds)
    fewest = {
        "amplitude_cutoff": 200,
        "ibl_noise_cutoff": 200,
        "ibl_missed_spikes_est": 501,
        "max_drift": 500,  # 10 in an interval of 51 s
        "cumulative_drift": 500,
    }
    for name in table:
        metric = METRIC_COLUMNS[name]
        values = table[name]
        assert values.dropna().between(metric.low, metric.high).all(), name
        if name not in ("ibl_min_contamination", "isi_violations_corrected"):
            assert values[n_spikes >= fewest.get(name, 10)].notna().all(), name
    # First to last spike instead of the recording: rates change by 2 in 100,000.
    assert (samples[-1] - samples[0]) / n_samples == pytest.approx(1, abs=1e-4)
