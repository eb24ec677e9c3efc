import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift, uniform_filter1d

from sluice.ophys.residual_motion import crispness, residual_shifts


def plane(rng, size=100, glow=300):
    image = np.zeros((size, size))
    image[rng.integers(5, size - 5, 40), rng.integers(5, size - 5, 40)] = 4000
    smooth = glow * gaussian_filter(rng.standard_normal((size, size)), 20) / 0.014
    return 100 + gaussian_filter(image, 2.5) + smooth


def test_planted_shifts_are_found_with_their_sign():
    rng = np.random.default_rng(0)
    reference = plane(rng)
    truth = np.array([[0, 0], [0.25, -0.4], [1.5, 0], [0, -2.75], [3.1, 2.2]])
    images = np.stack([shift(reference, s, order=3, mode="nearest") for s in truth])
    images += rng.normal(0, 2, images.shape)
    found = residual_shifts(images.astype(np.float32), reference.astype(np.float32))
    # steps of 0.05 px; the window, which stays in place, holds back some percent of a shift
    np.testing.assert_allclose(found, truth, atol=0.06, rtol=0.04)
    # lower and to the right is positive
    assert found[2, 0] > 0 > found[3, 1]


def test_brightness_alone_is_not_motion():
    rng = np.random.default_rng(1)
    reference = plane(rng)
    images = np.stack([0.5 * reference + 40, 2 * reference])
    assert np.abs(residual_shifts(images, reference)).max() == 0


def test_a_blank_image_gives_no_shift():
    assert residual_shifts(np.zeros((2, 30, 30)), np.ones((30, 30))).tolist() == [[0, 0], [0, 0]]


def test_blur_lowers_crispness_and_noise_hardly_raises_it():
    rng = np.random.default_rng(2)
    image = plane(rng, glow=0)
    blurred = uniform_filter1d(image, 9, axis=0, mode="nearest")
    assert crispness(blurred) < 0.8 * crispness(image)
    noise = rng.normal(0, 15, image.shape)
    assert crispness(image + noise) == pytest.approx(crispness(image), rel=0.05)
    # without smoothing the same noise would outweigh everything
    assert crispness(image + noise, smooth_px=0.01) > 1.3 * crispness(image, smooth_px=0.01)
    assert crispness(np.full((20, 20), 7.0)) == pytest.approx(0)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1)])
def test_a_strip_of_one_pixel_has_no_crispness_and_does_not_raise(shape):
    image = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    assert crispness(image) is None
    assert np.isfinite(residual_shifts(np.stack([image, image]), image)).all()
