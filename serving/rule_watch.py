"""Takes over a changed rules file while the server runs, off the request path."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from recsys.errors import RecsysError
from recsys.rules import Rule, load_rules

_EVERY_SECONDS = 1.0
_log = structlog.get_logger(__name__)

_Stamp = tuple[int, int, int] | None


class RuleWatch:
    """Looks at a file about once a second; one that cannot be read leaves the rules as they are."""

    def __init__(self, path: Path, use_rules: Callable[[Sequence[Rule]], None]) -> None:
        """Say what to look at.

        Args:
            path: The rules file; it may be absent.
            use_rules: Called in a thread with the rules at every look, for a model may have come since the
                last one that was loaded, or renewed, with the rules of before.
        """
        self._path, self._use_rules = path, use_rules
        self._seen: _Stamp = None
        self._rules: Sequence[Rule] | None = None

    async def run(self, every_seconds: float = _EVERY_SECONDS) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(every_seconds)

    def look(self) -> None:
        """Take over the file if it changed since the last look; a broken one is reported once.

        Otherwise see that every model applies the rules of the last one that was not broken.
        """
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._take_over()
        elif self._rules is not None:
            self._use_rules(self._rules)

    def _take_over(self) -> None:
        try:
            rules = load_rules(self._path)
            self._use_rules(rules)
        except RecsysError as error:
            _log.warning("the rules stay as they were: the file is broken", reason=str(error))
        else:
            self._rules = rules
            _log.info("rules taken over", rules=len(rules))

    def _stamp(self) -> _Stamp:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
