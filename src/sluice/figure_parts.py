"""Parts that the figures of several stages are made of."""

import numpy as np

COLOURS = {"PASS": "#2a9d8f", "WARNING": "#e9a23b", "FAIL": "#d1495b"}
TRACE, MARK = "#3b6ea5", "#d1495b"
MAX_POINTS = 4000


def say(axes, text):
    """Leave a panel empty and say why."""
    place = {"ha": "center", "va": "center", "transform": axes.transAxes}
    axes.text(0.5, 0.5, text, color="0.4", fontsize=9, wrap=True, **place)
    axes.set_xticks([])
    axes.set_yticks([])


def thinned(values):
    """Choose points of a long trace so that it keeps its peaks.

    Parameters
    ----------
    values : float array, shape (n,)
        NaN where unknown.

    Returns
    -------
    int64 array
        Ascending; all of them where there are few, else the smallest and largest of each stretch.
    """
    step = -(-len(values) // (MAX_POINTS // 2))
    if step <= 2:
        return np.arange(len(values))
    n = len(values) // step
    cut = np.asarray(values)[: n * step].reshape(n, step)
    is_known = np.isfinite(cut)
    low = np.where(is_known, cut, np.inf).argmin(axis=1)
    high = np.where(is_known, cut, -np.inf).argmax(axis=1)
    places = np.sort(np.stack([low, high], axis=1), axis=1) + np.arange(n)[:, None] * step
    return places.ravel()


def list_checks(axes, checks):
    """List each check with its value and verdict."""
    axes.set_axis_off()
    axes.set_title("Checks", fontsize=10)
    for i, one in enumerate(checks):
        y = 0.95 - i * 0.085
        value = "not measured" if one.value is None else f"{one.value:.4g} {one.unit}"
        axes.text(0, y, one.verdict, color=COLOURS[one.verdict], weight="bold", fontsize=8)
        axes.text(0.2, y, one.name, fontsize=8)
        axes.text(1, y, value, fontsize=8, ha="right")


def draw_trace(axes, times_s, values, *, label, **style):
    """Draw a trace over the session, with its axes."""
    places = thinned(values)
    axes.plot(times_s[places], values[places], **{"color": TRACE, "lw": 0.6, **style})
    axes.margins(x=0)
    axes.set_xlabel("time (s)")
    axes.set_ylabel(label)
