"""Running one sorter of SpikeInterface on one shank.

What is particular to a sorter is here: its parameters, how it says that there was nothing
to find, and how Kilosort 4 is given the workflow's whitening instead of its own.
"""

import contextlib
import ctypes
import difflib
import logging
import platform
import re
import sys

import numpy as np

from sluice.errors import UserError

# Parameters that the workflow decides; in the settings they would contradict it.
RESERVED = {
    "torch_device": "a job that was given a GPU runs on it (resources in profiles/)",
    "skip_kilosort_preprocessing": "ephys.preprocess_probe.whiten decides who whitens",
    "use_binary_file": "the traces are always read where they lie, without a copy",
}

# The names under which sorters know "correct for drift".
DRIFT_PARAMETERS = ("do_correction", "apply_motion_correction")

# How sorters end when there is nothing to sort: what their traceback then holds. Kilosort
# 4.1.7 and the sorters of SpikeInterface 0.105.3 were run on silence and on noise alone.
NOTHING_FOUND = (
    # Kilosort 4: no peak above Th_single_ch, or fewer than the templates asked for ...
    r"ValueError: Found array with 0 sample\(s\)",
    r"ValueError: n_samples=\d+ should be >= n_clusters=\d+",
    # ... no spike with the universal templates, or none with the learned ones.
    r"ValueError: No spikes detected, cannot continue sorting",
    r"ValueError: `get_data_cpu` never found suitable channels",
    r"ValueError: Wall is empty after `clustering_qr.run`",
    # Spykingcircus2 and lupin: no peak to take the prototype from, or no template.
    r"AssertionError: Prototype should have a negative peak",
    r"find_spikes_from_templates.*UnboundLocalError: .*'node0'",
    # Tridesclous2: no peak, or all of them at the ends of the recording.
    r"all_peaks\.size / peaks\.size.*ZeroDivisionError",
    r"select_peaks.*IndexError: index -\d+ is out of bounds for axis 0",
)

KILOSORT_FILTER_SAMPLES = 30122  # length of the filter kernel in kilosort.preprocessing


class SorterError(UserError):
    """A sorter stopped on this recording; its log and traceback are in the rule's log."""


def _unknown(names, known):
    """One line for each unknown parameter, with the nearest known name."""
    for name in names:
        near = difflib.get_close_matches(name, known, n=1)
        yield f"  - {name}: " + (f"did you mean '{near[0]}'?" if near else "no such parameter")


def find_sorter(sorter):
    """Return SpikeInterface's class of a sorter that can run here.

    Parameters
    ----------
    sorter : str
        SpikeInterface's name, e.g. ``kilosort4``.

    Raises
    ------
    UserError
        Unknown to SpikeInterface or not installed; names the sorters that can run.
    """
    from spikeinterface.sorters import installed_sorters, sorter_dict

    if sorter in sorter_dict and sorter_dict[sorter].is_installed():
        return sorter_dict[sorter]
    found = "not installed here" if sorter in sorter_dict else "not a sorter of SpikeInterface"
    raise UserError(
        f"ephys.sort_spikes.sorters: '{sorter}' is {found}; "
        f"sorters that can run here: {', '.join(installed_sorters())}"
    )


def sorter_parameters(
    sorter, parameters, *, device, correct_drift, n_threads, median_subtracted=True
):
    """Merge the user's parameters with what the workflow decides.

    SpikeInterface's defaults stay where neither says otherwise. The workflow's own
    choices, which the user's parameters override: the seed is 0 where the sorter leaves it
    to chance; Kilosort 4 does not subtract the median where `preprocess_probe` did; drift
    correction is switched off where `correct_drift` is false, never on.

    Parameters
    ----------
    sorter : str
    parameters : dict
        The user's, by SpikeInterface's names.
    device : str
        ``cuda`` or ``cpu``, for a sorter that can use a GPU.
    correct_drift : bool
        False: the traces are corrected already, must not be, or have too few channels.
    n_threads : int
        Processes for a sorter made of SpikeInterface's components.
    median_subtracted : bool
        False where the traces still have what the channels share.

    Returns
    -------
    dict
        The parameters that differ from SpikeInterface's defaults.

    Raises
    ------
    UserError
        Sorter not available, unknown parameter names (all of them, with the nearest known
        name), or a parameter that the workflow decides.
    """
    defaults = find_sorter(sorter).default_params()
    where = f"ephys.sort_spikes.sorters.{sorter}"
    reserved = [n for n in parameters if n in RESERVED]
    if reserved:
        lines = "\n".join(f"  - {n}: {RESERVED[n]}" for n in reserved)
        raise UserError(f"{where}: the workflow decides these itself:\n{lines}")
    unknown = [name for name in parameters if name not in defaults]
    if unknown:
        lines = "\n".join(_unknown(unknown, list(defaults)))
        raise UserError(f"{where}: {len(unknown)} unknown parameter(s):\n{lines}")

    chosen = {}
    if "torch_device" in defaults:
        chosen["torch_device"] = device
    if sorter == "kilosort4":
        chosen |= {"do_CAR": not median_subtracted, "use_binary_file": False}
    if "seed" in defaults and defaults["seed"] is None:
        chosen["seed"] = 0
    if not correct_drift:
        chosen |= {name: False for name in DRIFT_PARAMETERS if name in defaults}
    if "job_kwargs" in defaults:
        chosen["job_kwargs"] = {"n_jobs": n_threads}
    elif "n_jobs" in defaults:
        chosen["n_jobs"] = n_threads
    return chosen | parameters


