"""Two-photon movies, one job per plane; cells matched over the sessions of a container.

Needs the raw movie of a plane as the table of streams names it. Promises ROIs with labels,
their fluorescence, dF/F and events, the checks of the movie, and per container the table of
cells.
"""


rule import_plane:
    """Read one plane's frames, count them against the clock, find missing and saturated ones."""
    input:
        raw=plane_files,
    output:
        movie=temp("<work>/{session}/{plane}/import_plane/movie.bin"),
        info="<work>/{session}/{plane}/import_plane/plane.json",
        frames="<work>/{session}/{plane}/import_plane/frames.pqt",
        checks="<work>/{session}/{plane}/import_plane/checks.json",
    log:
        "<logs>/{session}/{plane}/import_plane.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/import_plane.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=minutes(at_least=10, per_gb=2),
    params:
        stream=plane_stream,
        settings=lookup("ophys/import_plane", within=config),
        code=code("import_plane"),
    script:
        "../scripts/import_plane.py"


# On the CPU unless a profile gives the rule a GPU.
rule register_plane:
    """Undo the motion of the tissue."""
    input:
        movie=rules.import_plane.output.movie,
        info=rules.import_plane.output.info,
        frames=rules.import_plane.output.frames,
    output:
        registered=temp("<work>/{session}/{plane}/register_plane/registered.bin"),
        shifts="<work>/{session}/{plane}/register_plane/shifts.pqt",
        images="<work>/{session}/{plane}/register_plane/images.npz",
        registration="<work>/{session}/{plane}/register_plane/registration.npz",
        checks="<work>/{session}/{plane}/register_plane/checks.json",
        figure=report(
            "<work>/{session}/{plane}/register_plane/register_plane.png",
            caption="../report/register_plane.rst",
            category="Ophys",
            subcategory="{session} {plane}",
            labels={"step": "register_plane"},
        ),
    log:
        "<logs>/{session}/{plane}/register_plane.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/register_plane.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 4
    resources:
        mem_mb=retried(6000),
        runtime=minutes(at_least=30, per_gb=20),
        gpu=0,
    params:
        settings=lookup("ophys/register_plane", within=config),
        code=code("register_plane"),
    script:
        "../scripts/register_plane.py"


# On the CPU unless a profile gives the rule a GPU.
rule segment_plane:
    """Find regions of interest and say how likely each is a soma."""
    input:
        registered=rules.register_plane.output.registered,
        info=rules.import_plane.output.info,
        registration=rules.register_plane.output.registration,
        images=rules.register_plane.output.images,
    output:
        rois="<work>/{session}/{plane}/segment_plane/rois.pqt",
        masks="<work>/{session}/{plane}/segment_plane/masks.npz",
        stat="<work>/{session}/{plane}/segment_plane/stat.npy",
        detection="<work>/{session}/{plane}/segment_plane/detection.npz",
        checks="<work>/{session}/{plane}/segment_plane/checks.json",
        figure=report(
            "<work>/{session}/{plane}/segment_plane/segment_plane.png",
            caption="../report/segment_plane.rst",
            category="Ophys",
            subcategory="{session} {plane}",
            labels={"step": "segment_plane"},
        ),
    log:
        "<logs>/{session}/{plane}/segment_plane.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/segment_plane.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 4
    resources:
        mem_mb=segmentation_memory,
        runtime=minutes(at_least=30, per_gb=20),
        gpu=0,
    params:
        settings=segmentation_settings(),
        code=code("segment_plane"),
    script:
        "../scripts/segment_plane.py"


rule export_suite2p:
    """Keep the plane as suite2p's folder, for its GUI and for what reads it."""
    input:
        registered=rules.register_plane.output.registered,
        info=rules.import_plane.output.info,
        images=rules.register_plane.output.images,
        registration=rules.register_plane.output.registration,
        detection=rules.segment_plane.output.detection,
        rois=rules.segment_plane.output.rois,
        stat=rules.segment_plane.output.stat,
    output:
        folder=directory("<work>/{session}/{plane}/export_suite2p/suite2p"),
    log:
        "<logs>/{session}/{plane}/export_suite2p.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/export_suite2p.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 4
    resources:
        mem_mb=retried(8000),
        runtime=minutes(at_least=30, per_gb=10),
        gpu=0,
    params:
        settings=segmentation_settings(),
        register_settings=lookup("ophys/register_plane", within=config),
        code=code("export_suite2p"),
    script:
        "../scripts/export_suite2p.py"


rule demix:
    """Take the fluorescence of ROIs and neuropil, and separate overlapping ROIs."""
    input:
        registered=rules.register_plane.output.registered,
        info=rules.import_plane.output.info,
        frames=rules.import_plane.output.frames,
        shifts=rules.register_plane.output.shifts,
        masks=rules.segment_plane.output.masks,
        paired=paired_for_demixing,
    output:
        raw="<work>/{session}/{plane}/demix/raw.npy",
        neuropil="<work>/{session}/{plane}/demix/neuropil.npy",
        demixed="<work>/{session}/{plane}/demix/demixed.npy",
        roi_masks="<work>/{session}/{plane}/demix/roi_masks.npz",
        neuropil_masks="<work>/{session}/{plane}/demix/neuropil_masks.npz",
        rois="<work>/{session}/{plane}/demix/rois.pqt",
        checks="<work>/{session}/{plane}/demix/checks.json",
    log:
        "<logs>/{session}/{plane}/demix.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/demix.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 2
    resources:
        mem_mb=retried(6000),
        runtime=minutes(at_least=10, per_gb=5),
    params:
        settings=lookup("ophys/demix", within=config),
        code=code("demix"),
    script:
        "../scripts/demix.py"


