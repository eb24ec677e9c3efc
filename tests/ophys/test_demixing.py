import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophys.plane_files import disc, masks_of

from sluice.ophys.demixing import (
    couple,
    demix,
    find_negative_baselines,
    find_negative_transients,
)
from sluice.ophys.extract_traces import sum_pixels
from sluice.ophys.roi_overlaps import count_shared, overlap_groups, overlapping_pairs

SHAPE = (30, 40)


def dense_demix(frames, images):
    """Solve all ROIs at once, from the pixels, as the formula is written."""
    flat = images.reshape(len(images), -1).astype(float)
    n_pixels = flat.sum(axis=1)
    traces = np.full((len(images), len(frames)), np.nan)
    for t, frame in enumerate(frames.reshape(len(frames), -1).astype(float)):
        w = flat @ frame
        if np.any(w == 0):
            continue
        spread = flat * frame * (n_pixels / w)[:, None]
        traces[:, t] = np.linalg.lstsq(flat @ spread.T, w, rcond=1e-10)[0]
    return traces


def fast_demix(frames, images):
    masks = masks_of(images, *images[0].shape)
    shared = count_shared(masks)
    pairs = overlapping_pairs(shared, np.zeros(len(images), bool))
    both = images[pairs[:, 0]] & images[pairs[:, 1]]
    n_shared = both.sum(axis=(1, 2))
    n_pixels = shared.diagonal()
    return demix(
        sum_pixels(frames, masks.weights).astype(float),
        sum_pixels(frames, masks_of(both, *images[0].shape).weights).astype(float),
        n_pixels,
        couple(overlap_groups(pairs, len(images)), pairs, n_pixels, n_shared),
    )


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(st.integers(3, 26), st.integers(3, 36), st.integers(2, 6)),
        min_size=1,
        max_size=8,
        unique=True,
    ),
)
def test_groups_of_overlapping_rois_give_the_solution_of_all_at_once(seed, cells):
    rng = np.random.default_rng(seed)
    images = np.array([disc(*SHAPE, *cell) for cell in cells])
    frames = rng.integers(50, 1500, (4, *SHAPE)).astype(np.int16)
    found, expected = fast_demix(frames, images), dense_demix(frames, images)
    flat = images.reshape(len(images), -1).astype(float)
    # rounding is enlarged where masks are nearly alike
    condition = np.linalg.cond(flat @ flat.T)
    np.testing.assert_allclose(found, expected, atol=1e-8 * min(condition, 1e6) * 1500)
    alone = (flat @ flat.T > 0).sum(axis=1) == 1
    means = (flat @ frames.reshape(4, -1).T) / flat.sum(axis=1)[:, None]
    np.testing.assert_array_equal(found[alone], means[alone])


def test_a_pair_that_overlaps_by_hand():
    # two ROIs of two pixels that share one: pixels a, b, c = 10, 30, 20
    images = np.zeros((2, 4, 4), bool)
    images[0, 0, :2] = images[1, 0, 1:3] = True
    frame = np.zeros((1, 4, 4), np.int16)
    frame[0, 0, :3] = 10, 30, 20
    # S = [[40, 30], [30, 50]], matrix S_ij n_j / S_jj = [[2, 1.2], [1.5, 2]], w = [40, 50]
    expected = np.linalg.solve([[2, 1.2], [1.5, 2]], [40, 50])
    np.testing.assert_allclose(fast_demix(frame, images)[:, 0], expected)


def test_planted_pair_comes_apart():
    rng = np.random.default_rng(3)
    n_frames = 1500
    images = np.array([disc(*SHAPE, 15, 13, 6), disc(*SHAPE, 15, 21, 6), disc(*SHAPE, 5, 36, 3)])
    shared = (images[0] & images[1]).sum() / images[0].sum()
    assert 0.15 < shared < 0.5
    kernel = np.exp(-np.arange(40) / 7)
    truth = np.array(
        [np.convolve(rng.random(n_frames) < 0.01, kernel)[:n_frames] for _ in range(3)]
    )
    light = 200 * images[0] + 150 * images[1] + 150 * images[2]
    movie = 50 + light[None] + np.tensordot(400 * truth.T, images, 1)
    movie = np.rint(movie + 20 * rng.standard_normal(movie.shape)).astype(np.int16)
    raw = np.array([movie[:, image].mean(axis=1) for image in images])
    demixed = fast_demix(movie, images)
    for k in range(2):
        r_raw = np.corrcoef(raw[k], truth[k])[0, 1]
        r_demixed = np.corrcoef(demixed[k], truth[k])[0, 1]
        assert r_demixed > max(r_raw, 0.98)
        other = (truth[1 - k] > 0.5) & (truth[k] < 0.01)
        quiet = (truth[1 - k] < 0.01) & (truth[k] < 0.01)
        # how much of the neighbour's transient is in this trace
        leak = [
            (x[k, other].mean() - x[k, quiet].mean()) / (400 * truth[1 - k, other].mean())
            for x in (raw, demixed)
        ]
        assert leak[0] > 0.2
        assert abs(leak[1]) < 0.06
    np.testing.assert_array_equal(demixed[2], raw[2])


@pytest.mark.filterwarnings("error")
def test_a_dark_frame_is_undefined_for_its_group_only():
    images = np.array([disc(*SHAPE, 15, 13, 5), disc(*SHAPE, 15, 20, 5), disc(*SHAPE, 5, 35, 3)])
    frames = np.full((3, *SHAPE), 100, np.int16)
    frames[1][images[0]] = 0
    found = fast_demix(frames, images)
    assert np.isnan(found).tolist() == [[False, True, False]] * 2 + [[False] * 3]
    assert found[2].tolist() == [100] * 3


