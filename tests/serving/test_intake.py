"""Tests of the rules that every received event must keep, and of what they become."""

import asyncio
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.config import StateConfig
from recsys.errors import IntakeError
from recsys.event_ids import with_event_ids
from recsys.schema import EVENT_ID, MAX_FUTURE_MS
from serving.embedded_store import embedded_store
from serving.event import Event, event_frame
from serving.event_buffer import SqliteEventBuffer
from serving.intake import Attributed, EventOutcome, EventStatus, Intake, ReceivedEvent
from serving.models import Model, Models
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.store_clients import connect
from tests.serving.small_shop import NOON, SmallPipeline

GOOD = ReceivedEvent(
    event_id="e",
    event_type="purchase",
    user_id="u",
    visitor_id="",
    item_id="eggs",
    event_time=NOON,
    session_id="",
    quantity=2.0,
    price=0.0,
    list_id="",
    position=0,
    text="",
)


class StoppedClock:
    """Always noon."""

    def now_ms(self) -> int:
        return NOON


class Nothing:
    """Resolves no tokens."""

    async def resolve(self, received: Sequence[ReceivedEvent], now_ms: int) -> list[Attributed]:
        assert now_ms == NOON
        return [Attributed((event,)) for event in received]


def record(path: Path, *received: ReceivedEvent) -> tuple[list[EventOutcome], list[Event]]:
    """Outcomes of a batch, and what is in the buffer after it; the store is away."""

    async def scenario() -> list[EventOutcome]:
        with embedded_store() as gone:
            pass
        store = StateStore(connect(gone, 1000), "t", StateConfig())
        updater = StateUpdater(buffer, store, Models(Model(SmallPipeline())))
        intake = Intake(
            SmallPipeline(), buffer, updater, Nothing(), StoppedClock(), apply_timeout_seconds=0.0
        )
        try:
            return await intake.record(received, None)
        finally:
            await store.close()

    with closing(SqliteEventBuffer(path / "b.sqlite")) as buffer:
        outcomes = asyncio.run(scenario())
        return outcomes, [buffered.event for buffered in buffer.since(0, 1000)]


def test_a_good_event_is_durable_even_while_the_store_is_away(tmp_path: Path) -> None:
    outcomes, kept = record(tmp_path, GOOD)
    assert outcomes == [EventOutcome("e", EventStatus.ACCEPTED)]
    expected = Event("e", "purchase", "u", "eggs", NOON, NOON, quantity=2.0, price=0.0, position=0)
    assert kept == [expected]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_type": "wish"}, "event_type: expected one of impression, view"),
        ({"event_type": ""}, "event_type"),
        ({"user_id": ""}, "user_id: expected a user_id or a visitor_id"),
        ({"user_id": "u" * 257}, "user_id: expected at most 256 bytes of UTF-8, got 257"),
        ({"user_id": "\x1fvisitor:x"}, "user_id"),
        ({"visitor_id": "é" * 129}, "visitor_id"),
        ({"item_id": ""}, "item_id: expected an id, got none"),
        ({"item_id": "unicorn"}, "item_id: expected an item of the catalogue"),
        ({"event_id": "e" * 257}, "event_id"),
        ({"session_id": "s" * 257}, "session_id"),
        ({"list_id": "l" * 257}, "list_id"),
        ({"event_time": -1}, "event_time: expected a time from 1970 on"),
        ({"event_time": NOON + MAX_FUTURE_MS + 1}, "event_time: expected at most 300 s ahead"),
        ({"price": -0.01}, "price: expected a number from 0 to 1e+12, got -0.01"),
        ({"price": math.nan}, "price"),
        ({"price": 1e300}, "price: expected a number from 0 to 1e+12, got 1e+300"),
        ({"quantity": math.inf}, "quantity"),
        ({"position": -1}, "position: expected 0 or more, got -1"),
        ({"text": "x" * 20_001}, "text: expected at most 20000 characters, got 20001"),
    ],
)
def test_a_bad_event_is_rejected_with_its_reason(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    bad = replace(GOOD, **changes)  # type: ignore[arg-type]  # one field of its own type each
    [outcome], kept = record(tmp_path, bad)
    assert outcome.status is EventStatus.REJECTED
    assert outcome.reason.startswith(reason)
    assert not kept


def test_an_event_without_a_time_happened_now(tmp_path: Path) -> None:
    _, [kept] = record(tmp_path, replace(GOOD, event_time=None))
    assert (kept.event_time, kept.received_time) == (NOON, NOON)


def test_an_event_slightly_ahead_counts_from_its_receipt(tmp_path: Path) -> None:
    _, [kept] = record(tmp_path, replace(GOOD, event_time=NOON + MAX_FUTURE_MS))
    assert kept.event_time == NOON + MAX_FUTURE_MS
    assert kept.effective_ms == NOON


def test_the_derived_id_is_the_one_that_ingest_derives(tmp_path: Path) -> None:
    outcomes, [kept] = record(tmp_path, replace(GOOD, event_id=""), replace(GOOD, event_id=""))
    assert [outcome.status for outcome in outcomes] == [EventStatus.ACCEPTED, EventStatus.DUPLICATE]
    assert outcomes[0].event_id == outcomes[1].event_id == kept.event_id
    derived = with_event_ids(event_frame([replace(kept, event_id=None, received_time=NOON + 5)]))
    assert derived[EVENT_ID].to_list() == [kept.event_id]


def test_a_visitor_is_not_a_user_of_the_same_name(tmp_path: Path) -> None:
    _, kept = record(
        tmp_path, GOOD, replace(GOOD, event_id="v", user_id="", visitor_id="u"), replace(GOOD, event_id="w")
    )
    assert [event.user_id for event in kept] == ["u", "\x1fvisitor:u", "u"]


def test_when_nothing_can_be_written_the_batch_fails(tmp_path: Path) -> None:
    buffer = SqliteEventBuffer(tmp_path / "b.sqlite")
    buffer.close()

    async def scenario() -> None:
        store = StateStore(connect("redis://127.0.0.1:1", 10), "t", StateConfig())
        updater = StateUpdater(buffer, store, Models(Model(SmallPipeline())))
        intake = Intake(
            SmallPipeline(), buffer, updater, Nothing(), StoppedClock(), apply_timeout_seconds=0.0
        )
        with pytest.raises(IntakeError):
            await intake.record([GOOD], None)
        await store.close()

    asyncio.run(scenario())
