"""Training examples of the encoder: what a user touched before, and what the user touched next."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.utils.data import Dataset

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, EVENT_TYPE_CODES, ITEM_ID, USER_ID
from recsys.user_state import recent_rows


class NextItemBatch(NamedTuple):
    """Users at a moment, and the texts of the items they touched at that moment."""

    history_texts: Int[Tensor, "users recent"]
    event_types: Int[Tensor, "users recent"]
    age_days: Float[Tensor, "users recent"]
    counts: Float[Tensor, "users recent"]
    mask: Bool[Tensor, "users recent"]
    pair_user: Int[Tensor, " pairs"]
    """Row of the user per positive pair."""
    pair_text: Int[Tensor, " pairs"]
    """Text of the positive item per pair; all pairs of one user are positives of one moment."""


@dataclass(frozen=True)
class _Example:
    texts: Int64[np.ndarray, " recent"]
    event_types: np.ndarray
    age_days: np.ndarray
    counts: np.ndarray
    positives: Int64[np.ndarray, " positives"]


class NextItems(Dataset[_Example]):
    """One example per user and moment that has something before it.

    The history is the most recent distinct items strictly before the moment, as ``recsys.user_state`` would
    hold them.
    """

    def __init__(
        self,
        events: pl.DataFrame,
        catalogue: Catalogue,
        config: StateConfig,
        *,
        from_ms: int,
        history_length: int,
        max_positives: int,
        seed: int,
    ) -> None:
        """Index the moments in ``events`` at or after ``from_ms``.

        Args:
            events: Event log rows before the end of the encoder's data.
            catalogue: The items; events of others are left out.
            config: Which event types count.
            from_ms: Moments before this are history only.
            history_length: Most items of a history.
            max_positives: Most positives of one moment, drawn at random.
            seed: Seed of that draw.
        """
        codes = [EVENT_TYPE_CODES[name] for name, weight in config.event_weights.items() if weight > 0]
        frame = (
            events.lazy()
            .select(
                USER_ID,
                item=pl.col(ITEM_ID).replace_strict(catalogue.position, default=-1, return_dtype=pl.Int64),
                event_type=pl.col(EVENT_TYPE).replace_strict(EVENT_TYPE_CODES, return_dtype=pl.UInt8),
                time=pl.col(EFFECTIVE_TIME).dt.epoch("ms"),
            )
            .filter(pl.col("item") >= 0, pl.col("event_type").is_in(codes))
            .sort(USER_ID, "time", "item")
            .with_row_index("row")
            .with_columns(
                start=pl.col("row").first().over(USER_ID), moment=pl.struct(USER_ID, "time").rle_id()
            )
            .collect()
        )
        self._item = frame["item"].to_numpy()
        self._event_type = frame["event_type"].to_numpy()
        self._time = frame["time"].to_numpy()
        self._text = catalogue.text_of_item.astype(np.int64)
        moments = (
            frame.group_by("moment", maintain_order=True)
            .agg(
                pl.col("start").first(),
                first=pl.col("row").min(),
                end=pl.col("row").max() + 1,
                time=pl.col("time").first(),
            )
            .filter(pl.col("first") > pl.col("start"), pl.col("time") >= from_ms)
        )
        self._moments = moments.select("start", "first", "end").to_numpy().astype(np.int64)
        self._history_length, self._max_positives, self._seed = history_length, max_positives, seed

    def __len__(self) -> int:
        return len(self._moments)

    def text_counts(self, num_texts: int) -> Int64[np.ndarray, " texts"]:
        """How often each text is a positive."""
        rows = np.concatenate([np.arange(first, end) for _, first, end in self._moments])
        return np.bincount(self._text[self._item[rows]], minlength=num_texts)

    def __getitem__(self, index: int) -> _Example:
        """One user at one moment."""
        start, first, end = self._moments[index]
        key = self._item[start:first] * 16 + self._event_type[start:first]
        newest_first = key[::-1]
        distinct, position, counts = np.unique(newest_first, return_index=True, return_counts=True)
        items, types = distinct // 16, (distinct % 16).astype(np.uint8)
        last = self._time[first - 1 - position]
        rows = recent_rows(items, types, last, self._history_length)
        positives = np.unique(self._text[self._item[first:end]])
        if len(positives) > self._max_positives:
            positives = np.random.default_rng((self._seed, index)).choice(
                positives, self._max_positives, replace=False
            )
        return _Example(
            texts=self._text[items[rows]],
            event_types=types[rows].astype(np.int64),
            age_days=(last.max() - last[rows]) / DAY_MS,
            counts=counts[rows].astype(np.float64),
            positives=positives,
        )


def collate(examples: list[_Example]) -> NextItemBatch:
    """Stack examples, padding histories to the longest."""
    lengths = np.asarray([len(e.texts) for e in examples])
    mask = np.arange(lengths.max()) < lengths[:, None]

    def stacked(name: str, dtype: type) -> Tensor:
        out: np.ndarray = np.zeros(mask.shape, dtype)
        out[mask] = np.concatenate([getattr(e, name) for e in examples])
        return torch.from_numpy(out)

    return NextItemBatch(
        history_texts=stacked("texts", np.int64),
        event_types=stacked("event_types", np.int64),
        age_days=stacked("age_days", np.float32),
        counts=stacked("counts", np.float32),
        mask=torch.from_numpy(mask),
        pair_user=torch.from_numpy(np.repeat(np.arange(len(examples)), [len(e.positives) for e in examples])),
        pair_text=torch.from_numpy(np.concatenate([e.positives for e in examples])),
    )
