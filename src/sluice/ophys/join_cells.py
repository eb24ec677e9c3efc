"""Who is who over many sessions: pairs of ROIs become cells that keep their identity."""

import itertools
import uuid
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

CELL_NAMESPACE = uuid.uuid3(uuid.NAMESPACE_URL, "sluice/cells")


@dataclass(frozen=True)
class Joined:
    """Cells over the sessions of a container.

    Attributes
    ----------
    cells : list of int64 (n_rois of a session,)
        Cell of each ROI, one array a session; cells are counted as they are founded.
    founders : int64 (n_cells, 2)
        Session and ROI (row) that founded each cell.
    """

    cells: list
    founders: np.ndarray


def best_assignment(rows, columns, weights):
    """Choose pairs so that the sum of their weights is largest; each side at most once.

    Pairs that share nothing cannot compete: every connected group is solved on its own, so
    memory follows the largest crowd, not the plane, and what happens in one corner never
    changes another. Ties go to the smaller row, then the smaller column, as far as the
    solver (Hungarian, scipy) reads its matrix in that order.

    Parameters
    ----------
    rows, columns : int (n_pairs,)
        Each pair at most once.
    weights : float (n_pairs,)
        Positive.

    Returns
    -------
    int64 (n_chosen,)
        Which of the pairs were chosen, ordered by row.
    """
    rows, columns, weights = (np.asarray(v) for v in (rows, columns, weights))
    if not len(rows):
        return np.zeros(0, np.int64)
    n_rows = rows.max() + 1
    size = n_rows + columns.max() + 1
    graph = coo_array((np.ones(len(rows)), (rows, columns + n_rows)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][rows]
    order = np.lexsort((columns, rows, group))
    bounds = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
    chosen = []
    for start, stop in itertools.pairwise(bounds):
        pairs = order[start:stop]
        row_names, row = np.unique(rows[pairs], return_inverse=True)
        column_names, column = np.unique(columns[pairs], return_inverse=True)
        matrix = np.zeros((len(row_names), len(column_names)))
        matrix[row, column] = weights[pairs]
        pair_at = np.full(matrix.shape, -1)
        pair_at[row, column] = pairs
        found = pair_at[linear_sum_assignment(matrix, maximize=True)]
        chosen.append(found[found >= 0])
    chosen = np.concatenate(chosen)
    return chosen[np.argsort(rows[chosen], kind="stable")]


def join_sessions(n_rois, matches):
    """Join pairwise matches into cells, session by session.

    Every ROI of the first session founds a cell. Then, session by session, ROIs are assigned
    one to one to the cells there are: each earlier member that is matched with a ROI votes
    for it; the votes that are heard are as many as can be, and among equal choices the mean
    cost of the votes decides. A ROI without a cell founds one. So a cell has at most one ROI
    a session, and a session that is appended changes nothing that was there before.

    Allen (ophys_nway_matching) joins the pairs into graphs and prunes them; there a new
    session may split or merge old cells.

    Parameters
    ----------
    n_rois : sequence of int
        ROIs of each session.
    matches : dict of (int, int) to (rows_a, rows_b, costs)
        For sessions a < b the matched rows, each row at most once, and their costs (>= 0).
        A pair of sessions that is left out has no matches.

    Returns
    -------
    Joined
    """
    cells, founders = [], []
    for session, n in enumerate(n_rois):
        cell_of_roi = np.full(n, -1, np.int64)
        votes = [
            (cells[earlier][rows_a], rows_b, costs)
            for earlier in range(session)
            for rows_a, rows_b, costs in [matches.get((earlier, session), ([],) * 3)]
            if len(rows_a)
        ]
        if votes:
            chosen_cells, chosen_rois = _count_votes(
                *(np.concatenate(v) for v in zip(*votes, strict=True))
            )
            cell_of_roi[chosen_rois] = chosen_cells
        new = np.flatnonzero(cell_of_roi < 0)
        cell_of_roi[new] = len(founders) + np.arange(len(new))
        founders += [(session, roi) for roi in new]
        cells.append(cell_of_roi)
    return Joined(cells, np.array(founders, np.int64).reshape(-1, 2))


def _count_votes(voted_cells, voted_rois, costs):
    """Assign ROIs to cells: most votes, then lowest mean cost."""
    shape = (voted_cells.max() + 1, voted_rois.max() + 1)
    # csr sums what stands twice
    votes = csr_array((np.ones(len(costs)), (voted_cells, voted_rois)), shape=shape).tocoo()
    total = csr_array((np.asarray(costs, float), (voted_cells, voted_rois)), shape=shape).tocoo()
    cells, rois = votes.coords
    # less than one vote even when summed over all ROIs
    tie_break = 1 / (1 + total.data / votes.data) / (len(rois) + 1)
    chosen = best_assignment(cells, rois, votes.data + tie_break)
    return cells[chosen], rois[chosen]


def pair_agreement(joined, matches):
    """Part of the pairs of ROIs within a cell that are matched with each other directly.

    Cells are joined over several sessions, pairs are matched without knowing the third:
    where both agree, neither is chance. Pairs of sessions without an entry in `matches` are
    left out.

    Returns
    -------
    float
        0 to 1; NaN where no cell has two members.
    """
    n_agreed = n_all = 0
    for (a, b), (rows_a, rows_b, _) in matches.items():
        n_all += len(np.intersect1d(joined.cells[a], joined.cells[b]))
        n_agreed += np.count_nonzero(joined.cells[a][rows_a] == joined.cells[b][rows_b])
    return n_agreed / n_all if n_all else float("nan")


def name_cells(container, founders, sessions, digests):
    """Name each cell by a UUID made of the container and of the ROI that founded it.

    The same pixels in the same session give the same name, whatever the order of the ROIs
    and whichever sessions come later. Version 3, which ONE accepts.

    Parameters
    ----------
    container : str
    founders : int (n_cells, 2)
        Session (row of `sessions`) and ROI (row of its digests).
    sessions : sequence of str
        Session and plane of each member.
    digests : sequence of sequence of str
        Of each member's ROIs. ROIs with the very same pixels are told apart by their order.

    Returns
    -------
    list of str
    """
    seen, names = {}, []
    for member, roi in founders:
        name = f"{container}/{sessions[member]}/{digests[member][roi]}"
        seen[name] = seen.get(name, 0) + 1
        again = f"/{seen[name]}" if seen[name] > 1 else ""
        names.append(str(uuid.uuid3(CELL_NAMESPACE, name + again)))
    return names
