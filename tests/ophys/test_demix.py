import json
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from ophys.plane_files import disc, masks_of, plane_info, write_plane
from ophys.test_demixing import dense_demix

from sluice.errors import InputError
from sluice.ophys.crosstalk import PairedPlane
from sluice.ophys.demix import demix_file, find_regions
from sluice.ophys.masks import load_masks
from sluice.ophys.motion_border import MotionBorder
from sluice.ophys.plane import frame_chunks
from sluice.settings import validate_settings
from sluice.synth.plane import make_scene

SETTINGS = validate_settings({})["ophys"]["demix"]
OUTPUTS = (
    "raw.npy",
    "neuropil.npy",
    "demixed.npy",
    "roi_masks.npz",
    "neuropil_masks.npz",
    "rois.pqt",
)


def run(folder, inputs, *, paired=None, **changed):
    """Run the step; return everything it wrote."""
    paths = {name.split(".")[0]: folder / f"out_{name}" for name in OUTPUTS}
    demix_file(
        **inputs,
        **paths,
        checks=folder / "checks.json",
        settings={**SETTINGS, **changed},
        name="S/FOV_00",
        paired=paired,
    )
    arrays = {key: np.load(paths[key]) for key in ("raw", "neuropil", "demixed")}
    return SimpleNamespace(
        **arrays,
        roi_masks=load_masks(paths["roi_masks"]),
        masks=load_masks(paths["neuropil_masks"]),
        rois=pd.read_parquet(paths["rois"]),
        checks={c["name"]: c for c in json.loads((folder / "checks.json").read_text())},
        bytes=[path.read_bytes() for path in paths.values()],
    )


def noisy_movie(rng, n_frames, height, width):
    light = 300 + 100 * rng.random((height, width))
    return np.rint(light + 30 * rng.standard_normal((n_frames, height, width))).astype(np.int16)


def three_cells(height=40, width=60):
    return np.array([disc(height, width, 18, x, r) for x, r in ((14, 6), (22, 6), (45, 5))])


def test_traces_equal_the_obvious_way(tmp_path):
    rng = np.random.default_rng(0)
    movie, images = noisy_movie(rng, 60, 40, 60), three_cells()
    shifts = np.zeros((60, 2))
    shifts[5] = [-3, 0]
    missing = np.arange(60) == 7
    movie[7] = 0
    masks = masks_of(images, 40, 60)
    inputs = write_plane(
        tmp_path, movie, masks, shifts=shifts, is_missing=missing, scale=0.5, offset=20.0
    )
    found = run(tmp_path, inputs)
    light = movie * 0.5 + 20.0
    valid = ~missing
    for k, image in enumerate(images):
        np.testing.assert_allclose(
            found.raw[k, valid], light[valid][:, image].mean(axis=1), rtol=1e-6
        )
        ring = found.masks.image(k)
        assert not ring[:3].any()
        assert not (ring & images.any(axis=0)).any()
        np.testing.assert_allclose(
            found.neuropil[k, valid], light[valid][:, ring].mean(axis=1), rtol=1e-6
        )
        assert found.rois["n_neuropil_pixels"][k] == ring.sum()
    np.testing.assert_allclose(
        found.demixed[:, valid], dense_demix(light[valid], images), rtol=1e-5
    )
    # no overlap, no change
    np.testing.assert_array_equal(found.demixed[2], found.raw[2])
    for traces in (found.raw, found.neuropil, found.demixed):
        assert traces.dtype == np.float32
        assert np.isnan(traces[:, missing]).all()
    assert found.rois["n_undefined_frames"].tolist() == [0, 0, 0]
    shared = (images[0] & images[1]).sum()
    np.testing.assert_allclose(
        found.rois["overlap_fraction"], [shared / images[0].sum(), shared / images[1].sum(), 0]
    )
    assert {c["verdict"] for c in found.checks.values()} == {"PASS"}
    assert "crosstalk_fraction" not in found.checks


