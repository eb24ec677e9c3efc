"""What counts as done."""

import json

from sluice.status import _state


def test_a_job_without_its_temporary_outputs_is_done(tmp_path):
    record = {
        "outputs": [
            {"name": "movie", "path": "work/movie.bin"},
            {"name": "frames", "path": "work/frames.pqt"},
        ],
        "inputs": [{"name": "raw", "path": "/raw/movie.tif"}],
    }
    (tmp_path / "work").mkdir()
    log = tmp_path / "step.log"
    assert _state(record, log, tmp_path)[0] == "to do"
    (tmp_path / "work/frames.pqt").touch()
    assert _state(record, log, tmp_path)[0] == "done"
    noted = {"state": "failed", "message": "because"}
    log.with_suffix(".state.json").write_text(json.dumps(noted))
    assert _state(record, log, tmp_path) == ("failed", "because")


def test_a_job_whose_input_is_gone_runs_again(tmp_path):
    """An earlier step that failed since takes its outputs away; temporary ones may go."""
    record = {
        "outputs": [{"name": "checks", "path": "checks.json"}],
        "inputs": [{"name": "times", "path": "times.npy"}, {"name": "movie", "path": "movie.bin"}],
    }
    log = tmp_path / "step.log"
    for name in ("checks.json", "times.npy"):
        (tmp_path / name).touch()
    assert _state(record, log, tmp_path, {"movie.bin"})[0] == "done"
    assert _state(record, log, tmp_path)[0] == "to do"
    (tmp_path / "times.npy").unlink()
    assert _state(record, log, tmp_path, {"movie.bin"})[0] == "to do"
