"""Past decisions from lists that were shown: what was on a list, and what the user chose from it.

A list is the ``impression`` rows of one user that share a ``list_id``; its moment is the first of them. The
features are as of that moment, computed by the code that serves, from a user state built offline.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from features.log import OfflineLog, events_of, require_fitted_before
from features.moments import offline_moments
from features.registry import as_ranker_input, names, online_matrix
from recsys.config import Config
from recsys.moment import Moment, Parts, Places
from recsys.progress import progress
from recsys.schema import (
    AS_OF,
    EFFECTIVE_TIME,
    EVENT_TYPE,
    IMPRESSION,
    ITEM_ID,
    LIST_ID,
    POSITION,
    QUERY_ID,
    USER_ID,
)
from training.decisions import Decisions
from training.labels import LABEL, grades
from training.threads import in_threads

_AT_ONCE = 500
"""Lists whose user states are held in memory together."""
_PLACE, _ITEMS = "place", "items"


@dataclass(frozen=True, eq=False)
class _List:
    """One list of a chunk, ready to be described by features."""

    items: Int64[np.ndarray, " items"]
    """Catalogue positions, ascending."""
    places: Int64[np.ndarray, " items"]
    """Place on the list, -1 where the log does not say."""
    labels: Int64[np.ndarray, " items"]


def collect_shown(events: pl.LazyFrame, parts: Parts, from_ms: int, to_ms: int) -> Decisions:
    """Build one ranking group per list that was shown in a label window.

    An item's label is the best grade among the events of its user that name the list. Lists from which
    nothing or everything was chosen teach no order and are left out, as are items that the catalogue lacks;
    of more than ``ranker.num_lists`` lists the last ones are kept. Where ``ranker.position`` says that
    positions are read, they are hidden in half of the lists, drawn at random.

    Args:
        events: Event log with ``effective_time``, until the end of the data.
        parts: Parts that were fitted before the window.
        from_ms: Start of the window; milliseconds since the epoch.
        to_ms: End of the window, exclusive.

    Raises:
        LeakageError: A fitted part saw events at or after ``from_ms``.
    """
    for part, fitted_until_ms in parts.fitted_until().items():
        require_fitted_before(part, fitted_until_ms, from_ms)
    lists = _lists(events, parts, from_ms, to_ms)
    random = np.random.default_rng((parts.config.seed, from_ms))
    is_hidden = random.random(lists.height) < 0.5
    found = []
    with progress("reading lists that were shown", lists.height) as advance:
        for described in _described(events, parts, lists, is_hidden.tolist()):
            found.append(described)
            advance(1)
    return _decisions(found, lists[USER_ID].to_list(), parts.config)


def _lists(events: pl.LazyFrame, parts: Parts, from_ms: int, to_ms: int) -> pl.DataFrame:
    """``query_id, user_id, as_of`` and the columns of ``_List`` as lists, in order of time."""
    held = set(events.collect_schema().names())
    if LIST_ID not in held:
        events = events.with_columns(pl.lit(None, pl.String).alias(LIST_ID))
    place = pl.col(POSITION).cast(pl.Int64) if POSITION in held else pl.lit(None, pl.Int64)
    named = events.filter(pl.col(LIST_ID).is_not_null())
    key = [USER_ID, LIST_ID, ITEM_ID]
    grade = grades(parts.config)
    chosen = (
        named.filter(pl.col(EVENT_TYPE).is_in(list(grade)))
        .group_by(key)
        .agg(pl.col(EVENT_TYPE).replace_strict(grade, return_dtype=pl.Int64).max().alias(LABEL))
    )
    position = pl.col(ITEM_ID).replace_strict(parts.catalogue.position, default=-1, return_dtype=pl.Int64)
    label = pl.col(LABEL)
    return (
        named.filter(pl.col(EVENT_TYPE) == IMPRESSION)
        .group_by(key)
        .agg(pl.col(EFFECTIVE_TIME).min().dt.epoch("ms").alias(AS_OF), place.min().alias(_PLACE))
        .join(chosen, on=key, how="left")
        .with_columns(pl.col(_PLACE).fill_null(-1), label.fill_null(0), position.alias(_ITEMS))
        .with_columns(pl.col(AS_OF).min().over(USER_ID, LIST_ID))
        .filter(pl.col(_ITEMS) >= 0, pl.col(AS_OF).is_between(from_ms, to_ms, closed="left"))
        .sort(_ITEMS)
        .group_by(USER_ID, LIST_ID, AS_OF, maintain_order=True)
        .agg(_ITEMS, _PLACE, LABEL)
        .filter(label.list.max() > 0, label.list.min() == 0)
        .sort(AS_OF, USER_ID, LIST_ID)
        .tail(parts.config.ranker.num_lists)
        .with_row_index(QUERY_ID)
        .with_columns(pl.col(QUERY_ID).cast(pl.Int64))
        .collect()
    )


def _described(
    events: pl.LazyFrame, parts: Parts, lists: pl.DataFrame, is_hidden: list[bool]
) -> Iterator[tuple[_List, Float32[np.ndarray, "items features"]]]:
    """Every list with its features, in order of time."""
    if lists.is_empty():
        return
    queries = lists.select(QUERY_ID, USER_ID, AS_OF)
    theirs = events_of(events, queries[USER_ID])
    log = OfflineLog.of(theirs, queries, parts.catalogue, parts.config)

    def describe(query: tuple[int, Moment]) -> tuple[_List, Float32[np.ndarray, "items features"]]:
        row, moment = query
        one = _List(*(lists[name][row].to_numpy() for name in (_ITEMS, _PLACE, LABEL)))
        known = np.where(one.places < 0, np.nan, one.places.astype(np.float64))
        places = None if is_hidden[row] else Places(one.items, known)
        return one, as_ranker_input(online_matrix(replace(moment, places=places), one.items))

    for chunk in queries.iter_slices(_AT_ONCE):
        yield from in_threads(describe, offline_moments(replace(log, queries=chunk), parts, events))


def _decisions(
    found: list[tuple[_List, Float32[np.ndarray, "items features"]]], users: list[str], config: Config
) -> Decisions:
    nothing = np.empty(0, np.int64)
    lists = [one for one, _ in found]
    matrices = [np.empty((0, len(names(config.state))), np.float32), *(matrix for _, matrix in found)]
    return Decisions(
        matrix=np.concatenate(matrices),
        labels=np.concatenate([nothing, *(one.labels for one in lists)]),
        positions=np.concatenate([nothing, *(one.items for one in lists)]),
        groups=np.asarray([len(one.items) for one in lists], np.int64),
        users=users,
        places=np.concatenate([nothing, *(one.places for one in lists)]),
    )
