"""Brightness of a movie over time: drift, bleaching, saturation."""

from dataclasses import dataclass

import numpy as np

from sluice.ophys.plane import read_frames
from sluice.ophys.qc.sampling import evenly

# A movie of fewer frames has no start and end to compare.
MIN_FRAMES = 50
# Huber's constant: 95 % as efficient as least squares where residuals are normal.
HUBER = 1.345
# A fall is no decay where a line or a step has a criterion lower by this.
MIN_EVIDENCE = 6.0


@dataclass(frozen=True)
class Drift:
    """Change of brightness from the start to the end of a movie.

    Attributes
    ----------
    percent : float or None
        Of the light at the start; positive where it became brighter.
    start, end : float
        Mean intensity of both windows, as recorded.
    message : str
    """

    percent: float | None
    start: float
    end: float
    message: str


@dataclass(frozen=True)
class Bleaching:
    """A decay fitted to the brightness of a movie.

    Attributes
    ----------
    percent : float or None
        Light lost by the decay over the movie, of that at its first frame; 0 where the
        brightness does not decay. None where it cannot be measured.
    tau_s : float or None
        Time constant; None where there is no decay.
    fit : float64 array, shape (n_frames,), or None
        The curve that fits best, decay, line or step; intensity as recorded.
    kind : str
        ``decay``, ``line``, ``step``, or ``flat`` where nothing was fitted.
    message : str
    """

    percent: float | None
    tau_s: float | None
    fit: np.ndarray | None
    kind: str
    message: str


def intensity_drift(frame_mean, *, dark, margin_frames, window_frames, max_fraction):
    """Measure the change of brightness from the start to the end.

    ``100 * (end - start) / (start - dark)`` (aind-ophys-movie-qc, with dark = 0; frames
    300-500 and -501 to -300). Here both the margin and the window are at most
    `max_fraction` of the movie, so that a short one has them too: from 3000 frames on they
    are the reference's. `dark` is the intensity without light: without it the percentage
    of a movie with a large offset would be of the offset.

    Parameters
    ----------
    frame_mean : float array, shape (n_frames,)
        Mean intensity of each frame; NaN is left out.
    dark : float
        Intensity where no photon arrives; 0 if unknown.
    margin_frames : int
        Frames left out at both ends.
    window_frames : int
        Frames of each window.
    max_fraction : float

    Returns
    -------
    Drift
    """
    n = len(frame_mean)
    if n < MIN_FRAMES:
        return Drift(None, np.nan, np.nan, f"{n} frames; at least {MIN_FRAMES} are needed")
    margin, window = drift_windows(
        n, margin_frames=margin_frames, window_frames=window_frames, max_fraction=max_fraction
    )
    start = frame_mean[margin : margin + window]
    end = frame_mean[n - margin - window : n - margin]
    if np.isnan(start).all() or np.isnan(end).all():
        return Drift(None, np.nan, np.nan, "no usable frame at the start or at the end")
    start, end = float(np.nanmean(start)), float(np.nanmean(end))
    if start - dark <= 0:
        return Drift(None, start, end, "the movie is dark at its start")
    percent = 100 * (end - start) / (start - dark)
    word = "brighter" if percent > 0 else "dimmer"
    return Drift(percent, start, end, f"the end is {abs(percent):.1f} % {word} than the start")


def drift_windows(n_frames, *, margin_frames, window_frames, max_fraction):
    """Frames to leave out at each end and frames of each window, for a movie's length."""
    longest = max(1, int(max_fraction * n_frames))
    return min(margin_frames, longest), min(window_frames, longest)


def fit_bleaching(frame_mean, *, sampling_rate_hz, dark, max_blocks):
    """Fit the brightness over time by a decay, and say how much light it lost.

    The brightness is that of up to `max_blocks` blocks (their medians, so that activity
    counts little). Three curves are fitted, each robustly (Huber, reweighted): a decay
    ``c + b * exp(-t / tau)`` with b > 0 and tau from a fiftieth of the movie to three times
    it; a line; a step. A fall is bleaching unless the line or the step is clearly better (a
    Bayesian information criterion lower by 6), as bleaching is the common cause; the loss
    is ``b * (1 - exp(-T / tau))`` of ``c + b - dark``.

    This is not `intensity_drift`: that is signed, leaves the first frames out, and does not
    ask why. A rise (laser, z-drift) or a step (water lost, a jump in z) is drift alone;
    bleaching within the first frames is no drift; a slow fall is both. A laser or a focus that
    falls off slowly cannot be told from bleaching by brightness: see z_drift_um.

    AIND (aind-ophys-utils, baseline_fitting) fits a sum of exponentials to each trace and
    does not compare it with other curves.

    Parameters
    ----------
    frame_mean : float array, shape (n_frames,)
    sampling_rate_hz, dark : float
    max_blocks : int

    Returns
    -------
    Bleaching
    """
    n = len(frame_mean)
    times, values = _block_medians(frame_mean, max_blocks)
    if n < MIN_FRAMES or len(values) < 10:
        return Bleaching(None, None, None, "flat", f"{n} frames; too few to fit")
    if np.ptp(values) == 0:
        if values[0] - dark <= 0:
            return Bleaching(None, None, None, "flat", "the movie is dark")
        return Bleaching(0.0, None, np.full(n, values[0]), "flat", "the brightness is constant")
    all_times = np.arange(n, dtype=float)
    curves = {
        "decay": _best_decay(times, values, n),
        "line": _fit(np.c_[np.ones_like(times), times], values),
        "step": _best_step(times, values),
    }
    # parameters: c, b, tau; c, slope; level, level, place
    n_parameters = {"decay": 3, "line": 2, "step": 3}
    score = {
        kind: np.inf
        if curve is None
        else len(values) * np.log(max(curve[1], 1e-300)) + n_parameters[kind] * np.log(len(values))
        for kind, curve in curves.items()
    }
    other = min("line", "step", key=score.get)
    if score["decay"] > score[other] + MIN_EVIDENCE or curves["decay"] is None:
        fit = _curve(other, curves[other], all_times)
        message = f"the brightness does not decay (best described by a {other})"
        return Bleaching(0.0, None, fit, other, message)
    (c, b), _, tau = curves["decay"]
    first = c + b - dark
    fit = _curve("decay", curves["decay"], all_times)
    if first <= 0:
        return Bleaching(None, tau / sampling_rate_hz, fit, "decay", "the movie is dark")
    percent = 100 * b * (1 - np.exp(-n / tau)) / first
    tau_s = tau / sampling_rate_hz
    message = f"{percent:.1f} % of the light is lost with a time constant of {tau_s:.3g} s"
    return Bleaching(float(percent), float(tau_s), fit, "decay", message)


