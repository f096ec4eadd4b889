from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.catalogue import Catalogue
from recsys.item_changes import ItemChange, ItemChanges
from recsys.item_state import ItemState
from recsys.live_parts import Renewed, TextVectors, unread_texts, with_changes
from recsys.moment import Parts
from recsys.schema import (
    AVAILABLE,
    BRAND,
    CATEGORY,
    DAY_MS,
    EVENT_TYPE_CODES,
    ITEM_ID,
    PRICE,
    TITLE,
)
from tests.recsys.small_catalogue import (
    NOW,
    events_frame,
    greengrocer,
    items_frame,
    parts_without_encoder,
    shopping,
    small_config,
)

CONFIG = small_config()
LOG = shopping(greengrocer(), num_users=30)
PARTS = parts_without_encoder(LOG, CONFIG)
MANGO = {ITEM_ID: "mango", TITLE: "yellow mango", CATEGORY: ["Shop", "Fruit"], BRAND: "Isle", PRICE: 2.5}
PURCHASE = EVENT_TYPE_CODES["purchase"]


@pytest.fixture
def changes(tmp_path: Path) -> ItemChanges:
    return ItemChanges(tmp_path / "catalogue.sqlite")


def renewed(parts: Parts, changes: Sequence[ItemChange]) -> Renewed:
    """The parts with changes; a new text reads like the banana's."""
    return with_changes(parts, changes, banana_vectors(parts, unread_texts(parts, changes)))


def banana_vectors(parts: Parts, texts: Sequence[str]) -> Mapping[str, TextVectors]:
    banana = parts.catalogue.text_of_item[parts.catalogue.position["banana"]]
    both = TextVectors(parts.index.vectors[banana], parts.words.vectors[banana])
    return dict.fromkeys(texts, both)


def facts(catalogue: Catalogue) -> dict[str, tuple[object, ...]]:
    """What a catalogue says of every item, whatever its position."""
    together = {
        name: [
            tuple(sorted(np.asarray(catalogue.item_ids)[codes == codes[i]])) if codes[i] >= 0 else None
            for i in range(len(catalogue))
        ]
        for name, codes in catalogue.attribute_codes.items()
    }
    return {
        item_id: (
            catalogue.texts[catalogue.text_of_item[i]],
            bool(catalogue.available[i]),
            *(groups[i] for groups in together.values()),
            *catalogue.frame.row(i),
        )
        for item_id, i in catalogue.position.items()
    }


def test_a_changed_catalogue_says_what_one_from_scratch_says(changes: ItemChanges) -> None:
    before = greengrocer()
    rows = items_frame(
        MANGO,
        {ITEM_ID: "lime", TITLE: "red apple"},
        {ITEM_ID: "kale", TITLE: "curly kale", BRAND: "Farm", AVAILABLE: False},
        {ITEM_ID: "zucchini", TITLE: "green zucchini", CATEGORY: ["Shop", "Vegetables"]},
    )
    changes.put(rows)
    after = renewed(PARTS, changes.since(0)).parts.catalogue
    kept = before.frame.filter(~pl.col(ITEM_ID).is_in(rows[ITEM_ID].to_list()))
    assert facts(after) == facts(Catalogue(pl.concat([kept, rows])))
    assert after.item_ids[: len(before)] == before.item_ids
    assert after.position["lime"] in after.items_by_text[0]
    assert facts(PARTS.catalogue) == facts(before)


def test_a_new_item_is_found_by_its_words_and_borrows_from_what_reads_alike(changes: ItemChanges) -> None:
    changes.put(items_frame(MANGO))
    found = renewed(PARTS, changes.since(0))
    parts, position = found.parts, len(PARTS.catalogue)
    assert parts.catalogue.position["mango"] == position
    engagement = np.ones(len(parts.catalogue))
    banana = parts.index.of_items(np.asarray([parts.catalogue.position["banana"]]))[0]
    assert position in parts.index.nearest_items(banana, 2, engagement)
    assert position in parts.words.nearest_items(
        parts.words.of_items(np.asarray([position]))[0], 2, engagement
    )
    near = parts.tables.resemblance.neighbours[parts.catalogue.text_of_item[position]]
    assert parts.catalogue.position["banana"] in near
    assert position in parts.tables.resemblance.unknown
    history = parts.tables.history
    theirs = PARTS.tables.history.adoption[:, near]
    assert (history.adoption[:, position] > 0).all()
    assert (history.adoption[:, position] <= 0.5 * theirs.max(1)).all()
    assert history.users[position] == 0
    assert history.first_ms[position] == 0
    assert np.isnan(history.rebuy_rate[position])
    assert history.price[position] == 2.5
    assert parts.tables.ease.scores(np.asarray([position]), np.ones(1)).dense().tolist() == [0.0] * (
        position + 1
    )
    assert parts.fitted_until() == PARTS.fitted_until()


