"""Settings of the ephys and lfp stages."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sluice.settings.base import Count, Fraction, Positive, Section, Threshold


class CheckProbeChecks(Section):
    """Where the checks of a raw recording turn to WARNING and to FAIL."""

    bad_channel_fraction: Threshold = Field(
        Threshold(warning=0.1, fail=0.5),
        description="Dead and noisy channels, as a fraction of all but reference contacts.",
    )
    dead_channel_fraction: Threshold = Field(
        Threshold(warning=0.05, fail=0.5), description="Dead channels, as a fraction."
    )
    noisy_channel_fraction: Threshold = Field(
        Threshold(warning=0.05, fail=0.5), description="Noisy channels, as a fraction."
    )
    outside_channel_fraction: Threshold = Field(
        Threshold(warning=0.6, fail=0.9), description="Channels labelled outside the brain."
    )
    saturated_fraction: Threshold = Field(
        Threshold(warning=1e-4, fail=0.05), description="Saturated samples, as a fraction."
    )
    gap_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=0.05), description="Samples filled with zeros, as a fraction."
    )
    ap_rms_uv: Threshold = Field(
        Threshold(warning=20.0, fail=50.0),
        description="RMS above 300 Hz, median of the good channels (µV).",
    )
    spike_rate_hz: Threshold = Field(
        Threshold(warning=0.1, fail=0.01),
        description="Threshold crossings of a channel a second, mean of the good channels; "
        "less is worse.",
    )
    lf_rms_uv: Threshold = Field(
        Threshold(warning=500.0, fail=2000.0),
        description="RMS of the LF band, median of the good channels and over time (µV).",
    )


class CheckProbe(Section):
    """Saturation, gaps, noise, bad channels, surface channel of a raw recording."""

    snippet_s: float = Field(
        1.0,
        ge=0.2,
        le=10,
        description="Length of the snippets that spectra, RMS and labels come from (s).",
    )
    snippet_every_s: Positive = Field(300.0, description="From one snippet to the next (s).")
    first_snippet_s: float = Field(40.0, ge=0, description="Start of the first snippet (s).")
    min_snippets: Count = Field(
        10,
        description="Where fewer snippets than this fit, this many are spread over the "
        "recording, or as many as it holds.",
    )
    rms_window_s: float = Field(
        3.0, gt=0, le=10, description="Window of the RMS over time (s); read one at a time."
    )
    saturation_level: Fraction = Field(
        0.96, description="A channel beyond this fraction of the full scale is at its end."
    )
    saturation_slope_v_per_s: Positive = Field(
        9.0, description="A channel that changes faster than this is saturated (V/s at the input)."
    )
    saturation_channel_fraction: Fraction = Field(
        0.2, description="A sample is saturated beyond this fraction of the channels."
    )
    min_gap_s: Positive = Field(
        5e-4, description="Shortest run of zeros on all channels that is a gap (s)."
    )
    spike_threshold_uv: float = Field(
        -50.0, lt=0, description="Troughs below this count as spikes (µV, above 300 Hz)."
    )
    bad_channels: Literal["coherence+psd", "rms", "none"] = Field(
        "coherence+psd",
        description="How bad channels are found: IBL's coherence and spectrum (a shank with "
        "fewer than 16 channels goes by RMS), RMS against the neighbours, or not at all "
        "(constant channels are dead all the same).",
    )
    dead_threshold: float = Field(
        -0.5, description="Dead where the similarity falls below its neighbours' by this much."
    )
    noisy_threshold: float = Field(
        1.0, description="Noisy where the similarity exceeds its neighbours' by this much."
    )
    outside_threshold: float = Field(
        -0.75, description="Outside the brain where the similarity above 300 Hz, minus 1, is less."
    )
    high_power_uv2_per_hz: Positive = Field(
        0.02,
        description="Noisy where the mean power density above 80 % of the Nyquist frequency "
        "is more (µV²/Hz).",
    )
    rms_ratio: float = Field(
        3.0, gt=1, description="By RMS: noisy above, dead below the neighbours by this factor."
    )
    surface_max_frequency_hz: Positive = Field(
        10.0, description="The surface is found from the LFP power up to this frequency (Hz)."
    )
    surface_smooth_um: Positive = Field(
        50.0,
        description="Gaussian that smooths the power along the shank (µm, standard deviation).",
    )
    surface_slope_per_um: float = Field(
        -0.005,
        lt=0,
        description="Power falls faster than this at the surface (log10 per µm); Allen: -0.007.",
    )
    surface_reference_um: Positive = Field(
        100.0, description="The top of the shank that the LFP is compared with (µm)."
    )
    surface_min_outside_um: Positive = Field(
        200.0,
        description="A drop against the top nearer to the top than this is not taken for the "
        "surface unless the power as recorded drops too (µm).",
    )
    checks: CheckProbeChecks = CheckProbeChecks()


class Destripe(Section):
    """Method `destripe`: IBL's phase shift, bad-channel interpolation and spatial filter."""

    highpass_hz: Positive = Field(300.0, description="Cutoff of the high-pass over time (Hz).")
    highpass_order: int = Field(3, ge=1, le=8, description="Its order, of one pass of two.")
    spatial_cutoff: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Cutoff of the high-pass across channels, as a fraction of half a cycle "
        "per channel.",
    )
    spatial_order: int = Field(3, ge=1, le=8, description="Its order, of one pass of two.")
    pad_channels: int = Field(
        60,
        ge=0,
        description="Channels mirrored at the ends of a shank for it; all where there are fewer.",
    )
    gain_window_s: Positive = Field(
        0.1, description="Window of the automatic gain control before it (s)."
    )


