"""Tests of the way from the book to the online store."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from recsys.blurbs.book import Book
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.entry import JobResult, Request, State
from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.judging import as_json
from recsys.blurbs.review.desk import Desk
from recsys.blurbs.review.queue import Queue
from recsys.blurbs.revocation import revoke, switch
from recsys.blurbs.row import BlurbSlot, Source
from recsys.blurbs.verdict import Reason, Verdict
from recsys.blurbs.withdrawn import Withdrawn, text_head
from serving.blurb_publisher import BlurbPublisher
from serving.blurb_store import BlurbMark, BlurbStore, BlurbWriter, OvertakenError
from serving.embedded_store import embedded_store
from serving.store_clients import connect

NOW = round(time.time() * 1000)
FACTS = Facts.of({"item_id": "spoon", "title": "Spoon"})
SLOT = BlurbSlot("spoon", "en")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_store() as where:
        yield where


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield client


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with closing(Book(tmp_path / "b.sqlite")) as opened:
        yield opened


def approve(book: Book, item_id: str, text: str, days: float = 30) -> BlurbSlot:
    slot = BlurbSlot(item_id, "en")
    facts = (FACTS.canonical, FACTS.content_hash)
    request = Request(f"{item_id}{text}", slot, *facts, "Kitchen", None, "p1", "m@1", "g1")
    book.enqueue([request], NOW)
    (job,) = book.claim(1, NOW, key=request.key)
    until = NOW + round(days * 86_400_000)
    book.finish(job, JobResult(State.APPROVED, text, Source.GENERATED, (), "{}", NOW, until, until), NOW)
    return slot


def shown(url: str, *slots: BlurbSlot) -> list[str | None]:
    async def scenario() -> list[str | None]:
        async with connect(url, 10_000) as client:
            rows = await BlurbStore(client, "t").read(slots)
            return [None if row is None else row.text for row in rows]

    return asyncio.run(scenario())


def test_what_is_approved_is_served_and_what_is_revoked_is_not(
    url: str, raw: redis.Redis, book: Book
) -> None:
    publisher = BlurbPublisher(book, BlurbWriter(raw, "t"))
    spoon, fork = approve(book, "spoon", "A spoon."), approve(book, "fork", "A fork.")
    assert publisher.publish() == 2
    assert shown(url, spoon, fork) == ["A spoon.", "A fork."]
    approve(book, "spoon", "A better spoon.")
    revoke(book, "item", "fork", NOW, "anna")
    assert publisher.publish() == 2
    assert shown(url, spoon, fork) == ["A better spoon.", None]
    assert publisher.publish() == 0


def test_a_store_that_was_emptied_gets_everything_again(url: str, raw: redis.Redis, book: Book) -> None:
    spoon = approve(book, "spoon", "A spoon.")
    switch(book, "seller", "acme", NOW, "anna", on=False)
    publisher = BlurbPublisher(book, BlurbWriter(raw, "t"))
    publisher.publish()
    raw.flushall()
    publisher.publish()
    assert shown(url, spoon) == ["A spoon."]

    async def off() -> frozenset[str]:
        async with connect(url, 10_000) as client:
            return (await BlurbStore(client, "t").state())[1].sellers

    assert asyncio.run(off()) == {"acme"}


def test_another_book_takes_the_store_over(url: str, raw: redis.Redis, book: Book, tmp_path: Path) -> None:
    spoon = approve(book, "spoon", "A spoon.")
    BlurbPublisher(book, BlurbWriter(raw, "t")).publish()
    with closing(Book(tmp_path / "other.sqlite")) as other:
        fork = approve(other, "fork", "A fork.")
        BlurbPublisher(other, BlurbWriter(raw, "t")).publish()
    assert shown(url, spoon, fork) == [None, "A fork."]


def test_what_may_be_shown_no_more_is_not_published(url: str, raw: redis.Redis, book: Book) -> None:
    spoon = approve(book, "spoon", "A spoon.", days=-1)
    BlurbPublisher(book, BlurbWriter(raw, "t")).publish()
    assert shown(url, spoon) == [None]


def test_a_revoked_blurb_is_gone_from_the_store_while_the_publisher_runs(
    url: str, raw: redis.Redis, book: Book
) -> None:
    spoon = approve(book, "spoon", "A spoon.")

    async def scenario() -> float:
        task = asyncio.create_task(BlurbPublisher(book, BlurbWriter(raw, "t")).run(0.05))
        async with connect(url, 10_000) as client:
            store = BlurbStore(client, "t")
            while await store.read([spoon]) == [None]:
                await asyncio.sleep(0.01)
            revoke(book, "model", "m@1", NOW, "anna")
            started = time.monotonic()
            while await store.read([spoon]) != [None]:
                await asyncio.sleep(0.01)
        task.cancel()
        return time.monotonic() - started

    assert asyncio.run(asyncio.wait_for(scenario(), 30)) < 30


def test_what_a_person_approves_is_served_and_what_they_reject_later_is_not(
    url: str, raw: redis.Redis, book: Book
) -> None:
    request = Request("k", SLOT, FACTS.canonical, FACTS.content_hash, "Kitchen", None, "p1", "m@1", "g1")
    book.enqueue([request], NOW)
    (job,) = book.claim(1, NOW)
    verdict = as_json(Verdict.of([Reason("unsure", "spoon", severity="review")]))
    book.finish(job, JobResult(State.REVIEW, "A spoon.", Source.GENERATED, (), verdict, NOW, NOW, NOW), NOW)
    publisher = BlurbPublisher(book, BlurbWriter(raw, "t"))
    publisher.publish()
    assert shown(url, SLOT) == [None]
    queue = Queue(book, BlurbConfig(review_doubles=1))
    (case,) = queue.cases("anna")
    Desk(book, Gate(), BlurbConfig(), "anna").approve(case)
    publisher.publish()
    assert shown(url, SLOT) == ["A spoon."]
    (again,) = queue.cases("ben")
    Desk(book, Gate(), BlurbConfig(), "ben").reject(again, "style")
    publisher.publish()
    assert shown(url, SLOT) == [None]


def test_what_is_withdrawn_does_not_wait_for_a_backlog(
    url: str, raw: redis.Redis, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.blurb_publisher.BATCH", 2)
    spoon = approve(book, "spoon", "A spoon.")
    BlurbPublisher(book, BlurbWriter(raw, "t")).publish()
    for number in range(4):
        approve(book, f"fork-{number}", "A fork.")
    shown_first: list[str | None] = []

    class Slow(BlurbWriter):
        num_batches = 0

        def publish(self, *rows: Any, **marks: Any) -> BlurbMark:
            mark = super().publish(*rows, **marks)
            self.num_batches += 1
            if self.num_batches == 1:
                revoke(book, "item", "spoon", NOW, "anna")
            if self.num_batches == 2:
                shown_first.extend(shown(url, spoon))
            return mark

    assert BlurbPublisher(book, Slow(raw, "t")).publish() == 5
    assert shown_first == [None]
    assert shown(url, BlurbSlot("fork-3", "en")) == ["A fork."]

    async def withdrawn() -> Withdrawn:
        async with connect(url, 10_000) as client:
            return await BlurbStore(client, "t").withdrawn()

    assert asyncio.run(withdrawn()).has(text_head("spoon", "A spoon"), "A spoon")


def test_a_publisher_that_was_overtaken_writes_nothing(url: str, raw: redis.Redis, book: Book) -> None:
    spoon = approve(book, "spoon", "A spoon.")
    BlurbPublisher(book, BlurbWriter(raw, "t")).publish()
    approve(book, "spoon", "A better spoon.")

    class Overtaken(BlurbWriter):
        def publish(self, *rows: Any, **marks: Any) -> BlurbMark:
            revoke(book, "item", "spoon", NOW, "anna")
            BlurbPublisher(book, BlurbWriter(raw, "t")).publish()
            return super().publish(*rows, **marks)

    with pytest.raises(OvertakenError):
        BlurbPublisher(book, Overtaken(raw, "t")).publish()
    assert shown(url, spoon) == [None]


def test_a_hidden_text_that_the_book_was_not_told_of_goes_to_review(book: Book, raw: redis.Redis) -> None:
    approve(book, "spoon", "Beech wood.")
    publisher, entry = BlurbPublisher(book, BlurbWriter(raw, "default")), book.approved(SLOT)
    assert entry is not None
    publisher.publish()
    raw.sadd("recsys:default:{default:blurbs}:hidden", entry.row().blurb_id)
    with book.file.transaction():  # somebody decides something that is not published yet
        book.file.note(NOW, "someone", "approved")
    assert publisher.hold_back_hidden() == 0
    publisher.publish()
    assert publisher.hold_back_hidden() == 1
    assert book.approved(SLOT) is None
    assert publisher.hold_back_hidden() == 0
