"""Network namespaces, where a cable can be pulled."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_SERVER, _CLIENT = "10.251.0.1", "10.251.0.2"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def may_make_namespaces() -> bool:
    """Whether this process may make network namespaces."""
    return (
        os.geteuid() == 0
        and shutil.which("ip") is not None
        and not subprocess.run(["unshare", "-n", "-m", "true"], check=False, capture_output=True).returncode
    )


needs_namespaces = pytest.mark.skipif(
    not may_make_namespaces(),
    reason="NOT TESTED: network namespaces need root and CAP_NET_ADMIN; run `make faults` as root",
)


@dataclass(frozen=True)
class Cable:
    """A link between this namespace, at ``client``, and another, at ``server``."""

    namespace: str
    device: str
    server: str = _SERVER
    client: str = _CLIENT

    @property
    def prefix(self) -> tuple[str, ...]:
        """Begins a command that is to run at the server's end."""
        return ("ip", "netns", "exec", self.namespace)

    def pull(self) -> None:
        """Partition: packets of either side vanish, and nobody is told."""
        _ip("-n", self.namespace, "link", "set", "eth", "down")

    def plug(self) -> None:
        """Heal."""
        _ip("-n", self.namespace, "link", "set", "eth", "up")


@contextmanager
def cable() -> Iterator[Cable]:
    """Another network namespace, with a link to this one."""
    name = f"recsys{uuid.uuid4().hex[:6]}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth", "netns", name)
        _ip("addr", "add", f"{_CLIENT}/30", "dev", name)
        _ip("link", "set", name, "up")
        for device in ("lo", "eth"):
            _ip("-n", name, "link", "set", device, "up")
        _ip("-n", name, "addr", "add", f"{_SERVER}/30", "dev", "eth")
        yield Cable(name, name)
    finally:
        _ip("netns", "del", name)


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[None]:
    """A file system of its own under a directory, of a size such as ``4m``; what was there is copied in."""
    directory.mkdir(exist_ok=True)
    kept = directory.with_name(f"{directory.name}.kept")
    shutil.copytree(directory, kept)
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    subprocess.run(mounted, check=True, capture_output=True)
    try:
        shutil.copytree(kept, directory, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True, capture_output=True)