@contextlib.contextmanager
def kilosort_whitening(matrix):
    """Make Kilosort 4 use this whitening matrix and no filter, instead of its own.

    SpikeInterface's ``skip_kilosort_preprocessing`` is not enough: without a whitening
    matrix Kilosort 4.1.7 estimates drift but never applies the correction
    (``kilosort.io.BinaryFiltered.filter`` multiplies the drift matrix into the whitening
    matrix only). So the two functions that estimate filter and whitening are exchanged
    for the time of the run; everything behind them is Kilosort's own.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n_channels, n_channels)
        whitened = matrix @ traces, for traces in the units Kilosort is given.
    """
    import torch
    from kilosort import preprocessing

    def no_filter(*_, device, **__):
        impulse = torch.zeros(KILOSORT_FILTER_SAMPLES, device=device)
        impulse[KILOSORT_FILTER_SAMPLES // 2] = 1  # convolution with it changes nothing
        return impulse

    def workflow_matrix(bfile, *_, **__):
        return torch.from_numpy(np.ascontiguousarray(matrix, np.float32)).to(bfile.device)

    own = preprocessing.get_highpass_filter, preprocessing.get_whitening_matrix
    preprocessing.get_highpass_filter, preprocessing.get_whitening_matrix = (
        no_filter,
        workflow_matrix,
    )
    try:
        yield
    finally:
        preprocessing.get_highpass_filter, preprocessing.get_whitening_matrix = own


@contextlib.contextmanager
def fixed_chance():
    """Give code that draws random numbers without a seed the same ones every time.

    SpikeInterface's sorters take a seed, but some of what they call draws without it
    (`zscore`, for one), and two runs differ. With this, simple, spykingcircus2,
    tridesclous2 and lupin give the same spikes in every run, with one process or two.
    """
    own = np.random.default_rng

    def default_rng(seed=None):
        return own(0 if seed is None else seed)

    np.random.seed(0)
    np.random.default_rng = default_rng
    try:
        yield
    finally:
        np.random.default_rng = own


def keep_freed_memory():
    """Let malloc keep freed memory instead of giving it back to the system at once.

    PyTorch on the CPU allocates and frees the same large arrays for every batch; by
    default glibc maps and unmaps each, and the kernel clears its pages every time.
    Kilosort 4 is about 1.5 times as fast without that. Same effect as the variables
    MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_, which would have
    to be set before the process starts. Nothing happens on systems without glibc.

    Returns
    -------
    bool
        Whether it was done.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # the numbers of malloc.h
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    never_trim, pad_bytes, never_map = -1, 1 << 28, 0
    return all(
        mallopt(option, value) == 1
        for option, value in (
            (mmap_max, never_map),
            (trim_threshold, never_trim),
            (top_pad, pad_bytes),
        )
    )


def use_cores(n_threads, device):
    """Let PyTorch use the job's cores, and its memory well where it runs on them."""
    import torch

    torch.set_num_threads(n_threads)
    if device == "cpu":
        keep_freed_memory()


def require_cuda():
    """Raise a UserError where PyTorch cannot use a GPU."""
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            "this job was given a GPU, but PyTorch "
            f"{torch.__version__} finds none that it can use; install a PyTorch with CUDA "
            "and its driver, or run with a profile that gives sort_spikes no GPU"
        )


def _close_kilosort_log():
    """Close the log file that Kilosort leaves open when it fails."""
    logger = logging.getLogger("kilosort")
    for handler in logger.handlers.copy():
        logger.removeHandler(handler)
        handler.close()


def _print_logs(folder):
    """Print the log files a sorter wrote, because its folder does not outlive a failure."""
    for log in sorted(folder.rglob("*.log")):
        print(f"----- {log.relative_to(folder)}", log.read_text(errors="replace"), sep="\n")


def run_sorter(recording, sorter, parameters, folder, *, whitening=None):
    """Sort one recording.

    Parameters
    ----------
    recording : spikeinterface.BaseRecording
        One segment, with a probe.
    sorter : str
    parameters : dict
        From `sorter_parameters`.
    folder : Path
        Must not exist; SpikeInterface's folder, kept with the sorter's own files.
    whitening : ndarray of float32, shape (n_channels, n_channels), optional
        For Kilosort 4: whitened = whitening @ traces (in bits). Its own filter and
        whitening are then not used.

    Returns
    -------
    spikeinterface.BaseSorting or None
        None where the sorter found nothing to sort.

    Raises
    ------
    SorterError
        The sorter failed. Its traceback and logs have been printed.
    """
    import spikeinterface.sorters as ss
    from spikeinterface.sorters.utils import SpikeSortingError

    replace = contextlib.nullcontext() if whitening is None else kilosort_whitening(whitening)
    try:
        with fixed_chance(), replace:
            return ss.run_sorter(sorter, recording, folder=folder, verbose=True, **parameters)
    except SpikeSortingError as error:
        trace = str(error)
        if any(re.search(pattern, trace, re.DOTALL) for pattern in NOTHING_FOUND):
            print(f"{sorter} found nothing to sort:\n{trace}")
            return None
        print(trace)
        _print_logs(folder)
        raise SorterError(f"{sorter} failed: {_last_line(trace)}") from error
    finally:
        _close_kilosort_log()


def _last_line(trace):
    """The line of a traceback that names the exception."""
    lines = [line for line in trace.splitlines() if re.match(r"\w[\w.]*(Error|Exception)\b", line)]
    return lines[-1] if lines else "see its log"
