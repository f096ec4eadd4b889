"""Which of two interleaved rankings users prefer: clicks credited to the team that picked the item.

A list is won by the team with more credited clicks. ``delta = (wins_a + ties / 2) / lists - 1/2`` describes
the preference (Chapelle, Joachims, Radlinski and Yue (2012), *Large-Scale Validation and Analysis of
Interleaved Search Evaluation*, eq. 1, over all lists instead of those that were clicked). The verdict is by
user, since a user's lists depend on each other: one sample, each user's mean of ``clicks_a - clicks_b`` per
list, see ``recsys.experiments.one_sample``. The binomial sign test on users is a check that needs no
normality; it holds for one look.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy import stats

from recsys.errors import DataError
from recsys.experiments.definition import Analysis
from recsys.experiments.one_sample import one_sample
from recsys.schema import ITEM_ID, LIST_ID, USER_ID

TEAMS, ITEM_IDS = "teams", "item_ids"


@dataclass(frozen=True)
class Preference:
    """What the clicks on interleaved lists say."""

    num_lists: int
    num_users: int
    wins_a: int
    """Lists on which ``a`` got more clicks."""
    wins_b: int
    ties: int
    """Lists without a click, or with equally many."""
    clicks_a: int
    clicks_b: int
    delta: float
    """From -1/2, all for ``b``, to 1/2, all for ``a``."""
    credit: float
    """Mean over users of the mean over their lists of ``clicks_a - clicks_b``."""
    std_error: float
    low: float
    """Of ``credit``, with ``high`` its confidence interval at ``1 - alpha``."""
    high: float
    p_value: float
    """Two-sided; 1 where nothing varies between users."""
    sign_p_value: float
    """Of the sign test on users, two-sided."""
    share_of_slots_a: float
    """Slots that ``a`` filled; far from a half, the lists were not drafted fairly."""
    verdict: str
    """``a``, ``b`` or ``undecided``."""
    reason: str
    """Why it is undecided; empty where it is not."""

    def document(self) -> dict[str, Any]:
        """As plain values; what is no number is ``None``."""
        values = asdict(self)
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }


def preference(lists: pl.DataFrame, clicks: pl.DataFrame, analysis: Analysis | None = None) -> Preference:
    """Credit clicks to teams and compare these.

    Args:
        lists: ``list_id`` (unique), ``user_id``, ``item_ids`` and ``teams`` (``a`` or ``b``), per slot.
        clicks: ``list_id, item_id``, one row per click or purchase; a repetition counts once, and what is on
            none of the lists counts for nobody.
        analysis: The definition's, its ``expected_units`` being users; ``None`` for the defaults, which may
            be read at any time.

    Raises:
        DataError: A list is twice in ``lists``, a team is neither ``a`` nor ``b``, or there are not as many
            teams as items.
    """
    slots = _slots(lists)
    clicked = slots.join(clicks.select(LIST_ID, ITEM_ID).unique(), on=[LIST_ID, ITEM_ID], how="semi")
    counted = (
        lists.select(LIST_ID, USER_ID)
        .join(
            clicked.group_by(LIST_ID).agg(
                a=(pl.col(TEAMS) == "a").sum().cast(pl.Int64), b=(pl.col(TEAMS) == "b").sum().cast(pl.Int64)
            ),
            on=LIST_ID,
            how="left",
        )
        .with_columns(pl.col("a", "b").fill_null(0))
        .with_columns(more=pl.col("a") - pl.col("b"))
    )
    by_user = counted.group_by(USER_ID).agg(pl.col("more").mean()).sort(USER_ID)["more"]
    wins_a, wins_b = int((counted["more"] > 0).sum()), int((counted["more"] < 0).sum())
    num_lists = counted.height
    return _tested(
        by_user.to_numpy().astype(np.float64),
        analysis or Analysis(),
        num_lists=num_lists,
        wins_a=wins_a,
        wins_b=wins_b,
        clicks_a=int(counted["a"].sum()),
        clicks_b=int(counted["b"].sum()),
        share_of_slots_a=float((slots[TEAMS] == "a").sum()) / slots.height if slots.height else 0.5,
    )


def _tested(
    by_user: Float[np.ndarray, " users"],
    analysis: Analysis,
    *,
    num_lists: int,
    wins_a: int,
    wins_b: int,
    clicks_a: int,
    clicks_b: int,
    share_of_slots_a: float,
) -> Preference:
    test = one_sample(by_user, analysis)
    for_a, for_b = int((by_user > 0).sum()), int((by_user < 0).sum())
    sign = float(stats.binomtest(for_a, for_a + for_b).pvalue) if for_a + for_b else 1.0
    return Preference(
        num_lists=num_lists,
        num_users=len(by_user),
        wins_a=wins_a,
        wins_b=wins_b,
        ties=num_lists - wins_a - wins_b,
        clicks_a=clicks_a,
        clicks_b=clicks_b,
        delta=(wins_a - wins_b) / (2 * num_lists) if num_lists else 0.0,
        credit=test.mean,
        std_error=test.std_error,
        low=test.low,
        high=test.high,
        p_value=test.p_value,
        sign_p_value=sign,
        share_of_slots_a=share_of_slots_a,
        verdict="undecided" if test.undecided else "a" if test.mean > 0 else "b",
        reason=test.undecided,
    )


def _slots(lists: pl.DataFrame) -> pl.DataFrame:
    """``list_id, item_ids, teams``, one row per slot."""
    if twice := lists.height - lists[LIST_ID].n_unique():
        raise DataError(f"expected every {LIST_ID} once, {twice:,} rows repeat one")
    uneven = lists.filter(pl.col(ITEM_IDS).list.len() != pl.col(TEAMS).list.len())
    if uneven.height:
        raise DataError(
            f"expected a team per item, {uneven.height:,} lists have more of one than of the other"
        )
    slots = (
        lists.select(LIST_ID, pl.col(ITEM_IDS).alias(ITEM_ID), TEAMS)
        .explode(ITEM_ID, TEAMS)
        .drop_nulls(ITEM_ID)
    )
    unknown = slots.filter(~pl.col(TEAMS).is_in(["a", "b"]))
    if unknown.height:
        raise DataError(f"expected teams a and b, got {unknown[TEAMS][0]!r}")
    return slots
