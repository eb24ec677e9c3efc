"""Small labelled DeepLabCut projects of a made-up animal, and a model trained on one."""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import yaml

from sluice.settings.pose import TrackPose, TrainPose
from sluice.video.train_pose import train_pose_file
from sluice.video.video_info import VideoInfo

POINTS = ["nose", "ear", "paw", "tail"]
HEIGHT, WIDTH = 80, 96
SCORER = "Ada"
# trains in about 10 s on two cores to less than a pixel
TRAINING = {
    "net_type": "resnet10t",
    "output_stride": 8,
    "epochs": 18,
    "batch_size": 4,
    "learning_rate": 2e-3,
    "schedule": "one_cycle",
    "rotation_deg": 0,
    "min_zoom": 1,
    "max_zoom": 1,
    "motion_blur": False,
    "validate_every": 100,
}
# Where projects say that they lie, on machines that are not this one.
NONSENSE_PATHS = ("C:\\Users\\Ada\\dlc\\mice-Ada-2020-01-01", "/nfs/gone/mice-Ada-2020-01-01")


def draw_positions(rng, n_frames):
    """Positions of the points, float64 (n_frames, n_points, 2), px."""
    low, high = [12, 12], [WIDTH - 13, HEIGHT - 13]
    middles = np.array([[25, 20], [70, 22], [28, 58], [68, 56]], float)
    moved = middles + rng.uniform(-12, 12, (n_frames, len(POINTS), 2))
    return np.clip(moved, low, high)


def draw_frame(positions, rng):
    """Grey image with a shape of its own at each point: disc, ring, square, cross."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.full((HEIGHT, WIDTH), 110.0)
    for i, (px, py) in enumerate(positions):
        dx, dy = np.abs(x - px), np.abs(y - py)
        r = np.hypot(dx, dy)
        is_inside = (
            r < 6,
            (r > 4) & (r < 8),
            np.maximum(dx, dy) < 5,
            (np.minimum(dx, dy) < 2) & (np.maximum(dx, dy) < 8),
        )[i]
        image[is_inside] = (240, 30, 200, 10)[i]
    image = cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0, 3, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def label_table(positions, index, points=POINTS, scorer=SCORER):
    """Labels as DeepLabCut has them."""
    columns = pd.MultiIndex.from_product(
        [[scorer], points, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    return pd.DataFrame(positions.reshape(len(positions), -1), columns=columns, index=index)


def make_project(folder, *, n_images=24, seed=0, project_path=NONSENSE_PATHS[0], **config):
    """Write a project with labels as h5 and csv; return the positions, (n_images, n_points, 2)."""
    rng = np.random.default_rng(seed)
    positions = draw_positions(rng, n_images)
    images = Path(folder) / "labeled-data" / "day1"
    images.mkdir(parents=True)
    names = [f"img{i:03d}.png" for i in range(n_images)]
    for name, place in zip(names, positions, strict=True):
        cv2.imwrite(str(images / name), draw_frame(place, rng))
    index = pd.MultiIndex.from_tuples([("labeled-data", "day1", name) for name in names])
    table = label_table(positions, index)
    table.to_hdf(images / f"CollectedData_{SCORER}.h5", key="df_with_missing", mode="w")
    table.to_csv(images / f"CollectedData_{SCORER}.csv")
    write_config(folder, project_path=project_path, **config)
    return positions


def write_config(folder, *, project_path=NONSENSE_PATHS[0], **config):
    separator = "\\" if "\\" in project_path else "/"
    video = separator.join([project_path, "videos", "day1.avi"])
    content = {
        "Task": "mice",
        "scorer": SCORER,
        "date": "Jan1",
        "multianimalproject": False,
        "identity": None,
        "project_path": project_path,
        "engine": "pytorch",
        "video_sets": {video: {"crop": f"0, {WIDTH}, 0, {HEIGHT}"}},
        "bodyparts": POINTS,
        "TrainingFraction": [0.95],
        "iteration": 0,
        "pcutoff": 0.6,
        # DeepLabCut itself refuses keys that it does not know
        "labelled_by_tool": "1.2",
        **config,
    }
    (Path(folder) / "config.yaml").write_text(yaml.safe_dump(content))


def make_video(path, frames, *, pixel_format="yuv420p"):
    """Compress frames (n, height, width), grey, without visible loss."""
    n_frames, height, width = frames.shape
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"),
        *("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-r", "30"),
        *("-i", "-", "-codec:v", "libx264", "-crf", "10", "-pix_fmt", pixel_format, str(path)),
    ]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return video_info(n_frames, height=height, width=width)


def video_info(n_frames, *, height=HEIGHT, width=WIDTH):
    return VideoInfo(
        name="camera",
        n_frames=n_frames,
        height=height,
        width=width,
        sampling_rate_hz=30.0,
        duration_s=n_frames / 30,
        is_constant_rate=True,
        source={},
        size_bytes=0,
        encoder="",
    )


def training_settings(**changes):
    return TrainPose(**(TRAINING | changes)).model_dump(mode="json")


def tracking_settings(**changes):
    return TrackPose(**changes).model_dump(mode="json")


def train(project, folder, *, initial_weights=None, **changes):
    """Train into `folder`; return the paths of what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "project_out": folder / "project",
        "evaluation": folder / "evaluation.tsv",
        "model_info": folder / "model.json",
        "checks": folder / "checks.json",
    }
    train_pose_file(
        project=project,
        initial_weights=initial_weights,
        settings=training_settings(**changes),
        device="cpu",
        threads=2,
        name="mice",
        **written,
    )
    return written


def contents(folder):
    """Every file of a folder and what is in it."""
    return {p: p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@cache
def trained_scaled():
    """As `trained`, but it sees images at 0.9 of their size; sides are no multiple of 32.

    A third of the labelled images is smaller than the others.
    """
    folder = Path(tempfile.mkdtemp(prefix="pose_projects_"))
    atexit.register(shutil.rmtree, folder)
    make_project(folder / "labelled")
    for path in sorted((folder / "labelled" / "labeled-data" / "day1").glob("*.png"))[::3]:
        # all points are at least 12 px from the border
        cv2.imwrite(str(path), cv2.imread(str(path))[: HEIGHT - 5, : WIDTH - 7])
    written = train(folder / "labelled", folder / "trained", image_scale=0.9, epochs=12)
    return folder, written


@cache
def trained():
    """Train once for all tests of this process; return the folder and what was written.

    The labelled project is ``labelled`` in that folder. Training takes the better part of the
    time of these tests.
    """
    folder = Path(tempfile.mkdtemp(prefix="pose_projects_"))
    atexit.register(shutil.rmtree, folder)
    make_project(folder / "labelled")
    before = contents(folder / "labelled")
    written = train(folder / "labelled", folder / "trained")
    return folder, written, contents(folder / "labelled") == before
