"""Tests that the ACL files of ``deploy`` give a server the commands that it uses, and no others."""

import ast
import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import redis

from recsys.blurbs.switches import OffSwitches
from recsys.blurbs.withdrawn import Withdrawn
from recsys.config import StateConfig
from recsys.user_state import UserState
from recsys.v1 import admin_service_pb2 as pb
from recsys.v1.admin_service_pb2_grpc import AdminServiceStub
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.blurb_reports import BlurbReports
from serving.blurb_store import BlurbMark, BlurbStore, BlurbWriter
from serving.client import Client
from serving.embedded_store import embedded_store
from serving.state_store import StateStore
from serving.store_clients import connect
from tests.serving.running import PATIENCE_SECONDS, free_port, running_server

ROOT = Path(__file__).parents[2]
ACL = ROOT / "deploy/valkey.acl"
CLUSTER_ACL = ROOT / "deploy/valkey-cluster.acl"
OF_CLUSTERS = {"cluster|slots", "command", "readonly", "asking"}
"""What else the client library sends to a cluster; ``tests/distributed`` runs a server with these rights."""
REPLICATION = "resetkeys resetchannels -@all +psync +replconf +ping"
STORES = ("redis", "serving.cluster_client", "serving.blocking_cluster")
"""What a module that holds a connection imports, for itself or for the type alone."""
NOT_OF_STATES = {"capacity.py", "cluster_client.py", "blocking_cluster.py"}
CLIENTS = {"client", "_client", "pipe", "_reader", "reader"}
"""What a connection to the store, or a pipeline of one, is called in the product."""
NOT_COMMANDS = {"aclose", "close", "pipeline"}
"""What else such an object is asked for."""
SPELLED = {"delete": "del", "execute": "exec", "scan_iter": "scan", "incr": "incrby"}
"""What the client library sends for a method of another name."""
OF_CONNECTIONS = {
    "hello",
    "ping",
    "select",
    "client|setinfo",
    "client|setname",
    "multi",
    "exec",
    "discard",
    "unwatch",
}
"""What the client library sends of itself."""


def granted(acl: Path = ACL) -> list[str]:
    """The rights of the tenant's user, beyond being there and its keys."""
    return acl.read_text(encoding="utf-8").splitlines()[1].split("~recsys:default:* ")[1].split()


def used() -> set[str]:
    """Commands that the modules which hold a connection call by name."""
    found: set[str] = set()
    for path in sorted((ROOT / "serving").glob("*.py")):
        if not any(name in (text := path.read_text(encoding="utf-8")) for name in STORES):
            continue
        tree = ast.parse(text)
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        if path.name not in NOT_OF_STATES and any(str(name).startswith(STORES) for name in imported):
            found |= {call for node in ast.walk(tree) if (call := _asked(node))}
    return {SPELLED.get(name, name) for name in found - NOT_COMMANDS}


def _asked(node: ast.AST) -> str:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return ""
    receiver = node.func.value
    name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
    return node.func.attr if name in CLIENTS else ""


def test_every_command_that_is_used_is_granted_and_no_other() -> None:
    allowed = {right.removeprefix("+") for right in granted() if right.startswith("+")}
    commands = used()
    assert {"get", "mget", "watch", "sismember", "scan"} <= commands
    assert commands - OF_CONNECTIONS <= allowed
    assert allowed <= commands | OF_CONNECTIONS


def test_a_cluster_grants_what_a_server_does_and_what_its_client_sends_of_itself() -> None:
    assert set(granted(CLUSTER_ACL)) == set(granted()) | {f"+{name}" for name in OF_CLUSTERS}
    [*_, replica] = CLUSTER_ACL.read_text(encoding="utf-8").splitlines()
    assert replica.startswith("user replica on #")
    assert replica.endswith(REPLICATION)


@pytest.fixture
def store() -> Iterator[tuple[str, redis.Redis]]:
    """A store with the rights of the file: the URL of the tenant's user, and an administrator."""
    with embedded_store() as url, redis.Redis.from_url(url) as administrator:
        rights = ("resetkeys", "~recsys:default:*", "resetchannels", *granted())
        administrator.execute_command("ACL", "SETUSER", "recsys", "on", ">secret", *rights)
        yield url.replace("unix://", "unix://recsys:secret@"), administrator


async def _everything_else(url: str) -> None:
    """What a server does now and then only."""
    client = connect(url, 10_000)
    states, reports = StateStore(client, "default", StateConfig()), BlurbReports(client, "default", 2)
    nobody: list[tuple[str, UserState]] = []
    await states.learn_origins([("u", "v")])
    await states.load(nobody, "marker")
    await states.rewrite([("u", None)])
    assert await states.server_id(), "what tells a failover"
    assert await states.progress() >= 0
    await BlurbStore(client, "default").announce(["blurb"])
    assert await reports.add("blurb", "one") == (True, False)
    assert await reports.add("blurb", "one") == (False, False)
    assert await reports.add("blurb", "two") == (True, True)
    assert await reports.add("blurb", "three") == (False, True)
    assert await reports.hidden() == {"blurb"}
    await states.close()


def test_a_server_with_these_rights_is_refused_nothing(
    tmp_path: Path, store: tuple[str, redis.Redis]
) -> None:
    url, administrator = store
    port = free_port()
    with ExitStack() as stack:
        address = stack.enter_context(running_server(tmp_path, redis_url=url, admin_port=port))
        client = stack.enter_context(Client(address, timeout_seconds=PATIENCE_SECONDS))
        admin = AdminServiceStub(stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")))
        login = Event(event_type="view", visitor_id="v", user_id="u", item_id="eggs")
        client.record_events([Event(event_type="view", visitor_id="v", item_id="dates"), login])
        first = client.recommend(RecommendRequest(user_id="u", page_size=1))
        assert not first.degraded_reasons
        client.recommend(RecommendRequest(user_id="u", page_size=1, page_token=first.next_page_token))
        forbidding = pb.SetProfilingRequest(user_id="other", do_not_profile=True)
        admin.SetProfiling(forbidding, timeout=PATIENCE_SECONDS)
        assert admin.EraseUser(pb.EraseUserRequest(user_id="u"), timeout=PATIENCE_SECONDS).is_complete
    with redis.Redis.from_url(url) as connection:
        writer = BlurbWriter(connection, "default")
        writer.switch(OffSwitches())
        marked = writer.publish({}, after=BlurbMark("book"), off=OffSwitches(), withdrawn=Withdrawn())
        assert writer.mark() == marked
        writer.clear()
        asyncio.run(_everything_else(url))
        assert administrator.acl_log() == []
        foreign = ("GET", "recsys:other:u:{u}")
        for forbidden in (("FLUSHALL",), ("KEYS", "*"), ("EVAL", "return 1", "0"), foreign):
            with pytest.raises(redis.exceptions.NoPermissionError):
                connection.execute_command(*forbidden)
