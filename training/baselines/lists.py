"""Ranked lists: cut from scores, filled up with popular items, and scored."""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice, pairwise

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64
from scipy import sparse

from recsys.metrics import per_user
from recsys.schema import ITEM_ID, RANK, USER_ID
from training.baselines.events import of_users


def items_by_user(frame: pl.DataFrame, users: pl.Series) -> dict[str, list[str]]:
    """Each user's distinct items in the frame's order."""
    items = of_users(frame, users).group_by(USER_ID).agg(pl.col(ITEM_ID).unique(maintain_order=True))
    return dict(items.iter_rows())


def filled(own: Iterable[str], leave_out: Collection[str], items: Iterable[str], depth: int) -> list[str]:
    """The first ``depth`` of ``own``, then of ``items`` without those in ``leave_out``."""
    first = list(islice(own, depth))
    blocked = set(leave_out)
    behind = (item for item in items if item not in blocked)
    return first + list(islice(behind, depth - len(first)))


def ranked(items_by_user: Mapping[str, list[str]]) -> pl.DataFrame:
    """``user_id``, ``item_id``, ``rank`` (1 = best) of lists that are best first; sorted by user."""
    frame = pl.DataFrame(
        {USER_ID: list(items_by_user), ITEM_ID: list(items_by_user.values())},
        schema={USER_ID: pl.String, ITEM_ID: pl.List(pl.String)},
    ).sort(USER_ID)
    exploded = frame.explode(ITEM_ID, empty_as_null=False)
    return exploded.with_columns(pl.int_range(1, pl.len() + 1).over(USER_ID).alias(RANK))


def mean_ndcg(lists: pl.DataFrame, truth: pl.DataFrame, users: pl.Series) -> float:
    """NDCG@10, mean over the users who have a truth; 0 when nobody has."""
    scores = per_user(lists, truth, users)["ndcg@10"]
    return 0.0 if scores.is_empty() else float(scores.to_numpy().mean())


def among_best(scores: Float32[np.ndarray, "rows columns"], number: int) -> Bool[np.ndarray, "rows columns"]:
    """Where a row's ``number`` highest scores above 0 are; more where scores equal the last of them."""
    if scores.shape[1] <= number:
        return scores > 0
    # negated, because a partition takes ten times longer when a long run of zeros lies below its place
    last = -np.partition(-scores, number - 1, axis=1)[:, number - 1, None]
    return (scores >= last) & (scores > 0)


def best_items(
    scores: Float32[np.ndarray, "users columns"],
    columns: Int64[np.ndarray, " columns"],
    depth: int,
    beyond: sparse.csr_array | None = None,
) -> list[Int64[np.ndarray, " best"]]:
    """The ``depth`` items of the highest scores above 0 for each user, best first, equal scores by number.

    Args:
        scores: Scores of some items.
        columns: The numbers of these items.
        depth: Longest list, at least 1.
        beyond: (users, all items): scores of items that are not among ``columns``, if there are any.
    """
    users, places = np.nonzero(among_best(scores, depth))
    found, items = scores[users, places], columns[places]
    if beyond is not None:
        more = beyond.tocoo()
        users, items = np.concatenate([users, more.row]), np.concatenate([items, more.col])
        found = np.concatenate([found, more.data])
    order = np.lexsort((items, -found, users))
    starts = np.searchsorted(users[order], np.arange(len(scores) + 1))
    return [items[order[start:end]][:depth] for start, end in pairwise(starts)]
