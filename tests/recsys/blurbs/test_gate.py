"""The gate on hand-made cases: what must pass, what must not, and what must not be mistaken."""

from collections.abc import Mapping
from typing import Any

import pytest

from recsys.blurbs.checks import form, support
from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.verdict import PASS, REJECT, REVIEW

_LEXICONS = Lexicons.load()
_GATE = Gate(_LEXICONS, brands=["Acme", "North Peak", "Bergwerk", "Ahab Books"])


def _facts(title: str, brand: str = "", **rest: Any) -> Facts:
    return Facts.of({"item_id": "1", "title": title, "brand": brand} | rest)


_JACKET = _facts(
    "Trail Jacket",
    "North Peak",
    category=["Clothing", "Jackets"],
    description="A light jacket for hiking, two pockets and a hood. It keeps drizzle out. Not for skiing.",
    price={"amount": 129, "currency": "EUR"},
    attributes={
        "material": "recycled nylon",
        "weight": "640 g",
        "colour": "navy blue",
        "skin": "water-resistant",
    },
)
_PACK = _facts(
    "Backpack 22 L",
    "Bergwerk",
    price=89.0,
    attributes={
        "volume": "22 L",
        "material": "cotton",
        "weight_g": "850",
        "waterproof": "no",
        "laptop": "15 inch",
    },
)
_BOOK = _facts(
    "Moby Dick hardcover",
    description="Herman Melville's novel about Captain Ahab and the white whale.",
    attributes={"author": "Herman Melville", "pages": "720"},
)
_BAR = _facts(
    "Dark Chocolate Bar",
    "Acme",
    description="The healthiest bar of all, vegan, rated 5.0 by 12000 customers.",
    attributes={
        "cocoa": "70 %",
        "weight": "100 g",
        "organic": True,
        "contents": "cocoa mass, sugar, cocoa butter",
    },
)
_CHARGER = _facts(
    "USB-C Charger",
    "Acme",
    attributes={"power": "65 W", "cable": "2 m", "charge": "5000 mAh", "protection": "IP67"},
)
_JACKE = _facts(
    "Wanderjacke Trail",
    "North Peak",
    description="Leichte Jacke zum Wandern mit zwei Taschen und Kapuze.",
    attributes={
        "Material": "recyceltes Nylon",
        "Gewicht": "640 g",
        "Farbe": "dunkelblau",
        "Schutz": "wasserabweisend",
    },
)
_JIAKE = _facts(
    "徒步夹克",
    description="轻便徒步夹克，带两个口袋和兜帽。不含棉。",
    attributes={"材质": "再生尼龙", "重量": "640克", "颜色": "藏青色", "防护": "防泼水"},
)

_PASSING: Mapping[str, tuple[Facts, str]] = {
    "A light jacket for hiking in navy blue, made of recycled nylon.": (_JACKET, "en"),
    "Weighs just 0.64 kg and keeps drizzle out.": (_JACKET, "en"),
    "At 640 g, this water-resistant jacket is easy to pack.": (_JACKET, "en"),
    "A light hiking jacket by North Peak 🥾 👨‍👩‍👧": (_JACKET, "en"),
    "Eine leichte Jacke zum Wandern aus recyceltem Nylon.": (_JACKET, "de"),
    "轻便的徒步夹克，再生尼龙材质，640克。": (_JACKET, "zh"),
    "Holds 22 liters and fits a 15 inch laptop.": (_PACK, "en"),
    "A backpack that weighs 0.85 kg.": (_PACK, "en"),
    "A Moby Dick hardcover about Captain Ahab and the white whale.": (_BOOK, "en"),
    "Herman Melville's novel in hardcover, 720 pages.": (_BOOK, "en"),
    "Dark chocolate with 70 percent cocoa, organic, 100 g.": (_BAR, "en"),
    "Protection IP67, 5,000 mAh and a 2 m cable.": (_CHARGER, "en"),
    "Leichte Wanderjacke mit zwei Taschen und Kapuze, 0,64 kg.": (_JACKE, "de"),
    "Wasserabweisende Jacke in Dunkelblau.": (_JACKE, "de"),
    "轻便徒步夹克，带兜帽，重0.64千克。": (_JIAKE, "zh"),
    "A mug from Scunthorpe.": (_facts("Scunthorpe mug"), "en"),
    "A glass for cocktails, as in the film about an assassin.": (
        _facts("Cocktail glass", description="As in the assassin film."),
        "en",
    ),
    "A stock pot for chicken stock.": (_facts("Stock pot", description="For chicken stock."), "en"),
}

