"""Settings, tables, and the functions that rules use to find their inputs and parameters."""

from sluice.errors import UserError
from sluice.fingerprint import fingerprint
from sluice.io.check_camera import timing_files, wheel_files
from sluice.plan import load_plan
from sluice.session import Camera
from sluice.settings import validate_settings
from sluice.video.deeplabcut_project import find_weights, label_files, model_files
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

try:
    config.update(validate_settings(config))
    plan = load_plan(config)
except UserError as error:
    raise WorkflowError(str(error)) from None

if workflow.is_main_process:
    for notice in plan.notices:
        logger.warning(notice)


MAX_COMPRESSION_MINUTES = 24 * 60


wildcard_constraints:
    session=r"[\w.-]+/\d{4}-\d{2}-\d{2}/\d{3}",
    probe=r"[\w.-]+",
    sorter=r"\w+",
    plane=r"FOV_\d\d",
    container=r"[\w.-]+",
    camera=r"[a-z][A-Za-z0-9]*Camera",
    model=r"\w+",


def code(rule):
    """Fingerprint of what a rule's script does."""
    return fingerprint(Path(workflow.basedir) / "workflow" / "scripts" / f"{rule}.py")


def stream(wildcards):
    """Row of the table of streams for one probe."""
    return plan.stream_row(wildcards.session, wildcards.probe)


def probe_streams(wildcards):
    """Rows of the table of streams for all probes of a session."""
    return [plan.stream_row(s, p) for s, p in plan.probes if s == wildcards.session]


def raw_files(wildcards):
    """Raw files of one probe."""
    return plan.raw_files(wildcards.session, wildcards.probe)


def plane_stream(wildcards):
    """Row of the table of streams for one plane."""
    return plan.stream_row(wildcards.session, wildcards.plane)


def plane_files(wildcards):
    """Raw files of one plane."""
    return plan.raw_files(wildcards.session, wildcards.plane)


def z_stack_files(wildcards):
    """The z-stack recorded around a plane; nothing where there is none."""
    return [path for path in [plane_stream(wildcards)["z_stack"]] if path]


def paired_plane(wildcards):
    """Movie, facts and frames of the plane recorded simultaneously; nothing without one."""
    other = plane_stream(wildcards)["paired_with"]
    if (wildcards.session, other) not in plan.planes:
        return []
    read = rules.import_plane.output
    paths = [read.movie, read.info, read.frames]
    return expand(paths, session=wildcards.session, plane=other)


def paired_for_demixing(wildcards):
    """The paired plane where its light is to be removed."""
    removes = config["ophys"]["demix"]["crosstalk"] != "none"
    return paired_plane(wildcards) if removes else []


def members(path):
    """Let a rule read a file of every plane of a container."""

    def files(wildcards):
        return [
            file
            for session, plane in plan.containers[wildcards.container]
            for file in expand(path, session=session, plane=plane)
        ]

    return files


def segmentation_settings():
    """Settings that change the ROIs: keeping suite2p's folder does not."""
    settings = config["ophys"]["segment_plane"]
    return {k: v for k, v in settings.items() if k != "keep_suite2p_folder"}


def camera_stream(wildcards):
    """Row of the table of streams for one camera."""
    return plan.stream_row(wildcards.session, wildcards.camera)


def video_stream(wildcards):
    """What compression takes from the row of a camera: other columns do not repeat it."""
    row = camera_stream(wildcards)
    columns = ("session", "kind", "name", "path", "format", "sampling_rate_hz")
    return {column: row[column] for column in columns}


def timing_stream(wildcards):
    """Row of a camera without the wheel, which its times do not depend on."""
    return {**camera_stream(wildcards), "wheel": ""}


def video_file(wildcards):
    """Raw video of one camera."""
    return camera_stream(wildcards)["path"]


def camera_timing(wildcards):
    """Files that the times of one camera's frames are read from."""
    return [str(path) for path in timing_files(Camera(**camera_stream(wildcards)))]


def camera_wheel(wildcards):
    """Files of the wheel that one camera is compared with."""
    return [str(path) for path in wheel_files(Camera(**camera_stream(wildcards)))]


def pose_model(wildcards):
    """Settings of one pose model."""
    return config["video"]["pose_models"][wildcards.model]


def labelled_files(wildcards):
    """Files of a labelled project that its training depends on."""
    return label_files(pose_model(wildcards)["project"])


def initial_weights(wildcards):
    """Weights that the training of a model begins with; nothing for random ones."""
    model = pose_model(wildcards)
    return [
        str(find_weights(model["project"], w)) for w in [model["initial_weights"]] if w
    ]


def camera_model(wildcards):
    """Settings of the pose model of one camera that tracking depends on."""
    name = config["video"]["track_pose"]["cameras"][wildcards.camera]
    model = config["video"]["pose_models"][name]
    return {"name": name, "project": model["project"], "snapshot": model["snapshot"]}


def trained_model(wildcards):
    """What tracking reads its model from: the trained project, or the named snapshot and its files."""
    model = camera_model(wildcards)
    if model["snapshot"]:
        return model_files(model["project"], model["snapshot"], name=model["name"])
    return expand(rules.train_pose.output.project_out, model=model["name"])


def settings_for_all(step):
    """Settings of a video step without those of single cameras: one changes no other."""
    single = ("cameras", "regions", "wheel_regions", "reference_frames")
    return {k: v for k, v in config["video"][step].items() if k not in single}


def camera_pupil(wildcards):
    """How the pupil is measured in one camera."""
    return config["video"]["pupil"]["cameras"][wildcards.camera]


def camera_region(wildcards):
    """Region of one camera whose motion is measured."""
    return config["video"]["motion_energy"]["regions"].get(wildcards.camera, "whole")


