"""The fingerprint follows the meaning of the code, not its looks."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def package(tmp_path):
    """Copy the package, so that it can be edited; return a function that fingerprints in it."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")

    def fingerprint(rule):
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path / 'src')!r}); "
            "from sluice.fingerprint import fingerprint; "
            f"print(fingerprint({str(tmp_path / 'workflow/scripts')!r} + '/{rule}.py'))"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout

    return tmp_path, fingerprint


def test_comments_and_docstrings_do_not_count(package):
    folder, fingerprint = package
    before = fingerprint("unit_metrics")
    module = folder / "src/sluice/ephys/unit_metrics.py"
    text = module.read_text()
    module.write_text('"""Another docstring."""\n# a comment\n' + text.split('"""', 2)[2])
    assert fingerprint("unit_metrics") == before


def test_science_counts_for_the_rules_that_use_it(package):
    """An edit deep in the imports changes its users and nobody else."""
    folder, fingerprint = package
    rules = ("unit_metrics", "unit_waveforms", "extract_lfp")
    before = {rule: fingerprint(rule) for rule in rules}
    module = folder / "src/sluice/ephys/unit_waveforms.py"
    module.write_text(module.read_text() + "\n\ndef added():\n    return 1\n")
    after = {rule: fingerprint(rule) for rule in rules}
    assert [r for r in rules if before[r] != after[r]] == ["unit_waveforms"]


def test_how_a_job_runs_does_not_count(package):
    folder, fingerprint = package
    before = fingerprint("unit_metrics")
    for name in ("job", "record", "gpu"):
        module = folder / f"src/sluice/{name}.py"
        module.write_text(module.read_text() + "\nADDED = 1\n")
    assert fingerprint("unit_metrics") == before


def test_the_script_counts(package):
    folder, fingerprint = package
    before = fingerprint("unit_metrics")
    script = folder / "workflow/scripts/unit_metrics.py"
    script.write_text(script.read_text() + "\nprint(1)\n")
    assert fingerprint("unit_metrics") != before
