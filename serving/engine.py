"""Answers: the user's state, then the ranking pipeline, each within its time.

A state that does not come makes an answer less personal and is named in its ``degraded_reasons``; it never
fails the request.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Protocol, Self

import structlog

from recsys.answer import Query, RankedList, ServiceLevel
from recsys.clock import Clock
from recsys.config import Config
from recsys.errors import StoreError
from recsys.item_changes import ItemChange
from recsys.live_parts import TextVectors
from recsys.schema import ITEM_ID
from recsys.user_state import UserState
from serving.breaker import Breaker
from serving.state_store import StateStore

_log = structlog.get_logger(__name__)

STATE_UNAVAILABLE = "state_unavailable"
"""Degraded reason: the user's state could not be read in time."""
EXPLANATION_UNAVAILABLE = "explanation_unavailable"
"""Degraded reason: an explanation was asked for, and only the ranker can be explained."""


class RankingPipeline(Protocol):
    """Turns queries into ranked lists. Any thread may call any method."""

    version: str
    """Version of the model."""
    config: Config
    """The configuration that the model was trained with."""

    def recommend(self, query: Query) -> RankedList:
        """Rank the catalogue."""
        ...

    def rank(self, query: Query, item_ids: Sequence[str]) -> RankedList:
        """Order all known items of a list; the others are in ``missing_item_ids``."""
        ...

    def items(self, item_ids: Sequence[str]) -> list[dict[str, object]]:
        """Catalogue rows, with the names of ``recsys.schema.ITEM_SCHEMA``, of those ids that are known."""
        ...

    def knows_item(self, item_id: str) -> bool:
        """Whether the catalogue holds an item."""
        ...

    def record(self, item_id: str, event_type: int, time_ms: int) -> None:
        """Count an event in the item's aggregates, from the next tick on; unknown items are ignored."""
        ...

    changed_through: int
    """Sequence number of the last change of the catalogue that is in it, and all below it."""
    withdrawn_through: int
    """The same of those changes that take something out."""

    def withdraw(self, changes: Sequence[ItemChange]) -> None:
        """Stop offering, at once, what all changes after ``withdrawn_through`` took out."""
        ...

    def unread_texts(self, changes: Sequence[ItemChange]) -> list[str]:
        """Texts of changed items that it has no vectors of."""
        ...

    def with_changes(self, changes: Sequence[ItemChange], vectors: Mapping[str, TextVectors]) -> Self:
        """Another pipeline in which changes are applied; what is recorded here later counts there too."""
        ...


class CurrentPipeline(Protocol):
    """Says which pipeline answers; ``serving.current_pipeline``."""

    @property
    def pipeline(self) -> RankingPipeline:
        """That pipeline."""
        ...


@dataclass(frozen=True)
class Question:
    """What a caller asks, before the user's state and the time are known."""

    subject: str | None
    """Whose state to read, see ``serving.event.subject``."""
    placement: str
    context_item_ids: tuple[str, ...] = ()
    exclude_item_ids: frozenset[str] = frozenset()
    filter: str = ""
    limit: int = 20
    explain: bool = False
    with_items: bool = False
    """Whether the answer carries catalogue rows."""


@dataclass(frozen=True)
class Answer:
    """A ranked list, and the catalogue rows of its items by id when they were asked for."""

    ranked: RankedList
    items: dict[str, dict[str, object]]


class Engine:
    """Answers questions with one pipeline and one store."""

    def __init__(
        self,
        current: CurrentPipeline,
        store: StateStore,
        clock: Clock,
        executor: Executor,
        *,
        state_timeout_seconds: float,
        vouch: Callable[[], None] = lambda: None,
    ) -> None:
        self._current = current
        self._vouch = vouch
        self._store = store
        self._clock = clock
        self._executor = executor
        self._state_timeout_seconds = state_timeout_seconds
        self._breaker = Breaker()

    @property
    def pipeline(self) -> RankingPipeline:
        """The pipeline that answers."""
        return self._current.pipeline

    async def recommend(self, question: Question, seconds_left: float | None) -> Answer:
        """Rank the catalogue for a question.

        Args:
            question: What is asked.
            seconds_left: Until the caller gives up; ``None`` when it never does.

        Raises:
            CatalogueError: What was withdrawn lately is not known.
        """
        self._vouch()
        return await self._answer(question, seconds_left, self.pipeline.recommend)

    async def rank(self, question: Question, item_ids: Sequence[str], seconds_left: float | None) -> Answer:
        """Order the caller's own list; see ``recommend``."""
        return await self._answer(question, seconds_left, lambda query: self.pipeline.rank(query, item_ids))

    async def _answer(
        self, question: Question, seconds_left: float | None, ranking: Callable[[Query], RankedList]
    ) -> Answer:
        user, reasons = await self._read_state(question.subject, seconds_left)
        query = Query(
            as_of_ms=max(self._clock.now_ms(), user.latest_ms + 1 if user else 0),
            user=user,
            placement=question.placement,
            context_item_ids=question.context_item_ids,
            exclude_item_ids=question.exclude_item_ids,
            filter=question.filter,
            limit=question.limit,
            explain=question.explain,
        )
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._run, question, query, ranking, reasons)

    async def _read_state(
        self, subject: str | None, seconds_left: float | None
    ) -> tuple[UserState | None, tuple[str, ...]]:
        if subject is None:
            return None, ()
        if self._breaker.is_open():
            return None, (STATE_UNAVAILABLE,)
        timeout = self._state_timeout_seconds
        if seconds_left is not None:
            timeout = min(timeout, seconds_left)
        try:
            async with asyncio.timeout(timeout):
                state = await self._store.get(subject)
        except (StoreError, TimeoutError) as error:
            if self._breaker.failed():
                _log.warning("answers are not personal", reason=str(error) or f"no state within {timeout} s")
            return None, (STATE_UNAVAILABLE,)
        self._breaker.succeeded()
        return state, ()

    def _run(
        self,
        question: Question,
        query: Query,
        ranking: Callable[[Query], RankedList],
        reasons: tuple[str, ...],
    ) -> Answer:
        ranked = ranking(query)
        if question.explain and ranked.service_level is not ServiceLevel.FULL:
            reasons += (EXPLANATION_UNAVAILABLE,)
        reasons = tuple(dict.fromkeys(ranked.degraded_reasons + reasons))
        rows = self.pipeline.items([item.item_id for item in ranked.items]) if question.with_items else []
        return Answer(replace(ranked, degraded_reasons=reasons), {str(row[ITEM_ID]): row for row in rows})
