import numpy as np
import pytest
from ephys.raw_probes import channel_table, recording_of

from sluice.ephys.destripe import destriped_reader
from sluice.ephys.traces import DEAD, NOISY, OUTSIDE
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ephys"]["preprocess_probe"]["destripe"]
RATE_HZ = 30000.0
SECOND = int(RATE_HZ)


def read(traces, table, start=0, stop=None):
    reader = destriped_reader(recording_of(traces, table), table, settings=SETTINGS)
    return reader(start, len(traces) if stop is None else stop)


def noise(rng, n_channels, n_samples=SECOND):
    return rng.normal(0, 10, (n_samples, n_channels))


def test_what_all_channels_inside_the_brain_share_is_removed():
    rng = np.random.default_rng(0)
    table = channel_table(48)
    table.loc[40:, "label"] = OUTSIDE
    common = 40 * np.sin(2 * np.pi * 2000 * np.arange(SECOND) / RATE_HZ)
    own = noise(rng, 48)
    out = read((own + common[:, None]).astype(np.int16), table)
    assert out.dtype == np.float32
    left = out.T @ common / (common @ common)  # share of the common signal on each channel
    assert np.abs(left[:40]).max() < 0.1
    # Outside channels get the temporal steps only, and those pass 2 kHz.
    np.testing.assert_allclose(left[40:], 1, atol=0.02)


def test_local_spikes_stay():
    rng = np.random.default_rng(1)
    table = channel_table(96)
    traces = noise(rng, 96)
    peaks = np.arange(500, SECOND - 500, 300)
    traces[peaks[:, None], [50, 51, 52]] -= [60, 100, 60]
    out = read(traces.astype(np.int16), table)
    # The 300 Hz filter and the spatial one take a little off a spike of one sample.
    assert out[peaks, 51].mean() == pytest.approx(-100, rel=0.1)


def test_slow_signals_are_removed_everywhere():
    rng = np.random.default_rng(2)
    table = channel_table(32)
    table.loc[30:, "label"] = OUTSIDE
    slow = 300 * np.sin(2 * np.pi * 10 * np.arange(SECOND) / RATE_HZ)
    out = read((noise(rng, 32) + slow[:, None]).astype(np.int16), table)
    inner = slice(3000, -3000)
    # (10 / 300)^6 of it is left
    left = out[inner].T @ slow[inner] / (slow[inner] @ slow[inner])
    assert np.abs(left).max() < 2e-3


def test_dead_noisy_and_reference_channels_are_interpolated():
    rng = np.random.default_rng(3)
    table = channel_table(32)
    table.loc[10, "label"] = DEAD
    table.loc[15, "label"] = NOISY
    table.loc[20, "is_reference"] = True
    position = table[["x_um", "y_um"]].to_numpy()
    distance = np.linalg.norm(position[:, None] - position, axis=2)
    field = noise(rng, 32) @ np.exp(-((distance / 40) ** 2))  # alike on neighbours only
    traces = field.copy()
    traces[:, [10, 20]] = 0
    traces[:, 15] += rng.normal(0, 200, SECOND)
    expected = read(field.astype(np.int16), table.assign(label=0, is_reference=False))
    out = read(traces.astype(np.int16), table)
    for bad in (10, 15, 20):
        assert np.corrcoef(out[:, bad], expected[:, bad])[0, 1] > 0.9
        # A weighted mean is smoother than what it replaces, by a fifth to a third here.
        assert 0.6 < out[:, bad].std() / expected[:, bad].std() < 1


def test_delays_of_conversion_are_undone():
    table = channel_table(24)
    table["label"] = OUTSIDE  # no spatial filter, so that a common signal can be looked at
    table["sample_shift"] = np.arange(24) % 12 / 13
    times = np.arange(SECOND)[:, None] + table["sample_shift"].to_numpy()
    traces = np.rint(1000 * np.sin(2 * np.pi * 3000 / RATE_HZ * times)).astype(np.int16)
    out = read(traces, table)
    inner = slice(3000, -3000)
    spread = np.ptp(out[inner], axis=1)
    assert np.ptp(traces[inner].astype(int), axis=1).max() > 500
    assert spread.max() < 5  # rounding of the input, and the ends


def test_shanks_are_filtered_apart():
    rng = np.random.default_rng(4)
    table = channel_table(48, n_shanks=2)
    common = 40 * np.sin(2 * np.pi * 2000 * np.arange(SECOND) / RATE_HZ)
    traces = noise(rng, 48)
    traces[:, :24] += common[:, None]
    traces[:, 24:] -= common[:, None]
    out = read(traces.astype(np.int16), table)
    assert np.abs(out.T @ common / (common @ common)).max() < 0.1


def test_chunks_give_what_the_whole_gives():
    rng = np.random.default_rng(5)
    table = channel_table(16)
    traces = np.cumsum(noise(rng, 16) / 5, axis=0).astype(np.int16)
    reader = destriped_reader(recording_of(traces, table), table, settings=SETTINGS)
    whole = reader(0, SECOND)
    parts = np.concatenate([reader(a, a + 10_000) for a in range(0, SECOND, 10_000)])
    # SpikeInterface's margins leave about a thousandth of the signal (tens of bits).
    np.testing.assert_allclose(parts, whole, atol=0.2)
