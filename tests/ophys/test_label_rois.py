import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.plane_files import disc, masks_of, write_plane

from sluice.errors import InputError
from sluice.ophys.demix import demix_file
from sluice.ophys.label_rois import LABELS, label_rois, label_rois_file, merge_tables
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ophys"]["label_rois"]
RULES = {key: SETTINGS[key] for key in ("soma_probability", "min_pixels", "max_low_axis_ratio")}


def tables(n, **changed):
    """Make tables of `n` ROIs that have no label; change columns by name."""
    made = {
        "segment_plane": {
            "y_px": 10.0,
            "n_pixels": 120,
            "aspect_ratio": 1.1,
            "skew": 2.0,
            "soma_probability": 0.9,
        },
        "demix": {
            "n_mask_pixels": 108,
            "n_neuropil_pixels": 400,
            "axis_ratio": 0.9,
            "overlap_fraction": 0.1,
            "motion_border": False,
            "duplicate": False,
            "union": False,
            "n_undefined_frames": 0,
            "demix_negative_transient": False,
            "demix_negative_baseline": False,
        },
        "neuropil": {"r": 0.7, "r_fitted": 0.7, "error": 0.1, "is_replaced": False},
        "dff": {"noise_dff": 0.1, "noise": 20.0, "skewness": 1.0},
        "events": {"penalty": 0.5, "noise": 0.1, "n_events": 30},
    }
    result = {}
    for step, columns in made.items():
        columns = {c: changed.get(c, np.full(n, value)) for c, value in columns.items()}
        result[step] = pd.DataFrame({"roi": np.arange(n, dtype=np.int64), **columns})
    return result


def run(folder, written, **changed):
    paths = {step: folder / f"{step}.pqt" for step in written}
    for step, table in written.items():
        table.to_parquet(paths[step], index=False)
    label_rois_file(
        rois=paths["segment_plane"],
        demix=paths["demix"],
        neuropil=paths["neuropil"],
        dff=paths["dff"],
        events=paths["events"],
        labelled=folder / "labelled.pqt",
        checks=folder / "checks.json",
        settings={**SETTINGS, **changed},
        name="S/FOV_00",
    )
    checks = {c["name"]: c for c in json.loads((folder / "checks.json").read_text())}
    return pd.read_parquet(folder / "labelled.pqt"), checks


def test_each_label_comes_from_its_own_cause(tmp_path):
    n = len(LABELS) + 1
    values = {
        "motion_border": np.arange(n) == 0,
        "n_mask_pixels": np.where(np.arange(n) == 1, 49, 50),
        "axis_ratio": np.where(np.arange(n) == 2, 0.2, 0.21),
        "union": np.arange(n) == 3,
        "duplicate": np.arange(n) == 4,
        "n_neuropil_pixels": np.where(np.arange(n) == 6, 0, 1),
        "demix_negative_transient": np.arange(n) == 7,
        "demix_negative_baseline": np.arange(n) == 8,
        "noise_dff": np.where(np.arange(n) == 9, np.nan, 0.1),
        "soma_probability": np.where(np.arange(n) % 2, 0.49, 0.5),
    }
    values["n_mask_pixels"][5] = 0
    values["axis_ratio"][5] = np.nan
    found, checks = run(tmp_path, tables(n, **values))
    np.testing.assert_array_equal(found[list(LABELS)].to_numpy()[:-1], np.eye(n - 1, dtype=bool))
    assert found["is_valid"].tolist() == [False] * (n - 1) + [True]
    assert found["is_soma"].tolist() == [k % 2 == 0 for k in range(n)]
    assert all(found[key].dtype == bool for key in (*LABELS, "is_soma", "is_valid"))
    assert checks["valid_fraction"]["value"] == pytest.approx(1 / 11)
    assert checks["valid_fraction"]["verdict"] == "FAIL"
    assert "1 of 11 ROIs are valid: 1 motion_border, 1 small" in checks["valid_fraction"]["message"]
    assert checks["n_valid_somata"]["value"] == 1
    assert checks["n_valid_somata"]["verdict"] == "WARNING"
    assert checks["soma_fraction"]["value"] == pytest.approx(6 / 11)
    assert checks["motion_border_fraction"]["value"] == pytest.approx(1 / 11)