def test_the_masks_written_are_the_pixels_that_the_traces_are_means_of(tmp_path):
    movie, images = noisy_movie(np.random.default_rng(14), 20, 40, 60), three_cells()
    weighted = images * np.random.default_rng(15).uniform(0.1, 1, images.shape)
    found = run(
        tmp_path, write_plane(tmp_path, movie, masks_of(weighted, 40, 60)), binarize_quantile=0.3
    )
    assert (found.roi_masks.weights.data == 1).all()
    assert len(found.roi_masks) == 3
    for k, image in enumerate(images):
        pixels = found.roi_masks.image(k)
        # the weakest pixels are not in it
        assert pixels.sum() == found.rois["n_mask_pixels"][k] < image.sum()
        np.testing.assert_allclose(found.raw[k], movie[:, pixels].mean(axis=1), rtol=1e-6)


def test_the_motion_border_is_of_good_frames_and_of_their_blocks(tmp_path):
    movie = noisy_movie(np.random.default_rng(16), 30, 40, 60)
    shifts, nonrigid_px = np.zeros((30, 2)), np.zeros(30)
    shifts[4], nonrigid_px[4] = [-2, 0], 1.5
    shifts[9] = [20, 20]
    inputs = write_plane(
        tmp_path,
        movie,
        masks_of(three_cells(), 40, 60),
        shifts=shifts,
        nonrigid_px=nonrigid_px,
        is_bad=np.arange(30) == 9,
    )
    found = run(tmp_path, inputs)
    # a frame that could not be registered would take all of them
    assert found.rois["motion_border"].tolist() == [False] * 3
    rings = np.array([found.masks.image(k) for k in range(3)]).any(axis=0)
    # 2 px of the frame and 1.5 px of its blocks at the top, 1.5 px at the other edges
    assert np.flatnonzero(rings.any(axis=1))[[0, -1]].tolist() == [4, 37]
    assert np.flatnonzero(rings.any(axis=0))[[0, -1]].tolist() == [2, 57]


@pytest.mark.parametrize("chunk_bytes", [1, 100_000])
def test_chunks_do_not_matter(tmp_path, monkeypatch, chunk_bytes):
    rng = np.random.default_rng(1)
    inputs = write_plane(tmp_path, noisy_movie(rng, 30, 40, 60), masks_of(three_cells(), 40, 60))
    whole = run(tmp_path, inputs).bytes
    monkeypatch.setattr(
        "sluice.ophys.demix.frame_chunks",
        lambda info: frame_chunks(info, chunk_bytes=chunk_bytes),
    )
    assert run(tmp_path, inputs).bytes == whole


def test_what_groups_have_in_common_in_all_frames_is_found_once(tmp_path, monkeypatch):
    movie = noisy_movie(np.random.default_rng(17), 30, 40, 60)
    inputs = write_plane(tmp_path, movie, masks_of(three_cells(), 40, 60))
    rank, calls = np.linalg.matrix_rank, []

    def counted(matrix, **settings):
        calls.append(matrix)
        return rank(matrix, **settings)

    monkeypatch.setattr("numpy.linalg.matrix_rank", counted)
    monkeypatch.setattr(
        "sluice.ophys.demix.frame_chunks", lambda info: frame_chunks(info, chunk_bytes=1)
    )
    run(tmp_path, inputs)
    # 30 chunks, one group
    assert len(calls) == 1


def test_overlapping_cells_of_a_made_up_movie_come_apart(tmp_path):
    scene = make_scene(
        seed=5, n_frames=1500, n_cells=12, n_overlapping_pairs=4, motion_px=0.0, offset=0.0
    )
    masks = masks_of(scene.masks * (scene.masks >= 0.5), scene.height, scene.width)
    found = run(tmp_path, write_plane(tmp_path, scene.frames(), masks), binarize_quantile=0.0)
    has_overlap = found.rois["overlap_fraction"].to_numpy() > 0.05
    assert has_overlap.sum() >= 8
    truth = scene.dff * scene.brightness[:, None]

    def coupling(traces, k, other):
        """How much of the other cell's light a trace holds, beside its own and the neuropil."""
        parts = np.stack([truth[k], truth[other], found.neuropil[k], np.ones(1500)], axis=1)
        weights = np.linalg.lstsq(parts, traces[k], rcond=None)[0]
        return weights[1] / weights[0]

    shared = scene.masks >= 0.5
    before, after = [], []
    for k in np.flatnonzero(has_overlap):
        n_shared = [(shared[k] & shared[j]).sum() * (j != k) for j in range(12)]
        before.append(coupling(found.raw, k, int(np.argmax(n_shared))))
        after.append(coupling(found.demixed, k, int(np.argmax(n_shared))))
    # a quarter is shared; what is left comes from the light that does not change
    assert np.mean(before) > 0.15
    assert np.mean(np.abs(after)) < 0.25 * np.mean(before)
    alone = ~(found.rois["overlap_fraction"].to_numpy() > 0)
    np.testing.assert_array_equal(found.demixed[alone], found.raw[alone])


