"""What the catalogue says of an item, as vectors: the words it shares with others, and its numbers.

Both come from the catalogue alone, whatever a shop keeps there: nothing here is fitted on events.
"""

import numpy as np
import polars as pl
from jaxtyping import Float64
from scipy import sparse

from recsys.schema import ATTRIBUTES, BRAND, CATEGORY, CREATED_TIME, PRICE, TAGS

MAX_NUMBERS = 16
"""Numbers per item that are read: those that most items have, ties by name."""
_SMALLEST_SHARE = 0.5
"""Share of the items that must have a number for it to be read."""
_MOST_DEVIATIONS = 3.0


def shared_words(items: pl.DataFrame) -> sparse.csr_array:
    """Unit vectors whose inner product says how much two items share: tags, category levels and brand.

    A word weighs the root of its inverse document frequency ``ln(items / items with it)``. A word that one
    item alone has says nothing of another and is left out; an item without shared words is 0.

    Args:
        items: Frame with the item columns of ``recsys.schema.ITEM_SCHEMA``, in catalogue order.

    Returns:
        (items, words), float64.
    """
    listed = pl.concat_list(
        *(pl.col(name).fill_null([]) for name in (TAGS, CATEGORY)), pl.concat_list(BRAND).list.drop_nulls()
    )
    table = (
        items.lazy()
        .select(item=pl.int_range(pl.len()), word=listed)
        .explode("word", empty_as_null=True)
        .drop_nulls()
        .unique()
        .with_columns(held=pl.len().over("word"))
        .filter(pl.col("held") > 1)
        .with_columns(code=pl.col("word").rank("dense").cast(pl.Int64) - 1)
        .sort("item", "code")
        .collect()
    )
    weights = np.sqrt(np.log(max(items.height, 1) / table["held"].to_numpy()))
    rows, columns = table["item"].to_numpy(), table["code"].to_numpy()
    norms = np.sqrt(np.bincount(rows, weights**2, minlength=items.height))
    unit = weights / np.maximum(norms[rows], np.finfo(np.float64).tiny)
    shape = (items.height, table["code"].n_unique())
    return sparse.csr_array((unit, (rows, columns)), shape=shape)


def standard_numbers(items: pl.DataFrame) -> Float64[np.ndarray, "items numbers"]:
    """The items' numbers, standardised: price, time of creation and the attributes that are numbers.

    Each is taken as ``sign(x) ln(1 + |x|)``, less the mean and over the standard deviation, at most 3 either
    way, and is 0 where it is absent. Numbers that fewer than half of the items have, or that do not differ,
    are left out.

    Args:
        items: Frame with the item columns of ``recsys.schema.ITEM_SCHEMA``, in catalogue order.
    """
    numbers = {
        PRICE: items[PRICE].cast(pl.Float64),
        CREATED_TIME: items[CREATED_TIME].dt.epoch("s").cast(pl.Float64),
    } | _numeric_attributes(items)
    enough = _SMALLEST_SHARE * items.height
    counts = {name: values.len() - values.null_count() for name, values in numbers.items()}
    chosen = sorted((name for name in numbers if counts[name] >= enough), key=lambda n: (-counts[n], n))
    columns = [_standardised(numbers[name].to_numpy()) for name in chosen]
    kept = [column for column in columns if column.any()][:MAX_NUMBERS]
    return np.column_stack(kept) if kept else np.empty((items.height, 0))


def _numeric_attributes(items: pl.DataFrame) -> dict[str, pl.Series]:
    """Attributes whose values are all numbers, one value per item; null where an item lacks it."""
    pair = pl.col(ATTRIBUTES).struct
    table = (
        items.lazy()
        .select(ATTRIBUTES, item=pl.int_range(pl.len()))
        .explode(ATTRIBUTES, empty_as_null=True)
        .select("item", key=pair.field("key"), text=pair.field("value"))
        .drop_nulls()
        .with_columns(number=pl.col("text").cast(pl.Float64, strict=False))
        .filter(pl.col("number").is_finite().fill_null(value=False).all().over("key"))
        .group_by("key", "item")
        .agg(pl.col("number").first())
        .collect()
    )
    found = {}
    for (key,), rows in table.sort("key").group_by("key", maintain_order=True):
        values = np.full(items.height, np.nan)
        values[rows["item"].to_numpy()] = rows["number"].to_numpy()
        found[f"{ATTRIBUTES}.{key}"] = pl.Series(values, nan_to_null=True)
    return found


def _standardised(values: Float64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
    small = np.sign(values) * np.log1p(np.abs(values))
    known = ~np.isnan(small)
    spread = small[known].std() if known.any() else 0.0
    if not spread > np.finfo(np.float64).eps * np.abs(small[known]).max(initial=0.0):
        return np.zeros(len(values))
    found: Float64[np.ndarray, " items"] = np.where(known, (small - small[known].mean()) / spread, 0.0)
    return found.clip(-_MOST_DEVIATIONS, _MOST_DEVIATIONS)
