"""How often an item was chosen when it was shown: what re-ranking of logged lists has to beat."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from recsys.metrics import require_columns
from recsys.schema import EFFECTIVE_TIME, EVENT_TIME, EVENT_TYPE, ITEM_ID, LIST_ID, SCORE
from training.baselines.baseline import ScoredLists, Scores
from training.baselines.events import weighted
from training.baselines.interactions import Interactions

IMPRESSION = "impression"
_SHOWN, _CHOSEN = "shown", "chosen"


@dataclass(frozen=True)
class ClickRate:
    """``(chosen + strength * rate) / (shown + strength)`` per item, where rate is that of all items together.

    An item is chosen by every event of positive weight. Items that were never shown are not ranked.
    """

    strength: float = 20.0
    """Impressions that the common rate is worth, > 0."""

    def fit(self, log: Interactions) -> ScoredLists:
        """Count impressions and choices."""
        counts = _counts(log).group_by(ITEM_ID).agg(pl.col(_SHOWN, _CHOSEN).sum())
        scored = counts.filter(pl.col(_SHOWN) > 0).select(
            ITEM_ID, self._rate(pl.col(_SHOWN).sum(), pl.col(_CHOSEN).sum()).cast(pl.Float32).alias(SCORE)
        )
        core = pl.DataFrame({ITEM_ID: [log.items[item] for item in log.core]}, schema={ITEM_ID: pl.String})
        joined = core.join(scored, on=ITEM_ID, how="left", maintain_order="left")
        return ScoredLists(log, partial(_same_for_all, joined[SCORE].fill_null(0.0).to_numpy()))

    def scores(self, log: Interactions, lists: pl.DataFrame) -> pl.DataFrame:
        """Score the items of logged lists, each by what happened strictly before the list.

        Args:
            log: Impressions and choices; those at or after a list's time are not seen by it.
            lists: ``list_id``, ``item_id`` and ``event_time``, when the list was shown.

        Returns:
            ``list_id``, ``item_id``, ``score`` in the order of ``lists``.

        Raises:
            DataError: A column is missing.
        """
        require_columns(lists, LIST_ID, ITEM_ID, EVENT_TIME)
        counts = _counts(log).sort(EFFECTIVE_TIME)
        summed = pl.col(_SHOWN, _CHOSEN).cum_sum()
        by_item = counts.with_columns(summed.over(ITEM_ID))
        overall = counts.select(EFFECTIVE_TIME, summed.name.prefix("all_"))
        overall = overall.unique(EFFECTIVE_TIME, keep="last", maintain_order=True)
        ordered = lists.select(LIST_ID, ITEM_ID, EVENT_TIME).with_row_index("place").sort(EVENT_TIME)
        known = _before(_before(ordered, by_item, ITEM_ID), overall, None).fill_null(0)
        rate = self._rate(pl.col(f"all_{_SHOWN}"), pl.col(f"all_{_CHOSEN}"))
        return known.sort("place").select(LIST_ID, ITEM_ID, rate.alias(SCORE))

    def _rate(self, all_shown: pl.Expr, all_chosen: pl.Expr) -> pl.Expr:
        common = all_chosen / pl.max_horizontal(all_shown, pl.lit(1))
        return (pl.col(_CHOSEN) + self.strength * common) / (pl.col(_SHOWN) + self.strength)


def _before(lists: pl.DataFrame, sums: pl.DataFrame, by: str | None) -> pl.DataFrame:
    """The latest sums strictly before each list's time."""
    return lists.join_asof(
        sums,
        left_on=EVENT_TIME,
        right_on=EFFECTIVE_TIME,
        by=by,
        allow_exact_matches=False,
        check_sortedness=False,
    )


def _counts(log: Interactions) -> pl.DataFrame:
    """Impressions and choices by item and time."""
    shown = log.events.filter(pl.col(EVENT_TYPE).cast(pl.String) == IMPRESSION)
    chosen = weighted(log.events, log.weights)
    kinds = [
        shown.select(ITEM_ID, EFFECTIVE_TIME, pl.lit(1).alias(_SHOWN), pl.lit(0).alias(_CHOSEN)),
        chosen.select(ITEM_ID, EFFECTIVE_TIME, pl.lit(0).alias(_SHOWN), pl.lit(1).alias(_CHOSEN)),
    ]
    return pl.concat(kinds).group_by(ITEM_ID, EFFECTIVE_TIME).agg(pl.col(_SHOWN, _CHOSEN).sum())


def _same_for_all(rates: Float32[np.ndarray, " core"], rows: Int64[np.ndarray, " users"]) -> Scores:
    return Scores(np.tile(rates, (len(rows), 1)))
