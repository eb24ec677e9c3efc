"""Extracellular recordings, one job per probe and sorter.

Needs the raw files of a probe as the table of streams names them. Promises the table of
channels with labels, and per sorter the units: spikes, waveforms, metrics.
"""


rule check_probe:
    """Measure noise, saturation, bad channels and the surface channel of a raw recording."""
    input:
        raw=raw_files,
    output:
        channels="<work>/{session}/{probe}/check_probe/channels.tsv",
        surface="<work>/{session}/{probe}/check_probe/surface.json",
        checks="<work>/{session}/{probe}/check_probe/checks.json",
        figure=report(
            "<work>/{session}/{probe}/check_probe/check_probe.png",
            caption="../report/check_probe.rst",
            category="Ephys",
            subcategory="{session} {probe}",
            labels={"step": "check_probe"},
        ),
        alf=multiext(
            "<derived>/{session}/raw_ephys_data/{probe}/",
            "_iblqc_ephysChannels.apRMS.npy",
            "_iblqc_ephysChannels.labels.npy",
            "_iblqc_ephysChannels.rawSpikeRates.npy",
            "_iblqc_ephysSaturation.samples.pqt",
            "_iblqc_ephysSpectralDensityAP.freqs.npy",
            "_iblqc_ephysSpectralDensityAP.power.npy",
            "_iblqc_ephysSpectralDensityLF.freqs.npy",
            "_iblqc_ephysSpectralDensityLF.power.npy",
            "_iblqc_ephysTimeRmsAP.rms.npy",
            "_iblqc_ephysTimeRmsAP.timestamps.npy",
            "_iblqc_ephysTimeRmsLF.rms.npy",
            "_iblqc_ephysTimeRmsLF.timestamps.npy",
            "_sluice_ephysGaps.samples.pqt",
        ),
    log:
        "<logs>/{session}/{probe}/check_probe.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/check_probe.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 2
    resources:
        mem_mb=memory(at_least=2000, per_channel=5),
        runtime=minutes(at_least=10, per_gb=1),
    params:
        stream=stream,
        settings=lookup("ephys/check_probe", within=config),
        code=code("check_probe"),
    script:
        "../scripts/check_probe.py"


rule preprocess_probe:
    """Subtract offsets and medians, filter, and write the traces every later step reads."""
    input:
        raw=raw_files,
        channels=rules.check_probe.output.channels,
    output:
        traces=temp(directory("<work>/{session}/{probe}/preprocess_probe/traces")),
        info="<work>/{session}/{probe}/preprocess_probe/traces.json",
        checks="<work>/{session}/{probe}/preprocess_probe/checks.json",
    log:
        "<logs>/{session}/{probe}/preprocess_probe.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/preprocess_probe.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 4
    resources:
        mem_mb=memory(at_least=2000, per_channel=8),
        runtime=minutes(at_least=10, per_gb=4),
    params:
        stream=stream,
        settings=lookup("ephys/preprocess_probe", within=config),
        code=code("preprocess_probe"),
    script:
        "../scripts/preprocess_probe.py"


# On the CPU unless a profile gives the rule a GPU.
rule sort_spikes:
    """Find spikes and assign them to units, each shank on its own."""
    input:
        traces=rules.preprocess_probe.output.traces,
    output:
        spikes="<work>/{session}/{probe}/{sorter}/sort_spikes/spikes.pqt",
        units="<work>/{session}/{probe}/{sorter}/sort_spikes/units.tsv",
        sorter_output=directory(
            "<work>/{session}/{probe}/{sorter}/sort_spikes/sorter_output"
        ),
        checks="<work>/{session}/{probe}/{sorter}/sort_spikes/checks.json",
    log:
        "<logs>/{session}/{probe}/{sorter}/sort_spikes.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/{sorter}/sort_spikes.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 8
    resources:
        mem_mb=memory(at_least=8000, per_channel=60),
        runtime=minutes(at_least=60, per_gb=10),
        gpu=0,
    params:
        parameters=sorter_parameters,
        whiten=lookup("ephys/preprocess_probe/whiten", within=config),
        motion=lookup("ephys/preprocess_probe/motion", within=config),
        settings=sorting_settings(),
        code=code("sort_spikes"),
    script:
        "../scripts/sort_spikes.py"


