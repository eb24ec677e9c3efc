"""What runs again: nothing without a reason, and exactly what a change concerns."""

import json
from pathlib import Path

from lab import SORTERS
from results import hashes

AFTER_SORTING = {"clean_units", "unit_waveforms", "unit_metrics", "export_alf"}
SORTER = {"sort_spikes": {"sorters": SORTERS}}


def test_everything_is_there(finished):
    """A run leaves the promised files, one record a job, and no half-written output."""
    records = finished.results / "derived/M001/2026-11-20/001/_sluice_run.records.jsonl"
    steps = [json.loads(line)["step"] for line in records.read_text().splitlines()]
    assert len(steps) == len(set(steps))
    assert set(steps) == AFTER_SORTING | {
        "check_probe",
        "preprocess_probe",
        "sort_spikes",
        "extract_lfp",
        "describe_probes",
    }
    assert not list(finished.results.rglob(".part-*"))
    assert not list(finished.results.rglob("*.state.json"))
    collection = finished.results / "derived/M001/2026-11-20/001/alf/probe00/spykingcircus2"
    assert (collection / "spikes.times.npy").is_file()
    for rule in steps:
        assert list((finished.results / "logs").rglob(f"{rule}.log")), rule
        assert list((finished.results / "benchmarks").rglob(f"{rule}.jsonl")), rule


def test_a_second_run_does_nothing(finished_copy):
    before = hashes(finished_copy.results)
    assert finished_copy.planned() == set()
    done = finished_copy.run()
    assert "Nothing to be done" in done.stdout
    assert hashes(finished_copy.results) == before


def test_a_changed_setting_reruns_the_steps_that_use_it(finished_copy):
    lab = finished_copy

    def planned(**ephys):
        lab.configure(ephys={**SORTER, **ephys})
        return lab.planned() - {"all", "ephys", "lfp"}

    assert planned() == set()
    assert planned(unit_metrics={"isi_threshold_ms": 2.0}) == {"unit_metrics", "export_alf"}
    assert planned(extract_lfp={"channel_step": 8}) == {"extract_lfp"}
    assert planned(unit_waveforms={"max_spikes": 50}) == {
        "unit_waveforms",
        "unit_metrics",
        "export_alf",
    }
    assert planned(preprocess_probe={"highpass_hz": 300}) == {
        "preprocess_probe",
        "sort_spikes",
        *AFTER_SORTING,
    }
    # a second sorter is added: the first is not sorted again
    lab.configure(ephys={"sort_spikes": {"sorters": {**SORTERS, "simple": {}}}})
    plan = lab.snakemake("-n").stdout
    assert "sorter=simple" in plan
    assert "sorter=spykingcircus2" not in plan
    assert "compare_sorters" in plan


def test_looks_do_not_count_and_science_does(finished_copy):
    """Comments, docstrings and touched files rerun nothing; science reruns its users."""
    lab = finished_copy
    module = lab.folder / "src/sluice/ephys/unit_metrics.py"
    text = module.read_text()
    head, _, rest = text.split('"""', 2)
    module.write_text(f'{head}"""Another docstring."""  # a comment\n{rest}')
    for script in (lab.folder / "workflow/scripts").glob("*.py"):
        script.touch()
    (lab.folder / "src/sluice/job.py").touch()
    assert lab.planned() == set()
    module.write_text(text + "\n\ndef added():\n    return 1\n")
    assert lab.planned() - {"all", "ephys", "lfp"} == {"unit_metrics", "export_alf"}
    module.write_text(text)
    assert lab.planned() == set()


def test_status_of_a_finished_session(finished):
    done = finished.sluice("status")
    assert done.returncode == 0, done.stdout
    header, row = done.stdout.splitlines()[:2]
    assert header.split()[0] == "session"
    assert row.split()[0] == "M001/2026-11-20/001"
    assert set(row.split()[1:]) == {"done"}


def test_traces_can_be_dropped_when_all_is_done(finished_copy):
    """`--delete-temp-output` frees the space; nothing runs again for their absence."""
    lab = finished_copy
    assert lab.snakemake("--delete-temp-output").returncode == 0
    assert not list(Path(lab.results).rglob("traces.bin"))
    assert lab.planned() == set()
