"""The figure of `plane_qc`: the plane, its brightness over time, photons, z-drift, epilepsy."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sluice.figure_parts import TRACE, list_checks, say, thinned

FIT = "#d1495b"


def save_figure(path, *, found, checks, mean_image, masks, z_step_um, title):
    """Draw what `plane_qc` found.

    Parameters
    ----------
    path : path
        PNG.
    found : Measured
    checks : list of Check
    mean_image : float array, shape (height, width)
        Of the registered movie.
    masks : Masks
    z_step_um : float or None
    title : str
    """
    figure = Figure(figsize=(14, 10), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    grid = figure.add_gridspec(3, 3, height_ratios=(1.6, 1, 1))
    _draw_plane(figure, figure.add_subplot(grid[0, 0]), found, mean_image, masks)
    _draw_photons(figure.add_subplot(grid[0, 1]), found)
    list_checks(figure.add_subplot(grid[0, 2]), checks)
    _draw_brightness(figure.add_subplot(grid[1, :2]), found)
    _draw_epilepsy(figure.add_subplot(grid[2, :2]), found.epilepsy, found.time_s)
    _draw_z(figure.add_subplot(grid[1, 2]), found.z_drift, z_step_um)
    if found.crosstalk is not None:
        _draw_crosstalk(figure, figure.add_subplot(grid[2, 2]), found.crosstalk)
    else:
        _draw_rois(figure.add_subplot(grid[2, 2]), found.rois)
    # no version of matplotlib in the file: the same input gives the same bytes
    figure.savefig(path, format="png", dpi=90, metadata={"Software": None})


def _draw_plane(figure, axes, found, image, masks):
    """Mean image with the ROIs, the border that is left out, and saturated pixels."""
    seen = np.isfinite(image) & ~found.saturated
    low, high = np.percentile(image[seen if seen.any() else np.isfinite(image)], (1, 99.5))
    drawn = axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    height, width = image.shape
    if len(masks):
        covered = np.zeros(image.size)
        covered[masks.weights.indices] = 1
        axes.contour(covered.reshape(image.shape), [0.5], colors="#e9a23b", linewidths=0.6)
    border = found.border
    x = np.array([border.left, width - border.right]) - 0.5
    y = np.array([border.top, height - border.bottom]) - 0.5
    axes.plot(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]], color="#2a9d8f", lw=0.8)
    rows, columns = np.nonzero(found.saturated)
    axes.plot(columns, rows, ".", color="#d1495b", ms=2)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"Mean image, {len(masks)} ROIs; red: saturated", fontsize=10)
    figure.colorbar(drawn, ax=axes, label="intensity", aspect=40, pad=0.02)


def _draw_photons(axes, found):
    """Mean and variance of the pixels, with the line that gives the photon gain."""
    axes.set_title("Photon transfer", fontsize=10)
    gain, mean, variance = found.gain, found.transfer.mean, found.transfer.variance
    shown = found.mask & ~found.saturated & np.isfinite(mean) & np.isfinite(variance)
    if not shown.any():
        say(axes, gain.message)
        return
    for mask, colour, label in (
        (shown & ~gain.used, "0.8", "left out"),
        (shown & gain.used, TRACE, "fitted"),
    ):
        pixels = np.flatnonzero(mask)
        pixels = pixels[:: max(1, len(pixels) // 5000)]
        axes.plot(mean.flat[pixels], variance.flat[pixels], ".", ms=1.5, color=colour, label=label)
    low, high = np.percentile(mean[shown], (0, 99.9))
    bottom, top = np.percentile(variance[shown], (0, 99.5))
    if gain.background is not None:
        low = min(low, gain.background)
        line = np.array([low, high])
        axes.plot(line, gain.gain * (line - gain.background), color=FIT, lw=1.5)
        axes.set_title(
            f"Photon transfer: gain {gain.gain:.3g}, background {gain.background:.3g}", fontsize=10
        )
        bottom, top = min(bottom, 0), max(top, gain.gain * (high - gain.background))
    else:
        axes.set_title(gain.message, fontsize=8)
    margin = 0.03 * max(high - low, 1e-6)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(bottom, max(1.1 * top, bottom + 1e-6))
    axes.set_xlabel("mean (intensity)")
    axes.set_ylabel("variance from frame to frame")
    axes.legend(fontsize=8, markerscale=5, frameon=False, loc="upper left")


def _draw_brightness(axes, found):
    """Mean of each frame, and the curve that fits best."""
    trace, bleaching = found.movie.frame_mean, found.bleaching
    axes.set_title(f"Brightness: {found.drift.message}; {bleaching.message}", fontsize=9)
    if not np.isfinite(trace).any():
        say(axes, "no usable frame")
        return
    places = thinned(trace)
    values = trace[places]
    axes.plot(found.time_s[places], values, color=TRACE, lw=0.6)
    if bleaching.fit is not None:
        axes.plot(found.time_s, bleaching.fit, color=FIT, lw=1.5, label=f"fit: {bleaching.kind}")
        axes.legend(fontsize=8, frameon=False, loc="upper right")
    axes.margins(x=0)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("mean intensity")


def _draw_epilepsy(axes, epilepsy, time_s):
    """Brightness in per cent, with the events."""
    axes.set_title(f"Epileptiform events: {epilepsy.message}", fontsize=9)
    if epilepsy.trace_percent is None:
        say(axes, epilepsy.message)
        return
    trace = epilepsy.trace_percent
    places = thinned(trace)
    values = trace[places]
    axes.plot(time_s[places], values, color=TRACE, lw=0.6)
    axes.plot(time_s[epilepsy.events], trace[epilepsy.events], "v", color=FIT, ms=5)
    axes.axhline(epilepsy.threshold_percent, color="0.6", lw=0.8, ls="--")
    axes.margins(x=0)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("field (%)")


def _draw_z(axes, z, z_step_um):
    """Correlation of the start and of the end with each plane of the z-stack."""
    axes.set_title("z-stack", fontsize=10)
    if z is None:
        say(axes, "no z-stack")
        return
    depth_um = np.arange(z.correlation.shape[1]) * z_step_um
    for r in z.correlation[:-2]:
        axes.plot(depth_um, r, color="0.85", lw=0.6)
    for row, colour, label in ((-2, TRACE, "start"), (-1, FIT, "end")):
        axes.plot(depth_um, z.correlation[row], color=colour, lw=1.5, label=label)
        if np.isfinite(z.position[row]):
            axes.axvline(z.position[row] * z_step_um, color=colour, lw=0.8, ls="--")
    drift = "not measured" if z.drift_um is None else f"drift {z.drift_um:+.1f} µm"
    axes.set_title(f"Depth in the z-stack: {drift}", fontsize=9)
    axes.set_xlabel("depth in the stack (µm)")
    axes.set_ylabel("correlation")
    axes.legend(fontsize=8, frameon=False)


def _draw_rois(axes, rois):
    """Photons and d' of the ROIs."""
    shown = np.isfinite(rois.photons) & np.isfinite(rois.d_prime)
    axes.set_title("Light of the ROIs", fontsize=10)
    if not shown.any():
        say(axes, "no ROI with measured light")
        return
    axes.plot(rois.photons[shown], rois.d_prime[shown], "o", ms=4, color=TRACE, alpha=0.6)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("photons a frame")
    axes.set_ylabel("d'")


def _draw_crosstalk(figure, axes, crosstalk):
    """Share of the other plane's activity at each offset."""
    if crosstalk.slopes is None:
        say(axes, crosstalk.message)
        return
    reach = [n // 2 + 0.5 for n in crosstalk.slopes.shape]
    limit = max(np.abs(crosstalk.slopes).max(), 0.1)
    drawn = axes.imshow(
        crosstalk.slopes,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        extent=(-reach[1], reach[1], reach[0], -reach[0]),
    )
    if crosstalk.offset_px is not None:
        axes.plot(crosstalk.offset_px[1], crosstalk.offset_px[0], "+", color="black", ms=10)
    axes.set_xlabel("offset x (px)")
    axes.set_ylabel("offset y (px)")
    axes.set_title("Activity of the paired plane seen here", fontsize=9)
    figure.colorbar(drawn, ax=axes, label="fraction")
