"""Whether pulses come at the rate of the video: what other units and edges look like."""

import numpy as np

from sluice.errors import InputError
from sluice.video.exposures import interval_of

# Rates of the pulses and of the video that differ by a larger factor are of other things.
MAX_RATIO = 1.5
UNITS = (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9))
# Samples a second of a DAQ, from and to.
SAMPLE_RATES_HZ = (4000, 500_000)


def rate_ratio_hint(ratio):
    """What a ratio of two intervals looks like, as a sentence; empty if like nothing known."""
    for unit, factor in UNITS:
        if 0.5 < ratio / factor < 2:
            return f" They look like {unit}; convert them to seconds."
    return ""


def require_rate(times_s, info, source, name, *, what="pulse", every=1.0):
    """Refuse times that come at another rate than the frames of the video.

    Parameters
    ----------
    times_s : float64 array, shape (n,)
        Ascending (s).
    info : sluice.video.video_info.VideoInfo
    source, name, what : str
        For the message: where they are from, the camera, and what has one time each.
    every : float
        Exposures for each frame that the camera kept; all of them may have a pulse, or the
        kept ones alone.

    Raises
    ------
    InputError
        The rates differ by more than half.
    """
    if len(times_s) < 2:
        return
    # of irregular triggers the mean is right, of times with pauses the usual interval
    intervals_s = np.array([interval_of(times_s), np.diff(times_s).mean()])
    ratios = intervals_s * info.sampling_rate_hz
    if (np.abs(np.log([ratios, every * ratios])) <= np.log(MAX_RATIO)).any():
        return
    raise InputError(
        f"{name}: {source} has one time every {intervals_s[0]:.6g} and the video a frame every "
        f"{1 / info.sampling_rate_hz:.6g} s; expected seconds, one {what} for each frame."
        + _hint(*ratios.tolist(), what)
        + " If the video's own rate is wrong, give sampling_rate_hz in streams.tsv."
    )


def _hint(ratio, mean_ratio, what):
    """What the ratios of the usual and of the mean interval to the video's look like."""
    hint = rate_ratio_hint(ratio)
    if hint:
        return hint
    if SAMPLE_RATES_HZ[0] <= ratio <= SAMPLE_RATES_HZ[1]:
        return f" They look like samples of a DAQ at about {ratio:.6g} Hz; divide them by its rate."
    if 1.8 < ratio < 2.2:
        return f" Is it every second {what}? If both edges are exposures, set ttl_edge to both."
    if 0.45 < mean_ratio < 0.55:
        return " Are there two for each frame? Name one kind of edge in ttl_edge."
    return " Check that they are of this camera."
