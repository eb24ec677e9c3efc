import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.plane_files import disc, masks_of

from sluice.ophys.roi_overlaps import (
    axis_ratio,
    binarize_masks,
    count_shared,
    find_duplicates,
    find_unions,
    overlap_fraction,
    overlap_groups,
    overlapping_pairs,
)

SHAPE = (40, 50)
rectangles = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 40), st.integers(0, 9), st.integers(0, 9)),
    max_size=7,
)


def images_of(cells):
    images = np.zeros((len(cells), *SHAPE), bool)
    for image, (y, x, height, width) in zip(images, cells, strict=True):
        image[y : y + height, x : x + width] = True
    return images


def labels(images, *, duplicate=0.9, union=0.7):
    masks = masks_of(images, *images[0].shape)
    shared = count_shared(masks)
    duplicates = find_duplicates(shared, threshold=duplicate)
    return duplicates.tolist(), find_unions(masks, shared, duplicates, fraction=union).tolist()


def test_binary_masks_lose_their_weakest_pixels():
    weights = np.zeros((2, 10, 10))
    weights[0, 2, :] = np.arange(1, 11)
    weights[1, 5, :4] = 0.25
    binary = binarize_masks(masks_of(weights, 10, 10), quantile=0.1)
    # the quantile of 1..10 is 1.9
    np.testing.assert_array_equal(binary.image(0), weights[0] >= 1.9)
    # equal weights: all stay
    np.testing.assert_array_equal(binary.image(1), weights[1] > 0)
    assert set(binary.weights.data) == {1}


@settings(derandomize=True, max_examples=40, deadline=None)
@given(rectangles)
def test_counts_fractions_and_pairs_equal_the_dense_way(cells):
    images = images_of(cells)
    masks = masks_of(images, *SHAPE)
    flat = images.reshape(len(cells), SHAPE[0] * SHAPE[1]).astype(int)
    dense = flat @ flat.T
    shared = count_shared(masks)
    np.testing.assert_array_equal(shared.toarray(), dense)
    counts = flat.sum(axis=0)
    for k, fraction in enumerate(overlap_fraction(masks)):
        expected = np.mean(counts[flat[k] > 0] > 1) if flat[k].any() else np.nan
        np.testing.assert_allclose(fraction, expected)
    left_out = np.arange(len(cells)) == 2
    expected = [
        (i, j)
        for i in range(len(cells))
        for j in range(i + 1, len(cells))
        if dense[i, j] and 2 not in (i, j)
    ]
    pairs = overlapping_pairs(shared, left_out)
    assert list(map(tuple, pairs.tolist())) == expected
    groups = overlap_groups(pairs, len(cells))
    in_groups = {roi for group in groups for roi in group.tolist()}
    assert in_groups == {roi for pair in expected for roi in pair}
    for i, j in expected:
        assert sum(i in g and j in g for g in groups) == 1


def test_a_chain_is_one_group():
    pairs = np.array([[0, 4], [1, 2], [2, 4], [3, 5]])
    groups = overlap_groups(pairs, 7)
    assert [g.tolist() for g in groups] == [[0, 1, 2, 4], [3, 5]]


def test_of_two_alike_the_smaller_is_the_duplicate():
    big = disc(*SHAPE, 20, 20, 8)
    small = big.copy()
    small[12, 20] = False
    apart = disc(*SHAPE, 20, 40, 5)
    assert labels([small, big, apart])[0] == [True, False, False]
    assert labels([big, small, apart])[0] == [False, True, False]
    # equal ones: the later, and only one stays of three
    assert labels([big, big, big])[0] == [False, True, True]


def test_a_shifted_mask_is_no_duplicate():
    a, b = disc(*SHAPE, 20, 20, 8), disc(*SHAPE, 20, 22, 8)
    overlap = (a & b).sum() / (a | b).sum()
    assert 0.5 < overlap < 0.9
    assert labels([a, b])[0] == [False, False]
    assert sum(labels([a, b], duplicate=overlap - 0.01)[0]) == 1


def test_empty_masks_are_neither_duplicate_nor_union():
    empty = np.zeros(SHAPE, bool)
    assert labels([empty, empty]) == ([False, False], [False, False])


def test_union_of_two_cells_and_of_three():
    a, b, c = (disc(*SHAPE, 20, x, 5) for x in (10, 22, 34))
    assert labels([a, b, a | b])[1] == [False, False, True]
    # no pair covers more than 0.7 of it, but all three do
    assert labels([a | b | c, a, b, c])[1] == [True, False, False, False]
    # one part alone is not a union
    assert labels([a, a | b])[1] == [False, False]


def test_a_cell_is_no_union_of_the_union_and_a_fragment():
    cell = disc(*SHAPE, 20, 20, 8)
    fragment = disc(*SHAPE, 17, 20, 2)
    larger = cell | disc(*SHAPE, 20, 29, 4)
    duplicates, unions = labels([cell, fragment, larger])
    assert not any(duplicates)
    assert unions == [False, False, True]


def test_duplicates_are_no_parts():
    a, b = disc(*SHAPE, 20, 10, 5), disc(*SHAPE, 20, 22, 5)
    whole = a | b
    nearly = whole.copy()
    nearly[20, 15] = False
    duplicates, unions = labels([whole, nearly, a, b])
    assert duplicates == [False, True, False, False]
    assert unions == [True, False, False, False]


def test_axis_ratio():
    images = np.zeros((4, *SHAPE), bool)
    images[0] = disc(*SHAPE, 20, 20, 10)
    images[1, 5, :40] = True
    images[2, 5, 5] = True
    found = axis_ratio(masks_of(images, *SHAPE))
    # a line of one by forty squares: the second moments are 1/12 and 1600/12
    np.testing.assert_allclose(found[:3], [1, 1 / 40, 1], rtol=1e-3)
    assert np.isnan(found[3])
    slanted = np.zeros(SHAPE, bool)
    slanted[np.arange(30), np.arange(30)] = True
    assert axis_ratio(masks_of([slanted], *SHAPE))[0] < 0.05
