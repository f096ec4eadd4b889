"""Training examples from ranked lists that were shown: which of the items the user engaged with."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor
from torch.utils.data import Dataset

from recsys.catalogue import Catalogue
from recsys.schema import EFFECTIVE_TIME, ENGAGEMENTS, EVENT_TYPE, ITEM_ID, LIST_ID, POSITION, USER_ID
from training.history import ROW, TIME, History, HistoryBatch, HistoryLog, stack_histories

_ITEMS_PER_LIST = 100
"""The first so many items of a list are read; who scrolled further is not known."""


class ShownBatch(NamedTuple):
    """Users at the moment a list was shown to them, and the list's texts."""

    history: HistoryBatch
    shown_user: Int[Tensor, " shown"]
    """Row of the user per shown text."""
    shown_text: Int[Tensor, " shown"]
    engaged: Bool[Tensor, " shown"]


@dataclass(frozen=True)
class ShownExample:
    """One list."""

    history: History
    texts: Int64[np.ndarray, " shown"]
    """Distinct texts of the items shown."""
    engaged: Bool[np.ndarray, " shown"]


class ShownLists(Dataset[ShownExample]):
    """One example per logged list whose user has something before it.

    The ``impression`` rows of a ``list_id`` are what was shown; an item of it is engaged with when the same
    user has a row in ``recsys.schema.ENGAGEMENTS`` for it with the same ``list_id``.
    """

    def __init__(self, log: HistoryLog, events: pl.DataFrame, catalogue: Catalogue, *, from_ms: int) -> None:
        """Index the lists that were shown at or after ``from_ms``.

        Args:
            log: The same events, as histories.
            events: Event log rows before the end of the encoder's data; without a ``list_id`` column there
                are no lists.
            catalogue: The items; events of others are left out.
            from_ms: Lists before this are left out; milliseconds since the epoch.
        """
        self._log = log
        shown = _shown(events, catalogue) if LIST_ID in events.columns else _no_rows()
        lists = _with_history(shown.filter(pl.col(TIME) >= from_ms), log.frame)
        self._bounds = lists.select("start", pl.col(ROW) + 1).to_numpy().astype(np.int64)
        """Rows of the history per list: from, to."""
        flat = lists.select("texts", "engaged").explode("texts", "engaged", empty_as_null=True)
        self._texts = flat["texts"].to_numpy(writable=True)
        self._engaged = flat["engaged"].to_numpy(writable=True)
        self._starts = np.append(0, lists["texts"].list.len().to_numpy().cumsum()).astype(np.int64)

    def __len__(self) -> int:
        return len(self._bounds)

    @property
    def rate(self) -> float:
        """Share of shown texts that were engaged with; 0 without lists."""
        return float(self._engaged.mean()) if len(self._engaged) else 0.0

    @property
    def texts(self) -> Int64[np.ndarray, " texts"]:
        """Distinct texts that were shown, ascending."""
        return np.unique(self._texts).astype(np.int64)

    def __getitem__(self, index: int) -> ShownExample:
        """One list."""
        own = slice(self._starts[index], self._starts[index + 1])
        history = self._log.between(*self._bounds[index].tolist())
        return ShownExample(history, self._texts[own], self._engaged[own])


def collate_shown(examples: list[ShownExample]) -> ShownBatch:
    """Stack lists."""
    return ShownBatch(
        history=stack_histories([example.history for example in examples]),
        shown_user=torch.from_numpy(np.repeat(np.arange(len(examples)), [len(e.texts) for e in examples])),
        shown_text=torch.from_numpy(np.concatenate([e.texts for e in examples])),
        engaged=torch.from_numpy(np.concatenate([e.engaged for e in examples])),
    )


def _no_rows() -> pl.DataFrame:
    schema = {
        USER_ID: pl.String(),
        TIME: pl.Int64(),
        "texts": pl.List(pl.Int64),
        "engaged": pl.List(pl.Boolean),
    }
    return pl.DataFrame(schema=schema)


def _shown(events: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """One row per user and list: when it was first shown, its texts and which were engaged with."""
    text_of = dict(zip(catalogue.item_ids, catalogue.text_of_item.tolist(), strict=True))
    logged = events.lazy().filter(pl.col(LIST_ID).is_not_null())
    key = [USER_ID, LIST_ID, "text"]
    text = pl.col(ITEM_ID).replace_strict(text_of, default=-1, return_dtype=pl.Int64)
    position = pl.col(POSITION) if POSITION in events.columns else pl.lit(None, pl.Int32)
    engaged = (
        logged.filter(pl.col(EVENT_TYPE).is_in(ENGAGEMENTS))
        .select(USER_ID, LIST_ID, text=text, engaged=pl.lit(value=True))
        .unique(key)
    )
    return (
        logged.filter(pl.col(EVENT_TYPE) == "impression")
        .select(USER_ID, LIST_ID, text=text, at=position, time=pl.col(EFFECTIVE_TIME).dt.epoch("ms"))
        .filter(pl.col("text") >= 0)
        .group_by(key)
        .agg(pl.col("at").min(), pl.col(TIME).min())
        .join(engaged, on=key, how="left")
        .sort(USER_ID, LIST_ID, "at", "text", nulls_last=True)
        .group_by(USER_ID, LIST_ID, maintain_order=True)
        .agg(
            pl.col(TIME).min(),
            texts=pl.col("text").head(_ITEMS_PER_LIST),
            engaged=pl.col("engaged").fill_null(value=False).head(_ITEMS_PER_LIST),
        )
        .collect()
    )


def _with_history(lists: pl.DataFrame, log: pl.DataFrame) -> pl.DataFrame:
    """Lists with the user's last event strictly before each, by time; those without one are left out."""
    return (
        lists.sort(TIME, USER_ID)
        .join_asof(
            log.select(USER_ID, TIME, ROW, "start").sort(TIME, ROW),
            on=TIME,
            by=USER_ID,
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .filter(pl.col(ROW).is_not_null())
    )
