"""Wire rule `plane_qc` to sluice.ophys.plane_qc."""

from sluice.job import job
from sluice.ophys.crosstalk import load_paired_plane
from sluice.ophys.plane import load_plane
from sluice.ophys.plane_qc import plane_qc_file

with job(snakemake) as step:
    paired, z_stack = step.input.paired, step.input.z_stack
    plane_qc_file(
        registered=step.input.registered,
        movie=step.input.movie,
        frames=step.input.frames,
        info=load_plane(step.input.info),
        shifts=step.input.shifts,
        images=step.input.images,
        registration=step.input.registration,
        masks=step.input.masks,
        dff=step.input.dff,
        z_stack=z_stack[0] if z_stack else None,
        z_step_um=step.params.stream["z_step_um"],
        paired=load_paired_plane(*paired) if paired else None,
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
