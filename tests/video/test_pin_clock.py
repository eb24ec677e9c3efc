"""Times from a pin alone: the true line, and pins that say nothing."""

import numpy as np
import pytest
from video.simulated_camera import RATE_HZ, pin_signal, simulate

from sluice.errors import InputError
from sluice.io.pulses import Edges
from sluice.video.pin_clock import fit_pins
from sluice.video.pin_offsets import compare_pin

PERIOD_S = 1 / RATE_HZ


def edges_of(rises, falls=()):
    times_s = np.concatenate([rises, falls])
    polarity = np.repeat([1, -1], [len(rises), len(falls)]).astype(np.int8)
    order = np.argsort(times_s)
    return Edges(times_s[order], polarity[order])


def fit(sim, states, edges):
    return fit_pins(
        sim.camera_s, states, edges, max_drift=1e-3, name="S leftCamera", source="pins.npy"
    )


@pytest.mark.parametrize("drift_ppm", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("is_both", [True, False])
def test_the_line_is_found(drift_ppm, is_both):
    """Every edge lies between its frames; so the more edges the better, far below a frame."""
    sim = simulate(36_000, dropped=range(100, 36_000, 777), drift_ppm=drift_ppm)
    rises, falls, states = pin_signal(sim.times_s)
    # pulses too short for a frame, and some that were sent before the video
    short = np.random.default_rng(1).uniform(rises[0], rises[-1], 60)
    extra = np.concatenate([short, rises[0] - 200 + np.arange(40) * 3.3])
    edges = edges_of(np.concatenate([rises, extra]), falls if is_both else ())
    found = fit(sim, states, edges)
    errors_s = found.times_s - sim.times_s
    # 0.5 ms is asked for; about 600 pulses allow for a hundredth of a frame
    assert np.abs(errors_s).max() < 0.0005
    assert found.error_s < 0.0005
    assert found.drift_ppm == pytest.approx(drift_ppm, abs=2)
    n_pulses = len(rises)
    assert found.n_changes == n_pulses * (2 if is_both else 1)
    assert found.n_matched >= 0.95 * found.n_changes


def test_few_changes_leave_half_a_frame():
    sim = simulate(600)
    rises, falls, states = pin_signal(sim.times_s, mean_s=2.0)
    found = fit(sim, states, edges_of(rises, falls))
    errors_s = found.times_s - sim.times_s
    assert np.abs(errors_s).max() < PERIOD_S / 2
    # what is said of it
    assert abs(errors_s.mean()) <= found.error_s + PERIOD_S / 10


@pytest.mark.parametrize("seed", range(20))
def test_no_time_is_further_off_than_is_said(seed):
    """Few changes, in the middle of the video: most of the error is at its ends."""
    sim = simulate(3000, seed=seed, drift_ppm=50.0 * seed - 500)
    rises, falls, states = pin_signal(sim.times_s[1000:1800], seed=seed, mean_s=1.5)
    states = np.concatenate([np.zeros(1000, bool), states, np.zeros(1200, bool)])
    found = fit(sim, states, edges_of(rises, falls))
    assert np.abs(found.times_s - sim.times_s).max() <= found.error_s + 1e-6
    # two lines of the steepest slopes either way, over the longer of the quiet parts
    assert found.error_s < 2 * 1e-3 * 2000 / RATE_HZ


def test_a_daq_that_started_late():
    sim = simulate(7200)
    rises, falls, states = pin_signal(sim.times_s)
    found = fit(sim, states, edges_of(rises[len(rises) // 3 :], falls[len(rises) // 3 :]))
    assert np.abs(found.times_s - sim.times_s).max() < 0.002
    assert found.n_matched == 2 * (len(rises) - len(rises) // 3)


def refuse(sim, states, edges):
    with pytest.raises(InputError) as error:
        fit(sim, states, edges)
    return str(error.value)


def test_edges_of_something_else():
    sim = simulate(3600)
    _, _, states = pin_signal(sim.times_s)
    other = np.random.default_rng(9).uniform(0, 100, 40)
    text = refuse(sim, states, edges_of(np.sort(other)))
    assert "changes of the camera's pin are found in pins.npy (40 edges) without doubt" in text
    assert "Check gpio_pin and gpio_pulses" in text


def test_a_regular_signal_may_lie_anywhere():
    sim = simulate(3600)
    rises = sim.times_s[0] + 0.1 + np.arange(100) * 30 / RATE_HZ
    edges = edges_of(np.concatenate([rises[:20] - 10, rises]), np.concatenate([rises + 0.2]))
    states = np.searchsorted(np.sort([*rises, *(rises + 0.2)]), sim.times_s, side="right") % 2 == 1
    assert "0 of the" in refuse(sim, states, edges)


def test_no_change_at_all():
    sim = simulate(600)
    text = refuse(sim, np.zeros(600, bool), edges_of(np.array([40.0])))
    assert "0 of the 0 changes" in text


@pytest.mark.parametrize("seed", range(8))
def test_every_change_of_a_good_camera_has_its_edge(seed):
    sim = simulate(3600, seed=seed, jitter_s=1e-4)
    rises, falls, states = pin_signal(sim.times_s, seed=seed)
    # pulses that no frame saw
    short = np.random.default_rng(seed).uniform(rises[0], rises[-1], 20)
    edges = edges_of(np.concatenate([rises, short]), np.concatenate([falls, short + 0.001]))
    found = compare_pin(sim.times_s, states, edges, max_offset=500)
    assert (found.n_off, found.first_off) == (0, -1)
    assert found.n_agreeing == found.n_changes == 2 * len(rises)
    assert not found.is_open_before and not found.is_open_behind


@pytest.mark.parametrize("n_lost", [1, 2, 40])
@pytest.mark.parametrize("part", [0.2, 0.65, 0.9])
@pytest.mark.parametrize("is_behind", [True, False])
def test_lost_frames_put_all_changes_off_on_one_side(n_lost, part, is_behind):
    """The pulses of the video without the lost frames, from either end."""
    first = int(3600 * part)
    sim = simulate(3600, dropped=range(first, first + n_lost))
    rises, falls, states = pin_signal(sim.times_s)
    wrong_s = sim.exposures_s[: sim.n_frames] if is_behind else sim.exposures_s[n_lost:]
    found = compare_pin(wrong_s, states, edges_of(rises, falls), max_offset=100)
    assert found.n_off == n_lost
    assert found.is_open_behind == is_behind and found.is_open_before != is_behind
    # the change before the loss may lie so near to the next frame that it fits there too
    assert found.first_off >= first - 120 if is_behind else found.first_off < 0.1 * 3600


def test_a_pin_that_is_read_in_the_middle_of_the_exposure():
    """Half of the changes are seen by the frame before: no stretch is off by one."""
    for seed in range(10):
        sim = simulate(7200, seed=seed)
        rises, falls, states = pin_signal(sim.times_s + 0.5 / RATE_HZ, seed=seed)
        found = compare_pin(sim.times_s, states, edges_of(rises, falls), max_offset=100)
        assert found.n_off == 0


def test_changes_that_have_no_edge():
    """Edges that the DAQ missed, within: no offset explains them."""
    sim = simulate(3600)
    rises, falls, states = pin_signal(sim.times_s)
    kept = np.setdiff1d(np.arange(len(rises)), [10, 11])
    found = compare_pin(sim.times_s, states, edges_of(rises[kept], falls[kept]), max_offset=100)
    assert (found.n_off, found.n_lone) == (0, 4)
    assert found.n_agreeing == found.n_changes - 4


def test_a_pin_that_is_quiet_near_the_end():
    sim = simulate(3600)
    rises, falls, states = pin_signal(sim.times_s[:3000])
    states = np.concatenate([states, np.zeros(600, bool)])
    found = compare_pin(sim.times_s, states, edges_of(rises, falls), max_offset=100)
    assert found.is_open_behind and not found.is_open_before
    nothing = compare_pin(sim.times_s, np.zeros(3600, bool), edges_of(rises), max_offset=9)
    assert (nothing.n_changes, nothing.is_open_before) == (0, True)