def test_no_roi_is_deleted_and_all_columns_are_there(tmp_path):
    written = tables(30)
    written["dff"] = written["dff"].iloc[::-1]  # in another order
    written["dff"]["noise"] = np.arange(30.0)[::-1]
    found, checks = run(tmp_path, written)
    assert found["roi"].tolist() == list(range(30))
    columns = {c for table in written.values() for c in table.columns}
    assert columns <= set(found.columns)
    np.testing.assert_array_equal(found["noise"], np.arange(30.0))
    assert (found["events_noise"] == 0.1).all()
    assert found.columns.is_unique
    assert found["is_valid"].all()
    assert {c["verdict"] for c in checks.values()} == {"PASS"}


@settings(derandomize=True, max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.floats(0, 1), st.booleans(), st.floats(0, 1)), max_size=9
    )
)
def test_valid_is_no_label(rows):
    n = len(rows)
    types = (int, float, bool, float)
    pixels, ratio, is_union, probability = (
        np.array([row[k] for row in rows], dtype) for k, dtype in enumerate(types)
    )
    table = merge_tables(
        tables(
            n,
            n_mask_pixels=pixels,
            axis_ratio=ratio,
            union=is_union,
            soma_probability=probability,
        ),
        "S/FOV_00",
    )
    found = label_rois(table, **RULES)
    expected = (pixels >= 50) & (ratio > 0.2) & ~is_union
    np.testing.assert_array_equal(found["is_valid"], expected)
    np.testing.assert_array_equal(found["is_soma"], probability >= 0.5)


def test_no_rois(tmp_path):
    found, checks = run(tmp_path, tables(0))
    assert len(found) == 0
    assert found["is_valid"].dtype == bool
    assert checks["n_valid_somata"]["verdict"] == "FAIL"
    assert checks["valid_fraction"]["value"] is None
    assert checks["valid_fraction"]["verdict"] == "WARNING"


def test_labels_of_a_demixed_plane(tmp_path):
    images = np.zeros((6, 60, 80), bool)
    images[0], images[1] = disc(60, 80, 30, 20, 6), disc(60, 80, 30, 34, 6)
    images[2] = images[0] | images[1]
    images[3] = images[0]
    images[3, 24, 20] = False
    images[4] = disc(60, 80, 3, 60, 6)
    images[5, 50, 10:70] = True
    movie = 400 + 20 * np.random.default_rng(0).standard_normal((60, 60, 80))
    shifts = np.zeros((60, 2))
    shifts[3] = -2
    inputs = write_plane(tmp_path, movie, masks_of(images, 60, 80), shifts=shifts)
    demix_file(
        **inputs,
        raw=tmp_path / "raw.npy",
        neuropil=tmp_path / "neuropil.npy",
        demixed=tmp_path / "demixed.npy",
        roi_masks=tmp_path / "roi_masks.npz",
        neuropil_masks=tmp_path / "neuropil_masks.npz",
        rois=tmp_path / "demix_rois.pqt",
        checks=tmp_path / "checks.json",
        settings=validate_settings({})["ophys"]["demix"],
        name="S/FOV_00",
    )
    written = tables(6)
    written["demix"] = pd.read_parquet(tmp_path / "demix_rois.pqt")
    found, _ = run(tmp_path, written)
    labels = [[key for key in LABELS if row[key]] for _, row in found.iterrows()]
    assert labels == [[], [], ["union"], ["duplicate"], ["motion_border"], ["aspect_ratio_low"]]


def test_tables_of_other_rois_are_refused(tmp_path):
    written = tables(4)
    written["neuropil"] = written["neuropil"].iloc[:3]
    with pytest.raises(
        InputError, match=r"S/FOV_00: the table of neuropil has 3 ROIs, that of segment_plane 4"
    ):
        run(tmp_path, written)
    written["neuropil"] = tables(4)["neuropil"].assign(roi=[0, 1, 2, 2])
    with pytest.raises(InputError, match="not the same"):
        run(tmp_path, written)
