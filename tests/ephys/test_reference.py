import numpy as np
import pytest
from ephys.raw_probes import channel_table
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys.reference import (
    channel_offsets,
    group_channels,
    restore_raw,
    selection_network,
    subtract_medians,
)
from sluice.ephys.traces import DEAD, NOISY, OUTSIDE

LOW, HIGH = -32768, 32767


def twin(traces, offsets, groups):
    """Subtract with numpy's median, group by group, in wide integers."""
    wide = traces.astype(np.int64) - offsets
    within = np.clip(wide, LOW, HIGH)
    medians = np.zeros((len(traces), groups.n_groups + 1), np.int64)
    for g in range(groups.n_groups):
        members = groups.members[groups.member_starts[g] : groups.member_starts[g + 1]]
        medians[:, g] = np.rint(np.median(within[:, members], axis=1))
    return wide - medians[:, groups.group_of], medians[:, :-1]


@pytest.mark.parametrize("n", [*range(1, 18), 24, 31, 32, 96, 100])
def test_a_selection_network_brings_the_middle_to_the_middle(n):
    rng = np.random.default_rng(n)
    # Zeros and ones are the hard case: a network that sorts them all sorts everything.
    values = np.concatenate(
        [rng.random((n, 300)) < rng.random(300), rng.integers(-5, 5, (n, 300))], axis=1
    ).astype(int)
    expected = np.sort(values, axis=0)
    for i, j in selection_network(n):
        values[[i, j]] = np.minimum(values[i], values[j]), np.maximum(values[i], values[j])
    for middle in ((n - 1) // 2, n // 2):
        np.testing.assert_array_equal(values[middle], expected[middle])


def test_a_selection_network_leaves_out_steps_that_do_not_matter():
    # Batcher's merge exchange sorts 16 values in 63 steps.
    assert len(selection_network(16)) < 63
    assert len(selection_network(1)) == 0


def test_the_median_is_the_true_one():
    # Allen's program leaves the last channel unsorted; here it is the one that decides.
    table = channel_table(5, n_groups=1)
    traces = np.array([[10, 20, 30, 40, -50], [10, 20, 30, 40, 25]], np.int16)
    out, medians, _ = subtract_medians(traces, np.zeros(5, np.int16), group_channels(table))
    np.testing.assert_array_equal(medians[:, 0], [20, 25])
    np.testing.assert_array_equal(out[0], [-10, 0, 10, 20, -70])


def test_halves_are_rounded_to_the_even_integer():
    table = channel_table(2, n_groups=1)
    pairs = np.array([[0, 1], [1, 2], [2, 3], [-1, 0], [-2, -1], [-3, -2]], np.int16)
    _, medians, _ = subtract_medians(pairs, np.zeros(2, np.int16), group_channels(table))
    np.testing.assert_array_equal(medians[:, 0], [0, 2, 2, 0, -2, -2])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_samples=st.integers(1, 200),
    n_channels=st.integers(1, 60),
    n_groups=st.integers(1, 7),
    bits=st.integers(1, 14),
)
def test_subtraction_equals_numpys_and_can_be_undone(seed, n_samples, n_channels, n_groups, bits):
    rng = np.random.default_rng(seed)
    half = 1 << (bits - 1)
    table = channel_table(n_channels, n_groups=n_groups)
    table["label"] = rng.choice([0, 0, 0, DEAD, NOISY, OUTSIDE], n_channels)
    table["is_reference"] = rng.random(n_channels) < 0.1
    groups = group_channels(table, min_channels=int(rng.integers(1, 4)))
    traces = rng.integers(-half, half, (n_samples, n_channels)).astype(np.int16)
    offsets = rng.integers(-half, half, n_channels).astype(np.int16)
    out, medians, n_saturated = subtract_medians(traces, offsets, groups)
    expected_out, expected_medians = twin(traces, offsets, groups)
    np.testing.assert_array_equal(out, expected_out)
    np.testing.assert_array_equal(medians, expected_medians)
    np.testing.assert_array_equal(restore_raw(out, medians, offsets, groups.group_of), traces)
    assert n_saturated == 0


