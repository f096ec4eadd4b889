"""States of users from the log: of all of them at its end, or of some as of their own moments."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from features.log import OfflineLog, merge_columns
from features.moments import offline_states
from recsys.catalogue import Catalogue
from recsys.config import Config
from recsys.schema import AS_OF, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, MERGED_INTO, QUERY_ID, USER_ID
from recsys.user_shard import ALL_USERS, UserShard
from recsys.user_state import UserState

_EVENTS_AT_ONCE = 2_000_000
"""Events whose users' states are computed together, about; some 500 bytes of memory each."""
_BUCKET = "bucket"


def every_state(
    events: pl.LazyFrame,
    as_of_ms: int,
    catalogue: Catalogue,
    config: Config,
    shard: UserShard = ALL_USERS,
) -> Iterator[tuple[str, UserState]]:
    """The state of every user of the log, in no particular order.

    A large log is first split by user into temporary files, so that a part of it is in memory at a time and
    every event is read twice, however many there are.

    Args:
        events: Event log with ``effective_time``.
        as_of_ms: The moment, milliseconds since the epoch.
        catalogue: The items.
        config: What the states remember.
        shard: Only of these users; ``events`` are at least theirs, see ``EventLog.scan``.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-states-") as directory:
        for part in _by_user(events, Path(directory)):
            users = part.select(_owner(part).alias(USER_ID)).unique().filter(shard.has(pl.col(USER_ID)))
            queries = users.sort(USER_ID).collect().with_columns(pl.lit(as_of_ms, pl.Int64).alias(AS_OF))
            yield from states_at(part, queries, catalogue, config)


def states_at(
    events: pl.LazyFrame, queries: pl.DataFrame, catalogue: Catalogue, config: Config
) -> Iterator[tuple[str, UserState]]:
    """States of users as of their own moments, one at a time.

    Args:
        events: Event log with ``effective_time``; of others than the queries' users nothing is kept.
        queries: ``user_id, as_of`` (milliseconds since the epoch).
        catalogue: The items.
        config: What the states remember.

    Yields:
        User id and state in the order of ``queries``; the state is empty for a user without events.
    """
    numbered = queries.with_row_index(QUERY_ID).with_columns(pl.col(QUERY_ID).cast(pl.Int64))
    users = numbered.lazy().select(USER_ID).unique()
    of_users = events.join(users, on=USER_ID, how="semi")
    if merge_columns(events):
        taken = events.join(users, left_on=MERGED_INTO, right_on=USER_ID, how="semi")
        of_users = pl.concat([of_users, taken.join(users, on=USER_ID, how="anti")])
    states = offline_states(OfflineLog.of(of_users, numbered, catalogue, config))
    nobody = UserState(config.state.half_lives_days)
    for query_id, user_id in numbered.select(QUERY_ID, USER_ID).iter_rows():
        yield user_id, states.get(query_id, nobody).capped(config.state.max_rows_per_user)


def read_columns(events: pl.LazyFrame) -> pl.LazyFrame:
    """Of the log, what states are made of."""
    return events.select(USER_ID, ITEM_ID, EVENT_TYPE, EFFECTIVE_TIME, *merge_columns(events))


def _by_user(events: pl.LazyFrame, directory: Path) -> Iterator[pl.LazyFrame]:
    """The events in parts of which each holds all of those that its users have in the end."""
    num_parts = -(-events.select(pl.len()).collect().item() // _EVENTS_AT_ONCE)
    if num_parts == 0:
        return
    if num_parts == 1:
        yield events
        return
    part = (_owner(events).hash() % num_parts).alias(_BUCKET)
    read = read_columns(events).with_columns(part)
    read.sink_parquet(pl.PartitionBy(directory, key=_BUCKET, include_key=False), mkdir=True)
    for path in sorted(directory.iterdir()):
        yield pl.scan_parquet(path)


def _owner(events: pl.LazyFrame) -> pl.Expr:
    """Whose state holds an event in the end."""
    return pl.coalesce(MERGED_INTO, USER_ID) if merge_columns(events) else pl.col(USER_ID)
