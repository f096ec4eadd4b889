"""The book of blurbs: every request, every text and what became of it; the truth that serving is fed from.

Requests are a queue: a request's key is unique, so asking twice asks once. Whoever takes one holds it for a
while; when that ends, somebody else may take it, and what the first one still brings is refused by the fence.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Final

from recsys.blurbs.book_file import BookFile
from recsys.blurbs.entry import Entry, Job, JobResult, Request, State
from recsys.blurbs.judging import as_json
from recsys.blurbs.row import BlurbSlot, Source, blurb_id
from recsys.blurbs.switches import OffSwitches
from recsys.blurbs.term import terms_in
from recsys.blurbs.verdict import Reason, Verdict

GENERATOR: Final = "generator"
"""Who acts where no person does."""
LEASE_MS: Final = 180_000
"""How long a job is held; longer than its attempts may take."""

_SLOT: Final = "item_id = ? AND language = ? AND segment = ? AND length = ? AND policy = ?"
_ADD: Final = """
INSERT INTO blurbs (key, item_id, language, segment, length, policy, facts, facts_hash, category, seller,
    prompt_version, model, gate_version, priority, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued') ON CONFLICT (key) DO NOTHING
"""
_AGAIN: Final = """
UPDATE blurbs SET state = 'queued', priority = ?, lease_until = 0
WHERE key = ? AND (state = 'superseded' OR (state = 'rejected' AND retry_at <= ?))
"""
_SETTLED: Final = f"""
SELECT 1 FROM blurbs WHERE {_SLOT} AND facts_hash = ? AND model = ? AND prompt_version = ? AND key <> ?
AND (state IN ('revoked', 'review') OR (state = 'rejected' AND retry_at > ?))
"""
_OPEN: Final = "state IN ('queued', 'generated') AND lease_until <= ?"
_FINISH: Final = """
UPDATE blurbs SET state = ?, text = ?, source = ?, ai_generated = ?, fact_ids = ?, verdict = ?, blurb_id = ?,
    checked_hash = facts_hash, generated_at = ?, fresh_until = ?, stale_until = ?, retry_at = ?,
    attempts = attempts + ?, lease_until = 0
WHERE key = ? AND fence = ? AND state IN ('queued', 'generated')
"""


class Book:
    """One process's access to the book; any thread may call any method, and all raise ``BlurbError``."""

    def __init__(self, path: Path) -> None:
        self.file = BookFile(path)

    def enqueue(self, requests: Iterable[Request], now_ms: int, actor: str = GENERATOR) -> list[str]:
        """Ask for texts; what was asked for before changes nothing, unless its time to be tried again came.

        A change of the gate alone brings nothing back that was refused, withdrawn or waits for a person.

        Returns:
            The keys that are new in the queue.
        """
        queued = []
        with self.file.transaction():
            revoked = {tuple(row) for row in self.file.rows("SELECT kind, value FROM revocations")}
            for request in requests:
                if {("prompt", request.prompt_version), ("model", request.model)} & revoked:
                    continue
                if self._is_settled(request, now_ms):
                    continue
                again = (request.priority, request.key, now_ms)
                if self.file.change(_ADD, request.columns()) or self.file.change(_AGAIN, again):
                    queued.append(request.key)
                    slot = astuple(request.slot)
                    self.file.note(now_ms, actor, "queued", key=request.key, slot=slot)
        return queued

    def claim(
        self, limit: int, now_ms: int, *, model: str | None = None, key: str | None = None
    ) -> list[Job]:
        """Take requests that nobody holds, those of the highest priority first.

        Args:
            limit: Most of them.
            now_ms: The time.
            model: Only those for this model.
            key: Only this one.
        """
        wheres: list[str] = [_OPEN]
        values: list[object] = [now_ms]
        for column, value in (("model", model), ("key", key)):
            if value is not None:
                wheres.append(f"{column} = ?")
                values.append(value)
        query = f"SELECT * FROM blurbs WHERE {' AND '.join(wheres)} ORDER BY priority DESC, key LIMIT ?"
        with self.file.transaction():
            found = self.file.rows(query, (*values, limit))
            return [self._lease(row, now_ms) for row in found]

    def finish(self, job: Job, result: JobResult, now_ms: int, actor: str = GENERATOR) -> State | None:
        """Write down what came of a job; an approved text takes its slot over from the one before.

        Returns:
            The state that it came to: a text is rejected that was withdrawn, or has a term that was, since
            the gate was asked. ``None`` when somebody else took the job, and nothing is written.
        """
        key = job.request.key
        with self.file.transaction():
            result = self._unless_withdrawn(job.request.slot.item_id, result)
            if not self.file.change(_FINISH, (*_finish_values(key, result), key, job.fence)):
                return None
            if result.state is State.APPROVED:
                self.supersede(job.request.slot, now_ms, actor, but=key)
            self._note(job.request, result, now_ms, actor)
        return result.state

    def drafted(self, job: Job, text: str, now_ms: int) -> None:
        """Write down what a model said, before the gate says anything."""
        key = job.request.key
        with self.file.transaction():
            held = "key = ? AND fence = ? AND state IN ('queued', 'generated')"
            if self.file.change(f"UPDATE blurbs SET state = 'generated' WHERE {held}", (key, job.fence)):
                self.file.note(now_ms, GENERATOR, "generated", key=key, detail={"text": text})

    def give_back(self, job: Job) -> None:
        """Let somebody else take a job at once: it could not be done now."""
        self.file.change(
            "UPDATE blurbs SET lease_until = 0 WHERE key = ? AND fence = ?", (job.request.key, job.fence)
        )

    def supersede(self, slot: BlurbSlot, now_ms: int, actor: str = GENERATOR, *, but: str) -> None:
        """Take approved texts of a slot out but for one, within the transaction that approves that one."""
        found = self.file.rows(
            f"SELECT key FROM blurbs WHERE {_SLOT} AND state = 'approved' AND key <> ?", (*astuple(slot), but)
        )
        for (key,) in found:
            self.file.change("UPDATE blurbs SET state = 'superseded' WHERE key = ?", (key,))
            self.file.note(now_ms, actor, "superseded", key=key, slot=astuple(slot))

    def retire(self, entry: Entry, now_ms: int, actor: str = GENERATOR) -> None:
        """Take this approved text out, and no other one that came into its slot meanwhile."""
        key, slot = entry.request.key, astuple(entry.request.slot)
        held = "key = ? AND blurb_id = ? AND state = 'approved'"
        with self.file.transaction():
            if self.file.change(
                f"UPDATE blurbs SET state = 'superseded' WHERE {held}", (key, entry.blurb_id)
            ):
                self.file.note(now_ms, actor, "superseded", key=key, slot=slot)

    def find(self, key: str) -> Entry | None:
        """The entry of a key."""
        return self._one("key = ?", (key,))

    def find_blurb(self, name: str) -> Entry | None:
        """The entry of a blurb's id."""
        return self._one("blurb_id = ?", (name,))

    def approved(self, slot: BlurbSlot) -> Entry | None:
        """The text that a slot shows."""
        return self._one(f"{_SLOT} AND state = 'approved'", astuple(slot))

    def entries(self, where: str = "1", values: Sequence[object] = (), limit: int = -1) -> list[Entry]:
        """Entries by any condition on the columns, those of the highest priority first."""
        query = f"SELECT * FROM blurbs WHERE {where} ORDER BY priority DESC, key LIMIT ?"
        return [Entry.of(row) for row in self.file.rows(query, (*values, limit))]

    def changes(self, since: int) -> tuple[int, set[BlurbSlot]]:
        """The slots that the audit's lines above ``since`` speak of, and the number of the last line."""
        last = self.file.rows("SELECT COALESCE(MAX(sequence), 0) FROM audit")[0][0]
        query = "SELECT DISTINCT slot FROM audit WHERE sequence > ? AND sequence <= ? AND slot IS NOT NULL"
        found = self.file.rows(query, (since, last))
        return int(last), {BlurbSlot(*json.loads(slot)) for (slot,) in found}

    def switches(self) -> OffSwitches:
        """What is off."""
        return OffSwitches.of((row["scope"], row["name"]) for row in self.file.rows("SELECT * FROM switches"))

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def revoked_texts(self, item_id: str) -> set[str]:
        """Texts of an item that were withdrawn."""
        query = "SELECT text FROM blurbs WHERE item_id = ? AND state = 'revoked' AND text <> ''"
        return {row[0] for row in self.file.rows(query, (item_id,))}

    def revoked_terms(self) -> list[str]:
        """Terms that no text may have."""
        return [row[0] for row in self.file.rows("SELECT value FROM revocations WHERE kind = 'term'")]

    def withdrawals(self, item_id: str, text: str) -> list[Reason]:
        """Why a text about an item may not be shown any more, whatever the gate says; empty when it may.

        Ask within the transaction that lets the text through: a verdict is older than what it leads to.
        """
        reasons = [Reason("withdrawn_term", term) for term in terms_in(text, self.revoked_terms())]
        if text in self.revoked_texts(item_id):
            reasons.append(Reason("withdrawn_text", "this text was withdrawn"))
        return reasons

    def _unless_withdrawn(self, item_id: str, result: JobResult) -> JobResult:
        if result.state is State.REJECTED or not (reasons := self.withdrawals(item_id, result.text)):
            return result
        return replace(result, state=State.REJECTED, verdict=as_json(Verdict.of(reasons)))

    def _is_settled(self, request: Request, now_ms: int) -> bool:
        """Whether the same was answered under another version of the gate, and that answer stands."""
        asked = (request.facts_hash, request.model, request.prompt_version, request.key)
        return bool(self.file.rows(_SETTLED, (*astuple(request.slot), *asked, now_ms)))

    def _one(self, where: str, values: Sequence[object]) -> Entry | None:
        found = self.entries(where, values, 1)
        return found[0] if found else None

    def _lease(self, row: sqlite3.Row, now_ms: int) -> Job:
        fence = self.file.rows("UPDATE fences SET last = last + 1 RETURNING last")[0][0]
        self.file.change(
            "UPDATE blurbs SET lease_until = ?, fence = ? WHERE key = ?",
            (now_ms + LEASE_MS, fence, row["key"]),
        )
        return Job(Request.of(row), fence, row["attempts"])

    def _note(self, request: Request, result: JobResult, now_ms: int, actor: str) -> None:
        detail = {
            "text": result.text,
            "source": result.source,
            "model": request.model,
            "prompt_version": request.prompt_version,
            "gate_version": request.gate_version,
            "verdict": result.verdict,
            "facts": request.facts,
        }
        slot = astuple(request.slot)
        self.file.note(now_ms, actor, result.state, key=request.key, slot=slot, detail=detail)


def _finish_values(key: str, result: JobResult) -> tuple[object, ...]:
    return (
        result.state,
        result.text,
        result.source,
        result.source is not Source.EXTRACTIVE,
        json.dumps(result.fact_ids),
        result.verdict,
        blurb_id(key, result.text) if result.text else "",
        result.generated_at,
        result.fresh_until,
        result.stale_until,
        result.retry_at,
        result.state is State.REJECTED,
    )
