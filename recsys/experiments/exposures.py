"""Exposures: from the log of served lists to one row per unit, and what is wrong with the log.

A list is an exposure of an experiment where the experiment could change it, whichever arm it got; only such
lists carry its arm. A visitor who logs in counts as the user, from the first list as a visitor on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from recsys.experiments.answering_models import answering_models
from recsys.experiments.bulk import ARM
from recsys.experiments.logins import with_persons
from recsys.experiments.persons import SUBJECT, persons_of
from recsys.experiments.repeated_lists import once_per_call
from recsys.experiments.version_scope import VERSION, VersionScope
from recsys.schema import SERVED_LIST_SCHEMA, SERVED_TIME, TIMESTAMP
from recsys.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Exposures:
    """Who was exposed to an experiment, and how trustworthy the log is."""

    units: pl.DataFrame
    """One row per person, with the first arm: ``unit_id``, ``arm``, ``first_exposure`` (UTC),
    ``num_lists``."""
    mixed: pl.DataFrame
    """One row per person one of whose ids was in several arms, which the analysis leaves out: ``unit_id``,
    ``arms``, ``first_exposure``."""
    crossed: pl.DataFrame
    """Those of ``units`` who met another arm by logging in, see ``recsys.experiments.persons``."""
    num_forced: int
    """Lists whose arm was given by hand; left out."""
    num_anonymous: int
    """Lists for nobody in particular; left out."""
    num_lost: int
    """Lists, of any experiment or none, whose numbers are missing in the log."""
    other_versions: Mapping[int | None, int] = field(default_factory=dict)
    """Lists of the experiment that belong to another version, or to an earlier run of this one, by version;
    ``None`` for lists that do not say; left out."""
    answered: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Which models answered the lists that count, see ``recsys.experiments.answering_models``."""

    @property
    def num_met(self) -> int:
        """People and lists, whether they count or not: 0 where no list of the experiment was served."""
        left_out = self.num_forced + self.num_anonymous + sum(self.other_versions.values())
        return self.units.height + self.mixed.height + left_out

    def mixed_by_arm(self) -> dict[str, int]:
        """How many mixed units were seen in each arm; where that differs, assignment itself is broken."""
        counted = self.mixed.explode("arms").group_by("arms").len().sort("arms")
        return dict(counted.iter_rows())


def scan_served_lists(workspace: Workspace) -> pl.LazyFrame:
    """All lists that were exported, of ``SERVED_LIST_SCHEMA``; what older files lack is null."""
    files = sorted(workspace.served_lists.glob("day=*/*.parquet"))
    if not files:
        return pl.LazyFrame(schema=SERVED_LIST_SCHEMA)
    return pl.scan_parquet(
        files,
        schema=dict(SERVED_LIST_SCHEMA),
        hive_partitioning=False,
        missing_columns="insert",
        cast_options=pl.ScanCastOptions(missing_struct_fields="insert"),
    )


def read_exposures(
    served: pl.LazyFrame,
    key: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    merges: pl.DataFrame | None = None,
    scope: VersionScope | None = None,
) -> Exposures:
    """Who was exposed to an experiment.

    Args:
        served: Frame of ``SERVED_LIST_SCHEMA``.
        key: The experiment.
        since: Only lists from this moment on, for example the start of the version; ``None`` for all.
        until: Only lists before this moment; ``None`` for all.
        merges: Logins, ``recsys.schema.MERGE_SCHEMA``; ``None`` for none.
        scope: The version whose lists count; ``None`` for all versions together.
    """
    within = once_per_call(served)
    if since is not None:
        within = within.filter(pl.col(SERVED_TIME) >= pl.lit(since).cast(TIMESTAMP))
    if until is not None:
        within = within.filter(pl.col(SERVED_TIME) < pl.lit(until).cast(TIMESTAMP))
    own = within.select("subject", SERVED_TIME, "forced", "model_version", "substituted", "arms")
    own = own.explode("arms").unnest("arms").filter(pl.col("experiment") == key)
    lists = own.with_columns(forced=pl.col("forced").list.contains(key).fill_null(value=False)).collect()
    lists, others = _of_version(lists, scope)
    by_hand, anonymous = lists["forced"], lists["subject"].is_null()
    known = lists.filter(~by_hand & ~anonymous)
    persons = persons_of(with_persons(known.lazy(), merges, subject=SUBJECT, time=SERVED_TIME).collect())
    return Exposures(
        units=persons.units,
        mixed=persons.mixed,
        crossed=persons.crossed,
        num_forced=int(by_hand.sum()),
        num_anonymous=int((anonymous & ~by_hand).sum()),
        num_lost=num_lost(served),
        other_versions=others,
        answered=answering_models(known, key, {} if scope is None else scope.arms),
    )


def _of_version(
    lists: pl.DataFrame, scope: VersionScope | None
) -> tuple[pl.DataFrame, dict[int | None, int]]:
    """The lists of a version, and the number of the others by version."""
    if scope is None:
        return lists, {}
    others = lists.filter(~scope.holds()).group_by(VERSION).len().sort(VERSION, nulls_last=True)
    return lists.filter(scope.holds()), dict(others.iter_rows())


def num_lost(served: pl.LazyFrame) -> int:
    """Lists that servers made and that are in no log, as the gaps in their numbers tell.

    What a server lost after its last list that was written leaves no gap. Neither does what lies before its
    first one, as retention takes those; lists of persons who were erased do.
    """
    sequence = pl.col("server_sequence")
    numbers = served.filter(pl.col("server_sequence") > 0).group_by("server")
    per_server = numbers.agg(lost=sequence.max() - sequence.min() + 1 - sequence.n_unique().cast(pl.Int64))
    return int(per_server.select(pl.col("lost").sum()).collect().item())


def arms_of(exposures: Exposures, arms: Sequence[str]) -> dict[str, int]:
    """Units by arm, 0 for an arm that nobody was exposed to."""
    counted = dict(exposures.units.group_by(ARM).len().iter_rows())
    return {arm: counted.get(arm, 0) for arm in arms}
