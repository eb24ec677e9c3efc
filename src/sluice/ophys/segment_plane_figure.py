"""The figure of `segment_plane`: the ROIs on the plane, and what the classifier saw of them."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SOMA_COLOUR, OTHER_COLOUR, CROP_COLOUR = "#2a9d8f", "#d1495b", "#e9a23b"


def save_figure(path, *, table, masks, mean, correlation, info, place):
    """Draw the ROIs.

    Parameters
    ----------
    path : path
        PNG.
    table : DataFrame
        ``rois.pqt``.
    masks : Masks
    mean, correlation : float32 array, shape (height, width)
    info : PlaneInfo
    place : dict
        `yrange`, `xrange`: what was searched.
    """
    figure = Figure(figsize=(14, 7), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(info.name, x=0.01, ha="left", weight="bold")
    grid = figure.add_gridspec(2, 3, width_ratios=(2, 2, 1.2))
    is_soma = table["soma_probability"].to_numpy() > 0.5
    axes = [figure.add_subplot(grid[:, i]) for i in (0, 1)]
    (top, bottom), (left, right) = place["yrange"], place["xrange"]
    searched = correlation[top:bottom, left:right]
    for one, image, shown in ((axes[0], correlation, searched), (axes[1], mean, mean)):
        low, high = np.percentile(shown, (1, 99.5))
        one.imshow(image, vmin=low, vmax=max(high, low + 1e-6), cmap="gray")
        one.set_xticks([])
        one.set_yticks([])
    axes[0].set_title("correlation of neighbouring pixels' activity", fontsize=10)
    axes[1].set_title(f"{len(table)} ROIs, {is_soma.sum()} probably somata", fontsize=10)
    _draw_rois(axes[1], masks, is_soma)
    axes[0].plot(
        np.array([left, right, right, left, left]) - 0.5,
        np.array([top, top, bottom, bottom, top]) - 0.5,
        color=CROP_COLOUR,
        lw=0.8,
    )
    _draw_features(figure.add_subplot(grid[0, 2]), table, is_soma)
    last = figure.add_subplot(grid[1, 2])
    last.hist(table["soma_probability"], bins=np.linspace(0, 1, 21), color=SOMA_COLOUR)
    last.set_xlabel("probability to be a soma")
    last.set_ylabel("ROIs")
    # no version of matplotlib in the file: the same input gives the same bytes
    figure.savefig(path, format="png", dpi=90, metadata={"Software": None})


def _draw_rois(axes, masks, is_soma):
    """Colour each ROI's pixels by their weight; shared pixels mix."""
    layer = np.zeros((masks.height, masks.width, 4))
    colours = {True: SOMA_COLOUR, False: OTHER_COLOUR}
    for roi, soma in enumerate(is_soma):
        y, x, weight = masks.pixels(roi)
        colour = colours[bool(soma)]
        rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        strength = 0.25 + 0.45 * weight / weight.max()
        layer[y, x, :3] = np.where(layer[y, x, 3:] > 0, (layer[y, x, :3] + rgb) / 2, rgb)
        layer[y, x, 3] = np.maximum(layer[y, x, 3], strength)
    axes.imshow(layer)


def _draw_features(axes, table, is_soma):
    for chosen, name, colour in (
        (is_soma, "soma", SOMA_COLOUR),
        (~is_soma, "other", OTHER_COLOUR),
    ):
        axes.plot(table["skew"][chosen], table["compact"][chosen], ".", color=colour, label=name)
    axes.set_xlabel("skewness of the trace")
    axes.set_ylabel("compactness (1: a disk)")
    axes.legend(fontsize=8, frameon=False)
