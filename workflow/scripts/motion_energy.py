"""Wire rule `motion_energy` to sluice.video.motion_energy."""

from sluice.job import job
from sluice.video.motion_energy import motion_energy_file
from sluice.video.video_info import load_video_info

with job(snakemake) as step:
    pose, reference_frame = step.input.pose, step.input.reference_frame
    motion_energy_file(
        video=step.input.video,
        info=load_video_info(step.input.info),
        pose=pose[0] if pose else None,
        reference_frame=reference_frame[0] if reference_frame else None,
        camera_region=step.params.camera_region,
        wheel_region=step.params.wheel_region,
        settings=step.params.settings,
        threads=step.threads,
        name=step.name,
        **vars(step.output),
    )
