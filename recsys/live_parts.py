"""The fitted parts of a bundle with items that were changed since: nothing is fitted again.

Later items and texts stand behind those that the parts were fitted on, and get what can be had without
events: their vectors, the known items that they read like, and what they borrow from these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int8

from recsys.catalogue import Catalogue
from recsys.item_changes import ItemChange, as_json, changed_rows
from recsys.item_prior import ItemPrior
from recsys.moment import Parts
from recsys.schema import ITEM_ID
from recsys.strings import GrownTexts
from recsys.text import item_texts


class TextVectors(NamedTuple):
    """What the encoders make of one text."""

    tuned: Int8[np.ndarray, " dim"]
    """By the tuned encoder and the item tower, as in ``Parts.index``."""
    words: Int8[np.ndarray, " width"]
    """By the pretrained encoder, as in ``Parts.words``."""


@dataclass(frozen=True, eq=False)
class Renewed:
    """Parts with changes, and what the new items borrow."""

    parts: Parts
    prior: ItemPrior


def unread_texts(parts: Parts, changes: Sequence[ItemChange]) -> list[str]:
    """Distinct texts of changed items that the parts have no vectors of."""
    known = GrownTexts.of(parts.catalogue.texts)
    return [text for text in dict.fromkeys(item_texts(changed_rows(changes))) if known.find(text) < 0]


def with_changes(parts: Parts, changes: Sequence[ItemChange], vectors: Mapping[str, TextVectors]) -> Renewed:
    """Apply changes, the last of each item; what they say already is left as it is.

    Args:
        parts: The parts; they and their arrays are not written to.
        changes: At most one per item, ascending by sequence number.
        vectors: At least of ``unread_texts``.
    """
    before = parts.catalogue
    rows = _different(changed_rows(changes), before)
    catalogue = before.with_changes(rows)
    catalogue.withdraw((), [change.item_id for change in changes if change.item is None])
    texts = catalogue.texts[len(before.texts) :]
    tuned, words = (
        index.extended(
            np.stack([vectors[text][i] for text in texts])
            if texts
            else np.empty((0, index.dimension), np.int8),
            catalogue,
        )
        for i, index in enumerate((parts.index, parts.words))
    )
    new = np.arange(len(before), len(catalogue))
    tables, prior = parts.tables.extended(words, catalogue, new)
    return Renewed(replace(parts, catalogue=catalogue, index=tuned, words=words, tables=tables), prior)


def _different(rows: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """Rows that the catalogue does not hold as they are."""
    at = catalogue.positions(rows[ITEM_ID].to_list())
    known = np.flatnonzero(at >= 0)
    old, new = catalogue.frame[at[known]], rows[known]
    same = [a == b for a, b in zip(as_json(old), as_json(new), strict=True)]
    different = np.ones(rows.height, bool)
    different[known[np.asarray(same, bool)]] = False
    return rows.filter(different)
