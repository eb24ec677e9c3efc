"""A made-up probe: what it records is decided here, before any trace is drawn."""

from dataclasses import dataclass, field

import numpy as np

from sluice.errors import UserError
from sluice.synth import waveforms
from sluice.synth.layout import Layout, make_layout
from sluice.synth.spikes import spike_amplitudes, spike_train

SAMPLING_RATE_HZ = 30000.0
LF_EVERY = 12
REACH_UM = 150.0

# Background, in µV. Chosen so that a good channel has 8 to 9 µV above 300 Hz without its
# common mode, as Neuropixels have in brain, and that IBL's and Allen's rules see what they
# would see in a real recording.
THERMAL_UV = 4.5
HASH_UV = 6.5
DEAD_UV = 1.2
NOISY_UV = 60.0
COMMON_UV = 9.0
GROUP_UV = 2.0
LFP_UV = 110.0
ELECTRODE_DRIFT_UV = 20.0
# what is left of brain signals and of the common mode outside the brain
OUTSIDE = 0.1


@dataclass(frozen=True)
class Unit:
    """One neuron of the truth.

    Attributes
    ----------
    x_um, y_um, z_um : float
        Position; z is the distance from the probe's plane.
    peak_channel : int
        Index of the saved channel it is largest on (without drift).
    amplitude_uv : float
        Mean depth of the trough on that channel.
    relative_sd : float
        Standard deviation of the amplitude over spikes, as a fraction.
    rate_hz, refractory_s : float
    present_s : tuple of (start, stop)
        Spans in which it fires (s).
    decay_um : float
        Distance over which the amplitude falls to 1/e.
    speed_um_per_ms : float
        Of the spike along the probe, away from the soma both ways.
    trough_ms, trough_to_peak_ms, peak_ratio : float
        See `waveforms.spike_shape`.
    """

    x_um: float
    y_um: float
    z_um: float
    peak_channel: int
    amplitude_uv: float
    relative_sd: float
    rate_hz: float
    refractory_s: float
    present_s: tuple
    decay_um: float
    speed_um_per_ms: float
    trough_ms: float
    trough_to_peak_ms: float
    peak_ratio: float


@dataclass(frozen=True)
class Probe:
    """Everything that is true of a made-up probe; `traces.make_chunks` draws its traces.

    Attributes
    ----------
    layout : Layout
    seed : tuple of int
        Of the traces' random numbers.
    duration_s : float
    n_samples : int
        Of the AP band.
    units : list of Unit
    samples : int64 array, shape (n_spikes,)
        Sample of each spike's trough on its unit's peak channel, ascending.
    spike_units : int32 array, shape (n_spikes,)
    times, scales_uv : float64 array, shape (n_spikes,)
        Exact times in samples, and depth of each trough (µV).
    outside : bool array, shape (n_channels,)
        Channels above the brain's surface.
    dead, noisy, reference : tuple of int
        Channel indices.
    drift_um, drift_sine_um, drift_period_s : float
        The tissue moves by `drift_um` from start to end, and by a sine of this amplitude.
    line_hz, line_uv : float
    saturated_s : tuple of (start, stop)
        Spans in which every channel is at the converter's end (s).
    offsets_bits : int array, shape (n_channels,)
    """

    layout: Layout
    seed: tuple
    duration_s: float
    n_samples: int
    units: list
    samples: np.ndarray
    spike_units: np.ndarray
    times: np.ndarray
    scales_uv: np.ndarray
    outside: np.ndarray
    dead: tuple
    noisy: tuple
    reference: tuple
    drift_um: float
    drift_sine_um: float
    drift_period_s: float
    line_hz: float
    line_uv: float
    saturated_s: tuple
    offsets_bits: np.ndarray = field(repr=False)

    @property
    def silent(self):
        """Channels that record neither spikes nor fields: dead and reference ones."""
        return self.dead + self.reference

    def shift_um(self, times):
        """How far the tissue has moved towards the surface at some samples (µm)."""
        time_s = np.asarray(times, float) / SAMPLING_RATE_HZ
        sine = self.drift_sine_um * np.sin(2 * np.pi * time_s / self.drift_period_s)
        return self.drift_um * time_s / self.duration_s + sine


