"""The local field potential: fewer channels and samples, drift removed, re-referenced."""

import json
import logging
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numba import njit, prange
from scipy.signal import butter

from sluice.ephys.decimation import decimated_blocks, design_decimator
from sluice.ephys.traces import GOOD, OUTSIDE, load_channels
from sluice.errors import InputError
from sluice.qc import check, log_checks, save_checks

logger = logging.getLogger(__name__)

# What is left of the unknown future where the backward filter of a block starts.
FORGOTTEN = 1e-9


def choose_channels(table, *, channel_step, first_channel):
    """Keep one usable channel of every `channel_step`, shank by shank.

    The channels of a shank are ordered from the tip to the top and cut into groups of
    `channel_step`; of each the one at place `first_channel` is kept, or the nearest usable
    one if that is dead, noisy or a reference contact. A group without a usable channel
    gives none, so everything that is kept is usable.

    Allen (AllenSDK, lfp_subsampling) takes channels 2, 6, 10, … of NP1.0, where the order of
    the channels is that of depth, drops bad ones, and stops 40 channels above the surface;
    here all outside channels are kept too.

    Parameters
    ----------
    table : DataFrame
        Columns `CHANNEL_COLUMNS`.
    channel_step, first_channel : int

    Returns
    -------
    ndarray of int64, shape (n_kept,)
        Channels, by shank and then from the tip to the top.
    """
    usable = is_usable(table)
    order = np.lexsort((table["x_um"], table["y_um"]))
    kept = []
    for shank in sorted(table["shank"].unique()):
        ranked = order[table["shank"].to_numpy()[order] == shank]
        for start in range(0, len(ranked), channel_step):
            group = ranked[start : start + channel_step]
            places = np.flatnonzero(usable[group])
            if places.size:
                kept.append(group[places[np.abs(places - first_channel).argmin()]])
    return np.array(kept, np.int64)


def is_usable(table):
    """Mask of the channels that record something: good or outside, and no reference."""
    labels = table["label"].to_numpy()
    return np.isin(labels, (GOOD, OUTSIDE)) & ~table["is_reference"].to_numpy(bool)


def choose_reference(table, surfaces, *, max_channels):
    """Choose the usable channels above the surface, those nearest to it first.

    The shanks of a probe share the electrode and the headstage that they are measured
    against, so the outside channels of all shanks serve them all.

    Parameters
    ----------
    table : DataFrame
        Columns `CHANNEL_COLUMNS`.
    surfaces : list of dict
        Rows of ``surface.json``.
    max_channels : int
        Allen: 50, as the uppermost channels may be in air.

    Returns
    -------
    ndarray of int64, shape (n_reference,)
        Ascending.
    """
    surface_um = {row["shank"]: row["surface_y_um"] for row in surfaces}
    above_um = np.array(
        [
            -1.0 if surface_um.get(shank) is None else y - surface_um[shank]
            for shank, y in zip(table["shank"], table["y_um"], strict=True)
        ]
    )
    candidates = np.flatnonzero((above_um > 0) & is_usable(table))
    nearest = candidates[np.argsort(above_um[candidates], kind="stable")]
    return np.sort(nearest[:max_channels])


@njit(cache=True, nogil=True)
def _highpass_forward(traces, weight, pole, last_in, last_out):
    """First-order high-pass in place; `last_in` and `last_out` are carried on."""
    for t in range(traces.shape[0]):
        for c in range(traces.shape[1]):
            value = np.float64(traces[t, c])
            last_out[c] = weight * (value - last_in[c]) + pole * last_out[c]
            last_in[c] = value
            traces[t, c] = last_out[c]


@njit(cache=True, nogil=True)
def _highpass_backward(traces, n_wanted, weight, pole):
    """First-order high-pass from the end to the start; the first `n_wanted` samples of it."""
    n_samples, n_channels = traces.shape
    out = np.empty((n_wanted, n_channels), np.float32)
    last_in = traces[n_samples - 1].astype(np.float64)
    last_out = np.zeros(n_channels)
    for t in range(n_samples - 1, -1, -1):
        for c in range(n_channels):
            value = np.float64(traces[t, c])
            last_out[c] = weight * (value - last_in[c]) + pole * last_out[c]
            last_in[c] = value
            if t < n_wanted:
                out[t, c] = last_out[c]
    return out


