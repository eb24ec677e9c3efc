"""Behaviour videos, one job per camera; pose models, one job per model.

Needs the raw video of a camera, and its timing files, as the table of streams names them.
Promises a small h264 video with every frame, the time of each frame, keypoints, pupil, motion
energy and licks where the settings ask for them, and the checks of the camera. What ONE
serves is written in ALF form by its own step.
"""


rule compress_video:
    """Make the video small with every frame kept, and count the frames."""
    input:
        raw=video_file,
    output:
        video="<derived>/{session}/raw_video_data/_sluice_{camera}.raw.mp4",
        info="<work>/{session}/{camera}/compress_video/video.json",
        pts="<work>/{session}/{camera}/compress_video/frame_pts.npy",
        checks="<work>/{session}/{camera}/compress_video/checks.json",
    log:
        "<logs>/{session}/{camera}/compress_video.log",
    benchmark:
        "<benchmarks>/{session}/{camera}/compress_video.jsonl"
    conda:
        "../../envs/video.yaml"
    threads: 4
    resources:
        mem_mb=retried(3000),
        runtime=compression_time,
        gpu=0,
    params:
        stream=video_stream,
        settings=lookup("video/compress_video", within=config),
        code=code("compress_video"),
    script:
        "../scripts/compress_video.py"


rule camera_times:
    """Find the time of every frame on the session's clock, and the frames the camera lost."""
    input:
        raw=camera_timing,
        info=rules.compress_video.output.info,
        pts=rules.compress_video.output.pts,
    output:
        times="<derived>/{session}/alf/_ibl_{camera}.times.npy",
        frames="<work>/{session}/{camera}/camera_times/frames.pqt",
        summary="<work>/{session}/{camera}/camera_times/times.json",
        checks="<work>/{session}/{camera}/camera_times/checks.json",
    log:
        "<logs>/{session}/{camera}/camera_times.log",
    benchmark:
        "<benchmarks>/{session}/{camera}/camera_times.jsonl"
    conda:
        "../../envs/video.yaml"
    threads: 1
    resources:
        mem_mb=retried(2000),
        runtime=minutes(at_least=10, per_gb=1),
    params:
        stream=timing_stream,
        settings=lookup("video/camera_times", within=config),
        code=code("camera_times"),
    script:
        "../scripts/camera_times.py"


# On the CPU unless a profile gives the rule a GPU.
rule train_pose:
    """Train the pose model of a labelled DeepLabCut project and evaluate it."""
    input:
        labels=labelled_files,
        weights=initial_weights,
    output:
        project_out=directory("<derived>/pose_models/{model}/project"),
        evaluation="<derived>/pose_models/{model}/evaluation.tsv",
        model_info="<derived>/pose_models/{model}/model.json",
        checks="<work>/pose_models/{model}/train_pose/checks.json",
    log:
        "<logs>/pose_models/{model}/train_pose.log",
    benchmark:
        "<benchmarks>/pose_models/{model}/train_pose.jsonl"
    conda:
        "../../envs/video.yaml"
    threads: 4
    resources:
        mem_mb=retried(8000),
        runtime=minutes(at_least=600),
        gpu=0,
    params:
        settings=pose_model,
        code=code("train_pose"),
    script:
        "../scripts/train_pose.py"


# On the CPU unless a profile gives the rule a GPU.
rule track_pose:
    """Find the keypoints in every frame with the camera's pose model."""
    input:
        video=rules.compress_video.output.video,
        info=rules.compress_video.output.info,
        model=trained_model,
    output:
        pose="<derived>/{session}/alf/_ibl_{camera}.dlc.pqt",
        filtered="<derived>/{session}/alf/_sluice_{camera}.dlcFiltered.pqt",
        model_info="<work>/{session}/{camera}/track_pose/model.json",
        checks="<work>/{session}/{camera}/track_pose/checks.json",
    log:
        "<logs>/{session}/{camera}/track_pose.log",
    benchmark:
        "<benchmarks>/{session}/{camera}/track_pose.jsonl"
    conda:
        "../../envs/video.yaml"
    threads: 4
    resources:
        mem_mb=retried(8000),
        runtime=minutes(at_least=60, per_gb=600),
        gpu=0,
    params:
        model=camera_model,
        settings=settings_for_all("track_pose"),
        code=code("track_pose"),
    script:
        "../scripts/track_pose.py"


