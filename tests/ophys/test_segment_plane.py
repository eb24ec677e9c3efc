import os
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from ophys.suite2p_planes import SETTINGS, register, segment, write_movie, write_still
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from scipy.stats import skew

from sluice.errors import UserError
from sluice.ophys.suite2p_settings import suite2p_settings
from sluice.ophys.suite2p_traces import extract, trace_statistics
from sluice.synth.plane import make_scene

COLUMNS = [
    "roi",
    "y_px",
    "x_px",
    "n_pixels",
    "aspect_ratio",
    "compact",
    "skew",
    "npix_norm",
    "soma_probability",
]
FILES = ("rois.pqt", "masks.npz", "stat.npy", "detection.npz", "segment_plane.png")


def match(masks, truth):
    """Pair ROIs with planted cells by overlap; pairs whose IoU is above 0.4.

    Returns the cells, the ROIs and the IoU of the pairs.
    """
    found = np.stack([masks.image(k) for k in range(len(masks))]).astype(np.float32)
    truth = truth.astype(np.float32)
    inter = np.einsum("ayx,byx->ab", truth, found)
    union = truth.sum((1, 2))[:, None] + found.sum((1, 2)) - inter
    cells, rois = linear_sum_assignment(-inter / union)
    iou = (inter / union)[cells, rois]
    return cells[iou > 0.4], rois[iou > 0.4], iou[iou > 0.4]


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A plane without motion, whose planted cells lie where they are known to."""
    folder = tmp_path_factory.mktemp("still")
    scene = make_scene(seed=2, n_frames=1000, motion_px=0.0, missing_frames=(3, 500, 501))
    info = write_still(folder, scene.frames(), scene.settings.missing_frames)
    return folder, info, scene, segment(folder, info)


def test_planted_cells_are_found_and_hardly_anything_else(still):
    _, _, scene, found = still
    cells, rois, iou = match(found.masks, scene.masks >= 0.5)
    # all ROIs count, whatever their class
    assert len(cells) >= 0.9 * scene.n_cells
    assert len(found.masks) - len(rois) <= 0.1 * len(found.masks)
    assert np.median(iou) > 0.7
    # and the classifier calls the cells somata
    assert (found.table["soma_probability"].to_numpy()[rois] > 0.5).mean() > 0.9
    centres = found.table[["y_px", "x_px"]].to_numpy()[rois]
    assert np.abs(centres - scene.centres_px[cells]).max() < 3


def test_the_tables_agree_with_each_other(still):
    _, info, _, found = still
    table, masks = found.table, found.masks
    assert list(table.columns) == COLUMNS
    assert table["roi"].tolist() == list(range(len(masks)))
    assert table["n_pixels"].dtype == table["roi"].dtype == np.int64
    assert (masks.height, masks.width) == info.shape[1:]
    for k, roi in enumerate(found.stat):
        y, x, weight = masks.pixels(k)
        assert len(y) == table["n_pixels"][k] == len(roi["ypix"])
        assert weight.sum() == pytest.approx(1, rel=1e-5)
        assert np.average(y, weights=weight) == pytest.approx(table["y_px"][k], abs=1e-3)
        assert np.average(x, weights=weight) == pytest.approx(table["x_px"][k], abs=1e-3)
    for column in ("soma_probability",):
        assert table[column].between(0, 1).all()
    assert np.isfinite(table.to_numpy(float)).all()


def test_shared_pixels_belong_to_both_rois(still):
    _, _, scene, found = still
    assert scene.settings.n_overlapping_pairs > 0
    count = np.sum([found.masks.image(k) for k in range(len(found.masks))], axis=0)
    marked = sum(int(roi["overlap"].sum()) for roi in found.stat)
    assert marked == count[count > 1].sum() > 0
    share = found.checks["shared_pixel_fraction"]["value"]
    assert share == pytest.approx(marked / found.table["n_pixels"].sum())


def test_blank_frames_decide_nothing(still):
    folder, info, scene, found = still
    filled = suite2p_settings(SETTINGS["segment_plane"], info, device="cpu")
    traces, neuropil = extract(
        found.stat, folder / "registered.bin", info, filled=filled, device="cpu"
    )
    # a slow twin of the extraction: weights over pixels that are not shared
    movie = np.fromfile(folder / "registered.bin", np.int16).reshape(info.shape)
    for k in (0, len(found.stat) - 1):
        roi = found.stat[k]
        own = ~roi["overlap"]
        weight = roi["lam"][own] / roi["lam"][own].sum()
        slow = movie[:, roi["ypix"][own], roi["xpix"][own]] @ weight
        np.testing.assert_allclose(traces[k], slow, rtol=1e-4, atol=0.05)
    used = np.ones(1000, bool)
    used[list(scene.settings.missing_frames)] = False
    corrected = (traces - 0.7 * neuropil)[:, used]
    np.testing.assert_allclose(found.table["skew"], skew(corrected, axis=1), rtol=1e-3)


def test_statistics_of_constant_traces_are_undefined_not_wrong():
    traces = np.stack([np.ones(50), np.arange(50), np.random.default_rng(0).standard_normal(50)])
    found = trace_statistics(traces, np.zeros_like(traces), np.ones(50, bool), coefficient=0.7)
    assert np.isnan(found["skew"][0])
    assert np.isnan(found["snr"][0])
    assert found["skew"][1] == pytest.approx(0, abs=1e-9)
    # a slope has all its variance in slow changes, white noise half of it
    assert found["snr"][1] == pytest.approx(1, abs=1e-3)
    assert abs(found["snr"][2]) < 0.4


def test_two_runs_give_the_same_bytes(still, tmp_path):
    folder, info, _, _ = still
    for name in ("registered.bin", "registration.npz", "images.npz"):
        (tmp_path / name).symlink_to(folder / name)
    segment(tmp_path, info)
    for name in (*FILES, "segment_checks.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("size", [(64, 64), (20, 33)])
def test_a_plane_without_cells_gives_valid_empty_files(tmp_path, size):
    frames = np.random.default_rng(0).normal(500, 30, (60, *size))
    found = segment(tmp_path, write_still(tmp_path, frames))
    assert len(found.table) == len(found.masks) == len(found.stat) == 0
    assert list(found.table.columns) == COLUMNS
    assert found.table["n_pixels"].dtype == np.int64
    assert found.table["skew"].dtype == float
    assert found.checks["rois_found"]["verdict"] == "WARNING"
    # the plane may be empty: fewer ROIs than none cannot be, so the check never fails
    assert found.checks["rois_found"]["value"] == 0
    # `label_rois` has the one of this name
    assert "soma_fraction" not in found.checks
    assert (tmp_path / "segment_plane.png").stat().st_size > 1000


def test_images_of_the_detection_are_intensities_as_recorded(still, tmp_path):
    folder, info, _, found = still
    for name in ("registered.bin", "registration.npz", "images.npz"):
        (tmp_path / name).symlink_to(folder / name)
    scaled = segment(tmp_path, replace(info, scale=2.0, offset=1000.0))
    plain = found.detection["max_projection"]
    np.testing.assert_allclose(scaled.detection["max_projection"], 2 * plain + 1000, rtol=1e-6)
    # a measure of likeness has no unit
    np.testing.assert_array_equal(scaled.detection["correlation"], found.detection["correlation"])


def test_a_movie_of_constant_pixels_is_empty_too(tmp_path):
    found = segment(tmp_path, write_still(tmp_path, np.full((20, 40, 40), 7)))
    assert len(found.table) == 0


def test_registered_motion_does_not_hide_the_cells(tmp_path):
    scene = make_scene(seed=3, n_frames=600, motion_px=2.0)
    info = write_movie(tmp_path, scene.frames())
    moved = register(tmp_path, info)
    found = segment(tmp_path, info)
    offset = np.rint(np.median(moved.shifts_px - scene.shifts_px, axis=0)).astype(int)
    truth = np.stack([np.roll(m, tuple(-offset), (0, 1)) for m in scene.masks >= 0.5])
    cells, rois, _ = match(found.masks, truth)
    assert len(cells) >= 0.9 * scene.n_cells
    assert len(found.masks) - len(rois) <= 0.1 * len(found.masks)


@pytest.mark.parametrize("size", [64, 96])
def test_a_still_structure_without_cells_has_hardly_a_roi(tmp_path, size):
    rng = np.random.default_rng(0)
    image = 500 + 2000 * gaussian_filter(rng.standard_normal((size, size)), 3)
    info = write_movie(tmp_path, image + rng.normal(0, 30, (100, size, size)))
    moved = register(tmp_path, info)
    assert moved.table["nonrigid_max_px"].max() < 0.5
    found = segment(tmp_path, info)
    # where blocks jitter, edges flicker: 28 and 32 ROIs with suite2p's own filters
    assert len(found.table) <= 3
    assert not (found.table["soma_probability"] > 0.5).any()


def test_bad_frames_are_not_searched(tmp_path):
    rng = np.random.default_rng(1)
    frames = rng.normal(500, 30, (200, 64, 64))
    # something bright in bad frames only
    frames[50:60, 20:30, 20:30] += 2000
    info = write_still(tmp_path, frames, missing=range(50, 60))
    assert len(segment(tmp_path, info).table) == 0


def test_sourcery_finds_the_cells_too(still, tmp_path):
    folder, info, scene, _ = still
    for name in ("registered.bin", "registration.npz", "images.npz"):
        (tmp_path / name).symlink_to(folder / name)
    found = segment(tmp_path, info, algorithm="sourcery")
    assert len(match(found.masks, scene.masks >= 0.5)[0]) >= 0.5 * scene.n_cells


def test_cellpose_without_weights_stops_before_anything_is_written(still, tmp_path):
    folder, info, _, _ = still
    for name in ("registered.bin", "registration.npz", "images.npz"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(UserError, match="cellpose_model is not set"):
        segment(tmp_path, info, algorithm="cellpose")
    assert not (tmp_path / "rois.pqt").exists()


def test_a_real_clip_has_rois(tmp_path, real_data):
    with h5py.File(real_data / "two_photon" / "movie_100x100x100.h5") as file:
        frames = file["data"][:]
    info = write_movie(tmp_path, frames, rate_hz=10.0, decay_s=1.0)
    register(tmp_path, info)
    # 17 with suite2p's own pipeline and defaults
    assert len(segment(tmp_path, info).table) >= 10


MEMORY = """
import resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
from ophys.suite2p_planes import SETTINGS, plane_info
from sluice.ophys.segment_plane import segment_plane_file
for n in (500, 500, 3000):
    f = Path({folder!r}) / str(n)
    segment_plane_file(
        registered=f / "registered.bin", info=plane_info((n, 128, 128)),
        registration=f / "registration.npz", images=f / "images.npz", rois=f / "rois.pqt",
        masks=f / "masks.npz", stat=f / "stat.npy", detection=f / "detection.npz",
        checks=f / "c.json", figure=f / "f.png", device="cpu",
        settings={{**SETTINGS["segment_plane"], "max_bins": 100}})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_movie(tmp_path):
    frames = make_scene(seed=4, n_frames=500, motion_px=0.0).frames()
    write_still(tmp_path / "500", frames)
    write_still(tmp_path / "3000", np.tile(frames, (6, 1, 1)))
    # one process for both: what imports take differs by 100 MB from one to the next. Large
    # arrays come straight from the system, so that what is freed is not kept
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            MEMORY.format(path=[p for p in sys.path if p], folder=str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "200000"},
    )
    assert done.returncode == 0, done.stderr
    _, short_mb, long_mb = map(float, done.stdout.split()[-3:])
    # 2500 frames more are 82 MB; a chunk of 500 frames is as large as the movie, and one of
    # 976 as the chunks of the longer one are 16 MB more; 100 bins are 6.5 MB
    assert long_mb - short_mb < 50
