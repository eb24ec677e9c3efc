"""What every script of the workflow runs in: log, device, record, clean failure."""

import errno
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from sluice import gpu, qc, record
from sluice.errors import UserError

DISK_PROBLEMS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the file system or a limit allows",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
}
PART = ".part-"
HEARTBEAT_S = 20


@dataclass(frozen=True)
class Step:
    """One job as its script sees it.

    Attributes
    ----------
    name : str
        Session, stream and sorter, e.g. ``M001/2026-11-20/001 probe00``.
    input, output : SimpleNamespace
        Paths by the names the rule gives them; a list where a name holds several. Outputs
        lie in a hidden folder beside their place; `job` moves them when the work is done.
    params : SimpleNamespace
        The rule's parameters.
    threads : int
        Cores the job was given.
    device : str
        ``"cuda"`` if the job was given a GPU, else ``"cpu"``.
    """

    name: str
    input: SimpleNamespace
    output: SimpleNamespace
    params: SimpleNamespace
    threads: int
    device: str


@contextmanager
def job(snakemake):
    """Run the body of one job of the workflow.

    Everything the process and its children print goes to the rule's log. Outputs appear
    under their names only when all of them are complete. A `UserError` or a full disk
    ends the job with one readable message, anything else with its traceback in the log.

    Parameters
    ----------
    snakemake : snakemake.script.Snakemake
        The object Snakemake gives to a script.

    Yields
    ------
    Step
    """
    wildcards = dict(snakemake.wildcards.items())
    name = job_name(snakemake.rule, wildcards)
    # cameras of a session write to one folder
    owner = "-".join([snakemake.rule, *(v for k, v in wildcards.items() if k != "session")])
    state = Path(snakemake.log[0]).with_suffix(".state.json")
    started = datetime.now(UTC)
    signal.signal(signal.SIGTERM, _stop)
    # Jobs run side by side: a thread that waits for another must not burn its core. Read
    # when OpenMP is loaded, so it stands before the sorters import torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with _output_to(snakemake.log[0]) as console:
        parts = {
            key: [_part(p, owner) for p in _as_list(value)]
            for key, value in snakemake.output.items()
        }
        _discard(parts)
        _save_state(state, "running", started)
        try:
            for folder in _folders(parts):
                folder.mkdir()
            n_gpus = int(snakemake.resources.get("gpu", 0))
            _use_threads(snakemake.threads)
            with _heartbeat(name, snakemake.log[0], console), gpu.device(n_gpus) as device:
                yield Step(
                    name=" ".join(snakemake.wildcards),
                    input=SimpleNamespace(**dict(snakemake.input.items())),
                    output=SimpleNamespace(
                        **{
                            key: [str(p) for p in paths] if _is_list(value) else str(paths[0])
                            for (key, value), paths in zip(
                                snakemake.output.items(), parts.values(), strict=True
                            )
                        }
                    ),
                    params=SimpleNamespace(**dict(snakemake.params.items())),
                    threads=snakemake.threads,
                    device=device,
                )
                _finish(snakemake, name, parts, started, device)
        except BaseException as error:
            _discard(parts)
            # the job's name says it already
            message = _explain(error).removeprefix(f"{' '.join(snakemake.wildcards)}: ")
            _save_state(state, "failed", started, message)
            print(f"{name}: {message}", file=sys.stderr, flush=True)
            os.write(console, f"\n{name}: {message}\nlog: {snakemake.log[0]}\n\n".encode())
            sys.exit(1)
        state.unlink()


def job_name(rule, wildcards):
    """Name of a job: session, stream, sorter, and the rule, e.g. for its record."""
    return " ".join([*wildcards.values(), rule])


