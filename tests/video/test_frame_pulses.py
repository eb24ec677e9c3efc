"""Frames and pulses of simulated cameras, whose true exposures are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video.simulated_camera import RATE_HZ, pin_signal, simulate

from sluice.errors import InputError
from sluice.io.pulses import Edges
from sluice.settings.camera_times import CameraTimes
from sluice.video.exposures import drop_extra, interval_of, pulse_numbers, without_delays
from sluice.video.frame_pulses import align_frames
from sluice.video.pulse_shift import Frames, Pulses, possible_shifts

# A sample of the DAQ at 30 kHz: pulses are seen up to as much late.
SAMPLE_S = 1 / 30_000 + 1e-9
# What the issue asks for.
CLOSE_S = 0.0005
JITTER_S = 0.0004
DROPPED = (24, 51, 107, 108, 141, 348, 477, 479, 519)
LOST = (20, 68, 234, 270, 437)


def align(sim, *use, **changes):
    pin = changes.pop("pin", None)
    return align_frames(
        changes.pop("pulses_s", sim.pulses_s),
        sim.n_frames,
        counter=sim.counter if "counter" in use else None,
        camera_s=changes.pop("camera_s", sim.camera_s) if "clock" in use else None,
        is_own_clock=changes.pop("is_own_clock", True),
        pin=pin,
        settings=CameraTimes(**changes).model_dump(mode="json"),
        name="S leftCamera",
        source="a.npy",
    )


def assert_true(found, sim, *, lost=(), atol=SAMPLE_S):
    """Times, dropped frames and frames without a pulse are those of the truth."""
    np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=atol)
    np.testing.assert_array_equal(found.n_between, sim.n_dropped)
    np.testing.assert_array_equal(found.pulse < 0, np.isin(sim.kept - sim.kept[0], lost))


EVIDENCE = [("counter",), ("clock",), ("counter", "clock")]


def test_as_many_pulses_as_frames_are_taken_one_by_one():
    sim = simulate()
    for use in [(), *EVIDENCE]:
        found = align(sim, *use)
        np.testing.assert_array_equal(found.times_s, sim.pulses_s)
        assert (found.decided_by, found.uncertainty, found.n_without) == ("number", 0, 0)


@pytest.mark.parametrize("use", EVIDENCE)
def test_dropped_frames(use):
    sim = simulate(dropped=DROPPED)
    found = align(sim, *use)
    assert_true(found, sim)
    assert (found.decided_by, found.uncertainty) == ("number", 0)


@pytest.mark.parametrize("use", EVIDENCE)
def test_pulses_that_the_daq_lost(use):
    """Lost pulses are filled: to the sample by the clock, and by the numbers, without jitter."""
    sim = simulate(dropped=DROPPED, lost=LOST)
    found = align(sim, *use)
    # dropped before: the pulse of a dropped frame may be lost too, here it is not
    assert_true(found, sim, lost=LOST)
    assert found.n_without == len(LOST)


def test_both_edges_by_mistake():
    sim = simulate()
    pulses_s = np.sort(np.concatenate([sim.pulses_s, sim.pulses_s + 0.004]))
    for use in EVIDENCE:
        assert "Two for each frame: if each exposure has two edges" in refuse(
            sim, *use, pulses_s=pulses_s
        )


def test_lost_pulses_without_a_clock_are_off_by_the_jitter():
    sim = simulate(lost=LOST, jitter_s=JITTER_S)
    assert_true(align(sim), sim, lost=LOST, atol=5 * JITTER_S)
    # and with it they are not
    assert_true(align(sim, "clock"), sim, lost=LOST)


@pytest.mark.parametrize("rule", ["first", "last"])
@pytest.mark.parametrize("use", EVIDENCE)
def test_surplus_pulses_of_a_camera_without_jitter_go_by_the_rule(use, rule):
    surplus = {"before" if rule == "first" else "after": 7}
    sim = simulate(dropped=DROPPED, **surplus)
    found = align(sim, *use, extra_pulses=rule)
    assert_true(found, sim)
    assert (found.decided_by, found.surplus, found.uncertainty) == ("rule", 7, 7)
    # the other rule is wrong by as many frames, which the uncertainty says
    other = align(sim, *use, extra_pulses="first" if rule == "last" else "last")
    np.testing.assert_allclose(np.abs(other.times_s - sim.times_s).max(), 7 / RATE_HZ, atol=1e-4)
    assert other.uncertainty == 7


def test_only_numbers_are_known():
    """Surplus pulses may lie anywhere: times are off by as many frames, at most."""
    sim = simulate(dropped=DROPPED)
    found = align(sim)
    assert (found.decided_by, found.uncertainty) == ("rule", len(DROPPED))
    assert np.abs(found.times_s - sim.times_s).max() <= len(DROPPED) / RATE_HZ + SAMPLE_S


@pytest.mark.parametrize("before", [0, 4, 2000])
@pytest.mark.parametrize("after", [0, 3, 1000])
def test_jitter_that_both_clocks_see_tells_where_the_video_begins(before, after):
    """However many pulses precede the video, or follow it."""
    sim = simulate(dropped=DROPPED, lost=LOST, before=before, after=after, jitter_s=JITTER_S)
    for use in (("clock",), ("counter", "clock")):
        found = align(sim, *use)
        assert_true(found, sim, lost=LOST)
        assert found.decided_by == "jitter"
        assert found.drift_ppm == pytest.approx(80, abs=1)
        # rounding to samples: 33 µs / sqrt(12) = 9.6 µs
        assert found.residual_s == pytest.approx(9.6e-6, rel=0.1)


@pytest.mark.parametrize("resolution_s", [None, 1 / 8000, 0.001])
@pytest.mark.parametrize("daq_hz", [30_000, 1000])
def test_a_crystal_has_no_jitter_that_could_tell(resolution_s, daq_hz):
    """Rounding makes patterns in the intervals of both clocks; they are no evidence."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sim = simulate(
            rate_hz=rng.uniform(25, 160),
            dropped=DROPPED,
            before=int(rng.integers(1, 8)),
            after=int(rng.integers(1, 8)),
            drift_ppm=rng.choice([0.0, 120.0]),
            daq_hz=daq_hz,
        )
        camera_s = sim.camera_s
        if resolution_s:
            camera_s = np.round(camera_s / resolution_s) * resolution_s
        assert align(sim, "clock", camera_s=camera_s).decided_by == "rule"


