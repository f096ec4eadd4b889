"""One function over many shards: in this process, or on a cluster that is there already.

Commands with ``--engine`` cut their input into shards and hand each to the function that does the whole
input on one machine, so what a cluster computes is what a laptop computes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, Protocol, TypeVar, runtime_checkable

from recsys.errors import ConfigError
from recsys.progress import progress

EngineName = Literal["local", "ray"]
Shard = TypeVar("Shard")
Result = TypeVar("Result")


@runtime_checkable
class Runner(Protocol):
    """Where shards are worked on."""

    @property
    def num_shards(self) -> int:
        """How many shards an input is best cut into."""

    def run(self, task: Callable[[Shard], Result], shards: Sequence[Shard], label: str) -> list[Result]:
        """Results in the order of the shards, each of them exactly once.

        Args:
            task: A function of a module that every node has, or a ``functools.partial`` of one; what it is
                given and returns can be pickled. It may be called again for a shard whose node was lost.
            shards: One argument of a call each.
            label: What the progress bar says.
        """


Network = Literal["torch", "lightgbm"]
"""Who connects the members of a group."""


@dataclass(frozen=True)
class Member:
    """A process of a group, as its work knows it."""

    rank: int
    """From 0 to ``size - 1``."""
    size: int
    """Processes that there are; fewer than before after a node was lost."""
    num_threads: int
    """Processors that it may use."""
    network: Mapping[str, str | int]
    """Where LightGBM finds the others and is found; empty for ``torch``, which is connected already."""


@runtime_checkable
class Group(Runner, Protocol):
    """A runner that can also have several processes work on one thing together."""

    @property
    def num_members(self) -> int:
        """Most processes of a group."""

    def together(self, task: Callable[[Member], None], network: Network, directory: Path) -> None:
        """Run a task in all members at once; it returns when all have.

        When a member is lost, all of them begin again: the task goes on from what it left in a directory of
        its own, and leaves its result there.

        Args:
            task: As in ``run``.
            network: What connects the members.
            directory: Where the engine keeps its books meanwhile; on the file system that the nodes share.
        """


class LocalRunner:
    """One shard after the other, in this process."""

    num_shards = 1

    def run(self, task: Callable[[Shard], Result], shards: Sequence[Shard], label: str) -> list[Result]:
        """See ``Runner``."""
        if len(shards) == 1:
            return [task(shards[0])]
        with progress(label, len(shards)) as advance:
            return [_counted(task(shard), advance) for shard in shards]


def runner(engine: EngineName) -> Runner:
    """The runner behind a value of ``--engine``.

    Raises:
        ConfigError: The engine's package is not installed, or its cluster cannot be reached.
    """
    if engine == "local":
        return LocalRunner()
    try:
        from recsys.ray_runner import RayRunner
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ConfigError(
            '--engine ray needs a package that is not installed: pip install ".[ray]"'
        ) from error
    return RayRunner()


def even_parts(length: int, num_parts: int) -> list[slice]:
    """Slices that cut a sequence into parts whose lengths differ by one at most; none is empty."""
    num_parts = max(min(num_parts, length), 1)
    cuts = [length * i // num_parts for i in range(num_parts + 1)]
    return [slice(start, end) for start, end in pairwise(cuts)]


def _counted(result: Result, advance: Callable[[int], None]) -> Result:
    advance(1)
    return result
