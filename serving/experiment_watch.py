"""Takes over which experiments run while the server runs, off the request path."""

import asyncio
from collections.abc import Callable

import structlog

from recsys.errors import RecsysError
from recsys.experiments.book import ExperimentBook
from recsys.experiments.history import Running
from recsys.experiments.registry import ExperimentRegistry
from serving.model_follower import ModelFollower

_EVERY_SECONDS = 1.0
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

    async def run(self, every_seconds: float = _EVERY_SECONDS) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await self._hold()
            await asyncio.sleep(every_seconds)

    def look(self) -> None:
        """Take over what runs, if the log changed since the last look; a broken one is reported once."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            running, problems = self._registry.running_where_sound(self._running)
        except (RecsysError, OSError) as error:
            _log.warning("the experiments stay as they were: the audit log is broken", reason=str(error))
            return
        for problem in problems:
            _log.warning(
                "an experiment is broken; it goes on as it was read before, if it was", reason=problem
            )
        self._running = {each.experiment.key: each for each in running}
        book = ExperimentBook(running)
        self._wanted = book.models - _PARTS
        self._use_book(book)
        _log.info("experiments taken over", experiments=len(running))

    async def _hold(self) -> None:
        """Have the versions that arms name in memory; until one is, the stable model answers its arm."""
        wanted, held = self._wanted, self._held
        self._held = wanted
        for version in held - wanted:
            self._follower.release(version)
        for version in wanted - held:
            try:
                await self._follower.prepare(version)
            except RecsysError as error:
                _log.warning("the stable model answers for an arm's", version=version, reason=str(error))

    def _stamp(self) -> _Stamp:
        try:
            found = self._registry.audit_file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