def make_probe(
    *,
    seed,
    duration_s=60.0,
    n_channels=48,
    n_units=9,
    probe_type="NP1.0",
    n_outside=None,
    n_dead=2,
    n_noisy=2,
    drift_um=0.0,
    drift_sine_um=0.0,
    drift_period_s=20.0,
    line_hz=60.0,
    line_uv=20.0,
    saturated_s=(),
):
    """Decide on a probe's units, surface, bad channels and disturbances.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed and arguments give the same probe and the same traces.
    duration_s : float
        Length of the recording (s).
    n_channels : int
        Saved channels; see `layout.make_layout`.
    n_units : int
        Units inside the brain; the first is present in the first half only.
    probe_type : str
        ``NP1.0`` or ``NP2.4``.
    n_outside : int, optional
        Channels above the brain's surface, of each shank; by default 10 of 48 channels of a
        shank and the same share of others. 0 for a probe all in the brain.
    n_dead, n_noisy : int
        Bad channels inside the brain.
    drift_um, drift_sine_um, drift_period_s : float
        Linear drift over the session, amplitude and period of a sinusoidal one.
    line_hz, line_uv : float
        Mains hum: frequency and amplitude at all channels.
    saturated_s : sequence of (start, stop)
        Spans in which the amplifier is saturated (s).

    Returns
    -------
    Probe

    Raises
    ------
    UserError
        The channels cannot hold what is asked.
    """
    rng = np.random.default_rng([*np.atleast_1d(seed), 0])
    layout = make_layout(probe_type, n_channels)
    outside = _outside(layout, n_outside)
    reference = tuple(np.flatnonzero(layout.acquired == layout.probe_type.reference_channel))
    dead, noisy = _bad_channels(layout, outside, reference, n_dead, n_noisy)
    units = _units(layout, ~outside, (*dead, *noisy, *reference), n_units, duration_s, rng)
    n_samples = round(duration_s * SAMPLING_RATE_HZ)
    spikes = _spikes(units, layout, duration_s, n_samples, rng)
    return Probe(
        layout=layout,
        seed=(*np.atleast_1d(seed).tolist(), 1),
        duration_s=n_samples / SAMPLING_RATE_HZ,
        n_samples=n_samples,
        units=units,
        **spikes,
        outside=outside,
        dead=dead,
        noisy=noisy,
        reference=tuple(int(c) for c in reference),
        drift_um=drift_um,
        drift_sine_um=drift_sine_um,
        drift_period_s=drift_period_s,
        line_hz=line_hz,
        line_uv=line_uv,
        saturated_s=tuple(tuple(span) for span in saturated_s),
        offsets_bits=rng.integers(-12, 13, n_channels),
    )


def _outside(layout, n_outside):
    """Mark the channels above the surface, the same number of rows on each shank."""
    per_shank = layout.n_channels // layout.probe_type.n_shanks
    if n_outside is None:
        n_outside = 2 * round(per_shank * 10 / 48 / 2)
    if not 0 <= n_outside <= per_shank - 8:
        raise UserError(f"{n_outside} of {per_shank} channels of a shank cannot be outside")
    surface_y_um = np.sort(layout.y_um[layout.shank == 0])[per_shank - n_outside - 1]
    return layout.y_um > surface_y_um


