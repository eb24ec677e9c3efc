"""Sorting planted spikes: shanks on their own, what is written, what goes wrong."""

import json

import numpy as np
import pandas as pd
import pytest
from ephys.planted_spikes import (
    GAIN_UV,
    RATE_HZ,
    channel_table,
    neuropixels_1,
    plant,
    save_traces,
    spike,
)

from sluice.ephys.sort_spikes import (
    as_tables,
    open_recording,
    shank_whitening,
    sort_spikes_file,
)
from sluice.ephys.sorters import SorterError
from sluice.ephys.traces import load_channels, save_channels
from sluice.errors import InputError, UserError
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ephys"]["sort_spikes"]
OUTPUTS = ("spikes", "units", "sorter_output", "checks")


def sort(folder, traces, sorter="simple", *, name="out", **options):
    (folder / name).mkdir()
    paths = {key: folder / name / key for key in OUTPUTS}
    defaults = {
        "parameters": {},
        "whiten": "sorter",
        "motion": "sorter",
        "device": "cpu",
        "n_threads": 1,
        "settings": SETTINGS,
    }
    sort_spikes_file(traces=traces, sorter=sorter, **{**defaults, **options}, **paths)
    units = pd.read_csv(paths["units"], sep="\t", keep_default_na=False)
    return pd.read_parquet(paths["spikes"]), units, json.loads(paths["checks"].read_text()), paths


def trains(n_units, n_samples, n_spikes, seed=0):
    """Trains of several units that never fire together."""
    rng = np.random.default_rng(seed)
    gap = 120
    free = n_samples - gap * n_units * n_spikes - 400
    every = np.sort(rng.integers(0, free, n_units * n_spikes)) + 200
    every += gap * np.arange(len(every))
    own = rng.permutation(np.repeat(np.arange(n_units), n_spikes))
    return [every[own == unit] for unit in range(n_units)]


@pytest.fixture(scope="module")
def two_shanks(tmp_path_factory):
    """Two shanks, 250 µm apart, with 8 channels and two units each, 8 s."""
    folder = tmp_path_factory.mktemp("two_shanks")
    shank = neuropixels_1(8)
    positions = np.concatenate([shank, shank + np.array([250, 0])])
    n_samples = 240_000
    times = trains(4, n_samples, 120)
    places = [(10, 0), (30, 60), (260, 0), (280, 60)]
    planted = [
        (spike(positions, place, peak_uv=peak_uv), 20, train, 1.0)
        for place, peak_uv, train in zip(places, (200, 120, 150, 220), times, strict=True)
    ]
    table = channel_table(positions, shanks=np.repeat([0, 1], 8))
    table.loc[5, "label"] = 2  # noisy
    traces_uv = plant(n_samples, planted, noise_uv=8)
    traces_uv[:, 5] += np.random.default_rng(9).normal(0, 200, n_samples)
    return save_traces(folder / "traces", traces_uv, table), times


def found(spikes, units, times, *, within=12):
    """The unit that has most spikes of a train, and which fraction of both it shares."""
    best = (0.0, -1)
    for unit in units["unit"]:
        own = spikes["sample"][spikes["unit"] == unit].to_numpy()
        hits = (np.abs(own[:, None] - times).min(axis=0) <= within).sum()
        best = max(best, (hits / (len(own) + len(times) - hits), unit))
    return best


def test_each_shank_is_sorted_on_its_own(tmp_path, two_shanks):
    traces, times = two_shanks
    spikes, units, checks, paths = sort(tmp_path, traces)
    assert spikes.dtypes.astype(str).to_dict() == {"sample": "int64", "unit": "int32"}
    assert spikes["sample"].is_monotonic_increasing
    assert units.columns.tolist() == ["unit", "shank", "sorter_unit", "sorter_label"]
    assert units["unit"].tolist() == list(range(len(units)))
    assert units["shank"].is_monotonic_increasing
    for train, shank in zip(times, (0, 0, 1, 1), strict=True):
        agreement, unit = found(spikes, units, train)
        assert agreement > 0.9  # noise of 8 µV, spikes of 120 µV and more
        assert units["shank"][unit] == shank
    assert checks[0]["name"] == "units_found"
    assert checks[0]["value"] == len(units)
    assert checks[0]["verdict"] == "PASS"
    assert (paths["sorter_output"] / "shank1" / "spikeinterface_log.json").is_file()


