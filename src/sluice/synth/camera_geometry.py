"""Where the parts of a made-up mouse are, on the animal and in the picture.

*Animal*: pixels of a frame of 160 x 128 in which the head lies as drawn, looking left.
*Picture*: pixels of the video, origin the centre of the top left pixel, x to the right and y
down. Between them lie the head's slow motion (a shift and a roll about the neck), a moved camera,
the size of the frame and, for a camera on the other side, a mirror; see `matrices_of`.
"""

import numpy as np
import pandas as pd

from sluice.synth.camera_behavior import TONGUE_SEEN

# Parts of the animal, x and y; see the module.
EYE = np.array([98.0, 47.0])
EYE_HALF_WIDTH, EYE_HALF_HEIGHT = 33.0, 23.0
# Where the lids meet, as a part of the way from the middle down to the lower lid.
LIDS_MEET = 0.35
# Height of the pupil in its width, and their mean is the diameter.
PUPIL_ASPECT = 0.95
NECK = np.array([150.0, 80.0])
NOSE_TIP = np.array([15.0, 71.0])
MOUTH = np.array([27.0, 84.0])
TONGUE_LENGTH, TONGUE_HALF_WIDTH = 26.0, 5.0
TONGUE_DEG = 125.0
PAW = np.array([76.0, 113.0])
WHISKER_PAD = np.array([55.0, 66.0])
WHISKER_CIRCLE_PX = 2.2
# Something that sticks before the eye.
COVER_RADII = (36.0, 26.0)
N_PUPIL = 8
# Clockwise on the picture from the right; IBL's names where it has one.
PUPIL_POINTS = (
    "pupil_right_r",
    "pupil_1",
    "pupil_bottom_r",
    "pupil_3",
    "pupil_left_r",
    "pupil_5",
    "pupil_top_r",
    "pupil_7",
)
POINTS = (
    *PUPIL_POINTS,
    "eye_corner_nasal",
    "eye_corner_temporal",
    "nose_tip",
    "tongue_end_l",
    "tongue_end_r",
    "paw_l",
)


def points_of(states, settings):
    """Place the points in the picture.

    Parameters
    ----------
    states : DataFrame
        Of `states_at`.
    settings : CameraSettings

    Returns
    -------
    DataFrame
        One row a state, and for each of `POINTS` its `_x`, `_y` (pixels) and `_visible`. Points
        of the pupil are not visible where a lid covers them, none of the eye's where it is
        blocked, those of the tongue where it is not out, and none outside the picture.
    """
    n = len(states)
    pupil = pupil_points(states, settings.is_mirrored)
    corners = EYE + np.array([[-EYE_HALF_WIDTH, 0], [EYE_HALF_WIDTH, 0]])
    ends = _tongue_ends(states, settings.is_mirrored)
    paw = states[["paw_x", "paw_y"]].to_numpy()[:, None]
    still = np.broadcast_to(np.concatenate([corners, NOSE_TIP[None]]), (n, 3, 2))
    at_head = place(states, settings, np.concatenate([pupil, still, ends], axis=1))
    # the paw does not move with the head
    at = np.concatenate([at_head, place(states, settings, paw, with_head=False)], axis=1)
    visible = np.ones((n, len(POINTS)), bool)
    visible[:, :N_PUPIL] = is_between_lids(pupil, states)
    # the points of the eye come first
    n_eye = N_PUPIL + 2
    if settings.is_blocked:
        visible[:, :n_eye] = False
    visible[:, [POINTS.index("tongue_end_l"), POINTS.index("tongue_end_r")]] = (
        states.tongue.to_numpy() > TONGUE_SEEN
    )[:, None]
    size = np.array([settings.width, settings.height])
    visible &= ((at > -0.5) & (at < size - 0.5)).all(axis=2)
    columns = {}
    for k, name in enumerate(POINTS):
        columns[f"{name}_x"] = at[:, k, 0]
        columns[f"{name}_y"] = at[:, k, 1]
        columns[f"{name}_visible"] = visible[:, k]
    return pd.DataFrame(columns)


