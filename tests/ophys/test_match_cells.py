"""The same cells over sessions: planted identities come back and stay."""

import itertools
import json
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.imaged_cells import Tissue, true_matrix

from sluice.errors import InputError
from sluice.ophys.masks import make_masks, save_masks
from sluice.ophys.match_cells import match_cells_file
from sluice.ophys.match_rois import match_rois, move_masks, overlaps
from sluice.ophys.plane import PlaneInfo, save_plane
from sluice.ophys.rigid import IDENTITY, apply, compose, invert, rotation_about, shift_by
from sluice.settings import validate_settings
from sluice.synth.plane import make_scene

SETTINGS = validate_settings({})["ophys"]["match_cells"]
LIMITS = {"max_distance_px": 10.0, "min_iou": 0.0}
FILES = {
    "cells": "cells.pqt",
    "pairs": "pairs.pqt",
    "transforms": "transforms.json",
    "checks": "checks.json",
    "figure": "match_cells.png",
}
MOVES = [
    {},
    {"shift_px": (12, -9), "rotation_deg": 3, "gain": 2},
    {"shift_px": (-15, 10), "rotation_deg": -5, "gain": 0.5, "offset": 90},
    {"shift_px": (4, 14), "rotation_deg": 1.5, "gain": 1.3},
]


def disks(centres_xy, *, radius_px=5, height=80, width=90):
    """Round ROIs and their centroids."""
    y, x = np.mgrid[:height, :width]
    spots = [np.nonzero(np.hypot(x - cx, y - cy) <= radius_px) for cx, cy in centres_xy]
    masks = make_masks([(r, c, np.ones(len(r))) for r, c in spots], height, width)
    return masks, np.array(centres_xy, float).reshape(-1, 2)


# pairs of ROIs


def slow_overlap(mask_a, mask_b, matrix):
    """Pixel after pixel of the first image."""
    both = either = 0
    for y, x in np.ndindex(mask_a.shape):
        xb, yb = np.rint(apply(matrix, [[x, y]])[0]).astype(int)
        if 0 <= xb < mask_b.shape[1] and 0 <= yb < mask_b.shape[0]:
            both += mask_a[y, x] and mask_b[yb, xb]
            either += mask_a[y, x] or mask_b[yb, xb]
    return both / max(either, 1)


def test_overlaps_equal_their_slow_twin():
    a, xy = disks([(20, 20), (26, 22), (3, 40), (60, 50)], height=60, width=70)
    matrix = compose(shift_by((4.3, -2.6)), rotation_about((30, 30), 4))
    b, _ = disks(apply(matrix, xy + np.array([1.0, 0.5])), height=64, width=66)
    rows = np.array(list(itertools.product(range(4), range(4))))
    found = overlaps(a, b, matrix, *rows.T)
    slow = [slow_overlap(a.image(i), b.image(j), matrix) for i, j in rows]
    np.testing.assert_allclose(found, slow, atol=1e-12)
    assert np.diag(found.reshape(4, 4)).min() > 0.6


def test_a_cell_that_the_edge_cuts_overlaps_fully():
    """Only pixels that both sessions show count."""
    a, _ = disks([(40, 40)])
    b, _ = disks([(40, 0)], height=80)
    assert overlaps(a, b, shift_by((0, -40)), np.array([0]), np.array([0]))[0] == 1


def test_moved_masks_are_where_they_belong():
    masks, _ = disks([(30, 30)], height=50, width=60)
    moved, seen = move_masks(masks, shift_by((10, -5)), (50, 60))
    y, x = np.divmod(seen[moved.indices], 60)
    np.testing.assert_allclose((x.mean(), y.mean()), (20, 35))
    assert seen.size == 50 * 45


def test_distances_and_costs():
    a, xy_a = disks([(20, 20), (60, 60)])
    b, xy_b = disks([(23, 24), (60, 69.99)])
    pairs = match_rois(a, xy_a, b, xy_b, IDENTITY, **LIMITS)
    np.testing.assert_array_equal(pairs.rows_a, [0, 1])
    np.testing.assert_array_equal(pairs.rows_b, [0, 1])
    np.testing.assert_allclose(pairs.distance_px, [5, 9.99])
    np.testing.assert_allclose(pairs.cost, pairs.distance_px / 10 + 1 - pairs.iou)
    assert 0.1 < pairs.iou[0] < 0.6
    # one pixel too far, one overlap too little
    assert len(match_rois(a, xy_a, b, xy_b + np.array([0, 0.02]), IDENTITY, **LIMITS).rows_a) == 1
    assert len(match_rois(a, xy_a, b, xy_b, IDENTITY, max_distance_px=10, min_iou=0.1).rows_a) == 1


