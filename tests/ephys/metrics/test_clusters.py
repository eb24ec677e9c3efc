import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import chi2, ncx2
from sklearn.metrics import silhouette_score
from spikeinterface.metrics.quality import pca_metrics as peer

from sluice.ephys.metrics.clusters import (
    d_prime,
    evenly_spread,
    mahalanobis_metrics,
    nearest_neighbors,
    own_distances,
    silhouette_pair,
)


def two_groups(seed, n_own=200, n_others=300, n_features=6, apart=3.0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n_features, n_features))
    own = rng.normal(size=(n_own, n_features)) @ mixing
    others = (rng.normal(size=(n_others, n_features)) + apart / np.sqrt(n_features)) @ mixing
    return own, others, np.ones(n_others)


@pytest.mark.parametrize(("apart", "l_ratio_error"), [(1.0, 0.02), (3.0, 0.05), (6.0, 0.25)])
def test_gaussians_have_their_closed_form(apart, l_ratio_error):
    n_features, n_own, n_others = 5, 20_000, 40_000
    own, others, weights = two_groups(1, n_own, n_others, n_features, apart)
    isolation_distance, l_ratio = mahalanobis_metrics(own, others, weights)
    # Squared distances of the others are noncentral χ²; half of them lie within the n-th
    # nearest. The density there is at least 0.03, so the quantile of 40,000 is good to
    # sqrt(0.25 / 40,000) / 0.03 = 0.08; the variance along the axis is estimated from 20,000
    # spikes, good to sqrt(2 / 20,000) = 1 %. Three standard errors of each.
    law = ncx2(n_features, apart**2)
    assert isolation_distance == pytest.approx(law.median(), rel=0.03, abs=0.24)
    share, _ = quad(lambda x: law.pdf(x) * chi2.sf(x, n_features), 0, 200)
    # Over 20 draws the standard deviation is 0.6, 1.6 and 7.5 % (far apart, few others count):
    # three of them.
    assert l_ratio == pytest.approx(share * n_others / n_own, rel=l_ratio_error)
    # Standard errors: 0.009 of the difference of the means, 0.3 % of the standard deviation
    # that it is measured in; three of each.
    assert d_prime(own, others, weights) == pytest.approx(apart, abs=0.027 + 0.009 * apart)


@pytest.mark.parametrize("seed", range(4))
def test_equal_the_references_where_weights_are_one(seed):
    own, others, weights = two_groups(seed, apart=seed)
    points = np.concatenate([own, others])
    labels = np.repeat([7, 8], [len(own), len(others)])
    ours = mahalanobis_metrics(own, others, weights)
    assert ours == pytest.approx(peer.mahalanobis_metrics(points, labels, 7), rel=1e-6)
    # The sign of the reference's axis is arbitrary.
    theirs = abs(peer.d_prime_metric(points, labels, 7))
    assert d_prime(own, others, weights) == pytest.approx(theirs, rel=1e-6)
    theirs = peer.nearest_neighbors_metrics(points, labels, 7, max_spikes=10_000, n_neighbors=3)
    assert nearest_neighbors(own, others, 3) == pytest.approx(theirs)


def test_a_weight_is_a_number_of_equal_spikes():
    own, others, _ = two_groups(5, n_others=100, apart=2)
    times = np.random.default_rng(5).integers(1, 5, len(others))
    repeated = np.repeat(others, times, axis=0)
    weighted = mahalanobis_metrics(own, others, times.astype(float))
    assert weighted == pytest.approx(mahalanobis_metrics(own, repeated, np.ones(len(repeated))))
    assert d_prime(own, others, times.astype(float)) == pytest.approx(
        d_prime(own, repeated, np.ones(len(repeated)))
    )


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_any_linear_map_of_the_space_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    own, others, weights = two_groups(seed, n_own=60, n_others=40, n_features=4)
    change, shift = rng.normal(size=(4, 4)) + 2 * np.eye(4), rng.normal(size=4)
    if np.linalg.cond(change) > 1e3:  # loses too many digits to compare
        return
    moved = (own @ change + shift, others @ change + shift, weights)
    assert mahalanobis_metrics(*moved) == pytest.approx(
        mahalanobis_metrics(own, others, weights), rel=1e-6
    )
    assert d_prime(*moved) == pytest.approx(d_prime(own, others, weights), rel=1e-6)


