"""Train a pose model on a labelled DeepLabCut project."""

import json
import logging
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from sluice.errors import InputError, SettingsError
from sluice.qc import check, log_checks, save_checks
from sluice.video.deeplabcut_project import (
    POSE_CONFIG,
    list_snapshots,
    read_pose_config,
    read_project,
    write_yaml,
)
from sluice.video.pose_labels import copy_labelled, forget_times, read_image, read_labels
from sluice.video.pose_model import (
    ScaledTransform,
    build_network,
    compare_weights,
    import_deeplabcut,
    load_weights,
    make_tracker,
    save_image_scale,
    set_threads,
    sha256,
)
from sluice.video.pose_training import OWN_NETWORKS, network_config, training_config

logger = logging.getLogger(__name__)

MIN_IMAGES = 2
# Where DeepLabCut's configuration changes the size of images.
RESIZES = ("data.train.resize", "data.inference.resize")


def train_pose_file(
    *,
    project,
    initial_weights,
    project_out,
    evaluation,
    model_info,
    checks,
    settings,
    device,
    threads,
    name,
):
    """Train a pose model on a labelled project, and measure how well it finds the labels.

    The project is copied with its labelled images, so that the user's own is never written to;
    the copy can be moved, opened with DeepLabCut and used by `track_pose_file`. Training is
    DeepLabCut's, from random weights or from `initial_weights`. With the same seed, threads and
    kind of CPU it gives the same weights; a GPU does not promise that.

    Parameters
    ----------
    project : path
        Folder of the project or its ``config.yaml``.
    initial_weights : path or None
        Snapshot of the same network, as it stands (see `find_weights` for one that settings
        name). Layers that depend on the number of points are taken where that is the same, and
        are random otherwise.
    project_out : path
        Folder; written. ``config.yaml`` and labelled images, DeepLabCut's files of the training
        set, and the one snapshot that is kept.
    evaluation : path
        tsv, a row for each point and one for all, for the images trained on and for the others;
        written: `images` (train, test), `point`, `n_labels`, `mean_error_px` (of the distance
        from the label; DeepLabCut calls it RMSE), `rms_error_px`, `median_error_px`,
        `n_confident` (labels whose point has at least the likelihood `likelihood_min`),
        `mean_confident_error_px`. Pixels of the images as labelled.
    model_info : path
        json; written: task, scorer, date, points, net, snapshot (within `project_out`) and its
        sha256, epochs, image_scale, number of images, version of DeepLabCut.
    checks : path
        ``checks.json``; written.
    settings : dict
        ``TrainPose``.
    device : str
        ``cpu`` or ``cuda``.
    threads : int
    name : str
        How messages call the model.

    Raises
    ------
    InputError
        The project, its labels or the weights cannot be used; see `read_project` and
        `read_labels`.
    SettingsError
        The settings do not fit DeepLabCut, or the training diverged.
    """
    source = read_project(project, name=name)
    labels = read_labels(source, name=name)
    train, test = split_images(len(labels), settings["test_fraction"], settings["seed"], name=name)
    logger.info(
        "%s: %d images of %d points, %d to train on and %d to test",
        source.folder,
        len(labels),
        len(source.points),
        len(train),
        len(test),
    )
    set_threads(threads)
    folder = Path(project_out).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    part = len(train) / len(labels)
    sizes = copy_labelled(source, labels, folder, train_fraction=part, name=name)
    loader = _make_training_set(folder, train, test, sizes, settings, name)
    snapshot = _train(loader, initial_weights, settings, device, name)
    _make_movable(folder, loader.model_folder)
    forget_times(folder)
    table = evaluate_labels(
        folder, snapshot, labels, test, settings["likelihood_min"], device, name=name
    )
    table.to_csv(evaluation, sep="\t", index=False, float_format="%.4f")
    _save_info(model_info, source, snapshot, folder, settings, len(train), len(test))
    found = _checks(table, settings)
    save_checks(found, checks)
    log_checks(found)