def test_a_perfect_pair_is_not_given_up_for_two_poor_ones():
    """The trap of a high cost for what is impossible: it makes as many pairs as it can."""
    a, xy_a = disks([(40, 40), (48, 40)])
    b, xy_b = disks([(40, 40), (32, 40)])
    pairs = match_rois(a, xy_a, b, xy_b, IDENTITY, **LIMITS)
    np.testing.assert_array_equal((pairs.rows_a, pairs.rows_b), [[0], [0]])


places = st.lists(
    st.tuples(st.integers(5, 84), st.integers(5, 74)), min_size=0, max_size=12, unique=True
)


@settings(deadline=None, max_examples=60)
@given(places, places, st.integers(0, 1000))
def test_the_order_of_rois_does_not_matter(first, second, seed):
    rng = np.random.default_rng(seed)
    # no two distances are equal
    first, second = (
        np.reshape(p, (-1, 2)) + rng.uniform(0, 0.5, (len(p), 2)) for p in (first, second)
    )
    turned_a, turned_b = rng.permutation(len(first)), rng.permutation(len(second))
    plain = match_rois(*disks(first), *disks(second), IDENTITY, **LIMITS)
    mixed = match_rois(*disks(first[turned_a]), *disks(second[turned_b]), IDENTITY, **LIMITS)
    expected = set(zip(plain.rows_a, plain.rows_b, strict=True))
    assert set(zip(turned_a[mixed.rows_a], turned_b[mixed.rows_b], strict=True)) == expected
    assert len(set(plain.rows_a)) == len(set(plain.rows_b)) == len(plain.rows_a)


def test_rois_without_pixels_and_no_rois():
    a, xy_a = disks([(20, 20), (1000, 1000)])
    xy_a[1] = np.nan
    pairs = match_rois(a, xy_a, a, xy_a, IDENTITY, **LIMITS)
    np.testing.assert_array_equal(pairs.rows_a, [0])
    none, xy_none = disks([])
    for one in ((a, xy_a, none, xy_none), (none, xy_none, a, xy_a), (none, xy_none) * 2):
        pairs = match_rois(*one, IDENTITY, **LIMITS)
        assert len(pairs.rows_a) == len(pairs.cost) == 0


def test_only_what_both_sessions_show_counts_as_shared():
    a, xy_a = disks([(20, 20), (60, 60), (80, 30)])
    pairs = match_rois(a, xy_a, a, xy_a, shift_by((-40, 0)), **LIMITS)
    # from 40 on b shows it; what of b is below 50 is shown in a
    assert pairs.n_shared == (2, 1)


def test_a_thousand_rois_take_seconds():
    rng = np.random.default_rng(0)
    xy = rng.uniform(5, 507, (1000, 2))
    matrix = compose(shift_by((9, -7)), rotation_about((256, 256), 2))
    spots = []
    for moved in (xy, apply(matrix, xy + rng.normal(0, 0.5, xy.shape))):
        dy, dx = np.mgrid[-6:7, -6:7]
        near = np.hypot(dy, dx) <= 5.5
        y, x = (np.rint(moved[:, k, None] + d[near]).astype(int) for k, d in ((1, dy), (0, dx)))
        inside = (y >= 0) & (y < 512) & (x >= 0) & (x < 512)
        pixels = [(y[k][i], x[k][i], np.ones(i.sum())) for k, i in enumerate(inside)]
        spots += [make_masks(pixels, 512, 512), moved]
    start = time.perf_counter()
    pairs = match_rois(*spots, matrix, **LIMITS)
    # 0.1 s on a free core
    assert time.perf_counter() - start < 5
    assert np.mean(pairs.rows_a == pairs.rows_b) > 0.97


# the step


