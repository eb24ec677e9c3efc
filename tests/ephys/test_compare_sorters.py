"""Agreement of sorters, on trains whose agreement is counted by hand."""

import numpy as np
import pandas as pd
import pytest
from ephys.planted_spikes import channel_table, save_traces

from sluice.ephys.compare_sorters import agreement, compare_sorters, compare_sorters_file
from sluice.errors import InputError
from sluice.settings import validate_settings

SETTINGS = validate_settings({})["ephys"]["compare_sorters"]


def sorting(**trains):
    """Spikes from ``u<unit>=[samples]``."""
    table = pd.DataFrame(
        [(sample, int(unit[1:])) for unit, train in trains.items() for sample in train],
        columns=["sample", "unit"],
    ).astype({"sample": np.int64, "unit": np.int32})
    return table.sort_values("sample", kind="stable", ignore_index=True)


A = sorting(u1=[100, 200, 300, 400], u5=[1000, 2000, 3000], u8=[7777])
B = sorting(u0=[101, 199, 300, 5000], u3=[1000, 2010, 3000], u4=[102])


def test_agreement():
    scores = agreement(A, B, window_samples=2)
    assert scores.loc[1, 0] == pytest.approx(3 / 5)  # 3 of 4 and 4 in common
    assert scores.loc[5, 3] == pytest.approx(2 / 4)  # 10 samples apart is another spike
    assert scores.loc[1, 4] == pytest.approx(1 / 4)  # 2 samples apart is the same spike
    assert scores.loc[8].max() == 0
    pd.testing.assert_frame_equal(scores.T, agreement(B, A, window_samples=2))


def test_best_units():
    C = sorting(u9=[100, 200, 300, 400])  # noqa: N806
    table = compare_sorters({"a": A, "b": B, "c": C}, window_samples=2)
    assert table.columns.tolist() == [
        "sorter",
        "unit",
        "n_spikes",
        *("unit_a", "agreement_a", "unit_b", "agreement_b", "unit_c", "agreement_c"),
    ]
    assert list(zip(table["sorter"], table["unit"], table["n_spikes"], strict=True)) == [
        ("a", 1, 4),
        ("a", 5, 3),
        ("a", 8, 1),
        ("b", 0, 4),
        ("b", 3, 3),
        ("b", 4, 1),
        ("c", 9, 4),
    ]
    assert table["unit_a"].fillna(-1).tolist() == [-1, -1, -1, 1, 5, 1, 1]
    assert table["unit_b"].fillna(-1).tolist() == [0, 3, -1, -1, -1, -1, 0]
    assert table["unit_c"].fillna(-1).tolist() == [9, -1, -1, 9, -1, 9, -1]
    assert table["agreement_c"].fillna(-1).tolist() == [1, -1, -1, 0.6, -1, 0.25, -1]


def test_sorters_that_found_nothing():
    empty = A.iloc[:0]
    table = compare_sorters({"a": A, "none": empty}, window_samples=2)
    assert table["unit"].tolist() == [1, 5, 8]
    assert table["unit_none"].isna().all()
    assert len(compare_sorters({"none": empty, "no": empty}, window_samples=2)) == 0


def test_file(tmp_path):
    # At 10 kHz the window of 0.4 ms is 4 samples.
    traces = save_traces(
        tmp_path / "traces", np.zeros((10, 2)), channel_table([[0, 0], [0, 9]]), rate_hz=10_000.0
    )
    near = sorting(u0=[104, 204, 304, 404], u1=[1005, 2005, 3005])
    paths = {}
    for name, spikes in (("kilosort4", A), ("simple", near)):
        paths[name] = tmp_path / f"{name}.pqt"
        spikes.assign(amplitude_uv=1.0).to_parquet(paths[name], index=False)
    compare_sorters_file(
        sortings=paths, info=traces / "traces.json", table=tmp_path / "table", settings=SETTINGS
    )
    table = pd.read_csv(tmp_path / "table", sep="\t")
    first = table[table["sorter"] == "kilosort4"].set_index("unit")
    assert first["agreement_simple"].fillna(0).tolist() == [1, 0, 0]
    assert first.loc[1, "unit_simple"] == 0
    header, line = (tmp_path / "table").read_text().splitlines()[:2]
    assert header.split("\t")[:3] == ["sorter", "unit", "n_spikes"]
    assert line.split("\t")[:4] == ["kilosort4", "1", "4", ""]


def test_one_sorter_cannot_be_compared(tmp_path):
    with pytest.raises(InputError, match=r"found 1 sorter.*two or more.*sort_spikes.sorters"):
        compare_sorters_file(
            sortings={"simple": tmp_path}, info=tmp_path, table=tmp_path / "t", settings=SETTINGS
        )
