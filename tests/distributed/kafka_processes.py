"""Servers and consumers in processes of their own, forked from one that has imported everything."""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from recsys.config import StateConfig
from recsys.fault_point import arm
from recsys.workspace import Workspace
from serving.kafka_command import consume_until_stopped
from serving.kafka_consumer import KafkaConsumer
from serving.kafka_intake import KafkaIntake
from serving.settings import load_settings
from tests.distributed.kafka_brokers import Brokers
from tests.serving.kafka_topic import PurchaseStates
from tests.serving.running import PATIENCE_SECONDS, running_server

PRELOADED = (KafkaConsumer, KafkaIntake)
"""What children would otherwise import themselves."""
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Site:
    """One workspace, one store and one topic."""

    root: Path
    store: str
    brokers: Brokers
    held: ExitStack = field(repr=False)
    """Ends what is still running."""

    def settings(self, group: str = "") -> dict[str, object]:
        """Keyword arguments of ``load_settings``."""
        given: dict[str, object] = {
            "kafka_servers": self.brokers.servers,
            "kafka_topic": self.brokers.topic,
            "redis_url": self.store,
            "access_log_sample": 0.0,
        }
        if group:
            file = self.root / f"{group}.properties"
            file.write_text(f"group.id={group}\nsession.timeout.ms=6000\n")
            given["kafka_options"] = file
        return given

    def serve(self, fault: str = "") -> tuple[BaseProcess, str]:
        """Start a server; it and its address."""
        ours, theirs = _context.Pipe(duplex=False)
        process = self._start(_serve, self.root, self.settings(), fault, theirs)
        assert ours.poll(PATIENCE_SECONDS), "the server did not start"
        return process, str(ours.recv())

    def consume(self, fault: str = "", group: str = "") -> BaseProcess:
        """Start a consumer, of the group that all are of, or of another."""
        settings = self.settings(group) | {"compact_every": timedelta(seconds=0.5)}
        return self._start(_consume, self.root, settings, fault)

    def _start(self, target: Callable[..., None], *arguments: object) -> BaseProcess:
        process = _context.Process(target=target, args=arguments)
        process.start()
        self.held.callback(process.join)
        self.held.callback(process.kill)
        return process


def _serve(root: Path, settings: dict[str, Any], fault: str, address: Pipe) -> None:
    arm(fault)
    with running_server(root, **settings) as listening:
        address.send(listening)
        signal.pause()


def _consume(root: Path, settings: dict[str, object], fault: str) -> None:
    arm(fault)
    chosen = load_settings(**settings)
    workspace = Workspace(root)
    asyncio.run(consume_until_stopped(workspace, chosen, StateConfig(), lambda: PurchaseStates(workspace)))
