"""Wire rule `events` to sluice.ophys.events."""

from sluice.job import job
from sluice.ophys.events import events_file
from sluice.ophys.plane import load_plane

with job(snakemake) as step:
    events_file(
        dff=step.input.dff,
        info=load_plane(step.input.info),
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
