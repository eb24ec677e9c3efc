"""IBL's destriping: phase shift, bad channels interpolated, spatial high-pass filter."""

import numpy as np

from sluice.ephys.traces import DEAD, NOISY, OUTSIDE

SEED = 0  # of the stretches that the floor of the automatic gain is estimated from
RMS_STRETCHES = 10


def destriped_reader(recording, channels, *, settings):
    """Prepare to read destriped traces.

    The steps of IBL's pipeline (ibl-neuropixel, ``destripe``), done by SpikeInterface:
    temporal Butterworth high-pass, forwards and backwards; shift of each channel by the
    delay of its conversion, in the frequency domain; dead and noisy channels interpolated
    from the others (weights exp(-(d/σ)^1.3)); and, shank by shank, automatic gain control
    and a Butterworth high-pass across the channels inside the brain. Channels outside the
    brain get the temporal steps only. Reference contacts are interpolated like dead ones.

    Where SpikeInterface 0.105 differs from ibl-neuropixel 1.14:

    - σ is the most common distance of neighbouring rows (20 µm on NP1.0, as in IBL; 15 µm
      on NP2.0), IBL's is 20 µm everywhere.
    - The gain control cannot amplify beyond a floor of `epsilon` = 0.003 times the RMS of a
      channel, IBL's floor is 1e-8.
    - Chunks have margins (40 ms for the phase shift, half the window of the gain control);
      IBL cuts batches of 65536 samples and tapers 1024 samples where they overlap.
    - The order of channels across the probe is by depth, IBL's is that of the file; they
      are the same on NP1.0.

    Parameters
    ----------
    recording : spikeinterface.core.BaseRecording
        int16, one segment, with a probe.
    channels : DataFrame
        Table of its channels.
    settings : dict
        Section ``ephys.preprocess_probe.destripe``.

    Returns
    -------
    read : callable
        ``read(start, stop)`` gives float32, shape (stop - start, n_channels), in bits.
        It may be called from several threads.
    """
    import spikeinterface.core as si
    import spikeinterface.preprocessing as sp

    labels = channels["label"].to_numpy()
    bad = np.isin(labels, (DEAD, NOISY)) | channels["is_reference"].to_numpy(bool)
    cleaned = sp.astype(recording, "float32")
    cleaned = sp.highpass_filter(
        cleaned, freq_min=settings["highpass_hz"], filter_order=settings["highpass_order"]
    )
    cleaned = sp.phase_shift(cleaned, inter_sample_shift=channels["sample_shift"].to_numpy())
    if bad.any():
        cleaned = sp.interpolate_bad_channels(cleaned, recording.channel_ids[bad])
    rms = si.get_noise_levels(
        cleaned,
        method="rms",
        return_in_uV=False,
        random_slices_kwargs={"seed": SEED, "num_chunks_per_segment": RMS_STRETCHES},
        progress_bar=False,
    )
    shanks, locations = channels["shank"].to_numpy(), recording.get_channel_locations()
    inside = [np.flatnonzero((shanks == s) & (labels != OUTSIDE)) for s in np.unique(shanks)]
    # What a sample's gain depends on, to each side.
    margin = int(settings["gain_window_s"] * recording.get_sampling_frequency()) // 2 + 1

    def read(start, stop):
        first = max(start - margin, 0)
        last = min(stop + margin, recording.get_num_samples())
        # Read once for all shanks, since every read goes through the temporal steps.
        wide = cleaned.get_traces(start_frame=first, end_frame=last)
        wanted = slice(start - first, stop - first)
        traces = wide[wanted].copy()
        for columns in inside:
            if len(columns):
                part = si.NumpyRecording([wide[:, columns]], recording.get_sampling_frequency())
                part.set_dummy_probe_from_locations(locations[columns])
                part = _spatial_highpass(part, rms[columns], settings)
                traces[:, columns] = part.get_traces(
                    start_frame=wanted.start, end_frame=wanted.stop
                )
        return traces

    return read


def _spatial_highpass(recording, rms, settings):
    """High-pass one shank across its channels."""
    import spikeinterface.preprocessing as sp

    return sp.highpass_spatial_filter(
        recording,
        n_channel_pad=min(settings["pad_channels"], recording.get_num_channels()),
        agc_window_length_s=settings["gain_window_s"],
        highpass_butter_order=settings["spatial_order"],
        highpass_butter_wn=settings["spatial_cutoff"],
        rms_values=rms,
    )
