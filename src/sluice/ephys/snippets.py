"""Spectra, noise, spikes and labels of a raw recording, from snippets of it."""

import logging
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter1d
from scipy.signal import butter, sosfiltfilt, welch

from sluice.ephys.bad_channels import label_snippet, most_frequent
from sluice.ephys.decimation import decimate_valid, design_decimator
from sluice.ephys.surface import power_profiles

logger = logging.getLogger(__name__)

HIGHPASS_HZ = 300.0
WELCH_SAMPLES = 1024
LFP_RATE_HZ = 2500.0
# No second spike of a channel within this time of a deeper one.
SPIKE_WIDTH_S = 5e-4


@dataclass(frozen=True)
class ApFeatures:
    """What the snippets of the AP band say of each channel.

    Attributes
    ----------
    labels : ndarray of int64, shape (n_channels,)
        0 good, 1 dead, 2 noisy, 3 outside; the most frequent over the snippets.
    raw_rms_uv, rms_uv : ndarray of float64, shape (n_channels,)
        RMS as recorded (mean removed) and above 300 Hz, median over the snippets (µV).
    spike_rate_hz : ndarray of float64, shape (n_channels,)
        Troughs below the threshold a second, mean over the snippets.
    frequencies_hz : ndarray of float64, shape (n_frequencies,)
    power : ndarray of float64, shape (n_frequencies, n_channels)
        Power density as recorded, mean over the snippets (µV²/Hz).
    """

    labels: np.ndarray
    raw_rms_uv: np.ndarray
    rms_uv: np.ndarray
    spike_rate_hz: np.ndarray
    frequencies_hz: np.ndarray
    power: np.ndarray


@dataclass(frozen=True)
class LfpFeatures:
    """What the snippets of the LFP say of each channel.

    Attributes
    ----------
    frequencies_hz : ndarray of float64, shape (n_frequencies,)
    power : ndarray of float64, shape (n_frequencies, n_channels)
        Power density, mean over the snippets (µV²/Hz).
    profiles : list of ndarray of float64, shape (2, n_channels of the shank)
        See `power_profiles`; median over the snippets.
    rms_uv : ndarray of float64, shape (n_times, n_channels)
        RMS over time (µV).
    times_s : ndarray of float64, shape (n_times,)
    """

    frequencies_hz: np.ndarray
    power: np.ndarray
    profiles: list
    rms_uv: np.ndarray
    times_s: np.ndarray


def snippet_starts(duration_s, *, settings):
    """Place the snippets in the recording.

    IBL (ibllib, ephysqc): one every 300 s from 40 s on. A recording too short for
    `min_snippets` of these has that many spread evenly over it instead, or as many as fit
    without overlap.

    Parameters
    ----------
    duration_s : float
    settings : dict
        ``ephys.check_probe``.

    Returns
    -------
    ndarray of float64, shape (n_snippets,)
        Start of each snippet (s), at least one.
    """
    length_s = settings["snippet_s"]
    last_s = max(duration_s - length_s, 0.0)
    starts = np.arange(settings["first_snippet_s"], last_s, settings["snippet_every_s"])
    if len(starts) >= settings["min_snippets"]:
        return starts
    n = min(settings["min_snippets"], int(duration_s / length_s))
    return np.linspace(0, last_s, n) if n > 1 else np.array([last_s / 2])


def without_disturbance(starts_s, length_s, disturbed_s):
    """Leave out snippets that touch a gap or a saturated stretch, unless all do.

    Parameters
    ----------
    starts_s : ndarray of float, shape (n_snippets,)
    length_s : float
    disturbed_s : ndarray of float, shape (n_intervals, 2)

    Returns
    -------
    ndarray of float64, shape (n_kept,)
    """
    starts, stops = disturbed_s[:, 0], disturbed_s[:, 1]
    clean = [s for s in starts_s if not np.any((starts < s + length_s) & (stops > s))]
    if not clean:
        logger.warning("every snippet touches a gap or a saturated stretch; using them all")
        return starts_s
    return np.array(clean)


def count_spikes(highpassed_uv, *, threshold_uv, sampling_rate_hz):
    """Count the troughs of each channel that are below a threshold.

    A trough is the lowest sample within 0.5 ms on either side. IBL counts them after
    destriping; here it is the high-passed signal itself.

    Parameters
    ----------
    highpassed_uv : ndarray of float, shape (n_samples, n_channels)
    threshold_uv : float
        Negative; IBL: -50 µV.
    sampling_rate_hz : float

    Returns
    -------
    ndarray of int64, shape (n_channels,)
    """
    size = 2 * round(SPIKE_WIDTH_S * sampling_rate_hz) + 1
    lowest = minimum_filter1d(highpassed_uv, size, axis=0)
    return np.count_nonzero((highpassed_uv == lowest) & (highpassed_uv < threshold_uv), axis=0)


