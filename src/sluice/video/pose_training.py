"""How a pose network and its training are described to DeepLabCut."""

from sluice.errors import InputError
from sluice.video.pose_model import scaled_size

# Networks by DeepLabCut's own descriptions; all others are ResNets of timm in the first one's.
OWN_NETWORKS = ("resnet_50", "resnet_101", "hrnet_w18", "hrnet_w32", "hrnet_w48")
# Images of these many pixels in both directions pass a network without a rest.
MULTIPLE_PX = 32


def network_config(config, settings, name):
    """What describes the network, by places in DeepLabCut's configuration.

    Parameters
    ----------
    config : deeplabcut.pose_estimation_pytorch.config.PoseConfig
        As DeepLabCut makes it for the network of `OWN_NETWORKS` that stands for all ResNets.
    settings : dict
        ``TrainPose``.
    name : str

    Returns
    -------
    dict

    Raises
    ------
    InputError
        `net_type` is not known.
    """
    changes = {}
    net_type = settings["net_type"]
    head = config["model"]["heads"]["bodypart"]
    changes["model.heads.bodypart.target_generator.pos_dist_thresh"] = settings["point_radius_px"]
    if net_type.startswith("hrnet"):
        return changes
    changes["model.backbone.output_stride"] = settings["output_stride"]
    if net_type not in OWN_NETWORKS:
        n_channels = _channels(net_type, name)
        changes["model.backbone.model_name"] = net_type
        changes["model.backbone_output_channels"] = n_channels
        for part in ("heatmap_config", "locref_config"):
            channels = [n_channels, *head[part]["channels"][1:]]
            changes[f"model.heads.bodypart.{part}.channels"] = channels
    return changes


def _channels(net_type, name):
    """Channels of the last layer of one of timm's ResNets."""
    import timm

    known = timm.list_models("resnet*")
    if net_type not in known:
        raise InputError(
            f"{name}: net_type {net_type!r} is not known; expected one of "
            f"{', '.join(OWN_NETWORKS)}, or a ResNet of timm: {', '.join(known)}."
        )
    return timm.create_model(net_type, pretrained=False).num_features


def training_config(sizes, settings, name):
    """How it is trained, by places in DeepLabCut's configuration.

    Parameters
    ----------
    sizes : list of (int, int)
        Every height and width that images have (px).
    settings : dict
        ``TrainPose``.
    name : str

    Returns
    -------
    dict
        With `image_scale` the resize fits images of the largest size, for DeepLabCut itself;
        `ScaledTransform` takes its place here.

    Raises
    ------
    InputError
        An image is too small.
    """
    scale = settings["image_scale"]
    height, width = _crop_size(sizes, settings, name)
    resize = None
    if scale < 1:
        largest = scaled_size([max(px) for px in zip(*sizes, strict=True)], scale)
        resize = {"height": largest[0], "width": largest[1], "keep_ratio": True}
    return {
        "data.inference.resize": resize,
        "data.train.resize": resize,
        "data.train.affine": {
            "p": 0.5,
            "rotation": settings["rotation_deg"],
            "scaling": [settings["min_zoom"], settings["max_zoom"]],
            "translation": 0,
        },
        "data.train.crop_sampling": {
            "width": width,
            "height": height,
            "max_shift": 0.1,
            "method": "hybrid",
        },
        "data.train.gaussian_noise": settings["noise"] or False,
        "data.train.motion_blur": settings["motion_blur"],
        "runner.optimizer": {"type": "AdamW", "params": {"lr": settings["learning_rate"]}},
        "runner.scheduler": _schedule(settings),
        "runner.eval_interval": settings["validate_every"],
        # the metric by which DeepLabCut keeps a best snapshot beside the last
        "runner.key_metric": "test.mAP" if settings["keep"] == "best" else "none",
        "runner.snapshots.max_snapshots": 1,
        "runner.snapshots.save_epochs": settings["epochs"],
        "train_settings.batch_size": settings["batch_size"],
        "train_settings.epochs": settings["epochs"],
        "train_settings.seed": settings["seed"],
        "train_settings.display_iters": 10**9,
    }


def _crop_size(sizes, settings, name):
    """Height and width of the pieces that are trained on (px).

    They fit into every image: DeepLabCut fills up smaller ones with black. The network would
    learn to find points by such borders, which frames do not have when they are tracked.
    """
    scale = settings["image_scale"]
    for size in sizes:
        seen = scaled_size(size, scale)
        if min(seen) < MULTIPLE_PX:
            raise InputError(
                f"{name}: an image of {size[1]} x {size[0]} px is {seen[1]} x {seen[0]} px with "
                f"image_scale {scale:g}; at least {MULTIPLE_PX} x {MULTIPLE_PX} px are needed. Set "
                "a larger image_scale, or take the image out of the labels."
            )
    smallest = scaled_size([min(px) for px in zip(*sizes, strict=True)], scale)
    return tuple(min(settings["crop_px"], px) // MULTIPLE_PX * MULTIPLE_PX for px in smallest)


def _schedule(settings):
    """Learning rates; see `TrainPose`."""
    epochs, rate = settings["epochs"], settings["learning_rate"]
    if settings["schedule"] == "one_cycle":
        n_up = max(1, round(0.1 * epochs))
        parts = [
            {"type": "LinearLR", "params": {"start_factor": 0.1, "total_iters": n_up}},
            {"type": "CosineAnnealingLR", "params": {"T_max": max(1, epochs - n_up)}},
        ]
        return {"type": "SequentialLR", "params": {"schedulers": parts, "milestones": [n_up]}}
    return {
        "type": "LRListScheduler",
        "params": {
            "lr_list": [[rate / 5], [rate / 50]],
            "milestones": [max(1, round(0.45 * epochs)), max(2, round(0.6 * epochs))],
        },
    }
