"""Makes items' own words into lines, in a thread of its own: no list waits for it.

To cut the lines of an item takes a third of a millisecond, to judge them several, and the gate takes seconds
to start. A list goes without the lines that were not made yet, and the next one has them.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from recsys.blurbs.hidden import HiddenAttributes
from recsys.errors import RecsysError
from serving.item_words import ItemWords, Row
from serving.own_lines import Screen, with_own_lines

_MOST_WAITING: Final = 2_048
_REST: Final = 9.0  # times as long as an item took, so that lists get most of the processor
_LONGEST_REST_SECONDS: Final = 0.5
_log = structlog.get_logger(__name__)


class WordsThread:
    """Several threads may ask it."""

    def __init__(self, screen: Callable[[], Screen], hidden: HiddenAttributes) -> None:
        """Make nothing yet.

        Args:
            screen: Makes what decides on lines; called once, in the thread.
            hidden: Attributes that are shown to nobody.
        """
        self._make_screen, self._hidden = screen, hidden
        self.take: Callable[[int, ItemWords], None] = lambda _digest, _words: None
        """Is given what was made of a row, by its digest."""
        self._waiting: queue.Queue[tuple[int, Row] | None] = queue.Queue(_MOST_WAITING)
        self._queued: set[int] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def ask(self, digest: int, row: Row) -> None:
        """Want the lines of a row; where too many are wanted already, that is forgotten."""
        with self._lock:
            if self._is_closed or digest in self._queued or self._waiting.full():
                return
            self._queued.add(digest)
            self._waiting.put_nowait((digest, row))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="item-words", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Make nothing more."""
        with self._lock:
            self._is_closed = True
        with suppress(queue.Full):  # then it is not asleep, and looks whether it may go on
            self._waiting.put_nowait(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            screen = self._make_screen()
        except RecsysError as error:
            _log.error("items' own words are not shown: the gate cannot be made", reason=str(error))
            return
        while (wanted := self._waiting.get()) is not None and not self._is_closed:
            digest, row = wanted
            started = time.monotonic()
            try:
                self.take(digest, with_own_lines(row, screen, self._hidden))
            except Exception as error:  # noqa: BLE001  # of one item; the thread must outlive it
                _log.error("an item has no words of its own", error=type(error).__name__)
            else:
                with self._lock:
                    self._queued.discard(digest)
            time.sleep(min(_REST * (time.monotonic() - started), _LONGEST_REST_SECONDS))
