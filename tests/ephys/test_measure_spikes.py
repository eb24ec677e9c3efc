"""Amplitude and depth of single spikes: planted ones, a slow twin, the edges."""

import numpy as np
import pytest
from ephys.planted_spikes import (
    GAIN_UV,
    as_bits,
    channel_table,
    neuropixels_1,
    plant,
    save_traces,
    spike,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys.measure_spikes import channels_within, measure_spikes, read_samples
from sluice.ephys.traces import open_traces

BEFORE = 20
POSITIONS = neuropixels_1(24)


def measure(traces, samples, rows, templates, peaks, near, **options):
    return measure_spikes(
        traces,
        np.asarray(samples, np.int64),
        np.asarray(rows, np.int64),
        templates_uv=templates,
        peak_channels=np.asarray(peaks),
        near_channels=near,
        y_um=POSITIONS[:, 1],
        n_before=BEFORE,
        gain_uv=GAIN_UV,
        **options,
    )


def one_unit(at_um=(30, 130), peak_uv=200.0):
    template = spike(POSITIONS, at_um, peak_uv=peak_uv)
    peak = np.ptp(template, axis=0).argmax()
    near = channels_within(channel_table(POSITIONS), [peak], radius_um=100)
    return template, peak, near


def test_planted_amplitudes():
    template, peak, near = one_unit()
    samples = np.arange(100, 5000, 200)
    scales = np.linspace(0.3, 2, len(samples))
    traces = as_bits(plant(5200, [(template, BEFORE, samples, scales)]))
    amplitude, depth = measure(
        traces, samples, np.zeros(len(samples), int), template[None], [peak], near
    )
    # int16 rounds every value by up to half a bit; averaged over the fit that is far less.
    np.testing.assert_allclose(amplitude, scales * np.ptp(template[:, peak]), atol=GAIN_UV)
    # The same shape, large or small, has the same depth: rounding moves it by < 0.1 µm.
    assert np.ptp(depth) < 0.1
    assert amplitude.dtype == depth.dtype == np.float32


def test_depth_follows_the_cell():
    # One unit drifts up by 20 µm (one row); its template stays where it was.
    template, peak, near = one_unit()
    samples = np.arange(100, 3000, 200)
    higher = spike(POSITIONS, (30, 150), peak_uv=200)
    rows = np.zeros(len(samples), int)
    depths = [
        measure(
            as_bits(plant(3200, [(waveform, BEFORE, samples, 1.0)])),
            samples,
            rows,
            template[None],
            [peak],
            near,
        )[1].mean()
        for waveform in (template, higher)
    ]
    # At 130 µm the near channels lie evenly around the cell: its depth is exact but for the
    # staggered columns. Near the border of the near channels some of the drift is lost.
    assert depths[0] == pytest.approx(130, abs=5)
    assert depths[1] - depths[0] == pytest.approx(20, abs=3)


def test_noise_does_not_pull_the_depth():
    # A cell at the upper border of its near channels: weights from peak-to-peak amplitudes
    # would be drawn to the middle of the channels by noise.
    template, peak, near = one_unit(at_um=(30, 225), peak_uv=80.0)
    samples = np.arange(100, 60_000, 200)
    rows = np.zeros(len(samples), int)
    clean, noisy = (
        measure(
            as_bits(plant(60_200, [(template, BEFORE, samples, 1.0)], noise_uv=noise_uv)),
            samples,
            rows,
            template[None],
            [peak],
            near,
        )[1]
        for noise_uv in (0, 10)
    )
    # 300 spikes with a scatter of about 4 µm: the mean is known to 0.25 µm.
    assert noisy.mean() == pytest.approx(clean.mean(), abs=1.5)


def twin(traces, samples, rows, templates, peaks, near):
    """The definition, one spike at a time."""
    amplitudes, depths = [], []
    for sample, unit in zip(samples, rows, strict=True):
        t = np.arange(templates.shape[1]) + sample - BEFORE
        inside = (t >= 0) & (t < len(traces))
        own = near[unit][near[unit] >= 0]
        seen = traces[t[inside]][:, own].astype(float)
        template = templates[unit][inside][:, own].astype(float)
        energy = (template**2).sum()
        scale = (seen * template).sum() / energy if energy > 0 else 0
        height = np.ptp(templates[unit][:, peaks[unit]])
        amplitudes.append(max(scale * GAIN_UV, 0) * height)
        alike = np.maximum(seen.T @ templates[unit][inside][:, peaks[unit]].astype(float), 0) ** 2
        y = POSITIONS[:, 1]
        total = alike.sum()
        depths.append((alike * y[own]).sum() / total if total > 0 else y[peaks[unit]])
    return np.array(amplitudes), np.array(depths)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_spikes=st.integers(0, 40),
    n_samples=st.integers(30, 400),
    chunk=st.integers(1, 500),
)
def test_any_spikes_against_the_twin(seed, n_spikes, n_samples, chunk):
    rng = np.random.default_rng(seed)
    traces = rng.integers(-3000, 3000, (n_samples, 24)).astype(np.int16)
    samples = np.sort(rng.integers(0, n_samples, n_spikes))  # the ends of the recording too
    rows = rng.integers(0, 3, n_spikes)
    templates = rng.normal(0, 50, (3, 60, 24)).astype(np.float32)
    peaks = np.array([2, 11, 23])
    near = channels_within(channel_table(POSITIONS), peaks, radius_um=70)
    amplitude, depth = measure(traces, samples, rows, templates, peaks, near, chunk_samples=chunk)
    slow_amplitude, slow_depth = twin(traces, samples, rows, templates, peaks, near)
    # Kernel and result are float32 (7 digits); sums of up to 1000 products of either sign.
    np.testing.assert_allclose(amplitude, slow_amplitude, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(depth, slow_depth, rtol=1e-3, atol=1e-2)
    whole = measure(traces, samples, rows, templates, peaks, near, chunk_samples=n_samples)
    assert np.array_equal(amplitude, whole[0]), "depends on the length of the chunks"
    assert np.array_equal(depth, whole[1])


def test_nothing_like_the_template():
    template, peak, near = one_unit()
    traces = as_bits(plant(400, [(-template, BEFORE, [200], 1.0)]))
    amplitude, depth = measure(traces, [200], [0], template[None], [peak], near)
    assert amplitude.tolist() == [0]
    assert depth.tolist() == [POSITIONS[peak, 1]]


def test_no_spikes_and_no_units():
    traces = np.zeros((100, 24), np.int16)
    template, peak, near = one_unit()
    amplitude, depth = measure(traces, [], [], template[None], [peak], near)
    assert amplitude.shape == depth.shape == (0,)
    none = channels_within(channel_table(POSITIONS), [], radius_um=50)
    amplitude, _ = measure(traces, [], [], np.zeros((0, 82, 24), np.float32), [], none)
    assert amplitude.dtype == np.float32


def test_near_channels():
    channels = channel_table(POSITIONS, shanks=np.arange(24) % 2)
    channels.loc[4, "label"] = 1
    channels.loc[8, "is_reference"] = True
    near = channels_within(channels, [2, 12], radius_um=90)
    for row, peak in enumerate((2, 12)):
        expected = [
            c
            for c in range(24)
            if c % 2 == 0 and c not in (4, 8) and np.hypot(*(POSITIONS[c] - POSITIONS[peak])) <= 90
        ]
        assert near[row][near[row] >= 0].tolist() == expected
    assert near.shape[1] == max((near >= 0).sum(axis=1))


def test_memmap_and_array_are_the_same(tmp_path):
    template, peak, near = one_unit()
    samples = np.arange(0, 3000, 90)
    traces_uv = plant(3000, [(template, BEFORE, samples, 1.0)], noise_uv=8)
    mapped, _, _ = open_traces(save_traces(tmp_path / "t", traces_uv, channel_table(POSITIONS)))
    rows = np.zeros(len(samples), int)
    results = [
        measure(traces, samples, rows, template[None], [peak], near, chunk_samples=700)
        for traces in (mapped, as_bits(traces_uv))
    ]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(read_samples(mapped, 10, 20), as_bits(traces_uv)[10:20])
