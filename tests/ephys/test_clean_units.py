"""The whole step on planted spikes: alignment, doubles, artifacts, what is written."""

import json

import numpy as np
import pandas as pd
import pytest
from ephys.planted_spikes import (
    GAIN_UV,
    channel_table,
    neuropixels_1,
    plant,
    save_sorting,
    save_traces,
    spike,
)

from sluice.ephys.clean_units import clean_units_file, find_peak_channels, trough_offsets
from sluice.errors import InputError
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ephys"]["clean_units"]
POSITIONS = neuropixels_1(32)
OUTPUTS = ("spikes", "units", "templates", "checks")


def clean(folder, traces, sorting, *, name="out", **settings):
    (folder / name).mkdir()
    paths = {key: folder / name / key for key in OUTPUTS}  # names without an extension
    clean_units_file(
        traces=traces,
        sorted_spikes=sorting[0],
        sorted_units=sorting[1],
        settings=SETTINGS | settings,
        **paths,
    )
    units = pd.read_csv(paths["units"], sep="\t", keep_default_na=False)
    return pd.read_parquet(paths["spikes"]), units, np.load(paths["templates"]), paths


def train(rng, n_samples, n_spikes, gap=150):
    """Times at least `gap` samples apart."""
    free = n_samples - gap * n_spikes
    return np.sort(rng.integers(0, free, n_spikes)) + gap * np.arange(n_spikes)


@pytest.fixture
def two_units(tmp_path):
    """Two far units; the sorter marks the second one 6 samples late."""
    rng = np.random.default_rng(1)
    n_samples = 60_000
    both = train(rng, n_samples, 270)  # never at the same moment: the means are exact
    second = np.sort(rng.permutation(270)[:120])
    times = [np.delete(both, second), both[second]]
    waveforms = [
        spike(POSITIONS, (20, 60), peak_uv=150),
        spike(POSITIONS, (20, 240), peak_uv=90),
    ]
    planted = [(w, 20, t, 1.0) for w, t in zip(waveforms, times, strict=True)]
    traces_uv = plant(n_samples, planted, noise_uv=5)
    channels = channel_table(POSITIONS)
    channels.loc[3, "label"] = 2
    traces = save_traces(tmp_path / "traces é", traces_uv, channels)
    marked = np.minimum(times[1] + 6, n_samples - 1)
    sorting = save_sorting(
        tmp_path, np.concatenate([times[0], marked]), np.repeat([0, 1], [150, 120]), 2
    )
    return traces, sorting, times, waveforms


def test_spikes_are_moved_to_the_trough(tmp_path, two_units):
    traces, sorting, times, waveforms = two_units
    spikes, units, templates, _ = clean(tmp_path, traces, sorting)
    for unit in (0, 1):
        assert spikes["sample"][spikes["unit"] == unit].tolist() == times[unit].tolist()
        # 120 spikes with noise of 5 µV: the mean is known to 0.5 µV, 4 of these are enough
        # for 2600 values.
        np.testing.assert_allclose(templates[unit], waveforms[unit], atol=2.2)
    assert spikes["sample"].is_monotonic_increasing
    assert units["n_spikes"].tolist() == [150, 120]


def test_order_after_moving(tmp_path):
    # Where both fire, unit 1 is marked after unit 0 but its trough is before.
    first = np.arange(300, 8000, 300)
    second = np.sort(np.concatenate([first[::4] - 3, first + 150]))
    planted = [
        (spike(POSITIONS, (20, 40), peak_uv=150), 20, first, 1.0),
        (spike(POSITIONS, (20, 280), peak_uv=150), 20, second, 1.0),
    ]
    traces = save_traces(tmp_path / "traces", plant(8300, planted), channel_table(POSITIONS))
    both = np.concatenate([first, second + 6])
    sorting = save_sorting(tmp_path, both, np.repeat([0, 1], [len(first), len(second)]), 2)
    spikes, _, _, _ = clean(tmp_path, traces, sorting)
    assert spikes["sample"].is_monotonic_increasing
    assert spikes["sample"][spikes["unit"] == 0].tolist() == first.tolist()
    assert spikes["sample"][spikes["unit"] == 1].tolist() == second.tolist()


def test_measures_of_the_units(tmp_path, two_units):
    traces, sorting, _, waveforms = two_units
    spikes, units, templates, _ = clean(tmp_path, traces, sorting)
    for unit, y_um in ((0, 60), (1, 240)):
        own = spikes[spikes["unit"] == unit]
        peak = units["peak_channel"][unit]
        assert np.ptp(waveforms[unit], axis=0).argmax() == peak
        assert own["amplitude_uv"].median() == pytest.approx(
            np.ptp(waveforms[unit], axis=0).max(), rel=0.03
        )
        # The centre of mass is not the cell's place exactly; contacts are 20 µm apart.
        assert own["depth_um"].median() == pytest.approx(y_um, abs=10)
    assert not units["is_artifact"].any()
    assert units["artifact_reason"].tolist() == ["", ""]
    assert templates.shape == (2, 82, 32)
    assert templates.dtype == np.float32