def split_images(n_images, test_fraction, seed, *, name):
    """Draw the images that are not trained on.

    Parameters
    ----------
    n_images : int
    test_fraction : float
        Of all images; at least one is tested and at least one is trained on.
    seed : int
    name : str

    Returns
    -------
    train, test : int64 array
        Numbers of the images, ascending.

    Raises
    ------
    InputError
        There are fewer than two images.
    """
    if n_images < MIN_IMAGES:
        raise InputError(
            f"{name}: the project has {n_images} labelled image; at least {MIN_IMAGES} are needed, "
            "one to train on and one to test. Label more."
        )
    n_test = min(n_images - 1, max(1, round(n_images * test_fraction)))
    order = np.random.default_rng(seed).permutation(n_images)
    return np.sort(order[n_test:]), np.sort(order[:n_test])


def _make_training_set(folder, train, test, sizes, settings, name):
    """Let DeepLabCut make its files, and describe the network; return its loader."""
    described = training_config(sizes, settings, name)
    _require_one_resize(settings, name)
    deeplabcut = import_deeplabcut()
    from deeplabcut.core.engine import Engine
    from deeplabcut.generate_training_dataset import create_training_dataset

    net_type = settings["net_type"]
    create_training_dataset(
        str(folder / "config.yaml"),
        Shuffles=[1],
        userfeedback=False,
        trainIndices=[train.tolist()],
        testIndices=[test.tolist()],
        net_type=net_type if net_type in OWN_NETWORKS else OWN_NETWORKS[0],
        engine=Engine.PYTORCH,
    )
    loader = deeplabcut.DLCLoader(folder / "config.yaml", trainset_index=0, shuffle=1)
    loader.update_model_cfg(described | network_config(loader.model_cfg, settings, name))
    try:
        loader.update_model_cfg(settings["pytorch_config"])
    except (ValueError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"{name}: pytorch_config of the settings does not fit DeepLabCut's "
            f"pytorch_config.yaml: {' '.join(str(error).split())}. Expected places with dots and "
            "values as in that file, e.g. data.train.hist_eq: true."
        ) from None
    return loader


def _require_one_resize(settings, name):
    """Refuse a resize of DeepLabCut's beside `image_scale`, which takes its place."""
    both = [k for k in settings["pytorch_config"] if k.startswith(RESIZES)]
    if both and settings["image_scale"] < 1:
        raise SettingsError(
            f"{name}: pytorch_config of the settings has {', '.join(both)} beside image_scale "
            f"{settings['image_scale']:g}, which makes images smaller itself. Set one of them only."
        )


def _train(loader, initial_weights, settings, device, name):
    """Train; return the snapshot that is kept, the only one left."""
    deeplabcut = import_deeplabcut()
    import torch

    config = loader.model_cfg
    deeplabcut.fix_seeds(settings["seed"])
    weights = build_network(config).state_dict()
    if initial_weights is not None:
        weights |= _fitting_weights(initial_weights, weights, name)
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "snapshot-000.pt"
        torch.save({"model": weights, "metadata": {"epoch": 0}}, first)
        deeplabcut.fix_seeds(settings["seed"])
        deeplabcut.train(
            loader=loader,
            run_config=config,
            task=deeplabcut.Task.BOTTOM_UP,
            device=device,
            snapshot_path=first,
            **_scaled_transforms(config, settings["image_scale"]),
        )
    *others, chosen = list_snapshots(loader.project_path)
    for path in others:
        path.unlink()
    if settings["image_scale"] < 1:
        save_image_scale(chosen, settings["image_scale"], name=name)
    return chosen


def _scaled_transforms(config, image_scale):
    """What DeepLabCut does to images instead of what its configuration says, if anything."""
    if image_scale == 1:
        return {}
    data = config["data"]
    return {
        "transform": ScaledTransform(data["train"].to_dict(), image_scale),
        "inference_transform": ScaledTransform(data["inference"].to_dict(), image_scale),
    }


def _fitting_weights(path, network, name):
    """Weights of a snapshot that fit the network: all, or all but the last layers."""
    found = load_weights(path, name=name)

    def backbone(weights):
        return {k: v for k, v in weights.items() if not k.startswith("heads.")}

    differences = compare_weights(backbone(found), backbone(network))
    if differences:
        raise InputError(
            f"{name}: {path} is of another architecture than the network to be trained: it "
            f"{'; '.join(differences)}. Set net_type to that of the weights, or name other weights."
        )
    if compare_weights(found, network):
        logger.info("%s: only the layers that do not depend on the points are taken", path)
        return backbone(found)
    return found


