"""Compares cells matched over made-up imaging sessions with the truth."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

MIN_PRECISION = 0.95
MIN_RECALL = 0.95


@dataclass(frozen=True)
class CellsComparison:
    """How cells matched over sessions agree with the truth.

    Attributes
    ----------
    container : str
    pairs : DataFrame
        One row a pair of sessions: `session_a`, `session_b`, `n_true` (pairs of ROIs that show
        the same cell), `n_found` (pairs said to), `n_right`.
    summary : dict
        ``n_true``, ``n_found``, ``n_right``, ``precision``, ``recall`` and ``passed``.
    """

    container: str
    pairs: pd.DataFrame
    summary: dict


def compare_cells(cells, true_cells, *, container=""):
    """Compare cells matched over sessions with the truth.

    A pair of ROIs of two sessions is right if both show the same cell. Pairs of which neither
    ROI shows a planted cell can be neither right nor wrong and are left out.

    Parameters
    ----------
    cells : DataFrame
        ``cells.pqt``: columns `cell_id`, `session`, `plane`, `roi`.
    true_cells : dict of (str, str) to DataFrame
        Of each session and plane, the true cells that were found: columns `roi` (-1 where
        none was) and `cell_id`, as in `PlaneComparison.cells`.
    container : str

    Returns
    -------
    CellsComparison
    """
    tables = []
    for (session, plane), table in true_cells.items():
        rois = cells[(cells.session == session) & (cells.plane == plane)]
        found = table[table.roi >= 0].rename(columns={"cell_id": "true_id"})
        tables.append(rois.merge(found[["roi", "true_id"]], on="roi", how="left"))
    rows = []
    for a, b in combinations(range(len(tables)), 2):
        both = tables[a].merge(tables[b], on="cell_id", suffixes=("_a", "_b"))
        both = both[both.true_id_a.notna() | both.true_id_b.notna()]
        shared = tables[a].dropna().merge(tables[b].dropna(), on="true_id")
        rows.append(
            {
                "session_a": "/".join(list(true_cells)[a]),
                "session_b": "/".join(list(true_cells)[b]),
                "n_true": len(shared),
                "n_found": len(both),
                "n_right": int((both.true_id_a == both.true_id_b).sum()),
            }
        )
    columns = ["session_a", "session_b", "n_true", "n_found", "n_right"]
    pairs = pd.DataFrame(rows, columns=columns)
    return CellsComparison(container, pairs, _summarise(pairs))


def _summarise(pairs):
    n_true, n_found, n_right = (int(pairs[key].sum()) for key in ("n_true", "n_found", "n_right"))
    precision = n_right / n_found if n_found else np.nan
    recall = n_right / n_true if n_true else np.nan
    return {
        "n_true": n_true,
        "n_found": n_found,
        "n_right": n_right,
        "precision": precision,
        "recall": recall,
        "passed": not (precision < MIN_PRECISION or recall < MIN_RECALL),
    }


def format_cells_comparison(comparison):
    """Write a comparison of matched cells for a person.

    Parameters
    ----------
    comparison : CellsComparison

    Returns
    -------
    str
        Several lines, without a newline at the end.
    """
    summary = comparison.summary
    lines = [f"{comparison.container}, cells over sessions against the truth:", ""]
    if len(comparison.pairs):
        lines += ["  " + row for row in comparison.pairs.to_string(index=False).splitlines()]
    lines += [
        "",
        f"  precision {summary['precision']:.3f} (asked for: at least {MIN_PRECISION:g})",
        f"  recall {summary['recall']:.3f} (asked for: at least {MIN_RECALL:g})",
        "  " + ("as it should be" if summary["passed"] else "NOT as it should be"),
    ]
    return "\n".join(lines)
