"""What the log holds of one user or one item before a moment."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID

_EVENTS = "events"


@dataclass(frozen=True)
class UserHistory:
    """A user's events, and what becomes of them when they are read."""

    events: dict[str, int]
    """Events by type, most first."""
    last_event_time: datetime | None
    num_items: int
    """Distinct items."""
    num_unknown_items: int
    """Of these, how many the catalogue does not hold; their events are not read."""
    num_rows: int
    """Distinct pairs of item and event type: what the state remembers."""
    num_expired_rows: int
    """Of these, how many had their last event too long ago to be read."""
    num_unweighted_events: int
    """Events of types without a weight, which are not read."""

    @property
    def num_events(self) -> int:
        """All events."""
        return sum(self.events.values())


@dataclass(frozen=True)
class ItemHistory:
    """An item's events, whoever's they are."""

    events: dict[str, int]
    """Events by type, most first."""
    last_event_time: datetime | None
    num_users: int
    """Distinct users."""


def user_history(
    events: pl.LazyFrame, user_id: str, catalogue: Catalogue, config: StateConfig, as_of_ms: int
) -> UserHistory:
    """Read one user's events that lie strictly before a moment.

    Args:
        events: Event log with ``effective_time``.
        user_id: The user.
        catalogue: The items that are known.
        config: Weights and expiry.
        as_of_ms: The moment, milliseconds since the epoch.
    """
    mine = events.filter(pl.col(USER_ID) == user_id, _before(as_of_ms))
    rows = mine.group_by(ITEM_ID, EVENT_TYPE).agg(pl.len().alias(_EVENTS), _last()).collect()
    oldest_ms = as_of_ms - round(config.max_age_days * DAY_MS)
    items = rows[ITEM_ID].unique()
    unweighted = [name for name in rows[EVENT_TYPE].unique() if not config.event_weights.get(name)]
    return UserHistory(
        events=_by_type(rows),
        last_event_time=_latest(rows),
        num_items=len(items),
        num_unknown_items=int((catalogue.positions(items.to_list()) < 0).sum()),
        num_rows=rows.height,
        num_expired_rows=int((rows[EFFECTIVE_TIME].dt.epoch("ms") < oldest_ms).sum()),
        num_unweighted_events=int(rows.filter(pl.col(EVENT_TYPE).is_in(unweighted))[_EVENTS].sum()),
    )


def item_history(events: pl.LazyFrame, item_id: str, as_of_ms: int) -> ItemHistory:
    """Count one item's events that lie strictly before a moment.

    Args:
        events: Event log with ``effective_time``.
        item_id: The item.
        as_of_ms: The moment, milliseconds since the epoch.
    """
    rows = (
        events.filter(pl.col(ITEM_ID) == item_id, _before(as_of_ms))
        .group_by(USER_ID, EVENT_TYPE)
        .agg(pl.len().alias(_EVENTS), _last())
        .collect()
    )
    return ItemHistory(_by_type(rows), _latest(rows), rows[USER_ID].n_unique())


def recent_users(events: pl.LazyFrame, as_of_ms: int, limit: int) -> list[str]:
    """The users whose last event before a moment is newest; ties by id."""
    return (
        events.filter(_before(as_of_ms))
        .group_by(USER_ID)
        .agg(_last())
        .sort(EFFECTIVE_TIME, USER_ID, descending=[True, False])
        .head(limit)
        .collect()[USER_ID]
        .to_list()
    )


def _before(as_of_ms: int) -> pl.Expr:
    return pl.col(EFFECTIVE_TIME) < pl.lit(as_of_ms, pl.Int64).cast(TIMESTAMP)


def _last() -> pl.Expr:
    return pl.col(EFFECTIVE_TIME).max()


def _by_type(rows: pl.DataFrame) -> dict[str, int]:
    counted = rows.group_by(EVENT_TYPE).agg(pl.col(_EVENTS).sum())
    return dict(counted.sort(_EVENTS, EVENT_TYPE, descending=[True, False]).iter_rows())


def _latest(rows: pl.DataFrame) -> datetime | None:
    latest = rows[EFFECTIVE_TIME].max()
    return latest if isinstance(latest, datetime) else None
