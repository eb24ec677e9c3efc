"""Wire rule `compress_video` to sluice.video.compress_video."""

from sluice.job import job
from sluice.session import Camera
from sluice.video.compress_video import compress_video_file

with job(snakemake) as step:
    compress_video_file(
        camera=Camera(**step.params.stream),
        settings=step.params.settings,
        device=step.device,
        threads=step.threads,
        name=step.name,
        **vars(step.output),
    )
