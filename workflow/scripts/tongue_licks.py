"""Wire rule `tongue_licks` to sluice.video.tongue_licks."""

from sluice.job import job
from sluice.video.tongue_licks import tongue_licks_file

with job(snakemake) as step:
    cameras = step.params.cameras
    tongue_licks_file(
        poses=dict(zip(cameras, step.input.poses, strict=True)),
        times=dict(zip(cameras, step.input.times, strict=True)),
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
