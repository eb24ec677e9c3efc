"""Motion correction of one plane: suite2p's rigid and non-rigid registration, made safe."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.ophys.plane import read_frames
from sluice.ophys.projections import Accumulator
from sluice.ophys.reference_image import make_reference
from sluice.ophys.register_plane_figure import save_figure
from sluice.ophys.registration import fit_blocks, limit_px, make_registrar
from sluice.ophys.residual_motion import crispness, residual_shifts
from sluice.ophys.shifts import (
    clip_shifts,
    fill_shifts,
    find_bad_frames,
    find_frames_without_picture,
    undo_bidirectional,
    valid_range,
)
from sluice.ophys.suite2p_settings import import_suite2p
from sluice.qc import check, log_checks, save_checks

logger = logging.getLogger(__name__)

MIN_FRAMES = 10
MIN_SIZE_PX = 16
# Frames, at most, that tell the image from the noise in the blocks' spectra.
SPECTRUM_FRAMES = 100
# Memory of one batch: suite2p's phase correlation holds about five complex copies of what
# it correlates, which for blocks that overlap by half is 2.25 times the frame.
BATCH_BYTES = 200_000_000


def register_plane_file(
    *,
    movie,
    info,
    frames,
    registered,
    shifts,
    images,
    registration,
    checks,
    figure,
    settings,
    device,
):
    """Register the movie of one plane and measure how well it stands still.

    The movie is read twice, in batches. First every frame's rigid shift from the reference is
    found; shifts that are outliers take the running median (`clip_shifts`), those of missing
    frames are interpolated. Then blocks are registered on the frames at their final rigid
    place, and frames are moved once, from the raw ones. So a frame whose shift was replaced
    is treated as any other; Allen's ophys_etl moves such frames a second time.

    The phase correlations are suite2p's; the reference image (`make_reference`), the spectra
    of its blocks (`make_registrar`), the rounding and the edges of the moved frames
    (`Registrar.warp`) are not, for the reasons given there.

    Parameters
    ----------
    movie : path
        ``movie.bin``; never written to.
    info : PlaneInfo
    frames : path
        ``frames.pqt`` of `import_plane`; its missing frames do not enter the reference nor
        the images and are bad.
    registered : path
        ``registered.bin``, int16, shape (n_frames, height, width), stored values; written.
    shifts : path
        ``shifts.pqt``, one row a frame; written. `y_px`, `x_px`: how far the frame's content
        lay from its place in the reference (down, right; px), the mean over blocks.
        `correlation`: peak of the rigid phase correlation, NaN for a missing frame.
        `nonrigid_max_px`: largest distance of a block's shift from that mean, of the blocks
        that touch the image's edge, which alone say what moved out of view. `is_clipped`:
        the rigid shift was replaced. `is_bad`: missing, without a picture, or its place is
        not known.
    images : path
        npz, float32 (height, width), intensity as recorded; written: `mean`, `max` (of means
        over `max_projection_bin_s`), over frames that are not bad; `reference`.
    registration : path
        npz for the segmentation; written: `yrange`, `xrange` (int64, start and stop of what
        all good frames have seen), `is_bad`, `is_missing` (bool), `yoff`, `xoff` (int64,
        rigid, px), `yoff1`, `xoff1` (float32 (n_frames, n_blocks), on top of that; empty
        where rigid), `block_size` (int64, px), `bidiphase` (int64, px), `corrXY`.
    checks, figure : path
        ``checks.json`` and PNG; written.
    settings : dict
        ``ophys.register_plane``.
    device : str
        ``cpu`` or ``cuda``.

    Raises
    ------
    InputError
        The movie is shorter than ten usable frames, or its frames are smaller than 16 px.
    """
    is_missing = pd.read_parquet(frames)["is_missing"].to_numpy(bool)
    _require_frames(info, is_missing, movie, frames)
    import_suite2p()
    chosen = _reference_frames(movie, info, is_missing, settings["reference_frames"])
    phase_px = _bidirectional_phase(chosen, settings)
    reference = make_reference(
        undo_bidirectional(chosen, phase_px), settings=settings, device=device
    )
    blocks_px = _blocks(info, settings)
    registrar = make_registrar(
        reference,
        settings=settings,
        device=device,
        blocks_px=blocks_px,
        frames=undo_bidirectional(chosen[:: -(-len(chosen) // SPECTRUM_FRAMES)], phase_px),
    )
    del chosen

    def read(start, stop):
        return undo_bidirectional(read_frames(movie, info, start, stop), phase_px)

    rigid_px, is_clipped, is_bad, correlation, usual_max_px = _find_rigid(
        registrar, read, info, is_missing, settings
    )
    accumulator = Accumulator.start(info, is_bad, settings)
    block_px = _write_registered(registrar, read, registered, info, rigid_px, accumulator)
    projections = accumulator.finish()
    total_px = rigid_px[:, :, None] + block_px
    grid = (1, 1) if registrar.blocks is None else tuple(map(len, registrar.blocks))
    yrange, xrange = _ranges(total_px, grid, is_bad, info)
    table = _shift_table(total_px, grid, correlation, is_clipped, is_bad)

    table.to_parquet(shifts, index=False)
    _save_images(images, projections, reference, info)
    _save_registration(
        registration,
        rigid_px,
        block_px if blocks_px else block_px[:, :, :0],
        yrange=np.array(yrange),
        xrange=np.array(xrange),
        is_bad=is_bad,
        is_missing=is_missing,
        block_size=np.array(blocks_px or info.shape[1:]),
        bidiphase=np.array(phase_px),
        corrXY=correlation,
    )
    crop = slice(*yrange), slice(*xrange)
    residual_px = residual_shifts(
        projections.block_means[(slice(None), *crop)], projections.mean[crop]
    )
    search_px = usual_max_px, limit_px(info.shape[1:], settings)
    found = _checks(table, residual_px, projections, crop, search_px, settings, Path(figure).name)
    save_checks(found, checks)
    save_figure(figure, table=table, projections=projections, crop=crop, info=info)
    log_checks(found)


def _require_frames(info, is_missing, movie, frames):
    if len(is_missing) != info.n_frames:
        raise InputError(
            f"{info.name}: {frames} has {len(is_missing)} rows, {movie} {info.n_frames} frames; "
            "expected the same. Import the plane again."
        )
    n = np.count_nonzero(~is_missing)
    if n < MIN_FRAMES:
        raise InputError(
            f"{info.name}: {movie} has {n} usable frames (of {info.n_frames}); registration "
            f"needs at least {MIN_FRAMES}. If the recording was stopped at once, leave its row "
            "out of streams.tsv."
        )
    if min(info.shape[1:]) < MIN_SIZE_PX:
        raise InputError(
            f"{info.name}: frames of {movie} are {info.height} x {info.width} px; registration "
            f"needs at least {MIN_SIZE_PX} px in both directions. Check that rows and columns "
            "were not taken for frames; if the plane is that small, leave its row out of "
            "streams.tsv."
        )


def _reference_frames(movie, info, is_missing, n_frames):
    """Read evenly spaced frames that are not missing."""
    usable = np.flatnonzero(~is_missing)
    n = min(n_frames, len(usable))
    places = usable[np.arange(n) * len(usable) // n]
    return np.concatenate([read_frames(movie, info, i, i + 1) for i in places])


def _bidirectional_phase(frames, settings):
    if not settings["fix_bidirectional_phase"]:
        return 0
    from suite2p.registration import bidiphase

    phase_px = int(bidiphase.compute(frames))
    logger.info("every other line is moved by %d px", phase_px)
    return phase_px


def _blocks(info, settings):
    if not settings["nonrigid"]:
        return None
    blocks_px = fit_blocks(info.height, info.width, settings["block_size_px"])
    if blocks_px is None:
        logger.info(
            "%d x %d px is too small for blocks: rigid registration only", info.height, info.width
        )
    elif max(blocks_px) < settings["block_size_px"] or min(blocks_px) < settings["block_size_px"]:
        logger.info("blocks of %d x %d px, fitted to the image", *blocks_px)
    return blocks_px


def _batches(info):
    n = max(1, int(BATCH_BYTES / (info.height * info.width * 8 * 5 * 2.25)))
    for start in range(0, info.n_frames, n):
        yield start, min(start + n, info.n_frames)


def _find_rigid(registrar, read, info, is_missing, settings):
    """Find the shifts of whole frames.

    Returns
    -------
    Shifts (int64), which were replaced, which frames are bad, correlations, and the shift
    (px) that 99 % of the frames with a picture stay below, as found.
    """
    # one array each: small ones kept from every batch would hold the large ones' memory open
    found_px = np.empty((info.n_frames, 2))
    correlation, clarity = np.empty(info.n_frames), np.empty(info.n_frames)
    for start, stop in _batches(info):
        batch = slice(start, stop)
        found_px[batch], correlation[batch], clarity[batch] = registrar.rigid(read(start, stop))
    is_clear = clarity >= settings["clear_peak"]
    shifts_px = fill_shifts(found_px, is_missing)
    window = int(settings["outlier_window_s"] * info.sampling_rate_hz) // 2 * 2 + 1
    shifts_px, is_clipped = clip_shifts(
        shifts_px,
        is_clear,
        shape_px=info.shape[1:],
        window=window,
        outlier_fraction=settings["outlier_fraction"],
    )
    seen = np.flatnonzero(~is_missing)
    has_none = find_frames_without_picture(
        correlation[seen], is_clear[seen], ratio=settings["min_correlation_ratio"]
    )
    is_bad = is_missing.copy()
    is_bad[seen] = has_none | find_bad_frames(
        shifts_px[seen],
        correlation[seen],
        is_clear[seen],
        limit_px=limit_px(info.shape[1:], settings),
        ratio=settings["bad_frame_ratio"],
    )
    correlation[is_missing] = np.nan
    shown_px = np.abs(found_px[seen[~has_none]]).max(axis=1)
    return (
        np.rint(shifts_px).astype(np.int64),
        is_clipped & ~is_missing,
        is_bad,
        correlation,
        # one frame that jumped never counts, however short the movie
        np.quantile(shown_px, 0.99, method="lower"),
    )


def _write_registered(registrar, read, registered, info, rigid_px, accumulator):
    """Write the registered movie; return the shifts of blocks, (n_frames, 2, n_blocks)."""
    n_blocks = 1 if registrar.blocks is None else np.prod([len(b) for b in registrar.blocks])
    found_px = np.zeros((info.n_frames, 2, n_blocks), np.float32)
    with Path(registered).open("wb") as file:
        for start, stop in _batches(info):
            raw = read(start, stop)
            shifts_px, block_px = rigid_px[start:stop], None
            if registrar.blocks is not None:
                block_px = registrar.nonrigid(raw, shifts_px)
                found_px[start:stop] = block_px.reshape(len(raw), 2, -1)
            moved = registrar.warp(raw, shifts_px, block_px)
            moved.tofile(file)
            accumulator.add(start, raw, moved)
            logger.info("%d of %d frames", stop, info.n_frames)
    return found_px


def _ranges(total_px, grid, is_bad, info):
    """What all good frames have seen; where all are bad, all frames.

    Each edge goes by the blocks that touch it.
    """
    good = total_px[~is_bad] if not is_bad.all() else total_px
    y_px, x_px = np.moveaxis(good.reshape(len(good), 2, *grid), 1, 0)
    return (
        valid_range(y_px[:, 0].min(axis=1), y_px[:, -1].max(axis=1), info.height),
        valid_range(x_px[:, :, 0].min(axis=1), x_px[:, :, -1].max(axis=1), info.width),
    )


def _at_edge(grid):
    """Which blocks touch the edge of the image: bool (n_blocks,)."""
    rows, columns = np.indices(grid)
    inside = (rows > 0) & (rows < grid[0] - 1) & (columns > 0) & (columns < grid[1] - 1)
    return ~inside.ravel()


def _shift_table(total_px, grid, correlation, is_clipped, is_bad):
    mean_px = total_px.mean(axis=2, dtype=np.float64)
    from_mean = np.hypot(*np.moveaxis(total_px - mean_px[:, :, None], 1, 0))
    return pd.DataFrame(
        {
            "y_px": mean_px[:, 0],
            "x_px": mean_px[:, 1],
            "correlation": correlation,
            "nonrigid_max_px": from_mean[:, _at_edge(grid)].max(axis=1).astype(np.float64),
            "is_clipped": is_clipped,
            "is_bad": is_bad,
        }
    )


def _save_registration(path, rigid_px, block_px, **others):
    """Write what segmentation needs, shifts by suite2p's names."""
    with Path(path).open("wb") as file:
        np.savez(
            file,
            yoff=rigid_px[:, 0],
            xoff=rigid_px[:, 1],
            yoff1=np.ascontiguousarray(block_px[:, 0]),
            xoff1=np.ascontiguousarray(block_px[:, 1]),
            **others,
        )


