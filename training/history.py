"""What users touched before a moment, as the user tower reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, EVENT_TYPE_CODES, ITEM_ID, USER_ID
from recsys.user_state import recent_rows

ROW = "row"
TIME = "time"


class HistoryBatch(NamedTuple):
    """Histories of several users, padded to the longest."""

    texts: Int[Tensor, "users recent"]
    event_types: Int[Tensor, "users recent"]
    age_days: Float[Tensor, "users recent"]
    counts: Float[Tensor, "users recent"]
    mask: Bool[Tensor, "users recent"]


@dataclass(frozen=True)
class History:
    """The most recent distinct items of one user, newest first."""

    texts: Int64[np.ndarray, " recent"]
    event_types: Int64[np.ndarray, " recent"]
    age_days: Float64[np.ndarray, " recent"]
    counts: Float64[np.ndarray, " recent"]


class HistoryLog:
    """The events that count towards a history, sorted by user and time.

    A history holds the most recent distinct items strictly before a moment, as ``recsys.user_state`` would.
    """

    def __init__(self, events: pl.DataFrame, catalogue: Catalogue, config: StateConfig, length: int) -> None:
        """Index the events.

        Args:
            events: Event log rows; those of unknown items, and of types without a positive weight, are left
                out.
            catalogue: The items.
            config: Which event types count.
            length: Most items of a history.
        """
        codes = [EVENT_TYPE_CODES[name] for name, weight in config.event_weights.items() if weight > 0]
        self.frame = (
            events.lazy()
            .select(
                USER_ID,
                item=pl.col(ITEM_ID).replace_strict(catalogue.position, default=-1, return_dtype=pl.Int64),
                event_type=pl.col(EVENT_TYPE).replace_strict(EVENT_TYPE_CODES, return_dtype=pl.UInt8),
                time=pl.col(EFFECTIVE_TIME).dt.epoch("ms"),
            )
            .filter(pl.col("item") >= 0, pl.col("event_type").is_in(codes))
            .sort(USER_ID, TIME, "item")
            .with_row_index(ROW)
            .with_columns(start=pl.col(ROW).first().over(USER_ID))
            .collect()
        )
        """One row per event: user, item position, event type code, time, and where the user's rows start."""
        self.text = catalogue.text_of_item.astype(np.int64)[self.frame["item"].to_numpy()]
        """Text per row."""
        self._text_of_item = catalogue.text_of_item.astype(np.int64)
        self._item = self.frame["item"].to_numpy()
        self._event_type = self.frame["event_type"].to_numpy()
        self._time = self.frame[TIME].to_numpy()
        self._length = length

    def between(self, start: int, end: int) -> History:
        """The history that a user's rows from ``start`` to ``end`` make; there is at least one."""
        key = self._item[start:end] * 16 + self._event_type[start:end]
        distinct, position, counts = np.unique(key[::-1], return_index=True, return_counts=True)
        items, types = distinct // 16, (distinct % 16).astype(np.uint8)
        last = self._time[end - 1 - position]
        rows = recent_rows(items, types, last, self._length)
        return History(
            texts=self._text_of_item[items[rows]],
            event_types=types[rows].astype(np.int64),
            age_days=(last.max() - last[rows]) / DAY_MS,
            counts=counts[rows].astype(np.float64),
        )


def stack_histories(histories: Sequence[History]) -> HistoryBatch:
    """Stack histories, padding them to the longest."""
    lengths = np.asarray([len(history.texts) for history in histories])
    mask = np.arange(lengths.max()) < lengths[:, None]

    def stacked(name: str, dtype: type) -> Tensor:
        out: np.ndarray = np.zeros(mask.shape, dtype)
        out[mask] = np.concatenate([getattr(history, name) for history in histories])
        return torch.from_numpy(out)

    return HistoryBatch(
        texts=stacked("texts", np.int64),
        event_types=stacked("event_types", np.int64),
        age_days=stacked("age_days", np.float32),
        counts=stacked("counts", np.float32),
        mask=torch.from_numpy(mask),
    )