def test_nearest_neighbours_of_the_same_and_of_separate_clouds():
    rng = np.random.default_rng(6)
    own, others = rng.normal(size=(400, 5)), rng.normal(size=(800, 5))
    hit, miss = nearest_neighbors(own, others)
    # A third of the spikes are own: standard errors 0.014 and 0.01, four of them.
    assert hit == pytest.approx(1 / 3, abs=0.06)
    assert miss == pytest.approx(1 / 3, abs=0.04)
    assert nearest_neighbors(own, others + 50) == (1, 0)


def test_nearest_neighbours_leave_the_spike_itself_out():
    # Pairs of one own and one other spike on the same point, far from other pairs: the
    # nearest of each is the partner, never itself.
    points = 100.0 * np.arange(12)[:, None] * np.ones((1, 3))
    assert nearest_neighbors(points, points, n_neighbors=1) == (0, 1)


def test_miss_rate_of_many_others_is_taken_over_some():
    rng = np.random.default_rng(7)
    own, others = rng.normal(size=(300, 4)), rng.normal(0.8, 1, size=(5000, 4))
    points = np.concatenate([own, others])
    labels = np.repeat([1, 2], [300, 5000])
    hit, miss = nearest_neighbors(own, others)
    all_hit, all_miss = peer.nearest_neighbors_metrics(points, labels, 1, 10_000, 3)
    assert hit == pytest.approx(all_hit)
    # 1,000 of 5,000, rate 0.05, three votes each: standard error 0.004; four of them.
    assert miss == pytest.approx(all_miss, abs=0.016)


def test_too_few_spikes_have_no_number():
    own, others, weights = two_groups(8, n_own=200, n_features=6)
    assert np.isnan(mahalanobis_metrics(own[:20], others, weights)).all()
    assert np.isfinite(mahalanobis_metrics(own[:21], others, weights)).all()
    assert np.isnan(d_prime(own[:20], others, weights))
    assert np.isnan(mahalanobis_metrics(own, others[:9], weights[:9])).all()
    # Ten sampled spikes that stand for four are too few as well.
    assert np.isnan(mahalanobis_metrics(own, others[:10], np.full(10, 0.4))).all()
    assert np.isnan(nearest_neighbors(own[:9], others)).all()
    assert np.isnan(nearest_neighbors(own, others[:9])).all()
    wide, other_wide, weights = two_groups(8, n_own=49, n_features=25)
    assert np.isnan(mahalanobis_metrics(wide, other_wide, weights)).all()


def test_singular_covariance_has_no_number():
    own, others, weights = two_groups(9)
    own[:, 2] = others[:, 2] = 0  # as on a dead channel
    assert np.isnan(mahalanobis_metrics(own, others, weights)).all()
    assert np.isnan(d_prime(own, others, weights))


def silhouette_of(a, b, n_a, n_b):
    return silhouette_pair(
        (a, np.sum(a**2, axis=1), own_distances(a), n_a),
        (b, np.sum(b**2, axis=1), own_distances(b), n_b),
    )


@pytest.mark.parametrize("seed", range(3))
def test_silhouette_equals_sklearn(seed):
    own, others, _ = two_groups(seed, n_own=40, n_others=70, apart=1 + seed)
    expected = silhouette_score(
        np.concatenate([own, others]), np.repeat([0, 1], [len(own), len(others)])
    )
    assert silhouette_of(own, others, 40, 70) == pytest.approx(expected)


def test_silhouette_of_points_and_of_equal_clouds():
    a, b = np.zeros((10, 3)), np.full((10, 3), 5.0)
    assert silhouette_of(a, b, 10, 10) == 1
    assert silhouette_of(a, a.copy(), 10, 10) == 0
    rng = np.random.default_rng(10)
    cloud, same = rng.normal(size=(2, 500, 3))
    assert silhouette_of(cloud, same, 500, 500) == pytest.approx(0, abs=0.02)


def test_silhouette_counts_units_by_their_spikes():
    rng = np.random.default_rng(11)
    a, b = rng.normal(0, 0.1, (50, 3)), rng.normal(1, 2, (50, 3))
    only_a, only_b = silhouette_of(a, b, 1, 0), silhouette_of(a, b, 0, 1)
    assert only_a != pytest.approx(only_b, abs=0.1)
    assert silhouette_of(a, b, 300, 100) == pytest.approx(0.75 * only_a + 0.25 * only_b)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200))
def test_evenly_spread(n, n_wanted):
    chosen = evenly_spread(n, n_wanted)
    assert len(chosen) == min(n, n_wanted)
    assert len(np.unique(chosen)) == len(chosen)
    assert np.all((chosen >= 0) & (chosen < max(n, 1)))
    if len(chosen) > 1:
        assert np.ptp(np.diff(chosen)) <= 1
