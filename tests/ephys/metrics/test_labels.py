import numpy as np
import pandas as pd

from sluice.ephys.metrics.labels import allen_pass, ibl_label

ALLEN = {"presence_ratio_min": 0.95, "isi_violations_max": 0.5, "amplitude_cutoff_max": 0.1}
IBL = {"max_confidence_min": 90.0, "noise_cutoff_max": 5.0, "amp_median_min_uv": 50.0}


def test_allen_filter_keeps_values_on_its_thresholds():
    rows = [
        (0.95, 0.5, 0.1, True),
        (1.0, 0.0, 0.0, True),
        (0.94, 0.0, 0.0, False),
        (1.0, 0.51, 0.0, False),
        (1.0, 0.0, 0.11, False),
        (np.nan, 0.0, 0.0, False),
        (1.0, np.nan, 0.0, False),
        (1.0, 0.0, np.nan, False),
    ]
    table = pd.DataFrame(
        rows, columns=["presence_ratio", "isi_violations", "amplitude_cutoff", "expected"]
    )
    found = allen_pass(table, **ALLEN)
    assert found.dtype == bool
    assert found.tolist() == table["expected"].tolist()


def test_ibl_label_is_the_share_of_criteria_met():
    rows = [
        (90.0, 4.9, 50.1, 0, 3),
        (89.9, 4.9, 50.1, 1, 2),
        (90.0, 5.0, 50.1, 2, 2),
        (90.0, 4.9, 50.0, 4, 2),
        (10.0, 9.0, 50.1, 3, 1),
        (10.0, 9.0, 10.0, 7, 0),
        (np.nan, np.nan, np.nan, 7, 0),
        (90.0, np.nan, 80.0, 2, 2),
        (95.0, -3.0, 80.0, 0, 3),
    ]
    names = ["ibl_max_confidence", "ibl_noise_cutoff", "ibl_amp_median_uv", "bits", "met"]
    table = pd.DataFrame(rows, columns=names)
    label, bits = ibl_label(table, **IBL)
    assert bits.dtype == np.uint8
    assert bits.tolist() == table["bits"].tolist()
    assert label.tolist() == [n / 3 for n in table["met"]]


def test_no_units():
    table = pd.DataFrame(
        {
            name: np.zeros(0)
            for name in (
                "presence_ratio",
                "isi_violations",
                "amplitude_cutoff",
                "ibl_max_confidence",
                "ibl_noise_cutoff",
                "ibl_amp_median_uv",
            )
        }
    )
    assert allen_pass(table, **ALLEN).shape == (0,)
    label, bits = ibl_label(table, **IBL)
    assert label.shape == bits.shape == (0,)
