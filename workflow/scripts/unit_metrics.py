"""Wire rule `unit_metrics` to sluice.ephys.unit_metrics."""

from sluice.ephys.traces import load_traces_info
from sluice.ephys.unit_metrics import unit_metrics_file
from sluice.job import job

with job(snakemake) as step:
    info = load_traces_info(step.input.info)
    unit_metrics_file(
        spikes=step.input.spikes,
        units=step.input.units,
        waveform_metrics=step.input.waveform_metrics,
        pcs=step.input.pcs,
        channels=step.input.channels,
        **vars(step.output),
        n_samples=info.n_samples,
        sampling_rate_hz=info.sampling_rate_hz,
        settings=step.params.settings,
    )
