from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recsys.blurbs.facts import Facts
from recsys.blurbs.hidden import HiddenAttributes
from recsys.item_changes import ItemChange
from recsys.live_parts import TextVectors
from serving.item_words import ItemWordsCache, Row
from serving.line_screen import may_be_shown
from serving.own_lines import with_own_lines
from tests.serving.small_shop import SmallPipeline


@dataclass
class Described(SmallPipeline):
    """The small shop with a description for every item; counts how often items are read."""

    description: str = "A loaf of rye from the farm. It keeps for a week."
    num_read: list[int] = field(default_factory=list)

    def items(self, item_ids: Sequence[str]) -> list[dict[str, object]]:
        self.num_read.append(len(item_ids))
        return [row | {"description": self.description} for row in super().items(item_ids)]

    def with_changes(self, changes: Sequence[ItemChange], vectors: Mapping[str, TextVectors]) -> "Described":
        raise NotImplementedError  # no test needs it


@dataclass
class Maker:
    """Makes what is asked for when it is told to."""

    wanted: list[tuple[int, Row]] = field(default_factory=list)

    def ask(self, digest: int, row: Row) -> None:
        self.wanted.append((digest, row))

    def make(self, cache: ItemWordsCache) -> None:
        for digest, row in self.wanted:
            cache.put(digest, with_own_lines(row, may_be_shown, HiddenAttributes.of()))
        self.wanted.clear()


def test_items_are_read_once_until_the_catalogue_changes() -> None:
    maker, shop = Maker(), Described()
    cache = ItemWordsCache(maker.ask)
    assert cache.of_items(shop, ["bread", "eggs"]) == {}  # nobody waits for lines
    maker.make(cache)
    first = cache.of_items(shop, ["bread"])["bread"]
    assert cache.of_items(shop, ["bread"])["bread"] is first
    assert shop.num_read == [2]
    assert first.facts_hash == Facts.of(shop.items(["bread"])[0]).content_hash
    assert first.lines["line"] == "A loaf of rye from the farm."
    assert set(first.names.values()) <= cache.new_names()
    shop.changed_through = 7
    assert cache.of_items(shop, ["bread"])["bread"] is first  # read again, and found to be the same
    shop.changed_through, shop.description = 8, "Another loaf, of spelt."
    assert cache.of_items(shop, ["bread"]) == {}
    maker.make(cache)
    changed = cache.of_items(shop, ["bread"])["bread"]
    assert changed.facts_hash != first.facts_hash
    assert changed.lines["line"] == "Another loaf, of spelt."
    assert changed.names["line"] != first.names["line"]


def test_the_facts_of_an_item_with_a_published_text_wait_for_no_lines() -> None:
    maker, shop = Maker(), Described()
    cache = ItemWordsCache(maker.ask)
    words = cache.of_items(shop, ["bread", "eggs"], at_once={"bread"})
    assert list(words) == ["bread"]
    assert words["bread"].facts_hash == Facts.of(shop.items(["bread"])[0]).content_hash
    assert not words["bread"].lines
    maker.make(cache)
    assert cache.of_items(shop, ["bread"])["bread"].lines["line"] == "A loaf of rye from the farm."


def test_a_line_that_may_be_out_of_date_makes_room_for_the_attributes() -> None:
    for description in ("Now only 9.99 EUR for a loaf of rye.", "Rated 5 stars by all who bought the bread."):
        (row,) = Described(description=description).items(["bread"])
        assert with_own_lines(row, may_be_shown, HiddenAttributes.of()).lines["short"] == "size: 1 kg"


def test_memory_is_bounded() -> None:
    maker, shop = Maker(), Described()
    cache = ItemWordsCache(maker.ask, most=2)
    for item_id in ("apples", "bread", "cheese", "dates"):
        cache.of_items(shop, [item_id])
        maker.make(cache)
    assert list(cache.of_items(shop, ["dates"])) == ["dates"]
    assert shop.num_read == [1, 1, 1, 1]
    assert cache.of_items(shop, ["apples"]) == {}
