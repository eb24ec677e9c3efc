import numpy as np
import pytest
from ephys.probe_signals import RATE_HZ, make_probe, neuropixels_table, recording_of

from sluice.ephys.snippets import (
    count_spikes,
    measure_ap,
    measure_lfp,
    snippet_starts,
    without_disturbance,
)
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ephys"]["check_probe"]


def test_a_long_recording_has_a_snippet_every_300_s_from_40_s():
    starts = snippet_starts(3600.0, settings=SETTINGS)
    np.testing.assert_array_equal(starts, np.arange(40, 3599, 300))


def test_a_short_recording_is_covered_evenly():
    starts = snippet_starts(100.0, settings=SETTINGS)
    np.testing.assert_allclose(starts, np.linspace(0, 99, 10))
    # as many as fit
    np.testing.assert_allclose(snippet_starts(4.5, settings=SETTINGS), np.linspace(0, 3.5, 4))
    assert snippet_starts(0.7, settings=SETTINGS).tolist() == [0.0]
    assert snippet_starts(1.5, settings=SETTINGS).tolist() == [0.25]


def test_disturbed_snippets_are_left_out_unless_all_are(caplog):
    starts = np.array([0.0, 10.0, 20.0])
    disturbed = np.array([[10.9, 10.95], [21.0, 22.0]])
    assert without_disturbance(starts, 1.0, disturbed).tolist() == [0.0, 20.0]
    everywhere = np.array([[0.0, 30.0]])
    assert without_disturbance(starts, 1.0, everywhere).tolist() == starts.tolist()
    assert "every snippet touches" in caplog.text


def test_spikes_are_counted_once():
    traces = np.zeros((3000, 3), np.float32)
    shape = -np.exp(-0.5 * (np.arange(-20, 21) / 4.0) ** 2)
    for t in (100, 500, 900):
        traces[t - 20 : t + 21, 0] += 80 * shape
    traces[480:521, 1] += 40 * shape
    # two troughs 0.3 ms apart are one spike
    traces[480:521, 2] += 80 * shape
    traces[489:530, 2] += 90 * shape
    found = count_spikes(traces, threshold_uv=-50.0, sampling_rate_hz=30000.0)
    assert found.tolist() == [3, 0, 1]


def test_noise_is_measured_in_microvolts_and_above_300_hz():
    rng = np.random.default_rng(0)
    time_s = np.arange(90000) / RATE_HZ
    traces = 10 * rng.standard_normal((90000, 20)) + 200 * np.sin(2 * np.pi * 20 * time_s)[:, None]
    bits = np.round(traces / 0.5).astype(np.int16)
    found = measure_ap(
        recording_of(bits, RATE_HZ, 0.5),
        np.full(20, 0.5),
        [np.arange(20)],
        np.array([0.0, 1.0]),
        settings=SETTINGS,
    )
    # white noise over 15 kHz loses 2 % of its power below 300 Hz; 1 % for 30000 samples
    np.testing.assert_allclose(found.rms_uv, 10 * np.sqrt(0.98), rtol=0.02)
    np.testing.assert_allclose(found.raw_rms_uv, np.hypot(10, 200 / np.sqrt(2)), rtol=0.01)
    # the density of white noise of 10 µV over 15 kHz; 58 averages x 2 snippets x 410 bins
    high = found.power[found.frequencies_hz > 3000].mean()
    assert high == pytest.approx(100 / 15000, rel=0.02)


def test_lfp_from_the_ap_band_equals_that_of_the_lf_band():
    table = neuropixels_table(24)
    split = make_probe(table, seconds=3, seed=3)
    joined = make_probe(table, seconds=3, seed=3, two_bands=False)
    y_um, shanks = table["y_um"].to_numpy(), [np.arange(24)]
    found = [
        measure_lfp(
            recording_of(bits, rate_hz, gain_uv),
            np.full(24, gain_uv),
            y_um,
            shanks,
            np.array([0.0, 1.0, 2.0]),
            settings=SETTINGS,
        )
        for bits, rate_hz, gain_uv in ((split.lf, 2500.0, 4.6875), (joined.ap, RATE_HZ, 2.34375))
    ]
    lf, ap = found
    np.testing.assert_allclose(lf.frequencies_hz, ap.frequencies_hz)
    low = (lf.frequencies_hz > 0) & (lf.frequencies_hz < 10)
    # the same field, rounded to other bits and with other noise on it; decimation takes
    # 23 ms off both ends of each second, which weighs slow waves a little differently
    np.testing.assert_allclose(lf.power[low], ap.power[low], rtol=0.05)
    np.testing.assert_allclose(lf.profiles[0][0], ap.profiles[0][0], atol=0.05)
    np.testing.assert_allclose(lf.rms_uv, ap.rms_uv, rtol=0.05)
    np.testing.assert_array_equal(ap.times_s, [0.5, 1.5, 2.5])
