import numpy as np
import pytest
from ephys.probe_signals import recording_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.ephys.saturation import scan_recording
from sluice.runs import runs_of

RATE_HZ = 1000.0
SCAN = {
    "max_int": 512,
    "level": 0.96,
    "slope_v_per_s": 9.0,
    "channel_fraction": 0.2,
    "min_gap_s": 0.005,
    "window_s": 0.1,
}


def scan(traces, *, gain_uv=1.0, counted=None, **changed):
    n_channels = traces.shape[1]
    return scan_recording(
        recording_of(traces, RATE_HZ, gain_uv),
        gain_uv=np.full(n_channels, gain_uv),
        counted=np.ones(n_channels, bool) if counted is None else counted,
        **{**SCAN, **changed},
    )


def noise(n_samples=1000, n_channels=10, seed=0):
    # never zero on all channels by chance, since the first channel is never zero
    traces = np.random.default_rng(seed).integers(-20, 21, (n_samples, n_channels))
    traces[:, 0] = np.where(traces[:, 0] == 0, 1, traces[:, 0])
    return traces.astype(np.int16)


def test_saturated_samples_are_those_where_more_than_a_fifth_of_the_channels_are_at_the_end():
    traces = noise()
    traces[250:350, :3] = 511
    # two of ten channels are a fifth, not more
    traces[500:520, :2] = 511
    traces[600:603, 7:] = -512
    # 0.96 x 512 = 491.52
    traces[700, :5], traces[710, :5] = 491, 492
    found = scan(traces)
    np.testing.assert_array_equal(found.saturated, [[250, 350], [600, 603], [710, 711]])
    expected = np.zeros(10)
    expected[:2] = 121
    expected[2] = 101
    expected[3:5] = 1
    expected[7:] = 3
    np.testing.assert_allclose(found.saturated_fraction, expected / 1000)


def test_full_scale_below_zero_does_not_overflow_int16():
    traces = noise()
    traces[100:110] = -32768
    # no step is fast here
    found = scan(traces, max_int=32768, slope_v_per_s=1e6)
    np.testing.assert_array_equal(found.saturated, [[100, 110]])


@pytest.mark.parametrize("gain_uv", [1.0, 2.0])
def test_a_step_faster_than_the_slope_is_saturation_also_between_chunks(gain_uv):
    traces = noise()
    traces[200:, :3] += 200  # the chunks are 100 samples long
    traces[555:, :3] -= 200
    # noise alone makes steps of up to 40 bits; 0.1 V/s at 1000 Hz is a step of 100 µV
    found = scan(traces, slope_v_per_s=0.1 * gain_uv, gain_uv=gain_uv)
    np.testing.assert_array_equal(found.saturated, [[200, 201], [555, 556]])
    assert scan(traces, slope_v_per_s=0.25 * gain_uv, gain_uv=gain_uv).saturated.size == 0


def test_default_slope_is_that_of_ibl_at_30_khz():
    # IBL: |step in V| / 30000 >= 1e-8, that is 300 µV from one sample to the next
    step_uv = 9.0 / 30000 * 1e6
    assert step_uv == pytest.approx(1e-8 * 30000 * 1e6)


def test_reference_contacts_do_not_count():
    traces = noise()
    traces[100:120, :3] = 511
    counted = np.ones(10, bool)
    counted[:2] = False
    assert scan(traces, counted=counted).saturated.size == 0


def test_gaps_are_runs_of_zeros_on_all_channels():
    traces = noise()
    traces[95:205] = 0  # over two chunk edges
    traces[400:404] = 0  # too short
    traces[950:] = 0
    found = scan(traces)
    np.testing.assert_array_equal(found.gaps, [[95, 205], [950, 1000]])


def test_a_constant_channel_is_found_though_a_gap_interrupts_it():
    traces = noise()
    traces[:, 4] = 7
    traces[:, 6] = 0
    traces[300:400] = 0
    np.testing.assert_array_equal(np.flatnonzero(scan(traces).constant), [4, 6])


def test_all_zero_recording_is_one_gap_of_constant_channels():
    found = scan(np.zeros((300, 4), np.int16))
    assert found.constant.all()
    np.testing.assert_array_equal(found.gaps, [[0, 300]])
    assert np.isnan(found.rms_bits).all()


def test_rms_over_time_leaves_out_mean_and_gaps():
    traces = noise(n_samples=250) + np.int16(300)
    traces[120:160] = 0
    found = scan(traces)
    np.testing.assert_allclose(found.window_times_s, [0.05, 0.15, 0.225])
    expected = [
        traces[:100].std(axis=0),
        np.delete(traces[100:200], np.s_[20:60], axis=0).std(axis=0),
        traces[200:].std(axis=0),
    ]
    # float32 is stored
    np.testing.assert_allclose(found.rms_bits, expected, rtol=1e-5)


def slow_scan(traces, level_bits, step_bits, fraction, min_gap):
    """Find the same with numpy, on the whole array at once."""
    values = traces.astype(np.int64)
    steps = np.abs(np.diff(values, axis=0, prepend=values[:1]))
    crowd = fraction * traces.shape[1]
    beyond = np.abs(values) > level_bits
    saturated = (beyond.sum(axis=1) > crowd) | ((steps > step_bits).sum(axis=1) > crowd)
    gaps = [r for r in runs_of(~values.any(axis=1)) if r[1] - r[0] >= min_gap]
    return runs_of(saturated), gaps


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_samples=st.integers(1, 60),
    n_channels=st.integers(1, 6),
    chunk=st.integers(1, 70),
)
def test_any_chunking_finds_what_one_look_at_the_whole_finds(seed, n_samples, n_channels, chunk):
    rng = np.random.default_rng(seed)
    values = np.array([0, 0, 0, 50, -50, 511, -512], np.int16)
    traces = rng.choice(values, (n_samples, n_channels), p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    # 0.2 V/s is a step of 200 bits here
    found = scan(traces, window_s=chunk / RATE_HZ, slope_v_per_s=0.2, min_gap_s=3 / RATE_HZ)
    saturated, gaps = slow_scan(traces, 0.96 * 512, 200, 0.2, 3)
    np.testing.assert_array_equal(found.saturated, saturated)
    np.testing.assert_array_equal(found.gaps, np.reshape(gaps, (-1, 2)))


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.lists(st.booleans(), max_size=40))
def test_runs_cover_exactly_the_true_samples(mask):
    mask = np.array(mask, bool)
    rebuilt = np.zeros(len(mask), int)
    for start, stop in runs_of(mask):
        assert start < stop
        rebuilt[start:stop] += 1
    np.testing.assert_array_equal(rebuilt, mask)
