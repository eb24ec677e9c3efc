"""Whether the picture moves when the wheel does: the lag of motion energy behind the wheel."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.runs import runs_of

# Lags are tried in steps of so much of a frame.
LAG_STEP_FRAMES = 0.5
# Motion energy above this percentile is cut to it: a light that is switched is not motion.
TOP_PERCENT = 99.5


@dataclass(frozen=True)
class WheelLag:
    """How late the picture is.

    Attributes
    ----------
    lag_frames : float or None
        Positive where the picture moves after the wheel: its frame times are too late. None
        where there is no clear peak.
    message : str
    lags_frames : float64 array, shape (n_lags,)
    correlation : float64 array, shape (n_lags,)
        Of motion energy with the wheel's speed that much earlier, -1 to 1.
    """

    lag_frames: float | None
    message: str
    lags_frames: np.ndarray
    correlation: np.ndarray


def load_wheel(path, *, name):
    """Read the position of the wheel.

    Parameters
    ----------
    path : path
        A table (tsv, csv, pqt) with columns ``time_s`` and ``position_rad``, or the folder or
        the common beginning of ``*wheel.position.npy`` and ``*wheel.timestamps.npy``.
    name : str
        How messages call the camera.

    Returns
    -------
    times_s, position_rad : float64 array, shape (n_samples,)
        Times ascend; samples that are not finite are left out.

    Raises
    ------
    InputError
        Files or columns are missing, or the times do not ascend.
    """
    path = Path(path)
    times_s, position_rad = _load_table(path, name) if path.is_file() else _load_alf(path, name)
    if times_s.shape != position_rad.shape or times_s.ndim != 1:
        raise InputError(
            f"{name}: the wheel {path} has times of shape {times_s.shape} and positions of shape "
            f"{position_rad.shape}; expected one time a position."
        )
    is_known = np.isfinite(times_s) & np.isfinite(position_rad)
    times_s, position_rad = times_s[is_known], position_rad[is_known]
    if len(times_s) < 2 or not (np.diff(times_s) > 0).all():
        raise InputError(
            f"{name}: the wheel {path} has {len(times_s)} known positions"
            + ("" if len(times_s) < 2 else " whose times do not ascend")
            + "; expected two or more, with ascending times (s). Correct the file, or leave wheel "
            "empty in streams.tsv."
        )
    return times_s, position_rad


def _load_table(path, name):
    readers = {".pqt": pd.read_parquet, ".csv": pd.read_csv}
    if path.suffix == ".npy":
        raise InputError(
            f"{name}: the wheel {path} is one array; expected a table with columns time_s and "
            "position_rad, or the folder of *wheel.position.npy and *wheel.timestamps.npy."
        )
    table = readers.get(path.suffix, lambda file: pd.read_csv(file, sep="\t"))(path)
    missing = [column for column in ("time_s", "position_rad") if column not in table.columns]
    if missing:
        raise InputError(
            f"{name}: the wheel {path} has the columns {', '.join(map(str, table.columns))}; "
            f"expected time_s (s) and position_rad (rad); {' and '.join(missing)} missing."
        )
    return (table[column].to_numpy(np.float64) for column in ("time_s", "position_rad"))


def _load_alf(path, name):
    folder, begin = (path, "") if path.is_dir() else (path.parent, path.name)
    found = []
    for end in ("wheel.timestamps.npy", "wheel.position.npy"):
        files = [one for one in folder.glob(f"*{end}") if one.name.startswith(begin)]
        if len(files) != 1:
            raise InputError(
                f"{name}: {len(files)} files {begin}*{end} in {folder}; expected one. Correct "
                "wheel in streams.tsv, or leave it empty."
            )
        found.append(np.load(files[0]).astype(np.float64))
    return found


def wheel_speed(times_s, wheel_times_s, position_rad):
    """Mean speed of the wheel between each time and the next.

    Parameters
    ----------
    times_s : float64 array, shape (n,)
        Ascending.
    wheel_times_s, position_rad : float64 array, shape (n_samples,)

    Returns
    -------
    float64 array, shape (n - 1,)
        rad/s, without sign; NaN where the wheel was not recorded.
    """
    at = np.interp(times_s, wheel_times_s, position_rad, left=np.nan, right=np.nan)
    return np.abs(np.diff(at)) / np.diff(times_s)


def find_wheel_lag(times_s, energy, wheel_times_s, position_rad, *, sampling_rate_hz, settings):
    """How late the picture is against the wheel.

    Motion energy belongs to the time from one frame to the next, and is correlated with the
    mean speed of the wheel over this time, moved by each lag; lost frames do no harm. Only
    frames near a movement count. The peak of a parabola through the best lag and its neighbours
    is the lag. IBL (ibllib/io/extractors/video_motion.py, MotionAlignment) correlates one
    movement, frame by frame, and takes whole frames.

    Parameters
    ----------
    times_s : float64 array, shape (n_frames,)
        Of the frames; ascending.
    energy : float array, shape (n_frames,)
        From each frame to the next; NaN where unknown.
    wheel_times_s, position_rad : float64 array, shape (n_samples,)
        On the same clock.
    sampling_rate_hz : float
        Frames a second.
    settings : dict
        ``video.camera_qc``.

    Returns
    -------
    WheelLag or None
        None where nothing can be said: too few frames a second, or too little movement.
    """
    if len(times_s) < 3 or sampling_rate_hz < settings["min_wheel_rate_hz"]:
        return None
    period_s, reach_s = 1 / sampling_rate_hz, settings["max_wheel_lag_s"]
    speed = wheel_speed(times_s, wheel_times_s, position_rad)
    is_moving = speed > settings["min_wheel_speed_rad_s"]
    moving_s = float(np.diff(times_s)[is_moving].sum())
    if moving_s < settings["min_wheel_moving_s"]:
        return None
    used = _near(is_moving, round(reach_s * sampling_rate_hz))
    n_steps = max(2, round(reach_s / period_s / LAG_STEP_FRAMES))
    lags = np.arange(-n_steps, n_steps + 1) * LAG_STEP_FRAMES
    moved = np.array(
        [wheel_speed(times_s - lag * period_s, wheel_times_s, position_rad)[used] for lag in lags]
    )
    change = np.asarray(energy, np.float64)[:-1][used]
    is_known = np.isfinite(change) & np.isfinite(moved).all(axis=0)
    if is_known.sum() < 3:
        return None
    change, moved = change[is_known], moved[:, is_known]
    correlation = _correlation(np.minimum(change, np.percentile(change, TOP_PERCENT)), moved)
    return _find_peak(lags, correlation, moving_s, settings)


def _near(mask, reach):
    """True within `reach` frames of where it is true."""
    found = np.zeros(len(mask), bool)
    for first, end in runs_of(mask):
        found[max(0, first - reach) : end + reach] = True
    return found


def _correlation(values, rows):
    """Pearson's correlation with each row; 0 where one does not vary."""
    values = values - values.mean()
    rows = rows - rows.mean(axis=1, keepdims=True)
    size = np.sqrt((values**2).sum() * (rows**2).sum(axis=1))
    return np.divide(rows @ values, size, out=np.zeros(len(rows)), where=size > 0)


def _find_peak(lags, correlation, moving_s, settings):
    """The lag of the highest correlation, if it is a clear peak."""
    best = int(correlation.argmax())
    peak, ends = correlation[best], max(correlation[0], correlation[-1])
    seen = f"the wheel moves for {moving_s:.0f} s; correlation {peak:.2f}"
    if peak < settings["min_wheel_correlation"]:
        message = f"no lag at which the picture follows the wheel; {seen} at best"
        return WheelLag(None, message, lags, correlation)
    if best in (0, len(lags) - 1) or peak - ends < settings["min_wheel_prominence"] * peak:
        message = f"no clear peak within {settings['max_wheel_lag_s']:g} s; {seen} at best"
        return WheelLag(None, message, lags, correlation)
    before, after = correlation[best - 1], correlation[best + 1]
    bend = before - 2 * peak + after
    offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    lag = float(lags[best] + offset * LAG_STEP_FRAMES)
    which = "late" if lag > 0 else "early"
    return WheelLag(lag, f"{abs(lag):.2f} frames {which}; {seen}", lags, correlation)