class PreprocessProbeChecks(Section):
    """Where the checks of the preprocessing turn to WARNING and to FAIL."""

    channels_without_median: Threshold = Field(
        Threshold(warning=0.0, fail=1.0),
        description="Good channels that no median was subtracted from, as a fraction.",
    )
    clipped_fraction: Threshold = Field(
        Threshold(warning=1e-6, fail=1e-3),
        description="Values that did not fit 16 bits, as a fraction.",
    )
    whitening_condition: Threshold = Field(
        Threshold(warning=50.0, fail=1000.0),
        description="Condition number of the whitening matrix (IBL warns above 50).",
    )
    motion_range_um: Threshold = Field(
        Threshold(warning=50.0, fail=200.0),
        description="Range of the drift that was undone (µm); above about two contact "
        "spacings units are lost at the ends and spikes change shape.",
    )


class PreprocessProbe(Section):
    """Offset and median subtraction, filter, whitening, drift."""

    method: Literal["median", "destripe", "none"] = Field(
        "median",
        description="`median`: Allen's offset and median subtraction, then a high-pass. "
        "`destripe`: IBL's phase shift, bad-channel interpolation and spatial filter. "
        "`none`: the raw traces.",
    )
    offset_passes: Count = Field(
        10, description="`median`: stretches, spread evenly, that a channel's offset comes from."
    )
    offset_pass_s: Positive = Field(5.0, description="`median`: length of each (s).")
    median_min_channels: Count = Field(
        5,
        description="`median`: good channels that a group must have to get a median. Over fewer "
        "it would follow single spikes; over a tetrode, all of them.",
    )
    highpass_hz: Positive | None = Field(
        150.0,
        description="`median`: cutoff of the Butterworth high-pass, forwards and backwards (Hz); "
        "null: none.",
    )
    highpass_order: int = Field(
        3, ge=1, le=8, description="`median`: its order, of one pass of two."
    )
    destripe: Destripe = Destripe()
    whiten: Literal["workflow", "sorter"] = Field(
        "sorter",
        description="Who whitens: this workflow, with a matrix from the whole recording that "
        "Kilosort 4 uses instead of its own, or the sorter.",
    )
    whitening_neighbors: int = Field(
        32, ge=2, description="Channels, itself included, that a channel is whitened with."
    )
    whitening_batch_step: Count = Field(
        25, description="The covariance is taken over one batch of 65536 samples of this many."
    )
    whitening_min_batches: Count = Field(
        10, description="Short recordings take batches more often, to have this many."
    )
    whitening_epsilon: Positive = Field(
        1e-6,
        description="Added to the eigenvalues of the covariance, as a fraction of the mean "
        "variance of the good channels.",
    )
    motion: Literal[
        "sorter",
        "dredge",
        "dredge_fast",
        "nonrigid_accurate",
        "nonrigid_fast_and_accurate",
        "rigid_fast",
        "kilosort_like",
    ] = Field(
        "sorter",
        description="Who undoes drift: the sorter, if it can, or this workflow before it, with "
        "SpikeInterface's preset of this name.",
    )
    checks: PreprocessProbeChecks = PreprocessProbeChecks()


