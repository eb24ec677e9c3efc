"""The checks of `camera_qc` by name."""

from collections.abc import Callable
from dataclasses import dataclass

from sluice.video.qc_checks import picture, position, sync
from sluice.video.qc_checks.seen import Measured, Seen


@dataclass(frozen=True)
class CameraCheck:
    """A check of a camera.

    Attributes
    ----------
    name : str
        Also that of its thresholds in ``video.camera_qc.checks``.
    unit : str
        Of its value.
    measure : callable
        Given `Seen`; returns `Measured`, or None where its data are not there: then the check
        is not made.
    """

    name: str
    unit: str
    measure: Callable[[Seen], Measured | None]


# To add a check: write its function, a line here, and its thresholds in the settings.
CHECKS = (
    CameraCheck("camera_brightness_low", "grey levels", picture.brightness_low),
    CameraCheck("camera_brightness_high", "grey levels", picture.brightness_high),
    CameraCheck("camera_brightness_std", "grey levels", picture.brightness_std),
    CameraCheck("camera_brightness_jumps", "", picture.brightness_jumps),
    CameraCheck("camera_black_fraction", "", picture.black_fraction),
    CameraCheck("camera_frozen_fraction", "", picture.frozen_fraction),
    CameraCheck("camera_focus", "", picture.focus),
    CameraCheck("camera_position_percent", "%", position.position),
    CameraCheck("camera_position_drift_percent", "%", position.position_drift),
    CameraCheck("camera_wheel_lag_frames", "frames", sync.wheel_lag),
    CameraCheck("camera_pin_pulse_difference", "pulses", sync.pin_pulses),
)
