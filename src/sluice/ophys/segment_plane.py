"""Regions of interest of one plane: suite2p's detection and its classifier of somata."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.ophys.detection import (
    bin_frames,
    bin_movie,
    detect_by_cellpose,
    detect_rois,
    require_weights,
)
from sluice.ophys.masks import make_masks, save_masks
from sluice.ophys.segment_plane_figure import save_figure
from sluice.ophys.suite2p_settings import import_suite2p, suite2p_settings
from sluice.ophys.suite2p_traces import extract, trace_statistics
from sluice.qc import check, log_checks, save_checks

logger = logging.getLogger(__name__)

# Keys of suite2p's ROIs that are columns of ``rois.pqt``.
FEATURES = ("aspect_ratio", "compact", "skew", "npix_norm", "soma_probability")


def segment_plane_file(
    *,
    registered,
    info,
    registration,
    images,
    rois,
    masks,
    stat,
    detection,
    checks,
    figure,
    settings,
    device,
):
    """Find the ROIs of one plane and say how likely each is a soma.

    The registered movie is averaged over the indicator's decay time and searched by suite2p's
    public functions: `detection_wrapper`, `extraction_wrapper` for the traces whose skewness
    the classifier reads, `classify` with the classifier that comes with suite2p. No ROI is
    dropped for its class.

    Parameters
    ----------
    registered : path
        ``registered.bin``.
    info : PlaneInfo
    registration : path
        ``registration.npz`` of `register_plane`.
    images : path
        ``images.npz`` of `register_plane`, for the figure.
    rois : path
        ``rois.pqt``, one row a ROI in the order found; written. `roi`; `y_px`, `x_px`:
        centroid of the pixels, by weight; `n_pixels`; `aspect_ratio` (1 round, 2 a line),
        `compact` (1 a disk), `npix_norm` (pixels over the median ROI's), `skew` of the trace
        minus neuropil; `soma_probability` (0 to 1).
    masks : path
        ``masks.npz``: `Masks`, weights of each ROI sum to 1; written. Pixels that ROIs share
        belong to each of them.
    stat : path
        ``stat.npy``: suite2p's ROIs, an array of dict (pickled); written.
    detection : path
        npz, float32 (height, width), 0 outside what was searched; written: `correlation`
        (sparsery's map of how strongly neighbouring pixels are active together; zeros with
        other algorithms), `max_projection` (of the averaged movie; intensity as recorded).
    checks, figure : path
        ``checks.json`` and PNG; written.
    settings : dict
        ``ophys.segment_plane``.
    device : str
        ``cpu`` or ``cuda``.

    Raises
    ------
    UserError
        cellpose is asked for without weights on disk, or a parameter is unknown to suite2p.
    """
    weights = require_weights(settings)
    import_suite2p()
    filled = suite2p_settings(settings, info, device=device)
    with np.load(registration) as file:
        place = {key: tuple(int(n) for n in file[key]) for key in ("yrange", "xrange")}
        is_bad, is_missing = file["is_bad"], file["is_missing"]
    if is_bad.all():
        is_bad = is_missing
    found, maps = _detect(registered, info, is_bad, place, filled, weights, settings, device)
    _describe(found, registered, info, ~is_missing, filled, device)
    table = roi_table(found)
    weighted = make_masks(
        [(roi["ypix"], roi["xpix"], roi["lam"] / roi["lam"].sum()) for roi in found],
        info.height,
        info.width,
    )

    table.to_parquet(rois, index=False)
    save_masks(weighted, masks)
    with Path(stat).open("wb") as file:
        np.save(file, as_stat(found), allow_pickle=True)
    with Path(detection).open("wb") as file:
        np.savez(file, **maps)
    verdicts = _checks(table, found, settings, Path(figure).name)
    save_checks(verdicts, checks)
    with np.load(images) as file:
        save_figure(
            figure,
            table=table,
            masks=weighted,
            mean=file["mean"],
            correlation=maps["correlation"],
            info=info,
            place=place,
        )
    log_checks(verdicts)


def _detect(registered, info, is_bad, place, filled, weights, settings, device):
    """suite2p's ROIs, a list of dict, and the images they were found in."""
    most = int(settings["max_binned_gb"] * 1e9 / (4 * info.height * info.width))
    n_per_bin = bin_frames(
        np.count_nonzero(~is_bad),
        sampling_rate_hz=info.sampling_rate_hz,
        bin_s=settings["bin_s"] or info.decay_s,
        max_bins=min(settings["max_bins"], most),
    )
    binned = bin_movie(registered, info, is_bad=is_bad, n_per_bin=n_per_bin, **place)
    logger.info("%d means of %d frames of %d x %d px", len(binned), n_per_bin, *binned.shape[1:])
    max_projection = binned.max(axis=0) * np.float32(info.scale) + np.float32(info.offset)
    common = {"shape": info.shape, "filled": filled, "device": device, **place}
    if weights is not None:
        correlation = np.zeros_like(max_projection)
        found = detect_by_cellpose(
            binned, image=settings["cellpose_image"], weights=weights, **common
        )
    else:
        found, outputs = detect_rois(binned, **common)
        correlation = outputs.get("Vcorr", np.zeros_like(max_projection))
    maps = {"correlation": correlation, "max_projection": max_projection}
    crop = slice(*place["yrange"]), slice(*place["xrange"])
    for name, image in maps.items():
        maps[name] = np.zeros(info.shape[1:], np.float32)
        maps[name][crop] = image
    return found, maps


def _describe(found, registered, info, is_used, filled, device):
    """Add skewness, standard deviation, SNR and the class to suite2p's ROIs, in place."""
    if not found:
        return
    from suite2p.classification import builtin_classfile, classify

    traces, neuropil = extract(found, registered, info, filled=filled, device=device)
    statistics = trace_statistics(
        traces,
        neuropil,
        is_used,
        coefficient=filled["extraction"]["neuropil_coefficient"],
    )
    for i, roi in enumerate(found):
        roi.update({name: float(values[i]) for name, values in statistics.items()})
    probability = classify(stat=found, classfile=builtin_classfile)[:, 1]
    for roi, value in zip(found, probability, strict=True):
        roi["soma_probability"] = float(value)


def as_stat(found):
    """suite2p's array of ROIs, also where there is none or one."""
    stat = np.empty(len(found), object)
    stat[:] = found
    return stat


def roi_table(found):
    """Rows of ``rois.pqt``.

    Parameters
    ----------
    found : list of dict
        suite2p's ROIs with `skew` and `soma_probability`.

    Returns
    -------
    DataFrame
    """

    def centre(key):
        return [np.average(roi[key], weights=roi["lam"]) for roi in found]

    columns = {
        "roi": np.arange(len(found)),
        "y_px": np.array(centre("ypix"), float),
        "x_px": np.array(centre("xpix"), float),
        "n_pixels": np.array([len(roi["ypix"]) for roi in found], np.int64),
    }
    for key in FEATURES:
        columns[key] = np.array([float(roi[key]) for roi in found], float)
    return pd.DataFrame(columns)


def _checks(table, found, settings, figure):
    n = len(table)
    is_soma = table["soma_probability"] > 0.5
    n_pixels = table["n_pixels"].sum()
    n_shared = sum(int(np.count_nonzero(roi["overlap"])) for roi in found)
    rows = [
        ("rois_found", n, f"{is_soma.sum()} of {n} ROIs are probably somata"),
        (
            "shared_pixel_fraction",
            n_shared / n_pixels if n else None,
            f"{n_shared} of {n_pixels} pixels belong to more than one ROI",
        ),
    ]
    return [
        check(name, value, message=message, figure=figure, **settings["checks"][name])
        for name, value, message in rows
    ]
