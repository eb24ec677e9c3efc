"""Wire rule `preprocess_probe` to sluice.ephys.preprocess_probe."""

import shutil
from pathlib import Path

from sluice.ephys.preprocess_probe import preprocess_probe_file
from sluice.io.recording import open_probe
from sluice.job import job
from sluice.session import Stream

with job(snakemake) as step:
    preprocess_probe_file(
        recording=open_probe(Stream(**step.params.stream)),
        channels=step.input.channels,
        folder=step.output.traces,
        checks=step.output.checks,
        settings=step.params.settings,
        n_threads=step.threads,
        name=step.name,
    )
    shutil.copy(Path(step.output.traces) / "traces.json", step.output.info)
