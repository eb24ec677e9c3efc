import numpy as np
import pandas as pd
import pytest
from ophys.made_up_traces import (
    bytes_of,
    calcium,
    checks_of,
    f1_score,
    info_of,
    isolated_frames,
    settings_of,
)
from scipy.signal import lfilter

from sluice.errors import InputError
from sluice.ophys.dff import compute_dff
from sluice.ophys.events import detect_events, detrend_dff, events_file, min_event_noise
from sluice.ophys.neuropil import correct_neuropil


def active(seed, *, rate_hz, size, noise, decay_s=0.7, n_rois=4, duration_s=300):
    rng = np.random.default_rng(seed)
    n_frames = int(duration_s * rate_hz)
    frames = [isolated_frames(rng, n_frames, apart=int(4 * rate_hz)) for _ in range(n_rois)]
    truth = [calcium(n_frames, f, size, rate_hz=rate_hz, decay_s=decay_s) for f in frames]
    return np.array(truth) + rng.normal(0, noise, (n_rois, n_frames)), frames


def found_in(dff, *, rate_hz=10.0, decay_s=0.7, **changes):
    return detect_events(
        dff,
        sampling_rate_hz=rate_hz,
        decay_s=decay_s,
        settings=settings_of("events", **changes),
    )


@pytest.mark.parametrize(
    ("rate_hz", "size", "noise"), [(6.0, 1.0, 0.1), (11.0, 0.5, 0.1), (31.0, 0.5, 0.1)]
)
def test_isolated_events_are_found_in_their_frames(rate_hz, size, noise):
    dff, frames = active(0, rate_hz=rate_hz, size=size, noise=noise)
    events, table = found_in(dff, rate_hz=rate_hz)
    whole, _ = found_in(dff, rate_hz=rate_hz, detrend=False)
    for row in range(len(dff)):
        found = np.flatnonzero(events[row])
        assert f1_score(found, frames[row], within=2) >= 0.8
        # Allen's detrending takes up to 2.5 times the noise off
        assert 0.85 * size - 2.5 * noise < np.median(events[row][found]) < 1.1 * size
        found = np.flatnonzero(whole[row])
        assert f1_score(found, frames[row], within=2) >= 0.8
        assert 0.85 * size < np.median(whole[row][found]) < 1.1 * size
    assert (table["smallest_event"] >= min_event_noise(rate_hz) * table["noise"] * 0.999).all()


def test_from_fluorescence_to_events():
    true_dff, frames = active(1, rate_hz=10.0, size=1.0, noise=0.06)
    dff, _, _ = compute_dff(
        150 * (1 + true_dff), sampling_rate_hz=10.0, settings=settings_of("dff")
    )
    events, _ = found_in(dff)
    for row in range(len(dff)):
        assert f1_score(np.flatnonzero(events[row]), frames[row], within=2) >= 0.8


def test_a_long_response_is_detrended_once():
    rate_hz, decay_s = 30.0, 0.7
    rng = np.random.default_rng(10)
    n_frames = int(300 * rate_hz)
    truth, is_high = np.zeros((4, n_frames)), np.zeros(n_frames, bool)
    for start_s in range(30, 300, 30):
        is_high[int(start_s * rate_hz) : int((start_s + 5) * rate_hz)] = True
    truth[:, is_high] = 0.3
    recorded = 150 * (1 + truth + rng.normal(0, 0.03, truth.shape))
    dff, _, _ = compute_dff(recorded, sampling_rate_hz=rate_hz, settings=settings_of("dff"))
    assert np.median(dff[:, is_high]) == pytest.approx(0.3, abs=0.02)

    def explained(**changes):
        events, _ = found_in(dff, rate_hz=rate_hz, decay_s=decay_s, method="oasis", **changes)
        return np.median(lfilter([1], [1, -np.exp(-1 / (decay_s * rate_hz))], events)[:, is_high])

    # Allen's detrending takes 2.5 times the noise off a plateau of 10 times it
    assert explained() == pytest.approx(0.3 - 0.075, abs=0.02)
    assert explained(detrend=False) == pytest.approx(0.3, abs=0.02)


def test_noise_alone_has_hardly_an_event():
    noise = np.random.default_rng(2).normal(0, 0.1, (5, 3000))
    events, table = found_in(noise)
    # 300 s; the multiple of the noise lets few through
    assert table["n_events"].median() < 30
    assert (events[events != 0] >= 0.2).all()


def test_larger_multiples_give_fewer_events():
    dff, _ = active(3, rate_hz=10.0, size=0.4, noise=0.1)
    n = [found_in(dff, min_event_noise=multiple)[1]["n_events"].sum() for multiple in (1.5, 2.5, 5)]
    assert n[0] > n[1] > n[2]


def test_the_multiple_follows_the_rate():
    found = [min_event_noise(rate_hz) for rate_hz in (3.0, 11.0, 21.0, 31.0, 60.0)]
    np.testing.assert_allclose(found, [2.6, 2.6, 2.3, 2.0, 2.0])


def test_slow_drift_is_taken_off_but_not_transients():
    dff, frames = active(4, rate_hz=10.0, size=1.0, noise=0.05)
    drift = 0.1 * np.sin(np.arange(dff.shape[1]) / 300)
    events, _ = found_in(dff + drift)
    for row in range(len(dff)):
        assert f1_score(np.flatnonzero(events[row]), frames[row], within=2) >= 0.8
    flat = detrend_dff(np.full((1, 200), 5.0), np.array([0.1]), window=33, max_noise=2.5)
    np.testing.assert_allclose(flat, 4.75)
    low = detrend_dff(np.full((1, 200), -5.0), np.array([0.1]), window=33, max_noise=2.5)
    np.testing.assert_allclose(low, 0)


