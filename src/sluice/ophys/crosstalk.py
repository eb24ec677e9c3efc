"""Light that leaks between two planes recorded at once: how much, and taking it out."""

import logging
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.ophys.extract_traces import mean_traces
from sluice.ophys.plane import PlaneInfo, load_plane, read_frames

logger = logging.getLogger(__name__)

GRID = 0.005
# Narrower than this two ratios are the same: no single frame decides.
MIN_WIDTH = 0.01


@dataclass(frozen=True)
class PairedPlane:
    """The plane that is recorded at the same time, before its registration.

    Attributes
    ----------
    movie : path
        ``movie.bin`` of its `import_plane`.
    info : PlaneInfo
    is_missing : bool array, shape (n_frames,)
        From its ``frames.pqt``.
    """

    movie: str
    info: PlaneInfo
    is_missing: np.ndarray


def load_paired_plane(movie, plane, frames):
    """Read what is needed of the paired plane from the files of its `import_plane`.

    Parameters
    ----------
    movie, plane, frames : path
        ``movie.bin``, ``plane.json``, ``frames.pqt``.

    Returns
    -------
    PairedPlane
    """
    is_missing = pd.read_parquet(frames, columns=["is_missing"])["is_missing"]
    return PairedPlane(movie, load_plane(plane), is_missing.to_numpy(bool))


def require_paired(info, paired_info):
    """Stop where two planes cannot have been recorded together.

    Raises
    ------
    InputError
    """
    if info.shape != paired_info.shape:
        raise InputError(
            f"{info.name}: the paired plane {paired_info.name} has (frames, height, width) "
            f"{paired_info.shape}; expected {info.shape}, as crosstalk is between planes that "
            "are recorded at once. Correct paired_with in streams.tsv."
        )


@dataclass(frozen=True)
class Crosstalk:
    """Crosstalk between two planes, as fractions of the other plane's light.

    Attributes
    ----------
    to_this, to_paired : float
        From the paired plane into this one, and back; 0 to the largest that was tried. NaN
        where too few frames show it.
    n_frames_to_this, n_frames_to_paired : int
        Frames, counted over ROIs, that each comes from.
    """

    to_this: float
    to_paired: float
    n_frames_to_this: int
    n_frames_to_paired: int


def crosstalk_fraction(
    this, paired, *, step_frames=1, max_fraction=0.5, event_std=5.0, min_frames=50
):
    """Measure the crosstalk between two planes recorded at once.

    The model is ``recorded_this = this + to_this * other`` and
    ``recorded_other = other + to_paired * this`` for all pixels of a plane. Plotted against
    each other, the steps of the two traces of one ROI's pixels lie in a cone: while only a
    cell of the other plane becomes active, along the line of slope `to_this`; while only one
    of this plane does, along that of `to_paired`. Each fraction is the most frequent slope of
    its line: of the frames in which the leaking plane has risen by more than `event_std` of
    the noise of its steps, and by more than the other trace. Each frame votes with a normal
    curve around its ratio, as wide as the noise makes it, and the peak of the votes is refined
    by least squares. Steps are taken as they leave out all that is slow: neuropil, bleaching.

    Cells that become active in the same frame give larger ratios, in a tail that the peak does
    not follow; an estimate from correlations would take that for crosstalk. Allen (ophys_etl
    decrosstalk, ICA of each ROI) and AIND (aind-ophys-decrosstalk-roi-images, grid search of
    least mutual information between mean images, one mixing matrix a plane) assume that the
    planes are independent. AIND's fractions are of the light of a plane, which loses what
    leaks: with its ``alpha``, ``beta`` these are ``beta / (1 - beta)`` and
    ``alpha / (1 - alpha)``.

    Parameters
    ----------
    this, paired : float array, shape (n_rois, n_frames)
        Intensity of the same pixels in both planes, as recorded; NaN frames are left out.
    step_frames : int
        A step is the change over this many frames: about the rise of the indicator.
    max_fraction : float
        Largest fraction tried, below 1.
    event_std : float
    min_frames : int
        With fewer the fraction is NaN.

    Returns
    -------
    Crosstalk
    """
    (this, this_noise), (paired, paired_noise) = (
        _steps(np.asarray(traces, np.float64), step_frames) for traces in (this, paired)
    )
    settings = (max_fraction, event_std, min_frames)
    to_this, n_to_this = _leak(paired, paired_noise, this, this_noise, *settings)
    to_paired, n_to_paired = _leak(this, this_noise, paired, paired_noise, *settings)
    return Crosstalk(to_this, to_paired, n_to_this, n_to_paired)


