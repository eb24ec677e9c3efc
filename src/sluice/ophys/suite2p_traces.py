"""suite2p's own traces: fluorescence, neuropil, and spikes."""

import numpy as np
from scipy.stats import skew

from sluice.ophys.movie_reader import MovieReader
from sluice.ophys.suite2p_settings import import_suite2p

# Size of the float32 copy of the frames that suite2p multiplies with the masks at once.
BATCH_BYTES = 128_000_000


def extract(stat, movie, info, *, filled, device):
    """Fluorescence of ROIs and of the neuropil around them, by suite2p.

    Pixels that ROIs share are left out of both, unless suite2p's `allow_overlap` is set.

    Parameters
    ----------
    stat : list of dict
        suite2p's ROIs; may be empty.
    movie : path
        ``registered.bin``.
    info : PlaneInfo
    filled : dict
        Of `suite2p_settings`.
    device : str

    Returns
    -------
    traces, neuropil : float32 array, shape (n_rois, n_frames)
        Intensity as recorded. The neuropil is 0 where suite2p's `neuropil_extract` is off.
    """
    import_suite2p()
    import torch
    from suite2p.extraction import extraction_wrapper

    if len(stat) == 0:
        return tuple(np.zeros((0, info.n_frames), np.float32) for _ in range(2))
    batch = max(1, BATCH_BYTES // (4 * info.height * info.width))
    settings = {**filled["extraction"], "batch_size": min(500, batch)}
    found = extraction_wrapper(
        stat, MovieReader(movie, info), settings=settings, device=torch.device(device)
    )
    scale, offset = np.float32(info.scale), np.float32(info.offset)
    traces, neuropil = found[0] * scale + offset, found[1]
    if settings["neuropil_extract"]:
        neuropil = neuropil * scale + offset
    return traces, neuropil


def trace_statistics(traces, neuropil, is_used, *, coefficient):
    """Skewness, standard deviation and signal-to-noise ratio of neuropil-corrected traces.

    As suite2p (pipeline_s2p), over the frames that are used: a few blank frames would decide
    the skewness. The ratio is 1 - var(diff) / (2 var), 0 for white noise.

    Parameters
    ----------
    traces, neuropil : float32 array, shape (n_rois, n_frames)
    is_used : bool array, shape (n_frames,)
    coefficient : float
        Share of the neuropil that is subtracted.

    Returns
    -------
    dict of float64 array, shape (n_rois,)
        ``skew``, ``std``, ``snr``; skew and snr are NaN for a constant trace.
    """
    corrected = (traces - coefficient * neuropil)[:, is_used].astype(np.float64)
    variance = corrected.var(axis=1)
    varies = variance > 0
    found = {
        "skew": np.full(len(corrected), np.nan),
        "std": np.sqrt(variance),
        "snr": np.full(len(corrected), np.nan),
    }
    found["skew"][varies] = skew(corrected[varies], axis=1)
    noise = np.diff(corrected[varies], axis=1).var(axis=1) / 2
    found["snr"][varies] = 1 - noise / variance[varies]
    return found


def deconvolve(traces, neuropil, *, filled, device):
    """suite2p's spikes: baseline subtracted, then non-negative deconvolution (OASIS).

    Parameters
    ----------
    traces, neuropil : float32 array, shape (n_rois, n_frames)
    filled : dict
        Of `suite2p_settings`.
    device : str

    Returns
    -------
    float32 array, shape (n_rois, n_frames)
    """
    import_suite2p()
    import torch
    from suite2p.extraction import oasis, preprocess

    if len(traces) == 0:
        return np.zeros_like(traces)
    corrected = traces - filled["extraction"]["neuropil_coefficient"] * neuropil
    batch = filled["extraction"]["batch_size"]
    corrected = preprocess(
        F=corrected.astype(np.float32),
        fs=filled["fs"],
        batch_size=batch,
        device=torch.device(device),
        **filled["dcnv_preprocess"],
    )
    return oasis(F=corrected, batch_size=batch, tau=filled["tau"], fs=filled["fs"])
