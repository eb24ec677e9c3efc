import hashlib
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from ophys.suite2p_planes import NAME, register, write_movie
from scipy.ndimage import gaussian_filter

from sluice.errors import InputError
from sluice.ophys.motion_border import find_motion_border_of
from sluice.ophys.shifts import undo_bidirectional
from sluice.synth.plane import make_scene

FILES = ("registered.bin", "shifts.pqt", "images.npz", "registration.npz", "register_plane.png")


def error_px(found, scene):
    """Shifts found minus true ones over good frames, without the constant offset."""
    good = ~found.table["is_bad"].to_numpy()
    error = (found.shifts_px - scene.shifts_px)[good]
    return error - error.mean(axis=0)


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def small_movie(rng, shape, motion=True):
    """A texture that moves by whole pixels; the movie and its shifts."""
    n, height, width = shape
    image = gaussian_filter(rng.standard_normal((height + 20, width + 20)), 1.5)
    image = 500 + 300 * image / image.std()
    shifts_px = rng.integers(-2, 3, (n, 2)) if motion else np.zeros((n, 2), int)
    frames = [image[10 - y : 10 - y + height, 10 - x : 10 - x + width] for y, x in shifts_px]
    return np.stack(frames) + rng.normal(0, 30, shape), shifts_px


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plane")
    scene = make_scene(
        seed=1, n_frames=600, motion_px=2.0, nonrigid_px=1.0, missing_frames=(0, 5, 6, 400)
    )
    info = write_movie(folder, scene.frames(), scene.settings.missing_frames)
    before = hashlib.sha256((folder / "movie.bin").read_bytes()).hexdigest()
    found = register(folder, info)
    assert hashlib.sha256((folder / "movie.bin").read_bytes()).hexdigest() == before
    return folder, info, scene, found


def test_shifts_are_found_to_a_third_of_a_pixel_with_their_sign(registered):
    _, _, scene, found = registered
    error = error_px(found, scene)
    # tenths of a pixel from the blocks; photon noise adds as much
    assert rms(error) < 0.15
    assert np.abs(error).max() < 0.6
    for axis in range(2):
        good = ~found.table["is_bad"].to_numpy()
        assert np.corrcoef(found.shifts_px[good, axis], scene.shifts_px[good, axis])[0, 1] > 0.99


def test_blocks_follow_the_shear_that_the_frame_cannot(registered):
    _, _, scene, found = registered
    yoff1 = found.registration["yoff1"].reshape(600, 3, 3)
    total = found.registration["yoff"][:, None] + yoff1.mean(axis=2)
    rows = scene.row_shifts(0, 600)[0]
    good = ~found.table["is_bad"].to_numpy()
    for k, centre in enumerate((31, 63, 95)):
        error = (total[:, k] - rows[:, centre - 16 : centre + 16].mean(axis=1))[good]
        assert rms(error - error.mean()) < 0.2
    # the rows differ by more than that
    assert rms(rows[:, 31] - rows[:, 95]) > 0.5
    assert found.table["nonrigid_max_px"][good].between(0, 6).all()


def test_the_registered_movie_stands_still(registered):
    _, info, scene, found = registered
    good = np.flatnonzero(~found.table["is_bad"].to_numpy())
    first, second = (found.movie[half].mean(axis=0) for half in (good[::2], good[1::2]))
    raw = scene.frames()
    crop = tuple(slice(*found.registration[k]) for k in ("yrange", "xrange"))
    assert np.corrcoef(first[crop].ravel(), second[crop].ravel())[0, 1] > 0.99
    # two halves that are mixed in time show the same image even where both are blurred; two
    # that are apart in time do not where the plane drifts
    early, late = good[:200], good[-200:]
    after = np.corrcoef(*(found.movie[k].mean(axis=0)[crop].ravel() for k in (early, late)))[0, 1]
    before = np.corrcoef(*(raw[k].mean(axis=0)[crop].ravel() for k in (early, late)))[0, 1]
    assert after > 0.9
    assert before < after - 0.05
    assert found.checks["residual_motion_px"]["value"] < 0.15
    assert found.checks["crispness_ratio"]["value"] > 1.2
    assert found.movie.shape == info.shape