_REFUSED: Mapping[str, tuple[Facts, str, str]] = {
    "A waterproof jacket for hiking.": (_JACKET, "en", "claim_waterproof"),
    "An eco-friendly hiking jacket.": (_JACKET, "en", "claim_environment"),
    "A light jacket made of 100% recycled nylon.": (_JACKET, "en", "unsupported_number"),
    "A light jacket for hiking, only 129 EUR.": (_JACKET, "en", "price"),
    "A light jacket for hiking, €129.": (_JACKET, "en", "price"),
    "A light jacket for hiking, now 20% off.": (_JACKET, "en", "discount"),
    "In stock now: a light jacket for hiking.": (_JACKET, "en", "stock"),
    "A light jacket for hiking, free shipping.": (_JACKET, "en", "delivery"),
    "A light jacket for hiking ★★★★★": (_JACKET, "en", "rating"),
    "A light hiking jacket by Acme.": (_JACKET, "en", "foreign_brand"),
    "A light hiking jacket with three pockets.": (_JACKET, "en", "unsupported_number"),
    "The best jacket for hiking.": (_JACKET, "en", "claim_superlative"),
    "This jacket relieves back pain.": (_JACKET, "en", "claim_health"),
    "Because you viewed a tent: a light jacket.": (_JACKET, "en", "history"),
    "A light jacket for your pregnancy.": (_JACKET, "en", "sensitive"),
    "A light jacket, see www.example.com": (_JACKET, "en", "link"),
    "A light jacket, write to shop@example.com": (_JACKET, "en", "personal_data"),
    "A light jacket, call +49 30 1234567": (_JACKET, "en", "personal_data"),
    "A light jacket, pay with 4111 1111 1111 1111": (_JACKET, "en", "personal_data"),
    "A light jacket\u202e for hiking.": (_JACKET, "en", "hidden_characters"),
    "A light\u200b jacket for hiking.": (_JACKET, "en", "hidden_characters"),
    "A light jacket for hiking.\U000e0041": (_JACKET, "en", "hidden_characters"),
    "A light ja\u0301\u0301\u0301\u0301\u0301cket.": (_JACKET, "en", "hidden_characters"),
    "A cafe\u0301 jacket.": (_JACKET, "en", "not_normalised"),
    "As an AI language model, I cannot say.": (_JACKET, "en", "refusal"),
    "Sure! Here is a blurb: a light jacket.": (_JACKET, "en", "refusal"),
    "<|im_start|>A light jacket": (_JACKET, "en", "prompt_echo"),
    "<b>A light jacket</b> for hiking.": (_JACKET, "en", "markup"),
    "A [light jacket](x) for hiking.": (_JACKET, "en", "markup"),
    "Eine leichte Jacke aus Nylon für jeden Tag.": (_JACKET, "en", "wrong_language"),
    "A light jacket for hiking.": (_JACKET, "de", "wrong_language"),
    "": (_JACKET, "en", "empty"),
    "A fucking light jacket for hiking.": (_JACKET, "en", "profanity"),
    "A sh1t jacket for hiking.": (_JACKET, "en", "profanity"),
    "Holds 22 kg.": (_PACK, "en", "unsupported_number"),
    "A waterproof backpack.": (_PACK, "en", "claim_waterproof"),
    "A dick of a hardcover.": (_JACKET, "en", "profanity"),
    "Vegan dark chocolate.": (_BAR, "en", "claim_vegan"),
    "Dark chocolate without sugar.": (_BAR, "en", "claim_sugar_free"),
    "Dark chocolate, good for your heart.": (_BAR, "en", "claim_health"),
    "Dark chocolate, rated 5.0 by 12000 customers.": (_BAR, "en", "rating"),
    "Protection IP68.": (_CHARGER, "en", "unsupported_number"),
    "A 65 V charger.": (_CHARGER, "en", "unsupported_number"),
    "Wasserdichte Wanderjacke.": (_JACKE, "de", "claim_waterproof"),
    "Nur 129 Euro für die leichte Jacke.": (_JACKE, "de", "price"),
    "Ihre letzte Bestellung war eine Jacke.": (_JACKE, "de", "history"),
    "防水徒步夹克。": (_JIAKE, "zh", "claim_waterproof"),
    "徒步夹克，640千克。": (_JIAKE, "zh", "unsupported_number"),
    "徒步夹克，仅售99元。": (_JIAKE, "zh", "price"),
    "因为您看过帐篷，推荐徒步夹克。": (_JIAKE, "zh", "history"),
    "最好的徒步夹克。": (_JIAKE, "zh", "claim_superlative"),
}

