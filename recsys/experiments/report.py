"""The report on an experiment that servers ran: exposures and events from the workspace's logs, analysed."""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.experiments.analysis import analyze
from recsys.experiments.currencies import currency_problems
from recsys.experiments.data_quality import Problem
from recsys.experiments.exposures import Exposures, read_exposures, scan_served_lists
from recsys.experiments.history import Running
from recsys.experiments.log_metrics import exposed_log
from recsys.experiments.log_reach import log_reach
from recsys.experiments.novelty import by_day_since_exposure
from recsys.experiments.persons import FIRST_EXPOSURE, crossing_problems
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.result import Result
from recsys.experiments.service_quality import service_problems, service_quality
from recsys.experiments.sitting import sit
from recsys.experiments.unit_table import MAX_MIXED_SHARE, UnitTable, check_units
from recsys.workspace import Workspace


def report(workspace: Workspace, key: str, until: datetime | None = None) -> Result:
    """Analyse an experiment from the log, which is a look at it: see ``recsys.experiments.sitting``.

    Args:
        workspace: Holds the registry, the served lists and the events.
        key: The experiment; its latest version.
        until: What happened before this moment; ``None`` for the whole log.

    Raises:
        ConfigError: There is no such experiment, or its book of looks cannot be kept.
        DataError: Nobody was exposed, or a metric names a column that the log does not give.
    """
    registry = ExperimentRegistry(workspace)
    running = registry.find(key)
    log, served = EventLog(workspace.events), scan_served_lists(workspace)
    reach = log_reach(log, served)
    until = until or reach.end
    exposures, replayed = _exposures(running, served, until, log.merges())
    if exposures.units.is_empty():
        raise DataError(
            f"nobody was exposed to {key!r} before {until:%Y-%m-%d %H:%M} UTC ({reach}); lists reach the "
            "log with every compaction: recsys lists export moves them now. See that servers run, and whom "
            "its coverage and targeting take in"
        )
    units, open_windows = _mature(running, exposures.units, until)
    exposed = exposed_log(log.scan(), units, until)
    window = running.experiment.analysis.window_days
    end = None if window is None else timedelta(days=window)
    table = check_units(exposed.metrics(end=end), running.experiment, source="the log")
    found = (*replayed, *open_windows, *_log_problems(exposures), *_price_problems(exposed.num_unpriced))
    service = service_quality(served, running.experiment, since=_since(running, until), until=until)
    found += service_problems(service)
    found += currency_problems(workspace, log.scan(), running.experiment, units, until)
    novelty = by_day_since_exposure(running.experiment, exposed, until)
    table = UnitTable(table.frame, (*table.problems, *found))
    result = sit(
        lambda past: analyze(running.experiment, table, novelty=novelty, past=past),
        registry.looks(key, running.version) if running.experiment.analysis.keeps_looks else None,
        since=running.started,
        data_until=until,
    )
    return replace(result, service=service, reach=reach.before(until))


def _since(running: Running, until: datetime) -> datetime | None:
    """From when on lists count; ``None`` for all, where the log's clock is not that of the wall."""
    return running.started if until > running.started else None


def _exposures(
    running: Running, served: pl.LazyFrame, until: datetime, merges: pl.DataFrame
) -> tuple[Exposures, tuple[Problem, ...]]:
    """Who was exposed to this version; to any version, where the log's clock is not that of the wall."""
    key = running.experiment.key
    if until > running.started:
        last = min(until, running.stopped or until)
        return read_exposures(served, key, since=running.started, until=last, merges=merges), ()
    message = (
        f"the log ends on {until:%Y-%m-%d}, before the experiment's start: servers run on a replay clock, so "
        "all lists of the experiment count, whatever their version"
    )
    replayed = (Problem("replay_clock", "warning", message),)
    return read_exposures(served, key, until=until, merges=merges), replayed


def _mature(
    running: Running, units: pl.DataFrame, until: datetime
) -> tuple[pl.DataFrame, tuple[Problem, ...]]:
    """Units whose window has closed: the others would count for less the later they came."""
    window = running.experiment.analysis.window_days
    if window is None:
        return units, ()
    mature = units.filter(pl.col(FIRST_EXPOSURE) + timedelta(days=window) <= until)
    waiting = units.height - mature.height
    if not waiting:
        return units, ()
    message = (
        f"{waiting:,} of {units.height:,} units were exposed less than {window:g} days ago; they are left "
        "out until their window closes"
    )
    return mature, (Problem("open_windows", "warning", message),)


def _log_problems(exposures: Exposures) -> tuple[Problem, ...]:
    problems = []
    if mixed := exposures.mixed.height:
        share = mixed / (mixed + exposures.units.height)
        seen = ", ".join(f"{arm} {count:,}" for arm, count in exposures.mixed_by_arm().items())
        message = (
            f"{mixed:,} units ({share:.2%}) were in several arms under one id ({seen}) and are left out; no "
            "login does that, but a change of salt or weights does, and a log that names the wrong unit"
        )
        problems.append(Problem("mixed_arms", "blocking" if share > MAX_MIXED_SHARE else "warning", message))
    problems += crossing_problems(exposures.crossed, exposures.units.height)
    if exposures.num_lost:
        message = (
            f"{exposures.num_lost:,} served lists are missing in the log, by the gaps in their numbers; see "
            "whether servers died or the list log could not be written"
        )
        problems.append(Problem("lost_exposures", "warning", message))
    if exposures.num_anonymous:
        message = f"{exposures.num_anonymous:,} lists were for nobody in particular and are left out"
        problems.append(Problem("anonymous_exposures", "warning", message))
    return tuple(problems)


def _price_problems(unpriced: int) -> tuple[Problem, ...]:
    if not unpriced:
        return ()
    message = f"{unpriced:,} purchases have no price and add nothing to revenue"
    return (Problem("unpriced_purchases", "warning", message),)
