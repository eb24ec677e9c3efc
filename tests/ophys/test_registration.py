import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

from sluice.errors import SettingsError
from sluice.ophys.reference_image import first_reference, make_reference
from sluice.ophys.registration import (
    block_weights,
    fill_blocks,
    fit_blocks,
    limit_px,
    make_registrar,
)
from sluice.ophys.shifts import undo_bidirectional
from sluice.ophys.suite2p_settings import import_suite2p
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ophys"]["register_plane"]


def texture(rng, shape, sigma=2.0):
    image = gaussian_filter(rng.standard_normal(shape), sigma)
    return 500 + 200 * image / image.std()


def moved(image, y, x, size):
    """Cut a frame out of a larger image so that its content lies y lower and x to the right."""
    rows, columns = np.meshgrid(np.arange(size) - y + 20, np.arange(size) - x + 20, indexing="ij")
    return map_coordinates(image, [rows, columns], order=3)


@settings(max_examples=100, deadline=None)
@given(st.integers(16, 700), st.integers(16, 700), st.sampled_from([32, 64, 128, 200]))
def test_fitted_blocks_always_give_suite2p_two_along_each_axis(height, width, wanted):
    import_suite2p()
    from suite2p.registration.nonrigid import calculate_nblocks

    blocks = fit_blocks(height, width, wanted)
    if blocks is None:
        assert min(height, width) < 64
        return
    for length, block in zip((height, width), blocks, strict=True):
        size, n = calculate_nblocks(length, block)
        assert size == block <= max(wanted, length // 2)
        assert n >= 2


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 9))
def test_weights_of_blocks_sum_to_one_and_reproduce_a_slope(size, n):
    starts = np.linspace(0, size / 2, n).astype(int)
    stops = starts + max(1, size // 2)
    weights = block_weights(starts, stops, size)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    centres = (starts + stops - 1) / 2
    between = np.clip(np.arange(size), centres[0], centres[-1])
    np.testing.assert_allclose(weights @ centres, between, rtol=1e-5, atol=1e-4)


def test_a_bidirectional_offset_is_found_and_undone():
    import_suite2p()
    from suite2p.registration import bidiphase

    rng = np.random.default_rng(1)
    image = texture(rng, (64, 64))
    frames = np.stack([image + rng.normal(0, 20, image.shape) for _ in range(20)]).astype(np.int16)
    offset = undo_bidirectional(frames, 3)
    fixed = undo_bidirectional(offset, int(bidiphase.compute(offset)))
    # the three pixels at the side that the offset pushed out are lost
    np.testing.assert_array_equal(fixed[:, :, 3:-3], frames[:, :, 3:-3])


def slow_warp(frame, shift_px, block_px, blocks):
    """Displacement and bilinear interpolation, pixel by pixel."""
    height, width = frame.shape
    out = np.zeros_like(frame)
    centres = [(e[:, 0] + e[:, 1] - 1) / 2 for e in blocks]
    for y in range(height):
        for x in range(width):
            place = []
            for axis, at in enumerate((y, x)):
                rows = [np.interp(x, centres[1], row) for row in block_px[axis]]
                place.append(at + shift_px[axis] + np.interp(y, centres[0], rows))
            out[y, x] = np.rint(
                map_coordinates(
                    frame.astype(float), np.array(place)[:, None], order=1, mode="nearest"
                )[0]
            )
    return out


@pytest.fixture(scope="module")
def registrar():
    rng = np.random.default_rng(2)
    reference = texture(rng, (70, 90)).astype(np.float32)
    return make_registrar(reference, settings=SETTINGS, device="cpu", blocks_px=(35, 45))


def test_warping_equals_the_slow_twin(registrar):
    rng = np.random.default_rng(3)
    # negative values too: rounding has to be symmetric
    frames = (texture(rng, (2, 70, 90), 1.0) - 500).astype(np.int16)
    shifts_px = np.array([[3, -2], [0, 6]])
    block_px = rng.uniform(-2, 2, (2, 2, 3, 3)).astype(np.float32)
    found = registrar.warp(frames, shifts_px, block_px)
    slow = [
        slow_warp(*one, registrar.blocks) for one in zip(frames, shifts_px, block_px, strict=True)
    ]
    difference = np.abs(found.astype(int) - slow)
    # float32 coordinates turn a rounding that is a tie within 0.02
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.01


def test_warping_differs_from_suite2p_by_the_rounding(registrar):
    import torch
    from suite2p.registration.register import shift_frames

    rng = np.random.default_rng(4)
    frames = texture(rng, (4, 70, 90), 1.0).astype(np.int16)
    shifts_px = rng.integers(-3, 4, (4, 2))
    block_px = np.full((4, 2, 3, 3), 0.3, np.float32)
    found = registrar.warp(frames, shifts_px, block_px)
    flat = block_px.reshape(4, 2, 9)
    theirs = shift_frames(
        torch.from_numpy(frames),
        *shifts_px.T,
        flat[:, 0],
        flat[:, 1],
        registrar.filters[6],
        device=torch.device("cpu"),
    )
    inside = (slice(None), slice(5, -5), slice(5, -5))
    difference = found[inside].astype(int) - theirs[inside]
    # theirs is cut off, ours rounded: half a bit between them on average
    assert np.abs(difference).max() == 1
    # where the block centres, which theirs takes as whole pixels, differ in the last digit
    assert np.mean(difference < 0) < 0.01
    assert difference.mean() == pytest.approx(0.5, abs=0.02)


def test_whole_pixels_move_exactly_and_repeat_the_edge(registrar):
    rng = np.random.default_rng(5)
    frames = rng.integers(-999, 999, (3, 70, 90)).astype(np.int16)
    shifts_px = np.array([[4, -3], [-2, 0], [0, 0]])
    found = registrar.warp(frames, shifts_px)
    np.testing.assert_array_equal(found[0, :66, 3:], frames[0, 4:, :-3])
    np.testing.assert_array_equal(found[0, 66:, 3:], np.tile(frames[0, -1, :-3], (4, 1)))
    np.testing.assert_array_equal(found[1, 2:], frames[1, :-2])
    np.testing.assert_array_equal(found[2], frames[2])


def test_shifts_of_frames_and_blocks_are_found_with_their_sign():
    rng = np.random.default_rng(6)
    large = texture(rng, (140, 140))
    truth = np.array([[5, -3], [0, 0], [-7, 2], [1, 9]])
    frames = np.stack([moved(large, y, x, 100) for y, x in truth]) + rng.normal(
        0, 50, (4, 100, 100)
    )
    reference = moved(large, 0, 0, 100).astype(np.float32)
    registrar = make_registrar(reference, settings=SETTINGS, device="cpu", blocks_px=(50, 50))
    frames = frames.astype(np.int16)
    found, correlation, clarity = registrar.rigid(frames)
    # content that lies lower and to the right has positive shifts
    np.testing.assert_array_equal(found, truth)
    assert (clarity > 8).all()
    assert (correlation > 0).all()
    half = moved(large, 0.5, -0.3, 100)[None].astype(np.int16)
    blocks = registrar.nonrigid(half, np.zeros((1, 2), int))
    assert blocks.shape == (1, 2, 3, 3)
    # tenths of a pixel, and each block on its own
    assert np.abs(blocks[0, 0] - 0.5).max() < 0.25
    assert np.abs(blocks[0, 1] + 0.3).max() < 0.25


@pytest.mark.parametrize("size", [64, 96])
def test_blocks_of_a_smooth_image_that_stands_still_hardly_jitter(size):
    rng = np.random.default_rng(0)
    image = 500 + 2000 * gaussian_filter(rng.standard_normal((size, size)), 3)
    frames = (image + rng.normal(0, 30, (100, size, size))).astype(np.int16)
    reference = image.astype(np.float32)
    registrar = make_registrar(
        reference, settings=SETTINGS, device="cpu", blocks_px=(size // 2,) * 2, frames=frames
    )
    found = registrar.nonrigid(frames[:40], np.zeros((40, 2), int))
    # suite2p's own: 0.15 px at 96 px and 0.31 px at 64 px, and as much off the middle, as it
    # does not taper the reference; steps are of 0.1 px
    assert found.std(axis=0).max() < 0.15
    assert np.abs(found.mean(axis=0)).max() < 0.1
    assert np.abs(found).max() < 0.6


def test_a_bright_image_does_not_overflow_the_spectra():
    rng = np.random.default_rng(12)
    frames = texture(rng, (256, 256)) + 31000 + rng.normal(0, 50, (100, 256, 256))
    frames = frames.astype(np.int16)
    registrar = make_registrar(
        frames.mean(axis=0, dtype=np.float32),
        settings=SETTINGS,
        device="cpu",
        blocks_px=(128, 128),
        frames=frames,
    )
    found = registrar.nonrigid(frames[:3], np.zeros((3, 2), int))
    assert np.abs(found).max() < 0.15


def test_frames_that_weigh_the_spectra_may_have_moved_and_be_few():
    rng = np.random.default_rng(11)
    large = texture(rng, (140, 140))
    truth = rng.integers(-6, 7, (24, 2))
    frames = np.stack([moved(large, y, x, 100) for y, x in truth]).astype(np.int16)
    reference = moved(large, 0, 0, 100).astype(np.float32)
    half = moved(large, 0.5, -0.3, 100)[None].astype(np.int16)
    for some in (frames, frames[:2], frames[:1], None):
        registrar = make_registrar(
            reference, settings=SETTINGS, device="cpu", blocks_px=(50, 50), frames=some
        )
        blocks = registrar.nonrigid(half, np.zeros((1, 2), int))
        # without noise: half a step of 0.1 px, and what a block has in view
        assert np.abs(blocks[0, 0] - 0.5).max() < 0.15
        assert np.abs(blocks[0, 1] + 0.3).max() < 0.15


def test_peaks_of_noise_are_not_clear():
    rng = np.random.default_rng(7)
    registrar = make_registrar(
        texture(rng, (128, 128)).astype(np.float32), settings=SETTINGS, device="cpu", blocks_px=None
    )
    frames = rng.normal(500, 200, (200, 128, 128)).astype(np.int16)
    assert registrar.rigid(frames)[2].max() < 7 < SETTINGS["clear_peak"]


def test_the_reference_of_moving_frames_is_sharp_and_in_the_middle():
    rng = np.random.default_rng(8)
    large = texture(rng, (140, 140))
    truth = rng.integers(-6, 7, (120, 2))
    truth -= np.rint(truth.mean(axis=0)).astype(int)
    frames = np.stack([moved(large, y, x, 100) for y, x in truth])
    frames = (frames + rng.normal(0, 200, frames.shape)).astype(np.int16)
    before = frames.copy()
    found = make_reference(frames, settings=SETTINGS, device="cpu")
    np.testing.assert_array_equal(frames, before)
    inner = slice(10, -10), slice(10, -10)
    still = moved(large, 0, 0, 100)
    # the middle is that of the half of the frames that are averaged, half the range off at most
    best = max(
        np.corrcoef(np.roll(found, (y, x), (0, 1))[inner].ravel(), still[inner].ravel())[0, 1]
        for y in range(-3, 4)
        for x in range(-3, 4)
    )
    # 60 frames with noise as large as the signal leave 1 - 1/120
    assert best > 0.98
    assert found.dtype == np.float32


def test_the_first_reference_takes_the_frames_that_are_alike():
    rng = np.random.default_rng(9)
    image = texture(rng, (40, 40))
    noise = rng.normal(0, 200, (60, 40, 40))
    frames = np.where(np.arange(60)[:, None, None] % 2 == 0, image, 500) + noise
    found = first_reference(frames.astype(np.int16))
    assert np.corrcoef(found.ravel(), image.ravel())[0, 1] > 0.95


def test_the_search_is_one_pixel_at_least():
    assert limit_px((128, 200), SETTINGS) == 13
    assert limit_px((16, 16), {"max_shift_fraction": 0.001}) == 1
    rng = np.random.default_rng(10)
    image = texture(rng, (16, 16)).astype(np.float32)
    registrar = make_registrar(
        image, settings={**SETTINGS, "max_shift_fraction": 0.001}, device="cpu", blocks_px=None
    )
    assert registrar.rigid(image[None].astype(np.int16))[0].tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("name", "allowed", "refused", "message"),
    [
        # `fit_blocks` falls back to rigid registration below
        ("block_size_px", 32, 31, "greater than or equal to 32"),
        ("max_shift_fraction", 0.5, 0.51, "less than or equal to 0.5"),
    ],
)
def test_settings_that_cannot_work_are_refused(name, allowed, refused, message):
    made = validate_settings({"ophys": {"register_plane": {name: allowed}}})
    assert made["ophys"]["register_plane"][name] == allowed
    with pytest.raises(SettingsError, match=rf"{name}.*{message}"):
        validate_settings({"ophys": {"register_plane": {name: refused}}})


def test_empty_blocks_take_the_shifts_around_them():
    shifts_px = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    is_empty = np.zeros((3, 4), bool)
    np.testing.assert_array_equal(fill_blocks(shifts_px, is_empty), shifts_px)
    is_empty[1, 1] = is_empty[0, 0] = True
    found = fill_blocks(shifts_px, is_empty)
    # seven of eight neighbours of the first, two of three of the other
    assert found[0, 0, 1, 1] == pytest.approx(np.mean([1, 2, 4, 6, 8, 9, 10]))
    assert found[0, 0, 0, 0] == pytest.approx(np.mean([1, 4]))
    np.testing.assert_array_equal(found[:, :, ~is_empty], shifts_px[:, :, ~is_empty])
    assert not fill_blocks(shifts_px, np.ones((3, 4), bool)).any()
