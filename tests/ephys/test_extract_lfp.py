import json
from types import SimpleNamespace

import numpy as np
import one.alf.io as alfio
import pytest
from ephys.probe_signals import channel_table, neuropixels_table, recording_of, slow_field_uv
from ephys.test_decimation import slow_decimation
from hypothesis import given, settings
from hypothesis import strategies as st
from one.alf.spec import is_valid
from scipy.signal import butter, filtfilt

from sluice.ephys.decimation import design_decimator
from sluice.ephys.extract_lfp import (
    choose_channels,
    choose_reference,
    extract_lfp_file,
    highpassed_blocks,
    to_int16,
)
from sluice.errors import InputError
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ephys"]["extract_lfp"]
GAIN_UV = 4.6875
FILES = {
    "data": "_sluice_lfp.data.npy",
    "times": "_sluice_lfp.times.npy",
    "raw_ind": "_sluice_lfpChannels.rawInd.npy",
    "local_coordinates": "_sluice_lfpChannels.localCoordinates.npy",
    "microvolts_per_bit": "_sluice_lfpChannels.microvoltsPerBit.npy",
    "labels": "_sluice_lfpChannels.labels.npy",
}


def labelled(table, *, bad=(), outside_from=None):
    table = table.copy()
    table["label"], table["rms_uv"] = 0, 8.0
    if outside_from is not None:
        table.loc[table["y_um"] > outside_from, "label"] = 3
    table.loc[list(bad), "label"] = 2
    return table


def surface_rows(*depths_um):
    return [
        {"shank": k, "surface_channel": None if y is None else 0, "surface_y_um": y, "message": ""}
        for k, y in enumerate(depths_um)
    ]


def extract(folder, table, surfaces, *, ap=None, lf=None, ap_rate_hz=30000.0, **changed):
    """Run the step; return everything it wrote."""
    table.to_csv(folder / "channels.tsv", sep="\t", index=False)
    (folder / "surface.json").write_text(json.dumps({"shanks": surfaces}))
    band = lf if ap is None else ap
    extract_lfp_file(
        recording=recording_of(band, ap_rate_hz, table["gain_uv"].to_numpy()),
        lf_recording=None if lf is None else recording_of(lf, 2500.0, GAIN_UV),
        channels=folder / "channels.tsv",
        surface=folder / "surface.json",
        checks=folder / "checks.json",
        settings={**SETTINGS, **changed},
        name="S/probe00",
        **{key: folder / name for key, name in FILES.items()},
    )
    arrays = {key: np.load(folder / name) for key, name in FILES.items()}
    checks = {c["name"]: c for c in json.loads((folder / "checks.json").read_text())}
    return SimpleNamespace(**arrays, checks=checks)


def slow_lfp(bits, gain_uv, rate_hz, factor, kept, reference, cutoff_hz=0.1):
    """Compute the LFP with scipy on the whole array, in float64."""
    decimated = slow_decimation(bits * gain_uv, design_decimator(rate_hz, factor))
    b, a = butter(1, cutoff_hz, "highpass", fs=rate_hz / factor)
    flat = filtfilt(b, a, decimated, axis=0, padtype=None)
    common = np.median(flat[:, reference], axis=1, keepdims=True) if len(reference) else 0
    return np.rint((flat[:, kept] - common) / gain_uv)


def lf_bits(y_um, *, surface_um=np.inf, seconds=30, seed=0, offsets=True):
    rng = np.random.default_rng(seed)
    n = int(seconds * 2500)
    field = slow_field_uv(rng, n, y_um, 2500.0) * np.where(y_um > surface_um, 0.05, 1) * 150
    common = slow_field_uv(rng, n, np.zeros(1), 2500.0, corner_hz=40.0) * 60
    noise = 5 * rng.standard_normal(field.shape)
    offset = rng.uniform(-300, 300, len(y_um)) if offsets else 0
    bits = np.round((field + common + noise + offset) / GAIN_UV).astype(np.int16)
    return bits, field, common


def test_streamed_lfp_equals_the_slow_twin(tmp_path):
    # 120 s is more than three of the backward filter's looks ahead of 33 s
    table = labelled(neuropixels_table(32), outside_from=240.0)
    y_um = table["y_um"].to_numpy()
    bits, _, _ = lf_bits(y_um, surface_um=240.0, seconds=120)
    found = extract(tmp_path, table, surface_rows(240.0), lf=bits)
    reference = np.flatnonzero(y_um > 240)
    slow = slow_lfp(bits, GAIN_UV, 2500.0, 2, found.raw_ind, reference)
    assert found.data.dtype == np.int16
    assert found.data.shape == slow.shape == (150000, 8)
    difference = np.abs(found.data - slow)
    # float32 against float64 can turn a rounding that is a tie within 1e-3 bits
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 2e-3


