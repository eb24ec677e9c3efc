"""Contamination of ROIs by the neuropil around them: how much of it, and the rest."""

import numpy as np
import pandas as pd
from numba import njit, prange

from sluice.ophys.mutual_information import fit_by_mutual_information
from sluice.ophys.traces import batches, require_traces
from sluice.qc import check, log_checks, save_checks

N_FOLDS = 4
# Search for r: the range at first, its step, and how often the step is divided by ten.
_RANGE = (0.0, 2.0)
_STEP = 0.1
_N_ROUNDS = 3
# ROIs with a usable r that their mean needs to stand in for others.
_MIN_USABLE = 5


def fold_sums(measured, neuropil, *, smoothness):
    """Sums from which the error of every r follows.

    The corrected trace of a fold is the Fc that solves (1 + L DᵀD) Fc = Fm - r Fn, with the
    first difference D and the smoothness L. It is linear in r, Fc(r) = A - r B, where A and B
    solve the same system for Fm and Fn alone. With u = A - Fm and v = B - Fn the squared
    residue is Σu² - 2r Σuv + r² Σv², so two solutions of the banded system serve all r.

    Frames without a number in either trace are left out before the folds are cut.

    Parameters
    ----------
    measured, neuropil : float array, shape (n_rois, n_frames)
    smoothness : float
        L.

    Returns
    -------
    float64 array, shape (n_rois, 4 folds, 3)
        Σu², Σuv and Σv², divided by the fold's frames and by the square of the mean of Fm,
        so that the root of the residue is relative; by that of the whole trace, or by 1, where
        the mean is 0. NaN where a ROI has fewer than four frames.
    """
    found = np.full((len(measured), N_FOLDS, 3), np.nan)
    for rows in batches(len(measured)):
        _fold_sums(
            np.ascontiguousarray(measured[rows], dtype=np.float64),
            np.ascontiguousarray(neuropil[rows], dtype=np.float64),
            float(smoothness),
            found[rows],
        )
    return found


def error_of(sums, r):
    """Relative error of r: root mean square of Fc - (Fm - r Fn) over mean Fm, mean of folds.

    Parameters
    ----------
    sums : float64 array, shape (4 folds, 3)
        Of one ROI, from `fold_sums`.
    r : float or float64 array, shape (n,)

    Returns
    -------
    float or float64 array, shape (n,)
        0 and up.
    """
    uu, uv, vv = sums.T[:, :, None]
    r = np.asarray(r, float)
    squares = np.maximum(uu - 2 * r * uv + r * r * vv, 0)
    return np.sqrt(squares).mean(axis=0).reshape(r.shape)[()]


def fit_r(sums, *, max_r):
    """The r of one ROI with the smallest error.

    r is tried from 0 to 2 in steps of 0.1, then twice between the neighbours of the best one
    in a tenth of the step. Where the best is the last of its range, the range moves on by its
    length (Allen, ophys_etl neuropil_correction), but not beyond `max_r`: the reference goes
    on for ever where the neuropil is almost 0.

    Returns
    -------
    float, float
        r, at least 0, and its error. NaN where the sums are.
    """
    if np.isnan(sums).any():
        return np.nan, np.nan
    start, stop, step = *_RANGE, _STEP
    best_r, best_error = np.nan, np.inf
    rounds = 0
    while rounds < _N_ROUNDS:
        tried = np.arange(start, stop, step)
        errors = error_of(sums, tried)
        k = int(errors.argmin())
        if errors[k] < best_error:
            best_r, best_error = float(tried[k]), float(errors[k])
        if k == len(tried) - 1 and tried[-1] < max_r:
            start, stop = tried[-1], tried[-1] + (tried[-1] - tried[0])
            continue
        start, stop = tried[max(k - 1, 0)], tried[min(k + 1, len(tried) - 1)]
        step /= 10
        rounds += 1
    return max(best_r, 0.0), best_error


def replace_high_r(r, *, method):
    """Replace r that cannot be: more neuropil in the ROI than around it.

    Parameters
    ----------
    r : float array, shape (n_rois,)
        NaN where there is none.
    method : {"allen", "mutual_information", "fixed"}
        Allen: r above 1 becomes the mean of those in (0, 1], or 0.7 where these are fewer
        than five. Mutual information (AIND): r of 1 or more becomes the mean of the smaller
        ones, or 0.8. Fixed: nothing is replaced.

    Returns
    -------
    float64 array, bool array, both of shape (n_rois,)
        r, and whether it was replaced.
    """
    r = np.array(r, float)
    if method == "fixed":
        return r, np.zeros(r.shape, bool)
    if method == "allen":
        is_high, usable, otherwise = r > 1, r[(r > 0) & (r <= 1)], 0.7
    else:
        is_high, usable, otherwise = r >= 1, r[r < 1], 0.8
    r[is_high] = usable.mean() if usable.size >= _MIN_USABLE else otherwise
    return r, is_high