class SortSpikesChecks(Section):
    """Where the checks of a sorting turn to WARNING and to FAIL; less is worse."""

    units_found: Threshold = Field(
        Threshold(warning=2, fail=1), description="Units found on all shanks of the probe."
    )


class SortSpikes(Section):
    """Spike sorting, one sorter or several."""

    sorters: dict[str, dict[str, Any]] = Field(
        {"kilosort4": {}},
        description="Sorters to run, by SpikeInterface's name, each with the parameters "
        "that differ from its defaults. Two or more are compared.",
        min_length=1,
    )
    min_channels_for_drift: Count = Field(
        64,
        description="On a shank with fewer good channels than this the sorter does not correct "
        "for drift.",
    )
    checks: SortSpikesChecks = SortSpikesChecks()


class CompareSorters(Section):
    """Agreement of the sorters of one probe, where two or more ran."""

    window_ms: Positive = Field(
        0.4, description="Spikes of two sorters this close are the same spike (ms)."
    )


class ArtifactRules(Section):
    """Allen's three rules that tell a unit that is no neuron by its template.

    The rules on the extent in space are judged on shanks with at least 8 usable channels,
    40 µm or less from one to the next; on other probes only the timing is.
    """

    visible_ratio: Fraction = Field(
        0.2, description="A template is visible where it exceeds this fraction of its largest."
    )
    max_spread_um: Positive = Field(
        250.0, description="Visible along more of the shank than this: spread (µm)."
    )
    check_shape_above_um: Positive = Field(
        160.0,
        description="Visible along more than this, and of one shape everywhere: spread (µm).",
    )
    max_peak_offset_ms: Positive = Field(
        0.3334, description="Largest range over the channels farther from the trough: timing (ms)."
    )
    max_peaks_sd_um: Positive = Field(
        35.0,
        description="Spatial peaks scattered along the shank by more than this standard "
        "deviation: spatial (µm).",
    )


class CleanUnitsChecks(Section):
    """Where the checks of the cleaning turn to WARNING and to FAIL."""

    double_counted_fraction: Threshold = Field(
        Threshold(warning=0.1, fail=0.5), description="Spikes removed as doubles, as a fraction."
    )
    artifact_unit_fraction: Threshold = Field(
        Threshold(warning=0.5, fail=0.9), description="Units labelled as artifacts, as a fraction."
    )


class CleanUnits(Section):
    """Alignment, amplitude and depth of spikes; double-counted spikes; artifactual units."""

    n_template_spikes: Count = Field(
        250,
        le=10_000,
        description="Spikes of a unit that its template is the mean of, drawn at random; all "
        "where it has fewer.",
    )
    ms_before: float = Field(
        0.6667,
        ge=0.4,
        le=10,
        description="Start of the template before the trough (ms); 20 samples at 30 kHz.",
    )
    ms_after: float = Field(
        2.0667,
        ge=0.4,
        le=10,
        description="End of the template after the trough, whose sample is included (ms); "
        "62 samples at 30 kHz.",
    )
    max_shift_ms: float = Field(
        0.3,
        ge=0,
        le=1,
        description="A unit's spikes are moved to its mean trough if that is no farther away (ms).",
    )
    near_radius_um: Positive = Field(
        100.0,
        description="Channels up to this far from the peak channel give amplitude and depth of a "
        "spike (µm).",
    )
    duplicate_window_ms: float = Field(
        0.1333,
        ge=0,
        le=1,
        description="Spikes less than this apart, rounded to samples, are one (ms); 4 samples at "
        "30 kHz. The larger one is kept. 0 keeps all.",
    )
    duplicate_radius_um: float = Field(
        60.0,
        ge=0,
        description="Two units can have counted the same spike where their peak channels are no "
        "farther apart (µm).",
    )
    artifact_rules: ArtifactRules = ArtifactRules()
    checks: CleanUnitsChecks = CleanUnitsChecks()


