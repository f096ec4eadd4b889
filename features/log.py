"""What the offline side reads: queries, and the log as it stood at each of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from recsys.catalogue import Catalogue
from recsys.config import Config
from recsys.errors import LeakageError
from recsys.influence import refused
from recsys.item_state import tick_of
from recsys.schema import (
    AS_OF,
    DAY_MS,
    EFFECTIVE_TIME,
    EVENT_ID,
    EVENT_TYPE,
    EVENT_TYPE_CODES,
    ITEM_ID,
    MERGE_TIME,
    MERGED_INTO,
    QUERY_ID,
    USER_ID,
)
from recsys.timestamps import iso
from recsys.user_state import SMALLEST_SUM

POSITION = "item_position"
WEIGHT = "weight"
TIME = "time_ms"
COUNTS = "counts"
"""Whether an event counts for everybody, see ``recsys.influence``."""
_ONE = 2**40
"""Of an event, in the whole numbers that are added up for a user's state: which of them is added first, or on
which thread, makes no difference then. Eight million events of one user, item and kind fit; each is within
5e-13, of a sum that is 1 at least."""


@dataclass(frozen=True)
class OfflineLog:
    """The events by catalogue position and weight, and the queries they are read at.

    ``events``: user_id, item_position (i64), event_type (u8 code), time_ms (i64), weight (f64), counts
    (bool); only types that a user's state remembers, see ``StateConfig.remembered``.

    ``queries``: query_id (i64, 0..n-1), user_id, as_of (i64, milliseconds since the epoch).
    """

    events: pl.DataFrame
    queries: pl.DataFrame
    catalogue: Catalogue
    config: Config
    by_owner: pl.DataFrame | None = None
    """Where visitors logged in: the events by whose state holds them, with ``from_ms`` and ``until_ms``, the
    moments between which it does. A visitor's event is there twice, before the merge and after it."""
    popularity: pl.DataFrame | None = None
    """What ``item_rows`` says of everybody's events, where ``events`` are those of some users."""

    @classmethod
    def of(
        cls, events: pl.LazyFrame, queries: pl.DataFrame, catalogue: Catalogue, config: Config
    ) -> "OfflineLog":
        """Translate the event log, keeping what is visible at the latest query."""
        weights = config.state.remembered
        last = queries[AS_OF].max()
        gone = refused(events, config.state)
        is_counted = pl.lit(value=True) if gone.is_empty() else ~pl.col(EVENT_ID).is_in(gone.implode())
        translated = (
            events.filter(pl.col(EVENT_TYPE).is_in(list(weights)))
            .select(
                USER_ID,
                pl.col(ITEM_ID)
                .replace_strict(catalogue.position, default=-1, return_dtype=pl.Int64)
                .alias(POSITION),
                pl.col(EVENT_TYPE).replace_strict(EVENT_TYPE_CODES, return_dtype=pl.UInt8),
                pl.col(EFFECTIVE_TIME).dt.epoch("ms").alias(TIME),
                pl.col(EVENT_TYPE).replace_strict(weights, return_dtype=pl.Float64).alias(WEIGHT),
                is_counted.alias(COUNTS),
                *merge_columns(events),
            )
            .filter(pl.col(TIME) < last)
            .collect()
        )
        if MERGED_INTO not in translated.columns:
            return cls(translated, queries, catalogue, config)
        return cls(
            translated.drop(MERGED_INTO, MERGE_TIME), queries, catalogue, config, _by_owner(translated)
        )

    def visible(self) -> pl.LazyFrame:
        """Every query with every event of its user that lies strictly before it."""
        if self.by_owner is not None:
            held = self.queries.lazy().join(self.by_owner.lazy(), on=USER_ID)
            now = pl.col(AS_OF)
            held = held.filter(pl.col(TIME) < now, pl.col("from_ms") < now, now <= pl.col("until_ms"))
            return held.drop("from_ms", "until_ms")
        return self.queries.lazy().join(self.events.lazy(), on=USER_ID).filter(pl.col(TIME) < pl.col(AS_OF))

    def rows(self) -> pl.LazyFrame:
        """The rows with a weight of the user states of all queries, see ``state_rows``."""
        return self.state_rows.lazy().filter(pl.col(WEIGHT) != 0)

    @cached_property
    def state_rows(self) -> pl.DataFrame:
        """The user state as a table: one row per query, item and event type, expired rows left out.

        Columns ``query_id, item_position, event_type, as_of, weight, s0.. (decayed sums at as_of), l0.. (the
        same at the row's last event), first_ms, last_ms, count``. The sums are the same to the bit in
        whatever order the events come.
        """
        half_lives = [h * DAY_MS for h in self.config.state.half_lives_days]
        row = (QUERY_ID, POSITION, EVENT_TYPE)
        two = pl.lit(2.0)
        before_last = (pl.col("last_ms") - pl.col(TIME)).cast(pl.Float64)
        since_last = (pl.col(AS_OF) - pl.col("last_ms")).cast(pl.Float64)
        oldest = pl.col(AS_OF) - round(self.config.state.max_age_days * DAY_MS)
        return (
            self.visible()
            .with_columns(last_ms=pl.col(TIME).max().over(row))
            .filter(pl.col("last_ms") >= oldest)
            .with_columns(
                (two.pow(-before_last / h) * _ONE).round().cast(pl.Int64).alias(f"l{i}")
                for i, h in enumerate(half_lives)
            )
            .group_by(row)
            .agg(
                pl.col(AS_OF, WEIGHT, "last_ms").first(),
                *(pl.col(f"l{i}").sum() / _ONE for i in range(len(half_lives))),
                first_ms=pl.col(TIME).min(),
                count=pl.len().cast(pl.Int32),
            )
            .with_columns(
                (pl.col(f"l{i}") * two.pow(-since_last / h)).alias(f"s{i}") for i, h in enumerate(half_lives)
            )
            .with_columns(_or_zero(f"s{i}").alias(f"s{i}") for i in range(len(half_lives)))
            .collect()
        )

    def baskets(self) -> pl.LazyFrame:
        """Distinct purchase times per query that have not expired: ``query_id, as_of, time_ms``."""
        oldest = pl.col(AS_OF) - round(self.config.state.max_age_days * DAY_MS)
        return (
            self.visible()
            .filter(pl.col(EVENT_TYPE) == EVENT_TYPE_CODES["purchase"], pl.col(TIME) >= oldest)
            .select(QUERY_ID, AS_OF, TIME)
            .unique()
        )

    def item_rows(self) -> pl.LazyFrame:
        """Popularity per tick and item: ``tick_ms, item_position``, weighted decayed sums ``e0..``."""
        if self.popularity is not None:
            return self.popularity.lazy()
        half_lives = [h * DAY_MS for h in self.config.state.half_lives_days]
        frames = []
        for tick in self.ticks():
            age = (tick - pl.col(TIME)).cast(pl.Float64)
            frames.append(
                self.events.lazy()
                .filter(pl.col(TIME) < tick, pl.col(POSITION) >= 0, pl.col(WEIGHT) != 0, pl.col(COUNTS))
                .group_by(POSITION, EVENT_TYPE)
                .agg(
                    pl.col(WEIGHT).first(),
                    *(pl.lit(2.0).pow(-age / h).sum().alias(f"e{i}") for i, h in enumerate(half_lives)),
                )
                .group_by(POSITION)
                .agg(
                    (pl.col(WEIGHT) * _or_zero(f"e{i}")).sum().alias(f"e{i}") for i in range(len(half_lives))
                )
                .with_columns(tick_ms=pl.lit(tick, pl.Int64))
            )
        return pl.concat(frames)

    def ticks(self) -> list[int]:
        """Distinct ticks of the queries, ascending."""
        return sorted({tick_of(as_of, self.config.state) for as_of in self.queries[AS_OF].unique().to_list()})

    def query_ticks(self) -> pl.LazyFrame:
        """Tick of each query: ``query_id, tick_ms``."""
        ticks = np.asarray(
            [tick_of(as_of, self.config.state) for as_of in self.queries[AS_OF].to_list()], np.int64
        )
        return self.queries.lazy().select(QUERY_ID, tick_ms=pl.Series(ticks))


