"""Parameters of sorters, how they fail, and what Kilosort 4 does with the workflow's whitening."""

import ctypes
import platform
import subprocess
import sys

import numpy as np
import pytest

from sluice.ephys import sorters
from sluice.errors import UserError


def parameters(sorter, chosen=None, **options):
    defaults = {"device": "cpu", "correct_drift": True, "n_threads": 3}
    return sorters.sorter_parameters(sorter, chosen or {}, **{**defaults, **options})


def test_workflow_decides_what_it_knows():
    assert parameters("kilosort4", {"Th_learned": 7}, device="cuda") == {
        "torch_device": "cuda",
        "do_CAR": False,
        "use_binary_file": False,
        "n_jobs": 3,
        "Th_learned": 7,
    }
    # Left to chance by default; by default it corrects for drift.
    assert parameters("simple") == {"seed": 0, "job_kwargs": {"n_jobs": 3}}
    assert parameters("spykingcircus2") == {"job_kwargs": {"n_jobs": 3}}


@pytest.mark.parametrize(
    ("sorter", "name"),
    [
        ("kilosort4", "do_correction"),
        ("spykingcircus2", "apply_motion_correction"),
        ("tridesclous2", "apply_motion_correction"),
        ("lupin", "apply_motion_correction"),
    ],
)
def test_drift_correction_is_switched_off_only(sorter, name):
    assert parameters(sorter, correct_drift=False)[name] is False
    assert name not in parameters(sorter)
    assert parameters(sorter, {name: True}, correct_drift=False)[name] is True


def test_unknown_parameters_are_reported_all_at_once():
    with pytest.raises(UserError) as error:
        parameters("kilosort4", {"Th_learnt": 7, "nblocks": 1, "qwertz": 0})
    assert str(error.value).splitlines() == [
        "ephys.sort_spikes.sorters.kilosort4: 2 unknown parameter(s):",
        "  - Th_learnt: did you mean 'Th_learned'?",
        "  - qwertz: no such parameter",
    ]


def test_parameters_of_the_workflow_cannot_be_set():
    with pytest.raises(UserError, match=r"(?s)decides these itself.*torch_device: .*profiles/"):
        parameters("kilosort4", {"torch_device": "cuda"})
    with pytest.raises(UserError, match=r"preprocess_probe.whiten decides"):
        parameters("kilosort4", {"skip_kilosort_preprocessing": True})


@pytest.mark.parametrize(
    ("sorter", "found"),
    [("kilosort5", "not a sorter of SpikeInterface"), ("waveclus", "not installed here")],
)
def test_sorter_that_cannot_run(sorter, found):
    with pytest.raises(UserError) as error:
        parameters(sorter)
    assert f"'{sorter}' is {found}; sorters that can run here: " in str(error.value)
    assert "kilosort4, " in str(error.value)


def test_gpu_is_needed_where_one_was_given(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"was given a GPU, but PyTorch .* finds none"):
        sorters.require_cuda()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    sorters.require_cuda()


TRACE = """Spike sorting error trace:
Traceback (most recent call last):
  File "sorter.py", line 1, in _run_from_folder
    {line}
{error}

Spike sorting failed. You can inspect the runtime trace in /x/spikeinterface_log.json."""


def run_failing(monkeypatch, folder, line, error):
    import spikeinterface.sorters
    from spikeinterface.sorters.utils import SpikeSortingError

    def run_sorter(*_, folder, **__):
        folder.mkdir()
        (folder / "kilosort4.log").write_text("what the sorter wrote before it failed")
        raise SpikeSortingError(TRACE.format(line=line, error=error))

    monkeypatch.setattr(spikeinterface.sorters, "run_sorter", run_sorter)
    return sorters.run_sorter(None, "kilosort4", {}, folder / "out")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("fit(clips)", "ValueError: Found array with 0 sample(s) (shape=(0, 61)) while a minimum"),
        ("KMeans().fit(clips)", "ValueError: n_samples=3 should be >= n_clusters=6."),
        ("raise", "ValueError: No spikes detected, cannot continue sorting."),
        ("raise", "ValueError: `get_data_cpu` never found suitable channels in `clustering_qr`."),
        ("raise", "ValueError: Wall is empty after `clustering_qr.run`, cannot continue."),
        ("detect_peaks()", "AssertionError: Prototype should have a negative peak"),
        (
            "find_spikes_from_templates(",
            "UnboundLocalError: cannot access local variable 'node0' where it is not associated",
        ),
        ("factor = all_peaks.size / peaks.size", "ZeroDivisionError: division by zero"),
        ("select_peaks(", "IndexError: index -2 is out of bounds for axis 0 with size 1"),
    ],
)
def test_nothing_found_is_no_failure(monkeypatch, tmp_path, capsys, line, error):
    assert run_failing(monkeypatch, tmp_path, line, error) is None
    assert "found nothing to sort" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "ZeroDivisionError: division by zero",
        "ValueError: Input contains NaN.",
    ],
)
def test_failure_leaves_its_log(monkeypatch, tmp_path, capsys, error):
    with pytest.raises(sorters.SorterError) as raised:
        run_failing(monkeypatch, tmp_path, "something()", error)
    assert str(raised.value).startswith(f"kilosort4 failed: {error}")
    printed = capsys.readouterr().out
    assert f"    something()\n{error}" in printed
    assert "what the sorter wrote before it failed" in printed


