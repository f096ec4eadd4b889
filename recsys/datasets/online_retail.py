"""Online Retail: a year of wholesale orders at a British shop for gifts (UCI data set 352, CC BY 4.0).

A line of an invoice is a purchase event; its time is the shop's clock, taken as UTC. The files' median price
and first sale of an item are left out, because both are known only when the year is over. Lines that are no
goods (postage, bank charges) are left out too. There are no categories, brands or descriptions.
"""

from pathlib import Path
from typing import Final

import polars as pl

from recsys.attributes import extra_attributes
from recsys.datasets.shop_words import readable
from recsys.datasets.tables import Tables, completed, read_parquet
from recsys.errors import ConfigError, DataError
from recsys.schema import (
    ATTRIBUTES,
    AVAILABLE,
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

_NAME = "Online Retail"
_GOODS_AMONG_SERVICES: Final = ("PADS",)
"""Goods that the files flag as services, because their codes have no digits: pads to match all cushions."""


def read(source: Path | None = None) -> Tables:
    """Read the data set.

    Args:
        source: Directory with ``events.parquet`` (``invoice_id``, ``item_id``, ``quantity``, ``ts``,
            ``price`` per piece in pounds, ``user_id``, ``country``) and ``items.parquet`` (``item_id``,
            ``title``, ``is_service_code``). The data set comes with no package.

    Raises:
        ConfigError: No source was given.
        DataError: A file is missing or damaged, or lacks a column.
    """
    if source is None:
        raise ConfigError(
            "online-retail comes with no package: give the directory of its files with --source"
        )
    lines, products = (read_parquet(source / f"{name}.parquet", _NAME) for name in ("events", "items"))
    try:
        is_service = pl.col("is_service_code") & ~pl.col(ITEM_ID).is_in(_GOODS_AMONG_SERVICES)
        services = products.filter(is_service)
        return Tables(_items(products.filter(~is_service)), _events(lines, services), _users(lines))
    except pl.exceptions.ColumnNotFoundError as error:
        raise DataError(f"the files in {source} are not {_NAME}'s: no column {error}") from error


def _events(lines: pl.DataFrame, services: pl.DataFrame) -> pl.DataFrame:
    """One event per line; the line's number keeps two lines of one product on one invoice apart."""
    time = pl.col("ts").dt.cast_time_unit("ms").dt.replace_time_zone("UTC").cast(TIMESTAMP)
    number = pl.int_range(1, pl.len() + 1).over("invoice_id")
    events = lines.select(
        pl.format("{}-{}-{}", "invoice_id", ITEM_ID, number).alias(EVENT_ID),
        pl.lit("purchase").alias(EVENT_TYPE),
        pl.col("user_id").cast(pl.String).alias(USER_ID),
        pl.col(ITEM_ID),
        time.alias(EVENT_TIME),
        pl.col("invoice_id").alias(SESSION_ID),
        pl.col("quantity").cast(pl.Float64).alias(QUANTITY),
        pl.col("price").alias(PRICE),
        time.alias(RECEIVED_TIME),
    )
    return completed(
        events.join(services, on=ITEM_ID, how="anti", maintain_order="left"),
        pl.DataFrame(schema=EVENT_SCHEMA),
    )


def _items(goods: pl.DataFrame) -> pl.DataFrame:
    titles = [readable(title).rstrip(".") for title in goods["title"].fill_null("")]
    title = pl.Series(titles, dtype=pl.String)
    items = goods.select(
        pl.col(ITEM_ID),
        pl.when(title != "").then(title).otherwise(pl.format("Product {}", ITEM_ID)).alias(TITLE),
        pl.lit(value=True).alias(AVAILABLE),
    )
    return completed(items, pl.DataFrame(schema=ITEM_SCHEMA)).sort(ITEM_ID)


def _users(lines: pl.DataFrame) -> pl.DataFrame:
    """Every buyer with the country of the first order; eight moved later, which nobody knew by then."""
    first = lines.sort("ts", maintain_order=True).unique("user_id", keep="first", maintain_order=True)
    users = first.select(
        pl.col("user_id").cast(pl.String).alias(USER_ID),
        extra_attributes(first.select("country"), known=()).alias(ATTRIBUTES),
    )
    return completed(users, pl.DataFrame(schema=USER_SCHEMA)).sort(USER_ID)
