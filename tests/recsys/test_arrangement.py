import numpy as np

from recsys.answer import RuleStep
from recsys.arrangement import Arrangement
from recsys.rule_book import Meant, Pinned
from recsys.rules import Boost, Bury, Cap
from tests.recsys.small_catalogue import greengrocer

CATALOGUE = greengrocer()
EVERY = np.arange(len(CATALOGUE))
FILTERS = {"farm": "brand = Farm", "fruit": 'category:"Fruit"'}


def listed(num: int = len(CATALOGUE)) -> Arrangement:
    """All items in the order of their ids, which is that of their positions."""
    return Arrangement(EVERY, EVERY[:num])


def items(*item_ids: str) -> np.ndarray:
    return np.isin(EVERY, CATALOGUE.positions(item_ids))


def ids(arrangement: Arrangement) -> list[str]:
    return [CATALOGUE.item_ids[row] for row in arrangement.rows]


def steps(arrangement: Arrangement) -> dict[str, tuple[RuleStep, ...]]:
    return {CATALOGUE.item_ids[row]: found for row, found in arrangement.steps().items()}


def cap(name: str, by: str, most: int, first: int) -> Meant:
    rule = Cap.model_validate({"name": name, "action": "cap", "by": by, "most": most, "first": first})
    return Meant(rule, np.ones(len(CATALOGUE), np.bool_))


def test_a_boost_divides_the_place_and_passes_who_stands_there() -> None:
    rule = Boost(name="up", action="boost", factor=2, filter="title:x")
    mine = listed(6)  # apple-1 apple-2 banana basket beet carrot
    mine.apply([Meant(rule, items("basket", "carrot"))])
    assert ids(mine) == ["apple-1", "basket", "apple-2", "carrot", "banana", "beet"]
    assert steps(mine) == {"basket": (RuleStep("up", 3, 1),), "carrot": (RuleStep("up", 5, 3),)}


def test_what_is_buried_goes_to_a_multiple_of_its_place_behind_who_stands_there() -> None:
    rule = Bury(name="down", action="bury", factor=3, filter="title:x")
    mine = listed(6)
    mine.apply([Meant(rule, items("apple-1"))])
    assert ids(mine) == ["apple-2", "banana", "apple-1", "basket", "beet", "carrot"]
    assert steps(mine) == {"apple-1": (RuleStep("down", 0, 2),)}


def test_a_rule_about_no_item_of_the_list_leaves_no_trace() -> None:
    mine = listed(3)
    mine.move("down", items("turnip"), 2.0)
    assert ids(mine) == ["apple-1", "apple-2", "banana"]
    assert steps(mine) == {}


def test_a_cap_holds_back_what_exceeds_it_until_the_places_are_filled() -> None:
    mine = listed(7)  # apple-1 F, apple-2 F, banana I, basket -, beet F, carrot I, cherry F
    mine.cap([cap("brands", "brand", 1, 3)], CATALOGUE)
    assert ids(mine) == ["apple-1", "banana", "basket", "apple-2", "beet", "carrot", "cherry"]
    assert steps(mine) == {"apple-2": (RuleStep("brands", 1, 3),)}


def test_where_nothing_else_is_left_a_cap_gives_way() -> None:
    mine = Arrangement(EVERY, np.flatnonzero(items("apple-1", "apple-2", "beet")))
    mine.cap([cap("brands", "brand", 1, 3)], CATALOGUE)
    assert ids(mine) == ["apple-1", "apple-2", "beet"]


def test_two_caps_hold_together() -> None:
    mine = listed()
    mine.cap([cap("brands", "brand", 2, 6), cap("kinds", "category", 1, 4)], CATALOGUE)
    first = mine.rows[:6]
    brands = CATALOGUE.attribute_codes["brand"][first]
    kinds = CATALOGUE.attribute_codes["category"][first[:4]]
    assert max(np.bincount(brands[brands >= 0])) <= 2
    assert max(np.bincount(kinds[kinds >= 0])) == 1
    assert sorted(mine.rows.tolist()) == EVERY.tolist()


def test_pins_stand_where_they_were_put_and_later_ones_follow() -> None:
    mine, everything = listed(5), np.ones(len(CATALOGUE), np.bool_)
    pins = [Pinned("one", 11, 1), Pinned("two", 4, 1), Pinned("last", 7, 99)]
    mine.pin(pins, everything)
    assert ids(mine) == ["apple-1", "zucchini", "beet", "apple-2", "banana", "basket", "kale"]
    found = steps(mine)
    assert found["zucchini"] == (RuleStep("one", None, 1),)
    assert found["beet"] == (RuleStep("two", 5, 2),)
    assert "apple-2" not in found


def test_what_may_not_be_shown_is_not_pinned() -> None:
    mine = listed(3)
    mine.pin([Pinned("one", 11, 0)], ~items("zucchini"))
    assert ids(mine) == ["apple-1", "apple-2", "banana"]


def test_diversity_moves_like_items_apart_and_says_so() -> None:
    mine = listed(3)
    mine.diversify(0.6, np.asarray([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32))
    assert ids(mine) == ["apple-1", "banana", "apple-2"]
    assert steps(mine)["banana"] == (RuleStep("diversity", 2, 1),)
