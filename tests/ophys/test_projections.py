import numpy as np
import pytest
from ophys.suite2p_planes import plane_info

from sluice.ophys.projections import Accumulator, part_frames

SETTINGS = {"residual_block_s": 10.0, "max_projection_bin_s": 0.25}


def windows(counted, rate_hz=10.0):
    """First and last frame of each part."""
    part_of = part_frames(np.asarray(counted), 40000, sampling_rate_hz=rate_hz, block_s=10.0)
    assert set(np.unique(part_of)) >= set(range(part_of.max() + 1))
    return [np.flatnonzero(part_of == k) for k in range(part_of.max() + 1)]


def test_parts_of_a_long_movie_are_as_long_as_asked_for_and_spread_over_it():
    found = windows(np.arange(36000))  # an hour
    assert len(found) == 50
    assert [len(f) for f in found] == [100] * 50
    assert [f[-1] - f[0] for f in found] == [99] * 50
    starts = np.array([f[0] for f in found])
    assert starts[0] == 0
    assert found[-1][-1] == 35999
    # 35900 frames in 49 steps
    assert np.ptp(np.diff(starts)) <= 1


def test_parts_of_a_short_movie_are_a_fifth_of_it_and_share_no_frame():
    assert [len(f) for f in windows(np.arange(300))] == [60] * 5
    # as long as asked for, or a little longer: no frame is left out where there are few
    assert sorted(len(f) for f in windows(np.arange(750))) == [107] * 6 + [108]
    assert [len(f) for f in windows(np.arange(3))] == [1, 1, 1]


def test_frames_that_do_not_count_are_in_no_part():
    counted = np.setdiff1d(np.arange(20000), np.arange(5000, 9000))
    found = windows(counted)
    assert [len(f) for f in found] == [100] * 50
    assert np.isin(np.concatenate(found), counted).all()


@pytest.mark.parametrize("n_per_batch", [7, 64, 1000])
def test_means_and_maximum_are_those_of_the_whole_movie(n_per_batch):
    rng = np.random.default_rng(0)
    raw, moved = rng.integers(-500, 500, (2, 700, 4, 5)).astype(np.int16)
    is_bad = rng.random(700) < 0.1
    info = plane_info(raw.shape, rate_hz=1.0)
    found = Accumulator.start(info, is_bad, SETTINGS)
    for start in range(0, 700, n_per_batch):
        stop = start + n_per_batch
        found.add(start, raw[start:stop], moved[start:stop])
    found = found.finish()
    good = np.flatnonzero(~is_bad)
    np.testing.assert_allclose(found.mean, moved[good].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.raw_mean, raw[good].mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(found.max, moved[good].max(axis=0))
    # 10 frames each, of more than 600: not all are in one
    assert len(found.block_means) == 50
    np.testing.assert_allclose(found.block_means[0], moved[good[:10]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.block_means[-1], moved[good[-10:]].mean(axis=0), rtol=1e-5)
