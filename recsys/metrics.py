"""Ranking metrics per user, and their uncertainty over users.

All metrics use binary relevance: an item is relevant to a user when the pair is in the truth. They are
computed per user first, so that two systems can be compared user by user, and are averaged afterwards. What
is compared with what (baselines, slices, ablations) belongs in ``training.report``.

Frames:

========= ================== ===================================================================
frame     columns            meaning
========= ================== ===================================================================
lists     user_id, item_id,  ranked lists; rank ascending, 1 = best. Gaps in the ranks are closed
          rank               and of a repeated item the best rank counts
truth     user_id, item_id   the relevant pairs; repeated pairs count once
========= ================== ===================================================================
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64

from recsys.errors import DataError
from recsys.schema import ITEM_ID, RANK, USER_ID

RESAMPLES = 1000
"""Bootstrap resamples per interval."""
CONFIDENCE = 0.95
"""Two-sided coverage of every interval."""
_DRAWS_AT_ONCE = 1 << 15
"""Draws in memory together: so many stay in the cache."""
_THEIRS = "_theirs"


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval, in the value's own unit."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """The three numbers by name, as reports hold them."""
        return asdict(self)


def per_user(lists: pl.DataFrame, truth: pl.DataFrame, users: pl.Series, k: int = 10) -> pl.DataFrame:
    """Score the top ``k`` of every list.

    With ``rel_i`` = 1 where the item at rank i is relevant, ``R`` relevant items and ``m = min(k, R)``::

        ndcg@k   = sum_{i<=k} rel_i / log2(i + 1)  /  sum_{i<=m} 1 / log2(i + 1)
        recall@k = sum_{i<=k} rel_i / m
        mrr@k    = 1 / (lowest i <= k with rel_i = 1), 0 without one
        hit@k    = 1 where any rel_i = 1 for i <= k, else 0

    Source: Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 20(4), 2002, with
    binary gains, the discount ``log2(i + 1)`` at every rank (the paper leaves ranks below the base
    undiscounted) and the ideal list cut at k. Voorhees, "The TREC-8 question answering track report", 1999,
    for the reciprocal rank. Recall divides by m instead of R, so that a perfect list scores 1.

    Args:
        lists: Ranked lists, see the module's table. A user without a list scores 0.
        truth: Relevant pairs.
        users: Ids of the users to score; those without any truth are left out.
        k: How many of the best ranks count, at least 1.

    Returns:
        ``user_id`` and the four metrics named as above, each in [0, 1]; sorted by user.

    Raises:
        DataError: A column is missing.

    >>> lists = pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "y"], "rank": [1, 2]})
    >>> truth = pl.DataFrame({"user_id": ["a"], "item_id": ["y"]})
    >>> [round(value, 4) for value in per_user(lists, truth, truth["user_id"]).row(0)[1:]]
    [0.6309, 1.0, 0.5, 1.0]
    """
    pairs = _pairs(truth).join(users.alias(USER_ID).unique().to_frame(), on=USER_ID, how="semi")
    scored = _hits(lists, pairs, k)
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    possible = scored["possible"].to_numpy()
    return scored.select(
        USER_ID,
        (pl.col("gain") / pl.Series(ideal[possible - 1])).alias(f"ndcg@{k}"),
        (pl.col("hits") / pl.col("possible")).alias(f"recall@{k}"),
        (1 / pl.col("first")).fill_null(0.0).alias(f"mrr@{k}"),
        (pl.col("hits") > 0).cast(pl.Float64).alias(f"hit@{k}"),
    )


def recall_at(candidates: pl.DataFrame, truth: pl.DataFrame, k: int = 500) -> pl.DataFrame:
    """Share of what each user wanted that is among the first ``k`` candidates: hits / min(k, relevant).

    Args:
        candidates: Candidate lists in the form of ranked lists, see the module's table.
        truth: Relevant pairs; every user in it is scored, without candidates with 0.
        k: How many candidates count, at least 1.

    Returns:
        ``user_id`` and ``recall@k`` in [0, 1]; sorted by user.

    Raises:
        DataError: A column is missing.
    """
    scored = _hits(candidates, _pairs(truth), k)
    return scored.select(USER_ID, (pl.col("hits") / pl.col("possible")).alias(f"recall@{k}"))


def top(lists: pl.DataFrame, k: int) -> pl.DataFrame:
    """Cut ranked lists to ``k`` distinct items each; ranks become 1, 2, ... without gaps.

    Equal ranks are ordered by item id, so the result does not depend on the order of the rows.

    Raises:
        DataError: A column is missing.
        ValueError: ``k`` is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    require_columns(lists, USER_ID, ITEM_ID, RANK)
    best = lists.group_by(USER_ID, ITEM_ID).agg(pl.col(RANK).min()).sort(USER_ID, RANK, ITEM_ID)
    ranks = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(USER_ID)
    return best.with_columns(ranks.alias(RANK)).filter(pl.col(RANK) <= k)


def coverage(lists: pl.DataFrame, num_items: int, k: int = 10) -> float:
    """Share of the catalogue that is in anybody's top ``k``, in [0, 1].

    >>> coverage(pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "x"], "rank": [1, 1]}), num_items=4)
    0.25
    """
    return top(lists, k)[ITEM_ID].n_unique() / num_items


