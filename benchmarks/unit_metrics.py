"""Time of the quality metrics, one by one, beside SpikeInterface's on the same sorting.

    python benchmarks/unit_metrics.py [--units 500] [--spikes 10000000] [--no-peer]

Made-up units on a Neuropixels 1.0 probe: Poisson trains with a dead time and log-normal
rates over an hour, normal amplitudes, depths that drift, and 500 sampled spikes a unit with
three components on 32 channels. The peer computes the metrics of trains (it needs no
recording for these); its cluster metrics are timed on the same points.
"""

import argparse
import itertools
import time

import numpy as np
from threadpoolctl import threadpool_limits

from sluice.ephys.metrics import amplitudes, drift, pc_space, refractory, spike_trains
from sluice.ephys.unit_metrics import group_by_unit, spike_metrics
from sluice.settings import validate_settings

RATE_HZ = 30_000
DURATION_S = 3600.0
N_NEAR = 32


def made_up_spikes(n_units, n_spikes, rng):
    """Samples (ascending), unit, amplitude and depth of every spike."""
    shares = rng.lognormal(0, 1, n_units)
    counts = np.maximum((n_spikes * shares / shares.sum()).astype(int), 30)
    trains = []
    for count in counts:
        intervals = 60 + rng.exponential(DURATION_S * RATE_HZ / count - 60, count)
        trains.append((np.cumsum(intervals) * 0.999).astype(np.int64))
    units = np.repeat(np.arange(n_units, dtype=np.int32), counts)
    samples = np.concatenate(trains)
    order = np.argsort(samples, kind="stable")
    samples, units = samples[order], units[order]
    keep = samples < DURATION_S * RATE_HZ
    samples, units = samples[keep], units[keep]
    amplitude = rng.normal(100, 15, len(samples)).clip(5).astype(np.float32)
    depth = (rng.normal(0, 5, len(samples)) + 7 * units).astype(np.float32)
    return samples, units, amplitude, depth


def made_up_components(n_units, counts, rng):
    """Sampled spikes in principal component space on a Neuropixels 1.0 probe."""
    index = np.arange(384)
    positions = np.column_stack([16 * (index % 4), 20.0 * (index // 2)])
    peaks = rng.integers(0, 384, n_units)
    distance = np.hypot(*(positions[peaks][:, None] - positions).T).T
    near = np.argsort(distance, axis=1, kind="stable")[:, :N_NEAR]
    n_sampled = np.minimum(counts, 500)
    size = np.exp(-np.take_along_axis(distance, near, axis=1) / 40)
    centre = 100 * size[:, :, None] * rng.normal(0.6, 0.3, (n_units, 1, 3))
    unit = np.repeat(np.arange(n_units), n_sampled)
    features = centre[unit] + rng.normal(0, 10, (len(unit), N_NEAR, 3))
    bounds = np.concatenate([[0], np.cumsum(n_sampled)])
    return pc_space.PcSample(
        features=features.astype(np.float32),
        spikes_of=[np.arange(*b) for b in itertools.pairwise(bounds)],
        near_channels=near,
        peak_channels=peaks,
        n_spikes=counts,
        positions_um=positions,
    )


def timed(name, work, rows):
    """Time one piece of work, on the clock and on the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    rows.append((name, time.perf_counter() - wall, time.process_time() - cpu))
    return result


def ours(samples, units, amplitude, depth, n_units, rng):
    """Rows (name, seconds, CPU seconds) of this package."""
    rows = []
    n_samples = int(DURATION_S * RATE_HZ)
    settings = validate_settings({})["ephys"]["unit_metrics"]
    # Compiled once per installation; not part of the work.
    refractory.sliding_refractory_period(samples[:100], sampling_rate_hz=RATE_HZ)
    order, bounds = timed("group by unit", lambda: group_by_unit(units, np.arange(n_units)), rows)
    spans = list(itertools.pairwise(bounds))
    samples, amplitude, depth = timed(
        "  and bring columns together",
        lambda: (samples[order], amplitude[order], depth[order]),
        rows,
    )
    trains = [samples[a:b] for a, b in spans]
    sizes = [amplitude[a:b].astype(float) for a, b in spans]
    depths = [depth[a:b] for a, b in spans]
    rate = {"sampling_rate_hz": RATE_HZ}
    edges = spike_trains.equal_bins(n_samples, 100)
    for name, work in (
        ("presence ratio", lambda: [spike_trains.presence_ratio(t, edges) for t in trains]),
        (
            "ISI violations",
            lambda: [spike_trains.isi_violations(t, duration_s=DURATION_S, **rate) for t in trains],
        ),
        (
            "sliding refractory period",
            lambda: [refractory.sliding_refractory_period(t, **rate) for t in trains],
        ),
        ("amplitude cutoff", lambda: [amplitudes.amplitude_cutoff(a) for a in sizes]),
        ("noise cutoff", lambda: [amplitudes.noise_cutoff(a) for a in sizes]),
        ("missed spikes", lambda: [amplitudes.missed_spikes_est(a) for a in sizes]),
        ("median amplitude", lambda: [amplitudes.amp_median(a) for a in sizes]),
        (
            "drift",
            lambda: [
                drift.drift(t, d, interval_samples=51 * RATE_HZ, n_samples=n_samples)
                for t, d in zip(trains, depths, strict=True)
            ],
        ),
        (
            "all of one spike train, as the step computes them",
            lambda: [
                spike_metrics(
                    t, a, d, n_samples=n_samples, sampling_rate_hz=RATE_HZ, settings=settings
                )
                for t, a, d in zip(trains, sizes, depths, strict=True)
            ],
        ),
    ):
        timed(name, work, rows)
    sample = made_up_components(n_units, np.diff(bounds), rng)
    timed(
        "isolation distance, L-ratio, d', nearest neighbours",
        lambda: pc_space.cluster_metrics(sample, n_channels=7, n_neighbors=3, max_spikes=10_000),
        rows,
    )
    timed("silhouette", lambda: pc_space.silhouette_scores(sample, max_spikes=100), rows)
    return rows


def peer(samples, units):
    """Rows (name, seconds, CPU seconds) of SpikeInterface's metrics of trains."""
    import spikeinterface.core as si
    from spikeinterface.metrics.quality import misc_metrics

    recording = si.generate_recording(
        num_channels=2, durations=[DURATION_S], sampling_frequency=RATE_HZ, set_probe=True
    )
    sorting = si.NumpySorting.from_samples_and_labels([samples], [units], RATE_HZ)
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    rows = []
    timed("presence ratio", lambda: misc_metrics.compute_presence_ratios(analyzer), rows)
    timed("ISI violations", lambda: misc_metrics.compute_isi_violations(analyzer), rows)
    timed(
        "sliding refractory period (bins of 0.25 ms)",
        lambda: misc_metrics.compute_sliding_rp_violations(analyzer),
        rows,
    )
    return rows


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    spikes = made_up_spikes(options.units, options.spikes, rng)
    print(f"{options.units} units, {len(spikes[0]):,} spikes, {DURATION_S:g} s")
    with threadpool_limits(limits=1):  # as the step does
        tables = {"sluice": ours(*spikes, options.units, rng)}
        if not options.no_peer:
            tables["SpikeInterface"] = peer(*spikes[:2])
    for name, rows in tables.items():
        print(f"\n{name:55s}{'seconds':>10s}{'CPU':>10s}")
        for row in rows:
            print("{:55s}{:10.2f}{:10.2f}".format(*row))


if __name__ == "__main__":
    main()
