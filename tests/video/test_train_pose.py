import json
import pickle
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from video.pose_projects import (
    NONSENSE_PATHS,
    POINTS,
    TRAINING,
    contents,
    draw_frame,
    draw_positions,
    make_project,
    train,
    trained,
    training_settings,
)

from sluice.errors import InputError, SettingsError
from sluice.qc import load_checks
from sluice.settings.pose import PoseModel
from sluice.video.deeplabcut_project import list_snapshots, read_pose_config, read_project
from sluice.video.pose_labels import forget_times
from sluice.video.pose_model import (
    ScaledTransform,
    load_image_scale,
    load_weights,
    make_tracker,
    scaled_size,
    sha256,
)
from sluice.video.pose_training import training_config
from sluice.video.train_pose import split_images

# Trains without learning anything, in a second.
QUICK = {"epochs": 1, "output_stride": 32, "batch_size": 12}


def weights_of(written):
    (snapshot,) = list_snapshots(written["project_out"])
    return load_weights(snapshot, name="mice")


def test_errors_show_that_it_learned():
    _, written, _ = trained()
    table = pd.read_csv(written["evaluation"], sep="\t")
    assert list(table["point"]) == ["all", *POINTS] * 2
    errors = table.set_index(["images", "point"])
    # guessing the mean place of a point is off by 9 px
    assert errors.loc[("train", "all"), "mean_error_px"] < 1.5
    assert errors.loc[("test", "all"), "mean_error_px"] < 2
    assert errors.loc[("test", "all"), "n_labels"] == 2 * len(POINTS)
    assert errors.loc[("train", "nose"), "n_labels"] == 22
    assert errors.loc[("test", "all"), "n_confident"] >= len(POINTS)
    checks = {c.name: c for c in load_checks(written["checks"])}
    assert set(checks) == {"pose_train_error_px", "pose_test_error_px"}
    assert checks["pose_test_error_px"].verdict == "PASS"
    # four digits are written
    assert checks["pose_test_error_px"].value == pytest.approx(
        errors.loc[("test", "all"), "mean_error_px"], abs=1e-4
    )


def test_points_are_found_in_new_images():
    _, written, _ = trained()
    rng = np.random.default_rng(100)
    positions = draw_positions(rng, 40)
    project = read_project(written["project_out"], name="mice")
    (snapshot,) = list_snapshots(project.folder)
    config = read_pose_config(project, snapshot, name="mice")
    images = [cv2.cvtColor(draw_frame(p, rng), cv2.COLOR_GRAY2RGB) for p in positions]
    found = make_tracker(config, snapshot, batch_size=3, device="cpu")(images)
    error_px = np.linalg.norm(found[:, :, :2] - positions, axis=2)
    assert np.median(error_px) < 1.5
    shift_px = (found[:, :, :2] - positions).mean(axis=0)
    # no shift of half a pixel between labels and what is found, in either direction
    assert np.abs(shift_px.mean(axis=0)).max() < 0.5
    # nor of any single point; black borders in training alone shifted the paw by 1.4 px
    assert np.abs(shift_px).max() < 1


def test_project_of_the_user_is_not_touched_and_nothing_else_is_written():
    folder, written, is_same = trained()
    assert is_same
    assert {p.name for p in folder.iterdir()} == {"labelled", "trained"}
    assert {p.name for p in (folder / "trained").iterdir()} == {p.name for p in written.values()}


def test_trained_project_names_no_place():
    folder, written, _ = trained()
    project = written["project_out"]
    texts = [p for p in contents(project) if p.suffix in (".yaml", ".csv", ".json", ".txt")]
    assert len(texts) >= 5
    for path in texts:
        text = path.read_text()
        assert all(place not in text for place in (str(folder), str(Path.cwd()), *NONSENSE_PATHS))
    assert not (project / "tmp").exists()


def test_model_info_names_what_was_trained():
    _, written, _ = trained()
    info = json.loads(written["model_info"].read_text())
    (snapshot,) = list_snapshots(written["project_out"])
    assert info["snapshot"] == str(snapshot.relative_to(written["project_out"]))
    assert info["snapshot_sha256"] == sha256(snapshot)
    assert (info["task"], info["scorer"], info["date"]) == ("mice", "Ada", "Jan1")
    assert (info["net"], info["points"]) == ("resnet10t", POINTS)
    assert (info["n_train_images"], info["n_test_images"]) == (22, 2)


def test_split_is_what_deeplabcut_trained_on():
    _, written, _ = trained()
    (path,) = written["project_out"].glob("training-datasets/*/*/Documentation_data-*.pickle")
    _, *split, fraction = pickle.loads(path.read_bytes())
    for images, expected in zip(split, split_images(24, 0.1, 0, name="mice"), strict=True):
        np.testing.assert_array_equal(images, expected)
    assert fraction == 0.92


