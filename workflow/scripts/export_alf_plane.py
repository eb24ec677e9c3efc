"""Wire rule `export_alf_plane` to sluice.export.export_alf_plane."""

from sluice.export.export_alf_plane import export_alf_plane_file
from sluice.job import job
from sluice.ophys.plane import load_plane

with job(snakemake) as step:
    export_alf_plane_file(
        **{**vars(step.input), "info": load_plane(step.input.info)},
        session=snakemake.wildcards.session,
        plane=snakemake.wildcards.plane,
        folder=step.output.collection,
    )