def _finish(snakemake, name, parts, started, device):
    """Record the job, then give its outputs their names."""
    made = [
        (key, part, Path(final))
        for key, value in snakemake.output.items()
        for part, final in zip(parts[key], _as_list(value), strict=True)
    ]
    missing = [final.name for _, part, final in made if not part.exists()]
    if missing:
        raise RuntimeError(f"the step did not write its output {', '.join(missing)}")
    results = Path(snakemake.config["results"])
    path = record.records_path(results, dict(snakemake.wildcards.items()))
    settings = {k: v for k, v in snakemake.params.items() if k != "code"}
    checks = [part for key, part, _ in made if key == "checks"]
    entry = {
        "job": name,
        "step": snakemake.rule,
        **dict(snakemake.wildcards.items()),
        "inputs": record.describe_inputs(
            _named(snakemake.input), results, record.load_records(path)
        ),
        "outputs": record.describe_outputs(made, results),
        "settings": settings,
        "settings_sha256": record.settings_hash(settings),
        "code_fingerprint": snakemake.params.code,
        "code": record.describe_code(),
        "host": record.describe_host(device),
        "threads": snakemake.threads,
        "start": started.isoformat(timespec="milliseconds"),
        "end": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **record.usage(),
        "checks": [vars(c) for p in checks for c in qc.load_checks(p)],
    }
    record.save_record(entry, path)
    for _, part, final in made:
        if final.is_dir():  # Snakemake makes the folder of a directory() output beforehand
            shutil.rmtree(final)
        part.replace(final)
    _discard(parts)


def _is_list(value):
    return not isinstance(value, str)


def _as_list(value):
    return list(value) if _is_list(value) else [value]


def _named(paths):
    """(name, path) of every input; a name may hold several files."""
    return [(name, path) for name, value in paths.items() for path in _as_list(value)]


def _part(path, owner):
    """Where an output is until all are complete: same name, same disk, the job's hidden folder."""
    path = Path(path)
    return path.parent / f"{PART}{owner}" / path.name


def _folders(parts):
    return {path.parent for paths in parts.values() for path in paths}


def _discard(parts):
    for folder in _folders(parts):
        if folder.exists():
            shutil.rmtree(folder)


def _explain(error):
    """One message for a person; the traceback of anything unexpected goes to the log."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_PROBLEMS:
        what = f"{DISK_PROBLEMS[error.errno]} while writing {error.filename or 'an output'}"
        return f"{what} ({error.strerror}). Make room or change `results`, then run again."
    traceback.print_exception(error)
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return "stopped before it was done"
    return f"{type(error).__name__}: {error}"


def _stop(signum, frame):
    """Turn a scheduler's SIGTERM into an exception, so that the job cleans up."""
    raise SystemExit(f"stopped by signal {signum}")


def _save_state(path, state, started, message=""):
    """Leave beside the log what `sluice status` shows of an unfinished job."""
    path.write_text(
        json.dumps(
            {
                "state": state,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started": started.isoformat(timespec="seconds"),
                "message": message,
            }
        )
    )


@contextmanager
def _output_to(log):
    """Send file descriptors 1 and 2 to the log: Python's, C's and children's output.

    Yields a descriptor of the console for the one message of a failed job.
    """
    with Path(log).open("w", buffering=1, encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        logging.getLogger("sluice").setLevel(logging.INFO)
        try:
            yield kept[1]
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, keep in zip((1, 2), kept, strict=True):
                os.dup2(keep, descriptor)
                os.close(keep)


@contextmanager
def _heartbeat(name, log, console):
    """Show on the console that a long job goes on, with the last line of its log."""
    done = threading.Event()
    started = time.monotonic()

    def beat():
        while not done.wait(HEARTBEAT_S):
            lines = Path(log).read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            # A progress bar redraws its line; only what it shows last counts.
            last = last.split("\r")[-1][:100]
            os.write(console, f"{name}: {time.monotonic() - started:.0f} s  {last}\n".encode())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _use_threads(n_threads):
    """Let OpenCV and numba use the cores the job was given, no more."""
    os.environ["OPENCV_FOR_THREADS_NUM"] = str(n_threads)  # read when it is loaded
    if "cv2" in sys.modules:
        import cv2

        cv2.setNumThreads(n_threads)
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
