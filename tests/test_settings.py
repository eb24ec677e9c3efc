"""Settings: defaults, every mistake at once, names that are nearly right."""

import pytest

from sluice.errors import SettingsError
from sluice.settings import validate_settings


def test_defaults_fill_in():
    """An empty file is a complete configuration, and defaults validate to themselves."""
    settings = validate_settings({})
    assert settings["results"] == "results"
    assert settings["ephys"]["sort_spikes"]["sorters"] == {"kilosort4": {}}
    assert validate_settings(settings) == settings


def test_every_mistake_is_reported_at_once():
    """Name, value found, what is allowed, and the nearest known name."""
    with pytest.raises(SettingsError) as error:
        validate_settings(
            {
                "ehpys": {},
                "results": 3,
                "ephys": {
                    "sort_spikes": {"sorterz": {}},
                    "unit_waveforms": {"ms_before": -1},
                },
            }
        )
    text = str(error.value)
    assert "4 problem(s)" in text
    assert "ehpys: is not a setting; did you mean 'ephys'?" in text
    assert "ephys.sort_spikes.sorterz: is not a setting; did you mean 'sorters'?" in text
    assert "results: found 3; input should be a valid string" in text
    assert "ephys.unit_waveforms.ms_before: found -1; input should be greater than" in text


def test_one_session_as_plain_text():
    """`--config only=...` gives text, not a list."""
    assert validate_settings({"only": "M001/2026-11-20/001"})["only"] == ["M001/2026-11-20/001"]


def test_no_sorter_is_an_error():
    with pytest.raises(SettingsError, match=r"sorters: found \{\}"):
        validate_settings({"ephys": {"sort_spikes": {"sorters": {}}}})
