"""The JSON Schema and the manual of the settings, generated from `sluice.settings`.

``python -m sluice.manual`` writes both; a test fails when they drift.
"""

import json
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from sluice.settings import Settings

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
MANUAL = ROOT / "config" / "README.md"

INTRODUCTION = """\
# Settings

Generated from `src/sluice/settings/` by `make schemas`; do not edit by hand.

`config.yaml` holds only what differs from the defaults below. A dot means nesting:
`ephys.check_probe` is

```yaml
ephys:
  check_probe:
```

Unknown names, wrong types and values out of bounds are reported all at once before
anything runs. A changed setting makes exactly the steps run again that use it. Cores,
memory, run time, partitions and GPUs are not settings: they are in `profiles/`.

## Tables

`sluice scan RAW` writes both tables; any layout can be written by hand. Columns are
separated by tabs.

`sessions.tsv`, one row a session: `subject`, `date` (YYYY-MM-DD), `number` (three
digits), and what else is known: `start_time` with its zone, `species`, `sex`, `age`,
`date_of_birth`.

`streams.tsv`, one row a raw recording: `session` (subject/date/number), `kind` (`probe`,
`plane` or `camera`), `name` (`probe00`, `FOV_00`, `leftCamera`), `path`, `format`, and by kind:

- `probe`: `format` is `spikeglx`, `openephys` or `binary`; `stream_id` (Open Ephys), `serial`
  of the probe, and for a flat binary, whose file does not say, `sampling_rate_hz`,
  `n_channels`, `dtype`, `gain_uv` (µV per bit) and `geometry`: the path of a probeinterface
  file, or the contacts as `x,y` in µm separated by spaces (`x,y,shank` for several shanks).
- `plane`, one imaging plane: `format` is `tiff` (plain, ScanImage, OME), `h5` or `nwb`; `plane`
  of `n_planes` and `channel` of `n_channels`, interleaved and counted from 0;
  `sampling_rate_hz` of this plane, `um_per_pixel`, `indicator` (or its `decay_s`), `dataset`
  in an HDF5 or NWB file, `frame_times` (file of the frame clock), `z_stack` with `z_step_um`,
  `paired_with` (name of the plane recorded simultaneously). What is left empty is taken from
  `imaging.json` beside the movie, then from the movie's own metadata; a rate is never assumed.
- `camera`, one behaviour video: `format` is `video` (whatever ffmpeg reads); `sampling_rate_hz`
  where the header's is wrong; and what its frames are timed by: `frame_times` (found elsewhere),
  or `ttl` with `ttl_line` and `ttl_edge` (the camera's exposures on the DAQ), `timestamps`,
  `frame_counter`, `gpio` with `gpio_pin`, `frame_data` (the camera's own), `gpio_pulses` with
  `gpio_line` (what the pin saw, on the DAQ); `wheel`, to compare motion with. See `docs/video.md`.

`containers.tsv`, where the setting `containers` names one: `container`, `session`, `plane`, one
row for each plane that shows the same cells as the other rows of its container. New sessions
are added at the end: cells keep their names.

## imaging.json

Beside the movie of one field of view; all keys are optional where the movie says the same:
`frame_rate_hz` (of one plane), `n_planes` (interleaved, flyback counted), `n_channels`,
`functional_channel`, `flyback_planes` (list), `um_per_pixel`, `indicator`, `decay_s`,
`depths_um`, `dataset`, `frame_times`, `z_stack`, `z_step_um`, `paired_planes` (pairs recorded
simultaneously), `files` (order of the files, if not that of their names).

## cameras.json

In `raw_video_data/`; one entry a camera with what no file says, paths from this folder:
`{"leftCamera": {"ttl": "../raw_ephys_data/run_g0_t0.nidq.bin", "ttl_line": 4}}`. Keys are the
columns of a camera above.
"""


def schema():
    """JSON Schema of the settings (draft 2020-12), as text."""
    content = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Settings.model_json_schema(),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def manual():
    """Render the manual of the settings as Markdown."""
    return INTRODUCTION + "".join(_section(Settings, "")) + "\n"


def _section(model, prefix):
    """Yield the heading and table of one section, then its subsections."""
    subsections = {n: f.annotation for n, f in model.model_fields.items() if _is_model(f)}
    named = {n: m for n, f in model.model_fields.items() if (m := _model_of_dict(f))}
    plain = {n: f for n, f in model.model_fields.items() if n not in subsections}
    yield f"\n## {f'`{prefix}`' if prefix else 'Top level'}\n\n{model.__doc__.strip()}\n"
    if plain:
        yield "\n| setting | default | allowed | meaning |\n|---|---|---|---|\n"
        properties = model.model_json_schema()["properties"]
        for name, field in plain.items():
            default = json.dumps(properties[name].get("default"), ensure_ascii=False)
            allowed = _allowed(properties[name], model.model_json_schema().get("$defs", {}))
            description = " ".join((field.description or "").split()).replace("|", "\\|")
            yield f"| `{name}` | `{default}` | {allowed} | {description} |\n"
    for name, submodel in subsections.items():
        yield from _section(submodel, f"{prefix}.{name}".lstrip("."))
    for name, submodel in named.items():
        yield from _section(submodel, f"{prefix}.{name}.<name>")


def _model_of_dict(field):
    """Section that a setting holds several of, by name; None for any other setting."""
    _, *arguments = [*get_args(field.annotation), None]
    model = arguments[0] if arguments else None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _is_model(field):
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _allowed(schema, definitions):
    """Allowed values of one setting, in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(s, definitions) for s in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{v}`" for v in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        return _allowed(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    words = schema.get("type", "any").replace("null", "nothing")
    bounds = [
        f"{sign} {schema[key]:g}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in schema
    ]
    return " ".join([words, ", ".join(bounds)]).strip()


def main():
    """Write schema and manual into the checkout."""
    SCHEMA.write_text(schema(), encoding="utf-8")
    MANUAL.write_text(manual(), encoding="utf-8")


if __name__ == "__main__":
    main()
