"""suite2p's import and its settings: from ours to the dictionaries its functions take."""

import contextlib
import difflib
import logging
import os
import tempfile
from pathlib import Path

from sluice.errors import UserError
from sluice.torchvision_ops import define_torchvision_ops

logger = logging.getLogger(__name__)

WHERE = "ophys.segment_plane.suite2p"

# Parameters with a setting of their own, and those that nothing here reads.
RESERVED = {
    "torch_device": "the job's device is used",
    "fs": "the rate of the plane is used",
    "tau": "the decay time of the plane's indicator is used",
    "diameter": "set ophys.segment_plane.diameter_px",
    "detection.algorithm": "set ophys.segment_plane.algorithm",
    "detection.threshold_scaling": "set ophys.segment_plane.threshold_scaling",
    "detection.sparsery_settings.spatial_scale": "set ophys.segment_plane.spatial_scale",
    "detection.bin_size": "set ophys.segment_plane.bin_s",
    "detection.nbins": "set ophys.segment_plane.max_bins",
    "detection.denoise": "set ophys.segment_plane.denoise",
    "detection.max_overlap": "set ophys.segment_plane.max_overlap",
    "extraction.neuropil_coefficient": "set ophys.segment_plane.neuropil_coefficient",
    "classification.use_builtin_classifier": "suite2p's own classifier is always used",
    "classification.classifier_path": "suite2p's own classifier is always used",
    "classification.preclassify": "no ROI is dropped for its class; `label_rois` labels them",
    "version": "it is that of the installed suite2p",
    "detection.chan2_threshold": "no second channel is searched",
    "detection.cellpose_chan2": "no second channel is searched",
    "detection.cellpose_settings.params_chan2": "no second channel is searched",
    "detection.cellpose_settings.cellpose_model": "set ophys.segment_plane.cellpose_model",
    "detection.cellpose_settings.img": "set ophys.segment_plane.cellpose_image",
    "detection.cellpose_settings.highpass_spatial": "it is not passed to cellpose",
    "detection.cellpose_settings.params": "it is not passed to cellpose",
    "extraction.batch_size": "frames are read in batches that fit into memory",
    "extraction.snr_threshold": "no ROI is dropped for its signal",
}
UNUSED_GROUPS = {
    "run": "the workflow decides what is run",
    "io": "the workflow decides what is written",
    "registration": "set ophys.register_plane",
}


def import_suite2p():
    """Import suite2p whatever torchvision and the home folder are like.

    suite2p makes ``~/.suite2p`` when it is imported. Where the home folder cannot be written
    it is given an empty folder for the time of the import. Nothing in that folder is used
    either way: settings start from `suite2p.default_settings`, not from those its GUI saved
    (suite2p#1248: such a file of another version breaks every run), and ROIs are classified
    by the classifier that suite2p comes with.

    Returns
    -------
    module
        ``suite2p``.
    """
    define_torchvision_ops()
    with _writable_home():
        import suite2p
    return suite2p


@contextlib.contextmanager
def _writable_home():
    folder = Path.home() / ".suite2p" / "settings"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.info("%s cannot be made (%s): suite2p gets an empty home folder", folder, error)
    else:
        yield
        return
    old = os.environ.get("HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        try:
            yield
        finally:
            if old is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = old


def suite2p_settings(settings, info, *, device):
    """Fill suite2p's settings for the segmentation of one plane.

    suite2p's functions read keys of nested dictionaries without defaults, so that a part of
    a dictionary is a KeyError. All its defaults stand here, and single values are changed.

    Parameters
    ----------
    settings : dict
        ``ophys.segment_plane``.
    info : PlaneInfo
    device : str
        ``cpu`` or ``cuda``.

    Returns
    -------
    dict
        As `suite2p.default_settings`.

    Raises
    ------
    UserError
        A parameter is unknown to suite2p, or has a setting of its own.
    """
    filled = import_suite2p().default_settings()
    filled["torch_device"] = device
    filled["fs"] = info.sampling_rate_hz
    filled["tau"] = info.decay_s
    filled["diameter"] = [settings["diameter_px"]] * 2
    filled["classification"]["use_builtin_classifier"] = True
    detection = filled["detection"]
    detection["algorithm"] = settings["algorithm"]
    detection["threshold_scaling"] = settings["threshold_scaling"]
    detection["sparsery_settings"]["spatial_scale"] = settings["spatial_scale"]
    detection["nbins"] = settings["max_bins"]
    detection["denoise"] = settings["denoise"]
    detection["max_overlap"] = settings["max_overlap"]
    filled["extraction"]["neuropil_coefficient"] = settings["neuropil_coefficient"]
    override(filled, settings["suite2p"])
    return filled


def override(filled, changes):
    """Change values of nested dictionaries by dotted names, in place.

    Parameters
    ----------
    filled : dict
        Complete settings of suite2p.
    changes : dict
        Dotted name of a parameter, e.g. ``detection.highpass_time``, and its value.

    Raises
    ------
    UserError
        All names that are unknown, each with the nearest known one, or that may not be set.
    """
    known = [n for n in _leaves(filled) if n not in RESERVED and _group(n) not in UNUSED_GROUPS]
    problems = []
    for name, value in changes.items():
        reason = RESERVED.get(name) or UNUSED_GROUPS.get(_group(name))
        if reason is not None:
            problems.append(f"{name}: cannot be set here; {reason}")
        elif name not in known:
            near = _nearest(name, known)
            hint = f"did you mean '{near}'?" if near else f"known: {', '.join(known)}"
            problems.append(f"{name}: is not a parameter of suite2p; {hint}")
        else:
            *groups, key = name.split(".")
            place = filled
            for group in groups:
                place = place[group]
            place[key] = value
    if problems:
        lines = "\n".join(f"  - {p}" for p in problems)
        raise UserError(f"{WHERE}: {len(problems)} problem(s):\n{lines}")


def _nearest(name, known):
    """Nearest known name, by the whole of it or by its last part."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return near[0]
    last = {k.rpartition(".")[2]: k for k in known}
    near = difflib.get_close_matches(name.rpartition(".")[2], list(last), n=1)
    return last[near[0]] if near else None


def _group(name):
    return name.partition(".")[0]


def _leaves(nested, prefix=""):
    """Dotted names of all values; an empty dictionary is a value."""
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{name}.")
        else:
            yield name
