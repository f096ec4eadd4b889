"""Moments of historical queries, built from the log in Polars."""

from collections.abc import Iterator

import polars as pl

from features.log import POSITION, TIME, OfflineLog
from recsys.item_state import ItemState, tick_of
from recsys.moment import Moment, Parts
from recsys.schema import AS_OF, EVENT_TYPE, QUERY_ID
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
    known = log.rows().filter(pl.col(POSITION) >= 0).sort(QUERY_ID, POSITION, EVENT_TYPE).collect()
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
    engagement = None
    tick = -1
    for query_id, as_of_ms in queries.select(QUERY_ID, AS_OF).iter_rows():
        if engagement is None or tick_of(as_of_ms, log.config.state) != tick:
            tick = tick_of(as_of_ms, log.config.state)
            engagement = ItemState.from_events(log.catalogue, log.config.state, events, as_of_ms).engagement(
                as_of_ms
            )
        user = user_items(states.get(query_id, nobody), log.catalogue, log.config, as_of_ms)
        yield query_id, Moment(parts, as_of_ms, user, engagement)
