"""Settings of `motion_energy`, which reads the compressed video, and of `camera_qc`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sluice.settings.base import Count, Fraction, Positive, Section, Threshold

Box = Annotated[list[int], Field(min_length=4, max_length=4)]


def _require_box(camera, box):
    """Fail unless x, y, width and height can be those of a part of an image."""
    x, y, width, height = box
    if min(x, y) < 0 or min(width, height) < 1:
        raise ValueError(
            f"{camera}: {box} is not a region; expected x, y, width, height in pixels, x and y "
            "from 0, width and height from 1"
        )


class MotionEnergyChecks(Section):
    """Where the checks of `motion_energy` turn to WARNING and to FAIL."""

    energy_region_clipped_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.5),
        description="Part of the region that lies outside the image, as a fraction.",
    )
    energy_zero_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.95),
        description="Frames in whose region no pixel differs from the next frame, as a fraction.",
    )
    energy_points_known_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.05),
        description="Frames in which the points that place the region are likely, as a fraction, "
        "the worst of them; judged where points place it. Less is worse.",
    )


class MotionEnergy(Section):
    """Motion energy, and what `camera_qc` needs of each frame, in one pass over the video."""

    regions: dict[str, Literal["whole", "whisker_pad", "body"] | Box] = Field(
        {},
        description="Part of the image whose motion energy is measured, by camera: `whole`; "
        "`whisker_pad`, below the middle between nose and pupil (IBL's left and right camera); "
        "`body`, beside the root of the tail (IBL's body camera); or [x, y, width, height] (px "
        "of the compressed video). Cameras that are not listed: `whole`.",
    )
    wheel_regions: dict[str, Box] = Field(
        {},
        description="Part of the image in which the wheel, or the paws on it, is seen, by camera: "
        "[x, y, width, height] (px). Its motion energy is compared with the wheel's speed; that "
        "of the whole image where none is given.",
    )
    reference_frames: dict[str, str] = Field(
        {},
        description="An image of a session in which the camera was placed well, by camera: path "
        "of a PNG, TIFF, JPEG or npy of the size of the compressed video. The position is "
        "compared with it; without one, only with the beginning of the same video.",
    )
    nose_point: str = Field("nose_tip", description="Point of the pose model on the nose.")
    pupil_points: list[str] = Field(
        ["pupil_top_r", "pupil_left_r", "pupil_right_r", "pupil_bottom_r"],
        min_length=1,
        description="Points of the pose model on the pupil; the first that is ever likely counts.",
    )
    tail_point: str = Field(
        "tail_start", description="Point of the pose model on the root of the tail."
    )
    min_likelihood: Fraction = Field(
        0.9, description="Points with a lower likelihood are unknown in that frame (IBL)."
    )
    focus_step: Count = Field(
        30, description="Focus and sharpness are measured in every so many frames (frames)."
    )
    position_samples: Count = Field(
        100,
        description="Frames, evenly spread, in which the position is measured, ten at a time.",
    )
    checks: MotionEnergyChecks = MotionEnergyChecks()

    @field_validator("regions", "wheel_regions")
    @classmethod
    def _boxes(cls, value):
        for camera, region in value.items():
            if not isinstance(region, str):
                _require_box(camera, region)
        return value


class CameraQcChecks(Section):
    """Where the checks of `camera_qc` turn to WARNING and to FAIL."""

    camera_brightness_low: Threshold = Field(
        Threshold(warning=40.0, fail=20.0),
        description="Mean grey level that three quarters of the frames exceed, black ones left "
        "out (grey levels of 255; IBL's lower bound); less is worse.",
    )
    camera_brightness_high: Threshold = Field(
        Threshold(warning=200.0, fail=240.0),
        description="Mean grey level that three quarters of the frames stay below (grey levels "
        "of 255; IBL warns from 200).",
    )
    camera_brightness_std: Threshold = Field(
        Threshold(warning=10.0, fail=20.0),
        description="Standard deviation of the mean grey level over the frames between jumps, "
        "black ones left out (grey levels; IBL: FAIL from 20).",
    )
    camera_brightness_jumps: Threshold = Field(
        Threshold(warning=0, fail=20),
        description="Times that the mean grey level jumps from one frame to the next: a light "
        "that is switched, or flickers.",
    )
    camera_black_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.01), description="Black frames, as a fraction."
    )
    camera_frozen_fraction: Threshold = Field(
        Threshold(warning=0.01, fail=0.1),
        description="Frames in a stretch in which nothing moves, as a fraction; black ones are "
        "not counted.",
    )
    camera_focus: Threshold = Field(
        Threshold(warning=3.0, fail=1.5),
        description="How many times sharper a frame is than when it is blurred by 2 px (ratio of "
        "the variances of the Laplacian), which 19 of 20 frames exceed; less is worse. IBL's "
        "variance itself depends on what is seen; it is in measures.pqt.",
    )
    camera_position_percent: Threshold = Field(
        Threshold(warning=10.0, fail=15.0),
        description="Shift against the reference frame (% of width or of height, the larger; "
        "IBL's limits); judged where a reference frame is given.",
    )
    camera_position_drift_percent: Threshold = Field(
        Threshold(warning=3.0, fail=6.0),
        description="Shift against the beginning of the video, the largest in it (% of width or "
        "of height, the larger).",
    )
    camera_wheel_lag_frames: Threshold = Field(
        Threshold(warning=1.0, fail=2.0),
        description="Frames by which the picture is late or early against the wheel (IBL's "
        "limits); judged where the wheel turned enough.",
    )
    camera_pin_pulse_difference: Threshold = Field(
        Threshold(warning=0, fail=5),
        description="Pulses that the camera's pin saw, against those that were sent to it.",
    )


class CameraQc(Section):
    """Whether a camera's video can be used."""

    black_level: float = Field(
        10.0,
        ge=0,
        lt=255,
        description="A frame whose mean is lower is black (grey levels).",
    )
    jump_levels: Positive = Field(
        10.0,
        description="A change of the mean by more than this from one frame to the next is a jump "
        "(grey levels).",
    )
    frozen_levels: Positive = Field(
        0.02,
        description="Nothing moves where the motion energy of the whole picture is lower (grey "
        "levels). It is not 0 in frozen pictures, since compression changes them.",
    )
    frozen_s: Positive = Field(
        5.0, description="Pictures in which nothing moves for at least this long are frozen (s)."
    )
    min_position_score: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Pictures that resemble the reference less, wherever they are laid, have no "
        "known position (correlation).",
    )
    max_wheel_lag_s: Positive = Field(
        0.5, description="Lags between picture and wheel are looked for up to this (s)."
    )
    min_wheel_speed_rad_s: Positive = Field(
        0.5, description="The wheel moves where it is faster (rad/s)."
    )
    min_wheel_moving_s: Positive = Field(
        5.0, description="The lag is not measured if the wheel moves for less in all (s)."
    )
    min_wheel_rate_hz: Positive = Field(
        20.0, description="The lag is not measured in videos of fewer frames a second (Hz)."
    )
    min_wheel_correlation: Fraction = Field(
        0.1, description="Correlation of motion energy and speed that a lag needs."
    )
    min_wheel_prominence: Fraction = Field(
        0.2,
        description="The correlation must fall from its peak to both ends of the lags by at least "
        "this part of the peak.",
    )
    checks: CameraQcChecks = CameraQcChecks()
