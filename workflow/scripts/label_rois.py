"""Wire rule `label_rois` to sluice.ophys.label_rois."""

from sluice.job import job
from sluice.ophys.label_rois import label_rois_file

with job(snakemake) as step:
    label_rois_file(
        **vars(step.input),
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
