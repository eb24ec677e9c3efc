import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.made_up_traces import (
    bytes_of,
    calcium,
    checks_of,
    info_of,
    isolated_frames,
    settings_of,
)
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d
from scipy.signal import medfilt
from scipy.stats import skew

from sluice.errors import InputError
from sluice.ophys.dff import (
    compute_dff,
    dff_file,
    inactive_median,
    maximin,
    smallest_divisor,
    window_median,
)
from sluice.ophys.neuropil import correct_neuropil
from sluice.ophys.noise import noise_std

RATE_HZ = 10.0
WINDOW_S = ["window_median", "inactive_median", "maximin"]


def cells(rng, n_rois, n_frames, *, f0=200.0, noise=8.0, apart=80, size=1.0):
    """Fluorescence and true dF/F of cells with isolated events."""
    dff = np.array(
        [
            calcium(
                n_frames,
                isolated_frames(rng, n_frames, apart=apart),
                size,
                rate_hz=RATE_HZ,
                decay_s=0.7,
            )
            for _ in range(n_rois)
        ]
    )
    return f0 * (1 + dff) + rng.normal(0, noise, dff.shape), dff


def dff_of(traces, **changes):
    return compute_dff(traces, sampling_rate_hz=RATE_HZ, settings=settings_of("dff", **changes))


def slow_sdk_dff(trace, long, short, noise):
    """The AllenSDK's way as it is written, zeros beyond the ends included."""
    f0 = medfilt(trace, long)
    dff = (trace - f0) / np.maximum(f0, noise(trace))
    return dff - np.minimum(medfilt(dff, short), 2.5 * noise(dff)), f0


def test_with_zeros_beyond_the_ends_it_is_the_sdks():
    traces, _ = cells(np.random.default_rng(0), 2, 4000)
    dff, baseline, _ = dff_of(traces, padding="constant", detrend=True)

    def noise(trace):
        return noise_std(trace[None], window=33)[0]

    for row in range(2):
        expected, f0 = slow_sdk_dff(traces[row], 1801, 33, noise)
        # float32
        np.testing.assert_allclose(dff[row], expected, atol=1e-5)
        np.testing.assert_allclose(baseline[row], f0, rtol=1e-6)


@pytest.mark.parametrize("method", WINDOW_S)
def test_true_dff_is_found_throughout(method):
    traces, truth = cells(np.random.default_rng(1), 5, 6000)
    dff, baseline, table = dff_of(traces, method=method)
    for row in range(5):
        assert np.corrcoef(dff[row], truth[row])[0, 1] > 0.9
        starts = truth[row] > 0.9
        assert np.median(dff[row][starts]) == pytest.approx(np.median(truth[row][starts]), rel=0.2)
    # at both ends too, where the SDK's baseline is half of it; maximin lies below the noise
    np.testing.assert_allclose(baseline, 200, rtol=0.1)
    np.testing.assert_allclose(table["noise"], 8, rtol=0.15)
    np.testing.assert_allclose(table["noise_dff"], 0.04, rtol=0.15)
    assert (table["n_small_baseline_frames"] == 0).all()
    np.testing.assert_allclose(table["skewness"], skew(dff.astype(float), axis=1), rtol=1e-3)


def test_zeros_beyond_the_ends_would_spoil_both():
    traces, _ = cells(np.random.default_rng(2), 1, 6000, apart=3000)
    half = traces.shape[1] // 60
    sdk = dff_of(traces, padding="constant", detrend=False)[0][0]
    ours = dff_of(traces, detrend=False)[0][0]
    assert np.abs(ours[:half]).max() < 0.3
    assert np.abs(sdk[:half]).max() > np.abs(ours[:half]).max()
    assert sdk[:half].mean() > 0.03 > abs(ours[:half].mean())


def test_inactive_median_serves_cells_that_are_active_most_of_the_time():
    rng = np.random.default_rng(3)
    active = np.repeat(rng.random(120) < 0.7, 50)
    truth = np.where(active, 2.0, 0.0)
    traces = (100 * (1 + truth) + rng.normal(0, 5, 6000))[None]
    plain = dff_of(traces, window_s=600.0)[1]
    ours = dff_of(traces, method="inactive_median")[1]
    # the median of 10 minutes is that of the activity (ophys_etl#537)
    assert np.median(plain) > 250
    np.testing.assert_allclose(ours, 100, rtol=0.05)


@pytest.mark.parametrize("method", WINDOW_S)
def test_slow_bleaching_is_followed(method):
    rng = np.random.default_rng(4)
    traces, truth = cells(rng, 3, 12000)
    # to 70 % in 20 minutes
    bleached = traces * np.exp(-0.35 * np.arange(12000) / 12000)
    dff, _, _ = dff_of(bleached, method=method)
    for row in range(3):
        assert np.corrcoef(dff[row], truth[row])[0, 1] > 0.9
        starts = truth[row] > 0.9
        assert np.median(dff[row][starts]) == pytest.approx(np.median(truth[row][starts]), rel=0.2)