def test_from_the_ap_band_equals_the_slow_twin(tmp_path):
    table = labelled(neuropixels_table(16))
    table["gain_uv"] = 0.763
    rng = np.random.default_rng(5)
    field = slow_field_uv(rng, 2500 * 3, table["y_um"].to_numpy(), 2500.0) * 200
    ap = np.repeat(field, 12, axis=0) + 10 * rng.standard_normal((90000, 16))
    bits = np.round(ap / 0.763).astype(np.int16)
    found = extract(tmp_path, table, surface_rows(None), ap=bits)
    slow = slow_lfp(bits, 0.763, 30000.0, 24, found.raw_ind, [])
    assert np.abs(found.data - slow).max() <= 1
    np.testing.assert_allclose(found.microvolts_per_bit, 0.763)
    np.testing.assert_allclose(found.times, np.arange(3750) / 1250, rtol=1e-12)


def test_a_15_khz_probe_is_brought_to_1250_hz(tmp_path):
    table = labelled(
        channel_table(np.array([[0, 0, 0], [50, 0, 0], [0, 50, 0], [50, 50, 0.0]]), 0.2)
    )
    bits = np.random.default_rng(0).integers(-99, 99, (15000 * 2 + 1, 4)).astype(np.int16)
    found = extract(tmp_path, table, surface_rows(None), ap=bits, ap_rate_hz=15000.0)
    # a tetrode is one group of four: one channel
    assert found.data.shape == (2501, 1)
    np.testing.assert_allclose(np.diff(found.times), 1 / 1250)


def test_the_field_comes_out_and_the_common_signal_goes(tmp_path):
    table = labelled(neuropixels_table(48), outside_from=360.0)
    y_um = table["y_um"].to_numpy()
    bits, field, common = lf_bits(y_um, surface_um=360.0, seconds=40)
    found = extract(tmp_path, table, surface_rows(360.0), lf=bits)
    lfp_uv = found.data * found.microvolts_per_bit
    inside = found.labels == 0
    b, a = butter(1, 0.1, "highpass", fs=1250)
    outside_field = np.median(field[::2, y_um > 360], axis=1, keepdims=True)
    truth = filtfilt(b, a, field[::2, found.raw_ind] - outside_field, axis=0)
    middle = slice(5000, -5000)
    error = (lfp_uv - truth)[middle, inside].std()
    # noise of 5 µV halved in band by the decimation, that of the reference, and rounding
    assert error < 6
    assert found.checks["lfp_reference_channels"]["value"] == np.sum(y_um > 360)
    assert found.checks["lfp_reference_channels"]["verdict"] == "PASS"
    # the common signal is gone
    correlation = np.corrcoef(lfp_uv[middle, 2], common[::2][middle, 0])[0, 1]
    assert abs(correlation) < 0.1


@pytest.mark.parametrize("surfaces", [surface_rows(None), surface_rows(440.0)])
def test_without_channels_outside_the_reference_is_left_as_it_was(tmp_path, surfaces):
    # 440 µm leaves two channels above, fewer than three
    table = labelled(neuropixels_table(48))
    bits, _, _ = lf_bits(table["y_um"].to_numpy(), seconds=5)
    found = extract(tmp_path, table, surfaces, lf=bits)
    np.testing.assert_allclose(
        found.data, slow_lfp(bits, GAIN_UV, 2500.0, 2, found.raw_ind, []), atol=1
    )
    check = found.checks["lfp_reference_channels"]
    assert (check["value"], check["verdict"]) == (0, "WARNING")
    assert "the reference is left as it was" in check["message"]


def test_reference_none_is_not_judged(tmp_path):
    table = labelled(neuropixels_table(48), outside_from=360.0)
    bits, _, _ = lf_bits(table["y_um"].to_numpy(), seconds=2)
    found = extract(tmp_path, table, surface_rows(360.0), lf=bits, reference="none")
    assert list(found.checks) == ["lfp_clipped_fraction"]
    np.testing.assert_allclose(
        found.data, slow_lfp(bits, GAIN_UV, 2500.0, 2, found.raw_ind, []), atol=1
    )


