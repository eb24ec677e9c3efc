"""Every way to look at the plan works, from an empty clone and with a session."""

import re

import pytest

STEPS = {
    "check_probe",
    "preprocess_probe",
    "sort_spikes",
    "clean_units",
    "unit_waveforms",
    "unit_metrics",
    "export_alf",
}


def test_an_empty_clone_says_what_to_do(empty_clone):
    done = empty_clone.snakemake("-n")
    assert done.returncode == 0, done.stdout
    assert "lists no session. `sluice scan RAW` fills it" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n",),
        ("-n", "--profile", "slurm"),
        ("-n", "--profile", "profiles/slurm"),
        ("-n", "--profile", "profiles/gpu"),
        ("-n", "--profile", "profiles/local"),
        ("--lint",),
    ],
    ids=" ".join,
)
def test_looks_at_the_plan(lab, arguments):
    done = lab.snakemake(*arguments)
    assert done.returncode == 0, done.stdout


def test_rulegraph_names_every_step(lab):
    done = lab.snakemake("--rulegraph")
    assert done.returncode == 0, done.stdout
    assert "digraph" in done.stdout
    for step in STEPS | {"extract_lfp"}:
        assert f'"{step}"' in done.stdout


def test_targets_of_the_stages(lab):
    assert lab.planned("ephys") - {"ephys"} == STEPS
    assert lab.planned("lfp") - {"lfp"} == {"check_probe", "extract_lfp"}
    assert lab.planned("all") - {"all"} == STEPS | {"extract_lfp", "describe_probes"}
    assert lab.planned() == lab.planned("all")


def test_gpu_profile_gives_the_sorter_a_gpu_and_nothing_else(lab):
    def resources(*arguments):
        out = lab.snakemake("-n", *arguments).stdout
        jobs = out.split("\nrule ")[1:]
        return {j.split(":")[0]: "gpu=1" in j for j in jobs}

    assert not any(resources().values())
    assert [r for r, gpu in resources("--profile", "profiles/gpu").items() if gpu] == [
        "sort_spikes"
    ]


def test_one_session_alone(lab, raw_of_two):
    lab.sluice("scan", raw_of_two, "--overwrite")
    done = lab.snakemake("-n", "--config", "only=M002/2026-11-20/001")
    assert "M002" in done.stdout
    assert "M001" not in done.stdout
    wrong = lab.snakemake("-n", "--config", "only=M003/2026-11-20/001")
    assert wrong.returncode != 0
    assert "only: M003/2026-11-20/001 is not in config/sessions.tsv" in wrong.stdout
    assert "Traceback" not in wrong.stdout


def test_wrong_settings_show_no_traceback(lab):
    lab.configure(ephys={"sort_spikess": {}}, resultz="x")
    done = lab.snakemake("-n")
    assert done.returncode != 0
    assert "2 problem(s) in the settings" in done.stdout
    assert "did you mean 'sort_spikes'?" in done.stdout
    assert "did you mean 'results'?" in done.stdout
    assert "Traceback" not in done.stdout


def test_every_rule_is_complete(lab):
    """Each rule has a docstring, log, benchmark, threads, memory, run time and fingerprint."""
    for path in (lab.folder / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
            for part in (
                '    """',
                "    log:",
                "    benchmark:",
                "    conda:",
                "    threads:",
                "mem_mb=",
                "runtime=",
                "code=code(",
                "    script:",
            ):
                assert part in rule, f"{rule.split(':')[0]} in {path.name} lacks {part}"
