"""How well a registered movie stands still, measured on the movie itself."""

import numpy as np
from scipy.ndimage import gaussian_filter


def residual_shifts(images, reference, *, highpass_px=8.0):
    """Shift of each image from the reference, to a twentieth of a pixel.

    Cross-correlation of the images without what is smooth over `highpass_px` (neuropil and
    illumination) under a Hann window, its peak refined by upsampling (scikit-image,
    phase_cross_correlation without normalisation). suite2p's own measure (regDX, on principal
    components) needs 1500 frames; this one works on any movie.

    Parameters
    ----------
    images : float32 array, shape (n_images, height, width)
        Means over parts of the registered movie.
    reference : float32 array, shape (height, width)
        Mean of the registered movie.
    highpass_px : float
        Standard deviation of the Gaussian that is subtracted.

    Returns
    -------
    float64 array, shape (n_images, 2)
        y, x (px): how far the content of the image lies from its place in the reference.
    """
    from skimage.registration import phase_cross_correlation

    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in reference.shape))

    def prepare(image):
        return (image - gaussian_filter(image, highpass_px, mode="nearest")) * window

    target = prepare(reference)
    shifts = np.zeros((len(images), 2))
    for i, image in enumerate(images):
        moved = prepare(image)
        if target.any() and moved.any():
            found, _, _ = phase_cross_correlation(
                target, moved, upsample_factor=20, normalization=None
            )
            shifts[i] = -found
    return shifts


def crispness(image, *, smooth_px=1.5):
    """Norm of the gradient of an image: the sharper the larger (AIND, movie QC).

    The image is smoothed first: the gradient of a mean of few frames is mostly noise, which
    the interpolation of frames takes away, so that the ratio of two movies would speak of that.

    Parameters
    ----------
    image : float array, shape (height, width)
    smooth_px : float
        Standard deviation of the Gaussian.

    Returns
    -------
    float or None
        None where the image is less than 2 px high or wide and has no gradient.
    """
    if min(image.shape) < 2:
        return None
    smooth = gaussian_filter(image.astype(np.float64), smooth_px, mode="nearest")
    return float(np.sqrt(sum(np.sum(g**2) for g in np.gradient(smooth))))