def write_member(folder, day, imaged, *, order=None, is_valid=None, um_per_pixel=0.8):
    """Write what earlier steps leave of one session; return its row of `members`."""
    folder.mkdir(parents=True, exist_ok=True)
    masks, n = imaged.masks, len(imaged.cells)
    order = np.arange(n) if order is None else order
    height, width = imaged.mean.shape
    session = f"M001/2026-11-{day:02}/001"
    info = PlaneInfo(
        f"{session} FOV_00", 9, height, width, 10.0, um_per_pixel, "GCaMP6f", 0.7, 1.0, 0.0, "int16"
    )
    save_plane(info, folder / "plane.json")
    np.savez(folder / "images.npz", mean=imaged.mean, max=imaged.mean)
    turned = make_masks([masks.pixels(k) for k in order], height, width)
    save_masks(turned, folder / "masks.npz")
    valid = np.ones(n, bool) if is_valid is None else np.asarray(is_valid)
    table = pd.DataFrame(
        {
            "roi": np.arange(n),
            "y_px": imaged.xy_px[order, 1],
            "x_px": imaged.xy_px[order, 0],
            "is_valid": valid[order],
        }
    )
    table.to_parquet(folder / "rois.pqt", index=False)
    names = ("images.npz", "masks.npz", "rois.pqt", "plane.json")
    return (session, "FOV_00", *(folder / name for name in names))