def preprocessed(folder, matrix):
    """Kilosort's own preprocessing steps over a small recording, with `matrix` for its own.

    Returns the batch as recorded, as filtered, and with a drift of 20 µm undone.
    """
    import torch
    from kilosort import datashift, io
    from kilosort.run_kilosort import DEFAULT_SETTINGS, compute_preprocessing, initialize_ops

    rng = np.random.default_rng(0)
    traces = rng.integers(-500, 500, (2000, 8)).astype(np.int16)
    traces.tofile(folder / "traces.bin")
    y_um = np.arange(8) * 20.0
    probe = {
        "chanMap": np.arange(8),
        "xc": np.zeros(8, np.float32),
        "yc": y_um.astype(np.float32),
        "kcoords": np.zeros(8),
        "n_chan": 8,
    }
    settings = {**DEFAULT_SETTINGS, "n_chan_bin": 8, "batch_size": 1000, "nearest_chans": 8}
    settings |= {"filename": folder / "traces.bin", "data_dir": folder, "nblocks": 1}
    cpu = torch.device("cpu")
    ops, _ = initialize_ops(settings, probe, "int16", False, False, cpu, False)
    with sorters.kilosort_whitening(matrix):
        ops = compute_preprocessing(ops, cpu)
    bfile = io.BinaryFiltered(
        ops["filename"],
        8,
        NT=1000,
        chan_map=probe["chanMap"],
        device=cpu,
        do_CAR=False,
        dtype="int16",
        dshift=np.full((2, 1), 20.0),
        **ops["preprocessing"],
    )
    # As `datashift.run` leaves them.
    xp = np.column_stack([probe["xc"], probe["yc"]])
    kernel = torch.from_numpy(datashift.kernel2D(xp, xp, ops["sig_interp"]))
    ops["iKxx"] = torch.linalg.inv(kernel + 0.01 * torch.eye(8))
    ops["yblk"] = np.array([70.0])
    padded = bfile.padded_batch_to_torch(0).numpy()
    drifted = bfile.padded_batch_to_torch(0, ops).numpy()
    return traces, padded, drifted, bfile.nt


def test_kilosort_uses_the_workflows_whitening(tmp_path):
    matrix = np.random.default_rng(1).normal(0, 0.01, (8, 8)).astype(np.float32)
    traces, batch, _, nt = preprocessed(tmp_path, matrix)
    begin = np.vstack([np.repeat(traces[:1], nt, axis=0), traces[: 1000 + nt]]).T.astype(float)
    expected = matrix @ (begin - begin.mean(axis=1, keepdims=True))
    # Float32 through a Fourier transform: 1e-6 of the largest value, which is about 10.
    np.testing.assert_allclose(batch, expected, atol=1e-4)


def test_kilosort_corrects_drift_of_whitened_traces(tmp_path):
    # With SpikeInterface's skip_kilosort_preprocessing the drift would stay.
    _, batch, drifted, _ = preprocessed(tmp_path, np.eye(8, dtype=np.float32))
    moved = np.abs(drifted - batch).max(axis=1)
    # 20 µm is one contact: each channel now shows what its lower neighbour recorded, up to
    # the interpolation, which fails at the border only.
    likeness = [np.corrcoef(drifted[c], batch[c - 1])[0, 1] for c in range(2, 8)]
    assert (moved > 100).all()
    assert min(likeness) > 0.95


def test_kilosort_has_its_own_preprocessing_back():
    from kilosort import preprocessing

    own = preprocessing.get_highpass_filter, preprocessing.get_whitening_matrix
    with pytest.raises(ZeroDivisionError), sorters.kilosort_whitening(np.eye(2)):
        assert preprocessing.get_whitening_matrix is not own[1]
        raise ZeroDivisionError
    assert (preprocessing.get_highpass_filter, preprocessing.get_whitening_matrix) == own


def test_chance_is_fixed_and_free_again():
    def draw():
        return np.random.default_rng().random(), np.random.random()

    with sorters.fixed_chance():
        first = draw()
        assert np.random.default_rng(5).random() == np.random.default_rng(5).random()
        assert np.random.default_rng(seed=5).random() != first[0]
    with sorters.fixed_chance():
        assert draw() == first
    assert np.random.default_rng().random() != np.random.default_rng().random()


def test_sorters_run_with_fixed_chance(monkeypatch, tmp_path):
    import spikeinterface.sorters

    monkeypatch.setattr(
        spikeinterface.sorters, "run_sorter", lambda *_, **__: np.random.default_rng().random()
    )
    runs = [sorters.run_sorter(None, "simple", {}, tmp_path / "out") for _ in range(2)]
    assert runs[0] == runs[1]


COUNT_FAULTS = """
import numpy as np, resource
from sluice.ephys.sorters import keep_freed_memory
{call}
for _ in range(3):
    np.ones(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(20_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has mallopt")
def test_freed_memory_is_kept():
    # Of 20 arrays of 160 MB (39,000 pages each), none is mapped anew. Numpy asks for huge
    # pages, so the count without it depends on the system; it is over 500 in any case.
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", COUNT_FAULTS.format(call=call)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for call in ("", "assert keep_freed_memory()")
    ]
    assert faults[0] > 500
    assert faults[1] < 50


def test_no_glibc_no_tuning(monkeypatch):
    def no_library(*_):
        raise AssertionError("must not be opened")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sorters.keep_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert sorters.keep_freed_memory() is False


def test_kilosort_subtracts_the_median_where_nobody_did():
    """With `method: none` the traces still have what the channels share."""
    common = {"device": "cpu", "correct_drift": True, "n_threads": 1}
    assert sorters.sorter_parameters("kilosort4", {}, **common)["do_CAR"] is False
    after_none = sorters.sorter_parameters("kilosort4", {}, median_subtracted=False, **common)
    assert after_none["do_CAR"] is True
