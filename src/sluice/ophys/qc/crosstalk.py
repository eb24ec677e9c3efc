"""Crosstalk: how much of a simultaneously recorded plane shows in this one."""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

from sluice.ophys.crosstalk import read_paired_frames
from sluice.ophys.plane import read_frames
from sluice.ophys.qc.sampling import intensity

MIN_PAIRS = 50
# The best offset must stand out of all others by this many standard deviations.
MIN_Z = 5.0
# Offsets that the figure shows.
SHOWN_PX = 15


@dataclass(frozen=True)
class Crosstalk:
    """Leak of the other plane into this one.

    Attributes
    ----------
    fraction : float or None
        Light of the other plane that arrives here; 0 where nothing stands out; None where
        it cannot be measured.
    offset_px : (int, int) or None
        Where the leak lies, y and x: 0 and 0 where both planes were scanned alike. None where
        nothing stands out.
    slopes : float64 array, shape (n, n), or None
        Fraction at every offset up to 15 px; offset 0 in the middle.
    message : str
    """

    fraction: float | None
    offset_px: tuple[int, int] | None
    slopes: np.ndarray | None
    message: str


def measure_crosstalk(
    registered, info, paired, shifts_px, pairs, mask, *, smooth_px, active_fraction, max_offset_px
):
    """Measure how much of the activity of another plane shows at the same place here.

    Activity, not the mean image, so that vessels and brightness that both planes share do
    not count. The frames of the other plane are moved by this plane's shifts, as its light
    lands where this plane's beam is. Of each sampled pair of consecutive frames both are
    smoothed, their surroundings subtracted, and the previous sampled pair subtracted (only
    changes are left, no drift and no bleaching). The pixels of the other plane that change
    most (`active_fraction`) are looked for in this plane at every offset: ``slope = sum(here
    * there) / sum(there * there)``. Each product is of the first frame of a pair with the
    second of it, so that the noise of a frame never meets itself: the slope is not weakened
    by noise, and noise that both share does not count.

    The fraction is the slope at the best offset of at most `max_offset_px`, above the median
    of all others, if it stands out of them by 5 standard deviations: activity that
    both planes share by nature has no such place. A cell that both planes contain looks like
    crosstalk.

    The offset between odd and even lines of bidirectional scanning is undone in this plane,
    whose movie is registered, but not in the other, of which it is not known (see
    `read_paired_frames`): where it is large the fraction is a little too small.

    `sluice.ophys.crosstalk` measures on ROIs, to remove it; this needs none and is made of
    other data: the two should agree.

    Parameters
    ----------
    registered : path
        ``registered.bin`` of this plane.
    info : PlaneInfo
    paired : PairedPlane
        The other plane before its registration.
    shifts_px : float array, shape (n_frames, 2)
        This plane's, y and x.
    pairs : int array, shape (n_pairs,)
        First frames of pairs.
    mask : bool array, shape (height, width)
    smooth_px : float
        Gaussian; the surroundings are those of one five times as wide.
    active_fraction : float
    max_offset_px : int

    Returns
    -------
    Crosstalk
    """
    pairs = pairs[~paired.is_missing[pairs] & ~paired.is_missing[pairs + 1]]
    if len(pairs) < MIN_PAIRS:
        message = f"{len(pairs)} pairs of frames; at least {MIN_PAIRS} are needed"
        return Crosstalk(None, None, None, message)

    def here():
        for t in pairs:
            yield intensity(read_frames(registered, info, t, t + 2), info)

    def there():
        for t in pairs:
            yield intensity(read_paired_frames(paired, shifts_px, t, t + 2), paired.info)

    activity = sum(first * second for first, second in _changes(there(), smooth_px))
    active = mask & (activity >= max(np.quantile(activity[mask], 1 - active_fraction), 1e-12))
    if not active.any():
        return Crosstalk(None, None, None, "the other plane has no activity to look for")
    total = 0.0
    for ours, theirs in zip(_changes(here(), smooth_px), _changes(there(), smooth_px), strict=True):
        a = [fft.rfft2(np.where(mask, image, 0)) for image in ours]
        b = [fft.rfft2(np.where(active, image, 0)) for image in theirs]
        total = total + a[0] * np.conj(b[1]) + a[1] * np.conj(b[0])
    surface = fft.fftshift(fft.irfft2(total, s=mask.shape)) / 2 / activity[active].sum()
    return _judge(surface, max_offset_px)


def _changes(pairs, smooth_px):
    """Yield both frames of each pair, local, minus those of the pair before."""
    before = None
    for pair in pairs:
        local = [
            gaussian_filter(frame, smooth_px) - gaussian_filter(frame, 5 * smooth_px)
            for frame in pair
        ]
        if before is not None:
            yield [now - then for now, then in zip(local, before, strict=True)]
        before = local


def _judge(surface, max_offset_px):
    """Find the offset that stands out of all others."""
    middle = [n // 2 for n in surface.shape]
    shown = tuple(slice(m - k, m + k + 1) for m, k in _reach(middle, SHOWN_PX))
    searched = tuple(slice(m - k, m + k + 1) for m, k in _reach(middle, max_offset_px))
    near = surface[searched]
    y, x = np.unravel_index(near.argmax(), near.shape)
    offset = int(y - near.shape[0] // 2), int(x - near.shape[1] // 2)
    slopes = surface[shown]
    # the null: every offset but those around the best one
    others = np.ones(surface.shape, bool)
    around = [slice(max(0, m + o - 8), m + o + 9) for m, o in zip(middle, offset, strict=True)]
    others[tuple(around)] = False
    spread = 1.4826 * np.median(np.abs(surface[others] - np.median(surface[others])))
    spread = max(spread, surface[others].std())
    value = float(near[y, x] - np.median(surface[others]))
    if spread == 0 or value < MIN_Z * spread:
        message = "activity of the other plane shows at no place of this one"
        return Crosstalk(0.0, None, slopes, message)
    message = f"{100 * value:.1f} % of the other plane, displaced by y {offset[0]}, x {offset[1]}"
    return Crosstalk(value, offset, slopes, message)


def _reach(middle, reach_px):
    return [(m, min(reach_px, m - 1)) for m in middle]
