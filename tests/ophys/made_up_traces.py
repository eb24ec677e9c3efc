"""Traces of made-up cells: events that decay, on a baseline, with noise."""

from pathlib import Path

import numpy as np
from ophys.plane_files import plane_info
from scipy.signal import lfilter

from sluice.qc import load_checks
from sluice.settings import validate_settings


def settings_of(step, **changes):
    return validate_settings({"ophys": {step: changes}})["ophys"][step]


def info_of(traces, *, rate_hz=10.0):
    return plane_info((traces.shape[1], 8, 8), rate_hz=rate_hz)


def calcium(n_frames, frames, sizes, *, rate_hz, decay_s):
    """dF/F of events at frames, which rise at once and decay."""
    jumps = np.zeros(n_frames)
    np.add.at(jumps, frames, sizes)
    return lfilter([1], [1, -np.exp(-1 / (decay_s * rate_hz))], jumps)


def isolated_frames(rng, n_frames, *, apart):
    """Frames that are at least `apart` from each other, the first and the last."""
    gaps = apart + rng.exponential(apart, n_frames // apart).astype(int)
    frames = np.cumsum(gaps)
    return frames[frames < n_frames - apart]


def f1_score(found, truth, *, within):
    """F1 of events found within so many frames of true ones, each counted once."""
    free = list(truth)
    n_hits = 0
    for frame in found:
        near = [f for f in free if abs(f - frame) <= within]
        if near:
            free.remove(min(near, key=lambda f: abs(f - frame)))
            n_hits += 1
    return 2 * n_hits / (len(found) + len(truth))


def checks_of(path):
    return {check.name: check for check in load_checks(path)}


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