@pytest.mark.parametrize("method", WINDOW_S)
@pytest.mark.parametrize("f0", [-300.0, -10.0, 0.0, 3.0])
def test_a_baseline_near_zero_or_below_stays_bounded(method, f0):
    # what too much neuropil leaves: F is divided by its noise (AllenSDK#1669)
    rng = np.random.default_rng(5)
    _, truth = cells(rng, 2, 3000)
    traces = f0 + 200 * truth + rng.normal(0, 8, truth.shape)
    dff, _, table = dff_of(traces, method=method)
    assert np.isfinite(dff).all()
    assert np.abs(dff).max() < 60  # 200 over a noise of 8, found up to 20 % too small
    assert (table["n_small_baseline_frames"] > 2000).all()
    assert np.corrcoef(dff[0], truth[0])[0, 1] > 0.9


@pytest.mark.parametrize("method", WINDOW_S)
def test_traces_without_noise(method):
    n_frames = 2000
    traces = np.zeros((6, n_frames))
    traces[1] = 55.5
    traces[2, 1000:] = 1e6  # a step from nothing
    traces[3] = 100 + 1e5 * (np.arange(n_frames) >= 700)
    traces[4] = np.linspace(-100, 100, n_frames)
    traces[5, 999] = 1e9
    dff, baseline, table = dff_of(traces, method=method)
    assert np.isfinite(dff).all()
    assert np.isfinite(baseline).all()
    np.testing.assert_array_equal(dff[:2], 0)
    # at most the largest difference over the standard deviation, or over a positive baseline
    assert np.abs(dff[[2, 4]]).max() < 5
    assert np.abs(dff[3]).max() <= 1000
    assert np.abs(dff[5]).max() < np.sqrt(n_frames) + 1
    assert table["skewness"][:2].isna().all()
    assert np.isfinite(table["noise_dff"]).all()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.sampled_from(WINDOW_S),
    st.sampled_from(["reflect", "nearest", "constant"]),
)
def test_whatever_comes_in_finite_numbers_come_out(seed, n_frames, method, padding):
    rng = np.random.default_rng(seed)
    traces = rng.normal(0, 10.0 ** rng.integers(-3, 5), (2, n_frames))
    traces += rng.normal(0, 1000) + 1e4 * (rng.random(n_frames) < 0.01)
    if seed % 2:
        traces = np.round(traces, -2)
    traces[0, rng.random(n_frames) < 0.2] = np.nan
    dff, baseline, table = dff_of(traces.astype(np.float32), method=method, padding=padding)
    np.testing.assert_array_equal(np.isnan(dff), np.isnan(traces))
    has_numbers = ~np.isnan(traces).all(axis=1)
    assert np.isfinite(baseline[has_numbers]).all()
    assert table["noise"].notna().tolist() == has_numbers.tolist()
    # what is divided is never divided by less than the noise, and detrending adds as much at most
    difference = np.abs(traces - baseline)
    largest = np.max(difference, axis=1, initial=0, where=~np.isnan(difference))
    bound = 2.001 * largest / smallest_divisor(traces.astype(np.float32), table["noise"])
    assert np.all(
        np.abs(dff[has_numbers]) <= bound[has_numbers, None] + 1e-6,
        where=~np.isnan(dff[has_numbers]),
    )


@pytest.mark.parametrize("method", WINDOW_S)
def test_gaps_stay_and_spoil_nothing(method):
    traces, _ = cells(np.random.default_rng(6), 3, 3000)
    whole, _, _ = dff_of(traces, method=method)
    traces[0, 500:520], traces[1] = np.nan, np.nan
    dff, baseline, table = dff_of(traces, method=method)
    assert np.flatnonzero(np.isnan(dff[0])).tolist() == list(range(500, 520))
    assert np.isfinite(baseline[0]).all()
    np.testing.assert_allclose(
        np.delete(dff[0], slice(500, 520)), np.delete(whole[0], slice(500, 520)), atol=0.06
    )
    assert np.isnan(dff[1]).all()
    assert np.isnan(baseline[1]).all()
    assert table.loc[1, ["noise", "noise_dff", "skewness"]].isna().all()
    assert table["n_small_baseline_frames"][1] == 0
    np.testing.assert_array_equal(dff[2], whole[2])


def test_a_gap_longer_than_the_window_gets_a_straight_baseline():
    traces = np.full((1, 900), 100.0)
    traces[0, 300:600] = np.nan
    traces[0, 600:] = 200
    baseline = window_median(traces, window=21)
    assert np.isfinite(baseline).all()
    assert np.all(np.diff(baseline[0, 310:590]) > 0)


def test_maximin_equals_its_parts():
    trace = cells(np.random.default_rng(7), 1, 2000)[0]
    smooth = gaussian_filter1d(trace, 10, axis=1, mode="nearest", truncate=3)
    expected = maximum_filter1d(minimum_filter1d(smooth, 601, mode="reflect"), 601, mode="reflect")
    np.testing.assert_allclose(maximin(trace, window=601, smooth_samples=10), expected)


