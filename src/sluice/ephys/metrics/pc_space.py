"""The principal components around each unit, and the cluster metrics of all units.

`unit_waveforms` keeps, for a sample of each unit's spikes, three principal components on
the channels near the unit (``pcs.npz``). A unit is compared, on the few channels nearest to
its peak channel, with the units that peak no farther away than these and have components
on all of them. As Allen ecephys_spike_sorting, ``calculate_pc_metrics``, with two
differences: the channels are the nearest ones on the real geometry instead of consecutive
channel numbers, and the peak channel is that of the template instead of that of the mean
first component.

Allen draws up to 500 spikes of the unit, and of the others as many as their rates ask for.
Here all sampled spikes are used, and a spike of an other unit weighs as much as the rates
ask for. Where proportions cannot be met with weights (nearest neighbours), both groups are
thinned evenly in time. Nothing is random.
"""

from dataclasses import dataclass

import numpy as np

from sluice.ephys.metrics.clusters import (
    MIN_OTHERS,
    d_prime,
    evenly_spread,
    mahalanobis_metrics,
    nearest_neighbors,
    own_distances,
    silhouette_pair,
)


@dataclass(frozen=True)
class PcSample:
    """Principal components of sampled spikes; units are rows 0 to n_units - 1.

    Attributes
    ----------
    features : ndarray of float32, shape (n_sampled, n_near, n_components)
        Column i of a spike belongs to ``near_channels[unit, i]``.
    spikes_of : list of ndarray of int
        Rows of `features` of each unit, in order of time.
    near_channels : ndarray of int, shape (n_units, n_near)
        Channels that a unit's spikes have components on; -1 where there are fewer.
    peak_channels : ndarray of int, shape (n_units,)
    n_spikes : ndarray of int, shape (n_units,)
        All spikes of the unit, not only the sampled ones.
    positions_um : ndarray, shape (n_channels, 2)
        x and y of every channel of the probe.
    """

    features: np.ndarray
    spikes_of: list
    near_channels: np.ndarray
    peak_channels: np.ndarray
    n_spikes: np.ndarray
    positions_um: np.ndarray

    def channel_columns(self):
        """Return the column of each channel in each unit's features, -1 where absent.

        Returns
        -------
        ndarray of int, shape (n_units, n_channels)
        """
        columns = np.full((len(self.near_channels), len(self.positions_um)), -1)
        rows, order = np.nonzero(self.near_channels >= 0)
        columns[rows, self.near_channels[rows, order]] = order
        return columns

    def points(self, unit, columns):
        """Return a unit's sampled spikes on some of its channels.

        Returns
        -------
        ndarray of float64, shape (n_sampled_of_unit, n_columns * n_components)
        """
        chosen = self.features[self.spikes_of[unit]][:, columns]
        return chosen.reshape(len(chosen), -1).astype(np.float64)


def space_channels(sample, unit, n_channels):
    """Return the channels on which a unit is compared with others.

    Parameters
    ----------
    sample : PcSample
    unit : int
        Row.
    n_channels : int

    Returns
    -------
    ndarray of int, shape (≤ n_channels,)
        Nearest to the peak channel first, of those the unit has components on; equal
        distances in order of channel index.
    """
    near = np.sort(sample.near_channels[unit][sample.near_channels[unit] >= 0])
    offsets = sample.positions_um[near] - sample.positions_um[sample.peak_channels[unit]]
    return near[np.argsort(np.hypot(*offsets.T), kind="stable")[:n_channels]]


