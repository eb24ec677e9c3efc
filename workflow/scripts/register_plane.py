"""Wire rule `register_plane` to sluice.ophys.register_plane."""

from sluice.job import job
from sluice.ophys.plane import load_plane
from sluice.ophys.register_plane import register_plane_file

with job(snakemake) as step:
    register_plane_file(
        movie=step.input.movie,
        info=load_plane(step.input.info),
        frames=step.input.frames,
        settings=step.params.settings,
        device=step.device,
        **vars(step.output),
    )
