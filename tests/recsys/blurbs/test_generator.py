"""Tests of how one blurb is made, with a real server of the OpenAI protocol that says what a test wants."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.backends.extractive import ExtractiveBackend
from recsys.blurbs.backends.openai import OpenAiBackend
from recsys.blurbs.entry import Entry, State
from recsys.blurbs.facts import Facts
from recsys.blurbs.prompt import Task
from recsys.blurbs.row import BlurbSlot, Source
from tests.recsys.blurbs.bench import FACTS, NOON, SLOT, SPOON, Clock, config, generator
from tests.recsys.blurbs.scripted_server import Answer, said, scripted_server

_HOUR_MS = 3_600_000


def made(path: Path, url: str, facts: Facts = FACTS, **settings: Any) -> tuple[Entry | None, Entry | None]:
    """What a generator makes of an item, and what its slot then shows."""

    async def scenario() -> tuple[Entry | None, Entry | None]:
        async with generator(path / "b.sqlite", config(url, **settings)) as maker:
            slot = BlurbSlot(facts.item_id, "en")
            return await maker.make(facts, slot), maker.book.approved(slot)

    return asyncio.run(scenario())


def test_a_text_that_passes_is_approved_with_all_that_serving_needs(tmp_path: Path) -> None:
    with scripted_server(lambda _: said("A spoon made of beech.", "3")) as server:
        entry, shown = made(tmp_path, server.url)
    assert shown == entry
    assert shown is not None
    row = shown.row()
    assert (row.text, row.source, row.ai_generated) == ("A spoon made of beech.", Source.GENERATED, True)
    assert (row.model, row.fact_ids, row.facts_hash) == ("m@unknown", ("3",), FACTS.content_hash)
    assert row.generated_at == NOON
    days = (row.fresh_until - NOON) / 86_400_000, (row.stale_until - NOON) / 86_400_000
    assert 6.3 <= days[0] <= 7.7
    assert 27 <= days[1] <= 33
    assert len(row.blurb_id) == 32


def test_a_refused_text_is_tried_once_more_with_the_reasons(tmp_path: Path) -> None:
    answers = iter(["A false spoon.", "A spoon of beech."])
    with scripted_server(lambda _: said(next(answers))) as server:
        entry, _ = made(tmp_path, server.url)
        asked = [request["messages"][-1]["content"] for request in server.requests]
    assert entry is not None
    assert (entry.state, entry.text) == (State.APPROVED, "A spoon of beech.")
    assert "refused" not in asked[0]
    assert "refused for: number" in asked[1]


def test_a_model_that_takes_no_objections_is_asked_once_a_run_and_told_how_often_before(
    tmp_path: Path,
) -> None:
    tasks: list[Task] = []
    clock = Clock()

    class Small(OpenAiBackend):
        num_attempts = 1

        async def write(self, task: Task) -> Draft:
            tasks.append(task)
            return await super().write(task)

    async def scenario(url: str) -> None:
        settings = config(url)
        async with generator(tmp_path / "b.sqlite", settings, Small(settings), clock) as maker:
            for _ in range(2):
                await maker.make(FACTS, SLOT)
                clock.ms += 25 * _HOUR_MS

    with scripted_server(lambda _: said("A false spoon.")) as server:
        asyncio.run(scenario(server.url))
    assert [(task.tries, task.objections) for task in tasks] == [(0, ()), (1, ())]


def test_what_is_refused_twice_rests_and_the_shops_own_words_are_shown(tmp_path: Path) -> None:
    with scripted_server(lambda _: said("A false spoon.")) as server:
        entry, shown = made(tmp_path, server.url)
        again, _ = made(tmp_path, server.url)
        assert len(server.requests) == 2
    assert entry is not None
    assert again is not None
    assert entry.state is again.state is State.REJECTED
    assert NOON + _HOUR_MS <= entry.retry_at <= NOON + 24 * _HOUR_MS
    assert shown is not None
    assert (shown.text, shown.source) == (SPOON["description"], Source.EXTRACTIVE)
    assert not shown.ai_generated


def test_a_refusal_is_forgotten_in_the_end(tmp_path: Path) -> None:
    answers = iter(["false", "false", "A spoon of beech."])
    clock = Clock()

    async def scenario(url: str) -> list[Entry | None]:
        async with generator(tmp_path / "b.sqlite", config(url), clock=clock) as maker:
            first = await maker.make(FACTS, SLOT)
            clock.ms += 25 * _HOUR_MS
            return [first, await maker.make(FACTS, SLOT), maker.book.approved(SLOT)]

    with scripted_server(lambda _: said(next(answers))) as server:
        first, second, shown = asyncio.run(scenario(server.url))
    assert first is not None
    assert second is not None
    assert (first.state, second.state, second.attempts) == (State.REJECTED, State.APPROVED, 1)
    assert shown == second


@pytest.mark.parametrize(
    ("category", "text"), [("Toys & Games", "A spoon of beech."), ("Kitchen", "A spoon, unsure.")]
)
def test_what_a_person_has_to_see_waits_and_own_words_are_shown(
    tmp_path: Path, category: str, text: str
) -> None:
    facts = Facts.of(SPOON | {"category": [category]})
    with scripted_server(lambda _: said(text)) as server:
        entry, shown = made(tmp_path, server.url, facts)
    assert entry is not None
    assert entry.state is State.REVIEW
    assert shown is not None
    assert shown.source is Source.EXTRACTIVE


def test_an_answer_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    with scripted_server(lambda _: said("A spoon of beech.", finish="length")) as server:
        entry, _ = made(tmp_path, server.url)
    assert entry is not None
    assert entry.state is State.REJECTED
    assert json.loads(entry.verdict)["reasons"][0]["code"] == "cut_off"


def test_a_repeated_canary_is_refused(tmp_path: Path) -> None:
    def leak(body: dict[str, Any]) -> Answer:
        rules = body["messages"][0]["content"]
        return said(f"A spoon {rules.partition('Never write the word ')[2].partition('.')[0]}")

    with scripted_server(leak) as server:
        entry, shown = made(tmp_path, server.url)
    assert entry is not None
    assert json.loads(entry.verdict)["reasons"][0]["code"] == "canary"
    assert shown is not None
    assert shown.source is Source.EXTRACTIVE


def test_nothing_passes_a_gate_that_breaks(tmp_path: Path) -> None:
    with scripted_server(lambda _: said("break")) as server:
        entry, _ = made(tmp_path, server.url)
    assert entry is not None
    assert entry.state is State.REJECTED


def test_200_who_miss_the_same_blurb_at_once_cost_one_generation(tmp_path: Path) -> None:
    def slowly(_: dict[str, Any]) -> Answer:
        time.sleep(0.1)
        return said("A spoon of beech.")

    async def scenario(url: str) -> list[Entry | None]:
        async with generator(tmp_path / "b.sqlite", config(url)) as maker:
            return await asyncio.gather(*(maker.make(FACTS, SLOT) for _ in range(200)))

    with scripted_server(slowly) as server:
        entries = asyncio.run(scenario(server.url))
        assert len(server.requests) == 1
    assert {entry.text for entry in entries if entry is not None} == {"A spoon of beech."}
    assert None not in entries


def test_two_processes_that_miss_the_same_blurb_cost_one_generation(tmp_path: Path) -> None:
    release = threading.Event()

    def held(_: dict[str, Any]) -> Answer:
        release.wait(60)
        return said("A spoon of beech.")

    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.recsys.blurbs.bench import FACTS, SLOT, config, generator\n"
        "async def main():\n"
        "    async with generator(Path(sys.argv[1]), config(sys.argv[2])) as maker:\n"
        "        print((await maker.make(FACTS, SLOT)).text)\n"
        "asyncio.run(main())\n"
    )

    async def scenario(url: str) -> list[Entry | None]:
        async with generator(tmp_path / "b.sqlite", config(url)) as maker:
            makes = [asyncio.create_task(maker.make(FACTS, SLOT)) for _ in range(100)]
            await asyncio.sleep(0.1)
            release.set()
            return await asyncio.gather(*makes)

    with scripted_server(held) as server:
        command = [sys.executable, "-c", program, str(tmp_path / "b.sqlite"), server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            while not server.requests and other.poll() is None:
                time.sleep(0.01)
            entries = asyncio.run(scenario(server.url))
            output = other.communicate()[0]
        assert len(server.requests) == 1
    assert output.splitlines()[-1] == "A spoon of beech."
    assert {entry.text for entry in entries if entry is not None} == {"A spoon of beech."}


def test_whoever_gives_up_does_not_stop_the_work_for_others(tmp_path: Path) -> None:
    async def scenario(url: str) -> Entry | None:
        async with generator(tmp_path / "b.sqlite", config(url)) as maker:
            impatient = asyncio.create_task(maker.make(FACTS, SLOT))
            patient = asyncio.create_task(maker.make(FACTS, SLOT))
            await asyncio.sleep(0.05)
            impatient.cancel()
            with pytest.raises(asyncio.CancelledError):
                await impatient
            return await patient

    def slowly(_: dict[str, Any]) -> Answer:
        time.sleep(0.2)
        return said("A spoon of beech.")

    with scripted_server(slowly) as server:
        entry = asyncio.run(scenario(server.url))
        assert len(server.requests) == 1
    assert entry is not None
    assert entry.state is State.APPROVED


def test_own_words_need_no_model(tmp_path: Path) -> None:
    async def scenario() -> Entry | None:
        settings = config()
        async with generator(tmp_path / "b.sqlite", settings, ExtractiveBackend()) as maker:
            return await maker.make(FACTS, SLOT)

    entry = asyncio.run(scenario())
    assert entry is not None
    assert (entry.state, entry.source, entry.request.model) == (
        State.APPROVED,
        Source.EXTRACTIVE,
        "extractive",
    )
