"""What counts as done."""

import json

from sluice.status import _state


def test_a_job_without_its_temporary_outputs_is_done(tmp_path):
    record = {
        "outputs": [
            {"name": "movie", "path": "work/movie.bin"},
            {"name": "frames", "path": "work/frames.pqt"},
        ]
    }
    (tmp_path / "work").mkdir()
    log = tmp_path / "step.log"
    assert _state(record, log, tmp_path)[0] == "to do"
    (tmp_path / "work/frames.pqt").touch()
    assert _state(record, log, tmp_path)[0] == "done"
    noted = {"state": "failed", "message": "because"}
    log.with_suffix(".state.json").write_text(json.dumps(noted))
    assert _state(record, log, tmp_path) == ("failed", "because")
