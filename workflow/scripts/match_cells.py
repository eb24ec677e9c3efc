"""Wire rule `match_cells` to sluice.ophys.match_cells."""

from sluice.job import job
from sluice.ophys.match_cells import match_cells_file

with job(snakemake) as step:
    files = zip(step.input.images, step.input.masks, step.input.rois, step.input.info, strict=True)
    match_cells_file(
        members=[
            (session, plane, *paths)
            for (session, plane), paths in zip(step.params.members, files, strict=True)
        ],
        container=snakemake.wildcards.container,
        settings=step.params.settings,
        name=f"container {step.name}",
        **vars(step.output),
    )
