import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.qc_movies import plane_info

from sluice.ophys.qc.intensity import (
    drift_windows,
    fit_bleaching,
    intensity_drift,
    saturated_pixels,
    simple_snr,
)

WINDOWS = {"margin_frames": 300, "window_frames": 200, "max_fraction": 0.1}


def bleaching_of(trace, rate_hz=10.0, dark=0.0):
    return fit_bleaching(trace, sampling_rate_hz=rate_hz, dark=dark, max_blocks=200)


def test_drift_is_the_references_from_3000_frames_on():
    trace = np.random.default_rng(0).normal(100, 5, 3000) + np.linspace(0, 20, 3000)
    start, end = trace[300:500].mean(), trace[-500:-300].mean()
    found = intensity_drift(trace, dark=0.0, **WINDOWS)
    assert found.percent == pytest.approx(100 * (end - start) / start)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(50, 4000), st.floats(-0.5, 0.5))
def test_drift_of_a_step_is_exact_whatever_the_length(n_frames, change):
    trace = np.full(n_frames, 80.0)
    trace[n_frames // 2 :] *= 1 + change
    margin, window = drift_windows(n_frames, **WINDOWS)
    assert window >= 1
    assert 2 * (margin + window) <= n_frames
    found = intensity_drift(trace, dark=0.0, **WINDOWS)
    assert found.percent == pytest.approx(100 * change, abs=1e-9)


def test_drift_is_of_the_light_above_the_background():
    trace = np.r_[np.full(500, 1050.0), np.full(500, 1025.0)]
    assert intensity_drift(trace, dark=1000.0, **WINDOWS).percent == pytest.approx(-50)
    assert abs(intensity_drift(trace, dark=0.0, **WINDOWS).percent) < 3


def test_drift_leaves_missing_frames_out():
    trace = np.r_[np.full(500, 100.0), np.full(500, 110.0)]
    trace[100:150] = trace[905:] = np.nan
    assert intensity_drift(trace, dark=0.0, **WINDOWS).percent == pytest.approx(10)


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (np.ones(49), "49 frames; at least 50"),
        (np.zeros(100), "dark at its start"),
        (np.full(100, np.nan), "no usable frame"),
    ],
)
def test_drift_that_cannot_be_measured(trace, message):
    found = intensity_drift(trace, dark=0.0, **WINDOWS)
    assert found.percent is None
    assert message in found.message


@pytest.mark.parametrize("tau", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("lost", [0.15, 0.5])
def test_the_light_lost_is_found(tau, lost):
    rng = np.random.default_rng(3)
    t = np.arange(2000)
    decay = np.exp(-t / (tau * 2000))
    trace = 200 * (1 - lost * (1 - decay) / (1 - np.exp(-1 / tau)))
    # events of the field: short and only upwards
    trace += 30 * (rng.random(2000) < 0.03) + rng.normal(0, 2, 2000)
    found = bleaching_of(trace)
    assert found.kind == "decay"
    # a block's median has an error of 0.4 of 200
    assert found.percent == pytest.approx(100 * lost, abs=2)
    assert found.tau_s == pytest.approx(tau * 200, rel=0.3)


@pytest.mark.parametrize(
    ("trace", "kind"),
    [
        (np.linspace(100, 140, 1000), "line"),
        (np.r_[np.full(600, 100.0), np.full(400, 70.0)], "step"),
        (np.r_[np.full(600, 100.0), np.full(400, 130.0)], "step"),
    ],
)
def test_a_rise_or_a_step_is_no_bleaching(trace, kind):
    noise = np.random.default_rng(0).normal(0, 1, 1000)
    found = bleaching_of(trace + noise)
    assert (found.percent, found.kind) == (0.0, kind)
    # the curve of the figure follows it
    assert np.abs(found.fit - trace).mean() < 1


def test_bleaching_is_of_the_light_above_the_background():
    trace = 1000 + 100 * np.exp(-np.arange(1000) / 300)
    noise = np.random.default_rng(0).normal(0, 0.1, 1000)
    # exp(-1000 / 300) is left
    assert bleaching_of(trace + noise, dark=1000.0).percent == pytest.approx(96.4, abs=1)
    assert bleaching_of(trace + noise).percent == pytest.approx(8.77, abs=0.2)


def test_bleaching_of_constant_dark_and_short_movies():
    assert bleaching_of(np.full(500, 7.0)).percent == 0
    assert bleaching_of(np.zeros(500)).percent is None
    assert bleaching_of(np.ones(20)).percent is None
    assert bleaching_of(np.full(500, np.nan)).percent is None


def test_simple_snr():
    assert simple_snr(np.array([30.0]), np.array([5.0]), dark=10.0) == 4
    assert np.isnan(simple_snr(np.array([30.0]), np.array([0.0]), dark=10.0))


def saturated_of(folder, frames, level, **changed):
    frames.astype(np.int16).tofile(folder / "movie.bin")
    table = pd.DataFrame(
        {"n_saturated": (frames >= level).sum(axis=(1, 2)), "is_missing": False, **changed}
    )
    return saturated_pixels(folder / "movie.bin", plane_info(frames), table, max_frames=500)


def test_saturated_pixels_are_those_that_import_counted(tmp_path):
    rng = np.random.default_rng(2)
    frames = np.minimum(rng.poisson(80, (200, 20, 30)) * 10, 1000)
    np.testing.assert_array_equal(
        saturated_of(tmp_path, frames, 1000), (frames >= 1000).any(axis=0)
    )
    assert not saturated_of(tmp_path, frames, 1001).any()


def test_missing_frames_are_not_counted_as_saturated(tmp_path):
    frames = np.full((10, 8, 8), 5)
    frames[3] = 100
    is_missing = np.arange(10) == 3
    assert not saturated_of(tmp_path, frames, 100, is_missing=is_missing).any()


def test_at_most_so_many_frames_are_read_and_they_span_the_movie(tmp_path):
    frames = np.full((1000, 4, 4), 5)
    # saturated at the end only, which the first 500 frames do not show
    frames[600:, 1, 2] = 100
    mask = saturated_of(tmp_path, frames, 100)
    assert np.argwhere(mask).tolist() == [[1, 2]]
