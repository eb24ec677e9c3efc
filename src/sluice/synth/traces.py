"""Draws the traces of a made-up probe, second by second."""

import numpy as np
from numba import njit

from sluice.synth import waveforms
from sluice.synth.probe import (
    COMMON_UV,
    DEAD_UV,
    ELECTRODE_DRIFT_UV,
    GROUP_UV,
    HASH_UV,
    LF_EVERY,
    LFP_UV,
    NOISY_UV,
    OUTSIDE,
    REACH_UM,
    SAMPLING_RATE_HZ,
    THERMAL_UV,
)

# one second; part of what a seed means, so not to be chosen by the caller
CHUNK = 30000
_LF_RATE_HZ = SAMPLING_RATE_HZ / LF_EVERY
# the common mode is band-limited to this fraction of Nyquist, as by the probe's
# anti-alias filter, so that it can be sampled at the channels' different delays
_COMMON_BAND = 0.6
_COMMON_TAPS = 33
_HASH_CORNER_HZ = 2000.0
# high enough that a second of the field holds many independent swings below 10 Hz; with
# fewer, Allen's surface rule meets quiet seconds in which the surface does not show
_LFP_CORNERS_HZ = (8.0, 10.0, 15.0)
_ELECTRODE_CORNER_HZ = 3.0
_LF_WHITE_UV = 3.0
_AP_HIGHPASS_HZ = 300.0


def make_chunks(probe):
    """Draw a probe's recording in chunks of a second.

    A channel's AP trace is the sum of the units' spikes; background spikes (Gaussian,
    correlated with the next channels, falling off above 2 kHz); thermal noise; a common
    waveform, band-limited and sampled by each channel at its own delay, which the brain
    has against the reference and the fluid above it hardly has; a waveform of its own for
    each group of channels digitised together; the local field potential, its part above
    300 Hz where the probe splits bands, with the mains hum; and an offset. It is rounded
    to bits and clipped to the converter's range.

    Parameters
    ----------
    probe : probe.Probe

    Yields
    ------
    ap : int16 array, shape (n, n_channels)
        In bits, n = 30000 but for the last chunk.
    lf : int16 array, shape (n / 12 rounded up, n_channels), or None
        In bits, at 2500 Hz; None where the probe has no LF band.
    """
    rng = np.random.default_rng(probe.seed)
    background = _Background(probe, rng)
    field = _Field(probe, rng)
    common = _Common(probe, rng)
    spikes = _Spikes(probe)
    kind = probe.layout.probe_type
    lf_offset = rng.integers(-20, 21, probe.layout.n_channels)
    for start in range(0, probe.n_samples, CHUNK):
        n = min(CHUNK, probe.n_samples - start)
        ap_uv = background.draw(n)
        spikes.add(ap_uv, start)
        lfp_uv, band_uv = field.draw(n)
        _add_waves(ap_uv, *common.draw(n), probe.layout.slot, common.gains)
        ap = np.empty((n, probe.layout.n_channels), np.int16)
        _finish(ap_uv, band_uv, probe.offsets_bits, 1 / kind.ap_uv_per_bit, kind.max_int, ap)
        lf = None
        if kind.lf_gain:
            bits = np.round(lfp_uv[:-1] / kind.lf_uv_per_bit + lf_offset)
            lf = np.clip(bits, -kind.max_int, kind.max_int - 1).astype(np.int16)
        _saturate(ap, lf, probe, start)
        yield ap, lf


def render_templates(probe):
    """Mean waveforms of the units, as the traces hold them without drift.

    Returns
    -------
    templates : float32 array, shape (n_units, n_samples, n_channels)
        µV; the trough on the peak channel is at sample 30 (1 ms).
    """
    before, length = waveforms.template_samples(SAMPLING_RATE_HZ)
    spikes = _Spikes(probe)
    templates = np.zeros((len(probe.units), length, probe.layout.n_channels), np.float32)
    for u, unit in enumerate(probe.units):
        spikes.render(
            templates[u],
            0,
            np.array([before + probe.layout.delay[unit.peak_channel]]),
            np.array([u], np.int32),
            np.array([unit.amplitude_uv]),
            np.zeros(1),
        )
    return templates


