"""The verb ``diagnose``: a diagnosis as tables for people, or as one JSON document."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, time_ms
from recsys.workspace import Workspace
from serving.commands import AtOption

if TYPE_CHECKING:
    from serving.diagnosis import ItemDiagnosis, UserDiagnosis
    from serving.diagnosis.standing import Place

diagnose = typer.Typer(help="Why a list is as it is, and why an item is shown or not.", no_args_is_help=True)

PlacementOption = Annotated[str, typer.Option(help="Which list to look at.")]


@diagnose.command("user")
def user(
    user_id: Annotated[str, typer.Argument(help="The user, known or not.", metavar="ID")],
    at: AtOption = None,
    placement: PlacementOption = "home",
    *,
    context: Annotated[list[str] | None, typer.Option(help="A context item; may be repeated.")] = None,
    novel: Annotated[bool, typer.Option("--novel", help="Leave out what the user had before.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Show what is known of a user, what the sources offer, what is taken out, and the list."""
    from serving.diagnosis import diagnose_user

    found = diagnose_user(
        Workspace(workspace),
        user_id,
        at_ms=time_ms(at, "--at") if at is not None else None,
        placement=placement,
        context_item_ids=tuple(context or ()),
        novel=novel,
    )
    if json_output:
        typer.echo(found.to_json())
    else:
        _show_user(Console(), found)


@diagnose.command("item")
def item(
    item_id: Annotated[str, typer.Argument(help="The item.", metavar="ID")],
    user: Annotated[str | None, typer.Option(help="A user to look at besides the sample.")] = None,
    at: AtOption = None,
    placement: PlacementOption = "home",
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Show what is known of an item, which sources can offer it, and where it stands for recent users."""
    from serving.diagnosis import diagnose_item

    found = diagnose_item(
        Workspace(workspace),
        item_id,
        user_id=user,
        at_ms=time_ms(at, "--at") if at is not None else None,
        placement=placement,
    )
    if json_output:
        typer.echo(found.to_json())
    else:
        _show_item(Console(), found)


def _show_user(console: Console, found: "UserDiagnosis") -> None:
    history = found.history
    _facts(
        console,
        f"user {found.user_id}, {found.placement}",
        {
            "as of": _time(found.as_of),
            "model": found.model_version,
            "events": _counts(history.events),
            "last event": _time(history.last_event_time),
            "items": f"{history.num_items:,}, of which {found.num_read_items:,} are read"
            f" ({history.num_unknown_items:,} are not in the catalogue)",
            "expired": f"{history.num_expired_rows:,} of {history.num_rows:,} pairs of item and event type",
            "service level": ", ".join((found.service_level.value, *found.degraded_reasons)),
        },
    )
    table = Table("source", "offered", "left")
    for count in found.sources:
        table.add_row(count.source, f"{count.offered:,}", f"{count.left:,}")
    table.add_row("any of them", f"{found.num_candidates:,}", f"{found.num_left:,}", style="bold")
    console.print(table)
    console.print(f"taken out: {_counts(found.removed)}", highlight=False, markup=False)
    console.print(_places(found.top))
    _say(console, found.findings)


def _show_item(console: Console, found: "ItemDiagnosis") -> None:
    facts = {
        "as of": _time(found.as_of),
        "model": found.model_version,
        "events": _counts(found.history.events),
        "last event": _time(found.history.last_event_time),
        "users": f"{found.history.num_users:,}",
    }
    if found.entry is not None:
        rank = found.entry.popularity_rank
        facts |= {
            "title": found.entry.title,
            "available": "yes" if found.entry.available else "no",
            "text": found.entry.text,
            "same text": f"{found.entry.num_sharing_text:,} other items",
            "popularity": f"number {rank:,}" if rank is not None else "nobody wants it",
        }
    _facts(console, f"item {found.item_id}, {found.placement}", facts)
    if found.reach:
        table = Table("source", "can offer it", "why", "users it is offered to")
        offered = found.exposure.by_source if found.exposure is not None else {}
        for each in found.reach:
            can_offer = {True: "yes", False: "no", None: "perhaps"}[each.can_offer]
            table.add_row(each.source, can_offer, each.why, f"{offered.get(each.source, 0):,}")
        console.print(table)
    if found.user is not None:
        shown = [place for place in (found.user.tenth, found.user.place) if place is not None]
        console.print(_places(sorted(shown, key=lambda place: place.rank)))
    _say(console, found.findings)


def _facts(console: Console, title: str, facts: dict[str, str]) -> None:
    table = Table("what", "found", title=Text(title), show_header=False)
    for name, value in facts.items():
        table.add_row(name, Text(value, overflow="fold"))
    console.print(table)


def _places(places: Iterable["Place"]) -> Table:
    table = Table("rank", "item", "title", "score", "sources", "what moved it most")
    for place in places:
        moved = ", ".join(f"{c.feature} {c.contribution:+.2f}" for c in place.contributions[:3])
        sources = ", ".join(place.sources)
        names = (Text(place.item_id), Text(place.title))
        table.add_row(str(place.rank), *names, f"{place.score:.3f}", sources, moved)
    return table


def _say(console: Console, findings: Iterable[str]) -> None:
    for finding in findings:
        console.print(f"- {finding}", highlight=False, markup=False)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()) or "none"


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment is not None else "never"
