from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video.made_up_pose import pose_table

from sluice.errors import InputError
from sluice.video.pose import (
    fill_short_gaps,
    filter_pose,
    likelihoods,
    load_pose,
    point_names,
    positions,
    save_pose,
)

NAN = np.nan


def random_pose(seed, n_frames, points=("nose_tip", "paw_l", "paw_r")):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 600, (n_frames, len(points), 2))
    return pose_table(points, xy, rng.random((n_frames, len(points))))


def test_it_is_read_as_it_was_written(tmp_path):
    table = random_pose(0, 20)
    save_pose(table, tmp_path / "a.pqt")
    pd.testing.assert_frame_equal(load_pose(tmp_path / "a.pqt", name="S leftCamera"), table)
    save_pose(table, tmp_path / "b.pqt")
    assert (tmp_path / "a.pqt").read_bytes() == (tmp_path / "b.pqt").read_bytes()


def test_only_the_points_wanted_are_read_in_that_order(tmp_path):
    table = random_pose(1, 5)
    save_pose(table, tmp_path / "a.pqt")
    found = load_pose(tmp_path / "a.pqt", ["paw_r", "nose_tip"], name="S leftCamera")
    assert point_names(found) == ["paw_r", "nose_tip"]
    assert point_names(table) == ["nose_tip", "paw_l", "paw_r"]
    np.testing.assert_array_equal(found["paw_r_y"], table["paw_r_y"])


def test_points_that_the_model_has_not(tmp_path):
    save_pose(random_pose(2, 5), tmp_path / "a.pqt")
    with pytest.raises(
        InputError,
        match=r"S leftCamera: the pose model has no point nose, tail; .*a.pqt has nose_tip, "
        r"paw_l, paw_r. Did you mean 'nose_tip' for 'nose'\? Name points of the model",
    ):
        load_pose(tmp_path / "a.pqt", ["nose", "paw_l", "tail"], name="S leftCamera")


def test_what_is_not_a_table_of_points_is_not_written(tmp_path):
    table = random_pose(3, 5)
    for wrong in (
        table.drop(columns="paw_l_y"),
        table.assign(frame=0),
        table[table.columns[::-1]],
        pd.concat([table, table], axis=1),
    ):
        with pytest.raises(ValueError, match="are not <point>_x"):
            save_pose(wrong, tmp_path / "a.pqt")


def test_a_table_without_points_or_frames(tmp_path):
    save_pose(pd.DataFrame(), tmp_path / "a.pqt")
    assert point_names(load_pose(tmp_path / "a.pqt")) == []
    with pytest.raises(InputError, match=r"a.pqt has no points"):
        load_pose(tmp_path / "a.pqt", ["nose"])
    empty = random_pose(4, 0)
    save_pose(empty, tmp_path / "b.pqt")
    found = load_pose(tmp_path / "b.pqt")
    assert positions(found, ["paw_l"], min_likelihood=0.9).shape == (0, 1, 2)
    filtered = filter_pose(found, window_frames=5, min_likelihood=0.9)
    pd.testing.assert_frame_equal(filtered, empty)


def test_positions_below_the_likelihood_are_unknown():
    table = pose_table(
        ["a", "b"],
        np.arange(16.0).reshape(4, 2, 2),
        np.array([[0.9, 0.0], [0.8999, 1.0], [NAN, 0.95], [1.0, 1.0]]),
    )
    table.loc[3, "a_y"], table.loc[3, "b_x"] = NAN, np.inf
    found = positions(table, ["b", "a"], min_likelihood=0.9)
    assert found.dtype == np.float64
    expected = np.full((4, 2, 2), NAN)
    expected[0, 1] = [0, 1]
    expected[1, 0] = [6, 7]
    expected[2, 0] = [10, 11]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(likelihoods(table, ["b"])[:, 0], [0, 1, 0.95, 1])
    # the table is not changed
    assert table["a_x"].tolist() == [0, 4, 8, 12]


