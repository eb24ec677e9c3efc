import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.plane_files import disc, masks_of, plane_info

from sluice.errors import InputError
from sluice.ophys.crosstalk import (
    Crosstalk,
    PairedPlane,
    crosstalk_fraction,
    load_paired_plane,
    paired_mean_traces,
    read_paired_frames,
    require_paired,
    unmix,
)
from sluice.ophys.plane import save_plane
from sluice.synth.plane import make_scene


def activity(rng, n_rois, n_frames, rate=0.008):
    kernel = 400 * np.exp(-np.arange(60) / 7)
    spikes = (rng.random((n_rois, n_frames)) < rate) * rng.uniform(0.5, 2, (n_rois, n_frames))
    return np.array([np.convolve(s, kernel)[:n_frames] for s in spikes])


def mixed(rng, to_this, to_paired, *, n_rois=15, n_frames=3000, noise=10.0, slow=100.0):
    this, other = (500 + activity(rng, n_rois, n_frames) for _ in range(2))
    # neuropil that both planes share, and drift
    common = slow * np.sin(np.arange(n_frames) / 170)
    this, other = this + common, other + common
    recorded = this + to_this * other, other + to_paired * this
    return [x + noise * rng.standard_normal(x.shape) for x in recorded], this, other


@pytest.mark.parametrize(
    ("to_this", "to_paired"), [(0, 0), (0.2, 0), (0.2, 0.1), (0, 0.3), (0.05, 0.05), (0.4, 0.35)]
)
def test_planted_fractions_are_found(to_this, to_paired):
    (this, paired), _, _ = mixed(np.random.default_rng(1), to_this, to_paired)
    found = crosstalk_fraction(this, paired)
    # some hundred events with a noise of the ratio of 0.05 each; and cells that decay
    assert found.to_this == pytest.approx(to_this, abs=0.02)
    assert found.to_paired == pytest.approx(to_paired, abs=0.02)
    assert found.n_frames_to_this > 100


@settings(derandomize=True, max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.45), st.floats(0, 0.45))
def test_any_fractions_are_found(seed, to_this, to_paired):
    (this, paired), _, _ = mixed(np.random.default_rng(seed), to_this, to_paired)
    found = crosstalk_fraction(this, paired)
    assert found.to_this == pytest.approx(to_this, abs=0.03)
    assert found.to_paired == pytest.approx(to_paired, abs=0.03)


@pytest.mark.parametrize("seed", [0, 4])
def test_planted_fraction_in_made_up_movies(seed):
    this, other = (make_scene(seed=seed + k, motion_px=0.0, n_frames=1500) for k in (0, 1))
    # cells of both planes: those of the other show in this one as ghosts
    masks = np.concatenate([this.masks, other.masks]) >= 0.5
    frames = [this.with_crosstalk(other, 0.2).frames(), other.with_crosstalk(this, 0.1).frames()]
    traces = [np.array([f[:, mask].mean(axis=1) for mask in masks]) for f in frames]
    found = crosstalk_fraction(*traces)
    assert found.to_this == pytest.approx(0.2, abs=0.03)
    assert found.to_paired == pytest.approx(0.1, abs=0.03)


def test_activity_that_planes_share_is_no_crosstalk():
    rng = np.random.default_rng(2)
    this, paired = (activity(rng, 15, 4000) for _ in range(2))
    # a third of the events are in both planes, with amplitudes of their own
    both = activity(rng, 15, 4000, rate=0.004)
    this, paired = this + both, paired + both * rng.uniform(0.3, 1.5, (15, 1))
    this, paired = (500 + x + 10 * rng.standard_normal(x.shape) for x in (this, paired))
    found = crosstalk_fraction(this, paired)
    assert found.to_this < 0.02
    # regression of one on the other takes it for a fifth or more
    assert np.mean([np.polyfit(p, t, 1)[0] for p, t in zip(paired, this, strict=True)]) > 0.2


def test_missing_frames_and_empty_rois_do_not_matter():
    rng = np.random.default_rng(3)
    (this, paired), _, _ = mixed(rng, 0.2, 0.1)
    this[:, 500:520] = np.nan
    paired[:, 900] = np.nan
    this[3] = paired[3] = np.nan
    found = crosstalk_fraction(this, paired)
    assert found.to_this == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("shape", [(0, 100), (3, 50), (2, 1), (1, 0)])
def test_too_little_to_see_is_nan(shape):
    noise = np.random.default_rng(4).standard_normal((2, *shape))
    found = crosstalk_fraction(*noise, step_frames=2)
    assert np.isnan(found.to_this)
    assert np.isnan(found.to_paired)
    np.testing.assert_array_equal(unmix(noise[0], noise[1], found), noise[0])


def test_unmixing_undoes_mixing():
    rng = np.random.default_rng(5)
    this, other = rng.random((2, 4, 30))
    recorded = this + 0.3 * other, other + 0.15 * this
    np.testing.assert_allclose(unmix(*recorded, Crosstalk(0.3, 0.15, 99, 99)), this)


def test_paired_frames_move_as_this_plane_did(tmp_path):
    rng = np.random.default_rng(6)
    frames = rng.integers(0, 999, (5, 12, 14)).astype(np.int16)
    frames.tofile(tmp_path / "movie.bin")
    save_plane(plane_info(frames.shape, scale=2.0, offset=-7.0), tmp_path / "plane.json")
    missing = np.array([False, False, True, False, False])
    pd.DataFrame({"is_missing": missing}).to_parquet(tmp_path / "frames.pqt")
    paired = load_paired_plane(
        tmp_path / "movie.bin", tmp_path / "plane.json", tmp_path / "frames.pqt"
    )
    assert isinstance(paired, PairedPlane)
    # content that lay 2 lower and 1 to the left goes up and to the right
    shifts = np.array([[0, 0], [2.2, -1], [np.nan, np.nan], [0, 0.4], [-3, 2]])
    found = read_paired_frames(paired, shifts, 1, 5)
    np.testing.assert_array_equal(found[0, :10, 1:], frames[1, 2:, :-1])
    np.testing.assert_array_equal(found[1:3], frames[2:4])
    np.testing.assert_array_equal(found[3, 3:, :-2], frames[4, :-3, 2:])

    image = disc(12, 14, 6, 7, 2)
    masks = masks_of([image, np.zeros((12, 14))], 12, 14)
    traces = paired_mean_traces(paired, shifts, masks)
    whole = read_paired_frames(paired, shifts, 0, 5)
    expected = 2.0 * whole[:, image].mean(axis=1) - 7
    np.testing.assert_allclose(traces[0][~missing], expected[~missing], rtol=1e-6)
    assert np.isnan(traces[0, 2])
    assert np.isnan(traces[1]).all()


def test_a_plane_of_another_size_is_refused():
    info = plane_info((100, 8, 8))
    other = plane_info((90, 8, 8), name="S/FOV_01")
    with pytest.raises(InputError, match=r"S/FOV_00: the paired plane S/FOV_01 .*\(90, 8, 8\)"):
        require_paired(info, other)
