"""Training examples of the encoder: what a user touched before, and what the user touched next."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Int, Int64
from torch import Tensor
from torch.utils.data import Dataset

from recsys.schema import USER_ID
from training.history import ROW, TIME, History, HistoryBatch, HistoryLog, stack_histories


class NextItemBatch(NamedTuple):
    """Users at a moment, and the texts of the items they touched at that moment."""

    history: HistoryBatch
    pair_user: Int[Tensor, " pairs"]
    """Row of the user per positive pair."""
    pair_text: Int[Tensor, " pairs"]
    """Text of the positive item per pair; all pairs of one user are positives of one moment."""


@dataclass(frozen=True)
class NextItemExample:
    """One user at one moment."""

    history: History
    positives: Int64[np.ndarray, " positives"]
    """Distinct texts of the items touched at that moment."""


class NextItems(Dataset[NextItemExample]):
    """One example per user and moment that has something before it."""

    def __init__(self, log: HistoryLog, *, from_ms: int, max_positives: int, seed: int) -> None:
        """Index the moments at or after ``from_ms``.

        Args:
            log: Events before the end of the encoder's data.
            from_ms: Moments before this are history only; milliseconds since the epoch.
            max_positives: Most positives of one moment, drawn at random.
            seed: Seed of that draw.
        """
        self.log = log
        moments = (
            log.frame.with_columns(moment=pl.struct(USER_ID, TIME).rle_id())
            .group_by("moment", maintain_order=True)
            .agg(
                pl.col("start").first(),
                first=pl.col(ROW).min(),
                end=pl.col(ROW).max() + 1,
                time=pl.col(TIME).first(),
            )
            .filter(pl.col("first") > pl.col("start"), pl.col("time") >= from_ms)
        )
        self._moments = moments.select("start", "first", "end").to_numpy().astype(np.int64)
        self._max_positives, self._seed = max_positives, seed

    def __len__(self) -> int:
        return len(self._moments)

    @property
    def mean_positives(self) -> float:
        """Positives of a moment, on average, as far as ``max_positives`` lets them count; at least 1."""
        size = np.minimum(self._moments[:, 2] - self._moments[:, 1], self._max_positives)
        return float(size.mean()) if len(size) else 1.0

    def text_counts(self, num_texts: int) -> Int64[np.ndarray, " texts"]:
        """How often each text is a positive."""
        rows = np.concatenate([np.arange(first, end) for _, first, end in self._moments])
        return np.bincount(self.log.text[rows], minlength=num_texts)

    def __getitem__(self, index: int) -> NextItemExample:
        """One user at one moment."""
        start, first, end = self._moments[index].tolist()
        positives = np.unique(self.log.text[first:end])
        if len(positives) > self._max_positives:
            positives = np.random.default_rng((self._seed, index)).choice(
                positives, self._max_positives, replace=False
            )
        return NextItemExample(self.log.between(start, first), positives)


def collate(examples: list[NextItemExample]) -> NextItemBatch:
    """Stack examples."""
    return NextItemBatch(
        history=stack_histories([example.history for example in examples]),
        pair_user=torch.from_numpy(np.repeat(np.arange(len(examples)), [len(e.positives) for e in examples])),
        pair_text=torch.from_numpy(np.concatenate([e.positives for e in examples])),
    )
