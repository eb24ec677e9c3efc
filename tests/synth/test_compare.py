"""The comparison with the truth counts what it should, and says so."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.errors import InputError
from sluice.synth.compare import (
    compare_bad_channels,
    compare_session,
    count_matches,
    format_comparison,
    match_units,
    surface_error,
)

FS = 30000.0


def _spikes(trains):
    """Table of spikes from a dict of unit to samples."""
    return pd.DataFrame(
        {
            "sample": np.concatenate([np.zeros(0, np.int64), *trains.values()]).astype(np.int64),
            "unit": np.repeat(list(trains), [len(t) for t in trains.values()]).astype(np.int32),
        }
    )


def _train(n, seed):
    return np.sort(np.random.default_rng(seed).choice(3_000_000, n, replace=False))


def _most_matches(first, second, tolerance):
    """Largest matching, by trying everything."""
    if not first or not second:
        return 0
    best = _most_matches(first[1:], second, tolerance)
    for j, sample in enumerate(second):
        if abs(sample - first[0]) <= tolerance:
            rest = second[:j] + second[j + 1 :]
            best = max(best, 1 + _most_matches(first[1:], rest, tolerance))
    return best


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.lists(st.integers(0, 40), max_size=6),
    st.lists(st.integers(0, 40), max_size=6),
    st.integers(0, 6),
)
def test_matches_are_as_many_as_possible(first, second, tolerance):
    first, second = sorted(first), sorted(second)
    counted = count_matches(np.array(first, np.int64), np.array(second, np.int64), tolerance)
    assert counted == _most_matches(first, second, tolerance)


def test_tolerance_is_in_ms_and_inclusive():
    truth = _spikes({0: [1000]})
    for offset, accuracy in ((12, 1.0), (13, 0.0), (-12, 1.0), (-13, 0.0)):
        table = match_units(truth, _spikes({0: [1000 + offset]}), FS, tolerance_ms=0.4)
        assert table.accuracy[0] == accuracy


def test_units_are_found_under_any_name_and_in_any_order():
    trains = {u: _train(200, u) for u in range(4)}
    found = _spikes({10 * u + 3: train + 2 for u, train in trains.items()})
    found = found.sample(frac=1, random_state=0)
    table = match_units(_spikes(trains), found, FS)
    assert table.unit.tolist() == [0, 1, 2, 3]
    assert table.found_unit.tolist() == [3, 13, 23, 33]
    assert table.accuracy.tolist() == [1, 1, 1, 1]


def test_accuracy_counts_missed_and_false_spikes():
    train = np.arange(1, 101) * 1000
    found = np.sort(np.r_[train[:80], np.arange(1, 41) * 1000 + 500])
    row = match_units(_spikes({0: train}), _spikes({0: found}), FS).iloc[0]
    # 80 of 100 found, 40 false ones: 80 / (80 + 20 + 40)
    assert row.n_matched == 80
    assert row.accuracy == pytest.approx(80 / 140)
    assert row.recall == pytest.approx(0.8)
    assert row.precision == pytest.approx(80 / 120)


def test_a_split_unit_counts_its_larger_part_and_a_merged_one_only_one_of_its_two():
    split, a, b = _train(300, 1), _train(200, 2), _train(100, 3)
    truth = _spikes({0: split, 1: a, 2: b})
    found = _spikes({0: split[:200], 1: split[200:], 2: np.sort(np.r_[a, b])})
    table = match_units(truth, found, FS)
    assert table.accuracy[0] == pytest.approx(2 / 3)
    assert table.found_unit[1] == 2
    assert table.accuracy[1] == pytest.approx(2 / 3, abs=0.01)
    # what is left agrees by chance at most
    assert table.accuracy[2] < 0.05


def test_the_assignment_is_best_overall_as_trying_all_shows():
    rng = np.random.default_rng(0)
    truth = {u: np.sort(rng.choice(2000, 60, replace=False)) * 50 for u in range(3)}
    found = {
        u: np.sort(np.r_[rng.choice(truth[u % 3], 30, replace=False), rng.choice(2000, 40) * 50])
        for u in range(4)
    }
    table = match_units(_spikes(truth), _spikes(found), FS)

    def accuracy(i, j):
        n = count_matches(truth[i], found[j], 12)
        return n / (len(truth[i]) + len(found[j]) - n)

    best = max(
        sum(accuracy(i, j) for i, j in enumerate(choice))
        for choice in product(range(4), repeat=3)
        if len(set(choice)) == 3
    )
    assert table.accuracy.sum() == pytest.approx(best)


@pytest.mark.parametrize("n_true", [0, 2])
@pytest.mark.parametrize("n_found", [0, 2])
def test_nothing_true_or_nothing_found(n_true, n_found):
    trains = {u: _train(20, u) for u in range(2)}
    truth = _spikes({u: trains[u] for u in range(n_true)})
    found = _spikes({u: trains[u] for u in range(n_found)})
    table = match_units(truth, found, FS)
    assert len(table) == n_true
    assert (table.accuracy == (1 if n_found else 0)).all()
    assert (table.found_unit == ([0, 1][:n_true] if n_found else -1)).all()


def test_bad_channels_must_be_of_the_right_kind_and_no_others():
    truth = {"dead": [2, 5], "noisy": [7], "reference": [4]}
    labels = np.zeros(12, int)
    labels[[2, 5]], labels[7], labels[10:] = 1, 2, 3
    right = {"dead_missed": [], "noisy_missed": [], "bad_wrong": []}
    assert compare_bad_channels(truth, labels) == right
    labels[4] = 1  # a reference contact may be called dead
    assert compare_bad_channels(truth, labels) == right
    labels[5], labels[7], labels[9] = 0, 1, 2
    wrong = {"dead_missed": [5], "noisy_missed": [7], "bad_wrong": [9]}
    assert compare_bad_channels(truth, labels) == wrong


def _shanks(*surfaces_um):
    return [{"shank": i, "surface_y_um": y} for i, y in enumerate(surfaces_um)]


def test_surface_error_counts_the_shanks_channels_between():
    channels = pd.DataFrame(
        {"shank": np.repeat([0, 1], 20), "y_um": np.tile(np.repeat(np.arange(10) * 20.0, 2), 2)}
    )
    assert surface_error(_shanks(100.0, 100.0), _shanks(100.0, 100.0), channels) == 0
    assert surface_error(_shanks(100.0, 100.0), _shanks(100.0, 140.0), channels) == 4
    assert surface_error(_shanks(100.0, 100.0), _shanks(60.0, 120.0), channels) == 4
    assert surface_error(_shanks(None, None), _shanks(None, None), channels) == 0
    for true, found in (((100.0, None), (100.0, 80.0)), ((100.0, 100.0), (100.0, None))):
        assert np.isnan(surface_error(_shanks(*true), _shanks(*found), channels))


@pytest.fixture
def finished(tmp_path):
    """A truth of three units, two above SNR 5, and results that have them all."""
    raw, results, session = tmp_path / "raw", tmp_path / "results", "S/2026-01-15/001"
    truth = raw / session / "truth" / "probe00"
    alf = results / "derived" / session / "alf" / "probe00" / "ks"
    check = results / "work" / session / "probe00" / "check_probe"
    for folder in (truth, alf, check):
        folder.mkdir(parents=True)
    spikes = _spikes({u: _train(100, u) for u in range(3)})
    spikes.to_parquet(truth / "spikes.pqt")
    pd.DataFrame(
        {
            "unit": [0, 1, 2, 3],
            "peak_channel": [1, 4, 6, 8],
            "snr": [8.0, 3.0, 12.0, 9.0],
            "n_spikes": [100, 100, 100, 0],
        }
    ).to_csv(truth / "units.tsv", sep="\t", index=False)
    shanks = _shanks(100.0)
    (truth / "truth.json").write_text(
        json.dumps(
            {
                "sampling_rate_hz": FS,
                "shanks": shanks,
                "dead": [3],
                "noisy": [5],
                "reference": [],
            }
        )
    )
    np.save(alf / "spikes.samples.npy", spikes["sample"].to_numpy())
    np.save(alf / "spikes.clusters.npy", spikes.unit.to_numpy().astype(np.uint32))
    labels = np.zeros(20, int)
    labels[[3, 5]] = 1, 2
    pd.DataFrame({"shank": 0, "y_um": np.repeat(np.arange(10) * 20.0, 2), "label": labels}).to_csv(
        check / "channels.tsv", sep="\t", index=False
    )
    (check / "surface.json").write_text(json.dumps({"shanks": shanks}))
    return raw, results, session


def _clusters(finished):
    return finished[1] / "derived" / finished[2] / "alf/probe00/ks/spikes.clusters.npy"


def test_a_session_that_is_as_it_should_be(finished):
    comparison = compare_session(*finished, "ks")
    assert comparison.summary == {
        "n_units": 2,
        "n_good": 2,
        "fraction_good": 1.0,
        "bad_channels_right": True,
        "surface_error": 0.0,
        "passed": True,
    }
    # the unit that never fired is left out
    assert comparison.units.unit.tolist() == [0, 1, 2]
    text = format_comparison(comparison)
    assert "S/2026-01-15/001, ks" in text
    assert "2 of 2 units with SNR > 5 found with accuracy >= 0.9" in text
    assert "bad channels right" in text
    assert text.endswith("as it should be")
    assert "NOT" not in text


def test_a_weak_unit_may_be_missed_and_a_strong_one_may_not(finished):
    path = _clusters(finished)
    clusters = np.load(path)
    np.save(path, np.where(clusters == 1, 77, clusters))
    assert compare_session(*finished, "ks").summary["passed"]
    np.save(path, np.where(clusters == 2, 0, clusters))
    comparison = compare_session(*finished, "ks")
    assert comparison.summary["n_good"] < 2
    assert not comparison.summary["passed"]
    assert format_comparison(comparison).endswith("NOT as it should be")


def test_wrong_channels_and_surface_fail_and_are_named(finished):
    check = finished[1] / "work" / finished[2] / "probe00/check_probe"
    channels = pd.read_csv(check / "channels.tsv", sep="\t")
    channels.loc[3, "label"], channels.loc[9, "label"] = 0, 2
    channels.to_csv(check / "channels.tsv", sep="\t", index=False)
    (check / "surface.json").write_text(json.dumps({"shanks": _shanks(None)}))
    comparison = compare_session(*finished, "ks")
    assert not comparison.summary["bad_channels_right"]
    assert np.isnan(comparison.summary["surface_error"])
    assert not comparison.summary["passed"]
    text = format_comparison(comparison)
    assert "dead channels missed: 3; channels wrongly called bad: 9" in text
    assert "brain surface not found, or found where there is none" in text


@pytest.mark.parametrize("shift_um, passed", [(40.0, True), (60.0, False)])
def test_the_surface_may_be_five_channels_off(finished, shift_um, passed):
    path = finished[1] / "work" / finished[2] / "probe00/check_probe/surface.json"
    path.write_text(json.dumps({"shanks": _shanks(100.0 + shift_um)}))
    summary = compare_session(*finished, "ks").summary
    assert summary["surface_error"] == shift_um / 10
    assert summary["passed"] == passed


def test_missing_files_are_named(finished):
    raw, results, _ = finished
    with pytest.raises(InputError, match=r"truth: no truth found; only sessions made by"):
        compare_session(raw, results, "S/2026-01-15/002", "ks")
    with pytest.raises(InputError, match=r"other/spikes\.samples\.npy: not found\. Is this"):
        compare_session(*finished, "other")
