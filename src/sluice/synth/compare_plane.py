"""Compares what the workflow made of a made-up imaging plane with the truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from sluice.synth.plane_truth import existing, load_shapes, load_truth

# A ROI is a cell's if a third of what either covers is common to both; or half of that, where
# its centre lies well inside the soma (radius 5 to 7 px) and about as near as half of what
# lies between the centres of overlapping cells (7.5 px and more): the core of a cell, or one
# with its dendrites, but no sliver.
MIN_IOU, MIN_IOU_NEAR = 0.3, 0.15
MAX_DISTANCE_PX = 4.0
ROI_LEVEL = 0.5
EVENT_TOLERANCE_FRAMES = 2
# what is asked for
MAX_SHIFT_RMS_PX = 0.3
MIN_FOUND = 0.9
MAX_FALSE = 0.1
GOOD_CORRELATION = 0.9
MAX_AMPLITUDE_ERROR = 0.2
MIN_GOOD = 0.9
MIN_EVENT_F1 = 0.8
MAX_NEUROPIL_ERROR = 0.1


@dataclass(frozen=True)
class PlaneComparison:
    """How the results on one plane agree with the truth.

    Attributes
    ----------
    name : str
    cells : DataFrame
        One row a true cell: `cell`, `cell_id`, `roi` (-1 where none was found), `iou`,
        `distance_px`, `correlation` and `amplitude` (slope of the regression of the dF/F found
        on the true one), `r`, `n_isolated`, `n_isolated_found`, `n_events_found`,
        `n_events_right`.
    summary : dict
        See `summarise_plane`.
    """

    name: str
    cells: pd.DataFrame
    summary: dict


def compare_plane(truth, *, masks, shifts_px, dff, events, neuropil_r, is_counted=None, name=""):
    """Compare the results on a plane with its truth.

    Parameters
    ----------
    truth : PlaneTruth
    masks : sparse array, shape (n_rois, height * width)
        Positive where a pixel belongs to the ROI.
    shifts_px : float array, shape (n_frames, 2)
        y and x: how far each frame's content lay from its place in the reference; NaN where
        a frame was not registered.
    dff, events : float array, shape (n_rois, n_frames)
        May hold NaN.
    neuropil_r : float array, shape (n_rois,)
    is_counted : bool array, shape (n_rois,), optional
        ROIs that are taken for cells; the others neither find one nor are false.
    name : str

    Returns
    -------
    PlaneComparison
    """
    used = np.ones(len(dff), bool) if is_counted is None else np.asarray(is_counted, bool)
    rms_px, offset_px = shift_error(truth, shifts_px)
    cells = match_rois(truth, csr_array(masks)[np.flatnonzero(used)], offset_px)
    cells["roi"] = np.append(np.flatnonzero(used), -1)[cells.roi]
    columns = [_compare_cell(truth, row, dff, events, neuropil_r) for row in cells.itertuples()]
    cells = cells.join(pd.DataFrame(columns, index=cells.index, columns=_CELL_RESULTS))
    summary = summarise_plane(cells, int(used.sum()), rms_px, truth.facts["neuropil_r"])
    return PlaneComparison(name, cells, summary)


def compare_plane_files(truth_folder, work, *, name=""):
    """Compare what the steps wrote about a plane with its truth.

    Parameters
    ----------
    truth_folder : path
        ``<raw>/<session>/truth/FOV_NN``.
    work : path
        The plane's folder of intermediate results; read are ``register_plane/shifts.pqt``,
        ``segment_plane/masks.npz``, ``neuropil/rois.pqt``, ``dff/dff.npy``,
        ``events/events.npy`` and ``label_rois/rois.pqt``. Valid somata count, and somata at the
        motion border: they are found, and rightly labelled.
    name : str
        How the comparison is called; the folder by default.

    Returns
    -------
    PlaneComparison

    Raises
    ------
    InputError
        A file is missing: the session is not a made-up one, or the workflow has not
        finished it.
    """
    work = Path(work)
    shifts = pd.read_parquet(existing(work / "register_plane" / "shifts.pqt"))
    neuropil = pd.read_parquet(existing(work / "neuropil" / "rois.pqt"))
    labels = pd.read_parquet(existing(work / "label_rois" / "rois.pqt")).sort_values("roi")
    return compare_plane(
        load_truth(truth_folder),
        masks=load_shapes(work / "segment_plane" / "masks.npz"),
        shifts_px=shifts[["y_px", "x_px"]].to_numpy(),
        dff=np.load(existing(work / "dff" / "dff.npy")),
        events=np.load(existing(work / "events" / "events.npy")),
        neuropil_r=neuropil.sort_values("roi").r.to_numpy(),
        is_counted=(labels.is_soma & (labels.is_valid | labels.motion_border)).to_numpy(),
        name=name or str(work),
    )


def shift_error(truth, shifts_px):
    """Measure how far the shifts found are from the true ones.

    Parameters
    ----------
    truth : PlaneTruth
    shifts_px : float array, shape (n_frames, 2)

    Returns
    -------
    rms_px : float
        Root of the mean squared distance, over frames that were recorded, after the mean
        difference, which depends on the reference image, is taken off. NaN if there is none.
    offset_px : float array, shape (2,)
        That mean difference, y and x.
    """
    difference = np.asarray(shifts_px, np.float64) - truth.shifts_px
    difference[truth.facts["missing_frames"]] = np.nan
    difference = difference[np.isfinite(difference).all(axis=1)]
    if not len(difference):
        return np.nan, np.zeros(2)
    offset_px = difference.mean(axis=0)
    return float(np.sqrt(((difference - offset_px) ** 2).sum(axis=1).mean())), offset_px


def match_rois(truth, masks, offset_px=(0.0, 0.0)):
    """Match ROIs with true cells, one to one; as many as can be, then with most overlap.

    Parameters
    ----------
    truth : PlaneTruth
    masks : csr_array, shape (n_rois, height * width)
    offset_px : (float, float)
        Of `shift_error`: registered frames lie that much above and left of the truth.

    Returns
    -------
    DataFrame
        One row a true cell: `cell`, `cell_id`, `roi` (-1 if none), `iou`, `distance_px` (of the
        match; NaN if none).
    """
    shape = truth.facts["height"], truth.facts["width"]
    moved = _move(truth.masks, shape, -np.rint(offset_px).astype(int))
    found = csr_array((masks > 0).astype(np.float32))
    common = (moved @ found.T).toarray()
    union = moved.sum(axis=1)[:, None] + found.sum(axis=1)[None, :] - common
    iou = common / np.maximum(union, 1)
    true_yx = truth.cells[["y_px", "x_px"]].to_numpy() - np.asarray(offset_px)
    apart = true_yx[:, None] - _centroids(found, shape[1])[None]
    distance = np.hypot(apart[..., 0], apart[..., 1])
    can_be = (iou >= MIN_IOU) | ((iou >= MIN_IOU_NEAR) & (distance <= MAX_DISTANCE_PX))
    # each match is worth more than any overlap
    score = np.where(can_be, 1 + iou / (1 + min(iou.shape)), 0)
    cells = truth.cells[["cell", "cell_id"]].copy()
    cells["roi"], cells["iou"], cells["distance_px"] = -1, np.nan, np.nan
    for i, j in zip(*linear_sum_assignment(score, maximize=True), strict=True):
        if can_be[i, j]:
            cells.loc[cells.index[i], ["roi", "iou", "distance_px"]] = j, iou[i, j], distance[i, j]
    return cells.astype({"roi": np.int64})


_CELL_RESULTS = [
    "correlation",
    "amplitude",
    "r",
    "n_isolated",
    "n_isolated_found",
    "n_events_found",
    "n_events_right",
]


def _compare_cell(truth, row, dff, events, neuropil_r):
    """Compare one cell with the ROI that was found for it; see `PlaneComparison`."""
    true_events = truth.events[truth.events.cell == row.cell]
    n_isolated = int(true_events.is_isolated.sum())
    if row.roi < 0:
        return np.nan, np.nan, np.nan, n_isolated, 0, 0, 0
    correlation, amplitude = compare_traces(truth.dff[row.cell], dff[row.roi])
    found = onsets(events[row.roi])
    frames = true_events.frame.to_numpy()
    pairs = match_events(frames, found)
    n_isolated_found = int(true_events.is_isolated.to_numpy()[pairs[:, 0]].sum())
    return (
        correlation,
        amplitude,
        float(neuropil_r[row.roi]),
        n_isolated,
        n_isolated_found,
        len(found),
        len(pairs),
    )


def compare_traces(true, found):
    """Correlate a dF/F trace with the true one, and regress it on that.

    Parameters
    ----------
    true, found : float array, shape (n_frames,)
        Frames that are NaN in `found` are left out.

    Returns
    -------
    correlation, slope : float
        NaN where one of them does not vary.
    """
    use = np.isfinite(found)
    true, found = true[use].astype(np.float64), found[use].astype(np.float64)
    if len(true) < 2 or not true.std() or not found.std():
        return np.nan, np.nan
    correlation = np.corrcoef(true, found)[0, 1]
    return float(correlation), float(correlation * found.std() / true.std())


def onsets(events):
    """Take events in frames that follow each other for one: a rise lasts longer than a frame.

    Parameters
    ----------
    events : float array, shape (n_frames,)
        0 or NaN where no event is.

    Returns
    -------
    int64 array
        The first frame of each.
    """
    is_event = np.nan_to_num(events) > 0
    return np.flatnonzero(is_event & ~np.concatenate([[False], is_event[:-1]]))


def match_events(true, found, tolerance=EVENT_TOLERANCE_FRAMES):
    """Pair events at most some frames apart, as many as can be, no event in two pairs.

    Parameters
    ----------
    true, found : int array
        Frames, ascending.
    tolerance : int

    Returns
    -------
    int64 array, shape (n_pairs, 2)
        Positions in `true` and in `found`.
    """
    pairs, i, j = [], 0, 0
    # taking the earliest possible partner for each in turn gives the largest number
    while i < len(true) and j < len(found):
        apart = found[j] - true[i]
        if abs(apart) <= tolerance:
            pairs.append((i, j))
        i, j = i + (apart >= -tolerance), j + (apart <= tolerance)
    return np.reshape(np.array(pairs, np.int64), (-1, 2))


def summarise_plane(cells, n_rois, shift_rms_px, true_r):
    """Put the comparison into numbers.

    Parameters
    ----------
    cells : DataFrame
        Of `PlaneComparison`.
    n_rois : int
        ROIs that count.
    shift_rms_px, true_r : float

    Returns
    -------
    dict
        ``shift_rms_px``; ``n_cells``, ``n_rois``, ``n_found``, ``fraction_found`` (of the true
        cells), ``fraction_false`` (of the ROIs); of the cells found ``fraction_correlated``
        (>= 0.9) and ``fraction_amplitude`` (within 20 %); ``event_recall`` (of isolated
        events), ``event_precision`` (of all events found), ``event_f1``, all pooled over the
        cells found; ``neuropil_r`` (median of the cells found), ``neuropil_error`` (of that) and
        ``fraction_neuropil`` (of the cells found, whose own is within 0.1; nothing is asked);
        ``failed``, the names of what is not as asked; ``passed``. What cannot be said, because
        there is no cell, is NaN and asks for nothing.
    """
    found = cells[cells.roi >= 0]
    recall = _ratio(found.n_isolated_found.sum(), found.n_isolated.sum())
    precision = _ratio(found.n_events_right.sum(), found.n_events_found.sum())
    amplitude_error = np.abs(found.amplitude - 1)
    r = float(found.r.median()) if found.r.notna().any() else np.nan
    summary = {
        "shift_rms_px": shift_rms_px,
        "n_cells": len(cells),
        "n_rois": n_rois,
        "n_found": len(found),
        "fraction_found": _ratio(len(found), len(cells)),
        "fraction_false": _ratio(n_rois - len(found), n_rois),
        "fraction_correlated": _ratio((found.correlation >= GOOD_CORRELATION).sum(), len(found)),
        "fraction_amplitude": _ratio((amplitude_error <= MAX_AMPLITUDE_ERROR).sum(), len(found)),
        "event_recall": recall,
        "event_precision": precision,
        "event_f1": _ratio(2 * recall * precision, recall + precision),
        "neuropil_r": r,
        "neuropil_error": abs(r - true_r),
        "fraction_neuropil": _ratio(
            (np.abs(found.r - true_r) <= MAX_NEUROPIL_ERROR).sum(), len(found)
        ),
    }
    failed = [key for key, low in _AT_LEAST.items() if summary[key] < low]
    failed += [key for key, high in _AT_MOST.items() if summary[key] > high]
    # results that cannot be judged although there are cells are not good ones
    if summary["n_found"]:
        failed += [key for key in (*_AT_LEAST, *_AT_MOST) if np.isnan(summary[key])]
    return {**summary, "failed": failed, "passed": not failed}


_AT_LEAST = {
    "fraction_found": MIN_FOUND,
    "fraction_correlated": MIN_GOOD,
    "fraction_amplitude": MIN_GOOD,
    "event_f1": MIN_EVENT_F1,
}
_AT_MOST = {
    "shift_rms_px": MAX_SHIFT_RMS_PX,
    "fraction_false": MAX_FALSE,
    "neuropil_error": MAX_NEUROPIL_ERROR,
}


def format_plane_comparison(comparison):
    """Write a comparison for a person.

    Parameters
    ----------
    comparison : PlaneComparison

    Returns
    -------
    str
        Several lines, without a newline at the end.
    """
    summary = comparison.summary
    table = comparison.cells[["cell", "cell_id", "roi", "iou", "distance_px", *_CELL_RESULTS]]
    lines = [f"{comparison.name}, against the truth:", ""]
    if len(table):
        lines += ["  " + row for row in table.round(3).to_string(index=False).splitlines()]
    lines.append("")
    texts = {
        "shift_rms_px": f"shifts {summary['shift_rms_px']:.3f} px RMS off",
        "fraction_found": f"{summary['n_found']} of {summary['n_cells']} cells found",
        "fraction_false": f"{summary['n_rois'] - summary['n_found']} of {summary['n_rois']} ROIs "
        "are no cell",
        "fraction_correlated": f"{summary['fraction_correlated']:.0%} of the cells found have a "
        f"correlation of dF/F >= {GOOD_CORRELATION:g}",
        "fraction_amplitude": f"{summary['fraction_amplitude']:.0%} of them an amplitude within "
        f"{MAX_AMPLITUDE_ERROR:.0%}",
        "event_f1": f"events: F1 {summary['event_f1']:.3f} (recall of isolated ones "
        f"{summary['event_recall']:.3f}, precision {summary['event_precision']:.3f})",
        "neuropil_error": f"neuropil: r {summary['neuropil_r']:.3f}, off by "
        f"{summary['neuropil_error']:.3f}; {summary['fraction_neuropil']:.0%} of the cells found "
        f"within {MAX_NEUROPIL_ERROR:g}",
    }
    for key, text in texts.items():
        side = ("at least", _AT_LEAST) if key in _AT_LEAST else ("at most", _AT_MOST)
        lines.append(f"  {text} (asked for: {side[0]} {side[1][key]:g})")
    lines.append("  " + ("as it should be" if summary["passed"] else "NOT as it should be"))
    return "\n".join(lines)


def _move(masks, shape, offset):
    """Pixels of the true cells, moved by whole pixels; what leaves the image is lost."""
    masks = csr_array(masks)
    keep = masks.data >= ROI_LEVEL
    cell = np.repeat(np.arange(masks.shape[0]), np.diff(masks.indptr))[keep]
    y, x = np.divmod(masks.indices[keep], shape[1])
    y, x = y + offset[0], x + offset[1]
    inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    ones = np.ones(int(inside.sum()), np.float32)
    pixel = (y * shape[1] + x)[inside]
    return csr_array((ones, (cell[inside], pixel)), shape=masks.shape)


def _centroids(masks, width):
    """Mean y and x of each mask; NaN of an empty one."""
    y, x = np.divmod(np.arange(masks.shape[1]), width)
    n_pixels = masks.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.column_stack([masks @ y, masks @ x]) / n_pixels[:, None]


def _ratio(part, whole):
    return float(part / whole) if whole else np.nan
