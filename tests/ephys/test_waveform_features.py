"""Features of mean waveforms against planted shapes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys import waveform_features as wf

RATE_HZ = 30_000.0
TIME_S = np.arange(82) / RATE_HZ - 20 / RATE_HZ
STEP_MS = wf.GRID_STEP_S * 1e3


def planted(time_s, *, trough_uv=-100.0, trough_ms=0.08, peak_uv=40.0, peak_at_ms=0.6, width=0.2):
    """Return a Gaussian trough at time 0 and a Gaussian peak after it (µV)."""
    ms = time_s * 1e3
    return trough_uv * np.exp(-0.5 * (ms / trough_ms) ** 2) + peak_uv * np.exp(
        -0.5 * ((ms - peak_at_ms) / width) ** 2
    )


def channel_table(x_um, y_um, *, shank=0, label=0):
    n = len(x_um)
    return pd.DataFrame(
        {
            "channel": np.arange(n),
            "x_um": x_um,
            "y_um": y_um,
            "shank": np.broadcast_to(shank, n),
            "is_reference": np.zeros(n, bool),
            "label": np.broadcast_to(label, n).copy(),
        }
    )


def np1_channels(n=96):
    """Neuropixels 1.0: rows of two contacts every 20 µm, staggered over four columns."""
    channel = np.arange(n)
    return channel_table(np.array([43.0, 11.0, 59.0, 27.0])[channel % 4], channel // 2 * 20.0)


def test_grid_is_the_references():
    waveform, step_s = wf.upsample(np.zeros(82), RATE_HZ)
    assert len(waveform) == 200
    assert step_s == pytest.approx(82 / RATE_HZ / 200)
    # The same step at half the rate, within the rounding to whole points.
    assert wf.upsample(np.zeros(41), 15_000.0)[1] == pytest.approx(step_s, rel=0.01)


def test_upsampled_waveform_follows_the_shape():
    waveform, step_s = wf.upsample(planted(TIME_S), RATE_HZ)
    expected = planted(np.arange(200) * step_s - 20 / RATE_HZ)
    # A Gaussian of 80 µs holds < 1e-3 of its amplitude beyond 15 kHz.
    assert np.abs(waveform - expected).max() < 0.5


@pytest.mark.parametrize("peak_at_ms", [0.3, 0.45, 0.6, 0.9])
def test_duration_of_a_planted_peak(peak_at_ms):
    waveform, step_s = wf.upsample(planted(TIME_S, peak_at_ms=peak_at_ms, width=0.1), RATE_HZ)
    fine = planted(np.arange(0, 2e-3, 1e-6), peak_at_ms=peak_at_ms, width=0.1)
    # Trough and peak are each found to half a point of the grid.
    assert wf.duration_ms(waveform, step_s) == pytest.approx(fine.argmax() * 1e-3, abs=STEP_MS)


def test_duration_ignores_a_peak_before_the_trough():
    ms = TIME_S * 1e3
    waveform = planted(TIME_S) + 60 * np.exp(-0.5 * ((ms + 0.4) / 0.08) ** 2)
    waveform, step_s = wf.upsample(waveform, RATE_HZ)
    assert wf.duration_ms(waveform, step_s) == pytest.approx(0.6, abs=2 * STEP_MS)


def test_positive_waveform_is_measured_from_its_peak():
    waveform, step_s = wf.upsample(-planted(TIME_S, peak_at_ms=0.6), RATE_HZ)
    assert wf.duration_ms(waveform, step_s) == pytest.approx(0.6, abs=2 * STEP_MS)
    assert wf.pt_ratio(waveform) == pytest.approx(100 / 40, rel=0.02)


@pytest.mark.parametrize("sigma_ms", [0.06, 0.1, 0.15])
def test_halfwidth_of_a_gaussian(sigma_ms):
    waveform, step_s = wf.upsample(planted(TIME_S, trough_ms=sigma_ms, peak_uv=0.0), RATE_HZ)
    full_width = 2 * np.sqrt(2 * np.log(2)) * sigma_ms
    # Both crossings are found to one point.
    assert wf.halfwidth_ms(waveform, step_s) == pytest.approx(full_width, abs=2 * STEP_MS)


def test_halfwidth_without_a_return_is_nan():
    assert np.isnan(wf.halfwidth_ms(np.array([0.0, -10.0, -10.0, -10.0]), 1e-5))


def test_peak_to_trough_ratio():
    waveform, _ = wf.upsample(planted(TIME_S, peak_uv=30.0, peak_at_ms=0.8), RATE_HZ)
    # Sampling of a Gaussian of 80 µs every 14 µs misses its extreme by at most 0.4 %.
    assert wf.pt_ratio(waveform) == pytest.approx(0.3, rel=0.02)


def test_slopes_are_those_of_a_line_through_the_shape():
    shape = {"trough_ms": 0.12, "peak_at_ms": 0.7}
    waveform, step_s = wf.upsample(planted(TIME_S, **shape), RATE_HZ)
    fine_s = np.arange(0, 1.5e-3, 1e-7)
    fine_v = planted(fine_s, **shape) * 1e-6
    span_s = wf.SLOPE_POINTS * wf.GRID_STEP_S
    first = fine_s[[fine_v.argmin(), fine_v.argmax()]]
    expected = [
        np.polyfit(fine_s[inside], fine_v[inside], 1)[0]
        for inside in ((fine_s >= s) & (fine_s < s + span_s) for s in first)
    ]
    # The 20 points start up to half a point from the extreme, where the slope is smallest.
    assert wf.slopes_v_s(waveform, step_s) == pytest.approx(expected, rel=0.08)
    assert wf.slopes_v_s(-waveform, step_s) == pytest.approx(expected, rel=0.08)
    assert expected[0] > 0 > expected[1]


def test_recovery_slope_is_nan_where_the_peak_is_the_last_point():
    repolarization, recovery = wf.slopes_v_s(np.array([0.0, -10.0, 0.0, 5.0]), 1e-5)
    assert repolarization > 0
    assert np.isnan(recovery)


def test_snr_of_planted_noise():
    rng = np.random.default_rng(1)
    shape = planted(TIME_S)
    spikes = shape + rng.normal(0, 12.0, (2000, 82))
    expected = np.ptp(shape) / (2 * 12.0)
    # The mean's own noise, 12 / sqrt(2000) = 0.27 µV, moves the extremes by less than 1 µV.
    assert wf.snr(spikes.mean(0), spikes.std(0)) == pytest.approx(expected, rel=0.01)
    # Allen's formula as it is written: the residuals of all spikes and samples in one row.
    residuals = (spikes - spikes.mean(0)).ravel()
    slow = np.ptp(spikes.mean(0)) / (2 * residuals.std())
    assert wf.snr(spikes.mean(0), spikes.std(0)) == pytest.approx(slow, rel=1e-9)


def test_snr_of_one_spike_is_nan():
    assert np.isnan(wf.snr(planted(TIME_S), np.full(82, np.nan)))


def test_sites_are_one_a_row():
    channels = np1_channels()
    sites = wf.sites_along_probe(channels, 40, range_um=160.0)
    # As the reference: every second channel from 16 below to 16 above.
    assert sites.tolist() == list(range(24, 57, 2))


def test_sites_leave_out_bad_channels_and_other_shanks():
    channels = np1_channels()
    channels.loc[42, "label"] = 1  # its row's other contact steps in
    channels.loc[[44, 45], "label"] = 2  # a row without a good contact
    channels.loc[38, "is_reference"] = True
    channels.loc[30, "shank"] = 1
    sites = wf.sites_along_probe(channels, 40, range_um=100.0)
    assert sites.tolist() == [31, 32, 34, 36, 39, 40, 43, 46, 48, 50]


def test_a_bad_peak_channel_is_still_looked_at():
    channels = np1_channels()
    channels.loc[41, "label"] = 2
    assert wf.sites_along_probe(channels, 41, range_um=40.0).tolist() == [37, 39, 41, 43, 45]


def propagating(y_um, y_peak_um, *, above_s_m, below_s_m, decay_um=60.0):
    """Mean waveform of a spike that travels from the peak channel both ways (µV)."""
    offset = y_um - y_peak_um
    delay_s = np.where(offset > 0, above_s_m, below_s_m) * offset * 1e-6
    shape = planted(TIME_S[:, None] - delay_s)
    return (shape * np.exp(-np.abs(offset) / decay_um)).astype(np.float32)


@pytest.mark.parametrize(("above_s_m", "below_s_m"), [(1.5, -0.8), (-0.5, 2.0), (3.0, -3.0)])
def test_velocity_of_a_planted_propagating_waveform(above_s_m, below_s_m):
    channels = np1_channels()
    mean = propagating(channels["y_um"].to_numpy(), 400.0, above_s_m=above_s_m, below_s_m=below_s_m)
    row = wf.waveform_features(
        mean[None],
        np.ones_like(mean)[None],
        channels,
        peak_channels=np.array([40]),
        sampling_rate_hz=RATE_HZ,
        spread_range_um=160.0,
        spread_threshold=0.12,
    ).iloc[0]
    # Six rows 20 µm apart, trough times rounded to 13.7 µs (sd 3.9 µs): the slope's error has
    # sd 3.9 µs / (20 µm × sqrt(17.5)) = 0.05 s/m; three of them. The reference's axis would
    # make 3.0 into 1.24 and 1.5 into 0.62.
    assert row["velocity_above"] == pytest.approx(above_s_m, abs=0.15)
    assert row["velocity_below"] == pytest.approx(below_s_m, abs=0.15)


def test_velocity_uses_the_geometry():
    """The same waveforms on contacts twice as far apart: half the inverse velocity."""
    channels = np1_channels()
    mean = propagating(channels["y_um"].to_numpy(), 400.0, above_s_m=2.0, below_s_m=-2.0)
    channels["y_um"] *= 2
    row = wf.waveform_features(
        mean[None],
        np.ones_like(mean)[None],
        channels,
        peak_channels=np.array([40]),
        sampling_rate_hz=RATE_HZ,
        spread_range_um=320.0,
        spread_threshold=0.12,
    ).iloc[0]
    assert row["velocity_above"] == pytest.approx(1.0, abs=0.15)
    assert row["velocity_below"] == pytest.approx(-1.0, abs=0.15)


def test_spread_and_amplitude_of_a_planted_decay():
    channels = np1_channels()
    mean = propagating(
        channels["y_um"].to_numpy(), 400.0, above_s_m=0.0, below_s_m=0.0, decay_um=40.0
    )
    row = wf.waveform_features(
        mean[None],
        np.ones_like(mean)[None],
        channels,
        peak_channels=np.array([40]),
        sampling_rate_hz=RATE_HZ,
        spread_range_um=160.0,
        spread_threshold=0.12,
    ).iloc[0]
    # exp(-d / 40) > 0.12 up to d = 84.8 µm: rows at 0, ±20 … ±80, that is nine rows of 20 µm.
    assert row["spread"] == pytest.approx(180.0)
    assert row["amplitude"] == pytest.approx(np.ptp(planted(TIME_S)), rel=1e-5)
    assert row["waveform_duration"] == pytest.approx(0.6, abs=2 * STEP_MS)


def test_spread_counts_a_missing_row_by_its_neighbours():
    """The row at 20 is missing: its neighbours reach halfway into the gap, the sum is the same."""
    y_um = np.array([-60.0, -40.0, -20.0, 0.0, 40.0, 60.0, 80.0])
    amplitude = np.exp(-np.abs(y_um) / 30.0)
    spread, *_ = wf.spatial_features(
        amplitude, np.zeros(7), y_um, peak_site=3, spread_threshold=0.12
    )
    # Above the threshold: |y| < 63.6. Widths 20 (the edge), 20, 20, 30, 30, 20.
    assert spread == pytest.approx(140.0)


def test_spread_leaves_out_a_lone_far_row():
    y_um = np.arange(0.0, 340.0, 20.0)
    amplitude = np.zeros(17)
    amplitude[7:10] = [50.0, 100.0, 50.0]
    amplitude[0] = 30.0
    spread, *_ = wf.spatial_features(amplitude, np.zeros(17), y_um, 8, spread_threshold=0.12)
    assert spread == pytest.approx(60.0)


def test_a_single_row_has_no_velocity():
    result = wf.spatial_features(
        np.array([10.0]), np.zeros(1), np.zeros(1), 0, spread_threshold=0.1
    )
    assert np.isnan(result).all()


def test_units_without_a_waveform_are_nan():
    channels = np1_channels(8)
    mean = np.zeros((2, 82, 8), np.float32)
    mean[0] = np.nan
    table = wf.waveform_features(
        mean,
        mean,
        channels,
        peak_channels=np.array([3, 3]),
        sampling_rate_hz=RATE_HZ,
        spread_range_um=160.0,
        spread_threshold=0.12,
    )
    assert table.shape == (2, len(wf.FEATURE_COLUMNS) - 1)
    assert table.isna().all(axis=None)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    scale=st.floats(0.1, 50.0),
    peak_at_ms=st.floats(0.3, 1.2),
    peak_uv=st.floats(5.0, 80.0),
)
def test_scale_changes_sizes_but_no_times(scale, peak_at_ms, peak_uv):
    waveform, step_s = wf.upsample(planted(TIME_S, peak_uv=peak_uv, peak_at_ms=peak_at_ms), RATE_HZ)
    scaled = waveform * scale
    assert wf.duration_ms(scaled, step_s) == wf.duration_ms(waveform, step_s)
    # A point that lies exactly on the half may fall to either side after scaling.
    assert wf.halfwidth_ms(scaled, step_s) == pytest.approx(
        wf.halfwidth_ms(waveform, step_s), abs=1.01 * STEP_MS
    )
    assert wf.pt_ratio(scaled) == pytest.approx(wf.pt_ratio(waveform))
    expected = np.multiply(wf.slopes_v_s(waveform, step_s), scale)
    assert wf.slopes_v_s(scaled, step_s) == pytest.approx(expected)
