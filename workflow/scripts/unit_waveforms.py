"""Wire rule `unit_waveforms` to sluice.ephys.unit_waveforms."""

from sluice.ephys.unit_waveforms import unit_waveforms_file
from sluice.job import job

with job(snakemake) as step:
    unit_waveforms_file(
        **vars(step.input),
        **vars(step.output),
        settings=step.params.settings,
    )