@settings(derandomize=True, max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_channels=st.integers(1, 20))
def test_near_the_limits_of_int16_results_stay_at_the_limit_and_are_counted(seed, n_channels):
    rng = np.random.default_rng(seed)
    table = channel_table(n_channels, n_groups=2)
    groups = group_channels(table)
    traces = rng.choice([LOW, LOW + 1, -1, 0, 1, HIGH - 1, HIGH], (100, n_channels))
    traces = traces.astype(np.int16)
    offsets = rng.choice([LOW, -100, 0, 100, HIGH], n_channels).astype(np.int16)
    out, medians, n_saturated = subtract_medians(traces, offsets, groups)
    expected, expected_medians = twin(traces, offsets, groups)
    np.testing.assert_array_equal(medians, expected_medians)
    np.testing.assert_array_equal(out, np.clip(expected, LOW, HIGH))
    fits = (expected >= LOW) & (expected <= HIGH)
    assert n_saturated == np.count_nonzero(~fits)
    restored = restore_raw(out, medians, offsets, groups.group_of)
    np.testing.assert_array_equal(restored[fits], traces[fits])


def test_bad_channels_and_references_lose_the_median_but_do_not_shape_it():
    table = channel_table(12, n_groups=2)
    table.loc[2, "label"] = NOISY
    table.loc[4, "label"] = DEAD
    table.loc[6, "label"] = OUTSIDE
    table.loc[8, "is_reference"] = True
    groups = group_channels(table)
    np.testing.assert_array_equal(groups.members[: groups.member_starts[1]], [0, 10])
    np.testing.assert_array_equal(groups.group_of, np.arange(12) % 2)
    traces = np.full((3, 12), 7, np.int16)
    traces[:, [2, 4, 6, 8]] = 1000
    out, _, _ = subtract_medians(traces, np.zeros(12, np.int16), groups)
    assert (out[:, [2, 4, 6, 8]] == 993).all()
    assert (np.delete(out, [2, 4, 6, 8], axis=1) == 0).all()


def test_a_group_without_enough_good_channels_is_left_as_it_is():
    table = channel_table(15, n_groups=3)
    table.loc[table["median_group"] == 1, "label"] = DEAD
    table.loc[[2, 5], "label"] = NOISY
    groups = group_channels(table, min_channels=4)
    assert set(groups.group_of[0::3]) == {0}
    assert set(groups.group_of[1::3]) == {-1}
    assert set(groups.group_of[2::3]) == {-1}  # three good channels
    traces = np.full((2, 15), 9, np.int16)
    out, medians, _ = subtract_medians(traces, np.ones(15, np.int16), groups)
    assert medians.shape == (2, 1)
    assert (out[:, 0::3] == 0).all()
    assert (out[:, 1::3] == 8).all()  # its offset it loses all the same


def test_no_group_at_all_gives_no_median():
    table = channel_table(4, n_groups=1)
    groups = group_channels(table, min_channels=5)
    traces = np.arange(8, dtype=np.int16).reshape(2, 4)
    out, medians, _ = subtract_medians(traces, np.zeros(4, np.int16), groups)
    assert medians.shape == (2, 0)
    np.testing.assert_array_equal(out, traces)


def test_channels_of_different_gain_do_not_share_a_median():
    table = channel_table(8, n_groups=1)
    table["gain_uv"] = [2.0, 4.0] * 4
    groups = group_channels(table)
    assert groups.n_groups == 2
    np.testing.assert_array_equal(groups.group_of, [0, 1] * 4)


def test_offsets_are_the_median_over_the_passes():
    rng = np.random.default_rng(0)
    offsets = rng.integers(-200, 200, 6)
    # Symmetric around the offset, so the median of a pass is the offset itself.
    noise = rng.integers(0, 30, (500, 6))
    one = offsets + np.concatenate([noise, -noise, np.zeros((1, 6), int)])
    saturated = np.full((100, 6), 511)  # two passes of nonsense out of five do no harm
    passes = [one, saturated, one, saturated, one]
    found = channel_offsets(p.astype(np.int16) for p in passes)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, offsets)
