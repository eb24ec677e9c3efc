from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.plane_files import masks_of, plane_info

from sluice.ophys.extract_traces import mean_traces, sum_pixels, to_intensity
from sluice.ophys.plane import read_frames


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 5))
def test_sums_are_exact(seed, n_frames, n_masks):
    rng = np.random.default_rng(seed)
    frames = rng.integers(-32768, 32768, (n_frames, 9, 11)).astype(np.int16)
    images = rng.random((n_masks, 9, 11)) < 0.3
    masks = masks_of(images, 9, 11)
    expected = np.tensordot(images.astype(np.int64), frames.astype(np.int64), ([1, 2], [1, 2]))
    found = sum_pixels(frames, masks.weights)
    np.testing.assert_array_equal(found, expected.reshape(n_masks, n_frames))


def test_sums_do_not_overflow():
    frames = np.full((2, 300, 300), 32767, np.int16)
    masks = masks_of(np.ones((1, 300, 300)), 300, 300)
    assert sum_pixels(frames, masks.weights).tolist() == [[90000 * 32767] * 2]


def test_means_are_as_recorded(tmp_path):
    rng = np.random.default_rng(0)
    movie = rng.integers(-100, 4000, (23, 16, 20)).astype(np.int16)
    movie.tofile(tmp_path / "movie.bin")
    images = np.zeros((3, 16, 20))
    images[0, 2:6, 3:9] = rng.random((4, 6)) + 0.1  # weights do not count
    images[1, 4:9, 5:12] = 1
    info = plane_info(movie.shape, scale=2.0, offset=65536.0)
    read = partial(read_frames, tmp_path / "movie.bin", info)
    found = mean_traces(read, info, masks_of(images, 16, 20))
    assert found.dtype == np.float32
    for k in range(2):
        expected = (movie[:, images[k] > 0] * 2.0 + 65536.0).mean(axis=1)
        # float32 of some 70000 is good to 0.004
        np.testing.assert_allclose(found[k], expected, atol=0.005)
    assert np.isnan(found[2]).all()


def test_sums_of_intensity_count_the_offset_once_a_pixel():
    info = plane_info((1, 2, 2), scale=0.5, offset=3.0)
    found = to_intensity(np.array([[10], [0]]), np.array([4, 0]), info)
    assert found.tolist() == [[17.0], [0.0]]
