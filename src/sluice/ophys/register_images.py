"""Lay the mean image of one session over that of another: a shift and a rotation."""

from dataclasses import dataclass

import numpy as np

from sluice.ophys.rigid import (
    IDENTITY,
    compose,
    middle_of,
    rotation_about,
    rotation_deg,
    shift_by,
    warp_back,
)


@dataclass(frozen=True)
class Alignment:
    """How two sessions lie to each other.

    Attributes
    ----------
    matrix : float64 (2, 3)
        Brings (x, y, 1) of a pixel of session a to its (x, y) in session b (px).
    chosen : str
        The candidate that was best.
    ssim : dict of str to float
        Similarity of the two images under each candidate, -1 to 1.
    failures : dict of str to str
        Candidates that gave no usable transform, and why.
    chance_ssim : float
        Highest similarity where the images cannot fit.
    score : float
        How far the best similarity lies above such similarities, in their standard
        deviations.
    overlap : float
        Part of the smaller image's compared pixels that lie in both, 0 to 1.
    is_aligned : bool
        The images fit better than by chance.
    """

    matrix: np.ndarray
    chosen: str
    ssim: dict
    failures: dict
    chance_ssim: float
    score: float
    overlap: float
    is_aligned: bool


class NoTransformError(Exception):
    """A candidate gave no transform; the others are tried."""


def equalise(image, *, tile_px, clip_limit):
    """Bring all parts of an image to the same contrast (CLAHE).

    Parameters
    ----------
    image : float (height, width)
        Any unit; finite.
    tile_px : float
        Size of the tiles. Allen cuts every image into 24 by 24; tiles of a size, not of a
        number, do the same to the cells of small images.
    clip_limit : float
        Highest bar of a tile's histogram, in means.

    Returns
    -------
    float32 (height, width), 0 to 255
    """
    import cv2

    low, high = np.percentile(image, (0.1, 99.9))
    scaled = (image - low) / max(high - low, np.finfo(np.float32).tiny)
    grid = [max(1, round(n / tile_px)) for n in image.shape[::-1]]
    clahe = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=grid)
    return clahe.apply(np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)).astype(np.float32)


def compared_pixels(shape, border_fraction):
    """Pixels away from the edge, as bool (height, width).

    The edge of a registered movie's mean image is a mixture of moved and missing content.
    It is masked, not cropped, so that all transforms keep the origin of the whole image.
    """
    height, width = shape
    y, x = round(height * border_fraction), round(width * border_fraction)
    mask = np.zeros(shape, bool)
    mask[y : height - y, x : width - x] = True
    return mask


def similarity(a, b, valid, *, sigma_px):
    """Mean structural similarity (SSIM) of two images over their valid pixels.

    Wang et al. 2004 with a gaussian window; only valid pixels enter the window's sums, so
    the edge of the valid region neither blurs in nor counts. The window is moved in steps of a
    fifth of its standard deviation: neighbouring windows say the same.

    Parameters
    ----------
    a, b : float32 (height, width), 0 to 255
    valid : bool (height, width)
    sigma_px : float

    Returns
    -------
    float
        -1 to 1.
    """
    import cv2

    step = max(1, int(sigma_px / 5))

    def blur(image):
        return cv2.GaussianBlur(image, (0, 0), sigma_px / step, borderType=cv2.BORDER_CONSTANT)

    weight = valid.astype(np.float32)
    n_valid = _sum_blocks(weight, step)
    total = np.maximum(blur(n_valid), 1e-6)

    def local_mean(image):
        return blur(_sum_blocks(image * weight, step)) / total

    mean_a, mean_b = local_mean(a), local_mean(b)
    var_a, var_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    ssim /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(np.average(ssim, weights=n_valid.astype(float)))


