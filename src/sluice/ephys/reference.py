"""Offset and median subtraction, exactly reversible.

Allen's order of things (ecephys_spike_sorting, modules depth_estimation and
median_subtraction): each channel loses its constant offset, then at every sample the
median over the channels that were digitised together. What was subtracted is kept, so the
raw data can be had back: ``raw = out + median + offset``.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from sluice.ephys.traces import GOOD

INT16_MIN, INT16_MAX = -32768, 32767
_ROWS = 64  # samples that go through the comparators together: 128 bytes of int16, two SIMD words


@dataclass(frozen=True)
class MedianGroups:
    """Which channels share a median, and the comparators that find it.

    Attributes
    ----------
    group_of : int16, shape (n_channels,)
        Column of the medians that is subtracted from each channel; -1: nothing is.
    members : int32, shape (n_members,)
        Channels the medians are taken over, group after group.
    member_starts : int32, shape (n_groups + 1,)
        Where each group begins in `members`.
    comparators : int32, shape (n_comparators, 2)
        The groups' selection networks, group after group; see `selection_network`.
    comparator_starts : int32, shape (n_groups + 1,)
        Where each group begins in `comparators`.
    """

    group_of: np.ndarray
    members: np.ndarray
    member_starts: np.ndarray
    comparators: np.ndarray
    comparator_starts: np.ndarray

    @property
    def n_groups(self):
        """Number of groups that have a median."""
        return len(self.member_starts) - 1


def selection_network(n):
    """Compare-and-swap steps after which the middle of `n` values is in the middle.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm 5.2.2M)
    without the steps that no middle value depends on. The steps do not depend on the
    values, so many samples go through them at once, one per SIMD lane.

    Parameters
    ----------
    n : int
        Number of values, at least 1.

    Returns
    -------
    comparators : int32, shape (n_comparators, 2)
        Positions (i, j), i < j; a step puts the smaller of the two at i. Afterwards
        positions ``(n - 1) // 2`` and ``n // 2`` are as in the sorted values.
    """
    steps = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    p = top
    while p > 0 and n > 1:
        q, r, distance = top, 0, p
        while True:
            steps += [(i, i + distance) for i in range(n - distance) if i & p == r]
            if q == p:
                break
            distance, q, r = q - p, q // 2, p
        p //= 2
    wanted = {(n - 1) // 2, n // 2}
    kept = []
    for step in reversed(steps):
        if wanted.intersection(step):
            kept.append(step)
            wanted.update(step)
    return np.array(kept[::-1], dtype=np.int32).reshape(-1, 2)


def group_channels(channels, *, min_channels=1):
    """Decide which channels share a median.

    Channels with the same ``median_group`` do: they are digitised together. The median is
    taken over good channels only (label 0, no reference contact) and subtracted from all
    channels of the group, bad ones and references too. Channels of one group that differ in
    gain are kept apart, because their bits are different voltages.

    A group with fewer than `min_channels` good channels gets no median: over few channels
    it would take the spikes away with the noise (over one channel, everything; over a
    tetrode, the spikes that all four contacts see). Allen's program subtracts what the
    previous group left in its buffer when a group has no good channel; here such a group
    is left as it is and `group_of` says so.

    Parameters
    ----------
    channels : DataFrame
        Columns ``median_group``, ``gain_uv``, ``label``, ``is_reference``.
    min_channels : int

    Returns
    -------
    MedianGroups
    """
    usable = ((channels["label"] == GOOD) & ~channels["is_reference"].astype(bool)).to_numpy()
    group_of = np.full(len(channels), -1, dtype=np.int16)
    members, networks = [], []
    for _, rows in sorted(channels.groupby(["median_group", "gain_uv"]).indices.items()):
        good = rows[usable[rows]]
        if len(good) < max(min_channels, 1):
            continue
        group_of[rows] = len(members)
        members.append(good)
        networks.append(selection_network(len(good)))
    return MedianGroups(
        group_of=group_of,
        members=np.concatenate([*members, []]).astype(np.int32),
        member_starts=np.cumsum([0, *map(len, members)], dtype=np.int32),
        comparators=np.concatenate([*networks, np.empty((0, 2))]).astype(np.int32),
        comparator_starts=np.cumsum([0, *map(len, networks)], dtype=np.int32),
    )


def channel_offsets(passes):
    """Find the constant offset of every channel.

    Median over the passes of each pass's median over time (Allen
    ecephys_spike_sorting, depth_estimation), rounded to the nearest integer, halves to even.

    Parameters
    ----------
    passes : iterable of int16 arrays, shape (n_samples, n_channels)
        Stretches of the raw recording, in bits.

    Returns
    -------
    offsets : int16, shape (n_channels,)
        In bits.
    """
    medians = [np.median(traces, axis=0) for traces in passes]
    return np.rint(np.median(medians, axis=0)).astype(np.int16)


def subtract_medians(traces, offsets, groups, out=None):
    """Subtract each channel's offset and each sample's group median.

    The median is the true one: the middle value of an odd number of channels, the mean of
    the two middle values of an even number, with halves rounded to the even integer so
    that it is not biased. Allen's program (SpikeBandMedianSubtraction) sorts with an end
    iterator one short, so its last channel of each group stays unsorted, and it takes the
    lower middle value; its result differs from the true lower median in about 40 % of
    samples.

    The arithmetic is done in int32 and only the results are brought to int16. Where an
    intermediate value or the result does not fit, it is set to the nearest limit, and
    ``traces = out + medians + offsets`` fails there; `n_saturated` counts the results set
    to a limit. Converters of 14 bits or fewer (all Neuropixels) cannot get there: three
    numbers below 2^13 in size do not add up to 2^15.

    Parameters
    ----------
    traces : int16, shape (n_samples, n_channels)
        Raw, in bits; C-contiguous.
    offsets : int16, shape (n_channels,)
        In bits; see `channel_offsets`.
    groups : MedianGroups
    out : int16, shape (n_samples, n_channels), optional
        Where to put the result; C-contiguous.

    Returns
    -------
    out : int16, shape (n_samples, n_channels)
        In bits.
    medians : int16, shape (n_samples, n_groups)
        In bits; ``traces == restore_raw(out, medians, offsets, groups.group_of)``.
    n_saturated : int
        Values of `out` that did not fit int16.
    """
    medians = np.empty((len(traces), groups.n_groups), dtype=np.int16)
    if out is None:
        out = np.empty_like(traces)
    n_saturated = _subtract(
        traces,
        offsets.astype(np.int32),
        groups.group_of.astype(np.int32),
        groups.members,
        groups.member_starts,
        groups.comparators,
        groups.comparator_starts,
        medians,
        out,
    )
    return out, medians, int(n_saturated)


def restore_raw(out, medians, offsets, group_of):
    """Undo `subtract_medians`: ``raw = out + median + offset``.

    Parameters
    ----------
    out : int16, shape (n_samples, n_channels)
    medians : int16, shape (n_samples, n_groups)
    offsets : int16, shape (n_channels,)
    group_of : int16, shape (n_channels,)
        Column of `medians` for each channel, -1 where nothing was subtracted.

    Returns
    -------
    raw : int16, shape (n_samples, n_channels)
    """
    padded = np.pad(medians.astype(np.int32), ((0, 0), (0, 1)))  # the last column, zero, is -1's
    return (out + padded[:, group_of] + offsets.astype(np.int32)).astype(np.int16)


@njit(cache=True, nogil=True, parallel=True)
def _subtract(
    traces,
    offsets,
    group_of,
    members,
    member_starts,
    comparators,
    comparator_starts,
    medians,
    out,
):
    """Fill `medians` and `out`; return how many values of `out` were set to a limit."""
    n_samples, n_channels = traces.shape
    n_groups = len(member_starts) - 1
    largest = 0
    for g in range(n_groups):
        largest = max(largest, member_starts[g + 1] - member_starts[g])
    n_saturated = 0
    for block in prange((n_samples + _ROWS - 1) // _ROWS):
        start = block * _ROWS
        n_rows = min(_ROWS, n_samples - start)
        values = np.zeros((largest, _ROWS), np.int16)
        row_medians = np.zeros(n_groups + 1, np.int32)  # the last one, zero, is group -1's
        for g in range(n_groups):
            first = member_starts[g]
            size = member_starts[g + 1] - first
            for i in range(size):
                c = members[first + i]
                for t in range(n_rows):
                    value = np.int32(traces[start + t, c]) - offsets[c]
                    values[i, t] = min(max(value, INT16_MIN), INT16_MAX)
            for step in range(comparator_starts[g], comparator_starts[g + 1]):
                i, j = comparators[step, 0], comparators[step, 1]
                for t in range(_ROWS):
                    a, b = values[i, t], values[j, t]
                    values[i, t] = min(a, b)
                    values[j, t] = max(a, b)
            low, high = (size - 1) // 2, size // 2
            for t in range(n_rows):
                total = np.int32(values[low, t]) + np.int32(values[high, t])
                half = total >> 1
                # A half is left over where the total is odd: up to the even neighbour.
                medians[start + t, g] = half + (total & half & 1)
        for t in range(start, start + n_rows):
            for g in range(n_groups):
                row_medians[g] = medians[t, g]
            for c in range(n_channels):
                value = np.int32(traces[t, c]) - offsets[c] - row_medians[group_of[c]]
                fitting = min(max(value, INT16_MIN), INT16_MAX)
                n_saturated += value != fitting
                out[t, c] = fitting
    return n_saturated
