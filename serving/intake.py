"""Takes events in: checks each, makes the good ones durable, then lets them become visible."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from typing import Protocol

from recsys.clock import Clock
from recsys.event_ids import with_event_ids
from recsys.influence import automaton
from recsys.objections import nobody
from recsys.schema import (
    EVENT_ID,
    EVENT_TYPE_CODES,
    EVENT_TYPES,
    MAX_AMOUNT,
    MAX_FUTURE_MS,
    MAX_ID_BYTES,
    MAX_TEXT_CHARS,
)
from serving.discretion import Discretion
from serving.event import VISITOR_PREFIX, Event, Merge, event_frame, subject
from serving.event_intake import EventIntake
from serving.state_updater import StateUpdater


class EventStatus(Enum):
    """What became of an event."""

    ACCEPTED = "ACCEPTED"
    """Durable."""
    DUPLICATE = "DUPLICATE"
    """Its id was accepted before."""
    REJECTED = "REJECTED"
    """It breaks a rule and was not kept."""


_BEST_FIRST = (EventStatus.ACCEPTED, EventStatus.DUPLICATE, EventStatus.REJECTED)


@dataclass(frozen=True)
class EventOutcome:
    """What became of one event, and why."""

    event_id: str
    status: EventStatus
    reason: str = ""


@dataclass(frozen=True)
class ReceivedEvent:
    """An event as it came, unchecked; empty strings and ``None`` are absent."""

    event_id: str
    event_type: str
    user_id: str
    visitor_id: str
    item_id: str
    event_time: int | None
    """Milliseconds since the epoch, UTC; ``None`` means now."""
    session_id: str
    quantity: float | None
    price: float | None
    list_id: str
    position: int | None
    text: str
    attribution_token: str = ""


@dataclass(frozen=True)
class Attributed:
    """What an event of a batch stands for."""

    events: tuple[ReceivedEvent, ...]
    """Itself, or one impression per item of its list."""
    event_id: str | None = None
    """The id that stands for all of them."""
    problem: str = ""
    """Why it is refused, empty when it is not."""


class Resolver(Protocol):
    """Fills in what attribution tokens say; ``serving.attribution.Attribution``."""

    async def resolve(self, received: Sequence[ReceivedEvent], now_ms: int) -> list[Attributed]:
        """What each event of a batch stands for.

        Raises:
            IntakeError: That cannot be told now.
        """
        ...


class KnownItems(Protocol):
    """Says which items there are."""

    def knows_item(self, item_id: str) -> bool:
        """Whether the catalogue holds an item."""
        ...


class Intake:
    """Records batches of events."""

    def __init__(
        self,
        items: KnownItems,
        buffer: EventIntake,
        updater: StateUpdater,
        attribution: Resolver,
        clock: Clock,
        *,
        apply_timeout_seconds: float,
        discretion: Discretion | None = None,
        is_automated: Callable[[], bool] = lambda: False,
    ) -> None:
        self._items = items
        self._buffer = buffer
        self._updater = updater
        self._attribution = attribution
        self._clock = clock
        self._apply_timeout_seconds = apply_timeout_seconds
        self._discretion = discretion
        self._is_automated = is_automated

    async def record(
        self, received: Sequence[ReceivedEvent], seconds_left: float | None
    ) -> list[EventOutcome]:
        """Record a batch; accepted events are on disk when this returns, and normally visible in answers.

        Args:
            received: The events.
            seconds_left: Until the caller gives up; ``None`` when it never does.

        Returns:
            One outcome per event, in order.

        Raises:
            IntakeError: Nothing could be made durable, or no list could be read, and no event of the batch
                counts.
        """
        now_ms = self._clock.now_ms()
        attributed = await self._attribution.resolve(received, now_ms)
        events = [event for one in attributed for event in one.events]
        problems = [one.problem or self._problem(event, now_ms) for one in attributed for event in one.events]
        good = await _identify(
            [_accept(event, now_ms) for event, problem in zip(events, problems, strict=True) if not problem]
        )
        good = [self._discreet(event) for event in good]
        merges = {
            (event.visitor_id, event.user_id): None
            for event, problem in zip(events, problems, strict=True)
            if not problem and event.visitor_id and event.user_id and self._may_link(event)
        }
        sequences = await self._store([*(_merge(*who, now_ms) for who in merges), *good])
        await self._make_visible(sequences, seconds_left)
        stored = zip(good, sequences[len(merges) :], strict=True)
        outcomes = (
            EventOutcome(event.event_id[:MAX_ID_BYTES], EventStatus.REJECTED, problem)
            if problem
            else _outcome(*next(stored))
            for event, problem in zip(events, problems, strict=True)
        )
        return [_together(one, list(islice(outcomes, len(one.events)))) for one in attributed]

    async def _store(self, records: Sequence[Event | Merge]) -> list[int | None]:
        return await asyncio.wrap_future(self._buffer.append(records)) if records else []

    async def _make_visible(self, sequences: Sequence[int | None], seconds_left: float | None) -> None:
        new = [sequence for sequence in sequences if sequence is not None]
        if new:
            seconds = self._apply_timeout_seconds
            if seconds_left is not None:
                seconds = min(seconds, seconds_left / 2)
            await self._updater.wait_applied(new[-1], seconds)

    def _problem(self, event: ReceivedEvent, now_ms: int) -> str:
        """The first rule that an event breaks, or an empty string."""
        problem = next(_problems(event, now_ms), "")
        if not problem and not self._items.knows_item(event.item_id):
            return "item_id: expected an item of the catalogue, got an unknown one"
        if not problem and self._discretion is not None:
            who, time_ms = subject(event.user_id, event.visitor_id), event.event_time
            if who is not None and self._discretion.is_erased(who, now_ms if time_ms is None else time_ms):
                return "event_time: expected a time after the erasure of this user, got one before it"
        return problem

    def _discreet(self, event: Event) -> Event:
        """The event as nobody's in particular, where its user objects to being profiled, or is a machine."""
        if self._is_automated():
            return replace(event, user_id=automaton(), session_id=None, text=None)
        if self._discretion is None or self._discretion.is_profiled(event.user_id):
            return event
        return replace(event, user_id=nobody(), session_id=None, text=None)

    def _may_link(self, event: ReceivedEvent) -> bool:
        """Whether a visitor may be remembered as a user."""
        if self._is_automated():
            return False
        if self._discretion is None:
            return True
        ids = (event.user_id, VISITOR_PREFIX + event.visitor_id)
        return all(self._discretion.is_profiled(one) for one in ids)


