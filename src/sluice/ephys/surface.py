"""The brain surface along a shank, from the power of the LFP."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import periodogram

from sluice.runs import runs_of


@dataclass(frozen=True)
class Surface:
    """Where one shank leaves the brain.

    Attributes
    ----------
    y_um : float or None
        Depth of the highest contacts inside the brain (µm from the tip); None where no
        contact was found outside.
    message : str
        One sentence for a person.
    """

    y_um: float | None
    message: str


def low_frequency_power(traces_uv, *, sampling_rate_hz, max_frequency_hz):
    """Mean power density of each channel at low frequencies.

    Parameters
    ----------
    traces_uv : ndarray of float, shape (n_samples, n_channels)
        µV. About a second, as the frequency resolution is its inverse.
    sampling_rate_hz, max_frequency_hz : float
        Power is averaged over 0 < f <= `max_frequency_hz`; each channel's mean is removed.

    Returns
    -------
    ndarray of float64, shape (n_channels,)
        µV²/Hz.
    """
    frequencies, power = periodogram(
        traces_uv, fs=sampling_rate_hz, window="hann", detrend="constant", axis=0
    )
    return power[(frequencies > 0) & (frequencies <= max_frequency_hz)].mean(axis=0)


def power_profiles(traces_uv, y_um, *, sampling_rate_hz, max_frequency_hz, reference_um):
    """Low-frequency power along one shank, as recorded and against its top.

    What the amplifier's reference picks up is on all channels, and outside the brain it
    can be all there is. Allen therefore subtracts, at every sample, the median of the
    channels 370 to 380 (100 µm of NP1.0) before taking the power. The power as recorded is
    kept too: where the whole shank is in the brain, subtracting its top makes the power
    fall towards the top on every probe, and only the power as recorded can tell.

    Parameters
    ----------
    traces_uv : ndarray of float, shape (n_samples, n_channels)
        LFP of the working channels of one shank (µV).
    y_um : ndarray of float, shape (n_channels,)
        Position along the shank.
    sampling_rate_hz, max_frequency_hz : float
        Allen: 0 to 10 Hz.
    reference_um : float
        Length of the stretch at the top whose median is subtracted (µm).

    Returns
    -------
    ndarray of float64, shape (2, n_channels)
        log10 of µV²/Hz: as recorded, and against the top.
    """
    top = y_um >= y_um.max() - reference_um
    against_top = traces_uv - np.median(traces_uv[:, top], axis=1, keepdims=True)
    both = [
        low_frequency_power(
            traces, sampling_rate_hz=sampling_rate_hz, max_frequency_hz=max_frequency_hz
        )
        for traces in (traces_uv, against_top)
    ]
    # A single channel at the top minus itself has no power; the floor is far below noise.
    return np.log10(np.maximum(both, 1e-6))


def _smooth_rows(profile, y_um, smooth_um):
    """Median over contacts at the same depth, then a Gaussian over depth.

    Beyond both ends the profile goes on at the median of the last three depths, so that a
    drop near the top is as steep as one in the middle, and one odd contact is not a drop.
    """
    rows_um = np.unique(y_um)
    rows = np.array([np.median(profile[y_um == y]) for y in rows_um])
    pitch_um = np.median(np.diff(rows_um))
    beyond_um = pitch_um * np.arange(1, 1 + np.ceil(4 * smooth_um / pitch_um))
    from_um = np.concatenate([rows_um[0] - beyond_um, rows_um, rows_um[-1] + beyond_um])
    values = np.concatenate(
        [
            np.full(len(beyond_um), np.median(rows[:3])),
            rows,
            np.full(len(beyond_um), np.median(rows[-3:])),
        ]
    )
    weights = np.exp(-0.5 * ((rows_um[:, None] - from_um) / smooth_um) ** 2)
    return rows_um, weights @ values / weights.sum(axis=1)


def find_drop(profile, y_um, *, smooth_um, slope_per_um, min_above_um=0.0):
    """Find the deepest fall of a power profile after which it stays low.

    Parameters
    ----------
    profile : ndarray of float, shape (n_channels,)
        log10 of the power of the working channels.
    y_um : ndarray of float, shape (n_channels,)
        Position along the shank; at least four different depths.
    smooth_um : float
        Standard deviation of the Gaussian that smooths the profile (µm).
    slope_per_um : float
        Negative; a fall is steeper than this throughout (log10 units per µm).
    min_above_um : float
        Only falls at least this far below the top count (µm).

    Returns
    -------
    float or None
        Depth of the contacts just below the steepest point of the fall.
    """
    rows_um, power = _smooth_rows(profile, y_um, smooth_um)
    slopes = np.diff(power) / np.diff(rows_um)
    deepest, found = 0.0, None
    for first, stop in runs_of(slopes < slope_per_um):
        row = first + slopes[first:stop].argmin()
        stays_low = power[row + 1 :].max() <= (power[row] + power[row + 1]) / 2
        fall = power[first] - power[stop]
        if stays_low and rows_um[-1] - rows_um[row] >= min_above_um and fall > deepest:
            deepest, found = fall, float(rows_um[row])
    return found


def find_surface(
    profiles, y_um, *, smooth_um, slope_per_um, reference_um, min_outside_um, max_frequency_hz
):
    """Find where one shank leaves the brain from its two power profiles.

    Allen (ecephys_spike_sorting, depth_estimation): the profile against the top is
    smoothed with a Gaussian of 5 channels; the surface is the highest channel at which it
    falls by more than 0.07 from one channel to the next while being below 2.5 (log10 of
    bits²/Hz). Differences:

    - Channels of NP1.0 are 10 µm apart on average (two every 20 µm), so 5 channels are
      50 µm and 0.07 a channel is 0.007 per µm; both are used in µm, on any geometry. A
      sharp step of h comes out of the smoothing with a slope of h / (50 µm · sqrt(2π)):
      Allen's 0.007 asks for 8.8 dB, the default of 0.005 for 6.3 dB.
    - Allen takes the last steep channel, which smoothing moves up by as much as six
      channels; here it is the steepest point of the fall, which smoothing does not move.
    - Of several falls Allen takes the highest, here it is the deepest: against the top the
      power goes on falling outside the brain as the channels come closer to the top.
    - Instead of an absolute power, which depends on gain and reference, the power has to
      stay below the middle of the fall up to the top.
    - A drop of the profile against the top must lie at least `min_outside_um` below the
      top, since subtracting the top alone makes one nearby (see `power_profiles`). Where
      there is none, the profile as recorded decides.
    - Allen reports the number of channels where nothing is found; here it is None.
    - Allen replaces channels known to be bad by their neighbour; here the caller leaves
      them out, and contacts at the same depth are averaged by their median.

    Parameters
    ----------
    profiles : ndarray of float, shape (2, n_channels)
        From `power_profiles`, median over snippets.
    y_um : ndarray of float, shape (n_channels,)
        Position along the shank.
    smooth_um, slope_per_um, reference_um, min_outside_um, max_frequency_hz
        Settings of ``ephys.check_probe``; the last one only for the message.

    Returns
    -------
    Surface
    """
    if len(np.unique(y_um)) < 4 or np.ptp(y_um) < reference_um + min_outside_um:
        return Surface(None, "the contacts span too little depth to find the surface")
    as_recorded, against_top = profiles
    shape = {"smooth_um": smooth_um, "slope_per_um": slope_per_um}
    drop = find_drop(against_top, y_um, min_above_um=min_outside_um, **shape)
    if drop is None:
        drop = find_drop(as_recorded, y_um, **shape)
    if drop is None:
        return Surface(None, "no channel outside the brain")
    message = f"power below {max_frequency_hz:g} Hz drops above {drop:g} µm"
    return Surface(drop, message)
