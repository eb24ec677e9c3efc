import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.plane_files import disc, masks_of
from scipy.ndimage import binary_dilation

from sluice.ophys.motion_border import MotionBorder
from sluice.ophys.neuropil_masks import make_neuropil_masks

SQUARE = np.ones((3, 3), bool)


def neuropil(images, inside=None, **changed):
    height, width = images[0].shape
    chosen = {"method": "ring", "ring_px": 13, "gap_px": 2, "min_pixels": 350, **changed}
    inside = np.ones((height, width), bool) if inside is None else inside
    masks = make_neuropil_masks(masks_of(images, height, width), inside, **chosen)
    return np.array([masks.image(k) for k in range(len(masks))])


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 39), st.integers(0, 59), st.integers(0, 7)),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 13),
)
def test_ring_equals_thirteen_dilations_of_the_whole_image(cells, ring_px):
    images = np.array([disc(40, 60, *cell) for cell in cells])
    inside = MotionBorder(top=2, bottom=1, left=0, right=5).inside(40, 60)
    found = neuropil(images, inside, ring_px=ring_px)
    for image, ring in zip(images, found, strict=True):
        dilated = binary_dilation(image, SQUARE, iterations=ring_px)
        np.testing.assert_array_equal(ring, dilated & ~images.any(axis=0) & inside)


def test_neighbours_share_neuropil_but_no_roi_is_in_it():
    images = np.array([disc(60, 80, 30, 25, 6), disc(60, 80, 30, 45, 6)])
    rings = neuropil(images)
    assert (rings[0] & rings[1]).any()
    assert not (rings & images.any(axis=0)).any()


def test_grown_has_a_gap_and_enough_pixels():
    image = disc(80, 80, 40, 40, 5)
    (found,) = neuropil([image], method="grown")
    assert not (found & binary_dilation(image, SQUARE, iterations=2)).any()
    assert found.sum() >= 350
    # a step of 5 px less would not do: the ring of 2 to 7 px
    fewer = binary_dilation(image, SQUARE, iterations=7)
    expected = binary_dilation(image, SQUARE, iterations=2)
    if (fewer & ~expected).sum() < 350:
        fewer = binary_dilation(image, SQUARE, iterations=12)
    np.testing.assert_array_equal(found, fewer & ~expected)


def test_grown_stops_where_the_plane_is_full():
    (found,) = neuropil([disc(24, 24, 12, 12, 9)], method="grown")
    assert 0 < found.sum() < 350


@pytest.mark.parametrize("method", ["ring", "grown"])
def test_without_room_there_is_no_neuropil(method):
    everything = np.ones((40, 40), bool)
    nothing = np.zeros((40, 40), bool)
    rings = neuropil([everything, nothing], method=method)
    assert not rings.any()
    outside = neuropil(
        [disc(40, 40, 3, 3, 3)], MotionBorder(top=39, bottom=1, left=0, right=0).inside(40, 40)
    )
    assert not outside.any()


def test_no_rois():
    masks = make_neuropil_masks(
        masks_of([], 40, 40),
        np.ones((40, 40), bool),
        method="ring",
        ring_px=13,
        gap_px=2,
        min_pixels=350,
    )
    assert len(masks) == 0
    assert masks.weights.shape == (0, 1600)