def test_order_of_steps_matters_where_channels_have_offsets(tmp_path):
    # AIND subtracts the reference before it removes the offsets
    table = labelled(neuropixels_table(48), outside_from=360.0)
    y_um = table["y_um"].to_numpy()
    bits, field, _ = lf_bits(y_um, surface_um=360.0, seconds=20)
    found = extract(tmp_path, table, surface_rows(360.0), lf=bits)
    decimated = slow_decimation(bits * GAIN_UV, design_decimator(2500.0, 2))
    outside = y_um > 360
    reference_first = decimated - np.median(decimated[:, outside], axis=1, keepdims=True)
    b, a = butter(1, 0.1, "highpass", fs=1250)
    reference_first = filtfilt(b, a, reference_first, axis=0)[:, found.raw_ind]
    truth = filtfilt(b, a, field[::2], axis=0)
    truth = (truth - np.median(truth[:, outside], axis=1, keepdims=True))[:, found.raw_ind]
    inside, middle = found.labels == 0, slice(2000, -2000)
    # the mean over channels leaves the error that all share, which is the reference's; from
    # one sample to the next, as slow errors come from the ends of the filters
    ours = np.diff((found.data * GAIN_UV - truth)[middle, inside].mean(axis=1)).std()
    theirs = np.diff((reference_first - truth)[middle, inside].mean(axis=1)).std()
    # with offsets of 300 µV the median of ten follows the two in the middle, noise and all
    assert theirs > 1.2 * ours


def test_rounding_once_is_closer_than_allens_three_truncations(tmp_path):
    table = labelled(neuropixels_table(48), outside_from=360.0)
    y_um = table["y_um"].to_numpy()
    bits, _, _ = lf_bits(y_um, surface_um=360.0, seconds=10)
    found = extract(tmp_path, table, surface_rows(360.0), lf=bits)
    reference = np.flatnonzero(y_um > 360)
    b, a = butter(1, 0.1, "highpass", fs=1250)
    decimated = slow_decimation(bits.astype(float), design_decimator(2500.0, 2))
    exact = filtfilt(b, a, decimated, axis=0, padtype=None)
    exact -= np.median(exact[:, reference], axis=1, keepdims=True)
    allen = filtfilt(b, a, decimated.astype(np.int16), axis=0, padtype=None).astype(np.int16)
    allen = (allen - np.median(allen[:, reference], axis=1, keepdims=True)).astype(np.int16)
    exact, allen = exact[:, found.raw_ind], allen[:, found.raw_ind]
    # one rounding is uniform over a bit: 1/sqrt(12) = 0.289 of a bit
    assert (found.data - exact).std() == pytest.approx(1 / np.sqrt(12), rel=0.02)
    assert (allen - exact).std() > 0.4


@pytest.mark.parametrize("cutoff_hz", [0.1, 2.0])
def test_highpass_does_not_depend_on_the_blocks(cutoff_hz):
    rng = np.random.default_rng(1)
    traces = (rng.standard_normal((110000, 3)).cumsum(axis=0) + 5000).astype(np.float32)
    b, a = butter(1, cutoff_hz, "highpass", fs=1250)
    expected = filtfilt(b, a, traces.astype(float), axis=0, padtype=None)
    for size in (110000, 33333, 997):
        blocks = (traces[i : i + size].copy() for i in range(0, len(traces), size))
        found = np.concatenate(
            list(highpassed_blocks(blocks, sampling_rate_hz=1250.0, cutoff_hz=cutoff_hz))
        )
        # float32 of values of some thousand µV; the look-ahead leaves 1e-9 of them
        np.testing.assert_allclose(found, expected, atol=5e-3)


def test_memory_of_the_highpass_is_bounded():
    largest = 0

    def blocks():
        for _ in range(300):
            yield np.ones((1000, 1), np.float32)

    for found in highpassed_blocks(blocks(), sampling_rate_hz=1250.0, cutoff_hz=0.1):
        largest = max(largest, len(found))
    # two looks ahead of 33 s at most, and one block
    assert largest < 85000


def test_every_fourth_channel_by_depth_whatever_the_order_of_the_file():
    table = labelled(neuropixels_table(40))
    assert choose_channels(table, channel_step=4, first_channel=2).tolist() == list(range(2, 40, 4))
    shuffled = table.iloc[np.random.default_rng(0).permutation(40)].reset_index(drop=True)
    kept = choose_channels(shuffled, channel_step=4, first_channel=2)
    np.testing.assert_array_equal(shuffled["channel"].to_numpy()[kept], np.arange(2, 40, 4))


def test_a_bad_channel_gives_way_to_the_nearest_good_one():
    table = labelled(neuropixels_table(24), bad=(2, 9, 10, 11, 12, 13, 14, 15))
    table.loc[5, "is_reference"] = True
    table.loc[6, "label"] = 1
    kept = choose_channels(table, channel_step=4, first_channel=2)
    # 1 for 2, 7 for 6, 8 for 10, none of 12-15
    assert kept.tolist() == [1, 7, 8, 18, 22]


