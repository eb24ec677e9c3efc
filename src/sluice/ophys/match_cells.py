"""Find the same cells in the sessions of a container."""

import json
import logging
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.errors import InputError
from sluice.ophys.join_cells import (
    join_sessions,
    name_cells,
    pair_agreement,
)
from sluice.ophys.masks import Masks, load_masks, mask_digests
from sluice.ophys.match_cells_figure import save_figure
from sluice.ophys.match_rois import RoiPairs, match_rois
from sluice.ophys.plane import load_plane
from sluice.ophys.register_images import align_images
from sluice.ophys.rigid import apply, middle_of, rotation_deg
from sluice.qc import check, log_checks, save_checks

logger = logging.getLogger(__name__)

# Sessions whose pixels differ by more than this in size cannot be laid over each other.
MAX_SCALE_DIFFERENCE = 0.02


@dataclass(frozen=True)
class ImagedPlane:
    """One session of a container, reduced to the ROIs that are matched.

    Attributes
    ----------
    session, plane : str
    mean : float32 (height, width)
        Mean image, intensity as recorded.
    masks : Masks
        Of the matched ROIs.
    xy_px : float64 (n_rois, 2)
        Centroids, x before y.
    rois : int64 (n_rois,)
        Their numbers in the session's table of ROIs.
    is_valid : bool (n_rois,)
    digests : list of str
        What each ROI is, wherever it stands in the table.
    um_per_pixel : float or None
    """

    session: str
    plane: str
    mean: np.ndarray
    masks: Masks
    xy_px: np.ndarray
    rois: np.ndarray
    is_valid: np.ndarray
    digests: list
    um_per_pixel: float | None

    @property
    def name(self):
        """``subject/date/number/plane``."""
        return f"{self.session}/{self.plane}"


def load_plane_to_match(session, plane, images, masks, rois, info, *, only):
    """Load what is matched of one session.

    ROIs are put into an order that their content gives, so that the order in the table can
    never matter, not even between ROIs with equal costs.

    Parameters
    ----------
    session, plane : str
    images, masks, rois, info : path
        ``images.npz``, ``masks.npz``, labelled ``rois.pqt``, ``plane.json``.
    only : str
        ``valid`` or ``all``.

    Returns
    -------
    ImagedPlane

    Raises
    ------
    InputError
        The files are of different runs, or the mean image is not finite.
    """
    facts, all_masks, table = load_plane(info), load_masks(masks), pd.read_parquet(rois)
    with np.load(images) as file:
        mean = file["mean"]
    if len(table) != len(all_masks) or mean.shape != (all_masks.height, all_masks.width):
        raise InputError(
            f"{facts.name}: {rois} has {len(table)} ROIs, {masks} has {len(all_masks)} of "
            f"{all_masks.height} x {all_masks.width} pixels, {images} has {mean.shape[0]} x "
            f"{mean.shape[1]}; expected the same. The files are of different runs: delete the "
            "folder of this plane and run again."
        )
    if not np.isfinite(mean).all():
        raise InputError(
            f"{facts.name}: the mean image in {images} holds {np.sum(~np.isfinite(mean))} values "
            "that are not finite; expected none. Look at the registered movie of this session."
        )
    is_valid = table["is_valid"].to_numpy(bool)
    chosen = np.arange(len(table)) if only == "all" else np.flatnonzero(is_valid)
    xy = table[["x_px", "y_px"]].to_numpy(float)
    digests = np.array(mask_digests(all_masks), dtype=object)[chosen]
    order = np.lexsort((digests.astype(str), xy[chosen, 0], xy[chosen, 1]))
    chosen = chosen[order]
    return ImagedPlane(
        session=session,
        plane=plane,
        mean=mean,
        masks=Masks(all_masks.weights[chosen], all_masks.height, all_masks.width),
        xy_px=xy[chosen],
        rois=table["roi"].to_numpy(np.int64)[chosen],
        is_valid=is_valid[chosen],
        digests=list(digests[order]),
        um_per_pixel=facts.um_per_pixel,
    )