def test_masks_that_depend_on_each_other_have_a_least_norm_solution():
    # the third is the sum of two that lie side by side; two are equal
    images = np.zeros((4, *SHAPE), bool)
    images[0, 5:10, 5:10] = images[1, 5:10, 10:15] = True
    images[2] = images[3] = images[0] | images[1]
    rng = np.random.default_rng(1)
    frames = rng.integers(100, 900, (5, *SHAPE)).astype(np.int16)
    found = fast_demix(frames, images)
    assert np.abs(found).max() < 2000
    np.testing.assert_allclose(found, dense_demix(frames, images), rtol=1e-6)
    np.testing.assert_allclose(found[2], found[3])


def test_a_frame_that_happens_to_be_singular_is_solved_by_itself():
    # all light lies in the pixel that both share
    images = np.zeros((2, 4, 4), bool)
    images[0, 0, :2] = images[1, 0, 1:3] = True
    frames = np.full((3, 4, 4), 10, np.int16)
    frames[1, 0, [0, 2]] = 0
    found = fast_demix(frames, images)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, dense_demix(frames, images))


def test_groups_are_solved_in_pieces(monkeypatch):
    rng = np.random.default_rng(2)
    images = np.array([disc(*SHAPE, 15, 4 + 5 * k, 4) for k in range(7)])
    frames = rng.integers(50, 1500, (11, *SHAPE)).astype(np.int16)
    whole = fast_demix(frames, images)
    monkeypatch.setattr("sluice.ophys.demixing.MAX_VALUES", 4 * 49)
    np.testing.assert_array_equal(fast_demix(frames, images), whole)


def slow_negative_transients(trace, window, length, n_std):
    trace = trace[np.isfinite(trace)].astype(float)
    trace = trace - trace.mean()  # rounding of a constant must not make it low
    low = []
    for t in range(len(trace)):
        last = max(t + 1, min(window, len(trace)))  # the first window counts as a whole
        around = trace[max(0, last - window) : last]
        low.append(trace[t] < around.mean() - n_std * around.std())
    return any(all(low[t : t + length]) for t in range(len(trace) - length + 1))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(2, 40), st.integers(1, 6),
    st.floats(0.3, 2.5),
)  # fmt: skip
def test_negative_transients_equal_the_slow_twin(seed, n_frames, window, length, n_std):
    rng = np.random.default_rng(seed)
    traces = rng.standard_normal((3, n_frames)).cumsum(axis=1)
    traces[0, rng.random(n_frames) < 0.2] = np.nan
    found = find_negative_transients(
        traces, window_frames=window, length_frames=length, n_std=n_std
    )
    expected = [
        np.isfinite(t).sum() >= length and slow_negative_transients(t, window, length, n_std)
        for t in traces
    ]
    assert found.tolist() == expected


def test_a_low_start_is_no_negative_transient():
    """A slow rise within the first window; Allen's padding takes it for a transient."""
    rng = np.random.default_rng(0)
    trace = 500 + 20 * np.tanh(np.arange(1800) / 100) + rng.normal(0, 5, 1800)
    args = {"window_frames": 500, "length_frames": 10, "n_std": 3}
    assert not find_negative_transients(trace[None], **args).any()


def test_planted_negative_transient():
    rng = np.random.default_rng(4)
    traces = 300 + rng.standard_normal((4, 2000))
    traces[0, 900:912] -= 60
    traces[1, 900:905] -= 60  # too short
    traces[2, 900:912] += 60  # upwards
    traces[3, 900:912] -= 60
    traces[3, 905] = np.nan  # a missing frame does not end it
    args = {"window_frames": 500, "length_frames": 10, "n_std": 3.0}
    assert find_negative_transients(traces, **args).tolist() == [True, False, False, True]
    flat = np.full((2, 700), 5.0)
    flat[1] = np.nan
    assert not find_negative_transients(flat, **args).any()
    assert find_negative_transients(np.zeros((0, 50)), **args).shape == (0,)


def test_negative_baselines():
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((4, 1000))
    traces = noise + np.array([5, -0.5, -1.5, 0])[:, None]
    traces[2, 3] = traces[3, :] = np.nan
    assert find_negative_baselines(traces).tolist() == [False, False, True, False]


def test_real_demixed_traces_have_no_negative_baseline(real_data):
    h5py = pytest.importorskip("h5py")
    with h5py.File(real_data / "two_photon" / "demix_traces.h5") as file:
        traces = file["data"][:]
    assert not find_negative_baselines(traces).any()
    args = {"window_frames": 500, "length_frames": 10, "n_std": 3.0}
    found = find_negative_transients(traces[:, :6000], **args)
    assert found.tolist() == [slow_negative_transients(t[:6000], 500, 10, 3.0) for t in traces]


def test_real_movie_equals_the_dense_way(real_data):
    h5py = pytest.importorskip("h5py")
    with h5py.File(real_data / "two_photon" / "movie_100x100x100.h5") as file:
        movie = file["data"][:40]
    images = np.array([disc(100, 100, 30 + 7 * k, 40 + 3 * k, 6) for k in range(5)])
    images = np.concatenate([images, [disc(100, 100, 80, 10, 5)]])
    found, expected = fast_demix(movie, images), dense_demix(movie, images)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
