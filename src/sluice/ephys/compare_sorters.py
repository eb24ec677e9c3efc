"""How far the sorters of one probe agree, unit by unit."""

import numpy as np
import pandas as pd

from sluice.ephys.traces import load_traces_info
from sluice.errors import InputError


def agreement(spikes, other_spikes, *, window_samples):
    """Compute the agreement of each unit of one sorting with each of another.

    Parameters
    ----------
    spikes, other_spikes : DataFrame
        ``sample``, ascending, and ``unit``.
    window_samples : int
        Spikes this close, inclusive, are the same spike; each is used once.

    Returns
    -------
    DataFrame of float, one row a unit, one column a unit of the other sorting
        Spikes in common divided by all spikes of the two: n / (n1 + n2 - n), from 0 to 1
        (SpikeInterface, ``make_agreement_scores``, the symmetric form).
    """
    from spikeinterface.comparison.comparisontools import make_agreement_scores
    from spikeinterface.core import NumpySorting

    sortings = [
        NumpySorting.from_samples_and_labels(
            [table["sample"].to_numpy(np.int64)], [table["unit"].to_numpy()], 1.0
        )
        for table in (spikes, other_spikes)
    ]
    if min(len(spikes), len(other_spikes)) == 0:
        return pd.DataFrame(0.0, index=sortings[0].unit_ids, columns=sortings[1].unit_ids)
    return make_agreement_scores(*sortings, window_samples)


def compare_sorters(sortings, *, window_samples):
    """Find for each unit of each sorter the unit of each other sorter that agrees most.

    Parameters
    ----------
    sortings : dict of str to DataFrame
        Sorter to its spikes: ``sample``, ascending, and ``unit``.
    window_samples : int
        See `agreement`.

    Returns
    -------
    DataFrame
        One row a unit of a sorter: ``sorter``, ``unit``, ``n_spikes``, and for each sorter
        ``unit_<sorter>`` (Int64) and ``agreement_<sorter>``; empty for the sorter itself
        and where no unit of the other has a spike in common. Of units that agree equally
        the first.
    """
    tables = []
    for sorter, spikes in sortings.items():
        counts = spikes["unit"].value_counts().sort_index()
        table = pd.DataFrame({"sorter": sorter, "unit": counts.index, "n_spikes": counts.values})
        for other, other_spikes in sortings.items():
            best = pd.Series(pd.NA, index=range(len(table)), dtype="Int64")
            score = pd.Series(np.nan, index=range(len(table)))
            if other != sorter and len(other_spikes):
                scores = agreement(spikes, other_spikes, window_samples=window_samples)
                scores = scores.loc[counts.index]
                found = scores.to_numpy().max(axis=1, initial=0) > 0
                best[found] = scores.columns.to_numpy()[scores.to_numpy().argmax(axis=1)][found]
                score[found] = scores.to_numpy().max(axis=1)[found]
            table[f"unit_{other}"] = best
            table[f"agreement_{other}"] = score.round(6)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def compare_sorters_file(*, sortings, info, table, settings):
    """Write the agreement of the sorters of one probe.

    Parameters
    ----------
    sortings : dict of str to path
        Sorter to its ``spikes.pqt``.
    info : path
        ``traces.json`` of the preprocessed probe, for the sampling rate.
    table : path
        Written: TSV, see `compare_sorters`.
    settings : dict
        Section ``ephys.compare_sorters``.

    Raises
    ------
    InputError
        Fewer than two sorters.
    """
    if len(sortings) < 2:
        raise InputError(
            f"compare_sorters: found {len(sortings)} sorter(s), needs two or more; list them in "
            "ephys.sort_spikes.sorters"
        )
    rate_hz = load_traces_info(info).sampling_rate_hz
    spikes = {
        name: pd.read_parquet(path, columns=["sample", "unit"]) for name, path in sortings.items()
    }
    window_samples = round(settings["window_ms"] * rate_hz / 1000)
    compare_sorters(spikes, window_samples=window_samples).to_csv(table, sep="\t", index=False)
