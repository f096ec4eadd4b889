"""Makes one blurb: a backend writes, the gate decides, and what is refused may be tried once more.

What a model may not say, or a person has yet to see, leaves the slot to the shop's own words, if they pass.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from recsys.blurbs.backends.backend import Backend, Draft
from recsys.blurbs.backends.extractive import ExtractiveBackend
from recsys.blurbs.book import Book
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.entry import Entry, Job, JobResult, Request, State
from recsys.blurbs.facts import Facts
from recsys.blurbs.hidden import HiddenAttributes
from recsys.blurbs.judging import TextGate, as_json, judge
from recsys.blurbs.lifetime import retry_ms, varied
from recsys.blurbs.prompt import Task, prompt_version
from recsys.blurbs.row import BlurbSlot, Source, blurb_key
from recsys.blurbs.run_report import Tally
from recsys.blurbs.singleflight import Singleflight
from recsys.blurbs.verdict import PASS, REJECT, REVIEW, Verdict
from recsys.errors import BlurbError

_MOST_OTHERS: Final = 50
_RANKS: Final = {REJECT: 0, REVIEW: 1, PASS: 2}
_POLL_SECONDS: Final = 0.05
_log = structlog.get_logger(__name__)


def wall_ms() -> int:
    """Now, in milliseconds since the epoch."""
    return round(time.time() * 1000)


class Generator:
    """Turns requests into entries of the book; for one event loop."""

    def __init__(
        self,
        book: Book,
        backend: Backend,
        checks: TextGate,
        config: BlurbConfig,
        *,
        now_ms: Callable[[], int] = wall_ms,
        draw: random.Random | None = None,
    ) -> None:
        """Say with what.

        Args:
            book: Where requests and texts are.
            backend: What writes.
            checks: What decides.
            config: How.
            now_ms: The clock.
            draw: What lifetimes vary by.
        """
        self.book, self.backend, self.tally = book, backend, Tally()
        self._checks, self._config, self._now_ms = checks, config, now_ms
        self._draw = random.Random() if draw is None else draw
        self._own_words = ExtractiveBackend()
        self._hidden = HiddenAttributes.of(config.hidden_attributes)
        self._flight: Singleflight[Entry | None] = Singleflight()

    def request(
        self, facts: Facts, slot: BlurbSlot, priority: float = 0.0, backend: Backend | None = None
    ) -> Request:
        """What a slot would ask a backend for, this one's unless another is given."""
        backend = self.backend if backend is None else backend
        is_model = backend.source is not Source.EXTRACTIVE
        line = self._config.segments.get(slot.segment, "")
        version = prompt_version(line, as_json=backend.as_json) if is_model else ""
        key = blurb_key(
            slot,
            facts_hash=facts.content_hash,
            prompt_version=version,
            model=backend.model,
            decoding=backend.decoding,
            gate_version=self._checks.version,
        )
        return Request(
            key=key,
            slot=slot,
            facts=facts.canonical,
            facts_hash=facts.content_hash,
            category=facts.category,
            seller=facts.seller,
            prompt_version=version,
            model=backend.model,
            gate_version=self._checks.version,
            priority=priority,
        )

    async def make(self, facts: Facts, slot: BlurbSlot, priority: float = 0.0) -> Entry | None:
        """The entry of a slot, made now unless somebody has made it, or is at it: then theirs is waited for.

        Raises:
            BlurbError: The backend or the book fails; the request stays in the queue.
        """
        request = self.request(facts, slot, priority)
        return await self._flight.do(request.key, lambda: self._made(request))

    async def work(self, job: Job) -> None:
        """Do one job, and write down what came of it.

        Raises:
            BlurbError: The backend or the book fails; the request stays in the queue.
        """
        facts = Facts.from_canonical(job.request.facts)
        if self.book.switches().hide(facts.item_id, facts.category_path, facts.seller):
            draft, verdict = Draft(""), None
        else:
            try:
                draft, verdict = await self._written(job, facts)
            except (BlurbError, asyncio.CancelledError):
                self.book.give_back(job)
                raise
        result = self._result(self._state(facts, verdict), draft, verdict, job.attempts)
        state = self.book.finish(job, result, self._now_ms())
        if state is None:
            _log.warning("a blurb came too late: another process has its request")
            return
        self.tally.states[state] += 1
        if state is not State.APPROVED and verdict is not None:
            await self._fall_back(facts, job.request)

    async def _made(self, request: Request) -> Entry | None:
        self.book.enqueue([request], self._now_ms())
        while (entry := self.book.find(request.key)) and entry.state in {State.QUEUED, State.GENERATED}:
            jobs = self.book.claim(1, self._now_ms(), key=request.key)
            if jobs:
                await self.work(jobs[0])
            else:
                await asyncio.sleep(_POLL_SECONDS)  # another process is at it
        return entry

    async def _written(self, job: Job, facts: Facts) -> tuple[Draft, Verdict]:
        """What a backend wrote and what the gate says; of several attempts, the one that comes furthest."""
        slot, objections = job.request.slot, tuple[str, ...]()
        written: list[tuple[Draft, Verdict]] = []
        for _ in range(self.backend.num_attempts):
            task = Task(
                facts=facts,
                language=slot.language,
                length=slot.length,
                segment_line=self._config.segments.get(slot.segment, ""),
                use_description=self._config.use_description,
                tries=job.attempts,
                objections=objections,
                hidden=self._hidden,
            )
            draft = await self._draft(task)
            self.book.drafted(job, draft.text, self._now_ms())
            verdict = self._judged(facts, draft, slot, self.backend.canary)
            written.append((draft, verdict))
            if verdict.passed:
                break
            objections = tuple(reason.code for reason in verdict.reasons)
        return max(written, key=lambda one: (_RANKS[one[1].outcome], one[1].score))

    async def _draft(self, task: Task) -> Draft:
        started = time.monotonic()
        try:
            draft = await self.backend.write(task)
        finally:
            self.tally.backend_seconds += time.monotonic() - started
        self.tally.num_drafts += 1
        self.tally.tokens += draft.tokens
        return draft

    def _judged(self, facts: Facts, draft: Draft, slot: BlurbSlot, canary: str) -> Verdict:
        verdict = judge(
            self._checks,
            facts,
            draft,
            slot.language,
            canary=canary,
            terms=self.book.revoked_terms(),
            withdrawn=self.book.revoked_texts(slot.item_id),
            others=self._others(facts, slot),
        )
        self.tally.num_passed += verdict.passed
        self.tally.reasons.update({reason.code for reason in verdict.reasons})
        return verdict

    def _others(self, facts: Facts, slot: BlurbSlot) -> list[str]:
        """Texts that stand beside this one in a list: of its category, by models."""
        if not facts.category:
            return []
        where = "category = ? AND language = ? AND state = 'approved' AND item_id <> ? AND ai_generated"
        values = (facts.category, slot.language, slot.item_id)
        return [entry.text for entry in self.book.entries(where, values, _MOST_OTHERS)]

    def _state(self, facts: Facts, verdict: Verdict | None) -> State:
        if verdict is None or verdict.outcome == REJECT:
            return State.REJECTED
        is_own = self.backend.source is Source.EXTRACTIVE
        if verdict.passed and (is_own or not self._config.is_high_risk(facts.category)):
            return State.APPROVED
        return State.REVIEW

    def _result(self, state: State, draft: Draft, verdict: Verdict | None, attempts: int) -> JobResult:
        now = self._now_ms()
        return JobResult(
            state=state,
            text=draft.text,
            source=self.backend.source,
            fact_ids=draft.used_facts,
            verdict="" if verdict is None else as_json(verdict),
            generated_at=now,
            fresh_until=now + varied(self._config.fresh, self._draw),
            stale_until=now + varied(self._config.stale, self._draw),
            retry_at=now + retry_ms(attempts, self._draw),
        )

    async def _fall_back(self, facts: Facts, request: Request) -> None:
        """Put the shop's own words into a slot that has nothing, if the gate lets them through."""
        if self.backend.source is Source.EXTRACTIVE or self.book.approved(request.slot) is not None:
            return
        own = self.request(facts, request.slot, request.priority, self._own_words)
        now = self._now_ms()
        self.book.enqueue([own], now)
        for job in self.book.claim(1, now, key=own.key):
            draft = await self._own_words.write(
                Task(
                    facts,
                    own.slot.language,
                    own.slot.length,
                    use_description=self._config.use_description,
                    hidden=self._hidden,
                )
            )
            verdict = judge(
                self._checks,
                facts,
                draft,
                own.slot.language,
                terms=self.book.revoked_terms(),
                withdrawn=self.book.revoked_texts(facts.item_id),
            )
            state = State.APPROVED if draft.text and verdict.passed else State.REJECTED
            result = self._result(state, draft, verdict, job.attempts)
            final = self.book.finish(job, replace(result, source=Source.EXTRACTIVE), self._now_ms())
            self.tally.states[f"{final or state}, shop's own words"] += 1
