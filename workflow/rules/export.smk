"""Delivery in ALF files, as ONE finds and loads them.

Needs the finished tables of the earlier stages. Promises one collection
`alf/<probe>/<sorter>` per sorter, one `alf/<plane>` per imaging plane, and the description of
the session's probes.
"""


rule export_alf:
    """Write the units of one probe and sorter as an ALF collection."""
    input:
        channels=rules.check_probe.output.channels,
        info=rules.preprocess_probe.output.info,
        spikes=rules.clean_units.output.spikes,
        units=rules.clean_units.output.units,
        templates=rules.clean_units.output.templates,
        waveform_mean=rules.unit_waveforms.output.waveform_mean,
        waveform_metrics=rules.unit_waveforms.output.waveform_metrics,
        metrics=rules.unit_metrics.output.metrics,
    output:
        collection=directory("<derived>/{session}/alf/{probe}/{sorter}"),
    log:
        "<logs>/{session}/{probe}/{sorter}/export_alf.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/{sorter}/export_alf.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 1
    resources:
        mem_mb=memory(at_least=4000),
        runtime=minutes(at_least=10),
    params:
        code=code("export_alf"),
    script:
        "../scripts/export_alf.py"


rule export_alf_plane:
    """Write ROIs and activity of one plane as an ALF collection."""
    input:
        info=rules.import_plane.output.info,
        frames=rules.import_plane.output.frames,
        shifts=rules.register_plane.output.shifts,
        images=rules.register_plane.output.images,
        masks=rules.segment_plane.output.masks,
        roi_masks=rules.demix.output.roi_masks,
        neuropil_masks=rules.demix.output.neuropil_masks,
        raw=rules.demix.output.raw,
        neuropil=rules.demix.output.neuropil,
        demixed=rules.demix.output.demixed,
        corrected=rules.neuropil.output.corrected,
        dff=rules.dff.output.dff,
        events=rules.events.output.events,
        rois=rules.label_rois.output.labelled,
    output:
        collection=directory("<derived>/{session}/alf/{plane}"),
    log:
        "<logs>/{session}/{plane}/export_alf_plane.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/export_alf_plane.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 1
    resources:
        mem_mb=traces_memory,
        runtime=minutes(at_least=10, per_gb=5),
    params:
        code=code("export_alf_plane"),
    script:
        "../scripts/export_alf_plane.py"


rule describe_probes:
    """List the probes of a session: name, type, serial number, raw files."""
    output:
        description="<derived>/{session}/alf/probes.description.json",
    log:
        "<logs>/{session}/describe_probes.log",
    benchmark:
        "<benchmarks>/{session}/describe_probes.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        streams=probe_streams,
        code=code("describe_probes"),
    script:
        "../scripts/describe_probes.py"
