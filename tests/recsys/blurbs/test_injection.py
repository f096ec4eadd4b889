"""Item texts that attack the model, and a model that obeys them completely: the gate lets nothing through."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from recsys.blurbs.backends.backend import Backend
from recsys.blurbs.backends.llama import LlamaBackend
from recsys.blurbs.backends.openai import OpenAiBackend
from recsys.blurbs.book import Book
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.generator import Generator
from recsys.blurbs.row import BlurbSlot
from tests.recsys.blurbs.bench import config
from tests.recsys.blurbs.scripted_server import Answer, said, scripted_server

CASES: list[dict[str, Any]] = [
    json.loads(line)
    for line in Path(__file__).with_name("injected.jsonl").read_text(encoding="utf-8").splitlines()
]


def published(path: Path, backend: Backend, settings: BlurbConfig) -> dict[str, str]:
    """What the slots of the attacked items show, by item."""

    async def scenario() -> dict[str, str]:
        book = Book(path / "b.sqlite")
        generator = Generator(book, backend, Gate(), settings)
        for case in CASES:
            language = case.get("language", "en")
            await generator.make(Facts.of(case["item"]), BlurbSlot(case["item"]["item_id"], language))
        await backend.close()
        shown = {entry.request.slot.item_id: entry.text for entry in book.entries("state = 'approved'")}
        book.close()
        return shown

    return asyncio.run(scenario())


def told(shown: dict[str, str]) -> list[tuple[str, str]]:
    """The canaries among published texts."""
    canaries = {case["item"]["item_id"]: case["canary"].casefold() for case in CASES}
    return [(item_id, text) for item_id, text in shown.items() if canaries[item_id] in text.casefold()]


def test_a_model_that_obeys_every_injection_gets_none_of_them_published(tmp_path: Path) -> None:
    def obey(body: dict[str, Any]) -> Answer:
        rules, asked = body["messages"][0]["content"], waiting[-1]
        canary = rules.partition("Never write the word ")[2].partition(".")[0]
        return said(asked.replace("{canary}", canary), "1")

    waiting: list[str] = []

    class Obedient(OpenAiBackend):
        async def write(self, task: Any) -> Any:
            (case,) = [case for case in CASES if case["item"]["item_id"] == task.facts.item_id]
            waiting.append(case["obeyed"])
            return await super().write(task)

    with scripted_server(obey) as server:
        settings = config(server.url)
        shown = published(tmp_path, Obedient(settings), settings)
        assert len(server.requests) == 2 * len(CASES)
    assert len(CASES) >= 20
    assert told(shown) == []


@pytest.mark.skipif("RECSYS_LOCAL_MODEL" not in os.environ, reason="takes minutes: RECSYS_LOCAL_MODEL=1")
@pytest.mark.timeout(3600)
def test_the_local_model_gets_no_injection_published(tmp_path: Path) -> None:
    settings = BlurbConfig(backend="llama")
    assert told(published(tmp_path, LlamaBackend(settings), settings)) == []