def test_an_undefined_frame_is_nan_for_its_group(tmp_path):
    movie, images = noisy_movie(np.random.default_rng(2), 50, 40, 60), three_cells()
    movie[11][images[0]] = 0
    found = run(tmp_path, write_plane(tmp_path, movie, masks_of(images, 40, 60)))
    assert np.argwhere(np.isnan(found.demixed)).tolist() == [[0, 11], [1, 11]]
    assert np.isfinite(found.raw).all()
    assert found.rois["n_undefined_frames"].tolist() == [1, 1, 0]
    assert found.checks["undefined_fraction"]["value"] == pytest.approx(2 / 150)
    assert found.checks["undefined_fraction"]["verdict"] == "WARNING"
    assert found.checks["dark_fraction"]["value"] == pytest.approx(1 / 100)


def test_duplicates_and_unions_keep_their_raw_trace(tmp_path):
    movie, images = noisy_movie(np.random.default_rng(3), 50, 40, 60), three_cells()
    alike = images[2].copy()
    alike[18, 45] = False
    images = np.array([*images, alike, images[0] | images[1]])
    found = run(tmp_path, write_plane(tmp_path, movie, masks_of(images, 40, 60)))
    assert found.rois["duplicate"].tolist() == [False, False, False, True, False]
    assert found.rois["union"].tolist() == [False, False, False, False, True]
    np.testing.assert_array_equal(found.demixed[2:], found.raw[2:])
    np.testing.assert_allclose(found.demixed[:2], dense_demix(movie, images[:2]), rtol=1e-5)


def test_negative_transients_and_baselines_are_labelled(tmp_path):
    rng = np.random.default_rng(4)
    movie, images = noisy_movie(rng, 1200, 24, 40), three_cells(24, 40)[:2]
    images = np.array([*images, disc(24, 40, 18, 35, 3)])
    movie[700:715][:, images[0] & ~images[1]] -= 150
    movie[:, images[2]] -= 900
    found = run(tmp_path, write_plane(tmp_path, movie, masks_of(images, 24, 40)))
    assert found.rois["demix_negative_transient"].tolist() == [True, False, False]
    assert found.rois["demix_negative_baseline"].tolist() == [False, False, True]
    assert found.checks["negative_baseline_fraction"]["verdict"] == "WARNING"


def leaking_planes(folder, *, to_this=0.2, to_paired=0.1):
    """Two planes recorded at once, moved together; this one registered, the other not."""
    this, other = (make_scene(seed=k, n_frames=1500, motion_px=0.0, offset=0.0) for k in (0, 1))
    frames = [
        this.with_crosstalk(other, to_this).frames(),
        other.with_crosstalk(this, to_paired).frames(),
    ]
    shifts = np.random.default_rng(7).integers(-3, 4, (1500, 2)).astype(float)
    for t, shift in enumerate(shifts.astype(int)):
        frames[1][t] = np.roll(frames[1][t], shift, axis=(0, 1))
    masks = masks_of(this.masks * (this.masks >= 0.5), 128, 128)
    inputs = write_plane(folder, frames[0], masks, shifts=shifts)
    frames[1].tofile(folder / "paired.bin")
    missing = np.zeros(1500, bool)
    missing[100] = True
    paired = PairedPlane(folder / "paired.bin", replace(inputs["info"], name="S/FOV_01"), missing)
    return this, other, inputs, paired


