"""Small raw recordings for tests, written by hand: SpikeGLX and Open Ephys."""

import json
import re
from pathlib import Path

import numpy as np

SERIAL = "18005110001"


def np1_meta(n_channels=384, *, band="ap", bank=0, device="imec0", **changes):
    """Keys of the meta of a Neuropixels 1.0 probe that saves its first channels."""
    rows = "".join(f"({c} {bank} 0 500 250 1)" for c in range(384))
    is_lf = band == "lf"
    meta = {
        "acqApLfSy": "384,384,1",
        "fileCreateTime": "2026-01-15T12:00:00",
        "fileName": f"D:/run_g0_t0.{device}.{band}.bin",
        "imAiRangeMax": "0.6",
        "imDatPrb_pn": "NP1000",
        "imDatPrb_sn": SERIAL,
        "imDatPrb_type": "0",
        "imMaxInt": "512",
        "imSampRate": "2500" if is_lf else "30000",
        "nSavedChans": str(n_channels + 1),
        "snsApLfSy": f"0,{n_channels},1" if is_lf else f"{n_channels},0,1",
        "snsSaveChanSubset": f"384:{383 + n_channels},768" if is_lf else f"0:{n_channels - 1},768",
        "~imroTbl": f"(0,384){rows}",
    }
    return meta | changes


def write_meta(path, meta, encoding="utf-8"):
    Path(path).write_bytes("".join(f"{k}={v}\n" for k, v in meta.items()).encode(encoding))


def random_frames(n_samples, n_columns, seed=0):
    return np.random.default_rng(seed).integers(-512, 512, (n_samples, n_columns), dtype=np.int16)


def write_spikeglx(folder, meta, *, name="run_g0_t0.imec0.ap", n_samples=100, seed=0, **kwargs):
    """Write a .bin and its .meta; returns the frames, sync included."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames = random_frames(n_samples, int(meta["nSavedChans"]), seed)
    frames.tofile(folder / f"{name}.bin")
    meta = {"fileSizeBytes": frames.nbytes} | meta
    write_meta(folder / f"{name}.meta", meta, **kwargs)
    return frames


def write_probe(
    folder, *, n_channels=32, n_samples=120, device="imec0", run="run_g0_t0", **changes
):
    """Write both bands of a Neuropixels 1.0 probe; returns the frames of each."""
    return {
        band: write_spikeglx(
            folder,
            np1_meta(n_channels, band=band, device=device, **changes),
            name=f"{run}.{device}.{band}",
            n_samples=n,
            seed=n,
        )
        for band, n in (("ap", n_samples), ("lf", n_samples // 12))
    }


def write_with_real_meta(folder, real, *, name, n_samples=20):
    """Copy a real meta beside a binary of a few samples, its size put right."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = Path(real).read_text(encoding="utf-8")
    n_columns = int(re.search(r"nSavedChans=(\d+)", text)[1])
    frames = random_frames(n_samples, n_columns)
    frames.tofile(folder / f"{name}.bin")
    text = re.sub(r"fileSizeBytes=\d+", f"fileSizeBytes={frames.nbytes}", text)
    (folder / f"{name}.meta").write_text(text, encoding="utf-8")
    return frames


def compress(binary, n_columns, *, cbin=None, ch=None, rate_hz=30000.0):
    """Replace a .bin by mtscomp's pair."""
    import mtscomp

    cbin, ch = cbin or binary.with_suffix(".cbin"), ch or binary.with_suffix(".ch")
    mtscomp.compress(
        binary,
        cbin,
        ch,
        sample_rate=rate_hz,
        n_channels=n_columns,
        dtype=np.int16,
        check_after_compress=False,
        n_threads=1,
        chunk_duration=0.001,
    )
    binary.unlink()


def _channels(prefix, n, bit_volts, units="uV"):
    return [
        {"channel_name": f"{prefix}{i}", "bit_volts": bit_volts, "units": units} for i in range(n)
    ]


