"""Times of licks, from the tongue in one camera or more."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.signal import find_peaks

from sluice.qc import check, log_checks, save_checks
from sluice.runs import runs_of
from sluice.video.pose import fill_short_gaps, load_pose, load_times, positions

# A tongue this close to where it is furthest back is back, as a fraction of its reach.
_AT_REST = 0.1


@dataclass(frozen=True)
class SeenLicks:
    """Licks that one camera saw.

    Attributes
    ----------
    times : float64 array, shape (n_licks,)
        When the tongue is first seen, or comes out again (s), ascending.
    durations : float64 array, shape (n_licks,)
        How long it is seen (s).
    visible_fraction : float
        Frames in which it is seen; NaN without frames.
    """

    times: np.ndarray
    durations: np.ndarray
    visible_fraction: float


def find_licks(points, times, *, min_frames, max_gap_frames, movement_std, retraction):
    """Find the licks that one camera saw.

    A lick is a run of frames in which a point of the tongue is known and moves. It moves if one
    of its coordinates changes from frame to frame by more than `movement_std` standard
    deviations of all changes of that coordinate, the threshold of IBL's ``get_licks``
    (brainbox/behavior/dlc.py). IBL takes each frame with such a change for a lick, so that one
    lick gives several times in a row; here it gives one, that of the first frame in which the
    tongue is seen. A tongue that is seen from the first frame on came out at a time that nobody
    knows, and gives none. Where it stays in sight it licks again as it comes out again, see
    `split_runs`.

    Parameters
    ----------
    points : float array, shape (n_frames, n_points, 2)
        x and y (px) of points of the tongue, NaN where unknown.
    times : float64 array, shape (n_frames,)
        s, ascending.
    min_frames : int
        Shortest lick, in frames in a row.
    max_gap_frames : int
        Within a lick the tongue may be unknown for so many frames.
    movement_std : float
    retraction : float
        See `split_runs`.

    Returns
    -------
    SeenLicks
    """
    traces = points.reshape(len(points), points.shape[1] * 2)
    is_seen = ~np.isnan(traces).all(axis=1)
    runs = _join_runs(runs_of(is_seen), max_gap_frames)
    n_moves = np.concatenate([[0], np.cumsum(_moves(traces, movement_std))])
    is_lick = (
        (runs[:, 0] > 0)
        & (runs[:, 1] - runs[:, 0] >= min_frames)
        & (n_moves[runs[:, 1]] > n_moves[runs[:, 0]])
    )
    licks = split_runs(points, runs[is_lick], retraction=retraction, min_frames=min_frames)
    interval_s = np.median(np.diff(times)) if len(times) > 1 else 0.0
    first, last = licks[:, 0], licks[:, 1] - 1
    return SeenLicks(
        times=times[first],
        durations=times[last] - times[first] + interval_s,
        visible_fraction=float(is_seen.mean()) if len(times) else np.nan,
    )


def _join_runs(runs, max_gap_frames):
    """Runs that lie no further apart become one."""
    is_apart = runs[1:, 0] - runs[:-1, 1] > max_gap_frames
    ends = np.ones(min(1, len(runs)), bool)
    return np.column_stack(
        [runs[np.concatenate([ends, is_apart]), 0], runs[np.concatenate([is_apart, ends]), 1]]
    )


def _moves(traces, movement_std):
    """Frames in which a coordinate has changed by more than usual since the frame before."""
    is_moving = np.zeros(len(traces), bool)
    for trace in traces.T:
        change = np.diff(trace)
        known = change[~np.isnan(change)]
        if known.size:
            with np.errstate(invalid="ignore"):
                is_moving[1:] |= np.abs(change) > movement_std * known.std()
    return is_moving


def split_runs(points, runs, *, retraction, min_frames):
    """Split the runs in which a tongue stays in sight but goes back and comes out again.

    Where its points are when it is first seen, median over runs, is the mouth. How far out it
    is is its distance from there, on average of the known points, along the direction in which
    it goes furthest, median over runs; its usual reach is the median of the furthest. Two licks
    are told apart where it goes back by at least a part of that reach between them.

    Parameters
    ----------
    points : float array, shape (n_frames, n_points, 2)
        x and y (px), NaN where unknown.
    runs : int64 array, shape (n_runs, 2)
        First frame, in which a point is known, and first frame after each run.
    retraction : float
        That part of the reach.
    min_frames : int
        Furthest points closer together are one.

    Returns
    -------
    int64 array, shape (n_licks, 2)
        First frame, in later licks of a run the last in which the tongue is back (within a
        tenth of its reach), and first frame after each lick.
    """
    if not len(runs):
        return np.empty((0, 2), np.int64)
    mouth = _mean_known(points[runs[:, 0]], np.nanmedian)
    moved = _mean_known((points - mouth).swapaxes(0, 1), np.nanmean)
    # what is lost within a run; what lies between runs is not looked at
    moved = fill_short_gaps(moved.T, max_gap_frames=len(moved)).T
    distance = np.linalg.norm(moved, axis=1)
    furthest = [first + int(np.nanargmax(distance[first:stop])) for first, stop in runs]
    way = np.median(moved[furthest], axis=0)
    out = moved @ (way / (np.linalg.norm(way) or 1))
    reach = np.median([np.nanmax(out[first:stop]) for first, stop in runs])
    if reach <= 0:
        return runs
    licks = []
    for first, stop in runs:
        # as far back as the mouth before and after
        padded = np.concatenate([[0], out[first:stop], [0]])
        peaks = find_peaks(padded, prominence=retraction * reach, distance=min_frames)[0] - 1
        backs = [out[first + a : first + b] for a, b in pairwise(peaks)]
        # it may rest in the mouth for a while: the end of that
        rests = [np.flatnonzero(back <= back.min() + _AT_REST * reach)[-1] for back in backs]
        licks += pairwise([first, *(first + peaks[:-1] + np.array(rests, np.int64)), stop])
    return np.array(licks, np.int64)


def _mean_known(values, mean):
    """Mean or median along the first axis of what is known; NaN where nothing is."""
    found = np.full(values.shape[1:], np.nan)
    is_any = ~np.isnan(values).all(axis=0)
    found[is_any] = mean(values[:, is_any], axis=0)
    return found


def merge_licks(times, *, refractory_s):
    """Merge the licks that cameras saw.

    IBL takes the times of both cameras together, each of them. Here what lies closer to the
    lick before than a mouse can lick is the same lick, whose time is the earliest.

    Parameters
    ----------
    times : list of float64 arrays, shape (n_licks,)
        For each camera, s.
    refractory_s : float

    Returns
    -------
    times : float64 array, shape (n_licks,)
        s, ascending, at least `refractory_s` apart.
    n_cameras : int64 array, shape (n_licks,)
        How many cameras saw the lick.
    """
    camera = np.repeat(np.arange(len(times)), [len(one) for one in times])
    together = np.concatenate([np.empty(0), *times])
    order = np.argsort(together, kind="stable")
    merged, seen_by = [], []
    for time, k in zip(together[order].tolist(), camera[order].tolist(), strict=True):
        if not merged or time - merged[-1] >= refractory_s:
            merged.append(time)
            seen_by.append(set())
        seen_by[-1].add(k)
    return np.array(merged, np.float64), np.array([len(one) for one in seen_by], np.int64)


def tongue_licks_file(*, poses, times, licks, checks, settings, name):
    """Find the times of licks from the tongue in one camera or more.

    Parameters
    ----------
    poses : dict of str to path
        ``_ibl_leftCamera.dlc.pqt`` of each camera, keypoints as the model gave them, read.
    times : dict of str to path
        ``_ibl_leftCamera.times.npy`` of each, float64 (n_frames,), s on the session's clock,
        read.
    licks : path
        ``licks.times.npy``, float64 (n_licks,), s on the session's clock, ascending; written.
    checks : path
        ``checks.json``, written.
    settings : dict
        ``video.tongue_licks``.
    name : str
        How messages call the session.

    Raises
    ------
    InputError
        Points that a model has not, or times of another number of frames.
    """
    found, spans = {}, []
    for camera, path in poses.items():
        label = f"{name} {camera}"
        table = load_pose(path, settings["points"], name=label)
        at = load_times(times[camera], len(table), pose=path, name=label)
        found[camera] = find_licks(
            positions(table, settings["points"], min_likelihood=settings["min_likelihood"]),
            at,
            **{
                key: settings[key]
                for key in ("min_frames", "max_gap_frames", "movement_std", "retraction")
            },
        )
        spans += [at[0], at[-1]] if len(at) else []
    merged, n_cameras = merge_licks(
        [one.times for one in found.values()], refractory_s=settings["refractory_s"]
    )
    np.save(licks, merged)
    duration_s = max(spans) - min(spans) if spans else 0.0
    judged = _checks(found, merged, n_cameras, duration_s, settings["checks"])
    save_checks(judged, checks)
    log_checks(judged)


def _checks(found, times, n_cameras, duration_s, thresholds):
    """Judge what was found."""
    n, n_lone = len(times), int((n_cameras == 1).sum())
    visible = {camera: one.visible_fraction for camera, one in found.items()}
    visible = {camera: value for camera, value in visible.items() if not np.isnan(value)}
    durations = np.concatenate([np.empty(0), *(one.durations for one in found.values())])
    seen = ", ".join(f"{len(one.times)} in {camera}" for camera, one in found.items())
    rows = [
        ("tongue_lick_number", n, "", f"{seen}; what both saw is counted once"),
        ("tongue_lick_rate_hz", n / duration_s if duration_s else None, "Hz", f"{n} licks"),
        (
            "tongue_lick_visible_fraction",
            max(visible.values(), default=None),
            "",
            "; ".join(f"seen in {value:.3f} of {camera}" for camera, value in visible.items()),
        ),
        (
            "tongue_lick_duration_s",
            float(np.median(durations)) if len(durations) else None,
            "s",
            "time that the tongue is seen in a lick, median",
        ),
    ]
    if len(found) > 1:
        message = f"{n_lone} of {n} licks were seen by one camera only"
        rows.append(("tongue_lick_lone_fraction", n_lone / n if n else None, "", message))
    return [
        check(key, value, unit=unit, message=message, **thresholds[key])
        for key, value, unit, message in rows
    ]
