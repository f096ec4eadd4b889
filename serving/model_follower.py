"""Follows the registry's pointers: loads what they name in the background, and then swaps.

The pointer file is looked at a few times a second. A version that is not in memory is verified, loaded and
warmed up beside the models that serve, then brought up to date with the events that it missed, under the lock
that keeps them from leaving the buffer meanwhile. A version that does not verify changes nothing but
``failures``.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import structlog

from recsys.errors import BundleError, ConfigError, RecsysError
from recsys.fault_point import reach
from recsys.file_lock import shared
from recsys.registry import POINTERS, Pointers, Registry
from serving.models import Model, Models

_log = structlog.get_logger(__name__)

_EVERY = timedelta(milliseconds=200)

LoadModel = Callable[[str], Model]
"""Loads a version, ready to answer, with everything counted that is in the log and the buffer."""


class ModelFollower:
    """Keeps the models in memory those that the registry points at."""

    def __init__(self, registry: Registry, models: Models, load: LoadModel, lock: Path) -> None:
        """Follow a registry.

        Args:
            registry: Whose pointers to follow.
            models: The models that serve.
            load: How to load a version; called in a thread of its own.
            lock: File to hold shared while loading, see ``serving.compaction``.
        """
        self._registry = registry
        self._models = models
        self._load = load
        self._lock = lock
        self._seen: tuple[int, ...] | None = ()
        self._pointers = Pointers()
        self._held: set[str] = set()
        self._loads: dict[str, asyncio.Task[str | None]] = {}
        self.failures: dict[str, str] = {}
        """Why versions that were asked for did not load, until the pointers change again."""

    @property
    def loading(self) -> frozenset[str]:
        """Versions that are being loaded."""
        return frozenset(self._loads)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY.total_seconds())

    def look(self) -> None:
        """Read the pointers if they changed, and swap what is in memory already."""
        seen = _signature(self._registry.root / POINTERS)
        if seen == self._seen:
            return
        self._seen = seen
        self.failures.clear()
        try:
            self._pointers = self._registry.pointers()
        except (BundleError, OSError) as error:
            _log.error("the models stay as they are", reason=str(error))
            return
        self._arrange()
        for version in self._missing():
            self._begin(version)

    async def prepare(self, version: str) -> None:
        """Have a version in memory until ``release``, so that pointing at it swaps at once.

        Raises:
            BundleError: It does not verify, or cannot be loaded.
        """
        self._held.add(version)
        if self._models.find(version) is None:
            problem = await asyncio.shield(self._begin(version))
            if problem is not None:
                self._held.discard(version)
                raise BundleError(problem)

    def release(self, version: str) -> None:
        """Let go of a prepared version, unless something points at it."""
        self._held.discard(version)
        self._arrange()

    async def close(self) -> None:
        """Wait for loads that are under way: they hold the lock."""
        await asyncio.gather(*self._loads.values())

    def _missing(self) -> list[str]:
        pointers = self._pointers
        wanted = dict.fromkeys((pointers.stable, pointers.canary, pointers.shadow))
        return [version for version in wanted if version and self._models.find(version) is None]

    def _begin(self, version: str) -> "asyncio.Task[str | None]":
        if version not in self._loads:
            self._loads[version] = asyncio.create_task(self._bring_in(version), name="model-load")
        return self._loads[version]

    async def _bring_in(self, version: str) -> str | None:
        """Load a version and let it count along; why it cannot be, if so."""
        _log.info("loading a model", version=version)
        try:
            with ExitStack() as held:
                await asyncio.to_thread(held.enter_context, shared(self._lock))
                model = await asyncio.to_thread(self._load, version)
                self._check(model)
                reach("model-loaded")
                self._arrange(model)
                reach("model-swapped")
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the old one goes on
            problem = str(error) if isinstance(error, RecsysError | OSError) else repr(error)
            self.failures[version] = problem
            _log.error("a model cannot be loaded; the others go on", version=version, reason=problem)
            return problem
        finally:
            self._loads.pop(version, None)
        return None

    def _check(self, model: Model) -> None:
        if model.pipeline.config.state != self._models.stable.config.state:
            raise ConfigError(
                "the model was trained with other rules of state than the server keeps; restart the server"
            )

    def _arrange(self, loaded: Model | None = None) -> None:
        before = self._models.lineup
        models = [*before.models(), *([loaded] if loaded is not None else [])]
        self._models.arrange(self._pointers, {model.pipeline.version: model for model in models}, self._held)
        after = self._models.lineup
        if after.stable is not before.stable:
            _log.info(
                "another model serves",
                version=after.stable.pipeline.version,
                before=before.stable.pipeline.version,
            )


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
