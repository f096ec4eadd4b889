"""The verb ``recsys consume``."""

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from recsys.config import StateConfig
from recsys.errors import ConfigError
from recsys.options import DEFAULT_WORKSPACE, WorkspaceOption
from recsys.workspace import Workspace
from serving.settings import Settings, load_settings

if TYPE_CHECKING:
    from serving.kafka_states import StatesOfLog


def consume(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Carry events from Kafka into the event log and the online store, until SIGTERM or Ctrl-C.

    Several share the work: each takes some of the topic's partitions.
    """
    from serving.loading import LoggedStates, load_pipeline, postpone_encoder, require_signed
    from serving.threads import one_thread

    settings, place = load_settings(), Workspace(workspace)
    if settings.kafka_servers is None:
        raise ConfigError("recsys consume reads from Kafka: set RECSYS_KAFKA_SERVERS to its brokers")
    one_thread()
    require_signed(place, settings)
    pipeline = load_pipeline(place)
    postpone_encoder(pipeline)
    rules = pipeline.config.state
    asyncio.run(consume_until_stopped(place, settings, rules, lambda: LoggedStates(place, pipeline)))


async def consume_until_stopped(
    workspace: Workspace,
    settings: Settings,
    rules: StateConfig,
    states: "Callable[[], StatesOfLog]",
) -> None:
    """Consume until SIGTERM or SIGINT.

    Args:
        workspace: Whose log the events go to.
        settings: Name brokers, topic and store.
        rules: What a state remembers.
        states: The states of the log, read anew at each call.

    Raises:
        ConfigError: The package is not installed, or librdkafka does not take the options.
        DataError: The log is damaged, or the topic is not the one that the log knows.
        StoreError: The store's URL is wrong.
    """
    from serving.store_clients import connect

    try:
        from serving.kafka_consumer import KafkaConsumer
    except ImportError as error:
        raise ConfigError(f"Kafka needs: pip install '.[kafka]' ({error})") from error
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    assert settings.redis_url is not None  # ``Settings`` requires it beside Kafka
    client = connect(settings.redis_url.get_secret_value(), settings.store_timeout_ms)
    try:
        consumer = KafkaConsumer(workspace, settings, client, rules, states)
        typer.echo("ready")
        await consumer.run(stopped)
    finally:
        await client.aclose()
