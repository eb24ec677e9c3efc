"""Labels of units: Allen's default filter and IBL's three criteria, side by side."""

import numpy as np


def allen_pass(metrics, *, presence_ratio_min, isi_violations_max, amplitude_cutoff_max):
    """Allen's default filter of units.

    presence_ratio ≥ 0.95, isi_violations ≤ 0.5 and amplitude_cutoff ≤ 0.1 by default; a
    value equal to its threshold passes, NaN does not.

    Source: AllenSDK, brain_observatory.ecephys.

    Parameters
    ----------
    metrics : mapping of str to array, shape (n_units,)
        Columns of ``metrics.pqt``.
    presence_ratio_min, isi_violations_max, amplitude_cutoff_max : float

    Returns
    -------
    ndarray of bool, shape (n_units,)
    """
    return np.asarray(
        (metrics["presence_ratio"] >= presence_ratio_min)
        & (metrics["isi_violations"] <= isi_violations_max)
        & (metrics["amplitude_cutoff"] <= amplitude_cutoff_max)
    )


def ibl_label(metrics, *, max_confidence_min, noise_cutoff_max, amp_median_min_uv):
    """IBL's label: the share of three criteria that a unit meets, and which it does not.

    Bit 1: ``ibl_max_confidence`` ≥ 90 %; bit 2: ``ibl_noise_cutoff`` < 5; bit 4:
    ``ibl_amp_median_uv`` > 50 µV, by default. NaN does not meet a criterion.

    Source: ibllib, ``compute_labels``. A unit with label 1 is IBL's "good" unit.

    Parameters
    ----------
    metrics : mapping of str to array, shape (n_units,)
        Columns of ``metrics.pqt``.
    max_confidence_min, noise_cutoff_max, amp_median_min_uv : float

    Returns
    -------
    label : ndarray of float64, shape (n_units,)
        0, 1/3, 2/3 or 1.
    bitwise_fail : ndarray of uint8, shape (n_units,)
        Sum of the bits of the criteria that are not met, 0 to 7.
    """
    met = np.column_stack(
        [
            np.asarray(metrics["ibl_max_confidence"]) >= max_confidence_min,
            np.asarray(metrics["ibl_noise_cutoff"]) < noise_cutoff_max,
            np.asarray(metrics["ibl_amp_median_uv"]) > amp_median_min_uv,
        ]
    )
    return met.mean(axis=1), (~met @ [1, 2, 4]).astype(np.uint8)
