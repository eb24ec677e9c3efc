"""Reads what is true of a made-up imaging plane."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from sluice.errors import InputError


@dataclass(frozen=True)
class PlaneTruth:
    """What is true of a plane, as `write_plane_truth` wrote it.

    Attributes
    ----------
    facts : dict
        Of ``truth.json``.
    cells, events : DataFrame
    masks : float32 csr_array, shape (n_cells, height * width)
    dff : float32 array, shape (n_cells, n_frames)
    shifts_px : float64 array, shape (n_frames, 2)
    """

    facts: dict
    cells: pd.DataFrame
    events: pd.DataFrame
    masks: csr_array
    dff: np.ndarray
    shifts_px: np.ndarray


def load_truth(folder):
    """Read the truth of a plane.

    Raises
    ------
    InputError
        A file is missing.
    """
    folder = Path(folder)
    return PlaneTruth(
        facts=json.loads(existing(folder / "truth.json").read_text()),
        cells=pd.read_csv(existing(folder / "cells.tsv"), sep="\t"),
        events=pd.read_parquet(existing(folder / "events.pqt")),
        masks=load_shapes(folder / "masks.npz"),
        dff=np.load(existing(folder / "dff.npy")),
        shifts_px=np.load(existing(folder / "shifts.npy")),
    )


def load_shapes(path):
    """Read masks: a csr_array of shape (n_masks, height * width).

    Raises
    ------
    InputError
        The file is missing.
    """
    with np.load(existing(Path(path))) as file:
        n, height, width = (int(size) for size in file["shape"])
        return csr_array((file["data"], file["indices"], file["indptr"]), shape=(n, height * width))


def existing(path):
    """Return a path, or complain that there is no file.

    Raises
    ------
    InputError
    """
    if not path.is_file():
        raise InputError(
            f"{path}: not found. Is this a session made by `sluice synth`, and has the workflow "
            "finished it?"
        )
    return path
