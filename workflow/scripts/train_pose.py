"""Wire rule `train_pose` to sluice.video.train_pose."""

from sluice.video.train_pose import train_pose_file

from sluice.job import job

with job(snakemake) as step:
    settings = step.params.settings
    train_pose_file(
        project=settings["project"],
        initial_weights=settings["initial_weights"],
        settings=settings["train"],
        device=step.device,
        threads=step.threads,
        name=f"pose model {step.name}",
        **vars(step.output),
    )