@pytest.mark.parametrize("n_missing", [1, 10, 15])
def test_pulses_missing_at_the_end_are_added(n_missing):
    lost = tuple(range(600 - n_missing, 600))
    sim = simulate(dropped=DROPPED, lost=lost)
    for use in EVIDENCE:
        found = align(sim, *use)
        np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=CLOSE_S)
        assert (found.n_without, found.surplus) == (n_missing, -n_missing)
        assert (found.decided_by, found.uncertainty) == ("rule", n_missing)


def test_pulses_missing_at_the_beginning_are_added_where_jitter_tells():
    sim = simulate(dropped=DROPPED, lost=tuple(range(10)), jitter_s=JITTER_S)
    found = align(sim, "clock")
    assert found.decided_by == "jitter"
    np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=CLOSE_S)
    np.testing.assert_array_equal(np.flatnonzero(found.pulse < 0), np.arange(10))


@pytest.mark.parametrize("evidence", ["jitter", "pins"])
def test_as_many_pulses_as_frames_that_are_of_others(evidence):
    """The DAQ began 12 pulses before the video and ended 12 before its end."""
    jitter_s = JITTER_S if evidence == "jitter" else 0.0
    sim = simulate(1500, before=12, lost=range(1488, 1500), jitter_s=jitter_s)
    rises, _, states = pin_signal(sim.times_s)
    pin = (states, Edges(rises, np.ones(len(rises), np.int8)))
    found = align(sim, "clock") if evidence == "jitter" else align(sim, pin=pin)
    assert (found.decided_by, found.n_without) == (evidence, 12)
    np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=CLOSE_S)


