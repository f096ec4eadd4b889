import math

import numpy as np
import pytest

from recsys.schema import ATTRIBUTES, BRAND, CATEGORY, ITEM_ID, PRICE, TAGS
from recsys.traits import MAX_NUMBERS, shared_words, standard_numbers
from tests.recsys.small_catalogue import items_frame


def pairs(**values: object) -> list[dict[str, str]]:
    return [{"key": key, "value": str(value)} for key, value in values.items()]


def test_items_are_alike_by_the_rarity_of_the_words_they_share() -> None:
    items = items_frame(
        {ITEM_ID: "a", TAGS: ["spy", "sea"]},
        {ITEM_ID: "b", TAGS: ["spy"], BRAND: "acme"},
        {ITEM_ID: "c", CATEGORY: ["film", "sea"], TAGS: ["alone"]},
        {ITEM_ID: "d", CATEGORY: ["film"], BRAND: "acme"},
    )
    alike = shared_words(items)
    # spy, sea, film and acme are in two of four items each, and weigh the same; "alone" is left out
    np.testing.assert_allclose((alike @ alike.T).toarray(), [
        [1, 0.5, 0.5, 0],
        [0.5, 1, 0, 0.5],
        [0.5, 0, 1, 0.5],
        [0, 0.5, 0.5, 1],
    ])  # fmt: skip


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    rows = [["rare", "common"], ["rare"], ["common"], ["common"], []]
    alike = shared_words(items_frame(*({ITEM_ID: str(i), TAGS: tags} for i, tags in enumerate(rows))))
    first = (alike @ alike.T).toarray()[0]
    rare, common = math.log(5 / 2), math.log(5 / 3)
    assert first.tolist() == pytest.approx(
        [1, math.sqrt(rare / (rare + common)), *[math.sqrt(common / (rare + common))] * 2, 0]
    )


def test_items_without_words_are_like_nothing() -> None:
    assert shared_words(items_frame({ITEM_ID: "a"}, {ITEM_ID: "b", TAGS: []})).shape == (2, 0)


def test_numbers_are_logarithms_in_standard_deviations_and_absent_ones_are_average() -> None:
    items = items_frame(
        {ITEM_ID: "a", PRICE: 0.0, ATTRIBUTES: pairs(votes=math.e - 1, colour="red")},
        {ITEM_ID: "b", PRICE: 0.0, ATTRIBUTES: pairs(votes=1 - math.e, colour="2")},
        {ITEM_ID: "c", PRICE: 0.0},
    )
    # the price does not differ, a colour is no number
    np.testing.assert_allclose(standard_numbers(items), [[1], [-1], [0]])


def test_a_number_that_few_items_have_is_not_read() -> None:
    items = items_frame(*({ITEM_ID: i, PRICE: 2.0 if i == "a" else None} for i in "abc"))
    assert standard_numbers(items).shape == (3, 0)


def test_only_so_many_numbers_are_read() -> None:
    rows = (
        {ITEM_ID: str(i), ATTRIBUTES: pairs(**{f"n{j}": i * j + i**2 for j in range(30)})} for i in range(3)
    )
    assert standard_numbers(items_frame(*rows)).shape == (3, MAX_NUMBERS)
