"""Opening recordings of every format."""

import json
import pickle
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from raw_recordings import compress, np1_meta, write_openephys, write_probe, write_spikeglx

from sluice.ephys.traces import CHANNEL_COLUMNS
from sluice.errors import InputError
from sluice.io.recording import channel_table, open_probe
from sluice.session import Stream


def spikeglx(folder, **changes):
    return Stream("s", "probe", "probe00", str(folder), "spikeglx", **changes)


def test_both_bands_of_a_spikeglx_probe(tmp_path):
    frames = write_probe(tmp_path, n_channels=32)
    for band, rate_hz, gain_uv in (("ap", 30000, 2.34375), ("lf", 2500, 4.6875)):
        recording = open_probe(spikeglx(tmp_path), band)
        assert recording.get_num_segments() == 1
        assert recording.sampling_frequency == rate_hz
        assert recording.dtype == np.int16
        # the sync channel is left out
        assert np.array_equal(recording.get_traces(), frames[band][:, :32])
        scaled = recording.get_traces(start_frame=2, end_frame=7, return_in_uV=True)
        assert np.allclose(scaled, frames[band][2:7, :32] * gain_uv)


def test_channel_table(tmp_path):
    write_probe(tmp_path, n_channels=200)
    channels = channel_table(open_probe(spikeglx(tmp_path)))
    assert list(channels) == list(CHANNEL_COLUMNS)[:9]
    assert channels.channel.tolist() == list(range(200))
    assert channels.channel_id[:3].tolist() == ["AP0", "AP1", "AP2"]
    assert channels.x_um[:4].tolist() == [16, 48, 0, 32]
    assert channels.y_um[:4].tolist() == [0, 0, 20, 20]
    assert channels.median_group.tolist() == [c % 24 for c in range(200)]
    assert np.flatnonzero(channels.is_reference).tolist() == [191]
    assert (channels.shank == 0).all()
    kinds = {"channel": "i", "x_um": "f", "shank": "i", "median_group": "i", "is_reference": "b"}
    assert {column: channels[column].dtype.kind for column in kinds} == kinds
    lf = channel_table(open_probe(spikeglx(tmp_path), "lf"))
    assert lf.channel_id[:2].tolist() == ["LF0", "LF1"]
    # the two bands are of the same contacts
    same = [c for c in channels if c not in ("channel_id", "gain_uv")]
    pd.testing.assert_frame_equal(lf[same], channels[same])


def test_parts_of_the_recording_are_read_alone(tmp_path):
    frames = write_probe(tmp_path, n_channels=32)["ap"]
    recording = open_probe(spikeglx(tmp_path))
    ids = recording.channel_ids
    traces = recording.get_traces(start_frame=5, end_frame=9, channel_ids=ids[[7, 3]])
    assert np.array_equal(traces, frames[5:9, [7, 3]])
    assert recording.get_traces(start_frame=4, end_frame=4).shape == (0, 32)


def test_files_of_a_run_are_joined_in_order(tmp_path):
    parts = [
        write_spikeglx(tmp_path, np1_meta(16), name=f"run_{part}.imec0.ap", n_samples=n, seed=n)
        for part, n in (("g0_t0", 40), ("g0_t2", 30), ("g0_t10", 20), ("g1_t0", 10))
    ]
    recording = open_probe(spikeglx(tmp_path))
    joined = np.concatenate(parts)[:, :16]
    assert recording.get_num_segments() == 1
    assert np.array_equal(recording.get_traces(), joined)
    # across two of the borders
    assert np.array_equal(recording.get_traces(start_frame=35, end_frame=75), joined[35:75])
    assert channel_table(recording).gain_uv.tolist() == [2.34375] * 16


