"""Non-negative deconvolution of a trace with exponential decay (OASIS)."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def solve_oasis(trace, decay, penalty, min_event):
    """Fit calcium that decays and rises at any time; exact where `min_event` is 0.

        minimise  ½ Σ (y_t - c_t)² + L Σ s_t   over  s_t = c_t - g c_{t-1} ≥ 0,  s_1 = c_1 ≥ 0

    Neighbouring frames are pooled: a pool starts at some calcium and decays. Wherever a pool
    begins below what the one before it has decayed to, the two become one (Friedrich, Zhou
    and Paninski 2017). As Σ s_t = (1 - g) Σ c_t + g c_T, the penalty only lowers the trace.

    Parameters
    ----------
    trace : float64 array, shape (n_frames,)
        dF/F. A NaN frame is not fitted, and nothing rises there; those before the first
        number are left out.
    decay : float
        g, between 0 and 1.
    penalty : float
        L, unit of `trace`, 0 or more.
    min_event : float
        Pools also become one where the rise is smaller than this. Above 0 the answer is a
        local minimum, as in OASIS.

    Returns
    -------
    calcium : float64 array, shape (n_frames,)
    events : float64 array, shape (n_frames,)
        s_t; 0 in the first frame, whose calcium is from before, and where there is no rise.
    """
    n_frames = trace.size
    start = 0
    while start < n_frames and np.isnan(trace[start]):
        start += 1
    # of a pool: first frame; its calcium there is total / weight, at least 0
    first = np.empty(n_frames + 1, np.int64)
    total, weight = np.empty(n_frames), np.empty(n_frames)
    n = 0
    for t in range(start, n_frames):
        is_missing = np.isnan(trace[t])
        first[n] = t
        total[n] = -penalty * (1 - decay if t < n_frames - 1 else 1.0)
        total[n] += 0.0 if is_missing else trace[t]
        weight[n] = 0.0 if is_missing else 1.0
        n += 1
        while n > 1:
            factor = decay ** (first[n - 1] - first[n - 2])
            before = factor * max(total[n - 2] / weight[n - 2], 0.0)
            if weight[n - 1] > 0 and total[n - 1] / weight[n - 1] >= before + min_event:
                break
            n -= 1
            total[n - 1] += factor * total[n]
            weight[n - 1] += factor * factor * weight[n]
    calcium, events = np.full(n_frames, np.nan), np.zeros(n_frames)
    first[n] = n_frames
    for k in range(n):
        calcium[first[k]] = max(total[k] / weight[k], 0.0)
        for t in range(first[k] + 1, first[k + 1]):
            calcium[t] = decay * calcium[t - 1]
        if k > 0:
            events[first[k]] = calcium[first[k]] - decay * calcium[first[k] - 1]
    return calcium, events


@njit(cache=True, nogil=True, parallel=True)
def _rows(traces, decay, penalty, min_event, events):
    for i in prange(traces.shape[0]):
        found = solve_oasis(traces[i], decay, penalty, min_event)[1]
        events[i] = np.where(np.isnan(traces[i]), np.nan, found)


def oasis_events(traces, *, decay, penalty, min_event):
    """Deconvolve each ROI's trace; see `solve_oasis`.

    Parameters
    ----------
    traces : float array, shape (n_rois, n_frames)
        dF/F around 0 where the cell is silent.
    decay, penalty, min_event : float

    Returns
    -------
    float64 array, shape (n_rois, n_frames)
        Size of the rise at its frame, else 0; NaN where the trace is.
    """
    traces = np.ascontiguousarray(traces, dtype=np.float64)
    events = np.empty(traces.shape)
    if traces.size:
        _rows(traces, decay, penalty, min_event, events)
    return events
