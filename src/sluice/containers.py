"""Containers: which planes of which sessions show the same cells."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sluice.errors import SettingsError

COLUMNS = ("container", "session", "plane")
# A folder and a part of file names; a leading dot would hide it.
NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Container:
    """One field of view, imaged in several sessions.

    Attributes
    ----------
    name : str
    members : tuple of (str, str)
        Session and plane, in the order of the table. The first session's cells come first;
        append new sessions at the end, then all cells keep their identity.
    """

    name: str
    members: tuple


def load_containers(path, planes):
    """Read the table of containers.

    Parameters
    ----------
    path : str, Path or None
        ``containers.tsv``: columns container, session (subject/date/number) and plane
        (``FOV_00``), one row a session of a container; others are ignored. None: there are
        no containers.
    planes : iterable of Stream or Plane
        The rows of the table of streams; those of kind ``plane`` count.

    Returns
    -------
    list of Container
        In the order in which they appear in the table.

    Raises
    ------
    SettingsError
        Everything that is wrong with the table, one line each.
    """
    if path is None:
        return []
    table = _read_table(Path(path))
    known = {(p.session, p.name) for p in planes if p.kind == "plane"}
    problems = _problems_of_rows(table, known)
    containers = []
    for name, rows in table.groupby("container", sort=False):
        problems += _problems_of_members(name, rows)
        members = tuple(rows[["session", "plane"]].itertuples(index=False, name=None))
        containers.append(Container(name, members))
    if problems:
        lines = "\n".join(f"  - {p}" for p in problems)
        raise SettingsError(f"{len(problems)} problem(s) in {path}:\n{lines}")
    return containers


def _read_table(path):
    if not path.is_file():
        raise SettingsError(
            f"{path}: no such table. Write it with the columns {', '.join(COLUMNS)}, or set "
            "containers to null where no cells are to be matched over sessions."
        )
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    missing = [c for c in COLUMNS if c not in table.columns]
    if missing:
        raise SettingsError(
            f"{path}: column {', '.join(missing)} is missing; found {', '.join(table.columns)}. "
            "Columns are separated by tabs."
        )
    return table


def _problems_of_rows(table, known):
    """What is wrong with names, sessions and planes."""
    problems = [
        f"container {name!r}: expected a name of letters, digits, '_', '.' or '-', "
        "not starting with '.' or '-'"
        for name in table["container"].unique()
        if not NAME.fullmatch(name)
    ]
    sessions = {session for session, _ in known}
    for name, session, plane in table[list(COLUMNS)].itertuples(index=False, name=None):
        where = f"container {name}, session {session}"
        if session not in sessions:
            problems.append(
                f"{where}: no such session with a plane in the table of streams; "
                "add it to the tables of sessions and streams, or correct the name"
            )
        elif (session, plane) not in known:
            found = ", ".join(sorted(p for s, p in known if s == session))
            problems.append(
                f"{where}: plane {plane!r} is not in the table of streams, which has {found}; "
                "add it there or correct the name"
            )
    return problems


def _problems_of_members(name, rows):
    """What is wrong with a container as a whole."""
    problems = []
    counts = rows.groupby("session", sort=False)["plane"].agg(list)
    for session, planes in counts.items():
        if len(planes) != len(set(planes)):
            problems.append(
                f"container {name}, session {session}: a row stands more than once; keep one"
            )
        elif len(planes) > 1:
            problems.append(
                f"container {name}, session {session}: has planes {', '.join(planes)}; "
                "expected one plane a session. Give each plane a container of its own"
            )
    if len(counts) == 1:
        problems.append(
            f"container {name}: has one session only; expected two or more. "
            "Add the other sessions or leave the container out"
        )
    return problems