def _save_images(path, projections, reference, info):
    """Write the images in intensities as recorded."""
    stored = {"mean": projections.mean, "max": projections.max, "reference": reference}
    with Path(path).open("wb") as file:
        np.savez(
            file,
            **{k: (v * info.scale + info.offset).astype(np.float32) for k, v in stored.items()},
        )


def _checks(table, residual_px, projections, crop, search_px, settings, figure):
    distance = np.hypot(*residual_px.T)
    usual_max_px, limit = search_px
    before, after = crispness(projections.raw_mean[crop]), crispness(projections.mean[crop])
    rows = [
        (
            "residual_motion_px",
            np.sqrt(np.mean(distance**2)),
            "px",
            f"largest {distance.max():.2f} px, of {len(distance)} means over the movie",
        ),
        (
            "crispness_ratio",
            after / before if before else None,
            "",
            "gradient of the mean image, after over before",
        ),
        (
            "clipped_frame_fraction",
            table["is_clipped"].mean(),
            "",
            f"{table['is_clipped'].sum()} shifts were outliers",
        ),
        (
            "bad_frame_fraction",
            table["is_bad"].mean(),
            "",
            f"{table['is_bad'].sum()} frames are missing, show no picture or could not be "
            "registered",
        ),
        (
            "max_shift_ratio",
            usual_max_px / limit,
            "",
            f"99 % of the frames moved by {usual_max_px:.0f} px or less, searched up to {limit} px",
        ),
    ]
    return [
        check(name, value, unit=unit, message=message, figure=figure, **settings["checks"][name])
        for name, value, unit, message in rows
    ]
