"""What any model has to beat: recent popularity, and everybody's own items by decayed frequency.

Both read the event log up to ``as_of`` and nothing else. Their settings are tuned on the window before it, so
that the comparison is with the baselines at their best. History frames need ``user_id``, ``item_id``,
``event_type`` and ``effective_time`` (datetime[ms, UTC]); events count by their type's weight, and only types
with a positive weight count at all.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import polars as pl

from recsys.config import StateConfig
from recsys.errors import DataError
from recsys.metrics import per_user, require_columns
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, RANK, TIMESTAMP, USER_ID

DECAYS_PER_WEEK = (0.85, 0.88, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
"""Weekly decays that tuning tries."""
POPULARITY_DAYS = (7, 14, 28, 56)
"""Popularity windows that tuning tries, in days."""
_DECIMALS = 9
"""Sums are rounded to this many decimals, so that equal sums stay equal whatever the order of adding."""


@dataclass(frozen=True)
class FrequencySettings:
    """What tuning chooses."""

    decay_per_week: float = 0.95
    """Factor in (0, 1] by which an event's weight shrinks per week of age."""
    popularity_days: int = 28
    """Length of the window that popularity looks back on, in days."""


def popular(
    history: pl.DataFrame, as_of_ms: int, days: int = 28, weights: Mapping[str, float] | None = None
) -> list[str]:
    """Every item of the last ``days`` days, most popular first; ties by item id.

    An item's popularity is the sum, over the users who touched it, of the weight of their strongest event:
    people are counted, not events, so that one keen user does not make a trend.

    Args:
        history: Events, see the module.
        as_of_ms: Only events strictly before this count; milliseconds since the epoch.
        days: Length of the window in days.
        weights: Weight by event type; the default is the configuration's.
    """
    return _popularity(history, as_of_ms, days, weights)[ITEM_ID].to_list()


