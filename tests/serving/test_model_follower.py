"""Tests of swaps in a running server, on real bundles and over a real channel."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from recsys.answer import Query
from recsys.event_log import EventLog
from recsys.item_state import ItemState
from recsys.manifest import read_manifest
from recsys.pipeline import Pipeline
from recsys.registry import Registry
from recsys.schema import DAY_MS
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from recsys.v1.types_pb2 import View
from recsys.workspace import Workspace
from serving.client import Client
from serving.event import event_frame
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.loading import load_pipeline, up_to_date
from tests.recsys.small_catalogue import NOW
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_models import FIRST, SECOND, two_models
from tests.serving.small_shop import make_event

NUM_SWAPS = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The second one is searched by product codes, as those of more texts than memory holds are."""
    found = two_models(tmp_path_factory.mktemp("models"), product_codes=True)
    assert "items/vectors.full.safetensors" in read_manifest(Registry(found.registry).path(SECOND)).files
    return found


@pytest.fixture
def workspace(models: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(models.root, tmp_path / "workspace"))


@contextmanager
def served(workspace: Workspace) -> Iterator[Client]:
    pipeline = load_pipeline(workspace)
    with (
        running_server(workspace.root, pipeline, clock="replay") as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        yield client


def ask(client: Client, user_id: str = "user-1") -> RecommendResponse:
    return client.recommend(RecommendRequest(user_id=user_id, page_size=5, view=View.VIEW_FULL))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_twenty_swaps_under_load_fail_no_call_and_mix_no_answer(workspace: Workspace) -> None:
    registry, stopped = Registry(workspace.registry), threading.Event()
    answers: list[RecommendResponse] = []
    errors: list[Exception] = []

    def keep_asking(client: Client) -> None:
        try:
            while not stopped.is_set():
                answers.append(ask(client))
        except Exception as error:  # noqa: BLE001  # counted below
            errors.append(error)

    with served(workspace) as client:
        threads = [threading.Thread(target=keep_asking, args=(client,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(NUM_SWAPS):
            version = FIRST if number % 2 else SECOND
            registry.promote(version)
            until(lambda version=version: ask(client).model_version == version)  # type: ignore[misc]
        stopped.set()
        for thread in threads:
            thread.join()
    assert not errors
    assert {answer.model_version for answer in answers} == {FIRST, SECOND}
    for answer in answers:
        assert answer.results
        assert all(result.item_id.startswith(answer.model_version) for result in answer.results)
        assert all(result.item.item_id == result.item_id for result in answer.results)


def test_the_model_before_is_still_there_to_go_back_to(workspace: Workspace) -> None:
    registry = Registry(workspace.registry)
    with served(workspace) as client:
        registry.promote(SECOND)
        until(lambda: ask(client).model_version == SECOND)
        shutil.rmtree(registry.path(FIRST) / "items")  # it could not be loaded again
        registry.rollback()
        until(lambda: ask(client).model_version == FIRST)


def test_events_reach_a_model_that_comes_later(workspace: Workspace) -> None:
    registry = Registry(workspace.registry)
    with served(workspace) as client:
        client.record_events([Event(event_type="purchase", user_id="new", item_id=f"{FIRST}-kale")])
        registry.promote(SECOND)
        until(lambda: ask(client).model_version == SECOND)
        assert list(ask(client, "new").degraded_reasons) == ["unknown_user"]  # of what it can recommend
        client.record_events([Event(event_type="purchase", user_id="new", item_id=f"{SECOND}-kale")])
        assert not ask(client, "new").degraded_reasons


def test_a_model_that_is_loaded_counts_what_is_in_log_and_buffer_once(workspace: Workspace) -> None:
    log = EventLog(workspace.events)
    events = [make_event(f"b{n}", item_id=f"{FIRST}-kale", time_ms=NOW + n) for n in range(3)]
    with closing(SqliteEventBuffer(workspace.state / BUFFER_FILE)) as buffer:
        buffer.append(events).result()
        log.append(event_frame(events[:1]), "a-crash-left-it-in-both")
        model = up_to_date(load_pipeline(workspace, version=FIRST), workspace, buffer)
        buffer.append([make_event("later", item_id=f"{FIRST}-kale", time_ms=NOW + 9)]).result()
        model.count(buffer.since(0, 10))
    assert model.counted == 4
    assert isinstance(model.pipeline, Pipeline)
    bundle = model.pipeline.bundle
    whole = [*events, make_event("later", item_id=f"{FIRST}-kale", time_ms=NOW + 9)]
    log.append(event_frame(whole[1:]), "the-rest")
    moment_ms = NOW + DAY_MS
    state = bundle.manifest.config.state
    expected = ItemState.from_events(bundle.parts.catalogue, state, log.scan(), moment_ms)
    found = model.pipeline.moment(Query(moment_ms, None)).popularity.engagement
    np.testing.assert_allclose(found, expected.popularity(moment_ms).engagement, rtol=1e-9)
