"""Draws a made-up mouse as a camera sees it.

What does not change is drawn once, on a canvas larger than the picture, which is then brought
into each frame by the matrix of the head; so is the whisker pad, which moves on the head.
What changes shape (eye, tongue, paw) is drawn in each frame. Each shape covers a pixel by as
much as its signed distance says (half where the edge runs through the pixel's centre), which is
exact to about 0.02 pixels for edges as smooth as these.
"""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from sluice.synth.camera_geometry import (
    COVER_RADII,
    EYE,
    EYE_HALF_HEIGHT,
    EYE_HALF_WIDTH,
    MOUTH,
    NOSE_TIP,
    PUPIL_ASPECT,
    TONGUE_HALF_WIDTH,
    WHISKER_CIRCLE_PX,
    WHISKER_PAD,
    lid_edges,
    matrices_of,
    tongue_axis,
)

# The canvas has that many pixels of the animal around the frame of 160 x 128.
MARGIN = 40
# Grey levels.
WALL, FUR, PUPIL, IRIS, SCLERA, LASH, GLINT = 52.0, 128.0, 14.0, 88.0, 70.0, 30.0, 235.0
SKIN, TONGUE, COVER, RIM, WHISKER = 158.0, 212.0, 120.0, 96.0, 215.0
# The camera's own optics: standard deviation of its point spread function.
OPTICS_PX = 0.55
PAD_RADII = (21.0, 14.0)
WHISKER_DEG = np.array([62.0, 75.0, 88.0, 101.0, 114.0, 127.0])


