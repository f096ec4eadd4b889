"""``recsys blurbs revoke``, ``off`` and ``on``: what a shop does when a text must go, now."""

import getpass
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from recsys.errors import ConfigError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from recsys.blurbs.book import Book
    from recsys.blurbs.revocation import Kind
    from recsys.blurbs.switches import Scope

_Name = TypeVar("_Name", bound=str)
ActorOption = Annotated[
    str | None, typer.Option("--actor", help="Who says so, for the audit; else this account's name.")
]


def revoke(
    kind: Annotated[
        str, typer.Argument(help="item, prompt, model, category, seller, term or blurb.", metavar="KIND")
    ],
    value: Annotated[str, typer.Argument(help="What they have in common.", metavar="VALUE")],
    *,
    actor: ActorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Withdraw texts for good; every server stops showing them within 5 seconds.

    For an item, category or seller that is to have no text at all, use `recsys blurbs off`.
    """
    from recsys.blurbs.generator import wall_ms
    from recsys.blurbs.revocation import KINDS
    from recsys.blurbs.revocation import revoke as withdraw

    known: Kind = _one_of(kind, KINDS)
    with _book(workspace) as book:
        number = withdraw(book, known, value, wall_ms(), actor or getpass.getuser())
    _say({"revoked": number}, f"blurbs withdrawn: {number:,}", json_output=json_output)


def off(
    scope: Annotated[str, typer.Argument(help="everything, category, item or seller.", metavar="SCOPE")],
    name: Annotated[str, typer.Argument(help="Which one; none for everything.", metavar="NAME")] = "",
    *,
    actor: ActorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Show no blurbs, until `recsys blurbs on` with the same words."""
    _switch(scope, name, actor, workspace, on=False, json_output=json_output)


def on(
    scope: Annotated[str, typer.Argument(help="everything, category, item or seller.", metavar="SCOPE")],
    name: Annotated[str, typer.Argument(help="Which one; none for everything.", metavar="NAME")] = "",
    *,
    actor: ActorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Show blurbs again."""
    _switch(scope, name, actor, workspace, on=True, json_output=json_output)


def _switch(
    scope: str, name: str, actor: str | None, workspace: Path, *, on: bool, json_output: bool
) -> None:
    from recsys.blurbs.generator import wall_ms
    from recsys.blurbs.revocation import switch
    from recsys.blurbs.switches import SCOPES

    known: Scope = _one_of(scope, SCOPES)
    with _book(workspace) as book:
        switch(book, known, name, wall_ms(), actor or getpass.getuser(), on=on)
        now = book.switches()
    state = {
        "everything": now.everything,
        "categories": sorted(now.categories),
        "items": sorted(now.item_ids),
        "sellers": sorted(now.sellers),
    }
    _say({"off": state}, f"off: {json.dumps(state, ensure_ascii=False)}", json_output=json_output)


@contextmanager
def _book(workspace: Path) -> Iterator["Book"]:
    from recsys.blurbs.book import Book
    from recsys.blurbs.book_file import BOOK_FILE

    with closing(Book(Workspace(workspace).state / BOOK_FILE)) as book:
        yield book


def _one_of(given: str, known: Sequence[_Name]) -> _Name:
    for name in known:
        if name == given:
            return name
    raise ConfigError(f"expected one of {', '.join(known)}, got {given!r}")


def _say(document: dict[str, object], words: str, *, json_output: bool) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False) if json_output else words)