def wheel_region(wildcards):
    """Region of one camera in which motion follows the wheel; None: that of its energy."""
    return config["video"]["motion_energy"]["wheel_regions"].get(wildcards.camera)


def reference_frame(wildcards):
    """Picture that one camera's place is compared with; nothing where none is named."""
    return [
        path
        for camera, path in config["video"]["motion_energy"]["reference_frames"].items()
        if camera == wildcards.camera
    ]


def pose_for_region(path):
    """Let motion energy read the pose where its region follows from it."""
    return lambda w: (
        expand(path, **w) if camera_region(w) in ("whisker_pad", "body") else []
    )


def if_tracked(path):
    """Let a rule read a file of the pose where the camera is tracked."""
    tracked = config["video"]["track_pose"]["cameras"]
    return lambda w: expand(path, **w) if w.camera in tracked else []


def if_pupil(path):
    """Let a rule read a file of the pupil where it is measured in the camera."""
    measured = config["video"]["pupil"]["cameras"]
    return lambda w: expand(path, **w) if w.camera in measured else []


def tongue_cameras(wildcards):
    """Cameras of a session in which the tongue is looked at."""
    asked = config["video"]["tongue_licks"]["cameras"]
    return [c for s, c in plan.cameras if s == wildcards.session and c in asked]


def tongue_poses(path):
    """Let a rule read a file of each camera in which the tongue is looked at."""
    return lambda w: expand(path, session=w.session, camera=tongue_cameras(w))


def sorter_parameters(wildcards):
    """Parameters the settings give to one sorter."""
    return config["ephys"]["sort_spikes"]["sorters"][wildcards.sorter]


def sorting_settings():
    """Settings of `sort_spikes` that hold for every sorter: a second sorter changes none."""
    settings = config["ephys"]["sort_spikes"]
    return {name: value for name, value in settings.items() if name != "sorters"}


def unit_collections(wildcards):
    """ALF collections of units that the settings ask for, and the sorters compared."""
    sorters = list(config["ephys"]["sort_spikes"]["sorters"])
    last = [rules.export_alf.output.collection]
    if len(sorters) > 1:
        last.append(rules.compare_sorters.output.table)
    return [
        path
        for session, probe in plan.probes
        for path in expand(last, session=session, probe=probe, sorter=sorters)
    ]


def lfp_files(wildcards):
    """LFP of every probe."""
    return [
        path
        for session, probe in plan.probes
        for path in expand(rules.extract_lfp.output.data, session=session, probe=probe)
    ]


def plane_collections(wildcards):
    """ALF collections of planes, their quality, and what else the settings ask for."""
    last = [rules.export_alf_plane.output.collection, rules.plane_qc.output.checks]
    if config["ophys"]["segment_plane"]["keep_suite2p_folder"]:
        last.append(rules.export_suite2p.output.folder)
    return [
        path
        for session, plane in plan.planes
        for path in expand(last, session=session, plane=plane)
    ]


def container_tables(wildcards):
    """Table of cells of every container."""
    return expand(rules.match_cells.output.cells, container=plan.containers)


def camera_results(wildcards):
    """Video, times, motion energy and checks of cameras, and what the settings ask of them."""
    video = config["video"]
    last = [
        rules.compress_video.output.video,
        rules.camera_times.output.times,
        rules.motion_energy.output.energy,
        rules.camera_qc.output.checks,
    ]
    tracked = [(s, c) for s, c in plan.cameras if c in video["track_pose"]["cameras"]]
    measured = [(s, c) for s, c in plan.cameras if c in video["pupil"]["cameras"]]
    licks = {s: "" for s, c in plan.cameras if c in video["tongue_licks"]["cameras"]}
    asked = [
        *[(path, s, c) for path in last for s, c in plan.cameras],
        *[(rules.track_pose.output.pose, s, c) for s, c in tracked],
        *[(rules.pupil.output.features, s, c) for s, c in measured],
        *[(rules.tongue_licks.output.licks, s, c) for s, c in licks.items()],
    ]
    return [file for path, s, c in asked for file in expand(path, session=s, camera=c)]


def descriptions(wildcards):
    """Description of the probes of every session that has any."""
    sessions = sorted({session for session, _ in plan.probes})
    return expand(rules.describe_probes.output.description, session=sessions)


def memory(at_least, per_channel=0):
    """Memory in MB from the channels of the probe, more with each try."""

    def mem_mb(wildcards, attempt):
        row = plan.stream_row(wildcards.session, wildcards.probe)
        return round(max(at_least, per_channel * (row["n_channels"] or 384)) * attempt)

    return mem_mb


def retried(mem_mb):
    """Memory in MB, more with each try."""
    return lambda wildcards, attempt: mem_mb * attempt


def segmentation_memory(wildcards, attempt):
    """Memory in MB: suite2p holds several copies of the averaged movie."""
    largest_gb = config["ophys"]["segment_plane"]["max_binned_gb"]
    return round((2000 + 6000 * largest_gb) * attempt)


def traces_memory(wildcards, input, attempt):
    """Memory in MB for steps that hold the traces of all ROIs, some of them twice."""
    return round((1500 + 6 * input.size_mb) * attempt)


def minutes(at_least, per_gb=0):
    """Run time in minutes from the size of the input, more with each try."""

    def runtime(wildcards, input, attempt):
        return round((at_least + per_gb * input.size_mb / 1000) * attempt)

    return runtime


def compression_time(wildcards, input, attempt):
    """Run time in minutes: a GB of a video that is small already holds many more frames."""
    is_large = Path(input.raw).suffix.lower() == ".avi"
    needed = 20 + (10 if is_large else 200) * input.size_mb / 1000
    return round(min(needed, MAX_COMPRESSION_MINUTES) * attempt)