def _block_medians(trace, max_blocks):
    """Middles (frames) and medians of blocks of at least 5 frames; empty blocks left out."""
    n_blocks = max(1, min(max_blocks, len(trace) // 5))
    blocks = np.array_split(np.arange(len(trace)), n_blocks)
    blocks = [b[~np.isnan(trace[b])] for b in blocks]
    blocks = [b for b in blocks if len(b)]
    times = np.array([b.mean() for b in blocks])
    return times, np.array([np.median(trace[b]) for b in blocks])


def _fit(design, values):
    """Huber regression: coefficients, and the mean squared residual capped as Huber does."""
    weights = np.ones(len(values))
    for _ in range(20):
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        residual = np.abs(values - design @ coefficients)
        scale = HUBER * 1.4826 * np.median(residual)
        if scale == 0:
            break
        weights = np.minimum(1, scale / np.maximum(residual, 1e-300))
    return coefficients, float(np.mean(weights * residual**2))


def _best_decay(times, values, n_frames):
    """Best decay over a grid of time constants; None where the brightness does not fall."""
    best = None
    for tau in np.geomspace(n_frames / 50, 3 * n_frames, 60):
        coefficients, error = _fit(np.c_[np.ones_like(times), np.exp(-times / tau)], values)
        if coefficients[1] > 0 and (best is None or error < best[1]):
            best = coefficients, error, tau
    return best


def _best_step(times, values):
    """Best step with at least three blocks on either side."""
    best = None
    for i in range(3, len(values) - 2):
        after = (np.arange(len(values)) >= i).astype(float)
        residual = values - np.where(after, np.median(values[i:]), np.median(values[:i]))
        # found quickly by medians, fitted like the other curves
        error = np.mean(residual**2)
        if best is None or error < best[0]:
            best = error, i, after
    _, i, after = best
    coefficients, error = _fit(np.c_[1 - after, after], values)
    return coefficients, error, (times[i - 1] + times[i]) / 2


def _curve(kind, curve, times):
    """The fitted curve at the times."""
    first, second = curve[0]
    if kind == "decay":
        return first + second * np.exp(-times / curve[2])
    if kind == "line":
        return first + second * times
    return np.where(times < curve[2], first, second)


def simple_snr(mean, std, *, dark):
    """Compute the simple signal-to-noise ratio of frames: their mean over their spread.

    aind-ophys-movie-qc; there of the intensity as recorded, so that a large offset of the
    detector passes for signal. Here the intensity without light is subtracted first.

    Parameters
    ----------
    mean, std : float array, shape (n_frames,)
        Of the pixels of each frame.
    dark : float

    Returns
    -------
    float64 array, shape (n_frames,)
        NaN where all pixels are equal.
    """
    return (mean - dark) / np.where(std > 0, std, np.nan)


def saturated_pixels(movie, info, frames, *, max_frames):
    """Mask of the pixels that are saturated at least once in evenly spread raw frames.

    Which value is saturated is what `import_plane` counted: in a frame with n saturated
    pixels they are the n largest. The reference (aind-ophys-movie-qc) takes the first 500
    frames and a fixed level; here as many frames are spread over the movie, so that what
    saturates later is seen.

    Parameters
    ----------
    movie : path
        ``movie.bin``.
    info : PlaneInfo
    frames : DataFrame
        ``frames.pqt``; columns n_saturated, is_missing.
    max_frames : int

    Returns
    -------
    bool array, shape (height, width)
    """
    mask = np.zeros((info.height, info.width), bool)
    good = np.flatnonzero(~frames["is_missing"].to_numpy(bool))
    n_saturated = frames["n_saturated"].to_numpy(np.int64)
    for t in evenly(good, max_frames):
        if n_saturated[t] == 0:
            continue
        frame = read_frames(movie, info, t, t + 1)[0]
        level = np.partition(frame, -n_saturated[t], axis=None)[-n_saturated[t]]
        mask |= frame >= level
    return mask