def _bad_channels(layout, outside, reference, n_dead, n_noisy):
    """Spread bad channels over the brain, dead and noisy ones in turns.

    They stay 6 channels away from the surface, the tip and thereby other shanks: closer to
    an end IBL's running median over 11 channels has too few good ones to go by. A shank
    with few channels inside the brain keeps as much distance as it can.
    """
    inside = []
    for shank in range(layout.probe_type.n_shanks):
        channels = np.flatnonzero((layout.shank == shank) & ~outside)
        margin = min(6, channels.size // 4)
        inside.append(np.setdiff1d(channels[margin : channels.size - margin], reference))
    inside = np.concatenate(inside)
    n_bad = n_dead + n_noisy
    if inside.size < n_bad:
        raise UserError(f"{inside.size} channels inside the brain are too few for {n_bad} bad ones")
    places = inside[((np.arange(n_bad) + 0.5) / max(n_bad, 1) * inside.size).astype(int)]
    kinds = sorted(
        [((k + 0.25) / n_dead, "dead") for k in range(n_dead)]
        + [((k + 0.75) / n_noisy, "noisy") for k in range(n_noisy)]
    )
    chosen = {"dead": [], "noisy": []}
    for channel, (_, kind) in zip(places.tolist(), kinds, strict=True):
        chosen[kind].append(channel)
    return tuple(chosen["dead"]), tuple(chosen["noisy"])


def _units(layout, inside, excluded, n_units, duration_s, rng):
    """Draw the units, spread evenly over the good channels inside the brain."""
    good = np.setdiff1d(np.flatnonzero(inside), excluded)
    if good.size < n_units:
        raise UserError(
            f"{good.size} good channels inside the brain are too few for {n_units} units"
        )
    # along one shank after the other; at least two channels from the ends
    order = good[np.lexsort((layout.x_um[good], layout.y_um[good], layout.shank[good]))]
    places = order[np.round((np.arange(n_units) + 0.5) / n_units * order.size - 0.5).astype(int)]
    # amplitudes and widths are dealt out evenly and shuffled, so that a small session has
    # its share of small and large, narrow and wide units whatever the seed
    spread = (np.arange(n_units) + 0.5) / n_units
    amplitudes_uv = 70 * (260 / 70) ** rng.permutation(spread)
    widths_ms = 0.25 + 0.45 * rng.permutation(spread)
    rates_hz = 4 * (16 / 4) ** rng.permutation(spread)
    units = []
    for i, channel in enumerate(places):
        present = ((0.0, duration_s / 2),) if i == 0 else ((0.0, duration_s),)
        units.append(
            Unit(
                x_um=float(layout.x_um[channel] + rng.uniform(-5, 5)),
                y_um=float(layout.y_um[channel] + rng.uniform(-4, 4)),
                z_um=float(rng.uniform(10, 20)),
                peak_channel=int(channel),
                amplitude_uv=float(amplitudes_uv[i]),
                relative_sd=0.08,
                rate_hz=float(rates_hz[i]),
                refractory_s=float(rng.uniform(0.002, 0.0035)),
                present_s=present,
                decay_um=float(rng.uniform(16, 28)),
                speed_um_per_ms=float(rng.uniform(250, 500)),
                trough_ms=float(rng.uniform(0.06, 0.1)),
                trough_to_peak_ms=float(widths_ms[i]),
                peak_ratio=float(rng.uniform(0.2, 0.4)),
            )
        )
    return units


def _spikes(units, layout, duration_s, n_samples, rng):
    """Draw every unit's spikes and merge them, ascending in time."""
    before, length = waveforms.template_samples(SAMPLING_RATE_HZ)
    times, numbers, scales = [], [], []
    for u, unit in enumerate(units):
        seconds = spike_train(
            unit.rate_hz,
            duration_s,
            rng=rng,
            refractory_s=unit.refractory_s,
            present_s=unit.present_s,
        )
        exact = seconds * SAMPLING_RATE_HZ
        # whole waveforms only
        exact = exact[(exact >= before + 1) & (exact < n_samples - length)]
        times.append(exact)
        numbers.append(np.full(exact.size, u, np.int32))
        scales.append(
            spike_amplitudes(exact.size, unit.amplitude_uv, rng=rng, relative_sd=unit.relative_sd)
        )
    if not units:
        empty = np.zeros(0)
        return {
            "samples": empty.astype(np.int64),
            "spike_units": empty.astype(np.int32),
            "times": empty,
            "scales_uv": empty,
        }
    times = np.concatenate(times)
    numbers = np.concatenate(numbers)
    # the trough is recorded earlier by the peak channel's delay
    delays = layout.delay[[unit.peak_channel for unit in units]]
    samples = np.round(times - delays[numbers]).astype(np.int64)
    order = np.lexsort((numbers, samples))
    return {
        "samples": samples[order],
        "spike_units": numbers[order],
        "times": times[order],
        "scales_uv": np.concatenate(scales)[order],
    }
