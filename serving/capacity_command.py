"""``recsys capacity``: how much memory a shop of a size needs."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

_MB = 1e6


def capacity(
    items: Annotated[
        int | None, typer.Option(min=1, help="Items of the shop; as many as there are when absent.")
    ] = None,
    users: Annotated[
        int | None, typer.Option(min=0, help="Users with a history; as many as there are when absent.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Server processes on one machine.")] = 1,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Say what memory this workspace's model takes per million items and per million users.

    It loads the model as a server does, adds up what it holds, and puts a sample of the users into a store.
    """
    from serving.capacity import MILLION, measure_capacity

    found = measure_capacity(Workspace(workspace))
    num_users = found.num_all_users if users is None else users
    num_items = found.num_items if items is None else items
    total = found.of(num_items, num_users, workers)
    if json_output:
        typer.echo(
            json.dumps(
                {
                    "model_version": found.model_version,
                    "items": found.num_items,
                    "parts": {name: vars(part) for name, part in found.parts.items()},
                    "program_bytes": found.program,
                    "worker_bytes": found.worker,
                    "shared_bytes_per_million_items": round(found.shared_per_million_items),
                    "private_bytes_per_million_items": round(found.private_per_million_items),
                    "store_bytes_per_million_users": round(found.per_million_users),
                    "users_measured": found.num_users,
                    "asked": {"items": num_items, "users": num_users, "workers": workers},
                    "total_bytes": round(total),
                }
            )
        )
        return
    each = MILLION / max(found.num_items, 1) / _MB
    table = Table(
        "MB per million items", "shared by all workers", "in every worker", title=found.model_version
    )
    for name, part in found.parts.items():
        table.add_row(name, f"{part.shared * each:,.0f}", f"{part.private * each:,.0f}")
    table.add_section()
    sums = (found.shared_per_million_items, found.private_per_million_items)
    table.add_row("all of them", *(f"{value / _MB:,.0f}" for value in sums))
    table.add_row("without items", f"{found.program / _MB:,.0f}", f"{found.worker / _MB:,.0f}")
    table.add_row("per million users, in the store", f"{found.per_million_users / _MB:,.0f}", "")
    table.add_section()
    asked = f"{num_items:,} items, {num_users:,} users, {workers} workers"
    table.add_row(asked, f"{total / _MB:,.0f} in all", "")
    Console().print(table)
    typer.echo(f"from {found.num_items:,} items and {found.num_users:,} users; see docs/capacity.md")
