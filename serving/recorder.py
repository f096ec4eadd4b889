"""Who is told of calls: the access log always, metrics and traces when they are asked for."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from recsys.errors import ConfigError, IntakeError
from serving.access_log import AccessLog
from serving.blurb_reader import BlurbReader
from serving.call import Observer
from serving.event_buffer import SqliteEventBuffer
from serving.interceptors import Recording
from serving.models import Models
from serving.overload import Overload
from serving.settings import Settings
from serving.state_reader import StateReader
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.substitutions import Substitutions

_TRACES_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"


@dataclass(frozen=True)
class Watched:
    """What metrics read off a running server."""

    models: Models
    reader: StateReader
    store: StateStore
    buffer: SqliteEventBuffer
    updater: StateUpdater
    substitutions: Substitutions
    blurbs: BlurbReader
    overload: Overload

    def shows_history(self, placement: str) -> bool:
        """Whether a placement shows nothing but what the user had before."""
        configured = self.models.stable.config.placements.get(placement)
        return configured is not None and configured.bought.startswith("only")

    def backlog(self) -> tuple[int, int] | None:
        """Events that have not left the buffer, and those of them no state has; ``None`` if it fails."""
        try:
            first, last = self.buffer.span()
        except IntakeError:
            return None
        return last - first + 1, max(0, last - max(self.updater.applied, first - 1))


@contextmanager
def recorded(settings: Settings, watched: Watched) -> Iterator[Recording]:
    """The interceptor that records calls, with everybody told who is configured; ends with their endpoints.

    Raises:
        ConfigError: The metrics port cannot be bound, or traces need a package that is not installed.
    """
    with ExitStack() as stack:
        observers: list[Observer] = [AccessLog(settings.access_log_sample)]
        if settings.traces or os.environ.get(_TRACES_VARIABLE):
            observers.append(_traces(stack))
        recording = Recording(observers)
        if settings.metrics_port is not None:
            recording.observers.append(
                _metrics(stack, settings.metrics_host, settings.metrics_port, watched, recording)
            )
        yield recording


def _traces(stack: ExitStack) -> Observer:
    try:
        from serving.tracing import exported
    except ImportError as error:
        raise ConfigError(
            f"traces need: pip install '.[otel]' ({error}); or unset RECSYS_TRACES and {_TRACES_VARIABLE}"
        ) from error
    return stack.enter_context(exported())


def _metrics(stack: ExitStack, host: str, port: int, watched: Watched, recording: Recording) -> Observer:
    from prometheus_client import CollectorRegistry, disable_created_metrics

    from serving.metrics import CallMetrics, watch
    from serving.metrics_endpoint import metrics_endpoint

    # Else every series has a second one that tells when it began.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # upstream forgot to say that it returns nothing
    registry = CollectorRegistry()
    counted = CallMetrics(registry, watched.shows_history)
    watch(
        registry,
        worker=watched.updater.worker,
        model_version=lambda: watched.models.stable.version,
        num_running=lambda: recording.num_running,
        num_unobserved=lambda: recording.num_unobserved,
        num_refused=lambda: watched.overload.num_refused,
        breaker_is_open=lambda: watched.reader.breaker.has_opened,
        num_unreadable_states=lambda: watched.store.records.num_unreadable,
        blurb_reads=lambda: (watched.blurbs.num_failed, watched.blurbs.breaker.has_opened),
        backlog=watched.backlog,
        substitutions=lambda: watched.substitutions.counts,
    )
    stack.enter_context(metrics_endpoint(host, port, registry, watched.updater.worker))
    return counted