@pytest.mark.parametrize(
    ("n_images", "fraction", "n_test"), [(2, 0.5, 1), (3, 0.01, 1), (10, 0.5, 5), (116, 0.05, 6)]
)
def test_split(n_images, fraction, n_test):
    train_images, test_images = split_images(n_images, fraction, 3, name="mice")
    assert len(test_images) == n_test
    assert sorted([*train_images, *test_images]) == list(range(n_images))
    again = split_images(n_images, fraction, 3, name="mice")
    np.testing.assert_array_equal(again[1], test_images)


def test_same_seed_gives_the_same_bytes(tmp_path):
    # 4 of 7 are trained on: 57 %, which is 56.99… in a float
    make_project(tmp_path / "mice", n_images=7, project_path=NONSENSE_PATHS[1])
    written = {}
    for name, seed in (("once", 0), ("twice", 0), ("other", 1)):
        written[name] = train(
            tmp_path / "mice", tmp_path / name, **QUICK, seed=seed, test_fraction=0.43
        )
    once, twice = (
        {p.relative_to(tmp_path / name): v for p, v in contents(tmp_path / name).items()}
        for name in ("once", "twice")
    )
    assert once.keys() == twice.keys()
    assert [str(p) for p in once if once[p] != twice[p]] == []
    one, other = weights_of(written["once"]), weights_of(written["other"])
    assert any((one[k] != other[k]).any() for k in one)


def test_files_forget_when_they_were_written(tmp_path):
    """Times are in whole seconds, so two files are written in different ones."""
    table = pd.DataFrame({("Ada", "nose", "x"): [1.0, np.nan]}, index=["a", "b"])
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
        table.to_hdf(tmp_path / name / "labels.h5", key="df_with_missing", mode="w")
        savemat(tmp_path / name / "labels.mat", {"x": np.arange(3)})
        forget_times(tmp_path / name)
        time.sleep(1.1)
    for file in ("labels.h5", "labels.mat"):
        once, twice = ((tmp_path / name / file).read_bytes() for name in ("once", "twice"))
        assert once == twice
    pd.testing.assert_frame_equal(pd.read_hdf(tmp_path / "once" / "labels.h5"), table)
    np.testing.assert_array_equal(loadmat(tmp_path / "once" / "labels.mat")["x"], [[0, 1, 2]])
    assert [p.name for p in (tmp_path / "once").iterdir() if p.suffix == ".part"] == []


def test_training_goes_on_from_given_weights(tmp_path):
    folder, written, _ = trained()
    (snapshot,) = list_snapshots(written["project_out"])
    again = train(
        folder / "labelled",
        tmp_path / "again",
        initial_weights=snapshot,
        epochs=1,
        learning_rate=1e-6,
        schedule="steps",
    )
    errors = [
        pd.read_csv(w["evaluation"], sep="\t").loc[0, "mean_error_px"] for w in (written, again)
    ]
    # a step of 1e-6 changes next to nothing
    assert errors[1] == pytest.approx(errors[0], abs=0.3)


def test_layers_that_depend_on_the_points_may_differ(tmp_path):
    _, written, _ = trained()
    (snapshot,) = list_snapshots(written["project_out"])
    make_project(tmp_path / "mice", n_images=4, bodyparts=POINTS[:3])
    again = train(
        tmp_path / "mice",
        tmp_path / "out",
        initial_weights=snapshot,
        **{**QUICK, "output_stride": 8, "learning_rate": 1e-9},
    )
    old, new = load_weights(snapshot, name="mice"), weights_of(again)
    key = next(k for k in old if k.startswith("backbone") and k.endswith("conv1.0.weight"))
    np.testing.assert_allclose(new[key], old[key], atol=1e-6)
    head = next(k for k in new if k.startswith("heads") and k.endswith("0.bias"))
    assert len(new[head]) == len(old[head]) - 1


def crop_of(sizes, **changes):
    settings = training_settings(**changes)
    crop = training_config(sizes, settings, "mice")["data.train.crop_sampling"]
    return crop["height"], crop["width"]


@pytest.mark.parametrize(
    ("sizes", "image_scale", "expected"),
    [
        ([(480, 640)], 1.0, (448, 448)),
        ([(80, 96)], 1.0, (64, 96)),
        ([(480, 640)], 0.4, (192, 256)),
        ([(199, 201)], 0.5, (96, 96)),
        ([(200, 500), (480, 150)], 1.0, (192, 128)),
    ],
)
def test_pieces_are_never_larger_than_the_images(sizes, image_scale, expected):
    assert crop_of(sizes, image_scale=image_scale) == expected


@given(
    st.lists(st.tuples(*[st.integers(64, 2000)] * 2), min_size=1, max_size=3),
    st.floats(0.5, 1),
    st.integers(64, 600),
)
def test_pieces_fit_into_every_image_and_the_network(sizes, image_scale, crop_px):
    crop = crop_of(sizes, image_scale=image_scale, crop_px=crop_px)
    for size in sizes:
        assert (np.array(crop) <= scaled_size(size, image_scale)).all()
    assert all(px % 32 == 0 and 32 <= px <= crop_px for px in crop)


