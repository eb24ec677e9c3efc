"""Peak memory of every ophys step, for a movie and for one four times as long.

    python benchmarks/plane_memory.py [--frames 2000] [--size 256] [--folder /tmp]

Both movies go through the workflow itself; memory and time are those in the records of the
jobs, imports included. Traces (ROIs x frames) may be held, the movie may not: a step fails that
grows by more than the traces of its ROIs, ten times over, and 100 MB. Detection holds the movie
averaged in time, up to a size that the settings limit; the limit is lowered so that both
movies reach it. At the default sizes it writes about 3 GB into `--folder`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
FACTOR = 4
N_CELLS = 40
ALLOWED_MB = 100
TRACE_COPIES = 10
MAX_BINS = 200


def run_workflow(folder, n_frames, size):
    """Make a movie, run all ophys steps; peak memory (MB) and time (s) by step."""
    from sluice.synth.days import make_days

    plane = {"n_frames": n_frames, "height": size, "width": size, "n_cells": N_CELLS}
    make_days(
        folder / "raw", n_probes=0, n_cameras=0, plane_settings=plane | {"sampling_rate_hz": 10.0}
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shutil.copytree(ROOT / "config", folder / "config")
    with (folder / "config" / "config.yaml").open("a") as file:
        file.write(f"ophys: {{segment_plane: {{max_bins: {MAX_BINS}}}}}\n")
    for command in (
        ["sluice.cli", "scan", folder / "raw", "--overwrite"],
        ["snakemake", "ophys", "--cores", "2", "--quiet", "all", "-s", ROOT / "Snakefile"],
    ):
        subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, "PATH": path},
            check=True,
        )
    (records,) = (folder / "results" / "derived").rglob("_sluice_run.records.jsonl")
    found = {}
    for record in map(json.loads, records.read_text().splitlines()):
        start, end = (datetime.fromisoformat(record[key]) for key in ("start", "end"))
        seconds = (end - start).total_seconds()
        found[record["step"]] = (record["peak_memory_bytes"] / 1e6, seconds)
    return found


def main():
    """Print one table; exit with an error where a step grows with the movie."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=2000, help="of the shorter movie")
    parser.add_argument("--size", type=int, default=256, help="rows and columns of a frame")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if absent")
    options = parser.parse_args()
    lengths = options.frames, FACTOR * options.frames
    found = []
    for n_frames in lengths:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found.append(run_workflow(Path(folder), n_frames, options.size))
    allowed_mb = ALLOWED_MB + TRACE_COPIES * 4 * N_CELLS * (lengths[1] - lengths[0]) / 1e6
    movies = [n * options.size**2 * 2 / 1e6 for n in lengths]
    print(f"\npeak memory; movies of {movies[0]:.0f} and {movies[1]:.0f} MB ({options.size} px)")
    columns = "".join(f"{f'{n}: MB':>14}{'time s':>9}" for n in lengths)
    print(f"{'':18}{columns}{'growth MB':>11}")
    too_large = []
    for step, (short_mb, short_s) in found[0].items():
        long_mb, long_s = found[1][step]
        cells = f"{short_mb:14.0f}{short_s:9.1f}{long_mb:14.0f}{long_s:9.1f}"
        print(f"{step:18}{cells}{long_mb - short_mb:11.0f}")
        if long_mb - short_mb > allowed_mb:
            too_large.append(step)
    if too_large:
        sys.exit(f"grew by more than {allowed_mb:.0f} MB: {', '.join(too_large)}")


if __name__ == "__main__":
    main()
