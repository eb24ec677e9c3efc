"""What changes during a made-up session: transients, neuropil, motion, brightness."""

import numpy as np
from scipy.signal import lfilter

# Fastest change of the neuropil: it is a sum of many transients with this decay.
_NEUROPIL_DECAY_S = 0.5
_SLOW_S, _FAST_S = 15.0, 0.3
_EPILEPTIC_WIDTH_S = 0.2
_FIELD_PART = 0.2


def draw_events(rng, settings):
    """Draw one cell's events.

    Parameters
    ----------
    rng : Generator
    settings : PlaneSettings

    Returns
    -------
    frames : int64 array
        Onsets, ascending, at least 0.3 s and 3 frames apart, at least one of them.
    amplitudes : float64 array
        Peaks in dF/F.
    """
    n_frames, rate_hz = settings.n_frames, settings.sampling_rate_hz
    events_hz = rng.uniform(*settings.event_rate_hz)
    n_events = max(3, rng.poisson(events_hz * n_frames / rate_hz))
    # the first and last five frames are kept free, where there are so many
    edge = min(5, (n_frames - 1) // 2)
    frames = np.unique(rng.integers(edge, max(n_frames - edge, edge + 1), n_events))
    gap = max(3, round(0.3 * rate_hz))
    kept = [frames[0]]
    for frame in frames[1:]:
        if frame - kept[-1] >= gap:
            kept.append(frame)
    low, high = np.log(settings.event_amplitude)
    return np.array(kept, np.int64), np.exp(rng.uniform(low, high, len(kept)))


def make_dff(frames, amplitudes, settings):
    """Sum an exponentially decaying transient for each event.

    The transient is ``(1 - exp(-(t + dt) / rise)) * exp(-t / decay)`` from its onset on, over
    its largest sample, with dt the length of a frame.

    Parameters
    ----------
    frames : int64 array
    amplitudes : float64 array
    settings : PlaneSettings

    Returns
    -------
    float64 array, shape (n_frames,)
    """
    step_s = 1 / settings.sampling_rate_hz
    train = np.zeros(settings.n_frames)
    np.add.at(train, frames, amplitudes)
    # the kernel is the difference of two exponentials, each a filter of first order
    slow = np.exp(-step_s / settings.decay_s)
    rise = np.exp(-step_s / settings.rise_s)
    kernel = slow ** np.arange(200) - rise * (slow * rise) ** np.arange(200)
    dff = lfilter([1], [1, -slow], train) - rise * lfilter([1], [1, -slow * rise], train)
    return dff / kernel.max()


def isolated_events(frames, settings):
    """Tell the events that no other of the cell disturbs.

    Parameters
    ----------
    frames : int64 array
        Ascending.
    settings : PlaneSettings

    Returns
    -------
    bool array
        No other onset in three decay times before and 1 s after.
    """
    before = np.diff(frames, prepend=-(10**9)) / settings.sampling_rate_hz
    after = np.diff(frames, append=10**9) / settings.sampling_rate_hz
    return (before > 3 * settings.decay_s) & (after > 1.0)


def draw_neuropil(rng, settings, n_regions):
    """Draw how the neuropil changes.

    Parameters
    ----------
    rng : Generator
    settings : PlaneSettings
    n_regions : int

    Returns
    -------
    float32 array, shape (n_frames, 1 + n_regions)
        Relative change of the whole field, standard deviation `neuropil_sd` / 5, and of
        regions, `neuropil_sd`; mean about 0. The regions' changes sum to about 0, as those of
        a real field hardly show in its mean.
    """
    rate_hz = settings.sampling_rate_hz
    decay = np.exp(-1 / (_NEUROPIL_DECAY_S * rate_hz))
    out = np.empty((settings.n_frames, 1 + n_regions))
    # what came before the first frame still decays in it
    before = round(5 * _NEUROPIL_DECAY_S * rate_hz)
    for k in range(out.shape[1]):
        train = rng.gamma(0.5, size=before + settings.n_frames)
        trace = lfilter([1], [1, -decay], train)[before:]
        out[:, k] = trace - trace.mean()
    out[:, 1:] -= out[:, 1:].mean(axis=1, keepdims=True)
    # no lower than 1.5 standard deviations, so that light stays where regions overlap
    out = np.maximum(out / np.maximum(out.std(axis=0), 1e-9), -1.5)
    out[:, 0] *= _FIELD_PART
    return (settings.neuropil_sd * out).astype(np.float32)


def draw_motion(rng, settings):
    """Draw rigid shifts: slow wander, fast jitter and a few jerks.

    Parameters
    ----------
    rng : Generator
    settings : PlaneSettings

    Returns
    -------
    float64 array, shape (n_frames, 2)
        y and x in pixels; standard deviation `motion_px`, at most three times that.
    """
    n_frames, rate_hz = settings.n_frames, settings.sampling_rate_hz
    slow = _wander(rng, n_frames, _SLOW_S * rate_hz)
    fast = _wander(rng, n_frames, _FAST_S * rate_hz)
    jerks = np.zeros((n_frames, 2))
    for start in rng.integers(0, n_frames, max(1, round(n_frames / rate_hz / 30))):
        jerks[start : start + 5] += 2 * rng.standard_normal(2)
    shifts = 0.8 * slow + 0.5 * fast + 0.7 * jerks
    shifts /= np.maximum(shifts.std(axis=0), 1e-9)
    return settings.motion_px * np.clip(shifts, -3, 3)


def draw_shear(rng, settings):
    """Draw the size of the slow shear; float64 of shape (n_frames, 2)."""
    slow = _wander(rng, settings.n_frames, _SLOW_S * settings.sampling_rate_hz)
    return settings.nonrigid_px * np.clip(slow, -3, 3)


def draw_factor(rng, settings):
    """Draw the brightness of the whole field.

    Parameters
    ----------
    rng : Generator
    settings : PlaneSettings

    Returns
    -------
    factor : float32 array, shape (n_frames,)
    epileptic_frames : int64 array
        Peaks of the events of the whole field, ascending, evenly spread.
    """
    n_frames = settings.n_frames
    frame = np.arange(n_frames)
    factor = (1 - settings.bleaching) ** (frame / max(n_frames - 1, 1))
    for first, size in settings.intensity_steps:
        factor[first:] *= size
    n_epileptic = settings.n_epileptic
    spacing = n_frames / max(n_epileptic, 1)
    peaks = ((np.arange(n_epileptic) + rng.uniform(0.2, 0.8, n_epileptic)) * spacing).astype(int)
    sd = _EPILEPTIC_WIDTH_S * settings.sampling_rate_hz / np.sqrt(8 * np.log(2))
    for peak in peaks:
        factor *= 1 + settings.epileptic_size * np.exp(-0.5 * ((frame - peak) / sd) ** 2)
    return factor.astype(np.float32), peaks.astype(np.int64)


def _wander(rng, n, frames):
    """Draw two stationary first-order processes of unit variance and some correlation time."""
    decay = np.exp(-1 / max(frames, 1e-3))
    white = rng.standard_normal((n, 2))
    white[1:] *= np.sqrt(1 - decay**2)
    return lfilter([1], [1, -decay], white, axis=0)
