"""A DeepLabCut project as its folder holds it: what it says, its networks and its snapshots.

Nothing here imports DeepLabCut, and nothing is ever written into a user's project.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from sluice.errors import InputError

CONFIG = "config.yaml"
MODELS = "dlc-models-pytorch"
TENSORFLOW_MODELS = "dlc-models"
POSE_CONFIG = "pytorch_config.yaml"
# Files that a message lists.
N_LISTED = 10

_SNAPSHOT = re.compile(r"snapshot-(best-)?(\d+)\.pt")


@dataclass(frozen=True)
class PoseProject:
    """What ``config.yaml`` says of a labelled project with one animal.

    Attributes
    ----------
    folder : Path
        Where the project lies now, whatever its own `project_path` says.
    config : dict
        All of ``config.yaml``.
    task, scorer, date : str
    points : tuple of str
        Body parts, in the project's order.
    """

    folder: Path
    config: dict
    task: str
    scorer: str
    date: str
    points: tuple


def project_folder(project):
    """Folder of a project that is named by its folder or by its ``config.yaml``."""
    path = Path(project)
    return path.parent if path.name == CONFIG else path


def find_weights(project, weights):
    """Find a file of weights that settings name: a snapshot, or weights to begin with.

    Parameters
    ----------
    project : path
        The project's folder, or its ``config.yaml``.
    weights : path
        Within the project's folder, or else from the current folder.

    Returns
    -------
    Path or None
        None: it is in neither.
    """
    paths = project_folder(project) / weights, Path(weights)
    return next((path for path in paths if path.is_file()), None)


def label_files(project):
    """List the files that training depends on: what the project says, and all its labels.

    Parameters
    ----------
    project : path
        The project's folder, or its ``config.yaml``.

    Returns
    -------
    list of str
    """
    folder = project_folder(project)
    labels = sorted(folder.glob("labeled-data/*/CollectedData*"))
    return [str(path) for path in (folder / CONFIG, *labels)]


def model_files(project, snapshot, *, name):
    """List the files that tracking with a named snapshot depends on.

    Parameters
    ----------
    project : path
        The project's folder, or its ``config.yaml``.
    snapshot : path
        As settings name it; see `find_weights`.
    name : str

    Returns
    -------
    list of str
        The snapshot, the ``pytorch_config.yaml`` that describes its network (see
        `read_pose_config`), and the project's ``config.yaml``.

    Raises
    ------
    InputError
        The snapshot or its description is missing.
    """
    folder = project_folder(project)
    path = find_weights(project, snapshot)
    if path is None:
        raise _no_snapshot(folder, snapshot, name)
    return [str(p) for p in (path, _pose_config_path(folder, path, name), folder / CONFIG)]


def read_project(project, *, name):
    """Read ``config.yaml`` of a project.

    Parameters
    ----------
    project : path
        The project's folder, or its ``config.yaml``.
    name : str
        How messages call what the project is for.

    Returns
    -------
    PoseProject

    Raises
    ------
    InputError
        There is no such project, its ``config.yaml`` is broken or lacks something, or it is of
        several animals.
    """
    folder = project_folder(project)
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(
            f"{name}: {path} does not exist; a DeepLabCut project is a folder with a config.yaml. "
            "Correct `project` in the settings."
        )
    config = _read_yaml(path, name)
    missing = [k for k in ("Task", "scorer", "date", "bodyparts") if not config.get(k)]
    if config.get("multianimalproject"):
        raise InputError(
            f"{name}: {path} is of several animals (multianimalproject: true). Only projects of "
            "one animal can be used: label the animal in a project of its own."
        )
    if missing:
        raise InputError(
            f"{name}: {path} lacks {', '.join(missing)}. Copy the config.yaml of the project again."
        )
    points = config["bodyparts"]
    if not isinstance(points, list) or len({str(p) for p in points}) != len(points):
        raise InputError(
            f"{name}: bodyparts of {path} is {points!r}; expected a list of different names. "
            "Correct config.yaml."
        )
    return PoseProject(
        folder=folder,
        config=config,
        task=str(config["Task"]),
        scorer=str(config["scorer"]),
        date=str(config["date"]),
        points=tuple(str(p) for p in points),
    )


def _read_yaml(path, name):
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name}: {path} is not readable as YAML: {' '.join(str(error).split())}. "
            "Correct the file, or copy it again."
        ) from None
    if not isinstance(content, dict):
        raise InputError(
            f"{name}: {path} holds {type(content).__name__}, not names and values. "
            "Copy the file again."
        )
    return content


def list_snapshots(folder):
    """Snapshots of a project's PyTorch models, the one to use last.

    That is the one of the highest iteration of the project, in it of the highest shuffle, there
    the best if DeepLabCut marked one as such, else that of most epochs.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of Path
    """
    found = []
    for path in Path(folder).glob(f"{MODELS}/iteration-*/*/train/snapshot-*.pt"):
        match = _SNAPSHOT.fullmatch(path.name)
        if match:
            training = path.parents[1]
            iteration = _last_number(training.parent.name)
            key = iteration, _last_number(training.name), bool(match[1]), int(match[2]), str(path)
            found.append((key, path))
    return [path for _, path in sorted(found)]


def _last_number(text):
    """Number at the end of a text, -1 without."""
    match = re.search(r"(\d+)$", text)
    return int(match[1]) if match else -1


def find_snapshot(project, snapshot, *, name):
    """Find the snapshot to track with.

    Parameters
    ----------
    project : PoseProject
    snapshot : path or None
        As it stands (see `find_weights` for one that settings name); None: the last of
        `list_snapshots`.
    name : str

    Returns
    -------
    Path

    Raises
    ------
    InputError
        It is missing, or the project has none.
    """
    if snapshot is not None:
        if not Path(snapshot).is_file():
            raise _no_snapshot(project.folder, snapshot, name)
        return Path(snapshot)
    there = list_snapshots(project.folder)
    if there:
        return there[-1]
    if (project.folder / TENSORFLOW_MODELS).is_dir():
        raise InputError(
            f"{name}: {project.folder} has models of DeepLabCut's TensorFlow engine only "
            f"({TENSORFLOW_MODELS}); those of its PyTorch engine ({MODELS}) can be used. Train it "
            "with `train_pose`: leave `snapshot` empty in the settings."
        )
    raise InputError(
        f"{name}: {project.folder} has no snapshot ({MODELS}/iteration-*/*/train/snapshot-*.pt). "
        "`train_pose` trains one where the settings name the project without a snapshot."
    )


def _no_snapshot(folder, snapshot, name):
    """What to say of a snapshot that is not there."""
    there = [str(p.relative_to(folder)) for p in list_snapshots(folder)]
    return InputError(
        f"{name}: the snapshot {snapshot} does not exist; snapshots of {folder}: "
        f"{list_names(there) or 'none'}. Correct `snapshot` in the settings."
    )


def _pose_config_path(folder, snapshot, name):
    """Path of the description of a snapshot's network; see `read_pose_config`."""
    beside = [Path(snapshot).parent, *(p.parent for p in list_snapshots(folder)[::-1])]
    path = next((p / POSE_CONFIG for p in beside if (p / POSE_CONFIG).is_file()), None)
    if path is None:
        raise InputError(
            f"{name}: there is no {POSE_CONFIG} beside {snapshot}, nor in {folder}; it "
            "describes the network. Copy the whole folder of the training (a project of the "
            "TensorFlow engine has pose_cfg.yaml instead and cannot be used)."
        )
    return path


