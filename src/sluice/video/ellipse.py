"""Ellipses through points, for many frames at once."""

from dataclasses import dataclass, fields

import numpy as np

# Frames that are fitted together: what they need stays below about 100 MB.
_BATCH_FRAMES = 50_000
# Points are in a line, or on many ellipses, where the second of the eigenvalues that says so
# is below this fraction of the first: rounding leaves some 1e-15.
_RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Ellipses:
    """An ellipse for each frame; all are NaN where there is none.

    Attributes
    ----------
    center : float64 array, shape (n_frames, 2)
        x and y (px).
    semi_major, semi_minor : float64 array, shape (n_frames,)
        Halves of the longer and the shorter axis (px).
    phi : float64 array, shape (n_frames,)
        Angle from the x axis to the longer one, towards the y axis, which in an image is
        clockwise (rad, -π/2 to π/2).
    error : float64 array, shape (n_frames,)
        Root mean square of the points' distances from the ellipse (px), see `fit_ellipses`.
    """

    center: np.ndarray
    semi_major: np.ndarray
    semi_minor: np.ndarray
    phi: np.ndarray
    error: np.ndarray


def fit_ellipses(points, *, min_points, max_extent=np.inf):
    """Fit an ellipse to the points of each frame by least squares of the algebraic distance.

    Halíř and Flusser, Numerically stable direct least squares fitting of ellipses (1998),
    which Allen fits eye, pupil and reflection with: of ``a x² + b xy + c y² + d x + e y + f``
    the squares are the least under ``4 a c - b² = 1``. Points are first shifted to their mean
    and divided by their root mean square distance from it, without which the fit would depend
    on where in the image they are.

    That fit is an ellipse even where the points are on a hyperbola. There, that is where the
    conic without a constraint on its kind (``a² + b²/2 + c² = 1``, which does not depend on how
    it is turned) is not an ellipse, this function says NaN; Allen does not look.

    Parameters
    ----------
    points : float array, shape (n_frames, n_points, 2)
        x and y (px), NaN where unknown.
    min_points : int
        Frames with fewer known points have no ellipse; at least 5.
    max_extent : float
        An ellipse is NaN where the half of its longer axis is more than this many times the
        root mean square distance of its points from their mean, as it lies mostly where there
        are no points. Points all around a circle have 1, on half of it 1.3. The error does not
        show this: on 6 neighbours of 12 points 1 px of noise often doubles the diameter.

    Returns
    -------
    Ellipses
        NaN too where points are in a line, or fewer than 5 of them are different. The error is
        that of the first-order (Sampson) distances ``|F| / |∇F|``; with 5 points it is 0.
    """
    if min_points < 5:
        raise ValueError(f"an ellipse needs at least 5 points, not {min_points}")
    points = np.asarray(points, np.float64)
    pieces = [
        _fit(points[start : start + _BATCH_FRAMES], min_points, max_extent)
        for start in range(0, max(1, len(points)), _BATCH_FRAMES)
    ]
    return Ellipses(
        **{
            one.name: np.concatenate([getattr(piece, one.name) for piece in pieces])
            for one in fields(Ellipses)
        }
    )


def _fit(points, min_points, max_extent):
    """Fit one batch."""
    n_frames = len(points)
    out = Ellipses(np.full((n_frames, 2), np.nan), *np.full((4, n_frames), np.nan))
    is_known = np.isfinite(points).all(axis=2)
    rows = np.flatnonzero(is_known.sum(axis=1) >= min_points)
    if not rows.size:
        return out
    weights = is_known[rows]
    unit, mean, scale = _normalize(points[rows], weights)
    x, y = unit[..., 0], unit[..., 1]
    squares = np.stack([x * x, x * y, y * y], axis=2)
    # a line through the points would be 0 / 0: known as such by their scatter
    lines = np.stack([x, y, weights.astype(float)], axis=2)
    is_plane = _has_rank(_scatter(unit, unit), 2)
    rows, squares, lines = rows[is_plane], squares[is_plane], lines[is_plane]
    mean, scale = mean[is_plane], scale[is_plane]
    # d, e and f follow from a, b and c: what is left to minimise is a quadratic form of these
    towards = -np.linalg.solve(_scatter(lines, lines), _scatter(lines, squares))
    form = _scatter(squares, squares) + _scatter(squares, lines) @ towards
    conic, is_ellipse = _solve(form)
    rest = np.einsum("nij,nj->ni", towards, conic)
    center, major, minor, phi = _axes(conic, rest)
    found = Ellipses(
        center=center * scale[:, None] + mean,
        semi_major=major * scale,
        semi_minor=minor * scale,
        phi=phi,
        error=_error(conic, rest, squares, lines) * scale,
    )
    is_good = is_ellipse & (major < max_extent)
    for one in fields(Ellipses):
        getattr(out, one.name)[rows[is_good]] = getattr(found, one.name)[is_good]
    return out