def noise_above_300_hz(probe, channels):
    """Measure the standard deviation of the background as a sorter sees it.

    That is spikes, field, common and group waveforms left out, above 300 Hz (Butterworth,
    order 3, forward and backward), over one second.

    Parameters
    ----------
    probe : probe.Probe
    channels : sequence of int

    Returns
    -------
    noise_uv : float64 array, shape (n of channels,)
    """
    from scipy.signal import butter, sosfiltfilt

    background = _Background(probe, np.random.default_rng((*probe.seed, 7)))
    trace = background.draw(CHUNK)[:, channels].T.astype(np.float64)
    sos = butter(3, 300, "highpass", fs=SAMPLING_RATE_HZ, output="sos")
    return sosfiltfilt(sos, trace, axis=1).std(axis=1)


class _Spikes:
    """The units' spikes, added to one chunk after the other."""

    def __init__(self, probe):
        self.probe = probe
        layout, units = probe.layout, probe.units
        shapes = [
            waveforms.spike_shape(
                u.trough_ms,
                u.trough_to_peak_ms,
                u.peak_ratio,
                sampling_rate_hz=SAMPLING_RATE_HZ,
            )
            for u in units
        ]
        self.shapes = np.array(shapes, np.float32) if units else np.zeros((0, 1), np.float32)
        self.contacts_um = np.column_stack([layout.x_um, layout.y_um])
        positions = []
        for u in units:
            dx, dy = self.contacts_um[u.peak_channel] - (u.x_um, u.y_um)
            nearest = np.sqrt(dx**2 + dy**2 + u.z_um**2)
            positions.append((u.x_um, u.y_um, u.z_um, nearest, abs(dy)))
        self.positions = np.array(positions, float).reshape(-1, 5)
        self.decays = np.array([u.decay_um for u in units], float)
        self.speeds = np.array([u.speed_um_per_ms for u in units], float)
        # no spikes above the surface: fluid has no cells, and little current reaches it
        self.gains = np.where(probe.outside, 0.0, 1.0)
        self.gains[list(probe.silent)] = 0

    def add(self, traces, start):
        """Add the spikes that reach into the chunk that begins at `start`."""
        _, length = waveforms.template_samples(SAMPLING_RATE_HZ)
        # a spike may be late on far contacts
        first, last = np.searchsorted(
            self.probe.samples, [start - 2 * length, start + traces.shape[0] + 2 * length]
        )
        times = self.probe.times[first:last]
        self.render(
            traces,
            start,
            times,
            self.probe.spike_units[first:last],
            self.probe.scales_uv[first:last],
            self.probe.shift_um(times),
        )

    def render(self, traces, start, times, units, scales_uv, shifts_um):
        """Add the given spikes."""
        waveforms.add_spikes(
            traces,
            start,
            times,
            units,
            scales_uv,
            shifts_um,
            self.shapes,
            self.positions,
            self.decays,
            self.speeds,
            self.contacts_um,
            self.gains,
            self.probe.layout.delay,
            SAMPLING_RATE_HZ,
            REACH_UM,
        )


class _Background:
    """Thermal noise and the hash of distant spikes."""

    def __init__(self, probe, rng):
        layout = probe.layout
        self.rng = rng
        self.thermal = np.full(layout.n_channels, THERMAL_UV, np.float32)
        self.thermal[list(probe.silent)] = DEAD_UV
        self.thermal[list(probe.noisy)] = NOISY_UV
        hash_uv = np.where(probe.outside, OUTSIDE, 1.0) * HASH_UV
        hash_uv[list(probe.silent)] = 0
        self.decay = np.float32(np.exp(-2 * np.pi * _HASH_CORNER_HZ / SAMPLING_RATE_HZ))
        self.neighbours, weights = _near_contacts(layout)
        innovation = np.sqrt(1 - self.decay**2)
        self.weights = (weights * hash_uv[:, None] * innovation).astype(np.float32)
        self.state = np.zeros(layout.n_channels, np.float32)

    def draw(self, n):
        """Draw the next n samples (µV)."""
        white = self.rng.standard_normal((n, self.state.size), dtype=np.float32)
        out = np.empty_like(white)
        _filter_background(
            white, self.neighbours, self.weights, self.decay, self.state, self.thermal, out
        )
        return out