def read_pose_config(project, snapshot, *, name):
    """Read the description of a snapshot's network, without what belongs to another machine.

    Parameters
    ----------
    project : PoseProject
    snapshot : path
        Its ``pytorch_config.yaml`` lies beside it; for one kept elsewhere, that beside the
        project's own last snapshot is taken.
    name : str

    Returns
    -------
    dict
        ``pytorch_config.yaml``.

    Raises
    ------
    InputError
    """
    path = _pose_config_path(project.folder, snapshot, name)
    config = _read_yaml(path, name)
    missing = [k for k in ("model", "data", "metadata") if not isinstance(config.get(k), dict)]
    if missing or not config["metadata"].get("bodyparts"):
        raise InputError(
            f"{name}: {path} lacks {', '.join(missing) or 'metadata.bodyparts'}. Copy it again."
        )
    if (
        str(config.get("method", "bu")).lower() != "bu"
        or len(config["metadata"].get("individuals") or [0]) > 1
    ):
        raise InputError(
            f"{name}: {path} is a {config.get('method')} model of "
            f"{len(config['metadata'].get('individuals') or [0])} animals; expected a bottom-up "
            "model (bu) of one. Train it with `train_pose`."
        )
    # Neither is used for tracking, and both may name files of another machine.
    config["metadata"] |= {"project_path": ".", "pose_config_path": POSE_CONFIG}
    config["resume_training_from"] = None
    config["logger"] = None
    if isinstance(config.get("train_settings"), dict):
        config["train_settings"]["weight_init"] = None
    return config


def write_yaml(content, path):
    """Write a file as DeepLabCut reads it, in the order of the keys."""
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")


def list_names(names):
    """Names for a message: the first ten, and how many more."""
    text = ", ".join(names[:N_LISTED])
    return text + (f" and {len(names) - N_LISTED} more" if len(names) > N_LISTED else "")
