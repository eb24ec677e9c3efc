import numpy as np
import pandas as pd
import pytest
from ophys.qc_movies import plane_info, registered_frames
from scipy.ndimage import gaussian_filter, shift

from sluice.ophys.masks import make_masks
from sluice.ophys.qc.photons import (
    PhotonGain,
    mask_baselines,
    noise_level,
    photon_gain,
    photon_transfer,
    roi_photons,
)
from sluice.ophys.qc.sampling import even_pairs
from sluice.ophys.shifts import undo_bidirectional

SHAPE = (64, 64)
PERCENTILES = (1.0, 99.0)


def tissue(seed=0, photons=10.0):
    """Smooth light between a fifth and the whole of `photons`, photons a pixel."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.standard_normal(SHAPE), 4)
    image = (image - image.min()) / np.ptp(image)
    return photons * (0.2 + 0.8 * image)


def record(light, gain, offset, *, n_frames=800, seed=1, read_noise=0.0, factor=None, shifts=None):
    rng = np.random.default_rng(seed)
    frames = np.empty((n_frames, *SHAPE))
    for t in range(n_frames):
        now = light if shifts is None else shift(light, shifts[t], order=1, mode="nearest")
        now = now if factor is None else now * factor[t]
        frames[t] = rng.poisson(now) * gain + offset
        frames[t] += read_noise * rng.standard_normal(SHAPE)
    return np.rint(frames).astype(np.int16)


def gain_of(folder, frames, *, shifts_px=None, info=None):
    shifts_px = np.zeros((len(frames), 2)) if shifts_px is None else np.rint(shifts_px)
    info = plane_info(frames) if info is None else info
    frames.tofile(folder / "movie.bin")
    table = pd.DataFrame({"y_px": shifts_px[:, 0], "x_px": shifts_px[:, 1]})
    pairs = even_pairs(np.ones(len(frames), bool), table, max_pairs=1000)
    transfer = photon_transfer(folder / "movie.bin", info, pairs, table, bidiphase=0)
    mask = np.zeros(SHAPE, bool)
    mask[6:-6, 6:-6] = True
    return photon_gain(transfer, mask, percentiles=PERCENTILES), transfer


@pytest.mark.parametrize("gain", [3.0, 40.0])
@pytest.mark.parametrize("photons", [0.5, 5.0, 60.0])
def test_a_known_gain_is_found(tmp_path, gain, photons):
    found, _ = gain_of(tmp_path, record(tissue(photons=photons), gain, 100.0))
    assert found.gain == pytest.approx(gain, rel=0.1)
    # within a tenth of the light of a pixel
    assert found.background == pytest.approx(100, abs=0.1 * photons * gain)


def test_flicker_events_and_motion_do_not_count(tmp_path):
    rng = np.random.default_rng(4)
    n = 1000
    factor = 1 + 0.15 * rng.standard_normal(n)
    shifts = np.cumsum(rng.normal(0, 0.25, (n, 2)), axis=0)
    shifts -= gaussian_filter(shifts, (50, 0))
    frames = record(
        tissue(photons=20), 8.0, 50.0, n_frames=n, factor=factor, shifts=shifts, read_noise=4.0
    )
    found, transfer = gain_of(tmp_path, frames, shifts_px=shifts)
    assert found.gain == pytest.approx(8, rel=0.1)
    # the variance over time, as the reference takes it, is ruled by flicker
    over_time = registered_frames(frames, shifts).var(axis=0)
    slope = np.polyfit(transfer.mean.ravel(), over_time.ravel(), 1)[0]
    assert slope > 1.5 * 8


def test_a_registered_movie_would_give_too_low_a_gain(tmp_path):
    frames = record(tissue(photons=10), 10.0, 0.0)
    interpolated = np.rint((frames[:, :, :-1] + frames[:, :, 1:]) / 2)
    interpolated = np.concatenate([interpolated, interpolated[:, :, -1:]], axis=2)
    raw, _ = gain_of(tmp_path, frames)
    registered, _ = gain_of(tmp_path, interpolated.astype(np.int16))
    assert raw.gain == pytest.approx(10, rel=0.1)
    assert registered.gain < 6


def test_odd_lines_are_put_in_place(tmp_path):
    frames = record(tissue(), 10.0, 100.0, n_frames=60)
    found = []
    for movie, phase in ((frames, 0), (undo_bidirectional(frames, -3), 3), (frames, 3)):
        movie.tofile(tmp_path / "movie.bin")
        shifts = pd.DataFrame({"y_px": np.zeros(60), "x_px": np.zeros(60)})
        found.append(
            photon_transfer(
                tmp_path / "movie.bin",
                plane_info(frames),
                np.arange(0, 60, 2),
                shifts,
                bidiphase=phase,
            )
        )
    # all but the columns that are lost, and for the variance what they are smoothed over
    np.testing.assert_allclose(found[1].mean[:, 3:-3], found[0].mean[:, 3:-3], rtol=1e-6)
    np.testing.assert_allclose(
        found[1].variance[:, 16:-16], found[0].variance[:, 16:-16], rtol=1e-5
    )
    assert np.abs(found[2].mean - found[0].mean)[1::2, 3:-3].mean() > 5


def test_gain_is_in_intensity_as_recorded(tmp_path):
    frames = record(tissue(), 10.0, 100.0)
    info = plane_info(frames, scale=2.0, offset=-150.0)
    found, _ = gain_of(tmp_path, frames, info=info)
    assert found.gain == pytest.approx(20, rel=0.1)
    assert found.background == pytest.approx(50, abs=20)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((100, *SHAPE), np.int16), "fewer than 100 pixels have any noise"),
        (np.zeros((20, *SHAPE), np.int16), "10 pairs of still frames"),
    ],
)
def test_dark_and_short_movies_have_no_gain(tmp_path, frames, message):
    found, _ = gain_of(tmp_path, frames)
    assert found.gain is None
    assert message in found.message


def test_uniform_light_says_nothing_about_the_background(tmp_path):
    found, _ = gain_of(tmp_path, record(np.full(SHAPE, 10.0), 5.0, 100.0, n_frames=300))
    assert found.background is None
    assert found.message


def gain_known(gain=10.0, background=100.0):
    return PhotonGain(gain, background, 0.0, 0.0, np.ones(SHAPE, bool))


def slow_d_prime(cell, neuropil, dff, decay_s):
    """Wilt et al. 2013: corrected dF/F times the root of half the photons in a decay."""
    return dff * cell / (cell + neuropil) * np.sqrt((cell + neuropil) * decay_s / 2)


def test_photons_and_d_prime_of_rois():
    # 3 photons a pixel in the ROI, 1 around it
    found = roi_photons(
        np.array([130.0, 130.0, 105.0, np.nan]),
        np.array([110.0, np.nan, 110.0, 110.0]),
        np.array([100, 100, 50, 0]),
        gain_known(),
        sampling_rate_hz=30.0,
        dff=0.15,
        decay_s=0.2,
    )
    # one background for each of the pixels: with a single one it would be 1290
    np.testing.assert_allclose(found.photons[:3], [300, 300, 25])
    assert found.d_prime[0] == pytest.approx(slow_d_prime(200 * 30, 100 * 30, 0.15, 0.2))
    # dimmer than the neuropil: nothing of its own
    assert found.d_prime[2] == 0
    assert np.isnan(found.d_prime[[1, 3]]).all()


def test_without_gain_there_are_no_photons():
    none = PhotonGain(None, None, np.nan, np.nan, np.ones(SHAPE, bool), "why")
    found = roi_photons(
        np.ones(2), np.ones(2), np.ones(2), none, sampling_rate_hz=1.0, dff=0.1, decay_s=0.1
    )
    assert np.isnan(found.photons).all()
    assert np.isnan(found.d_prime).all()


def test_baselines_equal_the_slow_twin(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 1000, (41, *SHAPE)).astype(np.int16)
    frames.tofile(tmp_path / "movie.bin")
    places = [(np.array([1, 2]), np.array([3, 3]), np.ones(2)), (np.zeros(0, int),) * 3]
    masks = make_masks(places, *SHAPE)
    info = plane_info(frames, scale=0.5, offset=3.0)
    found = mask_baselines(tmp_path / "movie.bin", info, masks, np.arange(0, 41, 2))
    expected = np.median(frames[::2, [1, 2], [3, 3]].mean(axis=1)) * 0.5 + 3
    assert found[0] == pytest.approx(expected)
    assert np.isnan(found[1])


def test_noise_level_does_not_depend_on_the_rate_or_on_slow_changes():
    rng = np.random.default_rng(0)
    dff = 0.1 * rng.standard_normal((2, 20000)) + 2 * np.sin(np.arange(20000) / 500)
    dff[1, 50:1000] = np.nan
    # median |difference of two normal numbers| = 0.6745 * sqrt(2) standard deviations
    expected = 100 * 0.6745 * np.sqrt(2) * 0.1 / np.sqrt(30)
    np.testing.assert_allclose(noise_level(dff, 30.0), expected, rtol=0.03)
    assert np.isnan(noise_level(np.full((1, 10), np.nan), 30.0)).all()
    assert noise_level(np.zeros((0, 10)), 30.0).shape == (0,)
