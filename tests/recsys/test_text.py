from collections.abc import Mapping

import polars as pl
import pytest

from recsys.schema import BRAND, CATEGORY, DESCRIPTION, ITEM_SCHEMA, TAGS, TITLE
from recsys.text import item_texts
from tests.recsys.small_catalogue import items_frame


def text_of(**columns: object) -> str:
    """The text of one item."""
    return str(item_texts(items_frame(columns))[0])


def test_the_words_come_in_the_order_title_category_brand_tags_description() -> None:
    text = text_of(
        title="Trail Shoe",
        category=["Sport", "Running"],
        brand="Fleet",
        tags=["light", "blue"],
        description="Made for mud.",
    )
    assert text == "trail shoe. sport. running. fleet. light, blue. made for mud."


def test_a_category_level_that_the_title_says_already_is_left_out() -> None:
    assert (
        text_of(title="Whole milk, 1 l", category=["Grocery", "MILK", "Whole Milk"])
        == "whole milk, 1 l. grocery"
    )


def test_a_level_with_one_new_word_is_kept_whole() -> None:
    assert text_of(title="milk", category=["oat milk"]) == "milk. oat milk"


def test_levels_keep_their_order_from_the_root() -> None:
    assert text_of(title="x", category=["z", "y", "a"]) == "x. z. y. a"


@pytest.mark.parametrize("category", [None, [], [""], ["", None], ["-"]])
def test_a_category_without_words_adds_nothing(category: list[str | None] | None) -> None:
    assert text_of(title="tea", category=category, brand=None, tags=[], description="") == "tea"


def test_case_and_white_space_do_not_make_another_text() -> None:
    assert text_of(title="  Green\t TEA\n") == text_of(title="green tea") == "green tea"


@pytest.mark.parametrize("columns", [{TITLE: ""}, {TITLE: " ", BRAND: "", TAGS: [""], DESCRIPTION: None}])
def test_an_item_without_words_reads_unknown(columns: Mapping[str, object]) -> None:
    assert text_of(**columns) == "unknown"


def test_words_of_any_script_are_compared() -> None:
    assert text_of(title="红苹果", category=["水果", "红苹果"], brand="Über") == "红苹果. 水果. über"


def test_there_is_one_text_per_item_in_the_items_order() -> None:
    rows = [{TITLE: f"t{i}", CATEGORY: ["c"] * (i % 3)} for i in range(50)]
    texts = item_texts(items_frame(*rows)).to_list()
    assert texts == [". ".join([f"t{i}", *["c"] * (i % 3)]) for i in range(50)]


def test_no_items_have_no_texts() -> None:
    assert item_texts(pl.DataFrame(schema=ITEM_SCHEMA)).to_list() == []
