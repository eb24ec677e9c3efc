"""Detection of ROIs by suite2p, on a movie that is averaged in time."""

import logging
from pathlib import Path

import numpy as np

from sluice.errors import UserError
from sluice.ophys.plane import frame_chunks, read_frames

logger = logging.getLogger(__name__)

MIN_BINS = 10
# What suite2p's `detection_wrapper` says where it finds nothing.
NOTHING_FOUND = "no ROIs were found"


def bin_frames(n_frames, *, sampling_rate_hz, bin_s, max_bins):
    """Frames that are averaged to one before detection.

    As many as last `bin_s`; more where there would be more than `max_bins` bins, fewer where
    there would be less than `MIN_BINS`.

    Parameters
    ----------
    n_frames : int
        Frames that are used.
    sampling_rate_hz, bin_s : float
    max_bins : int

    Returns
    -------
    int
    """
    wanted = max(round(bin_s * sampling_rate_hz), -(-n_frames // max_bins))
    return max(1, min(wanted, n_frames // MIN_BINS))


def bin_movie(path, info, *, is_bad, n_per_bin, yrange, xrange):
    """Average a movie over consecutive good frames.

    Frames that are left over at the end are dropped. Unlike suite2p's function of the same
    name, bad frames are left out however many there are, the whole movie is used however long
    it is, and bins do not start anew every 500 frames.

    Parameters
    ----------
    path : path
    info : PlaneInfo
    is_bad : bool array, shape (n_frames,)
    n_per_bin : int
    yrange, xrange : (int, int)
        Start and stop of the rows and columns that are kept.

    Returns
    -------
    float32 array, shape (n_bins, n_rows, n_columns)
    """
    good = np.flatnonzero(~is_bad)
    n_bins = len(good) // n_per_bin
    bin_of = np.full(info.n_frames, -1)
    bin_of[good[: n_bins * n_per_bin]] = np.arange(n_bins * n_per_bin) // n_per_bin
    binned = np.zeros((n_bins, yrange[1] - yrange[0], xrange[1] - xrange[0]), np.float32)
    for start, stop in frame_chunks(info):
        chunk = read_frames(path, info, start, stop)[:, slice(*yrange), slice(*xrange)]
        for frame, k in zip(chunk, bin_of[start:stop], strict=True):
            if k >= 0:
                binned[k] += frame
    binned /= n_per_bin
    return binned


def detect_rois(binned, *, shape, yrange, xrange, filled, device):
    """Find ROIs by their activity (sparsery, sourcery).

    Parameters
    ----------
    binned : float32 array, shape (n_bins, n_rows, n_columns)
        Of `bin_movie`; may be changed.
    shape : tuple of int
        (n_frames, height, width) of the movie.
    yrange, xrange : (int, int)
        Where `binned` lies in the image.
    filled : dict
        Of `suite2p_settings`.
    device : str

    Returns
    -------
    stat : list of dict
        suite2p's, in the order found; empty where nothing was found, which in suite2p is an
        exception that ends the run (suite2p#401, #863).
    outputs : dict
        suite2p's detection outputs; empty likewise.
    """
    import torch
    from suite2p.detection import assign_overlaps, detection_wrapper

    try:
        outputs, stat, _ = detection_wrapper(
            _Shape(shape),
            diameter=np.array(filled["diameter"]),
            tau=filled["tau"],
            fs=filled["fs"],
            yrange=list(yrange),
            xrange=list(xrange),
            mov=binned,
            preclassify=0.0,
            settings=filled["detection"],
            device=torch.device(device),
        )
    except ValueError as error:
        if NOTHING_FOUND not in str(error):
            raise
        logger.info("suite2p found no ROI")
        return [], {}
    return list(assign_overlaps(stat, *shape[1:])), outputs


class _Shape:
    """What `detection_wrapper` reads of a movie where the binned one is given: its shape."""

    def __init__(self, shape):
        self.shape = shape


def detect_by_cellpose(binned, *, shape, yrange, xrange, filled, image, weights, device):
    """Find ROIs by their looks, with cellpose and weights on disk.

    suite2p passes no name of weights on to cellpose, which then downloads its own
    (suite2p#1178, #1259); so cellpose is called here, and suite2p's functions turn its
    labels into ROIs.

    Parameters
    ----------
    binned, shape, yrange, xrange, filled, device
        As `detect_rois`.
    image : str
        ``mean`` or ``max``: over the bins.
    weights : path
        Cellpose's weights; see `require_weights`.

    Returns
    -------
    list of dict
        suite2p's; empty where nothing was found.
    """
    import torch
    from cellpose.models import CellposeModel

    projection = binned.mean(axis=0) if image == "mean" else binned.max(axis=0)
    model = CellposeModel(pretrained_model=str(weights), device=torch.device(device))
    options = filled["detection"]["cellpose_settings"]
    labels = model.eval(
        projection,
        diameter=filled["diameter"][0],
        flow_threshold=options["flow_threshold"],
        cellprob_threshold=options["cellprob_threshold"],
    )[0]
    return rois_from_labels(labels, projection, shape, yrange, xrange, filled)


def rois_from_labels(labels, projection, shape, yrange, xrange, filled):
    """Turn an image of labels into suite2p's ROIs.

    Parameters
    ----------
    labels : int array, shape (n_rows, n_columns)
        0 outside; other numbers need not be consecutive.
    projection : float32 array, shape (n_rows, n_columns)
        Weights of pixels: brightness over the darkest pixel.
    shape, yrange, xrange, filled
        As `detect_rois`.

    Returns
    -------
    list of dict
    """
    from suite2p.detection import assign_overlaps, roi_stats
    from suite2p.detection.anatomical import masks_to_stats

    known, labels = np.unique(labels, return_inverse=True)
    labels = labels.reshape(projection.shape) + (0 if known[0] == 0 else 1)
    if not labels.any():
        return []
    # no weight is zero: a ROI of equal pixels keeps its pixels
    positive = projection - projection.min() + 1e-3 * (np.ptp(projection) + 1e-6)
    stat = masks_to_stats(labels, positive)
    for roi in stat:
        roi["ypix"] += yrange[0]
        roi["xpix"] += xrange[0]
        roi["med"] = [roi["med"][0] + yrange[0], roi["med"][1] + xrange[0]]
    detection = filled["detection"]
    stat = roi_stats(
        stat,
        *shape[1:],
        diameter=filled["diameter"],
        max_overlap=detection["max_overlap"],
        do_soma_crop=detection["soma_crop"],
        npix_norm_min=detection["npix_norm_min"],
        npix_norm_max=detection["npix_norm_max"],
        median=True,
    )
    return list(assign_overlaps(stat, *shape[1:]))


def require_weights(settings):
    """Return the file of cellpose's weights; complain where there is none.

    Parameters
    ----------
    settings : dict
        ``ophys.segment_plane``.

    Returns
    -------
    Path or None
        None where the algorithm is not cellpose.

    Raises
    ------
    UserError
        Before cellpose is imported: given a missing file, it would download its own.
    """
    if settings["algorithm"] != "cellpose":
        return None
    path = settings["cellpose_model"]
    if path is not None and Path(path).is_file():
        return Path(path)
    found = "not set" if path is None else f"{path}, which is no file"
    raise UserError(
        f"ophys.segment_plane.cellpose_model is {found}; the algorithm 'cellpose' needs a file "
        "of cellpose weights on disk. Nothing is downloaded: copy the file (for instance cpsam, "
        "from cellpose's page) and name it there, or use the algorithm 'sparsery'."
    )
