"""Look at the quality of a movie: brightness, photons, epilepsy, z-drift, crosstalk."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.ophys.crosstalk import require_paired
from sluice.ophys.masks import load_masks
from sluice.ophys.plane_qc_figure import save_figure
from sluice.ophys.qc.measure import measure
from sluice.ophys.qc.metrics import make_metrics, median_of
from sluice.ophys.qc.z_drift import load_z_stack
from sluice.qc import check, log_checks, save_checks


def plane_qc_file(
    *,
    registered,
    movie,
    frames,
    info,
    shifts,
    registration,
    images,
    masks,
    dff,
    z_stack=None,
    z_step_um=None,
    paired=None,
    checks,
    metrics,
    figure,
    settings,
    name,
):
    """Check the quality of one plane's movie.

    The measures are those of aind-ophys-movie-qc, the published descendant of Allen's; where
    ours differ, each function of `sluice.ophys.qc` says how and why. The registered movie
    is read once; noise and photons come from at most `max_sampled_frames` frames, evenly
    spread, of the raw movie. Percentages are of the light above the background that the
    photon gain finds, so that an offset of the detector does not hide a change; where it
    finds none the background is taken as 0, and the messages say so. dF/F is of the intensity
    as recorded: `background_fraction` says how much too small that makes it. What cannot be
    measured is a check without a value, which is a WARNING.

    Motion, missing frames and the frame clock are checked by `register_plane` and
    `import_plane`.

    Parameters
    ----------
    registered, movie : path
        ``registered.bin`` of `register_plane`, ``movie.bin`` of `import_plane`.
    frames : path
        ``frames.pqt`` of `import_plane`.
    info : PlaneInfo
    shifts : path
        ``shifts.pqt`` of `register_plane`.
    registration : path
        ``registration.npz`` of `register_plane`: bidiphase, the offset of every other line.
    images : path
        ``images.npz`` of `register_plane`.
    masks : path
        ``masks.npz`` of `segment_plane`; may hold no ROI.
    dff : path
        ``dff.npy``, of which the noise level is.
    z_stack : path or array, optional
        TIFF, or float (n_planes, height, width) or (n_planes, n_frames, height, width).
    z_step_um : float, optional
        From one plane of the z-stack to the next.
    paired : PairedPlane, optional
        The plane recorded simultaneously, whose light may leak into this one.
    checks, metrics, figure : path
        ``checks.json``, ``metrics.json``, ``plane_qc.png``; written.
    settings : dict
        ``ophys.plane_qc``.
    name : str
        How messages call the plane.

    Raises
    ------
    InputError
        The z-stack or the paired plane does not fit the movie, or a table has another
        length.
    """
    frames_table, shifts_table = pd.read_parquet(frames), pd.read_parquet(shifts)
    for path, table in ((frames, frames_table), (shifts, shifts_table)):
        if len(table) != info.n_frames:
            raise InputError(
                f"{name}: {path} has {len(table)} rows; expected one for each of the "
                f"{info.n_frames} frames of the movie. Run the step that writes it again."
            )
    if paired is not None:
        require_paired(info, paired.info)
    masks = load_masks(masks)
    with np.load(registration) as file:
        bidiphase = int(file["bidiphase"])
    found = measure(
        registered=registered,
        movie=movie,
        frames=frames_table,
        shifts=shifts_table,
        bidiphase=bidiphase,
        info=info,
        masks=masks,
        dff=np.load(dff, mmap_mode="r"),
        stack=None if z_stack is None else load_z_stack(z_stack, info, z_step_um),
        z_step_um=z_step_um,
        paired=paired,
        settings=settings,
    )
    judged = _checks(found, info, len(masks), settings, Path(figure).name)
    save_checks(judged, checks)
    Path(metrics).write_text(json.dumps(make_metrics(found, z_step_um), indent=1) + "\n")
    with np.load(images) as file:
        mean_image = file["mean"]
    save_figure(
        figure,
        found=found,
        checks=judged,
        mean_image=mean_image,
        masks=masks,
        z_step_um=z_step_um,
        title=name,
    )
    log_checks(judged)


def _checks(found, info, n_rois, settings, figure):
    """Judge what was measured."""
    per_plane = 512 * 512 / (info.height * info.width)
    n_saturated = int(np.count_nonzero(found.saturated))
    no_photons = found.gain.message
    snr = found.snr[np.isfinite(found.snr)]
    drift, bleaching = found.drift, found.bleaching
    above = _background_used(found.gain)
    rows = [
        (
            "intensity_drift_percent",
            None if drift.percent is None else abs(drift.percent),
            "%",
            drift.message + above,
        ),
        ("bleaching_percent", bleaching.percent, "%", bleaching.message + above),
        ("background_fraction", *_background_fraction(found)),
        (
            "saturated_pixels_per_512",
            n_saturated * per_plane,
            "px",
            f"{n_saturated} of {found.saturated.size} pixels",
        ),
        (
            "snr",
            snr.mean() if len(snr) else None,
            "",
            (f"mean of {len(snr)} frames" if len(snr) else "no frame has any contrast") + above,
        ),
        (
            "photons_per_pixel",
            found.photons_per_pixel,
            "photons",
            no_photons or f"a photon is {found.gain.gain:.4g} of intensity",
        ),
    ]
    of_rois = no_photons or ("median of the ROIs" if n_rois else "no ROI")
    rows += [
        ("photons_per_roi", median_of(found.rois.photons), "photons", of_rois),
        ("d_prime", median_of(found.rois.d_prime), "", of_rois),
        (
            "epileptiform_events",
            None if found.epilepsy.trace_percent is None else len(found.epilepsy.events),
            "",
            found.epilepsy.message + above,
        ),
    ]
    if found.z_drift is not None:
        z = found.z_drift
        rows += [
            ("z_drift_um", None if z.drift_um is None else abs(z.drift_um), "µm", z.message),
            ("z_range_um", z.range_um, "µm", z.range_message),
        ]
    if found.crosstalk is not None:
        rows.append(("crosstalk", found.crosstalk.fraction, "", found.crosstalk.message))
    return [
        check(key, value, unit=unit, message=message, figure=figure, **settings["checks"][key])
        for key, value, unit, message in rows
    ]


def _background_used(gain):
    """Say which intensity counts as no light, where a measure depends on it."""
    if gain.background is not None:
        return f"; above a background of {gain.background:.4g}"
    if gain.gain is None:
        return "; no photon gain: background taken as 0"
    return "; the photon gain gives no background: taken as 0"


def _background_fraction(found):
    """Share of the intensity that is no light: value, unit, message."""
    background, error = found.gain.background, found.gain.background_error
    if background is None:
        return None, "", found.gain.message
    median = found.median_intensity
    if median == 0:
        return None, "", f"the background is {background:.4g}, the median intensity 0"
    fraction = background / median
    size = "small" if fraction > 0 else "large"
    message = (
        f"of a median intensity of {median:.4g}, {background:.4g} (± {error:.2g}) is no light but "
        f"the detector's offset: dF/F is about {100 * abs(fraction):.0f} % too {size}. If this is "
        "much, add it to ophys.import_plane.dark_level"
    )
    return abs(fraction), "", message