def cluster_metrics(sample, *, n_channels, n_neighbors, max_spikes):
    """Isolation distance, L-ratio, d′, nearest-neighbour hit and miss rate of every unit.

    Parameters
    ----------
    sample : PcSample
    n_channels : int
        Channels around the peak that span the space.
    n_neighbors : int
        Neighbours of a spike that are looked at, itself not counted.
    max_spikes : int
        Most spikes of all units together among which neighbours are sought.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_units,)
        ``isolation_distance``, ``l_ratio``, ``d_prime``, ``nn_hit_rate``, ``nn_miss_rate``.
        NaN for a unit with no other unit in its space or with too few spikes.
    """
    names = ("isolation_distance", "l_ratio", "d_prime", "nn_hit_rate", "nn_miss_rate")
    table = np.full((len(sample.spikes_of), len(names)), np.nan)
    columns = sample.channel_columns()
    has_spikes = np.array([len(rows) > 0 for rows in sample.spikes_of], bool)
    for unit in range(len(table)):
        channels = space_channels(sample, unit, n_channels)
        if len(channels) == 0 or not has_spikes[unit]:
            continue
        offsets = sample.positions_um - sample.positions_um[sample.peak_channels[unit]]
        distances = np.hypot(*offsets.T)
        around = distances[sample.peak_channels] <= distances[channels].max()
        around &= has_spikes & (columns[:, channels] >= 0).all(axis=1)
        around[unit] = False
        neighbours = np.flatnonzero(around)
        if len(neighbours) == 0:
            continue
        table[unit] = _metrics_of_unit(
            [sample.points(row, columns[row, channels]) for row in (unit, *neighbours)],
            sample.n_spikes[[unit, *neighbours]],
            n_neighbors,
            max_spikes,
        )
    return dict(zip(names, table.T, strict=True))


def _metrics_of_unit(points, n_spikes, n_neighbors, max_spikes):
    """Compute the five metrics of the first of several units in one space."""
    own, others = points[0], np.concatenate(points[1:])
    n_sampled = np.array([len(p) for p in points])
    stands_for = n_spikes / n_sampled
    weights = np.repeat(stands_for[1:] / stands_for[0], n_sampled[1:])
    # The largest common fraction of the spikes that no unit has fewer sampled than.
    fraction = min(1 / stands_for.max(), max_spikes / n_spikes.sum())
    # The tolerance is for products that miss a whole number by rounding.
    thinned = [
        p[evenly_spread(len(p), int(n * fraction + 1e-6))]
        for p, n in zip(points, n_spikes, strict=True)
    ]
    return (
        *mahalanobis_metrics(own, others, weights),
        d_prime(own, others, weights),
        *nearest_neighbors(thinned[0], np.concatenate(thinned[1:]), n_neighbors),
    )


def silhouette_scores(sample, *, max_spikes):
    """Silhouette score of every unit: the smallest over the units it shares channels with.

    Source: Allen ecephys_spike_sorting, ``calculate_silhouette_score``. As there, channels
    that a unit has no components on count as zeros. Pairs that share no channel are left
    out: they lie far apart and do not hold the smallest score where a closer pair exists;
    where none exists the score is NaN.

    Parameters
    ----------
    sample : PcSample
    max_spikes : int
        Most spikes of a unit, evenly spread in time.

    Returns
    -------
    ndarray of float64, shape (n_units,)
        -1 to 1. NaN with fewer than 10 sampled spikes or without a unit to compare with.
    """
    n_units = len(sample.spikes_of)
    scores = np.full(n_units, np.inf)
    columns = sample.channel_columns()
    usable = [unit for unit in range(n_units) if len(sample.spikes_of[unit]) >= MIN_OTHERS]
    points = {}
    for unit in usable:
        rows = sample.spikes_of[unit]
        chosen = rows[evenly_spread(len(rows), max_spikes)]
        known = np.flatnonzero(sample.near_channels[unit] >= 0)
        features = sample.features[chosen].astype(np.float64)
        flat = features[:, known].reshape(len(chosen), -1)
        points[unit] = (features, np.sum(flat**2, axis=1), own_distances(flat))
    for i, unit in enumerate(usable):
        for other in usable[i + 1 :]:
            shared = np.flatnonzero((columns[unit] >= 0) & (columns[other] >= 0))
            if len(shared) == 0:
                continue
            score = silhouette_pair(
                *(
                    (
                        points[row][0][:, columns[row, shared]].reshape(len(points[row][0]), -1),
                        *points[row][1:],
                        sample.n_spikes[row],
                    )
                    for row in (unit, other)
                )
            )
            scores[[unit, other]] = np.minimum(scores[[unit, other]], score)
    return np.where(np.isfinite(scores), scores, np.nan)
