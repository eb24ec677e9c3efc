import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.made_up_traces import bytes_of, calcium, checks_of, info_of, settings_of
from scipy.linalg import solve_banded
from skimage.metrics import normalized_mutual_information

from sluice.errors import InputError
from sluice.ophys.mutual_information import fit_by_mutual_information
from sluice.ophys.neuropil import (
    correct_neuropil,
    error_of,
    fit_r,
    fold_sums,
    neuropil_file,
    replace_high_r,
)

ALLEN = {"method": "allen", "fixed_r": 0.7, "smoothness": 0.05, "max_r": 10.0}


def slow_error(measured, neuropil, r, smoothness=0.05):
    """Solve the banded system of every fold for one r, as the reference does."""
    n = measured.size // 4
    bands = np.zeros((3, n))
    bands[0, 1:] = bands[2, :-1] = -smoothness
    bands[1] = 1 + 2 * smoothness
    bands[1, [0, -1]] = 1 + smoothness
    errors = []
    for fold in range(4):
        fm = measured[fold * n : (fold + 1) * n]
        rest = fm - r * neuropil[fold * n : (fold + 1) * n]
        solved = solve_banded((1, 1), bands, rest)
        errors.append(np.sqrt(np.mean((solved - rest) ** 2)) / fm.mean())
    return np.mean(errors)


def slow_r(measured, neuropil):
    """The reference's search with a solution for every r."""
    start, stop, step = 0.0, 2.0, 0.1
    best = (np.inf, None)
    rounds = 0
    while rounds < 3:
        tried = np.arange(start, stop, step)
        errors = [slow_error(measured, neuropil, r) for r in tried]
        k = int(np.argmin(errors))
        best = min(best, (errors[k], tried[k]))
        if k == len(tried) - 1:
            start, stop = tried[-1], tried[-1] + (tried[-1] - tried[0])
            continue
        start, stop = tried[max(k - 1, 0)], tried[min(k + 1, len(tried) - 1)]
        step, rounds = step / 10, rounds + 1
    return max(best[1], 0), best[0]


