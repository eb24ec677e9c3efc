"""What a made-up imaging plane is to be like."""

from dataclasses import dataclass

import numpy as np

from sluice.errors import UserError


@dataclass(frozen=True)
class PlaneSettings:
    """What a made-up plane is to be like; see `sluice.synth.plane.make_scene`.

    Attributes
    ----------
    seed : int or tuple of int
    n_frames, height, width : int
    sampling_rate_hz : float
        Frames of the plane a second.
    um_per_pixel : float
    n_cells : int
        May be 0.
    n_overlapping_pairs : int
        So many pairs of the cells overlap, by a tenth to a quarter of what they cover.
    edge_px : float
        Least distance of a cell's centre from the edge of the field.
    decay_s, rise_s : float
        Time constants of the indicator.
    event_rate_hz : (float, float)
        Range of the cells' rates.
    event_amplitude : (float, float)
        Range of the events' peaks in dF/F, drawn evenly on a logarithmic scale.
    cell_photons : (float, float)
        Range of the light of a cell at rest, photons per pixel and frame.
    neuropil_photons : float
        Light of the neuropil at rest, likewise, in the middle of the field.
    neuropil_r : float
        Part of the neuropil's light that is there over a cell; see `make_scene`.
    neuropil_sd : float
        Standard deviation of the relative change of the neuropil of a region; that of the
        whole field changes a fifth of it.
    motion_px : float
        Standard deviation of the shift along each axis; at most three times that.
    nonrigid_px : float
        Standard deviation of a slow shear: rows are shifted by a sine over the height.
    bleaching : float
        Part of the light lost by the end.
    z_drift_um : float
        Depth at the end, after a drift at constant speed; + is deeper, where the planes of
        `PlaneScene.z_stack` with higher numbers lie.
    n_epileptic : int
        Events of the whole field, 0.2 s wide (full width at half height).
    epileptic_size : float
        What they add to the light, relative to it.
    intensity_steps : tuple of (int, float)
        From a frame on, all light is multiplied by a factor.
    missing_frames : tuple of int
        Frames of which nothing was recorded: all pixels 0.
    n_saturated_px : int
        Size of a patch that is brighter than `saturation_level`.
    saturation_level : float or None
        Highest value that can be recorded; None for the largest of `dtype`.
    photon_gain, offset, read_noise : float
        Recorded value = gain * photons + offset + noise of that standard deviation.
    dtype : str
        ``int16``, ``uint16``, … or ``float32``. Integers are rounded and clipped.
    crosstalk : (PlaneScene, float) or None
        Another plane, and which part of its light is added to this one.
    """

    seed: int | tuple = 0
    n_frames: int = 1500
    height: int = 128
    width: int = 128
    sampling_rate_hz: float = 10.0
    um_per_pixel: float = 1.0
    n_cells: int = 25
    n_overlapping_pairs: int = 2
    edge_px: float = 12.0
    decay_s: float = 0.7
    rise_s: float = 0.03
    event_rate_hz: tuple = (0.04, 0.12)
    event_amplitude: tuple = (0.3, 2.0)
    cell_photons: tuple = (15.0, 40.0)
    neuropil_photons: float = 25.0
    neuropil_r: float = 0.7
    neuropil_sd: float = 0.2
    motion_px: float = 2.0
    nonrigid_px: float = 0.0
    bleaching: float = 0.0
    z_drift_um: float = 0.0
    n_epileptic: int = 0
    epileptic_size: float = 1.0
    intensity_steps: tuple = ()
    missing_frames: tuple = ()
    n_saturated_px: int = 0
    saturation_level: float | None = None
    photon_gain: float = 12.0
    offset: float = 10.0
    read_noise: float = 3.0
    dtype: str = "int16"
    crosstalk: tuple | None = None

    def rng(self, *purpose):
        """Random numbers for one purpose, the same whatever else is drawn."""
        return np.random.default_rng((*self.entropy, *purpose))

    @property
    def entropy(self):
        """The seed as a tuple."""
        return self.seed if isinstance(self.seed, tuple) else (self.seed,)

    @property
    def ceiling(self):
        """Highest value that can be recorded: `saturation_level`, or infinite for float."""
        dtype = np.dtype(self.dtype)
        top = np.iinfo(dtype).max if dtype.kind in "iu" else np.inf
        return top if self.saturation_level is None else min(self.saturation_level, top)


def validate(settings):
    """Complain about settings that contradict each other.

    Raises
    ------
    UserError
    """
    named = [*settings.missing_frames, *(first for first, _ in settings.intensity_steps)]
    outside = [t for t in named if not 0 <= t < settings.n_frames]
    if outside:
        raise UserError(f"frames {outside} are not of a movie of {settings.n_frames} frames")
    if settings.crosstalk is not None and settings.crosstalk[0].shape != (
        settings.n_frames,
        settings.height,
        settings.width,
    ):
        raise UserError("crosstalk: the other plane must have the same frames, height and width")
