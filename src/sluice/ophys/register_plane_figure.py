"""The figure of `register_plane`: shifts over time, the plane before and after, what is left."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Y_COLOUR, X_COLOUR, BAD_COLOUR, OTHER_COLOUR = "#3b6ea5", "#d1495b", "#e9a23b", "0.4"


def save_figure(path, *, table, projections, crop, info):
    """Draw what `register_plane` found.

    Parameters
    ----------
    path : path
        PNG.
    table : DataFrame
        ``shifts.pqt``.
    projections : Projections
    crop : tuple of slice
        Rows and columns that all good frames have seen.
    info : PlaneInfo
    """
    figure = Figure(figsize=(14, 8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(info.name, x=0.01, ha="left", weight="bold")
    grid = figure.add_gridspec(3, 4, height_ratios=(2, 1, 1))
    _draw_images(figure, grid, projections, crop)
    time_s = np.arange(len(table)) / info.sampling_rate_hz
    upper = figure.add_subplot(grid[1, :])
    _draw_shifts(upper, table, time_s)
    _draw_correlation(figure.add_subplot(grid[2, :], sharex=upper), table, time_s)
    upper.tick_params(labelbottom=False)
    # no version of matplotlib in the file: the same input gives the same bytes
    figure.savefig(path, format="png", dpi=90, metadata={"Software": None})


def _draw_images(figure, grid, projections, crop):
    low, high = np.percentile(projections.mean, (1, 99.5))
    n_parts = len(projections.block_means)
    first, last = projections.block_means[[0, n_parts - 1]]
    both = np.clip((np.stack([first, last, first], -1) - low) / max(high - low, 1e-6), 0, 1)
    shown = (
        ("mean as recorded", projections.raw_mean),
        ("mean, registered", projections.mean),
        ("maximum, registered", projections.max),
        ("first part (magenta), last part (green)", both),
    )
    for i, (title, image) in enumerate(shown):
        axes = figure.add_subplot(grid[0, i])
        top = np.percentile(image, 99.5) if title.startswith("maximum") else high
        axes.imshow(image, vmin=low, vmax=max(top, low + 1e-6), cmap="gray")
        axes.set_title(title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        if i in (1, 2):
            rows, columns = crop
            axes.plot(
                np.array([0, 1, 1, 0, 0]) * (columns.stop - columns.start) + columns.start - 0.5,
                np.array([0, 0, 1, 1, 0]) * (rows.stop - rows.start) + rows.start - 0.5,
                color=BAD_COLOUR,
                lw=0.8,
            )


def _draw_shifts(axes, table, time_s):
    for column, name, colour in (("y_px", "y", Y_COLOUR), ("x_px", "x", X_COLOUR)):
        axes.plot(time_s, table[column], lw=0.6, color=colour, label=name)
    label = "largest of a block at the edge"
    axes.plot(time_s, table["nonrigid_max_px"], lw=0.5, color=OTHER_COLOUR, label=label)
    for column, name, marker in (("is_clipped", "clipped", "x"), ("is_bad", "bad", "|")):
        chosen = table[column].to_numpy()
        if chosen.any():
            where = np.full(chosen.sum(), axes.get_ylim()[1])
            text = f"{name} ({chosen.sum()})"
            axes.plot(time_s[chosen], where, marker, color=BAD_COLOUR, ms=5, label=text)
    axes.set_ylabel("shift (px)")
    axes.legend(fontsize=8, ncols=5, frameon=False, loc="lower left")


def _draw_correlation(axes, table, time_s):
    axes.plot(time_s, table["correlation"], lw=0.6, color=OTHER_COLOUR)
    axes.set_ylabel("phase correlation")
    axes.set_xlabel("time (s)")
