"""Allen's three rules: each alone, on other probes and rates, on real templates."""

import numpy as np
import pytest
from ephys.planted_spikes import neuropixels_1, spike

from sluice.ephys.artifact_units import (
    artifact_reasons,
    has_spike_shape,
    interpolate_columns,
    is_dense,
    peaks_sd_um,
    ricker,
    spread_um,
)
from sluice.settings import validate_settings

RULES = validate_settings({})["ephys"]["clean_units"]["artifact_rules"]
TROUGH = 20
NP1 = neuropixels_1(128)
# Two columns 32 µm apart, rows of 15 µm.
NP2 = np.column_stack([np.arange(128) % 2 * 32, np.arange(128) // 2 * 15.0])
LINEAR = np.column_stack([np.zeros(64), np.arange(64) * 20.0])
TETRODE = np.array([[0, 0], [25, 0], [0, 25], [25, 25]], float)
SPARSE = np.column_stack([np.zeros(32), np.arange(32) * 100.0])


def judge(template, positions_um, rate_hz=30_000.0, trough=TROUGH):
    peak = int(np.ptp(template, axis=0).argmax())
    return artifact_reasons(
        template.astype(np.float32),
        positions_um,
        peak,
        trough,
        sampling_rate_hz=rate_hz,
        rules=RULES,
    )


def centre(positions_um):
    return positions_um.mean(axis=0) + np.array([3, 4])


@pytest.mark.parametrize("positions_um", [NP1, NP2, LINEAR, TETRODE, SPARSE])
def test_a_neuron_is_no_artifact(positions_um):
    assert judge(spike(positions_um, centre(positions_um), peak_uv=150), positions_um) == []


@pytest.mark.parametrize("rate_hz", [15_000.0, 20_000.0, 32_000.0])
def test_time_is_in_ms(rate_hz):
    before, after = (round(ms * rate_hz / 1000) for ms in (0.6667, 2.0667))
    late = round(0.5 * rate_hz / 1000)
    window = {"n_before": before, "n_after": after, "rate_hz": rate_hz}
    neuron = spike(NP1, centre(NP1), peak_uv=150, **window)
    assert judge(neuron, NP1, rate_hz, before) == []
    assert judge(np.roll(neuron, late, axis=0), NP1, rate_hz, before) == ["timing"]
    assert judge(everywhere(NP1, **window), NP1, rate_hz, before) == ["spread"]


def test_neurons_at_the_ends_of_the_probe():
    for y_um in (0, NP1[-1, 1]):
        assert judge(spike(NP1, (20, y_um), peak_uv=150), NP1) == []


def everywhere(positions_um, length_um=180, **window):
    """One waveform over a stretch of the shank, fading at its ends: mechanical, electrical."""
    template = spike(positions_um, centre(positions_um), peak_uv=100, **window)
    waveform = template[:, [int(np.ptp(template, axis=0).argmax())]]
    away = np.abs(positions_um[:, 1] - centre(positions_um)[1])
    return waveform * np.exp(-((away / (length_um / 2)) ** 4))


def test_spread_too_wide():
    assert judge(everywhere(NP1, length_um=600), NP1) == ["spread"]
    # Whatever its shape.
    template = with_extent(spike(NP1, centre(NP1), peak_uv=100), everywhere(NP1, length_um=300))
    peak = int(np.ptp(template, axis=0).argmax())
    assert has_spike_shape(template, NP1, peak, TROUGH, sampling_rate_hz=30_000.0)
    assert judge(template, NP1) == ["spread"]


def test_spread_of_one_shape_everywhere():
    # Visible over 160 to 250 µm: only the shape tells.
    template = everywhere(NP1)
    relative = np.abs(template).max(axis=0) / np.abs(template).max()
    assert 160 < spread_um(relative, NP1[:, 1], threshold=0.2) <= 250
    assert judge(template, NP1) == ["spread"]
    # The same extent, but later and broader away from the centre, as a large neuron's.
    large = with_extent(spike(NP1, centre(NP1), peak_uv=100), template)
    assert judge(large, NP1) == []


def with_extent(template, other):
    """A template whose channels are as large as those of another."""
    return template / np.abs(template).max(axis=0) * np.abs(other).max(axis=0)


def test_shape_must_change_at_the_trough():
    # The neighbours differ from the peak, but a millisecond after the spike.
    template = everywhere(NP1)
    peak = int(np.ptp(template, axis=0).argmax())
    others = np.arange(128) != peak
    assert not has_spike_shape(template, NP1, peak, TROUGH, sampling_rate_hz=30_000.0)
    template[TROUGH + 27 : TROUGH + 34, others] += 0.5 * np.abs(template).max(axis=0)[others]
    assert not has_spike_shape(template, NP1, peak, TROUGH, sampling_rate_hz=30_000.0)
    # Had the spike been there, it would be one.
    assert has_spike_shape(template, NP1, peak, TROUGH + 30, sampling_rate_hz=30_000.0)


def test_spread_of_a_single_contact():
    template = spike(NP1, centre(NP1), peak_uv=100)
    alone = np.ptp(template, axis=0).argmax()
    template[:, np.arange(128) != alone] = 0
    assert "spread" in judge(template, NP1)
    assert judge(template[:, alone : alone + 1] * np.ones((1, 4)), TETRODE) == []


def test_timing():
    neuron = spike(NP1, centre(NP1), peak_uv=150)
    for shift, expected in ((10, []), (11, ["timing"]), (-10, []), (-11, ["timing"])):
        # Allen: sample 10 to 30 of templates whose trough is at 20.
        assert judge(np.roll(neuron, shift, axis=0), NP1) == expected
        assert (
            judge(np.roll(spike(TETRODE, (9, 9), peak_uv=90), shift, axis=0), TETRODE) == expected
        )


def test_timing_where_all_contacts_see_the_same():
    # The range over the channels alone would be zero at the trough.
    waveform = spike(TETRODE, (0, 0), peak_uv=90)[:, :1]
    assert judge(waveform * np.ones((1, 4)), TETRODE) == []


def test_spatial_peaks():
    x, y = centre(NP1)
    template = spike(NP1, (x, y), peak_uv=150) + spike(NP1, (x, y + 110), peak_uv=120)
    assert judge(template, NP1) == ["spatial"]


def test_all_rules_at_once_in_order():
    x, y = centre(NP1)
    two = spike(NP1, (x, y - 100), peak_uv=150) + spike(NP1, (x, y + 100), peak_uv=120)
    reasons = judge(np.roll(two + 0.6 * everywhere(NP1, 600), 15, axis=0), NP1)
    assert reasons == ["spread", "timing", "spatial"]


@pytest.mark.parametrize("positions_um", [TETRODE, SPARSE, NP1[:7]])
def test_extent_is_not_judged_on_sparse_probes(positions_um):
    assert not is_dense(positions_um)
    template = np.outer(spike(TETRODE, (0, 0), peak_uv=90)[:, 0], np.ones(len(positions_um)))
    assert judge(template, positions_um) == []
    assert judge(template * 0, positions_um) != ["spread"]


@pytest.mark.parametrize("positions_um", [NP1, NP2, LINEAR])
def test_dense_probes(positions_um):
    assert is_dense(positions_um)


def test_empty_template():
    assert "spread" in judge(np.zeros((82, 128)), NP1)


def test_noise_of_few_spikes_does_not_make_an_artifact():
    # Averages of six spikes of small cells: noise of 4 µV on every channel. Taken for
    # signal, it trips a rule in all of them.
    rng = np.random.default_rng(0)
    neuron = spike(NP1, centre(NP1), peak_uv=40)
    labels = [judge(neuron + rng.normal(0, 4, neuron.shape), NP1) for _ in range(25)]
    assert sum(map(bool, labels)) <= 2


def test_shape_needs_neighbours():
    template = np.ones((82, 1))
    assert has_spike_shape(template, np.zeros((1, 2)), 0, TROUGH, sampling_rate_hz=30_000.0)


def test_ricker():
    wavelet = ricker(5.0)
    assert len(wavelet) % 2 == 1
    assert wavelet.argmax() == len(wavelet) // 2
    assert np.array_equal(wavelet, wavelet[::-1])
    # No mean and unit energy; both integrals converge fast on this grid.
    assert wavelet.sum() == pytest.approx(0, abs=1e-4)
    assert (wavelet**2).sum() == pytest.approx(1, rel=1e-6)
    # The negative second derivative of a Gaussian, up to a factor.
    t = np.arange(-25, 26)
    h = 1e-3
    gauss = [np.exp(-(((t + step) / 5) ** 2) / 2) for step in (-h, 0, h)]
    second = -(gauss[0] - 2 * gauss[1] + gauss[2]) / h**2
    np.testing.assert_allclose(wavelet / wavelet.max(), second / second.max(), atol=1e-5)


def test_spread_is_the_rows_in_reach():
    relative = np.zeros(128)
    relative[40:60] = 1  # 10 rows of 20 µm
    # Smoothing by 20 µm moves the border, at a fifth of the height, out by 0.84 × 20 µm:
    # one row at either end.
    assert spread_um(relative, NP1[:, 1], threshold=0.2) == 12 * 20


def test_columns():
    values = NP1[:, 1] * 2 + NP1[:, 0]
    columns, y_um = interpolate_columns(values, NP1)
    assert columns.shape == (5, len(y_um))  # as Allen's, on a Neuropixels 1.0 probe
    inner = slice(2, -4)  # the corners are outside the staggered contacts
    expected = 2 * y_um + np.array([8, 16, 24, 32, 40])[:, None]
    np.testing.assert_allclose(columns[:, inner], expected[:, inner], atol=1e-6)
    line, y_um = interpolate_columns(LINEAR[:, 1] * 2, LINEAR)
    np.testing.assert_allclose(line, 2 * y_um[None], atol=1e-6)


def test_spatial_peaks_far_away_do_not_count():
    y = NP1[:, 1]
    peak = int(np.abs(y - 600).argmin())
    for second_um, counts in ((830, True), (850, False)):
        values = np.exp(-(((y - 600) / 30) ** 2)) + 0.5 * np.exp(-(((y - second_um) / 30) ** 2))
        assert (peaks_sd_um(values, NP1, peak, floor=0.0) > 35) is counts


def test_peaks_that_noise_can_reach_do_not_count():
    y = NP1[:, 1]
    values = np.exp(-(((y - 600) / 30) ** 2)) + 0.3 * np.exp(-(((y - 760) / 30) ** 2))
    peak = int(np.abs(y - 600).argmin())
    assert peaks_sd_um(values, NP1, peak, floor=0.0) > 35
    assert peaks_sd_um(values, NP1, peak, floor=0.4) < 35
    assert peaks_sd_um(np.zeros(128), NP1, peak, floor=0.0) == 0


# Allen's own functions, run on these templates (channels as on a Neuropixels 1.0 probe),
# with one correction: unit 7's neighbours reach below channel 0, where the reference takes
# channels from the other end of the probe and so says `spread` too.
ALLEN = {
    1: "spread,timing",
    2: "spatial",
    3: "spatial",
    7: "spatial",
    9: "spread,spatial",
    10: "spatial",
}


def test_real_templates(real_data):
    folder = real_data / "sorting_np1"
    templates = np.load(folder / "templates.npy") @ np.load(folder / "whitening_mat_inv.npy")
    positions_um = np.load(folder / "channel_positions.npy").astype(float)
    # Kilosort's templates begin with 21 zeros; the trough is 20 samples further.
    found = {
        unit: ",".join(judge(template, positions_um, trough=41))
        for unit, template in enumerate(templates)
    }
    assert {unit: reason for unit, reason in found.items() if reason} == ALLEN
