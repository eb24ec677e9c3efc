"""Made-up sessions on consecutive days."""

import json

import numpy as np
import pandas as pd

from sluice.synth.days import N_GONE, N_NEW, make_days

SMALL = {"sampling_rate_hz": 10.0, "height": 80, "width": 80, "n_cells": 8}


def test_the_same_cells_on_three_days(tmp_path):
    folders = make_days(
        tmp_path, n_days=3, n_probes=0, n_planes=2, n_cameras=0, duration_s=6, plane_settings=SMALL
    )
    assert [folder.parent.name for folder in folders] == ["2026-11-20", "2026-11-21", "2026-11-22"]
    first, second, third = (
        set(pd.read_csv(folder / "truth/FOV_01/cells.tsv", sep="\t").cell_id) for folder in folders
    )
    assert len(second & first) <= len(first) - N_GONE
    assert 0 < len(second - first) <= N_NEW
    assert third < first
    facts = [json.loads((f / "truth/FOV_00/truth.json").read_text()) for f in folders]
    assert [f["n_frames"] for f in facts] == [60] * 3
    assert facts[0]["shift_px"] == [0, 0] != facts[1]["shift_px"]
    table = pd.read_csv(tmp_path / "containers.tsv", sep="\t")
    assert table.groupby("container").session.nunique().tolist() == [3, 3]
    shifts = [np.load(f / "truth/FOV_00/shifts.npy") for f in folders]
    assert not np.array_equal(shifts[0], shifts[1])


def test_probes_and_cameras_are_of_the_first_day_alone(tmp_path):
    folders = make_days(tmp_path, n_days=2, n_planes=0, duration_s=5, n_channels=16, n_units=2)
    assert (folders[0] / "raw_ephys_data/probe00").is_dir()
    assert (folders[0] / "raw_video_data/_iblrig_leftCamera.raw.avi").is_file()
    assert (tmp_path / "pose_project/config.yaml").is_file()
    assert not folders[1].exists()
    assert not (tmp_path / "containers.tsv").exists()
