"""Figure of the distributions of a sorting's quality metrics."""

import numpy as np


def save_figure(path, table, settings):
    """Draw a histogram of each metric that a label is decided by, and of three more.

    Parameters
    ----------
    path : path
        PNG.
    table : DataFrame
        Rows of ``metrics.pqt``.
    settings : dict
        ``ephys.unit_metrics``; its thresholds are drawn as lines.
    """
    # Slow to import and needed here only.
    from matplotlib.figure import Figure

    allen, ibl = settings["allen"], settings["ibl"]
    panels = (
        ("firing_rate", "firing rate (Hz)", None),
        ("presence_ratio", "presence ratio", allen["presence_ratio_min"]),
        ("isi_violations", "ISI violations", allen["isi_violations_max"]),
        ("amplitude_cutoff", "amplitude cutoff", allen["amplitude_cutoff_max"]),
        ("snr", "signal-to-noise ratio", None),
        ("ibl_max_confidence", "sliding RP confidence (%)", ibl["max_confidence_min"]),
        ("ibl_noise_cutoff", "noise cutoff (SD)", ibl["noise_cutoff_max"]),
        ("ibl_amp_median_uv", "median amplitude (µV)", ibl["amp_median_min_uv"]),
    )
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, (name, label, threshold) in zip(figure.subplots(2, 4).flat, panels, strict=True):
        values = table[name].to_numpy(np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            axes.hist(values, bins=30, color="0.4")
        if threshold is not None:
            axes.axvline(threshold, color="tab:red", linewidth=1)
        axes.set(xlabel=label, ylabel="units")
        axes.set_title(f"{len(values)} of {len(table)} units have a value", fontsize="small")
    # Without the version of the library, so that equal figures are equal files.
    figure.savefig(path, format="png", dpi=100, metadata={"Software": None})
