"""Comparing results on a made-up plane with the truth gives the scores that were planted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sluice.errors import InputError
from sluice.synth.compare_cells import compare_cells, format_cells_comparison
from sluice.synth.compare_plane import (
    compare_plane,
    compare_plane_files,
    compare_traces,
    format_plane_comparison,
    match_events,
    match_rois,
    onsets,
    shift_error,
)
from sluice.synth.plane import make_scene
from sluice.synth.plane_session import write_plane_truth
from sluice.synth.plane_truth import load_truth

N = 12


@pytest.fixture(scope="module")
def truth_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    scene = make_scene(seed=3, n_frames=1000, height=96, width=96, n_cells=N, missing_frames=(5, 6))
    write_plane_truth(scene, folder)
    return folder


@pytest.fixture(scope="module")
def truth(truth_folder):
    return load_truth(truth_folder)


def _perfect(truth):
    """Results that equal the truth, as `compare_plane` takes them."""
    events = np.zeros(truth.dff.shape, np.float32)
    events[truth.events.cell, truth.events.frame] = truth.events.amplitude
    return {
        "masks": csr_array((truth.masks >= 0.5).astype(np.float32)),
        "shifts_px": truth.shifts_px.copy(),
        "dff": truth.dff.copy(),
        "events": events,
        "neuropil_r": np.full(len(truth.dff), 0.7),
    }


def test_the_truth_itself_is_perfect(truth):
    comparison = compare_plane(truth, **_perfect(truth), name="plane")
    summary = comparison.summary
    assert summary["passed"], summary["failed"]
    assert summary["shift_rms_px"] == 0
    assert summary["n_found"] == N
    assert summary["fraction_false"] == 0
    assert summary["event_f1"] == 1
    assert summary["neuropil_error"] == 0
    assert comparison.cells.roi.tolist() == list(range(N))
    np.testing.assert_allclose(comparison.cells.iou, 1)
    np.testing.assert_allclose(comparison.cells.correlation, 1)
    np.testing.assert_allclose(comparison.cells.amplitude, 1)
    text = format_plane_comparison(comparison)
    assert "plane, against the truth:" in text
    assert f"{N} of {N} cells found (asked for: at least 0.9)" in text
    assert text.endswith("as it should be")
    assert "NOT" not in text


def test_order_of_rois_does_not_matter(truth):
    results = _perfect(truth)
    order = np.random.default_rng(0).permutation(N)
    for key in ("masks", "dff", "events", "neuropil_r"):
        results[key] = results[key][order]
    comparison = compare_plane(truth, **results)
    assert order[comparison.cells.roi].tolist() == list(range(N))
    assert comparison.summary["event_f1"] == 1


def test_offset_of_the_reference_is_no_error_but_noise_is(truth):
    noise = np.random.default_rng(1).standard_normal(truth.shifts_px.shape)
    noise -= np.delete(noise, [5, 6], axis=0).mean(axis=0)
    found = truth.shifts_px + [1.5, -2.25] + 0.3 * noise
    # frames that were not recorded do not count
    found[[5, 6]] = 100
    rms_px, offset_px = shift_error(truth, found)
    np.testing.assert_allclose(offset_px, [1.5, -2.25], atol=1e-12)
    # both axes of 0.3 px; 998 frames leave 2 %
    assert rms_px == pytest.approx(0.3 * np.sqrt(2), rel=0.05)
    found[10] = np.nan
    assert np.isfinite(shift_error(truth, found)[0])
    assert np.isnan(shift_error(truth, np.full_like(found, np.nan))[0])


def test_rois_lie_where_the_reference_puts_them(truth):
    # the shifts found are larger by (3, -2): registered frames lie as much up and right
    results = _perfect(truth)
    dense = results["masks"].toarray().reshape(N, 96, 96)
    moved = np.roll(dense, (-3, 2), axis=(1, 2)).reshape(N, -1)
    matched = match_rois(truth, csr_array(moved), offset_px=np.array([3.0, -2.0]))
    assert matched.roi.tolist() == list(range(N))
    np.testing.assert_allclose(matched.iou, 1)
    assert matched.distance_px.max() < 0.5


def test_missed_cells_and_false_rois_are_counted(truth):
    results = _perfect(truth)
    dense = results["masks"].toarray()
    # cell 0 is not found; one ROI is a corner where no cell is
    dense[0] = 0
    dense[0, [0, 1, 96, 97]] = 1
    comparison = compare_plane(truth, **{**results, "masks": csr_array(dense)})
    assert comparison.cells.roi.tolist() == [-1, *range(1, N)]
    assert comparison.summary["n_found"] == N - 1
    assert comparison.summary["fraction_false"] == pytest.approx(1 / N)
    # left out, it is not false, and the others keep their numbers
    counted = np.arange(N) > 0
    comparison = compare_plane(truth, **results, is_counted=counted)
    assert comparison.cells.roi.tolist() == [-1, *range(1, N)]
    assert comparison.summary["fraction_false"] == 0
    # two of twelve missed are too many
    comparison = compare_plane(truth, **results, is_counted=np.arange(N) > 1)
    assert comparison.summary["failed"] == ["fraction_found"]
    assert "NOT as it should be" in format_plane_comparison(comparison)


def test_half_a_cell_is_found_and_a_sliver_is_not(truth):
    pixels = _perfect(truth)["masks"].toarray()
    half, sliver = pixels.copy(), np.zeros_like(pixels)
    for k in range(N):
        inside = np.flatnonzero(pixels[k])
        half[k, inside[: len(inside) // 2]] = 0
        sliver[k, inside[:10]] = 1
    assert (match_rois(truth, csr_array(half)).roi >= 0).all()
    assert (match_rois(truth, csr_array(sliver)).roi < 0).all()
    # one ROI over two cells that overlap is one cell
    union = pixels.copy()
    pair = np.flatnonzero(truth.cells.is_overlapped)[:1].tolist()
    partner = int(np.argmax((pixels @ pixels[pair[0]]) * (np.arange(N) != pair[0])))
    union[pair[0]] = np.maximum(pixels[pair[0]], pixels[partner])
    union[partner] = 0
    assert (match_rois(truth, csr_array(union)).roi >= 0).sum() == N - 1


def test_bad_traces_are_found_out(truth):
    results = _perfect(truth)
    rng = np.random.default_rng(2)
    half = compare_plane(truth, **{**results, "dff": 0.5 * results["dff"]})
    np.testing.assert_allclose(half.cells.amplitude, 0.5)
    assert half.summary["failed"] == ["fraction_amplitude"]
    noisy = results["dff"] + rng.standard_normal(results["dff"].shape)
    assert (
        "fraction_correlated" in compare_plane(truth, **{**results, "dff": noisy}).summary["failed"]
    )
    missing = results["dff"].copy()
    missing[:, 100:120] = np.nan
    assert compare_plane(truth, **{**results, "dff": missing}).summary["passed"]
    # a trace that is not there is no good one
    missing[:3] = np.nan
    comparison = compare_plane(truth, **{**results, "dff": missing})
    assert comparison.summary["fraction_correlated"] == pytest.approx((N - 3) / N)
    assert not comparison.summary["passed"]
    wrong = compare_plane(truth, **{**results, "neuropil_r": np.full(N, 0.55)})
    assert wrong.summary["failed"] == ["neuropil_error"]
    unknown = compare_plane(truth, **{**results, "neuropil_r": np.full(N, np.nan)})
    assert unknown.summary["failed"] == ["neuropil_error"]


def test_event_scores_are_those_planted(truth):
    results = _perfect(truth)
    events = results["events"].copy()
    # every isolated event of the first cell is missed; the second has 5 events made up
    first = truth.events[(truth.events.cell == 0) & truth.events.is_isolated]
    events[0, first.frame] = 0
    taken = np.flatnonzero(events[1])
    free = [t for t in range(0, 1000, 7) if np.abs(taken - t).min() > 4][:5]
    events[1, free] = 1
    summary = compare_plane(truth, **{**results, "events": events}).summary
    n_isolated, n_events = truth.events.is_isolated.sum(), len(truth.events)
    recall = 1 - len(first) / n_isolated
    precision = (n_events - len(first)) / (n_events - len(first) + 5)
    assert summary["event_recall"] == pytest.approx(recall)
    assert summary["event_precision"] == pytest.approx(precision)
    f1 = 2 * recall * precision / (recall + precision)
    assert summary["event_f1"] == pytest.approx(f1)
    # two frames late is right, three is not
    for late, right in ((2, 1), (3, 0)):
        moved = np.roll(results["events"], late, axis=1)
        recall = compare_plane(truth, **{**results, "events": moved}).summary["event_recall"]
        assert recall == pytest.approx(right, abs=0.1)
    nothing = compare_plane(truth, **{**results, "events": 0 * results["events"]})
    assert nothing.summary["failed"] == ["event_f1"]


@given(
    st.lists(st.integers(0, 40), unique=True, max_size=8),
    st.lists(st.integers(0, 40), unique=True, max_size=8),
)
def test_event_pairs_are_as_many_as_can_be(true, found):
    from scipy.sparse.csgraph import maximum_bipartite_matching

    true, found = np.sort(true).astype(int), np.sort(found).astype(int)
    pairs = match_events(true, found)
    assert (np.abs(true[pairs[:, 0]] - found[pairs[:, 1]]) <= 2).all()
    assert all(len(set(column)) == len(pairs) for column in pairs.T.tolist())
    can_be = np.abs(true[:, None] - found[None]) <= 2
    if can_be.size:
        best = (maximum_bipartite_matching(csr_array(can_be.astype(int))) >= 0).sum()
        assert len(pairs) == best
    else:
        assert not len(pairs)


def test_traces_that_do_not_vary_have_no_correlation():
    assert np.isnan(compare_traces(np.arange(5.0), np.ones(5))).all()
    assert np.isnan(compare_traces(np.arange(5.0), np.full(5, np.nan))).all()
    correlation, slope = compare_traces(np.arange(5.0), 3 - 0.5 * np.arange(5.0))
    assert correlation == pytest.approx(-1)
    assert slope == pytest.approx(-0.5)


def test_nothing_found_and_nothing_there(truth):
    results = {
        "masks": csr_array((0, 96 * 96), dtype=np.float32),
        "shifts_px": truth.shifts_px,
        "dff": np.zeros((0, 1000)),
        "events": np.zeros((0, 1000)),
        "neuropil_r": np.zeros(0),
    }
    summary = compare_plane(truth, **results).summary
    assert summary["fraction_found"] == 0
    assert summary["failed"] == ["fraction_found"]
    empty = replace(
        truth,
        cells=truth.cells[:0],
        events=truth.events[:0],
        masks=truth.masks[[]],
        dff=truth.dff[:0],
    )
    comparison = compare_plane(empty, **results)
    assert comparison.summary["passed"]
    assert "0 of 0 cells found" in format_plane_comparison(comparison)
    # a ROI where no cell is, is false
    one = {
        "masks": csr_array(np.eye(1, 96 * 96, dtype=np.float32)),
        "shifts_px": truth.shifts_px,
        "dff": np.zeros((1, 1000)),
        "events": np.zeros((1, 1000)),
        "neuropil_r": np.zeros(1),
    }
    assert compare_plane(empty, **one).summary["failed"] == ["fraction_false"]


def test_files_of_the_steps_are_read(truth, truth_folder, tmp_path):
    results = _perfect(truth)
    for step in ("register_plane", "segment_plane", "neuropil", "dff", "events", "label_rois"):
        (tmp_path / step).mkdir()
    shifts = pd.DataFrame(results["shifts_px"], columns=["y_px", "x_px"])
    shifts.to_parquet(tmp_path / "register_plane" / "shifts.pqt")
    masks = results["masks"]
    np.savez(
        tmp_path / "segment_plane" / "masks.npz",
        indptr=masks.indptr,
        indices=masks.indices,
        data=masks.data,
        shape=np.array([N, 96, 96]),
    )
    roi = np.arange(N)
    table = pd.DataFrame({"roi": roi, "r": 0.7})
    table.to_parquet(tmp_path / "neuropil" / "rois.pqt")
    np.save(tmp_path / "dff" / "dff.npy", results["dff"])
    np.save(tmp_path / "events" / "events.npy", results["events"])
    with pytest.raises(InputError, match=r"label_rois/rois.pqt: not found. Is this a session"):
        compare_plane_files(truth_folder, tmp_path)
    labels = pd.DataFrame(
        {"roi": roi, "is_valid": roi != 4, "is_soma": True, "motion_border": False}
    )
    labels.to_parquet(tmp_path / "label_rois" / "rois.pqt")
    comparison = compare_plane_files(truth_folder, tmp_path, name="FOV_00")
    assert comparison.name == "FOV_00"
    assert comparison.summary["passed"], comparison.summary["failed"]
    assert comparison.cells.roi[4] == -1


def _sessions():
    """Two sessions: ROIs 0, 1, 2 are cells 10, 11, 12; in b, 12 is gone and ROI 2 is new."""
    a = pd.DataFrame({"roi": [0, 1, 2, -1], "cell_id": [10, 11, 12, 13]})
    b = pd.DataFrame({"roi": [1, 0, 2, -1], "cell_id": [10, 11, 20, 12]})
    return {("s/1", "FOV_00"): a, ("s/2", "FOV_00"): b}


def _cells(names_a, names_b):
    return pd.DataFrame(
        {
            "cell_id": [*names_a, *names_b],
            "session": ["s/1"] * len(names_a) + ["s/2"] * len(names_b),
            "plane": "FOV_00",
            "roi": [*range(len(names_a)), *range(len(names_b))],
        }
    )


def test_matched_cells_that_are_right():
    comparison = compare_cells(_cells("xyz", "yxw"), _sessions(), container="mouse")
    expected = {"n_true": 2, "n_found": 2, "n_right": 2, "precision": 1.0, "recall": 1.0}
    assert comparison.summary == {**expected, "passed": True}
    text = format_cells_comparison(comparison)
    assert text.startswith("mouse, cells over sessions")
    assert text.endswith("as it should be")


def test_wrong_and_missing_pairs_of_cells():
    # 12 is said to be 20, and 11 was not found again
    comparison = compare_cells(_cells("xyz", "vxz"), _sessions())
    assert comparison.pairs.iloc[0, 2:].tolist() == [2, 2, 1]
    assert comparison.summary["precision"] == 0.5
    assert comparison.summary["recall"] == 0.5
    assert not comparison.summary["passed"]
    # ROIs that are no cell: a pair of two is left out, one with a cell is wrong
    cells = _cells("xyzpq", "yxwpz")
    assert compare_cells(cells, _sessions()).summary["n_found"] == 3
    assert compare_cells(cells, _sessions()).summary["n_right"] == 2


def test_three_sessions_are_compared_pair_by_pair():
    sessions = _sessions()
    sessions["s/3", "FOV_00"] = sessions["s/1", "FOV_00"]
    third = _cells("xyz", "").assign(session="s/3")
    comparison = compare_cells(pd.concat([_cells("xyz", "yxw"), third]), sessions)
    assert comparison.pairs.n_true.tolist() == [2, 3, 2]
    assert comparison.pairs.n_right.tolist() == [2, 3, 2]
    assert comparison.summary["passed"]


def test_a_rise_over_two_frames_is_one_event():
    events = np.array([0, 1, 0.5, 0, 2, np.nan, 3, 0, 1])
    assert onsets(events).tolist() == [1, 4, 6, 8]
