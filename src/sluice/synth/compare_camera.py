"""Compares what the workflow made of a made-up behaviour video with the truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.synth.camera_truth import find_blinks, load_camera_truth
from sluice.synth.plane_truth import existing

# The edges of a blink may be off by so many frames, a lick by so many.
BLINK_TOLERANCE_FRAMES = 2
LICK_TOLERANCE_FRAMES = 1
# what is asked for
MIN_TIMES_SMALLER = 10.0
MAX_TIME_ERROR_FRAMES = 0.5
MAX_POSE_ERROR_PX = 2.0
MIN_PUPIL_CORRELATION = 0.98
MIN_PUPIL_KNOWN = 0.8
MIN_BLINKS = 0.9
MIN_LICKS = 0.9
_NOT_COMPARED = "not compared"


@dataclass(frozen=True)
class CameraComparison:
    """How the results on one video agree with the truth.

    Attributes
    ----------
    name : str
    points : DataFrame
        One row a point: `point`, `n_visible` (frames), `median_px`, `p95_px` (error where it is
        visible), `likely_visible`, `likely_hidden` (parts of the frames where it is visible, or
        not, with a likelihood of 0.9 or more). Empty without pose.
    summary : dict
        See `summarise_camera`.
    """

    name: str
    points: pd.DataFrame
    summary: dict


def compare_camera_files(truth_folder, results, session, camera, name="", *, required=()):
    """Compare what the steps wrote about a camera with its truth.

    Parameters
    ----------
    truth_folder : path
        ``<raw>/<session>/truth/leftCamera``.
    results : path
        Of the workflow. Read are, of ``derived/<session>``,
        ``raw_video_data/_sluice_leftCamera.raw.mp4``, ``alf/_ibl_leftCamera.times.npy`` and, where
        they are, ``alf/_ibl_leftCamera.dlc.pqt``, ``alf/_ibl_leftCamera.features.pqt`` and
        ``alf/licks.times.npy``; and
        ``work/<session>/leftCamera/camera_times/frames.pqt``.
    session, camera : str
    name : str
        How the comparison is called; session and camera by default.
    required : sequence of str
        Of ``pose``, ``pupil`` and ``licks``: those that must be there. The others are not
        compared where the workflow was not asked for them.

    Returns
    -------
    CameraComparison

    Raises
    ------
    InputError
        A file is missing: the session is not a made-up one, or the workflow has not finished it.
    """
    derived = Path(results) / "derived" / session
    alf = derived / "alf"
    optional = {
        "pose": alf / f"_ibl_{camera}.dlc.pqt",
        "pupil": alf / f"_ibl_{camera}.features.pqt",
        "licks": alf / "licks.times.npy",
    }
    there = {
        key: existing(path) for key, path in optional.items() if key in required or path.is_file()
    }
    truth = load_camera_truth(truth_folder)
    video = existing(derived / "raw_video_data" / f"_sluice_{camera}.raw.mp4")
    frames = existing(Path(results) / "work" / session / camera / "camera_times" / "frames.pqt")
    return compare_camera(
        truth,
        n_decoded=count_frames(video),
        size_bytes=video.stat().st_size,
        times_s=np.load(existing(alf / f"_ibl_{camera}.times.npy")),
        n_dropped_before=pd.read_parquet(frames).n_dropped_before.to_numpy(),
        pose=pd.read_parquet(there["pose"]) if "pose" in there else None,
        features=pd.read_parquet(there["pupil"]) if "pupil" in there else None,
        licks_s=np.load(there["licks"]) if "licks" in there else None,
        name=name or f"{session} {camera}",
    )


def compare_camera(
    truth,
    *,
    n_decoded,
    size_bytes,
    times_s,
    n_dropped_before,
    pose=None,
    features=None,
    licks_s=None,
    name="",
):
    """Compare the results on a video with its truth.

    Parameters
    ----------
    truth : CameraTruth
    n_decoded, size_bytes : int
        Frames that the compressed video holds, and its size.
    times_s : float array, shape (n_frames,)
        On the session's clock.
    n_dropped_before : int array, shape (n_frames,)
        Frames said to be lost just before each. That of the first frame is not compared: a
        counter that starts anywhere cannot tell.
    pose : DataFrame, optional
        Columns ``<point>_x``, ``<point>_y``, ``<point>_likelihood``.
    features : DataFrame, optional
        Columns `pupilDiameter_raw`, `pupilDiameter_smooth`, `is_blink`.
    licks_s : float array, optional
    name : str

    Returns
    -------
    CameraComparison
    """
    facts, frames = truth.facts, truth.frames
    n_frames = len(frames)
    frame_s = 1 / facts["sampling_rate_hz"]
    uncompressed = n_frames * facts["height"] * facts["width"]
    summary = {
        "n_frames": n_frames,
        "n_decoded": int(n_decoded),
        "n_frames_off": abs(int(n_decoded) - n_frames),
        "times_smaller": uncompressed / size_bytes,
    }
    error_s = np.full(n_frames, np.nan)
    if len(times_s) == n_frames:
        error_s = np.abs(np.asarray(times_s, np.float64) - frames.time_s.to_numpy())
    # a NaN among them is a NaN of both
    summary["max_time_error_frames"] = float(error_s.max() / frame_s)
    summary["median_time_error_ms"] = float(1e3 * np.median(error_s))
    summary["n_dropped"] = int(frames.n_dropped_before[1:].sum())
    summary["n_dropped_wrong"] = n_frames
    if len(n_dropped_before) == n_frames:
        wrong = np.asarray(n_dropped_before) != frames.n_dropped_before.to_numpy()
        summary["n_dropped_wrong"] = int(wrong[1:].sum())
    points = pd.DataFrame()
    if pose is not None:
        points, summary["pose_error_px"] = compare_pose(truth, pose)
    if features is not None:
        summary.update(compare_pupil(truth, features))
        summary.update(compare_blinks(truth, features.is_blink.to_numpy()))
    if licks_s is not None:
        summary.update(compare_licks(truth, licks_s))
    return CameraComparison(name, points, summarise_camera(summary))


def compare_pose(truth, pose):
    """Compare keypoints with the true ones, in frames where these are visible.

    Parameters
    ----------
    truth : CameraTruth
    pose : DataFrame

    Returns
    -------
    points : DataFrame
        See `CameraComparison`.
    error_px : float
        Median over all points and frames. NaN if a point or a frame is missing.
    """
    rows, errors = [], []
    for point in truth.facts["points"]:
        if f"{point}_x" not in pose or len(pose) != len(truth.pose):
            errors.append(np.array([np.nan]))
            continue
        visible = truth.pose[f"{point}_visible"].to_numpy()
        error_px = np.hypot(
            *(pose[f"{point}_{a}"].to_numpy() - truth.pose[f"{point}_{a}"] for a in "xy")
        )[visible]
        errors.append(error_px)
        likely = pose[f"{point}_likelihood"].to_numpy() >= 0.9
        rows.append(
            {
                "point": point,
                "n_visible": int(visible.sum()),
                "median_px": float(np.median(error_px)) if visible.any() else np.nan,
                "p95_px": float(np.percentile(error_px, 95)) if visible.any() else np.nan,
                "likely_visible": _mean(likely[visible]),
                "likely_hidden": _mean(likely[~visible]),
            }
        )
    return pd.DataFrame(rows), float(np.median(np.concatenate(errors)))


def compare_pupil(truth, features):
    """Correlate the pupil's diameter with the true one, outside true blinks.

    Parameters
    ----------
    truth : CameraTruth
    features : DataFrame

    Returns
    -------
    dict
        ``pupil_correlation`` and ``pupil_correlation_smooth``, of the raw and of the smoothed
        diameter (NaN where one does not vary); ``pupil_known``, part of the frames outside
        blinks with a raw diameter; ``pupil_slope``, of the regression of the raw diameter on the
        true one.
    """
    true = truth.frames.pupil_diameter_px.to_numpy()
    if len(features) != len(true):
        return dict.fromkeys(
            ("pupil_correlation", "pupil_correlation_smooth", "pupil_known", "pupil_slope"), np.nan
        )
    is_open = ~truth.frames.is_blink.to_numpy()
    raw = features.pupilDiameter_raw.to_numpy()
    smooth = features.pupilDiameter_smooth.to_numpy()
    known = is_open & np.isfinite(raw)
    correlation = _correlation(true[known], raw[known])
    known_smooth = is_open & np.isfinite(smooth)
    return {
        "pupil_correlation": correlation,
        "pupil_correlation_smooth": _correlation(true[known_smooth], smooth[known_smooth]),
        "pupil_known": _mean(known[is_open]),
        "pupil_slope": float(correlation * raw[known].std() / true[known].std())
        if np.isfinite(correlation)
        else np.nan,
    }


def compare_blinks(truth, is_blink, tolerance=BLINK_TOLERANCE_FRAMES):
    """Compare blinks with the true ones: both edges must be right.

    Parameters
    ----------
    truth : CameraTruth
    is_blink : bool array, shape (n_frames,)
    tolerance : int
        Frames.

    Returns
    -------
    dict
        ``n_blinks``, ``n_blinks_found``, ``blink_recall``, ``blink_precision``.
    """
    found = find_blinks(np.asarray(is_blink, bool)).to_numpy()
    true = truth.blinks[["start", "stop"]].to_numpy()
    off = np.abs(true[:, None] - found[None]).max(axis=2, initial=0)
    right = off <= tolerance
    return {
        "n_blinks": len(true),
        "n_blinks_found": len(found),
        "blink_recall": _mean(right.any(axis=1)),
        "blink_precision": _mean(right.any(axis=0)),
    }


def compare_licks(truth, licks_s, tolerance=LICK_TOLERANCE_FRAMES):
    """Compare licks with the true ones: a lick may be found more than once.

    Parameters
    ----------
    truth : CameraTruth
    licks_s : float array
    tolerance : int
        Frames before its start and after its end in which a lick may be found.

    Returns
    -------
    dict
        ``n_licks``, ``n_licks_found``, ``lick_recall`` (part of the true ones that are found),
        ``lick_precision`` (part of those found that are true).
    """
    margin_s = tolerance / truth.facts["sampling_rate_hz"]
    licks_s = np.asarray(licks_s, np.float64)
    start, stop = truth.licks_s[:, :1] - margin_s, truth.licks_s[:, 1:] + margin_s
    right = (start <= licks_s) & (licks_s <= stop)
    return {
        "n_licks": len(truth.licks_s),
        "n_licks_found": len(licks_s),
        "lick_recall": _mean(right.any(axis=1)),
        "lick_precision": _mean(right.any(axis=0)),
    }


def summarise_camera(summary):
    """Judge the numbers of a comparison.

    Parameters
    ----------
    summary : dict
        ``n_frames``, ``n_decoded``, ``n_frames_off``, ``times_smaller`` (than the bare pixels, one
        byte each), ``max_time_error_frames``, ``median_time_error_ms``, ``n_dropped``,
        ``n_dropped_wrong`` (frames with a wrong number of lost ones before them) and, where they
        were compared, those of `compare_pose`, `compare_pupil`, `compare_blinks` and
        `compare_licks`.

    Returns
    -------
    dict
        The same with ``failed``, the names of what is not as asked, and ``passed``. What is NaN,
        but for the parts of nothing (blinks or licks where there is none), is not as asked.
    """
    # nothing to find, nothing found
    nothing = {
        f"{what}_{part}"
        for what in ("blink", "lick")
        for part, count in (("recall", f"n_{what}s"), ("precision", f"n_{what}s_found"))
        if not summary.get(count)
    }
    failed = []
    for key, (_, low, high) in _ASKED.items():
        if key in summary and key not in nothing and not low <= summary[key] <= high:
            failed.append(key)
    return {**summary, "failed": failed, "passed": not failed}


# What is asked for: text, least, largest.
_ASKED = {
    "n_frames_off": ("frames more or fewer than there are", 0, 0),
    "times_smaller": ("times smaller than the bare pixels", MIN_TIMES_SMALLER, np.inf),
    "max_time_error_frames": ("frames off, at most, are the times", 0, MAX_TIME_ERROR_FRAMES),
    "n_dropped_wrong": ("frames with a wrong number of lost ones before", 0, 0),
    "pose_error_px": ("px median error of visible points", 0, MAX_POSE_ERROR_PX),
    "pupil_correlation": ("correlation of the pupil's diameter", MIN_PUPIL_CORRELATION, 1),
    "pupil_known": ("of the frames outside blinks have a diameter", MIN_PUPIL_KNOWN, 1),
    "blink_recall": ("of the blinks found, both edges right", MIN_BLINKS, 1),
    "blink_precision": ("of the blinks found are true", MIN_BLINKS, 1),
    "lick_recall": ("of the licks found", MIN_LICKS, 1),
    "lick_precision": ("of the licks found are true", MIN_LICKS, 1),
}


def format_camera_comparison(comparison):
    """Write a comparison for a person.

    Parameters
    ----------
    comparison : CameraComparison

    Returns
    -------
    str
        Several lines, without a newline at the end.
    """
    summary = comparison.summary
    lines = [f"{comparison.name}, against the truth:", ""]
    if len(comparison.points):
        table = comparison.points.round(3).to_string(index=False)
        lines += ["  " + row for row in table.splitlines()] + [""]
    lines.append(
        f"  {summary['n_decoded']} frames of {summary['n_frames']}, {summary['n_dropped']} lost "
        f"by the camera; times {summary['median_time_error_ms']:.3f} ms off (median)"
    )
    for key, (text, low, high) in _ASKED.items():
        if key not in summary:
            lines.append(f"  {_NOT_COMPARED}: {key}")
            continue
        asked = f"at least {low:g}" if high in (1, np.inf) else f"at most {high:g}"
        lines.append(f"  {summary[key]:.4g} {text} (asked for: {asked})")
    lines.append("  " + ("as it should be" if summary["passed"] else "NOT as it should be"))
    return "\n".join(lines)


def count_frames(path):
    """Count the frames that OpenCV decodes of a video.

    Raises
    ------
    InputError
        It cannot be opened.
    """
    import cv2

    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise InputError(f"{path}: OpenCV cannot open it; expected a video")
    count = 0
    while video.grab():
        count += 1
    video.release()
    return count


def _mean(values):
    return float(np.mean(values)) if len(values) else np.nan


def _correlation(a, b):
    if len(a) < 2 or not a.std() or not b.std():
        return np.nan
    # rounding must not lift it above 1
    return float(min(np.corrcoef(a, b)[0, 1], 1.0))