def _sum_blocks(image, step):
    """Sums of blocks of `step` by `step` pixels; missing ones at the end count as 0."""
    height, width = image.shape
    padded = np.pad(image, ((0, -height % step), (0, -width % step)))
    return padded.reshape(len(padded) // step, step, -1, step).sum(axis=(1, 3))


def shift_by_phase(a, b):
    """Find the shift between two images by phase correlation.

    Images of different size are laid onto one canvas with the same origin.

    Parameters
    ----------
    a, b : float32 (height, width)

    Returns
    -------
    xy : float64 (2,)
        Content at p in `a` is at p + xy in `b` (px).
    response : float
        Height of the peak, 0 to 1.
    """
    import cv2

    canvas = np.zeros((2, max(len(a), len(b)), max(a.shape[1], b.shape[1])), np.float32)
    for place, image in zip(canvas, (a, b), strict=True):
        height, width = image.shape
        window = np.outer(np.hanning(height), np.hanning(width))
        place[:height, :width] = (image - image.mean()) * window
    xy, response = cv2.phaseCorrelate(*canvas)
    if not np.isfinite([*xy, response]).all():
        raise NoTransformError("the phase correlation has no peak")
    return np.array(xy), response


def refine(a, b, valid_a, valid_b, start, settings):
    """Improve a transform by the enhanced correlation coefficient (ECC).

    Evangelidis & Psarakis 2008 as in OpenCV, from `start`; only pixels that are valid in
    both images count.
    """
    import cv2

    criteria = (
        cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS,
        settings["ecc_iterations"],
        settings["ecc_tolerance"],
    )
    try:
        _, matrix = cv2.findTransformECCWithMask(
            a,
            b,
            valid_a.astype(np.uint8),
            valid_b.astype(np.uint8),
            start.astype(np.float32),
            cv2.MOTION_EUCLIDEAN,
            criteria,
            settings["ecc_blur_px"],
        )
    except cv2.error as error:
        if error.code != cv2.Error.StsNoConv:
            raise
        raise NoTransformError(f"ECC: {error.err}") from error
    if not np.isfinite(matrix).all():
        raise NoTransformError("ECC: the transform is not finite")
    # float32 leaves the rotation a little off; make it one again
    angle = np.rad2deg(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    moved = rotation_about(np.zeros(2), angle)
    moved[:, 2] = matrix[:, 2]
    return moved


def turn_by_phase(a, b, *, max_rotation_deg, rotation_step_deg):
    """Find shift and rotation: the angle at which phase correlation has its highest peak.

    Returns
    -------
    float64 (2, 3)
        From a to b.
    """
    n = round(max_rotation_deg / rotation_step_deg)
    best, found = -np.inf, None
    # from 0 outwards: the smaller rotation wins a tie
    for k in sorted(range(-n, n + 1), key=lambda k: (abs(k), k)):
        turn = rotation_about(middle_of(a.shape), k * rotation_step_deg)
        xy, response = shift_by_phase(a, warp_back(b, turn, a.shape))
        if response > best:
            best, found = response, compose(turn, shift_by(xy))
    return found


class _Pair:
    """Two images, ready to be compared under any transform."""

    def __init__(self, mean_a, mean_b, settings):
        self.settings = settings
        self.mean_a, self.mean_b = (np.asarray(m, np.float32) for m in (mean_a, mean_b))
        self.a, self.b = (
            equalise(m, tile_px=settings["clahe_tile_px"], clip_limit=settings["clahe_clip"])
            for m in (self.mean_a, self.mean_b)
        )
        self.valid_a, self.valid_b = (
            compared_pixels(m.shape, settings["border_fraction"]) for m in (self.a, self.b)
        )

    def valid(self, matrix):
        """Pixels of a that are compared in both images, bool (height_a, width_a)."""
        moved = warp_back(self.valid_b.astype(np.uint8), matrix, self.a.shape, nearest=True)
        return self.valid_a & (moved > 0)

    def overlap(self, matrix):
        smaller = min(self.valid_a.sum(), self.valid_b.sum())
        return float(self.valid(matrix).sum() / smaller)

    def similarity(self, matrix, *, a=None):
        """Similarity under a transform; `a` is another picture instead of session a's."""
        valid = self.valid(matrix)
        if not valid.any():
            return 0.0
        a = self.a if a is None else a
        moved = warp_back(self.b, matrix, a.shape)
        return similarity(a, moved, valid, sigma_px=self.settings["ssim_sigma_px"])

    def refine(self, start, *, equalised=True):
        images = (self.a, self.b) if equalised else (self.mean_a, self.mean_b)
        return refine(*images, self.valid_a, self.valid_b, start, self.settings)

    def problem(self, matrix):
        """Why a transform cannot be that of one field of view, or nothing."""
        angle_deg = abs(rotation_deg(matrix))
        if angle_deg > self.settings["max_rotation_deg"]:
            return f"it turns by {angle_deg:.1f} degrees, more than max_rotation_deg"
        overlap = self.overlap(matrix)
        if overlap < self.settings["min_overlap"]:
            return f"the images overlap by {overlap:.2f} only, less than min_overlap"
        return None


def _candidates(pair):
    """Try every way to a transform: those that gave one, and why the others did not."""
    settings = pair.settings
    found, failures = {"identity": IDENTITY}, {}

    def attempt(name, make):
        try:
            matrix = make()
        except NoTransformError as error:
            failures[name] = str(error)
            return
        problem = pair.problem(matrix)
        if problem:
            failures[name] = problem
        else:
            found[name] = matrix

    def refined(name, start):
        if start in found:
            attempt(name, lambda: pair.refine(found[start]))
        else:
            failures[name] = f"{start} failed"

    attempt("ecc", lambda: pair.refine(IDENTITY, equalised=False))
    refined("clahe+ecc", "identity")
    attempt("clahe+phase", lambda: shift_by(shift_by_phase(pair.a, pair.b)[0]))
    refined("clahe+phase+ecc", "clahe+phase")
    angles = {key: settings[key] for key in ("max_rotation_deg", "rotation_step_deg")}
    attempt("clahe+angles", lambda: turn_by_phase(pair.a, pair.b, **angles))
    refined("clahe+angles+ecc", "clahe+angles")
    return found, failures


def _chance(pair, matrix):
    """Similarities where the images cannot fit, with the same pixels compared.

    Session b under `matrix` and a further shift in 16 ways, and session a's picture mirrored
    and turned upside down under shifts in 9 ways each. The shifts, by 10 to 20 % of the
    image, are further than cells are large, and near enough that most is still compared.
    """
    size = min(pair.a.shape)

    def shifts(fraction):
        angles = np.arange(8) * np.pi / 4
        return size * fraction * np.column_stack([np.cos(angles), np.sin(angles)])

    tries = [(pair.a, xy) for xy in np.vstack([shifts(0.1), shifts(0.2)])]
    for turned in (pair.a[:, ::-1], pair.a[::-1], pair.a[::-1, ::-1]):
        picture = np.ascontiguousarray(turned)
        tries += [(picture, xy) for xy in np.vstack([np.zeros((1, 2)), shifts(0.12)])]
    return np.array([pair.similarity(compose(matrix, shift_by(xy)), a=a) for a, xy in tries])


def align_images(mean_a, mean_b, *, settings):
    """Find the shift and rotation between the mean images of two sessions.

    Several ways to a transform are tried, and that under which the images are most similar
    is kept: identity; ECC from identity on the images as they are and with equal contrast;
    phase correlation alone and refined by ECC. Source: Allen, ophys_nway_matching.

    Where we differ: the edge is masked instead of cropped, so no transform has another
    origin, and images of any two sizes can be compared; similarity is that of the images
    with equal contrast, so that brightness does not enter, over the pixels that both show;
    two more candidates find rotations from which ECC does not find home; a transform that
    turns too far or leaves too little in common is no candidate; and the best is taken for
    an alignment only if it lies `min_score` standard deviations above similarities where the
    images cannot fit. Of seven transforms one is always the best;
    that says nothing where the two sessions do not show the same tissue.

    Parameters
    ----------
    mean_a, mean_b : float (height, width)
        Mean images, any unit, finite; the sizes may differ, the pixel size may not.
    settings : dict
        ``ophys.match_cells``.

    Returns
    -------
    Alignment
    """
    pair = _Pair(mean_a, mean_b, settings)
    found, failures = _candidates(pair)
    ssim = {name: pair.similarity(matrix) for name, matrix in found.items()}
    chosen = max(ssim, key=ssim.get)
    chance = _chance(pair, found[chosen])
    spread = chance.std()
    # images without any structure are alike at every shift
    score = float((ssim[chosen] - chance.mean()) / spread) if spread > 1e-6 else 0.0
    overlap = pair.overlap(found[chosen])
    return Alignment(
        matrix=found[chosen],
        chosen=chosen,
        ssim=ssim,
        failures=failures,
        chance_ssim=float(chance.max()),
        score=score,
        overlap=overlap,
        is_aligned=score >= settings["min_score"] and overlap >= settings["min_overlap"],
    )
