import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recsys.experiments.book import ExperimentBook
from recsys.experiments.registry import ExperimentRegistry
from recsys.registry import Registry
from recsys.workspace import Workspace
from serving.experiment_watch import ExperimentWatch
from serving.model_follower import ModelFollower
from serving.models import Model, Models
from tests.recsys.experiments.small_experiment import toml
from tests.serving.running import PATIENCE_SECONDS
from tests.serving.small_shop import SmallPipeline


def load(version: str) -> Model:
    if version == "broken":
        raise OSError("no such bundle")
    return Model(SmallPipeline(version))


@pytest.fixture
def registry(tmp_path: Path) -> ExperimentRegistry:
    return ExperimentRegistry(Workspace(tmp_path))


def watching(
    registry: ExperimentRegistry, models: Models | None = None
) -> tuple[ExperimentWatch, list[ExperimentBook]]:
    """A watch, and the books that it gave, one after the other."""
    books: list[ExperimentBook] = []
    workspace = registry.root.parent
    follower = ModelFollower(
        Registry(workspace), models or Models(Model(SmallPipeline())), load, workspace / "lock"
    )
    return ExperimentWatch(registry, books.append, follower), books


def keys(book: ExperimentBook) -> list[str]:
    return [key for key, _ in book.treatment("u", "home", {}).arms]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def test_every_change_is_taken_over_once(registry: ExperimentRegistry) -> None:
    watch, books = watching(registry)
    watch.look()
    assert books == []
    registry.start(toml("one"), "d.toml")
    watch.look()
    watch.look()
    registry.start(toml("two"), "d.toml")
    watch.look()
    registry.stop("one")
    watch.look()
    assert [keys(book) for book in books] == [["one"], ["one", "two"], ["two"]]


def test_a_broken_definition_goes_on_as_it_was_and_stops_no_other(registry: ExperimentRegistry) -> None:
    registry.start(toml("one"), "d.toml")
    watch, books = watching(registry)
    watch.look()
    registry.start(toml("two"), "d.toml")
    registry.path("one", 1).write_text("nonsense", encoding="utf-8")
    with capture_logs() as said:
        watch.look()
    assert keys(books[-1]) == ["one", "two"]
    assert "an experiment is broken" in said[0]["event"]
    anew, others = watching(registry)
    anew.look()
    assert keys(others[-1]) == ["two"]  # a server that never read it cannot assign by it


def test_a_damaged_log_leaves_everything_as_it_was(registry: ExperimentRegistry) -> None:
    registry.start(toml("one"), "d.toml")
    watch, books = watching(registry)
    watch.look()
    registry.audit_file.write_bytes(b"nonsense\n")
    with capture_logs() as said:
        watch.look()
        watch.look()
    assert [line["event"] for line in said] == ["the experiments stay as they were: the audit log is broken"]
    assert len(books) == 1


def test_models_that_arms_name_are_in_memory_as_long_as_they_are_needed(registry: ExperimentRegistry) -> None:
    models = Models(Model(SmallPipeline()))
    registry.start(toml("one", treatment='model = "v7"'), "d.toml")
    registry.start(toml("two", top='placements = ["cart"]', treatment='blurbs = "none"'), "d.toml")
    watch, _ = watching(registry, models)

    async def scenario() -> None:
        running = asyncio.create_task(watch.run(0.01))
        await until(lambda: models.find("v7") is not None)
        found = models.named("v7")
        assert found is not None
        assert found.version == "v7"
        registry.stop("one")
        await until(lambda: models.find("v7") is None)
        running.cancel()

    asyncio.run(scenario())


def test_a_model_that_does_not_load_is_told_and_answered_by_the_stable(registry: ExperimentRegistry) -> None:
    models = Models(Model(SmallPipeline()))
    registry.start(toml("one", treatment='model = "broken"'), "d.toml")
    watch, books = watching(registry, models)

    async def scenario() -> None:
        running = asyncio.create_task(watch.run(0.01))
        await until(lambda: any("stable model answers" in line["event"] for line in said))
        running.cancel()

    with capture_logs() as said:
        asyncio.run(scenario())
    assert models.named("broken") is None
    assert keys(books[0]) == ["one"]
