"""What more data cost, stage by stage: ``python -m tests.benchmarks.growth`` prints seconds, MiB and slopes.

Households of Complete Journey and what they buy most are copied: the tenfold shop has ten times the events,
users and items, each copy with its own ids and texts, so that everything grows at once and nothing gets
denser. The encoder takes the same few steps at every size and the rankers grow as many trees, so that
neither stops earlier by luck; what grows there is the reading of texts, and the rows of a tree. Each size
runs in a process of its own, stage after stage in it. Seconds are those of processors; memory is what a
stage adds at its peak to what the process held before any data. A slope is that of the logarithm of the
cost over that of the size, between the two largest sizes, where what is paid once weighs least: 1 for cost
that grows as data do.
"""

import argparse
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import polars as pl
from rich.console import Console
from rich.table import Table

from recsys.catalogue import Catalogue
from recsys.config import Config, EncoderConfig, RankerConfig
from recsys.event_log import EventLog
from recsys.ingest import ingest, read_items
from recsys.registry import Registry
from recsys.schema import EVENT_ID, EVENT_SCHEMA, ITEM_ID, TITLE, USER_ID
from recsys.workspace import Workspace
from serving.batch import recommend_queries
from training.recipe import TrainingRun

_USERS, _ITEMS = 60, 1_200
_CONFIG = Config(
    encoder=EncoderConfig(num_head_steps=40, num_tuning_steps=10),
    ranker=RankerConfig(num_trees=40, patience=40),
)
_STATUS = Path("/proc/self/status")
_MIB = 1 / 1024

Result = TypeVar("Result")
Costs = dict[str, dict[str, float]]
"""By stage: ``seconds`` and ``mib``."""


class Meter:
    """Seconds and peak memory of the stages of this process."""

    def __init__(self) -> None:
        self._before = _memory("VmRSS")
        self.costs: Costs = {}

    def run(self, stage: str, work: Callable[[], Result]) -> Result:
        """Do it; the times of a stage that runs several times are added up, of its memory the most counts."""
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark begins anew
        started = _processor_seconds()
        result = work()
        taken, peak = _processor_seconds() - started, _memory("VmHWM") - self._before
        before = self.costs.get(stage, {"seconds": 0.0, "mib": 0.0})
        self.costs[stage] = {
            "seconds": round(before["seconds"] + taken, 2),
            "mib": round(max(before["mib"], peak), 1),
        }
        return result


class MeteredRun(TrainingRun):
    """A training run whose stages go through a meter."""

    meter: Meter

    def _timed(self, stage: str, work: Callable[[], Result]) -> Result:
        return self.meter.run(stage, lambda: super(MeteredRun, self)._timed(stage, work))


def grown(source: Workspace, target: Path, factor: int) -> tuple[Path, Path]:
    """Files of items and events of a shop of ``factor`` times the size.

    Args:
        source: A workspace with the whole data.
        target: Directory of the files.
        factor: Whole number of copies.
    """
    events = EventLog(source.events).scan().select(EVENT_SCHEMA.names()).collect()
    users = events[USER_ID].value_counts(sort=True)[USER_ID].sort().gather_every(20).head(_USERS)
    events = events.filter(pl.col(USER_ID).is_in(users.implode()))
    most = (
        events[ITEM_ID].value_counts(sort=True).sort("count", ITEM_ID, descending=True)[ITEM_ID].head(_ITEMS)
    )
    events = events.filter(pl.col(ITEM_ID).is_in(most.implode()))
    items = read_items(source).filter(pl.col(ITEM_ID).is_in(most.implode()))
    target.mkdir(parents=True)
    for name, table, ids in (("items", items, [ITEM_ID]), ("events", events, [EVENT_ID, USER_ID, ITEM_ID])):
        copies = [_copy(table, ids, number) for number in range(factor)]
        pl.concat(copies).write_parquet(target / f"{name}.parquet")
    return target / "items.parquet", target / "events.parquet"


def _copy(table: pl.DataFrame, ids: Sequence[str], number: int) -> pl.DataFrame:
    texts = [pl.col(TITLE) + f" no. {number}"] if TITLE in table.columns else []
    return table.with_columns(*((pl.col(name) + f"-{number}") for name in ids), *texts)


def measured(source: Workspace, directory: Path, factor: int) -> Costs:
    """Costs of the stages for one size, in this process."""
    items, events = grown(source, directory / "given", factor)
    shop, meter = Workspace(directory / "workspace"), Meter()
    meter.run("ingest", lambda: ingest(shop, items, events))
    catalogue = meter.run("catalogue", lambda: Catalogue(read_items(shop)))
    run = meter.run("log", lambda: MeteredRun(Registry(shop.registry), shop, catalogue, _CONFIG))
    run.meter = meter
    run.finish()
    asking = EventLog(shop.events).scan().select(pl.col(USER_ID).unique().sort()).collect()
    meter.run("recommend", lambda: recommend_queries(shop, asking, limit=10))
    return meter.costs


def slope(small: float, large: float, ratio: float) -> float:
    """Exponent of a cost that rose from ``small`` to ``large`` while the data rose ``ratio``-fold."""
    return math.log(max(large, 1e-9) / max(small, 1e-9)) / math.log(ratio)


def _processor_seconds() -> float:
    """Of this process and the children it has waited for; says less than the clock of who else is here."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _memory(field: str) -> float:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text(encoding="ascii").splitlines())
    return int(lines[field].split()[0]) * _MIB


def _table(found: dict[int, Costs]) -> Table:
    table = Table(title="processor seconds and MiB by size")
    sizes = sorted(found)
    before, last = sizes[-2:]
    for name in (
        "stage",
        *(f"{size}x s" for size in sizes),
        "slope",
        *(f"{size}x MiB" for size in sizes),
        "slope",
    ):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in found[last]:
        row = [stage]
        for what in ("seconds", "mib"):
            of_size = [found[size][stage][what] for size in sizes]
            row += [f"{value:,.1f}" for value in of_size]
            row.append(f"{slope(found[before][stage][what], found[last][stage][what], last / before):.2f}")
        table.add_row(*row)
    return table


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"), help="holds the whole data")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # several would wait for each other by spinning, beside other work
    found: dict[int, Costs] = {}
    spawn, source = multiprocessing.get_context("spawn"), Workspace(arguments.workspace)
    for factor in sorted(arguments.factors):
        with TemporaryDirectory() as scratch, ProcessPoolExecutor(1, spawn) as pool:
            found[factor] = pool.submit(measured, source, Path(scratch) / "shop", factor).result()
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    Console(file=sys.stdout, width=140).print(_table(found))


if __name__ == "__main__":
    main()
