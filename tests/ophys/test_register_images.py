"""Transforms between the mean images of two sessions: planted ones come back."""

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ophys.imaged_cells import Tissue, largest_error_px, true_matrix

from sluice.ophys.register_images import (
    NoTransformError,
    align_images,
    compared_pixels,
    equalise,
    refine,
    shift_by_phase,
    similarity,
    turn_by_phase,
)
from sluice.ophys.rigid import (
    IDENTITY,
    apply,
    compose,
    invert,
    middle_of,
    rotation_about,
    rotation_deg,
    shift_by,
    warp_back,
)
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ophys"]["match_cells"]
CANDIDATES = {
    "identity",
    "ecc",
    "clahe+ecc",
    "clahe+phase",
    "clahe+phase+ecc",
    "clahe+angles",
    "clahe+angles+ecc",
}


def align(a, b, **changed):
    return align_images(a.mean, b.mean, settings={**SETTINGS, **changed})


def error_px(found, a, b):
    return largest_error_px(found, true_matrix(a, b), *a.mean.shape)


@pytest.mark.parametrize(
    ("size_px", "n_cells", "shift_px", "rotation_deg"),
    [
        (100, 20, (0, 0), 0),
        (100, 20, (7.5, -6.0), 2.0),
        (128, 40, (12, -15), -5.0),
        (128, 40, (-15, 15), 5.0),
        (256, 120, (15, 12), -8.0),
        (300, 150, (-14.3, -15), 5.0),
    ],
)
def test_planted_transforms_come_back(size_px, n_cells, shift_px, rotation_deg):
    tissue = Tissue(1, size_px=size_px, n_cells=n_cells)
    first = tissue.session(0)
    later = tissue.session(
        1, shift_px=shift_px, rotation_deg=rotation_deg, gain=3, offset=50, noise=0.4, missing=0.2
    )
    found = align(first, later)
    assert found.is_aligned
    # at the corner that is worst; a cell is 10 px wide
    assert error_px(found.matrix, first, later) < 1
    assert found.score > 8
    assert set(found.ssim) | set(found.failures) == CANDIDATES
    assert found.ssim[found.chosen] == max(found.ssim.values())


def test_where_ecc_fails_from_identity_others_find_it():
    tissue = Tissue(1, size_px=128, n_cells=40)
    first = tissue.session(0)
    later = tissue.session(1, shift_px=(12, -15), rotation_deg=-5)
    found = align(first, later)
    # a candidate without a transform is told, not hidden
    assert "ECC" in found.failures["ecc"]
    assert "ecc" not in found.ssim
    assert error_px(found.matrix, first, later) < 0.5


def test_images_of_two_sizes():
    tissue = Tissue(3, size_px=160, n_cells=60)
    first = tissue.session(0, height=160, width=128)
    later = tissue.session(1, height=120, width=150, shift_px=(8, -6), rotation_deg=3)
    there, back = align(first, later), align(later, first)
    assert error_px(there.matrix, first, later) < 0.7
    assert error_px(back.matrix, later, first) < 0.7


def test_brightness_and_contrast_do_not_matter():
    tissue = Tissue(4, size_px=128, n_cells=40)
    first, later = tissue.session(0), tissue.session(1, shift_px=(5, 4), rotation_deg=2)
    plain = align_images(first.mean, later.mean, settings=SETTINGS)
    scaled = align_images(first.mean * 200 - 9000, later.mean * 0.01 + 3, settings=SETTINGS)
    # two refined candidates differ by less than float32 can tell; either may be best
    assert largest_error_px(plain.matrix, scaled.matrix, 128, 128) < 0.1


def test_the_same_bytes_every_time():
    tissue = Tissue(5, size_px=128, n_cells=40)
    first, later = tissue.session(0), tissue.session(1, shift_px=(9, -4), rotation_deg=-3)
    one, two = align(first, later), align(first, later)
    assert one.matrix.tobytes() == two.matrix.tobytes()
    assert (one.ssim, one.failures, one.score) == (two.ssim, two.failures, two.score)


