"""Wire rule `describe_probes` to sluice.export.export_alf."""

from sluice.export.export_alf import describe_probes_file
from sluice.io.recording import describe_probe
from sluice.job import job
from sluice.session import Stream

with job(snakemake) as step:
    describe_probes_file(
        probes=[describe_probe(Stream(**row)) for row in step.params.streams],
        description=step.output.description,
    )
