"""Processors, memory, disk and ports."""

import os
import shutil
import socket
import sys
from pathlib import Path

from rich import filesize

from recsys.doctor.finding import Checks, Finding, Status
from recsys.workspace import Workspace

_LITTLE_MEMORY = 4 << 30
_LITTLE_DISK = 2 << 30
_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")


def machine(workspace: Workspace, port: int) -> Checks:
    """Checks of the machine that this runs on."""
    return {
        "torch": (_torch, "pip install recsys"),
        "threads": (_threads, "pip install recsys"),
        "memory": (_memory, ""),
        "disk": (lambda: _disk(workspace.root), "choose another directory with --workspace"),
        "port": (lambda: _port(port), "choose another port with --port"),
    }


def _torch() -> Finding:
    import torch

    from recsys.encoder import inference_dtype

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return Finding(
        Status.OK,
        f"{torch.__version__} on {device}, computes in {str(inference_dtype()).removeprefix('torch.')}",
    )


def _threads() -> Finding:
    import torch

    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    threads = torch.get_num_threads()
    found = f"{threads} torch threads on {cores} cores"
    if threads > cores:
        return Finding(Status.WARNING, found, f"set OMP_NUM_THREADS={cores}")
    return Finding(Status.OK, found)


def _memory() -> Finding:
    """The machine's memory, or the container's limit where that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CGROUP_MEMORY.read_text().strip() if _CGROUP_MEMORY.exists() else ""
    usable = min(total, int(limit)) if limit.isdecimal() else total
    found = filesize.decimal(usable)
    if usable < _LITTLE_MEMORY:
        return Finding(
            Status.WARNING, found, f"training is safer with {filesize.decimal(_LITTLE_MEMORY)} or more"
        )
    return Finding(Status.OK, found)


def _disk(root: Path) -> Finding:
    place = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    found = f"{filesize.decimal(shutil.disk_usage(place).free)} free at {place}"
    if not os.access(place, os.W_OK):
        return Finding(
            Status.MISSING, f"{place} is not writable", "choose another directory with --workspace"
        )
    if shutil.disk_usage(place).free < _LITTLE_DISK:
        return Finding(Status.WARNING, found, "free some space, or choose another directory with --workspace")
    return Finding(Status.OK, found)


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a connection that just ended does not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            mend = "stop the program that listens there, or serve with another --port"
            return Finding(Status.WARNING, f"{port} is not free: {error.strerror}", mend)
    return Finding(Status.OK, f"{port} is free")
