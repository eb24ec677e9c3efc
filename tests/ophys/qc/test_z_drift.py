import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.qc_movies import plane_info
from scipy.ndimage import gaussian_filter, map_coordinates

from sluice.errors import InputError
from sluice.ophys.qc.z_drift import (
    best_plane,
    load_z_stack,
    phase_shift,
    plane_correlations,
    z_drift,
)

SHAPE = (80, 90)
INFO = plane_info(np.zeros((10, *SHAPE)))
SETTINGS = {"smooth_px": 3.0, "max_shift_px": 16, "min_correlation": 0.65}


def brain(seed=0, n_planes=41):
    """Random tissue whose planes differ over some micrometres, 1 µm apart."""
    rng = np.random.default_rng(seed)
    volume = gaussian_filter(rng.standard_normal((n_planes, *SHAPE)), (4, 3, 3))
    return (200 + 1000 * volume / volume.std()).astype(np.float32)


def seen_at(volume, depth, *, seed=0, noise=100.0, moved=(0, 0)):
    """Image at a depth between planes, moved and with noise."""
    y, x = np.indices(SHAPE)
    image = map_coordinates(volume, [np.full(SHAPE, depth), y, x], order=1)
    image = np.roll(image, moved, (0, 1))
    return image + noise * np.random.default_rng(seed).standard_normal(SHAPE)


def inside(border=4):
    mask = np.zeros(SHAPE, bool)
    mask[border:-border, border:-border] = True
    return mask


def drift_of(images, volume, step_um=1.0, mask=None):
    mask = inside() if mask is None else mask
    return z_drift(np.array(images), volume, mask, z_step_um=step_um, **SETTINGS)


@pytest.mark.parametrize("moved", [(0, 0), (5, -9)])
@pytest.mark.parametrize("step", [1, 3])
def test_a_known_drift_is_found_between_planes_too(moved, step):
    volume = brain()
    depths = [14.0, 15.3, 16.9, 19.2, 21.4, 14.0, 21.4]
    images = [seen_at(volume, z, seed=i, moved=moved) for i, z in enumerate(depths)]
    found = drift_of(images, volume[::step], step_um=float(step))
    # a third of a plane: the tissue is made of planes a micrometre apart, read linearly
    assert found.drift_um == pytest.approx(7.4, abs=0.4 * step)
    assert found.range_um == pytest.approx(7.4, abs=0.4 * step)
    np.testing.assert_allclose(found.position * step, depths, atol=0.4 * step)


def test_upwards_is_negative():
    volume = brain()
    images = [seen_at(volume, z) for z in (20.0, 15.0, 20.0, 15.0)]
    assert drift_of(images, volume).drift_um == pytest.approx(-5, abs=0.4)


def test_a_drift_there_and_back_is_range_not_drift():
    volume = brain()
    images = [seen_at(volume, z) for z in (20.0, 26.0, 20.0, 20.0, 20.0)]
    found = drift_of(images, volume)
    assert found.drift_um == pytest.approx(0, abs=0.2)
    assert found.range_um == pytest.approx(6, abs=0.4)


def test_a_movie_that_is_not_in_the_stack_is_not_measured():
    other = brain(seed=9)
    found = drift_of([seen_at(other, 20.0)] * 4, brain())
    assert found.drift_um is None
    assert found.range_um is None
    assert "matches no plane of the z-stack" in found.message


def test_a_block_that_lies_nowhere_is_left_out():
    volume = brain()
    images = [seen_at(volume, z) for z in (20.0, 20.0, 22.0, 20.0, 22.0)]
    images[1] = np.full(SHAPE, np.nan)
    found = drift_of(images, volume)
    assert found.range_um == pytest.approx(2, abs=0.3)
    assert "2 of 3 stretches" in found.range_message


def test_the_end_of_the_stack_is_said():
    volume = brain()
    found = drift_of([seen_at(volume, z) for z in (38.0, 40.0, 38.0, 40.0)], volume)
    assert "at an end of the stack" in found.message
    assert "at an end of the stack" in found.range_message


def test_dark_images_give_nothing():
    found = drift_of([np.zeros(SHAPE)] * 3, brain())
    assert found.drift_um is None
    assert drift_of([np.full(SHAPE, np.nan)] * 3, brain()).drift_um is None


def test_correlations_equal_the_slow_twin():
    volume = brain(n_planes=5)
    image = seen_at(volume, 2.0)
    mask = inside()
    found = plane_correlations(image[None], volume, mask, smooth_px=3.0, max_shift_px=0)
    smooth = gaussian_filter(image, 3.0)
    slow = [np.corrcoef(smooth[mask], gaussian_filter(p, 3.0)[mask])[0, 1] for p in volume]
    np.testing.assert_allclose(found[0], slow, rtol=1e-5)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(-12, 12), st.integers(-12, 12))
def test_phase_shift_finds_any_shift(dy, dx):
    image = brain(n_planes=5)[2]
    found = phase_shift(np.roll(image, (dy, dx), (0, 1)), image, max_shift_px=16)
    # the window that takes the edges off stays in place and can pull by a pixel
    assert max(abs(found[0] - dy), abs(found[1] - dx)) <= 1


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.floats(1.0, 8.0))
def test_the_top_of_a_parabola_is_exact(top):
    planes = np.arange(10)
    assert best_plane(1 - 0.01 * (planes - top) ** 2)[0] == pytest.approx(top)


def test_a_stack_with_several_frames_a_plane_is_averaged(tmp_path):
    stack = np.random.default_rng(0).integers(0, 500, (4, 3, *SHAPE)).astype(np.uint16)
    found = load_z_stack(stack, INFO, 1.0)
    np.testing.assert_allclose(found, stack.mean(axis=1), rtol=1e-6)
    tifffile.imwrite(tmp_path / "z.tif", stack[:, 0], photometric="minisblack")
    np.testing.assert_array_equal(load_z_stack(tmp_path / "z.tif", INFO, 1.0), stack[:, 0])


@pytest.mark.parametrize(
    ("stack", "step", "message"),
    [
        (np.zeros((5, 10, 10)), 1.0, r"shape \(5, 10, 10\); expected at least 3 planes of 80 x 90"),
        (np.zeros((2, *SHAPE)), 1.0, "expected at least 3 planes"),
        (np.zeros((5, *SHAPE)), None, "z_step_um is None"),
        (np.zeros((5, *SHAPE)), 0.0, "no distance between its planes"),
    ],
)
def test_stacks_that_do_not_fit_are_refused(stack, step, message):
    with pytest.raises(InputError, match=message):
        load_z_stack(stack, INFO, step)


def test_a_file_that_is_no_stack_is_refused(tmp_path):
    (tmp_path / "z.tif").write_text("nothing")
    with pytest.raises(InputError, match=r"S FOV_00: the z-stack .*cannot be read"):
        load_z_stack(tmp_path / "z.tif", INFO, 1.0)
