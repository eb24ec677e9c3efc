"""Common principal components and features of spikes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys import principal_components as pc


def channel_table(n=12, spacing_um=20.0):
    return pd.DataFrame(
        {
            "x_um": np.zeros(n),
            "y_um": np.arange(n) * spacing_um,
            "shank": np.zeros(n, int),
            "label": np.zeros(n, int),
            "is_reference": np.zeros(n, bool),
        }
    )


def test_nearest_channels_by_distance_then_index():
    near = pc.nearest_good_channels(channel_table(), np.array([5, 0]), n_near=4)
    assert near.dtype == np.int32
    assert near.tolist() == [[5, 4, 6, 3], [0, 1, 2, 3]]


def test_nearest_channels_leave_out_bad_channels_and_other_shanks():
    channels = channel_table(8)
    channels.loc[4, "label"] = 1
    channels.loc[6, "is_reference"] = True
    channels.loc[7, "label"] = 3  # outside the brain
    channels.loc[:1, "shank"] = 1
    near = pc.nearest_good_channels(channels, np.array([5, 0]), n_near=4)
    assert near.tolist() == [[5, 3, 2, -1], [0, 1, -1, -1]]


def test_components_span_the_planted_subspace():
    rng = np.random.default_rng(0)
    planted, _ = np.linalg.qr(rng.normal(size=(40, 3)))
    waveforms = rng.normal(size=(500, 3)) * [9.0, 4.0, 1.0] @ planted.T
    components = pc.common_components(waveforms)
    assert components.dtype == np.float32
    # float32 rounds at 1e-7; sums of 40 products.
    assert components @ components.T == pytest.approx(np.eye(3), abs=1e-5)
    assert np.linalg.svd(components @ planted)[1] == pytest.approx(np.ones(3), abs=1e-5)


def test_first_component_of_one_shape_is_that_shape():
    shape = -np.exp(-0.5 * ((np.arange(82) - 20) / 3.0) ** 2)
    rng = np.random.default_rng(0)
    waveforms = shape * rng.uniform(50, 500, (200, 1)) + rng.normal(0, 1, (200, 82))
    first = pc.common_components(waveforms)[0]
    # Noise of 1 µV on at least 50 µV: a few per mille per sample.
    assert first == pytest.approx(shape / np.linalg.norm(shape), abs=0.01)


def test_large_units_do_not_decide_alone():
    """One unit ten times as large as the nine others, of another shape."""
    shapes = -np.eye(30)[:2]
    waveforms = np.concatenate([np.tile(1000 * shapes[0], (10, 1)), np.tile(shapes[1], (90, 1))])
    assert pc.common_components(waveforms)[0] == pytest.approx(shapes[1], abs=1e-6)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_sign_does_not_depend_on_the_sign_of_the_waveforms(seed):
    waveforms = np.random.default_rng(seed).normal(size=(50, 12))
    components = pc.common_components(waveforms)
    np.testing.assert_array_equal(components, pc.common_components(-waveforms))
    largest = np.abs(components).argmax(axis=1)
    assert (components[np.arange(3), largest] < 0).all()


def test_no_waveform_gives_zero_components():
    for waveforms in (np.zeros((0, 82)), np.zeros((5, 82))):
        components = pc.common_components(waveforms)
        assert components.shape == (3, 82)
        assert not components.any()


@settings(derandomize=True, max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), n_spikes=st.integers(0, 5))
def test_projection_equals_the_slow_twin(seed, n_spikes):
    rng = np.random.default_rng(seed)
    windows = rng.integers(-32768, 32768, (n_spikes, 9, 6)).astype(np.int16)
    near = rng.integers(-1, 6, (n_spikes, 4)).astype(np.int32)
    components = rng.normal(size=(3, 9)).astype(np.float32)
    features = pc.project(windows, near, components)
    assert features.dtype == np.float32
    assert features.shape == (n_spikes, 4, 3)
    for spike in range(n_spikes):
        for i, channel in enumerate(near[spike]):
            slow = components.astype(float) @ windows[spike, :, channel].astype(float)
            expected = slow if channel >= 0 else np.zeros(3)
            # Rounded to float32 once; sums of nine products up to 1e5.
            np.testing.assert_allclose(features[spike, i], expected, rtol=1e-5, atol=0.1)
