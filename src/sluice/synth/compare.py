"""Compares what the workflow made of a made-up session with the truth."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numba import njit
from scipy.optimize import linear_sum_assignment

from sluice.errors import InputError

# what the demo asks for
GOOD_SNR = 5.0
GOOD_ACCURACY = 0.9
GOOD_FRACTION = 0.9
SURFACE_CHANNELS = 5
# IBL's numbers in the column `label` of the table of channels
_DEAD, _NOISY = 1, 2


@dataclass(frozen=True)
class Comparison:
    """How one sorter's results on a session agree with the truth.

    Attributes
    ----------
    session, sorter : str
    units : DataFrame
        One row a true unit: `probe`, the columns of ``units.tsv``, and those of `match_units`.
    probes : DataFrame
        One row a probe: `probe`, `n_found` (units the sorter gave), `dead_missed`,
        `noisy_missed`, `bad_wrong` (lists of channels: not labelled so; labelled dead or
        noisy but neither), `surface_error` (channels, the largest of the shanks, NaN where
        one was not found or none should have been).
    summary : dict
        ``n_units`` and ``n_good`` (units above SNR 5, and those of them with accuracy >= 0.9),
        ``fraction_good``, ``bad_channels_right``, ``surface_error`` (largest, channels) and
        ``passed``.
    """

    session: str
    sorter: str
    units: pd.DataFrame
    probes: pd.DataFrame
    summary: dict


def match_units(truth_spikes, found_spikes, sampling_rate_hz, tolerance_ms=0.4):
    """Match true units with found ones, one to one, so that agreement is largest overall.

    Two spikes match when they are at most `tolerance_ms` apart, each with one other. The
    agreement of two units is accuracy = TP / (TP + FN + FP), as in SpikeForest and
    SpikeInterface; the assignment maximises its sum.

    Parameters
    ----------
    truth_spikes, found_spikes : DataFrame
        Columns `sample` and `unit`, any order.
    sampling_rate_hz, tolerance_ms : float

    Returns
    -------
    DataFrame
        One row a true unit, ascending: `unit`, `found_unit` (-1 where none was left or agrees
        in no spike), `n_true`, `n_found` (spikes of the found unit), `n_matched`,
        `accuracy`, `recall`, `precision` (0 where none is assigned).
    """
    truth, found = _trains(truth_spikes), _trains(found_spikes)
    tolerance = round(tolerance_ms * 1e-3 * sampling_rate_hz)
    matched = np.zeros((len(truth), len(found)), np.int64)
    for i, true_train in enumerate(truth.values()):
        for j, found_train in enumerate(found.values()):
            matched[i, j] = count_matches(true_train, found_train, tolerance)
    n_true = np.array([train.size for train in truth.values()], np.int64)
    n_found = np.array([train.size for train in found.values()], np.int64)
    union = n_true[:, None] + n_found - matched
    accuracy = matched / np.maximum(union, 1)
    table = pd.DataFrame({"unit": np.array(list(truth), np.int64), "found_unit": -1})
    table["n_true"] = n_true
    table[["n_found", "n_matched"]] = 0
    found_ids = np.array(list(found), np.int64)
    for i, j in zip(*linear_sum_assignment(accuracy, maximize=True), strict=True):
        if matched[i, j]:
            table.loc[i, "found_unit"] = found_ids[j]
            table.loc[i, "n_found"] = n_found[j]
            table.loc[i, "n_matched"] = matched[i, j]
    wrong = table.n_true + table.n_found - table.n_matched
    table["accuracy"] = table.n_matched / np.maximum(wrong, 1)
    table["recall"] = table.n_matched / np.maximum(table.n_true, 1)
    table["precision"] = table.n_matched / np.maximum(table.n_found, 1)
    return table


@njit(cache=True, nogil=True)
def count_matches(first, second, tolerance):
    """Count the pairs of spikes at most `tolerance` apart, no spike in two pairs.

    Taking the earliest possible partner for each spike in turn gives the largest number.

    Parameters
    ----------
    first, second : int64 array
        Ascending samples.
    tolerance : int

    Returns
    -------
    int
    """
    i = j = count = 0
    while i < first.size and j < second.size:
        apart = second[j] - first[i]
        if apart > tolerance:
            i += 1
        elif apart < -tolerance:
            j += 1
        else:
            count += 1
            i += 1
            j += 1
    return count


def compare_session(raw, results, session, sorter):
    """Compare a session's results with its truth.

    Parameters
    ----------
    raw : Path
        Folder that `make_session` wrote to; the truth is read from
        ``<raw>/<session>/truth/<probe>/``.
    results : Path
        Read are ``derived/<session>/alf/<probe>/<sorter>/spikes.{samples,clusters}.npy`` and
        ``work/<session>/<probe>/check_probe/{channels.tsv,surface.json}``.
    session : str
        ``subject/date/number``.
    sorter : str

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        A file is missing: the session is not a made-up one, or the workflow has not
        finished it.
    """
    truth_folder = Path(raw) / session / "truth"
    probes = sorted(path.name for path in truth_folder.glob("probe*"))
    if not probes:
        raise InputError(
            f"{truth_folder}: no truth found; only sessions made by `sluice synth` can be compared"
        )
    units, rows = [], []
    for probe in probes:
        truth = json.loads(_existing(truth_folder / probe / "truth.json").read_text())
        alf = Path(results) / "derived" / session / "alf" / probe / sorter
        found = pd.DataFrame(
            {
                "sample": np.load(_existing(alf / "spikes.samples.npy")),
                "unit": np.load(_existing(alf / "spikes.clusters.npy")),
            }
        )
        spikes = pd.read_parquet(_existing(truth_folder / probe / "spikes.pqt"))
        table = pd.read_csv(_existing(truth_folder / probe / "units.tsv"), sep="\t")
        matches = match_units(spikes, found, truth["sampling_rate_hz"])
        # a true unit without a spike in the recording, which can be neither found nor missed,
        # is in `table` only and is left out
        units.append(table.merge(matches, on="unit").assign(probe=probe))
        check = Path(results) / "work" / session / probe / "check_probe"
        channels = pd.read_csv(_existing(check / "channels.tsv"), sep="\t")
        surface = json.loads(_existing(check / "surface.json").read_text())
        rows.append(
            {
                "probe": probe,
                "n_found": found.unit.nunique(),
                **compare_bad_channels(truth, channels.label.to_numpy()),
                "surface_error": surface_error(truth["shanks"], surface["shanks"], channels),
            }
        )
    units = pd.concat(units, ignore_index=True)
    probes = pd.DataFrame(rows)
    return Comparison(session, sorter, units, probes, summarise(units, probes))


def compare_bad_channels(truth, labels):
    """Compare labels of channels with the planted bad channels.

    Parameters
    ----------
    truth : dict
        Lists of channels `dead`, `noisy` and `reference`, as in ``truth.json``.
    labels : int array, shape (n_channels,)
        0 good, 1 dead, 2 noisy, 3 outside the brain. How a reference contact is labelled
        does not matter.

    Returns
    -------
    dict
        ``dead_missed``, ``noisy_missed``, ``bad_wrong``: lists of channels.
    """
    bad = set(np.flatnonzero((labels == _DEAD) | (labels == _NOISY)).tolist())
    return {
        "dead_missed": [c for c in truth["dead"] if labels[c] != _DEAD],
        "noisy_missed": [c for c in truth["noisy"] if labels[c] != _NOISY],
        "bad_wrong": sorted(bad - {*truth["dead"], *truth["noisy"], *truth["reference"]}),
    }


def surface_error(true_shanks, found_shanks, channels):
    """Count the channels between the true surface and the one found.

    Parameters
    ----------
    true_shanks, found_shanks : list of dict
        ``shank`` and ``surface_y_um`` (of the highest contacts inside the brain, None where no
        channel is outside), as in ``surface.json``.
    channels : DataFrame
        Columns `shank` and `y_um`.

    Returns
    -------
    float
        The largest number of channels of a shank between the two; NaN where a surface was
        not found, or found where there is none.
    """
    found = {entry["shank"]: entry["surface_y_um"] for entry in found_shanks}
    errors = []
    for entry in true_shanks:
        true_um, found_um = entry["surface_y_um"], found.get(entry["shank"])
        if true_um is None and found_um is None:
            errors.append(0)
        elif true_um is None or found_um is None:
            return np.nan
        else:
            y_um = channels.y_um[channels.shank == entry["shank"]]
            low, high = sorted([true_um, found_um])
            errors.append(int(((y_um > low) & (y_um <= high)).sum()))
    return float(max(errors))


def summarise(units, probes):
    """Put the comparison into numbers; see `Comparison.summary`."""
    strong = units[units.snr > GOOD_SNR]
    n_good = int((strong.accuracy >= GOOD_ACCURACY).sum())
    fraction = n_good / len(strong) if len(strong) else np.nan
    lists = probes[["dead_missed", "noisy_missed", "bad_wrong"]]
    right = not any(len(entry) for entry in lists.to_numpy().ravel())
    # NaN, a surface missed or made up, must not vanish in the maximum
    error = float(probes.surface_error.max(skipna=False))
    return {
        "n_units": len(strong),
        "n_good": n_good,
        "fraction_good": fraction,
        "bad_channels_right": right,
        "surface_error": error,
        "passed": bool(fraction >= GOOD_FRACTION and right and error <= SURFACE_CHANNELS),
    }


def format_comparison(comparison):
    """Write a comparison for a person.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
        Several lines, without a newline at the end.
    """
    summary = comparison.summary
    lines = [f"{comparison.session}, {comparison.sorter}, against the truth:", ""]
    columns = ["probe", "unit", "peak_channel", "snr", "n_spikes", "found_unit", "accuracy"]
    table = comparison.units[columns].round({"snr": 1, "accuracy": 3})
    lines += ["  " + row for row in table.to_string(index=False).splitlines()]
    lines.append("")
    lines.append(
        f"  {summary['n_good']} of {summary['n_units']} units with SNR > {GOOD_SNR:g} found with "
        f"accuracy >= {GOOD_ACCURACY:g} (asked for: {GOOD_FRACTION:.0%})"
    )
    for row in comparison.probes.itertuples():
        lines.append(f"  {row.probe}: {row.n_found} units found; {_channels_text(row)}")
        lines.append(f"  {row.probe}: {_surface_text(row.surface_error)}")
    lines.append("  " + ("as it should be" if summary["passed"] else "NOT as it should be"))
    return "\n".join(lines)


def _channels_text(row):
    parts = [
        f"{name} {', '.join(map(str, channels))}"
        for name, channels in (
            ("dead channels missed:", row.dead_missed),
            ("noisy channels missed:", row.noisy_missed),
            ("channels wrongly called bad:", row.bad_wrong),
        )
        if channels
    ]
    return "; ".join(parts) or "bad channels right"


def _surface_text(error):
    if np.isnan(error):
        return "brain surface not found, or found where there is none"
    return f"brain surface {error:g} channels off (asked for: at most {SURFACE_CHANNELS})"


def _trains(spikes):
    """Sort samples by unit: a dict of unit to ascending samples."""
    samples = spikes["sample"].to_numpy().astype(np.int64)
    units = spikes["unit"].to_numpy()
    order = np.lexsort((samples, units))
    ids, first = np.unique(units[order], return_index=True)
    return dict(zip(ids.tolist(), np.split(samples[order], first[1:]), strict=False))


def _existing(path):
    if not path.is_file():
        raise InputError(
            f"{path}: not found. Is this a session made by `sluice synth`, and has the workflow "
            "finished it?"
        )
    return path
