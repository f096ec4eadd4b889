"""A user's history by item, at a moment: what candidates and features read."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from recsys.catalogue import Catalogue
from recsys.config import Config
from recsys.schema import ENGAGEMENTS, EVENT_TYPE_CODES, EVENT_TYPES, IMPRESSION
from recsys.user_state import UserState, recent_rows


@dataclass(frozen=True, eq=False)
class Recent:
    """The most recent distinct items, newest first."""

    positions: Int64[np.ndarray, " recent"]
    event_types: UInt8[np.ndarray, " recent"]
    last_ms: Int64[np.ndarray, " recent"]
    counts: Int64[np.ndarray, " recent"]


_MOST_SHOWN = 200
_ENGAGEMENT_CODES = [EVENT_TYPE_CODES[name] for name in ENGAGEMENTS]


@dataclass(frozen=True, eq=False)
class Shown:
    """Items that the user was shown, by catalogue position, ascending: the last 200 distinct ones."""

    positions: Int64[np.ndarray, " items"]
    impressions: Int64[np.ndarray, " items"]
    """Times shown, at least 1."""
    engaged: Int64[np.ndarray, " items"]
    """Times engaged with by the commonest kind of engagement, at most ``impressions``."""


@dataclass(frozen=True, eq=False)
class UserItems:
    """Items the user touched, by catalogue position, ascending; event types are weighted together."""

    positions: Int64[np.ndarray, " items"]
    engagement: Float64[np.ndarray, "items half_lives"]
    """Weighted decayed sums at the moment."""
    counts: Int64[np.ndarray, " items"]
    """Events whose type has a positive weight."""
    first_ms: Int64[np.ndarray, " items"]
    last_ms: Int64[np.ndarray, " items"]
    basket_ms: Int64[np.ndarray, " baskets"]
    """Distinct times of purchases, ascending."""
    recent: Recent
    shown: Shown

    @property
    def latest_ms(self) -> int:
        """Time of the latest event, or 0 when there is none."""
        return int(self.last_ms.max(initial=0))


def user_items(state: UserState, catalogue: Catalogue, config: Config, as_of_ms: int) -> UserItems:
    """Read a user's state at a moment: expired pairs and unknown items left out, event types weighted.

    Args:
        state: The user's state; every event in it lies before ``as_of_ms``.
        catalogue: The items.
        config: Weights, expiry and the length of the recent history.
        as_of_ms: The moment, milliseconds since the epoch.
    """
    state = state.live(as_of_ms, config.state)
    every_position = catalogue.positions(state.item_ids)
    weights = np.asarray([config.state.event_weights.get(name, 0.0) for name in EVENT_TYPES])
    known = (every_position >= 0) & (weights[state.event_types] != 0)
    row_positions, row_types = every_position[known], state.event_types[known]
    row_first, row_last, row_counts = (
        state.first_ms[known],
        state.last_ms[known],
        state.counts[known].astype(np.int64),
    )
    row_weights = weights[row_types]
    liked = row_weights > 0
    by_item = np.argsort(row_positions, kind="stable")
    in_order = row_positions[by_item]
    starts = np.flatnonzero(np.diff(in_order, prepend=-1))
    weighted = row_weights[:, None] * state.decayed(as_of_ms)[known]
    newest = np.flatnonzero(liked)[
        recent_rows(row_positions[liked], row_types[liked], row_last[liked], config.encoder.history_length)
    ]
    return UserItems(
        positions=in_order[starts],
        engagement=_by_item(np.add, weighted, by_item, starts),
        counts=_by_item(np.add, np.where(liked, row_counts, 0), by_item, starts),
        first_ms=_by_item(np.minimum, row_first, by_item, starts),
        last_ms=_by_item(np.maximum, row_last, by_item, starts),
        basket_ms=state.basket_ms,
        recent=Recent(row_positions[newest], row_types[newest], row_last[newest], row_counts[newest]),
        shown=_shown(state, every_position),
    )


def _by_item(
    combine: np.ufunc,
    values: np.ndarray,
    by_item: Int64[np.ndarray, " rows"],
    starts: Int64[np.ndarray, " items"],
) -> np.ndarray:
    """Values of rows, combined per item."""
    if not len(starts):
        return values
    combined: np.ndarray = combine.reduceat(values[by_item], starts, axis=0)
    return combined


def _shown(state: UserState, row_positions: Int64[np.ndarray, " rows"]) -> Shown:
    rows = np.flatnonzero((state.event_types == EVENT_TYPE_CODES[IMPRESSION]) & (row_positions >= 0))
    newest_first = np.lexsort((row_positions[rows], -state.last_ms[rows]))
    rows = rows[newest_first[:_MOST_SHOWN]]
    rows = rows[np.argsort(row_positions[rows])]
    positions, impressions = row_positions[rows], state.counts[rows].astype(np.int64)
    engaged = np.zeros(len(rows), np.int64)
    if len(rows):
        chosen = np.flatnonzero(np.isin(state.event_types, _ENGAGEMENT_CODES))
        at = np.minimum(np.searchsorted(positions, row_positions[chosen]), len(positions) - 1)
        chosen, at = (found[positions[at] == row_positions[chosen]] for found in (chosen, at))
        np.maximum.at(engaged, at, state.counts[chosen].astype(np.int64))
    return Shown(positions, impressions, np.minimum(engaged, impressions))
