"""The shape of made-up spikes, and how they are laid on the contacts."""

import numpy as np
import pytest

from sluice.synth import waveforms

FS = 30000.0


def _shape(**changes):
    settings = {"trough_ms": 0.08, "trough_to_peak_ms": 0.5, "peak_ratio": 0.3, **changes}
    return waveforms.spike_shape(**settings, sampling_rate_hz=FS)


@pytest.mark.parametrize("trough_to_peak_ms", [0.25, 0.45, 0.7])
def test_shape_has_its_trough_at_zero_and_its_peak_where_asked(trough_to_peak_ms):
    shape = _shape(trough_to_peak_ms=trough_to_peak_ms)
    step_ms = 1000 / FS / waveforms.OVERSAMPLING
    trough = round(waveforms.BEFORE_MS / step_ms)
    assert np.argmin(shape) == trough
    assert shape.min() == -1
    # the trough's tail pulls an early peak a little later
    assert np.argmax(shape) * step_ms - 1 == pytest.approx(trough_to_peak_ms, rel=0.15)
    assert shape[0] == pytest.approx(0, abs=1e-3)
    assert shape[-1] == pytest.approx(0, abs=1e-3)


def _add(traces, *, times, shift_um=0.0, start=0, delays=(0.0, 0.0, 0.0), gains=(1, 1, 1)):
    """Add 100 µV spikes of a unit beside the middle one of three contacts 40 µm apart."""
    n = len(times)
    waveforms.add_spikes(
        traces,
        start,
        np.array(times, float),
        np.zeros(n, np.int32),
        np.full(n, 100.0),
        np.full(n, shift_um),
        _shape()[None],
        np.array([[0.0, 40.0, 0.0, 0.0, 0.0]]),
        np.array([20.0]),
        np.array([400.0]),
        np.array([[0.0, 0.0], [0.0, 40.0], [0.0, 80.0]]),
        np.array(gains, float),
        np.array(delays, float),
        FS,
        150.0,
    )
    return traces


def test_height_falls_with_distance_and_far_contacts_are_later():
    traces = _add(np.zeros((300, 3), np.float32), times=[100.0])
    assert np.argmin(traces[:, 1]) == 100
    assert traces[100, 1] == pytest.approx(-100)
    # 40 µm at 400 µm/ms are 0.1 ms or 3 samples; exp(-40 / 20) of the height
    for far in (0, 2):
        assert np.argmin(traces[:, far]) == 103
        assert traces[103, far] == pytest.approx(-100 * np.exp(-2), rel=1e-5)


def test_drift_moves_the_unit_up():
    traces = _add(np.zeros((300, 3), np.float32), times=[100.0], shift_um=10.0)
    peaks = -traces.min(axis=0)
    # sampled up to half a sample off the trough, which is 5 samples wide
    np.testing.assert_allclose(peaks, 100 * np.exp(-np.array([50, 10, 30]) / 20), rtol=0.02)


def test_a_channel_digitised_late_sees_the_spike_early():
    traces = _add(np.zeros((300, 3), np.float32), times=[100.5], delays=(0, 0.5, 0))
    assert traces[100, 1] == pytest.approx(-100)


def test_chunks_join_without_seam():
    whole = _add(np.zeros((300, 3), np.float32), times=[100.3, 140.9, 155.2])
    parts = [
        _add(np.zeros((stop - start, 3), np.float32), times=[100.3, 140.9, 155.2], start=start)
        for start, stop in ((0, 97), (97, 150), (150, 300))
    ]
    # the position within the shape is counted on from the chunk's first sample
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


def test_channels_without_gain_stay_empty():
    traces = _add(np.zeros((300, 3), np.float32), times=[100.0], gains=(1, 0, 1))
    assert not traces[:, 1].any()
    assert traces[:, 0].any()
