"""Motion energy of a camera, and the measures of its frames that `camera_qc` judges."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.qc import check, log_checks, save_checks
from sluice.video.frame_measures import FrameMeasures
from sluice.video.frame_position import (
    Samples,
    find_shifts,
    first_with_contrast,
    group_pictures,
    histogram,
    histogram_correlation,
    load_reference_frame,
    reduce,
)
from sluice.video.frames import read_frames
from sluice.video.pose import load_pose, point_names, positions, require_points

logger = logging.getLogger(__name__)

# Pictures of `reference.npz`, evenly spread over the video.
N_PICTURES = 3
# Of IBL's region of the body camera, whose image is 512 px high.
BODY_HEIGHT, BODY_ABOVE = 210 / 512, 120 / 512


@dataclass(frozen=True)
class Region:
    """Part of an image.

    Attributes
    ----------
    x, y, width, height : int
        Left, top and size (px), within the image.
    kind : str
        ``whole``, ``whisker_pad``, ``body`` or ``box``.
    clipped_fraction : float
        Part of the region as it was wanted that lies outside the image.
    known_fraction : float or None
        Frames in which the points that place it are likely, the worst of them.
    """

    x: int
    y: int
    width: int
    height: int
    kind: str
    clipped_fraction: float = 0.0
    known_fraction: float | None = None

    @property
    def box(self):
        """x, y, width, height; None for the whole image."""
        return None if self.kind == "whole" else (self.x, self.y, self.width, self.height)


def whisker_pad(nose, pupil):
    """Region of the whisker pad.

    IBL (iblvideo/motion_energy.py): half as wide and a third as high as the distance between
    nose and pupil, centred on the point midway between them from left to right, and with its
    upper edge at that point. IBL cuts the mean positions to whole pixels first.

    Parameters
    ----------
    nose, pupil : float array, shape (2,)
        x and y (px).

    Returns
    -------
    tuple of float
        x, y, width, height (px).
    """
    distance = float(np.hypot(*np.subtract(pupil, nose)))
    x, y = np.add(nose, pupil) / 2
    return x - distance / 4, y, distance / 2, distance / 3


def beside_tail(tail, height):
    """Region of the body, left of the root of the tail.

    IBL (iblvideo/motion_energy.py, body camera): three fifths of the way from the left edge to
    the tail wide and up to it, 210 px high from 120 px above it, in images 512 px high; here
    in proportion to the height.

    Parameters
    ----------
    tail : float array, shape (2,)
        x and y (px).
    height : int
        Of the image (px).

    Returns
    -------
    tuple of float
        x, y, width, height (px).
    """
    x, y = tail
    return 0.4 * x, y - BODY_ABOVE * height, 0.6 * x, BODY_HEIGHT * height


def clip_region(box, *, height, width):
    """Cut a region to whole pixels of the image.

    Parameters
    ----------
    box : sequence of float
        x, y, width, height (px); each is cut to a whole number, as IBL does.
    height, width : int
        Of the image (px).

    Returns
    -------
    box : tuple of int
        x, y, width, height; the last two are 0 where nothing is in the image.
    clipped_fraction : float
        Part of the region that is outside.
    """
    x, y, columns, rows = (int(np.floor(one)) for one in box)
    left, top = max(x, 0), max(y, 0)
    right, bottom = max(left, min(x + columns, width)), max(top, min(y + rows, height))
    inside = (right - left) * (bottom - top)
    fraction = 1 - inside / (columns * rows) if columns > 0 and rows > 0 else 1.0
    return (left, top, right - left, bottom - top), fraction


def find_region(camera_region, *, info, pose, settings, name):
    """Where the motion energy of a camera is measured.

    Parameters
    ----------
    camera_region : str or sequence of int
        ``video.motion_energy.regions`` of the camera.
    info : VideoInfo
    pose : path or None
        Keypoints; needed for ``whisker_pad`` and ``body``.
    settings : dict
        ``video.motion_energy``.
    name : str

    Returns
    -------
    Region

    Raises
    ------
    InputError
        Points are absent or never likely, or the region is outside the image.
    """
    if camera_region == "whole":
        return Region(0, 0, info.width, info.height, "whole")
    known_fraction, kind = None, "box" if not isinstance(camera_region, str) else camera_region
    if kind == "box":
        wanted, advice = camera_region, "Correct it in motion_energy.regions."
    else:
        advice = (
            "Look at the keypoints of this camera, or give the region as [x, y, width, height] in "
            "motion_energy.regions."
        )
        wanted, known_fraction = _by_points(kind, pose, info, settings, name, advice)
    (x, y, width, height), clipped = clip_region(wanted, height=info.height, width=info.width)
    if width < 1 or height < 1:
        numbers = ", ".join(f"{one:.1f}" for one in wanted)
        raise InputError(
            f"{name}: the region of the motion energy ({kind}: x, y, width, height {numbers}) has "
            f"no pixel within the image of {info.width} x {info.height} px. {advice}"
        )
    return Region(x, y, width, height, kind, clipped, known_fraction)


def _by_points(kind, pose, info, settings, name, advice):
    """Region that keypoints place, and the part of the frames in which they are likely."""
    if pose is None:
        raise InputError(
            f"{name}: the region {kind} is placed by keypoints, and this camera is not tracked. "
            "Name its model in track_pose.cameras, or choose another region."
        )
    table = load_pose(pose, name=name)
    found = point_names(table)
    if kind == "whisker_pad":
        pupils = [point for point in settings["pupil_points"] if point in found]
        # where none is there, the message names them all
        ways = [[settings["nose_point"]], pupils or settings["pupil_points"]]
    else:
        ways = [[settings["tail_point"]]]
    require_points(found, [point for way in ways for point in way], path=pose, name=name)
    places = [_most_known(table, way, pose, settings, name, advice) for way in ways]
    means = [mean for mean, _ in places]
    box = whisker_pad(*means) if kind == "whisker_pad" else beside_tail(*means, info.height)
    return box, min(fraction for _, fraction in places)


def _most_known(table, points, pose, settings, name, advice):
    """Mean position of that of these points that is most often likely, and how often it is.

    IBL takes the first that ever is; a single stray frame would place the region then.
    """
    at = positions(table, points, min_likelihood=settings["min_likelihood"])
    is_known = np.isfinite(at[:, :, 0])
    best = is_known.sum(axis=0).argmax()
    if is_known[:, best].any():
        return at[is_known[:, best], best].mean(axis=0), float(is_known[:, best].mean())
    raise InputError(
        f"{name}: {' and '.join(points)} in {pose} {'is' if len(points) == 1 else 'are'} never "
        f"likely; expected a likelihood of {settings['min_likelihood']:g} in some of the "
        f"{len(table)} frames. {advice}"
    )


def motion_energy_file(
    *,
    video,
    info,
    pose=None,
    reference_frame=None,
    energy,
    region,
    measures,
    reference,
    checks,
    settings,
    camera_region="whole",
    wheel_region=None,
    threads,
    name,
):
    """Measure how much moves from frame to frame, and what else `camera_qc` needs, in one pass.

    Motion energy of frame i is the mean over a region of the absolute difference of the grey
    levels of frames i and i + 1, as IBL's (iblvideo/motion_energy.py): it belongs to the time
    between the two. The last frame has none and is NaN; IBL repeats the one before there. Where
    the camera lost frames between the two (`n_dropped_before` of frames.pqt), the energy is of a
    longer time, and larger.

    Parameters
    ----------
    video : path
        The compressed video.
    info : VideoInfo
    pose : path, optional
        Keypoints of the camera; read only where they place the region.
    reference_frame : path, optional
        Image of a session in which the camera was placed well, of the size of the video.
    energy : path
        ``leftCamera.ROIMotionEnergy.npy``, float32 (n_frames,), grey levels 0 to 255; written.
    region : path
        ``region.json``: x, y, width, height (px), kind, clipped_fraction and known_fraction,
        see `Region`; written.
    measures : path
        ``measures.pqt``, a row a frame, NaN where not measured; written. frame (int64); all
        else float64: mean, std (grey levels), energy (of the whole image), wheel_energy (of
        `wheel_region`); in every `focus_step`-th frame focus and sharpness, see
        `sluice.video.frame_measures`; in the middle frame of each ten samples drift_x_px,
        drift_y_px and drift_score, against the beginning of the video, and position_x_px,
        position_y_px, position_score and histogram_correlation, against the reference frame.
    reference : path
        ``reference.npz``: pictures, uint8 (n, height, width), frames of the beginning, the
        middle and the end made smaller; frames, int64 (n,), their numbers; factor, int, pixels
        of the video along each side of one of theirs; median, uint8 (height, width), of the
        first ten samples that show something; reference_frame, the same size, where it is
        given; written.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``video.motion_energy``.
    camera_region : str or sequence of int
        ``whole``, ``whisker_pad``, ``body`` or x, y, width, height: `regions` of this camera.
    wheel_region : sequence of int, optional
        `wheel_regions` of this camera.
    threads : int
        Of ffmpeg.
    name : str
        How messages call the camera.

    Raises
    ------
    InputError
        The video is not the one of `info`; the region cannot be found or lies outside of the
        image; the reference frame cannot be used.
    """
    size = {"height": info.height, "width": info.width}
    place = find_region(camera_region, info=info, pose=pose, settings=settings, name=name)
    wheel_box = None if wheel_region is None else _wheel_box(wheel_region, size, name)
    image = (
        None
        if reference_frame is None
        else load_reference_frame(reference_frame, **size, name=name)
    )
    logger.info(
        "motion energy of %d frames in %d x %d px at x %d, y %d (%s)",
        *(info.n_frames, place.width, place.height, place.x, place.y, place.kind),
    )
    found = FrameMeasures(
        info.n_frames,
        region=place.box,
        wheel_region=wheel_box,
        focus_step=settings["focus_step"],
    )
    samples = Samples(info.n_frames, info.width, n_samples=settings["position_samples"])
    for start, frames in read_frames(
        video, **size, n_frames=info.n_frames, threads=threads, name=name
    ):
        found.add(start, frames)
        samples.add(start, frames)
    table = pd.DataFrame(
        {
            "frame": np.arange(info.n_frames),
            "mean": found.mean,
            "std": found.std,
            "energy": found.energy,
            "wheel_energy": found.wheel_energy,
            "focus": found.focus,
            "sharpness": found.sharpness,
        }
    )
    median = _add_positions(table, samples, image)
    table.to_parquet(measures, index=False)
    np.save(energy, found.region_energy.astype(np.float32))
    Path(region).write_text(json.dumps(asdict(place), indent=1) + "\n", encoding="utf-8")
    _save_reference(reference, samples, median, image)
    judged = _checks(place, found.region_energy, settings["checks"])
    save_checks(judged, checks)
    log_checks(judged)


def _wheel_box(wheel_region, size, name):
    box, _ = clip_region(wheel_region, **size)
    if min(box[2:]) < 1:
        raise InputError(
            f"{name}: the region of the wheel {list(wheel_region)} has no pixel within the image "
            f"of {size['width']} x {size['height']} px. Correct it in motion_energy.wheel_regions."
        )
    return box


def _add_positions(table, samples, image):
    """Add what is known of the camera's position; return the picture of its beginning."""
    names = ("drift_x_px", "drift_y_px", "drift_score")
    names += ("position_x_px", "position_y_px", "position_score", "histogram_correlation")
    for column in names:
        table[column] = np.nan
    middle, medians = group_pictures(samples.pictures)
    rows = samples.frames[middle]
    median = first_with_contrast(medians)
    references = {"drift": median}
    if image is not None:
        references["position"] = reduce(image, samples.factor)
        correlations = histogram_correlation(samples.histograms, histogram(image))
        table.loc[rows, "histogram_correlation"] = correlations[middle]
    for key, one in references.items():
        shifts = find_shifts(medians, one)
        table.loc[rows, f"{key}_x_px"] = shifts.x_px * samples.factor
        table.loc[rows, f"{key}_y_px"] = shifts.y_px * samples.factor
        table.loc[rows, f"{key}_score"] = shifts.score
    return median


def _save_reference(path, samples, median, image):
    """Write the pictures that `camera_qc` draws."""
    chosen = np.unique(np.linspace(0, len(samples.frames) - 1, N_PICTURES).astype(int))
    arrays = {
        "pictures": samples.pictures[chosen],
        "frames": samples.frames[chosen],
        "factor": np.int64(samples.factor),
        "median": median,
    }
    if image is not None:
        arrays["reference_frame"] = reduce(image, samples.factor)
    np.savez_compressed(path, **arrays)


def _checks(place, energy, thresholds):
    """Judge the region and what moves in it."""
    where = f"{place.width} x {place.height} px at x {place.x}, y {place.y} ({place.kind})"
    rows = [("energy_region_clipped_fraction", place.clipped_fraction, where)]
    known = energy[np.isfinite(energy)]
    if len(known):
        n_zero = int((known == 0).sum())
        message = f"{n_zero} of {len(known)} frames"
        rows.append(("energy_zero_fraction", n_zero / len(known), message))
    if place.known_fraction is not None:
        message = "of all frames, the worst of the points that place the region"
        rows.append(("energy_points_known_fraction", place.known_fraction, message))
    return [check(key, value, message=message, **thresholds[key]) for key, value, message in rows]
