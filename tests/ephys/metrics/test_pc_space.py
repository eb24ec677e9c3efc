from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from sluice.ephys.metrics.clusters import d_prime, mahalanobis_metrics, nearest_neighbors
from sluice.ephys.metrics.pc_space import (
    PcSample,
    cluster_metrics,
    silhouette_scores,
    space_channels,
)

CALL = {"n_channels": 4, "n_neighbors": 3, "max_spikes": 10_000}


def probe(n_channels=24):
    index = np.arange(n_channels)
    return np.column_stack([16.0 * (index % 2), 20.0 * (index // 2)])


def make_sample(peaks, counts, sampled, *, seed=0, n_near=12, size=60.0, noise=10.0):
    """Units on a two-column probe: their components fall off with distance from the peak.

    All spikes of a unit are made and the first `sampled` of them kept, so that samples of
    different size of the same seed are of the same spikes.
    """
    positions = probe()
    peaks, counts = np.asarray(peaks), np.asarray(counts)
    distance = np.hypot(*(positions[peaks][:, None] - positions).T).T
    near = np.argsort(distance, axis=1, kind="stable")[:, :n_near]
    features, spikes_of, start = [], [], 0
    for unit, count in enumerate(counts):
        rng = np.random.default_rng([seed, unit])
        shape = rng.normal(1, 0.4, 3)
        centre = size * np.exp(-distance[unit, near[unit]] / 40)[:, None] * shape
        spikes = centre + rng.normal(0, noise, (count, n_near, 3))
        n = min(count, sampled)
        features.append(spikes[:n])
        spikes_of.append(np.arange(start, start + n))
        start += n
    return PcSample(
        features=np.concatenate(features).astype(np.float32),
        spikes_of=spikes_of,
        near_channels=near,
        peak_channels=peaks,
        n_spikes=counts,
        positions_um=positions,
    )


def on_channels(sample, unit, channels):
    """A unit's points on the given channels, looked up one by one."""
    near = sample.near_channels[unit].tolist()
    return np.array(
        [
            [x for channel in channels for x in sample.features[row, near.index(channel)]]
            for row in sample.spikes_of[unit]
        ]
    )


def test_channels_are_the_nearest_on_the_probe():
    sample = make_sample([10, 0], [30, 30], 30)
    # Channel 10 at (0, 100): itself; 11 16 µm off; 8 and 12 20 µm off.
    assert space_channels(sample, 0, 4).tolist() == [10, 11, 8, 12]
    # At the tip there is nothing below.
    assert space_channels(sample, 1, 4).tolist() == [0, 1, 2, 3]
    assert len(space_channels(sample, 0, 100)) == 12


def test_absent_channels_are_not_taken():
    sample = make_sample([10], [30], 30)
    near = sample.near_channels.copy()
    near[0, near[0] == 11] = -1
    assert space_channels(replace(sample, near_channels=near), 0, 3).tolist() == [10, 8, 12]


def test_metrics_are_those_of_the_points_gathered_by_hand():
    sample = make_sample([10, 11, 12, 20], [80, 120, 100, 90], 200)
    found = cluster_metrics(sample, **CALL)
    channels = [10, 11, 8, 12]
    own = on_channels(sample, 0, channels)
    # Units on 11 and 12 lie within 20 µm of channel 10; the one on 20 does not.
    others = np.concatenate([on_channels(sample, unit, channels) for unit in (1, 2)])
    weights = np.ones(len(others))
    # Single precision features.
    assert (found["isolation_distance"][0], found["l_ratio"][0]) == pytest.approx(
        mahalanobis_metrics(own, others, weights), rel=1e-5
    )
    assert found["d_prime"][0] == pytest.approx(d_prime(own, others, weights), rel=1e-5)
    rates = (found["nn_hit_rate"][0], found["nn_miss_rate"][0])
    assert rates == pytest.approx(nearest_neighbors(own, others))


def test_a_unit_without_components_on_the_channels_is_left_out():
    sample = make_sample([10, 11, 12], [80, 80, 80], 200)
    near = sample.near_channels.copy()
    near[2, near[2] == 8] = -1  # unit 2 lacks one of unit 0's channels
    alone = cluster_metrics(make_sample([10, 11], [80, 80], 200), **CALL)
    found = cluster_metrics(replace(sample, near_channels=near), **CALL)
    for name in alone:
        assert found[name][0] == pytest.approx(alone[name][0])


def test_order_of_units_changes_nothing():
    sample = make_sample([10, 11, 12, 13, 9], [80, 500, 100, 300, 60], 90)
    turned = np.array([3, 0, 4, 2, 1])
    other = replace(
        sample,
        spikes_of=[sample.spikes_of[unit] for unit in turned],
        near_channels=sample.near_channels[turned],
        peak_channels=sample.peak_channels[turned],
        n_spikes=sample.n_spikes[turned],
    )
    found, again = cluster_metrics(sample, **CALL), cluster_metrics(other, **CALL)
    for name, values in found.items():
        # The sum over the others runs in another order.
        np.testing.assert_allclose(again[name], values[turned], rtol=1e-9)
    np.testing.assert_allclose(
        silhouette_scores(other, max_spikes=50), silhouette_scores(sample, max_spikes=50)[turned]
    )


def test_a_sample_gives_what_all_spikes_would():
    # One slow and two fast units, overlapping: 300 sampled spikes of 6,000 must weigh as
    # much as all of them.
    peaks, counts = [10, 11, 12], [300, 6000, 3000]
    overlapping = {"size": 25.0, "noise": 10.0}
    everything = cluster_metrics(make_sample(peaks, counts, 6000, **overlapping), **CALL)
    sample = make_sample(peaks, counts, 300, **overlapping)
    found = cluster_metrics(sample, **CALL)
    # Weighted sums over 300 spikes instead of thousands: standard errors of 5 to 10 %.
    assert found["l_ratio"][0] == pytest.approx(everything["l_ratio"][0], rel=0.3)
    assert found["isolation_distance"][0] == pytest.approx(
        everything["isolation_distance"][0], rel=0.1
    )
    # The axis is fitted to fewer spikes, which overstates it by about 12 features / 300.
    assert found["d_prime"][0] == pytest.approx(everything["d_prime"][0], rel=0.1)
    # Without weights the others would be 20 and 10 times too few.
    equal = cluster_metrics(replace(sample, n_spikes=np.full(3, 300)), **CALL)
    assert equal["l_ratio"][0] < 0.2 * everything["l_ratio"][0]


def test_neighbours_are_sought_in_proportion():
    # Half of 2,000 and of 1,000 spikes are known and none is missing of 500: all are
    # thinned to a half. Hit rates of 250 and 500 spikes: standard errors of 0.03.
    peaks, counts = [10, 11, 12], [500, 2000, 1000]
    overlapping = {"size": 30.0, "noise": 10.0}
    everything = cluster_metrics(make_sample(peaks, counts, 2000, **overlapping), **CALL)
    found = cluster_metrics(make_sample(peaks, counts, 1000, **overlapping), **CALL)
    # A sparser cloud mixes a little more: tolerance of four standard errors.
    assert found["nn_hit_rate"][0] == pytest.approx(everything["nn_hit_rate"][0], abs=0.12)
    assert found["nn_miss_rate"][0] == pytest.approx(everything["nn_miss_rate"][0], abs=0.04)
    few = cluster_metrics(make_sample([10, 11], [20, 20_000], 300), **CALL)
    assert np.isnan(few["nn_hit_rate"][0])  # 20 x 300 / 20,000: no spike is left


def test_most_spikes_for_neighbours():
    sample = make_sample([10, 11], [400, 400], 400, size=20.0)
    found = cluster_metrics(sample, n_channels=4, n_neighbors=3, max_spikes=100)
    half = [rows[::8] for rows in sample.spikes_of]  # 50 of 400 each
    thinned = cluster_metrics(replace(sample, spikes_of=half, n_spikes=np.array([50, 50])), **CALL)
    assert found["nn_hit_rate"] == pytest.approx(thinned["nn_hit_rate"])


def test_units_alone_or_without_spikes_have_no_number():
    sample = make_sample([2, 22, 21], [100, 100, 0], 100)
    for values in cluster_metrics(sample, **CALL).values():
        assert np.isnan(values).all()
    # Channels 2 and 22 share none of their 12 nearest.
    assert np.isnan(silhouette_scores(sample, max_spikes=100)).all()


def test_no_units():
    empty = PcSample(
        features=np.zeros((0, 12, 3), np.float32),
        spikes_of=[],
        near_channels=np.zeros((0, 12), np.int32),
        peak_channels=np.zeros(0, np.int64),
        n_spikes=np.zeros(0, np.int64),
        positions_um=probe(),
    )
    assert all(len(values) == 0 for values in cluster_metrics(empty, **CALL).values())
    assert len(silhouette_scores(empty, max_spikes=100)) == 0


def test_silhouette_pads_with_zeros_as_the_reference():
    sample = make_sample([8, 11, 14], [40, 40, 40], 40, n_near=8)
    padded = np.zeros((3, 40, 24, 3))
    for unit in range(3):
        for column, channel in enumerate(sample.near_channels[unit]):
            padded[unit, :, channel] = sample.features[sample.spikes_of[unit], column]
    padded = padded.reshape(3, 40, -1)
    pairs = {
        (a, b): silhouette_score(np.concatenate([padded[a], padded[b]]), np.repeat([0, 1], 40))
        for a, b in ((0, 1), (0, 2), (1, 2))
    }
    expected = [min(v for pair, v in pairs.items() if unit in pair) for unit in range(3)]
    assert silhouette_scores(sample, max_spikes=40) == pytest.approx(expected, rel=1e-6)


def test_silhouette_of_far_and_of_equal_units():
    apart = make_sample([10, 13], [100, 100], 100, size=200.0)
    assert np.all(silhouette_scores(apart, max_spikes=100) > 0.5)
    sample = make_sample([10, 10], [100, 100], 100, size=0.0)
    assert silhouette_scores(sample, max_spikes=100) == pytest.approx([0, 0], abs=0.01)
