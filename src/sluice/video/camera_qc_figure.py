"""The figure of `camera_qc`: pictures, brightness, motion, focus, frame times, pupil, wheel."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sluice.figure_parts import MARK, TRACE, draw_trace, list_checks, say
from sluice.runs import runs_of
from sluice.video.pose import likelihoods, point_names, positions
from sluice.video.qc_checks.picture import find_frozen, find_jumps
from sluice.video.qc_checks.position import shift_percent

# Of the keypoints whose mean place is drawn.
MIN_LIKELIHOOD = 0.9
# An interval longer than this many median ones is marked.
GAP = 1.5
BLINK_COLOUR, FROZEN_COLOUR, LOST_COLOUR = "#e9a23b", "#8d99ae", "#e9a23b"


@dataclass(frozen=True)
class Drawn:
    """What is drawn, and not judged.

    Attributes
    ----------
    energy : float array, shape (n_frames,)
        Motion energy of the region.
    region : dict
        ``region.json``.
    pictures : dict of array
        ``reference.npz``.
    pose, features : DataFrame or None
    """

    energy: np.ndarray
    region: dict
    pictures: dict
    pose: pd.DataFrame | None = None
    features: pd.DataFrame | None = None


def save_figure(path, *, seen, checks, drawn, has_wheel, title):
    """Draw what `camera_qc` found.

    Parameters
    ----------
    path : path
        PNG.
    seen : Seen
    checks : list of Check
    drawn : Drawn
    has_wheel : bool
        Whether the wheel was recorded.
    title : str
    """
    figure = Figure(figsize=(14, 13), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    grid = figure.add_gridspec(5, 3, height_ratios=(2, 1, 1, 1, 1))
    _draw_start(figure.add_subplot(grid[0, 0]), drawn)
    _draw_end(figure.add_subplot(grid[0, 1]), drawn)
    list_checks(figure.add_subplot(grid[0, 2]), checks)
    _draw_brightness(figure.add_subplot(grid[1, :2]), seen)
    _draw_energy(figure.add_subplot(grid[2, :2]), seen, drawn)
    _draw_intervals(figure.add_subplot(grid[3, :2]), seen)
    _draw_pupil(figure.add_subplot(grid[4, :2]), drawn.features)
    _draw_focus(figure.add_subplot(grid[1, 2]), seen)
    _draw_position(figure.add_subplot(grid[2, 2]), seen)
    _draw_lag(figure.add_subplot(grid[3, 2]), seen.lag, has_wheel)
    _draw_histogram(figure.add_subplot(grid[4, 2]), drawn)
    # no version of matplotlib in the file: the same input gives the same bytes
    figure.savefig(path, format="png", dpi=90, metadata={"Software": None})


def _show(axes, picture, factor):
    """A picture, its axes in pixels of the video."""
    height, width = (side * factor for side in picture.shape)
    # the centre of the top left pixel is the origin
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=extent)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.tick_params(labelsize=7)


def _draw_start(axes, drawn):
    """First picture with the region and the mean places of the keypoints."""
    pictures, region = drawn.pictures, drawn.region
    _show(axes, pictures["pictures"][0], int(pictures["factor"]))
    drawn_in = "; mean places of points" if drawn.pose is not None else ""
    axes.set_title(f"Frame {pictures['frames'][0]}{drawn_in}", fontsize=10)
    if region["kind"] != "whole":
        x, y = region["x"] - 0.5, region["y"] - 0.5
        right, bottom = x + region["width"], y + region["height"]
        axes.plot([x, right, right, x, x], [y, y, bottom, bottom, y], color=MARK, lw=1.5)
    if drawn.pose is None:
        return
    for point in point_names(drawn.pose):
        at = positions(drawn.pose, [point], min_likelihood=MIN_LIKELIHOOD)[:, 0]
        is_known = likelihoods(drawn.pose, [point])[:, 0] >= MIN_LIKELIHOOD
        if is_known.any():
            place = np.nanmean(at, axis=0)
            axes.plot(*place, "o", ms=4, mec="white", mew=0.5)
            axes.annotate(point, place, (4, 2), textcoords="offset points", fontsize=6, color="w")


def _draw_end(axes, drawn):
    """Reference frame where there is one, else the last picture."""
    pictures = drawn.pictures
    if "reference_frame" in pictures:
        _show(axes, pictures["reference_frame"], int(pictures["factor"]))
        axes.set_title("Reference frame", fontsize=10)
        return
    _show(axes, pictures["pictures"][-1], int(pictures["factor"]))
    axes.set_title(f"Frame {pictures['frames'][-1]}", fontsize=10)


def _draw_brightness(axes, seen):
    """Mean grey level, with black and frozen stretches and jumps."""
    mean = seen.measures["mean"].to_numpy()
    axes.set_title("Brightness (grey: nothing moves; black: black frames; red: jumps)", fontsize=10)
    _shade(axes, seen.times_s, find_frozen(seen), FROZEN_COLOUR)
    _shade(axes, seen.times_s, runs_of(seen.is_black), "black")
    draw_trace(axes, seen.times_s, mean, label="mean grey level")
    jumps = find_jumps(seen)
    axes.plot(seen.times_s[jumps], mean[jumps], "v", color=MARK, ms=5)
    checks = seen.settings["checks"]
    for key in ("camera_brightness_low", "camera_brightness_high"):
        axes.axhline(checks[key]["warning"], color="0.6", lw=0.8, ls="--")
    axes.set_ylim(0, 255)


def _shade(axes, times_s, runs, colour):
    for first, end in runs:
        axes.axvspan(times_s[first], times_s[end - 1], color=colour, alpha=0.35, lw=0)


def _draw_energy(axes, seen, drawn):
    """Motion energy of the region and of the whole picture."""
    is_part = drawn.region["kind"] != "whole"
    note = " (grey: the whole picture)" if is_part else ""
    axes.set_title(f"Motion energy: {drawn.region['kind']}{note}", fontsize=10)
    if is_part:
        whole = seen.measures["energy"].to_numpy()
        draw_trace(axes, seen.times_s, whole, label="", color="0.75")
    draw_trace(axes, seen.times_s, drawn.energy, label="grey levels")
    _limit(axes, drawn.energy)


def _limit(axes, values):
    """Show a trace from 0; a few wild frames do not flatten the rest."""
    known = values[np.isfinite(values)]
    top = 1.5 * np.percentile(known, 99) if len(known) else 0.0
    axes.set_ylim(0, top if top > 0 else 1.0)


def _draw_focus(axes, seen):
    """Sharpness over time."""
    table = seen.measures[["sharpness"]].assign(time_s=seen.times_s).dropna()
    axes.set_title("Focus", fontsize=10)
    if not len(table):
        say(axes, "no frame with contrast")
        return
    draw_trace(
        axes, table["time_s"].to_numpy(), table["sharpness"].to_numpy(), label="sharpness", lw=1
    )
    axes.axhline(seen.settings["checks"]["camera_focus"]["warning"], color="0.6", lw=0.8, ls="--")
    axes.set_ylim(bottom=0)


def _draw_position(axes, seen):
    """Shift against the beginning, and against the reference frame."""
    axes.set_title("Position of the camera", fontsize=10)
    for key, colour, style, label in (
        ("drift", TRACE, "o-", "against the beginning"),
        ("position", MARK, "o--", "against the reference frame"),
    ):
        frames, percent = shift_percent(
            seen.measures, key, seen.info, min_score=seen.settings["min_position_score"]
        )
        if len(frames):
            axes.plot(seen.times_s[frames], percent, style, ms=3, lw=1, color=colour, label=label)
    if not axes.lines:
        say(axes, "nothing to find it by")
        return
    axes.set_ylim(-0.2, max(5.0, axes.get_ylim()[1]))
    axes.set_xlabel("time (s)")
    axes.set_ylabel("shift (% of the picture)")
    axes.legend(fontsize=8, frameon=False)


def _draw_intervals(axes, seen):
    """Intervals between frames; lost frames and times that were filled in are marked."""
    n_dropped = seen.frames["n_dropped_before"].to_numpy()
    n_filled = int(seen.frames["is_interpolated"].sum())
    title = f"Frame times: {seen.summary['source']}; {n_dropped.sum()} frames lost"
    axes.set_title(f"{title}, {n_filled} times interpolated", fontsize=10)
    intervals_ms = 1e3 * np.diff(seen.times_s)
    if not len(intervals_ms):
        say(axes, "a single frame")
        return
    draw_trace(axes, seen.times_s[1:], intervals_ms, label="interval (ms)")
    for mask, colour, label in (
        (n_dropped[1:] > 0, LOST_COLOUR, "frames lost before"),
        (seen.frames["is_interpolated"].to_numpy()[1:], "0.5", "interpolated"),
        (
            (intervals_ms > GAP * np.median(intervals_ms)) & (n_dropped[1:] == 0),
            MARK,
            "gap without a lost frame",
        ),
    ):
        if mask.any():
            at = np.flatnonzero(mask)
            axes.plot(seen.times_s[1:][at], intervals_ms[at], "v", ms=4, color=colour, label=label)
    axes.set_ylim(0, 1.1 * intervals_ms.max())
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, frameon=False, loc="lower right")


def _draw_pupil(axes, features):
    """Diameter of the pupil, with blinks."""
    axes.set_title("Pupil (yellow: blinks)", fontsize=10)
    if features is None:
        say(axes, "the pupil is not measured in this camera")
        return
    times_s = features["time_s"].to_numpy()
    _shade(axes, times_s, runs_of(features["is_blink"].to_numpy()), BLINK_COLOUR)
    raw, smooth = (
        features[f"pupilDiameter_{key}"].to_numpy(np.float64) for key in ("raw", "smooth")
    )
    draw_trace(axes, times_s, raw, label="diameter (px)", color="0.75")
    draw_trace(axes, times_s, smooth, label="diameter (px)", lw=0.9)
    _limit(axes, raw)


def _draw_lag(axes, lag, has_wheel):
    """Correlation of motion energy with the wheel's speed at each lag."""
    axes.set_title("Picture and wheel", fontsize=10)
    if lag is None:
        say(axes, "too little movement or too few frames a second" if has_wheel else "no wheel")
        return
    axes.plot(lag.lags_frames, lag.correlation, color=TRACE, lw=1.2)
    axes.axvline(0, color="0.6", lw=0.8, ls="--")
    if lag.lag_frames is not None:
        axes.axvline(lag.lag_frames, color=MARK, lw=1)
        axes.set_title(f"Picture {lag.lag_frames:+.2f} frames behind the wheel", fontsize=10)
    axes.margins(x=0)
    axes.set_xlabel("lag of the picture (frames)")
    axes.set_ylabel("correlation")


def _draw_histogram(axes, drawn):
    """Grey levels of the pictures, and of the reference frame."""
    pictures = drawn.pictures
    axes.set_title("Grey levels", fontsize=10)
    rows = [
        (one, TRACE, f"frame {frame}")
        for one, frame in zip(pictures["pictures"], pictures["frames"], strict=True)
    ]
    if "reference_frame" in pictures:
        rows.append((pictures["reference_frame"], MARK, "reference frame"))
    for i, (picture, colour, label) in enumerate(rows):
        counts = np.bincount(picture.ravel(), minlength=256) / picture.size
        alpha = 1.0 if colour == MARK else 1 - 0.3 * (len(pictures["frames"]) - 1 - i)
        axes.plot(counts, color=colour, alpha=alpha, lw=1, label=label)
    axes.set_xlim(0, 255)
    axes.set_xlabel("grey level")
    axes.set_ylabel("fraction of pixels")
    axes.legend(fontsize=8, frameon=False)