def test_compressed_recording_is_the_same(tmp_path):
    for folder in ("plain", "packed"):
        frames = write_probe(tmp_path / folder, n_channels=32)["ap"]
    compress(tmp_path / "packed" / "run_g0_t0.imec0.ap.bin", 33)
    plain, packed = (open_probe(spikeglx(tmp_path / f)) for f in ("plain", "packed"))
    assert np.array_equal(packed.get_traces(), frames[:, :32])
    # chunks of 30 samples: from within one, over whole ones, into another
    assert np.array_equal(packed.get_traces(start_frame=17, end_frame=101), frames[17:101, :32])
    pd.testing.assert_frame_equal(channel_table(packed), channel_table(plain))
    # what the caller does to the traces does not come back
    traces = packed.get_traces(start_frame=2, end_frame=5)
    traces += 1
    assert np.array_equal(packed.get_traces(start_frame=2, end_frame=5), frames[2:5, :32])


def test_ibl_names_with_uuids(tmp_path):
    name = "_spikeglx_ephysData_g0_t0.imec0.ap"
    frames = write_spikeglx(tmp_path, np1_meta(16), name=name)
    binary, meta = tmp_path / f"{name}.bin", tmp_path / f"{name}.meta"
    # ONE gives each file a UUID of its own
    cbin, ch = (
        tmp_path / f"{name}.{UUID(int=i)}{suffix}" for i, suffix in enumerate((".cbin", ".ch"))
    )
    compress(binary, 17, cbin=cbin, ch=ch)
    meta.rename(tmp_path / f"{name}.{UUID(int=9)}.meta")
    assert np.array_equal(open_probe(spikeglx(tmp_path)).get_traces(), frames[:, :16])


def test_spaces_and_letters_beyond_ascii(tmp_path):
    folder = tmp_path / "Maus Nr. 3 – été" / "probe00"
    frames = write_spikeglx(
        folder,
        np1_meta(16, userNotes="Käfig", fileName="D:/Läufe/erster Lauf_g0_t0.imec0.ap.bin"),
        name="erster Lauf_g0_t0.imec0.ap",
        encoding="cp1252",
    )
    assert np.array_equal(open_probe(spikeglx(folder)).get_traces(), frames[:, :16])


def test_one_probe_of_a_folder_of_several(tmp_path):
    write_probe(tmp_path, device="imec0")
    frames = write_spikeglx(
        tmp_path, np1_meta(8, device="imec1"), name="run_g0_t0.imec1.ap", seed=5
    )
    recording = open_probe(spikeglx(tmp_path, stream_id="imec1"))
    assert np.array_equal(recording.get_traces(), frames[:, :8])
    assert open_probe(spikeglx(tmp_path, stream_id="imec1"), "lf") is None


def test_shank_split_off_by_ibl_neuropixel(tmp_path):
    """The saved channels are those before the split; tables are without their tilde."""
    # two shanks in blocks of 48 channels, of which the file has the second's
    rows = "".join(f"({c} {c // 48 % 2} 0 0 {c // 96 * 48 + c % 48})" for c in range(384))
    meta = np1_meta(96) | {
        "imroTbl": f"(24,384){rows}",
        "imDatPrb_pn": "NP2010",
        "imDatPrb_type": "24",
        "imAiRangeMax": "0.5",
        "imMaxInt": "8192",
        "snsSaveChanSubset": "0:96",
        "snsSaveChanSubset_orig": "48:95,144:191,384",
    }
    del meta["~imroTbl"]
    write_spikeglx(tmp_path, meta)
    channels = channel_table(open_probe(spikeglx(tmp_path)))
    assert channels.channel_id.iloc[[0, 47, 48]].tolist() == ["AP48", "AP95", "AP144"]
    assert (channels.shank == 1).all()
    assert channels.y_um.iloc[[0, 47, 48]].tolist() == [0, 345, 360]
    # channel 48 is converted in the ninth slot of 16
    assert channels.sample_shift[0] == 8 / 16
    assert np.allclose(channels.gain_uv, 1e6 / 2**14 / 80)
    # its LF band is made from the AP band: numbered the same, with the same gain
    lf = meta | {"snsApLfSy": "0,96,1", "imSampRate": "2500"}
    write_spikeglx(tmp_path, lf, name="run_g0_t0.imec0.lf", n_samples=8)
    made = channel_table(open_probe(spikeglx(tmp_path), "lf"))
    assert made.channel_id.iloc[[0, 48]].tolist() == ["LF48", "LF144"]
    same = [c for c in channels if c != "channel_id"]
    pd.testing.assert_frame_equal(made[same], channels[same])


