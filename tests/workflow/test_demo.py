"""The default workflow on the default made-up session, against its truth; and real data."""

import numpy as np
import pytest
from lab import Lab, clone

from sluice.synth.compare import compare_session

SESSION = "M001/2026-11-20/001"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_recovers_the_truth(tmp_path):
    """What `make demo` runs: a probe of 48 channels and two days of one imaging plane."""
    clone(tmp_path / "lab")
    lab = Lab(tmp_path / "lab")
    assert lab.sluice("synth", "demo/raw", "--days", "2").returncode == 0
    assert lab.sluice("scan", "demo/raw", "--config-dir", "demo").returncode == 0
    lab.run("--configfile", "config/demo.yaml")
    comparison = compare_session(
        lab.folder / "demo/raw", lab.folder / "demo/results", SESSION, "kilosort4"
    )
    assert comparison.summary["n_units"] >= 5
    assert comparison.summary["fraction_good"] >= 0.9
    assert comparison.summary["bad_channels_right"]
    assert comparison.summary["surface_error"] <= 5
    shown = lab.sluice("compare", "demo/raw", "--configfile", "config/demo.yaml")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for plane in (f"{SESSION} FOV_00", "M001/2026-11-21/001 FOV_00", "M001_FOV_00, cells"):
        assert plane in shown.stdout


@pytest.mark.slow
def test_real_tetrode(tmp_path, real_data):
    """A real recording without header, described by its row in the table, gives units."""
    clone(tmp_path / "lab")
    lab = Lab(tmp_path / "lab")
    (lab.folder / "config/sessions.tsv").write_text(
        "subject\tdate\tnumber\nlocust\t2003-01-01\t001\n"
    )
    row = {
        "session": "locust/2003-01-01/001",
        "kind": "probe",
        "name": "tetrode",
        "path": str(real_data / "locust_tetrode/locust_trial_01.raw"),
        "format": "binary",
        "sampling_rate_hz": "15000",
        "n_channels": "4",
        "dtype": "int16",
        "gain_uv": "0.1",
        "geometry": "0,0 0,10 10,0 10,10",
    }
    table = "\t".join(row) + "\n" + "\t".join(row.values()) + "\n"
    (lab.folder / "config/streams.tsv").write_text(table)
    lab.configure(ephys={"sort_spikes": {"sorters": {"spykingcircus2": {}}}})
    lab.run()
    collection = lab.results / "derived/locust/2003-01-01/001/alf/tetrode/spykingcircus2"
    clusters = np.load(collection / "spikes.clusters.npy")
    times_s = np.load(collection / "spikes.times.npy")
    assert len(np.unique(clusters)) >= 2
    assert times_s.min() >= 0 and times_s.max() < 29
