"""Separation of one unit's spikes from others' in principal component space.

All functions take points in one space: `own`, the unit's spikes, and `others`, those of the
units around it, with a weight each: how many spikes an other spike stands for when an own
spike stands for one. The references draw the others' spikes in proportion to the units'
rates; weights do the same exactly, without drawing. With all weights 1 every function is the
reference's.
"""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaincc
from sklearn.neighbors import NearestNeighbors

MIN_SPIKES = 21  # Allen: more than 20 spikes of the unit
MIN_OTHERS = 10  # Allen: more than 10 spikes altogether
MIN_SPIKES_PER_FEATURE = 2
MAX_OTHERS_ASKED = 1000


def evenly_spread(n, n_wanted):
    """Return indices of n_wanted of n things, evenly spread; all where there are no more."""
    return np.arange(n) if n_wanted >= n else (np.arange(n_wanted) * n) // n_wanted


def _enough(own, weights):
    """Whether there are spikes enough to speak of a covariance and of a neighbourhood."""
    n_own, n_features = own.shape
    return (
        n_own >= max(MIN_SPIKES, MIN_SPIKES_PER_FEATURE * n_features)
        and len(weights) >= MIN_OTHERS
        and weights.sum() >= MIN_OTHERS
    )


def mahalanobis_metrics(own, others, weights):
    """Isolation distance and L-ratio.

    d² is the squared Mahalanobis distance of the others' spikes from the unit's mean, with
    the unit's covariance. With n the smaller of the numbers of own and of others' spikes:

    - isolation distance: d² of the n-th nearest other spike;
    - L-ratio: Σ P(χ² > d²) over the others, with as many degrees of freedom as features,
      divided by the number of own spikes.

    Source: Allen ecephys_spike_sorting, ``mahalanobis_metrics`` (Schmitzer-Torbert et al.
    2005).

    Parameters
    ----------
    own : ndarray, shape (n_own, n_features)
    others : ndarray, shape (n_others, n_features)
    weights : ndarray, shape (n_others,)
        Spikes that each other spike stands for.

    Returns
    -------
    isolation_distance : float
        0 and more, no unit.
    l_ratio : float
        0 and more, no unit.
        Both NaN with fewer own spikes than 21 or than twice the features (with fewer the
        covariance is so uncertain that distances come out too large by more than a factor
        of two), fewer than 10 others (counted and weighted), or a singular covariance.
    """
    if not _enough(own, weights):
        return np.nan, np.nan
    try:
        lower = np.linalg.cholesky(np.atleast_2d(np.cov(own.T)))
    except np.linalg.LinAlgError:
        return np.nan, np.nan
    scaled = solve_triangular(lower, (others - own.mean(0)).T, lower=True)
    squared = np.sum(scaled**2, axis=0)
    l_ratio = np.sum(weights * gammaincc(own.shape[1] / 2, squared / 2)) / len(own)
    order = np.argsort(squared)
    reached = np.cumsum(weights[order])
    n = min(len(own), reached[-1])
    # The tolerance is for sums of weights that miss a whole number by rounding.
    nth = min(np.searchsorted(reached, n - 1e-6 * n), len(order) - 1)
    return squared[order[nth]], l_ratio


def d_prime(own, others, weights):
    """Distance of the two groups along the direction that separates them best.

    On the axis of linear discriminant analysis: (μ₁ - μ₂) / sqrt((σ₁² + σ₂²) / 2).

    Source: Allen ecephys_spike_sorting, ``lda_metrics`` (Hill et al. 2011). The axis points
    to the unit here, so the number is never negative; the reference's sign is arbitrary. The
    axis is fitted to the same spikes, which flatters a unit with few of them.

    Parameters
    ----------
    own : ndarray, shape (n_own, n_features)
    others : ndarray, shape (n_others, n_features)
    weights : ndarray, shape (n_others,)
        Spikes that each other spike stands for.

    Returns
    -------
    float
        0 and more, no unit (standard deviations). NaN with too few spikes (as
        `mahalanobis_metrics`) or a singular covariance.
    """
    if not _enough(own, weights):
        return np.nan
    own_centred = own - own.mean(0)
    other_mean = np.average(others, axis=0, weights=weights)
    other_centred = others - other_mean
    # The scale of the scatter does not matter, only the axis.
    within = own_centred.T @ own_centred + (other_centred.T * weights) @ other_centred
    try:
        np.linalg.cholesky(within)
        axis = np.linalg.solve(within, own.mean(0) - other_mean)
    except np.linalg.LinAlgError:
        return np.nan
    own_variance = np.mean((own_centred @ axis) ** 2)
    other_variance = np.average((other_centred @ axis) ** 2, weights=weights)
    separation = (own.mean(0) - other_mean) @ axis
    return separation / np.sqrt((own_variance + other_variance) / 2)


