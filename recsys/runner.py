"""One function over many shards: in this process, or on a cluster that is there already.

Commands with ``--engine`` cut their input into shards and hand each to the function that does the whole
input on one machine, so what a cluster computes is what a laptop computes.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
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