def openephys_entry(name, channels, rate_hz, source="Neuropix-PXI"):
    return {
        "folder_name": f"{name}/",
        "stream_name": name.partition(".")[2],
        "sample_rate": rate_hz,
        "source_processor_name": source,
        "num_channels": len(channels),
        "channels": channels,
    }


def write_openephys(folder, *, n_samples=60, probes=("A",), recordings=1, with_settings=True):
    """Write a Record Node with NP1.0 probes (AP, LFP) and an NI-DAQmx stream.

    Returns the frames by stream name, recordings end to end.
    """
    node = Path(folder)
    experiment = node / "experiment1"
    entries = [
        openephys_entry(
            "NI-DAQmx-101.PXIe-6341", _channels("AI", 8, 0.0003, "V"), 30000.0, "NI-DAQmx"
        )
    ]
    for probe in probes:
        for band, bit, rate in (("AP", 0.195, 30000.0), ("LFP", 0.39, 2500.0)):
            name = f"Neuropix-PXI-100.Probe{probe}-{band}"
            entries.append(openephys_entry(name, _channels("CH", 384, bit), rate))
    frames = {}
    for r in range(recordings):
        recording = experiment / f"recording{r + 1}"
        for i, entry in enumerate(entries):
            name = entry["folder_name"].rstrip("/")
            stream = recording / "continuous" / name
            stream.mkdir(parents=True)
            n = n_samples // (12 if name.endswith("LFP") else 1)
            data = random_frames(n, len(entry["channels"]), seed=(i, r))
            data.tofile(stream / "continuous.dat")
            np.save(stream / "sample_numbers.npy", np.arange(n))
            np.save(stream / "timestamps.npy", np.arange(n) / entry["sample_rate"])
            frames.setdefault(name, []).append(data)
        header = {"GUI version": "0.6.7", "continuous": entries, "events": [], "spikes": []}
        (recording / "structure.oebin").write_text(json.dumps(header), encoding="utf-8")
    if with_settings:
        (node / "settings.xml").write_text(_settings(probes), encoding="utf-8")
    return {name: np.concatenate(parts) for name, parts in frames.items()}


def _settings(probes):
    """Settings of Neuropixels 1.0 probes, bank 0, as version 0.6 writes them."""
    x_um = (27, 59, 11, 43)
    channels = " ".join(f'CH{c}="0"' for c in range(384))
    x = " ".join(f'CH{c}="{x_um[c % 4]}"' for c in range(384))
    y = " ".join(f'CH{c}="{c // 2 * 20}"' for c in range(384))
    streams = "".join(
        f'<STREAM name="Probe{p}-{band}" sample_rate="{rate}" channel_count="384"/>'
        for p in probes
        for band, rate in (("AP", 30000), ("LFP", 2500))
    )
    np_probes = "".join(
        f'<NP_PROBE slot="2" port="{i + 1}" dock="1" probe_serial_number="1800511000{i + 1}" '
        'probe_part_number="PRB_1_4_0480_1" probe_name="Neuropixels 1.0" num_adcs="32" '
        'apGainValue="500x" lfpGainValue="250x" isEnabled="1">'
        f"<CHANNELS {channels}/><ELECTRODE_XPOS {x}/><ELECTRODE_YPOS {y}/></NP_PROBE>"
        for i, _ in enumerate(probes)
    )
    return (
        "<SETTINGS><INFO><VERSION>0.6.7</VERSION></INFO><SIGNALCHAIN>"
        '<PROCESSOR name="Neuropix-PXI" pluginName="Neuropix-PXI" libraryVersion="0.6.4" '
        f'nodeId="100">{streams}<EDITOR>{np_probes}</EDITOR></PROCESSOR>'
        '<PROCESSOR name="Record Node" nodeId="101"/></SIGNALCHAIN></SETTINGS>'
    )
