"""Shards as tasks of a Ray cluster; only ``--engine ray`` imports this.

``RAY_ADDRESS`` names the cluster; without one, Ray is started on this machine for the length of the command.
Nodes need the same version of recsys, and the workspace under the same path: a shared file system. A cluster
should ask for a token (``RAY_AUTH_MODE=token``): who reaches it runs what he likes on its nodes.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import ray

from recsys.errors import ConfigError, RecsysError
from recsys.progress import progress
from recsys.ray_group import num_members, together
from recsys.runner import Member, Network, Result, Shard

_SHARDS_PER_PROCESSOR = 4
"""So that the slowest node does not hold up the others for long, and a lost one costs little."""
_MOST_RETRIES = 3
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


class RayRunner:
    """Shards on the nodes of a cluster; a shard whose node is lost runs again on another one."""

    def __init__(self) -> None:
        """Join the cluster, unless this process is in one.

        Raises:
            ConfigError: The cluster that ``RAY_ADDRESS`` names cannot be reached.
        """
        if ray.is_initialized():
            return
        try:
            ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = os.environ.get("RAY_ADDRESS", "this machine")
            raise ConfigError(f"no Ray cluster at {where}: {error}") from error

    @property
    def num_shards(self) -> int:
        """Four for each processor of the cluster."""
        return max(int(ray.cluster_resources().get("CPU", 1)), 1) * _SHARDS_PER_PROCESSOR

    def run(self, task: Callable[[Shard], Result], shards: Sequence[Shard], label: str) -> list[Result]:
        """See ``recsys.runner.Runner``.

        Raises:
            RecsysError: Nodes were lost more often than a shard is tried again.
        """
        remote: Any = ray.remote(num_cpus=1, max_retries=_MOST_RETRIES, scheduling_strategy="SPREAD")(_run)
        shared = ray.put(task)
        places = {remote.remote(shared, shard): i for i, shard in enumerate(shards)}
        waiting, results = list(places), dict[int, Result]()
        with progress(label, len(shards)) as advance:
            while waiting:
                done, waiting = ray.wait(waiting)
                for reference in done:
                    results[places[reference]] = cast("Result", _result(reference))
                    advance(1)
        return [results[i] for i in range(len(shards))]

    @property
    def num_members(self) -> int:
        """One for each node that works."""
        return num_members()

    def together(self, task: Callable[[Member], None], network: Network, directory: Path) -> None:
        """See ``recsys.runner.Group``.

        Raises:
            RecsysError: Members were lost more often than the group is started again.
        """
        together(task, network, directory)


def _run(task: Callable[[Shard], Result], shard: Shard) -> Result:
    return task(shard)


def _result(reference: object) -> object:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RecsysError):
            raise error.cause from error
        raise
    except ray.exceptions.RaySystemError as error:
        raise RecsysError(f"the Ray cluster lost too many of its nodes: {error}") from error
