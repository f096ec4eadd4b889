"""What an answer costs, beside its floor: ``make bench`` writes ``bench/latest.json`` and prints a table.

A real server process answers a real client process on loopback, for a shop grown from the demo's workspace,
see ``tests.benchmarks.sized_shop``. Floors are measured in the same run, and figures go beside them.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float64
from rich.console import Console
from rich.table import Table

from recsys.answer import Query
from recsys.event_log import EventLog
from recsys.gathered import Gathered
from recsys.pipeline import Pipeline
from recsys.registry import Registry
from recsys.schema import CATEGORY
from recsys.workspace import Workspace
from serving.loading import load_pipeline
from tests.benchmarks import floors
from tests.benchmarks.sized_shop import shoppers, sized_shop

_NUM_SHOPPERS = 200
_CALLS = 600
_MOST_SECONDS_TO_IDLE, _IDLE_SHARE = 60, 0.1
_MOST_SECONDS_TO_JUDGE, _JUDGE_SHARE = 300, 0.03
_CONCURRENCIES = (1, 4, 16, 64)
_RANKED = (100, 300)


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    address: str
    pid: int
    """Of its first process; workers are its children."""
    seconds_to_ready: float

    def cpu_seconds(self) -> float:
        """Processor time of all its processes that have answered so far, the store left out."""
        pids = [self.pid, *(int(pid) for pid in _children(self.pid))]
        return sum(_cpu_seconds(pid) for pid in pids if b"valkey" not in _command(pid))

    def memory_mb(self) -> float:
        """Proportional set size of the same processes."""
        pids = [self.pid, *(int(pid) for pid in _children(self.pid))]
        return sum(_pss_kb(pid) for pid in pids if b"valkey" not in _command(pid)) / 1024


@contextmanager
def serving(workspace: Workspace, workers: int = 1) -> Iterator[Served]:
    """Run ``recsys serve`` in the log's own time, which refuses nothing however long the line is."""
    command = [sys.executable, "-m", "recsys", "serve", "--port=0", "--clock=replay", f"--workers={workers}"]
    started = time.monotonic()
    with subprocess.Popen(
        [*command, f"--workspace={workspace.root}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"RECSYS_ADAPTIVE_LIMIT": "false", "RECSYS_MAX_CONNECTION_REQUESTS": "256"},
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("listening on ").strip()
        assert process.stdout.readline().strip() == "ready", "the server did not start"
        server = Served(address, process.pid, round(time.monotonic() - started, 2))
        try:
            _wait_until_idle(server)
            yield server
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_idle(server: Served, share: float = _IDLE_SHARE, most: int = _MOST_SECONDS_TO_IDLE) -> None:
    """Encoders are loaded when the server is ready already; what that costs belongs to no request."""
    before = -1.0  # the first second tells nothing
    for _ in range(most):
        time.sleep(1)
        now = server.cpu_seconds()
        if now - before < share:
            return
        before = now


def loaded(
    server: Served, requests: list[dict[str, Any]], concurrency: int, num_calls: int
) -> dict[str, float]:
    """Latency, throughput and processor time under a load."""
    _taken(server, requests, concurrency, 100)
    before, started = server.cpu_seconds(), time.monotonic()
    taken = _taken(server, requests, concurrency, num_calls)
    cpu = server.cpu_seconds() - before
    p50, p95, p99 = (float(np.quantile(taken, q)) for q in (0.5, 0.95, 0.99))
    return {
        "p50_ms": round(p50, 3),
        "p95_ms": round(p95, 3),
        "p99_ms": round(p99, 3),
        "cpu_ms_per_request": round(cpu / num_calls * 1e3, 3),
        "requests_per_second": round(concurrency * 1e3 / float(taken.mean()), 1),
        "seconds": round(time.monotonic() - started, 1),
    }


def _taken(
    server: Served, requests: list[dict[str, Any]], concurrency: int, num_calls: int
) -> Float64[np.ndarray, " calls"]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(requests, file)
        file.flush()
        command = [sys.executable, "-m", "tests.benchmarks.load", server.address, file.name]
        done = subprocess.run(
            [*command, str(concurrency), str(num_calls)], check=True, capture_output=True, text=True
        )
    return np.asarray(json.loads(done.stdout), np.float64)


def _in_turn(server: Served, one: list[dict[str, Any]], other: list[dict[str, Any]]) -> tuple[float, float]:
    """Median milliseconds of two kinds of requests that are made in turn, each for another shopper."""
    half = len(one) // 2
    requests = [request for pair in zip(one, other[half:] + other[:half], strict=True) for request in pair]
    _taken(server, requests, 1, 100)
    taken = _taken(server, requests, 1, 2 * _CALLS)
    return round(float(np.median(taken[::2])), 3), round(float(np.median(taken[1::2])), 3)


def bench(source: Workspace, ranking: Workspace, num_items: int, work: Path) -> dict[str, Any]:
    """The whole report.

    Args:
        source: A trained workspace.
        ranking: The trained workspace whose items are ranked in lists of 100 and 300.
        num_items: Items of the shop that is grown from it.
        work: Directory for the shop.
    """
    shop = Workspace(work / f"shop-{num_items}")
    if not (shop.registry / "pointers.json").exists():
        sized_shop(source, shop.root, num_items)
    pipeline = load_pipeline(shop)
    states = shoppers(shop, pipeline, _NUM_SHOPPERS)
    now_ms = (EventLog(shop.events).end_ms() or 0) + 1
    gathered = [pipeline.gather(Query(now_ms, state)) for state in states.values()]
    rows = max((one.matrix for one in gathered), key=lambda matrix: -abs(len(matrix) - 500))
    num_features = rows.shape[1]
    state_bytes = int(np.median([len(state.to_bytes()) for state in states.values()]))
    stages = {
        "retrieval": floors.retrieval(len(pipeline.bundle.parts.catalogue), 128),
        "scoring": floors.scoring(Registry(shop.registry).stable() / "ranker.txt", rows),
        "features": floors.features(num_items, len(rows), num_features),
        "state": floors.state(state_bytes),
        "answer": floors.answer(20),
        "transport": floors.transport(),
    }
    floor_ms = round(sum(stages.values()), 3)
    requests = [{"user_id": user, "page_size": 20} for user in states]
    with serving(shop) as server:
        found = {c: loaded(server, requests, c, _CALLS) for c in _CONCURRENCIES}
        explained = loaded(server, [{**request, "explain": True} for request in requests], 1, _CALLS // 2)
        asked = [{**request, "blurbs": {"enabled": True}} for request in requests]
        before_judged = loaded(server, asked, 1, _CALLS)  # the items' own words: nothing was published
        _wait_until_idle(server, _JUDGE_SHARE, _MOST_SECONDS_TO_JUDGE)
        without_blurbs, with_blurbs = _in_turn(server, requests, asked)
        rare = f'category:"{_rare_category(pipeline)}"'
        filtered = loaded(server, [{**request, "filter": rare} for request in requests], 1, _CALLS // 2)
        memory, ready = round(server.memory_mb()), server.seconds_to_ready
    with serving(shop, workers=2) as server:
        two = loaded(server, requests, 16, 2 * _CALLS)
    one = found[1]
    return {
        "recommend": {
            **{name: one[name] for name in ("p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_request")},
            "floor_ms": floor_ms,
            "p50_over_floor": round(one["p50_ms"] / floor_ms, 2),
            "requests_per_second_per_core": round(1e3 / found[16]["cpu_ms_per_request"], 1),
            "stages_ms": {name: round(value, 3) for name, value in stages.items()},
            "by_concurrency": {str(c): figures for c, figures in found.items()},
            "candidates": int(np.median([len(one.candidates.positions) for one in gathered])),
            "features": num_features,
            "items": num_items,
            "recall_at_500": {name: round(value, 4) for name, value in _recall(pipeline, gathered).items()},
            "state_bytes": state_bytes,
            "explained": explained,
            "filtered": filtered,
            "before_lines_are_judged": before_judged,
            "with_blurbs_p50_ms": with_blurbs,
            "without_blurbs_p50_ms": without_blurbs,
            "two_workers": two,
            "two_workers_cpu_ratio": round(two["cpu_ms_per_request"] / found[16]["cpu_ms_per_request"], 3),
        },
        "rank": _rank(ranking),
        "seconds_to_ready": ready,
        "memory_mb": memory,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "jitter": floors.jitter(),
        },
    }


def _recall(pipeline: Pipeline, gathered: Sequence[Gathered]) -> dict[str, float]:
    """What the text searches find of the nearest 500 texts, for the shoppers' own vectors."""
    moments, parts = [one.moment for one in gathered], pipeline.bundle.parts
    known = [moment for moment in moments if len(moment.user.recent.positions)]
    return {
        "vectors": parts.index.recall(np.stack([moment.user_vector for moment in known])),
        "words": parts.words.recall(np.stack([moment.words_vector for moment in known])),
    }


def _rank(workspace: Workspace) -> dict[str, dict[str, float]]:
    """Latency of ``Rank`` by the number of items."""
    pipeline = load_pipeline(workspace)
    item_ids, users = (
        pipeline.bundle.parts.catalogue.item_ids,
        list(shoppers(workspace, pipeline, _NUM_SHOPPERS)),
    )
    with serving(workspace) as server:
        return {
            str(size): loaded(server, _rank_requests(item_ids, users, size), 1, _CALLS // 2)
            for size in _RANKED
        }


def _rank_requests(item_ids: list[str], users: list[str], size: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(1)
    return [
        {"user_id": user, "item_ids": generator.choice(item_ids, size, replace=False).tolist()}
        for user in users
    ]


def _rare_category(pipeline: Pipeline) -> str:
    """The largest category that holds at most one per cent of the items."""
    frame = pipeline.bundle.parts.catalogue.frame
    sizes = frame.select(pl.col(CATEGORY).explode()).to_series().value_counts(sort=True)
    return str(sizes.filter(pl.col("count") <= frame.height // 100)[CATEGORY][0])


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _table(report: dict[str, Any]) -> Table:
    table = Table("calls at once", "p50 ms", "p95 ms", "p99 ms", "CPU ms per request", "requests/s")
    for concurrency, figures in report["recommend"]["by_concurrency"].items():
        cells = ("p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_request", "requests_per_second")
        table.add_row(concurrency, *(f"{figures[name]:.2f}" for name in cells))
    return table


def main() -> None:
    """Measure, print and write."""
    source = Workspace(Path(os.environ.get("RECSYS_WORKSPACE", "workspace")))
    num_items = int(os.environ.get("RECSYS_BENCH_ITEMS", "100000"))
    work = Path(os.environ.get("RECSYS_BENCH_DIRECTORY", "workspace/bench"))
    ranking = Workspace(Path(os.environ.get("RECSYS_RANK_WORKSPACE", source.root)))
    report = bench(source, ranking, num_items, work)
    target = Path("bench/latest.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=1), encoding="utf-8")
    console = Console()
    console.print(_table(report))
    found = report["recommend"]["recall_at_500"]
    console.print(f"recall@500 at {num_items:,} items: {found}; ready after {report['seconds_to_ready']} s")
    del report["recommend"]["by_concurrency"]
    console.print_json(json.dumps(report))


if __name__ == "__main__":
    main()
