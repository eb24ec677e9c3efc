"""Fluorescence of ROIs and of the neuropil around them, overlapping ROIs separated."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, vstack

from sluice.errors import InputError
from sluice.ophys.crosstalk import (
    crosstalk_fraction,
    paired_mean_traces,
    read_paired_frames,
    require_paired,
    unmix,
)
from sluice.ophys.demixing import couple, demix, find_negative_baselines, find_negative_transients
from sluice.ophys.extract_traces import divide_by_size, mean_traces, sum_pixels, to_intensity
from sluice.ophys.masks import Masks, load_masks, save_masks
from sluice.ophys.motion_border import find_motion_border_of, load_shifts, touches_border
from sluice.ophys.neuropil_masks import make_neuropil_masks
from sluice.ophys.plane import frame_chunks, read_frames
from sluice.ophys.roi_overlaps import (
    axis_ratio,
    binarize_masks,
    count_shared,
    find_duplicates,
    find_unions,
    overlap_fraction,
    overlap_groups,
    overlapping_pairs,
)
from sluice.qc import check, log_checks, save_checks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Regions:
    """Everything the traces of a plane are summed over.

    Attributes
    ----------
    binary, neuropil : Masks
        ROIs and the neuropil around each; weight 1.
    pairs : int64 array, shape (n_pairs, 2)
        ROIs that share pixels.
    groups : list of int64 array
        ROIs linked by such pairs.
    members : csr_array, shape (2 * n_rois + n_pairs, height * width)
        Pixels of each ROI, of each neuropil, and those that each pair shares.
    table : DataFrame
        One row a ROI: what is known from the masks alone.
    """

    binary: Masks
    neuropil: Masks
    pairs: np.ndarray
    groups: list
    members: csr_array
    table: pd.DataFrame


def find_regions(masks, border, *, settings):
    """Find the pixels of ROIs, of their neuropil and of overlaps.

    Duplicates and unions are left out of the pairs, as in Allen (ophys_etl modules/demix):
    their light is that of other ROIs, and dividing it between them would take it from the
    cells.

    Parameters
    ----------
    masks : Masks
        Weighted, from `segment_plane`.
    border : MotionBorder
    settings : dict
        ``ophys.demix``.

    Returns
    -------
    Regions
    """
    binary = binarize_masks(masks, quantile=settings["binarize_quantile"])
    neuropil = make_neuropil_masks(
        binary,
        border.inside(masks.height, masks.width),
        method=settings["neuropil_method"],
        ring_px=settings["ring_px"],
        gap_px=settings["gap_px"],
        min_pixels=settings["min_neuropil_pixels"],
    )
    shared = count_shared(binary)
    is_duplicate = find_duplicates(shared, threshold=settings["duplicate_overlap"])
    is_union = find_unions(binary, shared, is_duplicate, fraction=settings["union_fraction"])
    pairs = overlapping_pairs(shared, is_duplicate | is_union)
    weights = binary.weights
    both = csr_array(weights[pairs[:, 0]].multiply(weights[pairs[:, 1]]))
    table = pd.DataFrame(
        {
            "roi": np.arange(len(binary), dtype=np.int64),
            "n_mask_pixels": np.diff(weights.indptr).astype(np.int64),
            "n_neuropil_pixels": np.diff(neuropil.weights.indptr).astype(np.int64),
            "axis_ratio": axis_ratio(binary),
            "overlap_fraction": overlap_fraction(binary),
            "motion_border": touches_border(binary, border),
            "duplicate": is_duplicate,
            "union": is_union,
        }
    )
    return Regions(
        binary,
        neuropil,
        pairs,
        overlap_groups(pairs, len(binary)),
        csr_array(vstack([weights, neuropil.weights, both], format="csr")),
        table,
    )


def demix_file(
    *,
    registered,
    frames,
    info,
    masks,
    shifts,
    raw,
    neuropil,
    demixed,
    roi_masks,
    neuropil_masks,
    rois,
    checks,
    settings,
    name,
    paired=None,
):
    """Extract and demix the traces of a plane, in one read of its registered movie.

    The trace of a ROI is the mean over its pixels, shared ones included; that of its neuropil
    the mean over the ring around it; and `demix` separates ROIs that share pixels. Where
    crosstalk is removed, the movies of both planes are read once more before, to measure it,
    and `neuropil` and `demixed` are without it, `raw` with it.

    Missing frames are NaN in all traces, and so are frames missing in the paired plane where
    crosstalk is removed, but for `raw`. Allen (ophys_etl) also sets ROIs with a negative
    baseline, and their neighbours, to NaN; here they keep their traces and the ROI is labelled.
    Duplicates and unions are not demixed: Allen gives them NaN, here they keep their raw trace.

    Parameters
    ----------
    registered : path
        ``registered.bin`` of `register_plane`.
    frames : path
        ``frames.pqt`` of `import_plane`.
    info : PlaneInfo
    masks : path
        ``masks.npz`` of `segment_plane`.
    shifts : path
        ``shifts.pqt`` of `register_plane`.
    raw, neuropil, demixed : path
        npy, float32 (n_rois, n_frames): intensity as recorded; written.
    roi_masks, neuropil_masks : path
        npz of Masks, weight 1: the pixels that the traces are means of; written.
    rois : path
        Parquet, one row a ROI: roi, n_mask_pixels, n_neuropil_pixels, axis_ratio (minor over
        major), overlap_fraction, motion_border, duplicate, union, n_undefined_frames,
        demix_negative_transient, demix_negative_baseline; written.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``ophys.demix``.
    name : str
        How messages call the plane.
    paired : PairedPlane, optional
        The plane whose light leaks into this one; used where ``crosstalk`` is ``unmix``.

    Raises
    ------
    InputError
        A file does not fit the plane.
    """
    weighted = load_masks(masks)
    shifts_px = load_shifts(shifts, info)
    is_missing = pd.read_parquet(frames, columns=["is_missing"])["is_missing"].to_numpy(bool)
    _require(registered, weighted, masks, is_missing, frames, info, name)
    if settings["crosstalk"] == "none":
        paired = None
    elif paired is None:
        logger.info("%s has no paired plane: no crosstalk to remove", name)
    else:
        require_paired(info, paired.info)
    border = find_motion_border_of(pd.read_parquet(shifts), max_shift_px=settings["max_shift_px"])
    regions = find_regions(weighted, border, settings=settings)
    logger.info(
        "%d ROIs, %d pairs overlap, in %d groups; %s",
        len(weighted),
        len(regions.pairs),
        len(regions.groups),
        border,
    )
    crosstalk = None
    if paired is not None:
        crosstalk = _measure(registered, info, is_missing, paired, shifts_px, regions, settings)
    traces, n_dark = _extract(registered, info, regions, paired, shifts_px, crosstalk)
    lost = is_missing if paired is None else is_missing | paired.is_missing
    traces[0][:, is_missing] = np.nan
    traces[1][:, lost] = traces[2][:, lost] = np.nan
    table = _judge_rois(regions, traces[2], lost, settings)

    for path, values in zip((raw, neuropil, demixed), traces, strict=True):
        np.save(path, values)
    save_masks(regions.binary, roi_masks)
    save_masks(regions.neuropil, neuropil_masks)
    table.to_parquet(rois, index=False)
    n_coupled = sum(len(g) for g in regions.groups)
    found = _checks(table, n_dark, n_coupled, info.n_frames, crosstalk, settings)
    save_checks(found, checks)
    log_checks(found)


def _require(registered, weighted, masks, is_missing, frames, info, name):
    """Stop where the files are not of one plane."""
    if (weighted.height, weighted.width) != (info.height, info.width):
        raise InputError(
            f"{name}: {masks} is of a plane of {weighted.height} x {weighted.width} pixels; "
            f"expected {info.height} x {info.width}. Run segment_plane again."
        )
    if len(is_missing) != info.n_frames:
        raise InputError(
            f"{name}: {frames} has {len(is_missing)} rows; expected one for each of the "
            f"{info.n_frames} frames of the movie. Run import_plane again."
        )
    found, expected = Path(registered).stat().st_size, 2 * int(np.prod(info.shape))
    if found != expected:
        raise InputError(
            f"{name}: {registered} has {found} bytes; expected {expected} for {info.n_frames} "
            f"frames of {info.height} x {info.width} pixels. Run register_plane again."
        )


def _measure(registered, info, is_missing, paired, shifts_px, regions, settings):
    """Measure the crosstalk on the ROIs of this plane."""
    this = mean_traces(partial(read_frames, registered, info), info, regions.binary)
    this[:, is_missing] = np.nan
    crosstalk = crosstalk_fraction(
        this,
        paired_mean_traces(paired, shifts_px, regions.binary),
        step_frames=max(1, round(settings["crosstalk_step_s"] * info.sampling_rate_hz)),
        max_fraction=settings["max_crosstalk"],
        event_std=settings["crosstalk_event_std"],
        min_frames=settings["min_crosstalk_frames"],
    )
    logger.info("%s", crosstalk)
    return crosstalk


def _extract(registered, info, regions, paired, shifts_px, crosstalk):
    """Traces raw, neuropil and demixed: float32 (n_rois, n_frames) each; and dark frames.

    Dark are the frames of ROIs with overlap in which the intensity is 0 or less.
    """
    n_rois = len(regions.binary)
    n_pixels = np.diff(regions.members.indptr)
    sizes, n_shared = n_pixels[:n_rois], n_pixels[2 * n_rois :]
    coupled = np.concatenate([*regions.groups, np.empty(0, np.int64)])
    groups = couple(regions.groups, regions.pairs, sizes, n_shared)
    traces = [np.empty((n_rois, info.n_frames), np.float32) for _ in range(3)]
    n_dark = 0
    for start, stop in frame_chunks(info):
        sums = sum_pixels(read_frames(registered, info, start, stop), regions.members)
        sums = to_intensity(sums, n_pixels, info)
        traces[0][:, start:stop] = divide_by_size(sums[:n_rois], sizes)
        if paired is not None:
            others = read_paired_frames(paired, shifts_px, start, stop)
            others = to_intensity(sum_pixels(others, regions.members), n_pixels, paired.info)
            sums = unmix(sums, others, crosstalk)
        traces[1][:, start:stop] = divide_by_size(
            sums[n_rois : 2 * n_rois], n_pixels[n_rois : 2 * n_rois]
        )
        traces[2][:, start:stop] = demix(sums[:n_rois], sums[2 * n_rois :], sizes, groups)
        n_dark += np.count_nonzero(sums[coupled] <= 0)
    return traces, n_dark


def _judge_rois(regions, demixed, lost, settings):
    """Add to the table what the demixed traces show."""
    has_mask = regions.table["n_mask_pixels"].to_numpy() > 0
    undefined = np.count_nonzero(np.isnan(demixed[:, ~lost]), axis=1)
    return regions.table.assign(
        n_undefined_frames=np.where(has_mask, undefined, 0).astype(np.int64),
        demix_negative_transient=find_negative_transients(
            demixed,
            window_frames=settings["transient_window_frames"],
            length_frames=settings["transient_length_frames"],
            n_std=settings["transient_std"],
        ),
        demix_negative_baseline=find_negative_baselines(demixed),
    )


def _checks(table, n_dark, n_coupled, n_frames, crosstalk, settings):
    """Judge the demixing of a plane; without ROIs all fractions are 0."""
    n_rois = len(table)
    n_undefined = int(table["n_undefined_frames"].sum())
    n_transient = int(table["demix_negative_transient"].sum())
    n_baseline = int(table["demix_negative_baseline"].sum())
    n_empty = int((table["n_neuropil_pixels"] == 0).sum())
    rows = [
        (
            "undefined_fraction",
            n_undefined / max(n_rois * n_frames, 1),
            f"{n_undefined} values of {n_rois} ROIs are undefined",
        ),
        (
            "dark_fraction",
            n_dark / max(n_coupled * n_frames, 1),
            f"{n_dark} values of the {n_coupled} ROIs with overlap are 0 or less",
        ),
        (
            "negative_transient_fraction",
            n_transient / max(n_rois, 1),
            f"{n_transient} of {n_rois} ROIs have a negative transient",
        ),
        (
            "negative_baseline_fraction",
            n_baseline / max(n_rois, 1),
            f"{n_baseline} of {n_rois} ROIs have a negative baseline",
        ),
        (
            "empty_neuropil_fraction",
            n_empty / max(n_rois, 1),
            f"{n_empty} of {n_rois} ROIs have no neuropil around them",
        ),
    ]
    if crosstalk is not None:
        message = (
            f"from the paired plane, from {crosstalk.n_frames_to_this} frames; back to it "
            f"{crosstalk.to_paired:.3f}, from {crosstalk.n_frames_to_paired} frames"
        )
        if np.isnan(crosstalk.to_this):
            message += "; too few frames to measure it: it is not removed"
        rows.append(("crosstalk_fraction", crosstalk.to_this, message))
    return [
        check(key, value, message=message, **settings["checks"][key])
        for key, value, message in rows
    ]
