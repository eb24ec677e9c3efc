import subprocess
import sys

import numpy as np
import pytest
from ophys.suite2p_planes import SETTINGS, plane_info

from sluice.errors import UserError
from sluice.ophys.suite2p_settings import import_suite2p, override, suite2p_settings

INFO = plane_info((100, 64, 64), rate_hz=31.0)


def filled(**changed):
    return suite2p_settings({**SETTINGS["segment_plane"], **changed}, INFO, device="cpu")


def leaves(nested, prefix=""):
    return {
        name: value
        for key, value in nested.items()
        for name, value in (
            leaves(value, f"{prefix}{key}.").items()
            if isinstance(value, dict)
            else [(f"{prefix}{key}", value)]
        )
    }


def test_every_default_of_suite2p_stays_unless_a_setting_says_otherwise():
    defaults = leaves(import_suite2p().default_settings())
    found = leaves(filled())
    assert found.keys() == defaults.keys()
    differ = {k: v for k, v in found.items() if v != defaults[k]}
    assert differ == {
        "torch_device": "cpu",
        "fs": 31.0,
        "tau": 0.7,
        "classification.use_builtin_classifier": True,
        "detection.threshold_scaling": 0.75,
    }


def test_settings_reach_suite2p():
    found = filled(
        algorithm="sourcery",
        threshold_scaling=2.0,
        spatial_scale=3,
        max_bins=700,
        denoise=True,
        max_overlap=0.5,
        neuropil_coefficient=0.4,
        diameter_px=9.0,
        suite2p={"detection.highpass_time": 50, "extraction.min_neuropil_pixels": 100},
    )
    detection = found["detection"]
    assert detection["algorithm"] == "sourcery"
    assert detection["threshold_scaling"] == 2.0
    assert detection["sparsery_settings"]["spatial_scale"] == 3
    assert (detection["nbins"], detection["denoise"], detection["max_overlap"]) == (700, True, 0.5)
    assert found["extraction"]["neuropil_coefficient"] == 0.4
    assert found["diameter"] == [9.0, 9.0]
    assert detection["highpass_time"] == 50
    assert found["extraction"]["min_neuropil_pixels"] == 100
    # nothing leaks into the next call
    assert filled()["detection"]["highpass_time"] == 100


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("detection.highpas_time", "did you mean 'detection.highpass_time'?"),
        ("highpass_neuropil", "did you mean 'detection.sparsery_settings.highpass_neuropil'?"),
        ("detection.algorithm", "cannot be set here; set ophys.segment_plane.algorithm"),
        ("registration.nonrigid", "cannot be set here; set ophys.register_plane"),
        ("detection", "is not a parameter of suite2p"),
    ],
)
def test_wrong_parameters_are_named_with_the_nearest_one(name, hint):
    with pytest.raises(UserError) as error:
        filled(suite2p={name: 1, "qqqq": 2, "detection.soma_crop": False})
    message = str(error.value)
    assert message.startswith("ophys.segment_plane.suite2p: 2 problem(s):")
    assert f"{name}: " in message
    assert hint in message
    assert "qqqq: is not a parameter of suite2p; known: " in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("classification.preclassify", "no ROI is dropped for its class"),
        ("classification.classifier_path", "suite2p's own classifier is always used"),
        ("version", "that of the installed suite2p"),
        ("detection.chan2_threshold", "no second channel"),
        ("detection.cellpose_chan2", "no second channel"),
        ("detection.cellpose_settings.params_chan2", "no second channel"),
        ("detection.cellpose_settings.cellpose_model", "ophys.segment_plane.cellpose_model"),
        ("detection.cellpose_settings.img", "ophys.segment_plane.cellpose_image"),
        ("detection.cellpose_settings.highpass_spatial", "not passed to cellpose"),
        ("detection.cellpose_settings.params", "not passed to cellpose"),
        ("extraction.batch_size", "memory"),
        ("extraction.snr_threshold", "no ROI is dropped"),
    ],
)
def test_parameters_that_nothing_reads_are_refused(name, reason):
    with pytest.raises(UserError) as error:
        filled(suite2p={name: 1})
    assert f"{name}: cannot be set here; " in str(error.value)
    assert reason in str(error.value)


def test_parameters_of_cellpose_that_are_used_may_be_set():
    name = "detection.cellpose_settings.flow_threshold"
    assert filled(suite2p={name: 0.9})["detection"]["cellpose_settings"]["flow_threshold"] == 0.9


def test_nothing_is_changed_where_a_name_does_not_lead_to_a_value():
    nested = {"a": {"b": 1}, "c": 2}
    with pytest.raises(UserError, match=r"a\.c"):
        override(nested, {"a.c": 3})
    override(nested, {"a.b": 4, "c": 5})
    assert nested == {"a": {"b": 4}, "c": 5}


def run(code, home):
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=110,
        env=environment,
        check=False,
    )


def test_suite2p_is_imported_without_a_home_folder():
    # below /proc nothing can be made, not even by root
    found = run(
        "import os\n"
        "from sluice.ophys.suite2p_settings import import_suite2p\n"
        "assert import_suite2p().default_settings()['tau'] == 1.0\n"
        "assert os.environ['HOME'] == '/proc/nobody'\n",
        "/proc/nobody",
    )
    assert found.returncode == 0, found.stderr


def test_what_the_gui_saved_in_the_home_folder_is_not_used(tmp_path):
    folder = tmp_path / ".suite2p" / "settings"
    folder.mkdir(parents=True)
    np.save(folder / "settings_user.npy", {"upsample_meanImg": 1, "tau": 99}, allow_pickle=True)
    classifiers = tmp_path / ".suite2p" / "classifiers"
    classifiers.mkdir()
    (classifiers / "classifier_user.npy").write_bytes(b"not a classifier")
    found = run(
        "from ophys.test_suite2p_settings import filled\n"
        "assert filled()['tau'] == 0.7\n"
        "assert 'upsample_meanImg' not in filled()\n",
        tmp_path,
    )
    assert found.returncode == 0, found.stderr