def test_missing_frames_are_bad_and_leave_no_trace(registered):
    _, _, scene, found = registered
    missing = list(scene.settings.missing_frames)
    assert found.table["is_bad"].to_numpy()[missing].all()
    assert np.isnan(found.table["correlation"].to_numpy()[missing]).all()
    assert found.table["correlation"].notna().sum() == 600 - len(missing)
    assert not found.table["is_clipped"].to_numpy()[missing].any()
    np.testing.assert_array_equal(found.registration["is_missing"].nonzero()[0], missing)
    # blank frames stay blank, at a place like their neighbours'
    assert not found.movie[missing].any()
    assert np.abs(found.shifts_px[missing]).max() <= np.abs(found.shifts_px).max()
    good = ~found.table["is_bad"].to_numpy()
    np.testing.assert_allclose(
        found.images["mean"], found.movie[good].mean(axis=0, dtype=float), rtol=1e-5
    )
    assert found.checks["bad_frame_fraction"]["value"] == pytest.approx(4 / 600)


def test_the_maximum_is_that_of_means_over_a_quarter_second(registered):
    _, _, _, found = registered
    good = np.flatnonzero(~found.table["is_bad"].to_numpy())
    # 10 Hz: bins of 2 frames, and 596 good frames
    pairs = found.movie[good].reshape(-1, 2, 128, 128).mean(axis=1)
    np.testing.assert_allclose(found.images["max"], pairs.max(axis=0), rtol=1e-6)


def test_two_runs_give_the_same_bytes(tmp_path):
    frames, _ = small_movie(np.random.default_rng(0), (60, 80, 70))
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        register(folder, write_movie(folder, frames))
        written.append([(folder / name).read_bytes() for name in (*FILES, "register_checks.json")])
    assert written[0] == written[1]


# a frame of 70 x 90 px is processed in batches of hundreds; 1 px more than a block of 64;
# images that suite2p alone fails on (suite2p#1251)
@pytest.mark.parametrize("shape", [(50, 128, 128), (10, 100, 65), (40, 200, 64), (30, 40, 90)])
def test_short_and_small_movies_are_registered(tmp_path, shape, caplog):
    frames, truth = small_movie(np.random.default_rng(1), shape)
    with caplog.at_level("INFO"):
        found = register(tmp_path, write_movie(tmp_path, frames))
    error = found.shifts_px - truth
    assert rms(error - np.median(error, axis=0)) < 0.3
    assert found.movie.shape == shape
    if min(shape[1:]) < 64:
        assert "too small for blocks: rigid registration only" in caplog.text
        assert found.registration["yoff1"].shape == (shape[0], 0)
        assert found.table["nonrigid_max_px"].eq(0).all()


def test_rigid_registration_moves_whole_pixels(tmp_path):
    frames, truth = small_movie(np.random.default_rng(2), (30, 80, 80))
    found = register(tmp_path, write_movie(tmp_path, frames), nonrigid=False)
    offset = np.median(found.shifts_px - truth, axis=0)
    np.testing.assert_array_equal(found.shifts_px, truth + offset)
    stored = frames.astype(np.int16)
    inner = slice(6, -6)
    for t, (y, x) in enumerate(found.shifts_px.astype(int)):
        moved = np.roll(stored[t], (-y, -x), (0, 1))
        np.testing.assert_array_equal(found.movie[t, inner, inner], moved[inner, inner])


@pytest.mark.parametrize("nonrigid", [False, True])
def test_the_largest_shift_is_that_of_whole_frames(tmp_path, nonrigid):
    frames, _ = small_movie(np.random.default_rng(12), (60, 80, 80))
    info = write_movie(tmp_path, frames, missing=(7,))
    found = register(tmp_path, info, nonrigid=nonrigid)
    seen = np.arange(60) != 7
    largest = max(np.abs(found.registration[k][seen]).max() for k in ("yoff", "xoff"))
    # a tenth of 80 px is searched; several frames have the largest shift
    assert found.checks["max_shift_ratio"]["value"] == largest / 8


def test_a_frame_of_noise_is_clipped_and_a_real_jump_is_not(tmp_path):
    rng = np.random.default_rng(3)
    frames, _ = small_movie(rng, (80, 100, 100), motion=False)
    frames[60] = rng.normal(500, 300, (100, 100))
    frames[70] = np.roll(frames[70], (9, -8), (0, 1))
    info = write_movie(tmp_path, frames)
    found = register(tmp_path, info, nonrigid=False)
    # noise peaks anywhere: with this seed beyond 5 % of the image
    assert np.flatnonzero(found.table["is_clipped"]).tolist() == [60]
    assert np.abs(found.registration["yoff"][60]) <= 1
    np.testing.assert_allclose(
        found.shifts_px[70] - np.median(found.shifts_px, axis=0), [9, -8], atol=0.2
    )
    assert found.checks["clipped_frame_fraction"]["value"] == pytest.approx(1 / 80)
    # Allen's rule: every outlier
    found = register(tmp_path, info, nonrigid=False, clear_peak=1e9)
    assert np.flatnonzero(found.table["is_clipped"]).tolist() == [60, 70]
    assert np.abs(found.registration["yoff"][70]) <= 1


