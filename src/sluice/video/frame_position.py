"""Whether a camera still looks where it looked: shifts of frames against a reference frame."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sluice.errors import InputError

# Samples are reduced by a whole factor to about this width.
SAMPLE_WIDTH_PX = 320
# Samples of which one median picture is made. An animal that moves is not in it.
GROUP_SAMPLES = 10
# The template is the reference without so much at each edge: what the camera may be off by.
MARGIN_FRACTION = 0.2
# A picture that differs less from pixel to pixel has nothing to be found by (grey levels).
MIN_CONTRAST = 2.0


@dataclass(frozen=True)
class Shifts:
    """Where pictures lie against a reference.

    Attributes
    ----------
    x_px, y_px : float64 array, shape (n_pictures,)
        Shift to the right and down of what is seen; NaN where picture or reference has no
        contrast.
    score : float64 array, shape (n_pictures,)
        Correlation of the template with the picture there, -1 to 1.
    """

    x_px: np.ndarray
    y_px: np.ndarray
    score: np.ndarray


class Samples:
    """Frames spread evenly over a video, made smaller, collected as its frames come in.

    Parameters
    ----------
    n_frames, width : int
        Of the video.
    n_samples : int
        Fewer where the video has fewer frames.

    Attributes
    ----------
    frames : int64 array, shape (n_samples,)
        Numbers of the frames.
    factor : int
        Pixels of the video along each side of one of these.
    """

    def __init__(self, n_frames, width, *, n_samples):
        self.frames = np.unique(np.linspace(0, n_frames - 1, n_samples).round().astype(np.int64))
        self.factor = max(1, round(width / SAMPLE_WIDTH_PX))
        self._pictures, self._histograms = [], []

    def add(self, start, frames):
        """Keep those of these frames that are samples.

        Parameters
        ----------
        start : int
            Number of the first one.
        frames : uint8 array, shape (n, height, width)
        """
        first, last = np.searchsorted(self.frames, (start, start + len(frames)))
        for i in self.frames[first:last] - start:
            self._pictures.append(reduce(frames[i], self.factor))
            self._histograms.append(histogram(frames[i]))

    @property
    def pictures(self):
        """uint8 array, shape (n_samples, height, width), reduced."""
        return np.array(self._pictures)

    @property
    def histograms(self):
        """float32 array, shape (n_samples, 256): pixels of each grey level."""
        return np.array(self._histograms)


def reduce(frame, factor):
    """Make a frame smaller: means of squares of `factor` pixels.

    Parameters
    ----------
    frame : uint8 array, shape (height, width)
    factor : int

    Returns
    -------
    uint8 array, shape (height // factor, width // factor), each side at least 1
        A copy. Rows and columns that fill no square are left out.
    """
    height, width = (max(1, side // factor) for side in frame.shape)
    whole = frame[: height * factor, : width * factor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def histogram(frame):
    """How many pixels have each grey level: float32, shape (256,)."""
    return cv2.calcHist([frame], [0], None, [256], [0, 256]).ravel()


def histogram_correlation(histograms, reference):
    """Correlation of histograms with that of a reference (IBL, `cv2.HISTCMP_CORREL`).

    Parameters
    ----------
    histograms : float32 array, shape (n, 256)
    reference : float32 array, shape (256,)

    Returns
    -------
    float64 array, shape (n,)
        -1 to 1.
    """
    return np.array([cv2.compareHist(one, reference, cv2.HISTCMP_CORREL) for one in histograms])


def group_pictures(pictures):
    """Median pictures of successive samples.

    Parameters
    ----------
    pictures : uint8 array, shape (n_samples, height, width)

    Returns
    -------
    middle : int64 array, shape (n_groups,)
        Number of the sample in the middle of each group.
    medians : uint8 array, shape (n_groups, height, width)
        Of `GROUP_SAMPLES` samples each; what is left over joins the last group.
    """
    n_groups = max(1, len(pictures) // GROUP_SAMPLES)
    starts = np.arange(n_groups) * GROUP_SAMPLES
    ends = np.append(starts[1:], len(pictures))
    medians = [np.median(pictures[a:b], axis=0) for a, b in zip(starts, ends, strict=True)]
    return (starts + ends - 1) // 2, np.array(medians).astype(np.uint8)


def first_with_contrast(pictures):
    """The first picture that shows something; the first of all where none does.

    Parameters
    ----------
    pictures : uint8 array, shape (n, height, width)

    Returns
    -------
    uint8 array, shape (height, width)
    """
    return next((one for one in pictures if one.std() >= MIN_CONTRAST), pictures[0])


def find_shifts(pictures, reference):
    """Shift of pictures against a reference.

    The middle of the reference is looked for in each picture by the normalised correlation of
    what is left without their means, so that light matters little (ibllib/qc/camera.py,
    find_face: `cv2.TM_CCOEFF_NORMED`). IBL looks for the face, whose place in its rigs is
    known, in single frames; here it is the middle three fifths, and the pictures are medians
    in which an animal that moves is not seen.

    Parameters
    ----------
    pictures : uint8 array, shape (n, height, width)
    reference : uint8 array, shape (height, width)

    Returns
    -------
    Shifts
        In whole pixels of these pictures, at most a fifth of height and of width.
    """
    height, width = reference.shape
    top, left = int(height * MARGIN_FRACTION), int(width * MARGIN_FRACTION)
    template = reference[top : height - top, left : width - left]
    found = np.full((3, len(pictures)), np.nan)
    for i, picture in enumerate(pictures):
        if min(template.std(), picture.std()) < MIN_CONTRAST:
            continue
        match = cv2.matchTemplate(picture, template, cv2.TM_CCOEFF_NORMED)
        _, score, _, (x, y) = cv2.minMaxLoc(match)
        found[:, i] = x - left, y - top, score
    return Shifts(*found)


def load_reference_frame(path, *, height, width, name):
    """Read a frame of a session in which the camera was placed well.

    Parameters
    ----------
    path : path
        An image (PNG, TIFF, JPEG), read as grey, or uint8 npy of shape (height, width).
    height, width : int
        Of the video.
    name : str
        How messages call the camera.

    Returns
    -------
    uint8 array, shape (height, width)

    Raises
    ------
    InputError
        It cannot be read, or has another size than the frames.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{name}: there is no reference frame {path}; correct its path under "
            "motion_energy.reference_frames, or take it out."
        )
    is_array = path.suffix == ".npy"
    image = np.load(path) if is_array else cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    expected = f"expected {width} x {height} px of 8 bits, as the frames of the video"
    if image is None:
        raise InputError(f"{name}: the reference frame {path} is not an image; {expected}.")
    if image.shape != (height, width) or image.dtype != np.uint8:
        raise InputError(
            f"{name}: the reference frame {path} is of shape {image.shape} and {image.dtype}; "
            f"{expected}. Take one from a video of this camera after compression."
        )
    return image