def test_no_shift_beyond_the_limit(tmp_path, two_units):
    traces, sorting, times, _ = two_units
    spikes, _, _, _ = clean(tmp_path, traces, sorting, max_shift_ms=0.1)
    late = spikes["sample"][spikes["unit"] == 1]
    assert (late[:-1] - times[1][:-1] == 6).all()
    spikes, _, _, _ = clean(tmp_path, traces, sorting, name="far", max_shift_ms=0.2)
    assert spikes["sample"][spikes["unit"] == 1].tolist() == times[1].tolist()


def test_offsets():
    waveforms = np.zeros((4, 40), np.float32)
    waveforms[0, 20], waveforms[1, 17], waveforms[2, 23], waveforms[3, 24] = -5, -5, -5, -5
    waveforms[:, 30] = 9  # the peak after the trough is larger
    assert trough_offsets(waveforms, at=20, max_shift=3).tolist() == [0, -3, 3, 0]
    assert trough_offsets(np.zeros((0, 40), np.float32), at=20, max_shift=3).shape == (0,)


def test_peak_channel_is_a_good_one_of_the_shank():
    channels = channel_table(POSITIONS, shanks=np.arange(32) // 16)
    channels.loc[5, "label"] = 1
    channels.loc[6, "is_reference"] = True
    templates = np.zeros((2, 10, 32), np.float32)
    templates[:, 3, [5, 6, 7, 20]] = [-90, -80, -10, -50]
    assert find_peak_channels(templates, np.array([0, 1]), channels).tolist() == [7, 20]


def test_doubles_are_removed_and_counted(tmp_path):
    # Unit 1 is a shadow of unit 0: it marks a third of its spikes again, and unit 0 marks
    # some of its own twice. Unit 2 is 260 µm away and often fires at the same moments.
    rng = np.random.default_rng(2)
    every = train(rng, 60_000, 280)
    times, alone, elsewhere = every[:240:2], every[1:120:2], every[121:240:2]
    elsewhere = np.sort(np.concatenate([elsewhere, times[::4]]))
    near = spike(POSITIONS, (20, 20), peak_uv=150)
    far = spike(POSITIONS, (20, 280), peak_uv=150)
    small = 0.5 * spike(POSITIONS, (20, 40), peak_uv=150)
    traces_uv = plant(
        60_000,
        [(near, 20, times, 1.0), (far, 20, elsewhere, 1.0), (small, 20, alone, 1.0)],
        noise_uv=3,
    )
    traces = save_traces(tmp_path / "traces", traces_uv, channel_table(POSITIONS))
    shadows, again = times[::3] + 2, times[1::10] + 3
    trains = [times, again, alone, shadows, elsewhere]
    samples, rows = np.concatenate(trains), np.repeat([0, 0, 1, 1, 2], list(map(len, trains)))
    sorting = save_sorting(tmp_path, samples, rows, 3)
    spikes, units, _, paths = clean(tmp_path, traces, sorting)
    assert units["n_double_within"].tolist() == [len(again), 0, 0]
    assert units["n_double_between"].tolist() == [0, len(shadows), 0]
    assert units["n_spikes"].tolist() == [len(times), len(alone), len(elsewhere)]
    assert spikes["sample"][spikes["unit"] == 0].tolist() == times.tolist()
    # The shadows, 2 samples late and larger, draw the trough of unit 1's mean by a sample.
    left = spikes["sample"][spikes["unit"] == 1].to_numpy()
    assert np.abs(left - alone).max() <= 1
    checks = {check["name"]: check for check in json.loads(paths["checks"].read_text())}
    removed = len(again) + len(shadows)
    assert checks["double_counted_fraction"]["value"] == pytest.approx(removed / len(samples))


def test_an_artifact_is_labelled_and_kept(tmp_path):
    positions = neuropixels_1(128)
    neuron = spike(positions, (20, 300), peak_uv=150)
    everywhere = 60 * neuron[:, [np.ptp(neuron, axis=0).argmax()]] / 150 * np.ones((1, 128))
    times, bangs = np.arange(300, 30_000, 600), np.arange(600, 30_000, 600)
    traces_uv = plant(30_000, [(neuron, 20, times, 1.0), (everywhere, 20, bangs, 1.0)], noise_uv=3)
    traces = save_traces(tmp_path / "traces", traces_uv, channel_table(positions))
    sorting = save_sorting(
        tmp_path,
        np.concatenate([times, bangs]),
        np.repeat([0, 1], [len(times), len(bangs)]),
        2,
    )
    spikes, units, _, paths = clean(tmp_path, traces, sorting)
    assert units["is_artifact"].tolist() == [False, True]
    assert units["artifact_reason"].tolist() == ["", "spread"]
    assert (spikes["unit"] == 1).sum() == len(bangs)
    assert '"value": 0.5' in paths["checks"].read_text()


def test_spikes_at_the_ends_of_the_recording(tmp_path):
    # No whole window fits: there is nothing to average, and nothing may be read outside.
    traces = save_traces(tmp_path / "traces", np.zeros((300, 32)), channel_table(POSITIONS))
    sorting = save_sorting(tmp_path, [0, 1, 299], [0, 0, 1], 2)
    spikes, units, templates, _ = clean(tmp_path, traces, sorting, duplicate_window_ms=0)
    assert spikes["sample"].tolist() == [0, 1, 299]
    assert spikes["amplitude_uv"].tolist() == [0, 0, 0]
    assert not templates.any()
    assert units["n_spikes"].tolist() == [2, 1]


def test_a_moved_spike_stays_in_the_recording(tmp_path):
    waveform = spike(POSITIONS, (20, 60), peak_uv=150)
    times = np.array([500, 900, 1300, 1700, 1998])
    traces_uv = plant(2000, [(waveform, 20, times, 1.0)])
    traces = save_traces(tmp_path / "traces", traces_uv, channel_table(POSITIONS))
    marked = np.append(times[:-1] - 5, 1999)
    spikes, _, _, _ = clean(tmp_path, traces, save_sorting(tmp_path, marked, [0] * 5, 1))
    assert spikes["sample"].tolist() == [500, 900, 1300, 1700, 1999]


def test_empty_sorting(tmp_path):
    traces = save_traces(tmp_path / "traces", np.zeros((300, 32)), channel_table(POSITIONS))
    spikes, units, templates, paths = clean(tmp_path, traces, save_sorting(tmp_path, [], [], 0))
    assert {name: str(dtype) for name, dtype in spikes.dtypes.items()} == {
        "sample": "int64",
        "unit": "int32",
        "amplitude_uv": "float32",
        "depth_um": "float32",
    }
    assert len(spikes) == len(units) == 0
    assert units.columns.tolist() == [
        "unit",
        "shank",
        "peak_channel",
        "n_spikes",
        "n_double_within",
        "n_double_between",
        "is_artifact",
        "artifact_reason",
        "sorter_label",
    ]
    assert templates.shape == (0, 82, 32)
    assert [check["verdict"] for check in json.loads(paths["checks"].read_text())] == [
        "WARNING",
        "WARNING",
    ]


def test_same_input_same_bytes(tmp_path, two_units):
    traces, sorting, _, _ = two_units
    first, second = (
        clean(tmp_path, traces, sorting, name=name, n_template_spikes=20)[3] for name in "ab"
    )
    for key in OUTPUTS:
        assert first[key].read_bytes() == second[key].read_bytes()


def test_units_are_rows_in_any_order(tmp_path, two_units):
    traces, sorting, _, _ = two_units
    expected = clean(tmp_path, traces, sorting)[0]
    table = pd.read_csv(sorting[1], sep="\t", keep_default_na=False)
    table["unit"] = [7, 3]
    table.to_csv(sorting[1], sep="\t", index=False)
    spikes = pd.read_parquet(sorting[0])
    spikes["unit"] = spikes["unit"].map({0: 7, 1: 3}).astype(np.int32)
    spikes.to_parquet(sorting[0], index=False)
    renamed, units, _, _ = clean(tmp_path, traces, sorting, name="renamed")
    assert units["unit"].tolist() == [7, 3]
    assert renamed["unit"].map({7: 0, 3: 1}).tolist() == expected["unit"].tolist()


def test_sorting_of_another_recording(tmp_path):
    traces = save_traces(tmp_path / "traces", np.zeros((300, 32)), channel_table(POSITIONS))
    sorting = save_sorting(tmp_path, [100], [4], 2)
    with pytest.raises(InputError, match=r"spikes of unit 4, which .*units.tsv does not list"):
        clean(tmp_path, traces, sorting)


def test_gain_is_applied(tmp_path, two_units):
    traces, sorting, _, waveforms = two_units
    info = json.loads((traces / "traces.json").read_text())
    info["gain_uv"] = 2 * GAIN_UV
    (traces / "traces.json").write_text(json.dumps(info))
    spikes, _, templates, _ = clean(tmp_path, traces, sorting)
    assert np.ptp(templates[0], axis=0).max() == pytest.approx(
        2 * np.ptp(waveforms[0], axis=0).max(), rel=0.03
    )
    assert spikes["amplitude_uv"][spikes["unit"] == 0].median() == pytest.approx(
        2 * np.ptp(waveforms[0], axis=0).max(), rel=0.03
    )
