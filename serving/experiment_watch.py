"""Takes over which experiments run while the server runs, off the request path."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from recsys.errors import RecsysError
from recsys.experiments.book import ExperimentBook
from recsys.experiments.history import Running
from recsys.experiments.registry import ExperimentRegistry
from serving.model_follower import ModelFollower

_EVERY_SECONDS = 1.0
_HOLD_AGAIN_SECONDS = 30.0
_PARTS = frozenset({"stable", "canary"})
_log = structlog.get_logger(__name__)

_Stamp = tuple[int, int, int] | None


class ExperimentWatch:
    """Looks at the audit log about once a second; while it cannot be read, what ran goes on."""

    def __init__(
        self,
        registry: ExperimentRegistry,
        use_book: Callable[[ExperimentBook], None],
        follower: ModelFollower,
    ) -> None:
        """Say what to look at.

        Args:
            registry: Whose experiments.
            use_book: Called with them, in a thread, when they changed.
            follower: Has the versions in memory that arms name.
        """
        self._registry, self._use_book, self._follower = registry, use_book, follower
        self._seen: _Stamp = None
        self._running: dict[str, Running] = {}
        self._wanted: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        self._hold_again_at = 0.0
        self._told: set[tuple[str, str]] = set()

    async def run(self, every_seconds: float = _EVERY_SECONDS) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await self._hold()
            await asyncio.sleep(every_seconds)

    def look(self) -> None:
        """Take over what runs, if the log changed since the last look or something was broken then."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        try:
            running, problems = self._registry.running_where_sound(self._running)
        except (RecsysError, OSError) as error:
            self._tell("the experiments stay as they were: the audit log is broken", [str(error)])
            return
        self._tell("an experiment is broken; it goes on as it was read before, if it was", problems)
        self._seen = stamp if not problems else None  # what is broken may be mended without an entry
        taken_over = {each.experiment.key: each for each in running}
        if taken_over == self._running:
            return
        self._running = taken_over
        book = ExperimentBook(running)
        self._wanted = book.models - _PARTS
        self._use_book(book)
        _log.info("experiments taken over", experiments=len(running))

    async def _hold(self) -> None:
        """Have the versions that arms name in memory; until one is, the stable model answers its arm."""
        for version in self._held - self._wanted:
            self._follower.release(version)
        self._held &= self._wanted
        if time.monotonic() < self._hold_again_at:
            return
        for version in self._wanted - self._held:
            try:
                await self._follower.prepare(version)
                self._held |= {version}
            except RecsysError as error:
                self._tell("the stable model answers for an arm's", [f"{version}: {error}"])
                self._hold_again_at = time.monotonic() + _HOLD_AGAIN_SECONDS

    def _tell(self, what: str, reasons: Sequence[str]) -> None:
        """Log what was not logged before."""
        for reason in reasons:
            if (what, reason) not in self._told:
                self._told.add((what, reason))
                _log.warning(what, reason=reason)

    def _stamp(self) -> _Stamp:
        try:
            found = self._registry.audit_file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
