"""A made-up mouse before a camera: when it is exposed, and what is true of each frame."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from sluice.synth.camera_behavior import TONGUE_SEEN, Behavior, make_behavior
from sluice.synth.camera_geometry import (
    PAW,
    PUPIL_ASPECT,
    is_between_lids,
    place,
    points_of,
    pupil_centre,
    pupil_points,
)
from sluice.synth.camera_settings import CameraSettings, validate

# How the paw and the whisker pad follow the wheel.
PAW_SWING_PX, PAW_PER_RAD = 9.0, 1.3
WHISKER_PER_RAD = 4.0
TTL_WIDTH_S = 0.004


@dataclass(frozen=True)
class CameraScene:
    """A made-up video before it is drawn.

    Attributes
    ----------
    settings : CameraSettings
    behavior : Behavior
        What the animal does; times are those of the session's clock.
    exposure_s : float64 array, shape (n_exposures,)
        Start of each exposure on the session's clock.
    exposures : int64 array, shape (n_frames,)
        Which of them are frames of the video.
    shown : int64 array, shape (n_frames,)
        Which exposure each frame shows: an earlier one where the video is frozen.
    """

    settings: CameraSettings
    behavior: Behavior
    exposure_s: np.ndarray
    exposures: np.ndarray
    shown: np.ndarray

    @property
    def n_frames(self):
        """Frames of the video."""
        return len(self.exposures)

    @property
    def times_s(self):
        """Start of each frame's exposure on the session's clock, shape (n_frames,)."""
        return self.exposure_s[self.exposures]

    @property
    def camera_s(self):
        """The same on the camera's own clock."""
        return self.times_s * (1 + self.settings.clock_ppm * 1e-6)

    @cached_property
    def states(self):
        """What the animal does in each exposure; see `states_at`."""
        return states_at(self.behavior, self.exposure_s, self.settings)

    @cached_property
    def pose(self):
        """Points in each frame of the video; see `points_of`."""
        return points_of(self.states.iloc[self.shown], self.settings)

    @cached_property
    def ttl_s(self):
        """Start of the camera's pulses on the session's clock, float64 array."""
        settings = self.settings
        step_s = 1 / (settings.sampling_rate_hz * (1 + settings.clock_ppm * 1e-6))
        times_s = self.exposure_s
        if not settings.dropped_have_ttl:
            times_s = np.delete(times_s, list(settings.dropped))
        times_s = times_s[settings.n_ttl_lost_start : len(times_s) - settings.n_ttl_lost_end]
        before = self.exposure_s[0] - step_s * np.arange(settings.n_ttl_before, 0, -1)
        after = self.exposure_s[-1] + step_s * np.arange(1, settings.n_ttl_after + 1)
        return np.concatenate([before, times_s, after])

    @property
    def end_s(self):
        """When the last exposure or pulse is over."""
        return max(self.exposure_s[-1], self.ttl_s[-1]) + 1 / self.settings.sampling_rate_hz

    def another_day(self, day):
        """See the same animal on another day: it does something else."""
        return make_camera_scene(settings=replace(self.settings, day=day))

    def frame_truth(self):
        """Say what is true of each frame.

        Returns
        -------
        DataFrame
            One row a frame of the video: `frame`, `time_s` (start of the exposure on the
            session's clock), `exposure`, `n_dropped_before`, `is_frozen`; and of what the frame
            shows: `pupil_diameter_px` (mean of width and height), `pupil_x_px`, `pupil_y_px`,
            `pupil_semi_x_px`, `pupil_semi_y_px` (half axes, of which the head's roll turns the
            first away from the picture's x), `lid_closure` (0 to 1), `is_blink` (a point of the
            pupil is covered by a lid), `is_tongue_out`, `light` (relative to normal).
        """
        scale = self.settings.scale
        states = self.states.iloc[self.shown].reset_index(drop=True)
        centre = place(states, self.settings, pupil_centre(states)[:, None])[:, 0]
        return pd.DataFrame(
            {
                "frame": np.arange(self.n_frames),
                "time_s": self.times_s,
                "exposure": self.exposures,
                "n_dropped_before": np.diff(self.exposures, prepend=-1) - 1,
                "is_frozen": self.shown != self.exposures,
                "pupil_diameter_px": states.pupil_px * scale,
                "pupil_x_px": centre[:, 0],
                "pupil_y_px": centre[:, 1],
                "pupil_semi_x_px": scale * states.pupil_px / (1 + PUPIL_ASPECT),
                "pupil_semi_y_px": scale * states.pupil_px * PUPIL_ASPECT / (1 + PUPIL_ASPECT),
                "lid_closure": states.lid_closure,
                "is_blink": states.is_blink,
                "is_tongue_out": states.tongue > TONGUE_SEEN,
                "light": states.light,
            }
        )


