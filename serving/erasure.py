"""Erases a person from everything that one workspace and its store hold.

In this order: the order is written down (``erasure_journal``), tombstones are made (``recsys.tombstones``),
from which moment nothing of before is read or taken in; then the buffer, the log of served lists, the event
log and the tables are rewritten, and the store forgets. Every step may be repeated, so a crash anywhere is
mended by doing all of them again. The store comes twice: a worker may have been in the middle of applying an
event of before.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

import polars as pl
import structlog

from recsys.damaged_files import DamagedFiles
from recsys.digest_names import DIRECTORY
from recsys.errors import RecsysError
from recsys.event_log import LOG_COPY, EventLog
from recsys.fault_point import reach
from recsys.file_lock import exclusive
from recsys.log_erasure import forget_erased
from recsys.objections import Objections
from recsys.schema import EFFECTIVE_TIME, USER_ID, VISITOR
from recsys.table_sweep import drop_unreadable, remove_scratch, sweep
from recsys.tombstones import Tombstones
from recsys.unfinished import num_in_use, remove_unfinished
from recsys.workspace import Workspace
from serving.compaction import COMPACTION_LOCK
from serving.erasure_journal import Erasure, ErasureJournal
from serving.event import VISITOR_PREFIX
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.list_log import LIST_FILE, ListLog
from serving.page_store import PageStore
from serving.state_store import StateStore

_log = structlog.get_logger(__name__)

SERVING_LOCK = "serving.lock"
"""Name of the file, in the directory of tombstones, that every server process holds shared."""
IN_FLIGHT = timedelta(seconds=1)
"""Within this time a worker has applied whatever it had read when a tombstone was made."""
_LOOK = timedelta(milliseconds=500)
_RETRY = timedelta(seconds=5)


@dataclass(frozen=True)
class Erased:
    """What an erasure took away, so far as it was still there."""

    num_events: int = 0
    num_lists: int = 0
    list_ids: tuple[str, ...] = field(default=(), repr=False)
    num_trainings: int = 0
    """Trainings under way, which may have read the person's data before and hold them until they end."""


