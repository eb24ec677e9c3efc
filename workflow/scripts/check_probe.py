"""Wire rule `check_probe` to sluice.ephys.check_probe."""

from pathlib import Path

from sluice.ephys.check_probe import check_probe_file
from sluice.io.recording import channel_table, open_probe
from sluice.job import job
from sluice.session import Stream

with job(snakemake) as step:
    probe = Stream(**step.params.stream)
    recording = open_probe(probe)
    lf_recording = open_probe(probe, band="lf")
    check_probe_file(
        recording=recording,
        lf_recording=lf_recording,
        channels_table=channel_table(recording),
        settings=step.params.settings,
        name=step.name,
        max_int=recording.get_annotation("max_int"),
        lf_max_int=lf_recording.get_annotation("max_int") if lf_recording else None,
        channels=step.output.channels,
        surface=step.output.surface,
        checks=step.output.checks,
        figure=step.output.figure,
        alf_folder=Path(step.output.alf[0]).parent,
    )
