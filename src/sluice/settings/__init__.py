"""Every science setting: type, unit, bounds, default, description.

The one source of `config/config.yaml`'s defaults, of the JSON Schema in
`workflow/schemas/` and of the manual `config/README.md`; a test fails when they drift.
A module per stage. What belongs to the machine (cores, memory, partitions, GPUs) is in
`profiles/`.
"""

import difflib
from typing import get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator

from sluice.errors import SettingsError
from sluice.settings.base import Section
from sluice.settings.ephys import Ephys
from sluice.settings.ophys import Ophys
from sluice.settings.video import Video


class Settings(Section):
    """All settings of the workflow."""

    sessions: str = Field("config/sessions.tsv", description="Table of sessions.")
    streams: str = Field("config/streams.tsv", description="Table of raw recordings.")
    containers: str | None = Field(
        None, description="Table of containers, whose sessions show the same cells."
    )
    results: str = Field("results", description="Folder that everything is written to.")
    only: list[str] = Field(
        [],
        description="Work on these sessions alone, named subject/date/number; all if empty. "
        "`snakemake --config only=M001/2026-11-20/001`.",
    )

    @field_validator("only", mode="before")
    @classmethod
    def _one_session(cls, value):
        """Accept one session as plain text, as `--config only=...` gives it."""
        return [value] if isinstance(value, str) else value

    ephys: Ephys = Ephys()
    ophys: Ophys = Ophys()
    video: Video = Video()


def _fields_at(location):
    """Names of the settings allowed where an unknown key was found."""
    kind = Settings
    for part in location:
        if get_origin(kind) is dict:  # sections by names of the user's own
            kind = get_args(kind)[1]
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        else:
            return []
    is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
    return list(kind.model_fields) if is_section else []


def _describe(error):
    """One line for one of pydantic's errors."""
    *parents, key = error["loc"]
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(parents)
        near = difflib.get_close_matches(str(key), allowed, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"allowed here: {', '.join(allowed)}"
        return f"{name}: is not a setting; {hint}"
    allowed = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict) and error["type"] in ("value_error", "missing"):
        return f"{name}: {allowed}"
    allowed = allowed[0].lower() + allowed[1:]
    return f"{name}: found {error['input']!r}; {allowed}"


def validate_settings(config):
    """Fill in the defaults and report everything that is wrong at once.

    Parameters
    ----------
    config : dict
        Settings as read from YAML; anything left out takes its default.

    Returns
    -------
    dict
        Complete settings as plain Python values.

    Raises
    ------
    SettingsError
        One line for every wrong setting: its name, the value found, what is allowed,
        and the nearest known name for a misspelt key.
    """
    try:
        return Settings.model_validate(config).model_dump(mode="json")
    except ValidationError as error:
        lines = "\n".join(f"  - {_describe(e)}" for e in error.errors())
        raise SettingsError(f"{error.error_count()} problem(s) in the settings:\n{lines}") from None
