"""A made-up camera: when it exposed, what it kept, what it wrote and what the DAQ saw.

Written from the files' formats alone; shares nothing with the code that it tests.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

RATE_HZ = 60.0


@dataclass
class Simulation:
    """The truth, and the arrays that would be recorded."""

    exposures_s: np.ndarray
    kept: np.ndarray
    pulses_s: np.ndarray
    camera_s: np.ndarray
    counter: np.ndarray

    @property
    def times_s(self):
        """True time of each frame."""
        return self.exposures_s[self.kept]

    @property
    def n_frames(self):
        return len(self.kept)

    @property
    def n_dropped(self):
        """Truly lost frames before each."""
        return np.concatenate([[0], np.diff(self.kept) - 1])


def simulate(
    n=600,
    *,
    seed=0,
    rate_hz=RATE_HZ,
    jitter_s=0.0,
    before=0,
    after=0,
    dropped=(),
    lost=(),
    pauses=(),
    drift_ppm=80.0,
    start_s=31.7,
    camera_start_s=117.0,
    counter_start=2**32 - 100,
    daq_hz=30_000.0,
):
    """Simulate a camera of n exposures within the video.

    `dropped`: exposures, counted from the first frame's, that were not saved; `lost`: exposures
    whose pulse the DAQ missed; `pauses`: (exposure, seconds) waited before it. `before` and
    `after` are exposures with pulses outside the video.
    """
    rng = np.random.default_rng(seed)
    n_all = before + n + after
    exposures_s = start_s + np.arange(n_all) / rate_hz + rng.normal(0, 1, n_all) * jitter_s
    for exposure, wait_s in pauses:
        exposures_s[before + exposure :] += wait_s
    kept = before + np.setdiff1d(np.arange(n), dropped)
    has_pulse = np.setdiff1d(np.arange(n_all), before + np.asarray(lost, int))
    return Simulation(
        exposures_s=exposures_s,
        kept=kept,
        pulses_s=np.ceil(exposures_s[has_pulse] * daq_hz) / daq_hz,
        camera_s=camera_start_s + (exposures_s[kept] - start_s) * (1 + drift_ppm * 1e-6),
        counter=counter_start + kept,
    )


def pin_signal(times_s, *, seed=0, mean_s=0.7, width_s=0.1, min_s=0.25):
    """Irregular pulses of a pin: (rises, falls) in s, and its state at each frame."""
    rng = np.random.default_rng(seed)
    n = int((times_s[-1] - times_s[0]) / (min_s + mean_s)) + 1
    rises = times_s[0] + 0.1 + np.cumsum(min_s + rng.exponential(mean_s, n))
    rises = rises[rises < times_s[-1] - 2 * width_s]
    falls = rises + width_s
    at = np.searchsorted(np.sort(np.concatenate([rises, falls])), times_s, side="right")
    return rises, falls, at % 2 == 1


def embed(seconds):
    """Seconds as a FLIR camera embeds them: 7 bits of seconds, 13 of cycles, 12 of ticks."""
    ticks = np.floor(np.asarray(seconds) * 24_576_000 + 0.5).astype(np.int64)
    cycles, tick = np.divmod(ticks, 3072)
    second, cycle = np.divmod(cycles, 8000)
    return ((second % 128) << 25) | (cycle << 12) | tick


def write_ssv(path, camera_s, *, is_clock_first=False):
    """Write IBL's timestamps with a computer that is late by up to 3 ms."""
    late_s = np.random.default_rng(1).uniform(0, 0.003, len(camera_s))
    host = pd.Timestamp("2026-01-15T12:00:00") + pd.to_timedelta(
        camera_s - camera_s[0] + late_s, unit="s"
    )
    lines = []
    for clock, time in zip(embed(camera_s), host, strict=True):
        pair = (str(clock), time.isoformat(timespec="microseconds") + "0-05:00")
        lines.append(" ".join(pair if is_clock_first else pair[::-1]) + " \n")
    path.write_text("".join(lines))
    return str(path)


def write_doubles(path, *columns):
    """Write integers as float64, frame by frame."""
    np.stack(columns, axis=1).astype("<f8").tofile(path)
    return str(path)


def write_nidq(folder, lines, duration_s, *, rate_hz=30_000.0, compress=False, n_analogue=1):
    """Write a nidq file whose digital lines rise at times and fall `width_s` later.

    `lines`: dict of line to (times_s, width_s).
    """
    n_samples = round(duration_s * rate_hz)
    n_words = max(lines, default=0) // 16 + 1
    words = np.zeros((n_samples, n_words), np.uint16)
    for line, (times_s, width_s) in lines.items():
        for first, last in np.rint(
            np.stack([times_s, np.asarray(times_s) + width_s], axis=1) * rate_hz
        ).astype(int):
            words[max(first, 0) : last, line // 16] |= np.uint16(1 << (line % 16))
    analogue = np.random.default_rng(0).integers(-5, 5, (n_samples, n_analogue), np.int16)
    rows = np.concatenate([analogue, words.view(np.int16)], axis=1)
    path = folder / "run_g0_t0.nidq.bin"
    rows.tofile(path)
    meta = {
        "fileSizeBytes": rows.nbytes,
        "nSavedChans": rows.shape[1],
        "niSampRate": rate_hz,
        "niXDBytes1": 2 * n_words,
        "snsMnMaXaDw": f"0,0,{n_analogue},{n_words}",
        "typeThis": "nidq",
    }
    path.with_suffix(".meta").write_text("".join(f"{k}={v}\n" for k, v in meta.items()))
    if compress:
        import mtscomp

        mtscomp.compress(
            path,
            path.with_suffix(".cbin"),
            path.with_suffix(".ch"),
            sample_rate=rate_hz,
            n_channels=rows.shape[1],
            dtype=np.int16,
            check_after_compress=False,
            n_threads=1,
        )
        path.unlink()
        path = path.with_suffix(".cbin")
    return str(path)
