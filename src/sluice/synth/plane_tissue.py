"""Made-up cortical tissue around one imaging plane: cells, neuropil, and what lies deeper."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates

from sluice.errors import UserError

# Axial spread (standard deviation) of a cell's light: a soma of about 12 µm under a two-photon
# microscope's point spread function.
AXIAL_SD_UM = 7.0
# A pixel belongs to the ROI of a cell where the cell's shape is at least this.
ROI_LEVEL = 0.5
# Neuropil is displaced wherever a cell's shape is above this, its soft edge included.
_DISPLACED_LEVEL = 0.1
_SOFTNESS_PX = 0.5
_NUCLEUS = 0.4
_N_TEXTURES = 8
_TEXTURE_SD = 0.12
_RING_PX = (3, 8)
_SEEN_PX = 8.0


@dataclass(frozen=True)
class Cell:
    """One soma, in tissue coordinates: pixels from the middle of the field, and depth.

    Attributes
    ----------
    cell_id : int
        Identity of the cell, the same in every session that shows it.
    y_px, x_px : float
        Centre; y downwards, x to the right.
    z_um : float
        Depth below the plane.
    radius_y_px, radius_x_px, angle : float
        Half axes of the ellipse, and its rotation (radians, from x towards y).
    is_donut : bool
        Whether the nucleus is dimmer than the rest.
    photons : float
        Light at rest, photons per pixel and frame where the shape is 1.
    """

    cell_id: int
    y_px: float
    x_px: float
    z_um: float
    radius_y_px: float
    radius_x_px: float
    angle: float
    is_donut: bool
    photons: float

    @property
    def reach_px(self):
        """Distance from the centre beyond which the shape is 0."""
        return max(self.radius_y_px, self.radius_x_px) + 3


@dataclass(frozen=True)
class Pose:
    """Where the microscope looks: the tissue's content turned about the middle, then shifted.

    Attributes
    ----------
    shift_px : (float, float)
        How far the content lies from its place, y and x.
    rotation_deg : float
        From x towards y, that is clockwise on the screen.
    """

    shift_px: tuple = (0.0, 0.0)
    rotation_deg: float = 0.0

    def to_image(self, y_px, x_px):
        """Turn tissue coordinates into pixels from the middle of the field."""
        cos, sin = _turn(self.rotation_deg)
        return (
            cos * y_px + sin * x_px + self.shift_px[0],
            cos * x_px - sin * y_px + self.shift_px[1],
        )

    def to_tissue(self, y_px, x_px):
        """Turn pixels from the middle of the field into tissue coordinates."""
        cos, sin = _turn(self.rotation_deg)
        y_px, x_px = y_px - self.shift_px[0], x_px - self.shift_px[1]
        return cos * y_px - sin * x_px, cos * x_px + sin * y_px


@dataclass(frozen=True)
class Tissue:
    """Everything that stays the same from session to session.

    Attributes
    ----------
    cells : tuple of Cell
        Cells of the plane (depth about 0), active.
    deep_cells : tuple of Cell
        Cells at least 20 µm above or below, without activity.
    textures : float32 array, shape (n_textures, side, side)
        Random fields of unit variance and 1.5 px grain, the middle of the field at
        ``(side - 1) / 2``.
    periods_um, phases : float array, shape (n_textures,)
        How each field's weight goes through depth: a cosine.
    """

    cells: tuple
    deep_cells: tuple
    textures: np.ndarray
    periods_um: np.ndarray
    phases: np.ndarray

    def texture(self, z_um, pose, shape):
        """Fine structure of the neuropil at one depth, float32 of `shape`, mean about 0."""
        weights = np.cos(2 * np.pi * z_um / self.periods_um + self.phases)
        field = np.zeros(self.textures.shape[1:], np.float32)
        for weight, texture in zip(weights, self.textures, strict=True):
            field += np.float32(weight) * texture
        y_px, x_px = pose.to_tissue(*_grid(shape))
        middle = (self.textures.shape[1] - 1) / 2
        # the fields are grained over 1.5 px, which a cubic spline reads without loss
        sampled = map_coordinates(field, [y_px + middle, x_px + middle], order=3, mode="wrap")
        return (_TEXTURE_SD * np.sqrt(2 / _N_TEXTURES) * sampled).astype(np.float32)


def make_tissue(rng, *, height, width, n_cells, n_overlapping_pairs, cell_photons, edge_px):
    """Grow tissue around a plane.

    Parameters
    ----------
    rng : Generator
    height, width : int
        Field of view in pixels.
    n_cells, n_overlapping_pairs : int
        Cells of the plane, and how many pairs of them overlap.
    cell_photons : (float, float)
        Range of the light at rest.
    edge_px : float
        Least distance of a cell's centre from the edge of the field.

    Returns
    -------
    Tissue

    Raises
    ------
    UserError
        The cells do not fit.
    """
    if 2 * n_overlapping_pairs > n_cells:
        n_overlapping_pairs = n_cells // 2
    cells = place_cells(
        rng,
        [],
        n_cells - n_overlapping_pairs,
        first_id=0,
        height=height,
        width=width,
        cell_photons=cell_photons,
        edge_px=edge_px,
    )
    for k in range(n_overlapping_pairs):
        cells.append(_neighbour(rng, cells, cells[k], len(cells), height, width, edge_px))
    deep = []
    for _ in range(max(8, height * width // 800)):
        cell = _draw_cell(rng, -1, height, width, cell_photons, edge_px=-10)
        z_um = rng.choice([-1, 1]) * rng.uniform(20, 50)
        deep.append(replace(cell, z_um=float(z_um)))
    side = int(np.ceil(np.hypot(height, width))) + 64
    textures = np.empty((_N_TEXTURES, side, side), np.float32)
    for texture in textures:
        smooth = gaussian_filter(rng.standard_normal((side, side)), 1.5, mode="wrap")
        texture[:] = smooth / smooth.std()
    periods_um = rng.uniform(25, 70, _N_TEXTURES)
    phases = rng.uniform(0, 2 * np.pi, _N_TEXTURES)
    return Tissue(tuple(cells), tuple(deep), textures, periods_um, phases)


def place_cells(rng, taken, n, *, first_id, height, width, cell_photons, edge_px):
    """Draw cells that touch neither each other nor those there.

    Parameters
    ----------
    rng : Generator
    taken : sequence of Cell
    n : int
    first_id : int
        Identity of the first; the others count on.
    height, width, cell_photons, edge_px
        See `make_tissue`.

    Returns
    -------
    list of Cell
        The new ones.
    """
    cells = []
    # dart throwing; the gap asked for shrinks where the field is full
    for gap_px in (5.0, 3.0, 2.0, 1.0):
        for _ in range(400 * max(n, 1)):
            if len(cells) == n:
                return cells
            cell = _draw_cell(rng, first_id + len(cells), height, width, cell_photons, edge_px)
            if _is_free(cell, [*taken, *cells], gap_px):
                cells.append(cell)
    if len(cells) == n:
        return cells
    raise UserError(
        f"{n} cells do not fit into {height} x {width} px beside {len(taken)} others: ask for "
        "fewer cells or a larger field"
    )


def cell_patch(cell, pose, shape):
    """Draw a cell's shape, only as far as it reaches.

    Parameters
    ----------
    cell : Cell
    pose : Pose
    shape : (int, int)
        Rows and columns of the image; its middle is the middle of the field.

    Returns
    -------
    window : (slice, slice)
        Rows and columns of the image.
    patch : float32 array, shape of the window
        0 outside the cell, 1 in the cytoplasm, 0.6 in a donut's nucleus, soft at the edge.
    """
    centre = pose.to_image(cell.y_px, cell.x_px)
    axes, window = [], []
    for c, n in zip(centre, shape, strict=True):
        middle = (n - 1) / 2
        first = min(max(int(np.floor(c + middle - cell.reach_px)), 0), n)
        stop = min(max(int(np.ceil(c + middle + cell.reach_px)) + 1, first), n)
        window.append(slice(first, stop))
        axes.append(np.arange(first, stop) - middle - c)
    dy, dx = np.meshgrid(*axes, indexing="ij")
    cos, sin = _turn(np.rad2deg(cell.angle) + pose.rotation_deg)
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    radius = np.sqrt(cell.radius_y_px * cell.radius_x_px)
    rho = np.hypot(along / cell.radius_x_px, across / cell.radius_y_px)
    patch = _edge((1 - rho) * radius / _SOFTNESS_PX)
    if cell.is_donut:
        patch *= 1 - _NUCLEUS * _edge((0.5 - rho) * radius / _SOFTNESS_PX)
    patch[patch < 0.02] = 0
    return tuple(window), patch.astype(np.float32)


def displacement(patches, shape):
    """How much of each pixel is taken by cells: 1 over every cell, 0 away from all.

    Parameters
    ----------
    patches : list of (window, patch)
        See `cell_patch`.
    shape : (int, int)

    Returns
    -------
    float32 array of that shape
    """
    highest = np.zeros(shape, np.float32)
    for window, patch in patches:
        highest[window] = np.maximum(highest[window], patch)
    return np.minimum(highest / np.float32(_DISPLACED_LEVEL), 1)


def is_in_field(cell, pose, shape):
    """Whether a cell's centre lies in the field and at least 8 px from its edge."""
    position = pose.to_image(cell.y_px, cell.x_px)
    return all(abs(c) <= n / 2 - _SEEN_PX for c, n in zip(position, shape, strict=True))


