from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.datasets import prepare
from recsys.datasets.online_retail import read
from recsys.datasets.tables import Tables
from recsys.errors import ConfigError, DataError
from recsys.schema import (
    ATTRIBUTES,
    CREATED_TIME,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    ITEM_SCHEMA,
    PRICE,
    QUANTITY,
    SESSION_ID,
    TITLE,
    USER_ID,
    USER_SCHEMA,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "online_retail"


def little(directory: Path) -> Path:
    """Write three invoices of two customers in the data set's own columns."""
    lines = [
        ("1", "85A", 6, "2010-12-01 08:26:00", 2.5, 17, "Spain"),
        ("1", "POST", 1, "2010-12-01 08:26:00", 18.0, 17, "Spain"),
        ("1", "85A", 6, "2010-12-01 08:26:00", 2.5, 17, "Spain"),
        ("2", "PADS", 1, "2010-12-02 10:00:00", 0.001, 17, "France"),
        ("3", "71", 2, "2010-12-03 10:00:00", 3.0, 18, "Italy"),
    ]
    columns = ["invoice_id", "item_id", "quantity", "ts", "price", "user_id", "country"]
    table = pl.DataFrame(lines, columns, orient="row")
    table.with_columns(pl.col("ts").str.to_datetime(time_unit="ns")).write_parquet(
        directory / "events.parquet"
    )
    products = [
        ("85A", "LUNCH BAG  RED SKULL.", 2.5, False),
        ("71", "'", 3.0, False),
        ("PADS", "PADS TO MATCH ALL CUSHIONS", 0.001, True),
        ("POST", "POSTAGE", 18.0, True),
    ]
    names = ["item_id", "title", "median_price", "is_service_code"]
    pl.DataFrame(products, names, orient="row").write_parquet(directory / "items.parquet")
    return directory


def test_lines_of_one_product_on_one_invoice_stay_apart(tmp_path: Path) -> None:
    events = read(little(tmp_path)).events
    assert events.schema == EVENT_SCHEMA
    assert events[EVENT_ID].to_list() == ["1-85A-1", "1-85A-3", "2-PADS-1", "3-71-1"]
    assert events.select(EVENT_TYPE, USER_ID, ITEM_ID, SESSION_ID, QUANTITY, PRICE, EVENT_TIME).row(0) == (
        "purchase",
        "17",
        "85A",
        "1",
        6.0,
        2.5,
        datetime(2010, 12, 1, 8, 26, tzinfo=UTC),
    )


def test_goods_have_readable_titles_and_nothing_that_was_known_later(tmp_path: Path) -> None:
    items = read(little(tmp_path)).items
    assert items.schema == ITEM_SCHEMA
    assert dict(items.select(ITEM_ID, TITLE).iter_rows()) == {
        "71": "'",
        "85A": "Lunch Bag Red Skull",
        "PADS": "Pads to Match all Cushions",
    }
    assert items.select(PRICE, CREATED_TIME, ATTRIBUTES).null_count().row(0) == (3, 3, 3)


def test_a_customer_has_the_country_of_the_first_order(tmp_path: Path) -> None:
    users = read(little(tmp_path)).users
    assert users is not None
    assert users.schema == USER_SCHEMA
    assert users.select(USER_ID, ATTRIBUTES).rows() == [
        ("17", [{"key": "country", "value": "Spain"}]),
        ("18", [{"key": "country", "value": "Italy"}]),
    ]


def test_it_is_prepared_for_ingest(tmp_path: Path) -> None:
    prepared = prepare("online-retail", little(tmp_path), tmp_path / "out")
    assert (prepared.num_items, prepared.num_events, prepared.num_users) == (3, 4, 2)


def test_without_files_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--source"):
        read()
    with pytest.raises(DataError, match=r"events\.parquet"):
        read(tmp_path)
    little(tmp_path)
    pl.DataFrame({"item_id": ["85A"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match="not Online Retail's"):
        read(tmp_path)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return read(SHARED)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no Online Retail in shared/data beside the checkout")
def test_every_line_of_goods_is_one_purchase_of_a_listed_item(tables: Tables) -> None:
    events = tables.events
    assert events.height == events[EVENT_ID].n_unique() == 397_884 - 1_547 + 3  # 3 lines of PADS
    assert events.join(tables.items, on=ITEM_ID, how="anti").is_empty()
    assert tables.items.height == 3_665 - 5
    assert not tables.items[TITLE].str.contains(r"^$|  |^ | $|[,.]$").any()
    assert tables.users is not None
    assert tables.users.height == 4_338
