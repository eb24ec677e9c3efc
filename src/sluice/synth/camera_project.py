"""Writes a small labelled DeepLabCut project of a made-up mouse, as if it came from elsewhere."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd

from sluice.errors import UserError
from sluice.synth.camera_geometry import POINTS, PUPIL_POINTS
from sluice.synth.camera_render import Renderer

TASK, SCORER, DATE = "syntheticFace", "sluice", "Jan15"
# Frames are labelled on another day than any that a session is likely to show.
PROJECT_DAY = 1000
# There is enough to label even where the session is short.
LABELLED_S = 60.0
# Folder of the project on the machine where it is said to have been made.
MACHINE = "/home/rig/deeplabcut"


def make_labelled_project(folder, scene, *, n_frames=40, seed=0, video="rig_left", machine=MACHINE):
    """Write a labelled project of the animal of a scene, seen on another day.

    ``<folder>/config.yaml`` and ``labeled-data/<video>/`` with ``img0000.png``, …,
    ``CollectedData_sluice.h5`` (key ``df_with_missing``) and ``.csv``. A point that is not visible
    has no label. There is no video and no training set. What befalls the scene's camera (darkness,
    a shift, …) does not befall the labelled frames.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    scene : CameraScene
    n_frames : int
        So many labelled frames: four in ten during licks, two during blinks, the others at any
        time, with pupils of all sizes.
    seed : int
        Which frames are drawn.
    video : str
        Name of the folder of labelled frames.
    machine : str
        Folder that the paths in ``config.yaml`` begin with; it is not on this machine.

    Returns
    -------
    DataFrame
        The labels as they stand in the file.

    Raises
    ------
    UserError
        The scene has fewer frames than are asked for.
    """
    folder, images = Path(folder), Path(folder) / "labeled-data" / video
    images.mkdir(parents=True, exist_ok=True)
    other = _without_faults(scene).another_day(PROJECT_DAY + scene.settings.day)
    frames = choose_frames(other, n_frames, seed)
    renderer = Renderer(other)
    rows = []
    for k, frame in enumerate(frames.tolist()):
        rows.append(f"labeled-data/{video}/img{k:04d}.png")
        # colour, as most programs write frames
        image = cv2.cvtColor(renderer.frame(frame), cv2.COLOR_GRAY2BGR)
        if not cv2.imwrite(str(folder / rows[-1]), image):
            raise OSError(f"{folder / rows[-1]}: OpenCV could not write the picture")
    labels = label_table(other.pose.iloc[frames], rows)
    labels.to_csv(images / f"CollectedData_{SCORER}.csv", lineterminator="\n")
    with pd.HDFStore(images / f"CollectedData_{SCORER}.h5", mode="w") as store:
        # a table without times: the same labels are the same bytes
        store.put("df_with_missing", labels, format="table", index=False, track_times=False)
    config = _config(PurePosixPath(machine), video, scene.settings, n_frames)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    return labels


def choose_frames(scene, n_frames, seed):
    """Draw frames to label: those with a tongue or a blink more often than they come.

    Parameters
    ----------
    scene : CameraScene
    n_frames : int
    seed : int

    Returns
    -------
    int64 array, shape (n_frames,)
        Ascending, none twice.

    Raises
    ------
    UserError
        The scene has too few.
    """
    if n_frames > scene.n_frames:
        raise UserError(f"{n_frames} labelled frames of a video of {scene.n_frames}: ask for fewer")
    rng = np.random.default_rng((*scene.settings.entropy, seed, 21))
    truth = scene.frame_truth()
    chosen = np.zeros(0, np.int64)
    for wanted, part in ((truth.is_tongue_out, 0.4), (truth.is_blink, 0.2)):
        there = np.setdiff1d(np.flatnonzero(wanted), chosen)
        n = min(round(n_frames * part), len(there))
        chosen = np.concatenate([chosen, rng.choice(there, n, replace=False)])
    others = np.setdiff1d(np.arange(scene.n_frames), chosen)
    # the rest evenly over the sizes of the pupil
    by_size = others[np.argsort(truth.pupil_diameter_px.to_numpy()[others], kind="stable")]
    n = n_frames - len(chosen)
    edges = np.linspace(0, len(by_size), n + 1).astype(int)
    picks = [by_size[rng.integers(a, b)] for a, b in pairwise(edges.tolist())]
    return np.sort(np.concatenate([chosen, np.array(picks, np.int64)]))


def label_table(pose, rows):
    """Write points as DeepLabCut's table of labels.

    Parameters
    ----------
    pose : DataFrame
        Of `CameraScene.pose`.
    rows : list of str
        The pictures' paths in the project.

    Returns
    -------
    DataFrame
        Indexed by `rows`; columns scorer, bodyparts, coords.
    """
    columns = {}
    for point in POINTS:
        for axis in ("x", "y"):
            # labels are set with a mouse on a screen that shows tenths of a pixel
            at = pose[f"{point}_{axis}"].where(pose[f"{point}_visible"]).round(1)
            columns[SCORER, point, axis] = at.to_numpy()
    table = pd.DataFrame(columns, index=rows)
    table.columns.names = ["scorer", "bodyparts", "coords"]
    return table


def _without_faults(scene):
    """See the scene as an unharmed camera does, for long enough."""
    settings = replace(
        scene.settings,
        duration_s=max(scene.settings.duration_s, LABELLED_S),
        brightness=1.0,
        lights_out_s=(),
        fade_to=1.0,
        blur_px=0.0,
        moved_from_frame=None,
        dropped=(),
        frozen=(),
        is_blocked=False,
    )
    return replace(scene, settings=settings)


def _config(machine, video, settings, n_frames):
    """Text of ``config.yaml``, with the keys that DeepLabCut 3 writes."""
    project = machine / f"{TASK}-{SCORER}-2026-01-15"
    points = "\n".join(f"- {point}" for point in POINTS)
    skeleton = "\n".join(
        f"- - {a}\n  - {b}"
        for a, b in zip(PUPIL_POINTS, PUPIL_POINTS[1:] + PUPIL_POINTS[:1], strict=True)
    )
    return f"""# Project definitions (do not edit)
Task: {TASK}
scorer: {SCORER}
date: {DATE}
multianimalproject: false
identity:

# Project path (change when moving around)
project_path: {project}

# Default DeepLabCut engine to use for shuffle creation (either pytorch or tensorflow)
engine: pytorch

# Annotation data set configuration (and individual video cropping parameters)
video_sets:
  {project / "videos" / video}.avi:
    crop: 0, {settings.width}, 0, {settings.height}
bodyparts:
{points}

# Fraction of video to start/stop when extracting frames for labeling/refinement
start: 0
stop: 1
numframes2pick: {n_frames}

# Plotting configuration
skeleton:
{skeleton}
skeleton_color: black
pcutoff: 0.6
dotsize: 4
alphavalue: 0.7
colormap: rainbow

# Training,Evaluation and Analysis configuration
TrainingFraction:
- 0.95
iteration: 0
default_net_type: resnet_50
default_augmenter: default
snapshotindex: -1
detector_snapshotindex: -1
batch_size: 8
detector_batch_size: 1

# Cropping Parameters (for analysis and outlier frame detection)
cropping: false
x1: 0
x2: {settings.width}
y1: 0
y2: {settings.height}

# Refinement configuration (parameters from annotation dataset configuration also relevant here)
corner2move2:
- 50
- 50
move2corner: true

# Conversion tables to fine-tune SuperAnimal weights
SuperAnimalConversionTables:
"""