def place(states, settings, at, *, with_head=True):
    """Bring points of the animal into the picture.

    Parameters
    ----------
    states : DataFrame
        n rows.
    settings : CameraSettings
    at : float array, shape (n, n_points, 2)
        x and y; see the module.
    with_head : bool
        They move with the head.

    Returns
    -------
    float64 array, shape (n, n_points, 2)
    """
    matrices = matrices_of(states, settings, with_head=with_head)
    return np.einsum("nij,npj->npi", matrices[:, :, :2], at) + matrices[:, None, :, 2]


def matrices_of(states, settings, *, with_head=True):
    """Write the way from the animal into the picture as matrices.

    Parameters
    ----------
    states : DataFrame
        n rows.
    settings : CameraSettings
    with_head : bool

    Returns
    -------
    float64 array, shape (n, 2, 3)
        The picture's (x, y) is ``m[:, :2] @ (x, y) + m[:, 2]``.
    """
    n = len(states)
    turn = np.broadcast_to(np.eye(2), (n, 2, 2))
    shift = np.zeros((n, 2))
    if with_head:
        angle = np.deg2rad(states.head_deg.to_numpy())
        rows = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        turn = np.transpose(np.array(rows), (2, 0, 1))
        shift = NECK - turn @ NECK + states[["head_x", "head_y"]].to_numpy()
    scale = settings.scale
    mirror = np.array([-scale if settings.is_mirrored else scale, scale])
    # the middle of an animal's frame comes to lie in the middle of the picture
    middle = np.array([(settings.width - 1) / 2, (settings.height - 1) / 2])
    offset = middle - mirror * np.array([79.5, 63.5])
    moved = states[["moved_x", "moved_y"]].to_numpy()
    matrices = np.empty((n, 2, 3))
    matrices[:, :, :2] = mirror[:, None] * turn
    matrices[:, :, 2] = mirror * shift + offset + scale * moved
    return matrices


def lid_edges(x_px, closure):
    """Height of the lids' edges over the eye, in pixels of the animal.

    Parameters
    ----------
    x_px : float array
        From the middle of the eye.
    closure : float or array that fits
        0 open to 1 closed.

    Returns
    -------
    upper, lower : float64 array
        y from the middle of the eye. Open, they are parabolas; they close on a flatter one.
    """
    arch = EYE_HALF_HEIGHT * (1 - (x_px / EYE_HALF_WIDTH) ** 2)
    return arch * (closure * (1 + LIDS_MEET) - 1), arch * (1 - closure * (1 - LIDS_MEET))


def pupil_centre(states):
    """Where the pupil's centre is, shape (n, 2)."""
    return EYE + states[["gaze_x", "gaze_y"]].to_numpy()


def pupil_points(states, is_mirrored=False):
    """Points on the pupil's edge, shape (n, 8, 2), in the order of `PUPIL_POINTS`."""
    angle = 2 * np.pi * np.arange(N_PUPIL) / N_PUPIL
    circle = np.column_stack([np.cos(angle) * (-1 if is_mirrored else 1), np.sin(angle)])
    axes = np.array([1, PUPIL_ASPECT]) / (1 + PUPIL_ASPECT)
    size = states.pupil_px.to_numpy()[:, None, None]
    return pupil_centre(states)[:, None] + size * axes * circle


def is_between_lids(at, states):
    """Which points of the eye no lid covers, shape (n, n_points)."""
    x, y = np.moveaxis(at - EYE, -1, 0)
    upper, lower = lid_edges(x, states.lid_closure.to_numpy()[:, None])
    return (upper < y) & (y < lower)


def _tongue_ends(states, is_mirrored):
    """Corners of the tongue's end, shape (n, 2, 2): first the one on the picture's left."""
    tip, along = tongue_axis(states)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * TONGUE_HALF_WIDTH
    # 'across' of a tongue that hangs down to the left points up to the left
    ends = np.stack([tip + across, tip - across], axis=1)
    return ends[:, ::-1] if is_mirrored else ends


def tongue_axis(states):
    """Say where the middle of the tongue's end is, and which way the tongue points.

    Returns
    -------
    tip, along : float64 array, shape (n, 2)
        `along` has length 1.
    """
    angle = np.deg2rad(TONGUE_DEG + states.tongue_deg.to_numpy())
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return MOUTH + TONGUE_LENGTH * states.tongue.to_numpy()[:, None] * along, along
