import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from video.pose_projects import (
    HEIGHT,
    NONSENSE_PATHS,
    POINTS,
    SCORER,
    WIDTH,
    contents,
    label_table,
    make_project,
    write_config,
)

from sluice.errors import InputError
from sluice.video.deeplabcut_project import (
    find_snapshot,
    find_weights,
    label_files,
    list_snapshots,
    model_files,
    project_folder,
    read_pose_config,
    read_project,
)
from sluice.video.pose_labels import copy_labelled, read_labels

LABELS = f"labeled-data/day1/CollectedData_{SCORER}"


@pytest.fixture
def project(tmp_path):
    """A labelled project and its true positions."""
    positions = make_project(tmp_path / "mice", n_images=4)
    return tmp_path / "mice", positions


def labels_of(folder):
    return read_labels(read_project(folder, name="mice"), name="mice")


def add_snapshot(folder, *, iteration=0, shuffle=1, file="snapshot-010.pt", config=None):
    training = f"dlc-models-pytorch/iteration-{iteration}/miceJan1-trainset95shuffle{shuffle}/train"
    (folder / training).mkdir(parents=True, exist_ok=True)
    (folder / training / file).write_bytes(b"")
    if config is not None:
        (folder / training / "pytorch_config.yaml").write_text(yaml.safe_dump(config))
    return folder / training / file


NETWORK = {"model": {"backbone": {}}, "data": {"train": {}}, "metadata": {"bodyparts": POINTS}}


@pytest.mark.parametrize("name", ["", "config.yaml"])
@pytest.mark.parametrize("project_path", NONSENSE_PATHS)
def test_project_is_where_it_lies_whatever_its_paths_say(tmp_path, name, project_path):
    make_project(tmp_path / "moved", n_images=2, project_path=project_path)
    project = read_project(tmp_path / "moved" / name, name="mice")
    assert project.folder == tmp_path / "moved"
    assert (project.task, project.scorer, project.date) == ("mice", "Ada", "Jan1")
    assert project.points == tuple(POINTS)
    assert len(read_labels(project, name="mice")) == 2


def test_labels_are_the_known_ones(project):
    folder, positions = project
    labels = labels_of(folder)
    np.testing.assert_array_equal(labels.to_numpy().reshape(positions.shape), positions)
    assert list(labels.index[1]) == ["labeled-data", "day1", "img001.png"]
    assert list(labels.columns[:2]) == [(SCORER, "nose", "x"), (SCORER, "nose", "y")]


@pytest.mark.parametrize(
    "index",
    [
        "labeled-data/day1/{}",
        "labeled-data\\day1\\{}",
        NONSENSE_PATHS[0] + "\\labeled-data\\day1\\{}",
        NONSENSE_PATHS[1] + "/labeled-data/day1/{}",
    ],
)
@pytest.mark.parametrize("suffix", [".h5", ".csv"])
def test_images_are_found_by_their_name_whoever_wrote_the_path(project, index, suffix):
    folder, positions = project
    table = label_table(positions, [index.format(f"img{i:03d}.png") for i in range(4)])
    for old in (".h5", ".csv"):
        (folder / LABELS).with_suffix(old).unlink()
    path = (folder / LABELS).with_suffix(suffix)
    table.to_hdf(path, key="df_with_missing") if suffix == ".h5" else table.to_csv(path)
    found = labels_of(folder)
    # csv keeps all digits of a float
    np.testing.assert_array_equal(found.to_numpy().reshape(positions.shape), positions)


def test_csv_in_three_columns_is_read_where_there_is_no_h5(project):
    folder, positions = project
    (folder / LABELS).with_suffix(".h5").unlink()
    assert (folder / LABELS).with_suffix(".csv").read_text().startswith("scorer,,,Ada")
    found = labels_of(folder)
    np.testing.assert_array_equal(found.to_numpy().reshape(positions.shape), positions)


