"""`imaging.json`: what the files of a movie do not say, written by a person."""

import difflib
import json
from pathlib import Path

from sluice.io.movie_headers import dead_link

NAME = "imaging.json"


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_positive(value):
    return _is_number(value) and 0 < value < float("inf")


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_index(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value):
    return isinstance(value, str) and bool(value.strip())


def _is_list_of(test):
    return lambda value: isinstance(value, list) and all(test(item) for item in value)


def _is_pixel_size(value):
    pair = isinstance(value, list) and len(value) == 2 and all(_is_positive(v) for v in value)
    return _is_positive(value) or pair


def _is_pairs(value):
    return isinstance(value, list) and all(
        isinstance(pair, list)
        and len(pair) == 2
        and all(_is_index(plane) for plane in pair)
        and pair[0] != pair[1]
        for pair in value
    )


# Key: (test, what is expected)
KEYS = {
    "frame_rate_hz": (_is_positive, "a number above 0: frames of one plane a second"),
    "n_planes": (_is_count, "a whole number from 1, flyback frames counted as planes"),
    "n_channels": (_is_count, "a whole number from 1"),
    "functional_channel": (_is_index, "a whole number from 0"),
    "flyback_planes": (_is_list_of(_is_index), "a list of planes, counted from 0"),
    "um_per_pixel": (_is_pixel_size, "a number above 0, or a list of two: along y and x"),
    "indicator": (_is_text, "text, e.g. GCaMP6f"),
    "decay_s": (_is_positive, "a number above 0 (s)"),
    "depths_um": (_is_list_of(_is_number), "a list of numbers, one a plane (µm)"),
    "dataset": (_is_text, "the path of an HDF5 dataset or the name of an NWB series"),
    "frame_times": (_is_text, "the name of a file: npy, or a table with a column time_s"),
    "z_stack": (
        lambda value: _is_text(value) or _is_list_of(_is_text)(value),
        "the name of a file, or a list of one a plane",
    ),
    "z_step_um": (_is_positive, "a number above 0 (µm)"),
    "paired_planes": (_is_pairs, "a list of pairs of planes, e.g. [[0, 1], [2, 3]]"),
    "files": (
        lambda value: _is_list_of(_is_text)(value) and bool(value),
        "a list of file names in the order of the movie",
    ),
}


def read_imaging_json(folder):
    """Read and check `imaging.json`.

    Parameters
    ----------
    folder : path

    Returns
    -------
    facts : dict
        Only keys that can be used; empty if there is no such file.
    problems : list of str
        Every mistake: the file, what was found and what is expected.
    """
    path = Path(folder) / NAME
    if problem := dead_link(path):
        return {}, [problem]
    if not path.is_file():
        return {}, []
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        return {}, [f"{path}: is no JSON ({error}). Correct the file."]
    if not isinstance(content, dict):
        return {}, [f"{path}: holds {type(content).__name__}; expected {{...}} with keys."]
    facts, problems = {}, []
    for key, value in content.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(KEYS)}"
            problems.append(f"{path}: {key!r} is no key of this file; {hint}")
            continue
        test, expected = KEYS[key]
        if test(value):
            facts[key] = value
        else:
            problems.append(f"{path}: {key} is {value!r}; expected {expected}")
    return facts, problems + [f"{path}: {problem}" for problem in _contradictions(facts)]


def _contradictions(facts):
    """Planes and channels that are not there."""
    n_planes, n_channels = facts.get("n_planes"), facts.get("n_channels")
    problems = []
    if n_planes is not None:
        named = set(facts.get("flyback_planes", []))
        named |= {plane for pair in facts.get("paired_planes", []) for plane in pair}
        if beyond := sorted(plane for plane in named if plane >= n_planes):
            problems.append(
                f"flyback_planes or paired_planes name plane {beyond[0]}; with n_planes "
                f"{n_planes} the last is {n_planes - 1}"
            )
        for key in ("depths_um", "z_stack"):
            value = facts.get(key)
            if isinstance(value, list) and len(value) != n_planes:
                problems.append(f"{key} has {len(value)} values; expected {n_planes}, one a plane")
    channel = facts.get("functional_channel", 0)
    if n_channels is not None and channel >= n_channels:
        problems.append(
            f"functional_channel is {channel}; with n_channels {n_channels} the last is "
            f"{n_channels - 1}"
        )
    return problems
