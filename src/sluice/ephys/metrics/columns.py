"""Every column of ``metrics.pqt``: unit, range, source, meaning.

A column without a prefix is Allen's metric, under the name AllenSDK publishes it with. A
column ``ibl_x`` is IBL's metric x of ibllib's ``clusters.metrics``; where the unit differs from
ibllib's, it stands at the end of the name.
"""

from typing import NamedTuple

ALLEN = "Allen ecephys_spike_sorting"
IBL = "ibllib, single_units"
INFINITE = float("inf")


class Metric(NamedTuple):
    """What a column of ``metrics.pqt`` holds.

    Attributes
    ----------
    unit : str
        Empty for a ratio, a count or a label.
    low, high : float
        Range of the values.
    source : str
        Whose definition it is.
    minimum : str
        Fewest spikes; with fewer, NaN. "setting" are those of ``ephys.unit_metrics``.
    description : str
    """

    unit: str
    low: float
    high: float
    source: str
    minimum: str
    description: str


MIN_SPIKES = "min_spikes (setting)"
AMPLITUDES = "min_spikes_amplitudes (setting)"
CLUSTER = "21 and twice the features (own, sampled); 10 of other units"
NEIGHBOURS = "10 own and 10 of other units, after thinning in proportion"

METRIC_COLUMNS = {
    "unit": Metric("", 0, INFINITE, "sluice", "", "the sorter's number of the unit"),
    "n_spikes": Metric("", 0, INFINITE, "sluice", "", "spikes of the unit"),
    "firing_rate": Metric(
        "Hz", 0, INFINITE, ALLEN, "0", "spikes divided by the duration of the recording"
    ),
    "presence_ratio": Metric(
        "", 0, 1, ALLEN, "0", "share of 100 equal bins of the recording in which the unit fires"
    ),
    "isi_violations": Metric(
        "",
        0,
        INFINITE,
        f"{ALLEN} (Hill et al. 2011)",
        MIN_SPIKES,
        "rate of contaminating spikes relative to the unit's, from intervals below 1.5 ms",
    ),
    "isi_violations_corrected": Metric(
        "",
        0,
        1,
        "cortex-lab sortingQuality (Llobet et al. 2022)",
        f"{MIN_SPIKES}; NaN above 1",
        "fraction of the spikes that are contamination, from the same intervals",
    ),
    "amplitude_cutoff": Metric(
        "",
        0,
        0.5,
        ALLEN,
        AMPLITUDES,
        "spikes missed below the threshold, as a fraction of the detected ones",
    ),
    "snr": Metric(
        "",
        0,
        INFINITE,
        f"{ALLEN}, mean_waveforms",
        "as waveform_metrics.tsv",
        "range of the mean waveform on the peak channel by twice the standard deviation of "
        "the residuals",
    ),
    "isolation_distance": Metric(
        "",
        0,
        INFINITE,
        f"{ALLEN} (Schmitzer-Torbert et al. 2005)",
        CLUSTER,
        "squared Mahalanobis distance within which there are as many other spikes as own",
    ),
    "l_ratio": Metric(
        "",
        0,
        INFINITE,
        f"{ALLEN} (Schmitzer-Torbert et al. 2005)",
        CLUSTER,
        "sum of the probabilities that other spikes belong to the unit, by own spikes",
    ),
    "d_prime": Metric(
        "",
        0,
        INFINITE,
        f"{ALLEN} (Hill et al. 2011)",
        CLUSTER,
        "separation from other units' spikes on the axis of linear discriminant analysis",
    ),
    "nn_hit_rate": Metric(
        "",
        0,
        1,
        f"{ALLEN} (Chung et al. 2017)",
        NEIGHBOURS,
        "share of own spikes among the 3 nearest neighbours of own spikes",
    ),
    "nn_miss_rate": Metric(
        "",
        0,
        1,
        f"{ALLEN} (Chung et al. 2017)",
        NEIGHBOURS,
        "share of own spikes among the 3 nearest neighbours of other units' spikes",
    ),
    "silhouette_score": Metric(
        "",
        -1,
        1,
        f"{ALLEN} (Rousseeuw 1987)",
        "10 (sampled), of both units",
        "smallest silhouette score with any unit on shared channels",
    ),
    "max_drift": Metric(
        "µm",
        0,
        INFINITE,
        ALLEN,
        "drift_min_spikes (setting) in two intervals",
        "range of the median depth over intervals of the recording",
    ),
    "cumulative_drift": Metric(
        "µm",
        0,
        INFINITE,
        ALLEN,
        "drift_min_spikes (setting) in two neighbouring intervals",
        "sum of the absolute changes of the median depth from interval to interval",
    ),
    "allen_pass": Metric(
        "", 0, 1, "AllenSDK", "0", "true where Allen's default filter keeps the unit"
    ),
    "ibl_presence_ratio": Metric(
        "", 0, 1, IBL, "0", "share of the bins of 10 s in which the unit fires"
    ),
    "ibl_contamination": Metric(
        "",
        0,
        INFINITE,
        f"{IBL} (Hill et al. 2011)",
        MIN_SPIKES,
        "as isi_violations, with 0.1 ms as the closest that two spikes can be",
    ),
    "ibl_contamination_alt": Metric(
        "",
        0,
        INFINITE,
        f"{IBL} (Hill et al. 2011)",
        MIN_SPIKES,
        "root of a quadratic equation for the contamination, with IBL's sign",
    ),
    "ibl_max_confidence": Metric(
        "%",
        0,
        100,
        "SteinmetzLab slidingRefractory 1.1.1",
        MIN_SPIKES,
        "confidence that contamination is below 10 %, for the best refractory period",
    ),
    "ibl_min_contamination": Metric(
        "%",
        0.5,
        34.5,
        "SteinmetzLab slidingRefractory 1.1.1",
        f"{MIN_SPIKES}; NaN where not below 34.5 %",
        "smallest contamination that can be excluded with a confidence of 90 %",
    ),
    "ibl_missed_spikes_est": Metric(
        "",
        0,
        0.5,
        IBL,
        "501",
        "spikes missed below the threshold, as a fraction of the detected ones",
    ),
    "ibl_noise_cutoff": Metric(
        "",
        -INFINITE,
        INFINITE,
        IBL,
        AMPLITUDES,
        "standard deviations by which the low end of the amplitudes exceeds their upper tail",
    ),
    "ibl_amp_median_uv": Metric(
        "µV", 0, INFINITE, IBL, MIN_SPIKES, "median amplitude on a decibel scale (ibllib: V)"
    ),
    "ibl_amp_std_db": Metric(
        "dB", 0, INFINITE, IBL, MIN_SPIKES, "standard deviation of the amplitudes in dB"
    ),
    "ibl_drift_um_per_hour": Metric(
        "µm/h", 0, INFINITE, IBL, MIN_SPIKES, "sum of the depth changes from spike to spike"
    ),
    "ibl_label": Metric("", 0, 1, IBL, "0", "share of IBL's three criteria that the unit meets"),
    "ibl_bitwise_fail": Metric(
        "",
        0,
        7,
        IBL,
        "0",
        "criteria not met: 1 ibl_max_confidence, 2 ibl_noise_cutoff, 4 ibl_amp_median_uv",
    ),
}
