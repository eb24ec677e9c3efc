import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from video.camera_movies import NAME, scene, texture

from sluice.errors import InputError
from sluice.video.frame_measures import FrameMeasures, brightness, focus, mean_difference, sharpness
from sluice.video.frame_position import (
    Samples,
    find_shifts,
    group_pictures,
    histogram,
    histogram_correlation,
    load_reference_frame,
    reduce,
)

PAIRS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape))
)


def measured(frames, *, chunks=(), focus_step=1, **regions):
    regions = {"region": None, **regions}
    found = FrameMeasures(len(frames), focus_step=focus_step, **regions)
    starts = [0, *chunks]
    # one buffer that is filled again, as read_frames does
    buffer = np.empty_like(frames)
    for start, end in zip(starts, [*chunks, len(frames)], strict=True):
        part = buffer[: end - start]
        part[:] = frames[start:end]
        found.add(start, part)
    return found


def slow_energy(frames):
    """The mean absolute difference from the next frame, as it is written."""
    wide = frames.astype(np.float64)
    return np.append(np.abs(np.diff(wide, axis=0)).mean(axis=(1, 2)), np.nan)


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_difference_and_brightness_are_numpys(pair):
    one, other = pair
    expected = np.abs(one.astype(float) - other).mean()
    # sums of integers, divided once
    assert mean_difference(one, other) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    mean, std = brightness(one)
    assert mean == pytest.approx(one.mean(dtype=float), rel=1e-12, abs=1e-12)
    # the variance is a difference of squares of up to 65025
    assert std == pytest.approx(one.std(dtype=float), rel=1e-6, abs=1e-4)


def test_sums_do_not_overflow_in_large_frames():
    black = np.zeros((4320, 7680), np.uint8)
    assert mean_difference(black, black + 255) == 255
    assert brightness(black + 255) == (255, 0)


