"""Drift of the tissue along the probe, estimated and undone before sorting."""

from pathlib import Path

import numpy as np

from sluice.ephys.traces import GOOD, chunk_bounds, open_traces
from sluice.errors import UserError

SEED = 0  # of the stretches that the noise is estimated from
_CHUNK_SAMPLES = 30000


def correct_motion(folder, *, preset, n_threads=1):
    """Estimate the drift of each shank and interpolate its traces to undo it.

    Estimation and interpolation are SpikeInterface's (`compute_motion`,
    `interpolate_motion`), with one of its presets. Three things differ from
    `correct_motion` there: every shank is on its own, from its good channels; channels at
    the borders are extrapolated under every preset, since the traces keep all channels of
    the probe (some presets remove them); and the result is rounded to int16 again. Bad
    channels and reference contacts stay as they are, and so does a shank without spikes.

    Needs as much disk again as the traces while it runs.

    Parameters
    ----------
    folder : path
        Traces, filtered and not whitened, see `sluice.ephys.traces`. ``traces.bin`` is
        replaced. For each shank s a folder ``motion/shank<s>`` is written, which
        `spikeinterface.core.motion.Motion.load` reads; displacement in µm, positive where
        the tissue has moved up, towards the surface.
    preset : str
        SpikeInterface's name of it.
    n_threads : int

    Returns
    -------
    range_um : float
        Largest minus smallest displacement, of the shank where it is largest.
    n_clipped : int
        Values that did not fit int16.

    Raises
    ------
    UserError
        The motion of a shank cannot be estimated.
    """
    folder = Path(folder)
    traces, _, channels = open_traces(folder)
    del traces  # a mapped file stays in memory as it is read; it is read in chunks instead
    recording = _open_recording(folder)
    usable = (channels["label"] == GOOD) & ~channels["is_reference"].astype(bool)
    parts, range_um = [], 0.0
    for shank in sorted(channels["shank"][usable].unique()):
        columns = np.flatnonzero(usable & (channels["shank"] == shank))
        part = recording.select_channels(recording.channel_ids[columns])
        motion = _estimate(part, preset, n_threads, f"shank {shank}")
        if motion is None:
            continue
        motion.save(folder / "motion" / f"shank{shank}")
        low, high = motion.get_boundaries()
        range_um = max(range_um, float(high - low))
        parts.append((columns, _interpolated(part, motion, preset)))
    n_clipped = _replace_traces(folder, recording, parts)
    return range_um, n_clipped


def _open_recording(folder):
    """Open traces as a recording of SpikeInterface, with a probe."""
    import spikeinterface.core as si

    _, info, channels = open_traces(folder)
    recording = si.BinaryRecordingExtractor(
        [folder / "traces.bin"],
        sampling_frequency=info.sampling_rate_hz,
        dtype="int16",
        num_channels=info.n_channels,
        gain_to_uV=info.gain_uv,
        offset_to_uV=0.0,
        is_filtered=True,
    )
    recording.set_dummy_probe_from_locations(channels[["x_um", "y_um"]].to_numpy(float))
    return recording


def _estimate(recording, preset, n_threads, name):
    """Estimate the motion of one shank; None where there is no spike to see it by."""
    import spikeinterface.core as si
    import spikeinterface.preprocessing as sp

    # Computed here with a seed, and kept in the recording, where compute_motion finds it.
    si.get_noise_levels(
        recording, return_in_uV=False, random_slices_kwargs={"seed": SEED}, progress_bar=False
    )
    motion, info = sp.compute_motion(
        recording,
        preset=preset,
        output_motion_info=True,
        raise_error=False,
        n_jobs=n_threads,
        # Threads, since forking after numba has started its own is not safe.
        pool_engine="thread",
        chunk_duration="1s",
        progress_bar=False,
    )
    n_peaks = len(info["peaks"])
    if n_peaks == 0:
        print(f"{name}: no spikes, so no motion is estimated", flush=True)
        return None
    if motion is None:  # why is in the log: compute_motion warns with its reason
        raise UserError(
            f"{name}: ephys.preprocess_probe.motion = {preset!r} finds no motion from "
            f"{n_peaks} spikes on {recording.get_num_channels()} good channels. Try another "
            "preset, or leave it to the sorter: 'sorter'."
        )
    print(f"{name}: motion from {n_peaks} spikes: {motion}", flush=True)
    return motion


def _interpolated(recording, motion, preset):
    """Read-on-demand recording of one shank with its motion undone."""
    import spikeinterface.preprocessing as sp
    from spikeinterface.preprocessing.motion import motion_options_preset
    from spikeinterface.sortingcomponents.motion import interpolate_motion

    options = motion_options_preset[preset]["interpolate_motion_kwargs"]
    return interpolate_motion(
        sp.astype(recording, "float32"), motion, **(options | {"border_mode": "force_extrapolate"})
    )


def _replace_traces(folder, recording, parts):
    """Write corrected traces in the place of the old ones; return how many values clip."""
    limits = np.iinfo(np.int16)
    corrected = folder / "corrected.bin"
    n_clipped = 0
    with corrected.open("wb") as file:
        for start, stop in chunk_bounds(recording.get_num_samples(), _CHUNK_SAMPLES):
            traces = recording.get_traces(start_frame=start, end_frame=stop).copy()
            for columns, part in parts:
                moved = np.rint(part.get_traces(start_frame=start, end_frame=stop))
                n_clipped += int(np.count_nonzero((moved < limits.min) | (moved > limits.max)))
                traces[:, columns] = np.clip(moved, limits.min, limits.max)
            file.write(traces.data)
    corrected.replace(folder / "traces.bin")
    return n_clipped