class Eraser:
    """Erases people from the files of one workspace; any thread may call any method."""

    def __init__(self, workspace: Workspace, buffer: SqliteEventBuffer, list_log: ListLog) -> None:
        """Args: the workspace with its open buffer and list log."""
        self._workspace = workspace
        self._buffer = buffer
        self._list_log = list_log
        self._event_log = EventLog(workspace.events)
        self._damaged = DamagedFiles(workspace.events)
        self._tombstones = Tombstones(workspace.root)
        self.journal = ErasureJournal(workspace)
        """What is still to be done."""

    def order(self, subject: str, now_ms: int) -> Erasure:
        """Order an erasure: it is durable, and counts at once, when this returns.

        Args:
            subject: The user, or a visitor with its mark.
            now_ms: Everything up to this moment goes, and what is known of the person from later on too.

        Raises:
            RecsysError: The buffer or the log cannot be read; nothing is ordered.
            OSError: It cannot be written.
        """
        self._list_log.flush()
        self._damaged.set_aside()
        subjects = self.subjects_of(subject)
        erasure = self.journal.begin(subjects, max(now_ms, self._latest_ms(subjects)))
        reach("erasure-ordered")
        self._tombstones.add(subjects, erasure.erased_ms)
        reach("erasure-tombstoned")
        return erasure

    def erase_files(self, erasure: Erasure) -> Erased:
        """Take a person off the disk.

        Raises:
            RecsysError: Something cannot be read or written; do it again.
            OSError: Likewise.
        """
        root = self._workspace.root
        with exclusive(root / DIRECTORY / ".lock"):
            self._tombstones.add(erasure.subjects, erasure.erased_ms)
            num_events = self._buffer.erase(erasure.subjects, erasure.erased_ms)
            reach("erasure-buffer")
            theirs = self._list_log.of(erasure.subjects)
            ids = [one.list_id for one in theirs if one.served_time <= erasure.erased_ms]
            erasure = self.journal.with_lists(erasure, ids)
            reach("erasure-lists-known")
            num_lists = len(self._list_log.erase(erasure.subjects, erasure.erased_ms))
            reach("erasure-lists")
            with exclusive(self._workspace.state / COMPACTION_LOCK):
                event_ids = self._forget_in_log()
                reach("erasure-log")
                num_lists += sweep(self._workspace, self._tombstones)
                reach("erasure-tables")
            self._tidy(erasure)
        num_events += len(event_ids)
        return Erased(num_events, num_lists, erasure.list_ids, self.num_trainings())

    def num_trainings(self) -> int:
        """How many hold a copy of the log; copies of those that crashed are removed.

        Raises:
            OSError: One cannot be removed.
        """
        return num_in_use(self._workspace.events / LOG_COPY)

    def _tidy(self, erasure: Erasure) -> None:
        plain = [subject.removeprefix(VISITOR_PREFIX) for subject in erasure.subjects]
        drop_unreadable(self._workspace, plain)
        remove_scratch(self._workspace)
        reach("erasure-refused")
        for subject in erasure.subjects:
            Objections(self._workspace.root).set(subject, objects=False)
        reach("erasure-files")

    def sweep_all(self) -> None:
        """Erase everybody who has a tombstone again: files may have come back from a backup.

        Raises:
            RecsysError: Something cannot be read or written.
            OSError: Likewise.
        """
        if not len(self._tombstones):
            return
        for subject in sorted(self._buffer.people()):
            if (erased_ms := self._tombstones.erased_ms(subject)) >= 0:
                self._buffer.erase((subject,), erased_ms)
        self._list_log.forget_erased()
        with exclusive(self._workspace.state / COMPACTION_LOCK):
            self._forget_in_log()
            sweep(self._workspace, self._tombstones)

    def _forget_in_log(self) -> list[str]:
        """Ids of the events that went; of damaged files nobody knows, and they go as a whole."""
        self._damaged.set_aside()
        return forget_erased(self._event_log.path, partial(self._buffer.erase, (), 0))

    def subjects_of(self, subject: str) -> tuple[str, ...]:
        """Somebody, and every visitor that somebody was."""
        return (subject, *sorted(self._visitors_of(subject)))

    def _visitors_of(self, subject: str) -> set[str]:
        if subject.startswith(VISITOR_PREFIX):
            return set()
        merges = self._event_log.merges().filter(pl.col(USER_ID) == subject)
        return {*self._buffer.visitors_of(subject), *merges[VISITOR].to_list()}

    def _latest_ms(self, subjects: tuple[str, ...]) -> int:
        """The last thing that is known of somebody; a clock may have been behind the events'."""
        theirs = self._event_log.scan().filter(pl.col(USER_ID).is_in(subjects))
        logged = theirs.select(pl.col(EFFECTIVE_TIME).max().dt.epoch("ms")).collect().item()
        waiting = (buffered.event.effective_ms for buffered in self._buffer.of(subjects))
        return max([logged or 0, *waiting])


