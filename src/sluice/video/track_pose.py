"""Keypoints of a camera's video by a trained DeepLabCut model."""

import itertools
import json
import logging
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.qc import check, log_checks, save_checks
from sluice.video.deeplabcut_project import find_snapshot, read_pose_config, read_project
from sluice.video.pose import columns_of, filter_pose, save_pose
from sluice.video.pose_model import (
    load_image_scale,
    load_weights,
    make_tracker,
    require_fitting,
    require_readable,
    scaled_size,
    set_threads,
    sha256,
)

logger = logging.getLogger(__name__)

# Memory of a network for one pixel of its input (bytes); see `choose_batch_size`.
BYTES_PER_PX = 1000
# Memory of everything else: libraries, weights, decoder (MB).
FIXED_MB = 1500
# More frames at once gain nothing.
MAX_BATCH = {"cpu": 8, "cuda": 64}
# Part of the free memory of a GPU that is used.
GPU_PART = 0.7
# Frames that are kept at once (MB).
CHUNK_MB = 100
# Frames from one line in the log to the next.
LOG_FRAMES = 5000


def track_pose_file(
    *,
    video,
    info,
    project,
    snapshot,
    pose,
    filtered,
    model_info,
    checks,
    settings,
    device,
    threads,
    memory_mb,
    name,
):
    """Find the points of a model in every frame of a video.

    The frames go through DeepLabCut's own inference, as `analyze_videos` of DeepLabCut does it,
    but nothing is written to the project or beside the video, and the number of frames is not
    taken from the video's header but counted.

    Parameters
    ----------
    video : path
        Compressed video; colour or grey.
    info : sluice.video.video_info.VideoInfo
    project : path
        Folder of the DeepLabCut project or its ``config.yaml``; only read. Paths in it may be
        those of another machine.
    snapshot : path or None
        As it stands; None: the project's last. See `find_snapshot`.
    pose, filtered : path
        Tables of keypoints (see `sluice.video.pose`), one row a frame, written: as the network
        gives them, and after `filter_pose`.
    model_info : path
        json; written: task, scorer and date of the project, points, net, name of the snapshot and
        its sha256, version of DeepLabCut.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``video.track_pose``.
    device : str
        ``cpu`` or ``cuda``.
    threads : int
    memory_mb : int
        Memory of the job.
    name : str
        How messages call the camera.

    Raises
    ------
    InputError
        The project or its snapshot cannot be used, or the video does not have the frames that
        were written.
    """
    source = read_project(project, name=name)
    path = find_snapshot(source, snapshot, name=name)
    config = read_pose_config(source, path, name=name)
    require_readable(config, path, name=name)
    weights = load_weights(path, name=name)
    require_fitting(weights, config, path, name=name)
    if source.config.get("cropping"):
        logger.warning(
            "%s: %s says that videos are cut (cropping: true); here the whole frame is tracked",
            name,
            source.folder / "config.yaml",
        )
    set_threads(threads)
    batch_size = settings["batch_size"] or choose_batch_size(
        seen_size(config, info, load_image_scale(path, name=name)),
        device=device,
        memory_mb=memory_mb,
    )
    logger.info("%s on %s, %d frames at once", path, device, batch_size)
    points = [str(p) for p in config["metadata"]["bodyparts"]]
    found = _track(video, info, config, path, batch_size, device, name)
    table = pd.DataFrame(found.reshape(len(found), -1), columns=columns_of(points))
    save_pose(table, pose)
    save_pose(
        filter_pose(
            table,
            window_frames=settings["filter_frames"],
            min_likelihood=settings["likelihood_min"],
            max_gap_frames=settings["max_gap_frames"],
        ),
        filtered,
    )
    _save_info(model_info, source, config, points, path)
    judged = _checks(found, points, info, settings)
    save_checks(judged, checks)
    log_checks(judged)


def seen_size(config, info, image_scale):
    """Height and width of a frame as the network sees it (px).

    Parameters
    ----------
    config : dict
        Of `read_pose_config`.
    info : VideoInfo
    image_scale : float or None
        Of `load_image_scale`; None: the configuration says it.

    Returns
    -------
    (int, int)
    """
    if image_scale is not None:
        return scaled_size((info.height, info.width), image_scale)
    resize = (config["data"].get("inference") or {}).get("resize")
    return (resize["height"], resize["width"]) if resize else (info.height, info.width)


