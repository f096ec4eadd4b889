"""``recsys blurbs review``: texts that wait for a person, one after the other or by their ids."""

import getpass
import json
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from recsys.errors import ConfigError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from recsys.blurbs.entry import Entry
    from recsys.blurbs.review.case import Case
    from recsys.blurbs.review.room import Room


def review(
    *,
    reviewer: Annotated[
        str | None, typer.Option(help="Who decides, for the audit; else this account's name.")
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show what is to be decided, and end.")] = False,
    approve: Annotated[
        list[str] | None, typer.Option(help="Approve the text of this id; repeatable.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option(help="Reject the text of this id, with --reason; repeatable.")
    ] = None,
    edit: Annotated[
        str | None, typer.Option(help="Let --text through instead of the text of this id.")
    ] = None,
    block: Annotated[str | None, typer.Option(help="Reject this text, and show none about its item.")] = None,
    allow: Annotated[str | None, typer.Option(help="A word of --language that needs no fact.")] = None,
    forbid: Annotated[str | None, typer.Option(help="A term that no text may have from now on.")] = None,
    text: Annotated[str, typer.Option(help="With --edit: the text as it shall be.")] = "",
    reason: Annotated[
        str, typer.Option(help="With --reject: a code; with --edit or --approve: why the gate is wrong.")
    ] = "",
    note: Annotated[str, typer.Option(help="With --reject or --block: in your own words.")] = "",
    language: Annotated[str, typer.Option(help="With --allow: BCP 47.")] = "en",
    limit: Annotated[int, typer.Option(min=1, help="Most texts.")] = 50,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Decide on texts: in the terminal, or by id. Each decision is kept at once, with who and when."""
    from recsys.blurbs.review.room import Room

    with closing(Room(Workspace(workspace), reviewer or getpass.getuser())) as room:
        if allow is not None:
            room.terms.allow(language, allow)
        if forbid is not None:
            room.terms.forbid(forbid)
        done = [room.desk.approve(room.case(name), reason) for name in approve or ()]
        done += [room.desk.reject(room.case(name), reason, note) for name in reject or ()]
        done += [room.desk.edit(room.case(edit), text, reason)] if edit is not None else []
        done += [room.desk.block(room.case(block), note)] if block is not None else []
        if show_list:
            _list(room.cases(limit), json_output=json_output)
        elif done or allow is not None or forbid is not None:
            _say(done, json_output=json_output)
        elif json_output:
            raise ConfigError("--json takes --list, or a decision by id")
        else:
            _sit_down(room, limit)


def _sit_down(room: "Room", limit: int) -> None:
    from recsys.blurbs.review.session import Session

    console = Console()
    cases = room.cases(limit)
    session = Session(room.desk, room.lexicons, room.terms, console)
    try:
        session.over(cases)
    except (KeyboardInterrupt, typer.Abort):
        console.print("\nstopped; what was decided is kept")
    decided = ", ".join(f"{number} {state}" for state, number in session.num_decided.items())
    console.print(
        f"{decided or 'nothing'} of {len(cases)}; {room.sample_words()}", highlight=False, markup=False
    )


def _list(cases: "list[Case]", *, json_output: bool) -> None:
    if json_output:
        typer.echo(json.dumps([case.as_document() for case in cases], ensure_ascii=False))
        return
    console = Console()
    for case in cases:
        codes = ", ".join(dict.fromkeys(reason.code for reason in case.verdict.reasons))
        approved = f"; approved by {', '.join(case.approvals)}" if case.approvals else ""
        item_id, occasion = case.entry.request.slot.item_id, case.occasion
        lines = (
            f"{case.entry.blurb_id}  {occasion}, weight {case.weight:,.1f}, item {item_id}{approved}",
            f"    {case.entry.text}",
            f"    {codes or 'nothing speaks against it'}",
        )
        for line in lines:  # one line each, however narrow the terminal: ids are there to be copied
            console.print(Text(line), soft_wrap=True)


def _say(done: "list[Entry]", *, json_output: bool) -> None:
    told = [
        {"id": entry.blurb_id, "state": entry.state, "source": entry.source, "text": entry.text}
        for entry in done
    ]
    if json_output:
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    for one in told:
        typer.echo(f"{one['id']} is {one['state']}: {one['text']}")
    if not told:
        typer.echo("done; the next `recsys blurbs generate` checks all texts again")
