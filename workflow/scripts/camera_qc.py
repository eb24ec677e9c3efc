"""Wire rule `camera_qc` to sluice.video.camera_qc."""

from sluice.job import job
from sluice.video.camera_qc import camera_qc_file
from sluice.video.video_info import load_video_info

with job(snakemake) as step:
    pose, features = step.input.pose, step.input.features
    camera_qc_file(
        info=load_video_info(step.input.info),
        times=step.input.times,
        frames=step.input.frames,
        summary=step.input.summary,
        energy=step.input.energy,
        region=step.input.region,
        measures=step.input.measures,
        reference=step.input.reference,
        pose=pose[0] if pose else None,
        features=features[0] if features else None,
        wheel=step.params.wheel or None,
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
