"""Real processes to do harm to: servers, and stores that listen on a port."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from recsys.workspace import Workspace
from serving.client import Client, Connection
from serving.embedded_store import _find_binary
from tests.serving.running import free_port
from tests.serving.test_metrics import Samples, scrape

PATIENCE_SECONDS = 60.0
"""How long to wait for what takes a second on an idle machine."""
QUIET = {
    "RECSYS_LOG_LEVEL": "INFO",
    "RECSYS_LOG_FORMAT": "json",
    "RECSYS_ACCESS_LOG_SAMPLE": "0",
    "RECSYS_LOAD_ENCODER": "false",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
ENCODER_IS_THERE = "queries are read by the text encoder"
"""What a server logs when everything is loaded that it puts off at its start."""


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS, what: str = "it") -> float:
    """Wait until something holds; the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.01)
    return time.monotonic() - started


class Forge:
    """Starts servers by a fork, see ``forge``; one per test session."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | QUIET,
        )

    def order(self, **order: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@dataclass
class ServerProcess:
    """``recsys serve`` in a process of its own."""

    pid: int
    directory: Path
    """Holds its output."""
    metrics_port: int
    ended: Callable[[int], int | None] = field(repr=False)
    """The exit code of a process that ended, to be asked once it has."""
    address: str = ""
    code: int | None = None

    @property
    def err(self) -> str:
        """What it logged."""
        return (self.directory / "err").read_text(encoding="utf-8", errors="replace")

    @property
    def out(self) -> str:
        return (self.directory / "out").read_text(encoding="utf-8")

    def is_running(self) -> bool:
        if self.code is None:
            self.code = self.ended(self.pid)
        return self.code is None

    def wait_ready(self) -> float:
        """Wait until it serves; the seconds that took."""
        seconds = until(lambda: self.out.endswith("ready\n") or not self.is_running(), what="the start")
        assert self.is_running(), f"the server ended: {self.err[-2000:]}"
        self.address = self.out.splitlines()[-2].removeprefix("listening on ")
        return seconds

    def becomes_ready(self) -> bool:
        """Wait until it serves or has ended; whether it serves."""
        try:
            self.wait_ready()
        except AssertionError:
            if self.is_running():
                raise
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end; its exit code."""
        try:
            until(lambda: not self.is_running(), seconds, "the end of the server")
        except AssertionError:
            self.send(signal.SIGABRT)
            time.sleep(0.5)
            raise AssertionError(f"the server does not end: {self.err[-6000:]}") from None
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def client(self, timeout_seconds: float = PATIENCE_SECONDS) -> Client:
        return Client(Connection(self.address, timeout_seconds=timeout_seconds))

    def metrics(self) -> Samples:
        return scrape(self.metrics_port)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of a name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, of), value in self.metrics().items() if found == name and wanted <= of)

    def rss_bytes(self) -> int:
        """Memory that it holds."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Time of the processors that it took."""
        words = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in text.split()]


@contextmanager
def server_process(
    workspace: Workspace,
    directory: Path,
    *flags: str,
    forge: Forge | None = None,
    wait: bool = True,
    prefix: tuple[str, ...] = (),
    **env: str,
) -> Iterator[ServerProcess]:
    """Serve a workspace in a process of its own, which does not outlive the block.

    Args:
        workspace: What to serve.
        directory: For its output.
        *flags: Of ``recsys serve``, instead of a free port and the log's own time.
        forge: Forks it, which takes half the time.
        wait: Whether to wait until it is ready.
        prefix: A command to start it with, such as ``ip netns exec NAME``; needs no forge.
        **env: Environment variables.
    """
    directory.mkdir(parents=True, exist_ok=True)
    metrics_port = free_port()
    variables = QUIET | {"RECSYS_METRICS_PORT": str(metrics_port)} | env
    argv = ["serve", f"--workspace={workspace.root}", *(flags or ("--port=0", "--clock=replay"))]
    (directory / "out").touch()
    (directory / "err").touch()
    if forge is not None:
        pid = forge.order(argv=argv, env=variables, directory=str(directory))
        server = ServerProcess(pid, directory, metrics_port, lambda pid: forge.order(pid=pid))
    else:
        with (directory / "out").open("ab") as out, (directory / "err").open("ab") as err:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "recsys", *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | variables,
                process_group=0,
            )
        server = ServerProcess(process.pid, directory, metrics_port, lambda _: process.poll())
    try:
        if wait:
            server.wait_ready()
        yield server
    finally:
        if server.is_running():
            server.send(signal.SIGCONT)
            server.kill()


@dataclass
class StoreProcess:
    """A Valkey server on a port of the loopback address."""

    port: int
    options: Mapping[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, empty."""
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        options |= {"dir": tempfile.gettempdir()} | dict(self.options)  # a replica writes what it is sent
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [str(_find_binary()), *words], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        until(self._answers, 20, "the store's start")

    def _answers(self) -> bool:
        try:
            self.ask("PING")
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False
        return True

    def ask(self, *words: str | bytes) -> Any:
        """One command, as the default user."""
        password = self.options.get("requirepass")
        with redis.Redis(port=self.port, socket_timeout=5, password=password) as client:
            return client.execute_command(*words)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def store_process(**options: str) -> Iterator[StoreProcess]:
    """Run a store; option names have ``_`` for ``-``."""
    store = StoreProcess(free_port(), {name.replace("_", "-"): value for name, value in options.items()})
    store.start()
    try:
        yield store
    finally:
        store.kill()
