"""The preprocessed traces of one probe, on disk, and the table of its channels.

`preprocess_probe` writes one folder that every later step reads:

``traces.bin``
    int16, shape (n_samples, n_channels), row-major; all channels of the probe, in the
    order of the channel table, bad ones too.
``traces.json``
    ``sampling_rate_hz``, ``n_samples``, ``n_channels``, ``gain_uv`` (µV per bit of
    ``traces.bin``, one number), ``median_subtracted`` (what the channels share is gone).
``channels.tsv``
    One row a channel; see `CHANNEL_COLUMNS`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

CHANNEL_COLUMNS = {
    "channel": "index of the channel in the raw file's order, 0-based",
    "channel_id": "name of the channel in the raw file",
    "x_um": "position across the probe",
    "y_um": "position along the probe, 0 at the tip, growing towards the brain surface",
    "shank": "shank index, 0-based",
    "gain_uv": "µV per bit of the raw file",
    "median_group": "channels with the same number are digitised together",
    "sample_shift": "delay of the channel's sample, as a fraction of the sample interval",
    "is_reference": "true for a reference contact, which records no signal",
    "label": "0 good, 1 dead, 2 noisy, 3 outside the brain (IBL's numbers)",
    "rms_uv": "root mean square of the 300 Hz high-passed signal (µV)",
}
GOOD, DEAD, NOISY, OUTSIDE = 0, 1, 2, 3


@dataclass(frozen=True)
class TracesInfo:
    """What `traces.json` holds."""

    sampling_rate_hz: float
    n_samples: int
    n_channels: int
    gain_uv: float
    median_subtracted: bool = True


def save_channels(channels, path):
    """Write the table of channels as TSV."""
    channels[list(CHANNEL_COLUMNS)].to_csv(path, sep="\t", index=False)


def load_channels(path):
    """Read the table of channels written by `save_channels`."""
    return pd.read_csv(path, sep="\t", dtype={"channel_id": str})


def save_traces_info(info, folder):
    """Write ``traces.json`` into a traces folder."""
    (Path(folder) / "traces.json").write_text(json.dumps(asdict(info), indent=1) + "\n")


def load_traces_info(path):
    """Read ``traces.json``."""
    return TracesInfo(**json.loads(Path(path).read_text()))


def open_traces(folder):
    """Map the traces of a preprocessed probe.

    Returns
    -------
    traces : memmap of int16, shape (n_samples, n_channels)
        In bits; multiply by ``info.gain_uv`` for µV.
    info : TracesInfo
    channels : DataFrame
        One row a channel, columns `CHANNEL_COLUMNS`.
    """
    folder = Path(folder)
    info = load_traces_info(folder / "traces.json")
    traces = np.memmap(
        folder / "traces.bin", dtype=np.int16, mode="r", shape=(info.n_samples, info.n_channels)
    )
    return traces, info, load_channels(folder / "channels.tsv")


def chunk_bounds(n_samples, chunk_samples):
    """Yield (start, stop) of consecutive chunks that cover a recording."""
    for start in range(0, n_samples, chunk_samples):
        yield start, min(start + chunk_samples, n_samples)
