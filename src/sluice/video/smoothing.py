"""Smoothing of traces with gaps by polynomials (Savitzky and Golay)."""

import numpy as np

from sluice.video.pose import fill_short_gaps

# A frame is smoothed where at least this part of its window's frames is known: fewer, all at
# one side, would bend the polynomial.
_MIN_KNOWN = 0.25


def local_polynomial(trace, *, window, order):
    """Value at each frame of the polynomial through the known frames around it.

    Without gaps and away from both ends this is the filter of Savitzky and Golay. IBL
    (ibldsp.smooth) takes as many known frames whatever their distance; here the window is one
    of time, so the curve does not reach across a gap to frames far off.

    Parameters
    ----------
    trace : float array, shape (n_frames,)
        NaN where unknown.
    window : int
        Frames, odd, centred, fewer at both ends.
    order : int
        Of the polynomial, less than `window`.

    Returns
    -------
    float64 array, shape (n_frames,)
        NaN where the trace is, and where its window has known frames in less than a quarter of
        its length, or no more than `order`.
    """
    if window % 2 == 0 or window <= order:
        raise ValueError(f"the window must be odd and above {order} frames, not {window}")
    trace = np.asarray(trace, np.float64)
    found = np.full(trace.shape, np.nan)
    is_known = ~np.isnan(trace)
    if not is_known.any():
        return found
    half = window // 2
    middle = np.median(trace[is_known])
    values = np.where(is_known, trace - middle, 0)
    # places within the window from -1 to 1; convolving turns them round, and the value at 0 stays
    places = np.arange(-half, half + 1) / max(half, 1)
    n_known = np.rint(_sums(is_known.astype(float), np.ones(window)))
    rows = np.flatnonzero(is_known & (n_known >= max(order + 1, _MIN_KNOWN * window)))
    moments = [_sums(is_known.astype(float), places**p)[rows] for p in range(2 * order + 1)]
    products = [_sums(values, places**p)[rows] for p in range(order + 1)]
    powers = np.arange(order + 1)
    normal = np.array(moments)[powers[:, None] + powers]
    weights = np.linalg.solve(np.moveaxis(normal, 2, 0), np.array(products).T[..., None])
    found[rows] = weights[:, 0, 0] + middle
    return found


def _sums(trace, weights):
    """Weighted sums over a centred window; zeros beyond both ends."""
    half = len(weights) // 2
    return np.convolve(trace, weights)[half : half + len(trace)]


def smooth_trace(trace, *, window, order, outlier_std, max_gap_frames):
    """Smooth a trace, without its outliers, and fill short gaps.

    As IBL does for the pupil's diameter (brainbox/behavior/dlc.py): smooth; leave out what is
    further from the smoothed trace than `outlier_std` standard deviations of the differences;
    smooth again; fill gaps in a straight line but for the long ones.

    Parameters
    ----------
    trace : float array, shape (n_frames,)
        NaN where unknown.
    window, order : int
        See `local_polynomial`.
    outlier_std : float
    max_gap_frames : int
        Gaps of more frames stay, and so do those at the beginning and the end.

    Returns
    -------
    float64 array, shape (n_frames,)
    """
    difference = trace - local_polynomial(trace, window=window, order=order)
    known = difference[~np.isnan(difference)]
    limit = outlier_std * known.std() if known.size else np.inf
    with np.errstate(invalid="ignore"):
        kept = np.where(np.abs(difference) > limit, np.nan, trace)
    smooth = local_polynomial(kept, window=window, order=order)
    return fill_short_gaps(smooth[None], max_gap_frames=max_gap_frames)[0]
