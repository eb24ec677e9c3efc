"""Labels of a DeepLabCut project, and a copy of a project with only what training needs."""

import logging
import shutil
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.video.deeplabcut_project import list_names, write_yaml

logger = logging.getLogger(__name__)

LABELS = "labeled-data"


def read_labels(project, *, name):
    """Read all labels of a project.

    Every folder of ``labeled-data`` that holds labels of the project's scorer counts, also one
    that `video_sets` does not name (DeepLabCut leaves it out: projects moved between machines
    often have paths there that mean nothing). The h5 file is read where there is one, else the
    csv. Paths in the labels may be those of another machine: only the image's own name counts.

    Parameters
    ----------
    project : PoseProject
    name : str

    Returns
    -------
    DataFrame
        float64, one row an image: index (``labeled-data``, folder, image), sorted; columns
        (scorer, point, x or y) in pixels, NaN where a point is not seen.

    Raises
    ------
    InputError
        There are no labels, a file is broken, a point was never labelled, or images are missing.
    """
    root = project.folder / LABELS
    files = sorted(root.glob(f"*/CollectedData_{project.scorer}.*"))
    folders = sorted({p.parent for p in files if p.suffix in (".h5", ".csv")})
    if not folders:
        others = [str(p.relative_to(root)) for p in sorted(root.glob("*/CollectedData_*"))]
        raise InputError(
            f"{name}: {root} has no labels of {project.scorer} "
            f"(*/CollectedData_{project.scorer}.h5 or .csv); found {list_names(others) or 'none'}. "
            "Correct `scorer` in config.yaml, or copy the labels."
        )
    labels = pd.concat([_read_folder(folder, project, name) for folder in folders]).sort_index()
    seen = labels.notna().T.groupby(level=1, sort=False).any().T
    never = [p for p in project.points if not seen[p].any()]
    if never:
        raise InputError(
            f"{name}: {', '.join(never)} of config.yaml has no label in any image of {root}. Label "
            "it, or take it out of bodyparts."
        )
    n_empty = int((~seen.any(axis=1)).sum())
    if n_empty:
        logger.info("%d images without any label are left out", n_empty)
        labels = labels[seen.any(axis=1).to_numpy()]
    missing = ["/".join(key) for key in labels.index if not project.folder.joinpath(*key).is_file()]
    if missing:
        raise InputError(
            f"{name}: {len(missing)} of {len(labels)} labelled images are missing in "
            f"{project.folder}: {list_names(missing)}. Copy them, or take their rows out of the "
            "labels."
        )
    return labels


def _read_folder(folder, project, name):
    """Labels of one folder, with the project's points as columns."""
    path = folder / f"CollectedData_{project.scorer}.h5"
    path = path if path.is_file() else path.with_suffix(".csv")
    from tables.exceptions import HDF5ExtError

    try:
        table = pd.read_hdf(path) if path.suffix == ".h5" else _read_csv(path)
    except (OSError, ValueError, KeyError, HDF5ExtError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            f"{name}: {path} cannot be read ({reason}). Copy it again"
            + (", or remove it, then the csv beside it is read." if path.suffix == ".h5" else ".")
        ) from None
    if not isinstance(table, pd.DataFrame) or table.columns.nlevels != 3:
        raise InputError(
            f"{name}: {path} is not a table with the columns scorer, bodyparts, coords. Save the "
            "labels again."
        )
    # its own name, whoever wrote the path and on which machine
    images = [PureWindowsPath(k[-1] if isinstance(k, tuple) else k).name for k in table.index]
    table.columns = pd.MultiIndex.from_tuples(
        [(project.scorer, str(point), str(axis)) for _, point, axis in table.columns],
        names=["scorer", "bodyparts", "coords"],
    )
    table.index = pd.MultiIndex.from_product([[LABELS], [folder.name], images])
    is_double = table.index.duplicated(keep="last")
    if is_double.any():
        logger.warning(
            "%s: %s has %d images twice; the last row counts", name, path, is_double.sum()
        )
    columns = pd.MultiIndex.from_product(
        [[project.scorer], project.points, ["x", "y"]], names=table.columns.names
    )
    table = table[~is_double].reindex(columns=columns).astype(np.float64)
    # a point without one of its coordinates is not known
    pairs = table.to_numpy(copy=True).reshape(len(table), len(project.points), 2)
    pairs[np.isnan(pairs).any(axis=2)] = np.nan
    return pd.DataFrame(pairs.reshape(table.shape), table.index, table.columns)