def test_no_time_is_wrong_unsaid():
    """Any mixture of what goes wrong: true, or said to be uncertain, or refused."""
    said = {"true": 0, "uncertain": 0, "refused": 0}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(100, 600))
        sim = simulate(
            n,
            seed=seed,
            rate_hz=float(rng.choice([25, 30, 60])),
            jitter_s=float(rng.choice([0, 1e-5, 1e-4, 5e-4])),
            before=int(rng.choice([0, 3, 100])),
            after=int(rng.choice([0, 2, 100])),
            dropped=np.unique(rng.integers(1, n - 1, int(rng.choice([0, 1, 5, 20])))),
            lost=np.unique(rng.integers(1, n - 1, int(rng.choice([0, 1, 3, 9])))),
            drift_ppm=rng.uniform(-200, 200),
        )
        try:
            found = align(sim, *EVIDENCE[1 + seed % 2])
        except InputError:
            said["refused"] += 1
            continue
        is_true = np.abs(found.times_s - sim.times_s).max() < CLOSE_S
        assert is_true or found.uncertainty, seed
        said["true" if is_true else "uncertain"] += 1
    # those refused, and most of the uncertain, have no jitter that tells where the video begins
    assert said["true"] > 150 and min(said.values()) > 10


def test_a_clock_that_was_put_forward():
    """By a second, within the video: neither pulses nor counter know of it."""
    sim = simulate(dropped=DROPPED)
    camera_s = sim.camera_s.copy()
    camera_s[300:] += 1.0
    assert "(the camera lost 69 more)" in refuse(sim, "clock", camera_s=camera_s)
    found = align(sim, "counter", "clock", camera_s=camera_s)
    assert_true(found, sim)
    # which is said
    assert (found.n_apart, found.uncertainty) == (60, 60)


@pytest.mark.parametrize("n_frames", [2, 3, 5])
def test_videos_of_a_few_frames(n_frames):
    sim = simulate(n_frames, after=2)
    for use in [(), *EVIDENCE]:
        assert_true(align(sim, *use), sim)


def test_a_camera_that_keeps_every_second_exposure():
    """Its counter says so; without it the rates differ."""
    sim = simulate(dropped=range(1, 600, 2), after=1)
    found = align(sim, "counter", "clock")
    np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=SAMPLE_S)
    np.testing.assert_array_equal(found.n_between, sim.n_dropped)
    assert "Expected the same rate" in refuse(sim, "clock")


def test_irregular_triggers():
    """Intervals of 5 to 45 ms, as many pulses as frames: nothing is left out."""
    sim = simulate()
    pulses_s = np.cumsum(np.random.default_rng(0).uniform(0.005, 0.045, 600))
    np.testing.assert_array_equal(align(sim, pulses_s=pulses_s).times_s, pulses_s)


def test_a_camera_that_pulses_for_saved_frames_alone():
    """Gaps of the pulses are where the counter jumps."""
    sim = simulate(dropped=DROPPED, lost=DROPPED)
    for use in EVIDENCE:
        found = align(sim, *use)
        np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=SAMPLE_S)
        assert found.n_without == 0


# half an interval more than whole ones, and none
PAUSES = tuple((at, wait) for at in range(50, 600, 60) for wait in [0.5083])


def test_pauses_of_the_trigger():
    """The clock and the pulses stop, the counter does not count; gaps tell where pulses belong."""
    sim = simulate(dropped=DROPPED, pauses=PAUSES, before=5, after=5)
    found = align(sim, "counter", "clock")
    assert found.decided_by == "gaps"
    np.testing.assert_allclose(found.times_s, sim.times_s, rtol=0, atol=SAMPLE_S)
    # with the counter alone only as many pulses as exposures will do
    sim = simulate(dropped=DROPPED, pauses=PAUSES)
    assert_true(align(sim, "counter"), sim)
    assert_true(align(sim, "clock"), sim)


@settings(max_examples=60, deadline=None)
@given(
    dropped=st.sets(st.integers(1, 298), max_size=40),
    lost=st.sets(st.integers(1, 298), max_size=12),
    before=st.integers(0, 60),
    after=st.integers(0, 60),
    seed=st.integers(0, 10_000),
    use=st.sampled_from([("clock",), ("counter", "clock")]),
)
def test_any_pattern_of_dropped_frames(dropped, lost, before, after, seed, use):
    """With jitter in both clocks: every dropped frame, every lost pulse, every time."""
    # a pulse that was lost for a frame that was dropped leaves no trace
    lost = lost - dropped
    sim = simulate(
        300,
        seed=seed,
        dropped=sorted(dropped),
        lost=sorted(lost),
        before=before,
        after=after,
        jitter_s=JITTER_S,
    )
    assert_true(align(sim, *use), sim, lost=sorted(lost))