def test_inactive_frames_are_those_the_reference_takes():
    rng = np.random.default_rng(8)
    trace = cells(rng, 1, 900, apart=20)[0]
    noise = noise_std(trace, window=33)
    found = inactive_median(trace, noise, window=101, percentile=10, n_noise=3)
    padded = np.pad(trace[0], 50, mode="symmetric")
    low = np.pad([np.percentile(padded[t : t + 101], 10) for t in range(900)], 50, "symmetric")
    padded[padded > low + 3 * noise] = np.nan
    expected = [np.nanmedian(padded[t : t + 101]) for t in range(900)]
    np.testing.assert_allclose(found[0], expected)


def test_the_divisor_without_noise_is_the_standard_deviation():
    traces = np.array([[1.0, 3.0], [7, 7], [1, 5], [np.nan] * 2])
    noise = np.array([0.0, 0.0, 0.25, np.nan])
    np.testing.assert_array_equal(smallest_divisor(traces, noise), [1, 1, 0.25, np.nan])


def test_rows_do_not_depend_on_their_batch():
    traces, _ = cells(np.random.default_rng(9), 70, 400)
    together = dff_of(traces)
    alone = dff_of(traces[65:66])
    np.testing.assert_array_equal(together[0][65], alone[0][0])
    assert together[2]["roi"].tolist() == list(range(70))


def test_real_traces(real_data):
    folder = real_data / "two_photon" / "suite2p_plane0"
    corrected, table = correct_neuropil(
        np.load(folder / "F.npy"),
        np.load(folder / "Fneu.npy"),
        method="allen",
        fixed_r=0.7,
        smoothness=0.05,
        max_r=10.0,
    )
    assert table["r"].between(0, 1).all()
    for method in WINDOW_S:
        dff, baseline, table = dff_of(corrected, method=method)
        assert np.isfinite(dff).all()
        assert np.isfinite(baseline).all()
        assert np.isfinite(table[["noise", "noise_dff"]]).all(axis=None)
        # many of its ROIs are 0 in most frames, so have no baseline to speak of
        has_baseline = table["n_small_baseline_frames"] == 0
        assert has_baseline.sum() > 50
        assert np.abs(dff[has_baseline]).max() < 50


def run(folder, traces, **changes):
    folder.mkdir(exist_ok=True)
    np.save(folder / "corrected.npy", traces.astype(np.float32))
    out = folder / "out"
    out.mkdir()
    dff_file(
        corrected=folder / "corrected.npy",
        info=info_of(traces if traces.ndim == 2 else np.zeros((1, 9))),
        dff=out / "dff.npy",
        baseline=out / "baseline.npy",
        rois=out / "rois.pqt",
        checks=out / "checks.json",
        settings=settings_of("dff", **changes),
        name="S FOV_00",
    )
    return np.load(out / "dff.npy"), pd.read_parquet(out / "rois.pqt"), out


def test_file_is_complete_and_the_same_every_time(tmp_path):
    traces, _ = cells(np.random.default_rng(10), 40, 600)
    traces[5] -= 400
    dff, table, out = run(tmp_path / "a", traces)
    assert dff.dtype == np.float32
    assert np.load(out / "baseline.npy").shape == traces.shape
    assert table.columns.tolist() == [
        "roi",
        "noise_dff",
        "noise",
        "n_small_baseline_frames",
        "skewness",
    ]
    checks = checks_of(out / "checks.json")
    assert checks["dff_small_baseline_fraction"].value == 1 / 40
    assert checks["dff_small_baseline_fraction"].verdict == "PASS"
    assert checks["dff_noise_median"].value == pytest.approx(table["noise_dff"].median())
    assert bytes_of(out) == bytes_of(run(tmp_path / "b", traces)[2])


@pytest.mark.parametrize("n_frames", [1, 50])
@pytest.mark.parametrize("method", WINDOW_S)
def test_movies_shorter_than_the_window(tmp_path, method, n_frames):
    traces = np.random.default_rng(11).normal(100, 5, (3, n_frames))
    dff, _, _ = run(tmp_path, traces, method=method)
    assert np.isfinite(dff).all()
    assert np.abs(dff).max() < 0.6


def test_no_rois(tmp_path):
    dff, table, out = run(tmp_path, np.zeros((0, 70)))
    assert dff.shape == (0, 70)
    assert np.load(out / "baseline.npy").shape == (0, 70)
    assert len(table) == 0
    assert table.dtypes["roi"] == table.dtypes["n_small_baseline_frames"] == np.int64
    assert {check.verdict for check in checks_of(out / "checks.json").values()} == {"WARNING"}


def test_rois_without_a_trace_fail(tmp_path):
    traces = np.full((3, 100), np.nan)
    _, _, out = run(tmp_path, traces)
    assert checks_of(out / "checks.json")["dff_undefined_fraction"].verdict == "FAIL"


def test_what_is_not_a_table_of_traces_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"corrected.npy are of shape \(9,\); expected any number of ROIs of 9"
    ):
        run(tmp_path, np.zeros(9))
