"""DeepLabCut's networks: its import, their weights, and points in images."""

import hashlib
import logging
import os
import pickle
from importlib.metadata import version
from pathlib import Path

import numpy as np

from sluice.errors import InputError
from sluice.torchvision_ops import define_torchvision_ops

logger = logging.getLogger(__name__)

# Parameters of a network that a message lists.
N_LISTED = 3
# Where a snapshot's metadata say how much smaller images are made.
IMAGE_SCALE = "sluice_image_scale"


def import_deeplabcut():
    """Import DeepLabCut without a window, and so that nothing is ever downloaded.

    Its GUI is left out where matplotlib has no screen; the libraries that hold weights
    (huggingface_hub, transformers) and the one that looks for its own newer version
    (albumentations) are told to stay offline. The variables stay set for the process.

    Returns
    -------
    module
        ``deeplabcut.pose_estimation_pytorch``.
    """
    os.environ["MPLBACKEND"] = "Agg"
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "NO_ALBUMENTATIONS_UPDATE"):
        os.environ[variable] = "1"
    define_torchvision_ops()
    import deeplabcut.pose_estimation_pytorch

    return deeplabcut.pose_estimation_pytorch


def set_threads(threads):
    """Let torch use no more cores than the job has."""
    import torch

    torch.set_num_threads(threads)


def load_weights(path, *, name):
    """Read the weights of a snapshot, without running code that it may hold.

    Parameters
    ----------
    path : path
        ``.pt`` of DeepLabCut's PyTorch engine.
    name : str

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    InputError
        It is missing, broken, or something else.
    """
    return _load_snapshot(path, name)["model"]


def load_image_scale(path, *, name):
    """Read how much smaller a network saw the images, from its snapshot.

    Parameters
    ----------
    path : path
    name : str

    Returns
    -------
    float or None
        Factor below 1, as `save_image_scale` wrote it; None: frames go through the network as
        its ``pytorch_config.yaml`` says.

    Raises
    ------
    InputError
        See `load_weights`.
    """
    return (_load_snapshot(path, name).get("metadata") or {}).get(IMAGE_SCALE)


def save_image_scale(path, image_scale, *, name):
    """Write into a snapshot how much smaller its network saw the images.

    There it stays with the weights wherever they are copied. DeepLabCut's own resize knows
    boxes to fit into only: frames of another size than the labelled ones would be seen at
    another scale.

    Parameters
    ----------
    path : path
        Snapshot; written anew.
    image_scale : float
    name : str
    """
    import torch

    content = _load_snapshot(path, name)
    content["metadata"] = (content.get("metadata") or {}) | {IMAGE_SCALE: image_scale}
    torch.save(content, path)


