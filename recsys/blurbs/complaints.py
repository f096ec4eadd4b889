"""What becomes of a text that shoppers reported: it leaves its slot and waits for a person."""

from recsys.blurbs.book import Book

SHOPPERS = "shoppers"
"""Who acts, in the audit."""


def hold_back(book: Book, blurb_id: str, now_ms: int, reason: str, *, as_of: int | None = None) -> bool:
    """Send an approved text to review; false where the book holds no such text, or it is not shown.

    Args:
        book: Where it is.
        blurb_id: The text.
        now_ms: The time.
        reason: The last report's, for the audit.
        as_of: Do nothing if the audit has a line after this one: a person may have approved it since.

    Raises:
        BlurbError: The book cannot be written.
    """
    with book.file.transaction():
        (last,) = book.file.rows("SELECT COALESCE(MAX(sequence), 0) FROM audit")[0]
        if as_of is not None and last > as_of:
            return False
        found = book.file.rows("SELECT * FROM blurbs WHERE blurb_id = ? AND state = 'approved'", (blurb_id,))
        for row in found:
            book.file.change("UPDATE blurbs SET state = 'review' WHERE key = ?", (row["key"],))
            slot = [row[name] for name in ("item_id", "language", "segment", "length", "policy")]
            book.file.note(now_ms, SHOPPERS, "reported", key=row["key"], slot=slot, detail=reason)
    return bool(found)
