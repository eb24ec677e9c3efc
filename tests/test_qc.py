"""Checks: the side of the thresholds, equality, and what could not be measured."""

import pytest

from sluice.qc import check, load_checks, save_checks, worst


@pytest.mark.parametrize(
    ("value", "warning", "fail", "verdict"),
    [
        (1, 2, 3, "PASS"),
        (2, 2, 3, "PASS"),
        (2.5, 2, 3, "WARNING"),
        (3, 2, 3, "WARNING"),
        (4, 2, 3, "FAIL"),
        (4, 3, 2, "PASS"),
        (2.5, 3, 2, "WARNING"),
        (1, 3, 2, "FAIL"),
        (None, 3, 2, "WARNING"),
        (float("nan"), 3, 2, "WARNING"),
        (0, 0, 0, "PASS"),
        (1, 0, 0, "FAIL"),
    ],
)
def test_verdict(value, warning, fail, verdict):
    assert check("x", value, warning=warning, fail=fail).verdict == verdict


def test_checks_survive_the_file(tmp_path):
    checks = [
        check("a", 1.5, unit="µV", warning=1, fail=2, message="too loud"),
        check("b", None, warning=1, fail=2),
    ]
    save_checks(checks, tmp_path / "checks.json")
    assert load_checks(tmp_path / "checks.json") == checks
    assert worst(checks) == "WARNING"
    assert worst([]) == "PASS"