class _Field:
    """Local field potential, electrode drift and mains hum."""

    def __init__(self, probe, rng):
        layout = probe.layout
        self.probe, self.rng = probe, rng
        gain = np.where(probe.outside, OUTSIDE, 1.0)
        gain[list(probe.silent)] = 0
        # a field of three generators, each smooth along the probe
        height = layout.y_um / max(layout.y_um.max(), 1)
        profile = np.array(
            [np.ones_like(height), np.cos(np.pi * height), np.cos(2 * np.pi * height)]
        )
        power = np.array([0.8, 0.1, 0.1])[:, None]
        self.mixing = (np.sqrt(power) * profile * gain * LFP_UV).astype(np.float32)
        self.decays = _decay(np.array(_LFP_CORNERS_HZ))
        self.sources = rng.standard_normal(3)
        drift = np.full(layout.n_channels, ELECTRODE_DRIFT_UV)
        drift[list(probe.silent)] = 1
        self.drift_uv = drift
        self.drift_decay = _decay(_ELECTRODE_CORNER_HZ)
        self.drift = rng.standard_normal(layout.n_channels)
        self.line_gain = np.ones(layout.n_channels)
        self.line_gain[list(probe.silent)] = 0.1
        self.sample = 0
        # the band splitter's filter: one pole, states of input and output
        self.pole = np.exp(-2 * np.pi * _AP_HIGHPASS_HZ / _LF_RATE_HZ)
        self.last_in = np.zeros(layout.n_channels, np.float32)
        self.last_out = np.zeros(layout.n_channels, np.float32)
        self.pending = self._draw_field(1)
        self.pending_band = self._split(self.pending)

    def draw(self, n):
        """Draw the field of the next n AP samples.

        Returns the whole field at 2500 Hz with one sample more than the chunk (µV), and the
        part of it that the AP band holds, likewise.
        """
        n_lf = -(-n // LF_EVERY)
        fresh = self._draw_field(n_lf)
        fresh_band = self._split(fresh)
        lfp = np.concatenate([self.pending, fresh])
        band = np.concatenate([self.pending_band, fresh_band])
        self.pending, self.pending_band = fresh[-1:], fresh_band[-1:]
        white = self.rng.standard_normal(lfp.shape, dtype=np.float32)
        return lfp + np.float32(_LF_WHITE_UV) * white, band

    def _draw_field(self, n):
        white = self.rng.standard_normal((n, 3))
        sources = np.empty((n, 3))
        _colour(white, self.decays, self.sources, sources)
        white = self.rng.standard_normal((n, self.drift.size))
        drift = np.empty_like(white)
        _colour(white, np.full(self.drift.size, self.drift_decay), self.drift, drift)
        time_s = (self.sample + np.arange(n)) / _LF_RATE_HZ
        self.sample += n
        line = self.probe.line_uv * np.sin(2 * np.pi * self.probe.line_hz * time_s)
        # summed source by source: a matrix product would depend on the machine's BLAS
        out = (drift * self.drift_uv + line[:, None] * self.line_gain).astype(np.float32)
        for k in range(3):
            out += sources[:, k, None].astype(np.float32) * self.mixing[k]
        return out

    def _split(self, lfp):
        """Leave what passes the AP band's filter; everything where there is one band only."""
        if not self.probe.layout.probe_type.lf_gain:
            return lfp
        out = np.empty_like(lfp)
        _highpass(lfp, np.float32(self.pole), self.last_in, self.last_out, out)
        return out


class _Common:
    """The common waveform, as each group of channels digitised together samples it."""

    def __init__(self, probe, rng):
        self.rng = rng
        n_slots = probe.layout.probe_type.n_slots
        self.kernels = [
            _delay_kernel(slot / probe.layout.probe_type.cycles) for slot in range(n_slots)
        ]
        self.white = rng.standard_normal(_COMMON_TAPS - 1)
        self.gains = np.where(probe.outside, OUTSIDE, 1.0).astype(np.float32)
        self.gains[list(probe.silent)] = 0

    def draw(self, n):
        """Draw common and group waveforms (µV), each of shape (n, n_slots)."""
        white = np.concatenate([self.white, self.rng.standard_normal(n)])
        self.white = white[n:]
        common = np.empty((n, len(self.kernels)), np.float32)
        for slot, kernel in enumerate(self.kernels):
            common[:, slot] = COMMON_UV * np.convolve(white, kernel, mode="valid")
        group = GROUP_UV * self.rng.standard_normal(common.shape, dtype=np.float32)
        return common, group


def _delay_kernel(delay):
    """Windowed sinc that reads a band-limited waveform `delay` samples later; unit variance."""
    taps = np.arange(_COMMON_TAPS) - _COMMON_TAPS // 2
    kernel = np.sinc(_COMMON_BAND * (taps + delay)) * np.hanning(_COMMON_TAPS + 2)[1:-1]
    return kernel / np.sqrt(np.sum(kernel**2))


def _decay(corner_hz):
    """Coefficient of a first-order low-pass filter at 2500 Hz."""
    return np.exp(-2 * np.pi * corner_hz / _LF_RATE_HZ)


def _near_contacts(layout, n_near=7, width_um=20.0):
    """Nearest contacts of each and the weights of a Gaussian over them, of unit energy."""
    dx = layout.x_um[:, None] - layout.x_um
    dy = layout.y_um[:, None] - layout.y_um
    distance = np.hypot(dx, dy)
    neighbours = np.argsort(distance, axis=1, kind="stable")[:, :n_near].astype(np.int32)
    near = np.take_along_axis(distance, neighbours, axis=1)
    weights = np.exp(-0.5 * (near / width_um) ** 2)
    return neighbours, weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))


