import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys.whitening import (
    BATCH_SAMPLES,
    batch_bounds,
    condition_number,
    mean_covariance,
    whitening_matrix,
)


def probe(n_channels, n_shanks=1):
    """Positions of two columns on each shank, and the shank of each channel."""
    index = np.arange(n_channels)
    shank = index * n_shanks // n_channels
    y_um = (index - np.searchsorted(shank, shank)) // 2 * 20.0
    return np.column_stack([index % 2 * 32.0 + shank * 250.0, y_um]), shank


def covariance_of_neighbours(rng, positions_um, length_um=40.0):
    """Covariance that falls off with distance, with noise of its own on each channel."""
    distance = np.linalg.norm(positions_um[:, None] - positions_um, axis=2)
    scale = rng.uniform(5, 15, len(positions_um))
    return (np.exp(-distance / length_um) + 0.3 * np.eye(len(scale))) * np.outer(scale, scale)


def test_one_batch_of_every_25_of_a_long_recording():
    bounds = batch_bounds(1000 * BATCH_SAMPLES + 17, every=25, at_least=10)
    assert bounds[:2] == [(0, BATCH_SAMPLES), (25 * BATCH_SAMPLES, 26 * BATCH_SAMPLES)]
    assert len(bounds) == 40


@pytest.mark.parametrize(
    ("n_samples", "n_bounds"),
    [
        (249 * BATCH_SAMPLES, 11),  # every 24th
        (35 * BATCH_SAMPLES, 12),  # every third
        (10 * BATCH_SAMPLES, 10),
        (4 * BATCH_SAMPLES + 5, 4),  # the rest of 5 samples is left out
        (100, 1),
    ],
)
def test_short_recordings_take_batches_more_often(n_samples, n_bounds):
    bounds = batch_bounds(n_samples, every=25, at_least=10)
    assert len(bounds) == n_bounds
    assert all(0 <= start < stop <= n_samples for start, stop in bounds)
    assert bounds[-1][1] - bounds[-1][0] == min(BATCH_SAMPLES, n_samples)


def test_covariance_is_numpys_of_each_batch():
    rng = np.random.default_rng(0)
    # more samples than go into one piece, and a mean that is far from zero
    batches = [(rng.normal(300, 20, (n, 5)) + k).astype(np.int16) for k, n in ((0, 9001), (1, 70))]
    expected = np.mean([np.cov(b.astype(float).T, bias=True) for b in batches], axis=0)
    # Numpy's own sums are rounded at 1e-13 of the squares (9e4), ours not at all.
    np.testing.assert_allclose(mean_covariance(batches), expected, rtol=1e-9, atol=1e-7)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_channels=st.integers(1, 30))
def test_with_all_channels_near_it_is_the_inverse_square_root(seed, n_channels):
    rng = np.random.default_rng(seed)
    positions_um, shank = probe(n_channels)
    covariance = covariance_of_neighbours(rng, positions_um)
    usable = np.ones(n_channels, bool)
    matrix = whitening_matrix(covariance, positions_um, shank, usable).astype(float)
    # float32 keeps 1e-7, and ε adds 1e-6 to eigenvalues that are all above 0.02 of the mean.
    np.testing.assert_allclose(matrix @ covariance @ matrix.T, np.eye(n_channels), atol=1e-4)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)


def test_every_channel_gets_unit_variance_from_its_32_nearest():
    rng = np.random.default_rng(1)
    positions_um, shank = probe(120)
    covariance = covariance_of_neighbours(rng, positions_um)
    matrix = whitening_matrix(covariance, positions_um, shank, np.ones(120, bool)).astype(float)
    np.testing.assert_allclose(np.diag(matrix @ covariance @ matrix.T), 1, atol=1e-4)
    assert (np.count_nonzero(matrix, axis=1) == 32).all()
    distance = np.linalg.norm(positions_um[:, None] - positions_um, axis=2)
    for j in (0, 60, 119):
        farthest_used = distance[j, matrix[j] != 0].max()
        assert farthest_used <= np.sort(distance[j])[31]
    whitened = matrix @ covariance @ matrix.T
    correlated = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    # What is left between channels beyond each other's neighbours is little.
    off = ~np.eye(120, dtype=bool)
    assert np.abs(whitened[off]).max() < 0.1 < np.abs(correlated[off]).max()


def test_bad_channels_take_no_part():
    rng = np.random.default_rng(2)
    positions_um, shank = probe(50)
    covariance = covariance_of_neighbours(rng, positions_um)
    usable = np.ones(50, bool)
    usable[[3, 20, 21]] = False
    matrix = whitening_matrix(covariance, positions_um, shank, usable)
    assert not matrix[~usable].any()
    assert not matrix[:, ~usable].any()
    spoilt = covariance.copy()
    spoilt[20], spoilt[:, 20] = 1e9, 1e9
    np.testing.assert_array_equal(whitening_matrix(spoilt, positions_um, shank, usable), matrix)


def test_shanks_are_whitened_apart():
    rng = np.random.default_rng(3)
    positions_um, shank = probe(40, n_shanks=2)
    positions_um[shank == 1] = positions_um[shank == 0] + 1  # as near as can be
    covariance = covariance_of_neighbours(rng, positions_um)
    matrix = whitening_matrix(covariance, positions_um, shank, np.ones(40, bool))
    assert not matrix[np.ix_(shank == 0, shank == 1)].any()
    assert (np.count_nonzero(matrix, axis=1) == 20).all()


def test_the_unit_of_the_traces_does_not_matter():
    rng = np.random.default_rng(4)
    positions_um, shank = probe(40)
    covariance = covariance_of_neighbours(rng, positions_um)
    covariance[5] = covariance[6]  # degenerate, so that ε matters
    covariance[:, 5] = covariance[:, 6]
    usable = np.ones(40, bool)
    in_bits = whitening_matrix(covariance, positions_um, shank, usable)
    in_uv = whitening_matrix(covariance * 2.34375**2, positions_um, shank, usable)
    assert np.isfinite(in_bits).all()
    # The two smallest of 32 eigenvalues differ at 1e-12, which ε = 1e-6 makes invisible.
    np.testing.assert_allclose(in_bits, in_uv * 2.34375, rtol=1e-4, atol=1e-4)


def test_condition_number_of_the_good_channels():
    matrix = np.diag([1.0, 0.0, 4.0, 0.5]).astype(np.float32)
    assert condition_number(matrix, np.array([True, False, True, True])) == pytest.approx(8)
