"""Everything that `plane_qc` measures of one movie."""

from dataclasses import dataclass

import numpy as np

from sluice.ophys.motion_border import MotionBorder
from sluice.ophys.neuropil_masks import make_neuropil_masks
from sluice.ophys.qc import crosstalk, epilepsy, intensity, photons, sampling, z_drift

# The mean images of so many blocks are held at once: 130 MB for a plane of 512 x 512 px.
MAX_BLOCKS = 60


@dataclass(frozen=True)
class Measured:
    """Everything that was measured of one movie; None for what was not asked for.

    `time_s` is that of each frame, `mask` what lies inside `border`, `z_blocks` (n_blocks, 2)
    the first frame of each block and the one after its last.
    """

    time_s: np.ndarray
    movie: sampling.MoviePass
    snr: np.ndarray
    border: MotionBorder
    mask: np.ndarray
    saturated: np.ndarray
    transfer: photons.PhotonTransfer
    gain: photons.PhotonGain
    drift: intensity.Drift
    bleaching: intensity.Bleaching
    rois: photons.RoiPhotons
    noise: np.ndarray
    epilepsy: epilepsy.Epilepsy
    z_blocks: np.ndarray | None
    z_drift: z_drift.ZDrift | None
    crosstalk: crosstalk.Crosstalk | None

    @property
    def photons_per_pixel(self):
        """Photons a pixel and frame, mean inside the border; None where not measured."""
        gain = self.gain
        if gain.gain is None or gain.background is None:
            return None
        light = self.transfer.mean[self.mask].mean(dtype=float) - gain.background
        return float(light / gain.gain)

    @property
    def median_intensity(self):
        """Median of the pixels inside the border, as recorded; NaN where not measured."""
        return float(np.median(self.transfer.mean[self.mask]))


def measure(
    *,
    registered,
    movie,
    frames,
    shifts,
    bidiphase,
    info,
    masks,
    dff,
    stack,
    z_step_um,
    paired,
    settings,
):
    """Measure everything, in as few passes over the files as possible.

    Parameters
    ----------
    registered, movie : path
    frames, shifts : DataFrame
        ``frames.pqt`` and ``shifts.pqt``.
    bidiphase : int
        Of ``registration.npz`` (px).
    info : PlaneInfo
    masks : Masks
    dff : float array, shape (n_rois, n_frames)
    stack : float array, shape (n_planes, height, width), or None
    z_step_um : float or None
    paired : PairedPlane or None
    settings : dict
        ``ophys.plane_qc``.

    Returns
    -------
    Measured
    """
    usable = sampling.usable_frames(frames, shifts)
    border = sampling.motion_border(
        shifts, usable, info.height, info.width, max_border_px=settings["max_border_px"]
    )
    mask = border.inside(info.height, info.width)
    blocks, seen = _pass(registered, info, usable, mask, stack is not None, settings)
    saturated = intensity.saturated_pixels(
        movie, info, frames, max_frames=settings["saturation_frames"]
    )
    n_sampled = settings["max_sampled_frames"]
    pairs = sampling.even_pairs(usable, shifts, max_pairs=n_sampled // 2)
    transfer = photons.photon_transfer(movie, info, pairs, shifts, bidiphase=bidiphase)
    gain = photons.photon_gain(
        transfer, mask & ~saturated, percentiles=settings["gain_percentiles"]
    )
    # `plane_qc` says so in the message of each check that this concerns
    dark = 0.0 if gain.background is None else gain.background
    drift, bleaching, flashes = _measure_brightness(seen.frame_mean, info, dark, settings)
    sampled = sampling.evenly(np.flatnonzero(usable), n_sampled)
    return Measured(
        time_s=frames["time_s"].to_numpy(float),
        movie=seen,
        snr=intensity.simple_snr(seen.sampled_mean, seen.sampled_std, dark=dark),
        border=border,
        mask=mask,
        saturated=saturated,
        transfer=transfer,
        gain=gain,
        drift=drift,
        bleaching=bleaching,
        rois=_measure_rois(registered, info, masks, sampled, mask, gain, settings),
        noise=photons.noise_level(dff, info.sampling_rate_hz),
        epilepsy=flashes,
        z_blocks=blocks,
        z_drift=_measure_z(seen, stack, mask, z_step_um, settings),
        crosstalk=_measure_crosstalk(registered, info, paired, shifts, pairs, mask, settings),
    )


def _pass(registered, info, usable, mask, with_images, settings):
    """The one pass over the registered movie; blocks and their images where asked for."""
    blocks = None
    if with_images:
        blocks = sampling.cut_blocks(
            info.n_frames,
            info.sampling_rate_hz,
            block_s=settings["z_block_s"],
            min_blocks=min(5, max(1, info.n_frames // 20)),
            max_blocks=MAX_BLOCKS,
        )
    window = min(settings["z_window_frames"], max(1, info.n_frames // 10))
    seen = sampling.pass_over(
        registered, info, usable, mask, blocks, window, max_sampled=settings["max_sampled_frames"]
    )
    return blocks, seen


def _measure_brightness(frame_mean, info, dark, settings):
    """Drift, bleaching and flashes of the whole field."""
    drift = intensity.intensity_drift(
        frame_mean,
        dark=dark,
        margin_frames=settings["drift_margin_frames"],
        window_frames=settings["drift_window_frames"],
        max_fraction=settings["drift_max_fraction"],
    )
    bleaching = intensity.fit_bleaching(
        frame_mean,
        sampling_rate_hz=info.sampling_rate_hz,
        dark=dark,
        max_blocks=settings["bleaching_blocks"],
    )
    flashes = epilepsy.find_epileptiform_events(
        frame_mean,
        sampling_rate_hz=info.sampling_rate_hz,
        dark=dark,
        prominence_percent=settings["epilepsy_prominence_percent"],
        width_s=settings["epilepsy_width_s"],
        baseline_s=settings["epilepsy_baseline_s"],
    )
    return drift, bleaching, flashes


def _measure_rois(registered, info, masks, sampled, mask, gain, settings):
    """Photons and d' of each ROI."""
    around = make_neuropil_masks(
        masks,
        mask,
        method="grown",
        ring_px=0,
        gap_px=settings["neuropil_gap_px"],
        min_pixels=settings["neuropil_min_pixels"],
    )
    return photons.roi_photons(
        photons.mask_baselines(registered, info, masks, sampled),
        photons.mask_baselines(registered, info, around, sampled),
        np.diff(masks.weights.indptr),
        gain,
        sampling_rate_hz=info.sampling_rate_hz,
        dff=settings["d_prime_dff"],
        decay_s=settings["d_prime_decay_s"],
    )


def _measure_z(seen, stack, mask, z_step_um, settings):
    if stack is None:
        return None
    images = np.concatenate([seen.block_images, [seen.start_image, seen.end_image]])
    return z_drift.z_drift(
        images,
        stack,
        mask,
        z_step_um=z_step_um,
        smooth_px=settings["z_smooth_px"],
        max_shift_px=int(settings["z_max_shift_fraction"] * min(mask.shape)),
        min_correlation=settings["z_min_correlation"],
    )


def _measure_crosstalk(registered, info, paired, shifts, pairs, mask, settings):
    if paired is None:
        return None
    return crosstalk.measure_crosstalk(
        registered,
        info,
        paired,
        shifts[["y_px", "x_px"]].to_numpy(float),
        sampling.evenly(pairs, settings["crosstalk_pairs"]),
        mask,
        smooth_px=settings["crosstalk_smooth_px"],
        active_fraction=settings["crosstalk_active_fraction"],
        max_offset_px=settings["crosstalk_max_offset_px"],
    )
