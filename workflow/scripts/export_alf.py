"""Wire rule `export_alf` to sluice.export.export_alf."""

from sluice.ephys.traces import load_traces_info
from sluice.export.export_alf import export_alf_file
from sluice.job import job

with job(snakemake) as step:
    export_alf_file(
        channels=step.input.channels,
        spikes=step.input.spikes,
        units=step.input.units,
        templates=step.input.templates,
        waveform_mean=step.input.waveform_mean,
        waveform_metrics=step.input.waveform_metrics,
        metrics=step.input.metrics,
        sampling_rate_hz=load_traces_info(step.input.info).sampling_rate_hz,
        session=snakemake.wildcards.session,
        probe=snakemake.wildcards.probe,
        sorter=snakemake.wildcards.sorter,
        folder=step.output.collection,
    )
