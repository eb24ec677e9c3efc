"""Wire rule `camera_times` to sluice.video.camera_times."""

from sluice.job import job
from sluice.session import Camera
from sluice.video.camera_times import camera_times_file
from sluice.video.video_info import load_video_info

with job(snakemake) as step:
    camera_times_file(
        camera=Camera(**step.params.stream),
        info=load_video_info(step.input.info),
        pts=step.input.pts,
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
