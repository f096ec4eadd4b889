"""What tests of the pipeline share: an item, a gate that is easy to please, and a generator on a book."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.blurbs.backends.backend import Backend
from recsys.blurbs.backends.openai import OpenAiBackend
from recsys.blurbs.book import Book
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.facts import Facts
from recsys.blurbs.generator import Generator
from recsys.blurbs.row import BlurbSlot
from recsys.blurbs.verdict import Reason, Verdict

NOON = 1_800_000_000_000
SPOON = {
    "item_id": "spoon",
    "title": "Beech spoon",
    "description": "A spoon of beech for every pot in the house.",
    "category": ["Kitchen"],
    "attributes": {"material": "beech", "length": "30 cm"},
}
FACTS = Facts.of(SPOON)
SLOT = BlurbSlot("spoon", "en")


@dataclass
class WordGate:
    """Refuses texts with the word ``false``, sends ``unsure`` ones to a person, and breaks at ``break``."""

    version: str = "w1"

    def check(self, facts: Facts, text: str, language: str, others: Sequence[str] = ()) -> Verdict:
        if "break" in text:
            raise RuntimeError("the gate broke")
        if not text or "false" in text or language == "xx" or text in others or not facts.title:
            return Verdict.of([Reason("number", "false")])
        return Verdict.of([Reason("unsure", "unsure", severity="review")] if "unsure" in text else [])


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.ms = NOON

    def __call__(self) -> int:
        return self.ms


def config(url: str = "", **settings: Any) -> BlurbConfig:
    return BlurbConfig(**{"backend": "openai", "model": "m", "base_url": url, "parallel": 4} | settings)


@asynccontextmanager
async def generator(
    path: Path, settings: BlurbConfig, backend: Backend | None = None, clock: Clock | None = None
) -> AsyncIterator[Generator]:
    """A generator on the book at a path."""
    book = Book(path)
    backend = OpenAiBackend(settings) if backend is None else backend
    now = Clock() if clock is None else clock
    try:
        yield Generator(book, backend, WordGate(), settings, now_ms=now, draw=random.Random(0))
    finally:
        await backend.close()
        book.close()