def interval(values: pl.DataFrame, seed: int) -> dict[str, Interval]:
    """Mean over users of every metric, with its percentile bootstrap interval.

    Whole users are drawn with replacement, all metrics of one user together. Few resamples are held at a
    time, so memory grows with the number of users only.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.

    Args:
        values: ``user_id`` (each once) and one column per metric, as ``per_user`` returns.
        seed: Seed of the draws; equal seeds and users give equal intervals.

    Returns:
        Interval per metric; empty when there are no users.
    """
    metrics = [name for name in values.columns if name != USER_ID]
    if values.is_empty():
        return {}
    table = values.sort(USER_ID).select(metrics).to_numpy().astype(np.float64)
    draws = np.concatenate([weights @ table for weights in _resamples(len(table), seed)]) / len(table)
    low, high = np.quantile(draws, _quantiles(), axis=0)
    means = table.mean(axis=0)
    return {name: Interval(float(means[j]), float(low[j]), float(high[j])) for j, name in enumerate(metrics)}


def paired_difference(ours: pl.DataFrame, theirs: pl.DataFrame, seed: int) -> dict[str, Interval]:
    """Mean over users of ``ours - theirs`` for every metric that both hold, with its bootstrap interval.

    Pairing takes the variation between users out of the comparison: an interval that excludes 0 is a
    difference that these users show consistently.

    Args:
        ours: Per-user metrics, see ``per_user``.
        theirs: The same of another system, for the same users.
        seed: Seed of the draws.

    Raises:
        ValueError: The two frames hold different users.
    """
    both = ours.join(theirs, on=USER_ID, how="inner", suffix=_THEIRS, validate="1:1")
    if both.height != ours.height or both.height != theirs.height:
        raise ValueError(
            f"a paired difference needs the same users on both sides, got {ours.height} and {theirs.height} "
            f"with {both.height} in common; score both with the same truth"
        )
    metrics = [name for name in ours.columns if name != USER_ID and name in theirs.columns]
    return interval(both.select(USER_ID, *[pl.col(m) - pl.col(m + _THEIRS) for m in metrics]), seed)


def coverage_interval(lists: pl.DataFrame, num_items: int, seed: int, k: int = 10) -> Interval:
    """Coverage with a bootstrap interval over the users that have a list.

    A resample holds fewer distinct users than there are and so covers less. The draws are therefore moved by
    their mean's distance from the value: the interval says how far coverage varies, around the value itself.

    Raises:
        DataError: A column is missing.
    """
    best = top(lists, k)
    users, items = (best[name].rank("dense").to_numpy().astype(np.int64) - 1 for name in (USER_ID, ITEM_ID))
    if not users.size:
        return Interval(0.0, 0.0, 0.0)
    draws = np.array(
        [
            np.count_nonzero(np.bincount(items[drawn]))
            for weights in _resamples(int(users.max()) + 1, seed)
            for drawn in weights[:, users] > 0
        ]
    )
    value = (int(items.max()) + 1) / num_items
    low, high = np.quantile(draws - draws.mean(), _quantiles()) / num_items
    return Interval(value, max(0.0, value + float(low)), min(1.0, value + float(high)))


def require_columns(frame: pl.DataFrame, *columns: str) -> None:
    """Check that a frame has the columns that a metric reads.

    Raises:
        DataError: One is missing.
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(
            f"expected the columns {', '.join(columns)}, got {', '.join(frame.columns) or 'none'}; "
            f"add {', '.join(missing)}"
        )


def _quantiles() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def _resamples(num_users: int, seed: int) -> Iterator[Float64[np.ndarray, "resamples users"]]:
    """How often each user is drawn, once per resample; as many resamples together as stay small."""
    random = np.random.default_rng(seed)
    most = max(1, _DRAWS_AT_ONCE // num_users)
    for start in range(0, RESAMPLES, most):
        count = min(most, RESAMPLES - start)
        drawn = random.integers(0, num_users, (count, num_users)) + num_users * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * num_users).astype(np.float64)
        yield weights.reshape(count, num_users)


def _pairs(truth: pl.DataFrame) -> pl.DataFrame:
    require_columns(truth, USER_ID, ITEM_ID)
    return truth.select(USER_ID, ITEM_ID).unique()


def _hits(lists: pl.DataFrame, pairs: pl.DataFrame, k: int) -> pl.DataFrame:
    """Per user of ``pairs``: possible hits, hits, their gain, and the rank of the first (null: none)."""
    found = (
        top(lists, k)
        .join(pairs, on=[USER_ID, ITEM_ID], how="semi")
        .group_by(USER_ID)
        .agg(hits=pl.len(), gain=(1 / (pl.col(RANK) + 1).log(2)).sum(), first=pl.col(RANK).min())
    )
    wanted = pairs.group_by(USER_ID).agg(possible=pl.len().clip(upper_bound=k))
    scored = wanted.join(found, on=USER_ID, how="left").sort(USER_ID)
    return scored.with_columns(pl.col("hits", "gain").fill_null(0))
