"""The made-up labelled project is one of DeepLabCut, and its labels are right."""

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from sluice.errors import UserError
from sluice.synth.camera_geometry import POINTS
from sluice.synth.camera_project import choose_frames, make_labelled_project
from sluice.synth.camera_scene import make_camera_scene

SHORT = {"duration_s": 30.0}


@pytest.fixture(scope="module")
def scene():
    return make_camera_scene(seed=2, **SHORT)


@pytest.fixture(scope="module")
def project(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project") / "face"
    return folder, make_labelled_project(folder, scene, n_frames=30)


def test_the_labels_are_those_of_a_real_project(project, real_data):
    folder, labels = project
    images = folder / "labeled-data" / "rig_left"
    read = pd.read_hdf(images / "CollectedData_sluice.h5", key="df_with_missing")
    pd.testing.assert_frame_equal(read, labels)
    real_folder = real_data / "pose" / "openfield"
    real = pd.read_hdf(next((real_folder / "labeled-data" / "m4s1").glob("*.h5")))
    assert read.columns.names == real.columns.names
    assert type(read.index) is type(real.index)
    assert read.columns.get_level_values("bodyparts").unique().tolist() == list(POINTS)
    lines = (images / "CollectedData_sluice.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[:3]] == ["scorer", "bodyparts", "coords"]
    assert lines[3].startswith("labeled-data/rig_left/img0000.png,")
    csv = pd.read_csv(images / "CollectedData_sluice.csv", header=[0, 1, 2], index_col=0)
    np.testing.assert_array_equal(csv.to_numpy(), read.to_numpy())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config.keys() >= yaml.safe_load((real_folder / "config.yaml").read_text()).keys()
    assert config["bodyparts"] == list(POINTS)
    assert config["scorer"] == "sluice"
    # paths of another machine
    (video,) = config["video_sets"]
    assert config["project_path"].startswith("/home/rig/")
    assert video == config["project_path"] + "/videos/rig_left.avi"
    assert config["video_sets"][video]["crop"] == "0, 160, 0, 128"


def test_labels_lie_on_the_pictures(project):
    folder, labels = project
    for path, row in labels.iterrows():
        image = cv2.imread(str(folder / path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (128, 160, 3)
        at = row.unstack("coords").loc["sluice"].dropna()
        assert (at >= 0).all().all()
        assert (at < [160, 128]).all().all()
        # the middle of four points around the pupil is dark where all are seen
        if len(at.filter(like="pupil", axis=0)) == 8:
            x, y = at.filter(like="pupil", axis=0)[["x", "y"]].mean().round().astype(int)
            assert image[y, x].max() < 60
        x, y = at.loc["nose_tip", ["x", "y"]].round().astype(int)
        assert image[y, x].mean() > image[y, x + 5].mean()


def test_what_is_hidden_has_no_label(project):
    labels = project[1]
    n_labelled = labels.notna().sum()
    assert (n_labelled["sluice", "nose_tip", "x"], n_labelled["sluice", "paw_l", "y"]) == (30, 30)
    # four in ten of the pictures are of licks, some more by chance
    assert 12 <= n_labelled["sluice", "tongue_end_l", "x"] <= 19
    hidden = labels["sluice"]["pupil_top_r"]["x"].isna().sum()
    assert 4 <= hidden <= 12
    np.testing.assert_array_equal(labels.isna().iloc[:, ::2], labels.isna().iloc[:, 1::2])


def test_labelled_frames_are_of_another_day_without_faults(scene, project, tmp_path):
    faults = {"brightness": 0.2, "dropped": (3, 4), "is_blocked": True, "frozen": ((9, 3),)}
    faulty = make_camera_scene(seed=2, **SHORT, **faults)
    again = make_labelled_project(tmp_path, faulty, n_frames=30)
    pd.testing.assert_frame_equal(again, project[1])
    for path in sorted(project[0].rglob("*.*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(project[0])).read_bytes(), path
    other = make_labelled_project(tmp_path / "other", scene, n_frames=30, seed=1)
    assert not other.equals(project[1])


def test_pupils_of_all_sizes_are_labelled(scene):
    frames = choose_frames(scene, 30, 0)
    assert len(np.unique(frames)) == 30
    px = scene.frame_truth().pupil_diameter_px
    assert px[frames].min() < px.quantile(0.1)
    assert px[frames].max() > px.quantile(0.9)
    assert choose_frames(make_camera_scene(duration_s=1.0), 30, 0).tolist() == list(range(30))
    with pytest.raises(UserError, match="1000 labelled frames of a video of 900: ask for fewer"):
        choose_frames(scene, 1000, 0)