def test_bad_channels_are_left_out(tmp_path, two_shanks):
    traces, _ = two_shanks
    _, _, _, paths = sort(tmp_path, traces)
    for shank, n_channels in ((0, 7), (1, 8)):
        log = paths["sorter_output"] / f"shank{shank}" / "recording_attributes.json"
        assert len(json.loads(log.read_text())["channel_ids"]) == n_channels


def test_same_input_same_bytes(tmp_path, two_shanks):
    traces, _ = two_shanks
    first, second = (sort(tmp_path, traces, name=name)[3] for name in "ab")
    for key in ("spikes", "units", "checks"):
        assert first[key].read_bytes() == second[key].read_bytes()


def test_silence_gives_valid_empty_files_and_a_fail(tmp_path):
    traces = save_traces(
        tmp_path / "traces", np.zeros((60_000, 8)), channel_table(neuropixels_1(8))
    )
    spikes, units, checks, paths = sort(tmp_path, traces)
    assert spikes.dtypes.astype(str).to_dict() == {"sample": "int64", "unit": "int32"}
    assert len(spikes) == len(units) == 0
    assert units.columns.tolist() == ["unit", "shank", "sorter_unit", "sorter_label"]
    assert (checks[0]["value"], checks[0]["verdict"]) == (0, "FAIL")
    assert paths["sorter_output"].is_dir()


def test_a_shank_without_good_channels_is_left_out(tmp_path, two_shanks, caplog):
    traces, times = two_shanks
    table = load_channels(traces / "channels.tsv")
    kept = table["label"].copy()
    table.loc[table["shank"] == 0, "label"] = 1
    save_channels(table, traces / "channels.tsv")
    try:
        spikes, units, _, _ = sort(tmp_path, traces)
    finally:
        table["label"] = kept
        save_channels(table, traces / "channels.tsv")
    assert set(units["shank"]) == {1}
    assert found(spikes, units, times[2])[0] > 0.9
    assert "shank 0 has no good channel" in caplog.text


def test_no_good_channel(tmp_path):
    table = channel_table(neuropixels_1(8))
    table["label"] = 1
    traces = save_traces(tmp_path / "traces", np.zeros((100, 8)), table)
    with pytest.raises(InputError, match=r"traces: none of 8 channels is good.*check_probe"):
        sort(tmp_path, traces)


def test_sorter_that_fails(tmp_path, two_shanks, capsys):
    with pytest.raises(SorterError, match=r"simple failed: .*clustering method qwertz"):
        sort(tmp_path, two_shanks[0], parameters={"clusterer": "qwertz"})
    assert "unknown clustering method qwertz" in capsys.readouterr().out


def test_gpu_without_a_gpu(tmp_path, two_shanks, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="was given a GPU"):
        sort(tmp_path, two_shanks[0], device="cuda")


def test_too_short_for_kilosorts_whitening(tmp_path, two_shanks):
    with pytest.raises(InputError, match=r"found 8.00 s; .* two batches of 150000 samples \(10.00"):
        sort(tmp_path, two_shanks[0], "kilosort4", parameters={"batch_size": 150_000})


def test_recording_in_microvolts_with_its_probe(two_shanks):
    recording, channels = open_recording(two_shanks[0])
    assert recording.get_channel_gains().tolist() == [GAIN_UV] * 16
    assert recording.get_num_samples() == 240_000
    assert recording.sampling_frequency == RATE_HZ
    positions = channels[["x_um", "y_um"]].to_numpy()
    assert np.array_equal(recording.get_channel_locations(), positions)


def test_whitening_of_one_shank(tmp_path):
    matrix = np.zeros((4, 4), np.float32)
    matrix[np.ix_([0, 2], [0, 2])] = [[1, 2], [3, 4]]
    np.save(tmp_path / "whitening.npy", matrix)
    cut = shank_whitening(tmp_path, np.array([0, 2]), 0.5)
    assert cut.tolist() == [[0.5, 1], [1.5, 2]]
    assert cut.dtype == np.float32
    matrix[0, 3] = 1
    np.save(tmp_path / "whitening.npy", matrix)
    with pytest.raises(InputError, match=r"whitening.npy mixes the 2 good channels .* 1 channels"):
        shank_whitening(tmp_path, np.array([0, 2]), 0.5)


