"""Bad input: a message that says what to do, and nothing else harmed."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from lab import SESSION, SORTERS, Lab, new_lab
from results import hashes

from sluice.errors import SettingsError
from sluice.plan import _check_writable

OTHER = "M002/2026-11-20/001"
N_CHANNELS = 33  # 32 and the sync channel


@pytest.fixture
def two_sessions(tmp_path, raw):
    """Raw data of two equal sessions, M001 to be damaged, and a lab on them."""
    folder = tmp_path / "raw"
    for subject in ("M001", "M002"):
        shutil.copytree(raw / "M001", folder / subject)
    return folder, new_lab(tmp_path / "lab", folder)


def ap_file(folder, suffix):
    (path,) = (folder / SESSION / "raw_ephys_data").rglob(f"*.ap.{suffix}")
    return path


def edit_meta(folder, pattern, replacement):
    meta = ap_file(folder, "meta")
    text, count = re.subn(pattern, replacement, meta.read_text(), flags=re.M)
    assert count
    meta.write_text(text)


def no_meta(folder):
    ap_file(folder, "meta").unlink()


def cut_inside_a_frame(folder):
    path = ap_file(folder, "bin")
    os.truncate(path, path.stat().st_size - 7)


def cut_between_frames(folder):
    path = ap_file(folder, "bin")
    os.truncate(path, path.stat().st_size - 1000 * N_CHANNELS * 2)


def empty(folder):
    os.truncate(ap_file(folder, "bin"), 0)


def meta_of_another_probe(folder):
    edit_meta(folder, r"^imDatPrb_sn=.*", "imDatPrb_sn=99999999")


def no_sampling_rate(folder):
    edit_meta(folder, r"^imSampRate=.*\n", "")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_meta, r"\.ap\.meta"),
        (cut_inside_a_frame, r"not a multiple|whole number|frame"),
        (cut_between_frames, r"fileSizeBytes"),
        (empty, r"empty|0 bytes"),
        (meta_of_another_probe, r"99999999"),
        (no_sampling_rate, r"imSampRate"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damaged_recording_is_left_out_before_anything_runs(two_sessions, damage, message):
    """The reason names the file; the other session is planned in full."""
    folder, lab = two_sessions
    damage(folder)
    done = lab.snakemake("-n")
    assert done.returncode == 0, done.stdout
    notice = next(line for line in done.stdout.splitlines() if "left out" in line)
    assert f"{SESSION} probe00" in notice
    assert ".ap." in notice
    assert re.search(message, notice), notice
    assert f"session={SESSION}" not in done.stdout
    assert f"session={OTHER}" in done.stdout
    status = lab.sluice("status").stdout
    assert notice.split("left out: ")[1] in status


def test_dead_probe_fails_alone(two_sessions):
    """All channels of one probe are dead: its branch ends, the other session completes."""
    folder, lab = two_sessions
    path = ap_file(folder, "bin")
    samples = np.memmap(path, dtype=np.int16, mode="r+").reshape(-1, N_CHANNELS)
    samples[:, :-1] = 0
    samples.flush()
    done = lab.snakemake("--cores", 2)
    assert done.returncode != 0
    assert f"{SESSION} probe00 check_probe: " in done.stdout
    message = next(line for line in done.stdout.splitlines() if "check_probe: " in line)
    assert "dead" in message
    log = lab.results / "logs" / SESSION / "probe00/check_probe.log"
    assert "Traceback" not in log.read_text()
    assert not list((lab.results / "derived" / SESSION).rglob("*.npy"))
    assert (
        lab.results / "derived" / OTHER / "alf/probe00/spykingcircus2/spikes.times.npy"
    ).is_file()
    status = lab.sluice("status").stdout
    assert "failed:" in status
    assert "check_probe.log" in status


def test_constant_channel_and_saturation(tmp_path, raw):
    """One constant channel is dead, a saturated second is reported; all the rest runs."""
    folder = tmp_path / "raw"
    shutil.copytree(raw / "M001", folder / "M001")
    samples = np.memmap(ap_file(folder, "bin"), dtype=np.int16, mode="r+").reshape(-1, N_CHANNELS)
    samples[:, 5] = 17
    samples[90_000:120_000, :-1] = 511
    samples.flush()
    lab = new_lab(tmp_path / "lab", folder)
    lab.run("lfp")
    work = lab.results / "work" / SESSION / "probe00/check_probe"
    channels = [line.split("\t") for line in (work / "channels.tsv").read_text().splitlines()]
    label = channels[0].index("label")
    assert channels[1 + 5][label] == "1"
    checks = {c["name"]: c for c in json.loads((work / "checks.json").read_text())}
    saturated = next(c for name, c in checks.items() if "saturat" in name)
    assert saturated["verdict"] == "FAIL"


def test_results_that_cannot_be_written(lab, tmp_path):
    """A file where the folder should be, and a folder of somebody else."""
    (tmp_path / "file").write_text("")
    lab.configure(results=str(tmp_path / "file"))
    done = lab.snakemake("-n")
    assert done.returncode != 0
    assert "results: " in done.stdout and "is not a folder" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")
def test_results_of_somebody_else(lab, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        try:
            _check_writable(locked / "results")
        except SettingsError as error:
            os._exit(0 if "cannot be written by this user" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_full_disk_in_a_real_step(finished_copy):
    """No room for the traces: the message says so, finished results stay as they are."""
    lab = finished_copy
    before = hashes(lab.results)
    limit = 5_000_000  # bytes; the traces of the small session need about 23 MB

    done = lab.snakemake(
        "--cores",
        1,
        "--forcerun",
        "preprocess_probe",
        "--until",
        "preprocess_probe",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode != 0
    assert "Make room or change `results`" in done.stdout
    after = hashes(lab.results)
    assert {k: v for k, v in before.items() if "/preprocess_probe/" not in k} == {
        k: v for k, v in after.items() if "/preprocess_probe/" not in k
    }
    lab.run("--forcerun", "preprocess_probe")
    assert hashes(lab.results) == before


def test_failed_sorter_takes_out_its_branch_only(finished_copy):
    """A wrong parameter of one sorter: a message; the other sorter and the LFP stay."""
    lab = finished_copy
    lab.configure(ephys={"sort_spikes": {"sorters": {**SORTERS, "simple": {"detektion": 1}}}})
    done = lab.snakemake("--cores", 2)
    assert done.returncode != 0
    assert "simple sort_spikes: " in done.stdout
    assert "detektion" in done.stdout
    assert (lab.results / "logs" / SESSION / "probe00/simple/sort_spikes.log").is_file()
    assert (lab.results / "derived" / SESSION / "alf/probe00/spykingcircus2").is_dir()
    assert not (lab.results / "derived" / SESSION / "alf/probe00/simple").exists()


def test_ctrl_c_then_again(lab):
    """Ctrl-C leaves no half-written output and the next run completes."""
    process = subprocess.Popen(
        lab.command("--cores", 2, "lfp"),
        cwd=lab.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list(lab.results.rglob("*.state.json")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    assert not list(lab.results.rglob(".part-*"))
    lab.run("lfp")
    assert Lab(lab.folder).planned("lfp") == set()
