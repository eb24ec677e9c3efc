"""Compare the results of two runs."""

import hashlib
from pathlib import Path

# Records, logs and benchmarks hold times; Snakemake's own marker is empty.
VOLATILE = ("_sluice_run.records.jsonl", ".records.lock", ".snakemake_timestamp")


def hashes(results):
    """sha256 of every result, by its path below the results folder."""
    results = Path(results)
    return {
        path.relative_to(results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for top in ("work", "derived")
        for path in sorted((results / top).rglob("*"))
        if path.is_file() and path.name not in VOLATILE and not is_log(path)
    }


def is_log(path):
    """Files of a sorter that hold the times or the place of a run."""
    return "sorter_output" in path.parts
