"""The figure of `check_probe`: noise, spectrum and surface by depth; disturbances over time."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from sluice.ephys.traces import DEAD, GOOD, NOISY, OUTSIDE

LABELS = {
    GOOD: ("good", "#3b6ea5"),
    DEAD: ("dead", "#222222"),
    NOISY: ("noisy", "#d1495b"),
    OUTSIDE: ("outside the brain", "#e9a23b"),
}
SURFACE_COLOUR = "#2a9d8f"


def save_figure(path, *, table, ap, lfp, usable, surfaces, scan, recording, title):
    """Draw what `check_probe` found.

    The four upper panels have one row a channel, ordered by shank and depth, so that any
    geometry fits; the lower one is the recording from start to end.

    Parameters
    ----------
    path : path
        PNG.
    table : DataFrame
        Columns `CHANNEL_COLUMNS`.
    ap : ApFeatures
    lfp : LfpFeatures
    usable : list of ndarray of int
        For each shank the channels of its power profiles.
    surfaces : list of dict
        Rows of ``surface.json``.
    scan : Scan
    recording : BaseRecording
        For its sampling rate and duration.
    title : str
    """
    figure = Figure(figsize=(14, 9), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    grid = figure.add_gridspec(2, 4, height_ratios=(3, 1), width_ratios=(1.2, 0.8, 1.6, 1.2))
    first = figure.add_subplot(grid[0, 0])
    panels = [first] + [figure.add_subplot(grid[0, i], sharey=first) for i in (1, 2, 3)]
    order = np.lexsort((table["x_um"], table["y_um"], table["shank"]))
    row_of = np.argsort(order)
    _draw_noise(panels[0], table, ap.raw_rms_uv, row_of)
    _draw_spikes(panels[1], table, ap.spike_rate_hz, row_of)
    _draw_spectrum(figure, panels[2], lfp.frequencies_hz, lfp.power[:, order])
    _draw_profiles(panels[3], usable, lfp.profiles, row_of)
    _mark_rows(panels, table, order, row_of, surfaces)
    _draw_time(figure.add_subplot(grid[1, :]), table, scan, recording)
    # no version of matplotlib in the file: the same input gives the same bytes
    figure.savefig(path, format="png", dpi=90, metadata={"Software": None})


def _draw_noise(axes, table, raw_rms_uv, row_of):
    """RMS of each channel, coloured by its label."""
    axes.plot(raw_rms_uv, row_of, ".", color="0.8", ms=4, label="as recorded")
    for label, (name, colour) in LABELS.items():
        chosen = table["label"].to_numpy() == label
        if chosen.any():
            text = f"{name} ({np.count_nonzero(chosen)})"
            axes.plot(table["rms_uv"][chosen], row_of[chosen], "o", color=colour, ms=4, label=text)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    shown = np.concatenate([raw_rms_uv, table["rms_uv"]])
    axes.set_xlim(min(1, max(0.1, 0.8 * shown.min())), max(100, 1.2 * shown.max()))
    axes.set_xlabel("RMS (µV)")
    axes.set_title("Noise above 300 Hz", fontsize=10)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, frameon=False)


def _draw_spikes(axes, table, spike_rate_hz, row_of):
    colours = [LABELS[label][1] for label in table["label"]]
    axes.barh(row_of, spike_rate_hz, height=1.0, color=colours)
    # a noisy channel may run off the panel: the others are what it is for
    quiet = table["label"].to_numpy() != NOISY
    axes.set_xlim(0, 1.1 * max(spike_rate_hz[quiet].max(initial=0), 1))
    axes.set_xlabel("rate (1/s)")
    axes.set_title("Threshold crossings", fontsize=10)


def _draw_spectrum(figure, axes, frequencies_hz, power):
    """Power of the LFP; the colours span the central 96 % of the values."""
    shown = (frequencies_hz > 0) & (frequencies_hz <= 300)
    decibel = 10 * np.log10(np.maximum(power[shown], 1e-6)).T
    low, high = np.percentile(decibel, (2, 98))
    edges = np.append(frequencies_hz[shown], frequencies_hz[shown][-1]) - frequencies_hz[1] / 2
    edges[-1] += frequencies_hz[1]
    image = axes.pcolormesh(
        edges,
        np.arange(len(decibel) + 1) - 0.5,
        decibel,
        vmin=low,
        vmax=max(high, low + 1),
        cmap="viridis",
        rasterized=True,
    )
    axes.set_xscale("log")
    axes.set_xlabel("frequency (Hz)")
    axes.set_title("LFP power", fontsize=10)
    figure.colorbar(image, ax=axes, label="dB re 1 µV²/Hz", location="right", aspect=40)


def _draw_profiles(axes, usable, profiles, row_of):
    """Low-frequency power along each shank, as recorded and against its top."""
    for i, (channels, profile) in enumerate(zip(usable, profiles, strict=True)):
        rows = row_of[channels]
        names = ("as recorded", "against the top") if i == 0 else ("_", "_")
        axes.plot(profile[0], rows, "-", color="0.6", lw=1, label=names[0])
        axes.plot(profile[1], rows, "-", color=SURFACE_COLOUR, lw=1.2, label=names[1])
    axes.set_xlabel("log10 power (µV²/Hz)")
    axes.set_title("Low-frequency power", fontsize=10)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.1), frameon=False)


def _mark_rows(panels, table, order, row_of, surfaces):
    """Depth along the left side, lines between shanks and at the surface."""
    y_um, shank = table["y_um"].to_numpy()[order], table["shank"].to_numpy()[order]
    n = len(order)
    ticks = np.unique(np.linspace(0, n - 1, min(n, 13)).round().astype(int))
    many = len(np.unique(shank)) > 1
    names = [f"{shank[i]}: {y_um[i]:.0f}" if many else f"{y_um[i]:.0f}" for i in ticks]
    panels[0].set_yticks(ticks, names)
    panels[0].set_ylim(-0.5, n - 0.5)
    panels[0].set_ylabel("shank: depth (µm)" if many else "depth from the tip (µm)")
    for axes in panels:
        axes.tick_params(labelleft=axes is panels[0])
        for boundary in np.flatnonzero(np.diff(shank)):
            axes.axhline(boundary + 0.5, color="0.3", lw=0.8)
    for found in surfaces:
        if found["surface_channel"] is None:
            continue
        row = row_of[found["surface_channel"]] + 0.5
        for axes in panels:
            axes.axhline(row, color=SURFACE_COLOUR, lw=1.5, ls="--")
        text = f"surface: channel {found['surface_channel']}"
        panels[3].annotate(
            text,
            (1, row),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
            color=SURFACE_COLOUR,
        )


def _draw_time(axes, table, scan, recording):
    """RMS of the whole recording over time, saturated stretches and gaps."""
    rate_hz, duration_s = recording.sampling_frequency, recording.get_duration()
    used = np.isin(table["label"], (GOOD, OUTSIDE))
    rms_uv = scan.rms_bits[:, used] * table["gain_uv"].to_numpy()[used]
    seen = np.isfinite(rms_uv).all(axis=1)
    time_s = scan.window_times_s[seen]
    runs_s = scan.saturated / rate_hz
    low, middle, high = np.percentile(rms_uv[seen], (10, 50, 90), axis=1)
    axes.fill_between(time_s, low, high, color=LABELS[GOOD][1], alpha=0.25, lw=0)
    marker = "." if len(time_s) < 60 else ""
    axes.plot(time_s, middle, marker=marker, color=LABELS[GOOD][1], label="median and 10–90 %")
    for runs, name, colour in (
        (scan.saturated, "saturated", LABELS[NOISY][1]),
        (scan.gaps, "gap", "0.2"),
    ):
        for start, stop in _wide_enough(runs / rate_hz, duration_s / 1000):
            axes.axvspan(start, stop, color=colour, alpha=0.7, lw=0, label=name)
            name = "_"
    axes.set_xlim(0, duration_s)
    # windows with saturation in them run off the panel: the others are what it is for
    half_s = scan.window_times_s[0]
    inside = (runs_s[:, 0] < time_s[:, None] + half_s) & (runs_s[:, 1] > time_s[:, None] - half_s)
    quiet = ~inside.any(axis=1)
    axes.set_ylim(0, 1.3 * (high[quiet] if quiet.any() else high).max())
    axes.set_xlabel("time (s)")
    axes.set_ylabel("RMS as recorded (µV)")
    axes.legend(fontsize=8, loc="upper right", ncols=3)


def _wide_enough(spans_s, width_s):
    """Widen spans to be seen and join what then overlaps."""
    joined = []
    for start, stop in spans_s:
        stop = max(stop, start + width_s)
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(stop, joined[-1][1])
        else:
            joined.append([start, stop])
    return joined
