"""Time of sliding medians and of dF/F beside SciPy's filters.

    python benchmarks/dff.py [--rois 400] [--frames 100000] [--peer-rois 4] [--threads 2]

Made-up traces at 30 Hz. Three peers, each run on fewer ROIs and scaled: `scipy.signal.medfilt`
as installed, which since scipy#20543 (2024) filters one dimension in time that grows with the
logarithm of the window; the same trace as an image of one row, which SciPy still filters by a
selection in every window, as it did everything before and as the AllenSDK's SciPy does (a short
piece of it, scaled too); and the whole of dF/F with `medfilt` in place of ours. CPU time is of
all threads of this process, so it holds on a busy machine. What compiles is run once before.
"""

import argparse
import time

import numba
import numpy as np
from scipy import ndimage
from scipy.signal import lfilter, medfilt

from sluice.median_filter import sliding_median
from sluice.ophys.dff import compute_dff
from sluice.settings import validate_settings

RATE_HZ = 30.0
LONG = 5401
SHORT = 101
NOISE = 101
# Frames of the piece that every window of is selected from anew.
PIECE = 10_000


def made_up_traces(n_rois, n_frames):
    """Fluorescence of active cells: baseline, events that decay, noise."""
    rng = np.random.default_rng(0)
    traces = np.empty((n_rois, n_frames), np.float32)
    for row in traces:
        events = (rng.random(n_frames) < 0.01) * rng.gamma(2, 100, n_frames)
        calcium = lfilter([1], [1, -np.exp(-1 / (0.5 * RATE_HZ))], events)
        row[:] = 500 + 50 * np.sin(np.arange(n_frames) / 2e4) + calcium
        row += rng.normal(0, 30, n_frames)
    return traces


def peer_noise(trace):
    """Noise as the AllenSDK measures it, with SciPy's filter."""
    rest = trace - medfilt(trace, NOISE)
    rest = rest[rest < 1.5 * abs(rest.min())]
    rest = rest[np.abs(rest) < 2.5 * 1.4826 * np.median(np.abs(rest - np.median(rest)))]
    return 1.4826 * np.median(np.abs(rest - np.median(rest)))


def peer_dff(traces):
    """dF/F as the AllenSDK computes it, with SciPy's filter."""
    found = np.empty(traces.shape, np.float32)
    for row, trace in enumerate(traces.astype(np.float64)):
        f0 = medfilt(trace, LONG)
        dff = (trace - f0) / np.maximum(f0, peer_noise(trace))
        found[row] = dff - np.minimum(medfilt(dff, SHORT), 2.5 * peer_noise(dff))
    return found


def timed(work):
    """Answer, seconds and CPU seconds of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, np.array([time.perf_counter() - wall, time.process_time() - cpu])


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rois", type=int, default=400)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--peer-rois", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    traces = made_up_traces(options.rois, options.frames)
    some = traces[: options.peer_rois]
    scale = options.rois / options.peer_rois
    # detrended as the AllenSDK does, to be compared with it
    settings = validate_settings({})["ophys"]["dff"] | {"detrend": True}

    def ours(which, padding="reflect"):
        return compute_dff(
            which, sampling_rate_hz=RATE_HZ, settings=settings | {"padding": padding}
        )[0]

    ours(some[:, :1000])
    median, t_ours = timed(lambda: sliding_median(traces, window=LONG, padding="constant"))
    by_scipy, t_scipy = timed(lambda: np.stack([medfilt(one, LONG) for one in some]))
    piece = traces[:1, :PIECE]
    _, t_select = timed(lambda: ndimage.median_filter(piece, (1, LONG), mode="constant"))
    dff, t_dff = timed(lambda: ours(traces))
    sdk, t_sdk = timed(lambda: peer_dff(some))
    rows = [
        (f"median of {LONG}: sluice", t_ours, t_ours),
        ("  scipy.signal.medfilt as installed", t_scipy * scale, t_ours),
        (
            "  selection in every window",
            t_select * options.rois * options.frames / PIECE,
            t_ours,
        ),
        ("dF/F, all of it: sluice", t_dff, t_dff),
        ("  with scipy.signal.medfilt", t_sdk * scale, t_dff),
    ]
    print(
        f"{options.rois} ROIs of {options.frames:,} frames, {options.threads} threads; "
        f"peers from {options.peer_rois} ROIs, selection from {PIECE:,} frames of one"
    )
    print(f"{'':38}{'s':>10}{'CPU s':>10}{'ratio':>9}{'CPU ratio':>11}")
    for name, taken, base in rows:
        ratio = taken / base
        print(f"{name:38}{taken[0]:10.2f}{taken[1]:10.2f}{ratio[0]:9.1f}{ratio[1]:11.1f}")
    inside = slice(LONG, -LONG)
    same = ours(some, "constant")
    print(
        f"largest difference of the medians: {np.abs(median[: len(some)] - by_scipy).max():g}; "
        f"of dF/F with zeros beyond the ends: {np.abs(same - sdk).max():.1e}; mirrored, away "
        f"from the ends: {np.abs(dff[: len(some)] - sdk)[:, inside].max():.1e}"
    )


if __name__ == "__main__":
    main()
