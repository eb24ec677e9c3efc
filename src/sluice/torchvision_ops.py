"""Let torchvision be imported beside a torch that has no CUDA.

torchvision from the package index is built against CUDA. Beside a torch built for the CPU its
library does not load, so the operators that its Python code describes at import do not exist,
and ``import torchvision`` fails with ``operator torchvision::nms does not exist``
(pytorch/vision#9077, #9085). suite2p, timm and DeepLabCut import torchvision. Declaring the
operators without a body is enough for that; they are those of object detectors, which nothing
here uses, and calling one still raises.
"""

import importlib.util
import logging
from functools import cache
from pathlib import Path

logger = logging.getLogger(__name__)

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def define_torchvision_ops():
    """Declare torchvision's operators where its own library cannot.

    Called before the first import of anything that imports torchvision; further calls do
    nothing. With a CUDA build of torch, with a torchvision built for the CPU, and without
    torchvision nothing is done.

    Returns
    -------
    torch.library.Library or None
        What holds the declarations, which last as long as it does; the cache keeps it.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or torch.version.cuda is not None or _has_operators(torch):
        return None
    if _own_library_loads(torch, Path(spec.origin).parent):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in OPERATORS:
        library.define(name + SIGNATURE)
    logger.info("torchvision's library needs CUDA: its operators are declared, not implemented")
    return library


def _has_operators(torch):
    return all(hasattr(torch.ops.torchvision, name) for name in OPERATORS)


def _own_library_loads(torch, folder):
    """Try torchvision's library, which its import would load next; a CPU build does load."""
    for path in sorted(folder.glob("_C*")):
        try:
            torch.ops.load_library(path)
        except OSError as error:
            logger.info("%s does not load: %s", path.name, error)
    return _has_operators(torch)
