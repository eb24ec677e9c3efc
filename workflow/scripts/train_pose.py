"""Wire rule `train_pose` to sluice.video.train_pose."""

from sluice.job import job
from sluice.video.train_pose import train_pose_file

with job(snakemake) as step:
    settings, weights = step.params.settings, step.input.weights
    train_pose_file(
        project=settings["project"],
        initial_weights=weights[0] if weights else None,
        settings=settings["train"],
        device=step.device,
        threads=step.threads,
        name=f"pose model {step.name}",
        **vars(step.output),
    )
