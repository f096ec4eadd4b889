"""Which visitor turned out to be which user: to whom a visitor's events count, and who reads them."""

import polars as pl

from recsys.schema import EFFECTIVE_TIME, MERGE_TIME, MERGED_INTO, TIMESTAMP, USER_ID, VISITOR
from recsys.tombstones import Tombstones
from recsys.user_shard import ALL_USERS, UserShard, shard_number


def living_merges(merges: pl.DataFrame, tombstones: Tombstones) -> pl.DataFrame:
    """The merges, of ``MERGE_SCHEMA``, of which no tombstone covers the visitor or the user."""
    at = pl.col(MERGE_TIME)
    return tombstones.living(tombstones.living(merges, VISITOR, at), USER_ID, at)


def visitors_of(shard: UserShard, merges: pl.DataFrame) -> list[str]:
    """The visitors who turned out to be a user of the shard; of all users, nobody needs to ask."""
    if shard == ALL_USERS or merges.is_empty():
        return []
    return merges.filter(shard.has(pl.col(USER_ID)))[VISITOR].unique().to_list()


def may_hold(file: str, shard: UserShard, visitors: list[str]) -> bool:
    """Whether a file may hold events of the shard's users, or of those visitors."""
    found = UserShard.of_file(file)
    return found.shares_users_with(shard) or any(
        shard_number(visitor, found.count) == found.number for visitor in visitors
    )


def with_merges(events: pl.LazyFrame, merges: pl.DataFrame) -> pl.LazyFrame:
    """The events with the first merge of their visitor that is not before them; unchanged without merges.

    Args:
        events: With ``effective_time``.
        merges: Of ``MERGE_SCHEMA``, in order of time.

    Returns:
        Also ``merged_into`` and ``merge_time``, null where no merge is, in the order of the events.
    """
    if merges.is_empty():
        return events
    by_visitor = merges.select(
        pl.col(VISITOR).alias(USER_ID),
        pl.col(USER_ID).alias(MERGED_INTO),
        MERGE_TIME,
        after=pl.col(MERGE_TIME).shift(1).over(VISITOR),
    )
    later = by_visitor.group_by(USER_ID).agg(
        pl.lit(None, pl.String).alias(MERGED_INTO),
        pl.lit(None, TIMESTAMP).alias(MERGE_TIME),
        after=pl.col(MERGE_TIME).max(),
    )
    spans = pl.concat([by_visitor, later])  # every moment lies in one span of its visitor
    inside = pl.col("after").is_null() | (pl.col(EFFECTIVE_TIME) > pl.col("after"))
    inside &= pl.col(MERGE_TIME).is_null() | (pl.col(EFFECTIVE_TIME) <= pl.col(MERGE_TIME))
    met = events.join(
        spans.lazy(), on=USER_ID, how="left", maintain_order="left"
    )  # as sums of floats need it
    return met.filter(inside).drop("after")
