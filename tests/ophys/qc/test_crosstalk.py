import numpy as np
import pytest
from ophys.qc_movies import plane_info
from scipy.signal import lfilter

from sluice.ophys.crosstalk import PairedPlane
from sluice.ophys.qc.crosstalk import measure_crosstalk

SHAPE = (64, 64)
N_FRAMES = 600


def light(seed, n_cells=12):
    """Photons of a plane with round cells that are active: (n_frames, height, width)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    movie = np.full((N_FRAMES, *SHAPE), 5.0)
    for cy, cx in rng.uniform(8, 56, (n_cells, 2)):
        events = 1.5 * (rng.random(N_FRAMES) < 0.02)
        trace = 10 * (1 + lfilter([1], [1, -0.87], events))
        movie += trace[:, None, None] * (np.hypot(y - cy, x - cx) < 4)
    return movie


def write(path, photons, seed, gain=10.0):
    frames = np.random.default_rng(seed).poisson(photons) * gain + 50
    frames.astype(np.int16).tofile(path)


def measured(folder, this, other, *, shifts_px=None, seeds=(10, 11), smooth_px=1.5):
    """Write both planes; the registered movie of this one is `this` moved back."""
    shifts_px = np.zeros((N_FRAMES, 2)) if shifts_px is None else shifts_px
    write(folder / "this.bin", this, seeds[0])
    write(folder / "other.bin", other, seeds[1])
    info = plane_info(this)
    paired = PairedPlane(folder / "other.bin", info, np.zeros(N_FRAMES, bool))
    mask = np.zeros(SHAPE, bool)
    mask[4:-4, 4:-4] = True
    return measure_crosstalk(
        folder / "this.bin",
        info,
        paired,
        shifts_px,
        np.arange(0, N_FRAMES - 1, 2),
        mask,
        smooth_px=smooth_px,
        active_fraction=0.05,
        max_offset_px=5,
    )


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.4])
def test_planted_crosstalk_is_found(tmp_path, alpha):
    this, other = light(3), light(23)
    found = measured(tmp_path, this + alpha * other, other)
    # activity that both share by chance, with 12 cells: a standard deviation of 0.012
    assert found.fraction == pytest.approx(alpha, abs=0.03)
    # the peak is as wide as a cell
    assert max(map(abs, found.offset_px)) <= 1


def test_without_crosstalk_nothing_stands_out(tmp_path):
    for seed in range(3):
        found = measured(tmp_path, light(seed), light(seed + 20))
        assert found.fraction == 0
        assert found.offset_px is None
        assert "at no place" in found.message


def test_the_two_planes_may_share_light_that_does_not_change(tmp_path):
    vessel = np.zeros(SHAPE)
    vessel[:, 25:35] = 40
    found = measured(tmp_path, light(1) + vessel, light(2) + vessel)
    assert found.fraction == 0


def test_noise_of_the_other_plane_does_not_weaken_it(tmp_path):
    # a photon or two a pixel: a regression on such pixels would find a third of it
    this, other = light(3) / 4, light(23) / 4
    found = measured(tmp_path, this + 0.3 * other, other)
    assert found.fraction == pytest.approx(0.3, abs=0.05)


def test_an_offset_is_found(tmp_path):
    this, other = light(1), light(2)
    leak = np.roll(other, (2, -3), (1, 2))
    assert measured(tmp_path, this + 0.3 * leak, other).offset_px == (2, -3)


def test_the_other_plane_is_moved_by_this_planes_shifts(tmp_path):
    this, other = light(1), light(2)
    shifts = np.random.default_rng(0).integers(-4, 5, (N_FRAMES // 2, 2)).repeat(2, axis=0)
    # what leaks is where the other plane's frame shows it, and is moved with this plane's
    moved = np.stack([np.roll(f, s, (0, 1)) for f, s in zip(other, shifts, strict=True)])
    found = measured(tmp_path, this + 0.2 * other, moved, shifts_px=shifts)
    assert found.fraction == pytest.approx(0.2, abs=0.03)


def test_a_plane_without_activity_cannot_be_looked_for(tmp_path):
    dark = np.zeros((N_FRAMES, *SHAPE))
    assert measured(tmp_path, light(1), dark).fraction is None
    found = measured(tmp_path, dark, light(1))
    assert found.fraction == 0


def test_missing_frames_of_the_other_plane_are_left_out(tmp_path):
    write(tmp_path / "movie.bin", light(1), 0)
    info = plane_info(np.empty((N_FRAMES, *SHAPE)))
    paired = PairedPlane(tmp_path / "movie.bin", info, np.arange(N_FRAMES) >= 90)
    found = measure_crosstalk(
        tmp_path / "movie.bin",
        info,
        paired,
        np.zeros((N_FRAMES, 2)),
        np.arange(0, N_FRAMES - 1, 2),
        np.ones(SHAPE, bool),
        smooth_px=1.5,
        active_fraction=0.05,
        max_offset_px=5,
    )
    assert found.fraction is None
    assert "45 pairs of frames; at least 50" in found.message
