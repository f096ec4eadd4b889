"""``recsys experiment simulate --shop``: the whole loop with a known effect, on a running server."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.experiments.bulk import ARM
from recsys.experiments.choice_model import ChoiceModel
from recsys.experiments.comparison import Interval
from recsys.experiments.exposures import read_exposures, scan_served_lists
from recsys.experiments.log_metrics import exposed_log
from recsys.experiments.reassignment import false_positives
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.rehearsal import Rehearsal
from recsys.experiments.report import report
from recsys.experiments.result import Result
from recsys.experiments.simulation import MAX_UNITS, Rate
from recsys.experiments.unit_table import check_units
from recsys.progress import progress
from recsys.schema import EVENT_TYPE, ITEM_ID, PRICE, SESSION_ID, USER_ID
from recsys.workspace import Workspace
from serving.event import VISITOR_PREFIX
from serving.shop_simulation import Household, Shop, Traffic

_POLL_SECONDS = 1.0


def simulate_shop(workspace: Workspace, rehearsal: Rehearsal, json_output: bool) -> None:
    """Simulate, wait for the log, and print the truth beside the report.

    Raises:
        ConfigError: The experiment does not run, or the server is not there.
        DataError: There are no households, or the log does not come in time.
    """
    running = ExperimentRegistry(workspace).find(rehearsal.key)
    if not running.is_running:
        raise ConfigError(f"{rehearsal.key} is stopped; start it: recsys experiment start FILE")
    log = EventLog(workspace.events)
    choices = ChoiceModel(rehearsal.effect)
    session_id = f"simulated-{rehearsal.key}-{rehearsal.seed}"
    shop = Shop(rehearsal.address, running.experiment, choices, _prices(log), session_id, rehearsal.seed)
    before = _logged(workspace, shop)
    households = _households(log, rehearsal)
    with progress("households shopping", len(households)) as advance:
        traffic = asyncio.run(shop.receive(households, rehearsal.visits, advance))
    _wait(workspace, shop, (before[0] + traffic.num_lists, before[1] + traffic.num_events), rehearsal)
    result = report(workspace, rehearsal.key)
    rate = _again(workspace, result, rehearsal.runs)
    rows = list(_rows(result, traffic))
    if json_output:
        counts = {
            "lists": traffic.num_lists,
            "events": traffic.num_events,
            "purchases": traffic.num_purchases,
        }
        about = {"experiment": rehearsal.key, "effect": rehearsal.effect, "units": result.units, **counts}
        again = {"runs": rehearsal.runs, **asdict(rate)}
        verdict = {"verdict": result.judgement.verdict, "false_positives": again}
        typer.echo(json.dumps({**about, "metrics": rows, **verdict}, allow_nan=False))
        return
    _show(result, traffic, rows, rate, rehearsal)


def _households(log: EventLog, rehearsal: Rehearsal) -> list[Household]:
    """Users of the log, drawn by the seed, with what they bought so far."""
    bought = log.scan().filter(
        ~pl.col(USER_ID).str.starts_with(VISITOR_PREFIX), pl.col(EVENT_TYPE) == "purchase"
    )
    counts = bought.group_by(USER_ID, ITEM_ID).len().sort(USER_ID, ITEM_ID).collect()
    user_ids = counts[USER_ID].unique(maintain_order=True)
    size = min(rehearsal.households or MAX_UNITS, len(user_ids))
    if size < 2:
        raise DataError("expected users with purchases in the log to simulate; ingest some")
    rng = np.random.default_rng(rehearsal.seed)
    chosen = user_ids.gather(np.sort(rng.choice(len(user_ids), size, replace=False)))
    items: dict[str, dict[str, int]] = {user_id: {} for user_id in chosen}
    for user_id, item_id, count in counts.filter(pl.col(USER_ID).is_in(chosen.implode())).iter_rows():
        items[user_id][item_id] = count
    return [Household(user_id, mine) for user_id, mine in items.items()]


def _prices(log: EventLog) -> dict[str, float]:
    """Mean price of every item that was sold."""
    priced = log.scan().filter(pl.col(EVENT_TYPE) == "purchase", pl.col(PRICE).is_not_null())
    means = priced.group_by(ITEM_ID).agg(pl.col(PRICE).mean().round(2)).collect()
    return dict(means.iter_rows())


def _logged(workspace: Workspace, shop: Shop) -> tuple[int, int]:
    """Lists of the experiment and simulated events that the log holds."""
    exposed = pl.col("arms").list.eval(pl.element().struct.field("experiment") == shop.experiment.key)
    lists = scan_served_lists(workspace).filter(exposed.list.any()).select(pl.len()).collect().item()
    mine = EventLog(workspace.events).scan().filter(pl.col(SESSION_ID) == shop.session_id)
    return lists, mine.select(pl.len()).collect().item()


def _wait(workspace: Workspace, shop: Shop, expected: tuple[int, int], rehearsal: Rehearsal) -> None:
    """Until lists and events have moved into the log; servers do that every now and then."""
    until = time.monotonic() + rehearsal.wait_seconds
    with progress("waiting for the log"):
        while any(have < want for have, want in zip(_logged(workspace, shop), expected, strict=True)):
            if time.monotonic() > until:
                raise DataError(
                    f"the log does not hold all lists and events after {rehearsal.wait_seconds:g} s; run the "
                    "server with RECSYS_COMPACT_EVERY=PT5S, or give a longer --wait"
                )
            time.sleep(_POLL_SECONDS)


def _again(workspace: Workspace, result: Result, runs: int) -> Rate:
    """A/A of the log that was just made, see ``false_positives``."""
    exposures, log = (
        read_exposures(scan_served_lists(workspace), result.experiment.key),
        EventLog(workspace.events),
    )
    until = datetime.fromtimestamp((log.end_ms() or 0) / 1000 + 1, UTC)
    frame = exposed_log(log.scan(), exposures.units, until).metrics()
    table = check_units(frame, result.experiment, source="the log")
    return false_positives(result.experiment, table.frame.drop(ARM), runs)


def _rows(result: Result, traffic: Traffic) -> Iterator[dict[str, Any]]:
    """By metric and arm: the truth, what the report says, and whether its interval holds the truth."""
    for found in result.metrics:
        truth = traffic.planted.of(found.metric)
        for each in found.comparisons:
            yield {
                "name": found.metric.name,
                "arm": each.arm,
                "planted": None if truth is None else {"absolute": truth[0], "relative": truth[1]},
                "absolute": asdict(each.absolute),
                "relative": asdict(each.relative),
                "p_value": each.p_value,
                "inside": None if truth is None else _holds(each.absolute, truth[0]),
            }


def _holds(interval: Interval, truth: float) -> bool | None:
    if interval.low is None or interval.high is None:
        return None
    return interval.low <= truth <= interval.high


def _show(
    result: Result, traffic: Traffic, rows: Sequence[Mapping[str, Any]], rate: Rate, rehearsal: Rehearsal
) -> None:
    units = ", ".join(f"{arm} {count:,}" for arm, count in result.units.items())
    sold = f"{traffic.num_lists:,} lists, {traffic.num_purchases:,} purchases"
    table = Table("metric", "arm", "planted", "report", "interval", "p", "inside", title=f"{units}; {sold}")
    for row in rows:
        planted, found = row["planted"], row["relative"]
        interval = "-" if found["low"] is None else f"{found['low']:+.2%} to {found['high']:+.2%}"
        cells = [
            "-" if planted is None else f"{planted['relative']:+.2%}",
            "-" if found["estimate"] is None else f"{found['estimate']:+.2%}",
            interval,
            "-" if row["p_value"] is None else f"{row['p_value']:.3g}",
            {True: "yes", False: "no", None: "-"}[row["inside"]],
        ]
        table.add_row(Text(row["name"]), Text(row["arm"]), *cells)
    Console().print(table)
    typer.echo(f"verdict: {result.judgement.verdict}")
    typer.echo(
        f"A/A of the same log under {rehearsal.runs:,} other salts: {rate.rate:.1%} false positives "
        f"({rate.low:.1%} to {rate.high:.1%}), expected {result.experiment.analysis.alpha:.1%}"
    )
