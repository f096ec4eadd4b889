import numpy as np
import polars as pl

from recsys.catalogue import Catalogue
from recsys.schema import BRAND, CATEGORY, ITEM_ID, ITEM_SCHEMA, TITLE
from tests.recsys.small_catalogue import greengrocer, items_frame


def test_items_are_sorted_by_id_whatever_their_order_in_the_file() -> None:
    catalogue = Catalogue(items_frame({ITEM_ID: "b", TITLE: "bee"}, {ITEM_ID: "a", TITLE: "ant"}))
    assert catalogue.item_ids == ["a", "b"]
    assert catalogue.frame[TITLE].to_list() == ["ant", "bee"]
    assert len(catalogue) == 2


def test_an_unknown_id_has_position_minus_one() -> None:
    catalogue = Catalogue(items_frame({ITEM_ID: "b"}, {ITEM_ID: "a"}))
    positions = catalogue.positions(["b", "nobody", "a", "b"])
    assert positions.tolist() == [1, -1, 0, 1]
    assert positions.dtype == np.int64
    assert catalogue.positions([]).tolist() == []


def test_items_with_equal_words_share_one_text() -> None:
    catalogue = greengrocer()
    apples = catalogue.text_of_item[catalogue.positions(["apple-1", "apple-2"])]
    assert apples[0] == apples[1]
    assert len(catalogue.texts) == len(catalogue) - 1
    assert catalogue.texts == sorted(catalogue.texts)
    assert catalogue.texts[apples[0]] == "red apple. shop. fruit. farm"


def test_items_are_grouped_by_text() -> None:
    catalogue = greengrocer()
    items, starts = catalogue.items_by_text
    assert sorted(items.tolist()) == list(range(len(catalogue)))
    for text in range(len(catalogue.texts)):
        group = items[starts[text] : starts[text + 1]].tolist()
        assert group == np.flatnonzero(catalogue.text_of_item == text).tolist()
    assert starts[-1] == len(catalogue)


def test_attributes_are_the_path_the_path_without_its_leaf_and_the_brand() -> None:
    catalogue = Catalogue(
        items_frame(
            {ITEM_ID: "a", CATEGORY: ["x", "y"], BRAND: "q"},
            {ITEM_ID: "b", CATEGORY: ["x", "z"], BRAND: "p"},
            {ITEM_ID: "c", CATEGORY: ["x"]},
            {ITEM_ID: "d", CATEGORY: []},
            {ITEM_ID: "e", BRAND: "q"},
        )
    )
    codes = {name: values.tolist() for name, values in catalogue.attribute_codes.items()}
    # distinct values are numbered in order: "x" < "x > y" < "x > z"
    assert codes["category"] == [1, 2, 0, -1, -1]
    assert codes["parent_category"] == [0, 0, -1, -1, -1]
    assert codes["brand"] == [1, 0, -1, -1, 1]
    assert catalogue.num_attribute_values == {"category": 3, "parent_category": 1, "brand": 2}


def test_equal_leaves_of_different_paths_are_different_categories() -> None:
    catalogue = Catalogue(
        items_frame({ITEM_ID: "a", CATEGORY: ["men", "shoes"]}, {ITEM_ID: "b", CATEGORY: ["women", "shoes"]})
    )
    assert catalogue.attribute_codes["category"].tolist() == [0, 1]


def test_an_item_that_says_nothing_about_its_stock_is_available() -> None:
    catalogue = Catalogue(
        items_frame({ITEM_ID: "a", "available": None}, {ITEM_ID: "b", "available": False}, {ITEM_ID: "c"})
    )
    assert catalogue.available.tolist() == [True, False, True]


def test_an_empty_catalogue_has_nothing_of_everything() -> None:
    catalogue = Catalogue(pl.DataFrame(schema=ITEM_SCHEMA))
    assert len(catalogue) == len(catalogue.texts) == len(catalogue.available) == 0
    assert catalogue.num_attribute_values == {"category": 0, "parent_category": 0, "brand": 0}
