"""A real, throw-away Slurm on loopback: no systemd, no root, everything in one folder.

Two nodes of this machine with invented GPUs and the partitions `cpu` and `gpu`. There is
no accounting and no munge (``auth/none``), which is enough for sbatch, squeue, scancel
and srun as the Snakemake plugin uses them.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
DAEMONS = ("slurmctld", "slurmd")
NODES = 2

CONFIGURATION = """\
ClusterName=sandbox
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_min_interval=100000,batch_sched_delay=1
JobAcctGatherType=jobacct_gather/linux
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.txt
AccountingStorageType=accounting_storage/none
KillWait=2
MinJobAge=600
InactiveLimit=0
GresTypes=gpu
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=8 \
RealMemory=64000 Gres=gpu:fake:2 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""
# Any character devices will do as GPUs; with them Slurm sets CUDA_VISIBLE_DEVICES.
GPUS = "Name=gpu Type=fake File=/dev/null,/dev/zero\n"


def missing():
    """Daemons that are not installed."""
    path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
    return [name for name in DAEMONS if shutil.which(name, path=path) is None]


@contextmanager
def slurm(folder):
    """Start Slurm, yield the environment in which its commands work, stop it by pid."""
    folder = Path(folder)
    ports = _free_ports(1 + NODES)
    text = CONFIGURATION.format(
        host=socket.gethostname().split(".")[0],
        user=getpass.getuser(),
        folder=folder,
        nodes=NODES,
        port=ports[0],
        first=ports[1],
        last=ports[-1],
    )
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(GPUS)
    (folder / "state").mkdir()
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    # The plugin's job step drops SLURM_CONF before it calls srun; this puts it back.
    srun = bin_folder / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec /usr/bin/srun "$@"\n')
    srun.chmod(0o755)
    environment = {
        **os.environ,
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{bin_folder}:{os.environ['PATH']}:{SYSTEM_PATH}",
    }
    try:
        _run("slurmctld", "-c", env=environment)
        for number in range(1, NODES + 1):
            (folder / f"spool.n{number}").mkdir()
            _run("slurmd", "-N", f"n{number}", env=environment)
        _wait_for_nodes(environment)
        yield environment
    finally:
        _stop(folder, environment)


def _run(*command, env):
    subprocess.run(command, env=env, check=True, timeout=30)


def _free_ports(count):
    """Consecutive ports that are free now."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        ports = range(first, first + count)
        if ports[-1] < 65536 and all(_is_free(port) for port in ports):
            return ports
    raise RuntimeError("no free ports")


def _is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _wait_for_nodes(environment):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        command = ["sinfo", "-h", "-p", "cpu", "-t", "idle", "-N", "-o", "%N"]
        nodes = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
        if len(nodes.split()) == NODES:
            return
        time.sleep(0.2)
    raise RuntimeError("the Slurm nodes did not come up")


def _stop(folder, environment):
    subprocess.run(["scancel", "-u", getpass.getuser()], env=environment, timeout=20)
    pids = [int(f.read_text()) for f in folder.glob("*.pid") if f.read_text().strip()]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
