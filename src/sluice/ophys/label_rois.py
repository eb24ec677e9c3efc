"""Which ROIs are somata, and which to leave out of an analysis and why."""

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.qc import check, log_checks, save_checks

LABELS = (
    "motion_border",
    "small_size",
    "aspect_ratio_low",
    "union",
    "duplicate",
    "empty_mask",
    "empty_neuropil",
    "demix_negative_transient",
    "demix_negative_baseline",
    "no_trace",
)


def label_rois(table, *, soma_probability, min_pixels, max_low_axis_ratio):
    """Label the ROIs of a plane.

    Labels (Allen, Visual Coding ROI filter and ophys_etl; thresholds are theirs):

    - ``motion_border``: the mask touches what motion took out of view.
    - ``small_size``: fewer than `min_pixels` in the mask, after binarization. Pixels, not µm²,
      as in Allen, whose pixels are about 0.78 µm.
    - ``aspect_ratio_low``: minor over major axis of at most `max_low_axis_ratio`, by the second
      moments of the mask. suite2p's ``aspect_ratio`` grows from 1 to 2 with length and is not
      meant.
    - ``union``, ``duplicate``: see `find_unions`, `find_duplicates`; decided by `demix`, which
      leaves these ROIs out.
    - ``empty_mask``, ``empty_neuropil``: no pixels.
    - ``demix_negative_transient``, ``demix_negative_baseline``: demixing went wrong.
    - ``no_trace``: there is no dF/F of which the noise could be measured.

    An empty mask has only the labels ``empty_mask``, ``empty_neuropil`` and ``no_trace``.

    Parameters
    ----------
    table : DataFrame
        Columns of `segment_plane`, `demix` and `dff`, one row a ROI.
    soma_probability : float
        0–1.
    min_pixels : int
    max_low_axis_ratio : float
        0–1.

    Returns
    -------
    DataFrame
        `table` with the columns `LABELS` (bool), is_soma and is_valid (bool: no label), in
        this order at its end.
    """
    n_pixels = table["n_mask_pixels"]
    found = {
        "motion_border": table["motion_border"],
        "small_size": (n_pixels < min_pixels) & (n_pixels > 0),
        "aspect_ratio_low": table["axis_ratio"] <= max_low_axis_ratio,
        "union": table["union"],
        "duplicate": table["duplicate"],
        "empty_mask": n_pixels == 0,
        "empty_neuropil": table["n_neuropil_pixels"] == 0,
        "demix_negative_transient": table["demix_negative_transient"],
        "demix_negative_baseline": table["demix_negative_baseline"],
        "no_trace": table["noise_dff"].isna(),
    }
    labels = pd.DataFrame({key: found[key].astype(bool) for key in LABELS}, index=table.index)
    return pd.concat(
        [
            table.drop(columns=[key for key in LABELS if key in table]),
            labels,
            (table["soma_probability"] >= soma_probability).rename("is_soma"),
            (~labels.any(axis=1)).astype(bool).rename("is_valid"),
        ],
        axis=1,
    )


def merge_tables(tables, name):
    """Put the tables of several steps side by side.

    Parameters
    ----------
    tables : dict of str to DataFrame
        By the name of the step; each has a column ``roi``.
    name : str
        How messages call the plane.

    Returns
    -------
    DataFrame
        In the order of the first table. A column that an earlier step has too gets the name
        of its step in front, e.g. ``events_noise``.

    Raises
    ------
    InputError
        The tables are not of the same ROIs.
    """
    (first, merged), *others = tables.items()
    for step, table in others:
        if sorted(table["roi"]) != sorted(merged["roi"]):
            raise InputError(
                f"{name}: the table of {step} has {len(table)} ROIs, that of {first} "
                f"{len(merged)}, or they are not the same; expected the same ROIs. Run the steps "
                f"after {first} again."
            )
        renamed = {c: f"{step}_{c}" for c in table.columns if c != "roi" and c in merged}
        merged = merged.merge(
            table.rename(columns=renamed), on="roi", how="left", validate="one_to_one"
        )
    return merged


def label_rois_file(*, rois, demix, neuropil, dff, events, labelled, checks, settings, name):
    """Merge what all steps know about the ROIs of a plane, and label them. None is deleted.

    Parameters
    ----------
    rois, demix, neuropil, dff, events : path
        ``rois.pqt`` of `segment_plane`, `demix`, `neuropil`, `dff` and `events`.
    labelled : path
        Parquet, one row a ROI: all columns of the tables, the labels, is_soma and is_valid;
        written.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``ophys.label_rois``.
    name : str
        How messages call the plane.

    Raises
    ------
    InputError
        The tables are not of the same ROIs.
    """
    paths = {
        "segment_plane": rois,
        "demix": demix,
        "neuropil": neuropil,
        "dff": dff,
        "events": events,
    }
    tables = {step: pd.read_parquet(path) for step, path in paths.items()}
    table = label_rois(
        merge_tables(tables, name),
        soma_probability=settings["soma_probability"],
        min_pixels=settings["min_pixels"],
        max_low_axis_ratio=settings["max_low_axis_ratio"],
    )
    table.to_parquet(labelled, index=False)
    found = _checks(table, settings)
    save_checks(found, checks)
    log_checks(found)


def _checks(table, settings):
    """Judge how many ROIs are left; without ROIs fractions are not measured."""
    n_rois = len(table)
    counts = {key: int(table[key].sum()) for key in LABELS}
    labels = ", ".join(f"{n} {key}" for key, n in counts.items() if n) or "no labels"
    n_valid, n_somata = int(table["is_valid"].sum()), int(table["is_soma"].sum())
    n_both = int((table["is_valid"] & table["is_soma"]).sum())
    per_roi = np.nan if n_rois == 0 else 1 / n_rois
    rows = [
        ("n_valid_somata", n_both, f"{n_both} valid somata among {n_rois} ROIs"),
        ("valid_fraction", n_valid * per_roi, f"{n_valid} of {n_rois} ROIs are valid: {labels}"),
        ("soma_fraction", n_somata * per_roi, f"{n_somata} of {n_rois} ROIs are somata"),
        (
            "motion_border_fraction",
            counts["motion_border"] * per_roi,
            f"{counts['motion_border']} of {n_rois} ROIs touch the motion border",
        ),
    ]
    return [
        check(key, value, message=message, **settings["checks"][key])
        for key, value, message in rows
    ]
