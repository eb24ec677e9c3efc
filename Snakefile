"""The front door: settings, tables, stages, targets."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

# Scripts inherit this search path, under conda too.
sys.path.insert(0, str(Path(workflow.basedir) / "src"))


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


pathvars:
    results=config["results"],
    work="<results>/work",
    derived="<results>/derived",
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


include: "workflow/rules/ephys.smk"
include: "workflow/rules/lfp.smk"
include: "workflow/rules/ophys.smk"
include: "workflow/rules/video.smk"
include: "workflow/rules/export.smk"


localrules:
    describe_probes,


rule all:
    """Everything the settings ask for."""
    default_target: True
    input:
        unit_collections,
        lfp_files,
        descriptions,
        plane_collections,
        container_tables,
        camera_results,


rule ephys:
    """Sorted, cleaned and measured units of every probe, in ALF files."""
    input:
        unit_collections,


rule lfp:
    """Local field potential of every probe, in ALF files."""
    input:
        lfp_files,


rule ophys:
    """ROIs, dF/F and events of every imaging plane, and cells matched over sessions."""
    input:
        plane_collections,
        container_tables,


rule video:
    """Small videos, frame times, keypoints, pupil and motion energy of every camera."""
    input:
        camera_results,
