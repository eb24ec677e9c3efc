"""Wire rule `import_plane` to sluice.ophys.import_plane."""

from sluice.job import job
from sluice.ophys.import_plane import import_plane_file
from sluice.session import Plane

with job(snakemake) as step:
    import_plane_file(
        plane=Plane(**step.params.stream),
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