@pytest.mark.parametrize("size_px", [100, 150])
def test_other_tissue_is_not_aligned(size_px):
    """One candidate is always best; a score of chance says that it means nothing."""
    n_cells = size_px**2 // 500
    scores = []
    for seed in range(4):
        first = Tissue(seed, size_px=size_px, n_cells=n_cells).session(0)
        other = Tissue(seed + 50, size_px=size_px, n_cells=n_cells).session(1)
        found = align(first, other)
        scores.append(found.score)
        assert not found.is_aligned
    assert max(scores) < 4.5


def test_a_real_field_of_view(real_data):
    """Two halves of a recording, the second moved and turned by hand."""
    with h5py.File(real_data / "two_photon" / "movie_100x100x100.h5") as file:
        movie = file["data"][:].astype(np.float32)
    planted = compose(shift_by((5.5, -4)), rotation_about((49.5, 49.5), 3))
    moved = warp_back(movie[50:].mean(axis=0), invert(planted), (100, 100))
    found = align_images(movie[:50].mean(axis=0), moved, settings=SETTINGS)
    assert found.is_aligned
    assert largest_error_px(found.matrix, planted, 100, 100) < 1


def test_images_without_structure():
    flat = np.full((100, 100), 7.0, np.float32)
    image = Tissue(1, size_px=100, n_cells=20).session(0).mean
    for a, b in ((flat, flat), (flat, image), (image, flat)):
        found = align_images(a, b, settings=SETTINGS)
        assert not found.is_aligned
        assert np.isfinite(found.matrix).all()


def test_a_field_that_moved_too_far():
    tissue = Tissue(6, size_px=128, n_cells=40, margin_px=120)
    first, later = tissue.session(0), tissue.session(1, shift_px=(75, 0))
    found = align(first, later)
    assert not found.is_aligned
    # what is not tried leaves less than half in common
    assert found.overlap >= SETTINGS["min_overlap"]


def test_a_transform_that_turns_too_far_is_no_candidate():
    tissue = Tissue(7, size_px=128, n_cells=40)
    first, later = tissue.session(0), tissue.session(1, rotation_deg=4)
    found = align(first, later, max_rotation_deg=2.0)
    assert "more than max_rotation_deg" in found.failures["clahe+ecc"]
    assert abs(rotation_deg(found.matrix)) <= 2