class Renderer:
    """Draws frames of one scene.

    Parameters
    ----------
    scene : CameraScene
    """

    def __init__(self, scene):
        self._scene = scene
        settings = self._settings = scene.settings
        self._size = settings.width, settings.height
        self._head = matrices_of(scene.states, settings)
        self._body = matrices_of(scene.states, settings, with_head=False)
        self._state = {name: scene.states[name].to_numpy() for name in scene.states}
        tip, along = tongue_axis(scene.states)
        self._tongue = np.concatenate([tip, along], axis=1)
        self._wall, self._face, self._fur, self._pad, self._pad_part = _canvases(settings)
        y, x = np.mgrid[: settings.height, : settings.width].astype(np.float32)
        self._x, self._y = x, y
        # the lamp stands to the upper left of the middle
        far = np.hypot(x / settings.width - 0.45, y / settings.height - 0.4)
        self._lamp = 1.08 - 0.5 * far**2

    def frame(self, exposure):
        """Draw what one exposure shows.

        Parameters
        ----------
        exposure : int

        Returns
        -------
        uint8 array, shape (height, width)
        """
        settings = self._settings
        image = self.light(exposure)
        rng = settings.rng(settings.day, 11, exposure)
        image = image + settings.noise_sd * rng.standard_normal(image.shape, np.float32)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def light(self, exposure):
        """Draw an exposure without the camera's noise.

        Parameters
        ----------
        exposure : int

        Returns
        -------
        float32 array, shape (height, width)
            Grey levels; those above 255 are too bright for the camera.
        """
        image = self._warp(self._wall, self._body[exposure])
        self._draw_wheel(image, exposure)
        self._draw_face(image, exposure)
        if self._state["tongue"][exposure] > 0.02:
            self._draw_tongue(image, exposure)
        self._draw_eye(image, exposure)
        if self._settings.is_blocked:
            self._draw_cover(image, exposure)
        self._draw_paw(image, exposure)
        self._draw_whiskers(image, exposure)
        image *= self._lamp * np.float32(self._state["light"][exposure])
        blur_px = np.hypot(OPTICS_PX, self._settings.blur_px)
        return cv2.GaussianBlur(image, (0, 0), blur_px, borderType=cv2.BORDER_REPLICATE)

    def _warp(self, canvas, matrix):
        """Bring a canvas into the picture."""
        return cv2.warpAffine(
            canvas,
            matrix @ _FROM_CANVAS,
            self._size,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def _window(self, matrix, middle, reach):
        """Part of the picture around a point of the animal, and its pixels in the animal's frame.

        Returns
        -------
        window : tuple of slice
        x, y : float32 array
            Pixels of the animal, from `middle`.
        """
        at = matrix[:, :2] @ middle + matrix[:, 2]
        reach = reach * self._settings.scale
        start = np.clip(np.floor(at - reach).astype(int), 0, self._size)
        stop = np.clip(np.ceil(at + reach).astype(int) + 1, 0, self._size)
        window = slice(start[1], stop[1]), slice(start[0], stop[0])
        back = np.linalg.inv(matrix[:, :2]).astype(np.float32)
        x = self._x[window] - np.float32(at[0])
        y = self._y[window] - np.float32(at[1])
        return window, back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y

    def _cover(self, distance_px):
        """Part of a pixel that a shape covers; the distance is that of the animal, inside < 0."""
        return np.clip(0.5 - self._settings.scale * distance_px, 0, 1)

    def _draw_face(self, image, exposure):
        matrix = self._head[exposure]
        part = self._warp(self._face, matrix)
        fur = self._warp(self._fur, matrix)
        angle = self._state["whisker_rad"][exposure]
        moved = matrix.copy()
        moved[:, 2] += (
            matrix[:, :2] @ [np.cos(angle), np.sin(angle)] * np.float64(WHISKER_CIRCLE_PX)
        )
        pad = self._warp(self._pad, moved)
        pad_part = self._warp(self._pad_part, moved)
        fur += pad_part * (pad - fur)
        image += part * (fur - image)

    def _draw_eye(self, image, exposure):
        matrix = self._head[exposure]
        window, x, y = self._window(matrix, EYE, np.array([EYE_HALF_WIDTH, EYE_HALF_HEIGHT]) + 6)
        size = self._state["pupil_px"][exposure]
        gaze = self._state["gaze_x"][exposure], self._state["gaze_y"][exposure]
        u, v = x - np.float32(gaze[0]), y - np.float32(gaze[1])
        ball = SCLERA + (IRIS - SCLERA) * np.exp(-(u**2 + v**2) / 22**2) - 0.4 * np.abs(y)
        distance = ellipse_distance(
            u, v, size / (1 + PUPIL_ASPECT), size * PUPIL_ASPECT / (1 + PUPIL_ASPECT)
        )
        ball += self._cover(distance) * (PUPIL - ball)
        if self._settings.has_glint:
            glint = np.hypot(x - 0.3 * gaze[0] + 6, y - 0.3 * gaze[1] + 9) - 1.7
            ball += self._cover(glint) * (GLINT - ball)
        upper, lower = lid_edges(x, self._state["lid_closure"][exposure])
        slope = 2 * EYE_HALF_HEIGHT * x / EYE_HALF_WIDTH**2
        outside = np.maximum(upper - y, y - lower) / np.sqrt(1 + slope**2)
        # the lids' edges are dark
        lash = 0.85 * np.exp(-((np.maximum(outside, 0) / 1.6) ** 2))
        lash *= np.clip((EYE_HALF_WIDTH + 2 - np.abs(x)) / 4, 0, 1)
        patch = image[window]
        patch += lash * (LASH - patch)
        patch += self._cover(outside) * (np.abs(x) < EYE_HALF_WIDTH) * (ball - patch)

    def _draw_tongue(self, image, exposure):
        tip, along = self._tongue[exposure, :2], self._tongue[exposure, 2:]
        window, x, y = self._window(self._head[exposure], MOUTH, np.array([34.0, 34.0]))
        s = x * along[0] + y * along[1]
        t = y * along[0] - x * along[1]
        length = np.hypot(*(tip - MOUTH))
        # a band from the mouth to the tip
        distance = np.maximum(s - length, np.maximum(-s, np.abs(t) - TONGUE_HALF_WIDTH))
        patch = image[window]
        # dark lips around it
        patch *= 1 - 0.4 * self._cover(distance - 1.2)
        shade = TONGUE - 2.5 * np.abs(t) - 0.5 * (length - s)
        patch += self._cover(distance) * (shade - patch)
        # its furrow
        patch -= 25 * self._cover(np.abs(t) - 0.4) * (s < length - 3) * (distance < 0)

    def _draw_paw(self, image, exposure):
        at = np.array([self._state["paw_x"][exposure], self._state["paw_y"][exposure]])
        window, x, y = self._window(self._body[exposure], at, np.array([22.0, 15.0]))
        distance = ellipse_distance(x - 2, y, 11.0, 6.5)
        for k in range(4):
            finger = ellipse_distance(x + 11 - abs(k - 1.5), y + 5.5 - 3.7 * k, 5.0, 1.6)
            distance = np.minimum(distance, finger)
        patch = image[window]
        # a shadow on the rim below, and then the paw
        patch *= 1 - 0.35 * self._cover(ellipse_distance(x - 2, y - 3, 13.0, 8.0))
        patch += self._cover(distance) * (SKIN + 1.2 * (2 - y) - patch)
        # a dark mark on its back: the middle is to be told from the edge
        patch -= 60 * self._cover(np.hypot(x, y) - 1.8)

    def _draw_wheel(self, image, exposure):
        """Rim of the wheel, which turns below the animal."""
        window, x, y = self._window(
            self._body[exposure], np.array([79.5, 63.5]), np.array([200.0, 200.0])
        )
        x, y = x + np.float32(79.5), y + np.float32(63.5)
        inside = self._cover(119 - 0.0015 * (x - 80) ** 2 - y)
        groove = np.sin(0.55 * x - 6.0 * np.float32(self._state["wheel_rad"][exposure]))
        patch = image[window]
        patch += inside * (RIM + 22 * groove - patch)

    def _draw_whiskers(self, image, exposure):
        """Hairs that fan out downwards from the pad and swing with it."""
        angle = self._state["whisker_rad"][exposure]
        degrees = WHISKER_DEG + 5 * np.sin(angle)
        along = np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], axis=1)
        root = WHISKER_PAD + np.stack([(110 - WHISKER_DEG) / 4, np.full(len(degrees), 6.0)], axis=1)
        root = root + WHISKER_CIRCLE_PX * np.array([np.cos(angle), np.sin(angle)])
        # three points of a bent hair
        bend = np.stack([-along[:, 1], along[:, 0]], axis=1)
        hair = np.stack([root, root + 16 * along, root + 34 * along + 4 * bend], axis=1)
        matrix = self._head[exposure]
        hair = hair @ matrix[:, :2].T + matrix[:, 2]
        mask = np.zeros(image.shape, np.uint8)
        # four bits of fractions of a pixel
        points = np.rint(hair * 16).astype(np.int32)
        cv2.polylines(mask, list(points), False, 255, 1, cv2.LINE_AA, 4)
        image += (0.7 / 255) * mask * (WHISKER - image)

    def _draw_cover(self, image, exposure):
        window, x, y = self._window(self._head[exposure], EYE, np.array(COVER_RADII) + 4)
        patch = image[window]
        shade = COVER + 0.6 * x - 0.4 * y
        patch += self._cover(ellipse_distance(x, y, *COVER_RADII)) * (shade - patch)


