"""Tests of swaps in a running server, on real bundles and over a real channel."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recsys.registry import Registry
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from recsys.v1.types_pb2 import View
from recsys.workspace import Workspace
from serving.client import Client
from serving.loading import load_pipeline
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_models import FIRST, SECOND, two_models

NUM_SWAPS = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return two_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def workspace(models: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(models.root, tmp_path / "workspace"))


@contextmanager
def served(workspace: Workspace, **settings: object) -> Iterator[Client]:
    pipeline = load_pipeline(workspace)
    with (
        running_server(workspace.root, pipeline, clock="replay", **settings) as where,
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


@pytest.mark.parametrize("damage", ["ranker.txt", "manifest.json", "catalogue/items.parquet"])
def test_a_model_that_does_not_verify_leaves_the_old_one(workspace: Workspace, damage: str) -> None:
    registry = Registry(workspace.registry)
    with served(workspace) as client:
        registry.promote(SECOND)
        until(lambda: ask(client).model_version == SECOND)
        registry.promote(FIRST)
        until(lambda: ask(client).model_version == FIRST)
        third = shutil.copytree(registry.path(SECOND), registry.path("third"))
        manifest = (third / "manifest.json").read_text(encoding="utf-8")
        (third / "manifest.json").write_text(manifest.replace(SECOND, "third"), encoding="utf-8")
        pointers = registry.activate("stable", "third")
        assert pointers.previous == FIRST
        until(lambda: ask(client).model_version == "third")
        (third / damage).write_bytes(b"damaged")
        registry.rollback()
        until(lambda: ask(client).model_version == FIRST)
        for _ in range(3):
            assert ask(client).model_version == FIRST


def test_events_count_once_for_a_model_that_comes_later(workspace: Workspace) -> None:
    """What was recorded before the swap, after it, and while it was under way; the buffer holds it all."""
    registry = Registry(workspace.registry)
    with served(workspace) as client:
        for number in range(4):
            item_id = f"{SECOND}-kale" if number >= 2 else f"{FIRST}-kale"
            event = Event(event_id=f"n{number}", event_type="purchase", user_id="new", item_id=item_id)
            if number == 2:
                registry.promote(SECOND)
                until(lambda: ask(client).model_version == SECOND)
            client.record_events([event])
        assert ask(client, "new").model_version == SECOND
        assert f"{SECOND}-kale" in {result.item_id for result in ask(client, "new").results}
