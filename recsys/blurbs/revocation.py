"""Withdraws texts for good, and turns blurbs off and on; each leaves its line in the audit."""

import json
from typing import Final, Literal, get_args

from recsys.blurbs.book import Book
from recsys.blurbs.switches import Scope
from recsys.errors import ConfigError

Kind = Literal["item", "prompt", "model", "category", "seller", "term", "blurb"]
"""What texts have in common that are withdrawn: for ``term``, a word or phrase that stands in them."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_WHERE: Final[dict[Kind, str]] = {
    "item": "item_id = ?",
    "prompt": "prompt_version = ?",
    "model": "model = ?",
    "category": "' > ' || category || ' > ' LIKE '%' || ' > ' || ? || ' > ' || '%'",
    "seller": "seller = ?",
    "term": "text LIKE '%' || ? || '%' ESCAPE '\\'",
    "blurb": "blurb_id = ?",
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
        value: The item's id, the prompt's version, the model, a category, a seller, a term, or a blurb's id.
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
    sought = _escaped(value) if kind == "term" else value
    with book.file.transaction():
        book.file.change("INSERT OR IGNORE INTO revocations VALUES (?, ?, ?)", (kind, value, now_ms))
        book.file.note(now_ms, actor, "revocation", detail={"kind": kind, "value": value})
        found = book.file.rows(f"SELECT * FROM blurbs WHERE {_STATES} AND {_WHERE[kind]}", (sought,))
        for row in found:
            book.file.change("UPDATE blurbs SET state = 'revoked', fence = 0 WHERE key = ?", (row["key"],))
            slot = [row[name] for name in ("item_id", "language", "segment", "length", "policy")]
            reason = {"kind": kind, "value": value}
            book.file.note(now_ms, actor, "revoked", key=row["key"], slot=slot, detail=reason)
    return len(found)


def revoked_terms(book: Book) -> list[str]:
    """Terms that no text may have."""
    return [row[0] for row in book.file.rows("SELECT value FROM revocations WHERE kind = 'term'")]


def switch(book: Book, scope: Scope, name: str, now_ms: int, actor: str, *, on: bool) -> None:
    """Show no blurbs of a category, item or seller, or none at all, until they are turned on again.

    Raises:
        ConfigError: The scope needs a name, or has one and needs none.
        BlurbError: The book cannot be written.
    """
    if bool(name.strip()) == (scope == "everything"):
        raise ConfigError(f"the switch {scope} takes {'no' if name else 'a'} name, got {name!r}")
    statement = (
        "DELETE FROM switches WHERE scope = ? AND name = ?"
        if on
        else "INSERT OR IGNORE INTO switches VALUES (?, ?)"
    )
    with book.file.transaction():
        book.file.change(statement, (scope, name))
        detail = {"scope": scope, "name": name}
        book.file.note(now_ms, actor, "switched on" if on else "switched off", detail=detail)


def audit_lines(book: Book, limit: int = 100) -> list[dict[str, object]]:
    """The last lines of the audit, newest first."""
    found = book.file.rows("SELECT * FROM audit ORDER BY sequence DESC LIMIT ?", (limit,))
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in found]


def _escaped(value: str) -> str:
    """So that ``%`` and ``_`` mean themselves in LIKE."""
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
