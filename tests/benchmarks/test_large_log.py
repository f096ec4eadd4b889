"""Item and user aggregates over a large log: peak memory, and whether time grows as the log does.

``RECSYS_EVENTS=100000000 pytest tests/benchmarks/test_large_log.py --benchmark-only -s``; figures are in
``extra_info`` of ``--benchmark-json``. Beside a log of that many events (10 million when not given), one of a
tenth is read in the same run. A hundred million take 3 GB of disk for the log and as much again for a while.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from features.states import every_state
from recsys.catalogue import Catalogue
from recsys.config import Config
from recsys.event_log import EventLog
from recsys.item_state import ItemState
from recsys.progress import progress
from recsys.schema import (
    DAY_MS,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    ITEM_SCHEMA,
    RECEIVED_TIME,
    TITLE,
    USER_ID,
)

_EVENTS = int(os.environ.get("RECSYS_EVENTS", "10000000"))
_EVENTS_PER_USER, _NUM_ITEMS, _NUM_DAYS = 100, 100_000, 200
_START_MS = 1_700_006_400_000
_AT_ONCE = 2_500_000
_TYPES = ("view", "view", "view", "view", "view", "click", "click", "add_to_cart", "purchase", "purchase")

pytestmark = pytest.mark.timeout(7200)


def _write(directory: Path, num_events: int) -> None:
    """Events of users who come at random; a few items get most of them."""
    random, log = np.random.default_rng(0), EventLog(directory)
    with progress(f"writing {num_events:,} events", num_events) as advance:
        for number, start in enumerate(range(0, num_events, _AT_ONCE)):
            size = min(_AT_ONCE, num_events - start)
            # each append holds a stretch of time, as a log that grows does
            first, last = (_NUM_DAYS * DAY_MS * at // num_events for at in (start, start + size))
            times = pl.Series(_START_MS + np.sort(random.integers(first, last, size))).cast(
                EVENT_SCHEMA[EVENT_TIME]
            )
            items = (_NUM_ITEMS * random.random(size) ** 3).astype(np.int64)
            frame = pl.DataFrame(
                {
                    EVENT_ID: pl.Series(np.arange(start, start + size)).cast(pl.String),
                    USER_ID: "u"
                    + pl.Series(random.integers(0, num_events // _EVENTS_PER_USER, size)).cast(pl.String),
                    ITEM_ID: "i" + pl.Series(items).cast(pl.String),
                    EVENT_TYPE: np.array(_TYPES)[random.integers(0, len(_TYPES), size)],
                    EVENT_TIME: times,
                    RECEIVED_TIME: times,
                }
            )
            log.append(_completed(frame, EVENT_SCHEMA), f"n{number}")
            advance(size)


def _completed(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """With every column of the schema, in its order and type; null where the frame has none."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def _aggregate(directory: Path, num_events: int) -> dict[str, float]:
    """Seconds and peak resident memory, in GiB, of both aggregates; the states are made and let go."""
    ids = [f"i{number}" for number in range(_NUM_ITEMS)]
    catalogue = Catalogue(_completed(pl.DataFrame({ITEM_ID: ids, TITLE: ids}), ITEM_SCHEMA))
    config, log = Config(), EventLog(directory)
    end_ms = (log.end_ms() or 0) + 1
    started = time.perf_counter()
    items = ItemState.from_events(catalogue, config.state, log.scan(), end_ms)
    assert items.popularity(end_ms).engagement.any()
    between = time.perf_counter()
    with progress("states of users", num_events // _EVENTS_PER_USER) as advance:
        for _, state in every_state(log.scan(), end_ms, catalogue, config):
            assert state.num_rows
            advance(1)
    return {
        "items_seconds": between - started,
        "users_seconds": time.perf_counter() - between,
        "peak_gib": getrusage(RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _in_a_process_of_its_own(directory: Path, num_events: int) -> dict[str, float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_write, directory, num_events).result()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_aggregate, directory, num_events).result()


def test_memory_stays_and_time_grows_as_the_log_does(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    small = _in_a_process_of_its_own(tmp_path / "small", _EVENTS // 10)
    large = benchmark.pedantic(  # type: ignore[no-untyped-call]  # unannotated upstream
        _in_a_process_of_its_own, args=(tmp_path / "large", _EVENTS)
    )
    for name in ("items_seconds", "users_seconds"):
        benchmark.extra_info[f"{name}_ratio"] = large[name] / small[name]
    benchmark.extra_info |= {"events": _EVENTS, "small": small, "large": large}
    assert large["peak_gib"] <= 4
