"""From the raw recording of one probe to the traces every later step reads."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from sluice.ephys.filters import filtered_blocks, highpass_sos, padding_samples
from sluice.ephys.reference import channel_offsets, group_channels, subtract_medians
from sluice.ephys.traces import (
    GOOD,
    TracesInfo,
    chunk_bounds,
    load_channels,
    save_channels,
    save_traces_info,
)
from sluice.ephys.whitening import (
    batch_bounds,
    condition_number,
    mean_covariance,
    whitening_matrix,
)
from sluice.errors import InputError, SettingsError
from sluice.qc import check, save_checks

CHUNK_SAMPLES = 32768  # about 25 MB of int16 at 384 channels
OFFSET_STRIDE = 10  # every tenth sample is plenty for the median of a pass
SECTION = "ephys.preprocess_probe"


def preprocess_probe_file(
    *, recording, channels, folder, checks, settings, n_threads=1, name="probe"
):
    """Write the preprocessed traces of one probe.

    Three methods. ``median`` (Allen): offset and group median subtracted
    (`sluice.ephys.reference`), zero-phase high-pass (`sluice.ephys.filters`).
    ``destripe`` (IBL): `sluice.ephys.destripe`. ``none``: the raw traces. Then, with a
    preset for ``motion``, drift is undone (`sluice.ephys.motion`).

    The raw recording is read once from start to end in chunks, and before that, for
    ``median``, the few stretches the offsets come from. (``destripe`` reads a third
    more, the margins of its chunks.)

    All channels are written, int16, with one gain, the smallest of all channels: a channel
    with a larger gain is multiplied by the ratio, so no channel loses precision. Values are
    rounded once, to the nearest integer, halves to even, and set to the nearest limit of
    int16 where they do not fit, which the check ``clipped_fraction`` counts.

    The traces stay unwhitened, because waveforms and amplitudes in µV are taken from them.
    With ``whiten: workflow`` the matrix is computed from them, and `sort_spikes` applies it
    when it hands the traces to the sorter.

    Parameters
    ----------
    recording : spikeinterface.core.BaseRecording
        AP band, int16, one segment, all neural channels of the probe.
    channels : path
        ``channels.tsv`` of `check_probe`: as many rows as the recording has channels.
    folder : path
        Folder to make. See `sluice.ephys.traces` for ``traces.bin``, ``traces.json`` and
        ``channels.tsv``; and

        - ``offsets.npy`` int16 (n_channels,), ``medians.npy`` int16 (n_samples, n_groups),
          ``median_groups.npy`` int16 (n_channels,), the column of ``medians.npy`` that was
          subtracted from the channel, -1 for none. In bits of the raw file: the raw traces
          are `sluice.ephys.reference.restore_raw` of the median-subtracted ones. With
          ``highpass_hz: null`` and one gain those are ``traces.bin``. With the methods
          ``destripe`` and ``none`` n_groups is 0, offsets are 0 and groups -1.
        - ``whitening.npy`` float32 (n_channels, n_channels), with ``whiten: workflow``
          only: ``whitened = traces_uv @ whitening.T``, unit variance. Rows and columns of
          bad channels and reference contacts are zero.
        - ``motion/shank<s>/``, with a preset for ``motion`` only: displacement over time
          and depth.
    checks : path
        Quality checks to write.
    settings : dict
        Section ``ephys.preprocess_probe``.
    n_threads : int
        Threads for SpikeInterface's functions. The kernels here use numba's threads, which
        the caller sets.
    name : str
        How messages call the probe.

    Raises
    ------
    InputError
        The recording and the table of channels do not fit, are of a kind that is not
        handled, or no channel is good.
    SettingsError
        The high-pass cutoff is not below half the sampling rate.
    UserError
        Motion cannot be estimated.
    """
    folder = Path(folder)
    table = load_channels(channels)
    _check_input(recording, table, channels, settings, name)
    folder.mkdir()
    save_channels(table, folder / "channels.tsv")
    gain_uv = float(table["gain_uv"].min())
    n_samples, n_channels = recording.get_num_samples(), len(table)
    usable = ((table["label"] == GOOD) & ~table["is_reference"].astype(bool)).to_numpy()
    scale = (table["gain_uv"].to_numpy() / gain_uv).astype(np.float32)

    # All matrices here are small, or there are threads already: more of them in the linear
    # algebra would only wait for each other.
    with threadpool_limits(1, user_api="blas"):
        found = []
        groups = np.full(n_channels, -1, dtype=np.int16)
        if settings["method"] == "median":
            groups, n_clipped = _write_median(recording, table, folder, scale, settings)
            found.append(_check_medians(groups, usable, settings["checks"]))
        else:
            n_clipped = _write_other(recording, table, folder, scale, settings, n_threads)
        np.save(folder / "median_groups.npy", groups)
        save_traces_info(
            TracesInfo(
                recording.get_sampling_frequency(),
                n_samples,
                n_channels,
                gain_uv,
                median_subtracted=settings["method"] != "none",
            ),
            folder,
        )
        if settings["motion"] != "sorter":
            motion, n_more = _correct_motion(folder, settings, n_threads)
            found.append(motion)
            n_clipped += n_more
        if settings["whiten"] == "workflow":
            found.append(_save_whitening(folder, table, usable, n_samples, gain_uv, settings))
    found.append(
        check(
            "clipped_fraction",
            n_clipped / (n_samples * n_channels),
            message=f"{n_clipped} values did not fit int16",
            **settings["checks"]["clipped_fraction"],
        )
    )
    save_checks(found, checks)


def read_chunks(read, n_samples, chunk_samples, *, n_threads=1):
    """Read a recording from start to end, ahead of who uses it.

    Parameters
    ----------
    read : callable
        ``read(start, stop)`` gives an array of shape (stop - start, n_channels).
    n_samples, chunk_samples : int
        Length of the recording and of a chunk.
    n_threads : int
        Chunks that are read at one time, and how many are read ahead.

    Yields
    ------
    array, shape (n_chunk, n_channels)
        In order.
    """
    with ThreadPoolExecutor(n_threads) as pool:
        ahead = deque()
        for start, stop in chunk_bounds(n_samples, chunk_samples):
            ahead.append(pool.submit(read, start, stop))
            if len(ahead) > n_threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def rescaled(traces, scale):
    """Multiply channels by a factor and bring them to int16.

    Parameters
    ----------
    traces : int16 or float32, shape (n_samples, n_channels)
    scale : float32, shape (n_channels,)

    Returns
    -------
    out : int16, shape (n_samples, n_channels)
        Rounded to the nearest integer (halves to even), set to the nearest limit of int16
        where it does not fit.
    n_clipped : int
        Values that did not fit.
    """
    if traces.dtype == np.int16 and np.all(scale == 1):
        return traces, 0
    values = np.rint(traces * scale)
    limits = np.iinfo(np.int16)
    n_clipped = np.count_nonzero((values < limits.min) | (values > limits.max))
    return np.clip(values, limits.min, limits.max).astype(np.int16), int(n_clipped)


def _check_input(recording, table, channels, settings, name):
    """Raise what a user can mend before anything is written."""
    if recording.get_num_segments() != 1:
        raise InputError(
            f"{name}: the recording has {recording.get_num_segments()} segments; expected 1."
        )
    if recording.get_dtype() != np.int16:
        raise InputError(
            f"{name}: the recording is {recording.get_dtype()}; expected int16. Convert it."
        )
    if recording.get_num_channels() != len(table):
        raise InputError(
            f"{name}: {channels} has {len(table)} channels, the recording has "
            f"{recording.get_num_channels()}. Was it replaced after check_probe? Run that again."
        )
    if not (table["gain_uv"] > 0).all():
        wrong = table.loc[~(table["gain_uv"] > 0), "channel_id"].tolist()
        raise InputError(f"{name}: gain_uv is not above 0 for {', '.join(wrong)} in {channels}.")
    if not ((table["label"] == GOOD) & ~table["is_reference"].astype(bool)).any():
        raise InputError(
            f"{name}: none of the {len(table)} channels in {channels} is good, so nothing can be "
            "sorted. "
            "Look at check_probe's figure; if the labels are wrong, change the thresholds in "
            "ephys.check_probe, otherwise leave the probe out of the table of streams."
        )
    rate_hz = recording.get_sampling_frequency()
    cutoff_hz, order = _highpass_of(settings)
    if cutoff_hz is None:
        shortest = 1
    else:
        if cutoff_hz >= rate_hz / 2:
            raise SettingsError(
                f"{name}: the high-pass cutoff in {SECTION} is {cutoff_hz:g} Hz; it must be below "
                f"half the sampling rate of {rate_hz:g} Hz."
            )
        shortest = padding_samples(highpass_sos(cutoff_hz, order, rate_hz)) + 1
    if recording.get_num_samples() < shortest:
        raise InputError(
            f"{name}: the recording has {recording.get_num_samples()} samples; at least {shortest} "
            "are needed."
        )


def _highpass_of(settings):
    """Cutoff (Hz, None for no filter) and order of the method's high-pass."""
    if settings["method"] == "none":
        return None, None
    section = settings["destripe"] if settings["method"] == "destripe" else settings
    return section["highpass_hz"], section["highpass_order"]