def popular_lists(
    history: pl.DataFrame,
    users: pl.Series,
    as_of_ms: int,
    days: int = 28,
    *,
    depth: int = 10,
    novel: bool = False,
    weights: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """The most popular items as everybody's ranked list.

    Args:
        history: Events, see the module.
        users: Ids of the users who get a list.
        as_of_ms: Only events strictly before this count; milliseconds since the epoch.
        days: Length of the popularity window in days.
        depth: Longest list.
        novel: Leave out what the user had before, by an event of any type.
        weights: Weight by event type; the default is the configuration's.

    Returns:
        ``user_id``, ``item_id``, ``rank`` (1 = best).
    """
    items = popular(history, as_of_ms, days, weights)
    seen = _items_by_user(_visible(history, as_of_ms), users) if novel else {}
    return _ranked({user: _filled((), seen.get(user, ()), items, depth) for user in users.unique().to_list()})


def personal_frequency(
    history: pl.DataFrame,
    users: pl.Series,
    as_of_ms: int,
    decay_per_week: float = 0.95,
    popularity_days: int = 28,
    *,
    depth: int = 10,
    novel: bool = False,
    weights: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """Each user's own items by decayed frequency, with popular items behind them.

    An item's score is ``sum over the user's events of weight * decay_per_week^(age in weeks)``; equal scores
    are ordered by popularity, then by item id.

    Args:
        history: Events, see the module.
        users: Ids of the users who get a list.
        as_of_ms: Only events strictly before this count; milliseconds since the epoch.
        decay_per_week: Factor in (0, 1] per week of age.
        popularity_days: Length of the popularity window in days.
        depth: Longest list.
        novel: Leave out what the user had before; the list is then popularity alone.
        weights: Weight by event type; the default is the configuration's.

    Returns:
        ``user_id``, ``item_id``, ``rank`` (1 = best).
    """
    if novel:
        return popular_lists(
            history, users, as_of_ms, popularity_days, depth=depth, novel=True, weights=weights
        )
    popularity = _popularity(history, as_of_ms, popularity_days, weights)
    events = _weighted(_visible(history, as_of_ms), weights)
    scores = _own_scores(_of_users(events, users), as_of_ms, decay_per_week)
    own = _items_by_user(_best_first(scores, popularity), users)
    items = popularity[ITEM_ID].to_list()
    return _ranked(
        {u: _filled(own.get(u, ()), own.get(u, ()), items, depth) for u in users.unique().to_list()}
    )


def tune_personal_frequency(
    history: pl.DataFrame,
    as_of_ms: int,
    validation_days: int = 28,
    weights: Mapping[str, float] | None = None,
) -> FrequencySettings:
    """Choose the popularity window and the decay on the days before ``as_of_ms``.

    Everything is fitted before the validation window and scored in it by NDCG@10: the popularity window on
    the items new to the user, which is where popularity decides, then the decay on all items. What happens at
    or after ``as_of_ms`` is not looked at. Ties go to the earlier value of the grid.

    Raises:
        DataError: There are no events in the validation window, or none before it.
    """
    known = _visible(history, as_of_ms)
    start_ms = as_of_ms - validation_days * DAY_MS
    truth = _weighted(_since(known, start_ms), weights).select(USER_ID, ITEM_ID).unique()
    before = _visible(known, start_ms)
    if truth.is_empty() or before.is_empty():
        raise DataError(
            f"tuning needs events in the {validation_days} days before the cut and before those, got "
            f"{truth.height} and {before.height}; use a shorter validation window or the default settings"
        )
    users = truth[USER_ID].unique().sort()
    new = truth.join(before, on=[USER_ID, ITEM_ID], how="anti")

    def popularity_ndcg(days: int) -> float:
        lists = popular_lists(before, users, start_ms, days, novel=True, weights=weights)
        return _mean_ndcg(lists, new, users)

    days = max(POPULARITY_DAYS, key=popularity_ndcg)

    def frequency_ndcg(decay: float) -> float:
        lists = personal_frequency(before, users, start_ms, decay, days, weights=weights)
        return _mean_ndcg(lists, truth, users)

    return FrequencySettings(max(DECAYS_PER_WEEK, key=frequency_ndcg), days)


def _visible(history: pl.DataFrame, as_of_ms: int) -> pl.DataFrame:
    require_columns(history, USER_ID, ITEM_ID, EVENT_TYPE, EFFECTIVE_TIME)
    return history.filter(pl.col(EFFECTIVE_TIME) < _time(as_of_ms))


def _since(history: pl.DataFrame, start_ms: int) -> pl.DataFrame:
    return history.filter(pl.col(EFFECTIVE_TIME) >= _time(start_ms))


def _time(milliseconds: int) -> pl.Expr:
    return pl.lit(milliseconds, pl.Int64).cast(TIMESTAMP)


def _weighted(events: pl.DataFrame, weights: Mapping[str, float] | None) -> pl.DataFrame:
    """Events of positive weight, with the weight as ``weight``."""
    by_type = StateConfig().event_weights if weights is None else weights
    positive = {name: float(weight) for name, weight in by_type.items() if weight > 0}
    weight = pl.col(EVENT_TYPE).cast(pl.String).replace_strict(positive, default=0.0, return_dtype=pl.Float64)
    return events.with_columns(weight=weight).filter(pl.col("weight") > 0)


def _of_users(events: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    return events.join(users.alias(USER_ID).unique().to_frame(), on=USER_ID, how="semi")


def _popularity(
    history: pl.DataFrame, as_of_ms: int, days: int, weights: Mapping[str, float] | None
) -> pl.DataFrame:
    """``item_id`` and ``popularity`` of what was touched in the window, most popular first."""
    recent = _weighted(_since(_visible(history, as_of_ms), as_of_ms - days * DAY_MS), weights)
    strongest = recent.group_by(USER_ID, ITEM_ID).agg(pl.col("weight").max())
    popularity = strongest.group_by(ITEM_ID).agg(popularity=pl.col("weight").sum().round(_DECIMALS))
    return popularity.sort("popularity", ITEM_ID, descending=[True, False])


def _own_scores(events: pl.DataFrame, as_of_ms: int, decay_per_week: float) -> pl.DataFrame:
    weeks = (as_of_ms - pl.col(EFFECTIVE_TIME).dt.epoch("ms")) / (7 * DAY_MS)
    score = (pl.col("weight") * pl.lit(decay_per_week).pow(weeks)).sum().round(_DECIMALS)
    return events.group_by(USER_ID, ITEM_ID).agg(score=score)


def _best_first(scores: pl.DataFrame, popularity: pl.DataFrame) -> pl.DataFrame:
    known = scores.join(popularity, on=ITEM_ID, how="left").with_columns(pl.col("popularity").fill_null(0.0))
    return known.sort("score", "popularity", ITEM_ID, descending=[True, True, False])


def _items_by_user(frame: pl.DataFrame, users: pl.Series) -> dict[str, list[str]]:
    """Each user's distinct items in the frame's order."""
    items = _of_users(frame, users).group_by(USER_ID).agg(pl.col(ITEM_ID).unique(maintain_order=True))
    return dict(items.iter_rows())


def _filled(own: Iterable[str], leave_out: Collection[str], items: Iterable[str], depth: int) -> list[str]:
    """The first ``depth`` of ``own``, then of ``items`` without those in ``leave_out``."""
    first = list(islice(own, depth))
    blocked = set(leave_out)
    behind = (item for item in items if item not in blocked)
    return first + list(islice(behind, depth - len(first)))


def _ranked(items_by_user: Mapping[str, list[str]]) -> pl.DataFrame:
    frame = pl.DataFrame(
        {USER_ID: list(items_by_user), ITEM_ID: list(items_by_user.values())},
        schema={USER_ID: pl.String, ITEM_ID: pl.List(pl.String)},
    ).sort(USER_ID)
    exploded = frame.explode(ITEM_ID, empty_as_null=False)
    return exploded.with_columns(pl.int_range(1, pl.len() + 1).over(USER_ID).alias(RANK))


def _mean_ndcg(lists: pl.DataFrame, truth: pl.DataFrame, users: pl.Series) -> float:
    scores = per_user(lists, truth, users)["ndcg@10"]
    return 0.0 if scores.is_empty() else float(scores.to_numpy().mean())
