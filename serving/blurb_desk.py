"""Everything of one server process that has to do with blurbs, put together."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from recsys.blurbs.book import Book
from recsys.blurbs.book_file import BOOK_FILE
from recsys.blurbs.complaints import hold_back
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.hidden import HiddenAttributes
from recsys.blurbs.shop_gate import shop_gate
from recsys.blurbs.wanted import WANTED_FILE, WantedBlurbs
from recsys.config import Config, load_config
from recsys.errors import BlurbError, ConfigError
from recsys.workspace import Workspace
from serving.blocking_cluster import BlockingClient
from serving.blurb_publisher import EVERY_SECONDS, BlurbPublisher
from serving.blurb_reader import BlurbReader
from serving.blurb_reports import BlurbReports
from serving.blurb_store import BlurbStore, BlurbWriter
from serving.blurb_watch import BlurbWatch
from serving.blurb_wishes import BlurbWishes
from serving.blurbs import Blurbs
from serving.cluster_client import StoreClient
from serving.item_words import ItemWordsCache
from serving.line_judge import LineJudge
from serving.segment_choices import SegmentChoices
from serving.settings import Settings
from serving.store_clients import connect, connect_blocking
from serving.words_thread import WordsThread

_MOST_WAIT_SECONDS = 30.0  # between two attempts to open the book
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class BlurbDesk:
    """The parts; ``close`` lets go of what they hold."""

    config: BlurbConfig
    blurbs: Blurbs
    segments: SegmentChoices
    watch: BlurbWatch
    reports: BlurbReports
    _cutting: WordsThread
    _workspace: Workspace
    _tenant: str
    _reader: BlockingClient
    _writer: BlockingClient
    _client: StoreClient

    @classmethod
    def open(cls, workspace: Workspace, settings: Settings, url: str, trained: Config) -> Self:
        """Put the parts together.

        Args:
            workspace: Whose blurbs.
            settings: How to run.
            url: Of the store.
            trained: The model's configuration, for where the shop's cannot be read.

        Raises:
            StoreError: The URL is wrong.
        """
        config = _configured(workspace, trained)
        client, tenant = connect(url, settings.store_timeout_ms), settings.tenant
        store, wishes = BlurbStore(client, tenant), BlurbWishes(config)
        segments, reports = SegmentChoices(config.segments), BlurbReports(client, tenant, config.reports_hide)
        reading = connect_blocking(url, settings.blurb_timeout_ms)
        cutting = WordsThread(
            lambda: LineJudge(shop_gate(workspace), config.languages),
            HiddenAttributes.of(config.hidden_attributes),
        )
        words = ItemWordsCache(cutting.ask)
        cutting.take = words.put
        blurbs = Blurbs(BlurbReader(reading, store, tenant), words, segments, wishes)
        watch = BlurbWatch(
            store, reports, blurbs, wishes, lambda: WantedBlurbs(workspace.state / WANTED_FILE)
        )
        writing = connect_blocking(url, settings.store_timeout_ms)
        return cls(
            config, blurbs, segments, watch, reports, cutting, workspace, tenant, reading, writing, client
        )

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._cutting.close)
        self._reader.close()
        self._writer.close()
        await self._client.aclose()

    async def publish(self) -> None:
        """Bring what the book says into the store, once there is one, until cancelled."""
        path = self._workspace.state / BOOK_FILE
        while not path.exists():
            await asyncio.sleep(EVERY_SECONDS)
        book = await self._opened(path)
        try:
            await BlurbPublisher(book, BlurbWriter(self._writer, self._tenant)).run()
        finally:
            book.close()

    async def _opened(self, path: Path) -> Book:
        """The book, once it opens; seconds may pass where another process holds it."""
        wait_seconds, is_first = EVERY_SECONDS, True
        while True:
            try:
                return await asyncio.to_thread(Book, path)
            except BlurbError as error:
                if is_first:
                    _log.error("blurbs are not published; tried again", reason=str(error))
                is_first = False
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _MOST_WAIT_SECONDS)

    def hold_back(self, blurb_id: str, reason: str) -> None:
        """Send a text that was reported too often to review; from a thread.

        Raises:
            BlurbError: The book cannot be read or written.
        """
        path = self._workspace.state / BOOK_FILE
        if not path.exists():
            return
        book = Book(path)
        try:
            hold_back(book, blurb_id, round(time.time() * 1000), reason)
        finally:
            book.close()


def _configured(workspace: Workspace, trained: Config) -> BlurbConfig:
    """The shop's own configuration, by which its blurbs are made; a change takes a restart."""
    try:
        return load_config(workspace.config).blurbs
    except ConfigError as error:
        _log.warning("blurbs are served as they were configured for training", reason=str(error))
        return trained.blurbs
