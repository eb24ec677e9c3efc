import numpy as np
import pytest
from scipy.signal import welch

from sluice.ephys.bad_channels import (
    label_snippet,
    labels_by_coherence,
    labels_by_rms,
    most_frequent,
    running_median,
    similarity,
)

RATE_HZ = 30000.0
IBL = {"dead_threshold": -0.5, "noisy_threshold": 1.0, "outside_threshold": -0.75}
SETTINGS = {"bad_channels": "coherence+psd", "high_power_uv2_per_hz": 0.02, "rms_ratio": 3.0, **IBL}


def snippet(n_channels=60, seed=0, *, dead=(), noisy=(), outside=0):
    """Draw a common waveform plus thermal noise; 0.3 s as IBL's batches."""
    rng = np.random.default_rng(seed)
    common = np.full(n_channels, 8.0)
    thermal = np.full(n_channels, 5.0)
    if outside:
        common[-outside:] = 0.5
    common[list(dead)], thermal[list(dead)] = 0, 1
    thermal[list(noisy)] = 50
    n = 9000
    return common * rng.standard_normal((n, 1)) + thermal * rng.standard_normal((n, n_channels))


def high_power(traces_uv):
    frequencies, power = welch(traces_uv, fs=RATE_HZ, nperseg=300, axis=0)
    return power[frequencies > 0.8 * RATE_HZ / 2].mean(axis=0)


def by_coherence(traces_uv, threshold=0.02):
    return labels_by_coherence(
        traces_uv, traces_uv, high_power(traces_uv), high_power_threshold=threshold, **IBL
    )


def test_dead_noisy_and_outside_channels_are_found():
    labels = by_coherence(snippet(dead=(11, 40), noisy=(20, 30), outside=12))
    expected = np.zeros(60, int)
    expected[[11, 40]], expected[[20, 30]], expected[-12:] = 1, 2, 3
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("dead", [0, 59])
def test_a_dead_channel_at_either_end_is_found(dead):
    assert np.flatnonzero(by_coherence(snippet(dead=(dead,))) == 1).tolist() == [dead]


def test_noisy_wins_over_outside_and_low_coherence_inside_is_not_outside():
    labels = by_coherence(snippet(noisy=(55,), outside=12))
    assert labels[55] == 2
    assert (labels[[48, 54, 56, 59]] == 3).all()


def test_labels_agree_with_spikeinterface_where_its_rules_are_the_same():
    # SpikeInterface takes both similarities from the same traces and lets outside win over
    # dead and noisy, so the bad channels are inside the brain here
    from spikeinterface.preprocessing.detect_bad_channels import detect_bad_channels_ibl

    for seed in range(8):
        rng = np.random.default_rng(seed)
        bad = rng.permutation(40)[:6]
        traces = snippet(seed=seed, dead=bad[:3], noisy=bad[3:], outside=rng.integers(0, 15))
        theirs = detect_bad_channels_ibl(traces, RATE_HZ, psd_hf_threshold=0.02)
        np.testing.assert_array_equal(by_coherence(traces), theirs)


def test_similarity_is_one_for_the_common_waveform_and_scales_with_it():
    common = np.random.default_rng(1).standard_normal(5000)
    traces = common[:, None] * np.array([1, 1, 1, 1, 1, 0, 3.0]) + 100.0
    np.testing.assert_allclose(similarity(traces), [1, 1, 1, 1, 1, 0, 3], atol=1e-9)
    assert similarity(np.zeros((10, 3))).tolist() == [0, 0, 0]


def test_running_median_shrinks_at_the_ends():
    values = np.array([9.0, 1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(running_median(values, half_window=1), [5, 2, 2, 3, 4, 5, 5.5])


def test_rms_labels_a_tetrode():
    assert labels_by_rms(np.array([10.0, 9.0, 1.0, 11.0]), ratio=3).tolist() == [0, 0, 1, 0]
    assert labels_by_rms(np.array([10.0, 9.0, 60.0, 11.0]), ratio=3).tolist() == [0, 0, 2, 0]
    assert labels_by_rms(np.array([10.0, 20.0, 6.0, 11.0]), ratio=3).tolist() == [0, 0, 0, 0]


def test_each_shank_is_labelled_by_itself():
    # what the two shanks have in common is opposite: together the median would be noise
    first, second = snippet(30, seed=2, dead=(9,)), -snippet(30, seed=2, dead=(20,))
    traces = np.empty((len(first), 60))
    traces[:, ::2], traces[:, 1::2] = first, second
    shanks = [np.arange(0, 60, 2), np.arange(1, 60, 2)]
    labels = label_snippet(traces, traces, high_power(traces), shanks, settings=SETTINGS)
    assert np.flatnonzero(labels).tolist() == [18, 41]
    assert (labels[[18, 41]] == 1).all()


def test_few_channels_go_by_rms_and_none_leaves_all_good():
    traces = snippet(4, dead=(1,))
    power = high_power(traces)
    found = label_snippet(traces, traces, power, [np.arange(4)], settings=SETTINGS)
    assert found.tolist() == [0, 1, 0, 0]
    off = {**SETTINGS, "bad_channels": "none"}
    assert not label_snippet(traces, traces, power, [np.arange(4)], settings=off).any()


def test_most_frequent_label_and_ties():
    labels = np.array([[0, 1, 2], [3, 1, 0], [3, 0, 2], [0, 2, 0]])
    assert most_frequent(labels).tolist() == [0, 1, 0]
