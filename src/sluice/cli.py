"""The `sluice` command: small helpers around the workflow, which `snakemake` itself runs."""

import argparse
import sys
from pathlib import Path

import yaml

from sluice.errors import UserError


def main(arguments=None):
    """Run one subcommand; a user's mistake ends with a message and exit status 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except UserError as error:
        sys.exit(f"sluice {options.command}: {error}")


def _parser():
    parser = argparse.ArgumentParser(
        prog="sluice",
        description="Helpers around the workflow, which snakemake itself runs.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    scan = commands.add_parser("scan", help="write sessions.tsv and streams.tsv from raw data")
    scan.add_argument("raw", type=Path, help="folder of raw data: <subject>/<date>/<number>/...")
    scan.add_argument("--config-dir", type=Path, default=Path("config"), help="where to write")
    scan.add_argument("--overwrite", action="store_true", help="replace tables that have rows")
    scan.set_defaults(run=_scan)

    status = commands.add_parser("status", help="show how far every session has come")
    status.add_argument("--configfile", type=Path, nargs="+", default=[])
    status.set_defaults(run=_status)

    synth = commands.add_parser("synth", help="make sessions with known truth")
    synth.add_argument("raw", type=Path, help="folder of raw data to make it in")
    synth.add_argument("--subject", default="M001")
    synth.add_argument("--date", default="2026-11-20")
    synth.add_argument("--number", default="001")
    synth.add_argument("--duration", type=float, default=60, help="seconds (60)")
    synth.add_argument("--days", type=int, default=1, help="sessions, one a day (1)")
    synth.add_argument("--channels", type=int, default=48, help="channels of each probe (48)")
    synth.add_argument("--units", type=int, default=10, help="units of each probe (10)")
    synth.add_argument("--probes", type=int, default=1, help="probes of the first session (1)")
    synth.add_argument("--planes", type=int, default=1, help="imaging planes of each session (1)")
    synth.add_argument("--cameras", type=int, default=1, help="cameras of the first session (1)")
    synth.add_argument("--crosstalk", type=float, default=0, help="light of paired planes (0)")
    synth.add_argument(
        "--image-format", default="tiff", help="tiff, scanimage, ome, h5 or nwb (tiff)"
    )
    synth.add_argument("--probe-type", default="NP1.0", help="NP1.0 or NP2.4 (NP1.0)")
    synth.add_argument("--drift", type=float, default=0, help="drift of the tissue in µm (0)")
    synth.add_argument("--seed", type=int, default=0)
    synth.set_defaults(run=_synth)

    compare = commands.add_parser("compare", help="compare results with a made-up session's truth")
    compare.add_argument("raw", type=Path, help="folder of raw data that `sluice synth` made")
    compare.add_argument("--configfile", type=Path, nargs="+", default=[])
    compare.set_defaults(run=_compare)
    return parser


def _load_settings(configfiles):
    """Settings as Snakemake would see them: config/config.yaml, then each file over it."""
    from snakemake.utils import update_config

    from sluice.settings import validate_settings

    config = {}
    for path in [Path("config/config.yaml"), *configfiles]:
        if not path.is_file():
            raise UserError(f"{path}: no such file. Run this in the folder of the workflow.")
        update_config(config, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return validate_settings(config)


def _scan(options):
    from sluice.scan import write_tables

    folder = options.config_dir
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(
        options.raw,
        folder / "sessions.tsv",
        folder / "streams.tsv",
        overwrite=options.overwrite,
    )
    print(f"wrote {folder / 'sessions.tsv'} and {folder / 'streams.tsv'}; next: snakemake -n")


def _status(options):
    from sluice.plan import load_plan
    from sluice.status import format_status

    settings = _load_settings(options.configfile)
    print(format_status(load_plan(settings), settings))


def _synth(options):
    from sluice.synth.days import make_days

    folder = options.raw / options.subject / options.date / options.number
    if folder.exists():
        print(f"{folder} exists; nothing made. Delete it to make it again.")
        return
    folders = make_days(
        options.raw,
        subject=options.subject,
        date=options.date,
        number=options.number,
        seed=options.seed,
        n_days=options.days,
        n_probes=options.probes,
        n_planes=options.planes,
        n_cameras=options.cameras,
        crosstalk=options.crosstalk,
        image_format=options.image_format,
        duration_s=options.duration,
        n_channels=options.channels,
        n_units=options.units,
        probe_type=options.probe_type,
        drift_um=options.drift,
    )
    for folder in folders:
        print(f"made {folder}; its truth is in {folder / 'truth'}")


def _compare(options):
    from sluice.plan import load_plan
    from sluice.synth.compare_all import compare_all

    settings = _load_settings(options.configfile)
    passed, text = compare_all(options.raw, settings, load_plan(settings))
    print(f"{text}\n\nresults: {(Path(settings['results']) / 'derived').resolve()}")
    if not passed:
        raise UserError("the results are not what the truth asks for; see the lines above")


if __name__ == "__main__":
    main()
