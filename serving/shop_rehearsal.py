"""A rehearsal on a running server, carried out: households shop, the log takes it in, the report is read.

The truth is that of the lists which were served. What treated households buy more changes their later lists a
little, which is an effect of its own, far below what such a rehearsal can see.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.experiments.bulk import ARM
from recsys.experiments.choice_model import ChoiceModel
from recsys.experiments.comparison import Interval
from recsys.experiments.exposures import read_exposures, scan_served_lists
from recsys.experiments.history import Running
from recsys.experiments.log_metrics import exposed_log
from recsys.experiments.reassignment import false_positives
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.rehearsal import Rehearsal
from recsys.experiments.report import report
from recsys.experiments.result import Result
from recsys.experiments.simulation import Rate
from recsys.experiments.unit_table import check_units
from recsys.progress import progress
from recsys.schema import SESSION_ID
from recsys.workspace import Workspace
from serving.households import draw_households, mean_prices
from serving.shop_simulation import Shop, Traffic

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """What was planted, and what was found."""

    rehearsal: Rehearsal
    traffic: Traffic
    result: Result
    again: Rate
    """False positives of the same log under other salts."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """By metric and arm: the truth, what the report says, and whether its relative interval holds it."""
        for found in self.result.metrics:
            truth = self.traffic.planted.of(found.metric)
            for each in found.comparisons:
                yield {
                    "name": found.metric.name,
                    "arm": each.arm,
                    "planted": None if truth is None else {"absolute": truth[0], "relative": truth[1]},
                    "absolute": asdict(each.absolute),
                    "relative": asdict(each.relative),
                    "p_value": each.p_value,
                    "inside": None if truth is None else _holds(each.relative, truth[1]),
                }

    def as_json(self) -> dict[str, Any]:
        """Everything as one document."""
        traffic = self.traffic
        return {
            "experiment": self.rehearsal.key,
            "effect": self.rehearsal.effect,
            "units": self.result.units,
            "lists": traffic.num_lists,
            "lists_without_arm": traffic.num_without_arm,
            "events": traffic.num_events,
            "purchases": traffic.num_purchases,
            "metrics": list(self.rows()),
            "verdict": self.result.judgement.verdict,
            "false_positives": {"runs": self.rehearsal.runs, **asdict(self.again)},
        }


def carry_out(workspace: Workspace, rehearsal: Rehearsal) -> Outcome:
    """Simulate, wait for the log, and read the report.

    Raises:
        ConfigError: The experiment does not run or has met somebody already, or the server is not there.
        DataError: There are no households, or the log does not come in time.
    """
    log = EventLog(workspace.events)
    running, session_id = _unmet(workspace, rehearsal), f"simulated-{rehearsal.key}-{rehearsal.seed}"
    choices, prices = ChoiceModel(rehearsal.effect), mean_prices(log)
    shop = Shop(rehearsal.address, running.experiment, choices, prices, session_id, rehearsal.seed)
    households = draw_households(log, rehearsal.households, rehearsal.seed)
    with progress("households shopping", len(households)) as advance:
        traffic = asyncio.run(shop.receive(households, rehearsal.visits, advance))
    with progress("waiting for the log"):
        _wait(workspace, shop, traffic, rehearsal.wait_seconds)
    result = report(workspace, rehearsal.key)
    with progress("other salts"):
        again = false_positives(running.experiment, _units(workspace, result), rehearsal.runs)
    return Outcome(rehearsal, traffic, result, again)


def _unmet(workspace: Workspace, rehearsal: Rehearsal) -> Running:
    """The experiment, which must be nobody's yet: simulated purchases would spoil a real one."""
    running = ExperimentRegistry(workspace).find(rehearsal.key)
    if not running.is_running:
        raise ConfigError(f"{rehearsal.key} is stopped; start it: recsys experiment start FILE")
    if met := _num_lists(workspace, rehearsal.key):
        raise ConfigError(
            f"expected an experiment that nobody has met yet, got {rehearsal.key!r} with {met:,} lists in "
            "the log; give the definition another key and start that"
        )
    return running


def _wait(workspace: Workspace, shop: Shop, traffic: Traffic, seconds: float) -> None:
    """Until lists and events have moved into the log; servers do that every now and then."""
    until = time.monotonic() + seconds
    mine = pl.col(SESSION_ID) == shop.session_id
    while (
        _num_lists(workspace, shop.experiment.key) < traffic.num_lists
        or _height(EventLog(workspace.events).scan().filter(mine)) < traffic.num_events
    ):
        if time.monotonic() > until:
            raise DataError(
                f"the log does not hold all lists and events after {seconds:g} s; run the server with "
                "RECSYS_COMPACT_EVERY=PT5S, or give a longer --wait"
            )
        time.sleep(_POLL_SECONDS)


def _num_lists(workspace: Workspace, key: str) -> int:
    met = pl.col("arms").list.eval(pl.element().struct.field("experiment") == key).list.any()
    return _height(scan_served_lists(workspace).filter(met))


def _height(frame: pl.LazyFrame) -> int:
    num_rows: int = frame.select(pl.len()).collect().item()
    return num_rows


def _units(workspace: Workspace, result: Result) -> pl.DataFrame:
    """What every exposed unit did, without its arm."""
    log = EventLog(workspace.events)
    exposed = read_exposures(scan_served_lists(workspace), result.experiment.key, merges=log.merges()).units
    until = datetime.fromtimestamp((log.end_ms() or 0) / 1000 + 1, UTC)
    frame = exposed_log(log.scan(), exposed, until, log.merges()).metrics()
    return check_units(frame, result.experiment, source="the log").frame.drop(ARM)


def _holds(interval: Interval, truth: float) -> bool | None:
    if interval.low is None or interval.high is None:
        return None
    return interval.low <= truth <= interval.high