def _saturate(ap, lf, probe, start):
    """Drive the spans of saturation to the converter's end."""
    top = probe.layout.probe_type.max_int - 1
    for span in probe.saturated_s:
        first, last = (max(round(t * SAMPLING_RATE_HZ) - start, 0) for t in span)
        ap[first:last] = top
        if lf is not None:
            lf[first // LF_EVERY : last // LF_EVERY] = top


@njit(cache=True, nogil=True)
def _filter_background(white, neighbours, weights, decay, state, thermal, out):
    n, n_channels = white.shape
    for t in range(n):
        for c in range(n_channels):
            total = np.float32(0)
            for k in range(neighbours.shape[1]):
                total += weights[c, k] * white[t, neighbours[c, k]]
            state[c] = decay * state[c] + total
            out[t, c] = state[c] + thermal[c] * white[t, c]


@njit(cache=True, nogil=True)
def _colour(white, decays, state, out):
    """First-order low-pass of unit variance for unit white noise; `state` is carried on."""
    n, n_sources = white.shape
    for t in range(n):
        for k in range(n_sources):
            state[k] = decays[k] * state[k] + np.sqrt(1 - decays[k] ** 2) * white[t, k]
            out[t, k] = state[k]


@njit(cache=True, nogil=True)
def _highpass(signal, pole, last_in, last_out, out):
    """First-order high-pass; the states are carried on."""
    n, n_channels = signal.shape
    scale = np.float32(0.5) * (np.float32(1) + pole)
    for t in range(n):
        for c in range(n_channels):
            last_out[c] = pole * last_out[c] + scale * (signal[t, c] - last_in[c])
            last_in[c] = signal[t, c]
            out[t, c] = last_out[c]


@njit(cache=True, nogil=True)
def _add_waves(ap_uv, common, group, slot, gains):
    n, n_channels = ap_uv.shape
    for t in range(n):
        for c in range(n_channels):
            ap_uv[t, c] += gains[c] * common[t, slot[c]] + group[t, slot[c]]


@njit(cache=True, nogil=True)
def _finish(ap_uv, band_uv, offsets_bits, bits_per_uv, max_int, out):
    """Add the field, interpolated from 2500 Hz, and convert to bits."""
    n, n_channels = ap_uv.shape
    for t in range(n):
        k = t // LF_EVERY
        part = np.float32((t % LF_EVERY) / LF_EVERY)
        for c in range(n_channels):
            field = band_uv[k, c] + part * (band_uv[k + 1, c] - band_uv[k, c])
            bits = round((ap_uv[t, c] + field) * bits_per_uv) + offsets_bits[c]
            out[t, c] = min(max(bits, -max_int), max_int - 1)