def _read_uv(recording, gain_uv, start_s, length_s):
    """One snippet in µV, each channel's mean removed."""
    rate_hz = recording.sampling_frequency
    start = round(start_s * rate_hz)
    stop = min(start + round(length_s * rate_hz), recording.get_num_samples())
    traces = recording.get_traces(start_frame=start, end_frame=stop).astype(np.float32, order="C")
    traces -= traces.mean(axis=0)
    traces *= gain_uv.astype(np.float32)
    return traces


def _welch(traces_uv, rate_hz):
    n = min(WELCH_SAMPLES, len(traces_uv))
    return welch(traces_uv, fs=rate_hz, window="hann", nperseg=n, axis=0)


def measure_ap(recording, gain_uv, shanks, starts_s, *, settings):
    """Measure noise, spikes, spectrum and labels of all channels from snippets.

    Parameters
    ----------
    recording : BaseRecording
        AP band.
    gain_uv : ndarray of float, shape (n_channels,)
    shanks : list of ndarray of int
        The channels to label of each shank, from the tip to the top.
    starts_s : ndarray of float, shape (n_snippets,)
    settings : dict
        ``ephys.check_probe``.

    Returns
    -------
    ApFeatures
    """
    rate_hz = recording.sampling_frequency
    highpass = butter(3, HIGHPASS_HZ, "highpass", fs=rate_hz, output="sos")
    labels, raw_rms, rms, rates, power = [], [], [], [], 0.0
    for start_s in starts_s:
        raw_uv = _read_uv(recording, gain_uv, start_s, settings["snippet_s"])
        highpassed_uv = sosfiltfilt(highpass, raw_uv, axis=0).astype(np.float32)
        frequencies, density = _welch(raw_uv, rate_hz)
        high_power = density[frequencies > 0.8 * rate_hz / 2].mean(axis=0)
        labels.append(label_snippet(raw_uv, highpassed_uv, high_power, shanks, settings=settings))
        raw_rms.append(raw_uv.std(axis=0))
        rms.append(highpassed_uv.std(axis=0))
        n_spikes = count_spikes(
            highpassed_uv, threshold_uv=settings["spike_threshold_uv"], sampling_rate_hz=rate_hz
        )
        rates.append(n_spikes * rate_hz / len(raw_uv))
        power = power + density
    return ApFeatures(
        labels=most_frequent(np.array(labels)),
        raw_rms_uv=np.median(raw_rms, axis=0),
        rms_uv=np.median(rms, axis=0),
        spike_rate_hz=np.mean(rates, axis=0),
        frequencies_hz=frequencies,
        power=power / len(starts_s),
    )


def measure_lfp(recording, gain_uv, y_um, shanks, starts_s, *, settings):
    """Spectrum of the LFP and its power profiles along each shank, from snippets.

    Parameters
    ----------
    recording : BaseRecording
        LF band, or an AP band that is brought to about 2500 Hz here. The AP band of a probe
        with two bands (NP1.0) is high-passed at 300 Hz by the hardware: its power at low
        frequencies is small but falls at the surface all the same.
    gain_uv : ndarray of float, shape (n_channels,)
    y_um : ndarray of float, shape (n_channels,)
    shanks : list of ndarray of int
        The usable channels of each shank, from the tip to the top.
    starts_s : ndarray of float, shape (n_snippets,)
    settings : dict
        ``ephys.check_probe``.

    Returns
    -------
    LfpFeatures
        Its RMS is that of the snippets.
    """
    factor = max(1, round(recording.sampling_frequency / LFP_RATE_HZ))
    rate_hz = recording.sampling_frequency / factor
    decimator = design_decimator(recording.sampling_frequency, factor)
    power, profiles, rms = 0.0, [[] for _ in shanks], []
    for start_s in starts_s:
        traces = _read_uv(recording, gain_uv, start_s, settings["snippet_s"])
        traces = decimate_valid(traces, decimator)
        frequencies, density = _welch(traces, rate_hz)
        power = power + density
        rms.append(traces.std(axis=0))
        for channels, found in zip(shanks, profiles, strict=True):
            if channels.size == 0:
                found.append(np.empty((2, 0)))
                continue
            profile = power_profiles(
                traces[:, channels],
                y_um[channels],
                sampling_rate_hz=rate_hz,
                max_frequency_hz=settings["surface_max_frequency_hz"],
                reference_um=settings["surface_reference_um"],
            )
            found.append(profile)
    return LfpFeatures(
        frequencies_hz=frequencies,
        power=power / len(starts_s),
        profiles=[np.median(found, axis=0) for found in profiles],
        rms_uv=np.array(rms),
        times_s=starts_s + settings["snippet_s"] / 2,
    )
