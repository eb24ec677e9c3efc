"""Epileptiform events: short, large flashes of the whole field."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import find_peaks

from sluice.median_filter import sliding_median, window_samples


@dataclass(frozen=True)
class Epilepsy:
    """Events of the whole field.

    Attributes
    ----------
    events : int64 array, shape (n_events,)
        Frames of their peaks.
    trace_percent : float64 array, shape (n_frames,), or None
        Brightness of the field against its running median (%); None where it
        cannot be measured.
    threshold_percent : float
        Prominence that was asked for (%).
    message : str
    """

    events: np.ndarray
    trace_percent: np.ndarray | None
    threshold_percent: float
    message: str


def find_epileptiform_events(
    frame_mean,
    *,
    sampling_rate_hz,
    dark,
    prominence_percent,
    width_s,
    baseline_s,
):
    """Find short flashes of the whole field.

    Steinmetz et al. (2017, eNeuro): events of the mean of the field with a prominence of
    more than 10 % and a width at half of it of 0.1 to 0.3 s. The percentage is of a running
    median. The reference (aind-ophys-movie-qc) deconvolves before; here not, as in the
    publication: to deconvolve narrows the responses of cells to the width that is searched
    for. A discharge that a slow indicator draws out to more than 0.3 s is not found; let
    `width_s` go further where the indicator is one.

    The prominence must also be above six standard deviations of the trace (robust: from the
    median absolute deviation), so that the noise of a dim movie and the ordinary, rich
    activity of a field are no events.

    Parameters
    ----------
    frame_mean : float array, shape (n_frames,)
        Mean intensity of each frame; NaN is bridged.
    sampling_rate_hz : float
    dark : float
        Intensity where no photon arrives; 0 if unknown.
    prominence_percent : float
    width_s : (float, float)
    baseline_s : float
        Window of the running median that the percentage is of.

    Returns
    -------
    Epilepsy
    """
    longest = width_s[1] * sampling_rate_hz
    none = np.empty(0, np.int64)
    if longest < 2:
        message = (
            f"at {sampling_rate_hz:.3g} Hz an event of {width_s[1]:g} s is shorter than two frames"
        )
        return Epilepsy(none, None, prominence_percent, message)
    known = np.flatnonzero(~np.isnan(frame_mean))
    if len(known) < 10:
        return Epilepsy(none, None, prominence_percent, f"{len(known)} usable frames")
    light = np.interp(np.arange(len(frame_mean)), known, frame_mean[known]) - dark
    baseline = sliding_median(light[None], window=window_samples(baseline_s, sampling_rate_hz))[0]
    if baseline.min() <= 0:
        return Epilepsy(none, None, prominence_percent, "the movie is dark")
    percent = 100 * (light / baseline - 1)
    # of a trace with few events, so that these do not count
    noise = 1.4826 * np.median(np.abs(percent - np.median(percent)))
    threshold = max(prominence_percent, 6 * noise)
    events, _ = find_peaks(
        percent,
        prominence=threshold,
        width=tuple(w * sampling_rate_hz for w in width_s),
    )
    rate = len(events) / (len(frame_mean) / sampling_rate_hz / 60)
    message = f"{len(events)} events, {rate:.3g} a minute"
    if threshold > prominence_percent:
        message += f"; only those above {threshold:.3g} %, six times what the field changes"
    return Epilepsy(events.astype(np.int64), percent, float(threshold), message)
