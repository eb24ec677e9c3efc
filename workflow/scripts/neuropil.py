"""Wire rule `neuropil` to sluice.ophys.neuropil."""

from sluice.job import job
from sluice.ophys.neuropil import neuropil_file
from sluice.ophys.plane import load_plane

with job(snakemake) as step:
    neuropil_file(
        demixed=step.input.demixed,
        neuropil=step.input.neuropil,
        info=load_plane(step.input.info),
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
