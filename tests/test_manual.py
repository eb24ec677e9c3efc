"""Schema and manual follow the settings model."""

import json

import jsonschema
import pytest
import yaml

from sluice import manual
from sluice.settings import validate_settings


def test_nothing_drifted():
    """The files in the repository are what sluice.settings says; `make schemas` mends it."""
    assert manual.SCHEMA.read_text(encoding="utf-8") == manual.schema()
    assert manual.MANUAL.read_text(encoding="utf-8") == manual.manual()


def test_schema_accepts_defaults_and_refuses_unknown_names():
    validator = jsonschema.Draft202012Validator(json.loads(manual.schema()))
    validator.validate(validate_settings({}))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"ehpys": {}})


def test_every_setting_is_in_the_manual():
    """Walk the defaults; each leaf has a row in the section of its parents."""
    text = manual.manual()

    def walk(values, prefix):
        section = text.split(f"\n## `{prefix}`\n")[1] if prefix else text.split("## Top level")[1]
        section = section.split("\n## ")[0]
        for name, value in values.items():
            path = f"{prefix}.{name}".lstrip(".")
            if isinstance(value, dict) and f"\n## `{path}`\n" in text:
                walk(value, path)
            else:
                assert f"| `{name}` |" in section, path

    walk(validate_settings({}), "")


def test_config_files_are_valid():
    for path in (manual.ROOT / "config").glob("*.yaml"):
        validate_settings(yaml.safe_load(path.read_text(encoding="utf-8")))
