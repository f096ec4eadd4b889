"""Withdraws texts for good, and turns blurbs off and on; each leaves its line in the audit."""

import json
import sqlite3
from typing import Final, Literal, get_args

from recsys.blurbs.book import Book
from recsys.blurbs.switches import Scope, names_same
from recsys.blurbs.term import folded, terms_in
from recsys.errors import ConfigError

Kind = Literal["item", "prompt", "model", "category", "seller", "term", "blurb"]
"""What texts have in common that are withdrawn: for ``term``, a word or phrase that stands in them."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_COLUMNS: Final[dict[Kind, str]] = {
    "item": "item_id",
    "prompt": "prompt_version",
    "model": "model",
    "seller": "seller",
    "blurb": "blurb_id",
}
_STATES: Final = "state IN ('queued', 'generated', 'review', 'approved', 'superseded')"


def revoke(book: Book, kind: Kind, value: str, now_ms: int, actor: str) -> int:
    """Withdraw all texts of a kind, shown or not; none of them ever comes back.

    Nothing is queued again for a prompt or a model that was withdrawn, and no text with a withdrawn term is
    let through. For an item, a category or a seller, new texts may be made once its facts change; use
    ``switch`` to keep them out.

    Args:
        book: Where they are.
        kind: What they have in common.
        value: The item's id, the prompt's version, the model, a category or a term, whatever their case, a
            seller, or a blurb's id.
        now_ms: The time.
        actor: Who says so.

    Returns:
        How many were withdrawn.

    Raises:
        ConfigError: The value is empty.
        BlurbError: The book cannot be written.
    """
    if not value.strip():
        raise ConfigError(f"expected the {kind} whose blurbs are withdrawn, got nothing")
    with book.file.transaction():
        book.file.change("INSERT OR IGNORE INTO revocations VALUES (?, ?, ?)", (kind, value, now_ms))
        book.file.note(now_ms, actor, "revocation", detail={"kind": kind, "value": value})
        found = _found(book, kind, value)
        for row in found:
            book.file.change("UPDATE blurbs SET state = 'revoked', fence = 0 WHERE key = ?", (row["key"],))
            slot = [row[name] for name in ("item_id", "language", "segment", "length", "policy")]
            reason = {"kind": kind, "value": value}
            book.file.note(now_ms, actor, "revoked", key=row["key"], slot=slot, detail=reason)
    return len(found)


def switch(book: Book, scope: Scope, name: str, now_ms: int, actor: str, *, on: bool) -> None:
    """Show no blurbs of a category, item or seller, or none at all, until they are turned on again.

    Raises:
        ConfigError: The scope needs a name, or has one and needs none.
        BlurbError: The book cannot be written.
    """
    if bool(name.strip()) == (scope == "everything"):
        raise ConfigError(f"the switch {scope} takes {'no' if name else 'a'} name, got {name!r}")
    with book.file.transaction():
        for row in book.file.rows("SELECT name FROM switches WHERE scope = ?", (scope,)):
            if names_same(scope, row["name"], name):
                book.file.change("DELETE FROM switches WHERE scope = ? AND name = ?", (scope, row["name"]))
        if not on:
            book.file.change("INSERT INTO switches VALUES (?, ?)", (scope, name))
        detail = {"scope": scope, "name": name}
        book.file.note(now_ms, actor, "switched on" if on else "switched off", detail=detail)


def audit_lines(book: Book, limit: int = 100) -> list[dict[str, object]]:
    """The last lines of the audit, newest first."""
    found = book.file.rows("SELECT * FROM audit ORDER BY sequence DESC LIMIT ?", (limit,))
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in found]


def _found(book: Book, kind: Kind, value: str) -> list[sqlite3.Row]:
    """Rows of a kind; what needs more than equality is compared here, for SQL folds ASCII alone."""
    if kind in _COLUMNS:
        return book.file.rows(f"SELECT * FROM blurbs WHERE {_STATES} AND {_COLUMNS[kind]} = ?", (value,))
    rows = book.file.rows(f"SELECT * FROM blurbs WHERE {_STATES}")
    if kind == "term":
        return [row for row in rows if terms_in(row["text"], [value])]
    part = _bounded(value)
    return [row for row in rows if part in _bounded(row["category"])]


def _bounded(path: str) -> str:
    """A category path, or some categories of one in a row, such that only whole ones are found in it."""
    return f" > {folded(path)} > "
