"""Dead, noisy and outside channels: IBL's coherence and spectrum, or RMS alone."""

import numpy as np

from sluice.ephys.traces import DEAD, GOOD, NOISY, OUTSIDE

# Half of the channels that a running median looks at, as in IBL's filter of 11.
HALF_WINDOW = 5
# With fewer channels than this the median over the channels is no stand-in for what they
# have in common, and the running median of 11 is no trend along the probe.
MIN_CHANNELS_FOR_COHERENCE = 16


def running_median(values, half_window=HALF_WINDOW):
    """Median of each value and its neighbours; the window shrinks at both ends.

    IBL repeats the end values instead, which makes a dead channel at the very end of the
    probe its own neighbourhood, so that it is never found.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
    half_window : int
        Neighbours on each side.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    return np.array(
        [
            np.median(values[max(0, i - half_window) : i + half_window + 1])
            for i in range(len(values))
        ]
    )


def similarity(traces):
    """Likeness of each channel to what all channels have in common.

    The dot product with the median over the channels, divided by the energy of that
    median: 1 for the median itself, 0 for a channel that records something else, above 1
    for the same with a larger amplitude (IBL, ibldsp, detect_bad_channels).

    Parameters
    ----------
    traces : ndarray of float, shape (n_samples, n_channels)

    Returns
    -------
    ndarray of float64, shape (n_channels,)
        Zero where the median is zero throughout.
    """
    common = np.median(traces, axis=1)
    common = common - common.mean()
    energy = float(common @ common)
    if energy == 0:
        return np.zeros(traces.shape[1])
    return (traces - traces.mean(axis=0)).T @ common / energy


def labels_by_coherence(
    raw_uv,
    highpassed_uv,
    high_power,
    *,
    dead_threshold,
    noisy_threshold,
    outside_threshold,
    high_power_threshold,
):
    """Label the channels of one shank from one snippet by coherence and spectrum.

    IBL's rules (ibldsp, detect_bad_channels). With s the `similarity` of the raw traces
    minus its running median along the probe, and o the running median of the similarity
    of the high-passed traces minus 1: dead where s < `dead_threshold`; noisy where the
    power near the Nyquist frequency exceeds its threshold or s > `noisy_threshold`;
    outside the brain where o < `outside_threshold`, in one piece from the top. Noisy wins
    over dead, dead over outside.

    Parameters
    ----------
    raw_uv, highpassed_uv : ndarray of float, shape (n_samples, n_channels)
        Channels ordered from the tip to the top (µV).
    high_power : ndarray of float, shape (n_channels,)
        Mean power density above 80 % of the Nyquist frequency (µV²/Hz).
    dead_threshold, noisy_threshold, outside_threshold : float
        IBL: -0.5, 1 and -0.75.
    high_power_threshold : float
        µV²/Hz; IBL: 0.02.

    Returns
    -------
    ndarray of int64, shape (n_channels,)
        0 good, 1 dead, 2 noisy, 3 outside.
    """
    raw_similarity = similarity(raw_uv)
    deviation = raw_similarity - running_median(raw_similarity)
    trend = running_median(similarity(highpassed_uv)) - 1
    labels = np.full(len(deviation), GOOD)
    inside = np.flatnonzero(trend >= outside_threshold)
    labels[inside[-1] + 1 if inside.size else 0 :] = OUTSIDE
    labels[deviation < dead_threshold] = DEAD
    labels[(high_power > high_power_threshold) | (deviation > noisy_threshold)] = NOISY
    return labels


def labels_by_rms(rms_uv, *, ratio):
    """Label the channels of one shank by the RMS of their high-passed signal.

    Dead below, noisy above the running median of 11 neighbours by a factor of `ratio`.
    For shanks too short for `labels_by_coherence`: a tetrode, a single column of contacts.
    Cannot say whether a channel is outside the brain.

    Parameters
    ----------
    rms_uv : ndarray of float, shape (n_channels,)
        Channels ordered from the tip to the top (µV).
    ratio : float

    Returns
    -------
    ndarray of int64, shape (n_channels,)
        0 good, 1 dead, 2 noisy.
    """
    expected = running_median(rms_uv)
    labels = np.full(len(rms_uv), GOOD)
    labels[rms_uv * ratio < expected] = DEAD
    labels[rms_uv > ratio * expected] = NOISY
    return labels


def label_snippet(raw_uv, highpassed_uv, high_power, shanks, *, settings):
    """Label all channels from one snippet, each shank by itself.

    Parameters
    ----------
    raw_uv, highpassed_uv : ndarray of float, shape (n_samples, n_channels)
        µV, in the order of the channel table.
    high_power : ndarray of float, shape (n_channels,)
        Mean power density above 80 % of the Nyquist frequency (µV²/Hz).
    shanks : list of ndarray of int
        For each shank the channels to label, ordered from the tip to the top. Channels
        that are constant or reference contacts are left out by the caller.
    settings : dict
        ``ephys.check_probe``: `bad_channels` and the thresholds. A shank with fewer than
        16 channels is labelled by RMS where `bad_channels` is ``coherence+psd``.

    Returns
    -------
    ndarray of int64, shape (n_channels,)
        0 good, 1 dead, 2 noisy, 3 outside; 0 for channels on no list.
    """
    labels = np.full(raw_uv.shape[1], GOOD)
    for channels in shanks:
        if settings["bad_channels"] == "none" or channels.size == 0:
            continue
        if is_labelled_by_rms(channels, settings):
            rms_uv = highpassed_uv[:, channels].std(axis=0)
            labels[channels] = labels_by_rms(rms_uv, ratio=settings["rms_ratio"])
            continue
        labels[channels] = labels_by_coherence(
            raw_uv[:, channels],
            highpassed_uv[:, channels],
            high_power[channels],
            dead_threshold=settings["dead_threshold"],
            noisy_threshold=settings["noisy_threshold"],
            outside_threshold=settings["outside_threshold"],
            high_power_threshold=settings["high_power_uv2_per_hz"],
        )
    return labels


def is_labelled_by_rms(channels, settings):
    """Tell whether the channels of a shank are labelled by RMS."""
    few = len(channels) < MIN_CHANNELS_FOR_COHERENCE
    return settings["bad_channels"] == "rms" or (
        settings["bad_channels"] == "coherence+psd" and few
    )


def most_frequent(labels):
    """Label that most snippets gave each channel; the smaller one of a tie.

    Parameters
    ----------
    labels : ndarray of int, shape (n_snippets, n_channels)

    Returns
    -------
    ndarray of int64, shape (n_channels,)
    """
    counts = np.stack([(labels == label).sum(axis=0) for label in (GOOD, DEAD, NOISY, OUTSIDE)])
    return counts.argmax(axis=0)
