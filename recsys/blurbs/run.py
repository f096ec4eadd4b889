"""One run over the shop: checks what is there, asks for what is missing, and writes until it is done.

Whatever ends a run, the next one goes on from there: requests wait in the book.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Final

import polars as pl

from recsys.blurbs.backends.choice import make_backend
from recsys.blurbs.book import GENERATOR, Book
from recsys.blurbs.book_file import BOOK_FILE
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.entry import Request
from recsys.blurbs.generator import Generator, wall_ms
from recsys.blurbs.judging import TextGate
from recsys.blurbs.revalidation import Revalidation
from recsys.blurbs.row import ANYBODY, BlurbSlot
from recsys.blurbs.run_report import RunReport
from recsys.blurbs.shop_gate import shop_gate, shop_lexicons
from recsys.blurbs.shortage import Shortage, by_demand
from recsys.blurbs.wanted import WANTED_FILE, take_wanted
from recsys.errors import BlurbError, ConfigError
from recsys.progress import Advance, progress
from recsys.readers import read_source
from recsys.schema import ITEM_ID
from recsys.tables import read_items
from recsys.validation import check_items
from recsys.workspace import Workspace

DEFAULT_LIMIT: Final = 1000
_MOST_FAILURES: Final = 5  # in a row
_ENQUEUED_AT_ONCE: Final = 200


def generate_blurbs(
    workspace: Workspace,
    config: BlurbConfig,
    *,
    items_file: Path | None = None,
    limit: int = DEFAULT_LIMIT,
    segment: str = ANYBODY,
    checks: TextGate | None = None,
) -> RunReport:
    """Write blurbs that lists lacked, half of all at most, and for the items that are shown most.

    Args:
        workspace: Where the items, the log and the book are.
        config: How; ``config.languages`` are written.
        items_file: Only these items, Parquet, CSV or JSON Lines; else the catalogue.
        limit: Most blurbs that are written.
        segment: For whom; a name of ``config.segments``, or ``ANYBODY``.
        checks: The gate; else the shop's.

    Raises:
        ConfigError: There is no such segment, no lexicon of a language, or no model for the backend.
        DataError: There are no items, or the log is damaged.
        BlurbError: The book cannot be read or written.
    """
    if segment != ANYBODY and segment not in config.segments:
        raise ConfigError(f"expected a segment of {', '.join(config.segments)}, got {segment!r}")
    items = read_items(workspace) if items_file is None else check_items(read_source(items_file)).accepted
    catalogue = items if items_file is None else None
    checks = _shop_checks(workspace, config, catalogue) if checks is None else checks
    rows = by_demand(workspace, items)
    wanted = take_wanted(workspace.state / WANTED_FILE, limit // 2)
    with closing(Book(workspace.state / BOOK_FILE)) as book:
        run = _Run(book, config, checks)
        report = asyncio.run(run.over(rows, wanted, limit, segment))
        with book.file.transaction():
            book.file.note(wall_ms(), GENERATOR, "run", detail=asdict(report))
        return report


def _shop_checks(workspace: Workspace, config: BlurbConfig, catalogue: pl.DataFrame | None) -> TextGate:
    """The shop's gate; a language that it cannot read would have every text refused."""
    lexicons = shop_lexicons(workspace)
    unknown = [language for language in config.languages if lexicons.of(language) is None]
    if unknown:
        raise ConfigError(
            f"expected languages of {', '.join(lexicons.languages)}, got {', '.join(unknown)}; a lexicon in "
            f"{workspace.lexicons} adds one, see docs/blurbs.md"
        )
    return shop_gate(workspace, catalogue, config.nli, lexicons)


class _Run:
    def __init__(self, book: Book, config: BlurbConfig, checks: TextGate) -> None:
        self._book, self._config = book, config
        self._generator = Generator(book, make_backend(config), checks, config)
        self._shortage = Shortage(self._generator, Revalidation(book, checks, config), config)
        self._num_failures = 0
        self._stopped = ""
        self._left = 0

    async def over(
        self, rows: pl.DataFrame, wanted: Sequence[tuple[BlurbSlot, int]], limit: int, segment: str
    ) -> RunReport:
        started = time.monotonic()
        lacking = rows.filter(pl.col(ITEM_ID).is_in([slot.item_id for slot, _ in wanted]))
        by_id = {row[ITEM_ID]: row for row in lacking.iter_rows(named=True)}
        requests = chain(
            self._shortage.wanted(wanted, by_id),
            self._shortage.requests(rows.iter_rows(named=True), segment),
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._generator.backend.close)
            num_queued = self._enqueue(requests, limit)
            self._left = limit
            with progress("writing blurbs", total=num_queued) as advance:
                await self._together([self._work(advance) for _ in range(self._config.parallel)])
        return RunReport.of(
            self._generator.tally,
            self._generator.backend.model,
            num_checked_again=self._shortage.num_checked,
            num_queued=num_queued,
            seconds=time.monotonic() - started,
            stopped=self._stopped,
        )

    def _enqueue(self, requests: Iterator[Request], limit: int) -> int:
        """Ask, until so many wait; what earlier runs left counts."""
        where = "state IN ('queued', 'generated') AND model = ?"
        num_waiting = len(self._book.entries(where, (self._generator.backend.model,), limit))
        batch: list[Request] = []
        for request in requests:
            if num_waiting >= limit:
                break
            batch.append(request)
            if len(batch) == min(_ENQUEUED_AT_ONCE, limit - num_waiting):
                num_waiting += len(self._book.enqueue(batch, wall_ms()))
                batch.clear()
        if batch and num_waiting < limit:
            num_waiting += len(self._book.enqueue(batch, wall_ms()))
        return num_waiting

    async def _together(self, works: Sequence[Coroutine[None, None, None]]) -> None:
        """Wait for all; when one fails, the others give their jobs back."""
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, advance: Advance) -> None:
        while self._left > 0 and not self._stopped:
            jobs = self._book.claim(1, wall_ms(), model=self._generator.backend.model)
            if not jobs:
                return
            self._left -= 1
            try:
                await self._generator.work(jobs[0])
            except BlurbError as error:
                self._left += 1
                self._num_failures += 1
                if self._num_failures >= _MOST_FAILURES:
                    self._stopped = str(error)
            else:
                self._num_failures = 0
                advance(1)
