import numpy as np
import pytest
from ophys.made_up_traces import calcium, isolated_frames
from scipy.signal import medfilt

from sluice.ophys.noise import noise_std, noise_window


def slow_noise(trace, window):
    """The AllenSDK's rule as it is written."""
    rest = trace - medfilt(trace, window)
    rest = rest[rest < 1.5 * abs(rest.min())]
    rest = rest[np.abs(rest) < 2.5 * 1.4826 * np.median(np.abs(rest - np.median(rest)))]
    return 1.4826 * np.median(np.abs(rest - np.median(rest)))


def test_with_zeros_beyond_the_ends_it_is_the_sdks():
    rng = np.random.default_rng(0)
    traces = rng.normal(300, 10, (5, 3000)) + rng.gamma(0.03, 400, (5, 3000))
    expected = [slow_noise(trace, 31) for trace in traces]
    np.testing.assert_allclose(noise_std(traces, window=31, padding="constant"), expected)


@pytest.mark.parametrize("rate_hz", [2.0, 4.0, 11.0, 31.0])
def test_true_noise_is_found_under_activity_at_every_rate(rate_hz):
    rng = np.random.default_rng(1)
    frames = isolated_frames(rng, 6000, apart=int(10 * rate_hz))
    active = calcium(6000, frames, 2.0, rate_hz=rate_hz, decay_s=0.7)
    traces = rng.normal(100, 7, (3, 6000)) + 100 * active
    found = noise_std(traces, window=noise_window(1.0, rate_hz))
    # too small by up to 15 % where the sample is one of the eleven its median is of
    np.testing.assert_allclose(found, 7, rtol=0.2)


def test_scale_and_offset():
    traces = np.random.default_rng(2).normal(size=(1, 2000))
    one = noise_std(traces, window=31)
    np.testing.assert_allclose(noise_std(5 * traces - 1000, window=31), 5 * one, rtol=1e-9)


def test_traces_without_noise_or_numbers():
    traces = np.zeros((5, 60))
    traces[1], traces[2, 30:], traces[3] = 7.5, 1e6, np.nan
    traces[4] = np.nan
    traces[4, 9] = 3
    found = noise_std(traces, window=31)
    np.testing.assert_array_equal(found, [0, 0, 0, np.nan, 0])
    assert noise_std(np.zeros((0, 60)), window=31).shape == (0,)
    assert np.isnan(noise_std(np.zeros((2, 0)), window=31)).all()


def test_gaps_change_little():
    rng = np.random.default_rng(3)
    traces = rng.normal(50, 3, (1, 5000))
    holed = traces.copy()
    holed[:, rng.random(5000) < 0.1] = np.nan
    np.testing.assert_allclose(noise_std(holed, window=31), noise_std(traces, window=31), rtol=0.03)
