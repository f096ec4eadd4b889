"""Moments of historical queries, built from the log in Polars."""

from collections.abc import Iterator

import polars as pl

from features.log import POSITION, TIME, OfflineLog
from recsys.influence import counted
from recsys.item_state import ItemState
from recsys.moment import Moment, Parts
from recsys.schema import AS_OF, EFFECTIVE_TIME, EVENT_TYPE, EVENT_TYPE_CODES, ITEM_ID, QUERY_ID
from recsys.user_items import user_items
from recsys.user_state import UserState


def offline_states(log: OfflineLog) -> dict[int, UserState]:
    """The state of every query's user as of the query, by query id; users without events are left out."""
    half_lives = log.config.state.half_lives_days
    baskets = {
        int(str(q)): rows[TIME].sort().to_numpy().copy()
        for (q,), rows in log.baskets().collect().group_by(QUERY_ID)
    }
    item_ids = log.catalogue.item_ids
    states = {}
    known = log.state_rows.filter(pl.col(POSITION) >= 0).sort(QUERY_ID, POSITION, EVENT_TYPE)
    for (query_id,), rows in known.group_by(QUERY_ID, maintain_order=True):
        state = UserState(
            half_lives_days=half_lives,
            item_ids=[item_ids[position] for position in rows[POSITION].to_list()],
            event_types=rows[EVENT_TYPE].to_numpy().copy(),
            sums=rows.select(f"l{i}" for i in range(len(half_lives))).to_numpy().copy(order="C"),
            first_ms=rows["first_ms"].to_numpy().copy(),
            last_ms=rows["last_ms"].to_numpy().copy(),
            counts=rows["count"].to_numpy().copy(),
        )
        key = int(str(query_id))
        if key in baskets:
            state.basket_ms = baskets[key]
        states[key] = state
    return states


def offline_moments(log: OfflineLog, parts: Parts, events: pl.LazyFrame) -> Iterator[tuple[int, Moment]]:
    """The moment of every query, in order of time.

    Args:
        log: The queries and the events they may see.
        parts: The fitted parts to read moments with.
        events: Event log with ``effective_time``, for the items' popularity.
    """
    states = offline_states(log)
    nobody = UserState(log.config.state.half_lives_days)
    queries = log.queries.sort(AS_OF, QUERY_ID)
    times = queries[AS_OF].to_list()
    if not times:
        return
    items = ItemState.from_events(log.catalogue, log.config.state, events, times[0])
    later = _later_events(log, events, times[0], times[-1])
    event = next(later, None)
    for query_id, as_of_ms in queries.select(QUERY_ID, AS_OF).iter_rows():
        while event is not None and event[2] < as_of_ms:
            items.record(*event)
            event = next(later, None)
        user = user_items(states.get(query_id, nobody), log.catalogue, log.config, as_of_ms)
        yield (
            query_id,
            Moment(parts, as_of_ms, user, items.popularity(as_of_ms)),
        )


def moments_at(log: OfflineLog, parts: Parts, items: ItemState) -> Iterator[tuple[int, Moment]]:
    """The moments of queries that all have the same time.

    Args:
        log: The queries and the events they may see.
        parts: The fitted parts to read moments with.
        items: The items' state at that time.
    """
    states, nobody = offline_states(log), UserState(log.config.state.half_lives_days)
    for query_id, as_of_ms in log.queries.select(QUERY_ID, AS_OF).sort(QUERY_ID).iter_rows():
        user = user_items(states.get(query_id, nobody), log.catalogue, log.config, as_of_ms)
        yield query_id, Moment(parts, as_of_ms, user, items.popularity(as_of_ms))


def _later_events(
    log: OfflineLog, events: pl.LazyFrame, from_ms: int, to_ms: int
) -> Iterator[tuple[int, int, int]]:
    """Item position, event type code and time of the known items' events, in order of time."""
    time = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    rows = (
        counted(events, log.config.state)
        .filter(time >= from_ms, time < to_ms, pl.col(ITEM_ID).is_in(log.catalogue.item_ids))
        .select(
            pl.col(ITEM_ID).replace_strict(log.catalogue.position, return_dtype=pl.Int64),
            pl.col(EVENT_TYPE).replace_strict(EVENT_TYPE_CODES, return_dtype=pl.Int64),
            time.alias(TIME),
        )
        .sort(TIME)
        .collect()
    )
    yield from rows.iter_rows()
