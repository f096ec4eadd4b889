"""``recsys consume`` as an operator runs it, on a workspace with a model."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree

from recsys.config import StateConfig
from recsys.event_log import EventLog
from recsys.schema import EVENT_ID, ITEM_ID, USER_ID
from recsys.workspace import Workspace
from serving.embedded_store import embedded_store
from serving.event import Event
from serving.kafka_intake import KafkaIntake
from serving.settings import load_settings
from serving.state_store import StateStore
from serving.store_clients import connect
from tests.conftest import Trained
from tests.distributed.kafka_brokers import brokers

COMMAND = (sys.executable, "-m", "recsys", "consume")
PATIENCE_SECONDS = 60.0


def remembered(store: str, user_id: str) -> int:
    async def read() -> int:
        client = connect(store, 5000)
        state = await StateStore(client, "default", StateConfig()).get(user_id)
        await client.aclose()
        return 0 if state is None else int(state.counts.sum())

    return asyncio.run(read())


def test_it_fills_the_store_from_the_log_and_carries_events_on(trained: Trained, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    copytree(trained.workspace.root, workspace.root)
    log = EventLog(workspace.events)
    user_id, item_id = log.scan().select(USER_ID, ITEM_ID).first().collect().row(0)
    num_before = log.scan().collect().height
    with embedded_store() as store, brokers() as found:
        settings = load_settings(kafka_servers=found.servers, kafka_topic=found.topic, redis_url=store)
        given = {
            "RECSYS_KAFKA_SERVERS": found.servers,
            "RECSYS_KAFKA_TOPIC": found.topic,
            "RECSYS_REDIS_URL": store,
            "RECSYS_WORKSPACE": str(workspace.root),
        }
        with subprocess.Popen(COMMAND, env=os.environ | given, stderr=subprocess.PIPE, text=True) as process:
            intake, now_ms = KafkaIntake(settings), log.end_ms() or 0
            event = Event("new-1", "purchase", "somebody new", item_id, now_ms, now_ms)
            assert intake.append([event]).result(PATIENCE_SECONDS) == [0]
            intake.close()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not remembered(store, "somebody new"):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert remembered(store, user_id)
            process.send_signal(signal.SIGTERM)
            _, words = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0, words
    assert log.scan().collect().height == num_before + 1
    assert "new-1" in log.scan().collect()[EVENT_ID]


def test_without_brokers_it_says_what_it_needs(tmp_path: Path) -> None:
    ended = subprocess.run(
        (*COMMAND, "--workspace", str(tmp_path)), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "RECSYS_KAFKA_SERVERS" in ended.stderr
