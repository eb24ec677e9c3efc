"""Wire rule `track_pose` to sluice.video.track_pose."""

from sluice.job import job
from sluice.video.track_pose import track_pose_file
from sluice.video.video_info import load_video_info

with job(snakemake) as step:
    model = step.params.model
    track_pose_file(
        video=step.input.video,
        info=load_video_info(step.input.info),
        project=model["project"] if model["snapshot"] else step.input.model[0],
        snapshot=step.input.model[0] if model["snapshot"] else None,
        settings=step.params.settings,
        device=step.device,
        threads=step.threads,
        memory_mb=snakemake.resources.mem_mb,
        name=step.name,
        **vars(step.output),
    )
