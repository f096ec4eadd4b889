"""Tests of how workers tell each other how far they are, and of what may leave the buffer."""

import asyncio
from contextlib import closing
from pathlib import Path

from recsys.config import StateConfig
from recsys.event_log import EventLog
from serving.embedded_store import embedded_store
from serving.event_buffer import SqliteEventBuffer
from serving.log_sync import LogSync
from serving.models import Model, Models
from serving.progress_board import LOADED, ProgressBoard
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.store_clients import connect
from tests.serving.small_shop import SmallPipeline, make_event


def test_nothing_is_settled_that_a_worker_has_not_counted() -> None:
    board = ProgressBoard(3)
    assert board.nobody_counts
    board.report(0, applied=9, counted=9)
    board.report(1, applied=4, counted=5)
    assert (board.applied, board.settled, board.nobody_counts) == (9, 5, False)
    board.clear(1)
    assert board.settled == 9


def test_a_stage_is_forgotten_with_its_worker() -> None:
    board = ProgressBoard(2)
    board.reach(1, LOADED)
    assert (board.stage(0), board.stage(1)) == (0, LOADED)
    board.clear(1)
    assert board.stage(1) == 0


def test_all_workers_replay_by_the_clock_of_the_first() -> None:
    board = ProgressBoard(2)
    assert board.start_clock(1_000, 5) == (1_000, 5)
    assert board.start_clock(2_000, 6) == (1_000, 5)


def test_events_stay_in_the_buffer_until_every_worker_has_counted_them(tmp_path: Path) -> None:
    """Two workers, each with a buffer, a store and a pipeline of its own; one of them compacts."""
    pipelines, board, log = (
        (SmallPipeline(), SmallPipeline()),
        ProgressBoard(2),
        EventLog(tmp_path / "events"),
    )

    async def scenario() -> None:
        with (
            embedded_store() as url,
            closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as first,
            closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as second,
        ):
            stores = [StateStore(connect(url, 30_000), "t", StateConfig()) for _ in range(2)]
            one, other = (
                StateUpdater(buffer, store, Models(Model(pipeline)), board, number)
                for number, (buffer, store, pipeline) in enumerate(
                    zip((first, second), stores, pipelines, strict=True)
                )
            )
            sync = LogSync(log, first, stores[0], one, tmp_path / "lock")
            await sync.load(())
            await asyncio.wrap_future(second.append([make_event("a"), make_event("b")]))
            await one.catch_up()
            await sync.compact()
            assert log.end_ms() is None
            await other.catch_up()
            await sync.compact()
            assert sorted(log.event_ids()) == ["a", "b"]
            assert second.since(0, 10) == []
            state = await stores[1].get("u1")
            assert state is not None
            assert state.counts.tolist() == [2]
            for store in stores:
                await store.close()

    asyncio.run(scenario())
    assert [len(pipeline.recorded) for pipeline in pipelines] == [2, 2]
