"""Wire rule `extract_lfp` to sluice.ephys.extract_lfp."""

from sluice.ephys.extract_lfp import extract_lfp_file
from sluice.io.recording import open_probe
from sluice.job import job
from sluice.session import Stream

with job(snakemake) as step:
    probe = Stream(**step.params.stream)
    extract_lfp_file(
        recording=open_probe(probe),
        lf_recording=open_probe(probe, band="lf"),
        channels=step.input.channels,
        surface=step.input.surface,
        settings=step.params.settings,
        name=step.name,
        **vars(step.output),
    )