def test_crosstalk_is_measured_and_leaves(tmp_path):
    this, other, inputs, paired = leaking_planes(tmp_path)
    kept = run(tmp_path, inputs)
    found = run(tmp_path, inputs, paired=paired, crosstalk="unmix")
    check = found.checks["crosstalk_fraction"]
    # a hundred events over the ROIs of this plane give 0.014 (standard deviation of ten scenes)
    assert check["value"] == pytest.approx(0.2, abs=0.04)
    assert check["verdict"] == "PASS"
    # what the other plane's cells do in the pixels of this plane's ROIs
    masks = this.masks >= 0.5
    leaking = other.own_light()
    leaking = np.array([leaking[:, m].mean(axis=1) for m in masks])
    own = this.own_light()
    own = np.array([own[:, m].mean(axis=1) for m in masks])
    valid = np.arange(1500) != 100

    def leak(traces):
        slopes = []
        for k in range(len(masks)):
            parts = np.stack([own[k], leaking[k], np.ones(1500)], axis=1)[valid]
            slopes.append(np.linalg.lstsq(parts, traces[k, valid], rcond=None)[0][1] / 12)
        return np.mean(slopes)

    alone = found.rois["overlap_fraction"].to_numpy() == 0
    assert alone.any()
    assert leak(kept.demixed) == pytest.approx(0.2, abs=0.02)
    assert abs(leak(found.demixed)) < 0.04
    # as recorded
    np.testing.assert_array_equal(found.raw, kept.raw)
    # both the demixed and the neuropil lose what the pair has not recorded
    for traces in (found.demixed, found.neuropil):
        assert np.isnan(traces[:, 100]).all()
        assert np.isfinite(traces[:, valid]).all()
    assert found.rois["n_undefined_frames"].sum() == 0


def test_crosstalk_that_is_not_asked_for_or_has_no_pair_stays(tmp_path):
    rng = np.random.default_rng(8)
    inputs = write_plane(tmp_path, noisy_movie(rng, 50, 40, 60), masks_of(three_cells(), 40, 60))
    paired = PairedPlane(inputs["registered"], inputs["info"], np.zeros(50, bool))
    kept = run(tmp_path, inputs).bytes
    assert run(tmp_path, inputs, paired=paired).bytes == kept
    assert run(tmp_path, inputs, crosstalk="unmix").bytes == kept
    # too few events to measure anything
    few = run(tmp_path, inputs, paired=paired, crosstalk="unmix")
    assert few.bytes == kept
    assert few.checks["crosstalk_fraction"]["verdict"] == "WARNING"
    assert "too few frames" in few.checks["crosstalk_fraction"]["message"]


@pytest.mark.parametrize("method", ["ring", "grown"])
def test_no_rois(tmp_path, method):
    movie = noisy_movie(np.random.default_rng(9), 50, 40, 40)
    inputs = write_plane(tmp_path, movie, masks_of([], 40, 40))
    paired = PairedPlane(inputs["registered"], inputs["info"], np.zeros(50, bool))
    for crosstalk in ("none", "unmix"):
        found = run(tmp_path, inputs, neuropil_method=method, paired=paired, crosstalk=crosstalk)
        for traces in (found.raw, found.neuropil, found.demixed):
            assert traces.shape == (0, 50)
            assert traces.dtype == np.float32
        assert len(found.rois) == 0
        assert found.rois["duplicate"].dtype == bool
        assert found.rois["roi"].dtype == np.int64
        assert len(found.masks) == 0


def test_odd_rois(tmp_path):
    movie = noisy_movie(np.random.default_rng(10), 50, 40, 40)
    images = np.zeros((4, 40, 40), bool)
    images[0] = True  # covers the plane
    images[2] = disc(40, 40, 3, 3, 2)  # outside the motion border; 1 is empty
    images[3] = disc(40, 40, 25, 25, 4)
    shifts = np.zeros((50, 2))
    shifts[9] = [-8, 0]
    inputs = write_plane(tmp_path, movie, masks_of(images, 40, 40), shifts=shifts)
    found = run(tmp_path, inputs)
    assert found.rois["n_neuropil_pixels"].tolist() == [0, 0, 0, 0]
    assert found.rois["motion_border"].tolist() == [True, False, True, False]
    assert np.isnan(found.neuropil).all()
    assert np.isnan(found.raw[1]).all()
    assert np.isnan(found.demixed[1]).all()
    assert np.isfinite(found.demixed[[0, 2, 3]]).all()
    assert found.rois["n_undefined_frames"].tolist() == [0, 0, 0, 0]
    assert np.isnan(found.rois["overlap_fraction"][1])
    assert found.checks["empty_neuropil_fraction"]["verdict"] == "FAIL"