def slow_filter(table, window, min_likelihood, max_gap):
    found, half = table.copy(), window // 2
    for point in point_names(table):
        is_known = table[f"{point}_likelihood"] >= min_likelihood
        for part in ("x", "y"):
            trace = [
                value if known else NAN
                for value, known in zip(table[f"{point}_{part}"], is_known, strict=True)
            ]
            out = []
            for t, value in enumerate(trace):
                near = [v for v in trace[max(0, t - half) : t + half + 1] if v == v]
                out.append(np.median(near) if value == value else NAN)
            found[f"{point}_{part}"] = slow_fill(out, max_gap)
    return found


def slow_fill(trace, max_gap):
    out = list(trace)
    known = [t for t, value in enumerate(trace) if value == value]
    for first, last in pairwise(known):
        if 1 < last - first <= max_gap + 1:
            step = (trace[last] - trace[first]) / (last - first)
            for t in range(first + 1, last):
                out[t] = trace[first] + step * (t - first)
    return np.array(out, float)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
    st.sampled_from([1, 3, 5, 9, 101]),
    st.floats(0, 1),
    st.integers(0, 6),
)
def test_the_filter_is_its_slow_twin(seed, n_frames, window, min_likelihood, max_gap):
    table = random_pose(seed, n_frames)
    found = filter_pose(
        table, window_frames=window, min_likelihood=min_likelihood, max_gap_frames=max_gap
    )
    # the straight line is computed in another order
    pd.testing.assert_frame_equal(
        found, slow_filter(table, window, min_likelihood, max_gap), rtol=1e-12, check_exact=False
    )


def test_a_jump_of_one_frame_goes_and_a_step_stays():
    xy = np.zeros((40, 1, 2))
    xy[20:] = 100
    xy[7] = 400
    table = pose_table(["a"], xy, np.ones((40, 1)))
    found = filter_pose(table, window_frames=5, min_likelihood=0.9)
    xy[7] = 0
    np.testing.assert_array_equal(found[["a_x", "a_y"]], xy[:, 0])


def test_what_is_unlikely_does_not_pull_its_neighbours():
    # of 5 frames 3 are elsewhere, and the model says that it does not know
    xy = np.full((9, 1, 2), 50.0)
    xy[3:6] = 500
    likelihood = np.ones((9, 1))
    likelihood[3:6] = 0.1
    table = pose_table(["a"], xy, likelihood)
    found = filter_pose(table, window_frames=5, min_likelihood=0.9)
    np.testing.assert_array_equal(found["a_x"], [50, 50, 50, NAN, NAN, NAN, 50, 50, 50])
    filled = filter_pose(table, window_frames=5, min_likelihood=0.9, max_gap_frames=3)
    np.testing.assert_array_equal(filled["a_x"], 50)
    np.testing.assert_array_equal(filled["a_likelihood"], likelihood[:, 0])


def test_a_point_with_likelihood_zero_throughout():
    table = random_pose(5, 30).assign(paw_l_likelihood=0.0)
    found = filter_pose(table, window_frames=5, min_likelihood=0.5, max_gap_frames=1000)
    assert found[["paw_l_x", "paw_l_y"]].isna().all(axis=None)
    assert (found["paw_l_likelihood"] == 0).all()


def test_gaps_of_all_lengths_and_places():
    trace = np.array([[NAN, 1, NAN, 3, NAN, NAN, 0, NAN], [NAN] * 8, [5.0] * 8])
    found = fill_short_gaps(trace, max_gap_frames=1)
    np.testing.assert_array_equal(found[0], [NAN, 1, 2, 3, NAN, NAN, 0, NAN])
    found = fill_short_gaps(trace, max_gap_frames=9)
    np.testing.assert_array_equal(found[0], [NAN, 1, 2, 3, 2, 1, 0, NAN])
    np.testing.assert_array_equal(found[1:], trace[1:])


@pytest.mark.parametrize("window", [0, -1, 4])
def test_an_even_window_is_refused(window):
    with pytest.raises(ValueError, match="odd number of frames"):
        filter_pose(random_pose(6, 9), window_frames=window, min_likelihood=0.9)
