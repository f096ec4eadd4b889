"""The verb ``doctor``."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.doctor.contents import contents
from recsys.doctor.finding import Finding, Status, attempt
from recsys.doctor.installation import installation
from recsys.doctor.machine import machine
from recsys.doctor.store import store
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace


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
        **installation(workspace),
        **machine(workspace, port),
        **store(redis_url),
        **contents(workspace),
    }
    return {name: attempt(check, mend) for name, (check, mend) in checks.items()}


def _show(findings: dict[str, Finding]) -> None:
    colours = {Status.OK: "green", Status.WARNING: "yellow", Status.MISSING: "red"}
    table = Table("check", "status", "found", "how to mend it")
    for name, finding in findings.items():
        status = Text(finding.status, colours[finding.status])
        table.add_row(
            name, status, *(Text(words, overflow="fold") for words in (finding.found, finding.mend))
        )
    Console().print(table)
