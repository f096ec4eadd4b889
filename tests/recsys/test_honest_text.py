"""Tests of item texts that try to deceive the encoder, and of those that do not."""

import polars as pl
import pytest

from recsys.honest_text import honest, honest_texts
from recsys.tables import read_items
from recsys.text import item_texts
from tests.conftest import Trained
from tests.recsys.small_catalogue import items_frame

ORDINARY = [
    "whole milk, 1 l. dairy. milk",
    "the cat in the hat. a cat, a hat, and the rain; the cat comes in with the rain and the hat",
    "3/3.3 oz. 3 x 3. bread, rye bread, white bread",
    "½ l naïve café™ - b₂ x²",
    "кофе в зёрнах, арабика",
    "ελληνικός καφές. β-carotene",
    "می‌خواهم. हिन्दी क‍ष",
    "日本茶 ほうじ茶 100g",
]
DECEITFUL = {
    "iph\u043ene c\u0430se": "iphone case",
    "\u0440\u0435\u0440si cola": "pepsi cola",
    "к\u006fф\u0065": "кофе",
    "\uff43\uff4f\uff46\uff46\uff45\uff45 beans": "coffee beans",
    "\U0001d41c\U0001d428\U0001d41f\U0001d41f\U0001d41e\U0001d41e": "coffee",
    "cof\u200bfee\u00ad be\u202eans": "coffee beans",
    "cof\u200dfee": "coffee",
    "bread bread bread bread. bakery": "bread bakery",
    "mug. " + "coffee tea " * 10 + ". kitchen": "mug. coffee tea kitchen",
}


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_comes_through_byte_for_byte(text: str) -> None:
    assert honest_texts(pl.Series([text, "x"])).to_list() == [text, "x"]


@pytest.mark.parametrize(("text", "read"), DECEITFUL.items())
def test_what_is_meant_to_deceive_is_undone_and_stays_undone(text: str, read: str) -> None:
    assert honest_texts(pl.Series([text])).to_list() == [read]
    assert honest(read) == read


def test_texts_of_a_shop_are_what_they_were(trained: Trained) -> None:
    texts = item_texts(read_items(trained.workspace))
    assert honest_texts(texts).equals(texts)


def test_fields_without_end_are_cut() -> None:
    items = items_frame({"title": "x" * 10_000, "description": " ".join(map(str, range(100_000)))})
    assert len(item_texts(items)[0]) < 10_600
