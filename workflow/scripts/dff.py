"""Wire rule `dff` to sluice.ophys.dff."""

from sluice.job import job
from sluice.ophys.dff import dff_file
from sluice.ophys.plane import load_plane

with job(snakemake) as step:
    dff_file(
        corrected=step.input.corrected,
        info=load_plane(step.input.info),
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
