"""Which device a job runs on, and the lease of one GPU on a machine with several."""

import fcntl
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from sluice.errors import UserError

LEASES = Path(tempfile.gettempdir()) / "sluice_gpu_leases"


@contextmanager
def device(n_gpus, *, leases=LEASES, wait_s=3600):
    """Give the device a job was granted: ``"cuda"`` with a GPU, else ``"cpu"``.

    Under a scheduler that assigns GPUs (CUDA_VISIBLE_DEVICES is set) its choice stands.
    Elsewhere one GPU of the machine is leased by locking a file until the job ends, since
    Snakemake counts GPUs but does not say which one a job may use.

    Parameters
    ----------
    n_gpus : int
        What the job was given (``resources: gpu``).
    leases : Path
        Folder of the lock files, shared by all jobs of the machine.
    wait_s : float
        How long to wait for a free GPU.

    Yields
    ------
    str
        ``"cuda"`` or ``"cpu"``.

    Raises
    ------
    UserError
        The job was given a GPU but the machine has none, or none became free.
    """
    if not n_gpus:
        yield "cpu"
    elif os.environ.get("CUDA_VISIBLE_DEVICES"):
        yield "cuda"
    else:
        with _lease(_gpu_indices(), leases, wait_s) as index:
            os.environ["CUDA_VISIBLE_DEVICES"] = str(index)
            try:
                yield "cuda"
            finally:
                del os.environ["CUDA_VISIBLE_DEVICES"]


def _gpu_indices():
    """Ask the driver for the indices of the machine's GPUs."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        raise UserError(
            "the job was given a GPU but this machine shows none (nvidia-smi found no device). "
            "Run without the gpu profile, or send the job to a machine with a GPU."
        ) from None
    return [int(line) for line in listing.stdout.split()]


@contextmanager
def _lease(indices, leases, wait_s):
    """Lock the first free GPU's file; the lock ends with the process, even when killed."""
    leases.mkdir(mode=0o777, parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    while True:
        for index in indices:
            file = (leases / f"gpu{index}").open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            with file:
                yield index
            return
        if time.monotonic() > deadline:
            raise UserError(
                f"no GPU became free within {wait_s:.0f} s: other jobs hold all of {indices}. "
                "Limit the GPUs in the profile to those the machine has (resources: gpu)."
            )
        time.sleep(1)
