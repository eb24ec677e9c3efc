"""Times from a pin alone: the true line, and pins that say nothing."""

import numpy as np
import pytest
from video.simulated_camera import RATE_HZ, pin_signal, simulate

from sluice.errors import InputError
from sluice.io.pulses import Edges
from sluice.video.pin_clock import fit_pins

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
