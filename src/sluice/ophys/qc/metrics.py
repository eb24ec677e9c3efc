"""The numbers behind the checks of `plane_qc`, for ``metrics.json``."""

import math
from dataclasses import asdict

import numpy as np


def median_of(values):
    """Median of the finite values; None where there are none."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def make_metrics(found, z_step_um):
    """Collect the numbers behind the checks.

    Parameters
    ----------
    found : Measured
    z_step_um : float or None

    Returns
    -------
    dict
        Fit for JSON: what is not a number is None. Intensities as recorded; times are those of
        ``frames.pqt``, of a block the middle of its first and last frame.
    """
    gain, rois = found.gain, found.rois
    out = {
        "n_used_frames": int(np.count_nonzero(np.isfinite(found.movie.frame_mean))),
        "border_px": asdict(found.border),
        "intensity": {
            "start": found.drift.start,
            "end": found.drift.end,
            "drift_percent": found.drift.percent,
            "bleaching_percent": found.bleaching.percent,
            "bleaching_tau_s": found.bleaching.tau_s,
            "shape": found.bleaching.kind,
            "n_saturated_pixels": int(np.count_nonzero(found.saturated)),
            "snr_median": median_of(found.snr),
            "snr_std": float(np.nanstd(found.snr)) if np.isfinite(found.snr).any() else None,
        },
        "photons": {
            "gain": gain.gain,
            "gain_error": gain.gain_error,
            "background": gain.background,
            "background_error": gain.background_error,
            "n_pairs": found.transfer.n_pairs,
            "n_pixels": int(np.count_nonzero(gain.used)),
            "photons_per_pixel": found.photons_per_pixel,
            "photons_per_roi": rois.photons.tolist(),
            "d_prime": rois.d_prime.tolist(),
            "noise_percent_per_root_hz": found.noise.tolist(),
        },
        "epilepsy": {
            "event_times_s": found.time_s[found.epilepsy.events].tolist(),
            "threshold_percent": found.epilepsy.threshold_percent,
        },
        "z_drift": _z_metrics(found, z_step_um),
        "crosstalk": None
        if found.crosstalk is None
        else {"fraction": found.crosstalk.fraction, "offset_px": found.crosstalk.offset_px},
    }
    return _plain(out)


def _z_metrics(found, z_step_um):
    z = found.z_drift
    if z is None:
        return None
    first, after = found.z_blocks.T
    return {
        "drift_um": z.drift_um,
        "range_um": z.range_um,
        "time_s": ((found.time_s[first] + found.time_s[after - 1]) / 2).tolist(),
        "depth_um": (z.position[:-2] * z_step_um).tolist(),
        "correlation": z.peak[:-2].tolist(),
        "start_profile": z.correlation[-2].tolist(),
        "end_profile": z.correlation[-1].tolist(),
        "z_step_um": float(z_step_um),
    }


def _plain(value):
    """Make it fit for JSON, which has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
