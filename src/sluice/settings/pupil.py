"""Settings of what is read off keypoints: the pupil, and licks of the tongue."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from sluice.settings.base import Count, Fraction, Positive, Section, Threshold

# IBL's names, in the order that `four_points` needs.
FOUR_POINTS = ["pupil_top_r", "pupil_right_r", "pupil_bottom_r", "pupil_left_r"]
# Points and likelihood that a frame needs, by method: Allen's and IBL's.
MIN_POINTS = {"ellipse": 6, "four_points": 2}
MIN_LIKELIHOOD = {"ellipse": 0.8, "four_points": 0.9}
# Fewer points are on more than one ellipse.
ELLIPSE_POINTS = 5


def _require_different(names):
    if len(set(names)) < len(names):
        raise ValueError("names a point or camera twice")
    return names


class PupilCamera(Section):
    """How the pupil is measured in one camera."""

    method: Literal["ellipse", "four_points"] = Field(
        "four_points",
        description="An ellipse through many points around the pupil (Allen), or the median of "
        "the distances between four (IBL).",
    )
    points: list[str] = Field(
        FOUR_POINTS,
        description="Points of the pose model on the edge of the pupil; for `four_points` the "
        "top, right, bottom and left one, in this order.",
    )
    eye_points: list[str] = Field(
        [],
        description="Points around the eye's opening, for an ellipse; it shows blinks. None if "
        "empty.",
    )
    reflection_points: list[str] = Field(
        [],
        description="Points around the reflection of a light on the cornea, for an ellipse. None "
        "if empty.",
    )
    min_likelihood: Fraction | None = Field(
        None,
        description="Points with a lower likelihood are unknown; null: 0.8 for `ellipse`, as "
        "Allen, 0.9 for `four_points`, as IBL.",
    )
    min_points: int | None = Field(
        None,
        ge=2,
        description="A frame with fewer known points of the pupil has no diameter; null: 6 for "
        "`ellipse`, as Allen, 2 for `four_points`, as IBL. At least 5 for `ellipse`.",
    )
    max_extent: float = Field(
        2.5,
        ge=1.5,
        description="An ellipse is not believed where the half of its longer axis is more than "
        "this many times the distance (root mean square) of its points from their mean. Points "
        "all around a circle have 1, on half of it 1.3.",
    )

    _different = field_validator("points", "eye_points", "reflection_points")(_require_different)

    @model_validator(mode="after")
    def _enough_points(self):
        if self.method == "four_points" and len(self.points) != 4:
            raise ValueError(
                f"four_points needs 4 points (top, right, bottom, left), found {len(self.points)}"
            )
        needed = self.min_points or MIN_POINTS[self.method]
        if self.method == "ellipse" and needed < ELLIPSE_POINTS:
            raise ValueError(
                f"an ellipse needs min_points of at least {ELLIPSE_POINTS}, found {needed}"
            )
        if len(self.points) < needed:
            raise ValueError(f"{self.method} needs {needed} points, found {len(self.points)}")
        for key in ("eye_points", "reflection_points"):
            if 0 < len(getattr(self, key)) < ELLIPSE_POINTS:
                raise ValueError(
                    f"the ellipse of {key} needs {ELLIPSE_POINTS} points or none, "
                    f"found {len(getattr(self, key))}"
                )
        return self


class PupilChecks(Section):
    """Where the checks of `pupil` turn to WARNING and to FAIL."""

    pupil_unknown_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.9),
        description="Frames without a diameter, as a fraction (IBL: blocked above 0.9).",
    )
    pupil_eye_unknown_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.9),
        description="Frames without an area of the eye, as a fraction; judged where its points "
        "are named.",
    )
    pupil_diameter_std: Threshold = Field(
        Threshold(warning=0.4, fail=0.8),
        description="Standard deviation of the diameter over its median. IBL: 10 px of its left "
        "camera, 5 px of its right one, which has half the size.",
    )
    pupil_snr: Threshold = Field(
        Threshold(warning=5.0, fail=1.0),
        description="Variance of the smoothed diameter over that of what smoothing takes away; "
        "less is worse (IBL: 10 for its left camera, 5 for its right one).",
    )
    pupil_fit_error: Threshold = Field(
        Threshold(warning=0.1, fail=0.3),
        description="How well the points agree: fit_error_px over the diameter, median. Four "
        "points of a pupil that is a quarter narrower than wide have 0.08.",
    )
    pupil_blink_rate_hz: Threshold = Field(
        Threshold(warning=0.5, fail=2.0),
        description="Blinks a second; more are mostly lost tracking.",
    )


class Pupil(Section):
    """Diameter, area and place of the pupil, and blinks."""

    cameras: dict[str, PupilCamera] = Field(
        {}, description="Cameras in which the pupil is measured, by name, and how."
    )
    blink_z: Positive = Field(
        3.0,
        description="An area of the pupil or the eye more than this many standard deviations "
        "from its mean is a sign of a blink (Allen).",
    )
    blink_dilation_frames: int = Field(
        2, ge=0, description="Frames before and after signs of a blink that belong to it (Allen)."
    )
    max_blink_s: Positive = Field(
        1.0,
        description="What lasts longer is no blink: an eye or a pupil out of sight is unknown, "
        "and an unusual area is taken for what it is (s; without the frames around).",
    )
    smooth_window_s: Positive = Field(
        0.5,
        description="Window of the polynomial that smooths the diameter (s); IBL: 31 frames at "
        "60 Hz, 75 at 150 Hz.",
    )
    smooth_order: int = Field(3, ge=0, le=5, description="Order of that polynomial (IBL).")
    outlier_std: Positive = Field(
        5.0,
        description="A diameter further from the smoothed one than this many standard deviations "
        "of all the differences is left out (IBL).",
    )
    max_gap_s: float = Field(
        1.0,
        ge=0,
        description="Longer gaps stay empty in the smoothed diameter (s); shorter ones are "
        "filled in a straight line (IBL).",
    )
    fill_blinks: bool = Field(
        False,
        description="Whether blinks are filled too, as IBL does; else the smoothed diameter is "
        "empty in them.",
    )
    checks: PupilChecks = PupilChecks()


class TongueLicksChecks(Section):
    """Where the checks of `tongue_licks` turn to WARNING and to FAIL."""

    tongue_lick_number: Threshold = Field(
        Threshold(warning=1, fail=0), description="Licks that were found; less is worse."
    )
    tongue_lick_rate_hz: Threshold = Field(
        Threshold(warning=4.0, fail=8.0),
        description="Licks a second over the whole video; a mouse licks at 6 to 10 Hz at most.",
    )
    tongue_lick_visible_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.9),
        description="Frames in which the tongue is seen, as a fraction, in the worst camera; "
        "where it always is, something else is taken for it (IBL: above 0.9).",
    )
    tongue_lick_duration_s: Threshold = Field(
        Threshold(warning=0.2, fail=1.0),
        description="Time that the tongue is seen in a lick, median (s).",
    )
    tongue_lick_lone_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.95),
        description="Licks that only one camera saw, as a fraction; judged with more than one.",
    )


class TongueLicks(Section):
    """Times of licks, from the tongue in one camera or more."""

    cameras: list[str] = Field(
        [], description="Cameras that see the tongue; licks are looked for in all of them."
    )
    points: list[str] = Field(
        ["tongue_end_l", "tongue_end_r"],
        min_length=1,
        description="Points of the pose model on the tongue.",
    )
    min_likelihood: Fraction = Field(
        0.9, description="The tongue is seen where a point of it has at least this likelihood."
    )
    min_frames: Count = Field(
        2,
        description="Frames in a row in which a point of the tongue must be seen (IBL's way needs "
        "2, to see it move).",
    )
    max_gap_frames: int = Field(
        1, ge=0, description="The tongue may be lost within a lick for so many frames."
    )
    movement_std: float = Field(
        0.25,
        ge=0,
        description="In a lick a coordinate of the tongue changes from frame to frame by more "
        "than this many standard deviations of all its changes (IBL: a quarter); 0 asks for any "
        "change.",
    )
    retraction: float = Field(
        0.5,
        gt=0,
        description="A tongue that stays in sight licks again where it has gone back by this part "
        "of its usual reach, and comes out again.",
    )
    refractory_s: Positive = Field(
        0.05, description="Licks closer together are one, in one camera or in two (s)."
    )
    checks: TongueLicksChecks = TongueLicksChecks()

    _different = field_validator("cameras", "points")(_require_different)
