"""How an experiment's lists were served, arm by arm: an arm that is slow or falls back does harm by itself.

From the log of served lists, so calls that failed are not in it: those are for metrics (docs/operations.md).
Lists count for the arm that they show; persons are clusters, as everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from recsys.experiments.always_valid import MIN_UNITS
from recsys.experiments.bulk import ARM
from recsys.experiments.data_quality import Problem
from recsys.experiments.definition import Experiment
from recsys.experiments.difference import compare
from recsys.experiments.estimate import estimate_arms
from recsys.experiments.inference import watching
from recsys.experiments.moments import Moments
from recsys.experiments.version_scope import VersionScope
from recsys.schema import SERVED_TIME, TIMESTAMP

MAX_MORE_DEGRADED: Final = 0.01
"""Share of an arm's lists that may be degraded beyond control's share."""
MAX_MORE_SLOW: Final = 0.05
"""Share of an arm's lists that may be slower than control's 95th percentile beyond control's 5 %: twice."""
_SLOW_QUANTILE = 0.95

_LISTS, _DEGRADED, _TIMED, _SLOW = "lists", "degraded", "timed", "slow"


@dataclass(frozen=True)
class ArmService:
    """What one arm's users got."""

    arm: str
    lists: int
    degraded: float
    """Share of the lists whose service level is not ``FULL``."""
    p95_ms: float | None
    """95th percentile of the time until the list was ready; ``None`` where none was timed."""
    slow: float | None
    """Share of the timed lists that took longer than control's ``p95_ms``."""
    breaches: tuple[str, ...] = ()
    """What is worse than control beyond its margin, in words."""


def service_quality(
    served: pl.LazyFrame,
    experiment: Experiment,
    *,
    until: datetime | None = None,
    scope: VersionScope | None = None,
) -> tuple[ArmService, ...]:
    """Look at the first pages of an experiment's lists, but those whose arm was given by hand.

    Args:
        served: Frame of ``SERVED_LIST_SCHEMA``.
        experiment: The definition.
        until: Only lists before this moment; ``None`` for all.
        scope: The version whose lists count; ``None`` for all versions together.

    Returns:
        By arm of the definition, those without lists left out. A breach is a one-sided bound beyond the
        margin that holds however often one looks, with ``MIN_UNITS`` users in both arms.
    """
    lists = _lists(served, experiment.key, until, scope)
    ends = dict(lists.group_by(ARM).agg(pl.col("latency_ms").quantile(_SLOW_QUANTILE)).iter_rows())
    limit = ends.get(experiment.control.key)
    is_slow = pl.col("latency_ms") > pl.lit(limit, pl.Float64)
    by_user = lists.group_by(ARM, "subject").agg(
        pl.len().alias(_LISTS),
        (pl.col("service_level") != "FULL").sum().alias(_DEGRADED),
        pl.col("latency_ms").count().alias(_TIMED),
        is_slow.sum().alias(_SLOW),
    )
    breaches = {
        _DEGRADED: _beyond(experiment, by_user, (_DEGRADED, _LISTS), MAX_MORE_DEGRADED),
        _SLOW: _beyond(experiment, by_user.filter(pl.col(_TIMED) > 0), (_SLOW, _TIMED), MAX_MORE_SLOW),
    }
    arms = _by_arm(experiment, by_user.drop("subject").group_by(ARM).sum(), ends)
    control = next((each for each in arms if each.arm == experiment.control.key), None)
    if control is None:
        return arms
    return tuple(replace(each, breaches=_found(each, control, breaches)) for each in arms)


def service_problems(quality: tuple[ArmService, ...]) -> tuple[Problem, ...]:
    """A warning for every breach."""
    return tuple(
        Problem("worse_service", "warning", f"{words}; --auto-stop ends an experiment on it")
        for arm in quality
        for words in arm.breaches
    )


def _by_arm(
    experiment: Experiment, sums: pl.DataFrame, ends: Mapping[str, float | None]
) -> tuple[ArmService, ...]:
    """What the sums of every arm say, without breaches."""
    by_key = {row[ARM]: row for row in sums.iter_rows(named=True)}
    is_known = ends.get(experiment.control.key) is not None
    return tuple(
        ArmService(
            arm=arm.key,
            lists=total[_LISTS],
            degraded=total[_DEGRADED] / total[_LISTS],
            p95_ms=ends[arm.key],
            slow=total[_SLOW] / total[_TIMED] if is_known and total[_TIMED] else None,
        )
        for arm in experiment.arms
        if (total := by_key.get(arm.key)) is not None
    )


def _lists(
    served: pl.LazyFrame, key: str, until: datetime | None, scope: VersionScope | None
) -> pl.DataFrame:
    counts = (pl.col("first_position").fill_null(0) == 0) & pl.col("subject").is_not_null()
    if until is not None:
        counts &= pl.col(SERVED_TIME) < pl.lit(until).cast(TIMESTAMP)
    by_hand = pl.col("forced").list.contains(key).fill_null(value=False)
    return (
        served.filter(counts & ~by_hand)
        .select("subject", SERVED_TIME, pl.col("service_level").fill_null("FULL"), "latency_ms", "arms")
        .explode("arms")
        .unnest("arms")
        .filter((pl.col("experiment") == key) & (True if scope is None else scope.holds()))
        .select("subject", "service_level", "latency_ms", ARM)
        .collect()
    )


def _beyond(
    experiment: Experiment, by_user: pl.DataFrame, ratio: tuple[str, str], margin: float
) -> frozenset[str]:
    """Arms whose ratio is above control's by more than the margin, whenever one looks."""
    moments = {
        str(arm): Moments.of(part.select(ratio).cast(pl.Float64).to_numpy().T.astype(np.float64))
        for (arm,), part in by_user.group_by(ARM)
        if part.height >= MIN_UNITS
    }
    control = experiment.control
    if control.key not in moments:
        return frozenset()
    estimates, found = estimate_arms(moments, "ratio"), set()
    for arm in experiment.arms:
        if arm is control or arm.key not in estimates:
            continue
        difference = compare(estimates[arm.key], estimates[control.key])
        critical = watching(experiment.analysis, arm.weight + control.weight).one_sided(difference)
        if difference.estimate - critical * difference.std_error > margin:  # also where nothing varies
            found.add(arm.key)
    return frozenset(found)


def _found(about: ArmService, control: ArmService, breaches: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    return tuple(_words(about, control, what) for what, arms in breaches.items() if about.arm in arms)


def _words(about: ArmService, control: ArmService, what: str) -> str:
    if what == _DEGRADED:
        return f"{about.arm} has {about.degraded:.1%} degraded lists, {control.arm} {control.degraded:.1%}"
    return (
        f"{about.arm} is slow: 95 % of its lists are ready within {about.p95_ms or 0:.0f} ms, those of "
        f"{control.arm} within {control.p95_ms or 0:.0f} ms"
    )