rule pupil:
    """Measure the pupil in every frame, and find blinks."""
    input:
        pose=rules.track_pose.output.pose,
        times=rules.camera_times.output.times,
    output:
        features="<derived>/{session}/alf/_ibl_{camera}.features.pqt",
        checks="<work>/{session}/{camera}/pupil/checks.json",
    log:
        "<logs>/{session}/{camera}/pupil.log",
    benchmark:
        "<benchmarks>/{session}/{camera}/pupil.jsonl"
    conda:
        "../../envs/video.yaml"
    threads: 1
    resources:
        mem_mb=traces_memory,
        runtime=minutes(at_least=10, per_gb=10),
    params:
        camera_settings=camera_pupil,
        settings=settings_for_all("pupil"),
        code=code("pupil"),
    script:
        "../scripts/pupil.py"


rule tongue_licks:
    """Find licks from the tongue's keypoints, over the cameras that see it."""
    input:
        poses=tongue_poses(rules.track_pose.output.pose),
        times=tongue_poses(rules.camera_times.output.times),
    output:
        licks="<derived>/{session}/alf/licks.times.npy",
        checks="<work>/{session}/tongue_licks/checks.json",
    log:
        "<logs>/{session}/tongue_licks.log",
    benchmark:
        "<benchmarks>/{session}/tongue_licks.jsonl"
    conda:
        "../../envs/video.yaml"
    threads: 1
    resources:
        mem_mb=traces_memory,
        runtime=minutes(at_least=10, per_gb=10),
    params:
        cameras=tongue_cameras,
        settings=lookup("video/tongue_licks", within=config),
        code=code("tongue_licks"),
    script:
        "../scripts/tongue_licks.py"


rule motion_energy:
    """Measure motion, brightness and focus of every frame in one reading of the video."""
    input:
        video=rules.compress_video.output.video,
        info=rules.compress_video.output.info,
        pose=pose_for_region(rules.track_pose.output.pose),
        reference_frame=reference_frame,
    output:
        energy="<derived>/{session}/alf/{camera}.ROIMotionEnergy.npy",
        region="<work>/{session}/{camera}/motion_energy/region.json",
        measures="<work>/{session}/{camera}/motion_energy/measures.pqt",
        reference="<work>/{session}/{camera}/motion_energy/reference.npz",
        checks="<work>/{session}/{camera}/motion_energy/checks.json",
    log:
        "<logs>/{session}/{camera}/motion_energy.log",
    benchmark:
        "<benchmarks>/{session}/{camera}/motion_energy.jsonl"
    conda:
        "../../envs/video.yaml"
    threads: 2
    resources:
        mem_mb=retried(2000),
        runtime=minutes(at_least=20, per_gb=60),
    params:
        camera_region=camera_region,
        wheel_region=wheel_region,
        settings=settings_for_all("motion_energy"),
        code=code("motion_energy"),
    script:
        "../scripts/motion_energy.py"


rule camera_qc:
    """Check the camera: light, focus, place, timing against the wheel, pupil."""
    input:
        info=rules.compress_video.output.info,
        times=rules.camera_times.output.times,
        frames=rules.camera_times.output.frames,
        summary=rules.camera_times.output.summary,
        energy=rules.motion_energy.output.energy,
        region=rules.motion_energy.output.region,
        measures=rules.motion_energy.output.measures,
        reference=rules.motion_energy.output.reference,
        pose=if_tracked(rules.track_pose.output.pose),
        features=if_pupil(rules.pupil.output.features),
        wheel=camera_wheel,
    output:
        checks="<work>/{session}/{camera}/camera_qc/checks.json",
        figure=report(
            "<work>/{session}/{camera}/camera_qc/camera_qc.png",
            caption="../report/camera_qc.rst",
            category="Video",
            subcategory="{session} {camera}",
            labels={"step": "camera_qc"},
        ),
    log:
        "<logs>/{session}/{camera}/camera_qc.log",
    benchmark:
        "<benchmarks>/{session}/{camera}/camera_qc.jsonl"
    conda:
        "../../envs/video.yaml"
    threads: 1
    resources:
        mem_mb=traces_memory,
        runtime=minutes(at_least=10, per_gb=10),
    params:
        wheel=lambda wildcards: camera_stream(wildcards)["wheel"],
        settings=lookup("video/camera_qc", within=config),
        code=code("camera_qc"),
    script:
        "../scripts/camera_qc.py"
