"""Local field potential, one job per probe.

Needs the raw files and the channel labels and surface of `check_probe`. Promises the
subsampled LFP of every probe in ALF files.
"""


rule extract_lfp:
    """Subsample, high-pass and re-reference the local field potential."""
    input:
        raw=raw_files,
        channels=rules.check_probe.output.channels,
        surface=rules.check_probe.output.surface,
    output:
        data="<derived>/{session}/alf/{probe}/_sluice_lfp.data.npy",
        times="<derived>/{session}/alf/{probe}/_sluice_lfp.times.npy",
        raw_ind="<derived>/{session}/alf/{probe}/_sluice_lfpChannels.rawInd.npy",
        local_coordinates="<derived>/{session}/alf/{probe}/_sluice_lfpChannels.localCoordinates.npy",
        microvolts_per_bit="<derived>/{session}/alf/{probe}/_sluice_lfpChannels.microvoltsPerBit.npy",
        labels="<derived>/{session}/alf/{probe}/_sluice_lfpChannels.labels.npy",
        checks="<work>/{session}/{probe}/extract_lfp/checks.json",
    log:
        "<logs>/{session}/{probe}/extract_lfp.log",
    benchmark:
        "<benchmarks>/{session}/{probe}/extract_lfp.jsonl"
    conda:
        "../../envs/ephys.yaml"
    threads: 2
    resources:
        mem_mb=memory(at_least=2000, per_channel=5),
        runtime=minutes(at_least=10, per_gb=2),
    params:
        stream=stream,
        settings=lookup("ephys/extract_lfp", within=config),
        code=code("extract_lfp"),
    script:
        "../scripts/extract_lfp.py"
