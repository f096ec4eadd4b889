"""A Ray cluster on loopback, a head that does no work and two nodes that do; and what tests of faults use.

``make test-distributed`` sets the token by which they know each other: Ray reads it when it is imported.
"""

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.faults.conftest import figure, forge, serve, shop

__all__ = ["cluster", "figure", "forge", "serve", "shop"]

_STORE_BYTES = 150 << 20


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three raylets; this process is connected to the head."""
    started = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": _STORE_BYTES, "include_dashboard": False},
    )
    try:
        for _ in range(2):
            started.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)
        started.wait_for_nodes()
        ray.init(address=started.address, log_to_driver=False)
        yield started
    finally:
        ray.shutdown()
        started.shutdown()
