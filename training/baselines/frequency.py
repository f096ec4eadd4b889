"""Recent popularity, and everybody's own items by decayed frequency: the two baselines that cost nothing.

Both read the event log up to ``as_of`` and nothing else; history frames are those of
``training.baselines.events``. Their settings are tuned on the window before it, so that the comparison is
with the baselines at their best.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from recsys.errors import DataError
from recsys.schema import DAY_MS, EFFECTIVE_TIME, ITEM_ID, USER_ID
from training.baselines.events import (
    DECIMALS,
    POPULARITY,
    WEIGHT,
    of_users,
    popularity,
    since,
    visible,
    weighted,
)
from training.baselines.lists import filled, items_by_user, mean_ndcg, ranked

DECAYS_PER_WEEK = (0.85, 0.88, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
"""Weekly decays that tuning tries."""
POPULARITY_DAYS = (7, 14, 28, 56)
"""Popularity windows that tuning tries, in days."""


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

    Popularity is that of ``training.baselines.events.popularity``.

    Args:
        history: Events, see the module.
        as_of_ms: Only events strictly before this count; milliseconds since the epoch.
        days: Length of the window in days.
        weights: Weight by event type; the default is the configuration's.
    """
    return popularity(history, as_of_ms, days, weights)[ITEM_ID].to_list()


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
    seen = items_by_user(visible(history, as_of_ms), users) if novel else {}
    return ranked({user: filled((), seen.get(user, ()), items, depth) for user in users.unique().to_list()})


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
    popular_now = popularity(history, as_of_ms, popularity_days, weights)
    events = weighted(visible(history, as_of_ms), weights)
    scores = _own_scores(of_users(events, users), as_of_ms, decay_per_week)
    own = items_by_user(_best_first(scores, popular_now), users)
    items = popular_now[ITEM_ID].to_list()
    return ranked({u: filled(own.get(u, ()), own.get(u, ()), items, depth) for u in users.unique().to_list()})


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
    known = visible(history, as_of_ms)
    start_ms = as_of_ms - validation_days * DAY_MS
    truth = weighted(since(known, start_ms), weights).select(USER_ID, ITEM_ID).unique()
    before = visible(known, start_ms)
    if truth.is_empty() or before.is_empty():
        raise DataError(
            f"tuning needs events in the {validation_days} days before the cut and before those, got "
            f"{truth.height} and {before.height}; use a shorter validation window or the default settings"
        )
    users = truth[USER_ID].unique().sort()
    new = truth.join(before, on=[USER_ID, ITEM_ID], how="anti")

    def popularity_ndcg(days: int) -> float:
        lists = popular_lists(before, users, start_ms, days, novel=True, weights=weights)
        return mean_ndcg(lists, new, users)

    days = max(POPULARITY_DAYS, key=popularity_ndcg)

    def frequency_ndcg(decay: float) -> float:
        lists = personal_frequency(before, users, start_ms, decay, days, weights=weights)
        return mean_ndcg(lists, truth, users)

    return FrequencySettings(max(DECAYS_PER_WEEK, key=frequency_ndcg), days)


def _own_scores(events: pl.DataFrame, as_of_ms: int, decay_per_week: float) -> pl.DataFrame:
    weeks = (as_of_ms - pl.col(EFFECTIVE_TIME).dt.epoch("ms")) / (7 * DAY_MS)
    score = (pl.col(WEIGHT) * pl.lit(decay_per_week).pow(weeks)).sum().round(DECIMALS)
    return events.group_by(USER_ID, ITEM_ID).agg(score=score)


def _best_first(scores: pl.DataFrame, popular_now: pl.DataFrame) -> pl.DataFrame:
    known = scores.join(popular_now, on=ITEM_ID, how="left").with_columns(pl.col(POPULARITY).fill_null(0.0))
    return known.sort("score", POPULARITY, ITEM_ID, descending=[True, True, False])
