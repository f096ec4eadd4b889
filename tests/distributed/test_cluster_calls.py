"""Everything that the product asks of the store is asked of a real cluster: nothing crosses slots.

A node refuses a command that touches two slots with CROSSSLOT, and one of another node's slot with MOVED; it
counts what it refuses, so that an error that degrades an answer in silence is seen too.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
import redis

from recsys.blurbs.book import Book
from recsys.blurbs.book_file import BOOK_FILE
from recsys.blurbs.entry import JobResult, Request, State
from recsys.blurbs.facts import Facts
from recsys.blurbs.revocation import revoke
from recsys.blurbs.row import BlurbSlot, Source
from recsys.event_log import EventLog
from recsys.schema import USER_ID
from recsys.tables import read_items
from recsys.v1 import admin_service_pb2 as pb
from recsys.v1.admin_service_pb2_grpc import AdminServiceStub
from recsys.v1.blurb_service_pb2 import ReportBlurbRequest
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from tests.deploy.test_store_rights import CLUSTER_ACL
from tests.distributed.store_cluster import StoreCluster, store_cluster
from tests.faults.conftest import Note, Serve
from tests.faults.processes import until
from tests.faults.test_privacy import CANARY, PERSON, ask_everything, life, on_disk, statuses
from tests.serving.every_store_call import every_store_call
from tests.serving.running import PATIENCE_SECONDS, free_port, running_server
from tests.serving.small_shop import SmallPipeline
from tests.serving.test_blurbs import LINE, ON, blurbs
from tests.serving.test_blurbs import until as until_shown

CROSSING = {"CROSSSLOT", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "NOPERM"}
"""Errors that nobody may get from a cluster that is whole."""
SECRET = "secret"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    """A cluster whose nodes grant what ``deploy/valkey-cluster.acl`` grants, to servers and to each other."""
    _, *users = CLUSTER_ACL.read_text(encoding="utf-8").splitlines()
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    lines = ["user default on nopass ~* &* +@all", *(line.replace("0" * 64, digest) for line in users)]
    acl = tmp_path_factory.mktemp("acl") / "users.acl"
    acl.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with store_cluster(aclfile=str(acl), masteruser="replica", masterauth=SECRET) as cluster:
        yield cluster


def url_of(cluster: StoreCluster) -> str:
    return cluster.url.replace("://", f"://recsys:{SECRET}@")


def assert_nothing_crossed(cluster: StoreCluster) -> None:
    assert not CROSSING & cluster.errors().keys(), cluster.errors()
    assert cluster.refused() == []


def test_a_command_that_crosses_slots_is_refused_and_counted(guarded: StoreCluster) -> None:
    node = guarded.nodes[0]
    with pytest.raises(redis.ResponseError, match="same slot"):
        node.ask("MGET", "a", "b")
    assert guarded.errors()["CROSSSLOT"] == 1
    node.ask("CONFIG", "RESETSTAT")
    assert_nothing_crossed(guarded)


def test_no_call_of_the_stores_crosses_slots_or_lacks_a_right(guarded: StoreCluster) -> None:
    every_store_call(url_of(guarded))
    assert_nothing_crossed(guarded)


def approve(book: Book, item_id: str, text: str) -> None:
    """Let a book say something about an item of the small shop."""
    facts, now = Facts.of(SmallPipeline().items([item_id])[0]), round(time.time() * 1000)
    place = BlurbSlot(item_id, "en")
    about = (facts.canonical, facts.content_hash, facts.category)
    book.enqueue([Request(f"{item_id} {text}", place, *about, None, "p", "m@1", "g")], now)
    [job] = book.claim(1, now)
    made = JobResult(State.APPROVED, text, Source.GENERATED, (), "{}", now, now + 10**6, now + 10**7)
    assert book.finish(job, made, now)


def is_taken(client: Client, blurb_id: str) -> bool:
    """Report a blurb; whether it is known to have been shown."""
    try:
        client.report_blurb(ReportBlurbRequest(blurb_id=blurb_id, user_id="a"))
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
            raise
        return False
    return True


def test_blurbs_are_published_reported_and_withdrawn_on_a_cluster(
    guarded: StoreCluster, tmp_path: Path
) -> None:
    (tmp_path / "recsys.toml").write_text('[blurbs]\nlanguages = ["en"]\nreports_hide = 2\n')
    with (
        running_server(tmp_path, SmallPipeline(), redis_url=url_of(guarded)) as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as client,
        closing(Book(tmp_path / "state" / BOOK_FILE)) as book,
    ):
        approve(book, "apples", "Apples from the farm, 1 kg.")
        approve(book, "bread", "Bread from the farm, 1 kg.")
        shown = until_shown(client, "apples", "Apples from the farm, 1 kg.")
        until_shown(client, "bread", "Bread from the farm, 1 kg.")
        client.report_blurb(ReportBlurbRequest(blurb_id=shown.blurb_id, user_id="a"))
        assert client.report_blurb(ReportBlurbRequest(blurb_id=shown.blurb_id, user_id="b")).hidden
        until_shown(client, "apples", LINE)
        revoke(book, "item", "bread", round(time.time() * 1000), "anna")
        until_shown(client, "bread", LINE)
        own = blurbs(client, ON)["eggs"]  # the item's own words may be reported as well
        until(lambda: is_taken(client, own.blurb_id), what="the announcement of the item's own words")
    assert_nothing_crossed(guarded)


def test_a_person_lives_on_a_cluster_and_is_erased_from_every_node(
    shop: Workspace, tmp_path: Path, serve: Serve, guarded: StoreCluster, figure: Note
) -> None:
    item_ids, port = read_items(shop)["item_id"].to_list(), free_port()
    words = ("--port=0", f"--redis={url_of(guarded)}", "--clock=wall", "--workers=2")
    environment = {"RECSYS_ADMIN_PORT": str(port), "RECSYS_COMPACT_EVERY": "PT1S"}

    def erased_ms() -> int:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            admin, forbidden = (
                AdminServiceStub(channel),
                pb.SetProfilingRequest(user_id="o", do_not_profile=True),
            )
            admin.SetProfiling(forbidden, timeout=PATIENCE_SECONDS)
            receipt = admin.EraseUser(pb.EraseUserRequest(user_id=PERSON), timeout=PATIENCE_SECONDS)
        assert receipt.is_complete
        return int(receipt.erased_time.ToMilliseconds())

    def assert_gone() -> None:
        assert (on_disk(shop.root), guarded.keys_with(CANARY.encode())) == ([], [])

    with serve(shop, tmp_path / "first", *words, **environment) as server, server.client() as client:
        assert statuses(client, life(item_ids)) == {"EVENT_STATUS_ACCEPTED"}
        ask_everything(client, server.address, item_ids)
        until(lambda: PERSON in set(EventLog(shop.events).scan().collect()[USER_ID]), what="compaction")
        assert len(guarded.keys_with(CANARY.encode())) >= 4, "a state and an origin, each with its replica"
        when = erased_ms()
        until(lambda: not guarded.keys_with(CANARY.encode()), what="the replicas' catching up")
        assert_gone()
        assert statuses(client, life(item_ids, when - 10)) == {"EVENT_STATUS_REJECTED"}
        assert_gone()
        assert "did not answer" not in server.err
    with serve(shop, tmp_path / "second", *words, **environment) as server, server.client() as client:
        assert_gone()
        assert statuses(client, life(item_ids, when + 1)) == {"EVENT_STATUS_ACCEPTED"}
        answer = client.recommend(RecommendRequest(user_id=PERSON))
        assert answer.results
        assert not answer.degraded_reasons
        assert "did not answer" not in server.err
    assert_nothing_crossed(guarded)
    figure("T63", "commands of any kind that crossed slots or lacked a right", 0, "", "0")
    figure("T63", "keys of an erased person on any node", 0, "", "0")