def test_numbering_of_units():
    from spikeinterface.core import NumpySorting

    sorting = NumpySorting.from_unit_dict(
        {3: np.array([5, 50]), 7: np.array([-4, 200]), 9: np.array([99, 100])}, RATE_HZ
    )
    sorting.set_property("KSLabel", np.array(["good", "mua", "mua"]))
    spikes, units = as_tables(sorting, 100, shank=2, first_unit=10)
    assert units.to_numpy().tolist() == [[10, 2, "3", "good"], [11, 2, "9", "mua"]]
    assert spikes.to_numpy().tolist() == [[5, 10], [50, 10], [99, 11]]


@pytest.mark.parametrize(
    ("sorter", "motion", "min_channels", "correct", "whiten"),
    [
        ("kilosort4", "sorter", 8, [False, True], "workflow"),  # a channel of shank 0 is bad
        ("kilosort4", "sorter", 7, [True, True], "sorter"),
        ("kilosort4", "dredge", 7, [False, False], "workflow"),
        ("spykingcircus2", "sorter", 8, [False, True], "workflow"),
    ],
)
def test_what_a_sorter_is_given(
    tmp_path, two_shanks, monkeypatch, sorter, motion, min_channels, correct, whiten
):
    traces, _ = two_shanks
    given = []

    def run_sorter(recording, sorter, parameters, folder, *, whitening):
        given.append((recording.channel_ids.tolist(), parameters, folder.name, whitening))

    monkeypatch.setattr("sluice.ephys.sort_spikes.run_sorter", run_sorter)
    matrix = np.diag(np.arange(16, dtype=np.float32))
    np.save(traces / "whitening.npy", matrix)
    _, _, checks, _ = sort(
        tmp_path,
        traces,
        sorter,
        motion=motion,
        whiten=whiten,
        settings=SETTINGS | {"min_channels_for_drift": min_channels},
    )
    assert checks[0]["verdict"] == "FAIL"
    shanks = [[0, 1, 2, 3, 4, 6, 7], list(range(8, 16))]
    assert [channels for channels, *_ in given] == shanks
    assert [folder for _, _, folder, _ in given] == ["shank0", "shank1"]
    name = "do_correction" if sorter == "kilosort4" else "apply_motion_correction"
    assert [parameters.get(name, True) for _, parameters, _, _ in given] == correct
    for channels, _, _, whitening in given:
        if sorter == "kilosort4" and whiten == "workflow":
            assert np.array_equal(np.diag(whitening), np.array(channels) * GAIN_UV)
        else:
            assert whitening is None


@pytest.mark.slow
def test_kilosort_with_the_workflows_whitening(tmp_path):
    # 12 channels, 20 s: the smallest that Kilosort 4 sorts well on a CPU.
    positions = neuropixels_1(12)
    n_samples = 600_000
    times = trains(2, n_samples, 300)
    planted = [
        (spike(positions, place, peak_uv=200), 20, train, 1.0)
        for place, train in zip([(10, 20), (40, 90)], times, strict=True)
    ]
    traces_uv = plant(n_samples, planted, noise_uv=8)
    traces = save_traces(tmp_path / "traces", traces_uv, channel_table(positions))
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(traces_uv[:60_000].T)))
    np.save(traces / "whitening.npy", whitening.astype(np.float32))
    spikes, units, _, paths = sort(tmp_path, traces, "kilosort4", whiten="workflow", n_threads=2)
    for train in times:
        assert found(spikes, units, train)[0] > 0.9
    assert set(units["sorter_label"]) <= {"good", "mua"}
    phy = paths["sorter_output"] / "shank0" / "sorter_output"
    used = np.load(phy / "whitening_mat.npy")
    np.testing.assert_allclose(used, whitening * GAIN_UV, atol=1e-6)  # float32
    assert (phy / "kilosort4.log").is_file()
    assert not list(phy.glob("*.dat"))