def test_oasis_explains_the_trace_too():
    dff, frames = active(5, rate_hz=10.0, size=1.0, noise=0.05)
    events, table = found_in(dff, method="oasis")
    assert (events >= 0).all()
    assert (table["penalty"] == 0).all()
    few, _ = found_in(dff, method="oasis", oasis_min_event=0.3)
    for row in range(len(dff)):
        assert f1_score(np.flatnonzero(few[row]), frames[row], within=2) >= 0.8
        assert np.count_nonzero(events[row]) > np.count_nonzero(few[row])


@pytest.mark.parametrize("method", ["l0", "oasis"])
def test_gaps_and_empty_rois(method):
    dff, _ = active(6, rate_hz=10.0, size=1.0, noise=0.05)
    whole, _ = found_in(dff, method=method)
    dff[0, 500:510], dff[1] = np.nan, np.nan
    events, table = found_in(dff, method=method)
    np.testing.assert_array_equal(np.isnan(events), np.isnan(dff))
    assert table["n_events"][1] == 0
    assert table.loc[1, ["penalty", "noise", "smallest_event"]].isna().all()
    np.testing.assert_array_equal(events[2:], whole[2:])
    if method == "l0":
        far = np.r_[0:450, 560:3000]
        np.testing.assert_array_equal(events[0, far] != 0, whole[0, far] != 0)


@pytest.mark.parametrize("n_frames", [1, 50])
@pytest.mark.parametrize("method", ["l0", "oasis"])
def test_short_movies(method, n_frames):
    dff = np.random.default_rng(7).normal(0, 0.1, (2, n_frames))
    events, table = found_in(dff, method=method)
    assert np.isfinite(events).all()
    assert np.isfinite(table["noise"]).all()


def test_real_traces(real_data):
    folder = real_data / "two_photon" / "suite2p_plane0"
    corrected, _ = correct_neuropil(
        np.load(folder / "F.npy"),
        np.load(folder / "Fneu.npy"),
        method="allen",
        fixed_r=0.7,
        smoothness=0.05,
        max_r=10.0,
    )
    dff, _, _ = compute_dff(corrected, sampling_rate_hz=10.0, settings=settings_of("dff"))
    for method in ("l0", "oasis"):
        events, table = found_in(dff, method=method)
        assert events.shape == (219, 2000)
        assert np.isfinite(events).all()
        assert (events >= 0).all()
        assert np.isfinite(table[["noise", "penalty"]]).all(axis=None)
        assert table["n_events"].between(0, 1500).all()


def run(folder, dff, **changes):
    folder.mkdir(exist_ok=True)
    np.save(folder / "dff.npy", dff.astype(np.float32))
    out = folder / "out"
    out.mkdir()
    events_file(
        dff=folder / "dff.npy",
        info=info_of(dff),
        events=out / "events.npy",
        rois=out / "rois.pqt",
        checks=out / "checks.json",
        settings=settings_of("events", **changes),
        name="S FOV_00",
    )
    return np.load(out / "events.npy"), pd.read_parquet(out / "rois.pqt"), out


def test_file_is_complete_and_the_same_every_time(tmp_path):
    dff, _ = active(8, rate_hz=10.0, size=1.0, noise=0.1, n_rois=40, duration_s=60)
    dff[3] = 0
    events, table, out = run(tmp_path / "a", dff)
    assert events.dtype == np.float32
    assert table.columns.tolist() == ["roi", "penalty", "noise", "n_events", "smallest_event"]
    np.testing.assert_array_equal(table["n_events"], np.count_nonzero(events, axis=1))
    checks = checks_of(out / "checks.json")
    assert checks["events_silent_fraction"].value == pytest.approx((table["n_events"] == 0).mean())
    assert checks["events_rate_hz"].value == pytest.approx(table["n_events"].median() / 60)
    assert bytes_of(out) == bytes_of(run(tmp_path / "b", dff)[2])


def test_the_decay_of_the_plane_is_taken_unless_set(tmp_path):
    dff, _ = active(9, rate_hz=10.0, size=1.0, noise=0.05, n_rois=2)
    of_plane = run(tmp_path / "a", dff)[0]
    np.testing.assert_array_equal(of_plane, run(tmp_path / "b", dff, decay_s=0.7)[0])
    assert not np.array_equal(of_plane, run(tmp_path / "c", dff, decay_s=0.2)[0])


def test_no_rois(tmp_path):
    events, table, out = run(tmp_path, np.zeros((0, 70)))
    assert events.shape == (0, 70)
    assert len(table) == 0
    assert table.dtypes["n_events"] == np.int64
    assert {check.verdict for check in checks_of(out / "checks.json").values()} == {"WARNING"}


def test_traces_of_another_plane_are_refused(tmp_path):
    np.save(tmp_path / "dff.npy", np.zeros((2, 60), np.float32))
    with pytest.raises(InputError, match=r"S: the traces in dff.npy .* any number of ROIs of 61"):
        events_file(
            dff=tmp_path / "dff.npy",
            info=info_of(np.zeros((2, 61))),
            events=None,
            rois=None,
            checks=None,
            settings=settings_of("events"),
            name="S",
        )