class OnlineEraser:
    """Erases people from a running server's store too, and finishes what others ordered."""

    def __init__(
        self, eraser: Eraser, store: StateStore, pages: PageStore, buffer: SqliteEventBuffer
    ) -> None:
        self._eraser = eraser
        self._store = store
        self._pages = pages
        self._buffer = buffer
        self._busy: set[str] = set()
        self._ordering = asyncio.Lock()
        """Held until an order that can be seen is busy: else ``run`` takes it from who answers for it."""
        self._num_trainings = 0

    async def erase(self, subject: str, now_ms: int) -> tuple[Erasure, Erased, bool]:
        """Erase somebody.

        Returns:
            The order, what went, and whether all of it is done; if not, it is tried again until it is.

        Raises:
            RecsysError: It could not be ordered, so nothing is erased.
            OSError: Likewise.
        """
        async with self._ordering:
            erasure = await asyncio.to_thread(self._eraser.order, subject, now_ms)
            self._busy.add(erasure.receipt_id)
        try:
            return erasure, await self._carry_out(erasure), True
        except (RecsysError, OSError) as error:
            _log.error("an erasure waits", receipt_id=erasure.receipt_id, reason=str(error))
            return erasure, Erased(), False

    async def run(self) -> None:
        """Carry out what is ordered and not done, by whomever, until cancelled."""
        while True:
            try:
                for erasure in await self._left():
                    await self._carry_out(erasure)
                    _log.info("an erasure is finished", receipt_id=erasure.receipt_id)
                if self._num_trainings:
                    self._num_trainings = await asyncio.to_thread(self._eraser.num_trainings)
            except (RecsysError, OSError) as error:
                _log.error("erasures wait", reason=str(error))
                await asyncio.sleep(_RETRY.total_seconds())
            await asyncio.sleep(_LOOK.total_seconds())

    async def _left(self) -> list[Erasure]:
        """What is ordered, and nobody here is about."""
        async with self._ordering:
            unfinished = await asyncio.to_thread(self._eraser.journal.unfinished)
            return [erasure for erasure in unfinished if erasure.receipt_id not in self._busy]

    async def _carry_out(self, erasure: Erasure) -> Erased:
        self._busy.add(erasure.receipt_id)
        try:
            return await self._erase_twice(erasure)
        finally:
            self._busy.discard(erasure.receipt_id)

    async def _erase_twice(self, erasure: Erasure) -> Erased:
        erased = await asyncio.to_thread(self._eraser.erase_files, erasure)
        await self._forget(erasure, erased)
        reach("erasure-store")
        await asyncio.sleep(IN_FLIGHT.total_seconds())
        late = await asyncio.to_thread(self._eraser.erase_files, erasure)
        await self._forget(erasure, late)
        reach("erasure-store-again")
        await asyncio.to_thread(self._eraser.journal.finish, erasure)
        reach("erasure-finished")
        self._num_trainings = late.num_trainings
        return replace(
            late,
            num_events=erased.num_events + late.num_events,
            num_lists=erased.num_lists + late.num_lists,
        )

    async def _forget(self, erasure: Erasure, erased: Erased) -> None:
        await self._pages.erase(erased.list_ids)
        reach("erasure-pages")
        await self._store.erase(erasure.subjects, erasure.erased_ms)
        for subject in erasure.subjects:  # what the same id did since then
            later = [one for one in self._buffer.of([subject]) if one.merge is None and one.owner == subject]
            await self._store.apply(subject, later)


async def forget_when_erased(tombstones: Tombstones, forget: Callable[[], None]) -> None:
    """Call ``forget`` whenever somebody was erased, until cancelled."""
    known = len(tombstones)
    while True:
        await asyncio.sleep(_LOOK.total_seconds())
        if len(tombstones) != known:
            known = len(tombstones)
            forget()


def resume_erasures(workspace: Workspace) -> None:
    """Before a server reads anything: carry out on disk what was ordered, and what a backup brought back.

    The orders stay until the store has forgotten too.

    Raises:
        RecsysError: Something cannot be read or written.
    """
    remove_unfinished(workspace.root / DIRECTORY)  # what a crash left of an order holds ids in clear
    with ExitStack() as stack:
        eraser = open_eraser(stack, workspace)
        for erasure in eraser.journal.unfinished():
            eraser.erase_files(erasure)
        eraser.sweep_all()
        eraser.num_trainings()  # removes what one that crashed left


def open_eraser(stack: ExitStack, workspace: Workspace) -> Eraser:
    """An eraser with files of its own, which close with the stack."""
    buffer = stack.enter_context(closing(SqliteEventBuffer(workspace.state / BUFFER_FILE)))
    list_log = stack.enter_context(closing(ListLog(workspace.state / LIST_FILE)))
    return Eraser(workspace, buffer, list_log)
