"""Headers of movies and lists of folders, remembered while they stay as they are.

Planning looks at every plane several times, and a folder may hold thousands of files.
"""

import os
import re
import time
from functools import lru_cache

# File systems round the time of a change, so that a second one soon after may not show in it.
RECENT_S = 2.0


def list_folder(folder):
    """Sizes of the files of a folder; read once a process if it has not just changed.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict of Path to int
        File and bytes, in natural order of the names; None for a link that leads nowhere.
    """
    changed_ns = folder.stat().st_mtime_ns
    read = _read_folder if _is_settled(changed_ns) else _read_folder.__wrapped__
    return read(folder, changed_ns)


def natural_order(path):
    """Sort key by which file 2 comes before file 10."""
    parts = re.split(r"(\d+)", path.name)
    # every second part is a number
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


@lru_cache(maxsize=256)
def _read_folder(folder, changed_ns):
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                found[folder / entry.name] = entry.stat().st_size
            elif entry.is_symlink() and not entry.is_dir():
                # a file of git-annex or DataLad that was not fetched is one of the movie still
                found[folder / entry.name] = None
    return {path: found[path] for path in sorted(found, key=natural_order)}


def dead_link(path):
    """Say that a path is a link that leads nowhere, and what to do; empty if it is not.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
    """
    if not path.is_symlink() or path.exists():
        return ""
    return (
        f"{path}: is a link to {path.readlink()}, which is not there. If git-annex or DataLad "
        "keeps the file, fetch it (`git annex get`, `datalad get`); else copy it again."
    )


def _is_settled(changed_ns):
    """Whether another change would show in the time of the last one."""
    return time.time() - changed_ns / 1e9 > RECENT_S


def header_of(path, file_format, dataset):
    """Header of a file; read once a process if it has not just changed.

    Parameters
    ----------
    path : Path
    file_format : str
        ``tiff``, ``h5`` or ``nwb``.
    dataset : str
        May be empty.

    Returns
    -------
    sluice.io.movie.Header

    Raises
    ------
    InputError
        It cannot be read.
    """
    facts = path.stat()
    read = _remembered if _is_settled(facts.st_mtime_ns) else _remembered.__wrapped__
    return read(path, file_format, dataset, facts.st_mtime_ns, facts.st_size, facts.st_ino)


@lru_cache(maxsize=1024)
def _remembered(path, file_format, dataset, changed_ns, n_bytes, inode):
    return read_header(path, file_format, dataset)


def read_header(path, file_format, dataset):
    """Header of one file; readers are imported where they are needed."""
    if file_format == "tiff":
        from sluice.io import tiff_header

        return tiff_header.read_header(path)
    if file_format == "h5":
        from sluice.io import h5

        return h5.read_header(path, dataset)
    from sluice.io import nwb

    return nwb.read_header(path, dataset)