def match(folder, members, *, container="M001_a", **changed):
    """Run the step; return everything it wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    match_cells_file(
        members=members,
        container=container,
        settings={**SETTINGS, **changed},
        name=container,
        **{key: folder / name for key, name in FILES.items()},
    )
    return SimpleNamespace(
        cells=pd.read_parquet(folder / "cells.pqt"),
        pairs=pd.read_parquet(folder / "pairs.pqt"),
        transforms=json.loads((folder / "transforms.json").read_text()),
        checks={c["name"]: c for c in json.loads((folder / "checks.json").read_text())},
        figure=folder / "match_cells.png",
    )


def precision_and_recall(cells, sessions, orders=None):
    """Of all pairs of ROIs in one cell, how many are; of those that are, how many were found."""
    table = cells.copy()
    orders = orders or [np.arange(len(s.cells)) for s in sessions]
    names = list(dict.fromkeys(table["session"]))
    truth = {name: s.cells[o] for name, s, o in zip(names, sessions, orders, strict=True)}
    table["truth"] = [truth[s][r] for s, r in zip(table["session"], table["roi"], strict=True)]
    both = table.merge(table, on="cell_id").query("session_x < session_y")
    right = int((both["truth_x"] == both["truth_y"]).sum())
    real = len(table.merge(table, on="truth").query("session_x < session_y"))
    return right / len(both), right / real


@pytest.fixture(scope="module")
def sessions():
    """Four sessions: moved, turned, brighter or dimmer, with cells gone and new."""
    tissue = Tissue(11, size_px=160, n_cells=60)
    return [
        tissue.session(k, noise=0.3, missing=0.2, jitter_px=0.6, **m) for k, m in enumerate(MOVES)
    ]


@pytest.fixture(scope="module")
def three(sessions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    members = [write_member(folder / str(k), 1 + k, s) for k, s in enumerate(sessions[:3])]
    return SimpleNamespace(folder=folder, members=members, **vars(match(folder / "out", members)))


def test_planted_cells_come_back(three, sessions):
    precision, recall = precision_and_recall(three.cells, sessions[:3])
    assert precision > 0.97
    assert recall > 0.97
    verdicts = {name: c["verdict"] for name, c in three.checks.items()}
    # the second and the third session lie 27 px apart
    assert verdicts.pop("overlap") == "WARNING"
    assert set(verdicts.values()) == {"PASS"}
    assert three.checks["residual_distance_px"]["value"] < 1.5
    for row, (a, b) in zip(three.transforms, itertools.combinations(sessions[:3], 2), strict=True):
        assert row["is_aligned"]
        np.testing.assert_allclose(row["matrix"], true_matrix(a, b), atol=0.7)
        assert row["rotation_deg"] == pytest.approx(
            np.rad2deg(np.arctan2(*true_matrix(a, b)[1::-1, 0])), abs=0.3
        )


def test_the_tables(three, sessions):
    cells, pairs = three.cells, three.pairs
    assert list(cells) == ["cell_id", "session", "plane", "roi", "n_sessions", "is_valid"]
    assert list(pairs) == [
        "session_a",
        "plane_a",
        "session_b",
        "plane_b",
        "roi_a",
        "roi_b",
        "distance_px",
        "iou",
        "cost",
    ]
    assert len(cells) == sum(len(s.cells) for s in sessions[:3])
    assert not cells.duplicated(["session", "roi"]).any()
    assert not cells.duplicated(["session", "cell_id"]).any()
    counted = cells.groupby("cell_id")["session"].transform("nunique")
    np.testing.assert_array_equal(cells["n_sessions"], counted)
    assert pairs["distance_px"].max() <= 10
    assert pairs["iou"].between(SETTINGS["min_iou"], 1).all()
    np.testing.assert_allclose(pairs["cost"], pairs["distance_px"] / 10 + 1 - pairs["iou"])
    # a pair's distance is that of the centroids under the transform that was kept
    row = three.transforms[0]
    first = pairs[(pairs.session_a == row["session_a"]) & (pairs.session_b == row["session_b"])]
    moved = apply(invert(np.array(row["matrix"])), sessions[1].xy_px[first["roi_b"]])
    distance = np.hypot(*(moved - sessions[0].xy_px[first["roi_a"]]).T)
    np.testing.assert_allclose(first["distance_px"], distance, atol=1e-9)
    assert row["n_matched"] == len(first)


def test_a_session_appended_changes_no_cell(three, sessions):
    fourth = write_member(three.folder / "3", 4, sessions[3])
    more = match(three.folder / "four", [*three.members, fourth])
    old = more.cells[more.cells["session"] != fourth[0]].reset_index(drop=True)
    columns = ["cell_id", "session", "plane", "roi", "is_valid"]
    pd.testing.assert_frame_equal(old[columns], three.cells[columns])
    precision, recall = precision_and_recall(more.cells, sessions)
    assert precision > 0.95
    assert recall > 0.95
    # and what was found for two sessions stays as it was
    assert [t for t in more.transforms if fourth[0] != t["session_b"]] == three.transforms


def test_the_order_of_rois_changes_no_cell(three, sessions):
    rng = np.random.default_rng(3)
    orders = [rng.permutation(len(s.cells)) for s in sessions[:3]]
    members = [
        write_member(three.folder / f"turned{k}", 1 + k, s, order=orders[k])
        for k, s in enumerate(sessions[:3])
    ]
    turned = match(three.folder / "turned", members).cells
    session_number = {m[0]: k for k, m in enumerate(members)}
    turned["roi"] = [
        orders[session_number[s]][r] for s, r in zip(turned["session"], turned["roi"], strict=True)
    ]
    turned = turned.sort_values(["session", "roi"], ignore_index=True)
    pd.testing.assert_frame_equal(turned, three.cells)


def test_the_same_bytes_every_time(three):
    match(three.folder / "again", three.members)
    for name in FILES.values():
        again, before = (three.folder / run / name for run in ("again", "out"))
        assert again.read_bytes() == before.read_bytes(), name


def test_another_container_has_cells_of_its_own(three):
    other = match(three.folder / "other", three.members[:2], container="M001_b")
    assert not set(other.cells["cell_id"]) & set(three.cells["cell_id"])


def test_invalid_rois_are_left_out_or_not(three, sessions, tmp_path):
    is_valid = np.arange(len(sessions[1].cells)) % 3 > 0
    members = [
        three.members[0],
        write_member(tmp_path / "b", 2, sessions[1], is_valid=is_valid),
    ]
    valid = match(tmp_path / "valid", members).cells
    later = valid[valid["session"] == members[1][0]]
    np.testing.assert_array_equal(later["roi"], np.flatnonzero(is_valid))
    assert valid["is_valid"].all()
    every = match(tmp_path / "all", members, only="all").cells
    later = every[every["session"] == members[1][0]]
    np.testing.assert_array_equal(later["is_valid"], is_valid)


def test_a_plane_without_rois(three, sessions, tmp_path):
    empty = SimpleNamespace(
        mean=sessions[1].mean,
        masks=make_masks([], *sessions[1].mean.shape),
        xy_px=np.zeros((0, 2)),
        cells=np.zeros(0, int),
    )
    members = [three.members[0], write_member(tmp_path / "b", 2, empty)]
    found = match(tmp_path / "out", members)
    assert (found.cells["n_sessions"] == 1).all()
    assert len(found.pairs) == 0
    assert found.pairs["roi_a"].dtype == np.int64
    assert found.checks["matched_fraction"]["value"] is None
    assert found.checks["matched_fraction"]["verdict"] == "WARNING"
    both = [write_member(tmp_path / str(k), 5 + k, empty) for k in range(2)]
    assert len(match(tmp_path / "none", both).cells) == 0


def test_other_tissue_gives_no_pairs(three, tmp_path):
    """No match is better than a false one, and the checks say so."""
    other = Tissue(99, size_px=160, n_cells=60).session(1)
    members = [three.members[0], three.members[1], write_member(tmp_path / "b", 3, other)]
    found = match(tmp_path / "out", members)
    assert [row["is_aligned"] for row in found.transforms] == [True, False, False]
    assert set(found.pairs["session_b"]) == {members[1][0]}
    of_other = found.cells[found.cells["session"] == members[2][0]]
    assert (of_other["n_sessions"] == 1).all()
    assert found.checks["unaligned_pair_fraction"]["value"] == pytest.approx(2 / 3)
    assert found.checks["unaligned_pair_fraction"]["verdict"] == "FAIL"
    assert "2 of 3 pairs of sessions" in found.checks["unaligned_pair_fraction"]["message"]
    # the others are judged on their own
    assert found.checks["matched_fraction"]["verdict"] == "PASS"


def test_images_of_two_sizes(tmp_path):
    tissue = Tissue(12, size_px=128, n_cells=40)
    sessions = [
        tissue.session(0, height=128, width=110),
        tissue.session(1, height=100, width=128, shift_px=(6, -5), rotation_deg=2),
    ]
    members = [write_member(tmp_path / str(k), 1 + k, s) for k, s in enumerate(sessions)]
    found = match(tmp_path / "out", members)
    # one ROI that the edge of a frame cuts is taken for its neighbour
    precision, _ = precision_and_recall(found.cells, sessions)
    assert precision > 0.9
    assert found.checks["matched_fraction"]["value"] > 0.7


def test_made_up_movies(tmp_path):
    """Sessions of `sluice.synth.plane`: other cells in part, moved and turned."""
    first = make_scene(seed=3, n_frames=200, n_cells=30, motion_px=0.0)
    # new cells in one session only: those of another would lie in the same gaps of the tissue
    moves = [((9.0, -12.0), 4.0, 6), ((-14.0, 6.0), -3.0, 0)]
    scenes = [first] + [
        first.second_session(1 + k, shift_px=s, rotation_deg=r, n_gone=4, n_new=n)
        for k, (s, r, n) in enumerate(moves)
    ]
    sessions, members = [], []
    for k, scene in enumerate(scenes):
        spots = [np.nonzero(mask >= 0.5) for mask in scene.masks]
        sessions.append(
            SimpleNamespace(
                mean=scene.frames().mean(axis=0, dtype=np.float32),
                masks=make_masks([(y, x, np.ones(len(y))) for y, x in spots], *scene.shape[1:]),
                xy_px=np.array([(x.mean(), y.mean()) for y, x in spots]),
                cells=scene.cell_ids,
            )
        )
        members.append(write_member(tmp_path / str(k), 1 + k, sessions[-1]))
    found = match(tmp_path / "out", members)
    precision, recall = precision_and_recall(found.cells, sessions)
    assert precision >= 0.95
    assert recall >= 0.95


def test_sessions_of_different_zoom(three, sessions, tmp_path):
    members = [three.members[0], write_member(tmp_path / "b", 2, sessions[1], um_per_pixel=1.6)]
    with pytest.raises(InputError, match=r"container M001_a: .* has 0\.8 µm a pixel, .* has 1\.6"):
        match(tmp_path / "out", members)


@pytest.mark.parametrize("n_members", [0, 1])
def test_less_than_two_sessions(three, tmp_path, n_members):
    with pytest.raises(
        InputError, match=rf"container M001_a: {n_members} sessions; expected at least 2"
    ):
        match(tmp_path / "out", three.members[:n_members])


def test_files_of_different_runs(three, sessions, tmp_path):
    members = [three.members[0], write_member(tmp_path / "b", 2, sessions[1])]
    save_masks(sessions[0].masks, tmp_path / "b" / "masks.npz")
    with pytest.raises(InputError, match="The files are of different runs: delete the folder"):
        match(tmp_path / "out", members)


def test_a_mean_image_that_is_not_finite(three, sessions, tmp_path):
    spoiled = SimpleNamespace(**{**vars(sessions[1]), "mean": sessions[1].mean.copy()})
    spoiled.mean[4, :3] = np.nan
    members = [three.members[0], write_member(tmp_path / "b", 2, spoiled)]
    with pytest.raises(InputError, match="holds 3 values that are not finite; expected none"):
        match(tmp_path / "out", members)


def test_the_figure_is_a_picture_of_each_session(three):
    assert three.figure.read_bytes().startswith(b"\x89PNG")
    assert all(c["figure"] == "match_cells.png" for c in three.checks.values())
