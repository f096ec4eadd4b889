"""A server's models count what came after the log, once, whatever moves into the log meanwhile."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from recsys.event_log import EventLog
from recsys.workspace import Workspace
from serving.event import Event, event_frame
from serving.kafka_intake import KafkaIntake
from serving.kafka_offsets import append_name
from serving.kafka_tail import KafkaTail
from serving.models import Model, Models
from serving.settings import load_settings
from tests.distributed.kafka_brokers import brokers
from tests.serving.running import PATIENCE_SECONDS
from tests.serving.small_shop import SmallPipeline, make_event


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_models_count_what_the_log_lacks_and_forget_it_when_it_has_it(tmp_path: Path) -> None:
    workspace, pipeline = Workspace(tmp_path), SmallPipeline()
    events = [make_event(f"e{number}") for number in range(5)]

    async def scenario(tail: KafkaTail, send: Callable[[Event], None]) -> None:
        counting = asyncio.create_task(tail.run())
        await until(lambda: len(pipeline.recorded) == 2)
        send(events[4])
        send(events[4])
        await until(lambda: len(pipeline.recorded) == 3)
        counting.cancel()
        [where] = {partition for _, partition, _ in tail._places}
        EventLog(workspace.events).append(event_frame(events[2:4]), append_name(topic, where, 2, 3))
        assert [one.event.event_id for one in tail.buffer.since(0, 9)] == ["e2", "e3", "e4"]
        tail._trim(9)
        assert [one.event.event_id for one in tail.buffer.since(0, 9)] == ["e4"]

    with brokers() as found:
        topic = found.topic
        settings = load_settings(kafka_servers=found.servers, kafka_topic=topic, redis_url="redis://x")
        with closing(KafkaIntake(settings)) as intake:

            def send(event: Event) -> None:
                assert intake.append([event]).result(PATIENCE_SECONDS) == [0]

            for event in events[:4]:
                send(event)
            for partition in range(4):  # the first two are in the log already, wherever they lie
                EventLog(workspace.events).append(event_frame([]), append_name(topic, partition, 0, 1))
            with closing(KafkaTail(workspace, settings, Models(Model(pipeline)))) as tail:
                asyncio.run(scenario(tail, send))
