"""What was withdrawn, in a form that servers can hold against the items' own words: hashes and terms.

A text that was withdrawn, or waits for a person, must not come back as a line that is cut on the spot. Lines
are cut at different lengths, so texts are compared by how they begin.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from recsys.blurbs.book import Book
from recsys.blurbs.term import folded, terms_in
from recsys.errors import StoreError

_VERSION: Final = 1
_HEAD_LETTERS: Final = 32
"""Letters and digits that are compared; the shortest length class has room for more."""
_TEXTS: Final = "SELECT item_id, text FROM blurbs WHERE state IN ('revoked', 'review') AND text <> ''"
_TERMS: Final = "SELECT value FROM revocations WHERE kind = 'term'"


@dataclass(frozen=True)
class Withdrawn:
    """Texts and terms that no line may have; the default is none."""

    heads: frozenset[str] = frozenset()
    """See ``text_head``."""
    terms: tuple[str, ...] = ()
    """Folded."""

    def has(self, head: str, text: str) -> bool:
        """Whether a line must not be shown.

        Args:
            head: The line's, see ``text_head``.
            text: The line.
        """
        return head in self.heads or bool(self.terms and terms_in(text, self.terms))

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]], terms: Iterable[str]) -> "Withdrawn":
        """From pairs of item id and text, and terms."""
        heads = frozenset(text_head(item_id, text) for item_id, text in texts)
        return cls(heads, tuple(sorted({folded(term) for term in terms})))

    @classmethod
    def in_book(cls, book: Book) -> "Withdrawn":
        """What a book says.

        Raises:
            BlurbError: It cannot be read.
        """
        texts = ((str(row["item_id"]), str(row["text"])) for row in book.file.rows(_TEXTS))
        return cls.of(texts, (str(row["value"]) for row in book.file.rows(_TERMS)))

    def to_bytes(self) -> bytes:
        """The inverse of ``from_bytes``."""
        return bytes((_VERSION,)) + json.dumps([sorted(self.heads), self.terms], ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Withdrawn":
        """Read what ``to_bytes`` wrote.

        Raises:
            StoreError: The bytes are damaged or of another version.
        """
        if not raw or raw[0] != _VERSION:
            raise StoreError(f"withdrawn texts of version {raw[0] if raw else 'none'}, expected {_VERSION}")
        try:
            heads, terms = json.loads(raw[1:])
            return cls(frozenset(heads), tuple(terms))
        except (ValueError, TypeError) as error:
            raise StoreError(f"withdrawn texts cannot be read: {type(error).__name__}") from error


def text_head(item_id: str, text: str) -> str:
    """A hash of an item and how a text begins, whatever its case, punctuation and end: 16 hex digits."""
    letters = [letter for letter in folded(text) if letter.isalnum()]
    return hashlib.sha256(f"{item_id}\n{''.join(letters[:_HEAD_LETTERS])}".encode()).hexdigest()[:16]
