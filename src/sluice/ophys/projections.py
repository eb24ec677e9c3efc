"""Means and maxima of a movie while it is registered, batch by batch."""

from dataclasses import dataclass

import numpy as np

MIN_PARTS, MAX_PARTS = 5, 50


@dataclass(frozen=True)
class Projections:
    """Images of a movie before and after registration; see `Accumulator`.

    Attributes
    ----------
    raw_mean, mean, max : float32 array, shape (height, width)
        Mean before, mean after, maximum over bins after; stored values.
    block_means : float32 array, shape (n_parts, height, width)
        Means over parts of the registered movie; see `part_frames`.
    """

    raw_mean: np.ndarray
    mean: np.ndarray
    max: np.ndarray
    block_means: np.ndarray


def part_frames(counted, n_frames, *, sampling_rate_hz, block_s):
    """Assign frames to the parts of the movie that residual motion is measured on.

    Parts are consecutive frames that last `block_s`. Where the movie has more than 50 of them,
    50 spread evenly from its start to its end are taken, not longer ones: motion faster than
    a part averages out in it. Where it has less than 5, it is cut into 5.

    Parameters
    ----------
    counted : int array, shape (n_counted,)
        Frames that count, ascending.
    n_frames : int
    sampling_rate_hz, block_s : float

    Returns
    -------
    int64 array, shape (n_frames,)
        Part of each frame; -1 for one that is in none.
    """
    n = len(counted)
    length = max(1, round(block_s * sampling_rate_hz))
    part_of = np.full(n_frames, -1, np.int64)
    if n // length > MAX_PARTS:
        starts = np.linspace(0, n - length, MAX_PARTS).round().astype(np.int64)
        for k, start in enumerate(starts):
            part_of[counted[start : start + length]] = k
        return part_of
    n_parts = min(max(n // length, MIN_PARTS), n)
    part_of[counted] = np.arange(n) * n_parts // n
    return part_of


@dataclass
class Accumulator:
    """Means and maxima of the movie over the frames that count."""

    part_of: np.ndarray  # part for residual motion of each frame, -1 for one that is in none
    bin_of: np.ndarray  # bin for the maximum projection, -1 for a frame that does not count
    raw_sum: np.ndarray
    sum: np.ndarray
    part_sums: np.ndarray
    max: np.ndarray
    bin_sum: np.ndarray
    counts: np.ndarray  # frames in each bin
    bin: int = 0

    @classmethod
    def start(cls, info, is_bad, settings):
        """Assign frames to parts and bins; where all are bad, all count."""
        counted = np.flatnonzero(~is_bad) if not is_bad.all() else np.arange(len(is_bad))
        n = len(counted)
        part_of = part_frames(
            counted,
            info.n_frames,
            sampling_rate_hz=info.sampling_rate_hz,
            block_s=settings["residual_block_s"],
        )
        bin_frames = max(1, round(settings["max_projection_bin_s"] * info.sampling_rate_hz))
        n_bins = max(1, n // bin_frames)
        bin_of = np.full(info.n_frames, -1)
        # the frames that are left over join the last bin
        bin_of[counted] = np.minimum(np.arange(n) // bin_frames, n_bins - 1)
        shape = info.shape[1:]
        return cls(
            part_of=part_of,
            bin_of=bin_of,
            raw_sum=np.zeros(shape),
            sum=np.zeros(shape),
            part_sums=np.zeros((part_of.max() + 1, *shape)),
            max=np.full(shape, -np.inf),
            bin_sum=np.zeros(shape),
            counts=np.bincount(bin_of[counted], minlength=n_bins),
        )

    def add(self, start, raw, moved):
        """Add frames, in order."""
        places = np.arange(start, start + len(raw))
        counted = np.flatnonzero(self.bin_of[places] >= 0)
        self.raw_sum += raw[counted].sum(axis=0, dtype=np.float64)
        self.sum += moved[counted].sum(axis=0, dtype=np.float64)
        for i in counted:
            if self.part_of[start + i] >= 0:
                self.part_sums[self.part_of[start + i]] += moved[i]
            if self.bin_of[start + i] != self.bin:
                self._close_bin()
                self.bin = self.bin_of[start + i]
            self.bin_sum += moved[i]

    def _close_bin(self):
        np.maximum(self.max, self.bin_sum / self.counts[self.bin], out=self.max)
        self.bin_sum[:] = 0

    def finish(self):
        """Means and maximum of what was added."""
        self._close_bin()
        n_in_part = np.bincount(self.part_of[self.part_of >= 0])
        n = self.counts.sum()
        return Projections(
            raw_mean=(self.raw_sum / n).astype(np.float32),
            mean=(self.sum / n).astype(np.float32),
            max=self.max.astype(np.float32),
            block_means=(self.part_sums / n_in_part[:, None, None]).astype(np.float32),
        )