def test_frames_without_a_picture_are_bad_and_a_real_jump_is_not(tmp_path):
    rng = np.random.default_rng(13)
    frames, _ = small_movie(rng, (400, 100, 100), motion=False)
    # a closed shutter: noise of the digitiser
    dark = np.r_[50:60, 200, 300:303]
    frames[dark] = rng.normal(10, 3, (len(dark), 100, 100))
    frames[120] = np.roll(frames[120], (9, -8), (0, 1))
    info = write_movie(tmp_path, frames)
    found = register(tmp_path, info, nonrigid=False)
    np.testing.assert_array_equal(np.flatnonzero(found.table["is_bad"]), dark)
    good = np.setdiff1d(np.arange(400), dark)
    np.testing.assert_allclose(found.images["mean"], found.movie[good].mean(axis=0), rtol=1e-5)
    # neither those nor one jump say anything about the range that is searched
    assert found.checks["max_shift_ratio"]["value"] <= 0.2
    assert found.checks["max_shift_ratio"]["verdict"] == "PASS"
    assert found.checks["bad_frame_fraction"]["value"] == pytest.approx(len(dark) / 400)
    found = register(tmp_path, info, nonrigid=False, min_correlation_ratio=0.0)
    assert not found.table["is_bad"].to_numpy()[dark].all()


def test_shifts_that_were_replaced_count_for_the_range_that_is_searched(tmp_path):
    rng = np.random.default_rng(14)
    frames, _ = small_movie(rng, (100, 100, 100), motion=False)
    for t in range(10, 100, 20):
        frames[t] = np.roll(frames[t], (9, 0), (0, 1))
    info = write_movie(tmp_path, frames)
    found = register(tmp_path, info, nonrigid=False, clear_peak=1e9)
    assert found.table["is_clipped"].sum() == 5
    # the reference may lie a pixel off
    assert found.checks["max_shift_ratio"]["value"] >= 0.8


@pytest.mark.parametrize("place", [slice(60, 132), slice(0, 72)])  # a vessel, a dark corner
def test_a_part_without_structure_does_not_widen_the_border(tmp_path, place):
    rng = np.random.default_rng(15)
    frames, _ = small_movie(rng, (120, 192, 192), motion=False)
    frames[:, place, place] = rng.normal(20, 10, (120, 72, 72))
    found = register(tmp_path, write_movie(tmp_path, frames), block_size_px=64)
    # a block without anything to hold on to would move by up to 5 px
    assert np.abs(found.registration["yoff1"]).max() < 0.5
    assert found.table["nonrigid_max_px"].max() < 1
    border = find_motion_border_of(found.table, max_shift_px=30)
    assert max(border.top, border.bottom, border.left, border.right) <= 2
    for name in ("yrange", "xrange"):
        start, stop = found.registration[name]
        assert start <= 1
        assert stop >= 191


def test_only_blocks_at_the_edge_say_what_moved_out_of_view(tmp_path):
    rng = np.random.default_rng(16)
    frames, _ = small_movie(rng, (40, 192, 192), motion=False)
    # a part inside moves on its own
    frames[20:30, 72:120, 72:120] = np.roll(frames[20:30], (0, 4), (1, 2))[:, 72:120, 72:120]
    found = register(tmp_path, write_movie(tmp_path, frames), block_size_px=64)
    assert np.abs(found.registration["xoff1"]).reshape(40, 5, 5)[20:30, 2, 2].min() > 2
    assert found.table["nonrigid_max_px"].max() < 1
    assert found.registration["xrange"][0] <= 1
    assert found.registration["xrange"][1] >= 191


def test_intensities_of_images_are_as_recorded(tmp_path):
    frames, _ = small_movie(np.random.default_rng(4), (30, 80, 80))
    plain = register(tmp_path / "a", write_movie(tmp_path / "a", frames))
    info = write_movie(tmp_path / "b", frames, scale=2.0, offset=1000.0)
    scaled = register(tmp_path / "b", info)
    for name in ("mean", "max", "reference"):
        assert plain.images[name].dtype == np.float32
        np.testing.assert_allclose(scaled.images[name], 2 * plain.images[name] + 1000, rtol=1e-6)
    np.testing.assert_array_equal(plain.movie, scaled.movie)


