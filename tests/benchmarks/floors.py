"""What each stage of an answer costs at least on this machine: the best known kernel on equal shapes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import faiss
import grpc
import lignum
import numpy as np
import uvloop
from jaxtyping import Float32

from recsys.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from serving.embedded_store import embedded_store
from serving.store_clients import connect_blocking

_ROUNDS = 300
_TOP = 500


def median_ms(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Median wall milliseconds of some work, after a warm-up."""
    for _ in range(max(rounds // 10, 3)):
        work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e3


def retrieval(num_vectors: int, dimension: int) -> float:
    """One exact int8 search for 500 (``faiss`` SQ8 direct signed, one thread)."""
    generator = np.random.default_rng(0)
    index = faiss.IndexScalarQuantizer(
        dimension, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
    )
    index.add(np.rint(generator.normal(size=(num_vectors, dimension)).clip(-3, 3) * 40).astype(np.float32))
    query = np.rint(generator.normal(size=(1, dimension)) * 40).astype(np.float32)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return median_ms(lambda: index.search(query, _TOP))
    finally:
        faiss.omp_set_num_threads(threads)


def scoring(model: Path, rows: Float32[np.ndarray, "rows features"]) -> float:
    """The model's trees over rows (``pylignum``, one thread)."""
    forest = lignum.load(str(model))
    return median_ms(lambda: forest.predict(rows, raw_score=True, n_jobs=1))


def features(num_items: int, num_rows: int, num_features: int) -> float:
    """Rows out of a resident table (``np.take``)."""
    table = np.zeros((num_items, num_features), np.float32)
    rows = np.sort(np.random.default_rng(0).choice(num_items, num_rows, replace=False))
    out = np.empty((num_rows, num_features), np.float32)
    return median_ms(lambda: np.take(table, rows, axis=0, out=out, mode="clip"))


def state(num_bytes: int) -> float:
    """One ``GET`` of a state's size from the embedded store, as the server's client does it."""
    with embedded_store() as url, closing(connect_blocking(url, 1000)) as client:
        client.set("state", b"x" * num_bytes)
        return median_ms(lambda: client.get("state"))


def answer(num_results: int) -> float:
    """Building and serialising a response."""
    ids = [f"{number:07d}" for number in range(num_results)]

    def build() -> bytes:
        response = RecommendResponse(model_version="v" * 36)
        for item_id in ids:
            response.results.add(item_id=item_id, score=1.5, sources=("own", "text"))
        return response.SerializeToString()

    return median_ms(build)


def transport() -> float:
    """An empty unary call on loopback, server and client in one process of their own loops."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_transport())


async def _transport() -> float:
    async def nothing(_: bytes, __: object) -> bytes:
        return b""

    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(cast("Any", nothing))  # the stubs know no coroutines
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("floor.Floor", {"Nothing": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    request = RecommendRequest(user_id="user", page_size=20).SerializeToString()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary("/floor.Floor/Nothing")
        found = await _awaited(lambda: call(request))
    await server.stop(0)
    return found


async def _awaited(work: Callable[[], Awaitable[object]]) -> float:
    for _ in range(_ROUNDS // 10):
        await work()
    taken = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e3


def jitter() -> dict[str, float]:
    """The machine's own: how long a 1 ms loop of arithmetic takes at the median and the 99th percentile."""
    taken = []
    for _ in range(2000):
        started = time.perf_counter()
        sum(range(20_000))
        taken.append((time.perf_counter() - started) * 1e3)
    return {"p50_ms": float(np.median(taken)), "p99_ms": float(np.quantile(taken, 0.99))}
