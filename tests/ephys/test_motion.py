import numpy as np
import pytest
from ephys.raw_probes import channel_table, recording_of

from sluice.ephys.motion import correct_motion
from sluice.ephys.preprocess_probe import preprocess_probe_file
from sluice.ephys.traces import TracesInfo, open_traces, save_channels, save_traces_info
from sluice.errors import UserError
from sluice.qc import load_checks
from sluice.settings import validate_settings

RATE_HZ = 10_000.0
SECONDS = 60
DRIFT_UM = 30.0


def drifting_traces(table, seed=0, drift_um=DRIFT_UM, direction=1):
    """Spikes of many units that move up the probe by a ramp; traces, samples, units."""
    rng = np.random.default_rng(seed)
    n_samples = int(RATE_HZ * SECONDS)
    position = table[["x_um", "y_um"]].to_numpy()
    traces = rng.normal(0, 5, (n_samples, len(table))).astype(np.float32)
    shape = -np.exp(-(((np.arange(16) - 5) / 1.5) ** 2)) + 0.4 * np.exp(
        -(((np.arange(16) - 9) / 2.5) ** 2)
    )
    depths = np.arange(30.0, position[:, 1].max() - 30, 12.0)
    samples = np.sort(rng.integers(20, n_samples - 20, 60 * SECONDS))
    units = rng.integers(0, len(depths), len(samples))
    amplitudes = rng.uniform(120, 350, len(depths))
    x_um = rng.uniform(position[:, 0].min(), position[:, 0].max(), len(depths))
    for sample, unit in zip(samples, units, strict=True):
        moved_um = direction * drift_um * (sample / n_samples - 0.5)
        distance = np.hypot(position[:, 0] - x_um[unit], position[:, 1] - depths[unit] - moved_um)
        spike = np.outer(shape, amplitudes[unit] * np.exp(-distance / 25))
        traces[sample - 5 : sample + 11] += spike
    return np.rint(traces).clip(-32768, 32767).astype(np.int16), samples, units, depths


def measured_drift_um(traces, table, samples, units, depths):
    """How far the centres of mass of the units move from the first to the last third.

    By the mean troughs at the known spikes, without any of SpikeInterface's methods.
    """
    y_um = table["y_um"].to_numpy()
    third = len(traces) / 3
    shifts = []
    for unit in range(len(depths)):
        near = np.abs(y_um - depths[unit]) < 70
        centres = []
        for chosen in (samples < third, samples > 2 * third):
            trough = traces[samples[chosen & (units == unit)]].astype(float).mean(axis=0)
            weight = np.clip(-trough[near] - 20, 0, None)
            centres.append(np.sum(weight * y_um[near]) / weight.sum())
        shifts.append(centres[1] - centres[0])
    return np.median(shifts)


def write(folder, traces, table):
    folder.mkdir()
    np.ascontiguousarray(traces).tofile(folder / "traces.bin")
    save_channels(table, folder / "channels.tsv")
    save_traces_info(TracesInfo(RATE_HZ, len(traces), len(table), 1.0), folder)


@pytest.mark.slow
def test_planted_drift_is_undone_on_each_shank(tmp_path):
    from spikeinterface.core.motion import Motion

    table = channel_table(96, gain_uv=1.0, n_shanks=2)
    one = table[table["shank"] == 0].reset_index(drop=True)
    up = drifting_traces(one, seed=0)
    down = drifting_traces(one, seed=1, direction=-1)
    traces = np.concatenate([up[0], down[0]], axis=1)
    table.loc[10, "label"] = 1
    traces[:, 10] = 0
    write(tmp_path / "traces", traces, table)
    range_um, n_clipped = correct_motion(tmp_path / "traces", preset="kilosort_like", n_threads=2)
    corrected = open_traces(tmp_path / "traces")[0]
    assert n_clipped == 0
    assert corrected.shape == traces.shape
    assert not corrected[:, 10].any()  # a bad channel stays as it is
    for columns, truth in ((slice(0, 48), up), (slice(48, 96), down)):
        before = measured_drift_um(traces[:, columns], one, *truth[1:])
        after = measured_drift_um(corrected[:, columns], one, *truth[1:])
        # Two thirds of a ramp of 30 µm lie between the first and the last third.
        assert abs(before) > 15
        # The preset's bins are 5 to 10 µm.
        assert abs(after) < 5
    for shank, sign in ((0, 1), (1, -1)):
        motion = Motion.load(tmp_path / "traces" / "motion" / f"shank{shank}")
        displacement = motion.displacement[0].mean(axis=1)
        # positive where the tissue has moved up
        assert sign * (displacement[-1] - displacement[0]) == pytest.approx(DRIFT_UM, abs=10)
    assert range_um == pytest.approx(DRIFT_UM, abs=15)
    assert sorted(p.name for p in (tmp_path / "traces").iterdir()) == [
        "channels.tsv",
        "motion",
        "traces.bin",
        "traces.json",
    ]


@pytest.mark.slow
def test_a_preset_in_the_settings_is_used_and_checked(tmp_path):
    table = channel_table(48, gain_uv=1.0)
    traces, *truth = drifting_traces(table, seed=0)
    save_channels(table, tmp_path / "channels.tsv")
    settings = validate_settings(
        {"ephys": {"preprocess_probe": {"motion": "kilosort_like", "median_min_channels": 100}}}
    )["ephys"]["preprocess_probe"]
    written = []
    for name in ("once", "twice"):
        preprocess_probe_file(
            recording=recording_of(traces, table, RATE_HZ),
            channels=tmp_path / "channels.tsv",
            folder=tmp_path / name,
            checks=tmp_path / f"{name}.json",
            settings=settings,
        )
        written.append((tmp_path / name / "traces.bin").read_bytes())
    assert written[0] == written[1]
    corrected = open_traces(tmp_path / "once")[0]
    assert abs(measured_drift_um(corrected, table, *truth)) < 5
    checks = {c.name: c for c in load_checks(tmp_path / "once.json")}
    assert checks["motion_range_um"].value == pytest.approx(DRIFT_UM, abs=15)
    assert checks["motion_range_um"].unit == "µm"


def test_a_shank_without_spikes_stays_as_it_is(tmp_path, capsys):
    rng = np.random.default_rng(0)
    traces = rng.integers(-2, 3, (30_000, 8)).astype(np.int16)
    write(tmp_path / "traces", traces, channel_table(8))
    assert correct_motion(tmp_path / "traces", preset="kilosort_like") == (0.0, 0)
    np.testing.assert_array_equal(open_traces(tmp_path / "traces")[0], traces)
    assert "shank 0: no spikes" in capsys.readouterr().out


def test_a_preset_that_fails_says_what_to_do(tmp_path):
    # Two contacts are too few to see where a spike is: every preset needs some depth.
    table = channel_table(2, gain_uv=1.0)
    traces = np.random.default_rng(0).integers(-2, 3, (30_000, 2)).astype(np.int16)
    traces[500:29_500:500] -= 200
    write(tmp_path / "traces", traces, table)
    with pytest.raises(
        UserError, match=r"'kilosort_like' finds no motion from \d+ spikes on 2 good"
    ):
        correct_motion(tmp_path / "traces", preset="kilosort_like")
    np.testing.assert_array_equal(open_traces(tmp_path / "traces")[0], traces)