rule neuropil:
    """Estimate how much neuropil contaminates each ROI and subtract it."""
    input:
        demixed=rules.demix.output.demixed,
        neuropil=rules.demix.output.neuropil,
        info=rules.import_plane.output.info,
    output:
        corrected="<work>/{session}/{plane}/neuropil/corrected.npy",
        rois="<work>/{session}/{plane}/neuropil/rois.pqt",
        checks="<work>/{session}/{plane}/neuropil/checks.json",
    log:
        "<logs>/{session}/{plane}/neuropil.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/neuropil.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 2
    resources:
        mem_mb=traces_memory,
        runtime=minutes(at_least=10, per_gb=10),
    params:
        settings=lookup("ophys/neuropil", within=config),
        code=code("neuropil"),
    script:
        "../scripts/neuropil.py"


rule dff:
    """Fluorescence relative to its baseline."""
    input:
        corrected=rules.neuropil.output.corrected,
        info=rules.import_plane.output.info,
    output:
        dff="<work>/{session}/{plane}/dff/dff.npy",
        baseline="<work>/{session}/{plane}/dff/baseline.npy",
        rois="<work>/{session}/{plane}/dff/rois.pqt",
        checks="<work>/{session}/{plane}/dff/checks.json",
    log:
        "<logs>/{session}/{plane}/dff.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/dff.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 2
    resources:
        mem_mb=traces_memory,
        runtime=minutes(at_least=10, per_gb=60),
    params:
        settings=lookup("ophys/dff", within=config),
        code=code("dff"),
    script:
        "../scripts/dff.py"


rule events:
    """Calcium events: when and how strongly each ROI was active."""
    input:
        dff=rules.dff.output.dff,
        info=rules.import_plane.output.info,
    output:
        events="<work>/{session}/{plane}/events/events.npy",
        rois="<work>/{session}/{plane}/events/rois.pqt",
        checks="<work>/{session}/{plane}/events/checks.json",
    log:
        "<logs>/{session}/{plane}/events.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/events.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 2
    resources:
        mem_mb=traces_memory,
        runtime=minutes(at_least=20, per_gb=120),
    params:
        settings=lookup("ophys/events", within=config),
        code=code("events"),
    script:
        "../scripts/events.py"


rule label_rois:
    """Tell somata from the rest, and say which ROIs should not be analysed and why."""
    input:
        rois=rules.segment_plane.output.rois,
        demix=rules.demix.output.rois,
        neuropil=rules.neuropil.output.rois,
        dff=rules.dff.output.rois,
        events=rules.events.output.rois,
    output:
        labelled="<work>/{session}/{plane}/label_rois/rois.pqt",
        checks="<work>/{session}/{plane}/label_rois/checks.json",
    log:
        "<logs>/{session}/{plane}/label_rois.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/label_rois.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 1
    resources:
        mem_mb=retried(2000),
        runtime=10,
    params:
        settings=lookup("ophys/label_rois", within=config),
        code=code("label_rois"),
    script:
        "../scripts/label_rois.py"


rule plane_qc:
    """Measure brightness, photons, drift in depth, epileptiform events and crosstalk."""
    input:
        movie=rules.import_plane.output.movie,
        registered=rules.register_plane.output.registered,
        info=rules.import_plane.output.info,
        frames=rules.import_plane.output.frames,
        shifts=rules.register_plane.output.shifts,
        images=rules.register_plane.output.images,
        registration=rules.register_plane.output.registration,
        masks=rules.segment_plane.output.masks,
        dff=rules.dff.output.dff,
        z_stack=z_stack_files,
        paired=paired_plane,
    output:
        checks="<work>/{session}/{plane}/plane_qc/checks.json",
        metrics="<work>/{session}/{plane}/plane_qc/metrics.json",
        figure=report(
            "<work>/{session}/{plane}/plane_qc/plane_qc.png",
            caption="../report/plane_qc.rst",
            category="Ophys",
            subcategory="{session} {plane}",
            labels={"step": "plane_qc"},
        ),
    log:
        "<logs>/{session}/{plane}/plane_qc.log",
    benchmark:
        "<benchmarks>/{session}/{plane}/plane_qc.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 1
    resources:
        mem_mb=retried(4000),
        runtime=minutes(at_least=10, per_gb=2),
    params:
        stream=plane_stream,
        settings=lookup("ophys/plane_qc", within=config),
        code=code("plane_qc"),
    script:
        "../scripts/plane_qc.py"


rule match_cells:
    """Find the same cells in the sessions of a container."""
    input:
        info=members(rules.import_plane.output.info),
        images=members(rules.register_plane.output.images),
        masks=members(rules.segment_plane.output.masks),
        rois=members(rules.label_rois.output.labelled),
    output:
        cells="<derived>/containers/{container}/_sluice_cells.table.pqt",
        pairs="<derived>/containers/{container}/_sluice_cells.pairs.pqt",
        transforms="<work>/containers/{container}/match_cells/transforms.json",
        checks="<work>/containers/{container}/match_cells/checks.json",
        figure=report(
            "<work>/containers/{container}/match_cells/match_cells.png",
            caption="../report/match_cells.rst",
            category="Ophys",
            subcategory="{container}",
            labels={"step": "match_cells"},
        ),
    log:
        "<logs>/containers/{container}/match_cells.log",
    benchmark:
        "<benchmarks>/containers/{container}/match_cells.jsonl"
    conda:
        "../../envs/ophys.yaml"
    threads: 2
    resources:
        mem_mb=retried(4000),
        runtime=60,
    params:
        members=lambda wildcards: plan.containers[wildcards.container],
        settings=lookup("ophys/match_cells", within=config),
        code=code("match_cells"),
    script:
        "../scripts/match_cells.py"
