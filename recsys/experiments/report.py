"""The report on an experiment that servers ran: exposures and events from the workspace's logs, analysed."""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.experiments.analysis import analyze
from recsys.experiments.answering_models import model_problems
from recsys.experiments.currencies import currency_problems
from recsys.experiments.data_quality import OPEN_WINDOWS, Problem
from recsys.experiments.definition import Experiment
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
from recsys.experiments.version_scope import scope_of, version_problems
from recsys.tombstones import Tombstones
from recsys.workspace import Workspace


def report(
    workspace: Workspace, key: str, until: datetime | None = None, version: int | None = None
) -> Result:
    """Analyse an experiment from the log, which is a look at it: see ``recsys.experiments.sitting``.

    Args:
        workspace: Holds the registry, the served lists and the events.
        key: The experiment.
        until: What happened before this moment; ``None``, or beyond the data, for the whole log.
        version: Whose lists count; ``None`` for the latest version.

    Raises:
        ConfigError: There is no such experiment or version, it interleaves its arms, or its book of looks
            cannot be kept.
        DataError: Nobody was exposed, or a metric names a column that the log does not give.
    """
    registry = ExperimentRegistry(workspace)
    running = registry.find(key, version)
    _require_arms(running.experiment)
    log, served = EventLog(workspace.events), scan_served_lists(workspace)
    reach = log_reach(log, served)
    until = min(until or reach.end, reach.end)
    scope = scope_of(running, reach.end, registry.audit())
    exposures = read_exposures(served, key, until=until, merges=log.merges(), scope=scope)
    others = version_problems(scope, exposures.other_versions) if exposures.num_met else ()
    if exposures.units.is_empty():
        raise DataError(
            f"nobody was exposed to version {running.version} of {key!r} in the {reach.before(until)}; lists "
            "reach the log with every compaction: recsys lists export moves them now. See that servers run, "
            "and whom its coverage and targeting take in"
            + "".join(f". {problem.message}" for problem in others)
        )
    counted = scope.last_moment(until, running.experiment.analysis.window_days)
    watched_until = min(counted, reach.events or counted)
    in_time = exposures.units.filter(pl.col(FIRST_EXPOSURE) < counted)
    units, open_windows = _mature(running, in_time, watched_until)
    exposed = exposed_log(log.scan(), units, counted, log.merges())
    window = running.experiment.analysis.window_days
    end = None if window is None else timedelta(days=window)
    table = check_units(exposed.metrics(end=end), running.experiment, source="the log")
    service = service_quality(served, running.experiment, until=until, scope=scope)
    num_erased = len(Tombstones(workspace.root))
    found = (
        *(*others, *model_problems(exposures.answered, scope.arms), *open_windows),
        *(*_log_problems(exposures, num_erased), *_price_problems(exposed.num_unpriced)),
        *service_problems(service),
        *currency_problems(workspace, log.scan(), running.experiment, units, counted, merges=log.merges()),
    )
    novelty = by_day_since_exposure(running.experiment, exposed, watched_until)
    table = UnitTable(table.frame, (*table.problems, *found))
    result = sit(
        lambda past: analyze(running.experiment, table, novelty=novelty, past=past),
        registry.looks(key, running.version) if running.experiment.analysis.keeps_looks else None,
        since=running.started,
        data_until=counted,
    )
    return replace(result, version=running.version, service=service, reach=reach.before(counted))


def _require_arms(experiment: Experiment) -> None:
    if experiment.interleave:
        raise ConfigError(
            f"{experiment.key} interleaves its arms, so every list is of both and there are none to compare; "
            f"see which model is preferred: recsys experiment preference {experiment.key}"
        )


def _mature(
    running: Running, units: pl.DataFrame, until: datetime
) -> tuple[pl.DataFrame, tuple[Problem, ...]]:
    """Units whose window has closed by the last known event: others would count for less the later they came.

    The log of lists may be ahead of that of events, and must then close no window.
    """
    window = running.experiment.analysis.window_days
    if window is None:
        return units, ()
    mature = units.filter(pl.col(FIRST_EXPOSURE) + timedelta(days=window) <= until)
    waiting = units.height - mature.height
    if not waiting:
        return units, ()
    if mature.is_empty():
        first, last = (
            f"{time + timedelta(days=window):%Y-%m-%d %H:%M}"
            for time in (units[FIRST_EXPOSURE].min(), units[FIRST_EXPOSURE].max())
            if isinstance(time, datetime)
        )
        message = (
            f"all {units.height:,} units were exposed less than {window:g} days before the end of the data "
            f"({until:%Y-%m-%d %H:%M} UTC), so there is nothing to compare yet; their windows close from "
            f"{first} to {last} UTC"
        )
    else:
        message = (
            f"{waiting:,} of {units.height:,} units were exposed less than {window:g} days before the end of "
            "the data; they are left out until their window closes"
        )
    return mature, (Problem(OPEN_WINDOWS, "warning", message),)


def _log_problems(exposures: Exposures, num_erased: int) -> tuple[Problem, ...]:
    """What is wrong with the log of lists, in a workspace in which so many ids were erased."""
    problems = []
    if mixed := exposures.mixed.height:
        share = mixed / (mixed + exposures.units.height)
        seen = ", ".join(f"{arm} {count:,}" for arm, count in exposures.mixed_by_arm().items())
        message = (
            f"{mixed:,} units ({share:.2%}) were in several arms under one id ({seen}) and are left out; no "
            "login does that, but a change of salt or weights does, a state store that was lost and filled "
            "anew, and a log that names the wrong unit"
        )
        problems.append(Problem("mixed_arms", "blocking" if share > MAX_MIXED_SHARE else "warning", message))
    problems += crossing_problems(exposures.crossed, exposures.units.height)
    if exposures.num_lost:
        causes = "see whether servers died or the list log could not be written"
        if num_erased:
            causes = f"lists of the {num_erased:,} erased ids are among them; if there are more, {causes}"
        message = f"{exposures.num_lost:,} served lists are missing in the log, by their numbers: {causes}"
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