def choose_batch_size(size_px, *, device, memory_mb):
    """Frames that the network can see at once.

    Beside the frames of a chunk (see `chunk_frames`), 1000 bytes are counted for each pixel of a
    frame while it is in the network. ResNet-50 of
    stride 16 took 240 to 430 on a CPU with frames of 640 x 480 px, and 0.9 GB for itself and the
    libraries; HRNets and GPUs, which need more, were not measured. Where it is too much for a
    GPU, `track_pose_file` halves it.

    Parameters
    ----------
    size_px : (int, int)
        Height and width of a frame as the network sees it.
    device : str
        On ``cuda`` the free memory of the GPU counts, else the job's.
    memory_mb : int

    Returns
    -------
    int
        1 to 8 on a CPU (where more is not faster), to 64 on a GPU.
    """
    free_mb = memory_mb - FIXED_MB - CHUNK_MB
    if device == "cuda":
        import torch

        free_mb = torch.cuda.mem_get_info()[0] / 1e6 * GPU_PART
    frame_mb = size_px[0] * size_px[1] * BYTES_PER_PX / 1e6
    return int(np.clip(free_mb // frame_mb, 1, MAX_BATCH[device]))


def read_frames(video, *, name):
    """Yield every frame that can be decoded.

    Yields
    ------
    uint8 array, shape (height, width, 3)
        Red, green, blue; three times the same for a grey video.
    """
    import cv2

    capture = cv2.VideoCapture(str(video))
    if not capture.isOpened():
        raise InputError(f"{name}: {video} cannot be opened as a video. Compress it again.")
    try:
        while True:
            is_there, frame = capture.read()
            if not is_there:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def chunk_frames(info, batch_size):
    """Frames of a video that are kept at once: full batches, in `CHUNK_MB` where they fit.

    Parameters
    ----------
    info : sluice.video.video_info.VideoInfo
    batch_size : int

    Returns
    -------
    int
    """
    batch_mb = batch_size * info.height * info.width * 3 / 1e6
    return batch_size * max(1, int(CHUNK_MB / batch_mb))


def _track(video, info, config, snapshot, batch_size, device, name):
    """Points of all frames, float64 (n_frames, n_points, 3)."""
    frames = read_frames(video, name=name)
    track = make_tracker(config, snapshot, batch_size=batch_size, device=device)
    pieces, n_read = [], 0
    while chunk := list(itertools.islice(frames, chunk_frames(info, batch_size))):
        while True:
            try:
                piece = track(chunk)
                break
            except _memory_error():
                if batch_size == 1:
                    raise InputError(
                        f"{name}: the memory of the GPU does not hold the network and one frame "
                        f"of {info.width} x {info.height} px. Train with a smaller image_scale, "
                        "or track on a larger GPU or without one."
                    ) from None
                batch_size //= 2
                logger.warning("the GPU's memory is full: %d frames at once", batch_size)
                track = make_tracker(config, snapshot, batch_size=batch_size, device=device)
        if len(piece) != len(chunk):
            raise RuntimeError(
                f"{name}: DeepLabCut gave {len(piece)} positions for {len(chunk)} frames"
            )
        pieces.append(piece)
        if n_read // LOG_FRAMES != (n_read + len(chunk)) // LOG_FRAMES:
            logger.info("%d of %d frames", n_read + len(chunk), info.n_frames)
        n_read += len(chunk)
    if n_read != info.n_frames:
        raise InputError(
            f"{name}: {video} has {n_read} frames that can be decoded, expected the "
            f"{info.n_frames} that were written. Compress the video again."
        )
    return np.concatenate(pieces)


def _memory_error():
    import torch

    return torch.cuda.OutOfMemoryError


def _save_info(path, project, config, points, snapshot):
    backbone = config["model"].get("backbone", {})
    content = {
        "task": project.task,
        "scorer": project.scorer,
        "date": project.date,
        "points": points,
        "net": backbone.get("model_name", config.get("net_type")),
        "snapshot": snapshot.name,
        "snapshot_sha256": sha256(snapshot),
        "deeplabcut": version("deeplabcut"),
    }
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def jump_fractions(found, *, likelihood_min, distance_px):
    """How often each point jumps from one frame to the next.

    Parameters
    ----------
    found : float64 array, shape (n_frames, n_points, 3)
        x, y (px) and likelihood.
    likelihood_min : float
        Only steps between two positions that are at least as likely count.
    distance_px : float
        Longer steps are jumps.

    Returns
    -------
    float64 array, shape (n_points,)
        Jumps as a fraction of the steps that count; 0 where none does.
    """
    is_likely = found[:, :, 2] >= likelihood_min
    counts = is_likely[1:] & is_likely[:-1]
    step_px = np.linalg.norm(np.diff(found[:, :, :2], axis=0), axis=2)
    n_jumps = ((step_px > distance_px) & counts).sum(axis=0)
    return n_jumps / np.maximum(counts.sum(axis=0), 1)


def _checks(found, points, info, settings):
    """Judge the likelihoods and the jumps, of the worst point each."""
    likelihood = found[:, :, 2]
    minimum = settings["likelihood_min"]
    distance_px = settings["jump_fraction"] * float(np.hypot(info.height, info.width))
    jumps = jump_fractions(found, likelihood_min=minimum, distance_px=distance_px)
    is_lost = likelihood.max(axis=0) < settings["lost_likelihood"]
    hidden = [p for p in points if p in settings["often_hidden"]]
    lost = [p for p, one in zip(points, is_lost, strict=True) if one and p not in hidden]
    lost_message = "none is lost"
    if lost:
        below = f"likelihood below {settings['lost_likelihood']:g} throughout"
        lost_message = f"{below}: {', '.join(lost)}"
    if hidden:
        lost_message += f"; not judged: {', '.join(hidden)}"
    rows = [
        (
            "pose_jump_fraction",
            jumps.max(),
            f"steps longer than {distance_px:.0f} px; most: {points[jumps.argmax()]}",
        ),
        ("pose_lost_points", len(lost), lost_message),
    ]
    rows = [*_likelihood_rows(likelihood, points, settings), *rows]
    return [
        check(key, value, message=message, **settings["checks"][key])
        for key, value, message in rows
    ]


def _likelihood_rows(likelihood, points, settings):
    """Name, value and message of the checks of points that ought to be seen."""
    minimum = settings["likelihood_min"]
    shown = [i for i, p in enumerate(points) if p not in settings["often_hidden"]]
    if not shown:
        return []
    mean = likelihood[:, shown].mean(axis=0)
    unlikely = (likelihood[:, shown] < minimum).mean(axis=0)
    return [
        ("pose_likelihood_mean", mean.min(), f"lowest: {points[shown[mean.argmin()]]}"),
        (
            "pose_unlikely_fraction",
            unlikely.max(),
            f"likelihood below {minimum:g}; most: {points[shown[unlikely.argmax()]]}",
        ),
    ]
