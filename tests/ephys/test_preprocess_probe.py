import json
from types import SimpleNamespace

import numba
import numpy as np
import pytest
import raw_recordings
from ephys.raw_probes import channel_table, recording_of
from scipy.signal import butter, sosfiltfilt

from sluice.ephys import preprocess_probe
from sluice.ephys.preprocess_probe import preprocess_probe_file, read_chunks, rescaled
from sluice.ephys.reference import restore_raw
from sluice.ephys.traces import DEAD, NOISY, OUTSIDE, load_channels, open_traces, save_channels
from sluice.errors import InputError, SettingsError
from sluice.io.recording import channel_table as table_of
from sluice.io.recording import open_probe
from sluice.qc import load_checks
from sluice.session import Stream
from sluice.settings import validate_settings

RATE_HZ = 30000.0


def section(**changes):
    """Validated settings of the step."""
    return validate_settings({"ephys": {"preprocess_probe": changes}})["ephys"]["preprocess_probe"]


def raw_traces(n_channels, n_samples=20_000, seed=0, n_groups=4):
    """10-bit traces: own noise, noise of the group, a slow field, an offset per channel."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 6, (n_samples, n_channels))
    shared = rng.normal(0, 10, (n_samples, n_groups))[:, np.arange(n_channels) % n_groups]
    slow = 60 * np.sin(2 * np.pi * 7 * np.arange(n_samples) / RATE_HZ)[:, None]
    offsets = rng.integers(-50, 50, n_channels)
    return np.rint(own + shared + slow + offsets).clip(-512, 511).astype(np.int16)


def run(tmp_path, traces, table, name="traces", recording=None, n_threads=1, **changes):
    """Run the step on an array; everything it wrote."""
    save_channels(table, tmp_path / f"{name}.tsv")
    folder, checks = tmp_path / name, tmp_path / f"{name}.json"
    preprocess_probe_file(
        recording=recording_of(traces, table) if recording is None else recording,
        channels=tmp_path / f"{name}.tsv",
        folder=folder,
        checks=checks,
        settings=section(**changes),
        n_threads=n_threads,
    )
    written, info, channels = open_traces(folder)
    arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    return SimpleNamespace(
        folder=folder,
        traces=written,
        info=info,
        channels=channels,
        checks={c.name: c for c in load_checks(checks)},
        **arrays,
    )


def slow_twin(raw, out, table, cutoff_hz=150.0):
    """Offsets as found, numpy's median, scipy's filter, all at once."""
    values = raw.astype(float) - out.offsets
    good = (table["label"] == 0) & ~table["is_reference"]
    for group, rows in table.groupby("median_group").indices.items():
        members = np.flatnonzero(good & (table["median_group"] == group))
        values[:, rows] -= np.rint(np.median(values[:, members], axis=1))[:, None]
    sos = butter(3, cutoff_hz, "highpass", fs=RATE_HZ, output="sos")
    return sosfiltfilt(sos, values, axis=0)


@pytest.mark.parametrize("chunk_samples", [3000, 7777, 1 << 20])
def test_the_default_equals_the_slow_twin_whatever_the_chunks(tmp_path, monkeypatch, chunk_samples):
    monkeypatch.setattr(preprocess_probe, "CHUNK_SAMPLES", chunk_samples)
    table = channel_table(40)
    table.loc[3, "label"] = DEAD
    table.loc[7, "label"] = NOISY
    table.loc[36:, "label"] = OUTSIDE
    table.loc[11, "is_reference"] = True
    raw = raw_traces(40)
    out = run(tmp_path, raw, table)
    # Half a bit is rounding; margins and float32 change less than 0.01 bits.
    np.testing.assert_allclose(out.traces, slow_twin(raw, out, table), atol=0.51, rtol=0)
    assert out.info.n_samples == 20_000
    assert out.info.n_channels == 40
    assert out.info.gain_uv == 2.5
    assert out.info.sampling_rate_hz == RATE_HZ
    # channels.tsv goes along unchanged
    assert (out.folder / "channels.tsv").read_bytes() == (tmp_path / "traces.tsv").read_bytes()
    assert not (out.folder / "whitening.npy").exists()


def test_the_noise_of_a_group_is_removed(tmp_path):
    out = run(tmp_path, raw_traces(64), channel_table(64))
    rms = out.traces[1000:-1000].astype(float).std(axis=0)
    # Own noise of 6 bits and the error of the median of 16 channels (6 * 1.25 / 4); before,
    # there were 10 bits of shared noise beside it.
    np.testing.assert_allclose(rms, np.hypot(6, 1.8), rtol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_raw_file_comes_back_bit_for_bit(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(preprocess_probe, "CHUNK_SAMPLES", 4096)
    rng = np.random.default_rng(seed)
    table = channel_table(30)
    table["label"] = rng.choice([0, 0, 0, 0, 0, 0, DEAD, NOISY, OUTSIDE], 30)
    raw = raw_traces(30, seed=seed)
    raw[5000:5100] = 511  # saturation
    out = run(tmp_path, raw, table, highpass_hz=None)
    assert out.medians.shape == (20_000, out.median_groups.max() + 1)
    assert {out.offsets.dtype, out.medians.dtype, out.median_groups.dtype} == {np.dtype("int16")}
    back = restore_raw(out.traces, out.medians, out.offsets, out.median_groups)
    np.testing.assert_array_equal(back, raw)
    # and by the formula itself
    subtracted = np.where(out.median_groups >= 0, out.medians[:, out.median_groups], 0)
    np.testing.assert_array_equal(out.traces + subtracted + out.offsets, raw)


def test_channels_of_a_larger_gain_are_scaled_to_the_smallest(tmp_path):
    table = channel_table(40, gain_uv=2.0)
    table.loc[20:, "gain_uv"] = 5.0
    raw = raw_traces(40)
    out = run(tmp_path, raw, table, highpass_hz=None)
    assert out.info.gain_uv == 2.0
    # Channels 0 and 20 have one median group and two gains, so two medians.
    assert out.median_groups[0] != out.median_groups[20]
    small = restore_raw(out.traces, out.medians, out.offsets, out.median_groups)[:, :20]
    np.testing.assert_array_equal(small, raw[:, :20])
    unscaled = np.rint(out.traces / 2.5).astype(np.int16)
    large = restore_raw(unscaled, out.medians, out.offsets, out.median_groups)[:, 20:]
    np.testing.assert_array_equal(large, raw[:, 20:])
    filtered = run(tmp_path, raw, table, name="filtered")
    assert filtered.traces[:, 20:].std() == pytest.approx(
        2.5 * filtered.traces[:, :20].std(), rel=0.1
    )


def test_offsets_come_from_the_whole_recording(tmp_path):
    table = channel_table(20)
    raw = np.zeros((100_000, 20), np.int16) + np.arange(20, dtype=np.int16)
    raw[:20_000] = 400  # a fifth of it, so two passes of ten, is something else
    out = run(tmp_path, raw, table, offset_pass_s=0.05)
    np.testing.assert_array_equal(out.offsets, np.arange(20))


def test_a_group_without_good_channels_is_named(tmp_path):
    table = channel_table(40)
    table.loc[table["median_group"] == 2, "label"] = DEAD
    table.loc[[1, 5, 9, 13, 17], "label"] = NOISY  # leaves five good ones in group 1
    table.loc[[0, 4, 8, 12, 16, 20], "label"] = NOISY  # leaves four in group 0
    raw = raw_traces(40)
    out = run(tmp_path, raw, table, highpass_hz=None)
    np.testing.assert_array_equal(out.median_groups, np.tile([-1, 0, -1, 1], 10))
    assert out.medians.shape == (20_000, 2)
    np.testing.assert_array_equal(out.traces[:, 2], raw[:, 2] - out.offsets[2])
    check = out.checks["channels_without_median"]
    assert check.verdict == "WARNING"
    assert check.value == pytest.approx(4 / 19)
    assert check.message.startswith("4 good channels keep their common noise")


def test_a_tetrode_keeps_what_its_contacts_share(tmp_path):
    table = channel_table(4, n_groups=1)
    raw = np.zeros((5000, 4), np.int16)
    raw[1000::500] = -200
    out = run(tmp_path, raw, table)
    assert out.medians.shape == (5000, 0)
    assert (out.traces[1000::500] < -150).all()


def test_none_leaves_the_traces_as_they_are(tmp_path):
    raw = raw_traces(12)
    out = run(tmp_path, raw, channel_table(12), method="none")
    np.testing.assert_array_equal(out.traces, raw)
    assert out.medians.shape == (20_000, 0)
    assert not out.offsets.any()
    assert (out.median_groups == -1).all()
    assert list(out.checks) == ["clipped_fraction"]


def test_destripe_writes_what_its_reader_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(preprocess_probe, "CHUNK_SAMPLES", 8192)
    table = channel_table(48)
    table.loc[9, "label"] = DEAD
    table.loc[44:, "label"] = OUTSIDE
    raw = raw_traces(48, n_groups=1)
    out = run(tmp_path, raw, table, method="destripe", n_threads=2)
    assert out.medians.shape == (20_000, 0)
    rms = out.traces[1000:-1000].astype(float).std(axis=0)
    # The shared noise of 10 bits is gone inside the brain, and still there outside.
    assert rms[:44].max() < 8 < 10 < rms[44:].min()
    again = run(tmp_path, raw, table, name="again", method="destripe")
    np.testing.assert_array_equal(again.traces, out.traces)


def test_whitening_gives_unit_variance_and_no_share_to_bad_channels(tmp_path):
    rng = np.random.default_rng(0)
    table = channel_table(80, n_shanks=2)
    table.loc[[4, 50], "label"] = NOISY
    table.loc[60, "is_reference"] = True
    smooth = np.exp(-np.abs(np.subtract.outer(np.arange(80), np.arange(80))) / 4)
    smooth[:40, 40:] = smooth[40:, :40] = 0
    raw = (rng.normal(0, 8, (70_000, 80)) @ smooth).astype(np.int16)
    out = run(tmp_path, raw, table, whiten="workflow", whitening_neighbors=40)
    assert out.whitening.dtype == np.float32
    good = ((table["label"] == 0) & ~table["is_reference"]).to_numpy()
    whitened = out.traces * np.float32(out.info.gain_uv) @ out.whitening.T
    assert not whitened[:, ~good].any()
    # The covariance is of the first 65536 of 70000 samples.
    np.testing.assert_allclose(whitened[:, good].std(axis=0), 1, atol=0.02)
    # With all of a shank near, nothing of its correlation is left; between shanks all is.
    for shank in (0, 1):
        channels = good & (table["shank"] == shank).to_numpy()
        others = ~np.eye(channels.sum(), dtype=bool)
        after = np.corrcoef(whitened[:, channels].T)[others]
        before = np.corrcoef(out.traces[:, channels].T)[others]
        assert np.abs(after).max() < 0.02 < 0.5 < np.abs(before).max()
    assert out.checks["whitening_condition"].value > 1
    assert not out.whitening[:40, 40:].any()  # shanks apart


def test_the_same_bytes_every_time_and_with_any_number_of_threads(tmp_path):
    raw, table = raw_traces(40, n_samples=70_000), channel_table(40)
    n_before = numba.get_num_threads()
    folders = []
    try:
        for n_threads in (1, 2, 2):
            numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
            name = f"run{len(folders)}"
            folders.append(run(tmp_path, raw, table, name=name, whiten="workflow").folder)
    finally:
        numba.set_num_threads(n_before)
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == [
        "channels.tsv",
        "median_groups.npy",
        "medians.npy",
        "offsets.npy",
        "traces.bin",
        "traces.json",
        "whitening.npy",
    ]
    for name in names:
        assert len({(folder / name).read_bytes() for folder in folders}) == 1


def test_values_that_do_not_fit_are_counted(tmp_path):
    table = channel_table(20)
    raw = np.zeros((10_000, 20), np.int16)
    raw[5000, 0] = 32767
    raw[5000, 1] = -32768
    table.loc[:, "gain_uv"] = 2.0
    table.loc[0, "gain_uv"] = 4.0
    out = run(tmp_path, raw, table, highpass_hz=None)
    assert out.traces[5000, 0] == 32767
    assert out.traces[5000, 1] == -32768
    assert out.checks["clipped_fraction"].value == pytest.approx(1 / 200_000)
    assert out.checks["clipped_fraction"].verdict == "WARNING"


def test_shows_how_far_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preprocess_probe, "CHUNK_SAMPLES", 1000)
    run(tmp_path, raw_traces(20, n_samples=90_000), channel_table(20))
    lines = capsys.readouterr().out.splitlines()
    assert 10 <= len(lines) <= 11
    assert lines[-1] == "100 % (3 of 3 s)"


def test_reads_what_open_probe_opens(tmp_path):
    """The whole way from SpikeGLX files, sync channel included."""
    raw_recordings.write_probe(tmp_path / "probe00", n_channels=384, n_samples=900)
    stream = Stream("s", "probe", "probe00", str(tmp_path / "probe00"), "spikeglx")
    recording = open_probe(stream)
    table = table_of(recording).assign(label=0, rms_uv=10.0)
    raw = recording.get_traces()
    out = run(tmp_path, raw, table, recording=recording, highpass_hz=None)
    np.testing.assert_array_equal(out.median_groups, np.arange(384) % 24)
    back = restore_raw(out.traces, out.medians, out.offsets, out.median_groups)
    np.testing.assert_array_equal(back, raw)
    assert (
        load_channels(out.folder / "channels.tsv")["channel_id"].tolist()
        == table["channel_id"].tolist()
    )


def test_a_real_tetrode_keeps_its_spikes(tmp_path, real_data):
    path = real_data / "locust_tetrode" / "locust_trial_01.raw"
    stream = Stream(
        *("s", "probe", "probe00", str(path), "binary"),
        sampling_rate_hz=15_000.0,
        n_channels=4,
        dtype="int16",
        gain_uv=0.5,
        geometry="0,0 0,50 50,0 50,50",
    )
    recording = open_probe(stream)
    table = table_of(recording).assign(label=0, rms_uv=10.0)
    out = run(tmp_path, None, table, recording=recording)
    assert (out.median_groups == -1).all()
    assert out.checks["channels_without_median"].verdict == "WARNING"
    sos = butter(3, 150.0, "highpass", fs=15_000.0, output="sos")
    expected = sosfiltfilt(sos, recording.get_traces().astype(float) - out.offsets, axis=0)
    np.testing.assert_allclose(out.traces, expected, atol=0.51, rtol=0)
    # The spikes of this recording stand far above its noise.
    trace = out.traces[:, 0].astype(float)
    noise = np.median(np.abs(trace)) / 0.6745
    assert np.count_nonzero(trace < -8 * noise) > 100


def test_chunks_come_in_order_and_errors_come_out():
    chunks = list(read_chunks(lambda a, b: np.arange(a, b), 95, 10, n_threads=3))
    assert len(chunks) == 10
    np.testing.assert_array_equal(np.concatenate(chunks), np.arange(95))

    def broken(start, stop):
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(read_chunks(broken, 95, 10, n_threads=2))


def test_rescaling_rounds_halves_to_even_and_counts_what_does_not_fit():
    traces = np.array([[0.5, 1.5, -40_000], [2.5, -0.5, 40_000]], np.float32)
    out, n_clipped = rescaled(traces, np.ones(3, np.float32))
    np.testing.assert_array_equal(out, [[0, 2, -32768], [2, 0, 32767]])
    assert n_clipped == 2


def problem(tmp_path, traces, table, error=InputError, recording=None, **changes):
    """Message of the error, which must come before anything is written."""
    with pytest.raises(error) as caught:
        run(tmp_path, traces, table, recording=recording, **changes)
    assert not (tmp_path / "traces").exists()
    assert not (tmp_path / "traces.json").exists()
    return str(caught.value)


def test_all_channels_bad(tmp_path):
    table = channel_table(6).assign(label=DEAD)
    message = problem(tmp_path, raw_traces(6), table)
    assert "probe: none of the 6 channels in" in message
    assert "ephys.check_probe" in message


def test_a_table_of_another_probe(tmp_path):
    traces = raw_traces(8)
    message = problem(
        tmp_path, traces, channel_table(6), recording=recording_of(traces, channel_table(8))
    )
    assert "has 6 channels, the recording has 8" in message


def test_a_gain_that_is_no_gain(tmp_path):
    table = channel_table(6)
    table.loc[2, "gain_uv"] = np.nan
    message = problem(tmp_path, raw_traces(6), table)
    assert "gain_uv is not above 0 for AP2 in" in message


def test_a_recording_of_floats(tmp_path):
    table = channel_table(6)
    message = problem(tmp_path, raw_traces(6).astype(np.float32), table)
    assert "is float32; expected int16" in message


def test_an_empty_or_very_short_recording(tmp_path):
    table = channel_table(6)
    message = problem(tmp_path, raw_traces(6)[:12], table)
    assert "has 12 samples; at least 13 are needed" in message
    message = problem(tmp_path, raw_traces(6)[:0], table, method="none")
    assert "has 0 samples; at least 1 are needed" in message
    out = run(tmp_path, raw_traces(6)[:13], table)
    assert out.traces.shape == (13, 6)


def test_a_cutoff_above_half_the_sampling_rate(tmp_path):
    message = problem(
        tmp_path, raw_traces(6), channel_table(6), error=SettingsError, highpass_hz=20_000.0
    )
    assert "20000 Hz; it must be below half the sampling rate of 30000 Hz" in message


def test_two_segments(tmp_path):
    import spikeinterface.core as si

    table = channel_table(6)
    parts = [recording_of(raw_traces(6), table) for _ in range(2)]
    message = problem(tmp_path, raw_traces(6), table, recording=si.append_recordings(parts))
    assert "has 2 segments; expected 1" in message


def test_checks_file_is_what_qc_reads(tmp_path):
    run(tmp_path, raw_traces(20), channel_table(20), whiten="workflow")
    names = [c["name"] for c in json.loads((tmp_path / "traces.json").read_text())]
    assert names == ["channels_without_median", "whitening_condition", "clipped_fraction"]
