"""Processes of a Ray cluster that work on one thing together, on Ray Train; see ``recsys.ray_runner``.

Ray Train starts the processes, connects them, and starts all of them again when one is lost, on the nodes
that are left if need be. What they go on from is the task's own business: Ray stores no checkpoints.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train.lightgbm import LightGBMTrainer, get_network_params
from ray.train.torch import TorchTrainer

from recsys.errors import RecsysError
from recsys.runner import Member, Network

_MOST_FAILURES = 2


def together(task: Callable[[Member], None], network: Network, directory: Path) -> None:
    """See ``recsys.runner.Group``.

    Raises:
        RecsysError: The task failed, or members were lost, more often than the group is started again.
    """
    trainer = LightGBMTrainer if network == "lightgbm" else TorchTrainer
    shared = ray.put(task)
    group = trainer(
        _work,
        train_loop_config={"task": shared, "network": network},
        scaling_config=_scaling(network),
        run_config=ray.train.RunConfig(
            name=network,
            storage_path=str(directory.absolute()),
            failure_config=ray.train.FailureConfig(max_failures=_MOST_FAILURES),
        ),
    )
    try:
        group.fit()
    except ray.train.WorkerGroupError as error:
        for cause in error.worker_failures.values():
            if isinstance(cause, RecsysError):
                raise cause from error
        raise RecsysError(f"the Ray cluster's processes failed too often: {error}") from error


def num_members() -> int:
    """Nodes with processors."""
    return max(len(_processors()), 1)


def _scaling(network: Network) -> "ray.train.ScalingConfig":
    """A process per node, or per GPU where there are some and they can be used."""
    processors, num_gpus = _processors(), round(ray.cluster_resources().get("GPU", 0))
    if network == "torch" and num_gpus:
        each = max(math.floor(sum(processors) / num_gpus), 1)
        return ray.train.ScalingConfig(
            num_workers=(1, num_gpus), use_gpu=True, resources_per_worker={"CPU": each, "GPU": 1}
        )
    return ray.train.ScalingConfig(
        num_workers=(1, num_members()),
        resources_per_worker={"CPU": min(processors, default=1)},
        placement_strategy="SPREAD",
    )


def _processors() -> list[int]:
    """Processors of each living node that has any."""
    found = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return [count for count in found if count]


def _work(given: dict[str, Any]) -> None:
    """What every member runs."""
    context = ray.train.get_context()
    threads = int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))
    network = get_network_params() if given["network"] == "lightgbm" else {}
    task = ray.get(given["task"])
    task(Member(context.get_world_rank(), context.get_world_size(), max(threads, 1), network))
