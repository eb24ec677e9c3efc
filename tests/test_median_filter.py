import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.signal import medfilt

from sluice.median_filter import sliding_median, sliding_percentile, window_samples

PAD_MODES = {"reflect": "symmetric", "nearest": "edge", "constant": "constant"}


def slow_percentile(trace, window, percentile, padding):
    """Every window by itself."""
    padded = np.pad(trace, window // 2, mode=PAD_MODES[padding])
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # windows of NaNs only
        return np.nanpercentile(windows, percentile, axis=1)


@st.composite
def some_traces(draw):
    """Traces with NaNs, with equal samples, shorter and longer than the window."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    trace = rng.normal(size=draw(st.integers(1, 150))) * draw(st.sampled_from([1e-30, 1, 1e6]))
    if draw(st.booleans()):
        trace = np.round(trace)
    trace[rng.random(trace.size) < draw(st.sampled_from([0, 0.1, 0.9, 1]))] = np.nan
    return trace


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    some_traces(),
    st.integers(0, 120),
    st.one_of(st.sampled_from([0.0, 10.0, 50.0, 100.0]), st.floats(0, 100)),
    st.sampled_from(list(PAD_MODES)),
)
def test_equals_the_percentile_of_every_window(trace, half, percentile, padding):
    window = 2 * half + 1
    found = sliding_percentile(trace[None], window=window, percentile=percentile, padding=padding)
    # numpy interpolates in another order of operations
    np.testing.assert_allclose(
        found[0], slow_percentile(trace, window, percentile, padding), rtol=1e-9, atol=1e-36
    )


def test_many_samples_whose_values_lie_far_apart():
    # the pointer has to cross words, groups of words and groups of those
    rng = np.random.default_rng(0)
    trace = np.repeat(rng.permutation(40) * 1e3, 7500) + rng.normal(size=300_000)
    for window, padding in ((3, "reflect"), (9, "nearest"), (20001, "constant")):
        expected = ndimage.median_filter(trace, window, mode=padding, cval=0.0)
        found = sliding_median(trace[None], window=window, padding=padding)
        np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("window", [31, 101, 5401])
def test_with_zeros_beyond_the_ends_it_is_scipys(window):
    rng = np.random.default_rng(1)
    trace = (rng.normal(500, 20, 12000) + rng.gamma(0.05, 800, 12000)).astype(np.float32)
    found = sliding_median(trace[None], window=window, padding="constant")
    np.testing.assert_array_equal(found[0].astype(np.float32), medfilt(trace, window))
    mirrored = sliding_median(trace[None], window=window)
    half = window // 2
    np.testing.assert_array_equal(mirrored[0, half:-half], found[0, half:-half])


def test_zeros_halve_the_ends_and_mirroring_does_not():
    # half of the window is zeros at the ends: the SDK's baseline of a steady cell
    trace = np.random.default_rng(2).normal(100, 5, (1, 4000))
    assert sliding_median(trace, window=1001, padding="constant")[0, 0] < 95
    for padding in ("reflect", "nearest"):
        assert 90 < sliding_median(trace, window=1001, padding=padding)[0, 0] < 110


def test_every_row_is_its_own_and_nothing_is_changed():
    rng = np.random.default_rng(3)
    traces = rng.normal(size=(7, 500)).astype(np.float32)
    before = traces.copy()
    found = sliding_median(traces, window=51)
    np.testing.assert_array_equal(found[4:5], sliding_median(traces[4:5], window=51))
    np.testing.assert_array_equal(traces, before)
    assert sliding_median(traces[:0], window=51).shape == (0, 500)
    assert sliding_median(traces[:, :0], window=51).shape == (7, 0)


def test_windows_are_odd_and_those_of_the_sources():
    # AllenSDK at 30 Hz: 180 s is 5401 frames, 3.333 s is 101, 1 s is 31
    assert [window_samples(s, 30.0) for s in (180.0, 3.333, 1.0)] == [5401, 101, 31]
    assert window_samples(1.0, 31.0) == 31
    assert window_samples(1.0, 0.1) == 1
    assert window_samples(1.0, 0.1, at_least=11) == 11


def test_an_even_window_or_no_percentile_is_refused():
    with pytest.raises(ValueError, match="odd number of samples, not 4"):
        sliding_median(np.zeros((1, 9)), window=4)
    with pytest.raises(ValueError, match="between 0 and 100, not 101"):
        sliding_percentile(np.zeros((1, 9)), window=3, percentile=101)