def test_what_was_fitted_on_the_other_items_stays_as_it_was(changes: ItemChanges) -> None:
    changes.put(items_frame(MANGO))
    parts, old = renewed(PARTS, changes.since(0)).parts, len(PARTS.catalogue)
    assert (parts.index.vectors[: len(PARTS.index.vectors)] == PARTS.index.vectors).all()
    everything = np.arange(old)
    for name in ("co_occurrence", "following", "ease"):
        ours, theirs = getattr(parts.tables, name), getattr(PARTS.tables, name)
        scores = ours.scores(everything, np.ones(old)).dense()
        assert scores[:old].tolist() == theirs.scores(everything, np.ones(old)).dense().tolist()
    assert parts.words.centred(everything).tolist() == PARTS.words.centred(everything).tolist()


def test_only_a_new_text_has_to_be_read(changes: ItemChanges) -> None:
    known = {
        ITEM_ID: "leek",
        TITLE: "Green  LEEK",
        CATEGORY: ["Shop", "Vegetables"],
        BRAND: "Isle",
        PRICE: 1.0,
    }
    changes.put(items_frame(MANGO, known, MANGO | {ITEM_ID: "mango-2"}))
    assert unread_texts(PARTS, changes.since(0)) == ["yellow mango. shop. fruit. isle"]


def test_an_item_that_is_put_as_it_is_changes_nothing(changes: ItemChanges) -> None:
    changes.put(greengrocer().frame)
    parts = renewed(PARTS, changes.since(0)).parts
    assert parts.catalogue.frame.equals(PARTS.catalogue.frame)
    assert len(parts.index.vectors) == len(PARTS.index.vectors)


def test_a_deleted_item_is_not_found_and_comes_back_to_its_own_place(changes: ItemChanges) -> None:
    kale = PARTS.catalogue.position["kale"]
    row = PARTS.catalogue.frame[[kale]]
    changes.delete(["kale", "mango"])
    without = renewed(PARTS, changes.since(0)).parts
    assert without.catalogue.positions(["kale", "mango"]).tolist() == [-1, -1]
    assert not without.catalogue.available[kale]
    assert len(without.catalogue) == len(PARTS.catalogue)
    through = changes.latest()
    changes.put(row)
    again = renewed(without, changes.since(through)).parts
    assert again.catalogue.position["kale"] == kale
    assert again.catalogue.available[kale]
    assert "kale" not in again.catalogue.deleted
    assert PARTS.catalogue.available[kale]


def test_withdrawing_takes_effect_where_it_is(changes: ItemChanges) -> None:
    catalogue = greengrocer()
    available, kale, leek = catalogue.available, catalogue.position["kale"], catalogue.position["leek"]
    catalogue.withdraw(["kale", "nobody"], ["leek", "nobody"])
    assert not available[[kale, leek]].any()
    assert catalogue.positions(["kale", "leek"]).tolist() == [kale, -1]
    catalogue.withdraw((), ["leek"])
    assert catalogue.deleted == {"leek": leek}
    changes.put(items_frame(MANGO))
    parts = renewed(replace(PARTS, catalogue=catalogue), changes.since(0)).parts
    assert not parts.catalogue.available[leek]


def test_a_price_that_somebody_paid_stays_and_one_that_nobody_paid_follows_the_catalogue(
    changes: ItemChanges,
) -> None:
    kale = PARTS.catalogue.position["kale"]
    changes.put(PARTS.catalogue.frame[[kale]].with_columns(pl.lit(7.0).alias(PRICE)))
    history = renewed(PARTS, changes.since(0)).parts.tables.history
    assert np.isnan(PARTS.tables.history.price[kale])
    assert history.price[kale] == 7.0


def test_popularity_is_borrowed_and_events_of_the_old_state_count_in_the_new_one(
    changes: ItemChanges,
) -> None:
    items = ItemState.from_events(PARTS.catalogue, CONFIG.state, events_frame(LOG), NOW)
    before = items.popularity(NOW).engagement
    changes.put(items_frame(MANGO))
    found = renewed(PARTS, changes.since(0))
    extended, mango = items.extended(found.parts.catalogue, found.prior), len(PARTS.catalogue)
    after = extended.popularity(NOW).engagement
    assert after[:, :mango].tolist() == before.tolist()
    near = found.prior.neighbours[0]
    assert (after[:, mango] > 0).all()
    assert (after[:, mango] <= 0.5 * before[:, near].max(1)).all()
    items.record(0, PURCHASE, NOW + 1)
    extended.record(mango, PURCHASE, NOW + 1)
    later = extended.popularity(NOW + DAY_MS).engagement
    alone = items.popularity(NOW + DAY_MS).engagement
    assert later[:, 0] == pytest.approx(alone[:, 0])
    assert (later[:, mango] > after[:, mango] * 0.5).all()