def nearest_neighbors(own, others, n_neighbors=3):
    """How often the nearest spikes belong to the same unit.

    Of the `n_neighbors` nearest spikes of every spike, itself left out: ``nn_hit_rate`` is
    the unit's share among the neighbours of its own spikes, ``nn_miss_rate`` its share among
    the neighbours of the others' spikes.

    Source: Allen ecephys_spike_sorting, ``nearest_neighbors_metrics`` (Chung et al. 2017),
    whose n_neighbors = 4 counts the spike itself. Points of both groups must be in
    proportion to the real numbers of spikes. The miss rate is taken over at most 1,000 of the
    others' spikes, evenly spread (all of them remain neighbours to be found): it changes by
    less than 0.016, its standard error at a rate of 0.5, and the time by a factor of four.

    Parameters
    ----------
    own : ndarray, shape (n_own, n_features)
    others : ndarray, shape (n_others, n_features)
    n_neighbors : int

    Returns
    -------
    hit_rate, miss_rate : float
        0 to 1, no unit. NaN with fewer than 10 own or 10 other spikes.
    """
    n_own = len(own)
    if n_own < MIN_OTHERS or len(others) < MIN_OTHERS:
        return np.nan, np.nan
    points = np.concatenate([own, others])
    asked = np.concatenate([np.arange(n_own), n_own + evenly_spread(len(others), MAX_OTHERS_ASKED)])
    search = NearestNeighbors(n_neighbors=n_neighbors + 1, algorithm="brute").fit(points)
    nearest = search.kneighbors(points[asked], return_distance=False)
    # The spike itself is among them, unless as many others lie on the same point.
    is_self = nearest == asked[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    is_own = (nearest < n_own)[~is_self].reshape(len(asked), n_neighbors)
    return is_own[:n_own].mean(), is_own[n_own:].mean()


def own_distances(points):
    """Mean distance of every spike to the other spikes of its unit.

    Parameters
    ----------
    points : ndarray, shape (n_spikes, n_features)
        At least two spikes.

    Returns
    -------
    ndarray of float64, shape (n_spikes,)
    """
    squared = np.sum(points.astype(np.float64) ** 2, axis=1)
    return np.sum(_distances(points, points, squared, squared), axis=1) / (len(points) - 1)


def _distances(points, other_points, squared, other_squared):
    """Euclidean distances from dot products; the squared lengths may hold more features."""
    dots = points.astype(np.float64) @ other_points.T.astype(np.float64)
    distances = squared[:, None] + other_squared - 2 * dots
    if points is other_points:
        np.fill_diagonal(distances, 0)
    return np.sqrt(np.maximum(distances, 0, out=distances), out=distances)


def silhouette_pair(a, b):
    """Silhouette score of two units.

    For every spike, with α its mean distance to its own unit's other spikes and β that to
    the other unit's: (β - α) / max(α, β); the mean over the spikes of both units, each unit
    counting in proportion to its number of spikes.

    Source: Allen ecephys_spike_sorting, ``calculate_silhouette_score`` (Rousseeuw 1987),
    which takes 10,000 spikes of all units together, in proportion to their rates; here an
    equal number is taken of each unit, and the unit's mean weighted instead.

    Parameters
    ----------
    a, b : tuple of (shared, squared, within, n_spikes)
        Of each unit: its spikes in the features both units have (n_points, n_shared); their
        squared lengths over all of the unit's features, absent ones being 0; their mean
        distances within the unit (`own_distances`); and how many spikes the unit has.

    Returns
    -------
    float
        -1 to 1, no unit.
    """
    across = _distances(a[0], b[0], a[1], b[1])
    total = 0.0
    for (_, _, within, n_spikes), to_other in ((a, across.mean(1)), (b, across.mean(0))):
        largest = np.maximum(within, to_other)
        scores = np.divide(
            to_other - within, largest, out=np.zeros_like(largest), where=largest > 0
        )
        total += n_spikes * scores.mean()
    return total / (a[3] + b[3])
