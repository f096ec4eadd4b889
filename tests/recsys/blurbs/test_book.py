"""Tests of the book: a queue that nothing is lost from, and a history that nobody rewrites."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.blurbs.book import LEASE_MS, Book
from recsys.blurbs.entry import Job, JobResult, Request, State
from recsys.blurbs.judging import from_json
from recsys.blurbs.revocation import Kind, audit_lines, revoke, switch
from recsys.blurbs.row import BlurbSlot, Source
from recsys.blurbs.switches import OffSwitches
from recsys.errors import BlurbError, ConfigError
from tests.recsys.blurbs.bench import FACTS, NOON, SLOT

REQUEST = Request(
    key="k1",
    slot=SLOT,
    facts=FACTS.canonical,
    facts_hash=FACTS.content_hash,
    category="Home > Kitchen",
    seller="acme",
    prompt_version="p1",
    model="m@1",
    gate_version="g1",
    priority=1.0,
)
RESULT = JobResult(
    State.APPROVED, "A spoon of beech.", Source.GENERATED, ("3",), "{}", NOON, NOON + 10, NOON + 20
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "blurbs.sqlite"


@pytest.fixture
def book(path: Path) -> Iterator[Book]:
    with closing(Book(path)) as opened:
        yield opened


def approve(book: Book, request: Request = REQUEST, result: JobResult = RESULT) -> None:
    book.enqueue([request], NOON)
    (job,) = book.claim(1, NOON, key=request.key)
    assert book.finish(job, result, NOON)


def test_asking_twice_asks_once(book: Book) -> None:
    assert book.enqueue([REQUEST, REQUEST], NOON) == ["k1"]
    assert book.enqueue([REQUEST], NOON) == []
    assert [job.request for job in book.claim(10, NOON)] == [REQUEST]
    assert book.claim(10, NOON) == []


def test_the_highest_priority_comes_first(book: Book) -> None:
    book.enqueue([replace(REQUEST, key=str(n), priority=float(n)) for n in range(5)], NOON)
    assert [job.request.key for job in book.claim(2, NOON)] == ["4", "3"]
    assert [job.request.key for job in book.claim(9, NOON, model="other")] == []


def test_the_job_of_a_dead_process_is_taken_again_and_it_comes_too_late(path: Path, book: Book) -> None:
    book.enqueue([REQUEST], NOON)
    (lost,) = book.claim(1, NOON)
    with closing(Book(path)) as other:
        assert other.claim(1, NOON + LEASE_MS - 1) == []
        (taken,) = other.claim(1, NOON + LEASE_MS)
        assert taken.fence > lost.fence
        assert not book.finish(lost, replace(RESULT, text="too late"), NOON)
        assert other.finish(taken, RESULT, NOON)
    shown = book.approved(SLOT)
    assert shown is not None
    assert shown.text == RESULT.text


def test_a_job_that_is_given_back_is_free_at_once(book: Book) -> None:
    book.enqueue([REQUEST], NOON)
    (job,) = book.claim(1, NOON)
    book.drafted(job, "half", NOON)
    book.give_back(job)
    (again,) = book.claim(1, NOON)
    assert again.request == REQUEST


def test_a_refused_request_rests_until_its_time(book: Book) -> None:
    approve(book, result=replace(RESULT, state=State.REJECTED, retry_at=NOON + 5))
    assert book.enqueue([REQUEST], NOON + 4) == []
    assert book.enqueue([REQUEST], NOON + 5) == ["k1"]
    assert [job.attempts for job in book.claim(1, NOON + 5)] == [1]


def test_a_new_text_takes_the_slot_over(book: Book) -> None:
    approve(book)
    newer = replace(REQUEST, key="k2")
    approve(book, newer, replace(RESULT, text="A long spoon."))
    approve(book, replace(REQUEST, key="k3", slot=BlurbSlot("spoon", "de")))
    old, shown = book.find("k1"), book.approved(SLOT)
    assert old is not None
    assert shown is not None
    assert (old.state, shown.text) == (State.SUPERSEDED, "A long spoon.")
    assert book.find_blurb(shown.blurb_id) == shown


def test_the_audit_tells_everything_and_cannot_be_changed(path: Path, book: Book) -> None:
    approve(book)
    revoke(book, "item", "spoon", NOON + 1, "anna")
    lines = audit_lines(book)
    assert [(line["action"], line["actor"]) for line in reversed(lines)] == [
        ("queued", "generator"),
        ("approved", "generator"),
        ("revocation", "anna"),
        ("revoked", "anna"),
    ]
    detail = lines[2]["detail"]
    assert isinstance(detail, dict)
    assert {"text", "model", "prompt_version", "facts", "verdict", "gate_version"} <= set(detail)
    with closing(sqlite3.connect(path)) as raw:
        for statement in ("UPDATE audit SET actor = 'eve'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)


@pytest.mark.parametrize(
    ("kind", "value", "misses"),
    [
        ("item", "spoon", "spoo"),
        ("prompt", "p1", "p"),
        ("model", "m@1", "m"),
        ("category", "Kitchen", "Kitch"),
        ("category", "kitchen", "%"),
        ("category", "HOME > Kitchen", "_ome"),
        ("category", "Home > Kitchen", "Home > Kit"),
        ("seller", "acme", "ac"),
        ("term", "of BEECH", "o_ beech"),
        ("term", "SPOON", "%"),
    ],
)
def test_a_revoked_text_is_gone_and_never_comes_back(book: Book, kind: Kind, value: str, misses: str) -> None:
    approve(book)
    assert revoke(book, kind, misses, NOON, "anna") == 0
    assert book.approved(SLOT) is not None
    assert revoke(book, kind, value, NOON, "anna") == 1
    assert book.approved(SLOT) is None
    assert book.enqueue([REQUEST], NOON + 10**12) == []
    entry = book.find("k1")
    assert entry is not None
    assert entry.state is State.REVOKED


def test_what_is_being_written_for_a_revoked_item_is_refused(book: Book) -> None:
    book.enqueue([REQUEST], NOON)
    (job,) = book.claim(1, NOON)
    assert isinstance(job, Job)
    revoke(book, "blurb", "nothing of this name", NOON, "anna")
    revoke(book, "item", "spoon", NOON, "anna")
    assert not book.finish(job, RESULT, NOON)


@pytest.mark.parametrize("term", ["überraschend", "STRASSE", "u\u0308berraschend"])
def test_a_term_is_found_in_any_alphabet_and_encoding(book: Book, term: str) -> None:
    approve(book, result=replace(RESULT, text="Überraschend, selbst auf der Straße."))
    assert revoke(book, "term", term, NOON, "anna") == 1


def test_a_text_whose_term_was_withdrawn_since_the_gate_was_asked_is_rejected(book: Book) -> None:
    book.enqueue([REQUEST], NOON)
    (job,) = book.claim(1, NOON)
    revoke(book, "term", "BEECH", NOON, "anna")
    assert book.finish(job, RESULT, NOON) is State.REJECTED
    entry = book.find("k1")
    assert entry is not None
    assert [reason.code for reason in from_json(entry.verdict).reasons] == ["withdrawn_term"]
    assert book.approved(SLOT) is None


def test_a_text_that_was_withdrawn_meanwhile_does_not_come_back_by_another_request(book: Book) -> None:
    approve(book)
    revoke(book, "item", "spoon", NOON, "anna")
    book.enqueue([replace(REQUEST, key="k2", facts_hash="new facts")], NOON)
    (job,) = book.claim(1, NOON)
    assert book.finish(job, RESULT, NOON) is State.REJECTED
    assert book.approved(SLOT) is None


def test_only_the_text_that_was_looked_at_is_retired(book: Book) -> None:
    approve(book)
    old = book.approved(SLOT)
    assert old is not None
    approve(book, replace(REQUEST, key="k2"), replace(RESULT, text="A long spoon."))
    book.retire(old, NOON)
    shown = book.approved(SLOT)
    assert shown is not None
    assert shown.request.key == "k2"
    book.retire(shown, NOON)
    assert book.approved(SLOT) is None


def test_a_revoked_model_is_asked_no_more_and_terms_are_remembered(book: Book) -> None:
    revoke(book, "model", "m@1", NOON, "anna")
    revoke(book, "term", "miracle", NOON, "anna")
    assert book.enqueue([REQUEST], NOON) == []
    assert book.revoked_terms() == ["miracle"]
    with pytest.raises(ConfigError, match="got nothing"):
        revoke(book, "term", " ", NOON, "anna")


def test_switches_are_kept_until_they_are_turned_back(path: Path, book: Book) -> None:
    switch(book, "category", "Kitchen", NOON, "anna", on=False)
    switch(book, "everything", "", NOON, "anna", on=False)
    with closing(Book(path)) as other:
        assert other.switches() == OffSwitches(True, frozenset({"kitchen"}))
    switch(book, "everything", "", NOON, "anna", on=True)
    assert book.switches() == OffSwitches(False, frozenset({"kitchen"}))
    assert book.switches().hide("spoon", ("Home", "KITCHEN"), None)
    switch(book, "category", "kitchen", NOON, "anna", on=False)
    switch(book, "category", "kitCHEN", NOON, "anna", on=True)
    assert book.switches() == OffSwitches()
    for scope, name in (("item", ""), ("everything", "x")):
        with pytest.raises(ConfigError):
            switch(book, scope, name, NOON, "anna", on=False)  # type: ignore[arg-type]  # literals


def test_the_feed_names_the_slots_that_changed(book: Book) -> None:
    last, slots = book.changes(0)
    assert (last, slots) == (0, set())
    approve(book)
    last, slots = book.changes(last)
    assert slots == {SLOT}
    revoke(book, "item", "spoon", NOON, "anna")
    assert book.changes(last)[1] == {SLOT}


def test_a_file_that_is_no_book_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no database at all, but long enough to be read as one" * 10)
    with pytest.raises(BlurbError, match="does not open"):
        Book(tmp_path / "x")