def test_points_come_in_the_order_of_the_project_and_unseen_ones_are_nan(project):
    folder, positions = project
    positions[1, 2] = np.nan
    positions[2, 0, 0] = np.nan  # half a position is none
    index = [f"labeled-data/day1/img{i:03d}.png" for i in range(4)]
    table = label_table(positions, index)
    columns = [c for p in ("tail", "nose", "paw", "ear") for c in table.columns if c[1] == p]
    table[columns].to_hdf((folder / LABELS).with_suffix(".h5"), key="df_with_missing", mode="w")
    found = labels_of(folder).to_numpy().reshape(positions.shape)
    positions[2, 0] = np.nan
    np.testing.assert_array_equal(found, positions)


def test_images_without_a_label_are_left_out_and_of_two_rows_the_last_counts(project):
    folder, positions = project
    positions[1] = np.nan
    index = [f"labeled-data/day1/img{i:03d}.png" for i in (0, 1, 2, 2)]
    label_table(positions, index).to_hdf(
        (folder / LABELS).with_suffix(".h5"), key="df_with_missing", mode="w"
    )
    found = labels_of(folder)
    assert [key[2] for key in found.index] == ["img000.png", "img002.png"]
    np.testing.assert_array_equal(found.to_numpy()[1], positions[3].ravel())


def test_folders_count_that_the_project_does_not_name(project):
    folder, _ = project
    shutil.copytree(folder / "labeled-data" / "day1", folder / "labeled-data" / "day2")
    labels = labels_of(folder)
    assert set(labels.index.get_level_values(1)) == {"day1", "day2"}
    assert labels.index.is_monotonic_increasing


def test_copy_has_no_absolute_path_and_the_original_stays(project, tmp_path):
    folder, positions = project
    before = contents(folder)
    source = read_project(folder, name="mice")
    copy = tmp_path / "copy"
    labels = read_labels(source, name="mice")
    sizes = copy_labelled(source, labels, copy, train_fraction=0.75, name="mice")
    assert sizes == [(HEIGHT, WIDTH)]
    assert contents(folder) == before
    config = read_project(copy, name="mice").config
    assert config["project_path"] == "."
    assert config["video_sets"] == {"videos/day1.mp4": {"crop": "0, 96, 0, 80"}}
    assert config["TrainingFraction"] == [0.75]
    assert all(p not in (copy / "config.yaml").read_text() for p in NONSENSE_PATHS)
    np.testing.assert_array_equal(labels_of(copy).to_numpy().reshape(positions.shape), positions)


def test_last_snapshot_is_that_of_iteration_shuffle_best_epochs(tmp_path):
    expected = [
        add_snapshot(tmp_path, iteration=0, shuffle=9, file="snapshot-best-900.pt"),
        add_snapshot(tmp_path, iteration=2, shuffle=2, file="snapshot-900.pt"),
        add_snapshot(tmp_path, iteration=2, shuffle=10, file="snapshot-020.pt"),
        add_snapshot(tmp_path, iteration=2, shuffle=10, file="snapshot-1000.pt"),
        add_snapshot(tmp_path, iteration=2, shuffle=10, file="snapshot-best-010.pt"),
    ]
    add_snapshot(tmp_path, iteration=2, shuffle=10, file="snapshot-detector-010.pt")
    assert list_snapshots(tmp_path) == expected


def test_snapshot_is_the_named_or_the_last_one(project):
    folder, _ = project
    path = add_snapshot(folder)
    add_snapshot(folder, file="snapshot-020.pt")
    source = read_project(folder, name="mice")
    assert find_snapshot(source, None, name="mice").name == "snapshot-020.pt"
    assert find_snapshot(source, path, name="mice") == path