def test_a_movie_without_a_frame_that_is_there(tmp_path):
    inputs = write_plane(
        tmp_path,
        np.zeros((50, 40, 60)),
        masks_of(three_cells(), 40, 60),
        is_missing=np.ones(50, bool),
    )
    found = run(tmp_path, inputs)
    assert np.isnan(found.demixed).all()
    assert not found.rois[["demix_negative_transient", "demix_negative_baseline"]].any(axis=None)
    assert found.checks["undefined_fraction"]["value"] == 0


def test_regions_of_a_motion_border_that_takes_all():
    masks = masks_of(three_cells(), 40, 60)
    regions = find_regions(masks, MotionBorder(20, 20, 0, 0), settings=SETTINGS)
    assert regions.table["motion_border"].all()
    assert (regions.table["n_neuropil_pixels"] == 0).all()


def test_memory_does_not_grow_with_the_movie(tmp_path):
    masks = masks_of(three_cells(128, 128), 128, 128)
    peaks = []
    for n_frames in (2500, 10000):
        folder = tmp_path / str(n_frames)
        folder.mkdir()
        inputs = write_plane(folder, np.zeros((1, 128, 128)), masks)
        inputs["info"] = plane_info((n_frames, 128, 128))
        # a hole in a file reads as zeros; 330 MB
        with inputs["registered"].open("r+b") as file:
            file.truncate(n_frames * 128 * 128 * 2)
        zeros = np.zeros(n_frames)
        shifts = {"y_px": zeros, "x_px": zeros, "nonrigid_max_px": zeros, "is_bad": zeros > 0}
        pd.DataFrame(shifts).to_parquet(inputs["shifts"])
        pd.DataFrame({"is_missing": zeros > 0}).to_parquet(inputs["frames"])
        tracemalloc.start()
        run(folder, inputs)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # a chunk is 32 MB as int16; two are there while the next one is read
    assert peaks[1] < 80e6
    # the rest is traces and tables of frames
    assert peaks[1] - peaks[0] < 10e6


def test_same_input_same_bytes(tmp_path):
    rng = np.random.default_rng(12)
    inputs = write_plane(tmp_path, noisy_movie(rng, 50, 40, 60), masks_of(three_cells(), 40, 60))
    assert run(tmp_path, inputs).bytes == run(tmp_path, inputs).bytes


def test_files_that_do_not_fit_are_refused(tmp_path):
    movie = noisy_movie(np.random.default_rng(13), 20, 40, 60)
    masks = masks_of(three_cells(), 40, 60)
    inputs = write_plane(tmp_path, movie, masks)
    with pytest.raises(InputError, match=r"S/FOV_00: .*masks.npz is of a plane of 40 x 60 pixels"):
        run(tmp_path, {**inputs, "info": plane_info((20, 60, 40))})
    pd.DataFrame({"is_missing": np.zeros(19, bool)}).to_parquet(tmp_path / "fewer.pqt")
    with pytest.raises(InputError, match=r"fewer.pqt has 19 rows; .* 20 frames .* import_plane"):
        run(tmp_path, {**inputs, "frames": tmp_path / "fewer.pqt"})
    paired = PairedPlane("other.bin", plane_info((19, 40, 60), name="S/FOV_01"), np.zeros(19, bool))
    with pytest.raises(
        InputError, match=r"S/FOV_00: the paired plane S/FOV_01 has .* \(19, 40, 60\); expected"
    ):
        run(tmp_path, inputs, paired=paired, crosstalk="unmix")
    with (tmp_path / "registered.bin").open("r+b") as file:
        file.truncate(95000)
    with pytest.raises(InputError, match="has 95000 bytes; expected 96000 for 20 frames"):
        run(tmp_path, inputs)


def test_real_movie(real_data, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(real_data / "two_photon" / "movie_100x100x100.h5") as file:
        movie = file["data"][:]
    images = np.array([disc(100, 100, 30, x, 7) for x in (30, 40, 80)])
    found = run(tmp_path, write_plane(tmp_path, movie, masks_of(images, 100, 100)))
    np.testing.assert_allclose(found.demixed, dense_demix(movie, images), rtol=1e-5)
    assert np.isfinite(found.neuropil).all()
    assert found.checks["dark_fraction"]["verdict"] == "PASS"
