"""Settings of the video steps that train and use pose models."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sluice.settings.base import Count, Fraction, Positive, Section, Threshold


class TrainPoseChecks(Section):
    """Where the checks of `train_pose` turn to WARNING and to FAIL."""

    pose_train_error_px: Threshold = Field(
        Threshold(warning=5.0, fail=15.0),
        description="Distance from the label on images it was trained on, mean of all labels "
        "(px of the images).",
    )
    pose_test_error_px: Threshold = Field(
        Threshold(warning=10.0, fail=30.0),
        description="Distance from the label on images it was not trained on, mean of all labels "
        "(px of the images).",
    )


class TrainPose(Section):
    """Training of a pose model on a labelled DeepLabCut project, from random or own weights."""

    net_type: str = Field(
        "resnet_50",
        description="Network: resnet_50, resnet_101, hrnet_w18, hrnet_w32 or hrnet_w48 as "
        "DeepLabCut describes them, or any ResNet of timm, e.g. resnet18, resnet10t (small: "
        "trains on a CPU).",
    )
    output_stride: Literal[8, 16, 32] = Field(
        16,
        description="Pixels of the image for one of a ResNet's last layer; 32 is the fastest. The "
        "heatmaps have half of it.",
    )
    test_fraction: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="Part of the labelled images that is kept for the test error, at least one. "
        "They are drawn at random, so neighbours of theirs may be trained on.",
    )
    seed: int = Field(
        0, ge=0, description="Of the test images, the first weights and the augmentation."
    )
    epochs: Count = Field(200, description="Times that every training image is seen.")
    batch_size: Count = Field(8, description="Images for one step.")
    learning_rate: Positive = Field(
        5e-4,
        description="Of AdamW, at the beginning; a fifth of it from 45 %, a fiftieth from 60 % of "
        "the epochs on (DeepLabCut's own for ResNets).",
    )
    schedule: Literal["steps", "one_cycle"] = Field(
        "steps",
        description="steps: as above. one_cycle: up to `learning_rate` over the first 10 % of the "
        "epochs, then down to nothing along a cosine; serves short trainings.",
    )
    image_scale: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Images are made smaller by this before the network sees them, in training "
        "and in tracking, whatever size videos have; positions stay in pixels of the video.",
    )
    crop_px: int = Field(
        448,
        ge=64,
        description="Height and width of the pieces of (scaled) images that are trained on (px); "
        "never larger than the images, and rounded down to a multiple of 32.",
    )
    rotation_deg: float = Field(
        30.0, ge=0, le=180, description="Half of the images are turned by up to this (degrees)."
    )
    min_zoom: float = Field(
        0.5, gt=0, le=1, description="Half of the images are made smaller by down to this."
    )
    max_zoom: float = Field(
        1.25, ge=1, le=4, description="Half of the images are made larger by up to this."
    )
    noise: float = Field(
        12.75,
        ge=0,
        description="Half of the images get noise of up to this standard deviation (grey levels "
        "of 0 to 255); 0: none.",
    )
    motion_blur: bool = Field(True, description="Whether half of the images are blurred.")
    point_radius_px: Positive = Field(
        17.0,
        description="The network looks for a point within this distance (px of the scaled image).",
    )
    keep: Literal["last", "best"] = Field(
        "last",
        description="Which weights are kept: last, those after the last epoch; best, those with "
        "the highest score (mAP) on the test images among every `validate_every` epochs, as "
        "DeepLabCut's own default. The test error of the best is too good: it was chosen by it.",
    )
    validate_every: Count = Field(
        10, description="Epochs from one score on the test images to the next."
    )
    likelihood_min: Fraction = Field(
        0.6, description="Errors are also given for points with at least this likelihood."
    )
    pytorch_config: dict[str, Any] = Field(
        {},
        description="Anything else of DeepLabCut's pytorch_config.yaml, by its place with dots, "
        "e.g. `data.train.hist_eq: true`.",
    )
    checks: TrainPoseChecks = TrainPoseChecks()


class PoseModel(Section):
    """A pose model by its name in the settings: where it lies, or how it is trained."""

    project: str = Field(description="Folder of the DeepLabCut project; never written to.")
    snapshot: str | None = Field(
        None,
        description="Trained weights (.pt), as a path or within the project's folder; null: "
        "`train_pose` trains the project.",
    )
    initial_weights: str | None = Field(
        None,
        description="Weights (.pt of DeepLabCut, same network) to begin training with; null: "
        "random ones. Nothing is ever downloaded.",
    )
    train: TrainPose = TrainPose()

    @model_validator(mode="after")
    def _trains_or_tracks(self):
        if self.snapshot is not None and self.initial_weights is not None:
            raise ValueError("name a snapshot to track with or initial_weights to train, not both")
        return self


class TrackPoseChecks(Section):
    """Where the checks of `track_pose` turn to WARNING and to FAIL."""

    pose_likelihood_mean: Threshold = Field(
        Threshold(warning=0.8, fail=0.4),
        description="Mean likelihood over all frames, of the point with the lowest; less is "
        "worse. Points of `often_hidden` do not count.",
    )
    pose_unlikely_fraction: Threshold = Field(
        Threshold(warning=0.3, fail=0.9),
        description="Frames in which a point is below `likelihood_min`, as a fraction, of the "
        "point with the most. Points of `often_hidden` do not count.",
    )
    pose_jump_fraction: Threshold = Field(
        Threshold(warning=0.01, fail=0.1),
        description="Steps from frame to frame, between two likely positions, that are longer "
        "than `jump_fraction` of the image's diagonal, as a fraction, of the point with the most.",
    )
    pose_lost_points: Threshold = Field(
        Threshold(warning=0, fail=0),
        description="Points whose likelihood reaches `lost_likelihood` in no frame: the model does "
        "not know them, or not in this video. Points of `often_hidden` do not count.",
    )


class TrackPose(Section):
    """Keypoints of cameras by trained models."""

    cameras: dict[str, str] = Field(
        {},
        description="Which model (name in `pose_models`) tracks which camera, e.g. "
        "`leftCamera: face`. Other cameras are not tracked.",
    )
    batch_size: Count | None = Field(
        None, description="Frames that the network sees at once; null: by the memory there is."
    )
    likelihood_min: Fraction = Field(
        0.9,
        description="Less likely positions are NaN in the filtered table (IBL: 0.9; DeepLabCut "
        "draws points from 0.6).",
    )
    filter_frames: int = Field(
        5,
        ge=1,
        description="Window of the median over time (frames, odd); 1: none. DeepLabCut: 5.",
    )
    max_gap_frames: int = Field(
        5, ge=0, description="Gaps of at most this many frames are filled in a straight line."
    )
    jump_fraction: Fraction = Field(
        0.1, description="A step longer than this part of the image's diagonal is a jump."
    )
    often_hidden: list[str] = Field(
        ["tongue_end_l", "tongue_end_r"],
        description="Points that may be out of sight in most frames (IBL's tongue): their "
        "likelihood is not judged, nor whether they are lost.",
    )
    lost_likelihood: Fraction = Field(
        0.1, description="A point that is less likely than this in every frame is lost."
    )
    checks: TrackPoseChecks = TrackPoseChecks()

    @field_validator("filter_frames")
    @classmethod
    def _odd(cls, value):
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value