rule clean_units:
    """Remove double-counted spikes, measure every spike, label artifactual units."""
    input:
        traces=rules.preprocess_probe.output.traces,
        spikes=rules.sort_spikes.output.spikes,
        units=rules.sort_spikes.output.units,
    output:
        spikes="<work>/{session}/{probe}/{sorter}/clean_units/spikes.pqt",
        units="<work>/{session}/{probe}/{sorter}/clean_units/units.tsv",
        templates="<work>/{session}/{probe}/{sorter}/clean_units/templates.npy",
        checks="<work>/{session}/{probe}/{sorter}/clean_units/checks.json",
    log:
        "<logs>/{session}/{probe}/{sorter}/clean_units.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/{sorter}/clean_units.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 4
    resources:
        mem_mb=memory(at_least=4000, per_channel=10),
        runtime=minutes(at_least=10, per_gb=2),
    params:
        settings=lookup("ephys/clean_units", within=config),
        code=code("clean_units"),
    script:
        "../scripts/clean_units.py"


rule unit_waveforms:
    """Average the waveform of every unit and measure its shape."""
    input:
        traces=rules.preprocess_probe.output.traces,
        spikes=rules.clean_units.output.spikes,
        units=rules.clean_units.output.units,
    output:
        waveform_mean="<work>/{session}/{probe}/{sorter}/unit_waveforms/waveform_mean.npy",
        waveform_std="<work>/{session}/{probe}/{sorter}/unit_waveforms/waveform_std.npy",
        waveform_metrics="<work>/{session}/{probe}/{sorter}/unit_waveforms/waveform_metrics.tsv",
        pcs="<work>/{session}/{probe}/{sorter}/unit_waveforms/pcs.npz",
    log:
        "<logs>/{session}/{probe}/{sorter}/unit_waveforms.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/{sorter}/unit_waveforms.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 4
    resources:
        mem_mb=memory(at_least=4000, per_channel=10),
        runtime=minutes(at_least=10, per_gb=1),
    params:
        settings=lookup("ephys/unit_waveforms", within=config),
        code=code("unit_waveforms"),
    script:
        "../scripts/unit_waveforms.py"


rule unit_metrics:
    """Compute the quality metrics of every unit and its default labels."""
    input:
        info=rules.preprocess_probe.output.info,
        channels=rules.check_probe.output.channels,
        spikes=rules.clean_units.output.spikes,
        units=rules.clean_units.output.units,
        waveform_metrics=rules.unit_waveforms.output.waveform_metrics,
        pcs=rules.unit_waveforms.output.pcs,
    output:
        metrics="<work>/{session}/{probe}/{sorter}/unit_metrics/metrics.pqt",
        checks="<work>/{session}/{probe}/{sorter}/unit_metrics/checks.json",
        figure=report(
            "<work>/{session}/{probe}/{sorter}/unit_metrics/unit_metrics.png",
            caption="../report/unit_metrics.rst",
            category="Ephys",
            subcategory="{session} {probe}",
            labels={"step": "unit_metrics {sorter}"},
        ),
    log:
        "<logs>/{session}/{probe}/{sorter}/unit_metrics.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/{sorter}/unit_metrics.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 1
    resources:
        mem_mb=memory(at_least=4000),
        runtime=minutes(at_least=20),
    params:
        settings=lookup("ephys/unit_metrics", within=config),
        code=code("unit_metrics"),
    script:
        "../scripts/unit_metrics.py"


rule compare_sorters:
    """Tabulate how far the sorters of one probe agree, unit by unit."""
    input:
        info=rules.preprocess_probe.output.info,
        spikes=expand(
            rules.clean_units.output.spikes,
            sorter=config["ephys"]["sort_spikes"]["sorters"],
            allow_missing=True,
        ),
    output:
        table="<derived>/{session}/alf/{probe}/_sluice_sorters.agreement.tsv",
    log:
        "<logs>/{session}/{probe}/compare_sorters.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/compare_sorters.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 2
    resources:
        mem_mb=memory(at_least=4000),
        runtime=minutes(at_least=20),
    params:
        sorters=list(config["ephys"]["sort_spikes"]["sorters"]),
        settings=lookup("ephys/compare_sorters", within=config),
        code=code("compare_sorters"),
    script:
        "../scripts/compare_sorters.py"
