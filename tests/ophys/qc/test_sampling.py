import numpy as np
import pandas as pd
import pytest

from sluice.ophys.motion_border import MotionBorder
from sluice.ophys.qc.sampling import cut_blocks, motion_border


def table(**columns):
    n = len(next(iter(columns.values())))
    made = {"y_px": np.zeros(n), "x_px": np.zeros(n), "nonrigid_max_px": np.zeros(n)}
    return pd.DataFrame({**made, "is_bad": np.zeros(n, bool), **columns})


def border_of(shifts, usable, *, height=200, width=400, max_border_px=30):
    return motion_border(shifts, usable, height, width, max_border_px=max_border_px)


def test_the_border_is_what_usable_frames_need_at_each_edge():
    shifts = table(y_px=[0.0, -2, 25, np.nan], x_px=[3.0, 0, 0, 0], nonrigid_max_px=[0, 1.5, 9, 0])
    usable = np.array([True, True, False, True])
    assert border_of(shifts, usable) == MotionBorder(top=4, bottom=0, left=2, right=3)
    shifts["nonrigid_max_px"] = np.nan  # as after a rigid registration
    assert border_of(shifts, usable) == MotionBorder(top=2, bottom=0, left=0, right=3)


def test_the_border_never_takes_the_plane():
    shifts = table(y_px=[-50.0, 50], x_px=[-50.0, 50])
    usable = np.ones(2, bool)
    assert border_of(shifts, usable) == MotionBorder(30, 30, 30, 30)
    assert border_of(shifts, usable, height=40, width=60) == MotionBorder(10, 10, 15, 15)


@pytest.mark.parametrize(("minutes", "n_blocks"), [(10, 10), (60, 60), (61, 60), (180, 60)])
def test_blocks_are_a_minute_long_however_long_the_movie(minutes, n_blocks):
    n_frames = minutes * 60 * 30
    blocks = cut_blocks(n_frames, 30.0, block_s=60.0, min_blocks=5, max_blocks=60)
    assert blocks.shape == (n_blocks, 2)
    assert (np.diff(blocks, axis=1) == 1800).all()
    assert (blocks[0, 0], blocks[-1, 1]) == (0, n_frames)
    gaps = blocks[1:, 0] - blocks[:-1, 1]
    # evenly spread, to a frame
    assert gaps.min() >= 0
    assert np.ptp(gaps) <= 1


@pytest.mark.parametrize("n_frames", [1, 3, 100])
def test_blocks_of_a_short_movie_are_shorter(n_frames):
    blocks = cut_blocks(n_frames, 30.0, block_s=60.0, min_blocks=5, max_blocks=60)
    assert len(blocks) == min(5, n_frames)
    np.testing.assert_array_equal(np.concatenate([np.arange(*b) for b in blocks]), range(n_frames))
