"""Tests of the shop's own words."""

import asyncio

import pytest

from recsys.blurbs.backends.extractive import ExtractiveBackend, attribute_line, extract, lead_sentence
from recsys.blurbs.facts import Facts
from recsys.blurbs.prompt import Task

LONG = "A long description " + "of many words " * 30


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("A spoon of beech for every pot. It is long.", "A spoon of beech for every pot."),
        ("New! A spoon of beech for every pot.", "A spoon of beech for every pot."),
        ("Ein Löffel aus Buche für 3,5 Liter. Gut.", "Ein Löffel aus Buche für 3,5 Liter."),
        ("榉木制成的勺子。长30厘米。", "榉木制成的勺子。"),
        ("Too short.", ""),
        ("", ""),
    ],
)
def test_the_first_sentence_that_says_something_is_taken(description: str, expected: str) -> None:
    assert lead_sentence(description, 160) == expected


def test_a_long_sentence_is_cut_after_a_word() -> None:
    cut = lead_sentence(LONG, 60)
    assert len(cut) <= 60
    assert cut.endswith("…")
    assert LONG.startswith(cut[:-1])
    assert LONG[len(cut) - 1] == " "


def test_attributes_stand_in_for_a_description() -> None:
    given = {"item_id": "a", "title": "Spoon", "attributes": {"material": "beech", "seller": "x", "z": "1"}}
    facts = Facts.of(given)
    assert attribute_line(facts, "en", 160) == "material: beech; z: 1"
    assert attribute_line(facts, "zh-CN", 160) == "material：beech；z：1"
    assert attribute_line(facts, "en", 15) == "material: beech"
    assert extract(facts, "en", 160) == extract(facts, "en", 160) == "material: beech; z: 1"
    assert extract(Facts.of({"item_id": "a", "title": "Spoon"}), "en", 160) == ""


@pytest.mark.parametrize(
    ("own", "asked", "text"),
    [("en", "de", ""), ("en-GB", "en", "material: beech"), ("", "de", "material: beech")],
)
def test_nothing_is_cut_for_another_language_than_the_items(own: str, asked: str, text: str) -> None:
    facts = Facts.of({"item_id": "a", "title": "Spoon", "language": own, "attributes": {"material": "beech"}})
    assert asyncio.run(ExtractiveBackend().write(Task(facts, asked, "short"))).text == text
    assert Facts.from_canonical(facts.canonical) == facts
