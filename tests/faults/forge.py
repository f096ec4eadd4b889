"""Starts ``recsys`` processes without their imports: a process that has imported everything forks them.

Half of a start is imports. The process runs no thread, so that it can fork at any time, as
``serving.supervisor`` does. It reads one JSON line per order and answers with one.
"""

import faulthandler
import json
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


def forge() -> None:
    """Fork for orders until there are no more."""
    import serving.commands
    import serving.supervisor
    import serving.worker  # noqa: F401  # what a server imports

    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        sys.stdout.write(json.dumps(_start(order) if "argv" in order else _ended(order["pid"])) + "\n")
        sys.stdout.flush()


def _start(order: dict[str, Any]) -> int:
    if pid := os.fork():
        return pid
    code = 1
    try:
        _become(order)
        from recsys.cli import run
        from recsys.fault_point import arm

        arm(os.environ.get("RECSYS_FAULT", ""))
        code = run(order["argv"], entry_points(group="recsys.commands"))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(order: dict[str, Any]) -> None:
    os.setpgid(0, 0)
    os.environ.update(order["env"])
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(Path(order["directory"]) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.enable()  # SIGABRT tells where every thread is


def _ended(pid: int) -> int | None:
    """The exit code of a process; ``None`` while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    forge()
