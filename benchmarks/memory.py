"""Peak memory of the steps that read a raw recording, at two lengths a factor 8 apart.

    python benchmarks/memory.py [--seconds 30] [--folder /tmp] [--steps check_probe ...]

A complete Neuropixels 1.0 probe (384 channels and sync) as SpikeGLX writes it, without LF
band, so that the LFP is taken from the AP band, which is the larger. The files are of noise
rather than sparse, since a probe of zeros is a dead one and is turned away. Every step runs
in a process of its own; memory is its largest resident size, imports included (Linux
only). Fails if a step exceeds 2 GB. At the default lengths it writes up to 12 GB into `--folder`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE_HZ = 30_000
N_CHANNELS = 384
FACTOR = 8
LIMIT_MB = 2000
NAME = "run_g0_t0.imec0.ap"


def write_recording(folder, duration_s):
    """Write a SpikeGLX recording of noise, partly shared by all channels."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    common = rng.normal(0, 4, (4, RATE_HZ, 1))
    seconds = np.rint(rng.normal(0, 3, (4, RATE_HZ, N_CHANNELS + 1)) + common).astype(np.int16)
    with (folder / f"{NAME}.bin").open("wb") as file:
        for k in range(duration_s):
            file.write(seconds[k % 4].data)
    meta = {
        "acqApLfSy": "384,384,1",
        "fileCreateTime": "2026-01-15T12:00:00",
        "fileSizeBytes": seconds[0].nbytes * duration_s,
        "imAiRangeMax": "0.6",
        "imDatPrb_pn": "NP1000",
        "imDatPrb_sn": "18005110001",
        "imDatPrb_type": "0",
        "imMaxInt": "512",
        "imSampRate": str(RATE_HZ),
        "nSavedChans": str(N_CHANNELS + 1),
        "snsApLfSy": "384,0,1",
        "snsSaveChanSubset": "0:383,768",
        "~imroTbl": "(0,384)" + "".join(f"({c} 0 0 500 250 1)" for c in range(N_CHANNELS)),
    }
    lines = "".join(f"{key}={value}\n" for key, value in meta.items())
    (folder / f"{NAME}.meta").write_text(lines)


def check_probe(recording, out, settings):
    """Run `check_probe`; its outputs are inputs of the other steps."""
    from sluice.ephys.check_probe import check_probe_file
    from sluice.io.recording import channel_table

    (out / "alf").mkdir()
    check_probe_file(
        recording=recording,
        lf_recording=None,
        channels_table=channel_table(recording),
        channels=out / "channels.tsv",
        surface=out / "surface.json",
        checks=out / "check_probe.json",
        figure=out / "check_probe.png",
        alf_folder=out / "alf",
        settings=settings["check_probe"],
        max_int=512,
    )


def preprocess_probe(recording, out, settings):
    """Run `preprocess_probe`, whitening matrix included."""
    from sluice.ephys.preprocess_probe import preprocess_probe_file

    preprocess_probe_file(
        recording=recording,
        channels=out / "channels.tsv",
        folder=out / "traces",
        checks=out / "preprocess_probe.json",
        settings=settings["preprocess_probe"] | {"whiten": "workflow"},
    )


def extract_lfp(recording, out, settings):
    """Run `extract_lfp` on the AP band."""
    from sluice.ephys.extract_lfp import extract_lfp_file

    arrays = ("data", "times", "raw_ind", "local_coordinates", "microvolts_per_bit", "labels")
    extract_lfp_file(
        recording=recording,
        lf_recording=None,
        channels=out / "channels.tsv",
        surface=out / "surface.json",
        checks=out / "extract_lfp.json",
        settings=settings["extract_lfp"],
        **{name: out / f"{name}.npy" for name in arrays},
    )


STEPS = {step.__name__: step for step in (check_probe, preprocess_probe, extract_lfp)}


def run_step(name, folder):
    """Run one step in this process and print what it took."""
    from sluice.io.recording import open_probe
    from sluice.session import Stream
    from sluice.settings import validate_settings

    recording = open_probe(Stream("s", "probe", "probe00", str(folder / "raw"), "spikeglx"))
    start = time.perf_counter()
    STEPS[name](recording, folder, validate_settings({})["ephys"])
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    print(json.dumps({"mb": peak_kb * 1024 / 1e6, "s": time.perf_counter() - start}))


def measure(name, folder):
    """Run one step in a process of its own; its peak memory (MB) and time (s)."""
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30, help="the shorter of two lengths (s)")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if absent")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--child", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_step(options.child, options.folder)
        return
    lengths = (options.seconds, FACTOR * options.seconds)
    found = {}
    for duration_s in lengths:
        with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
            folder = Path(temporary)
            write_recording(folder / "raw", duration_s)
            # The other steps need the table of channels.
            for name in dict.fromkeys(["check_probe", *options.steps]):
                found[name, duration_s] = measure(name, folder)
                shutil.rmtree(folder / "traces", ignore_errors=True)
    report(found, options.steps, lengths)


def report(found, steps, lengths):
    """Print the table; exit with an error where a step takes too much."""
    print(f"\npeak memory, {N_CHANNELS} channels at {RATE_HZ} Hz, limit {LIMIT_MB} MB")
    columns = "".join(f"{f'{s} s: MB':>14}{'time s':>9}" for s in lengths)
    print(f"{'':18}{columns}{'growth':>9}")
    for name in steps:
        short, long = (found[name, duration_s] for duration_s in lengths)
        cells = "".join(f"{one['mb']:14.0f}{one['s']:9.1f}" for one in (short, long))
        print(f"{name:18}{cells}{long['mb'] / short['mb']:9.2f}")
    too_large = [name for name in steps if found[name, lengths[1]]["mb"] > LIMIT_MB]
    if too_large:
        sys.exit(f"over {LIMIT_MB} MB: {', '.join(too_large)}")


if __name__ == "__main__":
    main()
