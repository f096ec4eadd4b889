"""Events that a cluster takes in are those that this process takes in, although a node goes midway."""

from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from polars.testing import assert_frame_equal
from ray.cluster_utils import Cluster

from recsys.event_log import EventLog
from recsys.ray_runner import RayRunner
from recsys.schema import EVENT_ID
from tests.recsys.test_sharded_events import logged, refused, take, told, write_shop

_NUM_EVENTS = 60_000
_LOG = "[log]\nnum_shards = 4\n"


@pytest.mark.parametrize("step", ["checked", "log/*"])
def test_events_are_taken_in_once_each_although_a_node_goes(
    cluster: Cluster, tmp_path: Path, step: str
) -> None:
    given = write_shop(tmp_path / "given", _NUM_EVENTS)
    here, there = tmp_path / "here", tmp_path / "there"
    one = take(here, given, None, _LOG)
    lost = next(iter(cluster.worker_nodes))
    logged_before: list[int] = []

    def lose_a_node() -> None:
        while not list((there / "events").glob(f".ingest.*/{step}/*.parquet")):
            sleep(0.005)
        logged_before.append(len(EventLog(there / "events").names()))
        cluster.remove_node(lost, allow_graceful=False)

    loss = Thread(target=lose_a_node, daemon=True)
    loss.start()
    many = take(there, given, RayRunner(), _LOG)
    loss.join()
    assert lost not in cluster.worker_nodes
    assert logged_before == [0]
    assert told(one.events) == told(many.events)
    assert_frame_equal(refused(one.events), refused(many.events))
    assert logged(here) == logged(there)
    ids = EventLog(there / "events").scan().select(EVENT_ID).collect()
    assert ids.height == ids[EVENT_ID].n_unique() == one.events.accepted
    again = take(there, given, RayRunner(), _LOG)
    assert again.events.accepted == 0
