import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recsys.blurbs.facts import Facts
from recsys.item_changes import ItemChange
from recsys.live_parts import TextVectors
from serving.item_words import ItemWordsCache
from serving.line_screen import may_be_shown
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


def test_items_are_read_once_until_the_catalogue_changes() -> None:
    cache, shop = ItemWordsCache(may_be_shown), Described()
    first = cache.of_items(shop, ["bread", "eggs"])["bread"]
    assert cache.of_items(shop, ["bread"])["bread"] is first
    assert first.facts_hash == Facts.of(shop.items(["bread"])[0]).content_hash
    assert first.lines["line"] == "A loaf of rye from the farm."
    shop.changed_through = 7
    assert cache.of_items(shop, ["bread"])["bread"] is first  # read again, and found to be the same
    shop.changed_through, shop.description = 8, "Another loaf, of spelt."
    changed = cache.of_items(shop, ["bread"])["bread"]
    assert changed.facts_hash != first.facts_hash
    assert changed.lines["line"] == "Another loaf, of spelt."
    assert changed.names["line"] != first.names["line"]


def test_a_line_that_may_be_out_of_date_makes_room_for_the_attributes() -> None:
    cache = ItemWordsCache(may_be_shown)
    for description in ("Now only 9.99 EUR for a loaf of rye.", "Rated 5 stars by all who bought the bread."):
        words = cache.of_items(Described(description=description), ["bread"])["bread"]
        assert words.lines["short"] == "size: 1 kg"


def test_memory_is_bounded() -> None:
    cache, shop = ItemWordsCache(may_be_shown, most=2), Described()
    for item_id in ("apples", "bread", "cheese", "dates"):
        cache.of_items(shop, [item_id])
    cache.of_items(shop, ["dates"])
    assert shop.num_read == [1, 1, 1, 1]


def test_a_line_that_nobody_judged_yet_is_asked_about_again_after_a_while() -> None:
    verdicts: list[bool | None] = [None]
    cache, shop = ItemWordsCache(lambda *_: verdicts[-1], again_seconds=0.2), Described()
    assert not any(cache.of_items(shop, ["bread"])["bread"].lines.values())
    verdicts.append(True)
    assert not any(cache.of_items(shop, ["bread"])["bread"].lines.values())
    assert shop.num_read == [1]
    until = time.monotonic() + 20
    while not any(cache.of_items(shop, ["bread"])["bread"].lines.values()) and time.monotonic() < until:
        time.sleep(0.01)
    assert cache.of_items(shop, ["bread"])["bread"].lines["line"] == "A loaf of rye from the farm."
    assert shop.num_read == [1, 1]
