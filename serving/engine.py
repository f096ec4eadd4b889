"""Answers: the user's state, then the ranking pipeline, each within its time.

A state that does not come makes an answer less personal and is named in its ``degraded_reasons``; it never
fails the request.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import replace
from functools import partial

import structlog

from recsys.answer import Query, RankedList, ServiceLevel
from recsys.clock import Clock
from recsys.schema import ITEM_ID
from recsys.user_state import UserState
from serving.blurb_list import NO_BLURBS_ASKED, ListBlurbs
from serving.blurbs import Blurbs
from serving.breaker import Breaker
from serving.call import note_answer, note_stage, stage
from serving.ladder import LATE, Popular, answered
from serving.lists import Issued, Lists, Occasion
from serving.page_token import PageToken
from serving.question import Answer, Question
from serving.ranking_pipeline import RankingPipeline
from serving.state_reader import STATE_UNAVAILABLE, StateReader

_log = structlog.get_logger(__name__)

DO_NOT_PROFILE = "do_not_profile"
"""Degraded reason: whoever asks does not want to be profiled."""
_RANKER_SHARE = 0.5
"""Of the time until the caller gives up, what may have passed when the ranker begins."""
_RESERVE_SHARE, _RESERVE = 0.2, 0.05  # of it, what the popular answer needs; seconds at most
_PATIENT_SECONDS = 0.1
"""Callers who give less time than that do not make the server simpler for the others."""
_PERSONAL = (ServiceLevel.FULL, ServiceLevel.NO_RANKER)
EXPLANATION_UNAVAILABLE = "explanation_unavailable"
"""Degraded reason: an explanation was asked for, and only the ranker can be explained."""


Observer = Callable[[RankingPipeline, Query, RankedList], None]
"""Is shown every recommendation, with the pipeline that made it; returns at once."""


class Engine:
    """Answers questions, each with the pipeline that was chosen for it, from one store."""

    def __init__(
        self,
        states: StateReader,
        lists: Lists,
        clock: Clock,
        executor: Executor,
        *,
        blurbs: Blurbs,
        observe: Observer,
        vouch: Callable[[], None],
        is_profiled: Callable[[str], bool],
        reserve: Executor,
    ) -> None:
        """Put the parts together.

        Args:
            states: What answers know of whom they are for.
            lists: Where answers are remembered, and their later pages wait.
            clock: Tells as of when answers are.
            executor: The threads that rank.
            blurbs: Finds the blurbs of lists.
            observe: Is shown what was ranked.
            vouch: Raises ``CatalogueError`` where it is not known what may still be shown.
            is_profiled: Whether somebody's state may be used.
            reserve: A thread that is free when all others are stuck.
        """
        self.lists = lists
        self._blurbs = blurbs
        self._observe = observe
        self._vouch = vouch
        self._is_profiled = is_profiled
        self._states = states
        self._clock = clock
        self._executor = executor
        self._reserve = reserve
        self._lateness = Breaker()

    async def recommend(
        self, question: Question, pipeline: RankingPipeline, seconds_left: float | None = None
    ) -> Answer:
        """Rank the catalogue for a question, or turn to a later page of what was ranked for it.

        Args:
            question: What is asked.
            pipeline: Who answers, chosen once, when the request came.
            seconds_left: Until the caller gives up; before that, there is at least what is popular.

        Raises:
            InvalidRequestError: The list of a later page has expired.
            StoreError: The list of a later page cannot be read.
            CatalogueError: What was withdrawn lately is not known.
        """
        self._vouch()
        question = self._discreet(question)
        if question.page is not None:
            return await self._later_page(question, question.page, pipeline)
        if question.drafted is not None:  # a list of two models says nothing about one
            return await self._answer(question, pipeline, question.drafted)
        if seconds_left is None or not isinstance(pipeline, Popular):
            return await self._answer(question, pipeline, pipeline.recommend, self._observe)
        return await self._in_time(question, pipeline, pipeline, seconds_left)

    async def rank(self, question: Question, item_ids: Sequence[str], pipeline: RankingPipeline) -> Answer:
        """Order the caller's own list; see ``recommend``."""
        question = self._discreet(question)
        return await self._answer(
            question, pipeline, lambda query: pipeline.rank(query, item_ids), popular=False
        )

    def _discreet(self, question: Question) -> Question:
        """The question as of nobody in particular, where whoever asks objects to being profiled."""
        if question.subject is None or self._is_profiled(question.subject):
            return question
        return replace(question, subject=None, reasons=(DO_NOT_PROFILE,))

    async def _answer(
        self,
        question: Question,
        pipeline: RankingPipeline,
        ranking: Callable[[Query], RankedList],
        observe: Observer | None = None,
        *,
        popular: bool = True,
        rank_until: float = math.inf,
    ) -> Answer:
        run = partial(
            self._run,
            question,
            pipeline,
            ranking,
            time.perf_counter(),
            popular=popular,
            rank_until=rank_until,
        )
        loop = asyncio.get_running_loop()
        query, answer = await loop.run_in_executor(self._executor, copy_context().run, run)
        note_answer(question.placement, answer.ranked)
        if observe is not None:
            observe(pipeline, query, answer.ranked)
        occasion = self._occasion(question, answer.blurbs.segment)
        return _with_list(answer, self.lists.issue(answer.ranked, occasion))

    async def _in_time(
        self, question: Question, pipeline: RankingPipeline, simpler: Popular, seconds_left: float
    ) -> Answer:
        """The ranked answer, or what is popular where that would come too late."""
        if not self._lateness.is_open():
            until = time.perf_counter() + seconds_left * _RANKER_SHARE
            try:
                async with asyncio.timeout(seconds_left - min(seconds_left * _RESERVE_SHARE, _RESERVE)):
                    answer = await self._answer(
                        question, pipeline, pipeline.recommend, self._observe, rank_until=until
                    )
            except TimeoutError:
                if seconds_left >= _PATIENT_SECONDS and self._lateness.failed():
                    _log.warning("answers are late, so for a while there is only what is popular")
            else:
                self._lateness.succeeded()
                return answer
        with stage("popular"):
            loop, query = asyncio.get_running_loop(), self._query(question, None)
            ranked = await loop.run_in_executor(self._reserve, simpler.popular, query, LATE)
            rows = _rows(question, pipeline, [item.item_id for item in ranked.items])
        if question.explain:
            reasons = (*ranked.degraded_reasons, EXPLANATION_UNAVAILABLE)
            ranked = replace(ranked, degraded_reasons=reasons)
        note_answer(question.placement, ranked)
        return _with_list(Answer(ranked, rows), self.lists.issue(ranked, self._occasion(question)))

    async def _later_page(self, question: Question, place: PageToken, pipeline: RankingPipeline) -> Answer:
        occasion = self._occasion(question)
        kept = await self.lists.find(place, occasion.now_ms)
        sellable = pipeline.sellable(kept.item_ids[place.start :])
        issued = self.lists.page(kept, place, occasion, sellable, question.limit)
        ids = [item.item_id for item in issued.ranked.items]
        attach = partial(self._attached, question, pipeline, ids, kept.segment)
        loop = asyncio.get_running_loop()
        rows, blurbs = await loop.run_in_executor(self._executor, copy_context().run, attach)
        reasons = (*issued.ranked.degraded_reasons, *((EXPLANATION_UNAVAILABLE,) if question.explain else ()))
        ranked = replace(issued.ranked, degraded_reasons=tuple(dict.fromkeys(reasons)))
        note_answer(question.placement, ranked, is_later_page=True)
        return _with_list(Answer(ranked, rows, blurbs=blurbs), replace(issued, ranked=ranked))

    def _attached(
        self, question: Question, pipeline: RankingPipeline, item_ids: Sequence[str], segment: str
    ) -> tuple[dict[str, dict[str, object]], ListBlurbs]:
        """What else the answer says of the items of a later page."""
        rows, blurbs, ask = _rows(question, pipeline, item_ids), NO_BLURBS_ASKED, question.blurbs
        if ask is not None:
            with stage("blurbs"):
                segment = segment if ask.segment is None else ask.segment
                blurbs = self._blurbs.of_items(ask, pipeline, item_ids, segment)
        return rows, blurbs

    def _occasion(self, question: Question, segment: str = "") -> Occasion:
        return Occasion(
            question.subject,
            question.placement,
            question.identity,
            self._clock.now_ms(),
            question.treatment,
            question.list_id,
            segment,
        )

    def _run(
        self,
        question: Question,
        pipeline: RankingPipeline,
        ranking: Callable[[Query], RankedList],
        asked: float,
        *,
        popular: bool,
        rank_until: float,
    ) -> tuple[Query, Answer]:
        """Everything of an answer that computes or waits for the store, on one of the executor's threads.

        Args:
            question: What is asked.
            pipeline: Who answers.
            ranking: What of the pipeline is asked for.
            asked: When it was asked, by ``time.perf_counter``.
            popular: Whether what is popular would do, should everything else fail.
            rank_until: See ``recsys.answer.Query``.
        """
        note_stage("waiting", asked)
        with stage("state"):
            user, reasons = self._states.read(question.subject)
            reasons += question.reasons
        with stage("ranking"):
            query = self._query(question, user, rank_until)
            ranked = answered(pipeline, query, ranking, popular=popular)
            if question.explain and ranked.service_level is not ServiceLevel.FULL:
                reasons += (EXPLANATION_UNAVAILABLE,)
            reasons = tuple(dict.fromkeys(ranked.degraded_reasons + reasons))
            is_personal = not {STATE_UNAVAILABLE, DO_NOT_PROFILE}.intersection(reasons)
            if not is_personal and ranked.service_level in _PERSONAL:
                ranked = replace(ranked, service_level=ServiceLevel.NO_PERSONAL)
            rows = _rows(question, pipeline, [item.item_id for item in ranked.items])
        answer = Answer(replace(ranked, degraded_reasons=reasons), rows)
        if question.blurbs is not None:
            with stage("blurbs"):
                answer = replace(answer, blurbs=self._blurbs.of_list(question.blurbs, pipeline, ranked))
        return query, answer

    def _query(self, question: Question, user: UserState | None, rank_until: float = math.inf) -> Query:
        return Query(
            as_of_ms=max(self._clock.now_ms(), user.latest_ms + 1 if user else 0),
            user=user,
            placement=question.placement,
            context_item_ids=question.context_item_ids,
            exclude_item_ids=question.exclude_item_ids,
            filter=question.filter,
            limit=question.limit,
            depth=self.lists.page_depth if question.identity else 0,
            explain=question.explain,
            query=question.query,
            attributes=question.attributes,
            subject=question.subject or "",
            with_interest=question.blurbs is not None and question.blurbs.segment is None,
            parameters=question.parameters,
            rank_until=rank_until,
        )


def _rows(
    question: Question, pipeline: RankingPipeline, item_ids: Sequence[str]
) -> dict[str, dict[str, object]]:
    rows = pipeline.items(item_ids) if question.with_items else []
    return {str(row[ITEM_ID]): row for row in rows}


def _with_list(answer: Answer, issued: Issued) -> Answer:
    return Answer(
        issued.ranked,
        answer.items,
        issued.attribution_token,
        issued.next_page_token,
        issued.arms,
        answer.blurbs,
    )
