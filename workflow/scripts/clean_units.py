"""Wire rule `clean_units` to sluice.ephys.clean_units."""

from sluice.ephys.clean_units import clean_units_file
from sluice.job import job

with job(snakemake) as step:
    clean_units_file(
        traces=step.input.traces,
        sorted_spikes=step.input.spikes,
        sorted_units=step.input.units,
        settings=step.params.settings,
        **vars(step.output),
    )