@pytest.mark.parametrize("n_files", [1, 2])
def test_recording_can_be_handed_to_another_process(tmp_path, n_files):
    for i in range(n_files):
        write_spikeglx(tmp_path, np1_meta(200), name=f"run_g0_t{i}.imec0.ap")
        compress(tmp_path / f"run_g0_t{i}.imec0.ap.bin", 201)
    recording = open_probe(spikeglx(tmp_path))
    copy = pickle.loads(pickle.dumps(recording))
    assert np.array_equal(copy.get_traces(), recording.get_traces())
    pd.testing.assert_frame_equal(channel_table(copy), channel_table(recording))
    assert recording.check_serializability("json")


def test_unreadable_recording(tmp_path):
    write_probe(tmp_path)
    path = tmp_path / "run_g0_t0.imec0.ap.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        open_probe(spikeglx(tmp_path))


def test_meta_names_a_channel_the_probe_does_not_have(tmp_path):
    write_spikeglx(tmp_path, np1_meta(4, snsSaveChanSubset="0:2,900,768"))
    with pytest.raises(InputError, match="names channel 516 of a probe that has 384"):
        open_probe(spikeglx(tmp_path))


class TestBinary:
    def stream(self, path, **changes):
        values = {
            "sampling_rate_hz": 15000.0,
            "n_channels": 4,
            "dtype": "int16",
            "gain_uv": 0.5,
            "geometry": "0,0 20,0 0,20 20,20",
        }
        return Stream("s", "probe", "tetrode", str(path), "binary", **values | changes)

    def test_flat_binary(self, tmp_path):
        frames = np.arange(40, dtype=np.int16).reshape(10, 4)
        frames.tofile(tmp_path / "a b.raw")
        recording = open_probe(self.stream(tmp_path / "a b.raw"))
        assert np.array_equal(recording.get_traces(), frames)
        assert recording.sampling_frequency == 15000
        channels = channel_table(recording)
        assert channels.channel_id.tolist() == ["0", "1", "2", "3"]
        assert channels.x_um.tolist() == [0, 20, 0, 20]
        assert channels.y_um.tolist() == [0, 0, 20, 20]
        assert channels.gain_uv.tolist() == [0.5] * 4
        for column in ("shank", "median_group", "sample_shift", "is_reference"):
            assert not channels[column].any()
        assert open_probe(self.stream(tmp_path / "a b.raw"), "lf") is None

    def test_shanks(self, tmp_path):
        np.zeros(4, np.int16).tofile(tmp_path / "x.dat")
        geometry = "0,0,0 0,20,0 250,0,1 250,20,1"
        channels = channel_table(open_probe(self.stream(tmp_path / "x.dat", geometry=geometry)))
        assert channels.shank.tolist() == [0, 0, 1, 1]

    def test_real_tetrode(self, real_data):
        """29 s of a locust's tetrode: 4 channels at 15 kHz (info.json beside it)."""
        path = real_data / "locust_tetrode" / "locust_trial_01.raw"
        recording = open_probe(self.stream(path, geometry="0,0 1,0 0,1 1,1"))
        assert recording.get_num_samples() == path.stat().st_size // 8
        assert 28 < recording.get_total_duration() < 30
        assert np.array_equal(recording.get_traces(), np.fromfile(path, dtype="<i2").reshape(-1, 4))