def merge_columns(events: pl.LazyFrame) -> list[str]:
    """Names of the columns that tell merges, where the log has any; see ``EventLog.scan``."""
    return [name for name in (MERGED_INTO, MERGE_TIME) if name in events.collect_schema().names()]


def events_of(events: pl.LazyFrame, users: pl.Series) -> pl.LazyFrame:
    """The events of some users, and of the visitors who turned out to be one of them, in the order given."""
    theirs = pl.col(USER_ID).is_in(users.implode())
    if merge_columns(events):
        theirs |= pl.col(MERGED_INTO).is_in(users.implode()).fill_null(value=False)
    return events.filter(theirs)


def _by_owner(events: pl.DataFrame) -> pl.DataFrame:
    """A visitor's events are the visitor's until the merge, itself included, and then the user's."""
    merged_ms = pl.col(MERGE_TIME).dt.epoch("ms")
    own = events.with_columns(from_ms=pl.col(TIME), until_ms=merged_ms.fill_null(pl.Int64.max()))
    taken = events.filter(pl.col(MERGED_INTO).is_not_null()).with_columns(
        pl.col(MERGED_INTO).alias(USER_ID), from_ms=merged_ms, until_ms=pl.Int64.max()
    )
    return pl.concat([own, taken]).drop(MERGED_INTO, MERGE_TIME)


def require_fitted_before(part: str, fitted_until_ms: int, as_of_ms: int) -> None:
    """Refuse a fitted part that saw events at or after the moment it is used for.

    Raises:
        LeakageError: The part was fitted later than the moment.
    """
    if fitted_until_ms > as_of_ms:
        raise LeakageError(
            f"{part} was fitted on events until {iso(fitted_until_ms)}, and what is asked as of "
            f"{iso(as_of_ms)} must not know them; ask for a later time, or fit it earlier"
        )


def _or_zero(decayed_sum: str) -> pl.Expr:
    """A decayed sum, or 0 where it is too small to matter; the rule of ``recsys.user_state``."""
    return pl.when(pl.col(decayed_sum) < SMALLEST_SUM).then(0.0).otherwise(pl.col(decayed_sum))
