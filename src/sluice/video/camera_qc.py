"""Look at a camera's video: light, focus, position, and whether it is in time."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.qc import check, log_checks, save_checks
from sluice.video.camera_qc_figure import Drawn, save_figure
from sluice.video.qc_checks.registry import CHECKS
from sluice.video.qc_checks.seen import Seen
from sluice.video.qc_checks.wheel_lag import find_wheel_lag, load_wheel


def camera_qc_file(
    *,
    info,
    frames,
    times,
    summary,
    measures,
    energy,
    region,
    reference,
    pose=None,
    features=None,
    wheel=None,
    checks,
    figure,
    settings,
    name,
):
    """Check the video of one camera and draw what was found.

    The checks are those of IBL (ibllib/qc/camera.py), each a function of
    `sluice.video.qc_checks.registry`; where ours differ, it says how and why. Allen's tag for a
    too bright eye video ("stress foam": the mean of all its pixels) is `camera_brightness_high`.
    A check whose data are not there is not made. Judged elsewhere, and only drawn here: rate,
    dropped frames, intervals and number of the frame times by `camera_times` (Allen's
    nb_dropped_eye_tracking_frames is its camera_dropped_fraction), a pupil that is out of sight
    by `pupil`, the region of the motion energy by `motion_energy`.

    Parameters
    ----------
    info : VideoInfo
    frames, times, summary : path
        ``frames.pqt``, ``_ibl_leftCamera.times.npy`` and ``times.json`` of `camera_times`. A
        summary with ``pin_pulses: {"n_seen": …, "n_sent": …}`` is judged by it.
    measures, energy, region, reference : path
        ``measures.pqt``, ``leftCamera.ROIMotionEnergy.npy``, ``region.json`` and
        ``reference.npz`` of `motion_energy`.
    pose : path, optional
        Keypoints, of which the mean places are drawn.
    features : path, optional
        ``_ibl_leftCamera.features.pqt`` of `pupil`; drawn.
    wheel : path, optional
        Position of the wheel, see `sluice.session.Camera`.
    checks, figure : path
        ``checks.json``, ``camera_qc.png``; written.
    settings : dict
        ``video.camera_qc``.
    name : str
        How messages call the camera.

    Raises
    ------
    InputError
        A table has another length than the video, or the wheel cannot be read.
    """
    seen = load_seen(
        info=info,
        frames=frames,
        times=times,
        summary=summary,
        measures=measures,
        wheel=wheel,
        settings=settings,
        name=name,
    )
    drawn = _load_drawn(energy, region, reference, pose, features, info, name)
    judged = make_checks(seen, figure=Path(figure).name)
    save_checks(judged, checks)
    save_figure(figure, seen=seen, checks=judged, drawn=drawn, has_wheel=bool(wheel), title=name)
    log_checks(judged)


def load_seen(*, info, frames, times, summary, measures, wheel=None, settings, name):
    """Load what the checks are given; see `camera_qc_file`.

    Returns
    -------
    Seen

    Raises
    ------
    InputError
        As `camera_qc_file`.
    """
    times_s, table = np.load(times), pd.read_parquet(measures)
    frames_table = pd.read_parquet(frames)
    for path, rows in ((times, times_s), (measures, table), (frames, frames_table)):
        _require_rows(path, rows, info, name)
    lag = None
    if wheel is not None:
        wheel_times_s, position_rad = load_wheel(wheel, name=name)
        # of the wheel's region, else of the whole picture
        key = "energy" if table["wheel_energy"].isna().all() else "wheel_energy"
        lag = find_wheel_lag(
            times_s,
            table[key].to_numpy(),
            wheel_times_s,
            position_rad,
            sampling_rate_hz=info.sampling_rate_hz,
            settings=settings,
        )
    return Seen(
        info=info,
        times_s=times_s,
        frames=frames_table,
        summary=json.loads(Path(summary).read_text(encoding="utf-8")),
        measures=table,
        settings=settings,
        lag=lag,
    )


def _load_drawn(energy, region, reference, pose, features, info, name):
    """Load what is drawn only."""
    trace = np.load(energy)
    _require_rows(energy, trace, info, name)
    tables = {}
    for key, path in (("pose", pose), ("features", features)):
        if path is not None:
            tables[key] = pd.read_parquet(path)
            _require_rows(path, tables[key], info, name)
    with np.load(reference) as file:
        pictures = dict(file)
    return Drawn(
        energy=trace,
        region=json.loads(Path(region).read_text(encoding="utf-8")),
        pictures=pictures,
        **tables,
    )


def make_checks(seen, *, figure=""):
    """Make every registered check whose data are there.

    Parameters
    ----------
    seen : Seen
    figure : str
        File name of the figure that shows them.

    Returns
    -------
    list of Check
    """
    found = []
    for one in CHECKS:
        measured = one.measure(seen)
        if measured is None:
            continue
        found.append(
            check(
                one.name,
                measured.value,
                unit=one.unit,
                message=measured.message,
                figure=figure,
                **seen.settings["checks"][one.name],
            )
        )
    return found


def _require_rows(path, rows, info, name):
    if len(rows) != info.n_frames:
        raise InputError(
            f"{name}: {path} has {len(rows)} rows; expected one for each of the {info.n_frames} "
            "frames of the video. Run the step that writes it again."
        )