def test_images_are_scaled_by_one_factor_and_none_is_enlarged():
    transform = ScaledTransform({"normalize_images": False}, 0.5)
    for height, width in ((80, 96), (70, 91), (161, 48)):
        image = np.zeros((height, width, 3), np.uint8)
        ends = [(0, 0), (width, height)]
        bbox = [0, 0, width, height]
        made = transform(
            image=image, keypoints=ends, class_labels=["a", "b"], bboxes=[bbox], bbox_labels=["i"]
        )
        assert made["image"].shape[:2] == scaled_size((height, width), 0.5)
        # the labels go along with the image, not with the factor: sides are whole pixels
        np.testing.assert_allclose(made["keypoints"][1], made["image"].shape[1::-1])
        np.testing.assert_allclose(made["image"].shape[:2], (height / 2, width / 2), atol=0.5)


def test_images_of_two_sizes_and_scaled_ones_train(tmp_path):
    make_project(tmp_path / "mice", n_images=4)
    path = tmp_path / "mice" / "labeled-data" / "day1" / "img001.png"
    cv2.imwrite(str(path), cv2.imread(str(path))[:70, :90])
    written = train(tmp_path / "mice", tmp_path / "out", **QUICK, image_scale=0.7, keep="best")
    (snapshot,) = list_snapshots(written["project_out"])
    assert load_image_scale(shutil.copy(snapshot, tmp_path / "named.pt"), name="mice") == 0.7
    assert load_image_scale(list_snapshots(trained()[1]["project_out"])[0], name="mice") is None
    assert json.loads(written["model_info"].read_text())["image_scale"] == 0.7


def test_images_too_small_for_the_network(tmp_path):
    make_project(tmp_path / "mice", n_images=2)
    match = "an image of 96 x 80 px is 36 x 30 px with image_scale 0.38; at least 32 x 32 .*larger"
    fail(match, tmp_path / "mice", tmp_path / "out", **QUICK, image_scale=0.38)


def test_image_scale_and_another_resize(tmp_path):
    folder, _, _ = trained()
    resize = {"height": 40, "width": 48, "keep_ratio": True}
    with pytest.raises(SettingsError, match=r"^mice: .*data\.inference\.resize.*image_scale"):
        train(
            folder / "labelled",
            tmp_path,
            image_scale=0.5,
            pytorch_config={"data.inference.resize": resize},
        )


def fail(match, project, folder, **changes):
    with pytest.raises(InputError, match=match) as caught:
        train(project, folder, **changes)
    assert str(caught.value).startswith("mice: ")


def test_weights_of_another_architecture(tmp_path):
    folder, written, _ = trained()
    (snapshot,) = list_snapshots(written["project_out"])
    fail(
        "is of another architecture than the network to be trained.*Set net_type",
        folder / "labelled",
        tmp_path,
        initial_weights=snapshot,
        net_type="resnet18",
    )


def test_weights_that_are_none(tmp_path):
    folder, _, _ = trained()
    path = tmp_path / "weights.pt"
    fail("weights.pt does not exist", folder / "labelled", tmp_path / "a", initial_weights=path)
    path.write_bytes(b"no weights")
    fail("cannot be read as a snapshot", folder / "labelled", tmp_path / "b", initial_weights=path)


def test_unknown_network(tmp_path):
    folder, _, _ = trained()
    fail(
        r"net_type 'resnet_51' is not known; expected one of resnet_50.*resnet10t",
        folder / "labelled",
        tmp_path,
        net_type="resnet_51",
    )


def test_unknown_part_of_the_configuration(tmp_path):
    folder, _, _ = trained()
    with pytest.raises(SettingsError, match=r"^mice: pytorch_config of the settings.*nonsense"):
        train(folder / "labelled", tmp_path, pytorch_config={"data.train.nonsense": 1})


def test_training_that_diverges(tmp_path):
    make_project(tmp_path / "mice", n_images=4)
    with pytest.raises(SettingsError, match=r"^mice: .*diverged. Set a lower learning_rate"):
        train(
            tmp_path / "mice",
            tmp_path / "out",
            **(QUICK | {"epochs": 3, "learning_rate": 1e30, "schedule": "steps"}),
        )


def test_one_image_is_too_few(tmp_path):
    make_project(tmp_path / "mice", n_images=1)
    fail("has 1 labelled image; at least 2", tmp_path / "mice", tmp_path / "out")


def test_model_is_trained_or_used():
    with pytest.raises(ValueError, match="not both"):
        PoseModel(project="p", snapshot="a.pt", initial_weights="b.pt")
    assert PoseModel(project="p", train=TRAINING).train.net_type == "resnet10t"