def highpassed_blocks(blocks, *, sampling_rate_hz, cutoff_hz):
    """High-pass a stream of blocks forward and backward (Butterworth, order 1).

    Allen (AllenSDK, lfp_subsampling): butter of order 1 at 0.1 Hz, filtfilt. The forward
    filter carries its state from block to block and is exact; the backward filter of a
    block starts so far behind it that what it does not know of the rest has decayed to
    1e-9 of the signal: 33 s at 0.1 Hz, or 1e-5 µV of a signal of 10 mV. At both ends the
    signal is taken to go on at its last value, as in ``filtfilt(padtype=None)``.

    Parameters
    ----------
    blocks : iterable of ndarray of float32, shape (n_block, n_channels)
        Overwritten.
    sampling_rate_hz, cutoff_hz : float

    Yields
    ------
    ndarray of float32, shape (n_any, n_channels)
        Together as many samples as came in.
    """
    (weight, _), (_, pole) = butter(1, cutoff_hz, "highpass", fs=sampling_rate_hz)
    pole = -pole
    ahead = int(np.ceil(np.log(FORGOTTEN) / np.log(pole)))
    waiting, n_waiting, last_in = [], 0, None
    for block in blocks:
        if last_in is None:
            last_in = block[0].astype(np.float64)
            last_out = np.zeros_like(last_in)
        _highpass_forward(block, weight, pole, last_in, last_out)
        waiting.append(block)
        n_waiting += len(block)
        # with as much to give as to look ahead, each sample is filtered twice
        if n_waiting >= 2 * ahead:
            known = np.concatenate(waiting)
            yield _highpass_backward(known, n_waiting - ahead, weight, pole)
            waiting, n_waiting = [known[n_waiting - ahead :].copy()], ahead
    if n_waiting:
        yield _highpass_backward(np.concatenate(waiting), n_waiting, weight, pole)


@njit(cache=True, nogil=True, parallel=True)
def _subtract_median(traces, kept, reference):
    """The kept columns, minus the median of the reference columns at each sample."""
    out = np.empty((traces.shape[0], len(kept)), np.float32)
    for t in prange(traces.shape[0]):
        common = np.float32(0)
        if len(reference):
            common = np.float32(np.median(traces[t][reference]))
        for i in range(len(kept)):
            out[t, i] = traces[t, kept[i]] - common
    return out


def to_int16(traces_uv, gain_uv):
    """Round µV to bits; what does not fit takes the nearest value that does.

    Parameters
    ----------
    traces_uv : ndarray of float32, shape (n_samples, n_channels)
    gain_uv : ndarray of float, shape (n_channels,)
        µV per bit.

    Returns
    -------
    bits : ndarray of int16, shape (n_samples, n_channels)
    n_clipped : int
        Values that did not fit.
    """
    bits = np.rint(traces_uv / gain_uv.astype(np.float32))
    limits = np.iinfo(np.int16)
    n_clipped = np.count_nonzero((bits < limits.min) | (bits > limits.max))
    return np.clip(bits, limits.min, limits.max).astype(np.int16), int(n_clipped)


