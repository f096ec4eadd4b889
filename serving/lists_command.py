"""``recsys lists``: what an attribution token stands for."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.errors import ConfigError, InvalidRequestError
from recsys.experiments.exposures import scan_served_lists
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.schema import LIST_ID, SERVED_TIME
from recsys.workspace import Workspace

_LIST_ID = re.compile(r"[0-9a-f]{32}")

lists = typer.Typer(help="The lists that a server answered with.", no_args_is_help=True)


@lists.command("show")
def show(
    token: Annotated[
        str, typer.Argument(metavar="TOKEN|LIST_ID", help="An attribution token, or a list's id.")
    ],
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Show the list that an attribution token stands for: request, model, arms, items and propensities."""
    place = Workspace(workspace)
    found = find_list(place, list_id_of(place, token))
    if json_output:
        typer.echo(json.dumps(found))
        return
    rows = zip(found["item_ids"], found["scores"], found["propensities"], strict=True)
    arms = ", ".join(_arm(arm, found["substituted"] or ()) for arm in found["arms"]) or "none"
    table = Table("position", "item", "score", "propensity", caption=f"arms: {arms}")
    for position, (item_id, score, propensity) in enumerate(rows, found["first_position"]):
        table.add_row(str(position), Text(item_id), f"{score:.4f}", f"{propensity:.4g}")
    for name in ("list_id", "first_list_id", SERVED_TIME, "subject", "placement", "request_id"):
        typer.echo(f"{name:<14} {found[name] or '-'}")
    typer.echo(f"{'model':<14} {found['model_version']}, {found['service_level']}")
    typer.echo(f"{'policy':<14} {found['policy'] or 'as ranked'}")
    Console().print(table)


@lists.command("export")
def export(*, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json_output: JsonOption = False) -> None:
    """Move lists into served_lists/ now, also while servers run; else they do it with every compaction."""
    from serving.list_export import export_lists
    from serving.list_log import LIST_FILE, ListLog

    place, num_lists = Workspace(workspace), 0
    if (place.state / LIST_FILE).exists():
        with closing(ListLog(place.state / LIST_FILE)) as list_log:
            num_lists = export_lists(list_log, place.served_lists)
    typer.echo(json.dumps({"lists": num_lists}) if json_output else f"{num_lists:,} lists exported")


def _arm(arm: Mapping[str, Any], substituted: Sequence[str]) -> str:
    version = "" if arm["version"] is None else f" (version {arm['version']})"
    instead = ", by another model" if arm["experiment"] in substituted else ""
    return f"{arm['experiment']}: {arm['arm']}{version}{instead}"


def list_id_of(workspace: Workspace, token: str) -> str:
    """The list's id: as given, or from an attribution token.

    Raises:
        ConfigError: It is neither, or signed with other keys.
    """
    from serving.attribution_token import AttributionToken
    from serving.settings import load_settings
    from serving.signer import Signer, signing_keys

    if _LIST_ID.fullmatch(token):
        return token
    settings = load_settings()
    configured = None if settings.token_keys is None else settings.token_keys.get_secret_value()
    signer = Signer(signing_keys(configured, workspace.state), settings.tenant)
    try:
        return AttributionToken.read(signer, token).list_id
    except InvalidRequestError as error:
        raise ConfigError(f"{error}; a list's id has 32 hexadecimal digits") from error


def find_list(workspace: Workspace, list_id: str) -> dict[str, Any]:
    """A list, from the log of recent ones or from those that were exported.

    Returns:
        The columns of ``recsys.schema.SERVED_LIST_SCHEMA``, with the time as ISO 8601 text.

    Raises:
        ConfigError: No list has this id.
        IntakeError: The log of recent lists cannot be read.
    """
    from serving.list_log import LIST_FILE, ListLog
    from serving.served_list import served_frame

    frame = pl.DataFrame()
    if (workspace.state / LIST_FILE).exists():
        with closing(ListLog(workspace.state / LIST_FILE)) as list_log:
            recent = list_log.find([list_id])
        frame = served_frame(recent.values())
    if frame.is_empty():
        frame = scan_served_lists(workspace).filter(pl.col(LIST_ID) == list_id).collect()
    if frame.is_empty():
        raise ConfigError(
            f"no list {list_id} was served from {workspace.root}; see that the workspace is right"
        )
    row = frame.row(0, named=True)
    time: datetime = row[SERVED_TIME]
    return row | {SERVED_TIME: time.astimezone(UTC).isoformat(timespec="milliseconds")}
