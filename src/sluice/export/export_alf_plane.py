"""Export one imaging plane as an ALF collection, ``alf/FOV_NN``.

Names, shapes and units of IBL's mesoscope pipeline, so that ONE loads them; what IBL has no
dataset type for (dF/F, events, neuropil r, labels) is under the project's own namespace.
Names are written literally: ONE's own writer turns ``ROIActivityF`` into ``rOIActivityF``,
which is no dataset type.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.export.alf import validate_collection
from sluice.ophys.masks import load_masks, roi_uuids

FRAME_QC = ("ok", "missing", "badly registered", "saturated", "shift clipped")
# Rows of it that are no picture of the tissue in its place.
BAD = (FRAME_QC.index("missing"), FRAME_QC.index("badly registered"))
ROI_TYPES = ("no cell", "cell")
# A frame is called saturated where this fraction of its pixels is.
SATURATED_FRACTION = 0.01


def frame_qc(frames, shifts, *, n_pixels):
    """Say of every frame what is wrong with it; the gravest fault counts.

    Parameters
    ----------
    frames, shifts : DataFrame
        ``frames.pqt`` of `import_plane`, ``shifts.pqt`` of `register_plane`.
    n_pixels : int
        Pixels of a frame.

    Returns
    -------
    uint8 (n_frames,)
        Row of `FRAME_QC`.
    """
    saturated = frames["n_saturated"].to_numpy() > SATURATED_FRACTION * n_pixels
    faults = [
        frames["is_missing"].to_numpy(bool),
        shifts["is_bad"].to_numpy(bool),
        saturated,
        shifts["is_clipped"].to_numpy(bool),
    ]
    return np.select(faults, [1, 2, 3, 4], default=0).astype(np.uint8)


def sparse_masks(masks):
    """Masks as IBL stores them: pydata-sparse, shape (n_rois, height, width)."""
    import sparse

    shape = (len(masks), masks.height, masks.width)
    weights = masks.weights.tocoo()
    y, x = np.divmod(weights.col, masks.width)
    coords = np.stack([weights.row, y, x])
    return sparse.GCXS.from_coo(sparse.COO(coords, weights.data, shape=shape))


def export_alf_plane_file(
    *,
    info,
    frames,
    shifts,
    images,
    masks,
    roi_masks,
    neuropil_masks,
    raw,
    neuropil,
    demixed,
    corrected,
    dff,
    events,
    rois,
    session,
    plane,
    folder,
):
    """Write the ALF collection of one plane and check that ONE reads it.

    Parameters
    ----------
    info : PlaneInfo
    frames, shifts, images, masks, roi_masks, neuropil_masks, raw, neuropil, demixed, \
corrected, dff, events, rois : path
        What the ophys steps wrote.
    session, plane : str
    folder : path
        Made.

    Raises
    ------
    InputError
        The inputs are not of one run.
    """
    masks = load_masks(masks)
    frames, shifts, rois = (pd.read_parquet(path) for path in (frames, shifts, rois))
    _require_one_run(info, len(masks), frames=frames, shifts=shifts, rois=rois)
    folder = Path(folder)
    folder.mkdir()
    _save_frames(folder, info, frames, shifts)
    # one at a time: each is as large as the traces of all ROIs
    for name, path in {
        "mpci.ROIActivityF": raw,
        "mpci.ROINeuropilActivityF": neuropil,
        "_sluice_mpci.ROIActivityDemixed": demixed,
        "_sluice_mpci.ROIActivityCorrected": corrected,
        "_sluice_mpci.ROIDff": dff,
        "_sluice_mpci.ROIEvents": events,
    }.items():
        _save_traces(folder / f"{name}.npy", path, (len(masks), info.n_frames))
    _save_rois(folder, rois, plane)
    for name, found in {
        "mpciROIs.masks": masks,
        "mpciROIs.neuropilMasks": load_masks(neuropil_masks),
        "_sluice_mpciROIs.traceMasks": load_masks(roi_masks),
    }.items():
        _save_masks(folder / name, found)
    identifiers = ["uuids", *roi_uuids(masks, f"{session}/{plane}")]
    (folder / "mpciROIs.uuids.csv").write_text("\n".join(identifiers) + "\n")
    with np.load(images) as file:
        np.save(folder / "mpciMeanImage.images.npy", file["mean"])
        np.save(folder / "_sluice_mpciMaxImage.images.npy", file["max"])
    validate_collection(folder, f"alf/{plane}")


def _save_frames(folder, info, frames, shifts):
    qc = frame_qc(frames, shifts, n_pixels=info.height * info.width)
    np.save(folder / "mpci.times.npy", frames["time_s"].to_numpy(np.float64))
    np.save(folder / "mpci.badFrames.npy", np.isin(qc, BAD))
    np.save(folder / "mpci.mpciFrameQC.npy", qc)
    np.save(folder / "_sluice_mpci.shifts.npy", shifts[["y_px", "x_px"]].to_numpy(np.float32))
    _save_names(folder / "mpciFrameQC.names.tsv", "qc", FRAME_QC)


def _save_traces(path, source, shape):
    """Write traces as IBL does, (n_frames, n_rois)."""
    traces = np.load(source, mmap_mode="r")
    if traces.shape != shape:
        raise InputError(
            f"{source} has traces of shape {traces.shape}, the plane {shape}: they are not of "
            "the same run. Delete it and run the workflow again."
        )
    np.save(path, np.ascontiguousarray(traces.T))


def _save_masks(path, masks):
    import sparse

    path = path.with_name(f"{path.name}.npz")
    sparse.save_npz(path, sparse_masks(masks))
    path.rename(path.with_suffix(".sparse_npz"))


def _save_rois(folder, rois, plane):
    arrays = {
        # IBL: row, column and plane in the stack
        "mpciROIs.stackPos": np.column_stack(
            [
                np.rint(rois[["y_px", "x_px"]].to_numpy(float)),
                np.full(len(rois), int(plane.removeprefix("FOV_"))),
            ]
        ).astype(np.int16),
        "mpciROIs.mpciROITypes": rois["is_soma"].to_numpy(bool).astype(np.int16),
        "mpciROIs.cellClassifier": rois["soma_probability"].to_numpy(np.float32),
        "_sluice_mpciROIs.neuropilR": rois["r"].to_numpy(np.float64),
        "_sluice_mpciROIs.neuropilRError": rois["error"].to_numpy(np.float64),
        "_sluice_mpciROIs.isValid": rois["is_valid"].to_numpy(bool),
    }
    for attribute, array in arrays.items():
        np.save(folder / f"{attribute}.npy", array)
    rois.to_parquet(folder / "_sluice_mpciROIs.metrics.pqt", index=False)
    _save_names(folder / "mpciROITypes.names.tsv", "roi", ROI_TYPES)


def _save_names(path, prefix, names):
    """Write what the numbers of an attribute mean, as IBL does."""
    table = pd.DataFrame({f"{prefix}_values": range(len(names)), f"{prefix}_labels": names})
    table.to_csv(path, sep="\t", index=False)


def _require_one_run(info, n_rois, *, frames, shifts, rois):
    found = {"frames": (len(frames), info.n_frames), "shifts": (len(shifts), info.n_frames)}
    for name, (n, expected) in {**found, "ROIs": (len(rois), n_rois)}.items():
        if n != expected:
            raise InputError(
                f"{info.name}: a table has {n} {name}, expected {expected}: the files are not of "
                "the same run. Run the steps of this plane again."
            )