def _outcome(event: Event, sequence: int | None) -> EventOutcome:
    status = EventStatus.DUPLICATE if sequence is None else EventStatus.ACCEPTED
    return EventOutcome(event.event_id or "", status)


def _together(attributed: Attributed, outcomes: Sequence[EventOutcome]) -> EventOutcome:
    """The outcome of an event: the best of those of the impressions it stands for."""
    best = min(outcomes, key=lambda outcome: _BEST_FIRST.index(outcome.status))
    return best if attributed.event_id is None else replace(best, event_id=attributed.event_id)


def _merge(visitor_id: str, user_id: str, now_ms: int) -> Merge:
    return Merge(VISITOR_PREFIX + visitor_id, user_id, now_ms)


def _accept(event: ReceivedEvent, now_ms: int) -> Event:
    user_id = subject(event.user_id, event.visitor_id)
    assert user_id is not None  # _problems requires one
    return Event(
        event_id=event.event_id or None,
        event_type=event.event_type,
        user_id=user_id,
        item_id=event.item_id,
        event_time=now_ms if event.event_time is None else event.event_time,
        received_time=now_ms,
        session_id=event.session_id or None,
        quantity=event.quantity,
        price=event.price,
        list_id=event.list_id or None,
        position=event.position,
        text=event.text or None,
    )


async def _identify(events: list[Event]) -> list[Event]:
    """Give events without an id the one that ``recsys ingest`` would derive."""
    if all(event.event_id for event in events):
        return events
    ids = (await asyncio.to_thread(with_event_ids, event_frame(events)))[EVENT_ID]
    return [replace(event, event_id=event_id) for event, event_id in zip(events, ids, strict=True)]


def _problems(event: ReceivedEvent, now_ms: int) -> Iterator[str]:
    """Every rule of the data contract that an event breaks, except what needs the catalogue."""
    if event.event_type not in EVENT_TYPE_CODES:
        yield f"event_type: expected one of {', '.join(EVENT_TYPES)}, got {event.event_type[:40]!r}"
    yield from _id_problems(event)
    if event.event_time is not None:
        if event.event_time < 0:
            yield "event_time: expected a time from 1970 on, got an earlier one"
        elif event.event_time > now_ms + MAX_FUTURE_MS:
            ahead_seconds = (event.event_time - now_ms) / 1000
            yield (
                f"event_time: expected at most {MAX_FUTURE_MS // 1000} s ahead of the server, "
                f"got {ahead_seconds:.0f} s"
            )
    for name, amount in (("quantity", event.quantity), ("price", event.price)):
        if amount is not None and not 0 <= amount <= MAX_AMOUNT:
            yield f"{name}: expected a number from 0 to {MAX_AMOUNT:.0e}, got {amount}"
    if event.position is not None and event.position < 0:
        yield f"position: expected 0 or more, got {event.position}"
    if len(event.text) > MAX_TEXT_CHARS:
        yield f"text: expected at most {MAX_TEXT_CHARS} characters, got {len(event.text)}"


def _id_problems(event: ReceivedEvent) -> Iterator[str]:
    if not event.user_id and not event.visitor_id:
        yield "user_id: expected a user_id or a visitor_id, got neither"
    if not event.item_id:
        yield "item_id: expected an id, got none"
    if event.user_id.startswith(VISITOR_PREFIX[0]):
        yield "user_id: expected an id that does not begin with U+001F, which marks visitors"
    for name in ("event_id", "user_id", "visitor_id", "item_id", "session_id", "list_id"):
        size = len(getattr(event, name).encode())
        if size > MAX_ID_BYTES:
            yield f"{name}: expected at most {MAX_ID_BYTES} bytes of UTF-8, got {size}"
