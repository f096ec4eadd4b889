"""Tests of what is a shop's own business."""

import pytest

from recsys.blurbs.backends.extractive import attribute_line
from recsys.blurbs.facts import Facts
from recsys.blurbs.hidden import HiddenAttributes
from recsys.blurbs.prompt import Task, numbered

_FACTS = Facts.of(
    {
        "item_id": "a",
        "title": "Spoon",
        "attributes": {
            "landed_cost": "1.20",
            "manufacturerId": "69",
            "material": "beech",
            "z_note": "old stock",
        },
    }
)


@pytest.mark.parametrize(
    "name",
    ["manufacturer_id", "manufacturerId", "EAN", "unit cost", "gross-margin", "supplier_name", "Lieferant",
     "internal_code", "供应商名称", "采购成本"],
)  # fmt: skip
def test_what_is_the_shops_own_business_is_hidden(name: str) -> None:
    assert HiddenAttributes.of().hide(name)


@pytest.mark.parametrize("name", ["width", "solid", "liquid", "material", "Farbe", "costume", "材质"])
def test_what_shoppers_may_know_is_shown(name: str) -> None:
    assert not HiddenAttributes.of().hide(name)


def test_hidden_attributes_are_neither_cut_nor_told_to_a_model() -> None:
    assert attribute_line(_FACTS, "en", 160) == "material: beech"
    shown = numbered(Task(_FACTS, "en", "short"))
    assert shown == {"1": "title: Spoon", "4": "material: beech"}


def test_an_owner_names_the_hidden_attributes() -> None:
    own = HiddenAttributes.of(["material", "landed cost"])
    assert attribute_line(_FACTS, "en", 160, own) == "manufacturerId: 69; z note: old stock"
