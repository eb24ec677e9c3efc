"""Which frames and which pixels the quality of a movie is measured on, and one pass over it."""

from dataclasses import dataclass

import numpy as np

from sluice.ophys.motion_border import MotionBorder, find_motion_border_of
from sluice.ophys.plane import frame_chunks, read_frames


@dataclass(frozen=True)
class MoviePass:
    """What one pass over a registered movie gives.

    Attributes
    ----------
    frame_mean : float64 array, shape (n_frames,)
        Mean of the pixels inside the border, intensity as recorded; NaN where a frame is not
        used.
    sampled_mean, sampled_std : float64 array, shape (n_sampled,)
        Mean and standard deviation of the pixels of evenly sampled frames.
    start_image, end_image : float32 array, shape (height, width), or None
        Mean of the first and of the last used frames; None where none was asked for.
    block_images : float32 array, shape (n_blocks, height, width)
        Mean of the used frames of each block; NaN where a block has none.
    """

    frame_mean: np.ndarray
    sampled_mean: np.ndarray
    sampled_std: np.ndarray
    start_image: np.ndarray | None
    end_image: np.ndarray | None
    block_images: np.ndarray


def usable_frames(frames, shifts):
    """Mask of the frames that are neither missing nor badly registered.

    Parameters
    ----------
    frames : DataFrame
        ``frames.pqt``; column is_missing.
    shifts : DataFrame
        ``shifts.pqt``; column is_bad.

    Returns
    -------
    bool array, shape (n_frames,)
    """
    return ~frames["is_missing"].to_numpy(bool) & ~shifts["is_bad"].to_numpy(bool)


def motion_border(shifts, usable, height, width, *, max_border_px):
    """Border that motion leaves without data, as `find_motion_border_of` has it.

    The reference (aind-ophys-movie-qc) leaves out 30 pixels at every side. Ours leaves out
    what usable frames need at each, but at most `max_border_px` and at most a quarter of the
    plane, so that a small plane is not lost.

    Parameters
    ----------
    shifts : DataFrame
        ``shifts.pqt``; columns y_px, x_px, nonrigid_max_px.
    usable : bool array, shape (n_frames,)
    height, width : int
    max_border_px : int

    Returns
    -------
    MotionBorder
    """
    found = find_motion_border_of(shifts.assign(is_bad=~usable), max_shift_px=np.inf)
    vertical, horizontal = (min(max_border_px, size // 4) for size in (height, width))
    return MotionBorder(
        min(found.top, vertical),
        min(found.bottom, vertical),
        min(found.left, horizontal),
        min(found.right, horizontal),
    )


def even_pairs(usable, shifts, *, max_pairs):
    """Choose pairs of consecutive frames, evenly over the movie.

    A pair is left out where one of its frames is not usable or where the plane moved by
    half a pixel or more between them.

    Parameters
    ----------
    usable : bool array, shape (n_frames,)
    shifts : DataFrame
        ``shifts.pqt``; columns y_px, x_px.
    max_pairs : int

    Returns
    -------
    int64 array, shape (n_pairs,)
        First frame of each pair, ascending. No frame is in two pairs.
    """
    place = shifts[["y_px", "x_px"]].to_numpy(float)
    good = usable[:-1] & usable[1:] & (np.abs(np.diff(place, axis=0)) < 0.5).all(axis=1)
    # every second frame at most, so that pairs do not share frames
    candidates = []
    for t in np.flatnonzero(good):
        if not candidates or t > candidates[-1] + 1:
            candidates.append(t)
    return evenly(np.array(candidates, np.int64), max_pairs)


def evenly(values, n):
    """Choose at most `n` of the values, evenly spread."""
    if len(values) <= n:
        return values
    return values[np.linspace(0, len(values) - 1, n).round().astype(np.int64)]


def cut_blocks(n_frames, sampling_rate_hz, *, block_s, min_blocks, max_blocks):
    """Choose blocks of about `block_s`, evenly over a movie.

    They follow each other without a gap where at most `max_blocks` do; of a longer movie they
    are `max_blocks` stretches of the same length with gaps between. Where a movie is shorter
    than `min_blocks` of them they are shorter.

    Returns
    -------
    int64 array, shape (n_blocks, 2)
        First frame of each block, and the frame after its last.
    """
    n = min(max(round(n_frames / sampling_rate_hz / block_s), min_blocks), n_frames)
    if n <= max_blocks:
        edges = np.linspace(0, n_frames, n + 1).round().astype(np.int64)
        return np.stack([edges[:-1], edges[1:]], axis=1)
    length = round(block_s * sampling_rate_hz)
    starts = np.linspace(0, n_frames - length, max_blocks).round().astype(np.int64)
    return np.stack([starts, starts + length], axis=1)


def intensity(frames, info):
    """Stored values to intensity as recorded, float32."""
    return frames.astype(np.float32) * np.float32(info.scale) + np.float32(info.offset)


def pass_over(registered, info, usable, mask, blocks, window, *, max_sampled):
    """Read a registered movie once: frame means, simple SNR, mean images of stretches.

    Parameters
    ----------
    registered : path
        ``registered.bin``.
    info : PlaneInfo
    usable : bool array, shape (n_frames,)
    mask : bool array, shape (height, width)
        The pixels to use.
    blocks : int64 array, shape (n_blocks, 2), or None
        Blocks whose mean images are wanted; None: no images at all.
    window : int
        Frames of the start and of the end image.
    max_sampled : int
        At most so many frames, evenly spread, for the simple SNR.

    Returns
    -------
    MoviePass
    """
    n_frames = info.n_frames
    frame_mean = np.full(n_frames, np.nan)
    sampled = np.zeros(n_frames, bool)
    sampled[evenly(np.flatnonzero(usable), max_sampled)] = True
    frame_std = np.full(n_frames, np.nan)
    sums = None
    if blocks is not None:
        sums = _ImageSums(info, blocks, np.flatnonzero(usable), window)
    for start, stop in frame_chunks(info):
        frames = intensity(read_frames(registered, info, start, stop), info)
        pixels = frames[:, mask]
        here = usable[start:stop]
        means = pixels.mean(axis=1, dtype=np.float64)
        frame_mean[start:stop][here] = means[here]
        frame_std[start:stop][sampled[start:stop]] = pixels[sampled[start:stop]].std(
            axis=1, dtype=np.float64
        )
        if sums is not None:
            sums.add(frames, start)
    images = (None, None, np.empty((0, info.height, info.width), np.float32))
    if sums is not None:
        images = sums.images()
    return MoviePass(frame_mean, frame_mean[sampled], frame_std[sampled], *images)


class _ImageSums:
    """Sums of frames: of the first and last window of usable frames, and of each block."""

    def __init__(self, info, blocks, frames, window):
        n_blocks = len(blocks)
        # float64: a block of a minute has thousands of frames
        self.total = np.zeros((n_blocks + 2, info.height, info.width))
        self.n = np.zeros(n_blocks + 2, np.int64)
        self.frames_of = [frames[(frames >= i) & (frames < j)] for i, j in blocks]
        self.frames_of += [frames[:window], frames[len(frames) - min(window, len(frames)) :]]

    def add(self, chunk, start):
        for i, frames in enumerate(self.frames_of):
            here = frames[(frames >= start) & (frames < start + len(chunk))] - start
            if len(here):
                self.total[i] += chunk[here].sum(axis=0, dtype=np.float64)
                self.n[i] += len(here)

    def images(self):
        n = np.where(self.n > 0, self.n, np.nan)[:, None, None]
        images = (self.total / n).astype(np.float32)
        return images[-2], images[-1], images[:-2]
