"""Settings of the video stage."""

from pydantic import Field, field_validator

from sluice.settings.base import Section
from sluice.settings.camera_qc import CameraQc, MotionEnergy
from sluice.settings.camera_times import CameraTimes
from sluice.settings.compress_video import CompressVideo
from sluice.settings.pose import PoseModel, TrackPose
from sluice.settings.pupil import Pupil, TongueLicks


class Video(Section):
    """Behaviour videos."""

    compress_video: CompressVideo = CompressVideo()
    camera_times: CameraTimes = CameraTimes()
    pose_models: dict[str, PoseModel] = Field(
        {},
        description="DeepLabCut models by a name of your own (letters, digits, `_`); see "
        "`video.pose_models.<name>`.",
    )
    track_pose: TrackPose = TrackPose()
    pupil: Pupil = Pupil()
    tongue_licks: TongueLicks = TongueLicks()
    motion_energy: MotionEnergy = MotionEnergy()
    camera_qc: CameraQc = CameraQc()

    @field_validator("pose_models")
    @classmethod
    def _names(cls, value):
        for name in value:
            if not name.isidentifier() or not name.isascii():
                raise ValueError(f"{name!r} cannot be a name: letters, digits and _ only")
        return value

    @field_validator("track_pose")
    @classmethod
    def _known_models(cls, value, info):
        models = info.data.get("pose_models", {})
        for camera, model in value.cameras.items():
            if model not in models:
                known = ", ".join(models) or "none is given"
                raise ValueError(f"{camera} names model {model!r}; video.pose_models: {known}")
        return value

    @field_validator("pupil", "tongue_licks", "motion_energy")
    @classmethod
    def _tracked(cls, value, info):
        """What needs keypoints works on cameras that are tracked."""
        tracked = info.data["track_pose"].cameras if "track_pose" in info.data else {}
        for camera in _needing_pose(value):
            if camera not in tracked:
                known = ", ".join(tracked) or "none"
                raise ValueError(
                    f"{camera} is not tracked; name its model in video.track_pose.cameras "
                    f"(tracked: {known})"
                )
        return value


def _needing_pose(section):
    """Cameras that a section asks keypoints of."""
    if isinstance(section, MotionEnergy):
        return [c for c, region in section.regions.items() if region in ("whisker_pad", "body")]
    return list(section.cameras)