def test_a_bidirectional_offset_is_undone(tmp_path):
    frames, _ = small_movie(np.random.default_rng(6), (40, 80, 80), motion=False)
    info = write_movie(tmp_path, undo_bidirectional(frames, 3))
    found = register(tmp_path, info, fix_bidirectional_phase=True)
    assert found.registration["bidiphase"] == -3
    inner = slice(6, -6)
    difference = found.images["mean"][inner, inner] - frames.mean(axis=0)[inner, inner]
    # noise of 30 in 40 frames, smoothed by the interpolation of blocks
    assert rms(difference) < 30
    assert not np.load(tmp_path / "registration.npz")["is_bad"].any()


def test_a_plane_that_left_the_view_is_reported(tmp_path):
    rng = np.random.default_rng(7)
    image = 500 + 3000 * gaussian_filter(rng.standard_normal((160, 160)), 1.5)
    far = np.r_[np.zeros(40, int), np.full(8, 13)]
    frames = np.stack([image[20 - y : 148 - y, 20:148] for y in far])
    found = register(tmp_path, write_movie(tmp_path, frames + rng.normal(0, 30, frames.shape)))
    assert found.table["is_bad"].to_numpy()[40:].all()
    assert found.checks["bad_frame_fraction"]["verdict"] == "WARNING"
    # the search ended where the plane is: those frames are bad, and yet the ones that count
    assert found.checks["max_shift_ratio"]["value"] == 1
    assert found.checks["max_shift_ratio"]["verdict"] == "FAIL"
    # bad frames do not take from what can be searched for ROIs
    assert found.registration["yrange"][1] - found.registration["yrange"][0] > 120


@pytest.mark.parametrize(
    ("shape", "missing", "message"),
    [
        ((9, 64, 64), (), r"has 9 usable frames \(of 9\); registration needs at least 10"),
        ((20, 64, 64), range(12), r"has 8 usable frames \(of 20\)"),
        ((20, 64, 12), (), "are 64 x 12 px; registration needs at least 16 px"),
    ],
)
def test_unusable_movies_are_refused(tmp_path, shape, missing, message):
    info = write_movie(tmp_path, np.ones(shape), missing)
    with pytest.raises(InputError, match=message) as error:
        register(tmp_path, info)
    assert str(error.value).startswith(f"{NAME}: ")
    assert "streams.tsv" in str(error.value)
    assert not (tmp_path / "registered.bin").exists()


def test_a_table_of_other_frames_is_refused(tmp_path):
    write_movie(tmp_path, np.ones((20, 64, 64)))
    info = write_movie(tmp_path / "other", np.ones((21, 64, 64)))
    (tmp_path / "frames.pqt").replace(tmp_path / "other" / "frames.pqt")
    with pytest.raises(InputError, match=r"has 20 rows, .*movie.bin 21 frames"):
        register(tmp_path / "other", info)


def test_a_blank_movie_does_not_break_the_step(tmp_path):
    found = register(tmp_path, write_movie(tmp_path, np.zeros((20, 64, 64))))
    assert found.checks["crispness_ratio"]["verdict"] == "WARNING"
    assert not found.movie.any()


def test_a_real_clip_is_registered(tmp_path, real_data):
    with h5py.File(real_data / "two_photon" / "movie_100x100x100.h5") as file:
        frames = file["data"][:]
    found = register(tmp_path, write_movie(tmp_path, frames, rate_hz=30.0))
    # the clip stands still already: nothing may get worse
    assert np.abs(found.shifts_px).max() < 6
    assert found.checks["crispness_ratio"]["value"] > 0.95
    assert found.checks["residual_motion_px"]["value"] < 0.3


MEMORY = """
import resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
from ophys.suite2p_planes import SETTINGS, plane_info
from sluice.ophys.register_plane import register_plane_file
names = ("movie.bin", "frames.pqt", "registered.bin", "shifts.pqt", "images.npz",
         "registration.npz", "checks.json", "figure.png")
keys = ("movie", "frames", "registered", "shifts", "images", "registration", "checks", "figure")
for n in (500, 500, 2000):
    files = dict(zip(keys, (Path({folder!r}) / str(n) / name for name in names)))
    register_plane_file(**files, info=plane_info((n, 128, 128)),
                        settings=SETTINGS["register_plane"], device="cpu")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_movie(tmp_path):
    frames, _ = small_movie(np.random.default_rng(8), (500, 128, 128))
    write_movie(tmp_path / "500", frames)
    write_movie(tmp_path / "2000", np.tile(frames, (4, 1, 1)))
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
    # 1500 frames more are 49 MB, and ten times that in the types of the correlations
    assert long_mb - short_mb < 20
