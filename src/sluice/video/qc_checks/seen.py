"""What the checks of a camera are given, and what they give."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sluice.video.qc_checks.wheel_lag import WheelLag
from sluice.video.video_info import VideoInfo


@dataclass(frozen=True)
class Seen:
    """What is known of one camera's video.

    Attributes
    ----------
    info : VideoInfo
    times_s : float64 array, shape (n_frames,)
        On the session's clock.
    frames : DataFrame
        ``frames.pqt`` of `camera_times`.
    summary : dict
        ``times.json`` of `camera_times`.
    measures : DataFrame
        ``measures.pqt`` of `motion_energy`, a row a frame.
    settings : dict
        ``video.camera_qc``.
    lag : WheelLag or None
        Of the picture against the wheel; None without a wheel, or where it turned too little.
    is_black : bool array, shape (n_frames,)
        Frames below the black level.
    """

    info: VideoInfo
    times_s: np.ndarray
    frames: pd.DataFrame
    summary: dict
    measures: pd.DataFrame
    settings: dict
    lag: WheelLag | None = None
    is_black: np.ndarray = field(init=False)

    def __post_init__(self):
        is_black = self.measures["mean"].to_numpy() < self.settings["black_level"]
        object.__setattr__(self, "is_black", is_black)


@dataclass(frozen=True)
class Measured:
    """What a check has found.

    Attributes
    ----------
    value : float or None
        None where it could not be measured, although there was something to measure.
    message : str
    """

    value: float | None
    message: str = ""
