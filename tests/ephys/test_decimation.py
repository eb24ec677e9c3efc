import numpy as np
import pytest
from ephys.probe_signals import recording_of
from scipy.signal import freqz

from sluice.ephys.decimation import decimated_blocks, design_decimator, stage_factors


def one_filter(decimator):
    """The stages as one filter at the input rate, in float64."""
    taps, spacing = np.ones(1), 1
    for stage, factor in decimator.stages:
        spread = np.zeros((len(stage) - 1) * spacing + 1)
        spread[::spacing] = stage
        taps = np.convolve(taps, spread)
        spacing *= factor
    return taps


def slow_decimation(traces, decimator):
    """Whole array, one long filter, every factor-th sample."""
    margin = decimator.margin_samples
    padded = np.pad(traces.astype(float), ((margin, margin), (0, 0)), mode="edge")
    taps = one_filter(decimator)
    full = np.stack([np.convolve(column, taps, mode="valid") for column in padded.T], axis=1)
    return full[:: decimator.factor]


@pytest.mark.parametrize("factor", [1, 2, 4, 7, 12, 24, 26, 30])
def test_stages_multiply_to_the_factor(factor):
    stages = stage_factors(factor)
    assert np.prod(stages, dtype=int) == factor
    assert all(size <= 6 or size in (7, 13) for size in stages)


@pytest.mark.parametrize(("rate_hz", "factor"), [(2500, 2), (30000, 24), (15000, 12), (30000, 12)])
def test_gain_is_one_below_and_nothing_folds_in_from_above(rate_hz, factor):
    nyquist_hz = rate_hz / factor / 2
    frequencies, gain = freqz(one_filter(design_decimator(rate_hz, factor)), worN=2**15, fs=rate_hz)
    passed, folding = frequencies <= 0.8 * nyquist_hz, frequencies >= nyquist_hz
    np.testing.assert_allclose(np.abs(gain[passed]), 1, atol=1e-3)
    # the Kaiser formula designs for 80 dB and is good to about 1 dB
    assert np.abs(gain[folding]).max() < 10 ** (-78 / 20)


@pytest.mark.parametrize("factor", [1, 2, 24])
@pytest.mark.parametrize("n_samples", [1, 700, 5001])
def test_chunks_give_what_the_whole_gives(factor, n_samples):
    rng = np.random.default_rng(factor)
    traces = rng.integers(-500, 500, (n_samples, 5)).astype(np.int16)
    recording = recording_of(traces, 30000.0, 1.0)
    decimator = design_decimator(30000.0, factor)
    channels, gain_uv = np.array([3, 1]), np.array([2.0, 4.0])
    slow = slow_decimation(traces[:, channels] * gain_uv, decimator)
    found = [
        np.concatenate(list(decimated_blocks(recording, channels, gain_uv, decimator, size)))
        for size in (10**6, 1000, 7)
    ]
    # float32 sums of about a hundred values of up to 2000 µV
    np.testing.assert_allclose(found[0], slow, atol=0.01)
    for chunked in found[1:]:
        np.testing.assert_array_equal(chunked, found[0])


def test_a_slow_sine_keeps_its_phase():
    time_s = np.arange(60000) / 30000
    sine = 1000 * np.sin(2 * np.pi * 20 * time_s)
    recording = recording_of(np.round(sine)[:, None].astype(np.int16), 30000.0, 1.0)
    blocks = decimated_blocks(recording, np.array([0]), np.ones(1), design_decimator(30000.0, 24))
    found = np.concatenate(list(blocks))[:, 0]
    # rounding to bits is half a bit, the ripple 1e-3; the ends see the padding
    np.testing.assert_allclose(found[50:-50], sine[::24][50:-50], atol=1.5)
