"""Parts of the test window that are looked at one by one, and where a model falls behind which baseline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from recsys.schema import ITEM_ID, USER_ID

EVERYTHING = "all"
"""Name of the slice that leaves nothing out."""
NOVEL = "novel"
"""Name of the slice of what is new to the user."""
ACTIVITY = ("light_users", "medium_users", "heavy_users")
"""Known users by thirds, from those with the fewest distinct items before the test window to the most."""
FLOOR = ("personal_frequency", "popular", "click_rate")
"""Baselines that cost nothing: whoever ranks below one of them on any slice should not be served."""
_PAIR = [USER_ID, ITEM_ID]


@dataclass(frozen=True, eq=False)
class Slice:
    """A part of what users chose."""

    name: str
    truth: pl.DataFrame
    """``user_id``, ``item_id``."""
    novel: bool = False
    """Whether the lists of what is new to the user are scored on it."""


def slices(truth: pl.DataFrame, history_pairs: pl.DataFrame, warm_items: pl.Series) -> list[Slice]:
    """Every slice but the whole: ``novel``, cold and warm items, new users, and known users by activity.

    Cold and warm items come twice: among everything and, as ``novel_cold_items`` and ``novel_warm_items``,
    among what is new to the user, where no item that is bought again stands before them.

    Args:
        truth: ``user_id``, ``item_id``: what users chose in the test window.
        history_pairs: The same of what they had before it.
        warm_items: Ids of the items that anybody had before it.
    """
    warm = warm_items.alias(ITEM_ID).unique().to_frame()
    by_activity = _thirds(truth[USER_ID].unique(), history_pairs)
    novel = truth.join(history_pairs, on=_PAIR, how="anti")
    return [
        Slice(NOVEL, novel, novel=True),
        Slice("novel_cold_items", novel.join(warm, on=ITEM_ID, how="anti"), novel=True),
        Slice("novel_warm_items", novel.join(warm, on=ITEM_ID, how="semi"), novel=True),
        Slice("cold_items", truth.join(warm, on=ITEM_ID, how="anti")),
        Slice("warm_items", truth.join(warm, on=ITEM_ID, how="semi")),
        Slice("new_users", truth.join(history_pairs, on=USER_ID, how="anti")),
        *(
            Slice(name, truth.join(by_activity.filter(third=number), on=USER_ID, how="semi"))
            for number, name in enumerate(ACTIVITY)
        ),
    ]


def losses(compared: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Slices and baselines whose paired interval lies wholly below 0, the deepest first.

    Args:
        compared: Paired differences, ours minus theirs, by slice and baseline; each with ``high``.

    >>> losses({"all": {"ease": {"value": -0.2, "low": -0.3, "high": -0.1}}})[0]["baseline"]
    'ease'
    """
    found = [row for row in _rows(compared) if row["difference"]["high"] < 0]
    return sorted(found, key=lambda row: float(row["difference"]["value"]))


def never_below(
    compared: Mapping[str, Mapping[str, Mapping[str, float]]], floor: Sequence[str] = FLOOR
) -> dict[str, Any]:
    """Whether no slice lies below a baseline that costs nothing.

    Args:
        compared: See ``losses``.
        floor: Names of those baselines.

    Returns:
        ``ok``, also false when nothing was compared; ``below``, the ``losses`` to such a baseline; and
        ``checked``, every comparison with one.
    """
    checked = [row for row in _rows(compared) if row["baseline"] in floor]
    below = [row for row in losses(compared) if row["baseline"] in floor]
    return {"ok": bool(checked) and not below, "below": below, "checked": checked}


def _rows(compared: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[dict[str, Any]]:
    for name, by_baseline in compared.items():
        for baseline, difference in by_baseline.items():
            yield {"slice": name, "baseline": baseline, "difference": dict(difference)}


def _thirds(users: pl.Series, history_pairs: pl.DataFrame) -> pl.DataFrame:
    """``user_id`` of the known users and their ``third``, 0 to 2; ties by id."""
    known = history_pairs.unique().join(users.to_frame(USER_ID), on=USER_ID, how="semi")
    ordered = known.group_by(USER_ID).len("items").sort("items", USER_ID)
    return ordered.with_row_index("place").select(
        USER_ID, third=(pl.col("place").cast(pl.Int64) * len(ACTIVITY) // max(ordered.height, 1))
    )
