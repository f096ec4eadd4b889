"""Tests of the measures of texts, against values worked out by hand or by another library."""

import math
import random

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from recsys.blurbs.facts import Facts
from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.quality.corruption import KINDS, Corruptor
from recsys.blurbs.quality.detection import auroc, share_bounds
from recsys.blurbs.quality.diversity import diversity, self_bleu
from recsys.blurbs.quality.overlap import overlap
from recsys.blurbs.quality.reading import lix, tokens, told_share

LEXICONS = Lexicons.load()
SPOON = Facts.of(
    {
        "item_id": "spoon",
        "title": "Beech spoon",
        "brand": "Holzwerk",
        "attributes": {"material": "beech", "length": "30 cm"},
    }
)
FORK = Facts.of(
    {"item_id": "fork", "title": "Fork", "brand": "Gabelhaus", "attributes": {"material": "polished steel"}}
)
CORRUPTOR = Corruptor.of([SPOON, FORK], LEXICONS)


def corrupted(text: str, language: str = "en") -> dict[str, str]:
    return CORRUPTOR.corrupt(text, SPOON, language, random.Random(1))


def test_words_are_single_characters_in_chinese() -> None:
    assert tokens("A Beech-spoon, 30 cm; 榉木") == ["a", "beech", "spoon", "30", "cm", "榉", "木"]


def test_variety_is_as_worked_out_by_hand() -> None:
    found = diversity(["a red cup", "a red pot"])
    assert found.distinct_1 == pytest.approx(4 / 6)
    assert found.distinct_2 == pytest.approx(3 / 4)
    assert (found.opening_entropy, found.commonest_share) == (1.0, 0.5)
    assert diversity(["one text"]).self_bleu is None
    assert diversity([]).distinct_1 == 0


def test_self_bleu_is_that_of_another_library() -> None:
    texts = [
        "a spoon of beech for every pot in the house",
        "a spoon of steel for every pot in a kitchen today",
        "this fork of steel is for every pot in the house",
        "a bowl of oak for every pot and a spoon of beech",
    ]
    bleu = BLEU(tokenize="none", effective_order=True, smooth_method="none")
    expected = [
        bleu.sentence_score(text, [other for other in texts if other is not text]).score / 100
        for text in texts
    ]
    assert all(expected)
    assert self_bleu([tokens(text) for text in texts]) == pytest.approx(np.mean(expected))
    assert self_bleu([tokens(texts[0])] * 3) == pytest.approx(1)


def test_readability_counts_sentences_and_long_words() -> None:
    assert lix("A wonderful spoon. It stirs.") == pytest.approx(5 / 2 + 100 / 5)
    assert lix("…") == 0


def test_key_facts_are_told_whatever_their_inflection() -> None:
    share = told_share("Spoons of beech by Holzwerk", SPOON, "en", LEXICONS)
    assert share == pytest.approx(2 / 3)
    assert told_share("a", Facts.of({"item_id": "a", "title": "A"}), "en", LEXICONS) is None


def test_a_text_is_made_false_in_every_way() -> None:
    found = corrupted("A spoon of beech, 30 cm long.")
    assert tuple(found) == KINDS
    assert found["attribute"] == "A spoon of polished steel, 30 cm long."
    assert "30 cm" not in found["number"]
    assert found["unit"].startswith("A spoon of beech, 30 ")
    assert "cm" not in found["unit"]
    assert "Gabelhaus" in found["brand"]
    assert "Beech spoon" in found["language"]


def test_what_a_text_lacks_is_added_and_unknown_languages_are_left_out() -> None:
    found = corrupted("Ein Löffel.", "de-AT")
    assert all(len(found[kind]) > len("Ein Löffel.") for kind in ("number", "unit", "attribute", "claim"))
    assert corrupted("一把勺子。", "zh")["number"].startswith("一把勺子。")
    assert corrupted("Une cuillère.", "fr") == {}


def test_the_area_is_chance_where_nothing_differs_and_one_where_all_do() -> None:
    one, zero = np.ones(20), np.zeros(20)
    assert auroc(one, zero) == (1, 1, 1)
    assert auroc(one, one) == pytest.approx((0.5, 0.5, 0.5))
    half = np.array([0.0, 1.0] * 10)
    area, low, high = auroc(one, half)
    assert area == 0.75
    assert 0.55 < low < area < high < 0.95


def test_the_bounds_of_a_share_are_exact() -> None:
    assert share_bounds(0, 10) == pytest.approx((0, 0.3085), abs=1e-4)
    assert share_bounds(10, 10) == pytest.approx((0.6915, 1), abs=1e-4)
    assert share_bounds(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)


def test_overlap_with_itself_is_whole() -> None:
    found = overlap([("A spoon of beech for pots.", "A spoon of beech for pots.")])
    assert found is not None
    assert math.isclose(found.bleu, 100)
    assert found.rouge_l == 1
    assert "version:" in found.signature
    assert overlap([]) is None