def ring(shape, any_cell):
    """Pixels of the ring around a cell that belong to no cell.

    Parameters
    ----------
    shape : float32 array, shape (rows, columns)
        The cell's shape.
    any_cell : bool array, shape (rows, columns)
        Pixels where any cell's shape is above 0.

    Returns
    -------
    bool array, shape (rows, columns)
        From 3 to 8 px outside the cell's pixels.
    """
    pixels = shape >= ROI_LEVEL
    if not pixels.any():
        return pixels
    inner, outer = (binary_dilation(pixels, iterations=n) for n in _RING_PX)
    return outer & ~inner & ~any_cell


def axial(z_um):
    """Light that comes through from a distance along the depth, relative to none."""
    return np.exp(-0.5 * (np.asarray(z_um) / AXIAL_SD_UM) ** 2)


def _draw_cell(rng, cell_id, height, width, cell_photons, edge_px):
    spread_y, spread_x = (max(side / 2 - edge_px, 0) for side in (height, width))
    return Cell(
        cell_id=cell_id,
        y_px=float(rng.uniform(-spread_y, spread_y)),
        x_px=float(rng.uniform(-spread_x, spread_x)),
        z_um=0.0,
        radius_y_px=float(rng.uniform(5.0, 6.0)),
        radius_x_px=float(rng.uniform(5.5, 7.0)),
        angle=float(rng.uniform(0, np.pi)),
        is_donut=bool(rng.random() < 0.5),
        photons=float(rng.uniform(*cell_photons)),
    )


