import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eig
from video.made_up_pose import on_ellipse

from sluice.video.ellipse import fit_ellipses

NAN = np.nan


AROUND = np.arange(12) * np.pi / 6


def slow_fit(points):
    """Fitzgibbon's own way: the generalised eigenvalues of one frame, of all six terms."""
    points = points[np.isfinite(points).all(axis=1)]
    mean = points.mean(axis=0)
    scale = np.sqrt(((points - mean) ** 2).sum(axis=1).mean())
    x, y = ((points - mean) / scale).T
    terms = np.stack([x * x, x * y, y * y, x, y, np.ones_like(x)], axis=1)
    constraint = np.zeros((6, 6))
    constraint[0, 2] = constraint[2, 0] = 2
    constraint[1, 1] = -1
    # by the inverse of the scatter, as the constraint is singular
    values, vectors = eig(np.linalg.solve(terms.T @ terms, constraint))
    a, b, c, d, e, f = vectors[:, np.argmax(values.real)].real
    form = np.array([[a, b / 2], [b / 2, c]])
    center = -np.linalg.solve(2 * form, [d, e])
    level = f + np.dot([d, e], center) / 2
    curvature, directions = np.linalg.eigh(form / -level)
    longer = directions[:, 0]
    return {
        "center": center * scale + mean,
        "semi_major": scale / np.sqrt(curvature[0]),
        "semi_minor": scale / np.sqrt(curvature[1]),
        "phi": np.arctan2(longer[1], longer[0]),
    }


def angle_between(a, b):
    """Between two lines."""
    return np.abs((np.asarray(a) - b + np.pi / 2) % np.pi - np.pi / 2)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.floats(-2000, 2000),
    st.floats(-2000, 2000),
    st.floats(0.1, 500),
    st.floats(0.05, 0.98),
    st.floats(-1.57, 1.57),
    st.integers(0, 2**32 - 1),
    st.integers(5, 12),
)
def test_points_of_an_ellipse_give_that_ellipse(x, y, major, ratio, phi, seed, n_known):
    points = on_ellipse((x, y), (major, ratio * major), phi, AROUND)
    unknown = np.random.default_rng(seed).permutation(12)[n_known:]
    points[unknown] = NAN
    found = fit_ellipses(points[None], min_points=5)
    # neighbouring points alone leave the far side to rounding
    tolerance = 1e-6 if n_known > 7 else 1e-2
    np.testing.assert_allclose(found.center[0], [x, y], atol=tolerance * major + 1e-9)
    np.testing.assert_allclose(found.semi_major, major, rtol=tolerance)
    np.testing.assert_allclose(found.semi_minor, ratio * major, rtol=tolerance)
    assert angle_between(found.phi, phi)[0] < tolerance / (1 - ratio)
    assert -np.pi / 2 <= found.phi[0] < np.pi / 2
    # coordinates of 2000 are rounded to 2e-13
    assert found.error[0] < 1e-6 * major + 1e-9


def noisy(seed, n_frames, *, noise=0.5, n_unknown=4):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        major = rng.uniform(10, 60)
        points = on_ellipse(
            rng.uniform(100, 500, 2),
            (major, major * rng.uniform(0.5, 0.95)),
            rng.uniform(-np.pi / 2, np.pi / 2),
            AROUND + rng.uniform(0, 1),
        )
        points += rng.normal(0, noise, points.shape)
        points[rng.permutation(12)[: rng.integers(0, n_unknown + 1)]] = NAN
        frames.append(points)
    return np.array(frames)


def test_all_frames_at_once_are_the_slow_twins_frames():
    points = noisy(0, 300)
    found = fit_ellipses(points, min_points=6)
    for row, one in enumerate(points):
        expected = slow_fit(one)
        np.testing.assert_allclose(found.center[row], expected["center"], atol=1e-6)
        np.testing.assert_allclose(found.semi_major[row], expected["semi_major"], rtol=1e-6)
        np.testing.assert_allclose(found.semi_minor[row], expected["semi_minor"], rtol=1e-6)
        assert angle_between(found.phi[row], expected["phi"]) < 1e-6


def test_opencv_agrees():
    points = noisy(1, 200)
    found = fit_ellipses(points, min_points=6)
    for row, one in enumerate(points):
        known = one[np.isfinite(one).all(axis=1)].astype(np.float32)
        (x, y), sizes, degrees = cv2.fitEllipseDirect(known)
        # float32
        np.testing.assert_allclose(found.center[row], [x, y], atol=0.01)
        np.testing.assert_allclose(
            [found.semi_minor[row], found.semi_major[row]], np.sort(sizes) / 2, atol=0.01
        )
        longer = np.deg2rad(degrees + (90 if sizes[0] < sizes[1] else 0))
        assert angle_between(found.phi[row], longer) < 0.01


def test_frames_do_not_depend_on_their_batch(monkeypatch):
    points = noisy(2, 50)
    points[7] = NAN
    together = fit_ellipses(points, min_points=6)
    monkeypatch.setattr("sluice.video.ellipse._BATCH_FRAMES", 8)
    apart = fit_ellipses(points, min_points=6)
    np.testing.assert_array_equal(together.semi_major, apart.semi_major)
    np.testing.assert_array_equal(together.error, apart.error)


