"""The made-up movies hold what their truth says they hold."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import shift as move
from scipy.signal import find_peaks, peak_widths
from skimage.registration import phase_cross_correlation

from sluice.errors import UserError
from sluice.synth.plane import make_scene
from sluice.synth.plane_activity import isolated_events
from sluice.synth.plane_tissue import ring

SMALL = {"n_frames": 60, "height": 64, "width": 80, "n_cells": 5, "n_overlapping_pairs": 1}


@pytest.fixture(scope="module")
def scene():
    return make_scene(seed=3)


@pytest.fixture(scope="module")
def still():
    """A scene that does not move, and its movie without noise."""
    scene = make_scene(seed=4, motion_px=0.0)
    return scene, scene.light().astype(np.float64)


@pytest.fixture(scope="module")
def small():
    scene = make_scene(seed=9, **SMALL)
    return scene, scene.frames()


@given(st.lists(st.integers(1, 59), max_size=6, unique=True))
@settings(max_examples=20, deadline=None)
def test_frames_do_not_depend_on_how_the_movie_is_cut(small, cuts):
    scene, whole = small
    bounds = [0, *sorted(cuts), 60]
    parts = [scene.frames(a, b) for a, b in pairwise(bounds)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_same_seed_same_movie(small):
    _, whole = small
    np.testing.assert_array_equal(make_scene(seed=9, **SMALL).frames(), whole)
    assert not np.array_equal(make_scene(seed=10, **SMALL).frames(), whole)


def test_frames_have_no_gap_at_the_end_and_the_dtype_asked_for(small):
    scene, whole = small
    assert whole.shape == scene.shape == (60, 64, 80)
    assert whole.dtype == np.int16
    assert scene.frames(55, 1000).shape == (5, 64, 80)
    assert scene.frames(60).shape == (0, 64, 80)
    for dtype in ("uint16", "float32"):
        assert make_scene(seed=9, dtype=dtype, **SMALL).frames(0, 3).dtype == dtype


def test_float_and_integer_movies_differ_by_rounding_alone(small):
    _, whole = small
    exact = make_scene(seed=9, dtype="float32", **SMALL).frames()
    # half of one, and the error of float32 at values of some hundred
    assert np.abs(exact - whole).max() <= 0.5 + 1e-3


def test_noise_is_that_of_photons():
    # nothing but neuropil, which does not change: the same light in every frame
    scene = make_scene(
        seed=1, n_cells=0, neuropil_sd=0.0, motion_px=0.0, n_frames=2000, height=64, width=64
    )
    frames = scene.frames().astype(np.float64)
    mean, variance = frames.mean(axis=0).ravel(), frames.var(axis=0).ravel()
    slope, intercept = np.polyfit(mean, variance, 1)
    gain, offset = scene.settings.photon_gain, scene.settings.offset
    # slope over pixels: variances of 2000 frames are off by sqrt(2 / 2000) = 3 %, and the
    # texture spreads the means by 12 %; 4096 pixels leave 0.4 %, asked for is ten times that
    assert slope == pytest.approx(gain, rel=0.04)
    # read noise and rounding lift the line by 3^2 + 1/12 where there is no light
    dark = np.mean(variance - gain * (mean - offset))
    assert dark == pytest.approx(scene.settings.read_noise**2 + 1 / 12, abs=15)
    assert intercept < 0
    light = scene.light(0, 1)[0]
    expected = gain * light.ravel() + offset
    # five standard errors of a mean of 2000 frames
    assert np.abs((mean - expected) / np.sqrt(variance / 2000)).max() < 5.5


def test_content_lies_where_the_shifts_say(scene):
    light = scene.light(0, 200)
    # the cells' changes are the same size as the shifts' effect: take a calm reference and
    # crop what leaves the field
    reference = make_scene(seed=3, motion_px=0.0).light(0, 200)
    errors = []
    for t in range(0, 200, 10):
        crop = (slice(8, -8), slice(8, -8))
        found, *_ = phase_cross_correlation(
            light[t][crop], reference[t][crop], upsample_factor=50, normalization=None
        )
        errors.append(found - scene.shifts_px[t])
    # what enters and leaves at the edge pulls the peak a little
    assert np.sqrt(np.mean(np.square(errors))) < 0.25
    # moved back by the shift, the frame is the reference: sign and size
    t = int(np.argmax(np.abs(scene.shifts_px[:200]).sum(axis=1)))
    back = move(light[t], -scene.shifts_px[t], order=3)[12:-12, 12:-12]
    assert np.abs(back - reference[t][12:-12, 12:-12]).max() < 0.05 * reference[t].max()


def test_motion_has_the_size_asked_for(scene):
    np.testing.assert_allclose(scene.shifts_px.std(axis=0), 2.0, rtol=0.1)
    assert np.abs(scene.shifts_px).max() <= 6.0
    # subpixel: the parts of a pixel are spread evenly
    parts = np.histogram(scene.shifts_px % 1, bins=4, range=(0, 1))[0]
    assert parts.min() > 0.15 * parts.sum()


def test_shear_moves_rows_by_a_sine():
    calm = make_scene(seed=5, motion_px=0.0)
    sheared = make_scene(seed=5, motion_px=0.0, nonrigid_px=1.5)
    t = int(np.argmax(np.abs(sheared.shear_px[:, 1])))
    assert np.abs(sheared.shifts_px[t]).max() == 0
    light, reference = sheared.light(t, t + 1)[0], calm.light(t, t + 1)[0]
    _, shift_x = sheared.row_shifts(t, t + 1)
    # a quarter down and three quarters down the rows are shifted most, opposite ways
    assert shift_x[0, 32] == pytest.approx(sheared.shear_px[t, 1], rel=0.01)
    assert shift_x[0, 96] == pytest.approx(-sheared.shear_px[t, 1], rel=0.01)
    for rows in (slice(24, 40), slice(88, 104)):
        found, *_ = phase_cross_correlation(
            light[rows, 8:-8], reference[rows, 8:-8], upsample_factor=50, normalization=None
        )
        assert found[1] == pytest.approx(shift_x[0, rows].mean(), abs=0.3)


def test_roi_is_cell_plus_r_times_the_ring(still):
    scene, light = still
    flat = light.reshape(scene.n_frames, -1)
    any_cell = scene.masks.any(axis=0)
    n_cover = (scene.masks > 0).sum(axis=0)
    around = scene.neuropil_light()
    for k, mask in enumerate(scene.masks):
        # where two cells overlap, both shine
        pixels = ((mask >= 0.5) & (n_cover == 1)).ravel()
        roi = flat[:, pixels].mean(axis=1)
        neuropil = flat[:, ring(mask, any_cell).ravel()].mean(axis=1)
        np.testing.assert_allclose(neuropil, around[k], rtol=2e-3)
        columns = np.column_stack([scene.dff[k], neuropil, np.ones_like(roi)])
        per_dff, r, rest = np.linalg.lstsq(columns, roi, rcond=None)[0]
        # a region is curved: the ring around its middle sees up to 3 % less than the middle
        assert r == pytest.approx(scene.neuropil_r, abs=0.03)
        f0 = scene.brightness[k] * mask.ravel()[pixels].mean()
        assert per_dff == pytest.approx(f0, rel=0.01)
        # what remains at rest is the cell's F0, up to the neuropil's fine structure and cells
        # that lie deeper
        assert rest == pytest.approx(f0, abs=2.5)


def test_events_are_where_the_truth_says(scene):
    for frames, amplitudes, dff in zip(
        scene.event_frames, scene.event_amplitudes, scene.dff, strict=True
    ):
        assert (np.diff(frames) >= 3).all()
        assert amplitudes.min() >= 0.3
        assert amplitudes.max() <= 2.0
        for frame, amplitude in zip(frames, amplitudes, strict=True):
            # the peak is the onset frame, as the rise is shorter than a frame
            step = dff[frame] - dff[frame - 1] * np.exp(-0.1 / 0.7)
            assert step == pytest.approx(amplitude, abs=0.05 * 2)
    isolated = [isolated_events(frames, scene.settings) for frames in scene.event_frames]
    assert min(flags.sum() for flags in isolated) >= 1
    assert sum(flags.sum() for flags in isolated) > 100


def test_transient_decays_with_the_time_constant_asked_for():
    scene = make_scene(seed=2, n_cells=8, decay_s=1.2, sampling_rate_hz=30.0, n_frames=3000)
    for frames, amplitudes, dff in zip(
        scene.event_frames, scene.event_amplitudes, scene.dff, strict=True
    ):
        before = np.diff(frames, prepend=-(10**6))
        after = np.diff(frames, append=10**6)
        for k in np.flatnonzero((before > 300) & (after > 80) & (frames < 2900)):
            part = dff[frames[k] : frames[k] + 61].astype(np.float64)
            # what an earlier event left is below exp(-10 / 1.2) of 2
            assert part.max() == pytest.approx(amplitudes[k], abs=1e-3)
            assert part[60] / part[24] == pytest.approx(np.exp(-36 / 30 / 1.2), rel=1e-2)


def test_overlapping_pairs_overlap_and_no_others():
    scene = make_scene(seed=6, n_frames=5, n_cells=20, n_overlapping_pairs=3)
    pixels = (scene.masks >= 0.5).reshape(20, -1).astype(int)
    common = pixels @ pixels.T
    pairs = np.argwhere(np.triu(common, 1))
    assert len(pairs) == 3
    for a, b in pairs:
        iou = common[a, b] / (common[a, a] + common[b, b] - common[a, b])
        assert 0.05 < iou < 0.3


def test_masks_lie_at_the_centres(scene):
    y, x = np.indices(scene.masks.shape[1:])
    for mask, centre in zip(scene.masks, scene.centres_px, strict=True):
        weight = mask >= 0.5
        found = [y[weight].mean(), x[weight].mean()]
        np.testing.assert_allclose(found, centre, atol=0.3)
        # ellipses of 5 to 7 px half axes
        assert 70 < weight.sum() < 160


def test_bleaching_and_steps_scale_the_light():
    plain = make_scene(seed=7, **SMALL).light()
    bleached = make_scene(seed=7, bleaching=0.3, intensity_steps=((20, 1.5),), **SMALL).light()
    ratio = bleached.mean(axis=(1, 2)) / plain.mean(axis=(1, 2))
    assert ratio[-1] == pytest.approx(0.7 * 1.5, rel=1e-4)
    assert ratio[20] / ratio[19] == pytest.approx(1.5 * 0.7 ** (1 / 59), rel=1e-4)


def test_missing_frames_are_blank_and_the_others_the_same(small):
    _, whole = small
    blank = make_scene(seed=9, missing_frames=(0, 31), **SMALL)
    frames = np.concatenate([blank.frames(0, 31), blank.frames(31)])
    assert (frames[[0, 31]] == 0).all()
    rest = np.setdiff1d(np.arange(60), [0, 31])
    np.testing.assert_array_equal(frames[rest], whole[rest])


def test_saturated_pixels_are_as_many_as_asked_for():
    scene = make_scene(
        seed=8, motion_px=0.0, n_saturated_px=150, saturation_level=4095, n_frames=20
    )
    frames = scene.frames()
    assert frames.max() == 4095
    # the patch is half brighter than the level, many standard deviations of its photons
    assert ((frames == 4095).sum(axis=(1, 2)) == 150).all()


def test_epileptic_events_are_large_and_short():
    scene = make_scene(seed=5, n_epileptic=6, sampling_rate_hz=30.0, n_frames=900, n_cells=10)
    trace = scene.light().mean(axis=(1, 2))
    trace /= np.median(trace)
    peaks, _ = find_peaks(trace, prominence=0.5)
    np.testing.assert_allclose(peaks, scene.epileptic_frames, atol=1)
    width_s = peak_widths(trace, peaks, rel_height=0.5)[0] / 30
    assert ((width_s > 0.1) & (width_s < 0.3)).all()


def test_crosstalk_adds_the_other_planes_light():
    a, b = make_scene(seed=1, **SMALL), make_scene(seed=2, **SMALL)
    mixed, other = a.with_crosstalk(b, 0.2), b.with_crosstalk(a, 0.1)
    np.testing.assert_allclose(mixed.light(), a.light() + 0.2 * b.light(), rtol=1e-5)
    # planes can leak into each other, but not back again
    np.testing.assert_allclose(other.with_crosstalk(mixed, 0.1).light(), other.light(), rtol=1e-5)
    given = make_scene(seed=1, crosstalk=(b, 0.2), **SMALL)
    np.testing.assert_array_equal(given.frames(0, 5), mixed.frames(0, 5))


@pytest.mark.parametrize("drift_um", [10.0, -8.0])
def test_drift_goes_through_the_z_stack(drift_um):
    scene = make_scene(seed=11, z_drift_um=drift_um, motion_px=0.0, n_frames=600)
    stack = scene.z_stack(n_planes=41, step_um=1.0)
    flat = stack.reshape(41, -1)

    def plane_of(frames):
        image = frames.mean(axis=0).ravel()
        return np.argmax([np.corrcoef(image, plane)[0, 1] for plane in flat]) - 20

    # half of the drift of the averaged frames is 0.4 µm, and the best of planes 1 µm apart
    assert plane_of(scene.frames(0, 50)) == pytest.approx(0, abs=1)
    assert plane_of(scene.frames(550)) == pytest.approx(drift_um, abs=1)


def test_z_stack_without_drift_has_the_plane_in_its_middle(still):
    scene, light = still
    stack = scene.z_stack(n_planes=21, step_um=2.0)
    image = light.mean(axis=0).ravel()
    correlations = [np.corrcoef(image, plane.ravel())[0, 1] for plane in stack]
    assert np.argmax(correlations) == 10
    # far above and below, other cells are seen
    assert correlations[0] < 0.5
    assert correlations[-1] < 0.5


def test_second_session_shows_the_same_cells_elsewhere(still):
    first, _ = still
    second = first.second_session(1, shift_px=(3.0, -5.0), rotation_deg=2.0, n_gone=4, n_new=3)
    shared = np.intersect1d(first.cell_ids, second.cell_ids)
    new = np.setdiff1d(second.cell_ids, first.cell_ids)
    assert len(shared) == first.n_cells - 4
    assert len(new) == 3
    angle = np.deg2rad(2.0)
    middle = np.array([63.5, 63.5])
    for cell in shared:
        a, b = (int(np.flatnonzero(s.cell_ids == cell)[0]) for s in (first, second))
        y, x = first.centres_px[a] - middle
        turned = [
            np.cos(angle) * y + np.sin(angle) * x + 3,
            np.cos(angle) * x - np.sin(angle) * y - 5,
        ]
        np.testing.assert_allclose(second.centres_px[b] - middle, turned, atol=1e-9)
        assert first.brightness[a] == second.brightness[b]
        assert not np.array_equal(first.dff[a], second.dff[b])
    # the mean images are turned and moved alike, fine structure included
    back = second.second_session(1).pose
    assert back.shift_px == (0.0, 0.0)
    plain = first.second_session(2, shift_px=(4.0, -3.0))
    images = [
        s.light(0, 300).mean(axis=0)[16:-16, 16:-16]
        for s in (first, first.second_session(2), plain)
    ]
    found, *_ = phase_cross_correlation(
        images[2], images[1], upsample_factor=20, normalization=None
    )
    # both move by themselves, about 2 px over 30 s
    wander = plain.shifts_px[:300].mean(axis=0)
    np.testing.assert_allclose(found, np.array([4.0, -3.0]), atol=0.3 + np.abs(wander).max())


def test_sessions_with_other_seeds_have_new_cells_of_other_names(still):
    first, _ = still
    a, b = (first.second_session(seed, n_new=2) for seed in (1, 2))
    assert len(np.intersect1d(a.cell_ids, b.cell_ids)) == first.n_cells
    again = first.second_session(1, n_new=2)
    np.testing.assert_array_equal(a.frames(0, 3), again.frames(0, 3))


def test_empty_plane_has_empty_arrays():
    scene = make_scene(n_cells=0, n_frames=12, height=48, width=64)
    assert scene.frames().shape == (12, 48, 64)
    assert scene.masks.shape == (0, 48, 64)
    assert scene.dff.shape == (0, 12)
    assert scene.centres_px.shape == (0, 2)
    assert scene.neuropil_light().shape == (0, 12)
    assert scene.z_stack(3).shape == (3, 48, 64)
    assert scene.second_session(1, shift_px=(2.0, 2.0)).n_cells == 0


def test_what_cannot_be_made_is_refused():
    with pytest.raises(UserError, match="40 cells do not fit into 48 x 48 px"):
        make_scene(n_cells=40, height=48, width=48, n_overlapping_pairs=0)
    with pytest.raises(UserError, match=r"frames \[60\] are not of a movie of 60 frames"):
        make_scene(missing_frames=(3, 60), **SMALL)
    other = make_scene(seed=1, **SMALL)
    with pytest.raises(UserError, match="the other plane must have the same frames"):
        make_scene(n_frames=10, crosstalk=(other, 0.1))
