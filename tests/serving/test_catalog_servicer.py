"""Tests of the CatalogService over a real channel, with a real model, and two servers on one workspace."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2

from recsys.event_log import EventLog
from recsys.item_changes import CHANGES_FILE
from recsys.registry import Registry
from recsys.v1.catalog_service_pb2 import ItemStatus
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.v1.types_pb2 import Item
from recsys.workspace import Workspace
from serving.client import Client
from serving.loading import load_pipeline
from tests.recsys.small_catalogue import (
    events_frame,
    greengrocer,
    greengrocer_encoder,
    shopping,
    small_config,
    write_shop_bundle,
)
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.test_servicer import violated

MANGO = Item(item_id="mango", title="yellow mango", category=["Shop", "Fruit"], brand="Isle", price=2.5)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A greengrocer with a trained bundle and an empty log; the tests change other items each."""
    root = tmp_path_factory.mktemp("greengrocer")
    workspace = Workspace(root / "workspace")
    registry, catalogue = Registry(workspace.registry), greengrocer()
    config = small_config(greengrocer_encoder(root / "encoder"))
    write_shop_bundle(registry.path("v1"), config, catalogue, events_frame(shopping(catalogue)))
    registry.promote("v1")
    return workspace


@pytest.fixture(scope="module")
def clients(workspace: Workspace) -> Iterator[tuple[Client, Client]]:
    """Clients of two servers on the same workspace."""
    with (
        running_server(workspace.root, load_pipeline(workspace)) as one,
        running_server(workspace.root, load_pipeline(workspace)) as other,
        Client(one, timeout_seconds=PATIENCE_SECONDS) as here,
        Client(other, timeout_seconds=PATIENCE_SECONDS) as there,
    ):
        yield here, there


def eventually(holds: Callable[[], bool]) -> None:
    """Ask again and again, for at most the tests' patience."""
    import time

    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_known(client: Client, item_id: str) -> bool:
    return not client.rank(RankRequest(user_id="u", item_ids=[item_id])).missing_item_ids


def offered(client: Client, **asked: object) -> set[str]:
    request = RecommendRequest(user_id="u", page_size=200, **asked)  # type: ignore[arg-type]
    return {result.item_id for result in client.recommend(request).results}


def test_a_new_item_is_recommended_by_every_server(clients: tuple[Client, Client]) -> None:
    here, there = clients
    [result] = here.upsert_items([MANGO])
    assert (result.item_id, result.status) == ("mango", ItemStatus.ITEM_STATUS_ACCEPTED)
    for client in (here, there):
        eventually(lambda client=client: is_known(client, "mango"))  # type: ignore[misc]
        beside = {"placement": "similar_items", "context_item_ids": ["banana"]}
        assert "mango" in offered(client, **beside)
        assert "mango" in offered(client, filter='title:"mango"')
        [event] = client.record_events([Event(event_type="purchase", user_id="v", item_id="mango")])
        assert event.status == EventStatus.EVENT_STATUS_ACCEPTED


def test_a_deleted_item_comes_back_through_nothing(clients: tuple[Client, Client]) -> None:
    here, there = clients
    here.record_events([Event(event_type="purchase", user_id="u", item_id="leek")])
    assert here.delete_items(["leek", "nothing like it"]) == ["nothing like it"]
    for client in (here, there):
        eventually(lambda client=client: not is_known(client, "leek"))  # type: ignore[misc]
        assert "leek" not in offered(client)
        assert "leek" not in offered(client, filter='title:"leek"')
        assert "leek" not in offered(client, placement="similar_items", context_item_ids=["kale"])
        assert client.recommend(
            RecommendRequest(placement="similar_items", context_item_ids=["leek"])
        ).missing_item_ids == ["leek"]
        [event] = client.record_events([Event(event_type="purchase", user_id="u", item_id="leek")])
        assert event.status == EventStatus.EVENT_STATUS_REJECTED
        assert client.get_items(["leek"]).missing_item_ids == ["leek"]


def test_an_item_that_is_not_available_is_known_and_not_offered(clients: tuple[Client, Client]) -> None:
    here, there = clients
    [carrot] = here.get_items(["carrot"]).items
    carrot.available = False
    here.upsert_items([carrot])
    for client in (here, there):
        eventually(lambda client=client: "carrot" not in offered(client))  # type: ignore[misc]
        assert is_known(client, "carrot")
    carrot.available = True
    there.upsert_items([carrot])
    for client in (here, there):
        eventually(lambda client=client: "carrot" in offered(client))  # type: ignore[misc]


def test_items_are_returned_as_they_were_put(clients: tuple[Client, Client]) -> None:
    here, there = clients
    created = Timestamp(seconds=1_700_000_000, nanos=250_000_000)
    pear = Item(
        item_id="pear", title="green pear", tags=["sweet"], attributes={"size": "2 kg"}, available=True
    )
    pear.created_time.CopyFrom(created)
    here.upsert_items([pear])
    found = there.get_items(["beet", "pear", "nobody", "pear"])
    assert [item.item_id for item in found.items] == ["beet", "pear"]
    assert found.items[1] == pear
    assert found.missing_item_ids == ["nobody"]


