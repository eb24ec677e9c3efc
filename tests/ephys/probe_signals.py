"""Recordings in memory with a known surface, known bad channels, gaps and saturation.

Drawn here with numpy alone, so that neither the steps nor `sluice.synth` can share an error
with them.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import spikeinterface.core as si
from probeinterface.neuropixels_tools import build_neuropixels_probe
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

RATE_HZ = 30000.0
LF_EVERY = 12
AP_UV, LF_UV = 2.34375, 4.6875
MAX_INT = 512


def neuropixels_table(n_channels, part_number="NP1010", n_shanks=1):
    """Channel table of the first contacts of each shank, in the order of their depth."""
    probe = build_neuropixels_probe(part_number)
    position = probe.contact_positions
    shank = np.array([int(s) for s in probe.shank_ids]) if n_shanks > 1 else np.zeros(len(position))
    rows = []
    for k in range(n_shanks):
        on_shank = np.flatnonzero(shank == k)
        on_shank = on_shank[np.lexsort((position[on_shank, 0], position[on_shank, 1]))]
        for contact in on_shank[: n_channels // n_shanks]:
            rows.append((*position[contact], k))
    return channel_table(np.array(rows), AP_UV)


def channel_table(geometry, gain_uv):
    """Channel table of contacts (x, y, shank)."""
    n = len(geometry)
    return pd.DataFrame(
        {
            "channel": np.arange(n),
            "channel_id": [f"AP{i}" for i in range(n)],
            "x_um": geometry[:, 0],
            "y_um": geometry[:, 1],
            "shank": geometry[:, 2].astype(int),
            "gain_uv": gain_uv,
            "median_group": np.arange(n) % 24,
            "sample_shift": 0.0,
            "is_reference": False,
        }
    )


def recording_of(traces, rate_hz, gain_uv):
    """SpikeInterface's recording of an array in bits."""
    recording = si.NumpyRecording([traces], rate_hz)
    recording.set_channel_gains(gain_uv)
    recording.set_channel_offsets(0)
    return recording


def slow_field_uv(rng, n_samples, y_um, rate_hz, *, corner_hz=6.0, length_um=600.0):
    """A field of unit variance, smooth in time and along the probe (RMS 1)."""
    grid_um = np.arange(y_um.min() - 500, y_um.max() + 500, 20.0)
    white = rng.standard_normal((n_samples, len(grid_um)))
    sos = butter(2, corner_hz, "lowpass", fs=rate_hz, output="sos")
    field = gaussian_filter1d(sosfilt(sos, white, axis=0), length_um / 20, axis=1)
    field /= field.std()
    return np.stack([np.interp(y_um, grid_um, row) for row in field])


def make_probe(
    table,
    *,
    seconds=12.0,
    seed=0,
    outside=None,
    dead=(),
    noisy=(),
    lfp_uv=120.0,
    common_lfp_uv=40.0,
    two_bands=True,
):
    """Draw AP (and LF) traces in bits.

    `outside` is a mask of channels above the surface, on which a tenth of the brain's
    signals is left. `common_lfp_uv` is what the amplifier's reference puts on all channels.
    """
    rng = np.random.default_rng(seed)
    n_channels, n_lf = len(table), int(seconds * RATE_HZ / LF_EVERY)
    outside = np.zeros(n_channels, bool) if outside is None else outside
    gain = np.where(outside, 0.1, 1.0)
    gain[list(dead)] = 0.0
    y_um = table["y_um"].to_numpy() + 1000.0 * table["shank"].to_numpy()
    lfp = slow_field_uv(rng, n_lf, y_um, RATE_HZ / LF_EVERY) * gain * lfp_uv
    reference = slow_field_uv(rng, n_lf, np.zeros(1), RATE_HZ / LF_EVERY) * common_lfp_uv
    alive = np.ones(n_channels)
    alive[list(dead)] = 0.0
    lfp += reference * alive + 4.0 * rng.standard_normal(lfp.shape)

    n = n_lf * LF_EVERY
    scale = np.where(outside, 4.0, 6.0)
    scale[list(dead)] = 1.0
    scale[list(noisy)] = 60.0
    ap = rng.standard_normal((n, n_channels), dtype=np.float32) * scale.astype(np.float32)
    common = rng.standard_normal((n, 1), dtype=np.float32) * 8
    ap += common * gain.astype(np.float32)
    if not two_bands:
        ap += np.repeat(lfp, LF_EVERY, axis=0).astype(np.float32)
    ap_bits = np.clip(np.round(ap / AP_UV), -MAX_INT, MAX_INT - 1).astype(np.int16)
    lf_bits = np.clip(np.round(lfp / LF_UV), -MAX_INT, MAX_INT - 1).astype(np.int16)
    return SimpleNamespace(table=table, ap=ap_bits, lf=lf_bits if two_bands else None)
