"""Carries served lists into Parquet, where they are joined with events, and forgets the old ones.

Every list is in exactly one file. A file is named by its log and the sequence numbers of it that it holds, so
that an export which was cut short writes the same files again, and servers on several machines write others.

Servers with lists of their own learn of an erasure by its tombstones alone. An export leaves erased people
out, and holds ``LISTS_LOCK``, which lies beside the files and which ``recsys.table_sweep`` holds too: what is
exported before a sweep is swept, and what is exported after it knows the tombstones.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import structlog

from recsys.errors import RecsysError
from recsys.file_lock import exclusive
from recsys.schema import SERVED_TIME
from recsys.table_sweep import LISTS_LOCK
from recsys.tombstones import Tombstones
from recsys.workspace import atomic_path
from serving.list_log import ListLog
from serving.served_list import served_frame

_log = structlog.get_logger(__name__)
_AT_ONCE = 20_000  # lists in one file, at most


def export_lists(list_log: ListLog, directory: Path) -> int:
    """Write every list that was not yet exported to ``day=YYYY-MM-DD/lists-LOG-FIRST-LAST.parquet``.

    Args:
        list_log: The log.
        directory: ``Workspace.served_lists``.

    Returns:
        How many lists were written.

    Raises:
        IntakeError: The log failed.
    """
    num_lists = 0
    name = f"lists-{list_log.log_id}"
    with exclusive(directory / LISTS_LOCK):
        Tombstones(directory.parent).look_again()
        while True:
            first, last, lists = list_log.not_exported(_AT_ONCE)
            if last < first:
                return num_lists
            dated = served_frame(lists).with_columns(day=pl.col(SERVED_TIME).dt.date())
            for (day,), part in dated.partition_by("day", as_dict=True, include_key=False).items():
                target = directory / f"day={day}" / f"{name}-{first}-{last}.parquet"
                for cut_short in target.parent.glob(f"{name}-{first}-*.parquet"):
                    cut_short.unlink()  # its lists are all in the log
                with atomic_path(target) as partial:
                    part.write_parquet(partial)
            list_log.mark_exported(last)
            num_lists += len(lists)


class ListExport:
    """Exports again and again, and forgets what is older than the retention."""

    def __init__(
        self, list_log: ListLog, directory: Path, now_ms: Callable[[], int], retention: timedelta
    ) -> None:
        self._list_log = list_log
        self._directory = directory
        self._now_ms = now_ms
        self._retention_ms = round(retention.total_seconds() * 1000)
        self._tombstones = Tombstones(directory.parent)
        self._num_erasures = 0

    async def step(self) -> None:
        """Export and forget once; a failure is logged and tried again next time."""
        try:
            num_lists = await asyncio.to_thread(export_lists, self._list_log, self._directory)
            await asyncio.to_thread(self._forget)
        except (RecsysError, OSError) as error:
            _log.warning("served lists are not exported", reason=str(error))
        else:
            _log.info("served lists exported", num_lists=num_lists)

    def _forget(self) -> None:
        self._list_log.forget(self._now_ms() - self._retention_ms)
        if (num_erasures := len(self._tombstones)) != self._num_erasures:
            self._list_log.forget_erased()
            self._num_erasures = num_erasures

    async def finish(self) -> None:
        """Export what is in memory too, before the server stops."""
        try:
            await asyncio.to_thread(self._list_log.flush)
        except RecsysError:
            return  # closing the log says so
        await self.step()

    async def run(self, every: timedelta) -> None:
        """Export until cancelled."""
        while True:
            await asyncio.sleep(every.total_seconds())
            await self.step()
