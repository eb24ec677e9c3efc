import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfiltfilt

from sluice.ephys.filters import (
    filter_both_ways,
    filtered_blocks,
    highpass_sos,
    settling_samples,
)

RATE_HZ = 30000.0
FINE = 64  # results are multiplied by this before they are rounded, to see fractions of a bit


def slow_and_noisy(rng, n_samples, n_channels):
    """Noise on a field that drifts by hundreds of bits, as in a wide-band recording."""
    drift = np.cumsum(rng.normal(0, 3, (n_samples, n_channels)), axis=0)
    return (drift + rng.normal(0, 8, drift.shape)).clip(-8000, 8000).astype(np.int16)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_samples=st.integers(40, 400),
    n_channels=st.integers(1, 70),
    order=st.integers(1, 6),
    cutoff_hz=st.floats(20, 14000),
)
def test_equals_scipys_filter(seed, n_samples, n_channels, order, cutoff_hz):
    rng = np.random.default_rng(seed)
    traces = rng.integers(-500, 500, (n_samples, n_channels)).astype(np.int16)
    sos = highpass_sos(cutoff_hz, order, RATE_HZ)
    scale = np.full(n_channels, 1 / 8, np.float32)
    filtered, n_clipped = filter_both_ways(traces, sos, scale=scale)
    expected = sosfiltfilt(sos, traces.astype(float), axis=0) / 8
    # Half a bit is rounding. A steep low cutoff rings far above the input's size at the
    # padded ends; float32 between the passes keeps 1e-6 of the largest value.
    tolerance = 0.5 + 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(filtered, expected.clip(-32768, 32767), atol=tolerance, rtol=0)
    assert n_clipped == np.count_nonzero(np.abs(filtered) >= 32767)


def test_keeps_fractions_of_a_bit_on_a_drifting_signal():
    traces = slow_and_noisy(np.random.default_rng(0), 20_000, 5)
    sos = highpass_sos(150.0, 3, RATE_HZ)
    filtered, _ = filter_both_ways(traces, sos, scale=np.full(5, FINE, np.float32))
    expected = sosfiltfilt(sos, traces.astype(float), axis=0)
    # Half of 1/64 bit is rounding; the rest is float32 of values up to 8000 (5e-4 bits).
    np.testing.assert_allclose(filtered / FINE, expected, atol=0.5 / FINE + 2e-3, rtol=0)


@pytest.mark.parametrize(
    # Butterworth of order n, twice: 1 / (1 + (cutoff / f)^2n).
    ("frequency_hz", "gain"),
    [(50.0, 1 / (1 + 3**6)), (150.0, 0.5), (300.0, 1 / (1 + 0.5**6)), (3000.0, 1.0)],
)
def test_passes_spikes_halves_the_cutoff_and_delays_nothing(frequency_hz, gain):
    phase = 2 * np.pi * frequency_hz * np.arange(30_000) / RATE_HZ
    traces = np.rint(10_000 * np.sin(phase)).astype(np.int16)[:, None]
    filtered, _ = filter_both_ways(traces, highpass_sos(150.0, 3, RATE_HZ))
    inner = slice(3000, -3000)  # away from the ends
    in_phase = 2 * np.mean(filtered[inner, 0] * np.sin(phase[inner])) / 10_000
    delayed = 2 * np.mean(filtered[inner, 0] * np.cos(phase[inner])) / 10_000
    # The bilinear transform bends frequencies by less than 0.1 % here.
    assert in_phase == pytest.approx(gain, abs=2e-3)
    assert delayed == pytest.approx(0, abs=2e-3)


@settings(derandomize=True, max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mean_block=st.integers(300, 3000))
def test_blocks_give_what_the_whole_gives(seed, mean_block):
    rng = np.random.default_rng(seed)
    traces = slow_and_noisy(rng, 6000, 4)
    sos = highpass_sos(150.0, 3, RATE_HZ)
    whole, _ = filter_both_ways(traces, sos)
    cuts = np.sort(rng.integers(0, len(traces), len(traces) // mean_block))
    blocks = [b for b in np.split(traces, cuts) if len(b)]
    parts, counts = zip(*filtered_blocks(blocks, sos), strict=True)
    joined = np.concatenate(parts)
    assert joined.shape == whole.shape
    assert sum(counts) == 0
    # What the margins leave, at most 1e-6 of the signal's changes, may round a value that lies
    # on the middle between two integers to the other one: 1e-5 of the values here.
    difference = np.abs(joined.astype(int) - whole)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 5e-4


def test_a_recording_shorter_than_a_margin_is_one_block():
    traces = slow_and_noisy(np.random.default_rng(3), 100, 3)
    sos = highpass_sos(150.0, 3, RATE_HZ)
    ((part, _),) = filtered_blocks([traces[:30], traces[30:]], sos)
    np.testing.assert_array_equal(part, filter_both_ways(traces, sos)[0])


def test_scale_and_limits():
    traces = np.zeros((2000, 2), np.int16)
    traces[1000] = 3000
    sos = highpass_sos(150.0, 3, RATE_HZ)
    once, _ = filter_both_ways(traces, sos)
    scaled, n_clipped = filter_both_ways(traces, sos, scale=np.array([1, 20], np.float32))
    np.testing.assert_array_equal(scaled[:, 0], once[:, 0])
    assert scaled[1000, 1] == 32767
    assert n_clipped == 1
    # Twenty times the unrounded value is within ten bits of twenty times the rounded one.
    np.testing.assert_allclose(
        np.delete(scaled[:, 1], 1000), np.delete(once[:, 1], 1000) * 20.0, atol=10
    )


def test_the_filter_has_settled_after_its_margin():
    sos = highpass_sos(150.0, 3, RATE_HZ)
    impulse = np.zeros((6000, 1), np.int16)
    impulse[3000] = 30_000
    response, _ = filter_both_ways(impulse, sos, scale=np.array([1], np.float32))
    margin = settling_samples(sos)
    assert np.abs(response[: 3000 - margin]).max() == 0
    assert np.abs(response[3000 - margin // 3 : 3000]).max() > 0


def test_too_few_samples():
    sos = highpass_sos(150.0, 3, RATE_HZ)
    traces = np.arange(26, dtype=np.int16).reshape(13, 2)
    # scipy pads order 3 by 12 samples, and needs more than that
    expected = sosfiltfilt(sos, traces.astype(float), axis=0)
    np.testing.assert_allclose(filter_both_ways(traces, sos)[0], expected, atol=0.501)
    with pytest.raises(ValueError, match="12 samples; the filter needs more than 12"):
        filter_both_ways(traces[:12], sos)