def test_the_error_is_that_of_the_points():
    circle = on_ellipse((50, 50), (20, 20), 0, AROUND)
    outward = (circle - 50) / 20
    points = circle + 0.5 * outward * np.where(np.arange(12) % 2, 1, -1)[:, None]
    found = fit_ellipses(points[None], min_points=6)
    np.testing.assert_allclose(found.center[0], 50, atol=1e-9)
    # half a pixel inside and outside; first order, so a little off
    np.testing.assert_allclose(found.error, 0.5, rtol=0.02)
    np.testing.assert_allclose(found.semi_major, 20, rtol=0.01)


def test_turning_the_points_turns_the_ellipse():
    points = noisy(3, 1)[0]
    turned = points[:, ::-1] * [1, -1]
    a, b = fit_ellipses(points[None], min_points=6), fit_ellipses(turned[None], min_points=6)
    np.testing.assert_allclose(a.semi_major, b.semi_major)
    np.testing.assert_allclose(a.error, b.error)
    np.testing.assert_allclose(angle_between(a.phi, b.phi), np.pi / 2)


def degenerate():
    rng = np.random.default_rng(4)
    t = np.linspace(-1.5, 1.5, 6)
    line = np.stack([100 + 30 * t, 50 + 7 * t], axis=1)
    whole = on_ellipse((40, 30), (12, 9), 0.3, AROUND)
    four = np.concatenate([whole[:4]] * 3)
    branches = np.stack([np.cosh(t), np.sinh(t)], axis=1) * 20
    few = whole.copy()
    few[5:] = NAN
    return {
        "a line": np.concatenate([line, line]),
        "an upright line": np.stack([np.full(12, 7.0), np.arange(12.0)], axis=1),
        "one place": np.full((12, 2), 5.0),
        "four places": four,
        "a hyperbola": np.concatenate([branches, -branches]) @ rot(0.4) + 300,
        "two lines": np.concatenate([line, line + np.array([0, 20])]),
        "few points": few,
        "no points": np.full((12, 2), NAN),
        "infinite": np.full((12, 2), np.inf),
        "half of each": np.where(rng.random((12, 2)) < 1, [5.0, NAN], 0),
    }


def rot(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("case", degenerate())
def test_points_without_an_ellipse(case):
    good = on_ellipse((40, 30), (12, 9), 0.3, AROUND)
    found = fit_ellipses(np.array([good, degenerate()[case], good]), min_points=6)
    for values in (found.center, found.semi_major, found.semi_minor, found.phi, found.error):
        assert np.isnan(values[1]).all(), case
        assert np.isfinite(values[[0, 2]]).all()
    np.testing.assert_allclose(found.semi_major[[0, 2]], 12)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.floats(-3, 3))
def test_whatever_comes_in_an_ellipse_or_nothing_comes_out(seed, n_points, exponent):
    rng = np.random.default_rng(seed)
    points = rng.normal(300, 10**exponent, (20, n_points, 2)).round(rng.integers(0, 3))
    points[rng.random(points.shape[:2]) < 0.2] = NAN
    found = fit_ellipses(points, min_points=5)
    values = np.column_stack(
        [found.center, found.semi_major, found.semi_minor, found.phi, found.error]
    )
    is_found = np.isfinite(values).all(axis=1)
    assert np.isnan(values[~is_found]).all()
    assert (found.semi_major[is_found] >= found.semi_minor[is_found] * (1 - 1e-9)).all()
    assert (found.semi_minor[is_found] > 0).all()


def test_four_places_are_on_many_ellipses():
    # any four corners of a convex shape are, so one that is found is one of many
    corners = on_ellipse((40, 30), (12, 9), 0.3, np.arange(4) * 1.6)
    noise = np.random.default_rng(7).normal(0, 1, (200, 4, 2))
    points = np.concatenate([corners + noise] * 3, axis=1)
    assert np.isnan(fit_ellipses(points, min_points=6).semi_major).all()


def test_an_ellipse_far_beyond_its_points_is_not_believed():
    rng = np.random.default_rng(5)
    points = np.repeat(on_ellipse((300, 200), (22, 19), 0.5, AROUND)[None, :6], 2000, axis=0)
    points += rng.normal(0, 1, points.shape)
    free = fit_ellipses(points, min_points=6).semi_major
    found = fit_ellipses(points, min_points=6, max_extent=2.5).semi_major
    assert np.nanmax(free) > 5 * 22
    assert np.nanmax(found) < 2.5 * 22
    assert np.isnan(found).mean() < 0.2
    whole = noisy(6, 300)
    np.testing.assert_array_equal(
        fit_ellipses(whole, min_points=6, max_extent=2.5).semi_major,
        fit_ellipses(whole, min_points=6).semi_major,
    )


def test_no_frames():
    found = fit_ellipses(np.empty((0, 12, 2)), min_points=6)
    assert found.center.shape == (0, 2)
    assert found.phi.shape == (0,)


def test_four_points_are_too_few():
    with pytest.raises(ValueError, match="at least 5 points, not 4"):
        fit_ellipses(np.empty((0, 12, 2)), min_points=4)
