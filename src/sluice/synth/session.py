"""Makes a whole session of made-up recordings, with the truth beside it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.synth import spikeglx, traces
from sluice.synth.probe import SAMPLING_RATE_HZ, make_probe


@dataclass(frozen=True)
class SyntheticSession:
    """What `make_session` wrote.

    Attributes
    ----------
    name : str
        ``<subject>/<date>/<number>``.
    folder : Path
        ``<raw>/<subject>/<date>/<number>``.
    probe_folders : dict of str to Path
        Probe's name (``probe00``) to the folder of its raw files.
    truth_folders : dict of str to Path
        Probe's name to the folder of its truth.
    """

    name: str
    folder: Path
    probe_folders: dict
    truth_folders: dict


def make_session(
    raw,
    *,
    subject="SYN001",
    date="2026-01-15",
    number="001",
    seed=0,
    n_probes=1,
    n_files=1,
    compress=False,
    **probe_settings,
):
    """Write a session of made-up Neuropixels recordings and its truth.

    Raw files go to ``<raw>/<subject>/<date>/<number>/raw_ephys_data/`` (see
    `sluice.synth.spikeglx`), the truth to ``…/<number>/truth/<probe>/``:

    ``truth.json``
        Probe type, rates, surface (as in ``surface.json``), dead, noisy and reference
        channels, drift, clock, seed.
    ``spikes.pqt``
        One row a spike: `sample` of the trough on the peak channel (of the whole run),
        `unit`, `amplitude_uv`.
    ``units.tsv``
        One row a unit; `snr` is `amplitude_uv` over `noise_uv`, the standard deviation of the
        background on the peak channel above 300 Hz, without the waveforms that channels
        have in common and without the units (what a sorter sees after its filter and
        common reference).
    ``templates.npy``
        float32 µV, shape (n_units, n_samples, n_channels), trough at sample 30.

    The same arguments give the same bytes on the same machine.

    Parameters
    ----------
    raw : Path
    subject, date, number : str
        date as ``YYYY-MM-DD``.
    seed : int
    n_probes : int
        Probes of the session; each has units of its own and its own clock.
    n_files : int
        Files the run is split into (t0, t1, …).
    compress : bool
        ``.cbin`` and ``.ch`` instead of ``.bin``.
    **probe_settings
        See `sluice.synth.probe.make_probe`: `duration_s`, `n_channels`, `n_units`,
        `probe_type`, `n_outside`, `n_dead`, `n_noisy`, `drift_um`, `drift_sine_um`,
        `drift_period_s`, `line_hz`, `line_uv`, `saturated_s`.

    Returns
    -------
    SyntheticSession

    Raises
    ------
    UserError
        The probe cannot hold what is asked.
    """
    folder = Path(raw) / subject / date / number
    create_time = f"{date}T12:00:00"
    probe_folders, truth_folders = {}, {}
    for index in range(n_probes):
        name = f"probe{index:02d}"
        probe = make_probe(seed=(seed, index), **probe_settings)
        rng = np.random.default_rng((seed, index, 2))
        clock = {
            "clock_ppm": round(float(rng.uniform(5, 40) * rng.choice([-1, 1])), 3),
            "clock_offset_s": round(float(rng.uniform(0.001, 0.02)), 6),
        }
        probe_folders[name] = folder / "raw_ephys_data" / name
        truth_folders[name] = folder / "truth" / name
        for new in (probe_folders[name], truth_folders[name]):
            new.mkdir(parents=True, exist_ok=True)
        spikeglx.write_probe(
            probe,
            probe_folders[name],
            index=index,
            create_time=create_time,
            n_files=n_files,
            compress=compress,
            **clock,
        )
        write_truth(probe, truth_folders[name], seed=seed, **clock)
    spikeglx.write_nidq(
        folder / "raw_ephys_data",
        probe.duration_s,
        seed=(seed, 99),
        create_time=create_time,
        n_probes=n_probes,
    )
    return SyntheticSession(f"{subject}/{date}/{number}", folder, probe_folders, truth_folders)


def write_truth(probe, folder, **more):
    """Write what is true of a probe; see `make_session`.

    Parameters
    ----------
    probe : probe.Probe
    folder : Path
        Exists already.
    **more
        Further entries of ``truth.json``.
    """
    folder = Path(folder)
    layout = probe.layout
    spikes = pd.DataFrame(
        {
            "sample": probe.samples,
            "unit": probe.spike_units,
            "amplitude_uv": probe.scales_uv.astype(np.float32),
        }
    )
    spikes.to_parquet(folder / "spikes.pqt", index=False)
    units_table(probe).to_csv(
        folder / "units.tsv", sep="\t", index=False, float_format="%.6g", lineterminator="\n"
    )
    np.save(folder / "templates.npy", traces.render_templates(probe))
    shanks = [_surface(probe, shank) for shank in range(layout.probe_type.n_shanks)]
    truth = {
        "part_number": layout.probe_type.part_number,
        "n_channels": layout.n_channels,
        "sampling_rate_hz": SAMPLING_RATE_HZ,
        "n_samples": probe.n_samples,
        "gain_uv": layout.probe_type.ap_uv_per_bit,
        "shanks": shanks,
        "surface_channel": shanks[0]["surface_channel"] if len(shanks) == 1 else None,
        "outside": np.flatnonzero(probe.outside).tolist(),
        "dead": list(probe.dead),
        "noisy": list(probe.noisy),
        "reference": list(probe.reference),
        "drift_um": probe.drift_um,
        "drift_sine_um": probe.drift_sine_um,
        "drift_period_s": probe.drift_period_s,
        "line_hz": probe.line_hz,
        "saturated_s": probe.saturated_s,
        **more,
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def units_table(probe):
    """Make the table of a probe's units, one row a unit; see `make_session`.

    Returns
    -------
    DataFrame
        unit, shank, peak_channel, x_um, y_um, amplitude_uv, noise_uv, snr, n_spikes, rate_hz
        (while present), refractory_s, present_start_s, present_stop_s, presence_fraction,
        relative_sd, decay_um, speed_um_per_ms, trough_to_peak_ms.
    """
    noise_uv = traces.noise_above_300_hz(probe, [unit.peak_channel for unit in probe.units])
    counts = np.bincount(probe.spike_units, minlength=len(probe.units))
    rows = []
    for u, unit in enumerate(probe.units):
        (start, stop) = unit.present_s[0][0], unit.present_s[-1][1]
        present_s = sum(b - a for a, b in unit.present_s)
        rows.append(
            {
                "unit": u,
                "shank": int(probe.layout.shank[unit.peak_channel]),
                "peak_channel": unit.peak_channel,
                "x_um": unit.x_um,
                "y_um": unit.y_um,
                "amplitude_uv": unit.amplitude_uv,
                "noise_uv": noise_uv[u],
                "snr": unit.amplitude_uv / noise_uv[u],
                "n_spikes": int(counts[u]),
                "rate_hz": unit.rate_hz,
                "refractory_s": unit.refractory_s,
                "present_start_s": start,
                "present_stop_s": stop,
                "presence_fraction": present_s / probe.duration_s,
                "relative_sd": unit.relative_sd,
                "decay_um": unit.decay_um,
                "speed_um_per_ms": unit.speed_um_per_ms,
                "trough_to_peak_ms": unit.trough_to_peak_ms,
            }
        )
    return pd.DataFrame(rows, columns=UNIT_COLUMNS)


UNIT_COLUMNS = [
    "unit",
    "shank",
    "peak_channel",
    "x_um",
    "y_um",
    "amplitude_uv",
    "noise_uv",
    "snr",
    "n_spikes",
    "rate_hz",
    "refractory_s",
    "present_start_s",
    "present_stop_s",
    "presence_fraction",
    "relative_sd",
    "decay_um",
    "speed_um_per_ms",
    "trough_to_peak_ms",
]


def _surface(probe, shank):
    """Highest channel inside the brain of one shank, in `surface.json`'s form."""
    layout = probe.layout
    on_shank = layout.shank == shank
    if not np.any(on_shank & probe.outside):
        return {"shank": shank, "surface_channel": None, "surface_y_um": None}
    inside = np.flatnonzero(on_shank & ~probe.outside)
    top = inside[layout.y_um[inside] == layout.y_um[inside].max()].max()
    return {
        "shank": shank,
        "surface_channel": int(top),
        "surface_y_um": float(layout.y_um[top]),
    }
