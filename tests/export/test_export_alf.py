"""The ALF collection of a sorting, as ONE sees it."""

import json
import logging
import shutil
import uuid
import warnings

import numpy as np
import pandas as pd
import pytest
from one.alf.cache import make_parquet_db
from one.alf.exceptions import ALFInvalid
from one.alf.path import ALFPath
from one.api import One

from sluice.ephys.traces import CHANNEL_COLUMNS, save_channels
from sluice.ephys.waveform_features import FEATURE_COLUMNS
from sluice.errors import InputError
from sluice.export.alf import validate_collection
from sluice.export.export_alf import describe_probes_file, export_alf_file, spikes_object

RATE_HZ = 30_000.0
SESSION = "M001/2026-11-19/001"
COLLECTION = "alf/probe00/kilosort4"
FILES = {
    "channels.labels.npy",
    "channels.localCoordinates.npy",
    "channels.rawInd.npy",
    "clusters.amps.npy",
    "clusters.channels.npy",
    "clusters.depths.npy",
    "clusters.metrics.pqt",
    "clusters.peakToTrough.npy",
    "clusters.uuids.csv",
    "clusters.waveforms.npy",
    "clusters.waveformsChannels.npy",
    "spikes.amps.npy",
    "spikes.clusters.npy",
    "spikes.depths.npy",
    "spikes.samples.npy",
    "spikes.templates.npy",
    "spikes.times.npy",
    "templates.amps.npy",
    "templates.waveforms.npy",
    "templates.waveformsChannels.npy",
}


