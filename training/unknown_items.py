"""Past decisions in which a shop's newest items are still unknown.

A log tells next to nothing of items without a past: most of what came within the label windows was known at
their ends, and where nothing came at all a ranker learns that what has no past is never taken. So some users
are met a second time, as if nobody had touched the newest items before.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from jaxtyping import Bool

from features.log import POSITION
from features.registry import require_parts_fitted_before
from recsys.item_history import ItemHistory
from recsys.moment import Parts
from recsys.schema import EFFECTIVE_TIME, ITEM_ID, QUERY_ID, USER_ID
from training.decision_table import describe_labels, empty_table
from training.decisions import Decisions, as_decisions
from training.labels import label_table
from training.offers import Offers

_KEY = [USER_ID, ITEM_ID]


def collect_unknown(
    events: pl.LazyFrame,
    parts: Parts,
    as_of_ms: int,
    to_ms: int,
    *,
    shards: Sequence[pl.LazyFrame] = (),
) -> Decisions:
    """Build ranking groups of what is new to the user, in one label window, without the newest items' past.

    Of the items that were touched before ``as_of_ms``, the ``ranker.unknown_share`` that came last lose their
    events from before it, in the users' histories and in the tables alike; the encoder and its calibration
    stay as they are. ``ranker.num_unknown`` users are met. Such an item is neither a candidate nor a label of
    a user who had had it: nobody has had what is unknown.

    Args:
        events: Event log with ``effective_time``, until the end of the data.
        parts: Parts that were fitted before the window.
        as_of_ms: Start of the window; milliseconds since the epoch.
        to_ms: End of the window, exclusive.
        shards: See ``training.decision_table.describe_labels``.

    Returns:
        The groups; none where no item is unknown or no user is to be met.

    Raises:
        LeakageError: A fitted part saw events at or after ``as_of_ms``.
    """
    require_parts_fitted_before(parts, as_of_ms)
    settings, catalogue = parts.config.ranker, parts.catalogue
    items = newest(parts.tables.history, settings.unknown_share)
    if not (settings.num_unknown and items.any()):
        nothing = empty_table(parts.config)
        return as_decisions(nothing.matrix, nothing.pairs, nothing.users)
    ids = [catalogue.item_ids[position] for position in np.flatnonzero(items).tolist()]
    gone = (pl.col(EFFECTIVE_TIME).dt.epoch("ms") < as_of_ms) & pl.col(ITEM_ID).is_in(ids)
    had = events.filter(gone).select(_KEY).unique().collect()
    labels = label_table(events, parts.config, as_of_ms, to_ms).join(had, on=_KEY, how="anti")
    met = _drawn(labels[USER_ID].unique().sort(), settings.num_unknown, (parts.config.seed, as_of_ms, 2))
    labels = labels.filter(pl.col(USER_ID).is_in(met.implode()))
    without = replace(parts, tables=parts.tables.without(items, catalogue))
    offers = Offers(events, without, as_of_ms)  # what sold no more could still be bought
    left = [shard.filter(~gone) for shard in shards]
    table = describe_labels(events.filter(~gone), labels, without, as_of_ms, offers, shards=left)
    rows = table.orders["new"] & ~_among(table.pairs, table.users, had, catalogue.item_ids)
    return as_decisions(table.matrix[rows], table.pairs.filter(rows), table.users)


def _drawn(users: pl.Series, limit: int, seed: tuple[int, ...]) -> pl.Series:
    chosen = np.random.default_rng(seed).permutation(len(users))[:limit]
    return users.gather(np.sort(chosen))


def newest(history: ItemHistory, share: float) -> Bool[np.ndarray, " items"]:
    """Which of the items that were ever touched are the ``share`` that came last; ties by position."""
    touched = np.flatnonzero(history.first_ms)
    by_age = touched[np.argsort(history.first_ms[touched], kind="stable")]
    found = np.zeros(len(history.first_ms), bool)
    found[by_age[len(by_age) - round(share * len(by_age)) :]] = True
    return found


def _among(
    pairs: pl.DataFrame, users: list[str], had: pl.DataFrame, item_ids: list[str]
) -> Bool[np.ndarray, " pairs"]:
    """Whether the user of each pair is one of those who had had the item."""
    ours = pl.DataFrame(
        {
            USER_ID: pl.Series(users, dtype=pl.String).gather(pairs[QUERY_ID]),
            ITEM_ID: pl.Series(item_ids, dtype=pl.String).gather(pairs[POSITION]),
        }
    )
    marked = ours.join(had.with_columns(had=True), on=_KEY, how="left", maintain_order="left")
    found: Bool[np.ndarray, " pairs"] = marked["had"].fill_null(value=False).to_numpy()
    return found
