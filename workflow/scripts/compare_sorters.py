"""Wire rule `compare_sorters` to sluice.ephys.compare_sorters."""

from sluice.ephys.compare_sorters import compare_sorters_file
from sluice.job import job

with job(snakemake) as step:
    compare_sorters_file(
        sortings=dict(zip(step.params.sorters, step.input.spikes, strict=True)),
        info=step.input.info,
        table=step.output.table,
        settings=step.params.settings,
    )
