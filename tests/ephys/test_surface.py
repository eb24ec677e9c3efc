import numpy as np
import pytest
from ephys.probe_signals import neuropixels_table, slow_field_uv

from sluice.ephys.surface import find_drop, find_surface, low_frequency_power, power_profiles

RATE_HZ = 500.0
SHAPE = {"smooth_um": 50.0, "slope_per_um": -0.005}
SETTINGS = {**SHAPE, "reference_um": 100.0, "min_outside_um": 200.0, "max_frequency_hz": 10.0}


def lfp(y_um, *, surface_um=np.inf, common_uv=40.0, seed=0, seconds=20):
    """Draw a brain field that falls to a tenth above the surface, and a common signal."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE_HZ)
    field = slow_field_uv(rng, n, y_um, RATE_HZ) * np.where(y_um > surface_um, 0.1, 1.0) * 120
    common = slow_field_uv(rng, n, np.zeros(1), RATE_HZ) * common_uv
    return field + common + 4 * rng.standard_normal(field.shape)


def surface_of(traces_uv, y_um):
    seconds = np.split(traces_uv, len(traces_uv) // int(RATE_HZ))
    profiles = [
        power_profiles(one, y_um, sampling_rate_hz=RATE_HZ, max_frequency_hz=10, reference_um=100)
        for one in seconds
    ]
    return find_surface(np.median(profiles, axis=0), y_um, **SETTINGS)


@pytest.fixture(scope="module")
def y_um():
    return neuropixels_table(120)["y_um"].to_numpy()


@pytest.mark.parametrize("n_inside", [40, 60, 80, 96, 110, 114])
def test_surface_is_found_within_a_row(y_um, n_inside):
    for seed in range(3):
        true = y_um[n_inside - 1]
        found = surface_of(lfp(y_um, surface_um=true, seed=seed), y_um)
        # one row of contacts; the requirement is 5 channels
        assert abs(found.y_um - true) <= 20
    assert "drops above" in found.message


def test_surface_is_found_where_the_reference_hides_it(y_um):
    # a reference in the tissue: all channels carry it, outside ones with nothing else, and
    # the power as recorded rises instead of falling
    true = y_um[69]
    traces = lfp(y_um, surface_um=true, common_uv=0)
    traces -= traces[:, :1] * 2
    assert abs(surface_of(traces, y_um).y_um - true) <= 20


@pytest.mark.parametrize("seed", range(5))
def test_a_probe_all_in_the_brain_has_no_surface(y_um, seed):
    # against its top the power does fall there: Allen's rule finds a surface in each of these
    traces = lfp(y_um, seed=seed)
    found = surface_of(traces, y_um)
    assert found.y_um is None
    assert found.message == "no channel outside the brain"
    profiles = power_profiles(
        traces, y_um, sampling_rate_hz=RATE_HZ, max_frequency_hz=10, reference_um=100
    )
    assert find_drop(profiles[1], y_um, **SHAPE) is not None


def test_other_geometry_gives_the_same_depth():
    # four times as sparse as NP1.0, and twice as dense
    for pitch_um in (40.0, 5.0):
        y_um = np.arange(0, 1200, pitch_um)
        found = surface_of(lfp(y_um, surface_um=700.0), y_um)
        assert abs(found.y_um - 700) <= max(pitch_um, 20)


def test_one_odd_contact_at_the_top_is_not_a_surface(y_um):
    traces = lfp(y_um)
    traces[:, -1] *= 0.05
    assert surface_of(traces, y_um).y_um is None


def test_too_little_depth_says_so():
    for y_um in (np.zeros(0), np.array([0.0, 0, 20, 20]), np.arange(0, 250, 20.0)):
        found = find_surface(np.zeros((2, len(y_um))), y_um, **SETTINGS)
        assert found.y_um is None
        assert "too little depth" in found.message


def test_steepest_point_of_a_sharp_step_is_not_moved_by_smoothing():
    y_um = np.arange(0, 2000, 20.0)
    profile = np.where(y_um <= 1000, 3.0, 1.0)
    assert find_drop(profile, y_um, **SHAPE) == 1000
    # and of two falls it is the deeper one, if the power stays low after it
    profile[y_um > 1500] -= 0.8
    assert find_drop(profile, y_um, **SHAPE) == 1000
    profile[y_um > 1500] = 3.0
    assert find_drop(profile, y_um, **SHAPE) is None


def test_a_fall_gentler_than_the_threshold_is_none():
    y_um = np.arange(0, 2000, 20.0)
    # 0.0045 per µm over the whole probe, threshold 0.005
    assert find_drop(-0.0045 * y_um, y_um, **SHAPE) is None
    assert find_drop(-0.0055 * y_um, y_um, **SHAPE) is not None


def test_power_of_a_known_sine():
    time_s = np.arange(int(RATE_HZ)) / RATE_HZ
    traces = np.column_stack(
        [10 * np.sin(2 * np.pi * 5 * time_s), 10 * np.sin(2 * np.pi * 50 * time_s) + 300]
    )
    power = low_frequency_power(traces, sampling_rate_hz=RATE_HZ, max_frequency_hz=10)
    # power 10²/2 µV², all of it within 10 bins of 1 Hz (the Hann window spreads it over 3)
    np.testing.assert_allclose(power[0], 50 / 10, rtol=1e-6)
    assert power[1] < 1e-9