def _steps(traces, step_frames):
    """Steps minus their median (n_rois, n_frames - step_frames), and their noise (n_rois, 1).

    The median of the steps of an active cell is below 0, as it decays most of the time; left
    in, it makes the fractions too small. The noise is 1.4826 times the median size.
    """
    steps = traces[:, step_frames:] - traces[:, : max(traces.shape[1] - step_frames, 0)]
    noise = np.full((len(steps), 1), np.nan)
    for row, step in zip(noise, steps, strict=True):
        if np.isfinite(step).any():
            step -= np.nanmedian(step)
            row[0] = 1.4826 * np.nanmedian(np.abs(step))
    return steps, noise


def _leak(source, source_noise, target, target_noise, max_fraction, event_std, min_frames):
    """Most frequent ratio of target to source while the source rises: fraction, n frames."""
    with np.errstate(invalid="ignore"):
        is_event = (source > event_std * source_noise) & (source > 0) & (target < source)
    n_frames = int(np.count_nonzero(is_event))
    if n_frames < min_frames:
        return float("nan"), n_frames
    height = source[is_event]
    ratio = target[is_event] / height
    noise = np.broadcast_to(target_noise, source.shape)[is_event]
    width = np.hypot(noise / height, MIN_WIDTH)
    grid = np.arange(0, max_fraction + GRID / 2, GRID)
    votes = [np.sum(np.exp(-0.5 * ((ratio - x) / width) ** 2) / width) for x in grid]
    fraction = grid[int(np.argmax(votes))]
    for _ in range(5):
        weight = np.exp(-0.5 * ((ratio - fraction) / width) ** 2) / width**2
        fraction = float(np.clip(np.sum(weight * ratio) / np.sum(weight), 0, max_fraction))
    return fraction, n_frames


def unmix(this, paired, crosstalk):
    """Take the paired plane's light out of this plane's sums of intensities.

    ``this = (recorded_this - to_this * recorded_other) / (1 - to_this * to_paired)``. As it is
    linear, doing it to sums over pixels equals doing it to every pixel; so demixing, which
    needs nothing but such sums, is as exact as on an unmixed movie. A fraction that could
    not be measured counts as 0.

    Parameters
    ----------
    this, paired : float array, shape (n_sets, n_frames)
    crosstalk : Crosstalk

    Returns
    -------
    float array, shape (n_sets, n_frames)
    """
    to_this, to_paired = (np.nan_to_num(x) for x in (crosstalk.to_this, crosstalk.to_paired))
    return (this - to_this * paired) / (1 - to_this * to_paired)


def read_paired_frames(paired, shifts, start, stop):
    """Read frames of the paired plane and move them as this plane's were.

    Light of the other plane lands where this plane's beam is, so its movie needs this
    plane's shifts and not its own. Only the rigid shift is applied, rounded to pixels; what
    leaves the frame comes in at the other side, inside the motion border.

    The offset between odd and even lines of bidirectional scanning stays in: it is known of
    this plane alone, and only after its registration. It blurs the other plane by a pixel or
    so along x, and the crosstalk that is found is then a little too small.

    Parameters
    ----------
    paired : PairedPlane
    shifts : float array, shape (n_frames, 2)
        This plane's, y and x (px); NaN counts as 0.
    start, stop : int

    Returns
    -------
    int16 array, shape (stop - start, height, width)
        Stored values.
    """
    frames = read_frames(paired.movie, paired.info, start, stop)
    moves = -np.rint(np.nan_to_num(shifts[start:stop])).astype(int)
    for t in np.flatnonzero(moves.any(axis=1)):
        frames[t] = np.roll(frames[t], moves[t], axis=(0, 1))
    return frames


def paired_mean_traces(paired, shifts, masks):
    """Compute the paired plane's mean intensity over each mask of this plane.

    Parameters
    ----------
    paired : PairedPlane
    shifts : float array, shape (n_frames, 2)
        This plane's, y and x (px).
    masks : Masks
        This plane's ROIs; weights are not used.

    Returns
    -------
    float32 array, shape (n_masks, n_frames)
        Intensity as recorded; NaN for an empty mask and for missing frames.
    """
    read = partial(read_paired_frames, paired, shifts)
    traces = mean_traces(read, paired.info, masks)
    traces[:, paired.is_missing] = np.nan
    return traces