def _read_csv(path):
    """Labels as csv, with the image in one column (path) or in three."""
    with path.open(encoding="utf-8-sig") as file:
        n_index = 3 if file.readline().startswith("scorer,,,") else 1
    return pd.read_csv(
        path,
        header=[0, 1, 2],
        index_col=list(range(n_index)) if n_index > 1 else 0,
        encoding="utf-8-sig",
        float_precision="round_trip",
    )


def copy_labelled(project, labels, folder, *, train_fraction, name):
    """Write a project of its own with the labelled images, and without absolute paths.

    Of ``config.yaml`` only what names the project and its points is taken: DeepLabCut refuses
    files with keys that it does not know, as other versions and tools write them.

    Parameters
    ----------
    project : PoseProject
    labels : DataFrame
        Of `read_labels`.
    folder : Path
        Written.
    train_fraction : float
        Part of the images that is trained on.
    name : str

    Returns
    -------
    list of (int, int)
        Every height and width that images have (px), sorted.

    Raises
    ------
    InputError
        An image cannot be read.
    """
    videos, sizes = {}, set()
    for video, rows in labels.groupby(level=1):
        (folder / LABELS / video).mkdir(parents=True)
        for key in rows.index:
            shutil.copyfile(project.folder.joinpath(*key), folder.joinpath(*key))
            height, width = read_image(folder.joinpath(*key), name=name).shape[:2]
            sizes.add((height, width))
        videos[f"videos/{video}.mp4"] = {"crop": f"0, {width}, 0, {height}"}
        path = folder / LABELS / video / f"CollectedData_{project.scorer}"
        rows.to_hdf(f"{path}.h5", key="df_with_missing", mode="w")
        rows.to_csv(f"{path}.csv")
    if len(sizes) > 1:
        logger.info("images are of %d sizes: %s (height, width)", len(sizes), sorted(sizes))
    content = {
        "Task": project.task,
        "scorer": project.scorer,
        "date": project.date,
        "multianimalproject": False,
        "identity": None,
        "project_path": ".",
        "engine": "pytorch",
        "video_sets": videos,
        "bodyparts": list(project.points),
        "TrainingFraction": [round(train_fraction, 2)],
        "iteration": 0,
        "snapshotindex": -1,
    }
    write_yaml(content, folder / "config.yaml")
    return sorted(sizes)


def read_image(path, *, name):
    """Read an image.

    Returns
    -------
    uint8 array, shape (height, width, 3)
        Red, green, blue.

    Raises
    ------
    InputError
    """
    import cv2

    image = cv2.imread(str(path))
    if image is None:
        raise InputError(f"{name}: {path} cannot be read as an image. Copy it again.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def forget_times(folder):
    """Take the times of writing out of a project's files, so that they are the same each time.

    Parameters
    ----------
    folder : Path
        Its h5 files are written anew without the times of their arrays; the free text at the
        beginning of its mat files, which holds the date, is replaced.
    """
    for path in sorted(folder.rglob("*.h5")):
        _copy_without_times(path)
    for path in sorted(folder.rglob("*.mat")):
        with path.open("r+b") as file:
            file.write(b"MATLAB 5.0 MAT-file".ljust(116))


def _copy_without_times(path):
    """Write a table of pandas (fixed format) anew."""
    import tables

    part = Path(f"{path}.part")
    with tables.open_file(path) as old, tables.open_file(part, "w") as new:
        for node in old.walk_nodes("/"):
            if node._v_pathname == "/":
                made = new.root
            elif isinstance(node, tables.Group):
                made = new.create_group(node._v_parent._v_pathname, node._v_name)
            else:
                where = node._v_parent._v_pathname
                made = new.create_array(where, node._v_name, node.read(), track_times=False)
            node._v_attrs._f_copy(made)
    part.replace(path)
