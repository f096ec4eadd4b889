"""Histories of the users of one moment, one shard of users after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from features.log import OfflineLog
from features.moments import moments_at
from recsys.item_state import ItemState
from recsys.moment import Moment, Parts
from recsys.schema import AS_OF, USER_ID
from recsys.user_shard import UserShard


def histories(
    events: pl.LazyFrame, queries: pl.DataFrame, parts: Parts, shards: Sequence[pl.LazyFrame] = ()
) -> Iterator[tuple[OfflineLog, Iterator[tuple[int, Moment]]]]:
    """The log as the queries' users see it, and their moments; all at once where there are no shards.

    Args:
        events: Event log with ``effective_time``.
        queries: See ``OfflineLog``; all of one moment, and at least one.
        parts: The fitted parts to read moments with.
        shards: The events once more, cut by user as ``recsys.user_shard`` does.
    """
    catalogue, config = parts.catalogue, parts.config
    items = ItemState.from_events(catalogue, config.state, events, queries[AS_OF][0])
    if len(shards) <= 1:
        log = OfflineLog.of(events, queries, catalogue, config)
        yield log, moments_at(log, parts, items)
        return
    popularity = OfflineLog.of(events, queries, catalogue, config).item_rows().collect()
    for number, of_shard in enumerate(shards):
        mine = queries.filter(UserShard(number, len(shards)).has(pl.col(USER_ID)))
        if not mine.is_empty():
            log = replace(OfflineLog.of(of_shard, mine, catalogue, config), popularity=popularity)
            yield log, moments_at(log, parts, items)
