"""Time of the neuropil's share of each ROI beside a solution for every r that is tried.

    python benchmarks/neuropil.py [--rois 400] [--frames 100000] [--peer-rois 2] [--threads 2]

The peer is the reference's way (ophys_etl): for every r and fold a banded solution with
`scipy.linalg.solve_banded`, then the error; run on fewer ROIs and scaled. A dense solution for
every r is timed at `--dense-frames` a fold and scaled with the cube of the fold's length, as it
would not fit in memory. CPU time is of all threads of this process. What compiles is run once
before.
"""

import argparse
import time

import numba
import numpy as np
from scipy.linalg import solve_banded
from scipy.signal import lfilter
from threadpoolctl import threadpool_limits

from sluice.ophys.mutual_information import fit_by_mutual_information
from sluice.ophys.neuropil import N_FOLDS, correct_neuropil

SETTINGS = {"method": "allen", "fixed_r": 0.7, "smoothness": 0.05, "max_r": 10.0}


def made_up_traces(n_rois, n_frames):
    """ROIs and the neuropil around them, of which each holds another share."""
    rng = np.random.default_rng(0)
    measured = np.empty((n_rois, n_frames), np.float32)
    neuropil = np.empty_like(measured)
    shared = 200 + lfilter([1], [1, -0.99], rng.normal(0, 3, n_frames))
    for row in range(n_rois):
        neuropil[row] = shared + rng.normal(0, 3, n_frames)
        events = (rng.random(n_frames) < 0.01) * rng.gamma(2, 100, n_frames)
        own = 300 + lfilter([1], [1, -0.93], events) + rng.normal(0, 10, n_frames)
        measured[row] = own + row / n_rois * neuropil[row]
    return measured, neuropil


def peer_r(measured, neuropil, smoothness=0.05):
    """The reference's search; r and how many were tried."""
    n = measured.size // N_FOLDS
    bands = np.full((3, n), -smoothness)
    bands[1] = 1 + 2 * smoothness
    bands[1, [0, -1]] = 1 + smoothness
    folds = [slice(k * n, (k + 1) * n) for k in range(N_FOLDS)]

    def error(r):
        errors = []
        for fold in folds:
            rest = measured[fold] - r * neuropil[fold]
            solved = solve_banded((1, 1), bands, rest)
            errors.append(np.sqrt(np.mean((solved - rest) ** 2)) / measured[fold].mean())
        return np.mean(errors)

    start, stop, step, rounds, n_tried, best = 0.0, 2.0, 0.1, 0, 0, (np.inf, 0.0)
    while rounds < 3:
        tried = np.arange(start, stop, step)
        errors = [error(r) for r in tried]
        n_tried += tried.size
        k = int(np.argmin(errors))
        best = min(best, (errors[k], tried[k]))
        if k == tried.size - 1:
            start, stop = tried[-1], 2 * tried[-1] - tried[0]
            continue
        start, stop = tried[max(k - 1, 0)], tried[min(k + 1, tried.size - 1)]
        step, rounds = step / 10, rounds + 1
    return best[1], n_tried


def dense_solution(n):
    """One dense solution of a fold of n frames."""
    steps = np.diff(np.eye(n), axis=0)
    return np.linalg.solve(np.eye(n) + 0.05 * steps.T @ steps, np.ones(n))


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
    parser.add_argument("--peer-rois", type=int, default=2)
    parser.add_argument("--dense-frames", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    measured, neuropil = made_up_traces(options.rois, options.frames)
    some = [
        (one.astype(float), other.astype(float))
        for one, other in zip(
            measured[: options.peer_rois], neuropil[: options.peer_rois], strict=True
        )
    ]
    scale = options.rois / options.peer_rois
    correct_neuropil(measured[:2, :400], neuropil[:2, :400], **SETTINGS)
    fit_by_mutual_information(measured[:2, :400], neuropil[:2, :400])

    (_, table), t_ours = timed(lambda: correct_neuropil(measured, neuropil, **SETTINGS))
    peers, t_peer = timed(lambda: [peer_r(*pair) for pair in some])
    with threadpool_limits(1):
        _, t_dense = timed(lambda: dense_solution(options.dense_frames))
    n_solutions = options.rois * N_FOLDS * peers[0][1]
    growth = (options.frames / N_FOLDS / options.dense_frames) ** 3
    _, t_information = timed(
        lambda: fit_by_mutual_information(
            measured[: options.peer_rois], neuropil[: options.peer_rois]
        )
    )
    rows = [
        ("sluice, allen", t_ours),
        ("  banded solution for every r", t_peer * scale),
        ("  dense solution for every r", t_dense * n_solutions * growth),
        ("sluice, mutual information (scaled)", t_information * scale),
    ]
    print(
        f"{options.rois} ROIs of {options.frames:,} frames, {options.threads} threads; peers from "
        f"{options.peer_rois} ROIs, dense from {options.dense_frames} frames; {peers[0][1]} r tried"
    )
    print(f"{'':38}{'s':>12}{'CPU s':>12}{'ratio':>12}{'CPU ratio':>12}")
    for name, taken in rows:
        ratio = taken / t_ours
        print(f"{name:38}{taken[0]:12.4g}{taken[1]:12.4g}{ratio[0]:12.4g}{ratio[1]:12.4g}")
    difference = np.abs(table["r_fitted"][: len(peers)] - [r for r, _ in peers]).max()
    print(f"largest difference of r from that of banded solutions: {difference:.1e}")


if __name__ == "__main__":
    main()