def _scatter(left, right):
    """Sums over points of the products of two sets of columns."""
    return np.swapaxes(left, 1, 2) @ right


def _normalize(points, weights):
    """Shift points to their mean and scale them; unknown ones become 0 and count nothing."""
    n = weights.sum(axis=1)
    unit = np.where(weights[..., None], points, 0)
    mean = unit.sum(axis=1) / n[:, None]
    unit = np.where(weights[..., None], unit - mean[:, None], 0)
    scale = np.sqrt((unit**2).sum(axis=(1, 2)) / n)
    # all points the same: refused by their scatter
    scale[scale == 0] = 1
    return unit / scale[:, None, None], mean, scale


def _has_rank(form, rank):
    """Whether symmetric matrices that are not negative have at least so many dimensions."""
    values = np.linalg.eigvalsh(form)
    return values[:, -rank] > _RANK_TOLERANCE * values[:, -1]


def _solve(form):
    """a, b and c of each ellipse, and whether there is one."""
    if not len(form):
        return np.empty((0, 3)), np.empty(0, bool)
    # with b times √2 the length of (a, b, c) stays the same as a conic is turned
    turned = np.array([1, np.sqrt(2), 1])
    values, vectors = np.linalg.eigh(form * np.outer(turned, turned))
    a, b, c = np.moveaxis(vectors[..., 0] * turned, 1, 0)
    is_ellipse = (values[:, 1] > _RANK_TOLERANCE * values[:, 2]) & (4 * a * c > b * b)
    # 4 a c - b² as a form, inverted: (c / 2, -b, a / 2)
    reduced = np.stack([form[:, 2] / 2, -form[:, 1], form[:, 0] / 2], axis=1)
    # the imaginary parts, if any, are of rounding: the true ones are real
    found = np.linalg.eig(reduced)[1].real
    kind = 4 * found[:, 0] * found[:, 2] - found[:, 1] ** 2
    best = np.argmax(kind, axis=1)
    rows = np.arange(len(form))
    return found[rows, :, best], is_ellipse & (kind[rows, best] > 0)


def _axes(conic, rest):
    """Center, halves of both axes and angle of ellipses."""
    a, b, c = conic.T
    d, e, f = rest.T
    determinant = 4 * a * c - b * b
    # the form's eigenvalues: the axes are √(-level / eigenvalue), the larger for the longer axis
    middle, spread = (a + c) / 2, np.hypot((a - c) / 2, b / 2)
    sign = np.sign(middle)
    # what is no ellipse gives no number, and is left out
    with np.errstate(invalid="ignore", divide="ignore"):
        center = np.stack([b * e - 2 * c * d, b * d - 2 * a * e], axis=1) / determinant[:, None]
        level = (d * center[:, 0] + e * center[:, 1]) / 2 + f
        # the smaller eigenvalue as a quotient, as its difference would cancel
        major = np.sqrt(-level * sign / (determinant / 4 / (np.abs(middle) + spread)))
        minor = np.sqrt(-level * sign / (np.abs(middle) + spread))
    phi = np.arctan2(-sign * b, sign * (c - a)) / 2
    # π/2 and -π/2 are the same direction
    return center, major, minor, np.where(phi >= np.pi / 2, -np.pi / 2, phi)


def _error(conic, rest, squares, lines):
    """Root mean square of the points' first-order distances from ellipses."""
    a, b, c = (one[:, None] for one in conic.T)
    d, e = (one[:, None] for one in rest.T[:2])
    x, y, is_known = np.moveaxis(lines, 2, 0)
    value = np.einsum("npi,ni->np", squares, conic) + np.einsum("npi,ni->np", lines, rest)
    slope = np.hypot(2 * a * x + b * y + d, b * x + 2 * c * y + e)
    # the value is 0 where the point is unknown; at the very centre there is no slope
    distance = np.divide(value, slope, out=np.zeros_like(value), where=(slope > 0) & (value != 0))
    return np.sqrt((distance**2).sum(axis=1) / is_known.sum(axis=1))