def _write_median(recording, table, folder, scale, settings):
    """Method ``median``: write the files, return the groups and how many values clipped."""
    rate_hz, n_samples = recording.get_sampling_frequency(), recording.get_num_samples()
    offsets = channel_offsets(_offset_passes(recording, settings))
    np.save(folder / "offsets.npy", offsets)
    groups = group_channels(table, min_channels=settings["median_min_channels"])
    n_saturated = 0

    def subtracted(medians_file):
        nonlocal n_saturated
        for raw in read_chunks(_raw_reader(recording), n_samples, CHUNK_SAMPLES):
            traces, medians, n = subtract_medians(raw, offsets, groups)
            n_saturated += n
            medians_file.write(medians.data)
            yield traces

    with _open_medians(folder, n_samples, groups.n_groups) as medians_file:
        blocks = subtracted(medians_file)
        if settings["highpass_hz"] is None:
            finished = (rescaled(traces, scale) for traces in blocks)
        else:
            sos = highpass_sos(settings["highpass_hz"], settings["highpass_order"], rate_hz)
            finished = filtered_blocks(blocks, sos, scale=scale)
        n_clipped = _write_traces(finished, folder, n_samples, rate_hz)
    return groups.group_of, n_saturated + n_clipped


def _write_other(recording, table, folder, scale, settings, n_threads):
    """Methods ``destripe`` and ``none``: write the files, return how many values clipped."""
    n_samples = recording.get_num_samples()
    np.save(folder / "offsets.npy", np.zeros(len(table), dtype=np.int16))
    _open_medians(folder, n_samples, 0).close()
    if settings["method"] == "destripe":
        from sluice.ephys.destripe import destriped_reader

        read = destriped_reader(recording, table, settings=settings["destripe"])
        # SpikeInterface needs ten times a chunk, on each of the threads.
        chunks = read_chunks(read, n_samples, CHUNK_SAMPLES // 2, n_threads=n_threads)
    else:
        chunks = read_chunks(_raw_reader(recording), n_samples, CHUNK_SAMPLES)
    finished = (rescaled(traces, scale) for traces in chunks)
    return _write_traces(finished, folder, n_samples, recording.get_sampling_frequency())


def _raw_reader(recording):
    """Reader of raw traces: int16, C-contiguous."""

    def read(start, stop):
        return np.ascontiguousarray(recording.get_traces(start_frame=start, end_frame=stop))

    return read


def _offset_passes(recording, settings):
    """Stretches of the recording for the offsets, evenly spread, every tenth sample.

    Allen takes them from the start of the recording, 5 s apart; spread over the whole of it
    they still fit where the offsets move.
    """
    n_samples, n_passes = recording.get_num_samples(), settings["offset_passes"]
    wanted = round(settings["offset_pass_s"] * recording.get_sampling_frequency())
    for k in range(min(n_passes, n_samples)):
        start, end = k * n_samples // n_passes, (k + 1) * n_samples // n_passes
        pieces = [
            recording.get_traces(start_frame=start + first, end_frame=start + stop)[::OFFSET_STRIDE]
            for first, stop in chunk_bounds(max(min(wanted, end - start), 1), CHUNK_SAMPLES)
        ]
        yield np.concatenate(pieces)


def _open_medians(folder, n_samples, n_groups):
    """Start ``medians.npy``; its rows are appended as they come."""
    file = (folder / "medians.npy").open("wb")
    header = {"descr": "<i2", "fortran_order": False, "shape": (n_samples, n_groups)}
    np.lib.format.write_array_header_1_0(file, header)
    return file


def _write_traces(blocks, folder, n_samples, rate_hz):
    """Write ``traces.bin`` and show how far it is; return how many values clipped."""
    n_done, n_clipped, next_percent = 0, 0, 10
    with (folder / "traces.bin").open("wb") as file:
        for traces, n in blocks:
            file.write(traces.data)
            n_done += len(traces)
            n_clipped += n
            percent = 100 * n_done // n_samples
            if percent >= next_percent:
                done_s, all_s = n_done / rate_hz, n_samples / rate_hz
                print(f"{percent} % ({done_s:.0f} of {all_s:.0f} s)", flush=True)
                next_percent = 10 * (percent // 10 + 1)
    return n_clipped


def _correct_motion(folder, settings, n_threads):
    """Undo drift; return its check and how many values clipped."""
    from sluice.ephys.motion import correct_motion

    range_um, n_clipped = correct_motion(folder, preset=settings["motion"], n_threads=n_threads)
    thresholds = settings["checks"]["motion_range_um"]
    return check("motion_range_um", range_um, unit="µm", **thresholds), n_clipped


def _save_whitening(folder, table, usable, n_samples, gain_uv, settings):
    """Write ``whitening.npy`` of the finished traces; return its check."""
    bounds = batch_bounds(
        n_samples,
        every=settings["whitening_batch_step"],
        at_least=settings["whitening_min_batches"],
    )
    row_bytes = 2 * len(table)
    # Read, not mapped: mapped pages would count as this process's memory.
    batches = (
        np.fromfile(
            folder / "traces.bin", np.int16, (stop - start) * len(table), offset=start * row_bytes
        ).reshape(-1, len(table))
        for start, stop in bounds
    )
    matrix = whitening_matrix(
        mean_covariance(batches) * gain_uv**2,
        table[["x_um", "y_um"]].to_numpy(float),
        table["shank"].to_numpy(),
        usable,
        n_neighbors=settings["whitening_neighbors"],
        epsilon=settings["whitening_epsilon"],
    )
    np.save(folder / "whitening.npy", matrix)
    return check(
        "whitening_condition",
        condition_number(matrix, usable),
        message=f"condition number of the whitening matrix, from {len(bounds)} batches",
        **settings["checks"]["whitening_condition"],
    )


def _check_medians(groups, usable, thresholds):
    """Check that the good channels lost a median."""
    without = np.count_nonzero(groups[usable] < 0)
    return check(
        "channels_without_median",
        without / np.count_nonzero(usable),
        message=f"{without} good channels keep their common noise, because fewer than "
        "median_min_channels good channels are digitised together with them"
        if without
        else "",
        **thresholds["channels_without_median"],
    )
