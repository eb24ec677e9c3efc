"""Made-up two-photon movies of one imaging plane, of which everything is known."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sluice.synth import plane_activity, plane_canvas, plane_tissue
from sluice.synth.plane_light import record, render_light
from sluice.synth.plane_settings import PlaneSettings, validate

_CHUNK_FRAMES = 100
# The canvas is larger than the field by the largest shift and the reach of the interpolation.
_MARGIN_PX = 4
# purposes of random numbers
_TISSUE, _ACTIVITY, _MOTION, _NOISE, _STACK, _SESSION, _NEUROPIL = range(7)


@dataclass(frozen=True)
class PlaneScene:
    """A made-up imaging plane during one session; see `make_scene`.

    Attributes
    ----------
    settings : PlaneSettings
    tissue : Tissue
        What the microscope could see; shared by sessions.
    pose : Pose
        Where the tissue's content lies in this session.
    cells : tuple of Cell
        Cells of the field, in the order of everything below.
    cell_ids : int64 array, shape (n_cells,)
        Identity of the cells, the same in every session.
    masks : float32 array, shape (n_cells, height, width)
        Shape of each cell where no shift moved it; 1 in the cytoplasm. The cell's pixels are
        those >= 0.5.
    centres_px : float64 array, shape (n_cells, 2)
        y and x; (0, 0) is the middle of the first pixel.
    brightness : float64 array, shape (n_cells,)
        Light at rest, photons per pixel and frame where the mask is 1.
    dff : float32 array, shape (n_cells, n_frames)
        (F - F0) / F0 of the cell's own light.
    event_frames : tuple of int64 array
        Of each cell, ascending: frame of the onset, and of the peak if the rise is shorter.
    event_amplitudes : tuple of float64 array
        Peak of each event, dF/F.
    neuropil : float32 array, shape (n_frames, n_modes)
        Relative change of the neuropil: of the whole field, then of regions.
    shifts_px : float64 array, shape (n_frames, 2)
        y and x: how far the content lies from its place, + is lower and to the right.
    shear_px : float64 array, shape (n_frames, 2)
        See `row_shifts`.
    z_um : float64 array, shape (n_frames,)
    factor : float32 array, shape (n_frames,)
        All light is multiplied by it: bleaching, steps, epilepsy.
    epileptic_frames : int64 array
        Peaks of the events of the whole field.
    """

    settings: PlaneSettings
    tissue: plane_tissue.Tissue = field(repr=False)
    pose: plane_tissue.Pose
    cells: tuple = field(repr=False)
    cell_ids: np.ndarray
    masks: np.ndarray = field(repr=False)
    centres_px: np.ndarray = field(repr=False)
    brightness: np.ndarray = field(repr=False)
    dff: np.ndarray = field(repr=False)
    event_frames: tuple = field(repr=False)
    event_amplitudes: tuple = field(repr=False)
    neuropil: np.ndarray = field(repr=False)
    shifts_px: np.ndarray = field(repr=False)
    shear_px: np.ndarray = field(repr=False)
    z_um: np.ndarray = field(repr=False)
    factor: np.ndarray = field(repr=False)
    epileptic_frames: np.ndarray = field(repr=False)

    @property
    def n_cells(self):
        """Cells of the field."""
        return len(self.cells)

    @property
    def n_frames(self):
        """Frames of the movie."""
        return self.settings.n_frames

    @property
    def height(self):
        """Rows of a frame."""
        return self.settings.height

    @property
    def width(self):
        """Columns of a frame."""
        return self.settings.width

    @property
    def shape(self):
        """(n_frames, height, width)."""
        return self.n_frames, self.height, self.width

    @property
    def sampling_rate_hz(self):
        """Frames a second."""
        return self.settings.sampling_rate_hz

    @property
    def neuropil_r(self):
        """Part of the neuropil's light that is there over a cell."""
        return self.settings.neuropil_r

    def frames(self, start=0, stop=None):
        """Record frames, the same bytes however the movie is cut.

        Parameters
        ----------
        start, stop : int
            Frames from start to before stop; all from the first on.

        Returns
        -------
        array of ``settings.dtype``, shape (stop - start, height, width)
        """
        settings = self.settings
        stop = self.n_frames if stop is None else min(stop, self.n_frames)
        out = np.empty((max(stop - start, 0), self.height, self.width), settings.dtype)
        for first in range(start, stop, _CHUNK_FRAMES):
            light = self.light(first, min(first + _CHUNK_FRAMES, stop))
            for k, image in enumerate(light):
                rng = settings.rng(_NOISE, first + k)
                out[first - start + k] = record(image, settings, rng)
        missing = [t - start for t in settings.missing_frames if start <= t < stop]
        out[missing] = 0
        return out

    def light(self, start=0, stop=None):
        """Expected photons of each pixel: the movie without noise or blank frames.

        Parameters
        ----------
        start, stop : int

        Returns
        -------
        float32 array, shape (stop - start, height, width)
        """
        out = self.own_light(start, stop)
        if self.settings.crosstalk is not None:
            other, alpha = self.settings.crosstalk
            out += np.float32(alpha) * other.own_light(start, stop)
        return out

    def own_light(self, start=0, stop=None):
        """Like `light`, without what leaks in from another plane."""
        stop = self.n_frames if stop is None else min(stop, self.n_frames)
        span = slice(start, stop)
        out = np.empty((max(stop - start, 0), self.height, self.width), np.float32)
        canvas = self._canvas
        level = (self.z_um[span] - canvas.first_z_um) / canvas.z_step_um
        whole = np.clip(np.floor(level), 0, len(canvas.levels) - 1).astype(np.int64)
        depth = np.array([cell.z_um for cell in self.cells])
        dimming = plane_tissue.axial(self.z_um[span, None] - depth)
        cell_light = self.brightness * (1 + self.dff.T[span]) * dimming
        shift_y, shift_x = self.row_shifts(start, stop)
        render_light(
            canvas.levels,
            whole,
            (level - whole).astype(np.float32),
            canvas.modes,
            np.ascontiguousarray(self.neuropil[span]),
            canvas.indptr,
            canvas.pixels,
            canvas.weights,
            cell_light.astype(np.float32),
            self.factor[span],
            shift_y,
            shift_x,
            out,
        )
        return out

    def with_crosstalk(self, other, alpha):
        """Add part of another plane's own light to this one's.

        Parameters
        ----------
        other : PlaneScene
            Recorded simultaneously. What leaks into it is not passed on.
        alpha : float

        Returns
        -------
        PlaneScene
        """
        settings = replace(self.settings, crosstalk=(other, alpha))
        validate(settings)
        return replace(self, settings=settings)

    def moving_like(self, other):
        """The same plane, moved as another one of as many frames that is imaged with it."""
        return replace(self, shifts_px=other.shifts_px, shear_px=other.shear_px)

    def row_shifts(self, start=0, stop=None):
        """How far each row's content lies from its place: the shift and the shear.

        Returns
        -------
        shift_y, shift_x : float64 array, shape (n_frames, height)
            ``shifts_px + shear_px * sin(2 pi row / height)``.
        """
        wave = np.sin(2 * np.pi * (np.arange(self.height) + 0.5) / self.height)
        shifts, shear = self.shifts_px[start:stop], self.shear_px[start:stop]
        return tuple(shifts[:, k, None] + shear[:, k, None] * wave for k in range(2))

    def neuropil_light(self):
        """Light of the neuropil around each cell, before the brightness of the whole field.

        Returns
        -------
        float64 array, shape (n_cells, n_frames)
            Photons per pixel: the mean over a ring from 3 to 8 px outside the cell's pixels,
            without those of other cells, where no shift moved it.
        """
        canvas = plane_canvas.make_canvas(
            self.settings, self.tissue, self.pose, self.cells, [0.0], pad=0
        )
        any_cell = self.masks.any(axis=0)
        out = np.empty((self.n_cells, self.n_frames))
        for trace, mask in zip(out, self.masks, strict=True):
            ring = plane_tissue.ring(mask, any_cell)
            trace[:] = canvas.levels[0][ring].mean()
            trace += self.neuropil @ canvas.modes[:, ring].mean(axis=1)
        return out

    def z_stack(self, n_planes=41, step_um=1.0, n_average=50):
        """Record a z-stack around the plane, as it is made before the session.

        Parameters
        ----------
        n_planes : int
            Odd, so that the middle one lies in the plane.
        step_um : float
            From one plane to the next, deeper one.
        n_average : int
            Frames averaged for each plane; the tissue does not move during them.

        Returns
        -------
        float32 array, shape (n_planes, height, width)
            Recorded values.
        """
        z_um = (np.arange(n_planes) - (n_planes - 1) // 2) * step_um
        canvas = plane_canvas.make_canvas(
            self.settings, self.tissue, self.pose, self.cells, z_um, pad=0
        )
        depth = np.array([cell.z_um for cell in self.cells])
        dimming = plane_tissue.axial(z_um[:, None] - depth)
        cell_light = self.brightness * (1 + self.dff.mean(axis=1)) * dimming
        light = canvas.levels + np.tensordot(cell_light.astype(np.float32), self.masks, 1)
        rng = self.settings.rng(_STACK)
        photons = rng.poisson(np.maximum(light, 0) * n_average) / n_average
        value = photons * self.settings.photon_gain + self.settings.offset
        return np.minimum(value, self.settings.ceiling).astype(np.float32)

    def second_session(self, seed, *, shift_px=(0.0, 0.0), rotation_deg=0.0, n_gone=0, n_new=0):
        """See the same tissue again on another day.

        Parameters
        ----------
        seed : int
            Of the activity, the motion, the noise, and of who is gone or new.
        shift_px : (float, float)
            How far the content lies from where it lay in the first session, y and x.
        rotation_deg : float
            Turn about the middle of the field, before the shift.
        n_gone : int
            Cells of this session that do not shine any more.
        n_new : int
            Cells that did not shine before.

        Returns
        -------
        PlaneScene
            A cell whose centre comes closer than 8 px to the edge is left out, too.
        """
        settings = replace(self.settings, seed=(*self.settings.entropy, _SESSION, seed))
        rng = settings.rng(_SESSION)
        kept = np.sort(rng.permutation(self.n_cells)[n_gone:])
        first_id = 1 + max((cell.cell_id for cell in self.tissue.cells), default=-1)
        new = plane_tissue.place_cells(
            rng,
            self.tissue.cells,
            n_new,
            # identities of sessions with other seeds must not be the same
            first_id=first_id + 1000 * seed,
            height=self.height,
            width=self.width,
            cell_photons=settings.cell_photons,
            edge_px=settings.edge_px + max(map(abs, shift_px)),
        )
        pose = plane_tissue.Pose(tuple(map(float, shift_px)), float(rotation_deg))
        cells = [*(self.cells[k] for k in kept), *new]
        return _make_session(settings, self.tissue, pose, cells)

    @cached_property
    def _canvas(self):
        low, high = min(self.z_um.min(), 0.0), max(self.z_um.max(), 0.0)
        z_um = np.arange(np.floor(low), np.ceil(high) + 1)
        largest = np.abs(self.shifts_px) + np.abs(self.shear_px)
        pad = int(np.ceil(largest.max(initial=0))) + _MARGIN_PX
        return plane_canvas.make_canvas(
            self.settings, self.tissue, self.pose, self.cells, z_um, pad=pad
        )


def make_scene(**settings):
    """Make up an imaging plane.

    The light of a pixel, in photons per frame, is::

        factor(t) * (
            N(y, x) * (1 - (1 - neuropil_r) * D(y, x)) * (1 + sum_k m_k(y, x) n_k(t))
            + sum_c F0_c * mask_c(y, x) * (1 + dff_c(t))
            + what lies deeper
        )

    with N smooth (it differs by a fifth between the middle and the corners) but for a fine
    structure at rest away from cells, m_0 = 1 and further m_k smooth, and D = 1 over every
    cell, its soft edge included, 0 away from them. So the mean over a cell's pixels is the
    cell's light plus `neuropil_r` times that of the neuropil around it: the mean over a ring
    of pixels that belong to no cell. All is moved by the shift, then recorded with the noise
    of photons: a variance over time of `photon_gain` times the mean above `offset`.

    Parameters
    ----------
    **settings
        See `PlaneSettings`.

    Returns
    -------
    PlaneScene

    Raises
    ------
    UserError
        The cells do not fit, or a frame named lies outside the movie.
    """
    settings = PlaneSettings(**settings)
    validate(settings)
    tissue = plane_tissue.make_tissue(
        settings.rng(_TISSUE),
        height=settings.height,
        width=settings.width,
        n_cells=settings.n_cells,
        n_overlapping_pairs=settings.n_overlapping_pairs,
        cell_photons=settings.cell_photons,
        edge_px=settings.edge_px,
    )
    return _make_session(settings, tissue, plane_tissue.Pose(), tissue.cells)


def _make_session(settings, tissue, pose, cells):
    """Let the cells of a tissue live through one session."""
    shape = (settings.height, settings.width)
    cells = tuple(cell for cell in cells if plane_tissue.is_in_field(cell, pose, shape))
    masks = plane_canvas.draw_shapes(cells, pose, shape)
    centres = [pose.to_image(cell.y_px, cell.x_px) for cell in cells]
    events = [
        plane_activity.draw_events(settings.rng(_ACTIVITY, cell.cell_id), settings)
        for cell in cells
    ]
    dff = [plane_activity.make_dff(*event, settings) for event in events]
    motion = settings.rng(_MOTION)
    shifts_px = plane_activity.draw_motion(motion, settings)
    shear_px = plane_activity.draw_shear(motion, settings)
    factor, epileptic = plane_activity.draw_factor(motion, settings)
    progress = np.arange(settings.n_frames) / max(settings.n_frames - 1, 1)
    return PlaneScene(
        settings=settings,
        tissue=tissue,
        pose=pose,
        cells=cells,
        cell_ids=np.array([cell.cell_id for cell in cells], np.int64),
        masks=masks,
        centres_px=np.reshape(centres, (len(cells), 2)) + (np.array(shape) - 1) / 2,
        brightness=np.array([cell.photons for cell in cells], np.float64),
        dff=np.reshape(dff, (len(cells), settings.n_frames)).astype(np.float32),
        event_frames=tuple(frames for frames, _ in events),
        event_amplitudes=tuple(amplitudes for _, amplitudes in events),
        neuropil=plane_activity.draw_neuropil(
            settings.rng(_NEUROPIL), settings, len(plane_canvas.REGIONS)
        ),
        shifts_px=shifts_px,
        shear_px=shear_px,
        z_um=settings.z_drift_um * progress,
        factor=factor,
        epileptic_frames=epileptic,
    )
