"""What a made-up behaviour video is to be like."""

from dataclasses import dataclass

import numpy as np

from sluice.errors import UserError

# Settings that make a video with which one thing is wrong; times suit videos of 30 s at 30 Hz.
FAULTS = {
    "dark": {"brightness": 0.2, "noise_sd": 1.0},
    "bright": {"brightness": 2.6},
    # evenly down to less than a third
    "fading": {"brightness": 1.35, "fade_to": 0.3},
    # the light flickers a little, often
    "flicker": {
        "lights_out_s": tuple((s, s + 0.4) for s in range(2, 28, 2)),
        "lights_out_to": 0.8,
    },
    "black": {"lights_out_s": ((8.0, 9.0),), "lights_out_to": 0.0},
    "brightness_jump": {"lights_out_s": ((8.0, 14.0),)},
    "out_of_focus": {"blur_px": 5.0},
    "moved": {"moved_from_frame": 300, "moved_px": (12.0, -8.0)},
    "dropped": {"dropped": tuple(range(100, 600, 12)), "dropped_have_ttl": True},
    "dropped_without_ttl": {"dropped": tuple(range(100, 600, 12)), "dropped_have_ttl": False},
    "frozen": {"frozen": ((200, 240),)},
    "pupil_blocked": {"is_blocked": True},
    "wheel_lag": {"wheel_lag_s": 0.2},
    "ttl_before": {"n_ttl_before": 7},
    "ttl_after": {"n_ttl_after": 7},
    "ttl_lost_start": {"n_ttl_lost_start": 7},
    "ttl_lost_end": {"n_ttl_lost_end": 7},
}


@dataclass(frozen=True)
class CameraSettings:
    """What a made-up video is to be like; see `sluice.synth.camera_scene.make_camera_scene`.

    Lengths in pixels are those of a frame of 160 x 128; in a frame of another size they are
    multiplied by `scale`, but for `noise_sd` and `blur_px`, which are as they stand.

    Attributes
    ----------
    seed : int or tuple of int
        The animal: how it looks.
    day : int
        What it does on that day.
    duration_s : float
    width, height : int
        Of the frame.
    sampling_rate_hz : float
        Exposures a second of the camera's own clock.
    is_mirrored : bool
        The animal looks to the right rather than to the left.
    start_s : float
        First exposure on the session's clock.
    clock_ppm : float
        So many parts per million the camera's clock runs fast of the session's.
    jitter_s : float
        Standard deviation of each exposure's start.
    pupil_diameter_px : (float, float)
        Least and largest mean diameter.
    has_glint : bool
        Light is reflected by the cornea.
    noise_sd : float
        Of a grey level.
    brightness : float
        All light is multiplied by it.
    lights_out_s : tuple of (float, float)
        From, to (s after the first exposure): less of the light is left.
    lights_out_to : float
        So much of it.
    fade_to : float
        By the end so much of the light is left; it fades evenly.
    blur_px : float
        Standard deviation of a Gaussian: out of focus.
    moved_from_frame : int or None
        From that exposure on the scene lies elsewhere, `moved_px` (x, y) away.
    moved_px : (float, float)
    dropped : tuple of int
        Exposures (from 0) that are not in the video. The camera's counter counts them.
    dropped_have_ttl : bool
        The camera gave a pulse for them.
    frozen : tuple of (int, int)
        From an exposure on so many show once more what the one before them showed.
    is_blocked : bool
        Something sticks before the eye throughout.
    wheel_lag_s : float
        What moves with the wheel comes so much later in the video than in the wheel's record.
    n_ttl_before, n_ttl_after : int
        Pulses before the first and after the last exposure.
    n_ttl_lost_start, n_ttl_lost_end : int
        Pulses that are missing at the start and at the end.
    """

    seed: int | tuple = 0
    day: int = 0
    duration_s: float = 60.0
    width: int = 160
    height: int = 128
    sampling_rate_hz: float = 30.0
    is_mirrored: bool = False
    start_s: float = 0.4
    clock_ppm: float = 30.0
    jitter_s: float = 5e-5
    pupil_diameter_px: tuple = (14.0, 34.0)
    has_glint: bool = True
    noise_sd: float = 2.5
    brightness: float = 1.0
    lights_out_s: tuple = ()
    lights_out_to: float = 0.15
    fade_to: float = 1.0
    blur_px: float = 0.0
    moved_from_frame: int | None = None
    moved_px: tuple = (0.0, 0.0)
    dropped: tuple = ()
    dropped_have_ttl: bool = True
    frozen: tuple = ()
    is_blocked: bool = False
    wheel_lag_s: float = 0.0
    n_ttl_before: int = 0
    n_ttl_after: int = 0
    n_ttl_lost_start: int = 0
    n_ttl_lost_end: int = 0

    @property
    def entropy(self):
        """The seed as a tuple."""
        return self.seed if isinstance(self.seed, tuple) else (self.seed,)

    @property
    def n_exposures(self):
        """Exposures of the recording, dropped ones too."""
        return round(self.duration_s * self.sampling_rate_hz)

    @property
    def scale(self):
        """Pixels of this video in one of a video of 160 x 128."""
        return min(self.width / 160, self.height / 128)

    def rng(self, *purpose):
        """Random numbers for one purpose, the same whatever else is drawn."""
        return np.random.default_rng((*self.entropy, *purpose))


def validate(settings):
    """Complain about settings that contradict each other.

    Raises
    ------
    UserError
    """
    n = settings.n_exposures
    if n < 2:
        raise UserError(
            f"duration_s {settings.duration_s:g} at {settings.sampling_rate_hz:g} Hz: "
            "less than 2 frames; make it longer"
        )
    frozen = [k for first, count in settings.frozen for k in (first, first + count - 1)]
    outside = [k for k in (*settings.dropped, *frozen) if not 0 <= k < n]
    if outside:
        raise UserError(
            f"frame(s) {outside} named in dropped or frozen: expected 0 to {n - 1}, as there "
            f"are {n} exposures"
        )
    if any(first < 1 for first, _ in settings.frozen):
        raise UserError("frozen: the first frame has none before it; expected 1 or more")
    if n - len(set(settings.dropped)) < 2:
        raise UserError(f"dropped: fewer than 2 of {n} frames are left")
    low, high = settings.pupil_diameter_px
    if not 4 <= low < high <= 35:
        raise UserError(
            f"pupil_diameter_px {low:g} to {high:g}: expected two ascending numbers from 4 to "
            "35; the eye is no larger"
        )
    if settings.scale < 0.5:
        raise UserError(
            f"frame of {settings.width} x {settings.height}: expected at least 80 x 64 pixels"
        )
    earliest_s = settings.start_s - settings.n_ttl_before / settings.sampling_rate_hz
    if earliest_s < 0.01:
        raise UserError(
            f"start_s {settings.start_s:g} with {settings.n_ttl_before} pulses before: the first "
            "one is before the recording; start later"
        )