def _require_one_scale(planes, name):
    """Stop where sessions of different magnification would be laid over each other."""
    known = [p for p in planes if p.um_per_pixel]
    for plane in known[1:]:
        if abs(plane.um_per_pixel / known[0].um_per_pixel - 1) > MAX_SCALE_DIFFERENCE:
            raise InputError(
                f"container {name}: {known[0].name} has {known[0].um_per_pixel:g} µm a pixel, "
                f"{plane.name} has {plane.um_per_pixel:g}; expected the same. Correct "
                "um_per_pixel in the table of streams, or put sessions of different zoom into "
                "containers of their own."
            )


def match_cells_file(
    *, members, container, cells, pairs, transforms, checks, figure, settings, name
):
    """Find the same cells in the sessions of a container.

    Every two sessions are aligned (`align_images`) and their ROIs paired (`match_rois`); the
    pairs are joined into cells (`join_sessions`). What is found for two sessions depends on
    them alone, and a session appended to the table of containers leaves all cells that
    were there before as they were, with their names.

    Parameters
    ----------
    members : sequence of (session, plane, images, masks, rois, info)
        In the order of the table of containers; names, then the paths of ``images.npz``,
        ``masks.npz``, labelled ``rois.pqt`` and ``plane.json``.
    container : str
        Name of the container; part of the cells' identity.
    cells, pairs, transforms, checks, figure : path
        ``cells.pqt``, ``pairs.pqt``, ``transforms.json``, ``checks.json``, PNG; written.
    settings : dict
        ``ophys.match_cells``.
    name : str
        How messages and the figure call the container.

    Raises
    ------
    InputError
        There are less than two sessions, a session's files do not fit each other, or the
        sessions have different pixel sizes.
    """
    if len(members) < 2:
        raise InputError(
            f"container {name}: {len(members)} sessions; expected at least 2, or there is "
            "nothing to match. Add sessions to it in the table of containers, or leave it out."
        )
    planes = [load_plane_to_match(*member, only=settings["only"]) for member in members]
    _require_one_scale(planes, name)
    alignments, found = {}, {}
    for a, b in combinations(range(len(planes)), 2):
        alignment = _align(planes[a], planes[b], settings)
        alignments[a, b] = alignment
        # no match is better than a false one: sessions that do not fit give no pairs
        if alignment.is_aligned:
            found[a, b] = _match(planes[a], planes[b], alignment.matrix, settings)
    matches = {key: (pairs.rows_a, pairs.rows_b, pairs.cost) for key, pairs in found.items()}
    joined = join_sessions([len(p.rois) for p in planes], matches)
    names = name_cells(
        container, joined.founders, [p.name for p in planes], [p.digests for p in planes]
    )

    _cell_table(planes, joined, names).to_parquet(cells, index=False)
    _pair_table(planes, found).to_parquet(pairs, index=False)
    rows = [
        _describe(planes[a], planes[b], alignment, found.get((a, b)))
        for (a, b), alignment in alignments.items()
    ]
    Path(transforms).write_text(json.dumps(rows, indent=1) + "\n")
    judged = _checks(rows, pair_agreement(joined, matches), settings, Path(figure).name)
    save_checks(judged, checks)
    fractions = {key: row["matched_fraction"] for key, row in zip(alignments, rows, strict=True)}
    save_figure(figure, planes=planes, cells=joined.cells, fractions=fractions, title=name)
    log_checks(judged)


def _align(a, b, settings):
    alignment = align_images(a.mean, b.mean, settings=settings)
    logger.info(
        "%s and %s: %s, SSIM %.3f, score %.1f",
        a.name,
        b.name,
        alignment.chosen,
        alignment.ssim[alignment.chosen],
        alignment.score,
    )
    return alignment


def _match(a, b, matrix, settings):
    limits = {key: settings[key] for key in ("max_distance_px", "min_iou")}
    return match_rois(a.masks, a.xy_px, b.masks, b.xy_px, matrix, **limits)