def channel_table(n_channels=40, n_shanks=1):
    channel = np.arange(n_channels)
    table = pd.DataFrame(dict.fromkeys(CHANNEL_COLUMNS, 0), index=channel)
    table["channel"] = channel
    table["channel_id"] = [f"AP{i}" for i in channel]
    table["shank"] = channel * n_shanks // n_channels
    table["x_um"] = table["shank"] * 250.0
    table["y_um"] = (channel % (n_channels // n_shanks)) * 20.0
    table["is_reference"] = False
    table.loc[3, "label"] = 1
    return table


def make_inputs(folder, *, units=(3, 8, 9), n_spikes=50, n_shanks=1):
    """Write what the steps before export_alf write; unit 9 has no spike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    channels = channel_table(n_shanks=n_shanks)
    n_units, peaks = len(units), [5, 25, 0][: len(units)]
    table = pd.DataFrame(
        {
            "unit": units,
            "shank": channels["shank"].to_numpy()[peaks],
            "peak_channel": peaks,
            "n_spikes": 0,
            "n_double_within": 1,
            "n_double_between": 2,
            "is_artifact": [unit == 8 for unit in units],
            "artifact_reason": ["spread,timing" if unit == 8 else "" for unit in units],
            "sorter_label": "good",
        }
    )
    spikes = pd.DataFrame(
        {
            "sample": np.sort(rng.integers(0, 60_000, n_spikes if n_units else 0)),
            "unit": rng.choice(units[:2], n_spikes).astype(np.int32) if n_units else np.int32([]),
        }
    )
    spikes["amplitude_uv"] = np.where(spikes["unit"] == 3, 150.0, 80.0).astype(np.float32)
    spikes["depth_um"] = rng.uniform(0, 780, len(spikes)).astype(np.float32)
    mean = rng.normal(0, 1, (n_units, 82, 40)).astype(np.float32)
    for row, peak in enumerate(peaks):
        mean[row, 20, peak], mean[row, 35, peak] = -100, 40
        mean[row, 10, peak] = 60 if row == 1 else 0  # the second unit peaks first
    if n_units == 3:
        mean[2] = np.nan
    templates = np.nan_to_num(mean)[:, :61] * 2
    metrics = pd.DataFrame({"unit": np.array(units, np.int32)})
    metrics["n_spikes"] = np.int64(0)
    metrics["snr"] = np.arange(n_units, dtype=np.float64)
    metrics["allen_pass"] = np.ones(n_units, bool)
    features = pd.DataFrame({"unit": units, **dict.fromkeys(FEATURE_COLUMNS, 1.5)})
    features["n_averaged"] = 7
    save_channels(channels, folder / "channels.tsv")
    spikes.to_parquet(folder / "spikes.pqt", index=False)
    table.to_csv(folder / "units.tsv", sep="\t", index=False)
    np.save(folder / "templates.npy", templates)
    np.save(folder / "mean.npy", mean)
    features.to_csv(folder / "features.tsv", sep="\t", index=False)
    # Not in the order of the table of units.
    metrics[::-1].to_parquet(folder / "metrics.pqt", index=False)
    return {
        "channels": folder / "channels.tsv",
        "spikes": folder / "spikes.pqt",
        "units": folder / "units.tsv",
        "templates": folder / "templates.npy",
        "waveform_mean": folder / "mean.npy",
        "waveform_metrics": folder / "features.tsv",
        "metrics": folder / "metrics.pqt",
    }


def export(inputs, folder, **changed):
    options = {"session": SESSION, "probe": "probe00", "sorter": "kilosort4"}
    folder.parent.mkdir(parents=True, exist_ok=True)
    export_alf_file(**inputs, sampling_rate_hz=RATE_HZ, folder=folder, **{**options, **changed})
    return {path.name: load(path) for path in folder.iterdir()}


def load(path):
    readers = {".npy": np.load, ".pqt": pd.read_parquet, ".csv": pd.read_csv}
    return readers[path.suffix](path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alf")
    inputs = make_inputs(folder / "in")
    return inputs, export(inputs, folder / "out")


def test_files_are_those_of_ibl(exported):
    assert set(exported[1]) == FILES


def test_types_and_shapes(exported):
    _, files = exported
    found = {
        name: (array.dtype.name, array.shape)
        for name, array in files.items()
        if name.endswith(".npy")
    }
    assert found == {
        "channels.labels.npy": ("int64", (40,)),
        "channels.localCoordinates.npy": ("float64", (40, 2)),
        "channels.rawInd.npy": ("int64", (40,)),
        "clusters.amps.npy": ("float64", (3,)),
        "clusters.channels.npy": ("int64", (3,)),
        "clusters.depths.npy": ("float64", (3,)),
        "clusters.peakToTrough.npy": ("float64", (3,)),
        "clusters.waveforms.npy": ("float32", (3, 82, 32)),
        "clusters.waveformsChannels.npy": ("int32", (3, 32)),
        "spikes.amps.npy": ("float32", (50,)),
        "spikes.clusters.npy": ("uint16", (50,)),
        "spikes.depths.npy": ("float32", (50,)),
        "spikes.samples.npy": ("int64", (50,)),
        "spikes.templates.npy": ("uint16", (50,)),
        "spikes.times.npy": ("float64", (50,)),
        "templates.amps.npy": ("float64", (3,)),
        "templates.waveforms.npy": ("float32", (3, 61, 32)),
        "templates.waveformsChannels.npy": ("int32", (3, 32)),
    }


def test_spikes(exported):
    inputs, files = exported
    spikes = pd.read_parquet(inputs["spikes"])
    np.testing.assert_array_equal(files["spikes.samples.npy"], spikes["sample"])
    np.testing.assert_array_equal(files["spikes.times.npy"], spikes["sample"] / 30_000)
    np.testing.assert_array_equal(np.take([3, 8, 9], files["spikes.clusters.npy"]), spikes["unit"])
    np.testing.assert_array_equal(files["spikes.templates.npy"], files["spikes.clusters.npy"])
    np.testing.assert_array_equal(files["spikes.depths.npy"], spikes["depth_um"])
    # Volts, float32.
    np.testing.assert_allclose(
        files["spikes.amps.npy"], np.where(spikes["unit"] == 3, 150e-6, 80e-6), rtol=1e-6
    )


def test_clusters(exported):
    inputs, files = exported
    np.testing.assert_allclose(files["clusters.amps.npy"], [150e-6, 80e-6, np.nan], rtol=1e-6)
    assert files["clusters.channels.npy"].tolist() == [5, 25, 0]
    assert files["clusters.depths.npy"].tolist() == [100.0, 500.0, 0.0]
    # Samples 20 to 35, 20 to 10; no waveform.
    np.testing.assert_allclose(files["clusters.peakToTrough.npy"], [15 / 30, -10 / 30, np.nan])
    mean, near = np.load(inputs["waveform_mean"]), files["clusters.waveformsChannels.npy"]
    assert near[0, :5].tolist() == [5, 4, 6, 3, 7]
    for unit in range(3):
        np.testing.assert_allclose(
            files["clusters.waveforms.npy"][unit], mean[unit][:, near[unit]] * 1e-6, rtol=1e-6
        )


def test_templates_and_channels(exported):
    inputs, files = exported
    templates = np.load(inputs["templates"])
    np.testing.assert_allclose(
        files["templates.amps.npy"], np.ptp(templates, axis=1).max(axis=1) * 1e-6, rtol=1e-6
    )
    np.testing.assert_allclose(
        files["templates.waveforms.npy"][1],
        templates[1][:, files["templates.waveformsChannels.npy"][1]] * 1e-6,
        rtol=1e-6,
    )
    assert files["channels.localCoordinates.npy"][7].tolist() == [0.0, 140.0]
    assert files["channels.labels.npy"].tolist() == [0, 0, 0, 1] + [0] * 36
    assert files["channels.rawInd.npy"].tolist() == list(range(40))


def test_metrics_hold_everything_about_all_units(exported):
    table = exported[1]["clusters.metrics.pqt"]
    assert table.columns.tolist() == [
        "cluster_id",
        "unit",
        "shank",
        "peak_channel",
        "n_spikes",
        "n_double_within",
        "n_double_between",
        "is_artifact",
        "artifact_reason",
        "sorter_label",
        "snr",
        "allen_pass",
        *[name for name in FEATURE_COLUMNS if name != "snr"],
    ]
    assert table["cluster_id"].tolist() == [0, 1, 2]
    assert table["unit"].tolist() == [3, 8, 9]
    assert table["artifact_reason"].tolist() == ["", "spread,timing", ""]
    assert table["is_artifact"].tolist() == [False, True, False]
    assert table["snr"].tolist() == [0.0, 1.0, 2.0]  # metrics.pqt had them the other way round


def test_uuids_come_from_the_sorting(exported, tmp_path):
    inputs, files = exported
    uuids = files["clusters.uuids.csv"]["uuids"].tolist()
    assert len(set(uuids)) == 3
    assert all(uuid.UUID(one).version == 3 for one in uuids)
    again = export(inputs, tmp_path / "a")["clusters.uuids.csv"]["uuids"].tolist()
    assert again == uuids
    other = export(inputs, tmp_path / "b", sorter="other")["clusters.uuids.csv"]["uuids"].tolist()
    assert not set(other) & set(uuids)
    spikes = pd.read_parquet(inputs["spikes"])
    first = spikes.index[spikes["unit"] == 3][0]
    spikes.drop(index=first).to_parquet(tmp_path / "spikes.pqt", index=False)
    changed = export({**inputs, "spikes": tmp_path / "spikes.pqt"}, tmp_path / "c")
    assert [a == b for a, b in zip(changed["clusters.uuids.csv"]["uuids"], uuids, strict=True)] == [
        False,
        True,
        True,
    ]


def test_same_input_gives_the_same_bytes(exported, tmp_path):
    for name in "ab":
        export(exported[0], tmp_path / name)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_two_shanks(tmp_path):
    """20 channels a shank: the own shank's first, then the other's, all of them channels."""
    files = export(make_inputs(tmp_path / "in", n_shanks=2), tmp_path / "out")
    assert set(files) == FILES | {"_sluice_channels.shanks.npy"}
    assert files["_sluice_channels.shanks.npy"].tolist() == [0] * 20 + [1] * 20
    near = files["clusters.waveformsChannels.npy"]
    assert set(near[0, :20]) == set(range(20))
    assert set(near[1, :20]) == set(range(20, 40))
    assert near[1, 0] == 25
    assert near[1, 20] == 5  # beside channel 25, on the other shank


def test_many_units_get_a_wider_type():
    spikes = pd.DataFrame(
        {"sample": [1, 2], "amplitude_uv": [1.0, 1.0], "depth_um": np.float32([0, 0])}
    )
    for n_units, dtype in ((65_536, np.uint16), (65_537, np.int32)):
        rows = np.array([0, n_units - 1])
        found = spikes_object(spikes, rows, n_units=n_units, sampling_rate_hz=1.0)["clusters"]
        assert found.dtype == dtype
        assert found.tolist() == rows.tolist()


@pytest.mark.parametrize("n_shanks", [1, 2])
@pytest.mark.parametrize("units", [(3, 8, 9), ()])
def test_one_loads_the_collection(tmp_path, caplog, units, n_shanks):
    root = tmp_path / "derived"
    session = root / SESSION
    folder = session / COLLECTION
    export(make_inputs(tmp_path / "in", units=units, n_shanks=n_shanks), folder)
    probe = {"label": "probe00", "model": "NP1.0", "serial": 1, "raw_file_name": "a.ap.bin"}
    describe_probes_file(probes=[probe], description=session / "alf" / "probes.description.json")
    for path in folder.iterdir():
        assert ALFPath(path).is_dataset()
    make_parquet_db(root)
    one = One(cache_dir=root, mode="local")
    (eid,) = one.search(subject="M001")
    assert len(one.list_datasets(eid)) == len(FILES) + 1 + (n_shanks > 1)
    assert sorted(one.list_collections(eid)) == ["alf", COLLECTION]
    # ONE's own table writer leaves the column of default revisions out. Hashes are left out
    # here: ONE takes 0.3 s for each, however small the file.
    known = "No default revision"
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=known)
        loaded = {
            name: one.load_object(eid, name, collection=COLLECTION, check_hash=False)
            for name in ("spikes", "clusters", "templates", "channels")
        }
        description = one.load_dataset(
            eid, "probes.description.json", collection="alf", check_hash=False
        )
    assert [r.getMessage() for r in caplog.records if known not in r.getMessage()] == []
    assert description == [probe]
    assert set(loaded["spikes"]) == {"times", "samples", "clusters", "templates", "amps", "depths"}
    assert loaded["clusters"]["metrics"].shape[0] == len(units)
    assert ("shanks" in loaded["channels"]) == (n_shanks > 1)
    for bunch in loaded.values():
        assert bunch.check_dimensions == 0


def test_empty_sorting(tmp_path):
    files = export(make_inputs(tmp_path / "in", units=()), tmp_path / "out")
    full = export(make_inputs(tmp_path / "full"), tmp_path / "full_out")
    assert set(files) == FILES
    for name in FILES:
        if name.endswith(".npy"):
            assert files[name].dtype == full[name].dtype, name
            assert files[name].shape[1:] == full[name].shape[1:], name
    assert len(files["spikes.times.npy"]) == len(files["clusters.amps.npy"]) == 0
    empty, table = files["clusters.metrics.pqt"], full["clusters.metrics.pqt"]
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == table.dtypes.to_dict()
    assert (tmp_path / "out" / "clusters.uuids.csv").read_text() == "uuids\n"


# --- what is refused ----------------------------------------------------------------------


def test_spikes_of_another_sorting(tmp_path):
    inputs = make_inputs(tmp_path / "in")
    other = make_inputs(tmp_path / "other", units=(3, 7))
    with pytest.raises(InputError, match=r"spikes of unit 7, which the table of units does not"):
        export({**inputs, "spikes": other["spikes"]}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["metrics", "waveform_metrics"])
def test_tables_of_another_sorting(tmp_path, name):
    inputs = make_inputs(tmp_path / "in")
    other = make_inputs(tmp_path / "other", units=(3, 8))
    with pytest.raises(InputError, match=r"has 2 units, the sorting 3, and they are not the same"):
        export({**inputs, name: other[name]}, tmp_path / "out")


@pytest.mark.parametrize("name", ["templates", "waveform_mean"])
def test_waveforms_of_another_sorting(tmp_path, name):
    inputs = make_inputs(tmp_path / "in")
    np.save(tmp_path / "other.npy", np.zeros((3, 82, 39), np.float32))
    with pytest.raises(InputError, match=r"has 3 units on 39 channels, the sorting 3 on 40"):
        export({**inputs, name: tmp_path / "other.npy"}, tmp_path / "out")


@pytest.fixture
def collection(exported, tmp_path):
    export(exported[0], tmp_path / "out")
    return tmp_path / "out"


def test_an_export_that_one_could_not_read_fails(exported, tmp_path):
    with pytest.raises(ALFInvalid, match="alf/my probe/kilosort4"):
        export(exported[0], tmp_path / "a", probe="my probe")
    spikes = pd.read_parquet(exported[0]["spikes"])
    spikes[::-1].to_parquet(tmp_path / "spikes.pqt", index=False)
    with pytest.raises(ValueError, match=r"spikes.samples must be .* ascending"):
        export({**exported[0], "spikes": tmp_path / "spikes.pqt"}, tmp_path / "b")


def test_a_name_that_is_not_alf(collection):
    validate_collection(collection, COLLECTION)
    with pytest.raises(ALFInvalid, match="my probe"):
        validate_collection(collection, "alf/my probe/kilosort4")
    (collection / "spike_times.npy").write_bytes(b"")
    with pytest.raises(ALFInvalid, match="spike_times"):
        validate_collection(collection, COLLECTION)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("spikes.amps", np.zeros(49), r"files of spikes differ in rows: .*amps \(49,\)"),
        # ONE's own check takes one row for a constant.
        ("clusters.depths", np.zeros(1), r"files of clusters differ in rows: .*depths \(1,\)"),
        ("spikes.clusters", np.full(50, 3), r"spikes.clusters points outside the 3 rows"),
        ("clusters.channels", np.array([0, 1, -1]), r"clusters.channels points outside the 40"),
        (
            "clusters.waveformsChannels",
            np.full((3, 32), 40),
            r"clusters.waveformsChannels points outside the 40 rows of channels",
        ),
        ("spikes.times", np.arange(50.0)[::-1], r"spikes.times must be finite, ≥ 0 and ascending"),
        ("spikes.times", np.full(50, np.nan), r"spikes.times must be finite"),
        ("spikes.times", np.arange(50.0) - 1, r"spikes.times must be finite, ≥ 0"),
        ("spikes.samples", np.arange(50)[::-1], r"spikes.samples must be"),
    ],
)
def test_a_broken_collection_is_refused(collection, name, array, message):
    np.save(collection / f"{name}.npy", array)
    with pytest.raises(ValueError, match=message):
        validate_collection(collection, COLLECTION)


def test_a_missing_row_in_a_table_is_refused(collection):
    table = pd.read_parquet(collection / "clusters.metrics.pqt")
    table[:2].to_parquet(collection / "clusters.metrics.pqt", index=False)
    with pytest.raises(ValueError, match=r"files of clusters differ in rows: .*metrics \(2, "):
        validate_collection(collection, COLLECTION)
    shutil.rmtree(collection)


def test_probe_description(tmp_path):
    probes = [
        {"label": "probe00", "model": "NP1.0", "serial": 18005116102, "raw_file_name": "a.ap.bin"}
    ]
    path = tmp_path / "x.part"
    describe_probes_file(probes=probes, description=path)
    assert json.loads(path.read_text()) == probes
    with pytest.raises(ValueError, match=r"'serial'\], found \['label', 'model'\]"):
        describe_probes_file(probes=[{"label": "a", "model": "b"}], description=path)
