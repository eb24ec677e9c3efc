"""Shifts of frames: outliers, bad frames, and the part of the image that all frames show."""

import numpy as np
from scipy.ndimage import median_filter


def undo_bidirectional(frames, bidiphase):
    """Undo the offset between odd and even lines of bidirectional scanning.

    Every other line, starting with the second, is moved by `bidiphase` to the right. Pixels
    that nothing moves into keep their value, as in suite2p.

    Parameters
    ----------
    frames : array, shape (n_frames, height, width)
        As recorded.
    bidiphase : int
        px; that of ``registration.npz``, which the registered movie was made with. 0 where
        there is nothing to undo.

    Returns
    -------
    array, shape (n_frames, height, width)
        Of the type of `frames`; a copy, unless `bidiphase` is 0.
    """
    bidiphase = int(bidiphase)
    if bidiphase == 0:
        return frames
    moved = frames.copy()
    if bidiphase > 0:
        moved[:, 1::2, bidiphase:] = frames[:, 1::2, :-bidiphase]
    else:
        moved[:, 1::2, :bidiphase] = frames[:, 1::2, -bidiphase:]
    return moved


def clip_shifts(shifts_px, is_clear, *, shape_px, window, outlier_fraction):
    """Replace shifts that leave their running median by far.

    A single frame's correlation can peak at the wrong place, while the brain does not jump
    and come back. Where a shift is further than `outlier_fraction` of the image's height (for
    y) or width (for x) from its running median, that component takes the median's value
    (Allen, ophys_etl suite2p_registration). At its ends the series is continued by its end
    values.

    Allen replaces every such shift. In a small field 5 % are a few pixels, which an animal
    does move by within a frame, and the frame is then put in the wrong place; so a shift
    whose correlation peak is clear is kept.

    Parameters
    ----------
    shifts_px : float64 array, shape (n_frames, 2)
        y, x of each frame.
    is_clear : bool array, shape (n_frames,)
        The correlation has a peak that noise does not make.
    shape_px : tuple of int
        (height, width).
    window : int
        Frames of the running median; odd.
    outlier_fraction : float

    Returns
    -------
    shifts_px : float64 array, shape (n_frames, 2)
    is_clipped : bool array, shape (n_frames,)
        Either component was replaced.
    """
    median = median_filter(shifts_px, size=(window, 1), mode="nearest")
    is_outlier = np.abs(shifts_px - median) > outlier_fraction * np.asarray(shape_px)
    is_outlier &= ~is_clear[:, None]
    return np.where(is_outlier, median, shifts_px), is_outlier.any(axis=1)


def fill_shifts(shifts_px, is_missing):
    """Give missing frames the shift between those of the frames around them.

    Parameters
    ----------
    shifts_px : float64 array, shape (n_frames, 2)
    is_missing : bool array, shape (n_frames,)
        Not all.

    Returns
    -------
    float64 array, shape (n_frames, 2)
        Whole pixels where the others are.
    """
    filled = shifts_px.copy()
    seen = np.flatnonzero(~is_missing)
    gone = np.flatnonzero(is_missing)
    for axis in range(filled.shape[1]):
        filled[gone, axis] = np.rint(np.interp(gone, seen, shifts_px[seen, axis]))
    return filled


def find_frames_without_picture(correlation, is_clear, *, ratio, window=101):
    """Find frames that do not show the plane, as behind a closed shutter.

    Their correlation is far below that of the frames around them: less than `ratio` of its
    running median. Where such frames last for longer than half the window, the running median
    is theirs; so a frame without a clear peak is also judged by the median of the whole movie.
    One with a clear peak is not: the plane dims in a long movie, and is seen all the same.

    Parameters
    ----------
    correlation : float64 array, shape (n_frames,)
        Peak of the phase correlation with the reference.
    is_clear : bool array, shape (n_frames,)
        The correlation has a peak that noise does not make.
    ratio : float
        0 finds none.
    window : int
        Frames of the running median; odd.

    Returns
    -------
    bool array, shape (n_frames,)
    """
    found = np.maximum(correlation, 0)
    usual = median_filter(found, size=_odd_window(window, len(found)), mode="nearest")
    return (found < ratio * usual) | (~is_clear & (found < ratio * np.median(found)))


def _odd_window(window, n_frames):
    return min(window, (n_frames - 1) // 2 * 2 + 1)


def find_bad_frames(shifts_px, correlation, is_clear, *, limit_px, ratio, window=101):
    """Find frames whose place is not known.

    A frame is bad if d / c > 100 * `ratio`, d being the distance of its shift from the running
    median in units of the mean distance and c its correlation in units of the running median
    (suite2p, compute_crop), or if its shift is within 5 % of the largest that was searched
    for. The limit is that of the search, which goes by the smaller dimension of the image;
    suite2p's rule goes by height and width. The mean distance counts as 0.1 px at least: in a
    movie that stands still, one frame that moved by a pixel is not bad. And, unlike in
    suite2p, a frame with a clear peak is not bad for its distance: the plane did jump.

    Parameters
    ----------
    shifts_px : float64 array, shape (n_frames, 2)
    correlation : float64 array, shape (n_frames,)
        Peak of the phase correlation with the reference.
    is_clear : bool array, shape (n_frames,)
        The correlation has a peak that noise does not make.
    limit_px : float
        Largest shift that was searched for.
    ratio : float
    window : int
        Frames of the running medians; odd.

    Returns
    -------
    bool array, shape (n_frames,)
    """
    window = _odd_window(window, len(shifts_px))
    median = median_filter(shifts_px, size=(window, 1), mode="nearest")
    distance = np.hypot(*(shifts_px - median).T)
    distance = distance / max(distance.mean(), 0.1)
    usual = median_filter(correlation, size=window, mode="nearest")
    relative = np.maximum(correlation, 0) / np.maximum(usual, np.finfo(float).tiny)
    at_limit = (np.abs(shifts_px) > 0.95 * limit_px).any(axis=1)
    return ((distance > 100 * ratio * relative) & ~is_clear) | at_limit


def valid_range(lowest_px, highest_px, size_px):
    """Rows (or columns) of the registered image that every frame has seen.

    Row p of the registered frame is row p + s of the frame as recorded, s being its shift.
    suite2p crops all sides by the largest shift in either direction; here each side is
    cropped by what moved out of it.

    Parameters
    ----------
    lowest_px, highest_px : float64 array, shape (n_frames,)
        Least and greatest shift of any part of each frame along the axis; at least one frame.
    size_px : int
        Height (width) of the image.

    Returns
    -------
    start, stop : int
        Never empty: at least the middle row is kept.
    """
    start = int(np.ceil(max(0, -np.min(lowest_px))))
    stop = size_px - int(np.ceil(max(0, np.max(highest_px))))
    if stop > start:
        return start, stop
    return size_px // 2, size_px // 2 + 1