@settings(max_examples=60, deadline=None)
@given(
    dropped=st.sets(st.integers(1, 298), max_size=100),
    after=st.integers(0, 15),
    seed=st.integers(0, 10_000),
)
def test_any_pattern_of_dropped_frames_by_the_counter(dropped, after, seed):
    """A camera of a crystal that starts with the DAQ: exact by the counter, and by the clock."""
    sim = simulate(300, seed=seed, dropped=sorted(dropped), after=after)
    for use in EVIDENCE:
        assert_true(align(sim, *use), sim)


def test_late_deliveries():
    """A computer's times of frames are late now and then, by up to most of an interval."""
    sim = simulate(dropped=DROPPED, after=3)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        late = rng.uniform(0, 0.9 / RATE_HZ, sim.n_frames)
        late[rng.random(sim.n_frames) > 0.1] = 0
        # a late frame before a dropped one cannot be told from one that comes after it
        late[np.flatnonzero(sim.n_dropped) - 1] = 0
        late[[0, -1]] = 0
        assert_true(align(sim, "clock", camera_s=sim.camera_s + late), sim)


def test_extra_pulses_between_others():
    """A spike on the line, well within an interval."""
    sim = simulate(dropped=DROPPED, after=3)
    spikes = sim.pulses_s[[100, 200, 300]] + 0.3 / RATE_HZ
    pulses_s = np.sort(np.concatenate([sim.pulses_s, spikes]))
    found = align(sim, "counter", pulses_s=pulses_s)
    assert_true(found, sim)
    assert found.n_extra == 3


@pytest.mark.parametrize("before", [0, 1, 900])
@pytest.mark.parametrize("use", [(), ("counter",), ("clock",), ("counter", "clock")])
def test_pins_tell_where_the_video_begins(use, before):
    """A camera of a crystal: neither jitter nor gaps, but a pin that saw irregular pulses."""
    dropped = DROPPED if use else ()
    sim = simulate(1500, dropped=dropped, before=before, after=40)
    rises, falls, states = pin_signal(sim.times_s)
    order = np.argsort(np.concatenate([rises, falls]))
    edges = Edges(np.concatenate([rises, falls])[order], np.repeat([1, -1], len(rises))[order])
    found = align(sim, *use, pin=(states, edges))
    assert (found.decided_by, found.uncertainty) == ("pins", 0)
    assert_true(found, sim)
    # rising edges alone will do, and short pulses that no frame saw do not matter
    short = np.random.default_rng(5).uniform(rises[0], rises[-1], 20)
    times_s = np.sort(np.concatenate([rises, short]))
    found = align(sim, *use, pin=(states, Edges(times_s, np.ones(len(times_s), np.int8))))
    assert found.decided_by == "pins"
    assert_true(found, sim)


def test_a_regular_signal_of_a_pin_tells_nothing():
    sim = simulate(1500, before=30, after=30)
    rises = sim.times_s[0] + 0.1 + np.arange(40) * 30 / RATE_HZ
    edges = Edges(np.sort(np.concatenate([rises, rises + 0.2])), np.tile([1, -1], 40))
    states = np.searchsorted(edges.times_s, sim.times_s, side="right") % 2 == 1
    with pytest.raises(InputError, match="the pins do not say where the video begins"):
        align(sim, pin=(states, edges))


def test_times_of_the_video_help_where_they_fit_and_are_left_where_not():
    sim = simulate(dropped=DROPPED, after=3)
    assert_true(align(sim, "clock", is_own_clock=False), sim)
    # times that a file's writer made up, with a step in the middle
    wrong = np.arange(sim.n_frames) / RATE_HZ
    wrong[300:] += 1.0
    found = align(sim, "clock", camera_s=wrong, is_own_clock=False)
    assert (found.decided_by, found.surplus) == ("rule", len(DROPPED) + 3)