@contextmanager
def _npy_writer(path, dtype, shape):
    """Write a .npy file piece by piece: yields the function that appends a piece."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with Path(path).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        yield lambda piece: file.write(np.ascontiguousarray(piece, dtype).data)


def _choose_band(recording, lf_recording, table, settings, name):
    """Recording, gain of all channels, and by how much to decimate."""
    if lf_recording is None:
        to_lf = max(1, round(recording.sampling_frequency / settings["lf_rate_hz"]))
        return recording, table["gain_uv"].to_numpy(float), to_lf * settings["sample_step"]
    gains = lf_recording.get_channel_gains()
    if gains is None or len(gains) != len(table):
        found = "no gain" if gains is None else f"{len(gains)} channels"
        raise InputError(
            f"{name}: the LF band has {found}; expected the {len(table)} channels of the AP "
            "band with their gain in µV per bit. Check the .lf.meta file."
        )
    return lf_recording, np.asarray(gains, float), settings["sample_step"]


def extract_lfp_file(
    *,
    recording,
    lf_recording,
    channels,
    surface,
    data,
    times,
    raw_ind,
    local_coordinates,
    microvolts_per_bit,
    labels,
    checks,
    settings,
    name="probe",
):
    """Write the LFP of one probe.

    In this order, as Allen (AllenSDK, lfp_subsampling): every `channel_step`-th channel,
    low-pass and every `sample_step`-th sample, 0.1 Hz high-pass, minus the median of the
    channels outside the brain. Differences from Allen:

    - Between the steps values stay in float32 µV; Allen truncates to int16 after each of the
      three, which is an error of up to one bit each, towards zero. Here it is rounded once.
    - The median is over all usable channels above the surface (at most
      `max_reference_channels`), not over the kept ones only: four times as many, half the
      noise. As in Allen's code it is the median, though its documentation says mean.
    - With fewer than `min_reference_channels` of them the reference is left as it was, and
      the checks say so. Allen subtracts the median of nothing there, which is NaN.
    - AIND (aind-ecephys-nwb) subtracts the reference first and removes drift last. Then
      channels with different offsets enter the median, and it follows the one in the middle
      rather than what they have in common; so Allen's order is kept.

    Where there is no LF band, the AP band is brought to about `lf_rate_hz` on the way, by
    the nearest integer factor. The AP band of NP1.0 is high-passed at 300 Hz by the
    hardware, and so is an LFP taken from it.

    The time of output sample k is that of input sample ``k * factor``, counted from the
    first sample of the recording, by its own clock.

    Parameters
    ----------
    recording, lf_recording : BaseRecording
        AP band, and LF band or None; one segment each, the same channels.
    channels, surface : path
        ``channels.tsv`` and ``surface.json`` of `check_probe`.
    data : path
        npy, int16, shape (n_samples, n_kept): LFP in bits; written.
    times : path
        npy, float64, shape (n_samples,): seconds; written.
    raw_ind : path
        npy, int32, shape (n_kept,): index in the raw file; written.
    local_coordinates : path
        npy, float64, shape (n_kept, 2): x and y (µm); written.
    microvolts_per_bit : path
        npy, float64, shape (n_kept,): gain of `data`, that of the band it is taken from;
        written.
    labels : path
        npy, int16, shape (n_kept,): 0 good, 3 outside the brain; written.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``ephys.extract_lfp``.
    name : str
        How messages call the probe.

    Raises
    ------
    InputError
        The LF band does not fit the channels, or no channel can be used.
    """
    table = load_channels(channels)
    surfaces = json.loads(Path(surface).read_text())["shanks"]
    band, gain_uv, factor = _choose_band(recording, lf_recording, table, settings, name)
    kept = choose_channels(
        table, channel_step=settings["channel_step"], first_channel=settings["first_channel"]
    )
    if kept.size == 0:
        raise InputError(
            f"{name}: {channels} has no channel that is good or outside the brain; the LFP "
            "needs at least one. Check the recording; if it is useless, leave it out."
        )
    outside = np.empty(0, np.int64)
    if settings["reference"] == "outside":
        outside = choose_reference(table, surfaces, max_channels=settings["max_reference_channels"])
    reference = outside if len(outside) >= settings["min_reference_channels"] else outside[:0]
    n_clipped = _write_lfp(band, gain_uv, factor, kept, reference, data, times, settings)

    np.save(raw_ind, table["channel"].to_numpy(np.int32)[kept])
    np.save(local_coordinates, table[["x_um", "y_um"]].to_numpy(np.float64)[kept])
    np.save(microvolts_per_bit, gain_uv[kept])
    np.save(labels, table["label"].to_numpy(np.int16)[kept])
    n_values = -(-band.get_num_samples() // factor) * len(kept)
    found = _checks(len(outside), len(reference), n_clipped, n_values, settings)
    save_checks(found, checks)
    log_checks(found)


def _write_lfp(band, gain_uv, factor, kept, reference, data, times, settings):
    """Stream the LFP to its files; return how many values did not fit."""
    rate_hz = band.sampling_frequency
    n_out = -(-band.get_num_samples() // factor)
    needed = np.union1d(kept, reference)
    blocks = decimated_blocks(band, needed, gain_uv[needed], design_decimator(rate_hz, factor))
    blocks = highpassed_blocks(
        blocks, sampling_rate_hz=rate_hz / factor, cutoff_hz=settings["highpass_hz"]
    )
    kept_columns = np.searchsorted(needed, kept)
    reference_columns = np.searchsorted(needed, reference)
    n_done = n_clipped = 0
    with (
        _npy_writer(data, np.int16, (n_out, len(kept))) as write_data,
        _npy_writer(times, np.float64, (n_out,)) as write_times,
    ):
        for block in blocks:
            lfp_uv = _subtract_median(block, kept_columns, reference_columns)
            bits, n = to_int16(lfp_uv, gain_uv[kept])
            n_clipped += n
            write_data(bits)
            write_times(np.arange(n_done, n_done + len(bits)) * factor / rate_hz)
            n_done += len(bits)
            logger.info("%.0f of %.0f s", n_done * factor / rate_hz, n_out * factor / rate_hz)
    return n_clipped


def _checks(n_outside, n_reference, n_clipped, n_values, settings):
    """Judge the reference and what did not fit."""
    thresholds = settings["checks"]
    found = [
        check(
            "lfp_clipped_fraction",
            n_clipped / n_values,
            message=f"{n_clipped} values did not fit int16",
            **thresholds["lfp_clipped_fraction"],
        )
    ]
    if settings["reference"] == "none":
        return found
    if n_reference:
        message = f"the median of {n_reference} channels outside the brain is subtracted"
    else:
        message = f"{n_outside} channels outside the brain: the reference is left as it was"
    reference = check(
        "lfp_reference_channels",
        n_reference,
        message=message,
        **thresholds["lfp_reference_channels"],
    )
    return [reference, *found]
