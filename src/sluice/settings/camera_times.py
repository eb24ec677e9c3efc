"""Settings of `camera_times`."""

from typing import Literal

from pydantic import Field

from sluice.settings.base import Fraction, Positive, Section, Threshold


class CameraTimesChecks(Section):
    """Where the checks of `camera_times` turn to WARNING and to FAIL."""

    camera_clock_source: Threshold = Field(
        Threshold(warning=1, fail=-1),
        description="1 if times are on the session's clock, 0 if they are the camera's own or "
        "those of the video; less is worse.",
    )
    camera_frame_difference: Threshold = Field(
        Threshold(warning=0, fail=5),
        description="Times beyond the frames, or too few, that nothing accounts for: frames "
        "that the camera lost, and pulses that were seen to lie before or after the video, "
        "are accounted for. IBL's limits.",
    )
    camera_alignment_uncertainty: Threshold = Field(
        Threshold(warning=0, fail=5),
        description="By how many frames times may be shifted: where only the setting "
        "extra_pulses says which pulses have no frame, where changes of the pin lie beside their "
        "edges, where the camera's record is longer or shorter than the video, or frames of the "
        "source could not be decoded.",
    )
    camera_dropped_fraction: Threshold = Field(
        Threshold(warning=0.001, fail=0.02),
        description="Exposures without a frame, as a fraction of all (IBL warns from 0.001).",
    )
    camera_rate_difference: Threshold = Field(
        Threshold(warning=0.01, fail=0.05),
        description="Rate by the times against that of the video, as a fraction.",
    )
    camera_time_jitter: Threshold = Field(
        Threshold(warning=0.1, fail=0.3),
        description="Standard deviation of the intervals between frames with no dropped frame "
        "between them, as a fraction of the median interval.",
    )
    camera_interpolated_fraction: Threshold = Field(
        Threshold(warning=0.001, fail=0.02),
        description="Frames without a time of their own, as a fraction.",
    )
    camera_bounced_fraction: Threshold = Field(
        Threshold(warning=0.01, fail=0.2),
        description="Edges that were taken for bounces, and pulses less than half an interval "
        "behind another, as a fraction.",
    )
    camera_record_difference: Threshold = Field(
        Threshold(warning=2, fail=10),
        description="By how many frames the camera's own files are longer or shorter than the "
        "video, the worst of them.",
    )
    camera_counter_disagreement: Threshold = Field(
        Threshold(warning=0, fail=10),
        description="Frames before which the counter says that other frames were lost than "
        "the pulses, or the camera's clock, say.",
    )


class CameraTimes(Section):
    """Times of a camera's frames on the session's clock."""

    max_frame_difference: int = Field(
        15,
        ge=0,
        description="By how many the times may be more or fewer than the frames, and the "
        "camera's own files longer or shorter, where nothing says why (AllenSDK: 15 more). "
        "Times at the ends are added up to this number.",
    )
    extra_pulses: Literal["first", "last"] = Field(
        "last",
        description="Which pulses have no frame where there are more pulses than frames and "
        "neither pins nor the camera's clock say: the last (AllenSDK) or the first (IBL).",
    )
    bounce_ms: float = Field(
        0.2, ge=0, description="Edges closer than this to the one before are its bounces (ms)."
    )
    max_rate_difference: Fraction = Field(
        0.02,
        description="The camera's clock and the pulses are refused as those of different "
        "cameras if their rates differ by more than this fraction.",
    )
    max_interpolated_fraction: Fraction = Field(
        0.1, description="Pulses are refused if more of the frames than this have none."
    )
    min_evidence_ratio: Positive = Field(
        2.0,
        description="Intervals of the camera's clock say where the pulses of the video begin "
        "if they fit there this many times better (mean square) than anywhere else.",
    )
    max_pin_drift_ppm: float = Field(
        1000.0,
        gt=0,
        description="Times of a pin alone, without the camera's clock or counter, are uncertain "
        "if the video runs faster or slower than this (ppm): frames that were lost look the same.",
    )
    checks: CameraTimesChecks = CameraTimesChecks()