@pytest.mark.parametrize("name", ["", "config.yaml"])
def test_weights_are_looked_for_in_the_project_then_in_the_current_folder(
    project, tmp_path, monkeypatch, name
):
    folder, _ = project
    monkeypatch.chdir(tmp_path)
    path = add_snapshot(folder)
    inside = path.relative_to(folder)
    (tmp_path / "other.pt").write_bytes(b"")
    assert project_folder(folder / name) == folder
    assert find_weights(folder / name, str(inside)) == path
    assert find_weights(Path("mice") / name, inside) == Path("mice") / inside
    assert find_weights(folder / name, path) == path
    assert find_weights(folder / name, "other.pt") == Path("other.pt")
    assert find_weights(folder / name, "none.pt") is None
    assert find_weights(folder / name, "labeled-data") is None  # a folder holds no weights
    # where both are there, the project's counts
    (tmp_path / inside).parent.mkdir(parents=True)
    (tmp_path / inside).write_bytes(b"")
    assert find_weights(folder / name, inside) == path


@pytest.mark.parametrize("name", ["", "config.yaml"])
def test_files_that_training_and_tracking_depend_on(project, tmp_path, name):
    folder, _ = project
    labels = [str(folder / LABELS) + suffix for suffix in (".csv", ".h5")]
    assert label_files(folder / name) == [str(folder / "config.yaml"), *labels]
    first = add_snapshot(folder, config=NETWORK)
    last = add_snapshot(folder, shuffle=2, config=NETWORK)
    for snapshot, network in ((first.relative_to(folder), first), (last, last)):
        assert model_files(folder / name, snapshot, name="face") == [
            str(network),
            str(network.parent / "pytorch_config.yaml"),
            str(folder / "config.yaml"),
        ]
    # one kept elsewhere is described by the project's last
    elsewhere = tmp_path / "elsewhere" / "snapshot.pt"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"")
    assert model_files(folder / name, elsewhere, name="face")[:2] == [
        str(elsewhere),
        str(last.parent / "pytorch_config.yaml"),
    ]


def test_files_are_found_without_heavy_imports(project):
    code = (
        "import sys; from sluice.video.deeplabcut_project import find_weights, model_files;"
        f"find_weights({str(project[0])!r}, 'config.yaml');"
        "assert not {'deeplabcut', 'torch', 'numpy', 'pandas', 'cv2'} & set(sys.modules)"
    )
    source = str(Path(__file__).parents[2] / "src")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": source})


def test_what_belongs_to_another_machine_is_left_out_of_the_network(project):
    folder, _ = project
    paths = {"project_path": NONSENSE_PATHS[0], "pose_config_path": NONSENSE_PATHS[1]}
    config = NETWORK | {
        "metadata": {"bodyparts": POINTS, **paths},
        "resume_training_from": "D:\\snapshot.pt",
        "logger": {"type": "WandbLogger"},
        "train_settings": {"weight_init": {"snapshot_path": "D:\\weights.pt"}},
    }
    snapshot = add_snapshot(folder, config=config)
    found = read_pose_config(read_project(folder, name="mice"), snapshot, name="mice")
    text = yaml.safe_dump(found)
    assert "D:" not in text
    assert "Wandb" not in text
    assert all(p not in text for p in NONSENSE_PATHS)


def fail(match, function, *args, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        function(*args, name="M001 leftCamera", **kwargs)
    assert str(caught.value).startswith("M001 leftCamera: ")


def test_project_that_is_not_there(tmp_path):
    fail(r"gone/config\.yaml does not exist", read_project, tmp_path / "gone")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("Task: [mice\nscorer: Ada\n", r"config\.yaml is not readable as YAML"),
        ("- mice\n", "holds list, not names and values"),
        ("", "holds NoneType"),
        ("Task: mice\nscorer: Ada\n", "lacks date, bodyparts"),
        ("Task: m\nscorer: A\ndate: J\nbodyparts: nose\n", "expected a list of different names"),
        ("Task: m\nscorer: A\ndate: J\nbodyparts: [a, a]\n", "expected a list of different names"),
    ],
)
def test_broken_config(tmp_path, text, match):
    (tmp_path / "config.yaml").write_text(text)
    fail(match, read_project, tmp_path)


