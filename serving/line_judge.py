"""Lets the shop's gate decide on lines of items' own words, in a thread of its own.

The gate takes a millisecond or two for a line, and seconds to start, so that no list waits for it: a line
that was not judged yet is kept back, and shown by the next list.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import structlog

from recsys.blurbs.facts import Facts
from recsys.blurbs.judging import TextGate
from recsys.errors import RecsysError
from serving.line_screen import may_be_shown

_MOST_KEPT: Final = 65_536
_MOST_WAITING: Final = 2_048
_REST: Final = 9.0  # times as long as a line took, so that lists get most of the processor
_log = structlog.get_logger(__name__)

_Line = tuple[Facts, str, str]


class LineJudge:
    """A ``serving.item_words.Screen``; several threads may ask."""

    def __init__(self, gate: Callable[[], TextGate], languages: Sequence[str]) -> None:
        """Judge nothing yet.

        Args:
            gate: Makes the gate; called once, in the thread.
            languages: What a line may be in, where its item does not tell.
        """
        self._make, self._languages = gate, tuple(languages)
        self._verdicts: dict[tuple[str, str, str], bool] = {}
        self._waiting: queue.Queue[_Line | None] = queue.Queue(_MOST_WAITING)
        self._queued: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._fails = False

    def __call__(self, facts: Facts, line: str, language: str) -> bool | None:
        """Whether a line may be shown; ``None`` while nobody knows."""
        if not may_be_shown(facts, line, language):
            return False
        key = (facts.content_hash, line, language)
        known = self._verdicts.get(key)
        if known is None:
            self._ask(key, (facts, line, language))
        return known

    def close(self) -> None:
        """Judge nothing more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            while not self._waiting.empty():
                self._waiting.get_nowait()
            self._waiting.put(None)
            thread.join()

    def _ask(self, key: tuple[str, str, str], line: _Line) -> None:
        with self._lock:
            if key in self._queued or self._waiting.full():
                return
            self._queued.add(key)
            self._waiting.put_nowait(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="line-judge", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            gate = self._make()
        except RecsysError as error:
            _log.error("items' own words are not shown: the gate cannot be made", reason=str(error))
            return
        while (line := self._waiting.get()) is not None:
            started = time.monotonic()
            self._keep(line, self._judged(gate, *line))
            time.sleep(_REST * (time.monotonic() - started))

    def _judged(self, gate: TextGate, facts: Facts, line: str, language: str) -> bool:
        languages = (language,) if language else self._languages
        try:
            return any(gate.check(facts, line, each).passed for each in languages)
        except Exception as error:  # noqa: BLE001  # whatever breaks, nothing is shown unchecked
            if not self._fails:
                _log.error("the gate breaks on a line, which is not shown", error=type(error).__name__)
            self._fails = True
            return False

    def _keep(self, line: _Line, is_good: bool) -> None:
        facts, text, language = line
        key = (facts.content_hash, text, language)
        with self._lock:
            if len(self._verdicts) >= _MOST_KEPT:
                for oldest in list(islice(self._verdicts, _MOST_KEPT // 4)):
                    del self._verdicts[oldest]
            self._verdicts[key] = is_good
            self._queued.discard(key)