class UnitWaveforms(Section):
    """Mean waveforms and their features."""

    max_spikes: int = Field(
        500,
        ge=2,
        le=10_000,
        description="Spikes of a unit that its mean waveform is taken over, drawn at random; "
        "all where it has fewer.",
    )
    ms_before: float = Field(
        0.6667,
        ge=0.2,
        le=10,
        description="Start of the waveform window before the trough (ms); 20 samples at 30 kHz.",
    )
    ms_after: float = Field(
        2.0667,
        ge=0.5,
        le=10,
        description="End of the waveform window after the trough, whose sample is included (ms); "
        "62 samples at 30 kHz.",
    )
    spread_range_um: Positive = Field(
        160.0,
        description="Contacts this far along the probe from the peak channel are looked at for "
        "spread and velocity (µm).",
    )
    spread_threshold: Fraction = Field(
        0.12,
        description="A contact belongs to the spread of a unit where the amplitude exceeds this "
        "fraction of the largest.",
    )
    max_spikes_for_pcs: Count = Field(
        500, description="Spikes of a unit that principal component features are kept of."
    )
    n_near_channels: Count = Field(
        32,
        description="Good channels of the shank, nearest to the peak channel, that principal "
        "component features are kept on.",
    )
    seed: int = Field(0, ge=0, description="Seed of every random draw of this step.")


class AllenFilter(Section):
    """Allen's default filter of units; a unit that has no value does not pass."""

    presence_ratio_min: Fraction = Field(0.95, description="Presence ratio, at least.")
    isi_violations_max: float = Field(0.5, ge=0, description="ISI violations, at most.")
    amplitude_cutoff_max: float = Field(
        0.1, ge=0, le=0.5, description="Amplitude cutoff, at most (missed by detected spikes)."
    )


class IblLabel(Section):
    """IBL's three criteria of a good unit; a unit that has no value does not meet one."""

    max_confidence_min: float = Field(
        90.0,
        ge=0,
        le=100,
        description="Confidence that contamination is below `contamination_percent`, at least (%).",
    )
    noise_cutoff_max: float = Field(
        5.0, description="Noise cutoff, less than this (standard deviations)."
    )
    amp_median_min_uv: float = Field(
        50.0, ge=0, description="Median amplitude, more than this (µV)."
    )


class UnitMetricsChecks(Section):
    """Where the checks of the units turn to WARNING and to FAIL; less is worse."""

    units_found: Threshold = Field(
        Threshold(warning=2, fail=1), description="Units that are not labelled as artifacts."
    )
    allen_pass_fraction: Threshold = Field(
        Threshold(warning=0.2, fail=0.0),
        description="Units that pass Allen's default filter, as a fraction of those found.",
    )
    ibl_pass_fraction: Threshold = Field(
        Threshold(warning=0.1, fail=0.0),
        description="Units that meet all of IBL's criteria, as a fraction of those found.",
    )
    median_firing_rate_hz: Threshold = Field(
        Threshold(warning=0.1, fail=0.01), description="Median firing rate of the units found (Hz)."
    )