def test_project_of_several_animals(tmp_path):
    write_config(tmp_path, multianimalproject=True, bodyparts="MULTI!")
    fail("is of several animals", read_project, tmp_path)


def test_labels_of_somebody_else(project):
    folder, _ = project
    write_config(folder, scorer="Bob")
    source = read_project(folder, name="x")
    fail(r"no labels of Bob .*found day1/CollectedData_Ada\.csv", read_labels, source)


def test_point_that_was_never_labelled(project):
    source = read_project(project[0], name="x")
    source = replace(source, points=(*source.points, "whisker"))
    fail("whisker of config.yaml has no label in any image", read_labels, source)


def test_missing_images_are_listed(project):
    folder, _ = project
    (folder / "labeled-data" / "day1" / "img002.png").unlink()
    source = read_project(folder, name="x")
    fail(r"1 of 4 labelled images are missing.*day1/img002\.png", read_labels, source)


def test_broken_image(project, tmp_path):
    folder, _ = project
    (folder / "labeled-data" / "day1" / "img002.png").write_bytes(b"no image")
    source = read_project(folder, name="x")
    labels = read_labels(source, name="x")
    match = r"img002\.png cannot be read as an image"
    fail(match, copy_labelled, source, labels, tmp_path / "copy", train_fraction=0.5)


def test_broken_labels(project):
    folder, _ = project
    source = read_project(folder, name="x")
    (folder / LABELS).with_suffix(".h5").write_bytes(b"no hdf5")
    fail(r"CollectedData_Ada\.h5 cannot be read.*the csv beside it is read", read_labels, source)
    (folder / LABELS).with_suffix(".h5").unlink()
    (folder / LABELS).with_suffix(".csv").write_text("scorer,Ada\nbodyparts,nose\ncoords,x\n")
    fail("has no label in any image", read_labels, source)
    pd.DataFrame({"x": [1.0]}).to_hdf((folder / LABELS).with_suffix(".h5"), key="labels")
    fail("not a table with the columns scorer, bodyparts, coords", read_labels, source)


def test_missing_snapshot_lists_those_that_are_there(project):
    folder, _ = project
    add_snapshot(folder)
    source = read_project(folder, name="x")
    fail(
        r"snapshot-99\.pt does not exist.*snapshot-010\.pt", find_snapshot, source, "snapshot-99.pt"
    )
    fail(r"snapshot-99\.pt does not exist.*snapshot-010\.pt", model_files, folder, "snapshot-99.pt")


def test_project_that_was_never_trained(project):
    source = read_project(project[0], name="x")
    fail("has no snapshot.*`train_pose` trains one", find_snapshot, source, None)


def test_project_of_tensorflow(project):
    folder, _ = project
    (folder / "dlc-models").mkdir()
    source = read_project(folder, name="x")
    fail("models of DeepLabCut's TensorFlow engine only", find_snapshot, source, None)


def test_snapshot_without_its_network(project):
    folder, _ = project
    snapshot = add_snapshot(folder)
    source = read_project(folder, name="x")
    match = r"no pytorch_config\.yaml beside .*pose_cfg\.yaml"
    fail(match, read_pose_config, source, snapshot)
    fail(match, model_files, folder, snapshot)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model": None}, "lacks model"),
        ({"metadata": {"bodyparts": []}}, r"lacks metadata\.bodyparts"),
        ({"method": "td"}, "is a td model"),
        (
            {"method": "bu", "metadata": {"bodyparts": ["a"], "individuals": ["b", "c"]}},
            "bu model of 2 animals",
        ),
    ],
)
def test_network_that_cannot_be_used(project, changes, match):
    folder, _ = project
    snapshot = add_snapshot(folder, config=NETWORK | changes)
    fail(match, read_pose_config, read_project(folder, name="x"), snapshot)
