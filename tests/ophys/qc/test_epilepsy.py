import numpy as np
import pytest

from sluice.ophys.qc.epilepsy import find_epileptiform_events


def events_of(trace, rate_hz, dark=0.0):
    return find_epileptiform_events(
        trace,
        sampling_rate_hz=rate_hz,
        dark=dark,
        prominence_percent=10.0,
        width_s=(0.1, 0.3),
        baseline_s=10.0,
    )


def with_bumps(places_s, width_s, percent, rate_hz, *, duration_s=100, noise=0.5, seed=0):
    """Make a trace around 200 with Gaussian bumps of a full width at half height."""
    t = np.arange(int(duration_s * rate_hz)) / rate_hz
    trace = 200 * np.exp(-t / 300)
    for place in places_s:
        sd = width_s / np.sqrt(8 * np.log(2))
        trace = trace * (1 + percent / 100 * np.exp(-0.5 * ((t - place) / sd) ** 2))
    return trace * (1 + noise / 100 * np.random.default_rng(seed).standard_normal(len(t)))


PLACES_S = [12.0, 31.0, 55.0, 56.5, 80.0]


@pytest.mark.parametrize("rate_hz", [7.0, 10.0, 30.0, 60.0])
def test_planted_events_are_found_at_their_frames(rate_hz):
    found = events_of(with_bumps(PLACES_S, 0.2, 40, rate_hz), rate_hz)
    np.testing.assert_allclose(found.events / rate_hz, PLACES_S, atol=1 / rate_hz)


@pytest.mark.parametrize(("width_s", "percent"), [(0.8, 40), (0.05, 40), (0.2, 5)])
def test_too_long_too_short_or_too_small_is_no_event(width_s, percent):
    assert len(events_of(with_bumps(PLACES_S, width_s, percent, 60.0), 60.0).events) == 0


def test_slow_frames_cannot_show_them():
    found = events_of(with_bumps(PLACES_S, 0.2, 40, 6.0), 6.0)
    assert found.trace_percent is None
    assert "at 6 Hz an event of 0.3 s is shorter than two frames" in found.message


def test_noise_of_a_dim_movie_is_no_event():
    # 1500 frames with a noise of 4 %: some exceed 10 % by themselves
    trace = with_bumps([], 0.2, 0, 10.0, duration_s=150, noise=4)
    found = events_of(trace, 10.0)
    assert found.trace_percent.max() > 10
    assert len(found.events) == 0
    assert "six times what the field changes" in found.message


def test_missing_frames_are_bridged():
    trace = with_bumps(PLACES_S, 0.2, 40, 10.0)
    trace[200:205] = np.nan
    assert len(events_of(trace, 10.0).events) == len(PLACES_S)


def test_percentages_are_of_the_light_above_the_background():
    trace = with_bumps(PLACES_S, 0.2, 20, 30.0) + 1000
    assert len(events_of(trace, 30.0).events) == 0
    assert len(events_of(trace, 30.0, dark=1000.0).events) == len(PLACES_S)


@pytest.mark.parametrize("trace", [np.zeros(200), np.full(200, np.nan), np.ones(5)])
def test_dark_and_empty_movies_give_no_value(trace):
    assert events_of(trace, 10.0).trace_percent is None
