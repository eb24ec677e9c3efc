"""Quality checks: one mechanism for every modality.

A check is a name, a value with its unit, and the thresholds that turn the value into
PASS, WARNING or FAIL. Steps collect their checks in a list and write them with
`save_checks`; the record, the report and the catalogue read the same file.
"""

import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

VERDICTS = ("PASS", "WARNING", "FAIL")


@dataclass(frozen=True)
class Check:
    """One quality check with its verdict.

    Attributes
    ----------
    name : str
        What was measured, e.g. ``bad_channel_fraction``.
    value : float or None
        The measurement; None where it could not be made, which is a WARNING.
    unit : str
        Unit of the value, empty for a ratio or a count.
    verdict : str
        PASS, WARNING or FAIL.
    warning, fail : float
        The thresholds that were used.
    message : str
        One sentence for a person.
    figure : str
        File name of the figure that shows it, beside the checks file; may be empty.
    """

    name: str
    value: float | None
    unit: str
    verdict: str
    warning: float
    fail: float
    message: str = ""
    figure: str = ""


def check(name, value, *, unit="", warning, fail, message="", figure=""):
    """Judge one value against its thresholds.

    The worse side is where `fail` lies: with ``fail > warning`` large values are bad,
    with ``fail < warning`` small ones are. A value equal to a threshold still passes it.

    Parameters
    ----------
    name : str
    value : float or None
        None or NaN gives WARNING: it could not be measured.
    unit : str
    warning, fail : float
        Beyond `warning` the verdict is WARNING, beyond `fail` it is FAIL.
    message, figure : str

    Returns
    -------
    Check
    """
    if value is None or math.isnan(value):
        return Check(name, None, unit, "WARNING", warning, fail, message, figure)
    value = float(value)
    sign = 1 if fail >= warning else -1
    verdict = "PASS"
    if sign * (value - warning) > 0:
        verdict = "WARNING"
    if sign * (value - fail) > 0:
        verdict = "FAIL"
    return Check(name, value, unit, verdict, warning, fail, message, figure)


def worst(checks):
    """Return the worst verdict of a list of checks (PASS for an empty list)."""
    return max((c.verdict for c in checks), key=VERDICTS.index, default="PASS")


def save_checks(checks, path):
    """Write checks as JSON, a list of objects."""
    Path(path).write_text(json.dumps([asdict(c) for c in checks], indent=1) + "\n")


def load_checks(path):
    """Read checks written by `save_checks`."""
    return [Check(**c) for c in json.loads(Path(path).read_text())]


def log_checks(checks):
    """Write a line a check to the log."""
    for one in checks:
        logger.info("%s: %s %s (%s)", one.verdict, one.name, one.value, one.message)
