"""Wire rule `sort_spikes` to sluice.ephys.sort_spikes."""

from sluice.ephys.sort_spikes import sort_spikes_file
from sluice.job import job

with job(snakemake) as step:
    sort_spikes_file(
        traces=step.input.traces,
        sorter=snakemake.wildcards.sorter,
        parameters=step.params.parameters,
        whiten=step.params.whiten,
        motion=step.params.motion,
        settings=step.params.settings,
        device=step.device,
        n_threads=step.threads,
        **vars(step.output),
    )
