"""The record of a job: what went in, what came out, with what code, where and how long.

One JSON line a job in ``_sluice_run.records.jsonl`` of the session or the container. NWB,
catalogue and report are projections of it; nothing is recorded twice.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import sluice

PACKAGES = {
    "cellpose",
    "deeplabcut",
    "ffmpeg-python",
    "h5py",
    "imageio-ffmpeg",
    "kilosort",
    "numba",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "probeinterface",
    "pynwb",
    "scikit-image",
    "scipy",
    "snakemake",
    "spikeinterface",
    "suite2p",
    "tifffile",
    "timm",
    "torch",
}
# Folder of what belongs to no session, by the wildcard of its jobs.
SHARED = {"container": "containers", "model": "pose_models"}
BLOCK_BYTES = 1 << 22
TIMESTAMP = ".snakemake_timestamp"


def hash_file(path, algorithms=("sha256",)):
    """Hash one file, or a folder as the hash of its sorted relative paths and hashes.

    Parameters
    ----------
    path : Path
    algorithms : tuple of str
        Names that hashlib knows.

    Returns
    -------
    dict of str to str
        Hexadecimal digest of each algorithm.
    """
    path = Path(path)
    digests = {name: hashlib.new(name) for name in algorithms}
    if path.is_dir():
        for file in _files(path):
            inside = hash_file(file, algorithms)
            for name, digest in digests.items():
                digest.update(f"{file.relative_to(path).as_posix()}\0{inside[name]}\n".encode())
    else:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                for digest in digests.values():
                    digest.update(block)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def size_of(path):
    """Size in bytes of a file or of everything in a folder."""
    path = Path(path)
    return sum(p.stat().st_size for p in _files(path)) if path.is_dir() else path.stat().st_size


def _files(folder):
    """Files of a folder in a fixed order, without the one Snakemake adds to it."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != TIMESTAMP)


def describe_outputs(named_paths, root):
    """Path, size, sha256 and md5 (which ONE uses) of the files a job made."""
    return [
        {
            "name": name,
            "path": _relative(final, root),
            "size": size_of(path),
            "mtime_ns": Path(path).stat().st_mtime_ns,
            **hash_file(path, ("sha256", "md5")),
        }
        for name, path, final in named_paths
    ]


def describe_inputs(named_paths, root, records):
    """Path, size and sha256 of what a job read.

    A file that an earlier record of the session knows by path, size and modification time
    is not read again: a raw recording is hashed once.
    """
    known = {
        (e["path"], e["size"], e["mtime_ns"]): e["sha256"]
        for record in records
        for e in record["inputs"] + record["outputs"]
    }
    described = []
    for name, path in named_paths:
        stat = Path(path).stat()
        entry = {
            "name": name,
            "path": _relative(path, root),
            "size": size_of(path),
            "mtime_ns": stat.st_mtime_ns,
        }
        key = (entry["path"], entry["size"], entry["mtime_ns"])
        described.append({**entry, "sha256": known.get(key) or hash_file(path)["sha256"]})
    return described


def describe_code():
    """Versions of this package, of its git commit and of the packages that matter."""
    installed = {d.name: d.version for d in importlib.metadata.distributions() if d.name}
    everything = sorted(f"{name}=={version}" for name, version in installed.items())
    return {
        "sluice": sluice.__version__,
        **_git(),
        "python": platform.python_version(),
        # a stage's conda environment holds only its own
        "packages": {n: v for n, v in sorted(installed.items()) if n.lower() in PACKAGES},
        "all_packages_sha256": hashlib.sha256("\n".join(everything).encode()).hexdigest(),
    }


def describe_host(device):
    """Facts of the machine; its name only as a hash, records are shared with the data."""
    return {
        "host_sha256": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16],
        "system": platform.platform(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "device": device,
        "gpu": _gpu_name() if device == "cuda" else None,
    }


def usage():
    """CPU seconds and peak memory of this process and the children it waited for."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_s": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 3),
        "peak_memory_bytes": 1024 * max(own.ru_maxrss, children.ru_maxrss),
    }


def settings_hash(settings):
    """Hash of settings in canonical JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def records_path(results, wildcards):
    """File of the records that a job's own belongs to.

    Parameters
    ----------
    results : Path
    wildcards : dict
        Of the job: ``session``, ``container`` for what spans several sessions, or ``model`` for
        the training of a pose model.
    """
    session = wildcards.get("session")
    owner = session or "/".join(shared_folders(wildcards))
    return Path(results) / "derived" / owner / "_sluice_run.records.jsonl"


def shared_folders(wildcards):
    """Folders of a job that belongs to no session, below those of results, logs and so on."""
    ((kind, name),) = wildcards.items()
    return SHARED[kind], name


def load_records(path):
    """Read the records of a session; an absent file holds none."""
    path = Path(path)
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def save_record(record, path):
    """Put a record into the session's file in place of an earlier one of the same job.

    The file is locked against the session's other jobs and replaced as a whole, so that
    a killed job leaves it as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(".records.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        records = [r for r in load_records(path) if r["job"] != record["job"]] + [record]
        lines = "".join(json.dumps(r, sort_keys=True) + "\n" for r in records)
        part = path.with_name(f".part-{path.name}")
        part.write_text(lines, encoding="utf-8")
        part.replace(path)


def _relative(path, root):
    """Path as text, relative to the results folder where it lies inside."""
    path, root = Path(path).resolve(), Path(root).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


@cache
def _git():
    """Commit of the checkout this package lies in, and whether it was changed since."""

    def git(*args):
        return subprocess.run(
            ["git", "-C", Path(__file__).parent, *args], capture_output=True, text=True
        )

    commit = git("rev-parse", "HEAD")
    if commit.returncode:
        return {"git_commit": None, "git_dirty": None}
    dirty = bool(git("status", "--porcelain", "--untracked-files=no").stdout.strip())
    return {"git_commit": commit.stdout.strip(), "git_dirty": dirty}


def _gpu_name():
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name(0) if torch else None
