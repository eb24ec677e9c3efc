"""Small probes for the tests of preprocessing: tables of channels, and recordings of arrays."""

import numpy as np
import pandas as pd
import spikeinterface.core as si


def channel_table(n_channels, *, n_groups=4, n_shanks=1, gain_uv=2.5, pitch_um=20.0):
    """Channels in two columns on each shank, multiplexed like g, g + n_groups."""
    index = np.arange(n_channels)
    per_shank = n_channels // n_shanks
    return pd.DataFrame(
        {
            "channel": index,
            "channel_id": [f"AP{c}" for c in index],
            "x_um": index % 2 * 32.0 + index // per_shank * 250.0,
            "y_um": index % per_shank // 2 * pitch_um,
            "shank": index // per_shank,
            "gain_uv": np.broadcast_to(gain_uv, n_channels).astype(float),
            "median_group": index % n_groups,
            "sample_shift": np.zeros(n_channels),
            "is_reference": np.zeros(n_channels, dtype=bool),
            "label": np.zeros(n_channels, dtype=int),
            "rms_uv": np.full(n_channels, 10.0),
        }
    )


def recording_of(traces, table, rate_hz=30000.0):
    """SpikeInterface's recording of an array in bits, with the probe of the table."""
    recording = si.NumpyRecording([traces], rate_hz, channel_ids=table["channel_id"].tolist())
    recording.set_channel_gains(table["gain_uv"].to_numpy())
    recording.set_channel_offsets(0.0)
    recording.set_dummy_probe_from_locations(table[["x_um", "y_um"]].to_numpy())
    return recording