class TestOpenEphys:
    def stream(self, folder, **changes):
        return Stream("s", "probe", "probe00", str(folder), "openephys", **changes)

    @pytest.mark.parametrize("level", [".", "Record Node 101", "Record Node 101/experiment1"])
    def test_both_bands_from_any_folder(self, tmp_path, level):
        frames = write_openephys(tmp_path / "Record Node 101")
        for band, name, gain_uv, rate_hz in (
            ("ap", "Neuropix-PXI-100.ProbeA-AP", 0.195, 30000),
            ("lf", "Neuropix-PXI-100.ProbeA-LFP", 0.39, 2500),
        ):
            recording = open_probe(self.stream(tmp_path / level), band)
            assert np.array_equal(recording.get_traces(), frames[name])
            assert recording.sampling_frequency == rate_hz
            assert np.allclose(recording.get_channel_gains(), gain_uv)

    def test_channels(self, tmp_path):
        write_openephys(tmp_path / "Record Node 101")
        channels = channel_table(open_probe(self.stream(tmp_path)))
        channel = np.arange(384)
        assert channels.channel_id[1] == "CH1"
        assert channels.x_um[:4].tolist() == [16, 48, 0, 32]
        assert np.array_equal(channels.y_um, channel // 2 * 20)
        assert np.array_equal(channels.median_group, channel % 24)
        assert np.allclose(channels.sample_shift, channel % 24 // 2 / 13)
        assert np.flatnonzero(channels.is_reference).tolist() == [191]

    def test_multiplexing_follows_the_channels_names(self, tmp_path):
        """A channel map changes the order in the file, not the converter of a channel."""
        write_openephys(tmp_path)
        path = tmp_path / "experiment1" / "recording1" / "structure.oebin"
        header = json.loads(path.read_text())
        for entry in header["continuous"][1:]:
            entry["channels"].reverse()
        path.write_text(json.dumps(header))
        channels = channel_table(open_probe(self.stream(tmp_path)))
        channel = np.arange(384)[::-1]
        assert channels.channel_id[0] == "CH383"
        assert np.array_equal(channels.median_group, channel % 24)
        assert np.allclose(channels.sample_shift, channel % 24 // 2 / 13)
        assert np.flatnonzero(channels.is_reference).tolist() == [383 - 191]

    @pytest.mark.filterwarnings("ignore")
    def test_same_as_spikeinterfaces_reader(self, tmp_path):
        from spikeinterface.extractors.neoextractors.openephys import (
            OpenEphysBinaryRecordingExtractor,
        )

        write_openephys(tmp_path / "Record Node 101", probes="AB")
        name = "Neuropix-PXI-100.ProbeB-AP"
        # neo names a stream without the Record Node where it has no other
        names, _ = OpenEphysBinaryRecordingExtractor.get_streams(tmp_path)
        full = next(n for n in names if n.endswith(name))
        other = OpenEphysBinaryRecordingExtractor(tmp_path, stream_name=full)
        recording = open_probe(self.stream(tmp_path, stream_id=full))
        assert np.array_equal(other.get_traces(), recording.get_traces())
        assert np.array_equal(other.get_channel_gains(), recording.get_channel_gains())
        assert np.array_equal(other.get_channel_locations(), recording.get_channel_locations())
        assert np.allclose(
            other.get_property("inter_sample_shift"), recording.get_property("inter_sample_shift")
        )

    def test_recordings_of_an_experiment_are_joined(self, tmp_path):
        frames = write_openephys(tmp_path, recordings=11)
        recording = open_probe(self.stream(tmp_path))
        assert np.array_equal(recording.get_traces(), frames["Neuropix-PXI-100.ProbeA-AP"])

    def test_contacts_from_the_table(self, tmp_path):
        write_openephys(tmp_path, with_settings=False)
        geometry = " ".join(f"0,{10 * c}" for c in range(384))
        channels = channel_table(open_probe(self.stream(tmp_path, geometry=geometry)))
        assert channels.y_um.tolist() == [10 * c for c in range(384)]
        # nothing is known of how a probe of the table is digitised
        assert not channels.median_group.any()
        assert not channels.sample_shift.any()

    def test_contacts_that_are_not_those_of_the_stream(self, tmp_path):
        write_openephys(tmp_path)
        with pytest.raises(InputError, match="384 neural channels, but 2 contacts in the table"):
            open_probe(self.stream(tmp_path, geometry="0,0 0,10"))
        # settings of a probe with another name
        path = tmp_path / "settings.xml"
        path.write_text(path.read_text().replace("ProbeA", "Probe7"))
        with pytest.raises(InputError, match=r"settings\.xml: no contacts for .*ProbeA-AP"):
            open_probe(self.stream(tmp_path))