_FOR_A_PERSON: Mapping[str, tuple[Facts, str, str]] = {
    "A red jacket for hiking with a hood.": (_JACKET, "en", "red"),
    "A light jacket for hiking and skiing.": (_JACKET, "en", "skiing"),
    "Eine leichte Jacke zum Wandern aus Baumwolle.": (_JACKE, "de", "Baumwolle"),
    "红色徒步夹克。": (_JIAKE, "zh", "红色"),
    "轻便徒步夹克，棉。": (_JIAKE, "zh", "棉"),
}


@pytest.mark.parametrize("text", _PASSING)
def test_true_texts_pass(text: str) -> None:
    facts, language = _PASSING[text]
    verdict = _GATE.check(facts, text, language)
    assert verdict.outcome == PASS, verdict.reasons
    assert verdict.score == 1


@pytest.mark.parametrize("text", _REFUSED)
def test_texts_are_refused_for_the_right_reason(text: str) -> None:
    facts, language, code = _REFUSED[text]
    verdict = _GATE.check(facts, text, language)
    assert verdict.outcome == REJECT
    assert code in {reason.code for reason in verdict.reasons}
    assert verdict.score == 0


@pytest.mark.parametrize("text", _FOR_A_PERSON)
def test_a_word_without_a_fact_is_shown_to_a_person(text: str) -> None:
    facts, language, word = _FOR_A_PERSON[text]
    verdict = _GATE.check(facts, text, language)
    assert verdict.outcome == REVIEW
    [reason] = verdict.reasons
    assert (reason.code, reason.evidence) == ("unsupported", word)
    assert text[reason.start : reason.end] == word
    assert 0 < verdict.score < 1


def test_a_check_that_fails_closes_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_examined: object) -> support.Support:
        raise ZeroDivisionError

    monkeypatch.setattr(support, "measure", broken)
    verdict = _GATE.check(_JACKET, "A light jacket.", "en")
    assert verdict.outcome == REJECT
    assert [(reason.code, reason.evidence) for reason in verdict.reasons] == [
        ("gate_error", "ZeroDivisionError")
    ]


def test_a_language_without_a_lexicon_is_refused() -> None:
    verdict = _GATE.check(_JACKET, "Een lichte jas.", "nl")
    assert [reason.code for reason in verdict.reasons] == ["unknown_language"]


def test_a_region_does_not_matter() -> None:
    assert _GATE.check(_JACKET, "A light jacket.", "en-GB").passed


def test_length_is_counted_as_a_reader_does() -> None:
    assert form.num_graphemes("👨‍👩‍👧é") == 2
    family = "A light jacket for hiking " + "👨‍👩‍👧" * 5
    assert "too_long" not in {reason.code for reason in _GATE.check(_JACKET, family, "en").reasons}
    long = _GATE.check(_JACKET, "A light jacket for hiking with a hood. " * 5, "en")
    assert "too_long" in {reason.code for reason in long.reasons}


def test_texts_like_others_of_the_category_go_to_a_person() -> None:
    text = "A light jacket for hiking with a hood."
    twin = _GATE.check(_JACKET, text, "en", ["A light jacket for hiking with two pockets and a hood.", text])
    assert [reason.code for reason in twin.reasons] == ["duplicate"]
    others = [f"A light jacket number {word}." for word in ("one", "two", "three", "four", "five") * 2]
    worn = _GATE.check(_JACKET, text, "en", others)
    assert [reason.code for reason in worn.reasons] == ["worn_opening"]


def test_a_brand_that_only_the_description_names_goes_to_a_person() -> None:
    case = _facts("Phone case", "Acme", description="Fits the North Peak phone.")
    verdict = _GATE.check(case, "A phone case that fits the North Peak phone.", "en")
    assert (verdict.outcome, [reason.code for reason in verdict.reasons]) == (REVIEW, ["foreign_brand"])


def test_the_word_price_in_a_title_goes_to_a_person() -> None:
    novel = _facts("The Price of Salt", attributes={"author": "Patricia Highsmith"})
    assert _GATE.check(novel, "The Price of Salt, a novel by Patricia Highsmith.", "en").outcome == REVIEW


def test_the_version_names_brands_and_lexicons() -> None:
    assert _GATE.version == Gate(_LEXICONS, brands=["Ahab Books", "Bergwerk", "North Peak", "Acme"]).version
    assert _GATE.version != Gate(_LEXICONS).version
    other = Lexicons(dict(_LEXICONS.trees) | {"brands": {"brands": ["Acme"]}})
    assert Gate(_LEXICONS).version != Gate(other).version
