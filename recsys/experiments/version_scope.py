"""Which served lists belong to one version of an experiment.

Lists say which version their arms come from. Those of before that was kept belong to the version that ran
when they were served; where the log's clock is not that of the wall, only to one that is the experiment's
only one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from recsys.experiments.audit import AuditEntry
from recsys.experiments.bulk import ARM
from recsys.experiments.data_quality import Problem
from recsys.experiments.definition import INTERLEAVED, Experiment
from recsys.experiments.history import Running, versions_of
from recsys.schema import SERVED_TIME, TIMESTAMP

VERSION = "version"


@dataclass(frozen=True)
class VersionScope:
    """One version, as lists meet it."""

    version: int
    arms: dict[str, str | None]
    """Models by arm, as the definition names them."""
    since: datetime | None = None
    """When it was started last; ``None`` where the log's clock cannot tell."""
    until: datetime | None = None
    """When it ended; ``None`` while it runs, or where the clock cannot tell."""
    is_only: bool = field(default=True, kw_only=True)
    """Whether the experiment never had another version."""
    ran_before: bool = field(default=False, kw_only=True)
    """Whether this version was started before, so that only the time tells its runs apart."""

    @property
    def on_replay_clock(self) -> bool:
        """Whether the log's clock is not that of the wall."""
        return self.since is None

    def last_moment(self, until: datetime, window_days: float | None) -> datetime:
        """Up to when what units do counts: the version's end, then the window of those who came last.

        Args:
            until: What is read of the log.
            window_days: For how long a unit's events count; ``None`` for as long as the version runs.
        """
        if self.until is None:
            return until
        return min(until, self.until + timedelta(days=window_days or 0.0))

    def holds(self) -> pl.Expr:
        """Whether a row belongs to it; of ``version``, ``arm`` and ``served_time``."""
        own = (pl.col(VERSION) == self.version).fill_null(value=False)
        unmarked = pl.col(VERSION).is_null() & pl.col(ARM).is_in(list(self.arms))
        if self.since is None:
            return own | (unmarked & self.is_only)
        since = pl.col(SERVED_TIME) >= pl.lit(self.since).cast(TIMESTAMP)
        if self.until is not None:
            unmarked &= pl.col(SERVED_TIME) < pl.lit(self.until).cast(TIMESTAMP)
        return (own & since if self.ran_before else own) | (unmarked & since)


def scope_of(running: Running, log_end: datetime, audit: Sequence[AuditEntry]) -> VersionScope:
    """The scope of a version.

    Args:
        running: The version.
        log_end: Just after the last event or list: where it lies before the experiment's first start, the
            log's clock is not that of the wall.
        audit: What happened to experiments.
    """
    key, arms = running.experiment.key, models_of(running.experiment)
    starts = [entry for entry in audit if entry.key == key and entry.action == "start"]
    period = (None, None) if log_end <= starts[0].time else (running.started, running.stopped)
    return VersionScope(
        running.version,
        arms,
        *period,
        is_only=versions_of(audit, key) == [running.version],
        ran_before=sum(entry.version == running.version for entry in starts) > 1,
    )


def models_of(experiment: Experiment) -> dict[str, str | None]:
    """The models that lists' arms name; of an interleaved list, none in particular."""
    if experiment.interleave:
        return dict.fromkeys([INTERLEAVED, *(arm.key for arm in experiment.arms)])
    return {arm.key: arm.model for arm in experiment.arms}


def version_problems(scope: VersionScope, others: Mapping[int | None, int]) -> tuple[Problem, ...]:
    """What the report says of a scope, and of the lists that it leaves out.

    Args:
        scope: The version that is reported.
        others: Lists by version, see ``recsys.experiments.exposures.Exposures.other_versions``.
    """
    problems = []
    if scope.on_replay_clock:
        message = (
            "the log ends before the experiment's first start: servers run on a replay clock, so all lists "
            f"of version {scope.version} count, whenever they were served"
        )
        problems.append(Problem("replay_clock", "warning", message))
    if others:
        shown = ", ".join(f"{_named(version, scope)} {number:,}" for version, number in others.items())
        message = (
            f"{sum(others.values()):,} lists are not of version {scope.version} and are left out: {shown}; "
            "see an earlier version with --version"
        )
        problems.append(Problem("other_versions", "warning", message))
    return tuple(problems)


def _named(version: int | None, scope: VersionScope) -> str:
    if version is None:
        return "of a time or an arm that is not this version's"
    return f"version {version}" if version != scope.version else f"an earlier run of version {version}"
