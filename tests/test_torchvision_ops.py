import subprocess
import sys

import pytest
import torch

from sluice.torchvision_ops import OPERATORS, define_torchvision_ops


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )


def test_torchvision_imports_after_the_definition():
    # another process: an import that failed once cannot be tried again in the same one
    found = run(
        "from sluice.torchvision_ops import define_torchvision_ops as define\n"
        "assert define() is define()\n"
        "import torchvision, torch\n"
        "assert torchvision.transforms.functional.hflip(torch.eye(2))[0, 1] == 1\n"
        "assert define() is define()\n"
    )
    assert found.returncode == 0, found.stderr


def test_all_operators_are_there_and_none_has_a_body():
    define_torchvision_ops()
    assert all(hasattr(torch.ops.torchvision, name) for name in OPERATORS)
    if define_torchvision_ops() is None:
        pytest.skip("torchvision's own library loads here: nothing is declared")
    with pytest.raises(NotImplementedError, match="torchvision::nms"):
        torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)


def test_the_module_alone_imports_no_torch():
    code = "import sys, sluice.torchvision_ops; assert 'torch' not in sys.modules"
    assert run(code).returncode == 0
