"""A made-up field of view seen in several sessions: the truth for matching cells."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from sluice.ophys.masks import make_masks


@dataclass(frozen=True)
class ImagedSession:
    """One session: its mean image, its ROIs in random order, and which cell each one is."""

    mean: np.ndarray
    masks: object
    xy_px: np.ndarray
    cells: np.ndarray
    to_tissue: np.ndarray


class Tissue:
    """Cells that lie where they lie, and the texture behind them."""

    def __init__(self, seed, *, size_px, n_cells, margin_px=60, radius_px=(4.5, 7.0)):
        rng = np.random.default_rng(seed)
        self.seed, self.size_px, self.margin_px = seed, size_px, margin_px
        full = size_px + 2 * margin_px
        texture = sum(gaussian_filter(rng.standard_normal((full, full)), s) * s for s in (3, 8, 25))
        self.texture = texture / texture.std()
        n_wanted = round(n_cells * (full / size_px) ** 2)
        xy = []
        while len(xy) < n_wanted:
            one = rng.uniform(-margin_px, size_px + margin_px, 2)
            if all(np.hypot(*(one - other)) > 1.6 * radius_px[0] for other in xy):
                xy.append(one)
        self.xy_px = np.array(xy)
        self.radius_px = rng.uniform(*radius_px, (n_wanted, 2))
        self.brightness = rng.uniform(0.5, 2.0, n_wanted)

    def session(
        self,
        number,
        *,
        shift_px=(0.0, 0.0),
        rotation_deg=0.0,
        gain=1.0,
        offset=0.0,
        missing=0.1,
        height=None,
        width=None,
        noise=0.1,
        jitter_px=0.4,
    ):
        """Image the tissue: `shift_px` (x, y) and a rotation about the middle of the tissue."""
        rng = np.random.default_rng([self.seed, number])
        height, width = height or self.size_px, width or self.size_px
        angle, middle = np.deg2rad(rotation_deg), (self.size_px - 1) / 2
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # pixel of the frame -> place in the tissue
        to_tissue = np.column_stack([turn, middle + np.asarray(shift_px) - turn @ [middle, middle]])
        y, x = np.mgrid[:height, :width].astype(float)
        tissue_x, tissue_y = (row[0] * x + row[1] * y + row[2] for row in to_tissue)
        # structure of the tissue, noise of the recording
        image = 3 + map_coordinates(
            self.texture, [tissue_y + self.margin_px, tissue_x + self.margin_px], order=1
        )
        present = rng.random(len(self.xy_px)) >= missing
        pixels, cells = [], []
        for cell in rng.permutation(np.flatnonzero(present)):
            dx = (tissue_x - self.xy_px[cell, 0]) / self.radius_px[cell, 0]
            dy = (tissue_y - self.xy_px[cell, 1]) / self.radius_px[cell, 1]
            distance = np.hypot(dx, dy)
            # a ring with a darker nucleus, as an indicator in the cytoplasm gives
            brightness = self.brightness[cell] * rng.uniform(0.7, 1.4)
            image += 2 * brightness * np.exp(-(((distance - 0.6) / 0.4) ** 2))
            # the ROI that a segmentation finds is never quite the same
            shift = rng.normal(0, jitter_px, 2) / self.radius_px[cell]
            found = np.hypot(dx - shift[0], dy - shift[1]) < rng.uniform(0.85, 1.1)
            if found.sum() >= 30:
                rows, columns = np.nonzero(found)
                pixels.append((rows, columns, np.ones(len(rows))))
                cells.append(cell)
        image = gain * (image + noise * rng.standard_normal(image.shape)) + offset
        xy = np.array([[np.mean(c), np.mean(r)] for r, c, _ in pixels]).reshape(-1, 2)
        masks = make_masks(pixels, height, width)
        return ImagedSession(image.astype(np.float32), masks, xy, np.array(cells, int), to_tissue)


def true_matrix(a, b):
    """Matrix (2, 3) that brings (x, y) of session `a` to the same place in session `b`."""
    square_a, square_b = (np.vstack([s.to_tissue, [0, 0, 1]]) for s in (a, b))
    return (np.linalg.inv(square_b) @ square_a)[:2]


def largest_error_px(found, true, height, width):
    """How far two transforms differ at most within a frame (px)."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1.0]]).T
    return np.hypot(*((np.asarray(found) - true) @ corners)).max()
