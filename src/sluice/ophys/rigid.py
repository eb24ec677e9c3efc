"""Shifts and rotations of images, as matrices (2, 3) that act on (x, y, 1) of a pixel (px)."""

import numpy as np

IDENTITY = np.eye(2, 3)


def compose(outer, inner):
    """Do `inner` first, then `outer`; both and the result are (2, 3)."""
    square = np.vstack([inner, [0, 0, 1]])
    return np.asarray(outer) @ square


def invert(matrix):
    """Invert a rigid transform (2, 3)."""
    turn = matrix[:, :2].T
    return np.column_stack([turn, -turn @ matrix[:, 2]])


def apply(matrix, xy):
    """Move points (n, 2), x before y, by a transform (2, 3)."""
    return np.asarray(xy, float) @ matrix[:, :2].T + matrix[:, 2]


def rotation_about(xy, angle_deg):
    """Rotation about a point, as (2, 3); positive from x towards y."""
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, xy - turn @ xy])


def middle_of(shape):
    """Middle of an image of shape (height, width), x before y (px)."""
    return (np.array(shape[::-1]) - 1) / 2


def shift_by(xy):
    """Shift (x, y), as (2, 3)."""
    return np.column_stack([np.eye(2), xy])


def rotation_deg(matrix):
    """Angle of a rigid transform (degrees), positive from x towards y."""
    return float(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))


def warp_back(image, matrix, shape, *, nearest=False):
    """Show session b's image where session a's pixels are.

    Parameters
    ----------
    image : float32 or uint8 (height_b, width_b)
    matrix : float64 (2, 3)
        From a to b.
    shape : (height, width)
        Of session a.

    Returns
    -------
    (height, width), dtype of `image`
        0 where b shows nothing.
    """
    import cv2

    flags = (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, np.asarray(matrix, float), shape[::-1], flags=flags)
