"""Wire rule `demix` to sluice.ophys.demix."""

from sluice.job import job
from sluice.ophys.crosstalk import load_paired_plane
from sluice.ophys.demix import demix_file
from sluice.ophys.plane import load_plane

with job(snakemake) as step:
    paired = step.input.paired
    demix_file(
        registered=step.input.registered,
        frames=step.input.frames,
        info=load_plane(step.input.info),
        masks=step.input.masks,
        shifts=step.input.shifts,
        paired=load_paired_plane(*paired) if paired else None,
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