def refuse(sim, *use, **changes):
    with pytest.raises(InputError) as error:
        align(sim, *use, **changes)
    return str(error.value)


def test_more_pulses_than_frames():
    text = refuse(simulate(dropped=DROPPED, after=16), "counter")
    assert "S leftCamera: a.npy has 616 pulses and the video 591 frames" in text
    assert "(the camera lost 9 more)" in text
    assert "they may differ by 15 (video.camera_times.max_frame_difference)" in text
    assert "give timestamps, frame_counter or gpio" in text
    assert "Two for each frame" in refuse(simulate(after=620))


def test_fewer_pulses_than_frames():
    text = refuse(simulate(lost=range(584, 600)))
    assert "a.npy has 584 pulses and the video 600 frames; they may differ by 15" in text
    assert "One for every two frames: if both edges are exposures" in refuse(
        simulate(lost=range(300, 600))
    )
    # gaps are filled without a clock only up to the same number
    text = refuse(simulate(lost=range(100, 400, 10)))
    assert "30 of the 600 frames have none of the pulses in a.npy; expected at most 15" in text
    sim = simulate(lost=range(100, 400, 10))
    assert_true(align(sim, "clock"), sim, lost=range(100, 400, 10))
    text = refuse(simulate(lost=range(100, 400, 4)), "clock")
    assert "75 of the 600 frames have none of the pulses in a.npy" in text
    assert "or 0.1 of the frames (max_interpolated_fraction)" in text


@pytest.mark.parametrize(("factor", "unit"), [(1e3, "milli"), (1e6, "micro"), (1e9, "nano")])
def test_clocks_in_other_units(factor, unit):
    sim = simulate()
    text = refuse(sim, "clock", camera_s=sim.camera_s * factor)
    assert f"They look like {unit}seconds; convert them to seconds." in text


def test_a_clock_of_another_rate():
    sim = simulate()
    text = refuse(sim, "clock", camera_s=sim.camera_s * 1.2)
    assert "the camera's clock has one frame every 0.0200016 s and a.npy one pulse every" in text
    assert "max_rate_difference is 0.02" in text


def test_too_few():
    text = refuse(simulate(), pulses_s=np.array([1.0]))
    assert "a.npy has 1 pulses and the video 600 frames; two of each are needed" in text
    sim = simulate(16, lost=range(2, 16))
    assert "14 of the 16 frames have none of the pulses" in refuse(sim)


def test_possible_shifts_against_a_slow_twin():
    frames = Frames(np.array([0, 1, 2, 5, 9, 10, 11]))
    pulses = Pulses(np.arange(14.0), np.arange(14), 1.0)
    for allowed in range(4):
        wanted = [
            shift
            for shift in range(-20, 20)
            if ((frames.numbers + shift < 0) | (frames.numbers + shift > 13)).sum() <= allowed
        ]
        assert possible_shifts(frames, pulses, allowed).tolist() == wanted


def test_numbers_of_pulses():
    times_s = np.array([0, 1, 2, 4, 5, 7.5, 8.5]) / 60
    assert interval_of(times_s) == pytest.approx(1 / 60)
    assert pulse_numbers(times_s, 1 / 60)[:5].tolist() == [0, 1, 2, 4, 5]
    assert pulse_numbers(times_s, 1 / 60, only_whole=True).tolist() == [0, 1, 2, 4, 5, 6, 7]


def test_pulses_between_others():
    times_s = np.sort(np.concatenate([np.arange(100.0), [10.4, 20.1, 20.2]]))
    is_kept = drop_extra(times_s, 1.0)
    np.testing.assert_array_equal(times_s[is_kept], np.arange(100))
    # too many to be spikes
    assert drop_extra(np.array([0, 0.4, 1, 1.1, 1.2, 2]), 1.0).all()


def test_delays_are_taken_back():
    late = np.array([0, 1, 2.8, 3, 4, 5.5, 6.0])
    np.testing.assert_allclose(without_delays(late, 1.0), [0, 1, 2.25, 3, 4, 5.25, 6])
