"""A load of Recommend or Rank calls on a running server, from a process of its own.

``python -m tests.benchmarks.load ADDRESS REQUESTS.json CONCURRENCY NUM_CALLS`` prints the latencies as JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from serving.client import AsyncClient, Connection


async def drive(
    address: str, requests: list[dict[str, Any]], concurrency: int, num_calls: int
) -> list[float]:
    """Milliseconds of every call; ``concurrency`` of them are always under way.

    Args:
        address: ``host:port``.
        requests: Fields of the requests, taken in turn; one with ``item_ids`` is a ``RankRequest``.
        concurrency: Calls at once.
        num_calls: Calls in all.
    """
    taken: list[float] = []
    numbers = iter(range(num_calls))
    async with AsyncClient(Connection(address, timeout_seconds=60)) as client:

        async def caller() -> None:
            for number in numbers:
                fields = requests[number % len(requests)]
                started = time.perf_counter()
                if "item_ids" in fields:
                    results = (await client.rank(RankRequest(**fields))).results
                else:
                    results = (await client.recommend(RecommendRequest(**fields))).results
                taken.append((time.perf_counter() - started) * 1e3)
                assert len(results) >= min(fields.get("page_size", 0), 20)

        await asyncio.gather(*(caller() for _ in range(concurrency)))
    return taken


if __name__ == "__main__":
    where, file, at_once, calls = sys.argv[1:]
    wanted = json.loads(Path(file).read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps(asyncio.run(drive(where, wanted, int(at_once), int(calls)))))