class UnitMetrics(Section):
    """Quality metrics and default labels.

    Allen's defaults are those of the script that runs its modules, where they differ from
    the modules' own (`min_isi_ms` 0, `n_channels` 13, `drift_interval_s` 100).
    """

    min_spikes: int = Field(
        10,
        ge=2,
        description="A unit with fewer spikes has no metric but firing rate and presence ratio.",
    )
    min_spikes_amplitudes: int = Field(
        200,
        ge=2,
        description="A unit with fewer spikes has no amplitude cutoff and no noise cutoff. With "
        "200 spikes and none missed, the amplitude cutoff exceeds 0.1 in 14 % of units by "
        "chance; with 500 in 1 %.",
    )
    presence_bins: Count = Field(
        100, description="Equal bins of the recording that the presence ratio is counted in."
    )
    isi_threshold_ms: Positive = Field(
        1.5, description="Refractory period: a shorter interval is a violation (ms)."
    )
    min_isi_ms: float = Field(
        0.166,
        ge=0,
        validate_default=True,
        description="Two spikes this close are one spike counted twice (ms); less than "
        "`isi_threshold_ms`. Should match what `clean_units` removes.",
    )
    n_channels: Count = Field(
        7, description="Channels nearest to the peak that units are compared on."
    )
    n_neighbors: Count = Field(
        3, description="Nearest spikes that are looked at, the spike itself not counted."
    )
    max_spikes_for_neighbors: Count = Field(
        10_000, description="Most spikes of all units together that neighbours are sought among."
    )
    silhouette_spikes: int = Field(
        100, ge=10, description="Most spikes of a unit that the silhouette score is taken over."
    )
    drift_interval_s: Positive = Field(
        51.0, description="Interval whose median depth is taken (s)."
    )
    drift_min_spikes: Count = Field(
        10, description="An interval with fewer spikes has no median depth."
    )
    ibl_presence_bin_s: Positive = Field(10.0, description="Bin of IBL's presence ratio (s).")
    ibl_refractory_ms: Positive = Field(
        1.5, description="Refractory period of IBL's contamination (ms)."
    )
    ibl_min_isi_ms: float = Field(
        0.1,
        ge=0,
        validate_default=True,
        description="Two spikes this close are one, in IBL's contamination (ms).",
    )
    contamination_percent: float = Field(
        10.0, gt=0, lt=100, description="Contamination that IBL's confidence is about (%)."
    )
    confidence_percent: float = Field(
        90.0, gt=0, lt=100, description="Confidence that IBL's least contamination is about (%)."
    )
    allen: AllenFilter = AllenFilter()
    ibl: IblLabel = IblLabel()
    checks: UnitMetricsChecks = UnitMetricsChecks()

    @field_validator("min_isi_ms", "ibl_min_isi_ms")
    @classmethod
    def _shorter_than_refractory(cls, value, info):
        longer = {"min_isi_ms": "isi_threshold_ms", "ibl_min_isi_ms": "ibl_refractory_ms"}
        name = longer[info.field_name]
        if name in info.data and value >= info.data[name]:
            raise ValueError(f"must be less than {name} ({info.data[name]})")
        return value


class ExtractLfpChecks(Section):
    """Where the checks of the LFP turn to WARNING and to FAIL."""

    lfp_reference_channels: Threshold = Field(
        Threshold(warning=3, fail=0),
        description="Channels outside the brain whose median was subtracted; less is worse.",
    )
    lfp_clipped_fraction: Threshold = Field(
        Threshold(warning=0.0, fail=1e-4),
        description="Samples that did not fit int16, as a fraction.",
    )


class ExtractLfp(Section):
    """Local field potential, subsampled and re-referenced."""

    channel_step: Count = Field(4, description="One channel of this many is kept, by depth.")
    first_channel: int = Field(
        2, ge=0, description="Which channel of each step is kept, 0 being the deepest."
    )
    sample_step: Count = Field(2, description="One sample of this many is kept.")
    highpass_hz: float = Field(
        0.1, ge=0.01, le=10, description="Zero-phase high-pass, Butterworth of order 1 (Hz)."
    )
    reference: Literal["outside", "none"] = Field(
        "outside", description="Subtract the median of the channels outside the brain, or nothing."
    )
    min_reference_channels: Count = Field(
        3, description="With fewer kept channels outside the brain nothing is subtracted."
    )
    max_reference_channels: Count = Field(
        50, description="At most this many channels, those nearest to the surface."
    )
    lf_rate_hz: Positive = Field(
        2500.0, description="Rate the AP band is brought to where there is no LF band (Hz)."
    )
    checks: ExtractLfpChecks = ExtractLfpChecks()

    @model_validator(mode="after")
    def _first_channel_is_in_the_step(self):
        if self.first_channel >= self.channel_step:
            raise ValueError(f"first_channel has to be below channel_step, {self.channel_step}")
        return self


class Ephys(Section):
    """Extracellular recordings."""

    check_probe: CheckProbe = CheckProbe()
    preprocess_probe: PreprocessProbe = PreprocessProbe()
    sort_spikes: SortSpikes = SortSpikes()
    compare_sorters: CompareSorters = CompareSorters()
    clean_units: CleanUnits = CleanUnits()
    unit_waveforms: UnitWaveforms = UnitWaveforms()
    unit_metrics: UnitMetrics = UnitMetrics()
    extract_lfp: ExtractLfp = ExtractLfp()