def test_sign_and_origin():
    """The matrix brings a pixel of the first image to its place in the second."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.standard_normal((120, 140)).astype(np.float32), (0, 0), 2)
    a, b = wide[10:110, 10:110], wide[3:103, 22:122]
    # the content of a at (x, y) is 12 px further left and 7 px lower in b
    xy, response = shift_by_phase(a, b)
    # the window pulls the peak a little towards 0
    np.testing.assert_allclose(xy, (-12, 7), atol=0.4)
    assert response > 0.3
    moved = warp_back(b, shift_by((-12, 7)), a.shape)
    np.testing.assert_allclose(moved[:93, 12:], a[:93, 12:], atol=1e-6)
    full = compared_pixels(a.shape, 0.0)
    refined = refine(a, b, full, full, shift_by((-11, 6)), SETTINGS)
    np.testing.assert_allclose(refined, shift_by((-12, 7)), atol=0.05)


def test_the_angle_of_the_highest_peak():
    tissue = Tissue(8, size_px=256, n_cells=100)
    first, later = tissue.session(0), tissue.session(1, shift_px=(20, -10), rotation_deg=-6)
    images = [equalise(s.mean, tile_px=18, clip_limit=2.5) for s in (first, later)]
    found = turn_by_phase(*images, max_rotation_deg=10, rotation_step_deg=0.5)
    assert rotation_deg(found) == pytest.approx(rotation_deg(true_matrix(first, later)), abs=0.51)
    # half a step at the corner is 0.8 px
    assert error_px(found, first, later) < 1.5


def test_the_edge_does_not_take_part():
    tissue = Tissue(9, size_px=128, n_cells=40)
    first, later = tissue.session(0), tissue.session(1, shift_px=(6, -5), rotation_deg=2)
    spoiled = later.mean.copy()
    edge = ~compared_pixels(spoiled.shape, SETTINGS["border_fraction"])
    spoiled[edge] = spoiled[0, 0]
    found = align_images(first.mean, spoiled, settings=SETTINGS)
    assert error_px(found.matrix, first, later) < 1


def test_only_failure_to_converge_is_a_failed_candidate():
    image = Tissue(1, size_px=100, n_cells=20).session(0).mean
    everywhere = np.ones((100, 100), bool)
    with pytest.raises(cv2.error, match="ksize"):
        refine(image, image, everywhere, everywhere, IDENTITY, {**SETTINGS, "ecc_blur_px": 4})
    with pytest.raises(NoTransformError, match="ECC: The algorithm stopped"):
        refine(image, -image, everywhere, everywhere, IDENTITY, SETTINGS)


def slow_similarity(a, b, valid, sigma_px):
    """Window after window, in float64, with the same cut gaussian."""
    radius = (round(sigma_px * 8 + 1) | 1) // 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    pixels = np.argwhere(valid)
    values = []
    for y, x in pixels:
        near = pixels[(np.abs(pixels - (y, x)) <= radius).all(1)]
        weight = np.exp(-((near - (y, x)) ** 2).sum(1) / (2 * sigma_px**2))
        weight /= weight.sum()
        p, q = a[tuple(near.T)].astype(float), b[tuple(near.T)].astype(float)
        mp, mq = weight @ p, weight @ q
        vp, vq, cov = weight @ (p - mp) ** 2, weight @ (q - mq) ** 2, weight @ ((p - mp) * (q - mq))
        values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


@pytest.mark.parametrize("sigma_px", [1.0, 2.5, 20.0])
def test_similarity_equals_its_slow_twin(sigma_px):
    rng = np.random.default_rng(2)
    a = rng.uniform(0, 255, (25, 31)).astype(np.float32)
    b = (0.6 * a + 0.4 * rng.uniform(0, 255, a.shape)).astype(np.float32)
    valid = np.zeros(a.shape, bool)
    valid[3:20, 2:] = True
    valid[10, 10:14] = False
    expected = slow_similarity(a, b, valid, sigma_px)
    # float32 sums of squares up to 65025
    assert similarity(a, b, valid, sigma_px=sigma_px) == pytest.approx(expected, abs=1e-4)
    assert similarity(a, a, valid, sigma_px=sigma_px) == pytest.approx(1, abs=1e-6)
    # what is not valid plays no part
    b[~valid] = 1e4
    assert similarity(a, b, valid, sigma_px=sigma_px) == pytest.approx(expected, abs=1e-4)


angles = st.floats(-180, 180)
places = st.tuples(st.floats(-500, 500), st.floats(-500, 500)).map(np.array)


@given(angles, places, places, places)
def test_matrices(angle_deg, pivot, shift, point):
    turn = rotation_about(pivot, angle_deg)
    np.testing.assert_allclose(apply(turn, pivot[None])[0], pivot, atol=1e-9)
    moved = compose(shift_by(shift), turn)
    twice = apply(shift_by(shift), apply(turn, point[None]))
    np.testing.assert_allclose(apply(moved, point[None]), twice, atol=1e-9)
    np.testing.assert_allclose(apply(invert(moved), twice)[0], point, atol=1e-9)
    difference = (rotation_deg(moved) - angle_deg + 180) % 360 - 180
    assert abs(difference) < 1e-9


def test_middle_and_equal_contrast():
    np.testing.assert_array_equal(middle_of((3, 5)), (2, 1))
    # a dim half gets the contrast of the bright one
    rng = np.random.default_rng(3)
    image = rng.uniform(0, 1, (64, 128)) * np.repeat([100.0, 5.0], 64)
    equal = equalise(image, tile_px=16, clip_limit=40)
    assert equal.dtype == np.float32
    assert equal.min() >= 0 and equal.max() <= 255
    dim, bright = equal[:, 80:].std(), equal[:, :48].std()
    assert 0.7 < dim / bright < 1.4
