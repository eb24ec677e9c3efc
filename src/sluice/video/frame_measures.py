"""What is measured of every frame of a video: brightness, change, focus.

Frames are 8-bit grey; everything is computed on them as they are, in OpenCV's integer kernels,
without a copy in another type. The sums are of integers and exact.
"""

import cv2
import numpy as np

# Of the gaussian that a frame is blurred by for its sharpness: standard deviation.
BLUR_PX = 2.0


def mean_difference(frame, before):
    """Mean absolute difference of two frames.

    Parameters
    ----------
    frame, before : uint8 array, shape (height, width)

    Returns
    -------
    float
        Grey levels, 0 to 255.
    """
    return cv2.norm(frame, before, cv2.NORM_L1) / frame.size


def brightness(frame):
    """Mean and standard deviation of the pixels of a frame.

    Parameters
    ----------
    frame : uint8 array, shape (height, width)

    Returns
    -------
    tuple of float
        Grey levels.
    """
    mean, std = cv2.meanStdDev(frame)
    return mean.item(), std.item()


def focus(frame):
    """IBL's measure of focus: variance of the Laplacian after the histogram is made equal.

    ibllib/qc/camera.py, check_focus: the Laplacian of four neighbours, the histogram equalised so
    that little light does not pass for little focus. IBL takes the part of the frame that looks
    most like the face of its reference; here it is the whole frame. It depends on what is seen:
    a mouse on an empty floor has a third of what IBL asks for, well in focus.

    Parameters
    ----------
    frame : uint8 array, shape (height, width)

    Returns
    -------
    float
        Grey levels squared; 0 for a frame without contrast.
    """
    return _laplacian_variance(cv2.equalizeHist(frame))


def sharpness(frame):
    """How much sharper a frame is than when it is blurred.

    Variance of the Laplacian over that of the same frame blurred by a gaussian of 2 px. What is
    already blurred by so much loses little, whatever is seen; light matters only where there is
    so little that rounding does. A frame in focus has 5 to 200, one blurred over 5 px 1.5 to 6,
    over 15 px less than 2. Noise counts as sharpness, and compression takes sharpness away.

    Parameters
    ----------
    frame : uint8 array, shape (height, width)

    Returns
    -------
    float
        1 or more as a rule; NaN for a frame without contrast.
    """
    # both are rounded to whole grey levels, so that rounding does not pass for sharpness
    blurred = _laplacian_variance(cv2.GaussianBlur(frame, (0, 0), BLUR_PX))
    return _laplacian_variance(frame) / blurred if blurred > 0 else np.nan


def _laplacian_variance(frame):
    second = cv2.Laplacian(frame, cv2.CV_16S, ksize=1)
    return cv2.meanStdDev(second)[1].item() ** 2


def cut(frame, region):
    """The part of a frame within a region.

    Parameters
    ----------
    frame : array, shape (height, width)
    region : sequence of int, or None
        x, y, width, height (px); None is the whole frame.

    Returns
    -------
    array
        A view.
    """
    if region is None:
        return frame
    x, y, columns, rows = region
    return frame[y : y + rows, x : x + columns]


class FrameMeasures:
    """Measures of each frame of a video, collected as its frames come in.

    Parameters
    ----------
    n_frames : int
    region : sequence of int, or None
        x, y, width, height (px) within the frame; None is the whole.
    wheel_region : sequence of int, or None
        The same, of the part in which the wheel or the paws on it move; None: not measured.
    focus_step : int
        Focus and sharpness are measured in every so many frames, from the first.

    Attributes
    ----------
    mean, std : float64 array, shape (n_frames,)
        Of the grey levels of a frame.
    energy, region_energy, wheel_energy : float64 array, shape (n_frames,)
        Mean absolute difference of a frame from the *next* one (grey levels, 0 to 255), of the
        whole frame, the region and the wheel's; NaN in the last frame, which has no next one.
    focus, sharpness : float64 array, shape (n_frames,)
        See the functions; NaN in frames between.
    """

    def __init__(self, n_frames, *, region, wheel_region=None, focus_step):
        self.region, self.wheel_region, self.focus_step = region, wheel_region, focus_step
        names = ("mean", "std", "energy", "region_energy", "wheel_energy")
        names += ("focus", "sharpness")
        for name in names:
            setattr(self, name, np.full(n_frames, np.nan))
        self._before = None

    def add(self, start, frames):
        """Measure frames that follow those that were measured before.

        Parameters
        ----------
        start : int
            Number of the first one.
        frames : uint8 array, shape (n, height, width)
        """
        for i, frame in enumerate(frames, start):
            self.mean[i], self.std[i] = brightness(frame)
            if i % self.focus_step == 0:
                self.focus[i], self.sharpness[i] = focus(frame), sharpness(frame)
            if i:
                self._compare(i - 1, frame, self._before if i == start else frames[i - start - 1])
        # the array is filled with other frames before the next call
        self._before = frames[-1].copy()

    def _compare(self, i, frame, before):
        """Measure the change from frame i to the next one."""
        self.energy[i] = mean_difference(frame, before)
        self.region_energy[i] = (
            self.energy[i]
            if self.region is None
            else mean_difference(cut(frame, self.region), cut(before, self.region))
        )
        if self.wheel_region is not None:
            self.wheel_energy[i] = mean_difference(
                cut(frame, self.wheel_region), cut(before, self.wheel_region)
            )
