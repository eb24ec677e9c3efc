"""Pairs become cells that keep their identity when sessions are appended."""

import itertools
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one.alf.spec import is_uuid_string

from sluice.ophys.join_cells import (
    best_assignment,
    join_sessions,
    name_cells,
    pair_agreement,
)
from sluice.ophys.masks import make_masks, mask_digests


def slow_best_sum(rows, columns, weights):
    """Try all sets of pairs."""
    best = 0.0
    for n in range(len(rows) + 1):
        for chosen in itertools.combinations(range(len(rows)), n):
            r, c = rows[list(chosen)], columns[list(chosen)]
            if len(set(r)) == len(set(c)) == n:
                best = max(best, weights[list(chosen)].sum())
    return best


pair_lists = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(0.01, 1)),
    max_size=9,
    unique_by=lambda p: p[:2],
)


@given(pair_lists)
def test_the_assignment_is_the_best_of_all(pairs):
    rows, columns, weights = (np.array([p[k] for p in pairs]) for k in range(3))
    rows, columns = rows.astype(int), columns.astype(int)
    chosen = best_assignment(rows, columns, weights)
    assert len(set(rows[chosen])) == len(set(columns[chosen])) == len(chosen)
    assert np.all(np.diff(rows[chosen]) > 0)
    assert weights[chosen].sum() == pytest.approx(slow_best_sum(rows, columns, weights))


def match(*pairs):
    """Pairs (roi of a, roi of b, cost) as `join_sessions` takes them."""
    a, b, cost = zip(*pairs, strict=True)
    return np.array(a), np.array(b), np.array(cost)


def test_cells_are_joined_over_a_session_that_misses_them():
    matches = {(0, 1): match((0, 1, 0.1)), (0, 2): match((1, 0, 0.1)), (1, 2): match((0, 1, 0.1))}
    joined = join_sessions([2, 2, 3], matches)
    np.testing.assert_array_equal(joined.cells[0], [0, 1])
    # ROI 0 of the second session is new, ROI 1 is cell 0
    np.testing.assert_array_equal(joined.cells[1], [2, 0])
    np.testing.assert_array_equal(joined.cells[2], [1, 2, 3])
    np.testing.assert_array_equal(joined.founders, [[0, 0], [0, 1], [1, 0], [2, 2]])


def test_two_votes_count_more_than_a_cheaper_one():
    matches = {
        (0, 1): match((0, 0, 0.1)),
        (0, 2): match((0, 0, 0.9)),
        (1, 2): match((0, 0, 0.9), (1, 1, 0.1)),
        (0, 3): match((0, 1, 0.9)),
        (1, 3): match((0, 1, 0.9), (1, 0, 0.5)),
        (2, 3): match((0, 0, 0.0), (1, 1, 0.0)),
    }
    joined = join_sessions([1, 2, 2, 2], matches)
    np.testing.assert_array_equal(joined.cells[2], [0, 1])
    # cell 0: two votes for ROI 1, one for ROI 0; cell 1: one each
    np.testing.assert_array_equal(joined.cells[3], [1, 0])


def test_with_equal_votes_the_lower_cost_decides():
    matches = {(0, 2): match((0, 0, 0.4)), (1, 2): match((0, 0, 0.3))}
    joined = join_sessions([1, 1, 1], matches)
    np.testing.assert_array_equal(joined.cells[2], [1])
    matches[0, 2] = match((0, 0, 0.2))
    joined = join_sessions([1, 1, 1], matches)
    np.testing.assert_array_equal(joined.cells[2], [0])


@st.composite
def containers(draw):
    n_rois = draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    matches = {}
    for a, b in itertools.combinations(range(len(n_rois)), 2):
        n = rng.integers(0, min(n_rois[a], n_rois[b]) + 1)
        rows = (rng.permutation(n_rois[k])[:n] for k in (a, b))
        if rng.random() < 0.8:
            matches[a, b] = (*rows, rng.uniform(0, 2, n))
    return n_rois, matches


@given(containers())
def test_appended_sessions_change_nothing(container):
    n_rois, matches = container
    joined = join_sessions(n_rois, matches)
    for k in range(1, len(n_rois)):
        fewer = join_sessions(n_rois[:k], {key: m for key, m in matches.items() if key[1] < k})
        for before, after in zip(fewer.cells, joined.cells, strict=False):
            np.testing.assert_array_equal(before, after)
        np.testing.assert_array_equal(joined.founders[: len(fewer.founders)], fewer.founders)


@given(containers())
def test_a_cell_has_one_roi_a_session(container):
    n_rois, matches = container
    joined = join_sessions(n_rois, matches)
    for n, cells in zip(n_rois, joined.cells, strict=True):
        assert len(cells) == len(set(cells)) == n
    for number, (session, roi) in enumerate(joined.founders):
        assert joined.cells[session][roi] == number
    agreement = pair_agreement(joined, matches)
    assert np.isnan(agreement) or 0 <= agreement <= 1


def test_agreement():
    matches = {
        (0, 1): match((0, 0, 0.1)),
        (0, 2): match((0, 0, 0.1)),
        (1, 2): match((0, 1, 0.1)),
    }
    joined = join_sessions([1, 1, 2], matches)
    # cell 0 has three members, two of whose three pairs are matched directly
    assert pair_agreement(joined, matches) == pytest.approx(2 / 3)
    # a pair of sessions that could not be compared does not count
    assert pair_agreement(joined, {key: matches[key] for key in ((0, 1), (0, 2))}) == 1
    assert np.isnan(pair_agreement(join_sessions([2, 1], {}), {}))


def test_names_follow_the_content():
    spots = [([1, 1], [1, 2], [1, 1]), ([4, 5], [4, 4], [1, 1]), ([0], [0], [1])]
    masks, turned = make_masks(spots, 8, 8), make_masks(spots[::-1], 8, 8)
    digests = mask_digests(masks)
    assert digests == mask_digests(turned)[::-1]
    assert mask_digests(make_masks([], 8, 8)) == []
    founders = np.array([[0, 0], [0, 1], [1, 2]])
    names = name_cells("c", founders, ["S/FOV_00", "T/FOV_00"], [digests, digests])
    again = name_cells("c", founders[::-1], ["S/FOV_00", "T/FOV_00"], [digests, digests])
    assert names == again[::-1]
    assert len(set(names)) == 3
    assert all(is_uuid_string(name) for name in names)
    assert {uuid.UUID(name).version for name in names} == {3}
    # another container or another session: another cell
    for container, session in (("d", "S/FOV_00"), ("c", "U/FOV_00")):
        other = name_cells(container, founders[:1], [session], [digests])
        assert other[0] != names[0]


def test_two_rois_of_the_same_pixels_are_two_cells():
    founders = np.array([[0, 0], [0, 1]])
    names = name_cells("c", founders, ["S"], [["same", "same"]])
    assert names[0] != names[1]
    # the name of the first does not know of the second
    assert name_cells("c", founders[:1], ["S"], [["same"]]) == names[:1]


def test_nothing_to_join():
    joined = join_sessions([0, 0], {})
    assert [len(c) for c in joined.cells] == [0, 0]
    assert joined.founders.shape == (0, 2)
    assert name_cells("c", joined.founders, ["S", "T"], [[], []]) == []
