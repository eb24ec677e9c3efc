"""Calcium events of each ROI from its dF/F."""

import numpy as np
import pandas as pd

from sluice.median_filter import sliding_median, window_samples
from sluice.ophys.l0 import l0_events
from sluice.ophys.noise import noise_std, noise_window
from sluice.ophys.oasis import oasis_events
from sluice.ophys.traces import batches, require_traces
from sluice.qc import check, log_checks, save_checks

# Allen's smallest events, in multiples of the noise, at its two frame rates.
_RATES_HZ = (11.0, 31.0)
_MIN_EVENTS = (2.6, 2.0)


def min_event_noise(sampling_rate_hz):
    """Smallest event in multiples of the noise.

    Allen (ophys_etl, modules/event_detection) has 2.6 at 11 Hz and 2.0 at 31 Hz and no other
    rates; between them it is on a straight line, beyond them it stays.

    Parameters
    ----------
    sampling_rate_hz : float

    Returns
    -------
    float
    """
    return float(np.interp(sampling_rate_hz, _RATES_HZ, _MIN_EVENTS))


def detrend_dff(dff, noise, *, window, max_noise):
    """Subtract min(sliding median, `max_noise` times the noise), the ends as they are.

    Allen (ophys_etl, modules/event_detection). A response longer than half of the window counts
    as drift, so that a trace must be detrended once at most, see `detect_events`.

    Parameters
    ----------
    dff : float array, shape (n_rois, n_frames)
    noise : float array, shape (n_rois,)
    window : int
        Frames, odd.
    max_noise : float

    Returns
    -------
    float64 array, shape (n_rois, n_frames)
        NaN where dF/F is.
    """
    drift = sliding_median(dff, window=window, padding="nearest")
    return dff - np.minimum(drift, max_noise * noise[:, None])


def detect_events(dff, *, sampling_rate_hz, decay_s, settings):
    """Find the events of each ROI.

    With ``detrend``, slow drifts are taken off before (`detrend_dff`). ophys_etl does it here
    and not in its dF/F, the AllenSDK in its dF/F, with nearly the same window; done at both
    places, a response of some seconds loses up to 5 times the noise.
    The noise that the smallest event is a multiple of has a sliding median of its own taken
    off and is the same in both cases.

    Parameters
    ----------
    dff : float array, shape (n_rois, n_frames)
    sampling_rate_hz : float
    decay_s : float
        Time constant of the indicator's decay.
    settings : dict
        ``ophys.events``.

    Returns
    -------
    events : float32 array, shape (n_rois, n_frames)
        Size (dF/F) at the frame of the event's start, else 0; NaN where dF/F is.
    DataFrame
        A row a ROI: roi; penalty (l0: the smallest that leaves no small event; NaN without a
        trace); noise (of dF/F); n_events; smallest_event (dF/F; NaN where there is none).
    """
    decay = np.exp(-1 / (decay_s * sampling_rate_hz))
    multiple = settings["min_event_noise"] or min_event_noise(sampling_rate_hz)
    windows = {
        "noise": noise_window(settings["noise_window_s"], sampling_rate_hz),
        "detrend": window_samples(settings["detrend_window_s"], sampling_rate_hz, at_least=3),
    }
    events = np.empty(dff.shape, np.float32)
    noise, penalty = np.full(len(dff), np.nan), np.full(len(dff), np.nan)
    for rows in batches(len(dff)):
        noise[rows] = noise_std(dff[rows], window=windows["noise"])
        traces = np.array(dff[rows], np.float64)
        if settings["detrend"]:
            traces = detrend_dff(
                traces,
                noise[rows],
                window=windows["detrend"],
                max_noise=settings["detrend_max_noise"],
            )
        if settings["method"] == "l0":
            events[rows], penalty[rows] = l0_events(
                traces,
                decay=decay,
                smallest=multiple * noise[rows],
                min_penalty=settings["min_penalty"],
                tolerance=settings["penalty_tolerance"],
                allow_drops=settings["allow_drops"],
            )
        else:
            events[rows] = oasis_events(
                traces,
                decay=decay,
                penalty=settings["oasis_penalty"],
                min_event=settings["oasis_min_event"],
            )
            penalty[rows] = np.where(np.isnan(noise[rows]), np.nan, settings["oasis_penalty"])
    return events, _table(events, penalty, noise)


def _table(events, penalty, noise):
    sizes = [np.abs(row[np.isfinite(row) & (row != 0)]) for row in events]
    return pd.DataFrame(
        {
            "roi": np.arange(len(events), dtype=np.int64),
            "penalty": penalty,
            "noise": noise,
            "n_events": np.array([s.size for s in sizes], np.int64),
            "smallest_event": np.array([s.min() if s.size else np.nan for s in sizes], float),
        }
    )


def events_file(*, dff, info, events, rois, checks, settings, name):
    """Find the events of one plane's ROIs.

    Parameters
    ----------
    dff : path
        ``dff.npy`` (n_rois, n_frames), read.
    info : PlaneInfo
    events, rois, checks : path
        ``events.npy``, ``rois.pqt``, ``checks.json``, written.
    settings : dict
        ``ophys.events``.
    name : str
        How messages call the plane.

    Raises
    ------
    InputError
        The traces are not of this plane.
    """
    traces = np.load(dff)
    require_traces(traces, dff, info, name)
    found, table = detect_events(
        traces,
        sampling_rate_hz=info.sampling_rate_hz,
        decay_s=settings["decay_s"] or info.decay_s,
        settings=settings,
    )
    np.save(events, found)
    table.to_parquet(rois, index=False)
    judged = _checks(table, info.n_frames / info.sampling_rate_hz, settings)
    save_checks(judged, checks)
    log_checks(judged)


def _checks(table, duration_s, settings):
    """Judge what was found."""
    n, defined = len(table), table[table["noise"].notna()]
    n_silent = int((defined["n_events"] == 0).sum())
    rows = [
        (
            "events_undefined_fraction",
            (n - len(defined)) / n if n else None,
            "",
            f"{n - len(defined)} of {n} ROIs have no dF/F",
        ),
        (
            "events_silent_fraction",
            n_silent / len(defined) if len(defined) else None,
            "",
            f"{n_silent} of {len(defined)} ROIs have no event",
        ),
        (
            "events_rate_hz",
            float(defined["n_events"].median()) / duration_s if len(defined) else None,
            "Hz",
            "events of a ROI a second, median of the ROIs",
        ),
    ]
    return [
        check(key, value, unit=unit, message=message, **settings["checks"][key])
        for key, value, unit, message in rows
    ]