@pytest.mark.parametrize("step_px", [0, 1, 3, 10, 20, 25])
def test_energy_of_a_moving_square_is_exact(step_px):
    side, level, behind, height, width = 20, 200, 50, 60, 300
    frames = np.full((10, height, width), behind, np.uint8)
    for i, frame in enumerate(frames):
        frame[30 : 30 + side, 10 + i * step_px : 10 + i * step_px + side] = level
    found = measured(frames)
    # uncovered on one side, covered on the other; apart, two squares are all that differs
    pixels = 2 * side * min(step_px, side)
    assert (found.energy[:-1] == pixels * (level - behind) / (height * width)).all()
    assert np.isnan(found.energy[-1])
    np.testing.assert_array_equal(found.region_energy, found.energy)
    assert np.isnan(found.wheel_energy).all()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_measures_are_the_slow_ones_however_the_frames_come(data):
    frames = np.random.default_rng(data.draw(st.integers(0, 99))).integers(
        0, 256, (data.draw(st.integers(1, 12)), 17, 23), np.uint8
    )
    inner = range(1, len(frames))
    chunks = sorted(data.draw(st.sets(st.sampled_from(inner)))) if len(frames) > 1 else []
    found = measured(frames, chunks=chunks, region=(4, 2, 9, 7), wheel_region=(0, 10, 23, 7))
    np.testing.assert_allclose(found.energy, slow_energy(frames), rtol=1e-12)
    np.testing.assert_allclose(found.region_energy, slow_energy(frames[:, 2:9, 4:13]), rtol=1e-12)
    np.testing.assert_allclose(found.wheel_energy, slow_energy(frames[:, 10:17]), rtol=1e-12)
    np.testing.assert_allclose(found.mean, frames.mean(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, frames.std(axis=(1, 2)), rtol=1e-6)


def test_focus_is_measured_in_every_so_many_frames():
    frames = scene(n_frames=10)
    found = measured(frames, focus_step=4, chunks=(3,))
    assert list(np.flatnonzero(np.isfinite(found.focus))) == [0, 4, 8]
    assert list(np.flatnonzero(np.isfinite(found.sharpness))) == [0, 4, 8]


def test_focus_is_the_variance_of_the_laplacian():
    frame = texture(np.random.default_rng(0)).astype(np.uint8)
    even = cv2.equalizeHist(frame).astype(float)
    # mirrored about the outermost pixel, as OpenCV does
    wide = np.pad(even, 1, mode="reflect")
    second = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * even
    assert focus(frame) == pytest.approx(second.var(), rel=1e-9)


def test_blur_lowers_sharpness_and_light_does_not():
    frame = texture(np.random.default_rng(0)).astype(np.uint8)
    sharp = [sharpness(cv2.blur(frame, (k, k))) for k in (1, 3, 5, 9, 15)]
    assert sharp[0] > 5 and sharp[-1] < 1.5
    assert sorted(sharp, reverse=True) == sharp
    assert sharpness(frame // 2 + 100) > 10
    # frames in focus and out of it stay apart in little light
    dim = [sharpness((cv2.blur(frame, (k, k)) * 0.2).astype(np.uint8)) for k in (1, 15)]
    assert dim[0] > 5 and dim[1] < 1.5


def test_without_contrast_there_is_no_sharpness():
    flat = np.full((20, 30), 7, np.uint8)
    assert focus(flat) == 0
    assert np.isnan(sharpness(flat))


def moved(picture, x, y):
    return cv2.warpAffine(
        picture,
        np.float32([[1, 0, x], [0, 1, y]]),
        picture.shape[::-1],
        borderMode=cv2.BORDER_REFLECT,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(-25, 25), st.integers(-20, 20), st.floats(0.4, 1.2), st.floats(-20, 20))
def test_a_shift_is_found_in_any_light(x, y, gain, offset):
    rng = np.random.default_rng(0)
    reference = texture(rng).astype(np.uint8)
    seen = moved(reference, x, y).astype(float) * gain + offset + rng.normal(0, 3, reference.shape)
    found = find_shifts(np.clip(seen, 0, 255).astype(np.uint8)[None], reference)
    assert (found.x_px[0], found.y_px[0]) == (x, y)
    assert found.score[0] > 0.8


def test_pictures_without_contrast_have_no_position():
    reference = texture(np.random.default_rng(0)).astype(np.uint8)
    flat = np.full_like(reference, 3)
    found = find_shifts(np.stack([reference, flat]), reference)
    assert found.x_px[0] == 0 and np.isnan(found.x_px[1]) and np.isnan(found.score[1])
    assert np.isnan(find_shifts(reference[None], flat).x_px).all()


def test_an_animal_that_moves_is_not_in_the_median():
    frames = scene(n_frames=200, speed=np.full(199, 7.3))
    middle, medians = group_pictures(frames[::2])
    assert list(middle) == [4, 14, 24, 34, 44, 54, 64, 74, 84, 94]
    found = find_shifts(medians, medians[0])
    assert (found.x_px == 0).all() and (found.y_px == 0).all()


@pytest.mark.parametrize("n", [1, 2, 9, 10, 19, 20, 25])
def test_every_sample_is_in_one_group(n):
    pictures = np.arange(n, dtype=np.uint8)[:, None, None] + np.zeros((1, 2, 2), np.uint8)
    middle, medians = group_pictures(pictures)
    assert len(middle) == len(medians) == max(1, n // 10)
    assert (np.diff(middle) > 0).all() and middle[0] >= 0 and middle[-1] < n


@pytest.mark.parametrize(
    ("n_frames", "expected"), [(1, [0]), (2, [0, 1]), (101, [0, 25, 50, 75, 100])]
)
def test_samples_are_spread_evenly(n_frames, expected):
    samples = Samples(n_frames, 640, n_samples=5)
    assert list(samples.frames) == expected and samples.factor == 2
    frames = np.arange(n_frames, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 8), np.uint8)
    for start in range(0, n_frames, 3):
        samples.add(start, frames[start : start + 3])
    assert samples.pictures.shape == (len(expected), 2, 4)
    assert list(samples.pictures[:, 0, 0]) == expected
    assert list(samples.histograms.argmax(axis=1)) == expected


def test_reduce_takes_means_of_squares():
    frame = np.random.default_rng(0).integers(0, 256, (11, 14), np.uint8)
    expected = frame[:9, :12].reshape(3, 3, 4, 3).mean(axis=(1, 3))
    assert np.abs(reduce(frame, 3) - expected).max() <= 0.5
    assert reduce(frame[:2, :2], 3).shape == (1, 1)


def test_histograms_correlate_as_numpy_says():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, high, (20, 30), np.uint8) for high in (256, 200)]
    counts = [np.bincount(frame.ravel(), minlength=256) for frame in frames]
    found = histogram_correlation(np.array([histogram(f) for f in frames]), histogram(frames[0]))
    assert found[0] == pytest.approx(1)
    assert found[1] == pytest.approx(np.corrcoef(*counts)[0, 1], rel=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_reference_frames_are_read(tmp_path, suffix):
    frame = texture(np.random.default_rng(0)).astype(np.uint8)
    path = tmp_path / f"good{suffix}"
    np.save(path, frame) if suffix == ".npy" else cv2.imwrite(str(path), frame)
    found = load_reference_frame(path, height=120, width=160, name=NAME)
    np.testing.assert_array_equal(found, frame)
    with pytest.raises(InputError, match=r"is of shape \(120, 160\) .*expected 120 x 160 px"):
        load_reference_frame(path, height=160, width=120, name=NAME)


def test_reference_frames_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"no reference frame .*a.png; correct its path"):
        load_reference_frame(tmp_path / "a.png", height=2, width=2, name=NAME)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a.png is not an image"):
        load_reference_frame(tmp_path / "a.png", height=2, width=2, name=NAME)
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"float64; expected 2 x 2 px of 8 bits"):
        load_reference_frame(tmp_path / "a.npy", height=2, width=2, name=NAME)
