"""Look at a probe's raw recording: saturation, gaps, noise, bad channels, surface, spectra."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.ephys.bad_channels import is_labelled_by_rms
from sluice.ephys.check_probe_figure import save_figure
from sluice.ephys.saturation import scan_recording
from sluice.ephys.snippets import measure_ap, measure_lfp, snippet_starts, without_disturbance
from sluice.ephys.surface import find_surface
from sluice.ephys.traces import DEAD, GOOD, NOISY, OUTSIDE, save_channels
from sluice.errors import InputError
from sluice.qc import check, log_checks, save_checks

logger = logging.getLogger(__name__)

# Long enough for the frequencies that the surface is found by, and for all filters.
MIN_DURATION_S = 0.2


def _by_shank(table, wanted):
    """For each shank its wanted channels, from the tip to the top."""
    order = np.lexsort((table["x_um"], table["y_um"]))
    return [
        order[((table["shank"] == shank) & wanted).to_numpy()[order]]
        for shank in sorted(table["shank"].unique())
    ]


def _scan(recording, gain_uv, counted, max_int, settings):
    dtype = np.dtype(recording.get_dtype())
    return scan_recording(
        recording,
        max_int=np.iinfo(dtype).max + 1 if max_int is None else max_int,
        gain_uv=gain_uv,
        counted=counted,
        level=settings["saturation_level"],
        slope_v_per_s=settings["saturation_slope_v_per_s"],
        channel_fraction=settings["saturation_channel_fraction"],
        min_gap_s=settings["min_gap_s"],
        window_s=settings["rms_window_s"],
    )


def _require_channels(labels, is_reference, constant, name):
    """Stop where no channel can be used."""
    if np.isin(labels[~is_reference], (GOOD, OUTSIDE)).any():
        return
    counted = labels[~is_reference]
    raise InputError(
        f"{name}: none of its {counted.size} channels can be used: "
        f"{np.count_nonzero(counted == DEAD)} are dead "
        f"({np.count_nonzero(constant & ~is_reference)} of them constant) and "
        f"{np.count_nonzero(counted == NOISY)} noisy; at least one good channel is needed. "
        "Check that this is the file of this probe and that the probe was connected and "
        "referenced while it recorded; if so, leave its row out of streams.tsv."
    )


def _require_lf(recording, lf_recording, name):
    """Stop where the LF band does not belong to the AP band."""
    found, expected = lf_recording.get_num_channels(), recording.get_num_channels()
    if found != expected:
        raise InputError(
            f"{name}: the LF band has {found} channels, the AP band {expected}; expected the "
            "same. Check that both files are of one probe and were saved with the same channels."
        )
    found, expected = lf_recording.get_duration(), recording.get_duration()
    if abs(found - expected) > 0.1:
        raise InputError(
            f"{name}: the LF band lasts {found:.3f} s, the AP band {expected:.3f} s; expected "
            "the same. One of the two files is cut short or of another run: copy it again."
        )
    if lf_recording.get_channel_gains() is None:
        raise InputError(
            f"{name}: the LF band does not say its gain (µV per bit). Check its .meta file."
        )


def check_probe_file(
    *,
    recording,
    lf_recording,
    channels_table,
    channels,
    surface,
    checks,
    figure,
    alf_folder,
    settings,
    name="probe",
    max_int=None,
    lf_max_int=None,
):
    """Check one probe's raw recording and label its channels.

    Every sample of both bands is read once (`scan_recording`), and snippets of a second
    once more for spectra, noise and labels.

    Reference contacts record no signal: they are labelled dead and are left out of all
    counts. A constant channel is dead whatever `bad_channels` says.

    Parameters
    ----------
    recording : BaseRecording
        AP band (or the only band), int16, one segment.
    lf_recording : BaseRecording or None
        LF band with the same channels in the same order, where the probe has one.
    channels_table : DataFrame
        Columns of `CHANNEL_COLUMNS` but `label` and `rms_uv`.
    channels, surface, checks, figure : path
        ``channels.tsv``, ``surface.json``, ``checks.json``, PNG; written.
    alf_folder : path
        Folder for IBL's raw QC files; made.
    settings : dict
        ``ephys.check_probe``.
    name : str
        How messages call the probe.
    max_int, lf_max_int : int, optional
        Full scale of each band in bits (SpikeGLX: imMaxInt); by default that of the data
        type, as a file without a header does not say.

    Raises
    ------
    InputError
        No channel can be used, or the LF band does not fit the AP band.
    """
    if recording.get_duration() < MIN_DURATION_S:
        raise InputError(
            f"{name}: the recording lasts {recording.get_duration():.3f} s; at least "
            f"{MIN_DURATION_S} s are needed. Copy the file again, or leave its row out of "
            "streams.tsv."
        )
    if lf_recording is not None:
        _require_lf(recording, lf_recording, name)
    table = channels_table.reset_index(drop=True)
    is_reference = table["is_reference"].to_numpy(bool)
    gain_uv = table["gain_uv"].to_numpy(float)
    scan = _scan(recording, gain_uv, ~is_reference, max_int, settings)
    _require_channels(np.where(scan.constant, DEAD, GOOD), is_reference, scan.constant, name)
    starts_s = without_disturbance(
        snippet_starts(recording.get_duration(), settings=settings),
        settings["snippet_s"],
        np.concatenate([scan.saturated, scan.gaps]) / recording.sampling_frequency,
    )
    shanks = _by_shank(table, ~is_reference & ~scan.constant)
    n_by_rms = sum(is_labelled_by_rms(s, settings) for s in shanks)
    logger.info(
        "%d snippets; %d of %d shanks labelled by RMS", len(starts_s), n_by_rms, len(shanks)
    )
    ap = measure_ap(recording, gain_uv, shanks, starts_s, settings=settings)
    ap.labels[is_reference | scan.constant] = DEAD
    _require_channels(ap.labels, is_reference, scan.constant, name)
    table["label"], table["rms_uv"] = ap.labels, ap.rms_uv

    usable = _by_shank(table, ~is_reference & np.isin(ap.labels, (GOOD, OUTSIDE)))
    lfp = _measure_lfp(recording, lf_recording, table, usable, starts_s, lf_max_int, settings)
    surfaces = _surfaces(table, usable, lfp.profiles, settings)
    found = _checks(ap, lfp, scan, is_reference, recording, settings, Path(figure).name)

    save_channels(table, channels)
    Path(surface).write_text(json.dumps({"shanks": surfaces}, indent=1) + "\n")
    save_checks(found, checks)
    _save_alf(alf_folder, ap, lfp, scan, gain_uv)
    save_figure(
        figure,
        table=table,
        ap=ap,
        lfp=lfp,
        usable=usable,
        surfaces=surfaces,
        scan=scan,
        recording=recording,
        title=name,
    )
    for row in surfaces:
        logger.info("shank %d: %s", row["shank"], row["message"])
    log_checks(found)


def _measure_lfp(recording, lf_recording, table, usable, starts_s, lf_max_int, settings):
    """Measure the LFP; where there is an LF band its RMS is that of the whole recording."""
    y_um = table["y_um"].to_numpy(float)
    if lf_recording is None:
        gain_uv = table["gain_uv"].to_numpy(float)
        return measure_lfp(recording, gain_uv, y_um, usable, starts_s, settings=settings)
    gain_uv = np.asarray(lf_recording.get_channel_gains(), float)
    counted = ~table["is_reference"].to_numpy(bool)
    scan = _scan(lf_recording, gain_uv, counted, lf_max_int, settings)
    lfp = measure_lfp(lf_recording, gain_uv, y_um, usable, starts_s, settings=settings)
    return replace(lfp, rms_uv=scan.rms_bits * gain_uv, times_s=scan.window_times_s)


def _surfaces(table, shanks, profiles, settings):
    """Rows of ``surface.json``."""
    y_um = table["y_um"].to_numpy(float)
    rows = []
    for shank, channels, profile in zip(
        sorted(table["shank"].unique()), shanks, profiles, strict=True
    ):
        found = find_surface(
            profile,
            y_um[channels],
            smooth_um=settings["surface_smooth_um"],
            slope_per_um=settings["surface_slope_per_um"],
            reference_um=settings["surface_reference_um"],
            min_outside_um=settings["surface_min_outside_um"],
            max_frequency_hz=settings["surface_max_frequency_hz"],
        )
        channel = None
        if found.y_um is not None:
            inside = np.flatnonzero((table["shank"] == shank) & (y_um <= found.y_um))
            channel = int(inside[np.lexsort((inside, y_um[inside]))[-1]])
        rows.append(
            {
                "shank": int(shank),
                "surface_channel": channel,
                "surface_y_um": found.y_um,
                "message": found.message,
            }
        )
    return rows


def _checks(ap, lfp, scan, is_reference, recording, settings, figure):
    """Judge what was found."""
    n_samples, rate_hz = recording.get_num_samples(), recording.sampling_frequency
    counted = ap.labels[~is_reference]
    good = (ap.labels == GOOD) & ~is_reference
    if not good.any():
        good = np.isin(ap.labels, (GOOD, OUTSIDE)) & ~is_reference
    n = {label: np.count_nonzero(counted == label) for label in (DEAD, NOISY, OUTSIDE)}
    saturated = int(np.diff(scan.saturated, axis=1).sum())
    missing = int(np.diff(scan.gaps, axis=1).sum())
    rows = [
        ("bad_channel_fraction", (n[DEAD] + n[NOISY]) / counted.size, "", "dead or noisy"),
        ("dead_channel_fraction", n[DEAD] / counted.size, "", f"{n[DEAD]} channels are dead"),
        ("noisy_channel_fraction", n[NOISY] / counted.size, "", f"{n[NOISY]} channels are noisy"),
        (
            "outside_channel_fraction",
            n[OUTSIDE] / counted.size,
            "",
            f"{n[OUTSIDE]} channels are labelled outside the brain",
        ),
        (
            "saturated_fraction",
            saturated / n_samples,
            "",
            f"{saturated / rate_hz:.3f} s in {len(scan.saturated)} stretches",
        ),
        (
            "gap_fraction",
            missing / n_samples,
            "",
            f"{missing / rate_hz:.3f} s of zeros in {len(scan.gaps)} gaps",
        ),
        ("ap_rms_uv", np.median(ap.rms_uv[good]), "µV", "above 300 Hz, median of good channels"),
        (
            "spike_rate_hz",
            ap.spike_rate_hz[good].mean(),
            "Hz",
            f"troughs below {settings['spike_threshold_uv']:g} µV a good channel",
        ),
        (
            "lf_rms_uv",
            np.nanmedian(lfp.rms_uv[:, good]),
            "µV",
            "LFP, median of good channels and over time",
        ),
    ]
    return [
        check(
            key,
            value,
            unit=unit,
            message=message,
            figure=figure,
            **settings["checks"][key],
        )
        for key, value, unit, message in rows
    ]


def _save_alf(folder, ap, lfp, scan, gain_uv):
    """Write IBL's raw QC files.

    Voltages are in V and power densities in V²/Hz as IBL's. Differences: ``apRMS`` is
    (n_channels, 2), as recorded and above 300 Hz; IBL's is (2, n_channels), whose first
    dimension disagrees with the other attributes of the object. Spectra are means over the
    snippets (IBL's LF spectrum is a sum over windows). IBL's second RMS is after destriping.
    Without an LF band the LF files are of the AP band brought to 2500 Hz, and the RMS over
    time is that of the snippets, whose middles are the timestamps.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "Channels.apRMS": np.column_stack([ap.raw_rms_uv, ap.rms_uv]).astype(np.float32) * 1e-6,
        "Channels.rawSpikeRates": ap.spike_rate_hz.astype(np.float32),
        "Channels.labels": ap.labels.astype(np.int16),
        "SpectralDensityAP.freqs": ap.frequencies_hz,
        "SpectralDensityAP.power": (ap.power * 1e-12).astype(np.float32),
        "TimeRmsAP.rms": (scan.rms_bits * gain_uv * 1e-6).astype(np.float32),
        "TimeRmsAP.timestamps": scan.window_times_s,
        "SpectralDensityLF.freqs": lfp.frequencies_hz,
        "SpectralDensityLF.power": (lfp.power * 1e-12).astype(np.float32),
        "TimeRmsLF.rms": (lfp.rms_uv * 1e-6).astype(np.float32),
        "TimeRmsLF.timestamps": lfp.times_s,
    }
    for attribute, values in arrays.items():
        np.save(folder / f"_iblqc_ephys{attribute}.npy", values)
    for attribute, runs in {
        "_iblqc_ephysSaturation": scan.saturated,
        "_sluice_ephysGaps": scan.gaps,
    }.items():
        pd.DataFrame(runs, columns=["start_sample", "stop_sample"]).to_parquet(
            folder / f"{attribute}.samples.pqt", index=False
        )