def test_a_bad_item_does_not_keep_the_others_out(clients: tuple[Client, Client]) -> None:
    here, _ = clients
    results = here.upsert_items(
        [
            Item(item_id="plum", title="blue plum"),
            Item(item_id="plum", title="another plum"),
            Item(item_id="untitled"),
            Item(title="without an id"),
            Item(item_id="x" * 257, title="too long"),
            Item(item_id="cheap", title="cheap", price=-1.0),
            Item(item_id="long", title="t" * 20_001),
        ]
    )
    reasons = [result.reason for result in results]
    assert [reason == "" for reason in reasons] == [True] + [False] * 6
    assert [result.status for result in results] == [ItemStatus.ITEM_STATUS_ACCEPTED] + [
        ItemStatus.ITEM_STATUS_REJECTED
    ] * 6
    assert reasons[2] == "title is missing"
    assert reasons[5] == "price is negative"
    assert here.get_items(["plum"]).items[0].title == "blue plum"
    assert here.get_items(["untitled", "cheap"]).missing_item_ids == ["untitled", "cheap"]


@pytest.mark.parametrize("num_items", [0, 1001])
def test_a_batch_of_the_wrong_size_is_refused(clients: tuple[Client, Client], num_items: int) -> None:
    here, _ = clients
    with pytest.raises(grpc.RpcError) as caught:
        here.upsert_items([Item(item_id=f"i{i}", title="t") for i in range(num_items)])
    assert list(violated(caught.value)) == ["items"]
    with pytest.raises(grpc.RpcError) as caught:
        here.delete_items([f"i{i}" for i in range(num_items)])
    assert list(violated(caught.value)) == ["item_ids"]


def test_an_id_that_is_none_is_refused(clients: tuple[Client, Client]) -> None:
    here, _ = clients
    with pytest.raises(grpc.RpcError) as caught:
        here.get_items(["kale", "", "x" * 300])
    assert list(violated(caught.value)) == ["item_ids[1]", "item_ids[2]"]


def test_changes_are_there_after_a_restart(clients: tuple[Client, Client], workspace: Workspace) -> None:
    here, _ = clients
    here.upsert_items([Item(item_id="quince", title="yellow quince")])
    here.delete_items(["radish"])
    pipeline = load_pipeline(workspace)
    assert pipeline.knows_item("quince")
    assert not pipeline.knows_item("radish")
    assert pipeline.changed_through == pipeline.withdrawn_through > 0


def test_new_texts_join_an_index_with_product_codes_while_shoppers_ask_and_no_call_fails(
    tmp_path: Path,
) -> None:
    shop, catalogue = Workspace(tmp_path / "workspace"), greengrocer()
    config = small_config(greengrocer_encoder(tmp_path / "encoder"))
    sizes = config.candidates.model_copy(update={"product_codes_above": 0})
    config = config.model_copy(update={"candidates": sizes})
    write_shop_bundle(
        Registry(shop.registry).path("v1"), config, catalogue, events_frame(shopping(catalogue))
    )
    Registry(shop.registry).promote("v1")
    answered, failed, done = [0], list[grpc.RpcError](), threading.Event()

    def ask(address: str) -> None:
        with Client(address, timeout_seconds=PATIENCE_SECONDS) as client:
            while not done.wait(0.02):  # the servers' processor is also theirs who read texts
                try:
                    client._recommendations.Recommend(RecommendRequest(user_id="u"), timeout=PATIENCE_SECONDS)
                    answered[0] += 1
                except grpc.RpcError as error:
                    failed.append(error)

    with (
        running_server(shop.root, load_pipeline(shop)) as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as client,
        ThreadPoolExecutor(2) as shoppers,
    ):
        asking = [shoppers.submit(ask, address) for _ in range(2)]
        try:
            for number in range(2):
                names = [f"mango-{number}-{i}" for i in range(5)]
                client.upsert_items([Item(item_id=name, title=f"yellow {name}") for name in names])
                eventually(lambda names=names: all(is_known(client, name) for name in names))  # type: ignore[misc]
                beside = {"placement": "similar_items", "context_item_ids": ["banana"]}
                assert set(names) <= offered(client, **beside)
                assert set(names) == offered(client, filter=f'title:"mango-{number}"')
        finally:
            done.set()
        for one in asking:
            one.result()
    assert not failed
    assert answered[0] > 10


def health_of(address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer: health_pb2.HealthCheckResponse = check(
            health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS
        )
        return int(answer.status)


def test_a_server_that_cannot_tell_what_is_for_sale_does_not_recommend(
    workspace: Workspace, tmp_path: Path
) -> None:
    states = health_pb2.HealthCheckResponse
    pipeline = load_pipeline(workspace)
    with (
        running_server(tmp_path, pipeline, catalogue_stale_after=1) as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        assert health_of(address) == states.SERVING
        file = tmp_path / "state" / CHANGES_FILE
        file.rename(file.with_name("away"))
        eventually(lambda: health_of(address) == states.NOT_SERVING)
        with pytest.raises(grpc.RpcError) as caught:
            client._recommendations.Recommend(RecommendRequest(user_id="u"), timeout=PATIENCE_SECONDS)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert client.rank(RankRequest(user_id="u", item_ids=["kale"])).results
        file.with_name("away").rename(file)
        eventually(lambda: health_of(address) == states.SERVING)
        assert offered(client)
    assert EventLog(tmp_path / "events").end_ms() is None
