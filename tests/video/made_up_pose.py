"""Tables of keypoints made up for tests."""

import numpy as np
import pandas as pd

from sluice.qc import load_checks
from sluice.video.pose import columns_of


def pose_table(points, xy, likelihood):
    """Table of points from positions (n_frames, n_points, 2) and likelihoods."""
    values = np.concatenate([xy, np.asarray(likelihood)[..., None]], axis=2)
    return pd.DataFrame(values.reshape(len(xy), 3 * len(points)), columns=columns_of(points))


def seen(xy, likelihood, least=0.9):
    """Positions, NaN where they are not likely."""
    return np.where((likelihood >= least)[..., None], xy, np.nan)


def on_ellipse(center, axes, phi, angles):
    """Points of an ellipse, shape (n_points, 2)."""
    x, y = axes[0] * np.cos(angles), axes[1] * np.sin(angles)
    return np.stack(
        [
            center[0] + x * np.cos(phi) - y * np.sin(phi),
            center[1] + x * np.sin(phi) + y * np.cos(phi),
        ],
        axis=-1,
    )


def checks_of(path):
    return {one.name: one for one in load_checks(path)}
