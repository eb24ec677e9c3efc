"""Wire rule `export_suite2p` to sluice.ophys.export_suite2p."""

from sluice.job import job
from sluice.ophys.export_suite2p import export_suite2p_file
from sluice.ophys.plane import load_plane

with job(snakemake) as step:
    export_suite2p_file(
        registered=step.input.registered,
        info=load_plane(step.input.info),
        registration=step.input.registration,
        images=step.input.images,
        detection=step.input.detection,
        rois=step.input.rois,
        stat=step.input.stat,
        folder=step.output.folder,
        final_folder=snakemake.output.folder,
        settings=step.params.settings,
        register_settings=step.params.register_settings,
        device=step.device,
    )
