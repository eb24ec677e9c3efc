import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.plane_files import masks_of, plane_info

from sluice.errors import InputError
from sluice.ophys.motion_border import (
    MotionBorder,
    find_motion_border_of,
    load_shifts,
    touches_border,
)

shifts = st.lists(st.tuples(st.floats(-12, 12), st.floats(-12, 12)), min_size=1, max_size=8).map(
    np.array
)


def shift_table(y_px, x_px, *, nonrigid=0.0, bad=()):
    table = pd.DataFrame({"y_px": y_px, "x_px": x_px}, dtype=float)
    table["nonrigid_max_px"] = nonrigid
    table["is_bad"] = np.isin(np.arange(len(table)), bad)
    return table


def test_content_that_lay_lower_and_to_the_right_is_lost_below_and_at_the_right():
    border = find_motion_border_of(shift_table([0, 2.2, 1], [0, -1, 3]), max_shift_px=30)
    assert border == MotionBorder(top=0, bottom=3, left=1, right=3)


def test_failures_of_registration_and_missing_frames_are_left_out():
    table = shift_table([0, 31, -2, np.nan], [-30, 5, 0, np.nan])
    border = find_motion_border_of(table, max_shift_px=30)
    assert border == MotionBorder(top=2, bottom=0, left=30, right=5)


@pytest.mark.parametrize("values", [[], [np.nan], [99.0]])
def test_nothing_known_is_no_border(values):
    table = shift_table(values, values)
    assert find_motion_border_of(table, max_shift_px=30) == MotionBorder(0, 0, 0, 0)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(shifts)
def test_inside_is_what_was_in_view_in_every_frame(moves):
    # a frame is registered by moving a plane of ones by minus its shift, rounded outwards
    height, width = 30, 40
    expected = np.ones((height, width), bool)
    for y, x in moves:
        y, x = (int(np.sign(v) * np.ceil(abs(v))) for v in (y, x))
        view = np.zeros((height, width), bool)
        view[max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)] = True
        expected &= view
    found = find_motion_border_of(shift_table(*moves.T), max_shift_px=30).inside(height, width)
    np.testing.assert_array_equal(found, expected)


def test_bad_frames_take_nothing_from_the_view():
    table = shift_table([0, 13, 1, -7], [0, 0, -2, 9], bad=(1, 3))
    border = find_motion_border_of(table, max_shift_px=30)
    assert border == MotionBorder(top=0, bottom=1, left=2, right=0)
    # without a good frame the bad ones are all there is to know
    table["is_bad"] = True
    border = find_motion_border_of(table, max_shift_px=30)
    assert border == MotionBorder(top=7, bottom=13, left=2, right=9)


def test_blocks_that_moved_further_than_their_mean_widen_the_border():
    table = shift_table([1.2, -1, 40], [0, 3, 0], nonrigid=[0.5, np.nan, 5])
    # 40 px is a failure along y; along x that frame counts
    border = find_motion_border_of(table, max_shift_px=30)
    assert border == MotionBorder(top=1, bottom=2, left=5, right=5)
    assert find_motion_border_of(table[:0], max_shift_px=30) == MotionBorder(0, 0, 0, 0)


def test_a_border_wider_than_the_plane_leaves_nothing():
    assert not MotionBorder(30, 25, 0, 0).inside(40, 40).any()
    assert not MotionBorder(0, 0, 0, 50).inside(40, 40).any()


def test_a_roi_touches_with_a_single_pixel():
    images = np.zeros((4, 20, 20), bool)
    images[0, 3:8, 3:8] = True
    images[1, 2:8, 3:8] = True  # row 2 is out of view
    images[2, 10:12, 17:19] = True  # column 18 is
    masks = masks_of(images, 20, 20)  # the last one is empty
    found = touches_border(masks, MotionBorder(top=3, bottom=0, left=0, right=2))
    assert found.tolist() == [False, True, True, False]


def test_shifts_of_another_movie_are_refused(tmp_path):
    path = tmp_path / "shifts.pqt"
    pd.DataFrame({"y_px": np.zeros(9), "x_px": np.zeros(9)}).to_parquet(path)
    assert load_shifts(path, plane_info((9, 4, 4))).shape == (9, 2)
    with pytest.raises(InputError, match=r"S/FOV_00: .*shifts.pqt has 9 rows; .* 10 frames"):
        load_shifts(path, plane_info((10, 4, 4)))