def test_shanks_are_thinned_one_by_one_and_share_the_reference():
    table = labelled(neuropixels_table(48, "NP2014", 4))
    kept = choose_channels(table, channel_step=4, first_channel=2)
    assert table["shank"].to_numpy()[kept].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    # 12 contacts a shank, at 0, 0, 15, 15 … 75 µm
    rows = surface_rows(None, 45.0, 60.0, None)
    reference = choose_reference(table, rows, max_channels=50)
    chosen = table.iloc[reference]
    assert chosen["shank"].tolist() == [1] * 4 + [2] * 2
    # the nearest to their surface first
    fewer = table.iloc[choose_reference(table, rows, max_channels=4)]
    assert fewer["y_um"].tolist() == [60, 60, 75, 75]
    assert fewer["shank"].tolist() == [1, 1, 2, 2]


def test_bad_channels_are_no_reference():
    table = labelled(neuropixels_table(48), bad=(40, 41))
    table.loc[44, "is_reference"] = True
    reference = choose_reference(table, surface_rows(table["y_um"][37]), max_channels=50)
    assert reference.tolist() == [38, 39, 42, 43, 45, 46, 47]


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 6), st.integers(0, 5), st.sets(st.integers(0, 69)))
def test_what_is_kept_is_good_unique_and_one_a_group(n_channels, step, first, bad):
    table = labelled(neuropixels_table(n_channels), bad=[c for c in bad if c < n_channels])
    kept = choose_channels(table, channel_step=step, first_channel=min(first, step - 1))
    assert np.all(np.diff(kept) > 0)
    assert not np.isin(kept, list(bad)).any()
    groups = np.arange(n_channels) // step
    has_good = {g for g, c in zip(groups, range(n_channels), strict=True) if c not in bad}
    assert sorted(groups[kept]) == sorted(has_good)


def test_int16_rounds_and_clips():
    bits, n_clipped = to_int16(np.array([[2.4, -2.6], [1e6, -1e6]], np.float32), np.array([1.0, 1]))
    assert bits.tolist() == [[2, -3], [32767, -32768]]
    assert n_clipped == 2


def test_what_does_not_fit_is_a_failed_check(tmp_path):
    table = labelled(neuropixels_table(8))
    bits = np.zeros((5000, 8), np.int16)
    # the median of the reference is at one end, the channel at the other
    square = np.where(np.arange(5000) // 250 % 2, 32000, -32000)
    bits[:, :4], bits[:, 4:] = square[:, None], -square[:, None]
    found = extract(tmp_path, table, surface_rows(20.0), lf=bits)
    assert found.checks["lfp_clipped_fraction"]["verdict"] == "FAIL"
    assert found.data.max() == 32767


def test_files_are_valid_alf(tmp_path):
    table = labelled(neuropixels_table(48), outside_from=360.0, bad=(2,))
    bits, _, _ = lf_bits(table["y_um"].to_numpy(), seconds=2)
    found = extract(tmp_path, table, surface_rows(360.0), lf=bits)
    for name in FILES.values():
        assert is_valid(name)
    for name in ("lfp", "lfpChannels"):
        assert alfio.check_dimensions(alfio.load_object(tmp_path, name, namespace="sluice")) == 0
    assert found.times.dtype == np.float64
    assert found.raw_ind[:2].tolist() == [1, 6]
    np.testing.assert_array_equal(
        found.local_coordinates, table[["x_um", "y_um"]].to_numpy()[found.raw_ind]
    )
    assert sorted(set(found.labels)) == [0, 3]


def test_same_input_same_bytes(tmp_path):
    table = labelled(neuropixels_table(16), outside_from=80.0)
    bits, _, _ = lf_bits(table["y_um"].to_numpy(), seconds=2)
    written = []
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        extract(tmp_path / run, table, surface_rows(80.0), lf=bits)
        written.append([(tmp_path / run / name).read_bytes() for name in FILES.values()])
    assert written[0] == written[1]


def test_lf_band_of_another_probe_is_refused(tmp_path):
    table = labelled(neuropixels_table(16))
    with pytest.raises(InputError, match=r"S/probe00: the LF band has 8 channels; expected the 16"):
        extract(
            tmp_path,
            table,
            surface_rows(None),
            ap=np.zeros((100, 16), np.int16),
            lf=np.zeros((100, 8), np.int16),
        )


def test_no_usable_channel_is_refused(tmp_path):
    table = labelled(neuropixels_table(8), bad=range(8))
    with pytest.raises(InputError, match="no channel that is good or outside the brain"):
        extract(tmp_path, table, surface_rows(None), lf=np.zeros((100, 8), np.int16))
