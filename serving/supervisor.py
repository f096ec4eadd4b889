"""The process that starts several workers on one port, and starts one again that died.

It runs no thread and no event loop, so that it can fork at any time: it imports what the workers need,
reserves the port, owns the embedded store, and then does nothing but wait for signals.
"""

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import structlog
from pydantic import SecretStr

from recsys.errors import RecsysError
from recsys.workspace import Workspace
from serving.embedded_store import embedded_store
from serving.port import free_address
from serving.progress_board import READY, ProgressBoard
from serving.settings import Settings, cannot_listen

_log = structlog.get_logger(__name__)

_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
_POLL_SECONDS = 0.05
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 10.0
_SOUND_SECONDS = 60.0
"""A worker that lived this long is started again without delay."""
_PATIENCE_SECONDS = 30.0
"""Time that workers get to stop, beside draining and the grace of their calls."""


@dataclass
class _Worker:
    """A worker process, or the place of one that died."""

    pid: int = 0
    started: float = 0.0
    delay: float = 0.0
    due: float = 0.0
    """When to start it, on the monotonic clock, while ``pid`` is 0."""


def supervise(workspace: Workspace, settings: Settings, announce: Callable[[int], None]) -> None:
    """Run ``settings.workers`` server processes on one port until SIGTERM or SIGINT.

    Args:
        workspace: Whose models and log they serve.
        settings: How to run.
        announce: Called with the port once all of them are ready.

    Raises:
        ConfigError: The address cannot be bound.
        RecsysError: A worker did not start; it has said why.
    """
    with _reserved(settings) as port, ExitStack() as stack:
        from serving import worker  # the imports that the workers share; they start no threads

        secret = settings.redis_url or SecretStr(stack.enter_context(embedded_store()))
        lifeline, held = os.pipe()
        chosen = settings.model_copy(update={"port": port, "redis_url": secret})
        crew = worker.Crew(workspace, chosen, ProgressBoard(settings.workers), lifeline)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        gc.collect()
        gc.freeze()  # a collection would write to pages that the workers share
        supervisor = Supervisor(lambda number: _fork(lambda: worker.work(crew, number), held), crew.board)
        supervisor.run(settings, lambda: announce(port))


class Supervisor:
    """Keeps worker processes alive."""

    def __init__(self, start: Callable[[int], int], board: ProgressBoard) -> None:
        """Supervise workers.

        Args:
            start: Starts the worker of a number and returns its process id.
            board: Where they say how far they are.
        """
        self._start = start
        self._board = board
        self._workers: list[_Worker] = []

    def run(self, settings: Settings, announce: Callable[[], None]) -> None:
        """Start the workers, and keep them running until a signal says to stop."""
        self._workers = [_Worker() for _ in range(settings.workers)]
        announced = False
        try:
            while True:
                self._start_due()
                if not announced and self._all_ready():
                    announce()
                    announced = True
                caught = signal.sigtimedwait(_SIGNALS, self._seconds_to_wait(announced=announced))
                if caught is not None and caught.si_signo != signal.SIGCHLD:
                    return
                if self._reap() and not announced:
                    raise RecsysError("a worker did not start; see its message above")
        finally:
            self._stop(settings.drain_seconds + settings.grace_seconds + _PATIENCE_SECONDS)

    def _start_due(self) -> None:
        now = time.monotonic()
        for number, worker in enumerate(self._workers):
            if not worker.pid and worker.due <= now:
                worker.pid, worker.started = self._start(number), now

    def _all_ready(self) -> bool:
        return all(self._board.stage(number) >= READY for number in range(len(self._workers)))

    def _seconds_to_wait(self, *, announced: bool) -> float:
        if not announced:
            return _POLL_SECONDS
        due = [worker.due for worker in self._workers if not worker.pid]
        return max(0.0, min(due) - time.monotonic()) if due else 3600.0

    def _reap(self) -> bool:
        """Take note of workers that ended; whether there were any."""
        codes = [self._code(worker) for worker in self._workers]
        for number, code in enumerate(codes):
            if code is not None:
                self._board.clear(number)
                self._bury(number, self._workers[number], code)
        return any(code is not None for code in codes)

    @staticmethod
    def _code(worker: _Worker) -> int | None:
        """The exit code of a worker that ended; ``None`` when it runs or was not started."""
        if not worker.pid:
            return None
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    @staticmethod
    def _bury(number: int, worker: _Worker, code: int) -> None:
        now = time.monotonic()
        longer = min(max(2 * worker.delay, _FIRST_DELAY_SECONDS), _LONGEST_DELAY_SECONDS)
        worker.delay = 0.0 if now - worker.started > _SOUND_SECONDS else longer
        worker.pid, worker.due = 0, now + worker.delay
        _log.error("a worker ended and is started again", worker=number, code=code, seconds=worker.delay)

    def _stop(self, seconds: float) -> None:
        """Let every worker finish its calls; kill those that do not end in time."""
        self._send(signal.SIGTERM)
        until = time.monotonic() + seconds
        while any(worker.pid for worker in self._workers):
            if time.monotonic() > until:
                _log.error("workers that did not stop in time are killed")
                self._send(signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, _POLL_SECONDS)
            for worker in self._workers:
                if self._code(worker) is not None:
                    worker.pid = 0

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)


def _fork(work: Callable[[], int], held: int) -> int:
    """Do some work in a child process; its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.close(held)  # only the supervisor holds the lifeline
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = work()
    except BaseException:  # noqa: BLE001  # the outermost boundary of the process
        _log.exception("a worker failed unexpectedly")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def _reserved(settings: Settings) -> Iterator[int]:
    """Hold the port, without listening, while the workers share it; one in use is an error."""
    family, address = free_address(settings)
    try:
        reservation = socket.socket(family, socket.SOCK_STREAM)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind(address)
    except OSError as error:
        raise cannot_listen(settings) from error
    with reservation:
        yield int(address[1])
