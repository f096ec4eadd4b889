from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidRequestError
from recsys.item_filter import MAX_CHARS, compile_filter
from recsys.schema import (
    ATTRIBUTES,
    BRAND,
    CATEGORY,
    CREATED_TIME,
    ITEM_ID,
    PRICE,
    TAGS,
    TITLE,
)
from tests.recsys.small_catalogue import items_frame

ITEMS = items_frame(
    {
        ITEM_ID: "boot",
        TITLE: "Red Boot",
        BRAND: 'The "Acme"',
        CATEGORY: ["Shoes", "Boots"],
        TAGS: ["winter"],
        PRICE: 50.0,
        CREATED_TIME: datetime(2026, 1, 1, tzinfo=UTC),
        ATTRIBUTES: [{"key": "color", "value": "red"}, {"key": "size", "value": "42"}],
    },
    {ITEM_ID: "hat", TITLE: "hat", CATEGORY: ["Hats"], PRICE: 9.5, "available": False, TAGS: []},
    {ITEM_ID: "sock", TITLE: "sock", "available": None, ATTRIBUTES: [{"key": "size", "value": "big"}]},
)


def matching(text: str) -> list[str]:
    found = ITEMS.select(ITEM_ID, matching=compile_filter(text))
    assert found["matching"].null_count() == 0
    ids: list[str] = found.filter("matching")[ITEM_ID].to_list()
    return ids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('category:"Shoes" AND price <= 50 AND available = true', ["boot"]),
        ("category:Boots", ["boot"]),
        ("category:Boot", []),
        ("tags:winter", ["boot"]),
        ("tags:*", ["boot"]),
        ("price:*", ["boot", "hat"]),
        ("price<50", ["hat"]),
        ("price >= 9.5", ["boot", "hat"]),
        ("price > -1e1", ["boot", "hat"]),
        ("price != 50", ["hat"]),
        ("NOT price = 50", ["hat", "sock"]),
        ("-price = 50", ["hat", "sock"]),
        ("available = true", ["boot", "sock"]),
        ("available != true", ["hat"]),
        ("brand:ACME", ["boot"]),
        ("brand = 'The \"Acme\"'", ["boot"]),
        (r'brand = "The \"Acme\""', ["boot"]),
        ("brand = acme", []),
        ("item_id != boot", ["hat", "sock"]),
        ("attributes.color = red", ["boot"]),
        ("attributes.size >= 40", ["boot"]),
        ("attributes.size:*", ["boot", "sock"]),
        ("attributes.weight:*", []),
        ("created_time > 2025-12-31T23:59:59Z", ["boot"]),
        ('created_time < "2026-01-01T00:00:00Z"', []),
        ('created_time <= "2026-01-01T01:00:00+01:00"', ["boot"]),
        ("title:red OR title:hat AND price < 20", ["hat"]),  # OR binds tighter
        ("title:red OR (title:hat AND price < 20)", ["boot", "hat"]),
        ("NOT (title:red OR title:hat)", ["sock"]),
        ("title = AND", None),
        ("(" * 400 + "price < 20" + ")" * 400, ["hat"]),
        ("NOT (" * 150 + "price < 20" + ")" * 150, ["hat"]),
    ],
)
def test_what_a_filter_means(text: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(InvalidRequestError):
            compile_filter(text)
    else:
        assert matching(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the end"),
        ("   ", "the end"),
        ("shoes", "'shoes'"),
        ("price", "'price'"),
        ("price < 50 AND", "AND"),
        ("price < 50 price > 1", "price > 1"),
        ("(price < 50", "the end"),
        ("price < cheap", "price is compared with a number, got 'cheap'"),
        ("price : 5", "price: numbers and times take"),
        ("brand < 3", "brand: texts take"),
        ("category = Shoes", "category: lists take"),
        ("available = 1", "available takes true or false, got '1'"),
        ("available < true", "available: takes = or !="),
        ("created_time > yesterday", "created_time is compared with a time"),
        ("colour = red", "expected a column of the items"),
        ("attributes = red", "attributes.KEY"),
        ("price.usd = 1", "expected a column of the items"),
        ("price = *", "price:*"),
        ("p" * (MAX_CHARS + 1), "at most 1000 characters, got 1,001"),
    ],
)
def test_what_a_filter_may_not_say(text: str, told: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        compile_filter(text)
    [violation] = caught.value.violations
    assert violation.field == "filter"
    assert told in violation.description


WORDS = ["price", "brand", "5", "AND", "OR", "NOT", "é"]
PIECES = [*WORDS, *"<=:()-*. \\'\""]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join) | st.text(max_size=40))
def test_whatever_is_written_is_understood_or_refused(text: str) -> None:
    try:
        found = ITEMS.select(matching=compile_filter(text))["matching"]
    except InvalidRequestError:
        return
    assert found.dtype == pl.Boolean
    assert found.null_count() == 0