def made_up(rng, n_rois, n_frames, r, *, noise=5.0):
    """ROIs with events, and neuropil of which each holds the share r."""
    neuropil = 200 + 40 * calcium(
        n_frames, rng.integers(0, n_frames, n_frames // 5), 1.0, rate_hz=30.0, decay_s=0.5
    )
    around = neuropil + rng.normal(0, 2, (n_rois, n_frames))
    own = np.array(
        [
            300 * calcium(n_frames, rng.integers(0, n_frames, 9), 1.0, rate_hz=30.0, decay_s=0.5)
            for _ in range(n_rois)
        ]
    )
    own += 300 + rng.normal(0, noise, own.shape)
    return own, around, own + np.asarray(r).reshape(-1, 1) * around


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(8, 200),  # a fold of one frame has no step to penalise
    st.floats(0, 10),
    st.sampled_from([0.01, 0.05, 2.0]),
)
def test_the_error_of_every_r_equals_that_of_a_solution(seed, n_frames, r, smoothness):
    rng = np.random.default_rng(seed)
    measured, neuropil = rng.normal(100, 10, n_frames), rng.normal(50, 10, n_frames)
    sums = fold_sums(measured[None], neuropil[None], smoothness=smoothness)[0]
    expected = slow_error(measured, neuropil, r, smoothness)
    # the square root of a difference of squares about a hundred times larger
    assert error_of(sums, r) == pytest.approx(expected, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("true_r", [0.0, 0.42, 0.999, 1.7, 3.33])
def test_r_equals_that_of_the_reference_way(true_r):
    rng = np.random.default_rng(5)
    _, neuropil, measured = made_up(rng, 1, 803, true_r)
    r, error = fit_r(fold_sums(measured, neuropil, smoothness=0.05)[0], max_r=10.0)
    expected_r, expected_error = slow_r(measured[0], neuropil[0])
    assert r == pytest.approx(expected_r, abs=1e-9)
    assert error == pytest.approx(expected_error, rel=1e-8)


def test_true_r_and_traces_are_found():
    rng = np.random.default_rng(6)
    truth = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    own, neuropil, measured = made_up(rng, 6, 9000, truth)
    corrected, table = correct_neuropil(
        measured.astype(np.float32), neuropil.astype(np.float32), **ALLEN
    )
    # the neuropil's own noise, 2 in 40, and the cell's, 5
    np.testing.assert_allclose(table["r"], truth, atol=0.06)
    assert not table["is_replaced"].any()
    np.testing.assert_allclose(corrected.mean(axis=1), own.mean(axis=1), rtol=0.05)
    assert corrected.dtype == np.float32


def test_real_traces_equal_the_reference_way(real_data):
    folder = real_data / "two_photon"
    with h5py.File(folder / "demix_traces.h5") as file:
        measured = file["data"][:]
    with h5py.File(folder / "neuropil_traces.h5") as file:
        neuropil = file["data"][:]
    corrected, table = correct_neuropil(measured, neuropil, **ALLEN)
    for row in range(3):
        r, error = slow_r(measured[row], neuropil[row])
        assert table["r_fitted"][row] == pytest.approx(r, abs=1e-9)
        if not table["is_replaced"][row]:
            assert table["error"][row] == pytest.approx(error, rel=1e-8)
    # one r of 2.3 cannot be, and two others are too few for a mean
    assert table["is_replaced"].tolist() == [True, False, False]
    assert table["r"][0] == 0.7
    assert table["error"][0] == pytest.approx(slow_error(measured[0], neuropil[0], 0.7), rel=1e-8)
    assert table["r"].between(0, 1).all()
    np.testing.assert_allclose(
        corrected, measured - table["r"].to_numpy()[:, None] * neuropil, rtol=1e-5, atol=1e-3
    )


def test_high_r_is_replaced_by_the_mean_of_the_others_or_by_a_number():
    r, is_high = replace_high_r([0.2, 0.4, 0.6, 0.8, 1.0, 1.01, 0.0, np.nan], method="allen")
    np.testing.assert_allclose(r, [0.2, 0.4, 0.6, 0.8, 1.0, 0.6, 0.0, np.nan])
    assert is_high.tolist() == [False] * 5 + [True, False, False]
    # zeros do not count, so four are left
    r, _ = replace_high_r([0.2, 0.4, 0.6, 0.8, 0.0, 2.0], method="allen")
    assert r[-1] == 0.7
    r, is_high = replace_high_r([0.1, 0.2, 0.3, 0.4, 0.0, 1.0], method="mutual_information")
    assert r[-1] == pytest.approx(0.2)
    assert is_high[-1]
    assert replace_high_r([0.1, 1.0], method="mutual_information")[0][-1] == 0.8
    assert replace_high_r([1.5], method="fixed")[0].tolist() == [1.5]
    assert replace_high_r([], method="allen")[0].shape == (0,)


def test_faint_neuropil_ends_the_search():
    # the reference goes on for ever: each step of 2 makes the error a little smaller
    rng = np.random.default_rng(7)
    _, neuropil, measured = made_up(rng, 1, 2000, 0.5)
    sums = fold_sums(measured, neuropil * 1e-9, smoothness=0.05)[0]
    r, error = fit_r(sums, max_r=10.0)
    assert 10 <= r < 13
    assert np.isfinite(error)


def test_neuropil_without_any_change_or_of_zeros_has_no_share():
    measured = np.random.default_rng(8).normal(100, 5, (2, 400))
    neuropil = np.zeros((2, 400))
    neuropil[1] = 30  # constant: smoothing does not change it, whatever r
    _, table = correct_neuropil(measured, neuropil, **ALLEN)
    assert table["r"][0] == 0
    assert table["r"].between(0, 1).all()
    _, table = correct_neuropil(np.zeros((2, 400)), measured, **ALLEN)
    np.testing.assert_array_equal(table["r"], 0)
    np.testing.assert_array_equal(table["error"], 0)


@pytest.mark.parametrize("method", ["allen", "mutual_information", "fixed"])
def test_gaps_and_empty_rois(method):
    rng = np.random.default_rng(9)
    _, neuropil, measured = made_up(rng, 4, 3000, [0.5] * 4)
    whole, before = correct_neuropil(measured, neuropil, **ALLEN | {"method": method})
    measured[0, 100:110], neuropil[1, 2000] = np.nan, np.nan
    measured[2], neuropil[3] = np.nan, np.nan
    corrected, table = correct_neuropil(measured, neuropil, **ALLEN | {"method": method})
    assert np.flatnonzero(np.isnan(corrected[0])).tolist() == list(range(100, 110))
    assert np.flatnonzero(np.isnan(corrected[1])).tolist() == [2000]
    assert np.isnan(corrected[2:]).all()
    assert table[["r", "r_fitted", "error"]].iloc[2:].isna().all(axis=None)
    assert not table["is_replaced"].iloc[2:].any()
    np.testing.assert_allclose(table["r"][:2], before["r"][:2], atol=0.03)
    np.testing.assert_allclose(corrected[0, :100], whole[0, :100], atol=10)


@pytest.mark.parametrize("n_frames", [1, 3, 4, 5, 50])
def test_short_movies(n_frames):
    rng = np.random.default_rng(10)
    measured, neuropil = rng.normal(100, 5, (2, n_frames)), rng.normal(50, 5, (2, n_frames))
    corrected, table = correct_neuropil(measured, neuropil, **ALLEN)
    assert np.isnan(table["r"]).all() == (n_frames < 4)
    assert np.isfinite(corrected).all() == (n_frames >= 4)


def test_mutual_information_equals_scikit_images():
    rng = np.random.default_rng(11)
    _, neuropil, measured = made_up(rng, 3, 1500, [0.3, 0.7, 0.9])
    shares = np.arange(200) * 0.01
    for fm, fn, found in zip(
        measured, neuropil, fit_by_mutual_information(measured, neuropil), strict=True
    ):
        information = [normalized_mutual_information(fm - r * fn, fn) for r in shares]
        # one sample at the edge of a bin may tip two values that are all but equal
        assert information[round(found * 100)] == pytest.approx(min(information), abs=1e-4)


def test_mutual_information_finds_the_true_share():
    rng = np.random.default_rng(12)
    truth = np.array([0.0, 0.3, 0.6, 0.9])
    _, neuropil, measured = made_up(rng, 4, 20000, truth)
    np.testing.assert_allclose(fit_by_mutual_information(measured, neuropil), truth, atol=0.1)


def run(folder, measured, neuropil, **changes):
    folder.mkdir(exist_ok=True)
    np.save(folder / "demixed.npy", measured.astype(np.float32))
    np.save(folder / "neuropil.npy", neuropil.astype(np.float32))
    out = folder / "out"
    out.mkdir()
    neuropil_file(
        demixed=folder / "demixed.npy",
        neuropil=folder / "neuropil.npy",
        info=info_of(measured),
        corrected=out / "corrected.npy",
        rois=out / "rois.pqt",
        checks=out / "checks.json",
        settings=settings_of("neuropil", **changes),
        name="S FOV_00",
    )
    return np.load(out / "corrected.npy"), pd.read_parquet(out / "rois.pqt"), out


def test_file_is_complete_and_the_same_every_time(tmp_path):
    rng = np.random.default_rng(13)
    own, neuropil, measured = made_up(rng, 40, 500, np.r_[[0.5] * 38, 1.8, 1.9])
    corrected, table, out = run(tmp_path / "a", measured, neuropil)
    assert corrected.dtype == np.float32
    assert corrected.shape == own.shape
    assert table.columns.tolist() == ["roi", "r", "r_fitted", "error", "is_replaced"]
    assert table["roi"].tolist() == list(range(40))
    checks = checks_of(out / "checks.json")
    assert checks["neuropil_replaced_fraction"].value == pytest.approx(table["is_replaced"].mean())
    assert checks["neuropil_r_median"].verdict == "PASS"
    assert checks["neuropil_negative_fraction"].value == 0
    again = run(tmp_path / "b", measured, neuropil)[2]
    assert bytes_of(out) == bytes_of(again)


def test_no_shared_neuropil_is_a_failed_check(tmp_path):
    _, neuropil, _ = made_up(np.random.default_rng(15), 6, 500, np.full(6, 0.5))
    _, table, out = run(tmp_path, np.full((6, 500), 100.0), neuropil)
    assert (table["r"] == 0).all()
    check = checks_of(out / "checks.json")["neuropil_r_median"]
    assert (check.value, check.verdict) == (0.0, "FAIL")


def test_too_much_neuropil_is_a_failed_check(tmp_path):
    rng = np.random.default_rng(14)
    measured, neuropil = rng.normal(50, 5, (6, 400)), rng.normal(100, 5, (6, 400))
    _, table, out = run(tmp_path, measured, neuropil, method="fixed", fixed_r=0.7)
    assert (table["r"] == 0.7).all()
    check = checks_of(out / "checks.json")["neuropil_negative_fraction"]
    assert (check.value, check.verdict) == (1.0, "FAIL")


def test_no_rois(tmp_path):
    corrected, table, out = run(tmp_path, np.zeros((0, 70)), np.zeros((0, 70)))
    assert corrected.shape == (0, 70)
    assert len(table) == 0
    assert table.dtypes["roi"] == np.int64
    assert table.dtypes["is_replaced"] == np.bool_
    assert {check.verdict for check in checks_of(out / "checks.json").values()} == {"WARNING"}


def test_traces_of_another_plane_are_refused(tmp_path):
    with pytest.raises(
        InputError,
        match=r"S FOV_00: the traces in neuropil.npy are of shape \(2, 60\); "
        r"expected 3 ROIs of 60 frames. .* delete the folder",
    ):
        run(tmp_path, np.zeros((3, 60)), np.zeros((2, 60)))