def _make_movable(folder, model_folder):
    """Take out of the project's files where it lies."""
    path = model_folder / POSE_CONFIG
    project = read_project(folder, name=str(folder))
    (snapshot,) = list_snapshots(folder)
    config = read_pose_config(project, snapshot, name=str(folder))
    config["metadata"]["pose_config_path"] = str(path.relative_to(folder))
    write_yaml(config, path)
    # what DeepLabCut's trackers of several animals read
    path = model_folder.parent / "test" / "pose_cfg.yaml"
    write_yaml(yaml.safe_load(path.read_text(encoding="utf-8")) | {"dataset": "."}, path)
    write_yaml(project.config | {"project_path": "."}, folder / "config.yaml")


def evaluate_labels(folder, snapshot, labels, test, likelihood_min, device, *, name):
    """Distance of found points from labels; see `train_pose_file`.

    Parameters
    ----------
    folder : Path
        Project with the images.
    snapshot : Path
    labels : DataFrame
        Of `read_labels`.
    test : int array
        Numbers of the images that were not trained on.
    likelihood_min : float
    device : str
    name : str

    Returns
    -------
    DataFrame

    Raises
    ------
    SettingsError
        The training diverged.
    """
    project = read_project(folder, name=name)
    config = read_pose_config(project, snapshot, name=name)
    track = make_tracker(config, snapshot, batch_size=1, device=device)
    # one by one, since a batch holds images of one size only
    images = (read_image(folder.joinpath(*key), name=name) for key in labels.index)
    found = np.concatenate([track([image]) for image in images])
    if not np.isfinite(found).all():
        raise SettingsError(
            f"{name}: what the trained network gives is not a number: the training diverged. Set "
            "a lower learning_rate, or a larger batch_size."
        )
    truth = labels.to_numpy().reshape(len(labels), len(project.points), 2)
    error_px = np.linalg.norm(found[:, :, :2] - truth, axis=2)
    is_confident = found[:, :, 2] >= likelihood_min
    is_test = np.isin(np.arange(len(labels)), test)
    return pd.DataFrame(
        [
            {"images": images, "point": point, **_errors(error_px[part], is_confident[part])}
            for images, chosen in (("train", ~is_test), ("test", is_test))
            for point, part in [
                ("all", (chosen,)),
                *((p, (chosen, i)) for i, p in enumerate(project.points)),
            ]
        ]
    )


def _errors(error_px, is_confident):
    """Measures of the errors where there are labels; NaN where there are none."""
    is_labelled = ~np.isnan(error_px)
    confident = error_px[is_labelled & is_confident]
    error_px = error_px[is_labelled]
    return {
        "n_labels": error_px.size,
        "mean_error_px": error_px.mean() if error_px.size else np.nan,
        "rms_error_px": np.sqrt(np.mean(error_px**2)) if error_px.size else np.nan,
        "median_error_px": np.median(error_px) if error_px.size else np.nan,
        "n_confident": confident.size,
        "mean_confident_error_px": confident.mean() if confident.size else np.nan,
    }


def _save_info(path, project, snapshot, folder, settings, n_train, n_test):
    content = {
        "task": project.task,
        "scorer": project.scorer,
        "date": project.date,
        "points": list(project.points),
        "net": settings["net_type"],
        "snapshot": str(snapshot.relative_to(folder)),
        "snapshot_sha256": sha256(snapshot),
        "epochs": settings["epochs"],
        "image_scale": settings["image_scale"],
        "n_train_images": n_train,
        "n_test_images": n_test,
        "deeplabcut": version("deeplabcut"),
    }
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _checks(table, settings):
    """Judge the errors."""
    found = []
    for images in ("train", "test"):
        rows = table[table["images"] == images].set_index("point")
        error_px = rows["mean_error_px"]
        points = error_px.drop("all").dropna()
        worst = f"worst: {points.idxmax()} {points.max():.1f} px" if len(points) else "no labels"
        found.append(
            check(
                f"pose_{images}_error_px",
                error_px["all"],
                unit="px",
                message=f"mean of {rows.loc['all', 'n_labels']} labels; {worst}",
                **settings["checks"][f"pose_{images}_error_px"],
            )
        )
    return found
