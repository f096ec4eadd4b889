"""The tables about items that are fitted on the log, kept together: they are refitted and stored as one."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64
from safetensors.numpy import save_file

from recsys.als import AlsSettings, ItemFactors, fit_als
from recsys.catalogue import Catalogue
from recsys.co_occurrence import fit_co_occurrence, fit_following
from recsys.config import Config
from recsys.ease import EaseSettings, fit_ease
from recsys.index import VectorIndex
from recsys.influence import counted, counted_together
from recsys.item_history import ItemHistory, fit_item_history
from recsys.item_prior import ItemPrior, borrowed
from recsys.mapped import mapped_arrays
from recsys.neighbours import Neighbours
from recsys.resemblance import Resemblance, fit_resemblance

_AT_ONCE = 2
"""Tables that are fitted side by side: each has stretches that one core does alone."""


@dataclass(frozen=True, eq=False)
class ItemTables:
    """Item-to-item neighbours and per-item history."""

    co_occurrence: Neighbours
    """What is in the same baskets."""
    following: Neighbours
    """What the same user takes next."""
    ease: Neighbours
    """What predicts the item among everything that a user has."""
    als: ItemFactors
    """What a factorisation makes of the same."""
    history: ItemHistory
    resemblance: Resemblance
    """What reads like what people had."""

    def fitted_until(self) -> dict[str, int]:
        """End of the data by table; milliseconds since the epoch."""
        return {field.name: getattr(self, field.name).fitted_until_ms for field in fields(self)}

    def without(self, items: Bool[np.ndarray, " items"], catalogue: Catalogue) -> "ItemTables":
        """The tables as if nobody had touched some items, true per catalogue position.

        What the other items were fitted to be, one by one, is left as it is.
        """
        history = self.history.without(items, catalogue)
        return ItemTables(
            co_occurrence=self.co_occurrence.without(items),
            following=self.following.without(items),
            ease=self.ease.without(items),
            als=self.als.without(items),
            history=history,
            resemblance=self.resemblance.without(items, history),
        )

    def extended(
        self, words: VectorIndex, catalogue: Catalogue, new: Int64[np.ndarray, " new"]
    ) -> tuple["ItemTables", ItemPrior]:
        """The tables of more items, and what these borrow from those that they read like.

        Args:
            words: The pretrained encoder's vectors of all texts.
            catalogue: All items.
            new: Positions behind those of the tables.
        """
        num_items = len(catalogue)
        resemblance = self.resemblance.extended(words, catalogue, self.history)
        prior = borrowed(words, resemblance.neighbours, resemblance.weights, catalogue, new)
        tables = replace(
            self,
            co_occurrence=self.co_occurrence.extended(num_items),
            following=self.following.extended(num_items),
            ease=self.ease.extended(num_items),
            history=self.history.extended(prior, catalogue),
            resemblance=resemblance,
        )
        return tables, prior

    def save(self, directory: Path) -> None:
        """Write one safetensors file per table into a directory that exists."""
        for field in fields(self):
            table = getattr(self, field.name)
            stored = [f.name for f in fields(table) if f.init and f.name != "fitted_until_ms"]
            arrays = {name: getattr(table, name) for name in stored}
            save_file(arrays, directory / f"{field.name}.safetensors")

    @classmethod
    def load(cls, directory: Path, fitted_until: dict[str, int]) -> "ItemTables":
        """Map what ``save`` wrote."""
        arrays = {field.name: mapped_arrays(directory / f"{field.name}.safetensors") for field in fields(cls)}
        history = ItemHistory(**arrays.pop("history"), fitted_until_ms=fitted_until["history"])
        als = ItemFactors(**arrays.pop("als"), fitted_until_ms=fitted_until["als"])
        resemblance = Resemblance(**arrays.pop("resemblance"), fitted_until_ms=fitted_until["resemblance"])
        neighbours = {
            name: Neighbours(**table, fitted_until_ms=fitted_until[name]) for name, table in arrays.items()
        }
        return cls(**neighbours, als=als, history=history, resemblance=resemblance)


def fit_item_tables(
    events: pl.LazyFrame, catalogue: Catalogue, words: VectorIndex, config: Config, until_ms: int
) -> ItemTables:
    """Fit every table on the events strictly before ``until_ms``, most of them two at a time.

    Args:
        events: Event log with ``effective_time``.
        catalogue: The items.
        words: The pretrained encoder's vectors of their texts.
        config: State rules and table sizes.
        until_ms: End of the data, milliseconds since the epoch.
    """
    sizes, rest = config.candidates, (catalogue, config.state, until_ms)
    log = counted_together(events, config.state), *rest
    ease = EaseSettings(sizes.ease_neighbours, sizes.ease_items, sizes.ease_regularisation)
    als = AlsSettings(sizes.als_factors, sizes.als_regularisation, config.seed)
    history = fit_item_history(counted(events, config.state), *rest)
    factors = fit_als(*log, als)  # alone: it has threads of its own and sets those of everybody
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        following = pool.submit(fit_following, *log, sizes.neighbours)
        resemblance = pool.submit(fit_resemblance, words, catalogue, history)
        predicting = pool.submit(fit_ease, *log, ease)
        together = pool.submit(fit_co_occurrence, *log, sizes.neighbours)
        return ItemTables(
            co_occurrence=together.result(),
            following=following.result(),
            ease=predicting.result(),
            als=factors,
            history=history,
            resemblance=resemblance.result(),
        )
