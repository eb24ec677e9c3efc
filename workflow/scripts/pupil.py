"""Wire rule `pupil` to sluice.video.pupil."""

from sluice.job import job
from sluice.video.pupil import pupil_file

with job(snakemake) as step:
    pupil_file(
        **vars(step.input),
        camera_settings=step.params.camera_settings,
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