def _load_snapshot(path, name):
    """All that a snapshot holds; see `load_weights`."""
    import torch

    if not Path(path).is_file():
        raise InputError(f"{name}: {path} does not exist. Correct the path in the settings.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            f"{name}: {path} cannot be read as a snapshot ({str(error).splitlines()[0]}). "
            "Expected a .pt of DeepLabCut's PyTorch engine; copy it again."
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise InputError(
            f"{name}: {path} holds no `model`: it is not a snapshot of DeepLabCut's PyTorch "
            "engine. Name another file."
        )
    return content


def compare_weights(found, expected):
    """Say how the weights of a snapshot differ from those of a network.

    Parameters
    ----------
    found, expected : dict of str to torch.Tensor

    Returns
    -------
    list of str
        A sentence for each kind of difference; empty where they fit.
    """
    lacking = [k for k in expected if k not in found]
    surplus = [k for k in found if k not in expected]
    other = [
        f"{k} {tuple(found[k].shape)} instead of {tuple(expected[k].shape)}"
        for k in expected
        if k in found and found[k].shape != expected[k].shape
    ]
    kinds = (("lacks", lacking), ("has more", surplus), ("has of another shape", other))
    return [
        f"{what} {len(names)} of the network's {len(expected)} ({', '.join(names[:N_LISTED])}"
        + (", …)" if len(names) > N_LISTED else ")")
        for what, names in kinds
        if names
    ]


def build_network(config):
    """Make the network of a ``pytorch_config.yaml`` with random weights.

    Parameters
    ----------
    config : dict

    Returns
    -------
    deeplabcut.pose_estimation_pytorch.models.PoseModel
    """
    import_deeplabcut()
    from deeplabcut.pose_estimation_pytorch.models import PoseModel

    return PoseModel.build(dict(config["model"]), pretrained_backbone=False)


def require_fitting(weights, config, path, *, name):
    """Check that the weights of a snapshot are those of the network that is described.

    Raises
    ------
    InputError
    """
    differences = compare_weights(weights, build_network(config).state_dict())
    if differences:
        net = config["model"].get("backbone", {}).get("model_name", config.get("net_type"))
        raise InputError(
            f"{name}: {path} is of another architecture than {net} with "
            f"{len(config['metadata']['bodyparts'])} points, which its pytorch_config.yaml "
            f"describes: it {'; '.join(differences)}. Name a snapshot and the project that it "
            "was trained in."
        )


def require_readable(config, path, *, name):
    """Check that this version of DeepLabCut accepts the description of a network.

    Parameters
    ----------
    config : dict
        Of `read_pose_config`.
    path : path
        Of the snapshot.
    name : str

    Raises
    ------
    InputError
    """
    import_deeplabcut()
    from deeplabcut.pose_estimation_pytorch.config import PoseConfig
    from pydantic import ValidationError

    try:
        PoseConfig.from_any(config)
    except ValidationError as error:
        raise InputError(
            f"{name}: pytorch_config.yaml of {path} is not as DeepLabCut {version('deeplabcut')} "
            f"has it: {' '.join(str(error).split())}. Correct it, or train again."
        ) from None


def scaled_size(size, image_scale):
    """Height and width of an image after it was made smaller (px).

    Parameters
    ----------
    size : (int, int)
        Height and width (px).
    image_scale : float

    Returns
    -------
    (int, int)
    """
    return tuple(round(px * image_scale) for px in size)


class ScaledTransform:
    """DeepLabCut's transform of images, with a resize by one factor whatever their size.

    Parameters
    ----------
    config : dict
        ``data.train`` or ``data.inference`` of ``pytorch_config.yaml``; its own resize is not
        used.
    image_scale : float
    """

    def __init__(self, config, image_scale):
        self._config = config
        self._image_scale = image_scale
        self._by_size = {}

    def __call__(self, *, image, **targets):
        """Transform an image and its labels, as a transform of albumentations does."""
        size = image.shape[:2]
        if size not in self._by_size:
            self._by_size[size] = self._build(size)
        return self._by_size[size](image=image, **targets)

    def _build(self, size):
        from deeplabcut.pose_estimation_pytorch.data.transforms import build_transforms

        height, width = scaled_size(size, self._image_scale)
        resize = {"height": height, "width": width, "keep_ratio": False}
        return build_transforms(self._config | {"resize": resize})


def make_tracker(config, snapshot, *, batch_size, device):
    """Make what finds the points in images.

    DeepLabCut's inference runs in one thread. With a second it may lose the result of an image:
    one thread appends to a list that the other replaces. It would have saved 7 % of the time on
    two cores (ResNet-10 of stride 16, frames of 640 x 480 px: 149 and 159 ms each).

    Parameters
    ----------
    config : dict
        Of `read_pose_config`.
    snapshot : path
        It may say at which scale it sees images; see `save_image_scale`.
    batch_size : int
        Images of one size that the network sees at once.
    device : str
        ``cpu`` or ``cuda``.

    Returns
    -------
    callable
        Takes images, an iterable of uint8 arrays (height, width, 3; red, green, blue); returns
        float64 (n_images, n_points, 3): x and y (px, from where the labels were counted:
        DeepLabCut's labellers take the centre of the first pixel as 0) and likelihood (0 to 1).
    """
    deeplabcut = import_deeplabcut()
    from deeplabcut.pose_estimation_pytorch.config import PoseConfig

    image_scale = load_image_scale(snapshot, name=str(snapshot))
    transform = None
    if image_scale is not None:
        whole = PoseConfig.from_any(config)
        transform = ScaledTransform(whole["data"]["inference"].to_dict(), image_scale)
    runner = deeplabcut.get_pose_inference_runner(
        config | {"runner": (config.get("runner") or {}) | {"load_weights_only": True}},
        snapshot,
        batch_size=batch_size,
        device=device,
        max_individuals=1,
        transform=transform,
        inference_cfg=(config.get("inference") or {}) | {"multithreading": {"enabled": False}},
    )
    n_points = len(config["metadata"]["bodyparts"])

    def track(images):
        poses = [found["bodyparts"][0, :, :3] for found in runner.inference(images)]
        return np.array(poses, np.float64).reshape(-1, n_points, 3)

    return track


def sha256(path):
    """Hash of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
