"""Traffic at a steady rate, and a table of what became of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import numpy as np

from recsys.v1.types_pb2 import ServiceLevel


@dataclass(frozen=True)
class Outcome:
    """What became of one call."""

    started: float
    """Seconds after the beginning of the load, when it was due."""
    seconds: float
    """Until its end, from when it was due."""
    status: str
    level: str = ""
    """Service level of an answer."""
    reasons: tuple[str, ...] = ()
    num_results: int = 0
    version: str = ""
    """Of the model that answered."""


@dataclass
class Outcomes:
    """What became of all calls."""

    calls: list[Outcome] = field(default_factory=list)

    def statuses(self) -> dict[str, int]:
        return dict(Counter(call.status for call in self.calls))

    def levels(self) -> dict[str, int]:
        return dict(Counter(call.level for call in self.calls if call.status == "OK"))

    def ok(self) -> "Outcomes":
        return Outcomes([call for call in self.calls if call.status == "OK"])

    def between(self, start: float, end: float) -> "Outcomes":
        """Of calls that were due in a span of time, in seconds after the beginning."""
        return Outcomes([call for call in self.calls if start <= call.started < end])

    def quantile_ms(self, share: float) -> float:
        """Quantile of the calls' times in milliseconds."""
        return float(np.quantile([call.seconds for call in self.calls], share) * 1e3)


Ask = Callable[[int], Awaitable[object]]
"""Makes the call of a number; the answer is read for its level and results where it has them."""


async def steady(ask: Ask, per_second: float, seconds: float, *, max_open: int = 4000) -> Outcomes:
    """Begin calls at a rate, whether or not the earlier ones have ended, and wait for all of them."""
    outcomes, tasks = Outcomes(), set[asyncio.Task[None]]()
    began = time.perf_counter()

    async def one(number: int, due: float) -> None:
        outcomes.calls.append(await outcome(lambda: ask(number), began, due))

    for number in range(int(per_second * seconds)):
        due = number / per_second
        delay = began + due - time.perf_counter()
        if delay > 0 or number % 20 == 0:
            await asyncio.sleep(max(delay, 0))
        if len(tasks) < max_open:
            task = asyncio.create_task(one(number, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return outcomes


async def outcome(ask: Callable[[], Awaitable[object]], began: float, due: float) -> Outcome:
    """Make one call, and see what becomes of it."""
    try:
        answer = await ask()
    except grpc.aio.AioRpcError as error:
        return Outcome(due, time.perf_counter() - began - due, error.code().name)
    seconds = time.perf_counter() - began - due
    level = getattr(answer, "service_level", None)
    return Outcome(
        due,
        seconds,
        "OK",
        "" if level is None else ServiceLevel.Name(level).removeprefix("SERVICE_LEVEL_"),
        tuple(getattr(answer, "degraded_reasons", ())),
        len(getattr(answer, "results", ())),
        getattr(answer, "model_version", ""),
    )