def _cell_table(planes, joined, names):
    """Rows of ``cells.pqt``, ordered by session and ROI."""
    n_sessions = np.bincount(np.concatenate(joined.cells), minlength=len(names))
    tables = []
    for plane, cells in zip(planes, joined.cells, strict=True):
        table = pd.DataFrame(
            {
                "cell_id": np.array(names, dtype=object)[cells],
                "session": np.full(len(cells), plane.session, dtype=object),
                "plane": np.full(len(cells), plane.plane, dtype=object),
                "roi": plane.rois,
                "n_sessions": n_sessions[cells].astype(np.int64),
                "is_valid": plane.is_valid,
            }
        )
        tables.append(table.sort_values("roi"))
    return pd.concat(tables, ignore_index=True)


def _pair_table(planes, found):
    """Rows of ``pairs.pqt``, ordered by sessions and ROI."""
    nobody = RoiPairs(*[np.zeros(0, np.int64)] * 2, *[np.zeros(0)] * 3, (0, 0))
    tables = [_pair_rows(planes[a], planes[b], pairs) for (a, b), pairs in found.items()]
    # the columns and their types are there without any pair
    return pd.concat(tables or [_pair_rows(planes[0], planes[0], nobody)], ignore_index=True)


def _pair_rows(a, b, pairs):
    n = len(pairs.rows_a)
    table = pd.DataFrame(
        {
            "session_a": np.full(n, a.session, dtype=object),
            "plane_a": np.full(n, a.plane, dtype=object),
            "session_b": np.full(n, b.session, dtype=object),
            "plane_b": np.full(n, b.plane, dtype=object),
            "roi_a": a.rois[pairs.rows_a],
            "roi_b": b.rois[pairs.rows_b],
            "distance_px": pairs.distance_px,
            "iou": pairs.iou,
            "cost": pairs.cost,
        }
    )
    return table.sort_values("roi_a")


def _describe(a, b, alignment, pairs):
    """One row of ``transforms.json``."""
    middle = middle_of(a.mean.shape)
    n_shared = min(pairs.n_shared) if pairs else 0
    n_matched = len(pairs.rows_a) if pairs else 0
    return {
        "session_a": a.session,
        "plane_a": a.plane,
        "session_b": b.session,
        "plane_b": b.plane,
        **asdict(alignment),
        "matrix": alignment.matrix.tolist(),
        "middle_shift_px": (apply(alignment.matrix, middle[None])[0] - middle).tolist(),
        "rotation_deg": rotation_deg(alignment.matrix),
        "n_rois": [len(a.rois), len(b.rois)],
        "n_shared_rois": list(pairs.n_shared) if pairs else None,
        "n_matched": n_matched,
        "matched_fraction": n_matched / n_shared if n_shared else None,
        "median_distance_px": float(np.median(pairs.distance_px)) if n_matched else None,
    }


def _checks(rows, agreement, settings, figure):
    """Judge the alignment and the pairs: of every measure the worst pair of sessions."""
    aligned = [row for row in rows if row["is_aligned"]]
    n_unaligned = len(rows) - len(aligned)
    measures = [
        ("image_ssim", min, lambda row: row["ssim"][row["chosen"]], ""),
        ("overlap", min, lambda row: row["overlap"], ""),
        ("matched_fraction", min, lambda row: row["matched_fraction"], ""),
        ("residual_distance_px", max, lambda row: row["median_distance_px"], "px"),
    ]
    judged = [
        (
            "unaligned_pair_fraction",
            n_unaligned / len(rows),
            "",
            f"{n_unaligned} of {len(rows)} pairs of sessions do not fit better than by chance",
        )
    ]
    for key, worst, measure, unit in measures:
        values = [(measure(row), k) for k, row in enumerate(aligned) if measure(row) is not None]
        if values:
            value, k = worst(values)
            judged.append((key, value, unit, f"worst of {len(values)} pairs: {_names(aligned[k])}"))
        else:
            judged.append((key, None, unit, "no pair of sessions to measure it on"))
    message = "pairs within a cell that were also matched directly"
    judged.append(("pair_agreement", agreement, "", message))
    return [
        check(key, value, unit=unit, message=message, figure=figure, **settings["checks"][key])
        for key, value, unit, message in judged
    ]


def _names(row):
    return " and ".join(f"{row[f'session_{s}']}/{row[f'plane_{s}']}" for s in "ab")
