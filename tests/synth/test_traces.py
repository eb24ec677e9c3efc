"""The drawn traces hold what the probe's truth says they hold."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import butter, csd, periodogram, sosfiltfilt, welch

from sluice.errors import UserError
from sluice.synth.probe import GROUP_UV, make_probe
from sluice.synth.traces import make_chunks, noise_above_300_hz, render_templates

FS = 30000.0


def _record(probe):
    """AP and LF traces of a whole recording in µV."""
    ap, lf = zip(*make_chunks(probe), strict=True)
    kind = probe.layout.probe_type
    ap = np.concatenate(ap) * kind.ap_uv_per_bit
    return ap, np.concatenate(lf) * kind.lf_uv_per_bit if kind.lf_gain else None


@pytest.fixture(scope="module")
def probe():
    return make_probe(seed=5, duration_s=12.0)


@pytest.fixture(scope="module")
def recording(probe):
    return _record(probe)


@pytest.fixture(scope="module")
def above_300(recording):
    sos = butter(3, 300, "highpass", fs=FS, output="sos")
    # filtering along the last axis is several times faster
    return np.ascontiguousarray(sosfiltfilt(sos, recording[0].T.copy(), axis=1).T)


def _mean_waveforms(traces, samples):
    """Mean of the traces around some samples, from 1 ms before to 2 ms after."""
    windows = samples[:, None] + np.arange(-30, 60)
    return traces[windows].mean(axis=0)


def test_spikes_are_where_the_truth_says(probe, recording):
    templates = render_templates(probe)
    for u, unit in enumerate(probe.units):
        samples = probe.samples[probe.spike_units == u]
        mean = _mean_waveforms(recording[0], samples)[:, unit.peak_channel]
        mean -= probe.offsets_bits[unit.peak_channel] * probe.layout.probe_type.ap_uv_per_bit
        truth = templates[u, :, unit.peak_channel]
        # the mean trough lies where the truth has it, to the sample
        lags = [mean @ np.roll(truth, lag) for lag in (-2, -1, 0, 1, 2)]
        assert np.argmax(lags) == 2
        # noise of 20 µV over the spikes (5 standard errors), the amplitudes' 8 % spread over
        # as many, and up to half a sample of blur at a trough 5 samples wide
        tolerance = (5 * 20 + 3 * 0.08 * unit.amplitude_uv) / np.sqrt(samples.size)
        tolerance += 0.03 * unit.amplitude_uv
        np.testing.assert_allclose(mean, templates[u, :, unit.peak_channel], atol=tolerance, rtol=0)
        assert templates[u, 30, unit.peak_channel] == pytest.approx(-unit.amplitude_uv, rel=1e-4)
        assert np.argmin(templates[u].min(axis=0)) == unit.peak_channel


def test_no_spikes_outside_the_brain_or_on_dead_channels(probe):
    templates = render_templates(probe)
    silent = [*np.flatnonzero(probe.outside), *probe.dead]
    assert not templates[:, :, silent].any()
    assert not {unit.peak_channel for unit in probe.units} & {*silent, *probe.noisy}


def test_the_first_unit_is_absent_from_the_second_half(probe):
    samples = probe.samples[probe.spike_units == 0]
    assert samples.max() < probe.n_samples / 2
    assert samples.size > 20


def test_the_noise_of_the_truth_is_the_background(probe, above_300):
    # a robust SD ignores most of the spikes, and the median over channels takes the common
    # waveform away
    good = np.setdiff1d(np.flatnonzero(~probe.outside), [*probe.dead, *probe.noisy])
    quiet = above_300 - np.median(above_300[:, good], axis=1, keepdims=True)
    robust = 1.4826 * np.median(np.abs(quiet[:, good]), axis=0)
    expected = np.sqrt(noise_above_300_hz(probe, good) ** 2 + GROUP_UV**2)
    # what is left of units nearby adds up to a sixth; the median of 34 channels takes and
    # leaves a few percent
    assert np.median(robust / expected) == pytest.approx(1.02, abs=0.05)
    assert (robust / expected).max() < 1.2
    assert 8 < np.median(expected) < 10


def test_bad_channels_look_bad(probe, recording, above_300):
    dead, noisy = list(probe.dead), list(probe.noisy)
    assert len(dead) == len(noisy) == 2
    # below Allen's 3 µV, yet not constant
    rms = recording[0].std(axis=0)
    assert np.all((rms[dead] > 1) & (rms[dead] < 3))
    # above IBL's 0.02 µV²/Hz beyond 0.8 of Nyquist; good channels stay well below
    frequencies, power = welch(above_300[:60000], FS, nperseg=300, axis=0)
    high = power[frequencies > 0.8 * FS / 2].mean(axis=0)
    assert np.all(high[noisy] > 0.05)
    assert np.all(np.delete(high, noisy) < 0.01)
    # a dead channel shares nothing with its neighbours
    correlation = np.corrcoef(above_300[:60000].T)
    for channel in dead:
        assert abs(correlation[channel, channel + 2]) < 0.1


def test_the_field_is_strong_and_coherent_inside_only(probe, recording):
    _, lf = recording
    inside = np.setdiff1d(np.flatnonzero(~probe.outside), [*probe.dead, *probe.noisy])
    outside = np.flatnonzero(probe.outside)
    frequencies, power = periodogram(lf, 2500, axis=0)
    low = np.log10(power[(frequencies > 0) & (frequencies < 10)].mean(axis=0))
    # an order of magnitude, on all channels
    assert low[inside].min() - low[outside].max() > 0.5
    assert np.median(low[inside]) - np.median(low[outside]) == pytest.approx(1.35, abs=0.25)
    correlation = np.corrcoef(lf.T)
    assert np.median([correlation[a, b] for a, b in pairwise(inside)]) > 0.85


def test_mains_hum_is_on_all_channels(probe, recording):
    _, lf = recording
    live = np.setdiff1d(np.arange(48), probe.dead)
    time_s = np.arange(len(lf)) / 2500
    wave = np.exp(-2j * np.pi * 60 * time_s)
    amplitude = 2 * np.abs((lf[:, live] * wave[:, None]).mean(axis=0))
    # 20 µV, plus what the field has at 60 Hz in 1/20 Hz
    np.testing.assert_allclose(amplitude, 20, atol=3)


def test_the_ap_band_of_np1_holds_little_of_the_field(probe, recording):
    ap, lf = recording
    good = int(np.setdiff1d(np.flatnonzero(~probe.outside), [*probe.dead, *probe.noisy])[0])
    slow = ap[: len(ap) // 300 * 300, good].reshape(-1, 300).mean(axis=1)  # 10 ms means
    assert slow.std() < 0.15 * lf[:, good].std()


def test_groups_digitised_together_share_a_waveform(probe, above_300):
    good = np.setdiff1d(np.flatnonzero(~probe.outside), [*probe.dead, *probe.noisy])
    covariance = np.cov(above_300[:120000].T)
    slot = probe.layout.slot
    same, other = [], []
    for a in good:
        for b in good:
            # far enough apart to share no spikes; slots close in time, as the common
            # waveform decorrelates with the delay
            if b - a >= 20:
                gap = abs(int(slot[a]) - int(slot[b]))
                (same if gap == 0 else other if gap == 1 else []).append(covariance[a, b])
    assert len(same) > 10
    # a covariance of 13 µV channels over 120,000 samples spreads by 0.5 µV²
    assert np.mean(same) - np.mean(other) == pytest.approx(GROUP_UV**2, abs=1.0)


def test_channels_see_the_common_waveform_at_their_own_delay(probe, above_300):
    # slots 0 and 11: 11/13 of a sample apart
    early, late = 0, 23
    assert probe.layout.slot[early] == 0
    assert probe.layout.slot[late] == 11
    frequencies, cross = csd(above_300[:, early], above_300[:, late], FS, nperseg=256)
    band = (frequencies > 1500) & (frequencies < 6000)
    # a channel that is digitised later leads: phase 2 pi f delay
    phase = np.angle(cross[band])
    delay = (phase @ frequencies[band]) / (frequencies[band] @ frequencies[band]) / 2 / np.pi * FS
    assert delay == pytest.approx(11 / 13, abs=0.1)


def test_bits_stay_in_the_converters_range_and_saturation_is_at_its_end():
    probe = make_probe(seed=1, duration_s=3.0, saturated_s=[(0.9, 1.4)])
    ap, lf = (np.concatenate(band) for band in zip(*make_chunks(probe), strict=True))
    assert ap.dtype == lf.dtype == np.int16
    assert ap.shape == (90000, 48)
    assert lf.shape == (7500, 48)
    assert np.all(ap[27000:42000] == 511)
    assert np.all(lf[2250:3500] == 511)
    assert ap.min() >= -512
    # a large trough may reach the end for a few samples, but nothing else does
    assert np.mean(np.delete(ap, slice(27000, 42000), axis=0) == 511) < 1e-4


def test_drift_moves_the_footprints():
    probe = make_probe(seed=2, duration_s=20.0, drift_um=40.0, n_dead=0, n_noisy=0)
    ap, _ = _record(probe)
    ap = ap - np.median(ap, axis=0)
    moved = []
    for u in range(2, 7):
        samples = probe.samples[probe.spike_units == u]
        depths = []
        for part in (samples < 90000, samples > probe.n_samples - 90000):
            mean = _mean_waveforms(ap, samples[part])
            height = np.clip(-mean[25:36].min(axis=0) - 15, 0, None)
            depths.append((height * probe.layout.y_um).sum() / height.sum())
        moved.append(depths[1] - depths[0])
    # from 1.5 s to 18.5 s the tissue moves 34 µm; the rows are 20 µm apart, which a centre of
    # mass does not interpolate exactly
    assert np.median(moved) == pytest.approx(34, abs=8)


def test_a_two_band_probe_has_lf_and_a_one_band_probe_has_the_field_in_ap():
    probe = make_probe(seed=3, duration_s=2.0, probe_type="NP2.4", n_channels=64, n_units=4)
    ap, lf = _record(probe)
    assert lf is None
    live = np.setdiff1d(np.flatnonzero(~probe.outside), [*probe.dead, *probe.noisy])
    assert np.median(ap[:, live].std(axis=0)) > 60


def test_reference_contact_is_silent():
    probe = make_probe(seed=4, duration_s=0.5, n_channels=384)
    assert probe.reference == (191,)
    ap, _ = _record(probe)
    assert ap[:, 191].std() < 3
    assert 191 not in {unit.peak_channel for unit in probe.units}


def test_seed_decides_everything():
    def first_chunk(seed):
        return next(make_chunks(make_probe(seed=seed, duration_s=1.0)))

    for a, b in zip(first_chunk(7), first_chunk(7), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(first_chunk(7)[0] != first_chunk(8)[0])


def test_a_probe_without_units_or_outside():
    probe = make_probe(seed=0, duration_s=0.5, n_units=0, n_outside=0)
    assert probe.samples.dtype == np.int64
    assert probe.samples.size == 0
    assert not probe.outside.any()
    assert _record(probe)[0].shape == (15000, 48)
    assert render_templates(probe).shape == (0, 90, 48)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probe_type": "NP9"}, "probe type 'NP9' is none of NP1.0, NP2.4"),
        ({"n_channels": 400}, "NP1.0 cannot save 400 channels"),
        ({"n_channels": 20, "probe_type": "NP2.4"}, "multiple of 8 from 16 to 384"),
        ({"n_outside": 45}, "45 of 48 channels of a shank cannot be outside"),
        ({"n_units": 100}, "34 good channels inside the brain are too few for 100 units"),
        ({"n_dead": 30}, "too few for 32 bad ones"),
    ],
)
def test_what_a_probe_cannot_hold_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        make_probe(seed=0, **settings)
