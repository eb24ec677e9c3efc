"""Time of calcium events: the fewest that explain a trace, and OASIS beside suite2p's.

    python benchmarks/events.py [--rois 40] [--frames 100000] [--of-rois 400] [--threads 2]

Made-up dF/F at 30 Hz. The step is timed with both methods, the search for each ROI's penalty
included, and scaled to `--of-rois`. suite2p's OASIS solves the same problem as ours without
penalty; both give the same events, but for float32 and for the first frames, where suite2p's
calcium may begin below 0. For the fewest events there is no peer to install: the published solver
(FastLZeroSpikeInference) is not on a package index. The dynamic program over where the last
segment began, which prunes nothing, is timed on a short trace and scaled with the square of its
length. CPU time is of all threads of this process. What compiles is run once before.
"""

import argparse
import time

import numba
import numpy as np
from scipy.signal import lfilter

from sluice.ophys.events import detect_events
from sluice.ophys.l0 import solve_l0
from sluice.ophys.oasis import oasis_events
from sluice.settings import validate_settings
from sluice.torchvision_ops import define_torchvision_ops

RATE_HZ = 30.0
DECAY_S = 0.5
SHORT = 3000
FIRST = 300


def made_up_dff(n_rois, n_frames):
    """dF/F of cells with about an event in three seconds."""
    rng = np.random.default_rng(0)
    dff = np.empty((n_rois, n_frames), np.float32)
    for row in dff:
        events = (rng.random(n_frames) < 0.01) * rng.gamma(3, 0.2, n_frames)
        row[:] = lfilter([1], [1, -np.exp(-1 / (DECAY_S * RATE_HZ))], events)
        row += rng.normal(0, rng.uniform(0.05, 0.2), n_frames)
    return dff


@numba.njit(cache=True)
def unpruned(trace, decay, penalty):
    """Least cost by the program that tries every start of the last segment; jumps both ways."""
    best = np.empty(trace.size + 1)
    best[0] = -penalty
    for stop in range(1, trace.size + 1):
        best[stop] = np.inf
        squares, product, weight, shape = 0.0, 0.0, 0.0, 1.0
        # from the segment of one frame to the longest; calcium is counted at its end
        for start in range(stop - 1, -1, -1):
            squares += trace[start] ** 2
            product += trace[start] * shape
            weight += shape * shape
            shape /= decay
            cost = 0.5 * (squares - max(product, 0.0) ** 2 / weight)
            best[stop] = min(best[stop], best[start] + penalty + cost)
    return best[-1]


def timed(work):
    """Answer, seconds and CPU seconds of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, np.array([time.perf_counter() - wall, time.process_time() - cpu])


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rois", type=int, default=40)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--of-rois", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-peer", action="store_true", help="leave suite2p out")
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    dff = made_up_dff(options.rois, options.frames)
    decay = float(np.exp(-1 / (DECAY_S * RATE_HZ)))
    section = validate_settings({})["ophys"]["events"]

    def step(which, method):
        return detect_events(
            which,
            sampling_rate_hz=RATE_HZ,
            decay_s=DECAY_S,
            settings=section | {"method": method},
        )

    for method in ("l0", "oasis"):
        step(dff[:2, :500], method)
    short = dff[0, :SHORT].astype(np.float64)
    unpruned(short[:10], decay, 0.1)
    solve_l0(short[:10], decay, 0.1, 1e-9, True)

    scale = options.of_rois / options.rois
    (_, table), t_l0 = timed(lambda: step(dff, "l0"))
    penalty = float(table["penalty"][0])
    (_, _, cost), t_pruned = timed(lambda: solve_l0(short, decay, penalty, 1e-9, True))
    slow_cost, t_slow = timed(lambda: unpruned(short, decay, penalty))
    _, t_one = timed(lambda: solve_l0(dff[0].astype(np.float64), decay, penalty, 1e-4, False))
    _, t_step = timed(lambda: step(dff, "oasis"))
    kernel = {"decay": decay, "penalty": 0.0, "min_event": 0.0}
    ours, t_oasis = timed(lambda: oasis_events(dff, **kernel))
    rows = [
        ("l0, the step", t_l0 * scale),
        ("oasis, the step", t_step * scale),
        ("oasis alone", t_oasis * scale),
    ]
    if not options.no_peer:
        found, taken = peer(dff)
        rows.append(("suite2p's oasis alone", taken * scale))
    print(
        f"scaled from {options.rois} to {options.of_rois} ROIs of {options.frames:,} frames, "
        f"{options.threads} threads"
    )
    print(f"{'':28}{'s':>10}{'CPU s':>10}")
    for name, taken in rows:
        print(f"{name:28}{taken[0]:10.2f}{taken[1]:10.2f}")
    print(
        f"l0 of one trace at one penalty: {t_one[1]:.3f} CPU s; of {SHORT} frames "
        f"{t_pruned[1] * 1e3:.2f} ms, without pruning {t_slow[1] * 1e3:.1f} ms, the same "
        f"minimum within {abs(cost - slow_cost):.1e}"
    )
    if not options.no_peer:
        off = np.abs(ours - found)[:, FIRST:].max()
        print(f"largest difference of oasis from suite2p's after {FIRST} frames: {off:.1e}")


def peer(dff):
    """suite2p's events and the time they took."""
    define_torchvision_ops()
    from suite2p.extraction import dcnv

    def work(which):
        return dcnv.oasis(F=which, batch_size=len(which), tau=DECAY_S, fs=RATE_HZ)

    work(dff[:2, :500].copy())
    return timed(lambda: work(dff.copy()))


if __name__ == "__main__":
    main()
