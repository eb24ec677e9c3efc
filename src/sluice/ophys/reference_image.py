"""The image that frames are registered to."""

import numpy as np

from sluice.ophys.registration import make_registrar

N_ITERATIONS = 8
N_SEED = 20
BATCH = 50


def first_reference(frames):
    """Mean of the frame that is most like its nearest others, and of those.

    Of each frame the 20 best correlated others are looked up; the frame for which their mean
    correlation is greatest is averaged with its own 20 (suite2p, pick_initial_reference).

    Parameters
    ----------
    frames : int16 array, shape (n_frames, height, width)
        Two or more.

    Returns
    -------
    float32 array, shape (height, width)
    """
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    flat /= np.where(norm > 0, norm, 1)[:, None]
    alike = flat @ flat.T
    n = min(N_SEED, len(frames))
    np.fill_diagonal(alike, np.inf)
    best = -np.sort(-alike, axis=1)[:, 1:n]
    seed = best.mean(axis=1).argmax()
    chosen = np.argsort(-alike[seed], kind="stable")[:n]
    return frames[chosen].mean(axis=0, dtype=np.float64).astype(np.float32)


def make_reference(frames, *, settings, device):
    """Average frames to a reference image while they are aligned to it.

    Eight times all frames are registered rigidly to the image so far, and the best correlated
    of them, 1/16 of all at first and 1/2 at last, are averaged (suite2p, compute_reference),
    where the mean shift of those is taken out so that the image stays in the middle. As in
    Allen's ophys_etl, pixels that a frame has not seen do not enter its mean.

    suite2p's function ranks frames by the correlations of its last batch alone and applies
    them to the first one, moves frames again in every iteration so that edges wrap around,
    and rounds the image to whole numbers; so it is not called.

    Parameters
    ----------
    frames : int16 array, shape (n_frames, height, width)
        Stored values; 10 or more, none missing.
    settings : dict
        ``ophys.register_plane``.
    device : str

    Returns
    -------
    float32 array, shape (height, width)
    """
    reference = first_reference(frames)
    plain = {**settings, "clip_intensity": False}
    for i in range(N_ITERATIONS):
        registrar = make_registrar(reference, settings=plain, device=device, blocks_px=None)
        found = [registrar.rigid(frames[k : k + BATCH]) for k in range(0, len(frames), BATCH)]
        shifts_px = np.concatenate([f[0] for f in found])
        correlation = np.concatenate([f[1] for f in found])
        n = max(2, len(frames) * (1 + i) // (2 * N_ITERATIONS))
        chosen = np.argsort(-correlation, kind="stable")[:n]
        centre = np.rint(shifts_px[chosen].mean(axis=0)).astype(int)
        reference = _mean_of_moved(frames[chosen], shifts_px[chosen] - centre)
    return reference


def _mean_of_moved(frames, shifts_px):
    """Mean of frames moved back by their shifts, of each pixel over those that have seen it."""
    _, height, width = frames.shape
    total = np.zeros((height, width))
    count = np.zeros((height, width))
    for frame, (y, x) in zip(frames, shifts_px, strict=True):
        # row p of the moved frame is row p + y of the frame
        to = slice(max(0, -y), height - max(0, y)), slice(max(0, -x), width - max(0, x))
        of = slice(max(0, y), height + min(0, y)), slice(max(0, x), width + min(0, x))
        total[to] += frame[of]
        count[to] += 1
    unseen = count == 0
    total[unseen], count[unseen] = frames.mean(), 1
    return (total / count).astype(np.float32)
