"""Time of median subtraction and high-pass beside SpikeInterface's same chain.

    python benchmarks/preprocess_probe.py [--seconds 60] [--threads 2] [--runs 3]

One made-up Neuropixels 1.0 recording of noise (384 channels and sync, SpikeGLX's layout),
read through the workflow's own reader and written as int16 by both. SpikeInterface:
`common_reference` (median, the 24 groups), `highpass_filter` (150 Hz, order 3) and
`write_binary_recording` with as many processes as `--threads`, chunks of 1 s. Ours includes
what SpikeInterface does not do: the offsets and the file of medians. The runs alternate, so
that a busy machine is busy for both. CPU time is of all processes. The first run, which
compiles, is not counted.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import psutil
from threadpoolctl import threadpool_limits

from sluice.ephys.preprocess_probe import preprocess_probe_file
from sluice.ephys.traces import open_traces, save_channels
from sluice.io.recording import RawRecording
from sluice.settings import validate_settings

N_CHANNELS = 384
RATE_HZ = 30_000
GAIN_UV = 2.34375


def write_raw(path, duration_s, rng):
    """Write noise of 8 bits per channel and 10 in common.

    Channels have no offset, since SpikeInterface's chain would leave it in the median.
    """
    common = rng.normal(0, 10, (4, RATE_HZ, 1))
    seconds = np.rint(rng.normal(0, 8, (4, RATE_HZ, N_CHANNELS + 1)) + common).astype(np.int16)
    with path.open("wb") as file:
        for k in range(duration_s):
            file.write(seconds[k % 4].data)


def channel_table():
    """Table of a complete Neuropixels 1.0 probe, all channels good."""
    index = np.arange(N_CHANNELS)
    return pd.DataFrame(
        {
            "channel": index,
            "channel_id": [f"AP{c}" for c in index],
            "x_um": np.array([43.0, 11.0, 59.0, 27.0])[index % 4],
            "y_um": index // 2 * 20.0,
            "shank": 0,
            "gain_uv": GAIN_UV,
            "median_group": index % 24,
            "sample_shift": 0.0,
            "is_reference": False,
            "label": 0,
            "rms_uv": 20.0,
        }
    )


def run_ours(recording, folder, **changes):
    """Run `preprocess_probe`."""
    section = {"whiten": "sorter"} | changes
    settings = validate_settings({"ephys": {"preprocess_probe": section}})
    shutil.rmtree(folder / "ours", ignore_errors=True)
    preprocess_probe_file(
        recording=recording,
        channels=folder / "channels.tsv",
        folder=folder / "ours",
        checks=folder / "checks.json",
        settings=settings["ephys"]["preprocess_probe"],
    )


def run_peer(recording, folder, n_threads):
    """Run SpikeInterface's chain."""
    import spikeinterface.core as si
    import spikeinterface.preprocessing as sp

    groups = [recording.channel_ids[g::24] for g in range(24)]
    chain = sp.common_reference(recording, operator="median", groups=groups)
    chain = sp.highpass_filter(chain, freq_min=150.0, filter_order=3)
    si.write_binary_recording(
        chain,
        folder / "peer.bin",
        n_jobs=n_threads,
        chunk_duration="1s",
        progress_bar=False,
    )


def cpu_s():
    """CPU seconds of this process and its finished children."""
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if absent")
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as temporary,
        threadpool_limits(options.threads),
    ):
        folder = Path(temporary)
        write_raw(folder / "raw.bin", options.seconds, np.random.default_rng(0))
        table = channel_table()
        save_channels(table, folder / "channels.tsv")
        recording = RawRecording(
            folder / "raw.bin",
            N_CHANNELS + 1,
            float(RATE_HZ),
            table["channel_id"].tolist(),
            [GAIN_UV] * N_CHANNELS,
            {},
        )
        work = {
            "copy of the raw file": lambda: shutil.copy(folder / "raw.bin", folder / "copy.bin"),
            "sluice": lambda: run_ours(recording, folder),
            "sluice, with whitening.npy": lambda: run_ours(recording, folder, whiten="workflow"),
            "SpikeInterface": lambda: run_peer(recording, folder, options.threads),
        }
        taken = {name: [] for name in work}
        for run in range(options.runs + 1):
            for name, one in work.items():
                wall, cpu = time.perf_counter(), cpu_s()
                one()
                if run:
                    taken[name].append((time.perf_counter() - wall, cpu_s() - cpu))
        largest = agreement(folder)
    report(taken, options, largest)


def agreement(folder):
    """Largest difference from SpikeInterface, in bits, away from the ends."""
    ours, info, _ = open_traces(folder / "ours")
    peer = np.memmap(folder / "peer.bin", np.int16, "r", shape=(info.n_samples, N_CHANNELS))
    inner = slice(RATE_HZ, 3 * RATE_HZ)
    return int(np.abs(ours[inner].astype(int) - peer[inner]).max())


def report(taken, options, largest):
    """Print the table: best and median of the runs."""
    print(f"\n{options.seconds} s of {N_CHANNELS} channels, {options.threads} threads")
    header = f"{'':28}{'best s':>8}{'median s':>10}{'CPU s':>8}{'x real time':>13}{'ratio':>8}"
    print(header + f"{'CPU ratio':>11}")
    peer = np.array(taken["SpikeInterface"])
    for name, runs in taken.items():
        wall, cpu = np.array(runs).T
        print(
            f"{name:28}{wall.min():8.2f}{np.median(wall):10.2f}{np.median(cpu):8.2f}"
            f"{options.seconds / wall.min():13.1f}{np.median(peer[:, 0]) / np.median(wall):8.2f}"
            f"{np.median(peer[:, 1]) / np.median(cpu):11.2f}"
        )
    print("ratio: SpikeInterface's time over this one's, medians; x real time: of the best run")
    print(f"largest difference between the two results: {largest} bits")


if __name__ == "__main__":
    main()