def _neighbour(rng, cells, partner, cell_id, height, width, edge_px):
    """Draw a cell that overlaps `partner`, by a tenth to a quarter, and no other cell."""
    others = [cell for cell in cells if cell is not partner]
    for _ in range(2000):
        drawn = _draw_cell(rng, cell_id, height, width, (partner.photons, partner.photons), edge_px)
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(7.5, 9.0)
        cell = replace(
            drawn,
            y_px=partner.y_px + float(distance * np.sin(angle)),
            x_px=partner.x_px + float(distance * np.cos(angle)),
        )
        inside = abs(cell.y_px) <= height / 2 - edge_px and abs(cell.x_px) <= width / 2 - edge_px
        if inside and _is_free(cell, others, 0.0):
            return cell
    raise UserError("no room for an overlapping cell: ask for fewer cells or a larger field")


def _is_free(cell, others, gap_px):
    return all(
        np.hypot(cell.y_px - other.y_px, cell.x_px - other.x_px)
        >= max(cell.radius_y_px, cell.radius_x_px)
        + max(other.radius_y_px, other.radius_x_px)
        + gap_px
        for other in others
    )


def _edge(x):
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


def _turn(degrees):
    angle = np.deg2rad(degrees)
    return np.cos(angle), np.sin(angle)


def _grid(shape):
    """Rows and columns of an image, counted from its middle."""
    return np.meshgrid(
        np.arange(shape[0]) - (shape[0] - 1) / 2,
        np.arange(shape[1]) - (shape[1] - 1) / 2,
        indexing="ij",
    )
