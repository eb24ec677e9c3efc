"""Wire rule `segment_plane` to sluice.ophys.segment_plane."""

from sluice.job import job
from sluice.ophys.plane import load_plane
from sluice.ophys.segment_plane import segment_plane_file

with job(snakemake) as step:
    segment_plane_file(
        registered=step.input.registered,
        info=load_plane(step.input.info),
        registration=step.input.registration,
        images=step.input.images,
        settings=step.params.settings,
        device=step.device,
        **vars(step.output),
    )
