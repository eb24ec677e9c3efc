"""Principal components of spike waveforms, common to all channels and units of a probe."""

import numpy as np

from sluice.ephys.traces import GOOD

N_COMPONENTS = 3


def nearest_good_channels(channels, peak_channels, *, n_near):
    """Choose the good channels nearest to each unit's peak channel, on its shank.

    Parameters
    ----------
    channels : DataFrame
        Table of channels, see `sluice.ephys.traces.CHANNEL_COLUMNS`.
    peak_channels : int (n_units,)
    n_near : int

    Returns
    -------
    near_channels : int32 (n_units, n_near)
        By distance from the peak channel, equal distances by index; padded with -1 where
        the shank has fewer good channels.
    """
    position = channels[["x_um", "y_um"]].to_numpy(np.float64)
    shank = channels["shank"].to_numpy()
    good = (channels["label"] == GOOD).to_numpy() & ~channels["is_reference"].to_numpy(bool)
    near = np.full((len(peak_channels), n_near), -1, np.int32)
    for row, peak in enumerate(peak_channels):
        candidates = np.flatnonzero(good & (shank == shank[peak]))
        distance = np.hypot(*(position[candidates] - position[peak]).T)
        chosen = candidates[np.argsort(distance, kind="stable")][:n_near]
        near[row, : len(chosen)] = chosen
    return near


def common_components(waveforms):
    """Find three components that describe waveforms of single channels.

    As Kilosort's wPCA: each waveform is divided by its norm, so that large units do not
    decide alone, and the mean is not subtracted, so that a feature is zero where there is
    no signal. Components are the leading eigenvectors of the waveforms' second moments.

    Parameters
    ----------
    waveforms : float (n_spikes, n_samples)
        Each on its unit's peak channel.

    Returns
    -------
    components : float32 (3, n_samples)
        Orthonormal, by falling variance. The sign is such that the sample of largest
        magnitude is negative: a spike (negative trough) has a positive first feature. Zero
        where there is no waveform.
    """
    n_samples = waveforms.shape[1]
    norm = np.linalg.norm(waveforms, axis=1)
    waveforms = waveforms[norm > 0] / norm[norm > 0, None]
    if len(waveforms) == 0:
        return np.zeros((N_COMPONENTS, n_samples), np.float32)
    # einsum rather than a BLAS product: its rounding does not depend on the number of threads.
    moments = np.einsum("ni,nj->ij", waveforms, waveforms)
    _, vectors = np.linalg.eigh(moments)
    components = vectors[:, ::-1][:, :N_COMPONENTS].T
    largest = np.abs(components).argmax(axis=1)
    sign = np.sign(components[np.arange(N_COMPONENTS), largest])
    return (-sign[:, None] * components).astype(np.float32)


def project(windows, near_channels, components):
    """Project the waveforms of spikes on the components, channel by channel.

    Parameters
    ----------
    windows : int16 (n_spikes, n_samples, n_channels)
    near_channels : int32 (n_spikes, n_near)
        Channels to use for each spike; -1 for none.
    components : float32 (n_components, n_samples)

    Returns
    -------
    features : float32 (n_spikes, n_near, n_components)
        In the unit of `windows`; 0 where the channel is -1.
    """
    spike = np.arange(len(windows))[:, None]
    near = windows.swapaxes(1, 2)[spike, near_channels].astype(np.float64)
    # einsum and not a BLAS product, for the same reason as above.
    features = np.einsum("ncs,ks->nck", near, components.astype(np.float64))
    features[near_channels < 0] = 0
    return features.astype(np.float32)