_FROM_CANVAS = np.array([[1.0, 0, -MARGIN], [0, 1.0, -MARGIN], [0, 0, 1.0]])


def ellipse_distance(x, y, a, b):
    """Distance from an ellipse to the first order: f / |grad f| of its equation.

    Parameters
    ----------
    x, y : float array
        From its centre.
    a, b : float
        Half axes along x and y.

    Returns
    -------
    float array
        Negative inside.
    """
    r = np.sqrt((x / a) ** 2 + (y / b) ** 2)
    slope = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2)
    return np.where(r > 1e-3, r * (r - 1) / np.maximum(slope, 1e-9), -min(a, b))


def _canvases(settings):
    """Draw what does not change; each float32, of the animal's frame and `MARGIN` around it.

    Returns
    -------
    wall, face, fur, pad, pad_part : float32 array
        What is behind; which part of a pixel is the animal's; its fur with nose, mouth and ear;
        the whisker pad, and which part of a pixel is that.
    """
    y, x = np.mgrid[: 128 + 2 * MARGIN, : 160 + 2 * MARGIN].astype(np.float64) - MARGIN
    rng = settings.rng(5)

    def texture(sd, width, stretch=1.0):
        noise = gaussian_filter(rng.standard_normal(x.shape), (width, width * stretch))
        return sd * noise / noise.std()

    wall = WALL + 0.12 * (64 - y) + texture(7, 6) + texture(4, 1)
    # a spout stands on the lower left
    spout = _soft(np.hypot(x - np.clip(x, -60, 3), y - 104) - 3)
    wall += spout * (165 - 6 * np.abs(y - 103) - wall)

    def blob(cx, cy, a, b):
        return ellipse_distance(x - cx, y - cy, a, b)

    shapes = [
        blob(112, 50, 62, 48),
        blob(52, 70, 40, 22),
        blob(78, 88, 52, 20),
        blob(160, 70, 60, 70),
    ]
    distance = _smooth_minimum(np.array(shapes), 6.0)
    face = _soft(distance)
    fur = FUR + texture(14, 0.75, 1.6) + texture(8, 3) + texture(6, 10)
    # round: less light towards the outline; brighter below
    fur *= 1 - 0.35 * np.exp(-np.clip(-distance, 0, None) / 7)
    fur += 0.25 * (y - 60)
    eye = np.hypot((x - EYE[0]) / 1.35, y - EYE[1])
    fur -= 22 * np.exp(-(((eye - 27) / 6) ** 2))
    mouth = np.abs(y - (MOUTH[1] + 2 - 0.012 * (x - 30) ** 2 + 0.35 * (x - 30))) - 1.0
    fur -= 60 * _soft(mouth) * _soft(np.abs(x - 36) - 12)
    nose = _soft(blob(NOSE_TIP[0] + 3, NOSE_TIP[1], 6.5, 5.0))
    fur += nose * (46 - fur)
    fur += _soft(np.hypot(x - NOSE_TIP[0], y - NOSE_TIP[1]) - 1.6) * (150 - fur)
    ear = _soft(blob(158, 10, 22, 18))
    fur += 0.7 * ear * (150 + texture(3, 2) - fur)

    pad = FUR + 20 + texture(10, 1.2) - 8 * np.abs(y - WHISKER_PAD[1]) / 14
    for row in range(4):
        for column in range(5):
            hair_x = WHISKER_PAD[0] - 14 + 7 * column + 2 * (row % 2)
            hair_y = WHISKER_PAD[1] - 9 + 6 * row
            pad -= 85 * _soft(np.hypot(x - hair_x, y - hair_y) - 1.2)
    inside = blob(*WHISKER_PAD, *PAD_RADII)
    pad_part = np.clip(0.5 - inside / 4, 0, 1)
    return tuple(a.astype(np.float32) for a in (wall, face, fur, pad, pad_part))


def _soft(distance_px):
    """Part of a pixel that a shape covers; a little softer than is exact, as fur is."""
    return np.clip(0.5 - distance_px / 1.5, 0, 1)


def _smooth_minimum(distances, width):
    """Minimum over the first axis, rounded where two are about the same."""
    return -width * np.log(np.exp(-np.clip(distances, -200, 200) / width).sum(axis=0))


def render(scene, start=0, stop=None):
    """Draw frames of a video.

    Parameters
    ----------
    scene : CameraScene
    start, stop : int
        Frames of the video.

    Yields
    ------
    uint8 array, shape (height, width)
    """
    renderer = Renderer(scene)
    shown = scene.shown[start:stop]
    last, image = None, None
    for exposure in shown.tolist():
        # frozen: the very same image, noise and all
        if exposure != last:
            last, image = exposure, renderer.frame(exposure)
        yield image
