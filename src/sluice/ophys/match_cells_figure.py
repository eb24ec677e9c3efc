"""The figure of `match_cells`: who is who in every session, and how many were found again."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

MAX_SESSIONS = 12
COLUMNS = 4
# Steps of the golden angle: neighbours in number get hues far apart, however many there are.
GOLDEN = 0.618034
ALONE = (0.62, 0.62, 0.62)


def save_figure(path, *, planes, cells, fractions, title):
    """Draw the sessions' ROIs, one colour a cell, and the matched fraction of all pairs.

    Parameters
    ----------
    path : path
        PNG.
    planes : list of ImagedPlane
    cells : list of int (n_rois,)
        Cell of each ROI, one array a session.
    fractions : dict of (int, int) to float or None
        Matched fraction of each pair of sessions; None where there is none.
    title : str
    """
    shown = _sessions_shown(len(planes))
    rows = -(-len(shown) // COLUMNS)
    columns = min(len(shown), COLUMNS)
    figure = Figure(figsize=(3.6 * columns + 4.4, max(4.6, 3.8 * rows + 0.5)), layout="constrained")
    FigureCanvasAgg(figure)
    hidden = "" if len(shown) == len(planes) else f", {len(shown)} of {len(planes)} sessions"
    figure.suptitle(f"{title}{hidden}", x=0.01, ha="left", weight="bold")
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=(*[1] * columns, 1.2))
    n_sessions = np.bincount(np.concatenate(cells))
    for place, session in enumerate(shown):
        axes = figure.add_subplot(grid[place // COLUMNS, place % COLUMNS])
        _draw_session(axes, session, planes[session], cells[session], n_sessions)
    _draw_fractions(figure, figure.add_subplot(grid[:, columns]), len(planes), fractions)
    # no version of matplotlib in the file: the same input gives the same bytes
    figure.savefig(path, format="png", dpi=90, metadata={"Software": None})


def _sessions_shown(n):
    """All sessions, or as many as fit, spread from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_SESSIONS)).round().astype(int))


def _draw_session(axes, number, plane, cells, n_sessions):
    """Mean image with outlines of the ROIs; grey where a cell was seen in this session only."""
    low, high = np.percentile(plane.mean, (1, 99.5))
    gray = ((plane.mean - low) / max(high - low, 1e-9)).clip(0, 1) * 0.75
    image = np.repeat(gray[:, :, None], 3, axis=2)
    for roi, cell in enumerate(cells):
        y, x, _ = plane.masks.pixels(roi)
        edge = _is_edge(y, x)
        again = n_sessions[cell] > 1
        image[y[edge], x[edge]] = hsv_to_rgb((cell * GOLDEN % 1, 0.85, 1)) if again else ALONE
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    n_again = np.count_nonzero(n_sessions[cells] > 1)
    axes.set_title(
        f"{number + 1}: {plane.name}\n{len(cells)} ROIs, {n_again} also in another session",
        fontsize=8,
    )


def _is_edge(y, x):
    """Pixels of a mask with a neighbour, left, right, above or below, that is not in it."""
    height, width = (int(v.max(initial=0)) + 3 for v in (y, x))
    inside = np.zeros((height, width), bool)
    y, x = y + 1, x + 1
    inside[y, x] = True
    return ~(inside[y - 1, x] & inside[y + 1, x] & inside[y, x - 1] & inside[y, x + 1])


def _draw_fractions(figure, axes, n, fractions):
    """Matched fraction of each pair of sessions, as a matrix."""
    matrix = np.full((n, n), np.nan)
    for (a, b), fraction in fractions.items():
        matrix[a, b] = matrix[b, a] = np.nan if fraction is None else fraction
    axes.set_facecolor("0.9")
    drawn = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
    if n <= MAX_SESSIONS:
        for (a, b), fraction in fractions.items():
            text = "–" if fraction is None else f"{fraction:.2f}"
            colour = "black" if fraction is None or fraction > 0.6 else "white"
            for x, y in ((a, b), (b, a)):
                axes.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
    step = -(-n // MAX_SESSIONS)
    axes.set_xticks(range(0, n, step), range(1, n + 1, step))
    axes.set_yticks(range(0, n, step), range(1, n + 1, step))
    axes.set_title(
        "Matched ROIs of two sessions, fraction of the session\n"
        "with fewer in the shared part; –: images do not fit, or no ROIs",
        fontsize=8,
    )
    axes.set_anchor("N")
    figure.colorbar(drawn, ax=axes, shrink=0.6, location="bottom", anchor=(0.5, 1.0))