def correct_neuropil(measured, neuropil, *, method, fixed_r, smoothness, max_r):
    """Estimate how much neuropil each ROI holds and subtract it: Fm - r Fn.

    Parameters
    ----------
    measured, neuropil : float array, shape (n_rois, n_frames)
        Means over the pixels of ROI and of neuropil, intensity as recorded.
    method : {"allen", "mutual_information", "fixed"}
    fixed_r : float
        r of method "fixed".
    smoothness, max_r : float
        See `fold_sums` and `fit_r`.

    Returns
    -------
    float32 array, shape (n_rois, n_frames)
        Corrected traces; NaN where either trace is.
    DataFrame
        A row a ROI: roi, r, r_fitted (before `replace_high_r`), error, is_replaced.
    """
    sums = fold_sums(measured, neuropil, smoothness=smoothness)
    is_undefined = np.isnan(sums).any(axis=(1, 2))
    if method == "allen":
        fitted = np.array([fit_r(one, max_r=max_r)[0] for one in sums])
    elif method == "mutual_information":
        fitted = fit_by_mutual_information(measured, neuropil)
    else:
        fitted = np.full(len(measured), float(fixed_r))
    fitted = np.where(is_undefined, np.nan, fitted).reshape(len(measured))
    r, is_replaced = replace_high_r(fitted, method=method)
    error = [error_of(one, value) for one, value in zip(sums, r, strict=True)]
    corrected = np.empty(measured.shape, np.float32)
    for row, value in enumerate(r):
        corrected[row] = measured[row] - value * neuropil[row].astype(np.float64)
    table = pd.DataFrame(
        {
            "roi": np.arange(len(r), dtype=np.int64),
            "r": r,
            "r_fitted": fitted,
            "error": np.array(error, float),
            "is_replaced": is_replaced,
        }
    )
    return corrected, table


def neuropil_file(*, demixed, neuropil, info, corrected, rois, checks, settings, name):
    """Subtract the neuropil from the traces of one plane.

    Parameters
    ----------
    demixed, neuropil : path
        ``demixed.npy`` and ``neuropil.npy`` (n_rois, n_frames), read.
    info : PlaneInfo
    corrected, rois, checks : path
        ``corrected.npy``, ``rois.pqt``, ``checks.json``, written.
    settings : dict
        ``ophys.neuropil``.
    name : str
        How messages call the plane.

    Raises
    ------
    InputError
        The traces are not of this plane.
    """
    measured, around = np.load(demixed), np.load(neuropil)
    for traces, path in ((measured, demixed), (around, neuropil)):
        require_traces(traces, path, info, name, n_rois=len(measured))
    found, table = correct_neuropil(
        measured,
        around,
        method=settings["method"],
        fixed_r=settings["fixed_r"],
        smoothness=settings["smoothness"],
        max_r=settings["max_r"],
    )
    np.save(corrected, found)
    table.to_parquet(rois, index=False)
    judged = _checks(found, table, settings)
    save_checks(judged, checks)
    log_checks(judged)


def _checks(corrected, table, settings):
    """Judge what was found."""
    n, defined = len(table), table["r"].notna()
    n_defined, n_replaced = int(defined.sum()), int(table["is_replaced"].sum())
    n_negative = sum(np.nanmedian(row) <= 0 for row in corrected[defined.to_numpy()])
    rows = [
        (
            "neuropil_undefined_fraction",
            (n - n_defined) / n if n else None,
            f"{n - n_defined} of {n} ROIs have no r: no frames, or no neuropil",
        ),
        (
            "neuropil_replaced_fraction",
            n_replaced / n_defined if n_defined else None,
            f"{n_replaced} of {n_defined} ROIs seem to hold more neuropil than is around them",
        ),
        (
            "neuropil_r_median",
            float(table["r"].median()) if n_defined else None,
            "r, median of the ROIs; near 0 nothing is shared with the neuropil",
        ),
        (
            "neuropil_negative_fraction",
            n_negative / n_defined if n_defined else None,
            f"{n_negative} of {n_defined} ROIs are below 0 in most frames once corrected",
        ),
    ]
    return [
        check(key, value, message=message, **settings["checks"][key])
        for key, value, message in rows
    ]


@njit(cache=True, nogil=True, parallel=True)
def _fold_sums(measured, neuropil, smoothness, found):
    for i in prange(measured.shape[0]):
        _fold_sums_row(measured[i], neuropil[i], smoothness, found[i])


@njit(cache=True, nogil=True)
def _fold_sums_row(measured, neuropil, smoothness, found):
    """Sums of one ROI; Gauss's elimination for both right sides at once."""
    is_number = ~np.isnan(measured + neuropil)
    measured, neuropil = measured[is_number], neuropil[is_number]
    n = measured.size // N_FOLDS
    if n == 0:
        return
    # of the upper diagonal and the pivots, the same in every fold
    upper, pivot = np.empty(n), np.empty(n)
    for i in range(n):
        n_neighbours = (i > 0) + (i < n - 1)
        before = upper[i - 1] if i > 0 else 0.0
        pivot[i] = 1 / (1 + n_neighbours * smoothness + smoothness * before)
        upper[i] = -smoothness * pivot[i]
    a, b = np.empty(n), np.empty(n)
    for fold in range(N_FOLDS):
        fm = measured[fold * n : (fold + 1) * n]
        fn = neuropil[fold * n : (fold + 1) * n]
        mean = fm.mean()
        if mean == 0:
            mean = measured.mean() if measured.mean() != 0 else 1.0
        a[0], b[0] = fm[0] * pivot[0], fn[0] * pivot[0]
        for i in range(1, n):
            a[i] = (fm[i] + smoothness * a[i - 1]) * pivot[i]
            b[i] = (fn[i] + smoothness * b[i - 1]) * pivot[i]
        uu, uv, vv = 0.0, 0.0, 0.0
        for i in range(n - 1, -1, -1):
            if i < n - 1:
                a[i] -= upper[i] * a[i + 1]
                b[i] -= upper[i] * b[i + 1]
            u, v = a[i] - fm[i], b[i] - fn[i]
            uu += u * u
            uv += u * v
            vv += v * v
        scale = 1 / (n * mean * mean)
        found[fold, 0], found[fold, 1], found[fold, 2] = uu * scale, uv * scale, vv * scale