def make_camera_scene(*, settings=None, behavior=None, **changes):
    """Make up a mouse before a camera.

    Parameters
    ----------
    settings : CameraSettings, optional
    behavior : Behavior, optional
        What the animal does, where several cameras see it; else that of the settings' seed and
        day.
    **changes
        Settings; see `CameraSettings`.

    Returns
    -------
    CameraScene

    Raises
    ------
    UserError
        Settings contradict each other.
    """
    settings = replace(settings or CameraSettings(), **changes)
    validate(settings)
    n = settings.n_exposures
    rate_hz = settings.sampling_rate_hz
    jitter_s = settings.jitter_s * np.clip(settings.rng(settings.day, 7).standard_normal(n), -3, 3)
    exposure_s = settings.start_s + (np.arange(n) / rate_hz + jitter_s) / (
        1 + settings.clock_ppm * 1e-6
    )
    if behavior is None:
        behavior = make_behavior(
            (*settings.entropy, settings.day, 8), settings.start_s + settings.duration_s
        )
    exposures = np.setdiff1d(np.arange(n), settings.dropped)
    shown = np.arange(n)
    for first, count in settings.frozen:
        shown[first : first + count] = shown[first - 1]
    return CameraScene(settings, behavior, exposure_s, exposures, shown[exposures])


def states_at(behavior, times_s, settings):
    """Say what the animal does, and what befalls the camera, at some times.

    Parameters
    ----------
    behavior : Behavior
    times_s : float array, shape (n_times,)
        On the session's clock; exposures, from the first.
    settings : CameraSettings

    Returns
    -------
    DataFrame
        One row a time: `pupil_px` (mean of width and height), `gaze_x`, `gaze_y`, `head_x`,
        `head_y`, `head_deg`, `lid_closure`, `tongue`, `tongue_deg`, `paw_x`, `paw_y`,
        `whisker_rad` (angle on the circle that the whisker pad moves on), `wheel_rad`,
        `light`, `moved_x`, `moved_y` (pixels of the picture), `is_blink`. Lengths are those of
        the animal.
    """
    times_s = np.asarray(times_s, np.float64)
    low, high = settings.pupil_diameter_px
    wheel_rad = behavior.wheel_rad(times_s - settings.wheel_lag_s)
    since_s = times_s - settings.start_s
    fading = 1 + (settings.fade_to - 1) * since_s / settings.duration_s
    light = settings.brightness * fading * behavior.trace("light", times_s)
    for start_s, stop_s in settings.lights_out_s:
        is_out = (since_s >= start_s) & (since_s < stop_s)
        light = np.where(is_out, settings.lights_out_to * light, light)
    is_moved = np.zeros(len(times_s), bool)
    if settings.moved_from_frame is not None:
        is_moved = np.arange(len(times_s)) >= settings.moved_from_frame
    states = pd.DataFrame(
        {
            "pupil_px": low + (high - low) * (1 + behavior.trace("pupil", times_s)) / 2,
            **{
                name: behavior.trace(name, times_s)
                for name in ("gaze_x", "gaze_y", "head_x", "head_y", "head_deg", "tongue_deg")
            },
            "lid_closure": behavior.lid_closure(times_s),
            "tongue": behavior.tongue(times_s),
            "paw_x": PAW[0]
            + PAW_SWING_PX * np.sin(PAW_PER_RAD * wheel_rad)
            + behavior.trace("paw", times_s),
            "paw_y": PAW[1] - 3 * np.cos(PAW_PER_RAD * wheel_rad),
            "whisker_rad": WHISKER_PER_RAD * wheel_rad,
            "wheel_rad": wheel_rad,
            "light": light,
            "moved_x": np.where(is_moved, settings.moved_px[0], 0.0),
            "moved_y": np.where(is_moved, settings.moved_px[1], 0.0),
        }
    )
    states["is_blink"] = ~is_between_lids(pupil_points(states), states).all(axis=1)
    return states
