"""Writes and reads what is true of a made-up behaviour video."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.synth.plane_truth import existing


@dataclass(frozen=True)
class CameraTruth:
    """What is true of a video, as `write_camera_truth` wrote it.

    Attributes
    ----------
    facts : dict
        Of ``truth.json``.
    frames : DataFrame
        See `sluice.synth.camera_scene.CameraScene.frame_truth`.
    pose : DataFrame
        See `sluice.synth.camera_geometry.points_of`.
    blinks : DataFrame
        See `find_blinks`.
    licks_s : float64 array, shape (n_licks, 2)
        Start and stop of each lick on the session's clock.
    """

    facts: dict
    frames: pd.DataFrame
    pose: pd.DataFrame
    blinks: pd.DataFrame
    licks_s: np.ndarray


def write_camera_truth(scene, folder, **more):
    """Write what is true of a video.

    ``truth.json``
        All settings; ``n_frames``, ``n_exposures``, the points' names, and the pulses that the
        camera's pin saw.
    ``frames.pqt``
        One row a frame; see `CameraScene.frame_truth`.
    ``pose.pqt``
        One row a frame, ``<point>_x``, ``<point>_y`` (pixels), ``<point>_visible``.
    ``blinks.tsv``
        One row a blink; see `find_blinks`.
    ``licks.npy``
        float64 s, shape (n_licks, 2): start and stop on the session's clock.
    ``ttl.npy``
        float64 s: all pulses of the camera on the session's clock.

    Parameters
    ----------
    scene : CameraScene
    folder : path
        Made if it is not there.
    **more
        Further entries of ``truth.json``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames = scene.frame_truth()
    points = [c.removesuffix("_visible") for c in scene.pose if c.endswith("_visible")]
    facts = {
        **asdict(scene.settings),
        "n_frames": scene.n_frames,
        "n_exposures": scene.settings.n_exposures,
        "points": points,
        "events_s": scene.behavior.events_s.tolist(),
        **more,
    }
    (folder / "truth.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    frames.to_parquet(folder / "frames.pqt", index=False)
    scene.pose.to_parquet(folder / "pose.pqt", index=False)
    blinks = find_blinks(frames.is_blink.to_numpy())
    blinks.to_csv(folder / "blinks.tsv", sep="\t", index=False, lineterminator="\n")
    licks_s = scene.behavior.licks_s
    seen = (licks_s[:, 0] >= scene.times_s[0]) & (licks_s[:, 1] <= scene.times_s[-1])
    np.save(folder / "licks.npy", licks_s[seen])
    np.save(folder / "ttl.npy", scene.ttl_s)


def load_camera_truth(folder):
    """Read the truth of a video.

    Raises
    ------
    InputError
        A file is missing.
    """
    folder = Path(folder)
    return CameraTruth(
        facts=json.loads(existing(folder / "truth.json").read_text(encoding="utf-8")),
        frames=pd.read_parquet(existing(folder / "frames.pqt")),
        pose=pd.read_parquet(existing(folder / "pose.pqt")),
        blinks=pd.read_csv(existing(folder / "blinks.tsv"), sep="\t"),
        licks_s=np.load(existing(folder / "licks.npy")),
    )


def find_blinks(is_blink):
    """Find stretches of frames.

    Parameters
    ----------
    is_blink : bool array, shape (n_frames,)

    Returns
    -------
    DataFrame
        One row a stretch: `start`, the first frame, and `stop`, the one after the last.
    """
    steps = np.diff(np.asarray(is_blink, np.int8), prepend=0, append=0)
    return pd.DataFrame({"start": np.flatnonzero(steps == 1), "stop": np.flatnonzero(steps == -1)})
